//! Sends a complete request to its stage, and says in the proxy's words what went wrong when there is no answer.

use std::{error::Error as _, io};

use http::{HeaderMap, Request};
use rustix::io::Errno;

use super::{
    api_key::Keyed,
    refusal::{Code, Refusal},
};
use crate::upstream::{Answer, Chunks, Failure, Sent};

/// One exchange with the stage.
pub(super) async fn forward(request: &Keyed, headers: HeaderMap, fresh: bool) -> Result<Answer, Failure> {
    let head = &request.head;
    let mut sent: Request<Chunks> = Request::new(request.body.chunks.clone());
    *sent.method_mut() = head.method.clone();
    *sent.uri_mut() = head.target.clone().into();
    *sent.headers_mut() = headers;
    head.record.attempts.set(head.record.attempts.get() + 1);
    head.stage.pool.send(sent, fresh, &head.record).await
}

/// Whether there was no descriptor for a socket: of this process (EMFILE), or of the system (ENFILE).
fn is_out_of_files(failure: &Failure) -> bool {
    let mut cause = failure.source();
    while let Some(error) = cause {
        let number = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        if number
            .is_some_and(|number| [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error).contains(&number))
        {
            return true;
        }
        cause = error.source();
    }
    false
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let code = match &failure {
            Failure::Resolve { .. } | Failure::Connect { .. } if is_out_of_files(&failure) => {
                Code::OutOfFiles
            }
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
