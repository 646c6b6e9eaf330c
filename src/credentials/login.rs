//! `login_command`: has a person log in when a session is over, once, and only when somebody on this machine waits.
//!
//! It is run when all of this holds: the source says that only a login helps, what is held cannot be used, a caller on
//! this machine was just refused for it, and no login was tried since credentials last were good. What it says goes to
//! the proxy's standard error, where the address to open is read; a login that comes about by other means ends it.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::{
    command,
    problem::{Kind, Problem},
};

/// A person has to find the window, the password and the second factor.
const LIMIT: Duration = Duration::from_secs(600);

/// The command of one source, and what became of it.
#[derive(Debug)]
pub(super) struct Login {
    words: Vec<String>,
    running: Option<JoinHandle<()>>,
    tried: bool,
}

impl Login {
    /// With this command; without one nothing ever happens.
    pub fn new(words: Option<Vec<String>>) -> Self {
        Self { words: words.unwrap_or_default(), running: None, tried: false }
    }

    /// Whether trouble of this kind ends with a login.
    pub const fn helps(kind: Kind) -> bool {
        matches!(kind, Kind::SsoLogin | Kind::Login | Kind::Expired | Kind::Refused)
    }

    /// Credentials are good: the next expiry is another one.
    pub fn reset(&mut self) {
        self.tried = false;
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
        let words = self.words.clone();
        self.running = Some(tokio::spawn(async move {
            let program = words.first().cloned().unwrap_or_default();
            tracing::info!(target: TARGET, source, program, "the session is over: a login was begun");
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
        true
    }

    /// Whether it has ended since the last call: it is worth asking the source.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.running.as_ref().is_some_and(JoinHandle::is_finished);
        if ended {
            self.running = None;
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
        self.reset();
    }
}

/// Where this module's log lines come from, for filters.
const TARGET: &str = "countersign::credentials";
