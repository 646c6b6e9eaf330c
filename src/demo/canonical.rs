//! How a request, as it came over the wire, becomes SigV4's canonical request.
//!
//! The rules are those of AWS's "Create a signed AWS API request" for every service but S3: the path is normalised
//! and encoded once more over the bytes that were sent, so an escape on the wire is encoded twice.

use ring::digest;

use super::encoding::{hex, percent_encode_into, query_decode};

/// A header as it was sent: the name in its own case, the value in its own bytes.
pub type Field = (String, Vec<u8>);

/// A whole request as it came over the wire.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    /// `GET`
    pub method: &'a str,
    /// The request target of the request line, untouched.
    pub target: &'a [u8],
    /// Every header in the order of arrival.
    pub headers: &'a [Field],
    /// The body without any transfer coding.
    pub body: &'a [u8],
}

impl<'a> Received<'a> {
    /// Every value sent under this name (lower case), in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |field| field.0.eq_ignore_ascii_case(name)).map(|field| &*field.1)
    }

    /// The values under this name as they are signed: trimmed, folded, joined. `None` when there is none.
    #[must_use]
    pub fn folded(&self, name: &str) -> Option<Vec<u8>> {
        let values: Vec<_> = self.values(name).map(fold).collect();
        (!values.is_empty()).then(|| values.join(&b','))
    }

    /// Path and query of the target, without the `?`. An absolute target loses its scheme and authority.
    #[must_use]
    pub fn path_and_query(&self) -> (&'a [u8], &'a [u8]) {
        let target = self.target;
        let origin = match find(target, b"://") {
            Some(scheme) if !target.starts_with(b"/") => {
                let rest = &target[scheme + 3..];
                let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
                &rest[end..]
            }
            _ => target,
        };
        match origin.iter().position(|&byte| byte == b'?') {
            Some(mark) => (&origin[..mark], &origin[mark + 1..]),
            None => (origin, b""),
        }
    }

    /// The canonical request, for these signed headers in this order. A header that was not sent has a blank value.
    #[must_use]
    pub fn canonical_request(&self, signed_headers: &[&str]) -> Vec<u8> {
        let (path, query) = self.path_and_query();
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(self.method.as_bytes());
        out.push(b'\n');
        out.extend_from_slice(canonical_path(path).as_bytes());
        out.push(b'\n');
        out.extend_from_slice(canonical_query(query).as_bytes());
        out.push(b'\n');
        for name in signed_headers {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            out.extend_from_slice(&self.folded(name).unwrap_or_default());
            out.push(b'\n');
        }
        out.push(b'\n');
        out.extend_from_slice(signed_headers.join(";").as_bytes());
        out.push(b'\n');
        out.extend_from_slice(sha256_hex(self.body).as_bytes());
        out
    }
}

/// The lower-case hexadecimal SHA-256.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Removes empty and dot segments (RFC 3986 section 5.2.4), then encodes all but `/` and unreserved characters.
#[must_use]
pub fn canonical_path(path: &[u8]) -> String {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|&byte| byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    // A path that ends in a directory keeps its last slash, and a last dot segment stands for a directory. (AWS's
    // signers disagree on the second: its Rust SDK keeps the slash, botocore does not. The RFC keeps it.)
    let directory = [&b"/"[..], b"/.", b"/.."].iter().any(|end| path.ends_with(end));
    let mut out = String::with_capacity(path.len() + 16);
    for segment in &kept {
        out.push('/');
        percent_encode_into(&mut out, segment);
    }
    if kept.is_empty() || directory {
        out.push('/');
    }
    out
}

/// Decodes names and values, encodes them strictly, and sorts by encoded name, then by encoded value.
#[must_use]
pub fn canonical_query(query: &[u8]) -> String {
    let encode = |text: &[u8]| {
        let mut out = String::with_capacity(text.len() + 8);
        percent_encode_into(&mut out, &query_decode(text));
        out
    };
    let mut pairs: Vec<(String, String)> = query
        .split(|&byte| byte == b'&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| match piece.iter().position(|&byte| byte == b'=') {
            Some(equals) => (encode(&piece[..equals]), encode(&piece[equals + 1..])),
            None => (encode(piece), String::new()),
        })
        .collect();
    pairs.sort();
    let pieces: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pieces.join("&")
}

/// Trims a header value and turns every run of white space, tabs and folded lines too, into one space.
fn fold(value: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    words.join(&b' ')
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::{Received, canonical_path, canonical_query};

    #[test]
    fn a_path_is_normalised_and_encoded_once_more() {
        let cases = [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("/a//b/", "/a/b/"),
            ("/./a/../b/.", "/b/"),
            ("/../..", "/"),
            ("/a/...", "/a/..."),
            ("/%2e%2e/a", "/%252e%252e/a"),
            ("/%2F/c+d:e*f~@", "/%252F/c%2Bd%3Ae%2Af~%40"),
            ("/test/@connections/JBDvjfGEIAMCERw%3D", "/test/%40connections/JBDvjfGEIAMCERw%253D"),
        ];
        for (wire, canonical) in cases {
            assert_eq!(canonical_path(wire.as_bytes()), canonical, "{wire}");
        }
    }

    #[test]
    fn a_query_is_decoded_encoded_and_sorted() {
        let cases = [
            ("", ""),
            ("&&", ""),
            ("b&a", "a=&b="),
            ("a=2&a=10&A=1", "A=1&a=10&a=2"),
            ("q=a+b&q=a%20b&q=a%2bb", "q=a%20b&q=a%20b&q=a%2Bb"),
            ("a=b=c&=x", "=x&a=b%3Dc"),
            ("[0]=%FF&%zz", "%25zz=&%5B0%5D=%FF"),
            // Sorted by what is encoded: `%` comes before every digit and letter.
            ("a=1&a%20=2", "a=1&a%20=2"),
            ("a0=1&a%20=2", "a%20=2&a0=1"),
        ];
        for (wire, canonical) in cases {
            assert_eq!(canonical_query(wire.as_bytes()), canonical, "{wire}");
        }
    }

    #[test]
    fn header_values_are_trimmed_folded_and_joined() {
        let headers = [
            ("X-One".to_owned(), b" \ta \t b\r\n  c ".to_vec()),
            ("host".to_owned(), b"h".to_vec()),
            ("x-one".to_owned(), b"".to_vec()),
            ("x-ONE".to_owned(), b"d".to_vec()),
        ];
        let request = Received { method: "GET", target: b"https://h?x", headers: &headers, body: b"" };
        assert_eq!(request.folded("x-one").as_deref(), Some(&b"a b c,,d"[..]));
        assert_eq!(request.folded("x-two"), None);
        assert_eq!(request.path_and_query(), (&b""[..], &b"x"[..]));
    }
}
