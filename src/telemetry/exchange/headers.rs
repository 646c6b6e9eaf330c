//! Header values, kept with their secrets in them, and shown without.
//!
//! They lie together in one piece of memory that is wiped when it is dropped.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Serialize, Serializer};

use super::{secrets::Secrets, wiped::Wiped};
use crate::secret::Secret;

/// Names whose values are hidden, whatever they are.
const HIDDEN: [&str; 9] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "x-amz-security-token",
    "x-countersign-token",
    "cookie",
    "set-cookie",
    // What S3 takes as a key of the customer's own.
    "x-amz-server-side-encryption-customer-key",
    "x-amz-copy-source-server-side-encryption-customer-key",
];

/// Digits of a signature that are shown; it has 64.
const SIGNATURE_SHOWN: usize = 8;

/// Whether a header's value is hidden because of its name, also in the spelling with `_` that some servers take for it.
#[must_use]
pub fn is_hidden(name: &str) -> bool {
    HIDDEN.iter().any(|hidden| {
        hidden.len() == name.len()
            && hidden
                .bytes()
                .zip(name.bytes())
                .all(|(a, b)| a == b.to_ascii_lowercase() || (a, b) == (b'-', b'_'))
    })
}

/// A value as it may be shown. It serialises, and reads, as what may be seen of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// Nothing to hide.
    Plain(String),
    /// A secret, or a value with one in it.
    Hidden {
        /// The value itself.
        secret: Secret,
        /// What is seen in its place: `•••• (40 characters)`.
        looks: String,
    },
}

impl Shown {
    /// What may be seen.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Hidden { looks, .. } => looks,
        }
    }

    /// Whether that is not the value itself.
    #[must_use]
    pub const fn is_hidden(&self) -> bool {
        matches!(self, Self::Hidden { .. })
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// The fields of a message, in order. Neither `Debug` nor serialisation shows them: [`super::Exchange`] does, secrets
/// apart.
#[derive(Default)]
pub struct Headers {
    /// The names and values one after another.
    text: Wiped,
    /// Where each name, and then each value, ends.
    ends: Vec<[u32; 2]>,
}

impl Headers {
    /// A copy.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let fields = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        Self::copied(&fields.collect::<Vec<_>>())
    }

    /// A copy of names and values that were a header's.
    pub(super) fn copied(fields: &[(&[u8], &[u8])]) -> Self {
        let bytes = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        let mut text = Wiped::with_room(bytes);
        let mut ends = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            text.push(name);
            // A head is far below 4 GiB.
            let name = text.len() as u32;
            text.push(value);
            ends.push([name, text.len() as u32]);
        }
        Self { text, ends }
    }

    /// How many fields there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Names and values, secrets too.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|[_, value]| *value as usize));
        starts.zip(&self.ends).map(|(start, &[name, value])| {
            let name_text = std::str::from_utf8(&self.text[start..name as usize]);
            (name_text.expect("a header's name is ASCII"), &self.text[name as usize..value as usize])
        })
    }

    /// The first value of a field.
    pub(in crate::telemetry) fn get(&self, wanted: &str) -> Option<&[u8]> {
        self.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
    }

    /// What may be seen of these fields and of the target that was sent with them, whatever repeats their secrets.
    #[must_use]
    pub fn shown_with(&self, target: &str) -> (Vec<(&str, Shown)>, String) {
        let secrets = Secrets::in_use_and_in(std::iter::once(self));
        let fields = self.iter().map(|(name, value)| (name, shown(name, value, &secrets))).collect();
        (fields, secrets.cover_query(target))
    }

    /// The fields as they were, with every secret, to send them again. All values are marked sensitive.
    #[must_use]
    pub fn exposed(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.len());
        for (name, value) in self.iter() {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("it was a header's name");
            let mut value = HeaderValue::from_bytes(value).expect("it was a header's value");
            value.set_sensitive(true);
            headers.append(name, value);
        }
        headers
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// What may be seen of a header's value.
pub(super) fn shown(name: &str, value: &[u8], secrets: &Secrets) -> Shown {
    let text = String::from_utf8_lossy(value);
    if is_hidden(name) {
        let looks = match name.to_ascii_lowercase().as_str() {
            "authorization" | "proxy-authorization" => authorization(&text),
            _ => dots(&text),
        };
        return Shown::Hidden { secret: Secret::new(text), looks };
    }
    // URLs stand in several fields.
    let looks = secrets.cover_query(&text);
    if looks == text { Shown::Plain(looks) } else { Shown::Hidden { secret: Secret::new(text), looks } }
}

/// `•••• (40 characters)`
fn dots(secret: &str) -> String {
    match secret.chars().count() {
        0 => String::new(),
        1 => "•••• (1 character)".to_owned(),
        count => format!("•••• ({count} characters)"),
    }
}

/// Schemes of `authorization` (IANA's registry), which are no secret themselves.
const SCHEMES: [&str; 7] = ["Basic", "Bearer", "Digest", "HOBA", "Mutual", "Negotiate", "AWS4-HMAC-SHA256"];

