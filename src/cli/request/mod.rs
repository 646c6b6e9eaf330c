//! `countersign request METHOD PATH`: one signed request, sent as the proxy sends it, and its answer on standard output.
//!
//! The request goes through the proxy's own chain ([`proxy::send`]), with the configuration and the credentials that
//! `run` would use; only the callers' token is not asked for, and nobody is made to log in.
//!
//! | file | what it is |
//! |---|---|
//! | `parse` | the arguments |
//! | `answer` | what is written of an answer: as it comes, or as JSON |
//! | `repeat` | the same request many times: what came, and how long it took |

mod answer;
mod parse;
mod repeat;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use tokio::task::LocalSet;

pub(super) use answer::{beginning, texts};
pub use parse::Wanted;
pub(super) use parse::with_args;

use super::{asked::Unreadable, output::plain};
use crate::{
    config::Config,
    credentials::Sources,
    diagnosis::{Api, Diagnosis, RouteAuth, Seen, diagnose},
    proxy::{self, Budget, Prepared, Refused, Shared, SharedError},
};

/// The exit code of `--fail-with-body` for a status of 400 or above, as curl has it.
const FAILED: u8 = 22;

/// There is no answer, or it cannot be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RequestError {
    /// A file that is named cannot be read.
    #[error(transparent)]
    Read(#[from] Unreadable),
    /// The answer cannot be put where it was to go.
    #[error("cannot write {}", path.display())]
    Write {
        /// As it was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No stage can be served.
    #[error(transparent)]
    Stage(#[from] SharedError),
    /// HTTP/1.1 cannot carry it.
    #[error("this is no request that a client could send: {0}")]
    NotHttp(String),
    /// The proxy's own answer.
    #[error("{}: {}", .0.code, .0.message)]
    #[diagnostic(help("{}", .0.hint))]
    Refused(Refused),
    /// It ended before its end.
    #[error("the answer broke off after {0} bytes of its body")]
    #[diagnostic(help("what came is written, and is not the whole; ask again"))]
    Cut(u64),
    /// The system gives no thread, runtime or output.
    #[error("the system refuses what the command needs")]
    System(#[from] io::Error),
}

/// Sends, and writes the answer. The exit code is 22 for a status of 400 or above with `--fail-with-body`.
///
/// # Errors
/// [`RequestError`] when there is no whole answer.
pub fn run(config: Config, wanted: &Wanted) -> Result<ExitCode, RequestError> {
    let body = wanted.asked.body()?;
    let line = Line::start(config)?;
    let status = match wanted.repeat {
        Some(times) => repeat::send(&line, wanted, &body, times)?,
        None => once(&line, wanted, &body)?,
    };
    let failed = wanted.fail_with_body && status >= 400;
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// The proxy's chain, and what it needs.
pub(super) struct Line {
    pub(super) config: Arc<Config>,
    pub(super) sources: Sources,
    pub(super) shared: Rc<Shared>,
    runtime: tokio::runtime::Runtime,
    local: LocalSet,
}

impl Line {
    /// For requests of a person who has the configuration, and so is no caller that might not ask.
    pub(super) fn start(mut config: Config) -> Result<Self, RequestError> {
        config.guard.token = None;
        for stage in &mut config.stages {
            stage.credentials.login_command = None;
        }
        let config = Arc::new(config);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signing = config.stages.iter().filter(|stage| stage.signs()).map(|stage| &stage.credentials);
        let sources =
            Sources::start(signing, config.stages.iter().filter_map(|stage| stage.api_key.as_ref()))?;
        let shared = Shared::new(&sources, &Budget::unprobed(&config)?, None);
        let line = Self { config, sources, shared, runtime, local: LocalSet::new() };
        line.wait(super::run::wait_for_keys(&line.config, &line.sources));
        Ok(line)
    }

    /// Waits, while connections to stages are kept.
    pub(super) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.local.block_on(&self.runtime, what)
    }
}

fn once(line: &Line, wanted: &Wanted, body: &Bytes) -> Result<u16, RequestError> {
    let mut written = answer::Written::new(wanted)?;
    let request = wanted.asked.request(body.clone());
    let sent = proxy::send(&line.shared, request, async |came| written.take(came).await);
    let sent = line.wait(sent).map_err(|error| RequestError::NotHttp(error.to_string()));
    if let Err(error) = sent.and_then(|taken| taken) {
        written.failed(&error)?;
        return Err(error);
    }
    let diagnosis = written.refusal().and_then(|seen| {
        let again = proxy::prepare(&line.shared, wanted.asked.request(body.clone()), None);
        diagnosed(&seen, &line.wait(again).ok()?)
    });
    let status = written.end(diagnosis.as_ref())?;
    if let Some(diagnosis) = diagnosis {
        // Beside the answer, which a program may read.
        let _ = io::stderr().lock().write_all(told(&diagnosis).as_bytes());
    }
    Ok(status)
}

/// A diagnosis for a terminal: it holds words of the answer.
fn told(diagnosis: &Diagnosis) -> String {
    let mut out = format!("{}: {}\n", diagnosis.title, plain(&diagnosis.why));
    for step in &diagnosis.steps {
        out.push_str(&format!("  - {}\n", plain(step)));
    }
    if let Some(policy) = &diagnosis.policy {
        out.push_str("The policy:\n");
        // JSON escapes what is below a space, and not the controls behind ASCII.
        for line in serde_json::to_string_pretty(policy).unwrap_or_default().lines() {
            out.push_str(&format!("  {}\n", plain(line)));
        }
    }
    out
}

/// A gateway's refusal, for the diagnosis.
pub(super) struct Refusal<'a> {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'a str, &'a str)>,
    pub(super) body: &'a [u8],
}

/// What it means, if it is a gateway's. `prepared` is the same request once more, as it would be sent.
pub(super) fn diagnosed(refusal: &Refusal<'_>, prepared: &Prepared) -> Option<Diagnosis> {
    let Prepared::Ready(signed) = prepared else { return None };
    diagnose(&Seen {
        status: refusal.status,
        headers: &refusal.headers,
        body: refusal.body,
        api: Api::Unknown,
        method: signed.method.as_str(),
        path: signed.target.split('?').next().unwrap_or_default(),
        route_auth: Some(match signed.auth {
            crate::config::Auth::None => RouteAuth::None,
            crate::config::Auth::ApiKey => RouteAuth::ApiKey,
            crate::config::Auth::Iam => RouteAuth::Iam,
            crate::config::Auth::IamAndApiKey => RouteAuth::IamAndApiKey,
        }),
        key_sent: signed.headers.contains_key("x-api-key"),
        signed: signed.signing.is_some(),
        // It was signed for another second.
        ours: None,
        identity_arn: None,
        clock_offset: 0,
    })
}
