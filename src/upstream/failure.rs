//! What went wrong on the way to the stage, and whether the request was provably not processed. Both are decided
//! where the failure arises, so that nobody parses texts to decide.

use std::io;

use rustls::CertificateError;

/// How much of the request the stage can have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Nothing: it can be sent again, whatever it is.
    Nothing,
    /// Perhaps all of it, on a connection that had been idle in the pool and that the stage may have closed before:
    /// no byte of an answer came.
    MaybeOnPooled,
    /// Perhaps all of it.
    Maybe,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The name has no address.
    #[error("the name {host} cannot be resolved")]
    Resolve {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No address took the connection.
    #[error("no connection to {target}")]
    Connect {
        /// Host and port.
        target: String,
        /// What the last address said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The handshake failed: usually a certificate that is not trusted or not for this name.
    #[error("no TLS with {host}")]
    Tls {
        /// The name that the certificate must be for.
        host: String,
        /// What rustls said.
        source: io::Error,
    },
    /// Connecting took longer than `timeouts.connect`.
    #[error("no connection to {target} in time")]
    ConnectTimeout {
        /// Host and port.
        target: String,
    },
    /// The handshake took longer than `timeouts.tls`.
    #[error("no TLS with {host} in time")]
    TlsTimeout {
        /// The name that the certificate must be for.
        host: String,
    },
    /// No head of an answer came within `timeouts.first_byte`.
    #[error("the stage did not answer in time")]
    FirstByteTimeout,
    /// The connection broke before the head of an answer.
    #[error("the connection broke before the stage answered")]
    Broken {
        /// How much the stage can have seen.
        sent: Sent,
        /// What hyper said.
        source: hyper::Error,
    },
    /// What came is not HTTP/1.1.
    #[error("the stage's answer is not HTTP")]
    Garbage {
        /// What hyper said.
        source: hyper::Error,
    },
}

impl Failure {
    /// How much of the request the stage can have seen.
    #[must_use]
    pub const fn sent(&self) -> Sent {
        match self {
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::ConnectTimeout { .. }
            | Self::TlsTimeout { .. } => Sent::Nothing,
            Self::FirstByteTimeout | Self::Garbage { .. } => Sent::Maybe,
            Self::Broken { sent, .. } => *sent,
        }
    }

    /// Whether a fresh connection could make the difference: the pooled one was dead.
    #[must_use]
    pub const fn was_stale(&self) -> bool {
        matches!(self, Self::Broken { sent: Sent::Nothing | Sent::MaybeOnPooled, .. })
    }

    /// What to do about this failure, where that is more than to do about its kind.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        use CertificateError as Bad;
        let Self::Tls { source, .. } = self else { return None };
        let rustls::Error::InvalidCertificate(bad) = source.get_ref()?.downcast_ref()? else { return None };
        match bad {
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                Some("Check this machine's clock. If it is right, the stage needs a new certificate.")
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Some(
                "The certificate must be for the url's host: check the url, and that connect_to leads to the stage.",
            ),
            Bad::UnknownIssuer => Some(
                "If a corporate proxy or emulator has its own root, name it in ca_bundle. Otherwise somebody else \
                 answers in the stage's place.",
            ),
            _ => None,
        }
    }
}
