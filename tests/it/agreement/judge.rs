//! What must have become of a request, and the verifiers written in Rust; the third, botocore, is in `support::python`.
//!
//! Nothing here uses the proxy's own code: what is expected is said once more, in other words.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_types::{DateTime, date_time::Format};
use countersign::demo::{
    canonical::Received,
    verify::{Account, Verifier},
};

use super::generate::{BARE, Case, EXTRA, OWNED};
use crate::support::{client::Via, origin, python::Signed};

/// One stage of the proxy under test, as the judges know it.
pub struct Stage {
    /// In front of the path.
    pub prefix: &'static str,
    /// What the origin is called.
    pub host: String,
    /// In the scope.
    pub region: &'static str,
    /// Whose signature it must be.
    pub account: Account,
    /// What must be in `x-api-key`.
    pub api_key: Option<&'static str>,
}

/// The service in the scope.
pub const SERVICE: &str = "execute-api";

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if let Some(digits) = digits.filter(|_| *first == b'%') {
            let digits = std::str::from_utf8(digits).expect("hexadecimal digits are ASCII");
            out.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits are a byte"));
            rest = &after[2..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

type Pair = (Vec<u8>, Vec<u8>);

/// The query's pairs, decoded, in order.
fn pairs(query: &str) -> Vec<Pair> {
    let decode = |text: &str| unescaped(text.replace('+', " ").as_bytes());
    let pieces = query.split('&').filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| piece.split_once('=').unwrap_or((piece, "")))
        .map(|(n, v)| (decode(n), decode(v)))
        .collect()
}

fn split(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// Whether the path, decoded as often as it can be, ever has a segment that is a dot or two, perhaps with parameters, with
/// what a NUL hides, or in UTF-8 of two bytes where one is enough.
fn is_dotted(path: &str) -> bool {
    let mut path = path.as_bytes().to_vec();
    loop {
        let mut plain = path.clone();
        while let Some(at) = plain.windows(2).position(|two| two[0] == 0xc0 && two[1] & 0xc0 == 0x80) {
            let meant = plain[at + 1] & 0x3f;
            plain.splice(at..at + 2, [meant]);
        }
        let dotted = plain.split(|b| b"/\\".contains(b)).any(|segment| {
            let end = segment.iter().position(|b| b";\0".contains(b)).unwrap_or(segment.len());
            matches!(&segment[..end], b"." | b"..")
        });
        let decoded = unescaped(&path);
        if dotted || decoded == path {
            return dotted;
        }
        path = decoded;
    }
}

fn is_signed(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "content-type" || name.starts_with("x-amz-") || EXTRA.contains(&name.as_str())
}

/// Names that the proxy sets, in any spelling, and those of one hop.
fn is_dropped(name: &str) -> bool {
    const OWNED: [&str; 5] =
        ["authorization", "x-api-key", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"];
    let dashed = name.to_ascii_lowercase().replace('_', "-");
    OWNED.contains(&dashed.as_str())
        || ["host", "connection", "x-hop", "transfer-encoding"].contains(&&*dashed)
}

fn trimmed(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// The codes of the refusals that the request may meet, none when it must be forwarded: it is one that not all
/// verifiers read alike. Which of two bad headers is found first is not said.
pub fn refusals(case: &Case) -> Vec<&'static str> {
    let (path, query) = split(&case.ask.target);
    if is_dotted(path) {
        return vec!["dot-segment"];
    }
    let mut texts = pairs(query).into_iter().flat_map(|(name, value)| [name, value]);
    if texts.any(|text| String::from_utf8(text).is_err()) {
        return vec!["query-not-utf8"];
    }
    if case.ask.method.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return vec!["method-not-allowed"];
    }
    let signed = case.ask.headers.iter().filter(|(name, _)| is_signed(name) && !is_dropped(name));
    let bad = signed.filter_map(|(_, value)| match std::str::from_utf8(value) {
        Err(_) => Some("header-not-utf8"),
        Ok(text) if text.contains(['\u{85}', '\u{a0}', '\u{2003}', '\u{3000}']) => Some("header-white-space"),
        Ok(_) => None,
    });
    bad.collect()
}

fn require(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// Whether what arrived is what was sent, signatures aside: path, pairs of the query, headers and body are the client's,
/// and nothing is that the proxy owns.
pub fn unchanged(case: &Case, stage: &Stage, arrived: &origin::Request) -> Result<(), String> {
    let target = std::str::from_utf8(arrived.target()).map_err(|error| error.to_string())?;
    let ((sent_path, sent_query), (path, query)) = (split(&case.ask.target), split(target));
    let below = if case.bare { &sent_path[BARE.len()..] } else { sent_path };
    let expected = if below.is_empty() { "/".to_owned() } else { format!("{}{below}", stage.prefix) };
    require(path == expected, "the path has changed")?;
    let own = |pair: &Pair| pair.1 != OWNED.as_bytes();
    require(
        pairs(query) == pairs(sent_query).into_iter().filter(own).collect::<Vec<_>>(),
        "the query has changed",
    )?;
    let strict = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%=&".contains(&byte);
    require(query.bytes().all(strict), "the query is not in its one spelling")?;
    require(arrived.method() == case.ask.method, "the method has changed")?;
    require(arrived.body == case.body(), "the body has changed")?;
    require(
        arrived.broken.is_none() && arrived.wire_body == arrived.body,
        "the body is not framed by its length",
    )?;

    let raw = [arrived.head.raw.as_slice()].concat();
    require(
        !raw.windows(OWNED.len()).any(|window| window == OWNED.as_bytes()),
        "what the proxy owns came through",
    )?;
    let all = |name: &str| arrived.head.all(name);
    require(all("host") == [stage.host.as_bytes()], "the host is not the stage's")?;
    let key: Vec<_> = stage.api_key.into_iter().map(str::as_bytes).collect();
    require(all("x-api-key") == key, "the API key is not the configured one")?;

    let kept = case.ask.headers.iter().filter(|(name, _)| !is_dropped(name));
    let mut sent: Vec<(String, Vec<u8>)> =
        kept.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    for (name, value) in &mut sent {
        *value = if is_signed(name) {
            let words = value.split(|byte| b" \t".contains(byte)).filter(|word| !word.is_empty());
            words.collect::<Vec<_>>().join(&b' ')
        } else {
            trimmed(value).to_vec()
        };
    }
    let id = all("x-request-id");
    require(
        id.len() == 1 && id[0].len() == 16 && id[0].iter().all(u8::is_ascii_hexdigit),
        "there is not one id of the request",
    )?;
    let added = |name: &str| {
        is_dropped(name)
            || ["content-length", "x-request-id"].iter().any(|own| name.eq_ignore_ascii_case(own))
    };
    let mut came: Vec<_> = arrived.head.fields.iter().filter(|(name, _)| !added(name)).cloned().collect();
    // Fields of different names may change places; those of one may not.
    sent.sort_by(|a, b| a.0.cmp(&b.0));
    came.sort_by(|a, b| a.0.cmp(&b.0));
    require(sent == came, &format!("the headers have changed: {} to {}", shown(&sent), shown(&came)))?;

    require(is_all_signed(arrived, stage), "something is not signed that must be")
}

/// Whether SignedHeaders names all that must be signed.
pub fn is_all_signed(arrived: &origin::Request, stage: &Stage) -> bool {
    let names = signed_names(&arrived.head.fields);
    let owed = arrived.head.fields.iter().map(|(name, _)| name.as_str()).filter(|name| is_signed(name));
    owed.chain(["host"]).chain(stage.api_key.map(|_| "x-api-key")).all(|name| names.contains(&name))
}

fn shown(fields: &[(String, Vec<u8>)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {}; ", value.escape_ascii())).collect()
}

fn value<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> &'a str {
    let found = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    found.and_then(|(_, value)| std::str::from_utf8(value).ok()).unwrap_or_default()
}

fn signed_names(headers: &[(String, Vec<u8>)]) -> Vec<&str> {
    let rest = value(headers, "authorization").split_once("SignedHeaders=").map_or("", |(_, rest)| rest);
    rest.split(',').next().unwrap_or_default().split(';').collect()
}

/// What the judges need of a request that arrived.
pub fn signed<'a>(arrived: &'a origin::Request, stage: &'a Stage) -> Signed<'a> {
    Signed {
        method: arrived.method(),
        target: arrived.target(),
        headers: &arrived.head.fields,
        body: &arrived.body,
        region: stage.region,
        service: SERVICE,
        access_key: &stage.account.access_key_id,
        secret: &stage.account.secret_access_key,
        token: stage.account.session_token.as_deref(),
    }
}

/// Whether AWS's own signer, given what is on the wire under the signed names, writes the same `authorization`.
pub fn aws_sigv4(signed: &Signed<'_>) -> Result<(), String> {
    let names = signed_names(signed.headers);
    let date = value(signed.headers, "x-amz-date");
    let spelt = date.get(..15).map(|_| {
        let [year, month, day] = [&date[..4], &date[4..6], &date[6..8]];
        format!("{year}-{month}-{day}T{}:{}:{}Z", &date[9..11], &date[11..13], &date[13..15])
    });
    let at = DateTime::from_str(spelt.as_deref().unwrap_or_default(), Format::DateTime);
    let at = at.ok().and_then(|at| SystemTime::try_from(at).ok()).ok_or("x-amz-date is no date")?;
    let mut headers = Vec::new();
    for (name, value) in signed.headers {
        // These it adds itself.
        let own = ["x-amz-date", "x-amz-security-token"].contains(&name.as_str());
        if !own && names.iter().any(|signed| signed.eq_ignore_ascii_case(name)) {
            headers.push((name.as_str(), std::str::from_utf8(value).map_err(|error| error.to_string())?));
        }
    }
    let token = signed.token.map(str::to_owned);
    let identity = Credentials::new(signed.access_key, signed.secret, token, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(signed.region)
        .name(signed.service)
        .time(at)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let target = std::str::from_utf8(signed.target).map_err(|error| error.to_string())?;
    // The name in the URI is not signed: `host` is among the headers.
    let uri = format!("https://stage.invalid{target}");
    let request =
        SignableRequest::new(signed.method, uri, headers.into_iter(), SignableBody::Bytes(signed.body));
    let request = request.map_err(|error| error.to_string())?;
    let (instructions, _) = sign(request, &params).map_err(|error| error.to_string())?.into_parts();
    for (name, computed) in instructions.headers() {
        let sent: Vec<_> = signed.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).collect();
        if sent.len() != 1 || sent[0].1 != computed.as_bytes() {
            return Err(format!("{name} is {}, aws-sigv4 computes {computed}", value(signed.headers, name)));
        }
    }
    Ok(())
}

/// Whether the demo's gateway lets it in.
pub fn gateway(signed: &Signed<'_>, stage: &Stage) -> Result<(), String> {
    let verifier = Verifier {
        region: stage.region.to_owned(),
        service: SERVICE.to_owned(),
        accounts: vec![stage.account.clone()],
    };
    let request =
        Received { method: signed.method, target: signed.target, headers: signed.headers, body: signed.body };
    verifier.verify(&request, SystemTime::now()).map(drop).map_err(|refusal| refusal.to_string())
}

/// A request in words, to find again and to read.
pub fn story(case: &Case, arrived: Option<&origin::Request>) -> String {
    let short = |bytes: &[u8]| {
        let end = bytes.len().min(4000);
        let cut = if end < bytes.len() { "…" } else { "" };
        format!("{}{cut}", bytes[..end].escape_ascii()).replace(r"\r\n", "\n    ")
    };
    let came = arrived.map(|arrived| short(&[arrived.head.raw.as_slice(), &arrived.body].concat()));
    format!(
        "COUNTERSIGN_SEED={} tests/run --cases 1 agreement\nmakes it again. The client sent, over {}:\n    {}\nto the stage came:\n    {}",
        case.seed,
        if case.via == Via::H2c { "HTTP/2 (shown as HTTP/1.1)" } else { "HTTP/1.1" },
        short(&case.bytes()),
        came.as_deref().unwrap_or("nothing"),
    )
}
