//! The kinds of value that a setting can have: parsed once, from a flag's text or from TOML, and right from then on.
//!
//! Each kind is a type with [`FromStr`]; clap uses that for flags and variables, and [`Written`] gives it serde and
//! schema. What is wrong is a [`Mistake`]: what it is, and what to write instead.

use std::{
    fmt,
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use bytesize::ByteSize;
use http::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

use super::{Auth, CredentialSource, Listen, LogFormat, Retry, StageUrl, error::Mistake};
use crate::secret::Secret;

/// A kind of value that is written as text.
pub(super) trait Written: FromStr<Err = Mistake> {
    /// Ends the sentence "expected ...".
    const EXPECTED: &'static str;

    /// What a bare TOML integer means here, if anything.
    fn from_integer(_: i64) -> Result<Self, Mistake> {
        Err(Mistake::new(format!("expected {}, found an integer", Self::EXPECTED)))
    }

    /// What a TOML string means here.
    fn from_text(text: &str) -> Result<Self, Mistake> {
        text.parse()
    }

    /// The JSON schema of the value.
    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

struct WrittenVisitor<T>(PhantomData<T>);

impl<T: Written> Visitor<'_> for WrittenVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).map_err(|mistake| E::custom(mistake.carried()))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<T, E> {
        T::from_integer(n).map_err(|mistake| E::custom(mistake.carried()))
    }
}

macro_rules! written {
    ($($kind:ty),* $(,)?) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(WrittenVisitor(PhantomData))
            }
        }

        impl JsonSchema for $kind {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($kind).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                <$kind as Written>::schema()
            }
        }
    )*};
}

written!(
    Listen,
    StageUrl,
    Admin,
    AllowedHost,
    Count,
    HostPort,
    Lifetime,
    Mount,
    Region,
    SignedHeader,
    Size,
    Wait
);

/// One of a few names: clap's `ValueEnum` holds them, and TOML and schema follow it.
macro_rules! choices {
    ($($kind:ty),* $(,)?) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = deserializer.deserialize_str(ChoiceVisitor(names::<$kind>()))?;
                choose(&text).map_err(|mistake| de::Error::custom(mistake.carried()))
            }
        }

        impl JsonSchema for $kind {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($kind).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": names::<$kind>() })
            }
        }
    )*};
}

choices!(LogFormat, CredentialSource, Retry, Auth);

struct ChoiceVisitor(Vec<String>);

impl Visitor<'_> for ChoiceVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", self.0.join(", "))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

fn names<T: clap::ValueEnum>() -> Vec<String> {
    T::value_variants()
        .iter()
        .filter_map(T::to_possible_value)
        .map(|value| value.get_name().to_owned())
        .collect()
}

/// The choice of this name.
pub(super) fn choose<T: clap::ValueEnum>(text: &str) -> Result<T, Mistake> {
    T::from_str(text, false).map_err(|_| not_among(text, &names::<T>()))
}

/// `text` is none of `names`; says which are there and which is nearest.
pub(super) fn not_among(text: &str, names: &[String]) -> Mistake {
    let mistake = Mistake::new(format!("{text:?} is not one of {}", names.join(", ")));
    match super::error::nearest(text, names.iter().map(String::as_str)) {
        Some(name) => mistake.nearest(name),
        None => mistake,
    }
}

/// A whole number, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub NonZeroUsize);

impl FromStr for Count {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        text.parse()
            .map(Self)
            .map_err(|_| Mistake::new(format!("{text:?} is not a whole number of at least 1")))
    }
}

impl Written for Count {
    const EXPECTED: &'static str = "a whole number of at least 1";

    fn from_integer(n: i64) -> Result<Self, Mistake> {
        n.to_string().parse()
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        let mistake = Mistake::new(format!("expected {}, found the string {text:?}", Self::EXPECTED));
        Err(match text.parse::<Self>() {
            Ok(_) => mistake.fix(format!("write {text} without quotes")),
            Err(_) => mistake,
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 1 })
    }
}

/// A number of bytes, at least one. `MB` is read as `MiB`: that is how AWS writes its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let text = text.trim();
        let wrong = || {
            Mistake::new(format!("{text:?} is not a size"))
                .fix("write a number and a unit, such as \"10MiB\"")
        };
        let (number, unit) =
            text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
        let number = number.trim();
        let lower = unit.to_ascii_lowercase();
        let unit = match lower.as_str() {
            "k" | "kb" => "kib",
            "m" | "mb" => "mib",
            "g" | "gb" => "gib",
            "" => "b",
            "b" | "kib" | "mib" | "gib" => &lower,
            _ => return Err(wrong()),
        };
        let bytes: ByteSize = format!("{number}{unit}").parse().map_err(|_| wrong())?;
        Self::positive(bytes.as_u64())
    }
}

