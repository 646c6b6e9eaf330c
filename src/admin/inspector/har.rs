//! HTTP Archive 1.2: exchanges for other tools, and exchanges of other tools.
//!
//! What is written holds no secret: hidden header values are not in it, and neither is anything that repeats them. What
//! is read is hostile as anything captured is, and is marked: such an exchange cannot be sent again as it is, since this
//! proxy never sent it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Inspector, bad_request,
    exchanges::{Filter, matching},
    query::Query,
};
use crate::{
    admin::answer::{Answer, json as answer_json},
    telemetry::exchange::{Answer as Answered, Body, BodyView, Exchange, FieldView, Headers, Received, Tape},
};

/// Stands in place of a hidden value.
const REMOVED: &str = "[removed]";
/// Exchanges that are taken from one file.
const MOST: usize = 10_000;
/// Bytes that are kept of one body.
const MOST_BODY: usize = 1 << 20;
/// Begins the id of what was imported; the proxy's own are hexadecimal.
const PREFIX: &str = "har-";

/// Whether this is the id of an exchange that came from a file.
pub(super) fn is_imported(id: &str) -> bool {
    id.starts_with(PREFIX)
}

impl Inspector {
    /// The exchanges that a query asks for, all without one.
    pub(super) async fn export(&self, query: &Query) -> Answer {
        let filter = match Filter::of(query) {
            Ok(filter) => filter,
            Err(why) => return bad_request(&why),
        };
        let found = matching(&self.hub, &filter, 0, usize::MAX).await;
        let mut entries = Vec::with_capacity(found.exchanges.len());
        for exchange in found.exchanges {
            entries.push(entry(&exchange));
            tokio::task::yield_now().await;
        }
        let log = json!({
            "log": {
                "version": "1.2",
                "creator": { "name": "countersign", "version": env!("CARGO_PKG_VERSION") },
                "entries": entries,
            }
        });
        let mut answer = answer_json(StatusCode::OK, log.to_string());
        let disposition = HeaderValue::from_static("attachment; filename=\"countersign.har\"");
        answer.headers_mut().insert(http::header::CONTENT_DISPOSITION, disposition);
        answer
    }

    /// Takes in the exchanges of a file.
    pub(super) fn import(&self, bytes: &[u8]) -> Answer {
        let archive: Archive = match serde_json::from_slice(bytes) {
            Ok(archive) => archive,
            Err(error) => return bad_request(&format!("this is no HTTP Archive: {error}")),
        };
        if archive.log.entries.len() > MOST {
            return bad_request(&format!("an archive with more than {MOST} entries is not taken"));
        }
        let read: Result<Vec<_>, _> = archive
            .log
            .entries
            .into_iter()
            .enumerate()
            .map(|(at, entry)| entry.read().map_err(|why| (at, why)))
            .collect();
        match read {
            Ok(exchanges) => {
                let count = exchanges.len();
                for exchange in exchanges {
                    self.hub.publish(Tape::of(&exchange));
                }
                answer_json(StatusCode::CREATED, json!({ "imported": count }).to_string())
            }
            Err((at, why)) => bad_request(&format!("entry {at} of the archive: {why}")),
        }
    }
}

fn entry(exchange: &Exchange) -> Value {
    let detail = exchange.detail();
    let (summary, received) = (&detail.summary, &detail.received);
    let find = |fields: &[FieldView], name: &str| {
        fields.iter().find(|field| field.name == name).map(|field| value_of(field).to_owned())
    };
    let host = find(&received.headers, "host").unwrap_or_else(|| "localhost".to_owned());
    let url = match received.target.starts_with('/') {
        true => format!("http://{host}{}", received.target),
        false => received.target.clone(),
    };
    let mut request = json!({
        "method": received.method,
        "url": url,
        "httpVersion": received.version,
        "cookies": [],
        "headers": fields(&received.headers),
        "queryString": query_string(&received.target),
        "headersSize": -1,
        "bodySize": received.body.length,
    });
    if received.body.kept > 0 {
        let kind = find(&received.headers, "content-type").unwrap_or_default();
        request["postData"] = match (&received.body.text, &received.body.base64) {
            (Some(text), _) => json!({ "mimeType": kind, "params": [], "text": text }),
            (None, base64) => {
                json!({ "mimeType": kind, "params": [], "text": base64, "_encoding": "base64" })
            }
        };
    }
    let answer = detail.answer.as_ref();
    let refusal = detail.refusal.as_ref();
    let status =
        refusal.map_or_else(|| answer.map_or(summary.status, |answer| answer.status), |_| summary.status);
    let content = match (answer, refusal) {
        (Some(answer), None) => content(&answer.body, find(&answer.headers, "content-type")),
        (_, Some(refusal)) => {
            let text = json!({ "error": refusal.code, "message": refusal.message, "hint": refusal.hint })
                .to_string();
            json!({ "size": text.len(), "mimeType": "application/json", "text": text })
        }
        (None, None) => json!({ "size": 0, "mimeType": "" }),
    };
    let response = json!({
        "status": status,
        "statusText": StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default(),
        "httpVersion": received.version,
        "cookies": [],
        "headers": answer.filter(|_| refusal.is_none()).map(|answer| fields(&answer.headers)).unwrap_or_default(),
        "content": content,
        "redirectURL": answer.and_then(|answer| find(&answer.headers, "location")).unwrap_or_default(),
        "headersSize": -1,
        "bodySize": summary.sent_bytes,
    });
    let phase = |names: &[&str]| {
        let found = detail.phases.iter().filter(|phase| names.contains(&phase.name));
        found.map(|phase| phase.micros).sum::<u64>()
    };
    let (connect, answering) = (phase(&["connect"]), phase(&["answer"]));
    let before = phase(&["receive", "sign"]);
    let wait = summary.micros.saturating_sub(connect + answering + before);
    json!({
        "startedDateTime": summary.began,
        "time": millis(summary.micros),
        "request": request,
        "response": response,
        "cache": {},
        "timings": {
            "blocked": millis(before),
            "dns": -1,
            "connect": millis(connect),
            "ssl": -1,
            "send": 0,
            "wait": millis(wait),
            "receive": millis(answering),
        },
        "_id": summary.id,
        "_stage": summary.stage,
        "_origin": summary.origin,
    })
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

fn value_of(field: &FieldView) -> &str {
    if field.hidden { REMOVED } else { field.value.text() }
}

fn fields(fields: &[FieldView]) -> Vec<Value> {
    fields.iter().map(|field| json!({ "name": field.name, "value": value_of(field) })).collect()
}

fn query_string(target: &str) -> Vec<Value> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect()
}

