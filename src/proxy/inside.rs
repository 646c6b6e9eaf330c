//! Requests that come from within: a person at the inspector has one sent again, or one of their own, and `prepare` has
//! one signed and not sent.
//!
//! Such a request takes the way of any other, guard and rules included: it comes over a connection in memory, as a
//! caller on this machine, and carries the callers' token where one is asked for. What is known of it stands here, in a
//! value that only this process can make, and not in a header, which any client could send.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use http::{HeaderMap, Method, header};
use tokio::io::DuplexStream;

use crate::{
    config::Auth,
    curl::{self, is_framing},
    telemetry::{RequestId, exchange::Signing},
};

/// What is known of the one request of such a connection.
#[derive(Debug)]
pub struct Inside {
    /// Its id, known before it is sent.
    pub id: RequestId,
    /// The id of the request that it repeats.
    pub replay_of: Option<String>,
    /// Where it is put once it is signed, instead of being sent.
    pub only_sign: Option<Arc<Slot>>,
}

/// Takes up a signed request.
#[derive(Debug, Default)]
pub struct Slot {
    signed: Mutex<Option<Signed>>,
    /// When it is signed for, if not now.
    pub(super) at: Option<SystemTime>,
}

impl Slot {
    /// For a request that is signed for this time; by itself for now.
    #[must_use]
    pub fn at(at: Option<SystemTime>) -> Self {
        Self { at, ..Self::default() }
    }

    pub(super) fn put(&self, signed: Signed) {
        *self.signed.lock().unwrap_or_else(PoisonError::into_inner) = Some(signed);
    }

    /// What was put there, if it came that far.
    #[must_use]
    pub fn take(&self) -> Option<Signed> {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The head of a request as it would have been sent.
#[derive(Debug)]
pub struct Signed {
    /// As the client sent it.
    pub method: Method,
    /// `https://abc123.execute-api.us-west-2.amazonaws.com`, without a path.
    pub base: String,
    /// Path and query, as they were signed.
    pub target: String,
    /// All of them, secrets too.
    pub headers: HeaderMap,
    /// Where to connect to, where that is not what `base` says.
    pub connect_to: Option<(String, u16)>,
    /// Roots that are trusted beside the platform's.
    pub ca_bundle: Option<PathBuf>,
    /// The stage's name.
    pub stage: String,
    /// What the route asks for.
    pub auth: Auth,
    /// What was signed, where the route asks for that.
    pub signing: Option<Signing>,
    /// Where the credentials come from, and when they expire.
    pub credentials: Option<(Arc<str>, Option<SystemTime>)>,
}

impl Signed {
    /// The request as a command for a shell, with its secrets.
    #[must_use]
    pub fn command(&self, body: &[u8]) -> String {
        let connect_to = self.connect_to.as_ref().map(|(host, port)| match host.contains(':') {
            true => format!("::[{host}]:{port}"),
            false => format!("::{host}:{port}"),
        });
        let bundle = self.ca_bundle.as_ref().map(|path| path.display().to_string());
        let connect_to = connect_to.as_deref().map(|to| ("--connect-to", to));
        let bundle = bundle.as_deref().map(|file| ("--cacert", file));
        // The host stands in the URL, and is signed as it stands there.
        let fields =
            self.headers.iter().filter(|(name, _)| !is_framing(name.as_str()) && **name != header::HOST);
        curl::command(&curl::Request {
            method: self.method.as_str(),
            base: &self.base,
            target: self.target.as_bytes(),
            headers: fields.map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
            body,
            options: connect_to.into_iter().chain(bundle).collect(),
            from_variables: Vec::new(),
        })
    }
}

/// Hands over a connection whose one request is this. Gives it back when nothing is served any more.
pub type Entry = Arc<dyn Fn(DuplexStream, Arc<Inside>) -> Result<(), Closed> + Send + Sync>;

/// The proxy takes no more requests.
#[derive(Debug, thiserror::Error)]
#[error("the proxy is stopping")]
pub struct Closed;
