//! Names: of paths, regions, headers and programs.

use std::{fmt, str::FromStr};

use http::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

use super::Written;
use crate::config::error::Mistake;

/// `/`, or `/orders` without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount(pub String);

impl FromStr for Mount {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let wrong = |why: &str| Mistake::new(format!("{text:?} is not a path to mount at: {why}"));
        if !text.starts_with('/') {
            return Err(wrong("it must start with /").fix(format!("write \"/{text}\"")));
        }
        let path = text.strip_suffix('/').unwrap_or(text);
        if path.is_empty() {
            return Ok(Self("/".to_owned()));
        }
        if text.contains(['?', '#']) {
            return Err(wrong("a query or fragment has no place in it"));
        }
        if path[1..].split('/').any(str::is_empty) {
            return Err(wrong("it has an empty segment"));
        }
        if path.split('/').any(is_dot_segment) {
            return Err(wrong("it has a dot segment"));
        }
        if !is_path(path) {
            return Err(wrong("it has characters that a URL's path cannot have"));
        }
        Ok(Self(path.to_owned()))
    }
}

/// What a mount's segments mean, which is what paths are compared with: `/%78` is `/x`, and `/a%2Fb` is not `/a/b`.
pub(in crate::config) fn decoded_segments(path: &str) -> Vec<Vec<u8>> {
    let decoded = |segment: &str| {
        let mut parts = segment.split('%');
        let mut text = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            let (code, rest) = part.split_at_checked(2).unwrap_or((part, ""));
            match u8::from_str_radix(code, 16) {
                Ok(byte) => text.push(byte),
                Err(_) => text.extend([b"%", code.as_bytes()].concat()),
            }
            text.extend(rest.as_bytes());
        }
        text
    };
    path.split('/').map(decoded).collect()
}

impl Written for Mount {
    const EXPECTED: &'static str = "a path such as \"/orders\"";
}

/// `.` or `..`, plain or percent-encoded (RFC 3986, 5.2.4).
pub(in crate::config) fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

/// Whether a URL's path may be written so (RFC 3986, 3.3): ASCII, and `%` only before two hexadecimal digits.
pub(in crate::config) fn is_path(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(i, b)| match b {
        b'%' => bytes.get(i + 1..i + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        b => b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(b),
    })
}

/// A path that the proxy itself answers: `/healthz`. Compared with a request's path as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPath(pub String);

impl FromStr for HealthPath {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let wrong = |why: &str| Mistake::new(format!("{text:?} is not a path to answer at: {why}"));
        if !text.starts_with('/') {
            return Err(wrong("it must start with /").fix(format!("write \"/{text}\"")));
        }
        if text.contains(['?', '#']) {
            return Err(wrong("a query or fragment has no place in it"));
        }
        if text.split('/').any(is_dot_segment) {
            return Err(wrong("it has a dot segment"));
        }
        if !is_path(text) {
            return Err(wrong("it has characters that a URL's path cannot have"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Written for HealthPath {
    const EXPECTED: &'static str = "a path such as \"/healthz\"";
}

/// A region's name, such as `us-west-2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(pub String);

impl FromStr for Region {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        if crate::config::host::is_region(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Mistake::new(format!("{text:?} is not a region")).fix("write its name, such as \"us-west-2\""))
    }
}

impl Written for Region {
    const EXPECTED: &'static str = "a region such as \"us-west-2\"";
}

/// A header that may be signed beside the standard ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeader(pub HeaderName);

/// Why a header cannot be signed, for those that cannot.
///
/// Hop-by-hop fields are RFC 9110 7.6.1's; the others are those that a proxy, CloudFront or a load balancer before the
/// gateway rewrites, and those that are signed already.
fn why_unsigned(name: &str) -> Option<&'static str> {
    Some(match name {
        "connection"
        | "keep-alive"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "proxy-connection"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade" => "it belongs to one connection and is not passed on",
        "content-length" | "expect" | "date" | "max-forwards" => "it is made anew on the way",
        "user-agent" | "accept-encoding" => "CloudFront before an edge-optimized API may change it",
        "cookie" => "CloudFront before an edge-optimized API sorts it anew",
        "forwarded" | "via" | "x-real-ip" => "proxies on the way add to it",
        "traceparent" | "tracestate" | "baggage" => "tracing on the way rewrites it",
        "authorization" => "it carries the signature itself",
        "host" | "content-type" | "x-api-key" => "it is always signed",
        name if name.starts_with("x-forwarded-") => "proxies on the way add to it",
        name if name.starts_with("x-amzn-") => "the gateway sets it",
        name if name.starts_with("x-amz-") => "it is always signed",
        _ => return None,
    })
}

impl FromStr for SignedHeader {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let name = HeaderName::from_bytes(text.as_bytes())
            .map_err(|_| Mistake::new(format!("{text:?} is not a header's name")))?;
        match why_unsigned(name.as_str()) {
            Some(why) => Err(Mistake::new(format!("{name:?} cannot be added to the signature: {why}"))
                .fix("leave it out of signed_headers")),
            None => Ok(Self(name)),
        }
    }
}

impl Written for SignedHeader {
    const EXPECTED: &'static str = "a header's name";
}

/// A program and its arguments; no shell comes between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine(pub Vec<String>);

impl CommandLine {
    fn checked(words: Vec<String>) -> Result<Self, Mistake> {
        if words.first().is_none_or(String::is_empty) {
            return Err(Mistake::new("the command is empty").fix("name a program"));
        }
        Ok(Self(words))
    }
}

impl FromStr for CommandLine {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let words = shlex::split(text).ok_or_else(|| Mistake::new("the command has an open quote"))?;
        Self::checked(words)
    }
}

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = deserializer.deserialize_any(WordsVisitor)?;
        Self::checked(words).map_err(|mistake| de::Error::custom(mistake.carried()))
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of words")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = seq.next_element()? {
            words.push(word);
        }
        Ok(words)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Vec<String>, E> {
        let fix = "write each word by itself: [\"op\", \"read\", \"op://vault/api/key\"]";
        Err(E::custom(Mistake::new("expected a list of words, found a string").fix(fix).carried()))
    }
}

impl JsonSchema for CommandLine {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CommandLine".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
    }
}
