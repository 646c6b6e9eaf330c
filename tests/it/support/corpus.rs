//! Reads `tests/corpus`: requests as raw bytes, with what must become of each. The format is told in its README.

use std::{fs, path::PathBuf};

use super::root;

/// The file whose lines are frames; they are kept apart by the record separator.
const FRAMES: &str = "h2c";

/// One entry.
#[derive(Debug)]
pub struct Case {
    /// `file/name`
    pub name: String,
    /// What the client sends: bytes, or lines that say which frames.
    pub sent: Vec<u8>,
    /// The client ends its side after these bytes.
    pub ends: bool,
    /// It means the same over HTTP/2 with prior knowledge.
    pub over_h2c: bool,
    /// What comes back, in order.
    pub answers: Vec<String>,
    /// What must reach the stage, in order.
    pub reached: Vec<Reached>,
}

/// A request as the stage must see it, without the fields that the proxy itself puts in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// `GET /prod/a`
    pub start: Vec<u8>,
    /// `name: value`, sorted.
    pub fields: Vec<Vec<u8>>,
    /// Without its framing.
    pub body: Vec<u8>,
}

/// The entries of one file, `framing` for `tests/corpus/framing.txt`.
///
/// # Panics
/// When it is not written as the README says.
pub fn read(file: &str) -> Vec<Case> {
    let path: PathBuf = root().join("tests/corpus").join(file).with_extension("txt");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = || panic!("{}:{}: {line}", path.display(), number + 1);
        let (kind, rest) = line.split_at(line.len().min(2));
        if let ("##", name) = (kind, rest.trim()) {
            let name = format!("{file}/{name}");
            assert!(cases.iter().all(|case| case.name != name), "{name} is there twice");
            let (sent, answers, reached) = (Vec::new(), Vec::new(), Vec::new());
            cases.push(Case { name, sent, ends: false, over_h2c: false, answers, reached });
            continue;
        }
        let Some(case) = cases.last_mut() else {
            assert!(line.is_empty() || kind.starts_with('#'), "{}", wrong());
            continue;
        };
        match (kind, rest) {
            ("", "") | ("# ", _) => {}
            ("> ", text) if file == FRAMES => case.sent.extend([&unescape(text)[..], b"\x1e"].concat()),
            (">" | "> ", text) => case.sent.extend(bytes_of_line(text)),
            ("@ ", "end") => case.ends = true,
            ("@ ", "h2c") => case.over_h2c = true,
            ("= ", verdict) => case.answers = verdict.split(", ").map(str::to_owned).collect(),
            ("< ", text) if !text.starts_with("  ") => {
                let start = unescape(text);
                case.reached.push(Reached { start, fields: Vec::new(), body: Vec::new() });
            }
            ("< ", text) => {
                let Some(reached) = case.reached.last_mut() else { wrong() };
                match text.trim_start().strip_prefix("| ") {
                    Some(body) => reached.body.extend(unescape(body)),
                    None => reached.fields.push(unescape(text[2..].strip_suffix('\\').unwrap_or(&text[2..]))),
                }
                reached.fields.sort();
            }
            _ => wrong(),
        }
    }
    for case in &cases {
        assert!(!case.answers.is_empty() && !case.sent.is_empty(), "{} is not whole", case.name);
        let passed = case.answers.iter().filter(|answer| answer.ends_with("200")).count();
        assert_eq!(passed, case.reached.len(), "{}: each 200 is one request at the stage", case.name);
    }
    cases
}

/// A line stands for its bytes and CRLF; a backslash at its end takes the CRLF away.
fn bytes_of_line(text: &str) -> Vec<u8> {
    match text.strip_suffix('\\').filter(|rest| !rest.ends_with('\\')) {
        Some(rest) => unescape(rest),
        None => [&unescape(text)[..], b"\r\n"].concat(),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&kind, after) = rest.split_first().expect("a backslash is not the last byte");
        rest = after;
        match kind {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).expect("two digits");
                out.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
                rest = &rest[2..];
            }
            b'{' => {
                let text = std::str::from_utf8(rest).expect("it was text");
                let (count, text) = text.split_once(':').expect("a count and a colon");
                let (what, after) = text.split_once('}').expect("a closing brace");
                out.extend(unescape(what).repeat(count.parse().expect("a count")));
                rest = after.as_bytes();
            }
            other => panic!("no escape: \\{}", char::from(other)),
        }
    }
    out
}
