//! `countersign check`: whether all is there that `run` needs, and whether the stages answer as the configuration says.
//! Each finding is `ok`, `warn` or `fail`, with what to do; the exit code is 1 when something fails, so that it serves as
//! a container's readiness check.
//!
//! | file | what it looks at |
//! |---|---|
//! | `parse` | the arguments |
//! | `report` | findings, as text and as JSON |
//! | `tries` | requests against the proxy's own rules: nothing is sent |
//! | `way` | the way to a stage: name, TLS, an answer, the clock |
//! | `identity` | credentials, whose they are, what IAM lets them do; the API key |
//! | `probe` | each route, asked with and without what it asks for |

mod identity;
mod parse;
mod probe;
mod report;
mod tries;
mod way;

use std::{cell::RefCell, io, process::ExitCode, rc::Rc, sync::Arc};

use tokio::{task::LocalSet, time};

pub use parse::Wanted;
pub(super) use parse::with_args;

use report::{Finding, Report};

use super::stop::Stop;
use crate::{
    config::{self, ApiKey, Auth, Config, Route, Stage},
    credentials::Sources,
    proxy::{Budget, Shared, SharedError},
    secret::Secret,
};

/// Nothing can be checked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum CheckError {
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

/// Checks, and prints what was found.
///
/// # Errors
/// [`CheckError`] when it cannot.
pub fn run(config: Config, wanted: &Wanted) -> Result<ExitCode, CheckError> {
    let report = Rc::new(Report::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if wanted.tries.is_empty() {
        let checking = async {
            let mut stop = Stop::new()?;
            let all = time::timeout(wanted.timeout, Box::pin(all(unguarded(config), wanted, &report)));
            Ok::<_, CheckError>(tokio::select! {
                done = all => Ok(done),
                code = stop.asked() => Err(code),
            })
        };
        match LocalSet::new().block_on(&runtime, checking)? {
            Ok(Ok(done)) => done?,
            Ok(Err(_)) => {
                let limit = humantime::format_duration(wanted.timeout);
                let finding = Finding::fail("time", format!("not all was looked at in {limit}"));
                report.add(finding.fix("--timeout sets how long it may take; --no-probe asks for less"));
            }
            Err(code) => {
                report.add(Finding::fail("time", "a signal ended it before all was looked at"));
                report.print(wanted.json)?;
                return Ok(ExitCode::from(code));
            }
        }
    } else {
        runtime.block_on(tries::all(unguarded(config).0, &wanted.tries, &report))?;
    }
    report.print(wanted.json)?;
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A wrong configuration, as JSON has it. The exit code is that of every command for one.
///
/// # Errors
/// Standard output cannot be written.
pub fn mistakes(mistakes: &config::Error) -> Result<ExitCode, CheckError> {
    let report = Report::default();
    for problem in &mistakes.problems {
        let fix = miette::Diagnostic::help(problem).map(|help| help.to_string());
        let finding = Finding::fail("config", problem.to_string());
        report.add(fix.into_iter().fold(finding, Finding::fix));
    }
    report.print(true)?;
    Ok(ExitCode::from(2))
}

/// Who checks is no caller that might not ask, and nobody waits for a login.
fn unguarded(mut config: Config) -> (Config, Option<ApiKey>) {
    let token = config.guard.token.take();
    for stage in &mut config.stages {
        stage.credentials.login_command = None;
    }
    (config, token)
}

async fn all(
    (config, token): (Config, Option<ApiKey>),
    wanted: &Wanted,
    report: &Rc<Report>,
) -> Result<(), CheckError> {
    own(&config, token.is_some(), report);
    probe::for_no_stage(&config, &wanted.probes, report);
    let signing = config.stages.iter().filter(|stage| stage.signs()).map(|stage| &stage.credentials);
    let keys = config.stages.iter().filter_map(|stage| stage.api_key.as_ref());
    let sources = Sources::start(signing, keys)?;
    if let Some(from) = &token {
        sources.token(from);
    }
    super::run::wait_for_keys(&config, &sources).await;
    if let Some(from) = &token {
        let token = sources.token(from);
        token.wait(super::run::KEY_WAIT).await;
        report.add(identity::key("token", from, &token));
    }
    for stage in &config.stages {
        let url = &stage.url;
        let scheme = if url.tls { "https" } else { "http" };
        report.stage(&stage.name, format!("{scheme}://{}{}", url.authority, url.path));
        let lines = Lines { config: &config, stage, sources: &sources, made: RefCell::default() };
        let is_there = way::look(&lines, report).await?;
        identity::look(&lines, report).await;
        if is_there && !wanted.no_probe {
            probe::all(&lines, &wanted.probes, report).await?;
        }
    }
    Ok(())
}

/// What this machine alone tells.
fn own(config: &Config, has_token: bool, report: &Report) {
    let from =
        config.file.as_ref().map_or("flags and variables".to_owned(), |file| file.display().to_string());
    let stages = match config.stages.len() {
        1 => "1 stage".to_owned(),
        more => format!("{more} stages"),
    };
    report.add(Finding::ok("config", format!("{from}, {stages}")));
    for exposed in &config.exposed {
        let what = format!("{}: {}", exposed.path.display(), exposed.what);
        report.add(Finding::warn("file modes", what).fix(exposed.fix.clone()));
    }
    if config.exposed.is_empty() {
        report.add(Finding::ok("file modes", "nobody else reads secrets or writes the configuration"));
    }
    for (setting, address) in config.remote().filter(|_| !has_token) {
        let what = format!(
            "{setting} {address}: whoever reaches it uses the credentials, and no token is asked for"
        );
        report.add(Finding::warn("listen", what).fix("set guard.token, or listen on 127.0.0.1"));
    }
}

/// Ways to one stage that differ in what is put into requests.
struct Lines<'a> {
    config: &'a Config,
    stage: &'a Stage,
    sources: &'a Sources,
    made: RefCell<Vec<(Option<Auth>, Rc<Shared>)>>,
}

impl Lines<'_> {
    /// One that puts this in, whatever the rules say, and `None` one that also lends everything: it carries nothing of
    /// value. Connections are kept within each.
    fn with(&self, auth: Option<Auth>) -> Result<Rc<Shared>, CheckError> {
        let known =
            self.made.borrow().iter().find(|(made, _)| *made == auth).map(|(_, line)| Rc::clone(line));
        if let Some(line) = known {
            return Ok(line);
        }
        let mut stage = self.stage.clone();
        let auth_of_all = auth.unwrap_or(Auth::None);
        stage.routes = vec![Route { path: "/*".to_owned(), methods: Vec::new(), auth: auth_of_all }];
        stage.rate_limit = None;
        if auth.is_none() {
            (stage.allow, stage.deny, stage.read_only) = (None, Vec::new(), false);
        }
        let config = Arc::new(Config { stages: vec![stage], ..self.config.clone() });
        let line = Shared::new(self.sources, &Budget::unprobed(&config)?, None);
        self.made.borrow_mut().push((auth, Rc::clone(&line)));
        Ok(line)
    }
}

/// A configuration whose secrets are made up, for what nobody sends.
fn without_secrets(mut config: Config) -> Config {
    for stage in &mut config.stages {
        stage.api_key = stage.api_key.take().map(|_| ApiKey::Value(Secret::new("none")));
    }
    config
}
