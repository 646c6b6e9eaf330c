//! `countersign policy`: the least that IAM has to allow the signer for the configured routes, or for the traffic that a
//! log tells of. Nothing is sent to a stage; STS is asked for the account, unless it is given.
//!
//! | file | what it is |
//! |---|---|
//! | `parse` | the arguments |
//! | `arn` | the API behind a stage, and the ARN of what is called there |
//! | `routes` | what the configuration has called: its rules, and what is lent out |
//! | `log` | what was called: lines of log, as JSON or as a terminal shows them |
//! | `write` | the policy as JSON, for Terraform, for the CDK |

pub(super) mod arn;
mod log;
mod parse;
pub(super) mod routes;
mod write;

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    process::ExitCode,
};

pub use parse::Wanted;
pub(super) use parse::with_args;

use arn::{Api, Unknown};

use super::{
    asked::{Unreadable, name, read},
    output,
};
use crate::{
    aws::{self, sts},
    config::{Config, Stage},
    credentials,
};

/// There is no policy to be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PolicyError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] Unreadable),
    /// No stage signs, or all that is signed is denied.
    #[error("nothing is signed, so nothing has to be allowed")]
    #[diagnostic(help("a route with auth = \"iam\" or \"iam+api-key\" is signed, and what no rule names"))]
    Nothing,
    /// The log tells of nothing that was signed and let in.
    #[error("{name} tells of no signed request that was let in")]
    #[diagnostic(help(
        "keep what `countersign run` writes on standard error (2> access.log), with this configuration and log.access on"
    ))]
    NothingSeen {
        /// As the log was named.
        name: String,
    },
    /// The API cannot be told from a stage's URL.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Api(#[from] Unknown),
    /// `--api` is for no stage that the policy is of.
    #[error("--api is for {what}")]
    #[diagnostic(help("--api NAME=ID/STAGE, where NAME is one of {}", stages.join(", ")))]
    NoStage {
        /// What it is for instead.
        what: String,
        /// The names that there are.
        stages: Vec<String>,
    },
    /// There are no credentials to ask for the account with.
    #[error("whose account it is cannot be asked: {}", .0.message())]
    #[diagnostic(help("{}; or name the account: --account 111122223333", .0.hint()))]
    Credentials(credentials::Problem),
    /// STS does not tell the account.
    #[error("whose account it is cannot be told: {0}")]
    #[diagnostic(help("{}; or name the account: --account 111122223333", .0.hint()))]
    Account(aws::Problem),
    /// The system gives no runtime or output.
    #[error("the system refuses what the command needs")]
    System(#[from] io::Error),
}

/// What is called at one stage.
struct Called<'a> {
    stage: &'a Stage,
    /// `VERB/path`, as in an ARN.
    what: BTreeSet<String>,
}

/// Writes the policy to standard output, and what is to be said about it to standard error.
///
/// # Errors
/// [`PolicyError`] when there is none.
pub fn run(config: &Config, wanted: &Wanted) -> Result<ExitCode, PolicyError> {
    let mut notes = Vec::new();
    let signing = || config.stages.iter().filter(|stage| stage.signs() && stage.service == arn::SERVICE);
    for stage in config.stages.iter().filter(|stage| stage.signs() && stage.service != arn::SERVICE) {
        notes.push(format!(
            "stage {} is of {}, which has actions of its own: it is left out",
            stage.name, stage.service
        ));
    }
    let mut called: Vec<_> = match &wanted.from_log {
        Some(path) => {
            let text = read(path)?;
            let seen = log::read(&String::from_utf8_lossy(&text), config, &mut notes);
            seen.into_iter().map(|(stage, what)| Called { stage, what }).collect()
        }
        None => signing().map(|stage| Called { stage, what: routes::of(stage, &mut notes) }).collect(),
    };
    called.retain(|called| !called.what.is_empty());
    if called.is_empty() {
        say(&notes);
        return Err(match &wanted.from_log {
            Some(path) => PolicyError::NothingSeen { name: name(path) },
            None => PolicyError::Nothing,
        });
    }
    // Before anybody is asked, what can be known without.
    let alone = called.len() == 1;
    let names: Vec<&str> = signing().map(|stage| stage.name.as_str()).collect();
    if let Some(what) = wanted.for_no_stage(&names, alone) {
        let stages = names.into_iter().map(str::to_owned).collect();
        return Err(PolicyError::NoStage { what, stages });
    }
    let apis: Vec<_> =
        called.iter().map(|called| wanted.api(called.stage, alone)).collect::<Result<_, _>>()?;
    let mut statements: Vec<write::Statement> = Vec::new();
    for (called, api) in called.iter().zip(apis) {
        let account = match &wanted.account {
            Some(account) => account.clone(),
            None => account_of(called.stage)?,
        };
        let resources = api.resources(&called.stage.region, &account, &called.what);
        match statements.iter_mut().find(|one| one.is_of(&called.stage.name)) {
            Some(statement) => statement.add(resources),
            None => statements.push(write::Statement::new(&called.stage.name, resources)),
        }
    }
    let policy = write::Policy::new(statements);
    notes.extend(policy.too_long());
    output::print(&policy.text(wanted.format))?;
    say(&notes);
    Ok(ExitCode::SUCCESS)
}

/// The account of those who sign a stage's requests, by STS. The API may be another account's: `--account` says so.
fn account_of(stage: &Stage) -> Result<String, PolicyError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let asked = credentials::account(&stage.credentials, Some(&stage.region)).await;
        let account = asked.map_err(PolicyError::Credentials)?;
        Ok(sts::caller(&account).await.map_err(PolicyError::Account)?.account)
    })
}

fn say(notes: &[String]) {
    let mut errors = io::stderr().lock();
    for note in notes {
        // Beside the policy, which a program may read.
        let _ = writeln!(errors, "note: {}", output::plain(note));
    }
}

/// The ARNs of all that a stage's configuration has signed there, or none when its API cannot be told.
pub(super) fn needed(stage: &Stage, account: &str) -> Vec<String> {
    let Ok(api) = Api::of(stage) else { return Vec::new() };
    api.resources(&stage.region, account, &routes::of(stage, &mut Vec::new()))
}

/// The configuration that this text is.
#[cfg(test)]
fn loaded(text: &str) -> Config {
    let command = crate::config::with_args(clap::Command::new("x"));
    let (matches, bad) =
        crate::config::parse_tolerantly(command, &["x".into()], None).expect("no argument is wrong");
    let given = crate::config::Given::new(&matches, bad, &[]).expect("clap reads what it has parsed");
    let loaded = crate::config::load_text(&given, std::path::Path::new("test.toml"), text);
    loaded.unwrap_or_else(|error| panic!("{}", error.render(false)))
}
