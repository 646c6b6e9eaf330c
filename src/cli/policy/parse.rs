//! The arguments of `countersign policy` beside the settings.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueEnum, builder::ValueParser};

use super::arn::{Api, Unknown};
use crate::{
    aws::sts::is_account,
    config::{Mistake, Stage},
};

const HEADING: &str = "Policy";

/// As what the policy is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// The policy document itself
    Json,
    /// A resource for Terraform
    Terraform,
    /// TypeScript for the CDK
    Cdk,
}

/// What is wanted.
#[derive(Debug)]
pub struct Wanted {
    /// `-` is standard input.
    pub(super) from_log: Option<PathBuf>,
    pub(super) format: Format,
    /// Twelve digits.
    pub(super) account: Option<String>,
    /// With the stage's name, or for the only one.
    apis: Vec<(Option<String>, Api)>,
}

impl Wanted {
    /// From what [`with_args`] took.
    pub(in crate::cli) fn new(matches: &ArgMatches) -> Self {
        Self {
            from_log: matches.get_one("from_log").cloned(),
            format: *matches.get_one("format").expect("it has a default"),
            account: matches.get_one("account").cloned(),
            apis: matches.get_many("api").unwrap_or_default().cloned().collect(),
        }
    }

    /// What an `--api` is for that is for no stage.
    pub(super) fn for_no_stage(&self, stages: &[&str], alone: bool) -> Option<String> {
        self.apis.iter().find_map(|(name, _)| match name {
            Some(name) => (!stages.contains(&name.as_str()))
                .then(|| format!("stage {name}, and none of that name is signed")),
            None => (!alone).then(|| "no stage: there are several".to_owned()),
        })
    }

    /// The API behind a stage: as it is given, or as the URL tells. `alone`: no other stage could be meant.
    pub(super) fn api(&self, stage: &Stage, alone: bool) -> Result<Api, Unknown> {
        let named = self.apis.iter().find(|(name, _)| match name {
            Some(name) => *name == stage.name,
            None => alone,
        });
        named.map_or_else(|| Api::of(stage), |(_, api)| Ok(api.clone()))
    }
}

/// Adds them to a command that has the settings' already.
pub(in crate::cli) fn with_args(command: Command) -> Command {
    command.args([
        Arg::new("from_log")
            .long("from-log")
            .value_name("FILE")
            .value_parser(ValueParser::path_buf())
            .help_heading(HEADING)
            .help(
                "Allow what this log of `run` tells of, as JSON or as a terminal shows it, instead of all that is configured; \
                 - reads standard input",
            ),
        Arg::new("format")
            .long("format")
            .value_name("FORMAT")
            .value_parser(clap::value_parser!(Format))
            .default_value("json")
            .help_heading(HEADING)
            .help("As what the policy is written"),
        Arg::new("account")
            .long("account")
            .value_name("DIGITS")
            .value_parser(account)
            .help_heading(HEADING)
            .help("The API's account; by itself that of the credentials, which STS is asked for. With it nobody is asked"),
        Arg::new("api")
            .long("api")
            .value_name("[NAME=]ID/STAGE[/PATH]")
            .action(ArgAction::Append)
            .value_parser(api)
            .help_heading(HEADING)
            .help(
                "The API behind a stage whose URL does not tell, such as a custom domain: its id, its stage, and what of the \
                 URL's path lies within it. With a stage's name for one of several",
            ),
    ])
}

fn account(text: &str) -> Result<String, Mistake> {
    is_account(text)
        .then(|| text.to_owned())
        .ok_or_else(|| Mistake::new("not an account: it has twelve digits, 111122223333"))
}

fn api(text: &str) -> Result<(Option<String>, Api), Mistake> {
    let (name, api) = match text.split_once('=') {
        Some((name, api)) => (Some(name.to_owned()), api),
        None => (None, text),
    };
    let mut parts = api.splitn(3, '/');
    let (id, stage, path) =
        (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    let found = Api::new(id, stage, path.unwrap_or_default());
    found.map(|api| (name, api)).ok_or_else(|| {
        Mistake::new(
            "not an API and its stage: abc123/prod; $default is the stage of an HTTP API without one in its URL, and a path \
             behind them is written without escapes",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{account, api};

    #[test]
    fn accounts_and_apis() {
        assert!(account("111122223333").is_ok());
        for text in ["", "1111-2222-3333", "11112222333", "1111222233334", "11112222333x", "*"] {
            assert!(account(text).is_err(), "{text}");
        }
        for text in ["abc123/prod", "orders=abc123/$default", "abc123/prod/v1/x", "abc123/prod/v*"] {
            assert!(api(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "abc123",
            "abc123/",
            "/prod",
            "abc*/prod",
            "abc123/*",
            "a:b/prod",
            "abc123/pr od",
            "abc123/prod/a%2Fb",
            "abc123/prod/a\u{1b}",
        ] {
            assert!(api(text).is_err(), "{text}");
        }
    }
}
