//! `login_command`: has a person log in when a session is over, once, and only when somebody on this machine waits.
//!
//! It is run when all of this holds: the source says that only a login helps, what is held cannot be used, a caller on
//! this machine was just refused for it, and no login was tried since credentials last were good. What it says goes to
//! the proxy's standard error, where the address to open is read; a login that comes about by other means ends it.
//!
//! Several sources may have the same command, as two roles over one profile do: one session is over for all of them, and
//! one login is what they get.
//!
//! Or a person asks for it at the inspector ([`ByHand`]): then it is run whatever is held, one at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
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

/// What all sources with one command share.
#[derive(Debug, Default)]
pub(super) struct Flight {
    running: AtomicBool,
    /// Whether it was begun since one of them last had good credentials.
    tried: AtomicBool,
}

impl Flight {
    fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }
}

/// A flight that ends with this value.
struct Running(Arc<Flight>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Release);
    }
}

/// The command of one source, and what became of it.
#[derive(Debug)]
pub(super) struct Login {
    words: Vec<String>,
    flight: Arc<Flight>,
    /// The one that this source began.
    running: Option<JoinHandle<()>>,
    /// Whether another source's is waited for.
    joined: bool,
    tried: bool,
    /// Whether a person asked for what runs: then good credentials do not end it.
    by_hand: bool,
}

impl Login {
    /// With this command; without words nothing ever happens.
    pub const fn new(words: Vec<String>, flight: Arc<Flight>) -> Self {
        Self { words, flight, running: None, joined: false, tried: false, by_hand: false }
    }

    /// Whether there is a command.
    pub const fn is_configured(&self) -> bool {
        !self.words.is_empty()
    }

    /// Whether the command runs, for this source or for another with the same.
    pub fn is_running(&self) -> bool {
        self.flight.is_running()
    }

    /// Whether trouble of this kind ends with a login.
    pub const fn helps(kind: Kind) -> bool {
        matches!(kind, Kind::SsoLogin | Kind::Login | Kind::Expired | Kind::Refused)
    }

    /// Credentials are good: the next expiry is another one.
    pub fn reset(&mut self) {
        (self.tried, self.joined) = (false, false);
        self.flight.tried.store(false, Ordering::Release);
        if !self.by_hand {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }

    /// Begins, or joins what another source has begun, unless it was tried already; says whether one is under way now.
    pub fn begin(&mut self, source: String) -> bool {
        if self.words.is_empty() || self.tried {
            return false;
        }
        self.tried = true;
        if self.flight.tried.swap(true, Ordering::AcqRel) || self.flight.is_running() {
            self.joined = self.flight.is_running();
            return self.joined;
        }
        self.by_hand = false;
        self.start(source, "the session is over: a login was begun");
        true
    }

    /// Begins because a person asked for it, or waits for the one that runs.
    pub fn begin_by_hand(&mut self, source: String) {
        if self.flight.is_running() {
            self.joined = true;
        } else {
            self.by_hand = true;
            self.start(source, "a login was asked for and is begun");
        }
    }

    fn start(&mut self, source: String, why: &'static str) {
        self.flight.running.store(true, Ordering::Release);
        let running = Running(Arc::clone(&self.flight));
        let words = self.words.clone();
        self.running = Some(tokio::spawn(async move {
            let _running = running;
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
        let joined = self.joined && !self.flight.is_running();
        self.joined &= !joined;
        ended || joined
    }

    /// What is wrong, and that somebody is at it.
    pub fn amend(&self, problem: Problem) -> Problem {
        if !self.flight.is_running() || !Self::helps(problem.kind()) {
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
