//! `countersign explain METHOD PATH`: what would be signed and sent for a request, step by step. Nothing is sent.
//!
//! The request goes through the proxy's own chain, which ends before it sends ([`proxy::prepare`]), with the
//! configuration and the credentials that `run` would use; so what stands here is what would have left.
//!
//! | file | what it is |
//! |---|---|
//! | `parse` | the arguments |
//! | `against` | a refusal that somebody has kept: a body, a HAR file, what curl printed |
//! | `explanation` | all that is told, as JSON has it |
//! | `render` | the same for people |

mod against;
mod explanation;
mod parse;
mod render;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use bytes::Bytes;

pub use parse::Wanted;
pub(super) use parse::with_args;

use against::Answer;
use explanation::{Explanation, diagnosed};
use parse::Shape;

use super::{
    asked::{Data, Unreadable, name, read},
    output::{self, in_colour},
};
use crate::{
    config::{self, ApiKey, Config},
    credentials::Sources,
    diagnosis::Diagnosis,
    proxy::{self, Budget, Prepared, Shared, SharedError, Signed, is_probe},
    secret::Secret,
};

/// The request cannot be explained.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ExplainError {
    /// A file that is named cannot be read.
    #[error(transparent)]
    Read(#[from] Unreadable),
    /// Both are to come from standard input.
    #[error("standard input cannot be both the body and the refusal")]
    #[diagnostic(help("put one of them into a file"))]
    StandardInputTwice,
    /// `--against` names something else.
    #[error("{name} holds no refusal: {why}")]
    #[diagnostic(help(
        "keep the body of the gateway's answer, a HAR file of it, or what curl -v printed: curl -v … > FILE 2>&1"
    ))]
    NoRefusal {
        /// As it was named.
        name: String,
        /// What it is.
        why: String,
    },
    /// It never reaches a stage.
    #[error("the proxy answers {path} itself, as its health_path: nothing is signed or sent")]
    #[diagnostic(help("GET and HEAD of a stage's own {path} are reached only under another health_path"))]
    Answered {
        /// Its path.
        path: String,
    },
    /// No stage can be served.
    #[error(transparent)]
    Stage(#[from] SharedError),
    /// HTTP/1.1 cannot carry it.
    #[error("this is no request that a client could send: {0}")]
    NotHttp(String),
    /// The system gives no thread, runtime or output.
    #[error("the system refuses what the command needs")]
    System(#[from] io::Error),
}

/// Explains. The exit code is 1 for a request that the proxy would refuse.
///
/// # Errors
/// [`ExplainError`] when there is nothing to explain.
pub fn run(config: Config, wanted: &Wanted) -> Result<ExitCode, ExplainError> {
    explain(config, wanted).inspect_err(|error| untold(wanted, &output::failure(error)))
}

/// A wrong configuration, as JSON has it where that is asked for.
pub fn mistakes(wrong: &config::Error, wanted: &Wanted) {
    untold(wanted, &output::mistakes(wrong));
}

/// Tells scripts that there is no explanation. People are told by the error itself.
fn untold(wanted: &Wanted, document: &serde_json::Value) {
    if wanted.shape == Shape::Json {
        // Who does not read it goes by the exit code.
        let _ = output::json(document);
    }
}

fn explain(config: Config, wanted: &Wanted) -> Result<ExitCode, ExplainError> {
    let from_input = |path: &Path| path.as_os_str() == "-";
    let body_from_input = matches!(&wanted.asked.body, Some(Data::File(path)) if from_input(path));
    if body_from_input && wanted.against.as_deref().is_some_and(from_input) {
        return Err(ExplainError::StandardInputTwice);
    }
    let body = wanted.asked.body()?;
    let refusal = wanted.against.as_deref().map(refusal).transpose()?;
    let (prepared, signer) = prepare(config, wanted, body.clone(), refusal.as_ref())?;
    let mut out = io::stdout().lock();
    let written = match (&prepared, wanted.shape) {
        (Prepared::Ready(signed), Shape::Curl) => {
            let mut errors = io::stderr().lock();
            writeln!(
                errors,
                "This command holds a signature that API Gateway takes for five minutes, and the API key and session token if \
                 there are any: do not share it."
            )
            .and_then(|()| writeln!(out, "{}", signed.command(&body)))
        }
        (prepared, shape) => {
            let explanation = Explanation::new(prepared, &body, refusal.as_ref(), signer.as_deref());
            match shape {
                Shape::Json => {
                    let text = serde_json::to_string_pretty(&explanation).map_err(io::Error::from)?;
                    writeln!(out, "{text}")
                }
                // Where a command was asked for, a shell may read the output.
                Shape::Curl => io::stderr().lock().write_all(explanation.text(false).as_bytes()),
                Shape::Text => out.write_all(explanation.text(in_colour()).as_bytes()),
            }
        }
    };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(match prepared {
            Prepared::Ready(_) => ExitCode::SUCCESS,
            Prepared::Refused(_) => ExitCode::FAILURE,
        }),
    }
}

