//! Acts on what a refusal means: newer credentials, another API key, or the gateway's time, and whether to send again with
//! them.
//!
//! A request that the gateway refuses for its credentials, its API key or its date has not acted, and its body is in hand. What
//! refuses must be the gateway, though, and an integration behind it can say the same words about keys of its own. The
//! gateway marks its refusals with `x-amzn-errortype`; without that only safe methods are sent again. What was learned
//! serves the next request in any case.

use std::time::{Duration, SystemTime};

use http::{HeaderName, Method, Response, StatusCode, header};

use super::{
    api_key::API_KEY,
    heal::{Meaning, meaning},
    peek::{self, PeekedBody},
    sanitize::Head,
};

/// The gateway's name for a refusal.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
/// How far from its clock a gateway takes a signature's date.
const WINDOW: Duration = Duration::from_secs(300);
/// How long a request waits for newer credentials, once.
const WAIT: Duration = Duration::from_secs(5);

/// What a request was signed with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed {
    /// The identity's.
    pub(super) serial: u64,
    /// The date in the signature.
    pub(super) at: SystemTime,
}

/// Whether an answer is worth a look: one branch for those that are not. What bears no signature can only have been
/// refused for its API key.
pub(super) fn is_refusal(status: StatusCode, head: &Head, signed: bool) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        && (signed || head.auth.keyed() && head.stage.api_key.as_ref().is_some_and(|key| key.is_looked_up()))
}

/// Looks at a refusal and mends its cause, if it has one that can be mended. `None` says to send again; otherwise the
/// answer is as it was.
pub(super) async fn mend(
    head: &mut Head,
    signed: Option<Signed>,
    answer: Response<PeekedBody>,
) -> Option<Response<PeekedBody>> {
    let kind = answer.headers().get(&ERROR_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let json = answer
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|media| media.to_ascii_lowercase().contains("json"));
    if kind.is_none() && !json {
        return Some(answer);
    }
    let (parts, body) = answer.into_parts();
    let (body, read) = body.look().await;
    let answer = Response::from_parts(parts, body);
    let Some(body) = read else { return Some(answer) };
    let mended = match (meaning(kind.as_deref(), &peek::text(answer.headers(), &body)), signed) {
        (Meaning::ExpiredToken | Meaning::UnknownKey, Some(signed)) => {
            newer_credentials(head, signed.serial, kind.is_some()).await
        }
        (Meaning::Skewed(shown), Some(signed)) => gateways_time(head, signed.at, shown, &answer),
        // The text tells nothing: if the clocks differ by more than the gateway allows, that is the cause.
        (Meaning::Signature, Some(signed)) => gateways_time(head, signed.at, None, &answer),
        // An HTTP API says this for whatever reason. By itself it tells nothing; a date that no gateway accepts does.
        (Meaning::Forbidden, Some(signed))
            if date(&answer).is_some_and(|date| are_apart(signed.at, date)) =>
        {
            gateways_time(head, signed.at, None, &answer)
        }
        // A REST API says this of a key that is wrong, disabled or in no usage plan of the stage.
        (Meaning::Forbidden, _) if answer.status() == StatusCode::FORBIDDEN => another_key(head).await,
        _ => false,
    };
    let safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if mended && (safe || kind.is_some()) { None } else { Some(answer) }
}

/// Whether a gateway with the clock `date` refuses what is signed for `signed`.
fn are_apart(signed: SystemTime, date: SystemTime) -> bool {
    signed.duration_since(date).or_else(|_| date.duration_since(signed)).is_ok_and(|apart| apart >= WINDOW)
}

/// Has the source asked, once for all requests that were refused, and waits for other keys than those. A person is asked
/// to log in only when it was `surely` the gateway that refused.
async fn newer_credentials(head: &Head, serial: u64, surely: bool) -> bool {
    let stage = &head.stage;
    stage.credentials.refused(serial);
    let now = || stage.clock.now();
    let newer = stage
        .credentials
        .wait_usable(|identity| identity.serial != serial && !identity.expired(now()), WAIT)
        .await
        .is_some();
    if !newer && surely && head.from_here {
        stage.credentials.want_login();
    }
    newer
}

/// Has the API key looked up again, where AWS keeps it, and puts another one in if there is one.
async fn another_key(head: &mut Head) -> bool {
    let Some(source) = head.stage.api_key.as_ref().filter(|_| head.auth.keyed()) else { return false };
    let Some(refused) = head.headers.get(&API_KEY) else { return false };
    let Some(key) = source.other_than(refused, WAIT).await else { return false };
    head.headers.insert(API_KEY, (*key).clone());
    true
}

fn gateways_time(
    head: &Head,
    signed: SystemTime,
    shown: Option<SystemTime>,
    answer: &Response<PeekedBody>,
) -> bool {
    let stage = &head.stage;
    let differs = stage.clock.refused(signed, shown, date(answer));
    stage.tell_credentials();
    differs
}

/// An answer's `Date` (RFC 9110 section 6.6.1), unless it comes out of a cache.
pub(super) fn date<T>(answer: &Response<T>) -> Option<SystemTime> {
    let headers = answer.headers();
    if headers.contains_key(header::AGE) {
        return None;
    }
    httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()
}
