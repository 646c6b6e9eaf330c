//! Questions to a person, on a terminal and there alone.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::InitError;
use crate::cli::output::plain;

/// Whether anybody can be asked.
pub(super) fn somebody() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A line for a person, beside what the command prints.
///
/// # Errors
/// Standard error cannot be written.
pub(super) fn say(text: &str) -> io::Result<()> {
    let mut errors = io::stderr().lock();
    writeln!(errors, "{text}")
}

/// One of these: the only one, the one that a person picks, or nobody can say which.
///
/// # Errors
/// Several fit and nobody can be asked; `flag` says which with a flag. Or nobody answers with a number of them.
pub(super) fn one_of<T>(
    what: &str,
    flag: &str,
    mut among: Vec<(String, T)>,
    ask: bool,
) -> Result<Option<T>, InitError> {
    if among.len() < 2 {
        return Ok(among.pop().map(|(_, it)| it));
    }
    let names: Vec<String> = among.iter().map(|(name, _)| plain(name)).collect();
    if !ask || !somebody() {
        let there = names.iter().map(|name| format!("\n  {name}")).collect();
        return Err(InitError::Several { what: what.to_owned(), there, flag: flag.to_owned() });
    }
    say(&format!("There is more than one {what}:"))?;
    for (index, name) in names.iter().enumerate() {
        say(&format!("  {}  {name}", index + 1))?;
    }
    let answer = answer(&format!("Which one? [1-{}] ", names.len()))?;
    let picked = answer.parse::<usize>().ok().filter(|number| (1..=names.len()).contains(number));
    let Some(number) = picked else { return Err(InitError::Declined) };
    Ok(Some(among.swap_remove(number - 1).1))
}

/// Whether the answer is yes.
///
/// # Errors
/// The terminal cannot be written or read.
pub(super) fn yes(question: &str) -> io::Result<bool> {
    let answer = answer(&format!("{question} [y/N] "))?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn answer(question: &str) -> io::Result<String> {
    let mut errors = io::stderr().lock();
    errors.write_all(question.as_bytes())?;
    errors.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
