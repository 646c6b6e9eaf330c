//! Which headers are signed, and their canonical form.
//!
//! An allow list, never a deny list: a header that some hop may touch (`user-agent`, `cookie`, `accept-encoding`,
//! `x-amzn-trace-id`, …) breaks the signature when it is touched, so only what the service reads is signed.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

/// Whether a header of this name is signed whenever it is sent: `host`, `content-type`, `x-api-key` and every
/// `x-amz-*` (not `x-amzn-*`).
#[must_use]
pub fn is_signed(name: &HeaderName) -> bool {
    let text = name.as_str();
    match text.as_bytes().first() {
        Some(b'x') => text.starts_with("x-amz-") || text == "x-api-key",
        Some(b'c') => name == header::CONTENT_TYPE,
        Some(b'h') => name == header::HOST,
        _ => false,
    }
}

/// Appends `name:value\n` for each header that is signed ([`is_signed`], and what `extra` names), sorted by name: white
/// space at the ends dropped and runs of it folded to one space, repeats joined by commas in the order in which they are
/// sent. Writes `host;x-amz-date;…` over what `list` held.
pub(super) fn canonical_into(
    out: &mut Vec<u8>,
    list: &mut String,
    headers: &HeaderMap,
    extra: &[HeaderName],
) {
    let mut signed: SmallVec<[(&str, &HeaderValue); 8]> = SmallVec::new();
    let chosen = headers.iter().filter(|(name, _)| is_signed(name) || extra.contains(name));
    signed.extend(chosen.map(|(name, value)| (name.as_str(), value)));
    // Stable, so that repeats stay in order.
    signed.sort_by_key(|(name, _)| *name);
    list.clear();
    let mut before = "";
    for (name, value) in signed {
        if name == before {
            out.pop();
            out.push(b',');
        } else {
            if !before.is_empty() {
                list.push(';');
            }
            list.push_str(name);
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            before = name;
        }
        fold_white_space(value.as_bytes(), out);
        out.push(b'\n');
    }
}

/// Appends `value` without white space at its ends and with each run of spaces and tabs as one space. Signers differ
/// on tabs; a value that is also sent in this form reads the same to all of them.
pub fn fold_white_space(value: &[u8], out: &mut Vec<u8>) {
    let value = value.trim_ascii();
    // A session token has a thousand bytes and no white space: this is where most of a request's text is looked at.
    if memchr::memchr2(b' ', b'\t', value).is_none() {
        out.extend_from_slice(value);
        return;
    }
    let mut in_space = false;
    for &byte in value {
        let space = byte.is_ascii_whitespace();
        if !space {
            out.push(byte);
        } else if !in_space {
            out.push(b' ');
        }
        in_space = space;
    }
}

#[cfg(test)]
mod tests {
    use super::{canonical_into, fold_white_space, is_signed};
    use http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn the_allow_list() {
        for (name, signed) in [
            ("host", true),
            ("content-type", true),
            ("x-api-key", true),
            ("x-amz-date", true),
            ("x-amz-meta-a", true),
            ("x-amzn-trace-id", false),
            ("x-amz", false),
            ("x-api-key-2", false),
            ("content-length", false),
            ("cookie", false),
            ("user-agent", false),
        ] {
            assert_eq!(is_signed(&HeaderName::from_static(name)), signed, "{name}");
        }
    }

    #[test]
    fn repeats_are_joined_and_white_space_is_folded() {
        let mut headers = HeaderMap::new();
        headers.append("x-amz-b", HeaderValue::from_static("  2 \t  3  "));
        headers.append("x-amz-b", HeaderValue::from_static("1"));
        headers.append("x-amz-a", HeaderValue::from_static(""));
        headers.append("my-header", HeaderValue::from_static("v"));
        headers.append("other", HeaderValue::from_static("v"));
        let (mut out, mut list) = (Vec::new(), String::from("old"));
        canonical_into(&mut out, &mut list, &headers, &[HeaderName::from_static("my-header")]);
        assert_eq!(String::from_utf8(out).unwrap(), "my-header:v\nx-amz-a:\nx-amz-b:2 3,1\n");
        assert_eq!(list, "my-header;x-amz-a;x-amz-b");
    }

    #[test]
    fn folding() {
        for (value, folded) in [("", ""), (" ", ""), ("a", "a"), ("\ta\t\tb ", "a b"), ("a b", "a b")] {
            let mut out = Vec::new();
            fold_white_space(value.as_bytes(), &mut out);
            assert_eq!(out, folded.as_bytes(), "{value:?}");
        }
    }
}
