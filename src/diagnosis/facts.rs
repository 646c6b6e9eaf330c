//! What is read out of an answer: its text, its type, the gateway's clock, which kind of API gave it.

use std::time::SystemTime;

use serde_json::Value;

use super::{Api, Seen};

/// What was seen, read.
pub(super) struct Facts<'a> {
    pub(super) seen: &'a Seen<'a>,
    /// The message, as it was written.
    pub(super) text: String,
    /// The message in lower case, ASCII letters only: positions are those of `text`.
    pub(super) lower: String,
    /// `x-amzn-errortype` in lower case, without `Exception` and what follows.
    pub(super) kind: String,
    pub(super) api: Api,
}

impl<'a> Facts<'a> {
    /// `None` for what is no refusal.
    pub(super) fn new(seen: &'a Seen<'a>) -> Option<Self> {
        if seen.status < 400 {
            return None;
        }
        let text = message(seen.body);
        let lower = text.to_ascii_lowercase();
        let kind = header(seen, "x-amzn-errortype").map(str::to_owned).or_else(|| json_type(seen.body));
        let kind = kind.as_deref().map(bare_type).unwrap_or_default();
        let api = match seen.api {
            Api::Unknown => told_by_headers(seen),
            known => known,
        };
        Some(Self { seen, text, lower, kind, api })
    }

    /// By how many seconds the answer's `Date` is later than the signature's date. Only with both.
    pub(super) fn skew(&self) -> Option<i64> {
        let theirs = httpdate::parse_http_date(header(self.seen, "date")?).ok()?;
        let ours = amz_date(self.seen.ours?.date)?;
        Some(seconds_between(theirs, ours))
    }

    /// A header's value in the canonical request that was signed.
    pub(super) fn signed_header(&self, name: &str) -> Option<&'a str> {
        let text = std::str::from_utf8(self.seen.ours?.canonical_request).ok()?;
        // The path and the query stand before the headers, and a path may look like one.
        let mut headers = text.split('\n').skip(3).take_while(|line| !line.is_empty());
        headers.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }

    /// API id and region of the host that was signed for, where it is `ID.execute-api.REGION.…`.
    pub(super) fn invoked(&self) -> Option<(&'a str, &'a str)> {
        let host = self.signed_header("host")?;
        let mut labels = host.split('.');
        let (id, service, region) = (labels.next()?, labels.next()?, labels.next()?);
        let id = id.split("-vpce-").next()?;
        (service == "execute-api").then_some((id, region))
    }
}

/// A header of the answer.
pub(super) fn header<'a>(seen: &Seen<'a>, name: &str) -> Option<&'a str> {
    seen.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

/// REST APIs answer with `x-amzn-RequestId` and `x-amz-apigw-id`, HTTP APIs with `apigw-requestid`.
fn told_by_headers(seen: &Seen<'_>) -> Api {
    let has = |name| header(seen, name).is_some();
    if has("apigw-requestid") {
        Api::Http
    } else if has("x-amz-apigw-id") || has("x-amzn-requestid") || has("x-amzn-errortype") {
        Api::Rest
    } else {
        Api::Unknown
    }
}

/// `{"message": …}`, also with a capital (denials have one); what is not that is a text itself.
fn message(body: &[u8]) -> String {
    let named = |object: serde_json::Map<String, Value>| {
        let found = object
            .into_iter()
            .find(|(name, value)| name.eq_ignore_ascii_case("message") && value.is_string());
        found.and_then(|(_, value)| value.as_str().map(str::to_owned))
    };
    object(body).and_then(named).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned())
}

/// A JSON object, also one whose end is missing inside of a text, as of a long answer of which only the beginning was
/// kept.
fn object(body: &[u8]) -> Option<serde_json::Map<String, Value>> {
    if let Ok(Value::Object(object)) = serde_json::from_slice(body) {
        return Some(object);
    }
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    // An escape, or a character of several bytes, may have been cut through.
    let begun = |less: usize| {
        let kept = body.len().checked_sub(less)?;
        match serde_json::from_slice(&[&body[..kept], b"\"}"].concat()) {
            Ok(Value::Object(object)) => Some(object),
            _ => None,
        }
    };
    (0..6).find_map(begun)
}

/// `{"__type": …}`, which the JSON protocols of AWS have in place of the header.
fn json_type(body: &[u8]) -> Option<String> {
    object(body)?.get("__type").and_then(Value::as_str).map(str::to_owned)
}

/// `com.amazon.coral.service#ForbiddenException:http://…` is `forbidden`.
fn bare_type(kind: &str) -> String {
    let name = kind.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
    let name = name.rsplit('#').next().unwrap_or_default();
    name.strip_suffix("exception").unwrap_or(name).to_owned()
}

/// Reads `20150830T123600Z`.
pub(super) fn amz_date(text: &str) -> Option<SystemTime> {
    let digits = |from: usize, to: usize| {
        text.get(from..to).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if text.len() != 16 || text.as_bytes()[8] != b'T' || text.as_bytes()[15] != b'Z' {
        return None;
    }
    let (day, time) = (digits(0, 8)?, digits(9, 15)?);
    let spelt =
        format!("{}-{}-{}T{}:{}:{}Z", &day[..4], &day[4..6], &day[6..], &time[..2], &time[2..4], &time[4..]);
    humantime::parse_rfc3339(&spelt).ok()
}

/// How much later `later` is than `earlier`; negative when it is earlier.
pub(super) fn seconds_between(later: SystemTime, earlier: SystemTime) -> i64 {
    match later.duration_since(earlier) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

/// `7 minutes 30 seconds`
pub(super) fn in_words(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "day"),
        (seconds / 3_600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let said: Vec<_> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    if said.is_empty() { "0 seconds".to_owned() } else { said.join(" ") }
}