fn refusal(path: &Path) -> Result<Answer, ExplainError> {
    let bytes = read(path)?;
    against::read(&bytes).map_err(|why| ExplainError::NoRefusal { name: name(path), why: why.to_string() })
}

/// Has the request go through the chain; says who signs, where the refusal is one that this matters for and STS says it.
fn prepare(
    mut config: Config,
    wanted: &Wanted,
    body: Bytes,
    refusal: Option<&Answer>,
) -> Result<(Prepared, Option<Arc<str>>), ExplainError> {
    if is_probe(&config, &wanted.asked.method, wanted.asked.target.path()) {
        return Err(ExplainError::Answered { path: wanted.asked.target.path().to_owned() });
    }
    // Who explains is no caller, and nobody waits here for a login.
    config.guard.token = None;
    for stage in &mut config.stages {
        stage.credentials.login_command = None;
        match &mut stage.api_key {
            // Nobody is asked as somebody who does not exist.
            Some(key @ ApiKey::Lookup(_)) if wanted.examples => {
                *key = ApiKey::Value(Secret::new("an-example-of-an-API-key"));
            }
            Some(ApiKey::Lookup(lookup)) => lookup.credentials = stage.credentials.clone(),
            _ => {}
        }
    }
    let config = Arc::new(config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signing = || config.stages.iter().filter(|stage| stage.signs()).map(|stage| &stage.credentials);
    let keys = config.stages.iter().filter_map(|stage| stage.api_key.as_ref());
    let asked = signing().filter(|_| !wanted.examples);
    let sources = Sources::start(asked, keys)?;
    if wanted.examples {
        sources.hold_examples(signing());
    }
    let shared = Shared::new(&sources, &Budget::unprobed(&config)?, None);
    let request = wanted.asked.request(body);
    let at = wanted.at.or_else(|| refusal?.date);
    runtime.block_on(async {
        super::run::wait_for_keys(&config, &sources).await;
        let prepared = proxy::prepare(&shared, request, at).await;
        let prepared = prepared.map_err(|error| ExplainError::NotHttp(error.to_string()))?;
        // The example keys are nobody's.
        let signer = match (&prepared, refusal.filter(|_| !wanted.examples)) {
            (Prepared::Ready(signed), Some(refusal)) => signer(signed, refusal, &config, &sources).await,
            _ => None,
        };
        Ok((prepared, signer))
    })
}

/// Who signs, if that is to be known and STS says it.
async fn signer(signed: &Signed, refusal: &Answer, config: &Config, sources: &Sources) -> Option<Arc<str>> {
    diagnosed(signed, refusal, None).filter(Diagnosis::wants_identity)?;
    let key = signed.signing.as_ref()?.access_key_id();
    let stage = config.stages.iter().find(|stage| stage.name == signed.stage)?;
    sources.caller(&stage.credentials, &stage.region, key).await
}
