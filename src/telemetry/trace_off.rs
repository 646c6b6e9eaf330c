//! Without the feature `otlp` no request has a span, and nothing is exported.

use http::{HeaderMap, Method};

use crate::config::OtlpEndpoint;

/// There is none.
pub enum Trace {}

impl Trace {
    /// `None`.
    #[must_use]
    pub const fn begin(_: &Method, _: &HeaderMap) -> Option<Box<Self>> {
        None
    }

    /// Cannot be called.
    pub fn inject(&self, _: &mut HeaderMap) {
        match *self {}
    }
}

/// There are none.
pub enum Traces {}

/// Traces cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("traces are not exported: this program was built without the feature otlp")]
pub struct TracesError;

/// Refuses, if an endpoint is configured.
///
/// # Errors
/// When it is.
pub const fn start_traces(endpoint: Option<&OtlpEndpoint>) -> Result<Option<Traces>, TracesError> {
    match endpoint {
        Some(OtlpEndpoint::At(_)) => Err(TracesError),
        Some(OtlpEndpoint::Off) | None => Ok(None),
    }
}

impl Traces {
    /// Cannot be called.
    pub fn finish(self) {
        match self {}
    }
}
