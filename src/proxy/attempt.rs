//! The only place that decides to send, and to send again.
//!
//! A request is sent a second time only when
//!
//! 1. nothing of it can have reached the stage: a pooled connection turned out to be dead before a byte was written;
//! 2. or a pooled connection broke before any answer, the method is safe (GET, HEAD, OPTIONS; RFC 9110 section 9.2.1)
//!    and the stage's `retry` is `"safe"`, the default.
//!
//! The second time goes over a new connection and is signed anew.
//!
//! Besides, a signed request that the gateway itself refused, because its credentials or its date were no good, is signed
//! and sent once more when there is something better to sign with ([`mend`]): refused, it has not acted.

use std::rc::Rc;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::{
    api_key::{API_KEY, Keyed},
    forward::forward,
    identity,
    mend::{self, Signed, mend},
    peek::PeekedBody,
    refusal::{Code, Refusal},
    sign::{SECURITY_TOKEN, sign},
    stage::Stage,
};
use crate::{
    callers::origin::SEC_FETCH_SITE,
    config::Retry,
    telemetry::Record,
    upstream::{Failure, Sent},
};

/// What the stage answered, with what `respond` needs to know of the request.
pub struct Answered {
    pub(super) response: Response<PeekedBody>,
    pub(super) stage: Rc<Stage>,
    pub(super) local_host: HeaderValue,
    pub(super) record: Rc<Record>,
    /// The secrets that were sent and that a refusal may echo: session token and API key.
    pub(super) secrets: [Option<HeaderValue>; 2],
    /// The answer sets cookies, and a page of another site asked.
    pub(super) cross_site: bool,
}

/// Signs and sends until there is an answer or a reason not to go on.
pub(super) async fn attempt(mut request: Keyed) -> Result<Answered, Refusal> {
    let (mut fresh, mut mended) = (false, false);
    loop {
        let (headers, signed) = complete(&mut request).await?;
        match forward(&request, headers, fresh).await {
            // Its connection speaks something else from here on, and no request can have asked for that.
            Ok(answer) if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Refusal::because(
                    Code::UpstreamGarbage,
                    "The stage switched to another protocol, for which nobody had asked.",
                ));
            }
            Ok(answer) => {
                let mut response = answer.response.map(PeekedBody::Untouched);
                let stage = &request.head.stage;
                if stage.clock.offset() != 0
                    && let Some(date) = mend::date(&response)
                {
                    stage.clock.shown(date);
                    stage.tell_credentials();
                }
                if let Some(signed) = signed.filter(|_| !mended && mend::is_refusal(response.status())) {
                    // Boxed because it is rare and large.
                    response = match Box::pin(mend(&request.head, signed, response)).await {
                        Some(response) => response,
                        None => {
                            mended = true;
                            continue;
                        }
                    };
                }
                let Keyed { head, .. } = request;
                let may_echo = response.status().as_u16() >= 400;
                let sent = |name| if may_echo { head.headers.get(name).cloned() } else { None };
                let secrets = [sent(SECURITY_TOKEN), sent(API_KEY)];
                let cross_site = response.headers().contains_key(header::SET_COOKIE)
                    && head.headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site");
                let (stage, local_host, record) = (head.stage, head.local_host, head.record);
                return Ok(Answered { response, stage, local_host, record, secrets, cross_site });
            }
            Err(failure) if !fresh && may_send_again(&failure, &request) => fresh = true,
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// The headers to send: signed now, where the route asks for that, and with what. A copy, since they may be sent again.
async fn complete(request: &mut Keyed) -> Result<(HeaderMap, Option<Signed>), Refusal> {
    if !request.head.auth.signs() {
        return Ok((request.head.headers.clone(), None));
    }
    let stage = Rc::clone(&request.head.stage);
    identity::usable(&stage.credentials, &stage.clock, request.head.from_here).await?;
    let identity = stage.credentials.load();
    let Some(identity) = &*identity else { return Err(Code::NoCredentials.into()) };
    let at = stage.clock.now();
    let signed = Signed { serial: identity.serial, at };
    Ok((sign(request, &stage, identity, at), Some(signed)))
}

fn may_send_again(failure: &Failure, request: &Keyed) -> bool {
    let head = &request.head;
    match failure.sent() {
        Sent::Nothing => failure.was_stale(),
        Sent::MaybeOnPooled => {
            head.stage.config.retry == Retry::Safe
                && matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS)
        }
        Sent::Maybe => false,
    }
}
