//! Requests that come from within: a person at the inspector has one sent again, or one of their own.
//!
//! Such a request takes the way of any other, guard and rules included: it comes over a connection in memory, as a
//! caller on this machine, and carries the callers' token where one is asked for. What is known of it stands here, in a
//! value that only this process can make, and not in a header, which any client could send.

use std::sync::Arc;

use tokio::io::DuplexStream;

use crate::telemetry::RequestId;

/// What is known of the one request of such a connection.
#[derive(Debug)]
pub struct Inside {
    /// Its id, known before it is sent.
    pub id: RequestId,
    /// The id of the request that it repeats.
    pub replay_of: Option<String>,
}

/// Hands over a connection whose one request is this. Gives it back when nothing is served any more.
pub type Entry = Arc<dyn Fn(DuplexStream, Arc<Inside>) -> Result<(), Closed> + Send + Sync>;

/// The proxy takes no more requests.
#[derive(Debug, thiserror::Error)]
#[error("the proxy is stopping")]
pub struct Closed;