/// A SigV4 value with its key's id and its signature shortened; of others the scheme, if it is one that is known.
fn authorization(value: &str) -> String {
    if let Some(signed) = sigv4(value) {
        return signed;
    }
    match value.split_once(' ') {
        Some((scheme, rest)) if SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) => {
            format!("{scheme} {}", dots(rest))
        }
        _ => dots(value),
    }
}

/// `None` for what is not exactly such a value: parts that nobody expects could be anything.
fn sigv4(value: &str) -> Option<String> {
    let plain = |text: &str, more: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte))
    };
    let parts = value.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let [credential, names, signature] = parts.split(", ").collect::<Vec<_>>()[..] else { return None };
    let (key, scope) = credential.strip_prefix("Credential=")?.split_once('/')?;
    let names = names.strip_prefix("SignedHeaders=").filter(|names| plain(names, "-_;."))?;
    let signature = signature.strip_prefix("Signature=")?;
    let is_scope = scope.ends_with("/aws4_request") && plain(scope, "/-_");
    let is_signature = signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_scope && is_signature).then(|| {
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            key_id(key),
            self::signature(signature)
        )
    })
}

/// `1a2b3c4d…`
pub(super) fn signature(whole: &str) -> String {
    format!("{}…", whole.get(..SIGNATURE_SHOWN).unwrap_or_default())
}

/// `AKIA…WXYZ`; of a short one only the end.
#[must_use]
pub fn key_id(whole: &str) -> String {
    let (start, end) = (whole.get(..4), whole.get(whole.len().saturating_sub(4)..));
    match (start, end) {
        (Some(start), Some(end)) if whole.len() >= 16 => format!("{start}…{end}"),
        (_, Some(end)) if whole.len() >= 8 => format!("…{end}"),
        _ => "…".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Headers, Secrets, Shown, is_hidden, shown};

    fn looks(name: &str, value: &str) -> String {
        shown(name, value.as_bytes(), &Secrets::default()).to_string()
    }

    #[test]
    fn a_hidden_value_neither_serialises_nor_debugs() {
        for name in super::HIDDEN {
            assert!(is_hidden(&name.to_ascii_uppercase()) && is_hidden(&name.replace('-', "_")), "{name}");
            for value in [
                "hunter2-canary",
                "Bearer hunter2-canary",
                "AWS4-HMAC-SHA256 hunter2-canary",
                "a=hunter2-canary",
            ] {
                let value = shown(name, value.as_bytes(), &Secrets::default());
                let seen = format!("{value} {value:?} {}", serde_json::to_string(&value).unwrap());
                assert!(!seen.contains("hunter2") && seen.contains("••••"), "{seen}");
                let Shown::Hidden { secret, .. } = value else { panic!("{name} is hidden") };
                assert!(secret.expose().contains("hunter2-canary"));
            }
        }
        assert_eq!(looks("accept", "*/*"), "*/*");
        assert!(!is_hidden("x-api-keys") && !is_hidden("accept"));
    }

    #[test]
    fn of_a_signature_its_scope_stays_readable() {
        let value = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAABCDEFGHIJKLWXYZ/20261125/us-west-2/execute-api/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={}",
            "1a2b3c4d".repeat(8)
        );
        assert_eq!(
            looks("authorization", &value),
            "AWS4-HMAC-SHA256 Credential=AKIA…WXYZ/20261125/us-west-2/execute-api/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature=1a2b3c4d…"
        );
        // What only begins like one could hold anything.
        for other in
            [value.replace("SignedHeaders", "Other"), format!("{value}, More=1"), value.replace("1a2b", "")]
        {
            assert!(looks("authorization", &other).starts_with("AWS4-HMAC-SHA256 ••••"), "{other}");
        }
        assert_eq!(looks("authorization", "Bearer abc"), "Bearer •••• (3 characters)");
        assert_eq!(looks("authorization", "hunter2 abc"), "•••• (11 characters)");
    }

    #[test]
    fn secrets_in_other_values_are_covered() {
        let secrets = Secrets::of([b"canary-secret".to_vec()]);
        let value = shown("location", b"/a?k=canary-secret", &secrets);
        assert!(value.is_hidden());
        assert_eq!(value.text(), "/a?k=*************");
        let presigned = shown("location", b"https://a.example/?X-Amz-Signature=canary&a=b", &secrets);
        assert_eq!(presigned.text(), "https://a.example/?X-Amz-Signature=••••&a=b");
    }

    #[test]
    fn fields_come_back_as_they_were() {
        let mut headers = HeaderMap::new();
        headers.append("a", HeaderValue::from_static("1"));
        headers.append("b", HeaderValue::from_bytes(b"\xff").unwrap());
        headers.append("a", HeaderValue::from_static(""));
        let kept = Headers::of(&headers);
        assert_eq!(kept.exposed(), headers);
        assert!(kept.exposed().values().all(HeaderValue::is_sensitive));
        assert_eq!(format!("{kept:?}"), r#"["a", "a", "b"]"#);
        assert_eq!(kept.get("b"), Some(&b"\xff"[..]));
        assert_eq!(kept.get(HeaderName::from_static("c").as_str()), None);
        assert!(Headers::default().is_empty() && kept.len() == 3);
    }
}
