//! The arguments of `countersign explain` beside the settings.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::ValueParser};

use crate::{
    cli::asked::{self, Asked, HEADING},
    config::Mistake,
    sigv4::parse_amz_date,
};

/// What is to be explained, and how it is shown.
#[derive(Debug)]
pub struct Wanted {
    pub(super) asked: Asked,
    pub(super) at: Option<SystemTime>,
    /// `-` is standard input.
    pub(super) against: Option<PathBuf>,
    pub(super) examples: bool,
    pub(super) shape: Shape,
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Json,
    Curl,
}

impl Wanted {
    /// From what [`with_args`] took.
    pub(in crate::cli) fn new(matches: &ArgMatches) -> Self {
        let shape = match (matches.get_flag("json"), matches.get_flag("curl")) {
            (true, _) => Shape::Json,
            (_, true) => Shape::Curl,
            _ => Shape::Text,
        };
        Self {
            asked: Asked::new(matches),
            at: matches.get_one("at").copied(),
            against: matches.get_one("against").cloned(),
            examples: matches.get_flag("example_keys"),
            shape,
        }
    }
}

/// Adds them to a command that has the settings' already.
pub(in crate::cli) fn with_args(command: Command) -> Command {
    let switch = |name: &'static str, long: &'static str, help: &'static str| {
        Arg::new(name).long(long).action(ArgAction::SetTrue).help_heading(HEADING).help(help)
    };
    asked::with_args(command).args([
        Arg::new("at")
            .long("at")
            .value_name("TIME")
            .value_parser(time)
            .help_heading(HEADING)
            .help("Sign for this time instead of now: 2026-11-25T03:04:05Z or 20261125T030405Z"),
        Arg::new("against")
            .long("against")
            .value_name("FILE")
            .value_parser(ValueParser::path_buf())
            .help_heading(HEADING)
            .help(
                "Compare with a refusal: the body of the gateway's answer, a HAR file, or what curl -v (or -i) printed; - \
                 reads standard input. Without --at its own time is signed for",
            ),
        switch("example_keys", "example-keys", "Sign with the keys of AWS's documentation, which open nothing, instead of your own"),
        switch("curl", "curl", "Print a curl command with the signature in it, for one use within five minutes. It holds the API key and the session token")
            .conflicts_with_all(["json", "against"]),
        switch("json", "json", "Print JSON"),
    ])
}

fn time(text: &str) -> Result<SystemTime, Mistake> {
    parse_amz_date(text)
        .or_else(|| rfc3339(text))
        .ok_or_else(|| Mistake::new("not a time: 2026-11-25T03:04:05Z, or 20261125T030405Z"))
}

/// RFC 3339 section 5.6, with `Z` or an offset.
fn rfc3339(text: &str) -> Option<SystemTime> {
    let upper = text.to_ascii_uppercase();
    if let Ok(at) = humantime::parse_rfc3339(&upper) {
        return Some(at);
    }
    let (local, offset) = upper.split_at_checked(upper.len().checked_sub(6)?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let number = |text: &str, below: u64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| digits && *number < below)
    };
    let offset_seconds = number(hours, 24)? * 3600 + number(minutes, 60)? * 60;
    let at = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let shift = Duration::from_secs(offset_seconds);
    match offset.as_bytes()[0] {
        b'+' => at.checked_sub(shift),
        b'-' => at.checked_add(shift),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::time;

    #[test]
    fn times() {
        for text in [
            "20150830T123600Z",
            "2015-08-30T12:36:00Z",
            "2015-08-30t12:36:00z",
            "2015-08-30T14:36:00+02:00",
            "2015-08-30T08:06:00-04:30",
        ] {
            assert_eq!(time(text).ok(), Some(UNIX_EPOCH + Duration::from_secs(1_440_938_160)), "{text}");
        }
        for text in [
            "",
            "now",
            "2015-08-30",
            "20150830T123600",
            "2015-08-30T14:36:00+2:00",
            "2015-08-30T14:36:00+24:00",
            "é+02:00",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
