//! The only place that decides to send, and to send again.
//!
//! A request is sent a second time only when
//!
//! 1. nothing of it can have reached the stage: a pooled connection turned out to be dead before a byte was written;
//! 2. or a pooled connection broke before any answer, or the stage said that it had given up waiting on it (408), and
//!    the stage's `retry` covers the method: by itself the safe ones (GET, HEAD, OPTIONS; RFC 9110, section 9.2.1).
//!
//! The second time goes over a new connection and is signed anew.
//!
//! Besides, a request that the gateway itself refused, because its credentials, its API key or its date were no good, is
//! sent once more, signed anew, when there is something better to send ([`mod@super::mend`]): refused, it has not acted.

use std::{rc::Rc, sync::Arc};

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{
    api_key::{API_KEY, Keyed},
    forward::forward,
    identity,
    inside::{self, Slot},
    mend::{self, Signed, mend},
    peek::PeekedBody,
    places::Place,
    refusal::{Code, Refusal},
    sign::sign,
    spare::Spare,
    stage::Stage,
};
use crate::{
    callers::origin::SEC_FETCH_SITE,
    telemetry::{
        Phase, Record, capture,
        exchange::Signing,
        metrics::{self, Retried},
    },
    upstream::{Failure, Sent},
};

/// What the stage answered, with what `respond` needs to know of the request.
pub struct Answered {
    pub(super) response: Response<PeekedBody>,
    pub(super) stage: Rc<Stage>,
    pub(super) local_host: HeaderValue,
    pub(super) local_tls: bool,
    pub(super) record: Rc<Record>,
    /// The secrets that were sent and that a refusal may echo: session token and API key.
    pub(super) secrets: [Option<HeaderValue>; 2],
    /// The answer sets cookies, and a page of another site asked.
    pub(super) cross_site: bool,
    /// Kept until the answer has ended.
    pub(super) place: Option<Place>,
}

