//! Sends a complete request to its stage, and says in the proxy's words what went wrong when there is no answer.

use std::error::Error as _;

use http::{HeaderMap, Request};

use super::{
    api_key::Keyed,
    refusal::{Code, Refusal},
};
use crate::{
    telemetry::Phase,
    upstream::{Answer, Chunks, Failure, Sent},
};

/// One exchange with the stage.
pub(super) async fn forward(request: &Keyed, headers: HeaderMap, fresh: bool) -> Result<Answer, Failure> {
    let head = &request.head;
    let mut sent: Request<Chunks> = Request::new(request.body.chunks.clone());
    *sent.method_mut() = head.method.clone();
    *sent.uri_mut() = head.target.clone().into();
    *sent.headers_mut() = headers;
    head.record.attempts.set(head.record.attempts.get() + 1);
    head.record.enter(Phase::Connect);
    head.stage.pool.send(sent, fresh, &head.record).await
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let code = match &failure {
            Failure::Resolve { .. } => Code::UpstreamName,
            Failure::Connect { .. } => Code::UpstreamConnect,
            Failure::Tls { .. } => Code::UpstreamTls,
            Failure::ConnectTimeout { .. } => Code::UpstreamConnectTimeout,
            Failure::TlsTimeout { .. } => Code::UpstreamTlsTimeout,
            Failure::FirstByteTimeout => Code::UpstreamTimeout,
            Failure::Broken { .. } => Code::UpstreamBroken,
            Failure::Garbage { .. } => Code::UpstreamGarbage,
        };
        let mut text = failure.to_string();
        let mut cause = failure.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        let refusal = Self::because(code, text);
        match failure.sent() {
            Sent::Nothing if code == Code::UpstreamBroken => {
                refusal.with_hint("The stage closes each connection before it reads a request; try again.")
            }
            _ => match failure.advice() {
                Some(advice) => refusal.with_hint(advice),
                None => refusal,
            },
        }
    }
}
