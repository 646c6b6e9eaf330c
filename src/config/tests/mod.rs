//! Flags, variables and files as a person gives them, and what comes of them.

mod example;
mod mistakes;
mod precedence;
mod secrets;
mod stages;

use std::{ffi::OsString, path::Path};

use clap::Command;

use super::{Config, Error, Given, file, given::parse_tolerantly, given::with_args, resolve::resolve};

/// What the command line and the environment say.
fn given(flags: &[&str], variables: &[(&str, &str)]) -> Given {
    let arguments: Vec<OsString> = ["countersign"].iter().chain(flags).map(Into::into).collect();
    let (matches, bad) =
        parse_tolerantly(with_args(Command::new("countersign")), &arguments, None).expect("right usage");
    let environment: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Given::new(&matches, bad, &environment).expect("clap reads what it has parsed")
}

/// As [`super::load`], with the file's text in place of a file.
pub(in crate::config) fn load(
    flags: &[&str],
    variables: &[(&str, &str)],
    text: Option<&str>,
) -> Result<Config, Error> {
    let given = given(flags, variables);
    let file = text.map(|text| file::parse(Path::new("test.toml"), text)).transpose().map_err(Error::new)?;
    resolve(&given, file)
}

fn from_file(text: &str) -> Result<Config, Error> {
    load(&[], &[], Some(text))
}

/// Everything that an error says, in every way in which it can be shown.
fn all_text(error: &Error) -> String {
    let each: String = error.problems.iter().map(|problem| format!("{problem}\n")).collect();
    format!("{error}\n{each}\n{}\n{}\n{error:?}\n{error:#?}", error.render(false), error.render(true))
}