/// Signs and sends until there is an answer or a reason not to go on.
pub(super) async fn attempt(mut request: Keyed) -> Result<Answered, Refusal> {
    let (mut fresh, mut mended) = (false, false);
    let mut spare = Spare::of(&request.head.headers);
    loop {
        request.head.record.enter(Phase::Sign);
        let Complete { headers, signed, token } = complete(&mut request).await?;
        if let Some(slot) = only_sign(&request) {
            slot.put(to_copy(&request, headers));
            return Err(Code::NotSent.into());
        }
        match forward(&request, headers, fresh).await {
            // Its connection speaks something else from here on, and no request can have asked for that.
            Ok(answer) if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Refusal::because(
                    Code::UpstreamGarbage,
                    "The stage switched to another protocol, for which nobody had asked.",
                ));
            }
            Ok(answer) if !fresh && answer.gave_up_waiting() && may_act_twice(&request) => {
                metrics::retried(request.head.record.series.get().stage(), Retried::Unanswered);
                request.head.headers = spare.headers();
                fresh = true;
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
                if !mended && mend::is_refusal(response.status(), &request.head, signed.is_some()) {
                    request.head.headers = spare.headers();
                    // Boxed because it is rare and large.
                    response = match Box::pin(mend(&mut request.head, signed, response)).await {
                        Some(response) => response,
                        None => {
                            metrics::retried(request.head.record.series.get().stage(), Retried::Mended);
                            // It may have another API key now.
                            spare = Spare::of(&request.head.headers);
                            mended = true;
                            continue;
                        }
                    };
                }
                let Keyed { head, .. } = request;
                let may_echo = response.status().as_u16() >= 400;
                let secrets = if may_echo { [token, spare.get(&API_KEY)] } else { [None, None] };
                let cross_site = response.headers().contains_key(header::SET_COOKIE)
                    && spare.get(&SEC_FETCH_SITE).is_some_and(|site| site == "cross-site");
                return Ok(Answered {
                    response,
                    stage: head.stage,
                    local_host: head.local_host,
                    local_tls: head.local_tls,
                    record: head.record,
                    secrets,
                    cross_site,
                    place: head.place,
                });
            }
            Err(failure) if !fresh && may_send_again(&failure, &request) => {
                let nothing = failure.sent() == Sent::Nothing;
                let cause = if nothing { Retried::Unsent } else { Retried::Unanswered };
                metrics::retried(request.head.record.series.get().stage(), cause);
                request.head.headers = spare.headers();
                fresh = true;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// What a request lacked to be sent.
struct Complete {
    headers: HeaderMap,
    /// With what, where the route asks for that.
    signed: Option<Signed>,
    /// The session token among the headers, which a refusal may echo.
    token: Option<HeaderValue>,
}

/// The headers to send, taken out of the request: signed now, where the route asks for that.
async fn complete(request: &mut Keyed) -> Result<Complete, Refusal> {
    if !request.head.auth.signs() {
        if let Some(capture) = &request.head.record.capture {
            capture.sent(request.head.target.as_str(), &request.head.headers, None);
        }
        let headers = std::mem::take(&mut request.head.headers);
        return Ok(Complete { headers, signed: None, token: None });
    }
    let stage = Rc::clone(&request.head.stage);
    let mut now = stage.clock.now();
    if !identity::is_held(&stage.credentials, now) {
        // Boxed because it is rare and large.
        Box::pin(identity::usable(&stage.credentials, &stage.clock, request.head.from_here)).await?;
        now = stage.clock.now();
    }
    let identity = stage.credentials.load();
    let Some(identity) = &*identity else { return Err(Code::NoCredentials.into()) };
    let at = only_sign(request).and_then(|slot| slot.at).unwrap_or(now);
    let signed = Signed { serial: identity.serial, at };
    if request.head.record.is_logged() {
        request.head.record.signed_with.set(Some(stage.signed_with(identity)));
    }
    sign(request, &stage, identity, at);
    let headers = std::mem::take(&mut request.head.headers);
    if let Some(taken) = &request.head.record.capture {
        let signer = stage.signer.borrow();
        let signed = capture::Signed {
            source: &identity.source,
            access_key_id: &identity.access_key_id,
            expires: identity.expires,
            token: identity.session_token.as_ref(),
            canonical_request: signer.canonical_request().text(),
            string_to_sign: signer.string_to_sign(),
        };
        taken.sent(request.head.target.as_str(), &headers, Some(signed));
    }
    Ok(Complete { headers, signed: Some(signed), token: identity.session_token.clone() })
}

/// Where the request is put once it is signed, if it is not to be sent.
fn only_sign(request: &Keyed) -> Option<&Slot> {
    request.head.inside.as_ref()?.only_sign.as_deref()
}

/// What a person takes along instead of having it sent.
fn to_copy(request: &Keyed, headers: HeaderMap) -> inside::Signed {
    let (head, stage) = (&request.head, &request.head.stage.config);
    let identity = head.stage.credentials.load();
    let identity = identity.as_ref().filter(|_| head.auth.signs());
    let signer = head.stage.signer.borrow();
    let signing = identity.map(|identity| {
        Signing::of(signer.canonical_request().text(), signer.string_to_sign(), &identity.access_key_id)
    });
    let scheme = if stage.url.tls { "https" } else { "http" };
    inside::Signed {
        method: head.method.clone(),
        base: format!("{scheme}://{}", stage.url.authority),
        target: head.target.to_string(),
        headers,
        connect_to: stage.connect_to.clone(),
        ca_bundle: stage.ca_bundle.clone(),
        stage: stage.name.clone(),
        auth: head.auth,
        signing,
        credentials: identity.map(|identity| (Arc::clone(&identity.source), identity.expires)),
    }
}

fn may_send_again(failure: &Failure, request: &Keyed) -> bool {
    match failure.sent() {
        Sent::Nothing => failure.was_stale(),
        Sent::MaybeOnPooled => may_act_twice(request),
        Sent::Maybe => false,
    }
}

fn may_act_twice(request: &Keyed) -> bool {
    request.head.stage.config.retry.covers(&request.head.method)
}
