//! What may be known of one request and its answer: as it came, as it was sent and signed, and what came back.
//!
//! Secrets are in it, since a request may be sent once more; they do not come out of it. What is kept has no public field
//! with a header's value, a body or a target, `Debug` shows none, and nothing here serialises but the views of `view`,
//! which are made without them. Whoever needs the text itself calls a method named `exposed`; searching for that name
//! finds every place.
//!
//! | file | what it is |
//! |---|---|
//! | `headers` | header values, kept with their secrets and shown without |
//! | `secrets` | what must not be seen of an exchange |
//! | `body` | a body as far as it is kept |
//! | `signing` | canonical request and string to sign, part by part |
//! | `view` | all that may be seen, as JSON |
//! | `tape` | an exchange as it is written down while it happens |
//! | `wiped` | bytes that are overwritten when they are dropped |
//! | `hub` | the last exchanges, within so many bytes |

mod body;
mod headers;
mod hub;
mod secrets;
mod signing;
mod tape;
mod view;
mod wiped;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode, Version};

pub use body::Body;
pub use headers::{Headers, Shown, is_hidden, key_id};
pub use hub::{Backlog, Hub, State};
pub use signing::{Derived, Line, ScopeParts, Signing, SigningView};
pub use tape::{End, Tape};
pub use view::{
    AnswerView, BodyView, Change, CredentialsView, Detail, FieldView, PhaseView, ReceivedView, RefusalView,
    SentView, Summary,
};

use super::Phase;
use crate::config::Auth;
use secrets::Secrets;

/// One request with its answer, from its first byte to its last.
pub struct Exchange {
    /// Its place among all of this run, from 1; the [`Hub`] gives it.
    pub sequence: u64,
    /// The request's id, as in its line of log.
    pub id: Box<str>,
    /// When its head was there.
    pub began: SystemTime,
    /// The id of the request of which this one is a repetition.
    pub replay_of: Option<Box<str>>,
    /// Where it was to go; `None` when it was refused before that was known.
    pub route: Option<Arc<Route>>,
    /// As it came.
    pub received: Received,
    /// As it was sent, the last time.
    pub sent: Option<Sent>,
    /// What the stage answered.
    pub answer: Option<Answer>,
    /// Why the proxy answered instead.
    pub refusal: Option<Refusal>,
    /// The status that the client got; 0 when it left before.
    pub status: u16,
    /// Where its time went.
    pub phases: Vec<(Phase, Duration)>,
    /// All of its time.
    pub total: Duration,
    /// How often it was sent.
    pub attempts: u32,
    /// What it was signed with.
    pub credentials: Option<Credentials>,
    /// The gateway's own id of it.
    pub gateway_request_id: Option<Box<str>>,
    /// Bytes of the answer's body that the client got.
    pub answered: u64,
    /// Whether the answer broke off.
    pub cut: bool,
}

/// A stage and one of its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The stage's name.
    pub stage: Box<str>,
    /// `https://abc123.execute-api.us-west-2.amazonaws.com`
    pub origin: Box<str>,
    /// What is signed for.
    pub region: Box<str>,
    /// The same.
    pub service: Box<str>,
    /// The rule's path, as it is written; `None` where no rule matched.
    pub path: Option<Box<str>>,
    /// What the gateway asks for there.
    pub auth: Auth,
}

/// A request as it came.
#[derive(Debug)]
pub struct Received {
    /// Its method.
    pub method: Method,
    /// Its version.
    pub version: Version,
    /// Its fields.
    pub headers: Headers,
    /// Its body.
    pub body: Body,
    target: Target,
}

impl Received {
    /// A request of which the body is still to come.
    #[must_use]
    pub fn new(method: Method, target: &str, version: Version, headers: Headers) -> Self {
        Self { method, version, headers, body: Body::default(), target: Target(target.into()) }
    }

    /// Path and query with every secret, to send them again.
    #[must_use]
    pub fn exposed_target(&self) -> &str {
        &self.target.0
    }
}

/// A request as it was sent. Its method and its body are those that came.
#[derive(Debug)]
pub struct Sent {
    /// Its fields.
    pub headers: Headers,
    /// What was signed, where the route asks for that.
    pub signing: Option<Signing>,
    target: Target,
}

impl Sent {
    /// To the stage's host, with this path and query.
    #[must_use]
    pub fn new(target: &str, headers: Headers, signing: Option<Signing>) -> Self {
        Self { headers, signing, target: Target(target.into()) }
    }

    /// Path and query with every secret.
    #[must_use]
    pub fn exposed_target(&self) -> &str {
        &self.target.0
    }
}

/// A path with its query, which may hold secrets.
struct Target(Box<str>);

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.split('?').next().unwrap_or_default())
    }
}

/// What the stage answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its fields as they came.
    pub headers: Headers,
    /// Its body as it went to the client.
    pub body: Body,
}

/// Why the proxy answered by itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `dot-segment`
    pub code: &'static str,
    /// `client`, `proxy` or `upstream`
    pub fault: &'static str,
    /// What happened.
    pub message: Box<str>,
    /// What to do.
    pub hint: Box<str>,
}

/// What a request was signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `profile dev`
    pub source: Arc<str>,
    /// The last four characters of the access key's id.
    pub access_key: Box<str>,
    /// When they expire, if they do.
    pub expires: Option<SystemTime>,
}

impl Exchange {
    /// One that begins now.
    #[must_use]
    pub fn new(id: &str, received: Received) -> Self {
        Self {
            sequence: 0,
            id: id.into(),
            began: SystemTime::now(),
            replay_of: None,
            route: None,
            received,
            sent: None,
            answer: None,
            refusal: None,
            status: 0,
            phases: Vec::new(),
            total: Duration::ZERO,
            attempts: 0,
            credentials: None,
            gateway_request_id: None,
            answered: 0,
            cut: false,
        }
    }

    /// What must not be seen of it.
    fn secrets(&self) -> Secrets {
        let answer = self.answer.as_ref().map(|answer| &answer.headers);
        let sent = self.sent.as_ref().map(|sent| &sent.headers);
        Secrets::in_use_and_in(std::iter::once(&self.received.headers).chain(sent).chain(answer))
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sequence, id, received, sent, answer, status, .. } = self;
        f.debug_struct("Exchange")
            .field("sequence", sequence)
            .field("id", id)
            .field("received", received)
            .field("sent", sent)
            .field("answer", answer)
            .field("status", status)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refusal").field("code", &self.code).finish_non_exhaustive()
    }
}
