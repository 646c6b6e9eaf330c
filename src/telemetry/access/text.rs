//! A request as a person reads it: what matters in columns, what explains a failure behind them, the rest left to JSON.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
};

use super::Line;
use crate::telemetry::Phase;

/// From here on it is said where the time went.
const SLOW: u64 = 1_000_000;

/// What of a text may be shown. A path may hold any Unicode; a terminal must neither obey it nor turn it around.
struct Tame<'a>(&'a str);

impl fmt::Display for Tame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = f.width().unwrap_or_default();
        for c in self.0.chars() {
            f.write_char(if is_shown(c) { c } else { '\u{FFFD}' })?;
            left = left.saturating_sub(1);
        }
        (0..left).try_for_each(|_| f.write_char(' '))
    }
}

/// Neither a control character nor one that changes the direction in which others are shown (Unicode, UAX #9).
const fn is_shown(c: char) -> bool {
    !matches!(c, '\0'..='\x1F' | '\x7F'..='\u{9F}' | '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// `time` is date and time of day, to the second.
pub(super) fn write(out: &mut Vec<u8>, line: &Line<'_>, time: &str, millis: u32, colour: bool) {
    let clock = time.get(11..).unwrap_or(time);
    let paint = |code: &'static str| if colour { code } else { "" };
    let (dim, end) = (paint("\x1b[2m"), paint("\x1b[0m"));
    let mark = paint(match line.status {
        200..300 => "\x1b[32m",
        100..400 => "\x1b[36m",
        400..500 => "\x1b[33m",
        _ => "\x1b[31m",
    });
    // What ends in a full buffer or on a broken terminal is not written; a vector takes everything.
    let _ = write!(out, "{dim}{clock}.{millis:03}{end} {mark}");
    let _ = match line.status {
        0 => write!(out, "gone"),
        status => write!(out, "{status:>4}"),
    };
    let _ = write!(out, "{end} {:<7} {:<40} ", Tame(line.method), Tame(line.path));
    let _ = match line.micros {
        0..10_000_000 => write!(out, "{:>8.1} ms", line.micros as f64 / 1e3),
        micros => write!(out, "{:>8.1} s ", micros as f64 / 1e6),
    };
    let _ = write!(out, " {dim}{:>9}", Bytes(line.sent));
    if let Some(stage) = line.stage {
        let _ = write!(out, "  {}", Tame(stage));
    }
    let _ = write!(out, "{end}");
    if let Some(refused) = line.refused {
        let _ = write!(out, "  {mark}refused={refused}{end}");
    }
    if line.cut {
        let _ = write!(out, "  {}cut{end}", paint("\x1b[31m"));
    }
    if line.attempts > 1 {
        let _ = write!(out, "  {}attempts={}{end}", paint("\x1b[33m"), line.attempts);
    }
    if line.micros >= SLOW
        && let Some((phase, micros)) = longest(line)
    {
        let _ = write!(out, "  {dim}{}={:.1}s{end}", phase.as_str(), micros as f64 / 1e6);
    }
    if line.status >= 400 || line.cut {
        for (name, id) in [("id", Some(line.request_id)), ("gateway", line.gateway_request_id)] {
            if let Some(id) = id {
                let _ = write!(out, "  {dim}{name}={}{end}", Tame(id));
            }
        }
    }
    out.push(b'\n');
}

/// The phase that took longest.
fn longest(line: &Line<'_>) -> Option<(Phase, u64)> {
    let phases = Phase::ALL.into_iter().zip(line.phases);
    phases.filter_map(|(phase, micros)| Some((phase, micros?))).max_by_key(|(_, micros)| *micros)
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
    use super::{super::tests::line as fine, Line, is_shown};

    fn line(line: &Line<'_>, colour: bool) -> String {
        let mut out = Vec::new();
        super::write(&mut out, line, "2026-11-25T03:04:05", 7, colour);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns() {
        assert_eq!(
            line(&fine(), false),
            "03:04:05.007  200 GET     /orders/1                                    12.3 ms    1.2 kB  orders\n"
        );
        let nothing = Line { method: "", path: "", stage: None, status: 0, sent: 0, micros: 0, ..fine() };
        assert_eq!(
            line(&nothing, false),
            "03:04:05.007 gone                                                       0.0 ms       0 B\n"
        );
    }

    #[test]
    fn what_explains_a_failure() {
        let mut slow = Line {
            status: 502,
            refused: Some("upstream-broken"),
            gateway_request_id: None,
            attempts: 2,
            micros: 12_345_678,
            ..fine()
        };
        slow.phases[4] = Some(12_000_000);
        assert_eq!(
            line(&slow, false),
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
        let obeyed = line(&Line { path: "/a\x1b[31mb", stage: Some("\u{202e}s"), ..fine() }, false);
        assert!(obeyed.contains("/a\u{FFFD}[31mb") && obeyed.contains("  \u{FFFD}s\n"), "{obeyed}");
    }

    #[test]
    fn colours_can_be_had() {
        let plain = line(&fine(), false);
        let coloured = line(&fine(), true);
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
