//! Which headers pass on, and in what form.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::plain::LONGEST;
use crate::{
    config::Auth,
    proxy::{
        Code,
        decisions::{Present, clean_headers, overrides_method, remove_hop_by_hop},
    },
    sigv4::{CanonicalRequest, PathRules, Request},
};

/// The values of each name, in order.
type Fields = BTreeMap<String, Vec<Vec<u8>>>;

/// The first line of `input` is what the route asks for, as in the configuration, and after it names of headers that
/// are signed beside the standard ones, with spaces between them. Each further line is a header.
///
/// # Panics
/// When a header passes that must not, one is lost or changed that must stay, or one is signed in another form than
/// it is sent in.
pub fn headers(input: &[u8]) {
    if input.len() > LONGEST {
        return;
    }
    let mut lines = input.split(|byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut words = first.split(' ');
    let auth = match words.next() {
        Some("none") => Auth::None,
        Some("api-key") => Auth::ApiKey,
        Some("iam+api-key") => Auth::IamAndApiKey,
        _ => Auth::Iam,
    };
    let extra: Vec<HeaderName> = words.filter_map(|word| word.parse().ok()).collect();
    let mut sent = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            sent.append(name, value);
        }
    }
    let before = fields(&sent);

    for name in before.keys() {
        assert_eq!(overrides_method(name.as_bytes()), dashed(name) == "x-http-method-override");
    }
    let mut answer = sent.clone();
    remove_hop_by_hop(&mut answer);
    assert_eq!(fields(&answer), kept(&before, is_of_one_hop));

    let mut expected = kept(&before, |name| {
        is_of_one_hop(&dashed(name))
            || dashed(name) == "content-length"
            || name == "expect"
            || is_owned(name, auth)
    });
    if let Some(cookies) = expected.get_mut("cookie") {
        *cookies = vec![cookies.join(&b"; "[..])];
    }
    let is_signed = |name: &str| {
        let standard = matches!(name, "host" | "content-type" | "x-api-key") || name.starts_with("x-amz-");
        auth.signs() && (standard || extra.iter().any(|one| one.as_str() == name))
    };
    let mut refusals = Vec::new();
    // Whether or not `Connection` names it.
    let codings = before.get("transfer-encoding").cloned().unwrap_or_default();
    let chunked = |coding: &Vec<u8>| coding.eq_ignore_ascii_case(b"chunked");
    if codings.len() > 1 || !codings.iter().all(chunked) {
        refusals.push(Code::BadRequest);
    }
    for (_, values) in expected.iter_mut().filter(|(name, _)| is_signed(name)) {
        for value in values {
            match folded(value) {
                Ok(folded) => *value = folded,
                Err(code) => refusals.push(code),
            }
        }
    }

    let mut passed = sent.clone();
    let present = Present::among(&passed);
    match clean_headers(&mut passed, &present, auth, &extra) {
        Err(refusal) => assert!(refusals.contains(&refusal.code), "{sent:?}: {}", refusal.message()),
        Ok(()) => {
            assert_eq!(refusals, [], "{sent:?}");
            assert_eq!(fields(&passed), expected, "of {sent:?}");
            let mut again = passed.clone();
            let present = Present::among(&again);
            assert!(clean_headers(&mut again, &present, auth, &extra).is_ok());
            assert_eq!(again, passed, "cleaned twice it is another");
            if auth.signs() {
                assert_signed_as_sent(&passed, &extra, &expected, is_signed);
            }
        }
    }
}

fn fields(headers: &HeaderMap) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in headers {
        fields.entry(name.as_str().to_owned()).or_default().push(value.as_bytes().to_vec());
    }
    fields
}

/// What is left without the names that go, and without those that `Connection` names.
fn kept(fields: &Fields, goes: impl Fn(&str) -> bool) -> Fields {
    let connection = fields.get("connection").map_or(Vec::new(), |values| values.join(&b","[..]));
    let connection: String = connection.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect();
    // These two say how long the connection lives.
    let named = connection
        .split(',')
        .map(|name| name.trim_matches([' ', '\t']))
        .filter(|name| *name != "close" && *name != "keep-alive");
    let named: Vec<&str> = named.collect();
    let left = fields.iter().filter(|(name, _)| !goes(name) && !named.contains(&name.as_str()));
    left.map(|(name, values)| (name.clone(), values.clone())).collect()
}

fn dashed(name: &str) -> String {
    name.replace('_', "-")
}

/// RFC 9110, 7.6.1, with what its authors and others registered for one hop.
fn is_of_one_hop(name: &str) -> bool {
    const NAMES: &str = "connection keep-alive proxy-authenticate proxy-authentication-info proxy-authorization \
                         proxy-connection te trailer transfer-encoding upgrade http2-settings";
    NAMES.split(' ').any(|one| one == name)
}

fn is_owned(name: &str, auth: Auth) -> bool {
    const NAMES: &str = "x-api-key x-amz-date x-amz-security-token x-amz-content-sha256 x-apigw-api-id \
                         x-countersign-token";
    let look_alike = name != "x-request-id" && dashed(name) == "x-request-id";
    let name = dashed(name);
    look_alike
        || NAMES.split(' ').any(|one| one == name)
        || (name == "authorization" && auth != Auth::None && auth != Auth::ApiKey)
}

/// Each run of white space as one space; an error for what signers read differently.
fn folded(value: &[u8]) -> Result<Vec<u8>, Code> {
    let text = String::from_utf8(value.to_vec()).map_err(|_| Code::HeaderNotUtf8)?;
    let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let plain = words.iter().all(|word| word.split_whitespace().eq([*word]));
    if plain { Ok(words.join(" ").into_bytes()) } else { Err(Code::HeaderWhiteSpace) }
}

/// The canonical request has each signed header in the very bytes that are sent, and no other.
fn assert_signed_as_sent(
    passed: &HeaderMap,
    extra: &[HeaderName],
    expected: &Fields,
    is_signed: impl Fn(&str) -> bool,
) {
    let request = Request { method: "GET", path: "/", query: "", headers: passed, payload_hash: "0" };
    let mut canonical = CanonicalRequest::default();
    canonical.build(&request, PathRules::STANDARD, extra);
    let signed: Vec<(&String, &Vec<Vec<u8>>)> = expected.iter().filter(|(name, _)| is_signed(name)).collect();
    let mut text = b"GET\n/\n\n".to_vec();
    for (name, values) in &signed {
        text.extend([name.as_bytes(), b":", &values.join(&b","[..]), b"\n"].concat());
    }
    let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
    text.extend(format!("\n{}\n0", names.join(";")).bytes());
    assert_eq!(canonical.text().escape_ascii().to_string(), text.escape_ascii().to_string());
}
