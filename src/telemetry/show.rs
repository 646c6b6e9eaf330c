//! Shows a request in the log, for a person: all of it (`--show`), or how it failed (`--log-failed`). Where the log is
//! JSON it is one line with the same in it.
//!
//! What is shown comes from clients and stages. It is made harmless to a terminal, and set in, so that none of it can be
//! taken for another line of the log.

use std::{fmt::Write as _, io::Write as _};

use serde::Serialize;

use super::{
    access::{self, Lines},
    exchange::{AnswerView, BodyView, Change, Detail, FieldView, SentView, SigningView},
    pretty,
    scrub::Scrubbed,
};
use crate::config::LogFormat;

/// How much `--log-failed` shows of an answer's body.
const FAILED_BODY: usize = 4 << 10;
/// Where values start; labels and marks stand left of it.
const COLUMN: usize = 21;
/// How long the line is that divides requests.
const WIDTH: usize = 92;

/// Writes blocks of lines into the log.
#[derive(Clone)]
pub struct Blocks {
    lines: Lines,
    format: LogFormat,
    colour: bool,
}

#[derive(Serialize)]
struct JsonLine<'a, T> {
    timestamp: &'a str,
    level: &'a str,
    target: &'a str,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize)]
struct Whole<'a> {
    exchange: &'a Detail,
}

/// How a request failed, as fields.
#[derive(Serialize)]
struct Failed<'a> {
    request_id: &'a str,
    gateway_request_id: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    stage: Option<&'a str>,
    status: u16,
    refused: Option<&'a str>,
    error_type: Option<&'a str>,
    message: Option<&'a str>,
    hint: Option<&'a str>,
    body: Option<&'a str>,
    body_base64: Option<&'a str>,
    body_bytes: Option<u64>,
    why_not: Option<&'a str>,
}

impl Blocks {
    pub(super) fn new(lines: Lines, format: LogFormat, colour: bool) -> Self {
        Self { lines, format, colour }
    }

    /// All that may be seen of a request.
    pub(super) fn show(&self, detail: &Detail) {
        match self.format {
            LogFormat::Json => self.json("INFO", "countersign::show", Whole { exchange: detail }),
            LogFormat::Text => self.write(Page::new(self.colour).whole(detail).as_bytes()),
        }
    }

    /// Why it failed.
    pub(super) fn failed(&self, detail: &Detail) {
        match self.format {
            LogFormat::Json => self.json("WARN", "countersign::failed", failed(&cut_short(detail))),
            LogFormat::Text => self.write(Page::new(self.colour).failed(&cut_short(detail)).as_bytes()),
        }
    }

    fn json(&self, level: &str, target: &str, what: impl Serialize) {
        let line = JsonLine { timestamp: &access::time(), level, target, what };
        let mut line = serde_json::to_vec(&line).expect("texts and numbers are always JSON");
        line.push(b'\n');
        self.write(&line);
    }

    fn write(&self, lines: &[u8]) {
        // It takes everything, and drops what nobody reads.
        let _ = Scrubbed(self.lines.clone()).write_all(lines);
    }
}

/// The same with less of the answer's body, and without the query: it may hold what is nobody's business.
fn cut_short(detail: &Detail) -> Detail {
    let mut detail = detail.clone();
    let target = &mut detail.summary.target;
    target.truncate(target.find('?').unwrap_or(target.len()));
    if let Some(body) = detail.answer.as_mut().map(|answer| &mut answer.body) {
        for text in [&mut body.text, &mut body.base64].into_iter().flatten() {
            let end = text.floor_char_boundary(FAILED_BODY);
            text.truncate(end);
        }
        body.kept = body.kept.min(FAILED_BODY);
    }
    detail
}

fn failed(detail: &Detail) -> Failed<'_> {
    let (summary, refusal) = (&detail.summary, detail.refusal.as_ref());
    let body = detail.answer.as_ref().map(|answer| &answer.body);
    Failed {
        request_id: &summary.id,
        gateway_request_id: detail.gateway_request_id.as_deref(),
        method: &summary.method,
        path: &summary.target,
        stage: summary.stage.as_deref(),
        status: summary.status,
        refused: summary.refusal,
        error_type: detail.answer.as_ref().and_then(error_type),
        message: refusal.map(|refusal| refusal.message.as_str()),
        hint: refusal.map(|refusal| refusal.hint.as_str()),
        body: body.and_then(|body| body.text.as_deref()),
        body_base64: body.and_then(|body| body.base64.as_deref()),
        body_bytes: body.map(|body| body.length),
        why_not: body.and_then(|body| body.why_not),
    }
}

/// What a gateway calls its refusal.
fn error_type(answer: &AnswerView) -> Option<&str> {
    let field = answer.headers.iter().find(|field| field.name == "x-amzn-errortype")?;
    Some(field.value.text())
}

/// What a gateway says, if its answer is nothing but that. Of a signature that does not match it is many lines.
fn message(body: &str) -> Option<String> {
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).ok()?;
    let mut fields = fields.into_iter();
    match (fields.next(), fields.next()) {
        (Some((name, serde_json::Value::String(text))), None) if name.eq_ignore_ascii_case("message") => {
            Some(text)
        }
        _ => None,
    }
}

