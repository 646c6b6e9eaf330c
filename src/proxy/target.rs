//! What a request target really names: its segments as the gateway will see them, and dot segments in any spelling.

use crate::sigv4::percent_byte;

/// Whether the path has a `.` or `..` segment in any spelling: plain, encoded once or more often, behind an encoded or
/// a back slash, or with a `;` parameter.
pub(crate) fn has_dot_segment(path: &str) -> bool {
    if !path.contains('%') {
        return (path.contains("/.") || path.contains('\\')) && any_dot_segment(path.as_bytes());
    }
    // A separator or a dot is part of no escape, so a dot segment of any round of decoding is still there at the end.
    any_dot_segment(&decode_wholly(path.bytes()))
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
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
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
        ] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }
}
