//! What must not be seen of an exchange, beside the header values that are hidden by their names: those values again
//! wherever somebody repeats them, and every secret that the process uses.

use super::{Headers, headers::is_hidden};
use crate::telemetry::{mask, scrub};
use zeroize::Zeroizing;

/// Parameters of a query whose values are hidden: those of a presigned URL that open something, and a token as OAuth
/// sends it (RFC 6750 section 2.3).
const PARAMETERS: [&str; 3] = ["x-amz-security-token", "x-amz-signature", "access_token"];

/// The secrets of one exchange.
#[derive(Default)]
pub(super) struct Secrets(Vec<Zeroizing<Vec<u8>>>);

impl Secrets {
    /// These alone.
    #[cfg(test)]
    pub(super) fn of(secrets: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(secrets.into_iter().map(Zeroizing::new).collect())
    }

    /// Those that the process uses, and what the hidden values of these heads hold.
    pub(super) fn in_use_and_in<'a>(heads: impl Iterator<Item = &'a Headers>) -> Self {
        let known = scrub::hidden();
        let mut all: Vec<_> =
            known.iter().map(|secret| Zeroizing::new(secret.expose().as_bytes().to_vec())).collect();
        for (name, value) in heads.flat_map(Headers::iter).filter(|(name, _)| is_hidden(name)) {
            parts(name, value, |part| all.push(Zeroizing::new(part.to_vec())));
        }
        all.sort_unstable_by(|a, b| a.as_slice().cmp(b.as_slice()));
        all.dedup_by(|a, b| a == b);
        Self(all)
    }

    /// The text with stars over each secret in it; `None` when there is none. `cut`: it was cut off at its end.
    pub(super) fn cover(&self, text: &[u8], cut: bool) -> Option<Vec<u8>> {
        let secrets: Vec<&[u8]> = self.0.iter().map(|secret| secret.as_slice()).collect();
        mask::cover(text, &secrets, cut)
    }

    /// The same for what is text.
    pub(super) fn cover_text(&self, text: &str) -> String {
        match self.cover(text.as_bytes(), false) {
            Some(covered) => String::from_utf8_lossy(&covered).into_owned(),
            None => text.to_owned(),
        }
    }

    /// The same for a path with a query, or a query alone, in which some parameters hide their values.
    pub(super) fn cover_query(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for piece in text.split_inclusive(['?', '&']) {
            let (pair, end) = match piece.strip_suffix(['?', '&']) {
                Some(pair) => (pair, &piece[pair.len()..]),
                None => (piece, ""),
            };
            match pair.split_once('=') {
                Some((name, value))
                    if !value.is_empty()
                        && PARAMETERS.iter().any(|hidden| name.eq_ignore_ascii_case(hidden)) =>
                {
                    out.push_str(name);
                    out.push_str("=••••");
                }
                _ => out.push_str(pair),
            }
            out.push_str(end);
        }
        self.cover_text(&out)
    }
}

/// What of a hidden value is a secret by itself. Names of cookies and of schemes are not.
fn parts(name: &str, value: &[u8], mut add: impl FnMut(&[u8])) {
    let after =
        |text: &[u8], mark: u8| memchr::memchr(mark, text).map(|at| text[at + 1..].trim_ascii().to_vec());
    match name.to_ascii_lowercase().as_str() {
        "cookie" | "set-cookie" => {
            // Of a cookie that is set the rest are attributes.
            let count = if name.eq_ignore_ascii_case("cookie") { usize::MAX } else { 1 };
            for pair in value.split(|byte| *byte == b';').take(count) {
                add(&after(pair, b'=').unwrap_or_else(|| pair.trim_ascii().to_vec()));
            }
        }
        "authorization" | "proxy-authorization" => match after(value, b' ') {
            // Not the whole of it: the key's id and the scope are no secrets.
            Some(rest) if value.starts_with(b"AWS4-HMAC-SHA256 ") => {
                if let Some(at) = memchr::memmem::find(&rest, b"Signature=") {
                    add(&rest[at + b"Signature=".len()..]);
                }
            }
            Some(rest) => add(&rest),
            None => add(value),
        },
        _ => add(value.trim_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{Headers, Secrets};

    #[test]
    fn what_the_hidden_values_of_a_request_hold_is_hidden_elsewhere_too() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer canary-bearer"),
            ("cookie", "a=canary-cookie; b=other-canary"),
            ("set-cookie", "s=canary-session; Path=/long-enough"),
            ("x-api-key", "canary-key"),
            ("accept", "not/hidden"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let kept = Headers::of(&headers);
        let secrets = Secrets::in_use_and_in(std::iter::once(&kept));
        let text = "Bearer canary-bearer a=canary-cookie other-canary canary-session Path=/long-enough canary-key not/hidden";
        let covered = secrets.cover_text(text);
        assert!(!covered.contains("canary"), "{covered}");
        assert!(covered.contains("Path=/long-enough") && covered.contains("not/hidden"), "{covered}");
    }

    #[test]
    fn of_a_query_what_opens_something_is_hidden() {
        let secrets = Secrets::of([b"canary-key".to_vec()]);
        assert_eq!(
            secrets
                .cover_query("/a?b=1&X-Amz-Security-Token=abc&access_token=&c=canary-key&x-amz-signature=1"),
            "/a?b=1&X-Amz-Security-Token=••••&access_token=&c=**********&x-amz-signature=••••"
        );
        assert_eq!(secrets.cover_query("/a"), "/a");
        assert_eq!(secrets.cover_query("?&=&"), "?&=&");
    }
}