/// What a piece of text means, and so how it looks.
#[derive(Clone, Copy)]
enum Look {
    Plain,
    Heading,
    Quiet,
    Added,
    Bad,
}

/// The lines about one request.
struct Page {
    out: String,
    colour: bool,
}

impl Page {
    fn new(colour: bool) -> Self {
        Self { out: String::new(), colour }
    }

    fn whole(mut self, detail: &Detail) -> String {
        self.heading(detail);
        let received = &detail.received;
        self.entry(
            "received",
            Look::Heading,
            &format!("{} {} {}", received.method, received.target, received.version),
        );
        self.fields(&received.headers);
        self.body(&received.body);
        if let Some(sent) = &detail.sent {
            self.sent(sent);
        }
        if let Some(answer) = &detail.answer {
            self.answer(answer);
        }
        self.refusal(detail);
        if detail.cut {
            self.entry("", Look::Bad, "the answer broke off");
        }
        self.times(detail);
        self.out
    }

    fn failed(mut self, detail: &Detail) -> String {
        self.heading(detail);
        if let Some(answer) = &detail.answer {
            let kind = error_type(answer).map(|kind| format!("  {kind}")).unwrap_or_default();
            self.entry("answer", Look::Bad, &format!("{} {}{kind}", answer.status, answer.reason));
            match answer.body.text.as_deref().and_then(message) {
                Some(message) => message.lines().for_each(|line| self.entry("", Look::Plain, line)),
                None => self.body(&answer.body),
            }
        }
        self.refusal(detail);
        self.out
    }

    /// `── GET /a · 200 · orders · 12.3 ms · 0123456789abcdef ─────`
    fn heading(&mut self, detail: &Detail) {
        let summary = &detail.summary;
        let status = match summary.status {
            0 => "no answer".to_owned(),
            status => status.to_string(),
        };
        let mut parts = vec![format!("{} {}", summary.method, summary.target), status];
        parts.extend(summary.stage.clone());
        parts.push(format!("{:.1} ms", summary.micros as f64 / 1000.0));
        parts.push(summary.id.clone());
        parts.extend(detail.gateway_request_id.as_ref().map(|id| format!("gateway {id}")));
        parts.extend(summary.replay_of.as_ref().map(|id| format!("repeats {id}")));
        let text = harmless(&format!("── {} ", parts.join(" · ")));
        let rest = "─".repeat(WIDTH.saturating_sub(text.chars().count()));
        let look = if summary.status >= 400 || summary.status == 0 { Look::Bad } else { Look::Heading };
        self.paint(look, &text);
        self.paint(Look::Quiet, &rest);
        self.out.push('\n');
    }

    fn sent(&mut self, sent: &SentView) {
        self.entry("sent", Look::Heading, &format!("{} {}", sent.method, sent.url));
        self.fields(&sent.headers);
        if let Some(signing) = &sent.signing {
            self.signing(signing);
        }
    }

    fn signing(&mut self, signing: &SigningView) {
        for (label, lines) in
            [("canonical request", &signing.canonical_request), ("string to sign", &signing.string_to_sign)]
        {
            for (index, line) in lines.iter().enumerate() {
                self.entry(if index == 0 { label } else { "" }, Look::Plain, &line.text);
            }
        }
        let scope = &signing.scope;
        let scope = [&scope.date, &scope.region, &scope.service, &scope.terminator].map(String::as_str);
        self.entry("credential scope", Look::Plain, &scope.join("/"));
        self.entry("signature", Look::Plain, &format!("{} by {}", signing.signature, signing.access_key_id));
    }

    fn answer(&mut self, answer: &AnswerView) {
        let look = if answer.status >= 400 { Look::Bad } else { Look::Heading };
        self.entry("answer", look, &format!("{} {}", answer.status, answer.reason));
        self.fields(&answer.headers);
        self.body(&answer.body);
    }

    fn refusal(&mut self, detail: &Detail) {
        if let Some(refusal) = &detail.refusal {
            self.entry("refused here", Look::Bad, &format!("{} (fault: {})", refusal.code, refusal.fault));
            self.entry("", Look::Plain, &refusal.message);
            self.entry("", Look::Plain, &refusal.hint);
        }
    }

    fn times(&mut self, detail: &Detail) {
        let times: Vec<_> = detail
            .phases
            .iter()
            .map(|phase| format!("{} {:.1}", phase.name.replace('_', " "), phase.micros as f64 / 1000.0))
            .collect();
        if !times.is_empty() {
            let attempts = match detail.summary.attempts {
                0 | 1 => String::new(),
                more => format!(" · sent {more} times"),
            };
            self.entry("milliseconds", Look::Quiet, &format!("{}{attempts}", times.join(" · ")));
        }
        if let Some(credentials) = &detail.credentials {
            let until = credentials.expires.as_ref().map(|at| format!(" until {at}")).unwrap_or_default();
            let text = format!("{} {}{until}", credentials.source, credentials.access_key);
            self.entry("credentials", Look::Quiet, &text);
        }
    }

