//! What a request target really names: its segments as the gateway will see them, and dot segments in any spelling.

use crate::sigv4::percent_byte;

/// Whether the path has a `.` or `..` segment in any spelling: plain, encoded once or more often, behind an encoded or
/// a back slash, or with a `;` parameter.
pub(super) fn has_dot_segment(path: &str) -> bool {
    if !path.contains('%') {
        return (path.contains("/.") || path.contains('\\')) && any_dot_segment(path.as_bytes());
    }
    let mut bytes = path.as_bytes().to_vec();
    loop {
        if any_dot_segment(&bytes) {
            return true;
        }
        let decoded = decode(&bytes);
        if decoded.len() == bytes.len() {
            return false;
        }
        bytes = decoded;
    }
}

fn any_dot_segment(path: &[u8]) -> bool {
    path.split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        matches!(name, b"." | b"..")
    })
}

/// One round of percent-decoding; what is no escape stays.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
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
pub(super) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::has_dot_segment;

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