impl Size {
    fn positive(bytes: u64) -> Result<Self, Mistake> {
        if bytes == 0 {
            return Err(Mistake::new("a size must be more than nothing"));
        }
        Ok(Self(bytes))
    }
}

impl Written for Size {
    const EXPECTED: &'static str = "a size such as \"10MiB\"";

    fn from_integer(n: i64) -> Result<Self, Mistake> {
        Self::positive(u64::try_from(n).map_err(|_| Mistake::new("a size must be more than nothing"))?)
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"], "examples": ["10MiB", 10_485_760] })
    }
}

fn duration(text: &str) -> Result<Duration, Mistake> {
    let wrong = || {
        let fix = match text.trim().parse::<u64>() {
            Ok(n) => format!("a duration needs a unit: \"{n}s\""),
            Err(_) => "write it like \"10s\", \"500ms\", \"5m\" or \"1h 30m\"".to_owned(),
        };
        Mistake::new(format!("{text:?} is not a duration")).fix(fix)
    };
    let duration = humantime::parse_duration(text.trim()).map_err(|_| wrong())?;
    if duration.is_zero() {
        return Err(Mistake::new("a duration must be more than nothing"));
    }
    Ok(duration)
}

fn unitless(n: i64) -> Mistake {
    Mistake::new("a duration needs a unit").fix(format!("write \"{n}s\" for seconds"))
}

/// How long something may take: more than nothing, at most a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait(pub Duration);

/// The longest [`Wait`]: whatever takes longer than a day was meant otherwise.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

impl FromStr for Wait {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        match duration(text)? {
            long if long > LONGEST_WAIT => {
                Err(Mistake::new(format!("{text:?} is too long")).fix("the longest wait is \"24h\""))
            }
            duration => Ok(Self(duration)),
        }
    }
}

impl Written for Wait {
    const EXPECTED: &'static str = "a duration such as \"10s\"";

    fn from_integer(n: i64) -> Result<Self, Mistake> {
        Err(unitless(n))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["10s", "5m", "1h 30m"] })
    }
}

/// How long a role's session lasts: STS takes 15 minutes to 12 hours (AssumeRole, `DurationSeconds`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime(pub Duration);

impl FromStr for Lifetime {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let duration = duration(text)?;
        if !(Duration::from_secs(15 * 60)..=Duration::from_secs(12 * 60 * 60)).contains(&duration) {
            return Err(Mistake::new(format!("a session of {text:?} is not possible"))
                .fix("STS takes 15 minutes to 12 hours: \"15m\" to \"12h\""));
        }
        Ok(Self(duration))
    }
}

impl Written for Lifetime {
    const EXPECTED: &'static str = "a duration such as \"1h\"";

    fn from_integer(n: i64) -> Result<Self, Mistake> {
        Err(unitless(n))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["1h"] })
    }
}

fn socket(text: &str) -> Result<SocketAddr, Mistake> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = Mistake::new(format!("{text:?} is not an address and a port"));
    if let Some((host, port)) = text.rsplit_once(':')
        && let Ok(port) = port.parse::<u16>()
    {
        return match host.parse::<IpAddr>() {
            _ if host.eq_ignore_ascii_case("localhost") => Ok((Ipv4Addr::LOCALHOST, port).into()),
            Ok(ip) => Err(wrong.fix(format!("write \"{}\"", SocketAddr::new(ip, port)))),
            Err(_) => Err(wrong.fix(format!("write an IP address: \"127.0.0.1:{port}\""))),
        };
    }
    let port = text.parse::<u16>().unwrap_or(8080);
    Err(wrong.fix(format!("write \"127.0.0.1:{port}\" or \"[::1]:{port}\"")))
}

/// The longest path that fits `sockaddr_un` on Linux, without the zero at its end.
const LONGEST_SOCKET_PATH: usize = 107;

impl FromStr for Listen {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let Some(path) = text.strip_prefix("unix:") else {
            if text.starts_with('/') {
                return Err(Mistake::new(format!("{text:?} is a path")).fix(format!("write \"unix:{text}\"")));
            }
            return socket(text).map(Self::Tcp);
        };
        if !Path::new(path).is_absolute() {
            return Err(Mistake::new(format!("the socket's path {path:?} is not absolute"))
                .fix("write \"unix:/run/user/1000/countersign.sock\""));
        }
        if path.len() > LONGEST_SOCKET_PATH || path.contains('\0') {
            return Err(Mistake::new(format!(
                "the socket's path has {} bytes; a Unix socket takes {LONGEST_SOCKET_PATH}",
                path.len()
            )));
        }
        Ok(Self::Unix(PathBuf::from(path)))
    }
}