fn content(body: &BodyView, kind: Option<String>) -> Value {
    let mut content = json!({ "size": body.length, "mimeType": kind.unwrap_or_default() });
    if let Some(text) = &body.text {
        content["text"] = text.as_str().into();
    } else if let Some(base64) = &body.base64 {
        content["text"] = base64.as_str().into();
        content["encoding"] = "base64".into();
    }
    content
}

/// As much of an archive as is read; tools add fields of their own.
#[derive(Deserialize)]
struct Archive {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    started_date_time: String,
    #[serde(default)]
    time: f64,
    request: Asked,
    response: Replied,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Field>,
    #[serde(default)]
    post_data: Option<PostData>,
}

#[derive(Deserialize)]
struct Field {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct PostData {
    #[serde(default)]
    text: Option<String>,
    #[serde(default, rename = "_encoding")]
    encoding: Option<String>,
}

#[derive(Deserialize)]
struct Replied {
    status: u16,
    #[serde(default)]
    headers: Vec<Field>,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    encoding: Option<String>,
}

impl Entry {
    fn read(self) -> Result<Exchange, String> {
        static NEXT: AtomicU64 = AtomicU64::new(1);

        let method = Method::from_bytes(self.request.method.as_bytes())
            .map_err(|_| format!("{:?} is no method", self.request.method))?;
        let after = self.request.url.split_once("://").map_or(self.request.url.as_str(), |(_, after)| after);
        let target = after.find(['/', '?']).map_or("/", |at| &after[at..]);
        let target = target.split('#').next().unwrap_or("/");
        let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
        let headers = headers(&self.request.headers)?;
        let mut received = Received::new(method, &target, Version::HTTP_11, headers);
        if let Some(post) = self.request.post_data {
            received.body = body(post.text, post.encoding.as_deref())?;
        }
        let id = format!("{PREFIX}{:012x}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut exchange = Exchange::new(&id, received);
        exchange.began = moment(&self.started_date_time).ok_or("startedDateTime is no date (ISO 8601)")?;
        exchange.total = Duration::try_from_secs_f64(self.time / 1000.0).unwrap_or_default();
        exchange.status = self.response.status;
        if let Ok(status) = StatusCode::from_u16(self.response.status) {
            let content = self.response.content;
            let body = content.map(|content| body(content.text, content.encoding.as_deref()));
            let body = body.transpose()?.unwrap_or_default();
            exchange.answered = body.len();
            exchange.answer =
                Some(Answered { status, headers: self::headers(&self.response.headers)?, body });
        }
        Ok(exchange)
    }
}

/// A date with a zone: `Z`, or the offset from it that browsers write (`+01:00`).
fn moment(text: &str) -> Option<SystemTime> {
    let at = text.len().checked_sub(6).filter(|at| text.is_char_boundary(*at));
    let (date, zone) = at.map_or((text, ""), |at| text.split_at(at));
    let (sign, offset) = match zone.split_at_checked(1) {
        Some((sign @ ("+" | "-"), offset)) => (sign, offset.split_once(':')?),
        _ => return humantime::parse_rfc3339_weak(text).ok(),
    };
    let (hours, minutes): (u64, u64) = (offset.0.parse().ok()?, offset.1.parse().ok()?);
    let offset = Duration::from_secs((hours.min(24) * 60 + minutes.min(60)) * 60);
    let local = humantime::parse_rfc3339_weak(date).ok()?;
    if sign == "+" { local.checked_sub(offset) } else { local.checked_add(offset) }
}

fn headers(fields: &[Field]) -> Result<Headers, String> {
    let mut headers = HeaderMap::new();
    // HTTP/2's pseudo fields are no headers.
    for Field { name, value } in fields.iter().filter(|field| !field.name.starts_with(':')) {
        let field =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no header's name"))?;
        let value =
            HeaderValue::from_bytes(value.as_bytes()).map_err(|_| format!("the value of {name} is none"))?;
        headers.try_append(field, value).map_err(|_| "there are too many headers".to_owned())?;
    }
    Ok(Headers::of(&headers))
}

fn body(text: Option<String>, encoding: Option<&str>) -> Result<Body, String> {
    let bytes = match (text, encoding) {
        (None, _) => Vec::new(),
        (Some(text), Some("base64")) => {
            STANDARD.decode(text).map_err(|_| "a body is no base64".to_owned())?
        }
        (Some(text), _) => text.into_bytes(),
    };
    let mut body = Body::keeping(MOST_BODY);
    body.push(&bytes);
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::{Archive, moment};

    #[test]
    fn dates_of_other_tools() {
        let at = |text: &str| moment(text).map(|at| humantime::format_rfc3339_millis(at).to_string());
        for (text, expected) in [
            ("2026-11-25T03:04:05.678Z", "2026-11-25T03:04:05.678Z"),
            ("2026-11-25T03:04:05+01:30", "2026-11-25T01:34:05.000Z"),
            ("2026-11-25T03:04:05.5-02:00", "2026-11-25T05:04:05.500Z"),
        ] {
            assert_eq!(at(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "yesterday", "2026-11-25", "+01:00", "2026-11-25T03:04:05+aa:bb", "ééééééé"] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn an_archive_of_a_browser_is_read() {
        let text = r#"{"log":{"version":"1.2","creator":{"name":"x","version":"1"},"pages":[],"entries":[
            {"pageref":"p","startedDateTime":"2026-11-25T03:04:05.678+00:00","time":12.5,"_x":1,
             "request":{"method":"POST","url":"https://api.example/a?b=1#c","httpVersion":"h2","cookies":[],
                "headers":[{"name":":authority","value":"api.example"},{"name":"Accept","value":"*/*"}],
                "queryString":[],"headersSize":-1,"bodySize":2,"postData":{"mimeType":"text/plain","text":"hi"}},
             "response":{"status":200,"statusText":"","httpVersion":"h2","cookies":[],"headers":[],
                "content":{"size":2,"mimeType":"image/png","text":"//4=","encoding":"base64"},"redirectURL":"",
                "headersSize":-1,"bodySize":2},"cache":{},"timings":{"send":0,"wait":1,"receive":0}},
            {"startedDateTime":"2026-11-25T03:04:05Z","request":{"method":"GET","url":"https://api.example?x"},
             "response":{"status":0}}]}}"#;
        let archive: Archive = serde_json::from_str(text).unwrap();
        let read: Vec<_> = archive.log.entries.into_iter().map(|entry| entry.read().unwrap()).collect();
        let (first, second) = (&read[0], &read[1]);
        assert_eq!(first.received.exposed_target(), "/a?b=1");
        assert_eq!(first.received.headers.exposed().len(), 1);
        assert_eq!(first.received.body.exposed(), b"hi");
        assert_eq!(first.answer.as_ref().unwrap().body.exposed(), b"\xff\xfe");
        assert_eq!(first.total.as_micros(), 12_500);
        assert!(super::is_imported(&first.id) && first.id != second.id);
        assert_eq!(second.received.exposed_target(), "/?x");
        assert!(second.answer.is_none());
    }

    #[test]
    fn what_is_no_http_is_an_error_and_no_panic() {
        let entry = |method: &str, name: &str, value: &str, time: &str, status: &str| {
            format!(
                r#"{{"log":{{"entries":[{{"startedDateTime":"2026-11-25T03:04:05Z","time":{time},
                "request":{{"method":"{method}","url":"x","headers":[{{"name":"{name}","value":"{value}"}}]}},
                "response":{{"status":{status}}}}}]}}}}"#
            )
        };
        for (text, good) in [
            (entry("GET", "a", "b", "1", "200"), true),
            (entry("GET", "a", "b", "-1e300", "65535"), true),
            (entry("G T", "a", "b", "1", "200"), false),
            (entry("GET", "a b", "b", "1", "200"), false),
            (entry("GET", "a", "b\\r\\nc", "1", "200"), false),
        ] {
            let read = serde_json::from_str::<Archive>(&text).unwrap().log.entries.remove(0).read();
            assert_eq!(read.is_ok(), good, "{text}");
        }
    }
}
