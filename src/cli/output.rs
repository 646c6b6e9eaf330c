//! What commands print: for people in colour on a terminal, plain elsewhere; for scripts one JSON document.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use serde_json::{Value, json};

use crate::config;

/// Whether standard output may be coloured: it is a terminal that obeys, and `NO_COLOR` is not set
/// (<https://no-color.org>).
#[must_use]
pub fn in_colour() -> bool {
    io::stdout().is_terminal() && wanted()
}

/// Whether standard error may be coloured.
#[must_use]
pub fn errors_in_colour() -> bool {
    io::stderr().is_terminal() && wanted()
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && obeyed()
}

/// Whether terminals take escapes here: `TERM` names one that does more than print (`dumb` of terminfo's does not).
#[must_use]
pub fn obeyed() -> bool {
    std::env::var_os("TERM").is_some_and(|name| !name.is_empty() && name != "dumb")
}

/// What part of a line is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// What went well.
    Good,
    /// What a person should look at.
    Warn,
    /// What failed.
    Bad,
    /// What matters most.
    Strong,
    /// What matters least.
    Faint,
}

/// Colours pieces of text, or leaves them as they are.
#[derive(Debug, Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    /// In colour or not: [`in_colour`], [`errors_in_colour`].
    #[must_use]
    pub const fn new(colour: bool) -> Self {
        Self(colour)
    }

    /// The text in its colour.
    #[must_use]
    pub fn tone(self, tone: Tone, text: &str) -> String {
        if !self.0 {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Writes text to standard output. A reader that has seen enough is no failure.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes one JSON document to standard output, indented, with a line break at its end.
///
/// # Errors
/// Standard output cannot be written.
pub fn json(document: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
    text.push('\n');
    print(&text)
}

/// What scripts are told of a failure, in the place of a result: `{"error":{"message","hint"}}`.
#[must_use]
pub fn failure(error: &dyn miette::Diagnostic) -> Value {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(because) = cause {
        // A source that says the same again adds nothing.
        let text = because.to_string();
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        cause = because.source();
    }
    json!({ "error": { "message": message, "hint": error.help().map(|hint| hint.to_string()) } })
}

/// The same of a wrong configuration, with each of its mistakes.
#[must_use]
pub fn mistakes(wrong: &config::Error) -> Value {
    let mut document = failure(wrong);
    let each = wrong.problems.iter().map(|problem| failure(problem)["error"].take());
    document["error"]["mistakes"] = each.collect();
    document
}

/// A word that cannot move the cursor or colour what follows it: what came from elsewhere, shown on a terminal.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::{Paint, Tone, plain};

    #[test]
    fn without_colour_nothing_is_added() {
        assert_eq!(Paint::new(false).tone(Tone::Bad, "no"), "no");
        assert_eq!(Paint::new(true).tone(Tone::Bad, "no"), "\x1b[31mno\x1b[0m");
        assert_eq!(plain("a\x1b[31mb\nc"), "a [31mb c");
    }
}