impl Written for Listen {
    const EXPECTED: &'static str = "an address such as \"127.0.0.1:8080\"";
}

/// Where health is served; `None` is `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin(pub Option<SocketAddr>);

impl FromStr for Admin {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        match text {
            "off" => Ok(Self(None)),
            text => socket(text).map(|address| Self(Some(address))),
        }
    }
}

impl Written for Admin {
    const EXPECTED: &'static str = "an address such as \"127.0.0.1:8081\", or \"off\"";
}

/// A name that is accepted in `Host`: lower case, without a port, an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost(pub String);

impl FromStr for AllowedHost {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let wrong = || Mistake::new(format!("{text:?} is not a host name"));
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(IpAddr::V6(ip)) = bare.parse() {
            return Ok(Self(format!("[{ip}]")));
        }
        if let Some((name, _)) = text.split_once("://").map_or(text, |(_, rest)| rest).split_once([':', '/'])
        {
            return Err(wrong().fix(format!("write the name alone: {name:?}")));
        }
        if text.contains('*') {
            return Err(wrong().fix("name each host: there are no patterns here"));
        }
        if !is_host_name(text) {
            return Err(wrong().fix("write a name as it stands in a URL, such as \"devbox.example.com\""));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl Written for AllowedHost {
    const EXPECTED: &'static str = "a host name";
}

/// Letters, digits, `-`, `_` and dots between labels: what a URL's host may be without escapes.
pub(super) fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

/// A host and a port to dial. An IPv6 address is held without brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort(pub String, pub u16);

impl FromStr for HostPort {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let wrong = || Mistake::new(format!("{text:?} is not a host and a port"));
        let (host, port) =
            text.rsplit_once(':').ok_or_else(|| wrong().fix(format!("write \"{text}:443\"")))?;
        let port = port.parse().ok().filter(|&port: &u16| port != 0).ok_or_else(|| {
            wrong().fix(
                "write host and port alone, such as \"vpce-1.execute-api.us-west-2.vpce.amazonaws.com:443\"",
            )
        })?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(ip) => ip.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?.to_string(),
            None if is_host_name(host) => host.to_ascii_lowercase(),
            None => return Err(wrong().fix("write it like \"example.com:443\" or \"[::1]:443\"")),
        };
        Ok(Self(host, port))
    }
}

impl Written for HostPort {
    const EXPECTED: &'static str = "a host and a port such as \"example.com:443\"";
}

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

impl Written for Mount {
    const EXPECTED: &'static str = "a path such as \"/orders\"";
}

/// `.` or `..`, plain or percent-encoded (RFC 3986, 5.2.4).
pub(super) fn is_dot_segment(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

/// Whether a URL's path may be written so (RFC 3986, 3.3): ASCII, and `%` only before two hexadecimal digits.
pub(super) fn is_path(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(i, b)| match b {
        b'%' => bytes.get(i + 1..i + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        b => b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(b),
    })
}

/// A region's name, such as `us-west-2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(pub String);

impl FromStr for Region {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        if super::host::is_region(text) {
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
            return Err(Mistake::new("the command is empty").fix("name a program that prints the API key"));
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

/// The schema of a setting that takes one value or a list.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
#[allow(dead_code, reason = "read by the schema only; values are read by one_or_many")]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// Reads one value or a list of them.
pub(super) fn one_or_many<'de, T: Written + Deserialize<'de>, D: Deserializer<'de>>(
    d: D,
) -> Result<Vec<T>, D::Error> {
    struct Visit<T>(PhantomData<T>);

    impl<'de, T: Written + Deserialize<'de>> Visitor<'de> for Visit<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}, or a list of such", T::EXPECTED)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            WrittenVisitor(PhantomData).visit_str(text).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = seq.next_element()? {
                all.push(one);
            }
            Ok(all)
        }
    }

    d.deserialize_any(Visit(PhantomData))
}

/// Reads a secret. Whatever else stands there is not repeated in the error: it may be the secret with its quotes lost.
pub(super) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    match toml::Value::deserialize(deserializer) {
        Ok(toml::Value::String(text)) => Ok(Secret::new(text)),
        Ok(_) | Err(_) => Err(de::Error::custom("expected a string")),
    }
}
