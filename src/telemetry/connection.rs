//! Why a client's connection ended: a closed list, one event a connection.

use super::metrics;

/// Why a client's connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionEnd {
    /// The client closed it, or the proxy did after the answer that closes it.
    Closed,
    /// No request for `limits.idle_timeout`.
    Idle,
    /// `limits.max_connections` was reached, and this one had been without a request longest.
    MadeRoom,
    /// Nothing, or not a whole head, within `limits.header_timeout`.
    HeaderTimeout,
    /// The client read nothing of its answer for `limits.write_timeout`.
    WriteStalled,
    /// No TLS handshake within `limits.header_timeout`.
    HandshakeTimeout,
    /// The TLS handshake failed, or what came was no TLS.
    HandshakeFailed,
    /// What came is not HTTP as it should be.
    ProtocolError,
    /// More frames than an honest HTTP/2 client sends.
    Flooded,
    /// The connection broke.
    Broken,
    /// The proxy stops.
    Drained,
    /// A defect of the proxy's own.
    Panicked,
}

impl ConnectionEnd {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Closed,
        Self::Idle,
        Self::MadeRoom,
        Self::HeaderTimeout,
        Self::WriteStalled,
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::ProtocolError,
        Self::Flooded,
        Self::Broken,
        Self::Drained,
        Self::Panicked,
    ];

    /// As it is written in logs: `header-timeout`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::MadeRoom => "made-room",
            Self::HeaderTimeout => "header-timeout",
            Self::WriteStalled => "write-stalled",
            Self::HandshakeTimeout => "handshake-timeout",
            Self::HandshakeFailed => "handshake-failed",
            Self::ProtocolError => "protocol-error",
            Self::Flooded => "flooded",
            Self::Broken => "broken",
            Self::Drained => "drained",
            Self::Panicked => "panicked",
        }
    }
}

/// A client's connection is gone. Called once for each, on the worker's thread.
pub fn connection_ended(cause: ConnectionEnd) {
    metrics::connection_ended(cause);
    tracing::debug!(target: "countersign::server", cause = cause.as_str(), "a client's connection ended");
}

#[cfg(test)]
mod tests {
    use super::ConnectionEnd;
    use std::collections::BTreeSet;

    #[test]
    fn each_cause_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ConnectionEnd::ALL.iter().map(|cause| cause.as_str()).collect();
        assert_eq!(names.len(), ConnectionEnd::ALL.len());
    }

    #[test]
    fn the_list_is_in_the_order_of_their_numbers() {
        assert!(ConnectionEnd::ALL.iter().enumerate().all(|(index, cause)| index == *cause as usize));
    }
}
