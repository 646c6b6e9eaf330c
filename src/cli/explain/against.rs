//! A refusal that somebody has kept, in the forms in which people keep them: the body of the answer, a HAR file (1.2), or
//! what `curl -v` or `curl -i` printed.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::sigv4::parse_amz_date;

/// What the gateway answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The date of the signature that it refused, if that stands there.
    pub(super) date: Option<SystemTime>,
}

/// It holds no refusal.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoRefusal {
    #[error("it is empty")]
    Empty,
    #[error("none of its exchanges was answered with a status of 400 or above")]
    NoneFailed,
    #[error("the answer in it has the status {0}, which is no refusal")]
    Passed(u16),
}

/// Reads it, whichever it is.
pub(super) fn read(bytes: &[u8]) -> Result<Answer, NoRefusal> {
    let text = String::from_utf8_lossy(bytes);
    if text.trim().is_empty() {
        return Err(NoRefusal::Empty);
    }
    let date = signed_at(&text);
    let answer = if let Some(entries) = har_entries(bytes) {
        let failed = entries.iter().rev().find_map(har_answer).ok_or(NoRefusal::NoneFailed)?;
        Answer { date: failed.date.or(date), ..failed }
    } else if text.lines().any(|line| line.starts_with("< HTTP/")) {
        Answer { date, ..verbose(&text) }
    } else if text.starts_with("HTTP/") {
        Answer { date, ..whole(&text) }
    } else {
        // A REST API's refusals of signatures have this status.
        Answer { status: 403, headers: Vec::new(), body: bytes.to_vec(), date }
    };
    if answer.status < 400 { Err(NoRefusal::Passed(answer.status)) } else { Ok(answer) }
}

/// The first date after what a signature's date stands behind.
fn signed_at(text: &str) -> Option<SystemTime> {
    let lower = text.to_ascii_lowercase();
    let marks = [
        "x-amz-date",
        "aws4-hmac-sha256\n",
        "aws4-hmac-sha256\\n",
        "signature expired",
        "signature not yet current",
    ];
    marks.iter().find_map(|mark| {
        let from = lower.find(mark)? + mark.len();
        let words = text[from..].split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        // "value" stands between in JSON, and an escaped line's end may stick to it.
        words
            .take(4)
            .find_map(|word| parse_amz_date(word).or_else(|| parse_amz_date(word.strip_prefix('n')?)))
    })
}

fn har_entries(bytes: &[u8]) -> Option<Vec<Value>> {
    let mut har: Value = serde_json::from_slice(bytes).ok()?;
    match har.pointer_mut("/log/entries")?.take() {
        Value::Array(entries) => Some(entries),
        _ => None,
    }
}

fn har_headers(message: &Value) -> Vec<(String, String)> {
    let fields = message.get("headers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let pair = |field: &Value| {
        Some((field.get("name")?.as_str()?.to_owned(), field.get("value")?.as_str()?.to_owned()))
    };
    fields.iter().filter_map(pair).collect()
}

fn har_answer(entry: &Value) -> Option<Answer> {
    let response = entry.get("response")?;
    let status = u16::try_from(response.get("status")?.as_u64()?).ok().filter(|status| *status >= 400)?;
    let content = response.get("content");
    let text = content.and_then(|content| content.get("text")?.as_str()).unwrap_or_default();
    let encoded = content.and_then(|content| content.get("encoding")?.as_str()) == Some("base64");
    let body = match encoded.then(|| STANDARD.decode(text)) {
        Some(Ok(decoded)) => decoded,
        _ => text.as_bytes().to_vec(),
    };
    let sent = har_headers(entry.get("request").unwrap_or(&Value::Null));
    let date = sent.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-amz-date"));
    let date = date.and_then(|(_, value)| parse_amz_date(value));
    Some(Answer { status, headers: har_headers(response), body, date })
}

