//! A request as one JSON object: flat, each field under its own name. `docs/logging.md` lists them.

use std::fmt;

use tracing::{
    Level,
    field::{Field, Visit},
};

/// One line under way.
pub(super) struct JsonLine<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> JsonLine<'a> {
    /// `time` is date and time of day, to the second.
    pub(super) fn start(out: &'a mut Vec<u8>, time: &str, millis: u32, level: Level) -> Self {
        out.extend_from_slice(br#"{"timestamp":""#);
        out.extend_from_slice(time.as_bytes());
        let digit = |of: u32| b'0' + (millis / of % 10) as u8;
        out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
        out.extend_from_slice(br#"Z","level":""#);
        out.extend_from_slice(level.as_str().as_bytes());
        out.extend_from_slice(br#"","target":"countersign::access""#);
        Self { out }
    }

    fn key(&mut self, field: &Field) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(field.name().as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

impl Visit for JsonLine<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.key(field);
        // Looked at to the end, several bytes at a time, as hardly any holds one.
        #[expect(
            clippy::needless_bitwise_bool,
            reason = "without branches it is done for several bytes at once"
        )]
        let plain = |byte: u8| (b' '..0x7F).contains(&byte) & (byte != b'"') & (byte != b'\\');
        if value.bytes().fold(true, |all, byte| all & plain(byte)) {
            self.out.push(b'"');
            self.out.extend_from_slice(value.as_bytes());
            self.out.push(b'"');
        } else {
            let _ = serde_json::to_writer(&mut *self.out, value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.key(field);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if value {
            self.key(field);
            self.out.extend_from_slice(b"true");
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
