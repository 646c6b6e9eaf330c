//! A request as one JSON object: flat, each field under its own name. `docs/logging.md` lists them.

use super::Line;
use crate::telemetry::Phase;

/// What stands before a field's value. The names are known when this is compiled, so each is one copy.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// Those of the phases, in their order.
const PHASES: [&str; Phase::ALL.len()] = [
    key!("receive_micros"),
    key!("queue_micros"),
    key!("sign_micros"),
    key!("connect_micros"),
    key!("first_byte_micros"),
    key!("answer_micros"),
];

/// `time` is date and time of day, to the second.
pub(super) fn write(out: &mut Vec<u8>, line: &Line<'_>, time: &str, millis: u32) {
    let mut json = Json(out);
    json.plain(r#"{"timestamp":""#);
    json.plain(time);
    let digit = |of: u32| b'0' + (millis / of % 10) as u8;
    json.0.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
    json.plain(r#"Z","level":""#);
    json.plain(line.level.as_str());
    json.plain(r#"","target":"countersign::access""#);
    json.text(key!("method"), line.method);
    json.text(key!("path"), line.path);
    json.text_if(key!("stage"), line.stage);
    json.text_if(key!("route"), line.route);
    json.text_if(key!("auth"), line.auth);
    json.number(key!("status"), line.status.into());
    json.text_if(key!("refused"), line.refused);
    json.text_if(key!("fault"), line.fault);
    if line.cut {
        json.plain(concat!(key!("cut"), "true"));
    }
    json.number(key!("received"), line.received);
    json.number(key!("sent"), line.sent);
    json.number(key!("attempts"), line.attempts.into());
    json.number(key!("micros"), line.micros);
    for (key, micros) in PHASES.into_iter().zip(line.phases) {
        if let Some(micros) = micros {
            json.number(key, micros);
        }
    }
    json.text_if(key!("credentials"), line.credentials);
    json.text_if(key!("access_key"), line.access_key);
    json.text(key!("request_id"), line.request_id);
    json.text_if(key!("trace_id"), line.trace_id);
    json.text_if(key!("gateway_request_id"), line.gateway_request_id);
    json.plain("}\n");
}

/// An object under way.
struct Json<'a>(&'a mut Vec<u8>);

impl Json<'_> {
    fn plain(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    #[inline]
    fn text(&mut self, key: &'static str, value: &str) {
        self.plain(key);
        // Looked at to the end, several bytes at a time, as hardly any holds one.
        #[expect(
            clippy::needless_bitwise_bool,
            reason = "without branches it is done for several bytes at once"
        )]
        let plain = |byte: u8| (b' '..0x7F).contains(&byte) & (byte != b'"') & (byte != b'\\');
        if value.bytes().fold(true, |all, byte| all & plain(byte)) {
            self.0.push(b'"');
            self.plain(value);
            self.0.push(b'"');
        } else {
            let _ = serde_json::to_writer(&mut *self.0, value);
        }
    }

    #[inline]
    fn text_if(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    #[inline]
    fn number(&mut self, key: &'static str, value: u64) {
        self.plain(key);
        self.plain(itoa::Buffer::new().format(value));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::tests::line, PHASES, write};
    use crate::telemetry::Phase;

    fn read(line: &super::Line<'_>) -> Value {
        let mut out = Vec::new();
        write(&mut out, line, "2026-11-25T03:04:05", 7);
        assert_eq!(out.last(), Some(&b'\n'));
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn each_field_has_its_name() {
        for (phase, key) in Phase::ALL.into_iter().zip(PHASES) {
            assert_eq!(key, format!(",\"{}_micros\":", phase.as_str()));
        }
        let whole = read(&line());
        let expected = json!({
            "timestamp": "2026-11-25T03:04:05.007Z", "level": "INFO", "target": "countersign::access",
            "method": "GET", "path": "/orders/1", "stage": "orders", "route": "/orders/*", "auth": "iam",
            "status": 200, "received": 0, "sent": 1234, "attempts": 1, "micros": 12_345,
            "receive_micros": 100, "first_byte_micros": 12_000, "credentials": "environment",
            "access_key": "WXYZ", "request_id": "0123456789abcdef", "gateway_request_id": "3f2a-1",
        });
        assert_eq!(whole, expected);
        let refused = super::Line {
            refused: Some("no-stage"),
            fault: Some("client"),
            cut: true,
            trace_id: Some("4bf9"),
            stage: None,
            ..line()
        };
        let refused = read(&refused);
        assert_eq!((&refused["refused"], &refused["fault"]), (&json!("no-stage"), &json!("client")));
        assert_eq!((&refused["cut"], &refused["trace_id"]), (&json!(true), &json!("4bf9")));
        assert_eq!(refused.get("stage"), None);
    }

    #[test]
    fn what_would_end_a_text_is_escaped() {
        for path in ["/a\"b", "/a\\b", "/a\nb", "/\u{7f}", "/bücher", "/\u{1b}[31m", ""] {
            assert_eq!(read(&super::Line { path, ..line() })["path"], path);
        }
    }
}
