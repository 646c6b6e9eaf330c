//! What a request target really names: its segments as the gateway will see them, and dot segments in any spelling.

use crate::sigv4::percent_byte;

/// Whether the path has a `.` or `..` segment in any spelling: plain, encoded once or more often, behind an encoded or
/// a back slash, with a `;` parameter or a NUL, in overlong UTF-8, as `%u002e`, or in wide characters.
pub(crate) fn has_dot_segment(path: &str) -> bool {
    if !path.contains('%') && path.is_ascii() {
        return (path.contains("/.") || path.contains('\\')) && any_dot_segment(path.as_bytes());
    }
    // A separator or a dot is part of no escape, so a dot segment of any round of decoding is still there at the end.
    any_dot_segment(&read_loosely(decode_wholly(path.bytes())))
}

/// What the loosest of readers would make of decoded text: IIS's `%u002e` is a character, UTF-8 that is longer than it
/// needs to be counts, and so do the characters that Unicode's compatibility forms (NFKC) make dots and slashes of.
fn read_loosely(text: Vec<u8>) -> Vec<u8> {
    if text.iter().all(|byte| byte.is_ascii() && *byte != b'%') {
        return text;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_slice();
    while let Some((character, length)) = loose_character(rest) {
        match character {
            0x2e | 0x2024 | 0xfe52 | 0xff0e => out.push(b'.'),
            0x2025 => out.extend_from_slice(b".."),
            0x2f | 0xff0f => out.push(b'/'),
            0x5c | 0xff3c | 0xfe68 => out.push(b'\\'),
            0x3b | 0xff1b | 0xfe54 => out.push(b';'),
            _ => out.extend_from_slice(&rest[..length]),
        }
        rest = &rest[length..];
    }
    out
}

/// The number of the first character, however it is spelt, and how many bytes it takes; what is no character counts as
/// its first byte.
fn loose_character(text: &[u8]) -> Option<(u32, usize)> {
    let &first = text.first()?;
    if let [b'%', b'u' | b'U', digits @ ..] = text
        && let Some(digits) = digits.first_chunk::<4>()
    {
        let number =
            digits.iter().try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?));
        if let Some(number) = number {
            return Some((number, 6));
        }
    }
    let (bits, more) = match first {
        0xc0..=0xdf => (first & 0x1f, 1),
        0xe0..=0xef => (first & 0x0f, 2),
        0xf0..=0xf7 => (first & 0x07, 3),
        _ => return Some((first.into(), 1)),
    };
    let number = text.get(1..=more).and_then(|tail| {
        let continued =
            |number, byte: &u8| (byte & 0xc0 == 0x80).then(|| number << 6 | u32::from(byte & 0x3f));
        tail.iter().try_fold(u32::from(bits), continued)
    });
    Some(number.map_or((first.into(), 1), |number| (number, more + 1)))
}

/// Percent-decodes until nothing changes, in one pass: each byte is read once, and each escape that it completes, also
/// one that only decoding has laid bare (`%252e`, `%2%65`), shortens what is there. Rounds over the whole text would
/// number half its length for `%252525…`. The order is free: an escape begins with its only `%`, so no two overlap.
fn decode_wholly(text: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.size_hint().0);
    for byte in text {
        out.push(byte);
        while let Some(at) = out.len().checked_sub(3)
            && let Some(decoded) = percent_byte(&out[at..])
        {
            out.truncate(at);
            out.push(decoded);
        }
    }
    out
}

fn any_dot_segment(path: &[u8]) -> bool {
    path.split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| {
        // A parameter, or where C's texts end.
        let name = segment.split(|byte| matches!(byte, b';' | 0)).next().unwrap_or_default();
        matches!(name, b"." | b"..")
    })
}

/// One round of percent-decoding; what is no escape stays.
pub(crate) fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let escaped = percent_byte(&text[at..]);
        out.push(escaped.unwrap_or(text[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}

/// The segments of a path that are not empty, as they are spelt.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{decode, decode_wholly, has_dot_segment};

    #[test]
    fn a_path_of_escapes_in_escapes_is_read_once() {
        let deep = format!("/%{}2e.", "25".repeat(30 << 10));
        let mut read = 0;
        let decoded = decode_wholly(deep.bytes().inspect(|_| read += 1));
        assert_eq!((&*decoded, read), (&b"/.."[..], deep.len()));
        assert!(has_dot_segment(&deep));
        assert!(!has_dot_segment(&deep.replace('.', "a")));
    }

    #[test]
    fn one_pass_finds_what_rounds_find() {
        for text in ["%%32%65", "%2%65", "%%%32%35", "%25%32%65%zz%", "a%2525252fb%", "%%2525", "%2%35%32%45"]
        {
            let mut rounds = text.as_bytes().to_vec();
            while decode(&rounds) != rounds {
                rounds = decode(&rounds);
            }
            assert_eq!(decode_wholly(text.bytes()), rounds, "{text}");
        }
    }

    #[test]
    fn dot_segments_in_every_spelling() {
        for path in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/%2e%2e",
            "/.%2E/",
            "/%2e",
            "/a%2f..%2fb",
            "/a%2F%2e%2e",
            "/a%5c..%5cb",
            "/a/..\\b",
            "/..;/b",
            "/..;x=y/b",
            "/%2e%2e%3bx/b",
            "/%252e%252e",
            "/%25252e%25252e/",
            "/a%252f..",
            "/.;",
            "/a\\..",
            "/%c0%ae%c0%ae/a",
            "/%c0%2e/%c0%ae",
            "/%e0%80%ae%e0%80%ae/a",
            "/%f0%80%80%ae./a",
            "/a%c0%af..%c0%afb",
            "/a%c1%9c..",
            "/%ef%bc%8e%ef%bc%8e/a",
            "/a\u{ff0f}..\u{ff0f}b",
            "/\u{ff0e}.",
            "/%e2%80%a5/a",
            "/%u002e%u002E/a",
            "/%25u002e./a",
            "/%uff0e./a",
            "/..%00/a",
            "/a/..%00.json",
        ] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in [
            "/",
            "//",
            "/a.b",
            "/...",
            "/.a",
            "/a..",
            "/..a",
            "/%2e%2e%2e",
            "/a%2fb",
            "/a;..",
            "/%",
            "/%2",
            "/%zz..",
            "/.well-known/x",
            "/a%20..b",
            "/%c3%a9/\u{e9}..",
            "/%ef%bc%8e%ef%bc%8e%ef%bc%8e",
            "/%u00e9..",
            "/%u00",
            "/%c0",
            "/a%00..",
            "/%e2%80..",
        ] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }
}
