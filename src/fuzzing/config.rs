//! The configuration file: any text is judged, mistakes say where, and no key is shown.

use std::{ffi::OsString, path::Path};

use clap::Command;
use toml::{Table, Value};

use super::plain::LONGEST;
use crate::config::{ApiKey, Config, Error, Given, Kind, Place, load_text, parse_tolerantly, with_args};

/// Where it stands in a text, this is the key, or a part of it.
const KEY: &str = "hunter2";

/// `input` is the text of a configuration file.
///
/// # Panics
/// When a mistake has no line, when a key is shown, or when what is taken is not complete, or not the same once it is
/// written anew.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // A `ca_bundle` is opened, and devices may wait for ever.
    if text.len() > LONGEST || text.contains("/dev/") || text.contains("/proc/") {
        return;
    }
    let table = text.trim_start_matches('\u{feff}').parse::<Table>().ok();
    let secret =
        text.matches(KEY).count() == 1 && table.as_ref().is_some_and(|table| holds_key(table, false));
    match load(text) {
        Ok(config) => {
            let table = table.unwrap_or_else(|| panic!("what is not TOML was taken: {text}"));
            assert_complete(&config, text);
            let anew = load(&toml::to_string(&table).expect("a table can be written"));
            let anew = anew.unwrap_or_else(|error| panic!("written anew: {}\n{text}", error.render(false)));
            assert_eq!(shown(&config), shown(&anew), "{text}");
            assert_eq!(keys(&config), keys(&anew), "{text}");
        }
        Err(error) => assert_told(&error, text, secret),
    }
    if secret && let Err(error) = load(&broken(text)) {
        assert_told(&error, &broken(text), true);
    }
}

/// What a file with this text says to a program without flags and variables.
fn load(text: &str) -> Result<Config, Error> {
    thread_local! {
        static GIVEN: Given = {
            let arguments = [OsString::from("countersign")];
            let (matches, bad) = parse_tolerantly(with_args(Command::new("countersign")), &arguments, None)
                .expect("no arguments are right usage");
            Given::new(&matches, bad, &[]).expect("clap reads what it has parsed")
        };
    }
    GIVEN.with(|given| load_text(given, Path::new("fuzz.toml"), text))
}

/// Whether the key is part of a text below `api_key`.
fn holds_key(table: &Table, below: bool) -> bool {
    table.iter().any(|(name, value)| is_key(value, below || name == "api_key"))
}

fn is_key(value: &Value, below: bool) -> bool {
    match value {
        Value::String(text) => below && text.contains(KEY),
        Value::Array(values) => values.iter().any(|value| is_key(value, below)),
        Value::Table(table) => holds_key(table, below),
        _ => false,
    }
}

/// The text with one character too many, or one too few, at a place that depends on the text.
fn broken(text: &str) -> String {
    const ADDED: &str = "\"'=[]{}#\n,. \\xü";
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let below = |number: u64, bound: usize| (number % bound.max(1) as u64) as usize;
    let mut all: Vec<char> = text.chars().collect();
    let at = below(hash >> 8, all.len());
    match ADDED.chars().nth(below(hash >> 40, ADDED.chars().count() + 4)) {
        Some(added) => all.insert(at, added),
        None => drop(all.remove(at)),
    }
    all.into_iter().collect()
}

fn assert_told(error: &Error, text: &str, secret: bool) {
    assert!(!error.problems.is_empty(), "{text}");
    let lines = text.split('\n').count();
    for problem in &error.problems {
        assert!(!problem.mistake.what.is_empty(), "{problem:?}\n{text}");
        match &problem.place {
            Place::File { line, column, .. } => {
                assert!((1..=lines).contains(line) && *column > 0, "{problem:?}\n{text}");
            }
            place => {
                let of_a_line =
                    matches!(problem.kind, Kind::Syntax | Kind::UnknownKey | Kind::Value | Kind::Unsafe);
                assert!(!of_a_line, "{place:?} is no line: {problem:?}\n{text}");
            }
        }
    }
    let each: String = error.problems.iter().map(|problem| format!("{problem}\n")).collect();
    let all = format!("{error} {each} {error:?} {} {}", error.render(false), error.render(true));
    assert!(!secret || !all.contains(KEY), "{all}\nshows the key of\n{text}");
}

/// Everything but keys.
fn shown(config: &Config) -> String {
    let shown = format!("{config:?}");
    let written = config.stages.iter().any(|stage| match &stage.api_key {
        Some(ApiKey::Value(secret)) => secret.expose().contains(KEY),
        _ => false,
    });
    // Then it is nowhere else, unless it was written there too.
    assert!(!written || shown.contains("Secret(hidden)"), "{shown}");
    shown
}

fn keys(config: &Config) -> Vec<&Option<ApiKey>> {
    config.stages.iter().map(|stage| &stage.api_key).collect()
}

/// What `Config` promises about itself.
fn assert_complete(config: &Config, text: &str) {
    assert!(!config.listen.is_empty() && !config.stages.is_empty(), "{text}");
    assert!(config.limits.max_buffered >= config.limits.max_body && config.limits.max_body > 0, "{text}");
    for (number, stage) in config.stages.iter().enumerate() {
        let others = &config.stages[..number];
        assert!(others.iter().all(|other| other.mount != stage.mount && other.name != stage.name), "{text}");
        assert!(
            stage.mount == "/" || (stage.mount.starts_with('/') && !stage.mount.ends_with('/')),
            "{text}"
        );
        assert!(!stage.signs() || !stage.region.is_empty(), "{text}");
        let path = &stage.url.path;
        assert!(path.is_empty() || (path.starts_with('/') && !path.ends_with('/')), "{text}");
        let host = &stage.url.host;
        let local =
            host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.") || host == "::1";
        assert!(stage.url.tls || local || host.starts_with("::ffff:127."), "{text}");
    }
}