/// `HTTP/1.1 403 Forbidden`
fn status(line: &str) -> u16 {
    line.split_ascii_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(403)
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

/// What `curl -v` printed: the last answer in it. Its own remarks begin with `*`, also where the body has no line's end.
fn verbose(text: &str) -> Answer {
    let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r')).collect();
    let start = lines.iter().rposition(|line| line.starts_with("< HTTP/")).unwrap_or_default();
    let head: Vec<_> = lines[start..].iter().filter_map(|line| line.strip_prefix("< ")).collect();
    let is_curls = |line: &str| {
        let transfer = (line.starts_with("{ [") || line.starts_with("} [")) && line.ends_with(" data]");
        transfer
            || ["* ", "> ", "< "].iter().any(|mark| line.starts_with(mark))
            || matches!(line, "<" | ">" | "*")
    };
    let rest: Vec<_> = lines[start..].iter().copied().filter(|line| !is_curls(line)).collect();
    let rest = rest.join("\n");
    Answer {
        status: status(head.first().copied().unwrap_or_default()),
        headers: head.iter().skip(1).filter_map(|line| field(line)).collect(),
        body: without_remarks(&rest).as_bytes().to_vec(),
        date: None,
    }
}

/// The JSON that stands in it, or all of it up to curl's next remark.
fn without_remarks(text: &str) -> &str {
    if let Some(begin) = text.find('{') {
        let mut values = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<Value>();
        if let Some(Ok(Value::Object(_))) = values.next() {
            return &text[begin..begin + values.byte_offset()];
        }
    }
    text.split("* Connection #").next().unwrap_or(text).trim()
}

/// What `curl -i` printed; answers that only lead to the next (100, a tunnel's 200) stand before it.
fn whole(text: &str) -> Answer {
    let mut rest = text;
    loop {
        let (head, body) =
            rest.split_once("\r\n\r\n").or_else(|| rest.split_once("\n\n")).unwrap_or((rest, ""));
        if body.starts_with("HTTP/") {
            rest = body;
            continue;
        }
        let mut lines = head.lines();
        return Answer {
            status: status(lines.next().unwrap_or_default()),
            headers: lines.filter_map(field).collect(),
            body: body.trim_end().as_bytes().to_vec(),
            date: None,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use base64::Engine as _;
    use serde_json::json;

    use super::{NoRefusal, read};

    const BODY: &str = "{\"message\":\"no\\n'GET\\nx-amz-date:20150830T123600Z\\n'\"}";

    #[test]
    fn every_form_gives_the_same() {
        let har = json!({ "log": { "entries": [
            { "request": {}, "response": { "status": 500, "headers": [], "content": { "text": "x" } } },
            {
                "request": { "headers": [{ "name": "X-Amz-Date", "value": "20150830T123600Z" }] },
                "response": {
                    "status": 403,
                    "headers": [{ "name": "x-amzn-errortype", "value": "InvalidSignatureException" }],
                    "content": { "text": BODY },
                },
            },
            { "request": {}, "response": { "status": 200, "content": {} } },
        ]}});
        let mut encoded = har.clone();
        encoded["log"]["entries"][1]["response"]["content"] =
            json!({ "text": super::STANDARD.encode(BODY), "encoding": "base64" });
        let verbose = format!(
            "* Trying 127.0.0.1:80...\n> GET / HTTP/1.1\n> Host: a\n> x-amz-date: 20150830T123600Z\n> \n* remark\n\
             < HTTP/1.1 100 Continue\r\n< \r\n< HTTP/1.1 403 Forbidden\r\n< x-amzn-errortype: InvalidSignatureException\r\n\
             < \r\n{{ [95 bytes data]\n{BODY}* Connection #0 to host a left intact\n"
        );
        let whole = format!(
            "HTTP/1.1 200 Connection established\r\n\r\nHTTP/2 403 \r\nx-amzn-errortype: InvalidSignatureException\r\n\r\n{BODY}\n"
        );
        for text in [har.to_string(), encoded.to_string(), verbose, whole] {
            let answer = read(text.as_bytes()).unwrap();
            assert_eq!(
                (answer.status, String::from_utf8(answer.body).unwrap().as_str()),
                (403, BODY),
                "{text}"
            );
            assert_eq!(
                answer.headers,
                [("x-amzn-errortype".to_owned(), "InvalidSignatureException".to_owned())]
            );
            assert_eq!(answer.date, Some(UNIX_EPOCH + Duration::from_secs(1_440_938_160)), "{text}");
        }
        let bare = read(BODY.as_bytes()).unwrap();
        assert_eq!((bare.status, bare.body.as_slice()), (403, BODY.as_bytes()));
        assert!(bare.date.is_some());
    }

    #[test]
    fn the_date_is_found_where_it_stands() {
        for text in [
            "AWS4-HMAC-SHA256\n20150830T123600Z\n",
            "AWS4-HMAC-SHA256\\n20150830T123600Z\\n",
            "Signature expired: 20150830T123600Z is now earlier than 20150830T124100Z (20150830T124600Z - 5 min.)",
            "{\"name\":\"X-Amz-Date\",\"value\":\"20150830T123600Z\"}",
        ] {
            let date = read(text.as_bytes()).unwrap().date;
            assert_eq!(date, Some(UNIX_EPOCH + Duration::from_secs(1_440_938_160)), "{text}");
        }
        assert_eq!(read(b"20150830T123600Z").unwrap().date, None);
    }

    #[test]
    fn what_holds_no_refusal() {
        assert!(matches!(read(b" \n"), Err(NoRefusal::Empty)));
        assert!(matches!(read(b"{\"log\":{\"entries\":[]}}"), Err(NoRefusal::NoneFailed)));
        assert!(matches!(read(b"HTTP/1.1 204 No Content\r\n\r\n"), Err(NoRefusal::Passed(204))));
        assert!(matches!(read(b"< HTTP/1.1 302 Found\n< location: x\n<\n"), Err(NoRefusal::Passed(302))));
        // Whatever else it is, it is read as the body.
        for text in ["<html>", "{", "< HTTP/", "HTTP/", "\u{fffd}\0"] {
            assert!(read(text.as_bytes()).is_ok(), "{text}");
        }
    }
}