    fn fields(&mut self, fields: &[FieldView]) {
        for field in fields {
            let (mark, look) = match field.change {
                None => (' ', Look::Quiet),
                Some(Change::Removed) => ('-', Look::Quiet),
                Some(Change::Added) => ('+', Look::Added),
                Some(Change::Replaced | Change::Rewritten) => ('~', Look::Added),
            };
            let value = field.value.text();
            // A signature's parts are a line each.
            let is_signature = field.name == "authorization";
            let (first, more) = value.split_once(", ").filter(|_| is_signature).unwrap_or((value, ""));
            self.marked(mark, look, &format!("{}: {first}", field.name));
            for part in more.split(", ").filter(|part| !part.is_empty()) {
                self.marked(' ', look, &format!("  {part}"));
            }
        }
    }

    fn body(&mut self, body: &BodyView) {
        if body.length == 0 {
            return;
        }
        self.entry("", Look::Plain, "");
        if let Some(why) = body.why_not {
            return self.entry("", Look::Quiet, &format!("({} bytes, not shown: {why})", body.length));
        }
        let whole = body.kept as u64 == body.length;
        if let Some(text) = &body.text {
            let shown = if whole { pretty::json(text) } else { None };
            for line in shown.as_deref().unwrap_or(text).lines() {
                self.entry("", Look::Plain, line);
            }
        }
        if !whole || body.base64.is_some() {
            let what = if body.base64.is_some() { "no text" } else { "the first" };
            let note = match (body.kept, body.base64.is_some()) {
                (0, _) => format!("({} bytes)", body.length),
                (_, true) => format!("({} bytes, {what})", body.length),
                (kept, false) => format!("({what} {kept} of {} bytes)", body.length),
            };
            self.entry("", Look::Quiet, &note);
        }
    }

    /// A label and a value of one line.
    fn entry(&mut self, label: &str, look: Look, value: &str) {
        self.paint(Look::Quiet, &format!("  {label:<width$}", width = COLUMN - 2));
        self.paint(look, &harmless(value));
        self.out.push('\n');
    }

    fn marked(&mut self, mark: char, look: Look, value: &str) {
        self.paint(look, &format!("{mark:>width$} {}", harmless(value), width = COLUMN - 1));
        self.out.push('\n');
    }

    fn paint(&mut self, look: Look, text: &str) {
        let code = match look {
            _ if !self.colour => "",
            Look::Plain => "",
            Look::Heading => "1",
            Look::Quiet => "2",
            Look::Added => "32",
            Look::Bad => "1;31",
        };
        // A text always takes what is written to it.
        let _ = if code.is_empty() {
            self.out.write_str(text)
        } else {
            write!(self.out, "\x1b[{code}m{text}\x1b[0m")
        };
    }
}

/// Nothing that a terminal obeys: control characters, and those that turn the direction of text (UAX #9).
fn harmless(text: &str) -> String {
    let is_harmful = |c: char| {
        c.is_control() && c != '\t'
            || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_harmful(c) { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, Version};

    use super::{Page, harmless, message};
    use crate::telemetry::exchange::{Exchange, Headers, Received, Refusal};

    #[test]
    fn colours_are_ours_alone() {
        let mut headers = HeaderMap::new();
        headers.insert("x-own", HeaderValue::from_bytes(b"\xc2\x9b31m").unwrap());
        let received = Received::new(Method::GET, "/a", Version::HTTP_11, Headers::of(&headers));
        let mut exchange = Exchange::new("0", received);
        exchange.refusal = Some(Refusal {
            code: "code",
            fault: "client",
            message: "red \x1b[31m".into(),
            hint: "\u{202e}turned".into(),
        });
        for text in [Page::new(true).whole(&exchange.detail()), Page::new(true).failed(&exchange.detail())] {
            assert!(text.contains("\x1b[1;31mcode (fault: client)\x1b[0m"), "{text:?}");
            assert!(text.contains("red \u{fffd}[31m") && text.contains("\u{fffd}turned"), "{text:?}");
            assert!(!text.contains('\u{9b}') && !text.contains('\u{202e}'), "{text:?}");
            let plain = ["\x1b[1;31m", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[0m"]
                .iter()
                .fold(text, |text, code| text.replace(code, ""));
            assert!(!plain.contains('\x1b'), "{plain:?}");
        }
        assert_eq!(harmless("a\tb\u{7f}\u{200f}\r"), "a\tb\u{fffd}\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_message_is_told_where_there_is_nothing_else() {
        assert_eq!(message(r#"{"message":"a\nb"}"#).as_deref(), Some("a\nb"));
        assert_eq!(message(r#"{"Message":"a"}"#).as_deref(), Some("a"));
        for other in [r#"{"message":1}"#, r#"{"message":"a","more":1}"#, r#"{"error":"a"}"#, "[]", "", "{}"] {
            assert_eq!(message(other), None, "{other}");
        }
    }
}
