//! The arguments of `countersign request` beside the settings.

use std::{num::NonZeroU32, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::ValueParser};

use crate::cli::asked::{self, Asked, HEADING};

/// What is to be sent, and what is written of the answer.
#[derive(Debug)]
pub struct Wanted {
    pub(super) asked: Asked,
    /// The head too.
    pub(super) include: bool,
    /// Where the answer goes; standard output unless it is named.
    pub(super) output: Option<PathBuf>,
    pub(super) fail_with_body: bool,
    pub(super) repeat: Option<NonZeroU32>,
    pub(super) json: bool,
}

impl Wanted {
    /// From what [`with_args`] took.
    pub(in crate::cli) fn new(matches: &ArgMatches) -> Self {
        Self {
            asked: Asked::new(matches),
            include: matches.get_flag("include"),
            output: matches.get_one("output").cloned(),
            fail_with_body: matches.get_flag("fail_with_body"),
            repeat: matches.get_one("repeat").copied(),
            json: matches.get_flag("json"),
        }
    }
}

/// Adds them to a command that has the settings' already.
pub(in crate::cli) fn with_args(command: Command) -> Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help_heading(HEADING).help(help)
    };
    asked::with_args(command).args([
        switch("include", "Write the answer's status and headers before its body").short('i'),
        Arg::new("output")
            .short('o')
            .long("output")
            .value_name("FILE")
            .value_parser(ValueParser::path_buf())
            .help_heading(HEADING)
            .help("Write the answer into this file instead of standard output"),
        Arg::new("fail_with_body")
            .long("fail-with-body")
            .action(ArgAction::SetTrue)
            .help_heading(HEADING)
            .help("Exit with 22 when the status is 400 or above; the answer is written all the same"),
        Arg::new("repeat")
            .long("repeat")
            .value_name("TIMES")
            .value_parser(clap::value_parser!(NonZeroU32))
            .conflicts_with_all(["include", "output"])
            .help_heading(HEADING)
            .help("Send it so often, one after the other, and write what came and how long it took"),
        switch("json", "Print the answer as JSON: status, headers, body and time").conflicts_with("include"),
    ])
}
