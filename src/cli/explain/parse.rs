//! The arguments of `countersign explain` beside the settings.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::ValueParser};
use http::{HeaderName, HeaderValue, Method, uri::PathAndQuery};

use crate::{
    config::{Mistake, STAGE_URL},
    sigv4::parse_amz_date,
};

/// What is to be explained, and how it is shown.
#[derive(Debug)]
pub struct Wanted {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Option<Data>,
    pub(super) at: Option<SystemTime>,
    /// `-` is standard input.
    pub(super) against: Option<PathBuf>,
    pub(super) examples: bool,
    pub(super) shape: Shape,
}

/// A body, or where it is.
#[derive(Debug, Clone)]
pub(super) enum Data {
    Text(String),
    /// `-` is standard input.
    File(PathBuf),
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
        let required = "clap asks for it";
        let shape = match (matches.get_flag("json"), matches.get_flag("curl")) {
            (true, _) => Shape::Json,
            (_, true) => Shape::Curl,
            _ => Shape::Text,
        };
        Self {
            method: matches.get_one::<Method>("method").expect(required).clone(),
            target: matches.get_one::<PathAndQuery>("path").expect(required).clone(),
            headers: matches.get_many("header").unwrap_or_default().cloned().collect(),
            body: matches.get_one("data").cloned(),
            at: matches.get_one("at").copied(),
            against: matches.get_one("against").cloned(),
            examples: matches.get_flag("example_keys"),
            shape,
        }
    }
}

/// Adds them to a command that has the settings' already.
pub(in crate::cli) fn with_args(command: Command) -> Command {
    const HEADING: &str = "Request";
    let switch = |name: &'static str, long: &'static str, help: &'static str| {
        Arg::new(name).long(long).action(ArgAction::SetTrue).help_heading(HEADING).help(help)
    };
    command.mut_arg(STAGE_URL, |url| url.index(3)).args([
        Arg::new("method")
            .value_name("METHOD")
            .index(1)
            .required(true)
            .value_parser(method)
            .help("The method, in capitals: GET, POST"),
        Arg::new("path").value_name("PATH").index(2).required(true).value_parser(target).help(
            "Path and query as a client of the proxy asks for them: the stage's own path is put before it",
        ),
        Arg::new("data")
            .short('d')
            .long("data")
            .value_name("BODY|@FILE")
            .value_parser(data)
            .help_heading(HEADING)
            .help("The body, or the file that holds it; @- reads standard input"),
        Arg::new("header")
            .short('H')
            .long("header")
            .value_name("NAME: VALUE")
            .action(ArgAction::Append)
            .value_parser(field)
            .help_heading(HEADING)
            .help("A header of the client's; may be given several times"),
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

fn method(text: &str) -> Result<Method, Mistake> {
    Method::from_bytes(text.as_bytes()).map_err(|_| Mistake::new("not a method: GET or POST, say"))
}

fn target(text: &str) -> Result<PathAndQuery, Mistake> {
    if !text.starts_with('/') {
        return Err(Mistake::new("not a path: it begins with /, as clients of the proxy ask for it"));
    }
    if text.contains('#') {
        return Err(Mistake::new("a fragment is never sent; write # as %23"));
    }
    text.parse().map_err(|_| Mistake::new("a character here cannot stand in a URL; write a space as %20"))
}

fn data(text: &str) -> Result<Data, Mistake> {
    Ok(match text.strip_prefix('@') {
        Some("") => return Err(Mistake::new("a file's name is missing after @")),
        Some(file) => Data::File(file.into()),
        None => Data::Text(text.to_owned()),
    })
}

fn field(text: &str) -> Result<(HeaderName, HeaderValue), Mistake> {
    // Curl's way to write one without a value.
    let (name, value) = match text.split_once(':') {
        Some(pair) => pair,
        None => (text.strip_suffix(';').ok_or_else(|| Mistake::new("not a header: \"name: value\""))?, ""),
    };
    let name = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| Mistake::new("the header's name has a character that none can have"))?;
    let value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes()).map_err(|_| {
        Mistake::new("the header's value has a character that none can have, such as a line break")
    })?;
    Ok((name, value))
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

    use super::{Data, data, field, target, time};

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

    #[test]
    fn headers_and_bodies() {
        for (text, name, value) in [
            ("Content-Type: text/plain", "content-type", "text/plain"),
            ("x-a:b:c", "x-a", "b:c"),
            ("x-empty;", "x-empty", ""),
            ("x-empty:", "x-empty", ""),
        ] {
            let found = field(text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!((found.0.as_str(), found.1.to_str().ok()), (name, Some(value)));
        }
        for text in ["x-a", "x a: b", ": b", "x-a: b\r\nx-c: d", ""] {
            assert!(field(text).is_err(), "{text}");
        }
        assert!(matches!(data("@x"), Ok(Data::File(path)) if path.as_os_str() == "x"));
        assert!(matches!(data("x@"), Ok(Data::Text(_))));
        assert!(data("@").is_err());
        for text in ["x", "", "/a#b", "/a b", "http://localhost:8080/a", "/a\nb"] {
            assert!(target(text).is_err(), "{text}");
        }
        assert_eq!(target("/a\"{b}?c={d}").unwrap().as_str(), "/a\"{b}?c={d}");
    }
}
