//! Requests that come from within: a person at the inspector has one sent again, or one of their own.
//!
//! Such a request takes the way of any other, guard and rules included: it comes over a connection in memory, as a
//! caller on this machine, and carries the callers' token where one is asked for. What is known of it stands here, in a
//! value that only this process can make, and not in a header, which any client could send.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, Method};
use tokio::io::DuplexStream;

use crate::telemetry::RequestId;

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
pub struct Slot(Mutex<Option<Signed>>);

impl Slot {
    pub(super) fn put(&self, signed: Signed) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(signed);
    }

    /// What was put there, if it came that far.
    #[must_use]
    pub fn take(&self) -> Option<Signed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
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
}

/// Hands over a connection whose one request is this. Gives it back when nothing is served any more.
pub type Entry = Arc<dyn Fn(DuplexStream, Arc<Inside>) -> Result<(), Closed> + Send + Sync>;

/// The proxy takes no more requests.
#[derive(Debug, thiserror::Error)]
#[error("the proxy is stopping")]
pub struct Closed;
