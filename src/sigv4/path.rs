//! The canonical URI: the path's bytes as they are sent, normalised and encoded once more, or (S3) as they are.
//!
//! Sources: "Create a signed AWS API request" (each segment is encoded twice, except for S3), and RFC 3986 section
//! 5.2.4 for the dot segments, which the proxy itself never forwards.

use super::encode::{is_unreserved, push_encoded};

/// How a service builds the canonical URI from the path that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathRules {
    /// Whether every byte but the unreserved ones and `/` is encoded, those of `%XX` included.
    pub encode_again: bool,
    /// Whether empty and dot segments are removed.
    pub normalize: bool,
}

impl PathRules {
    /// Every service but S3.
    pub const STANDARD: Self = Self { encode_again: true, normalize: true };

    /// S3, where a key may hold any byte: the path is signed as it is sent.
    pub const S3: Self = Self { encode_again: false, normalize: false };

    /// The rules of a service by its name in the credential scope.
    #[must_use]
    pub fn of(service: &str) -> Self {
        if matches!(service, "s3" | "s3express" | "s3-outposts") { Self::S3 } else { Self::STANDARD }
    }

    /// Appends the canonical URI of `path` (`/a/b`, as on the wire; empty means `/`).
    pub(super) fn canonical_into(self, out: &mut String, path: &str) {
        if path.is_empty() {
            out.push('/');
        } else if self.normalize && path.as_bytes().windows(2).any(|pair| matches!(pair, b"//" | b"/.")) {
            self.encode_into(out, &normalize(path));
        } else {
            self.encode_into(out, path);
        }
    }

    fn encode_into(self, out: &mut String, path: &str) {
        if path.bytes().all(|byte| is_unreserved(byte) || byte == b'/') {
            out.push_str(path);
            return;
        }
        for byte in path.bytes() {
            // What is sent is already encoded, so once is enough where the service does not ask for twice; bytes
            // that no path may hold are encoded all the same.
            let keep = is_unreserved(byte) || byte == b'/' || (!self.encode_again && byte.is_ascii_graphic());
            if keep {
                out.push(byte as char);
            } else {
                push_encoded(out, byte);
            }
        }
    }
}

fn normalize(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    let ends_in_folder = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    if out.is_empty() || ends_in_folder {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::PathRules;

    fn canonical(rules: PathRules, path: &str) -> String {
        let mut out = String::new();
        rules.canonical_into(&mut out, path);
        out
    }

    #[test]
    fn standard_encodes_what_is_sent_once_more() {
        for (sent, signed) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("/a//b/", "/a/b/"),
            ("//a", "/a"),
            ("/a//", "/a/"),
            ("/%2F/c+d:e*f~@", "/%252F/c%2Bd%3Ae%2Af~%40"),
            ("/prod/%40connections/ID%3D", "/prod/%2540connections/ID%253D"),
            ("/a/./b/../c", "/a/c"),
            ("/a/..", "/"),
            ("/.a/b.", "/.a/b."),
            ("/...", "/..."),
        ] {
            assert_eq!(canonical(PathRules::STANDARD, sent), signed, "{sent}");
        }
    }

    #[test]
    fn s3_signs_what_is_sent() {
        for path in ["/a//b", "/a%20b/c+d:e*f~@", "/a/./b"] {
            assert_eq!(canonical(PathRules::S3, path), path);
        }
        assert_eq!(PathRules::of("s3"), PathRules::S3);
        assert_eq!(PathRules::of("execute-api"), PathRules::STANDARD);
    }
}
