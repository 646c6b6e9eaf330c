//! `login_command`: has a person log in when a session is over, once, and only when somebody on this machine waits.
//!
//! It is run when all of this holds: the source says that only a login helps, what is held cannot be used, a caller on
//! this machine was just refused for it, and no login was tried since credentials last were good. What it says goes to
//! the proxy's standard error, where the address to open is read; a login that comes about by other means ends it.
//!
//! Or a person asks for it at the inspector ([`ByHand`]): then it is run whatever is held, one at a time.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use tokio::task::JoinHandle;

use super::{
    command,
    problem::{Kind, Problem},
};

/// A person has to find the window, the password and the second factor.
const LIMIT: Duration = Duration::from_secs(600);

/// No login is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefused {
    /// The configuration has no `login_command` there.
    #[error("no login_command is configured")]
    NoCommand,
    /// One is wanted or runs already.
    #[error("a login is under way")]
    UnderWay,
}

/// Whether a login can be asked for by hand, shared by who asks and the task that begins it.
#[derive(Debug, Default)]
pub(super) struct ByHand(AtomicU8);

impl ByHand {
    const NO_COMMAND: u8 = 0;
    const IDLE: u8 = 1;
    const ASKED: u8 = 2;
    const RUNS: u8 = 3;

    /// There is a command.
    pub fn allow(&self) {
        self.0.store(Self::IDLE, Ordering::Release);
    }

    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Acquire) != Self::NO_COMMAND
    }

    /// Asks for it.
    pub fn ask(&self) -> Result<(), LoginRefused> {
        match self.0.compare_exchange(Self::IDLE, Self::ASKED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(Self::NO_COMMAND) => Err(LoginRefused::NoCommand),
            Err(_) => Err(LoginRefused::UnderWay),
        }
    }

    /// Whether it is asked for; from then on it counts as under way.
    pub fn take(&self) -> bool {
        self.0.compare_exchange(Self::ASKED, Self::RUNS, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// A login runs, or none does any more. One that was asked for meanwhile stays so.
    pub fn runs(&self, runs: bool) {
        let (from, to) = if runs { (Self::IDLE, Self::RUNS) } else { (Self::RUNS, Self::IDLE) };
        let _ = self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// The command of one source, and what became of it.
#[derive(Debug)]
pub(super) struct Login {
    words: Vec<String>,
    running: Option<JoinHandle<()>>,
    tried: bool,
    /// Whether a person asked for what runs: then good credentials do not end it.
    by_hand: bool,
}

impl Login {
    /// With this command; without one nothing ever happens.
    pub fn new(words: Option<Vec<String>>) -> Self {
        Self { words: words.unwrap_or_default(), running: None, tried: false, by_hand: false }
    }

    /// Whether the command runs.
    pub fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.is_finished())
    }

    /// Whether trouble of this kind ends with a login.
    pub const fn helps(kind: Kind) -> bool {
        matches!(kind, Kind::SsoLogin | Kind::Login | Kind::Expired | Kind::Refused)
    }

    /// Credentials are good: the next expiry is another one.
    pub fn reset(&mut self) {
        self.tried = false;
        if !self.by_hand {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }

    /// Begins, unless it was tried already; says whether it did.
    pub fn begin(&mut self, source: String) -> bool {
        if self.words.is_empty() || self.tried {
            return false;
        }
        self.tried = true;
        self.by_hand = false;
        self.start(source, "the session is over: a login was begun");
        true
    }

    /// Begins because a person asked for it, unless it runs.
    pub fn begin_by_hand(&mut self, source: String) {
        if !self.is_running() {
            self.by_hand = true;
            self.start(source, "a login was asked for and is begun");
        }
    }

    fn start(&mut self, source: String, why: &'static str) {
        let words = self.words.clone();
        self.running = Some(tokio::spawn(async move {
            let program = words.first().cloned().unwrap_or_default();
            tracing::info!(target: TARGET, source, program, "{why}");
            match command::on_terminal(&words, LIMIT).await {
                Ok(()) => tracing::info!(target: TARGET, source, program, "the login command has ended"),
                Err(failed) => tracing::warn!(
                    target: TARGET,
                    source,
                    program,
                    "the login command {failed}; it is not run again before the next expiry, log in by hand"
                ),
            }
        }));
    }

    /// Whether it has ended since the last call: it is worth asking the source.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.running.as_ref().is_some_and(JoinHandle::is_finished);
        if ended {
            self.running = None;
            self.by_hand = false;
        }
        ended
    }

    /// What is wrong, and that somebody is at it.
    pub fn amend(&self, problem: Problem) -> Problem {
        if self.running.is_none() || !Self::helps(problem.kind()) {
            return problem;
        }
        let hint = format!(
            "a login is under way: follow what `{}` says on the proxy's standard error, or {}",
            self.words.first().map_or("", String::as_str),
            problem.hint()
        );
        Problem::new(problem.kind(), problem.message(), hint)
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.end();
    }
}

/// Where this module's log lines come from, for filters.
const TARGET: &str = "countersign::credentials";
