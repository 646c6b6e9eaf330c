//! The commented example is right as it stands, and with each of its comments taken as said.

use super::from_file;
use crate::config::generate::sections;

const EXAMPLE: &str = include_str!("../../../config/countersign.toml");

/// The text with what is commented out made part of it. Prose has no ` = ` after its first word.
fn uncommented() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with('[') => rest,
        Some(rest) if rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')) => rest,
        _ => line,
    });
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    // The one file that must be there.
    text.replace("/etc/ssl/corp.pem", "Cargo.toml")
}

#[test]
fn the_example_is_right() {
    for text in [EXAMPLE, &uncommented()] {
        if let Err(error) = from_file(text) {
            panic!("{}", error.render(false));
        }
    }
}

#[test]
fn it_has_every_setting() {
    let table: toml::Table = uncommented().parse().expect("it is TOML");
    for entry in sections().into_iter().flat_map(|(.., entries)| entries) {
        // A secret has one source; the others are named in the comment above it.
        let secret = ["stage.api_key.", "guard.token."].iter().any(|prefix| entry.key.starts_with(prefix));
        if secret || entry.key == "stage.route" {
            continue;
        }
        let mut at = &toml::Value::Table(table.clone());
        for name in entry.key.split('.') {
            at = at.get(name).unwrap_or_else(|| panic!("{} is not in config/countersign.toml", entry.key));
            at = at.as_array().and_then(|list| list.first()).filter(|first| first.is_table()).unwrap_or(at);
        }
    }
}

#[test]
fn what_it_calls_default_is_the_default() {
    let table: toml::Table = uncommented().parse().expect("it is TOML");
    let limits = table["limits"].as_table().expect("a section");
    let (.., entries) =
        sections().into_iter().find(|(heading, ..)| heading == "[limits]").expect("the section of limits");
    for entry in entries {
        let name = entry.key.trim_start_matches("limits.");
        assert_eq!(Some(limits[name].to_string()), entry.default, "{name}");
    }
}
