//! The arguments of `countersign check` beside the settings.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use http::{Method, uri::PathAndQuery};

use crate::{
    cli::asked,
    config::{Mistake, Wait},
};

const HEADING: &str = "Check";

/// `DELETE /orders/1`, as a client of the proxy asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
}

/// What is to be checked.
#[derive(Debug)]
pub struct Wanted {
    /// Print JSON.
    pub json: bool,
    pub(super) tries: Vec<Ask>,
    pub(super) probes: Vec<Ask>,
    pub(super) no_probe: bool,
    pub(super) timeout: Duration,
}

impl Wanted {
    /// From what [`with_args`] took.
    pub(in crate::cli) fn new(matches: &ArgMatches) -> Self {
        let asks = |id| matches.get_many::<Ask>(id).unwrap_or_default().cloned().collect();
        Self {
            json: matches.get_flag("json"),
            tries: asks("try"),
            probes: asks("probe"),
            no_probe: matches.get_flag("no_probe"),
            timeout: matches.get_one::<Wait>("timeout").expect("it has a default").0,
        }
    }
}

/// Adds them to a command that has the settings' already.
pub(in crate::cli) fn with_args(command: Command) -> Command {
    let switch = |name: &'static str, long: &'static str, help: &'static str| {
        Arg::new(name).long(long).action(ArgAction::SetTrue).help_heading(HEADING).help(help)
    };
    let asks = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("METHOD PATH")
            .action(ArgAction::Append)
            .value_parser(ask)
            .help_heading(HEADING)
            .help(help)
    };
    command.args([
        asks("try", "Only say whether this request would pass the guard and the rules: nothing is sent; may be given several times")
            .conflicts_with_all(["probe", "no_probe"]),
        asks("probe", "Ask this of its stage too, with and without key and signature; a method that acts then acts")
            .conflicts_with("no_probe"),
        switch("no_probe", "no-probe", "Ask no route; of a stage only its root is asked, unsigned"),
        Arg::new("timeout")
            .long("timeout")
            .value_name("TIME")
            .value_parser(clap::value_parser!(Wait))
            .default_value("30s")
            .help_heading(HEADING)
            .help("How long all of it may take"),
        switch("json", "json", "Print JSON"),
    ])
}

fn ask(text: &str) -> Result<Ask, Mistake> {
    let (method, target) = text
        .trim()
        .split_once(char::is_whitespace)
        .ok_or_else(|| Mistake::new("not a request: a method and a path, \"DELETE /orders/1\""))?;
    Ok(Ask { method: asked::method(method)?, target: asked::target(target.trim_start())? })
}

#[cfg(test)]
mod tests {
    use super::ask;

    #[test]
    fn requests() {
        let found = ask(" DELETE  /orders/1?x=y ").unwrap_or_else(|mistake| panic!("{mistake}"));
        assert_eq!((found.method.as_str(), found.target.as_str()), ("DELETE", "/orders/1?x=y"));
        for text in ["", "GET", "/orders", "GET orders", "G@T /x", "GET /a b"] {
            assert!(ask(text).is_err(), "{text}");
        }
    }
}
