//! Which requests get no line of log while they succeed: those that `log.quiet` names, and all but the share of
//! `log.sample`. Pure.

use http::Method;

use super::pattern::Pattern;
use crate::{config::Log, telemetry::Lines};

/// The rules, compiled.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// None of the methods is every method.
    rules: Vec<(Vec<String>, Pattern)>,
    others: Lines,
}

impl Quiet {
    pub(super) fn new(log: &Log) -> Self {
        let rules = log.quiet.iter().map(|rule| (rule.methods.clone(), Pattern::new(&rule.path))).collect();
        Self { rules, others: Lines::of(log.sample) }
    }

    /// What is written of a request to this local path.
    pub(super) fn lines(&self, method: &Method, path: &str) -> Lines {
        let names = |(methods, pattern): &(Vec<String>, Pattern)| {
            (methods.is_empty() || methods.iter().any(|named| named == method.as_str()))
                && pattern.matches(path)
        };
        if self.rules.iter().any(names) { Lines::None } else { self.others }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::Quiet;
    use crate::{
        config::{Log, LogFormat},
        telemetry::Lines,
    };

    #[test]
    fn what_a_rule_names_is_quiet() {
        let rules = ["GET|HEAD /ping", "* /status/*"].map(|rule| rule.parse().unwrap());
        let log = Log {
            format: Some(LogFormat::Json),
            filter: "info".to_owned(),
            access: true,
            failed: false,
            show: false,
            quiet: rules.to_vec(),
            sample: 0.5,
        };
        let quiet = Quiet::new(&log);
        for (method, path, is_quiet) in [
            (Method::GET, "/ping", true),
            (Method::HEAD, "/%70ing/", true),
            (Method::POST, "/ping", false),
            (Method::GET, "/pings", false),
            (Method::POST, "/status/all", true),
            (Method::GET, "/status", false),
        ] {
            let expected = if is_quiet { Lines::None } else { Lines::of(0.5) };
            assert_eq!(quiet.lines(&method, path), expected, "{method} {path}");
        }
        assert_eq!(Quiet::default().lines(&Method::GET, "/ping"), Lines::All);
    }
}
