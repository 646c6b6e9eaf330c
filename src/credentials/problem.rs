//! Why there are no credentials, in words of our own: what happened, and what mends it.
//!
//! A [`Problem`] is shown to clients (503) and logged, so its text is composed here and in `diagnose.rs` from what is
//! known to be harmless: names of profiles, files and variables, and a service's error code and message. The standard
//! error of a `credential_process`, a file's contents and a header that could not be built never become part of it.

use std::{fmt, path::Path};

/// What kind of trouble it is. A log line is written when this changes, not for every retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// No source had anything to give.
    Nothing,
    /// The profile, or one it refers to, does not exist.
    NoProfile,
    /// The profile is there and does not say where credentials come from, or says it wrongly.
    BadProfile,
    /// The profile wants a one-time code, which nobody can type into a proxy.
    Mfa,
    /// The session of `aws sso login` is over, or was never begun.
    SsoLogin,
    /// The session of `aws login` is over, or was never begun.
    Login,
    /// A command failed, hung, or printed something else than was asked for.
    Command,
    /// A service refused: not permitted.
    Denied,
    /// A service refused the credentials that were to be exchanged: expired, deleted or wrong.
    Refused,
    /// A service or endpoint answered with some other error.
    Service,
    /// No answer: network, name resolution, TLS.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// A file or directory cannot be read or written.
    File,
    /// Nobody knows where the home directory is.
    NoHome,
    /// What came cannot be put into a header, or is empty.
    Malformed,
    /// What came had already expired.
    Expired,
    /// None of these.
    Other,
}

impl Kind {
    /// Whether it may pass by itself within moments, so that a request may well wait for the next attempt.
    #[must_use]
    pub const fn transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Service | Self::Expired)
    }
}

/// What happened and what to do. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    message: String,
    hint: String,
}

impl Problem {
    pub(super) fn new(kind: Kind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: hint.into() }
    }

    /// What kind of trouble it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What happened: half a sentence or more, without a full stop.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the person can do about it, with the command to type where there is one.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// A file or directory of the person's that cannot be read.
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let shown = path.display();
        let hint = match error.kind() {
            std::io::ErrorKind::PermissionDenied => format!(
                "let the user that runs countersign read {shown}; in a container, run it with the owner's id \
                 (`--user \"$(id -u):$(id -g)\"`) or mount a copy that it can read"
            ),
            std::io::ErrorKind::IsADirectory => format!(
                "{shown} is a directory; a container engine makes one when the file that is to be mounted does not \
                 exist on the host"
            ),
            _ => format!("make {shown} readable"),
        };
        Self::new(Kind::File, format!("{shown} cannot be read: {}", plain(error)), hint)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.hint)
    }
}

/// An I/O error's kind in words. Its own text is left out: a wrapped error could say anything.
pub(super) fn plain(error: &std::io::Error) -> String {
    error.kind().to_string()
}
