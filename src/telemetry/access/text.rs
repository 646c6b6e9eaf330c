//! A request as a person reads it: what matters in columns, what explains a failure behind them, the rest left to JSON.

use std::{fmt, io::Write as _};

use tracing::field::{Field, Visit};

/// From here on it is said where the time went.
const SLOW: u64 = 1_000_000;

/// What is shown of a request. Writing it empties it; its room is used again.
#[derive(Debug, Default)]
pub(super) struct TextLine {
    method: String,
    path: String,
    stage: String,
    refused: String,
    request_id: String,
    gateway_request_id: String,
    status: u64,
    sent: u64,
    micros: u64,
    attempts: u64,
    cut: bool,
    /// The phase that took longest.
    longest: Option<(&'static str, u64)>,
}

impl Visit for TextLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        let place = match field.name() {
            "method" => &mut self.method,
            "path" => &mut self.path,
            "stage" => &mut self.stage,
            "refused" => &mut self.refused,
            "request_id" => &mut self.request_id,
            "gateway_request_id" => &mut self.gateway_request_id,
            _ => return,
        };
        // A path may hold any Unicode; a terminal must neither obey it nor turn it around.
        place.extend(value.chars().map(|c| if is_shown(c) { c } else { '\u{FFFD}' }));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "status" => self.status = value,
            "sent" => self.sent = value,
            "micros" => self.micros = value,
            "attempts" => self.attempts = value,
            name => {
                let Some(phase) = name.strip_suffix("_micros") else { return };
                if self.longest.is_none_or(|(_, longest)| value > longest) {
                    self.longest = Some((phase, value));
                }
            }
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "cut" {
            self.cut = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Neither a control character nor one that changes the direction in which others are shown (Unicode, UAX #9).
const fn is_shown(c: char) -> bool {
    !matches!(c, '\0'..='\x1F' | '\x7F'..='\u{9F}' | '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

impl TextLine {
    /// `time` is date and time of day, to the second.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, time: &str, millis: u32, colour: bool) {
        let clock = time.get(11..).unwrap_or(time);
        let paint = |code: &'static str| if colour { code } else { "" };
        let (dim, end) = (paint("\x1b[2m"), paint("\x1b[0m"));
        let mark = paint(match self.status {
            200..300 => "\x1b[32m",
            100..400 => "\x1b[36m",
            400..500 => "\x1b[33m",
            _ => "\x1b[31m",
        });
        // What ends in a full buffer or on a broken terminal is not written; a vector takes everything.
        let _ = write!(out, "{dim}{clock}.{millis:03}{end} {mark}");
        let _ = match self.status {
            0 => write!(out, "gone"),
            status => write!(out, "{status:>4}"),
        };
        let _ = write!(out, "{end} {:<7} {:<40} ", self.method, self.path);
        let _ = match self.micros {
            0..10_000_000 => write!(out, "{:>8.1} ms", self.micros as f64 / 1e3),
            micros => write!(out, "{:>8.1} s ", micros as f64 / 1e6),
        };
        let _ = write!(out, " {dim}{:>9}", Bytes(self.sent));
        if !self.stage.is_empty() {
            let _ = write!(out, "  {}", self.stage);
        }
        let _ = write!(out, "{end}");
        if !self.refused.is_empty() {
            let _ = write!(out, "  {mark}refused={}{end}", self.refused);
        }
        if self.cut {
            let _ = write!(out, "  {}cut{end}", paint("\x1b[31m"));
        }
        if self.attempts > 1 {
            let _ = write!(out, "  {}attempts={}{end}", paint("\x1b[33m"), self.attempts);
        }
        if let Some((phase, micros)) = self.longest.filter(|_| self.micros >= SLOW) {
            let _ = write!(out, "  {dim}{phase}={:.1}s{end}", micros as f64 / 1e6);
        }
        if self.status >= 400 || self.cut {
            for (name, id) in [("id", &self.request_id), ("gateway", &self.gateway_request_id)] {
                if !id.is_empty() {
                    let _ = write!(out, "  {dim}{name}={id}{end}");
                }
            }
        }
        out.push(b'\n');
        self.empty();
    }

    fn empty(&mut self) {
        let texts = [
            &mut self.method,
            &mut self.path,
            &mut self.stage,
            &mut self.refused,
            &mut self.request_id,
            &mut self.gateway_request_id,
        ];
        texts.into_iter().for_each(String::clear);
        (self.status, self.sent, self.micros, self.attempts) = (0, 0, 0, 0);
        (self.cut, self.longest) = (false, None);
    }
}

/// So many bytes, in at most nine characters up to a terabyte.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            bytes @ 0..1_000 => format!("{bytes} B"),
            bytes @ 1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
            bytes @ 1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
            bytes => format!("{:.1} GB", bytes as f64 / 1e9),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::{TextLine, is_shown};

    fn line(line: &mut TextLine, colour: bool) -> String {
        let mut out = Vec::new();
        line.write(&mut out, "2026-11-25T03:04:05", 7, colour);
        String::from_utf8(out).unwrap()
    }

    fn fine() -> TextLine {
        TextLine {
            method: "GET".into(),
            path: "/orders/1".into(),
            stage: "orders".into(),
            request_id: "0123456789abcdef".into(),
            gateway_request_id: "3f2a-1".into(),
            status: 200,
            sent: 1234,
            micros: 12_345,
            attempts: 1,
            longest: Some(("first_byte", 12_000)),
            ..TextLine::default()
        }
    }

    #[test]
    fn columns() {
        let mut fine = fine();
        assert_eq!(
            line(&mut fine, false),
            "03:04:05.007  200 GET     /orders/1                                    12.3 ms    1.2 kB  orders\n"
        );
        // Nothing of it is left for the next one.
        assert_eq!(
            line(&mut fine, false),
            "03:04:05.007 gone                                                       0.0 ms       0 B\n"
        );
    }

    #[test]
    fn what_explains_a_failure() {
        let mut slow = TextLine {
            status: 502,
            refused: "upstream-broken".into(),
            gateway_request_id: String::new(),
            attempts: 2,
            micros: 12_345_678,
            longest: Some(("first_byte", 12_000_000)),
            ..fine()
        };
        assert_eq!(
            line(&mut slow, false),
            "03:04:05.007  502 GET     /orders/1                                    12.3 s     1.2 kB  orders  \
             refused=upstream-broken  attempts=2  first_byte=12.0s  id=0123456789abcdef\n"
        );
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        let shown = |text: &str| text.chars().map(|c| if is_shown(c) { c } else { '.' }).collect::<String>();
        assert_eq!(shown("/a\x1b[31mb\r\n\u{9b}c\u{7f}"), "/a.[31mb...c.");
        assert_eq!(shown("/\u{202e}gpj.exe\u{2066}\u{200f}\u{2028}"), "/.gpj.exe...");
        assert_eq!(shown("/bücher/日本/…"), "/bücher/日本/…");
    }

    #[test]
    fn colours_can_be_had() {
        let plain = line(&mut fine(), false);
        let coloured = line(&mut fine(), true);
        assert!(
            coloured.contains("\x1b[32m 200\x1b[0m") && coloured.starts_with("\x1b[2m03:04"),
            "{coloured:?}"
        );
        let mut rest = coloured.as_str();
        let mut bare = String::new();
        while let Some(at) = rest.find('\x1b') {
            bare.push_str(&rest[..at]);
            rest = &rest[at + 1 + rest[at..].find('m').unwrap()..];
        }
        assert_eq!(bare + rest, plain);
    }
}
