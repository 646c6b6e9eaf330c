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

use super::{
    asked::Unreadable,
    output::{self, plain},
    stop::Stop,
};
use crate::{
    config::{self, Config},
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
    /// A signal ended the command.
    #[error("a signal ended it before the answer was whole")]
    #[diagnostic(help("whether the stage has the request is not known"))]
    Stopped {
        /// The exit code of a program that this signal ended.
        code: u8,
    },
    /// The system gives no thread, runtime or output.
    #[error("the system refuses what the command needs")]
    System(#[from] io::Error),
}

/// Sends, and writes the answer. The exit code is 22 for a status of 400 or above with `--fail-with-body`.
///
/// # Errors
/// [`RequestError`] when there is no whole answer.
pub fn run(config: Config, wanted: &Wanted) -> Result<ExitCode, RequestError> {
    let done = attempt(config, wanted).unwrap_or_else(|error| {
        answer::untold(wanted, &output::failure(&error));
        Err(error)
    });
    match done {
        Ok(status) if wanted.fail_with_body && status >= 400 => Ok(ExitCode::from(FAILED)),
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error @ RequestError::Stopped { code }) => {
            let _ = io::stderr().lock().write_all(format!("{error}\n").as_bytes());
            Ok(ExitCode::from(code))
        }
        Err(error) => Err(error),
    }
}

/// A wrong configuration, as JSON has it where that is asked for.
pub fn mistakes(wrong: &config::Error, wanted: &Wanted) {
    answer::untold(wanted, &output::mistakes(wrong));
}

/// An error within is one that scripts have been told of.
fn attempt(config: Config, wanted: &Wanted) -> Result<Result<u16, RequestError>, RequestError> {
    let body = wanted.asked.body()?;
    let mut line = Line::start(config, wanted)?;
    match wanted.repeat {
        Some(times) => repeat::send(&mut line, wanted, &body, times),
        None => once(&mut line, wanted, &body),
    }
}

/// The proxy's chain, and what it needs.
struct Line {
    shared: Rc<Shared>,
    /// Kept: credentials are had from it.
    _sources: Rc<Sources>,
    runtime: tokio::runtime::Runtime,
    local: LocalSet,
    /// Signals, where something is to be told when they come. Otherwise they end the process as they always do, also
    /// while whoever reads the answer does not.
    stop: Option<Stop>,
}

impl Line {
    /// For requests of a person who has the configuration, and so is no caller that might not ask.
    fn start(mut config: Config, wanted: &Wanted) -> Result<Self, RequestError> {
        config.guard.token = None;
        for stage in &mut config.stages {
            stage.credentials.login_command = None;
        }
        let config = Arc::new(config);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tells = wanted.json || wanted.repeat.is_some();
        let stop = {
            let _in_runtime = runtime.enter();
            tells.then(Stop::new).transpose()?
        };
        let signing = config.stages.iter().filter(|stage| stage.signs()).map(|stage| &stage.credentials);
        let sources =
            Sources::start(signing, config.stages.iter().filter_map(|stage| stage.api_key.as_ref()))?;
        let shared = Shared::new(&sources, &Budget::unprobed(&config)?, None);
        let sources = Rc::new(sources);
        let local = LocalSet::new();
        let mut line = Self { shared, _sources: Rc::clone(&sources), runtime, local, stop };
        line.wait(super::run::wait_for_keys(&config, &sources))?;
        Ok(line)
    }

    /// Waits until that is done or a signal comes, while connections to stages are kept.
    fn wait<T>(&mut self, what: impl Future<Output = T>) -> Result<T, RequestError> {
        let Self { runtime, local, stop, .. } = self;
        local.block_on(runtime, async {
            let Some(stop) = stop else { return Ok(what.await) };
            tokio::select! {
                done = what => Ok(done),
                code = stop.asked() => Err(RequestError::Stopped { code }),
            }
        })
    }
}

fn once(line: &mut Line, wanted: &Wanted, body: &Bytes) -> Result<Result<u16, RequestError>, RequestError> {
    let mut written = answer::Written::new(wanted)?;
    let (shared, request) = (Rc::clone(&line.shared), wanted.asked.request(body.clone()));
    let sent = line.wait(proxy::send(&shared, request, async |came| written.take(came).await));
    let sent = sent.and_then(|sent| sent.map_err(|error| RequestError::NotHttp(error.to_string())));
    if let Err(error) = sent.and_then(|taken| taken) {
        return Ok(written.failed(&error).and(Err(error)));
    }
    let diagnosis = written.refusal().and_then(|seen| {
        let again = proxy::prepare(&shared, wanted.asked.request(body.clone()), None);
        diagnosed(&seen, &line.wait(again).ok()?.ok()?)
    });
    let status = match written.end(diagnosis.as_ref()) {
        Ok(status) => status,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(diagnosis) = diagnosis {
        // Beside the answer, which a program may read.
        let _ = io::stderr().lock().write_all(told(&diagnosis).as_bytes());
    }
    Ok(Ok(status))
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
            config::Auth::None => RouteAuth::None,
            config::Auth::ApiKey => RouteAuth::ApiKey,
            config::Auth::Iam => RouteAuth::Iam,
            config::Auth::IamAndApiKey => RouteAuth::IamAndApiKey,
        }),
        key_sent: signed.headers.contains_key("x-api-key"),
        signed: signed.signing.is_some(),
        // It was signed for another second.
        ours: None,
        identity_arn: None,
        clock_offset: 0,
    })
}
