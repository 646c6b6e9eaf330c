//! Takes out what must not pass on, and writes the target in the spelling that is sent.
//!
//! Out go:
//!
//! 1. hop-by-hop fields, and all that `Connection` names (RFC 9110 section 7.6.1);
//! 2. what the proxy owns: `x-api-key`, `x-amz-date`, `x-amz-security-token`, `x-amz-content-sha256`,
//!    `x-countersign-token`, `x-apigw-api-id` (behind a VPC endpoint's name it picks the API), `authorization` on routes
//!    that are signed (elsewhere a JWT, Cognito or Lambda authorizer reads it), and presign parameters in the query;
//! 3. `content-length`, which is set again exactly, and `expect`, which is answered here;
//! 4. names that differ from all these only in `_` for `-`.
//!
//! `host` becomes the stage's, and `x-request-id` the request's id, which is the client's own where that is sane. Values that will be signed lose runs of white space, on which signers differ.
//!
//! Refused are:
//!
//! 1. an expectation other than `100-continue` (417; RFC 9110 section 10.1.1);
//! 2. a `Transfer-Encoding` other than `chunked` once (400; RFC 9112 section 6.1): hyper undoes the last coding and
//!    lets the others stand, of which the stage would not know;
//! 3. a query that is not UTF-8 once decoded (400);
//! 4. what would be signed and has no spelling that all verifiers read alike: a method with lower-case letters (405;
//!    botocore signs it in capitals, others as it is), a value that is not UTF-8 (400), a value with white space beyond
//!    spaces and tabs, such as U+00A0 (400; botocore folds it, others do not).

use std::{
    rc::Rc,
    sync::{Arc, LazyLock},
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};
use hyper::body::Incoming as HyperBody;
use memchr::memmem::Finder;

use super::{
    hop_by_hop::{is_hop_by_hop, named_by_connection},
    inside::Inside,
    lend::Lent,
    places::Door,
    places::Place,
    refusal::{Code, Refusal},
    route::Routed,
    stage::{Shared, Stage},
    step::Step,
    wire_target::forwarded_target,
};
use crate::{
    config::Auth,
    sigv4::{fold_white_space, is_signed},
    telemetry::{REQUEST_ID, Record},
};

/// A request without anything that must not pass on.
pub struct Sanitized {
    pub(super) head: Box<Head>,
    pub(super) body: HyperBody,
    /// The body is signed piece by piece and so unreadable to the stage.
    pub(super) signed_in_pieces: bool,
}

/// What stays with a request from here to its answer.
pub(super) struct Head {
    pub(super) method: Method,
    /// Path and query as they are sent.
    pub(super) target: PathAndQuery,
    /// Until they are sent.
    pub(super) headers: HeaderMap,
    pub(super) stage: Rc<Stage>,
    pub(super) auth: Auth,
    pub(super) local_host: HeaderValue,
    /// Whether the client reached us by TLS.
    pub(super) local_tls: bool,
    pub(super) record: Rc<Record>,
    /// The caller is on this machine: it came over loopback or a Unix socket.
    pub(super) from_here: bool,
    /// What is known of a request from within this process.
    pub(super) inside: Option<Arc<Inside>>,
    /// Among the requests under way; taken by `admit`.
    pub(super) place: Option<Place>,
}

/// The step.
#[derive(Clone)]
pub(super) struct Sanitize {
    door: Rc<Door>,
    /// Whether the stage is told the request's id.
    tells_id: bool,
}

impl Sanitize {
    pub(super) fn new(shared: &Shared) -> Self {
        Self { door: Rc::clone(&shared.door), tells_id: shared.config.request_id }
    }
}

impl Step for Sanitize {
    type In = Lent;
    type Out = Sanitized;

    fn apply(&self, Lent(routed): Lent) -> Result<Sanitized, Refusal> {
        let Routed { received, mut local_host, stage, auth, below } = routed;
        let (mut parts, body, local_tls) = (*received.parts, received.body, received.caller.tls);
        let present = Present::among(&parts.headers);
        if present.expect {
            expect_continue_at_most(&parts.headers)?;
        }
        let target = forwarded_target(&parts.uri, &stage.config.url.path, below)?;
        let signed_in_pieces = present.content_encoding && is_signed_in_pieces(&parts.headers)
            || present.content_sha256 && has_streaming_hash(&parts.headers);
        if auth.signs() {
            method_in_capitals(&parts.method)?;
        }
        clean_headers(&mut parts.headers, &present, auth, &stage.config.signed_headers)?;
        parts.headers.insert(header::HOST, stage.host.clone());
        if self.tells_id {
            parts.headers.insert(REQUEST_ID, received.record.id().value());
        }
        if let Some(trace) = received.record.trace() {
            trace.inject(&mut parts.headers);
        }
        if self.door.is_crowded() {
            let_go_of_the_buffer(&mut parts.headers, &mut local_host);
        }
        let (method, headers, record) = (parts.method, parts.headers, received.record);
        let from_here = received.caller.is_here();
        let head = Box::new(Head {
            method,
            target,
            headers,
            stage,
            auth,
            local_host,
            local_tls,
            record,
            from_here,
            inside: received.caller.inside.clone(),
            place: None,
        });
        Ok(Sanitized { head, body, signed_in_pieces })
    }
}

/// Which of the fields that are rare, or need a closer look, a request has at all: one pass over the names instead of a
/// search for each.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a set of five names, not a state")]
pub(crate) struct Present {
    connection: bool,
    content_encoding: bool,
    content_sha256: bool,
    cookie: bool,
    expect: bool,
}

impl Present {
    pub(crate) fn among(headers: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "connection" => present.connection = true,
                "content-encoding" => present.content_encoding = true,
                "x-amz-content-sha256" => present.content_sha256 = true,
                "cookie" => present.cookie = true,
                "expect" => present.expect = true,
                _ => {}
            }
        }
        present
    }
}

fn expect_continue_at_most(headers: &HeaderMap) -> Result<(), Refusal> {
    let met = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(header::EXPECT).iter().all(met) { Ok(()) } else { Err(Code::ExpectationFailed.into()) }
}

fn method_in_capitals(method: &Method) -> Result<(), Refusal> {
    if method.as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
        let detail = format!("The method {method} has lower-case letters, and is to be signed.");
        return Err(Refusal::because(Code::MethodNotAllowed, detail)
            .with_hint("Methods are case-sensitive. Write it in capitals: GET, POST."));
    }
    Ok(())
}

/// `aws-chunked` bodies hold signatures between their pieces (S3's `STREAMING-…` payloads).
fn is_signed_in_pieces(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"aws-chunked"))
    })
}

/// What such bodies have for a hash.
fn has_streaming_hash(headers: &HeaderMap) -> bool {
    headers.get("x-amz-content-sha256").is_some_and(|hash| hash.as_bytes().starts_with(b"STREAMING-"))
}

/// Leaves the headers that pass on, signed values in the spelling on which signers agree; `extra` are signed beside the
/// standard ones.
pub(crate) fn clean_headers(
    headers: &mut HeaderMap,
    present: &Present,
    auth: Auth,
    extra: &[HeaderName],
) -> Result<(), Refusal> {
    remove_unforwardable(headers, present, auth)?;
    if present.cookie {
        join_cookies(headers);
        remove_own_cookies(headers);
    }
    if auth.signs() { fold_signed_values(headers, extra) } else { Ok(()) }
}

/// What a cookie of the inspector's is called, before its port. Cookies know no ports (RFC 6265 section 8.5): a browser
/// that has one sends it along to the proxy on the same host, and the stage is not to have it.
pub const OWN_COOKIE: &str = "countersign-inspector-";

/// Takes the inspector's cookies out of what is, by now, one field.
fn remove_own_cookies(headers: &mut HeaderMap) {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(OWN_COOKIE));
    let Some(field) = headers.get(header::COOKIE) else { return };
    if FINDER.find(field.as_bytes()).is_none() {
        return;
    }
    let pieces = field.as_bytes().split(|byte| *byte == b';');
    let kept = pieces.filter(|piece| !piece.trim_ascii_start().starts_with(OWN_COOKIE.as_bytes()));
    let kept = kept.collect::<Vec<_>>().join(&b';');
    match HeaderValue::from_bytes(kept.trim_ascii_start()) {
        Ok(kept) if !kept.is_empty() => drop(headers.insert(header::COOKIE, kept)),
        _ => drop(headers.remove(header::COOKIE)),
    }
}

/// The only transfer coding that is undone here, once and alone.
fn chunked_alone(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked = values.next().is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if chunked && values.next().is_none() {
        return Ok(());
    }
    Err(Refusal::because(Code::BadRequest, "The body has a transfer coding other than chunked, or it twice.")
        .with_hint("Send the body with a Content-Length, or with Transfer-Encoding: chunked alone."))
}

fn remove_unforwardable(headers: &mut HeaderMap, present: &Present, auth: Auth) -> Result<(), Refusal> {
    if present.connection {
        for name in named_by_connection(headers) {
            if name == header::TRANSFER_ENCODING {
                chunked_alone(headers)?;
            }
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    let goes = |name: &&HeaderName| match name.as_str().as_bytes()[0] {
        b'a' | b'x' => is_owned(name, auth),
        b'e' => **name == header::EXPECT,
        b'c' => **name == header::CONTENT_LENGTH || is_hop_by_hop(name) || is_look_alike(name),
        _ => is_hop_by_hop(name) || is_look_alike(name),
    };
    // Most requests have none.
    while let Some(name) = headers.keys().find(goes).cloned() {
        if name == header::TRANSFER_ENCODING {
            chunked_alone(headers)?;
        }
        headers.remove(name);
    }
    Ok(())
}

/// Whether a server that reads `_` as `-` would take this for a field that says how a message is framed or what becomes
/// of its connection.
fn is_look_alike(name: &HeaderName) -> bool {
    // Their lengths, so that other names cost no second look.
    matches!(name.as_str().len(), 10 | 14 | 16 | 17 | 18 | 19 | 25)
        && memchr::memchr(b'_', name.as_str().as_bytes()).is_some()
        && HeaderName::from_bytes(name.as_str().replace('_', "-").as_bytes())
            .is_ok_and(|name| name == header::CONTENT_LENGTH || is_hop_by_hop(&name))
}

/// Whether the proxy alone sets this header, in this spelling or one that a server may read as the same.
fn is_owned(name: &HeaderName, auth: Auth) -> bool {
    let text = name.as_str();
    match text.as_bytes()[0] {
        b'a' => text == "authorization" && auth.signs(),
        // Their lengths, so that other names cost no copy.
        b'x' if matches!(text.len(), 9 | 10 | 12 | 14 | 19 | 20) => {
            let mut dashed = [0; 20];
            let dashed = &mut dashed[..text.len()];
            dashed.copy_from_slice(text.as_bytes());
            dashed.iter_mut().filter(|byte| **byte == b'_').for_each(|byte| *byte = b'-');
            matches!(
                &*dashed,
                b"x-api-key"
                    | b"x-amz-date"
                    | b"x-apigw-api-id"
                    | b"x-countersign-token"
                    | b"x-amz-security-token"
                    | b"x-amz-content-sha256"
            )
            // Under its right name it is replaced.
            || (&*dashed == b"x-request-id" && text != "x-request-id")
        }
        _ => false,
    }
}

/// HTTP/2 may split a cookie into several fields; HTTP/1.1 takes one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let all: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let joined =
        HeaderValue::from_bytes(&all.join(&b"; "[..])).expect("valid values joined are a valid value");
    headers.insert(header::COOKIE, joined);
}

fn fold_signed_values(headers: &mut HeaderMap, extra: &[HeaderName]) -> Result<(), Refusal> {
    let signed = |name: &HeaderName| is_signed(name) || extra.contains(name);
    for (name, value) in headers.iter_mut().filter(|(name, _)| signed(name)) {
        let bytes = value.as_bytes();
        let Ok(text) = std::str::from_utf8(bytes) else {
            let detail = format!("The header {name} is not UTF-8, and is to be signed.");
            return Err(Refusal::because(Code::HeaderNotUtf8, detail));
        };
        if let Some(space) = text.chars().find(|c| c.is_whitespace() && !matches!(c, ' ' | '\t')) {
            let detail = format!("The header {name} holds U+{:04X}, and is to be signed.", u32::from(space));
            return Err(Refusal::because(Code::HeaderWhiteSpace, detail));
        }
        let spaced = memchr::memchr2(b' ', b'\t', bytes).is_some();
        if spaced && (bytes.contains(&b'\t') || bytes.windows(2).any(|pair| pair == b"  ")) {
            let mut folded = Vec::with_capacity(bytes.len());
            fold_white_space(bytes, &mut folded);
            *value = HeaderValue::from_bytes(&folded).expect("less white space leaves a value valid");
        }
    }
    Ok(())
}

/// Copies the values that stay, which are slices of the buffer that hyper read the request into, to a place of their
/// own, all in one. While any slice is held hyper cannot use that buffer again: it would take another 8 KiB for each
/// connection with a request under way. With few of them that is less than what the copies cost.
fn let_go_of_the_buffer(headers: &mut HeaderMap, local_host: &mut HeaderValue) {
    let length = headers.values().map(HeaderValue::len).sum::<usize>() + local_host.len();
    let mut text = BytesMut::with_capacity(length);
    headers.values().chain([&*local_host]).for_each(|value| text.extend_from_slice(value.as_bytes()));
    let mut text = text.freeze();
    for value in headers.values_mut().chain([local_host]) {
        let copied = HeaderValue::from_maybe_shared(text.split_to(value.len()));
        let mut copied = copied.expect("the bytes of a valid value are a valid value");
        copied.set_sensitive(value.is_sensitive());
        *value = copied;
    }
}

#[cfg(test)]
mod tests {
    use super::{fold_signed_values, is_owned, let_go_of_the_buffer, method_in_capitals};
    use crate::{config::Auth, proxy::refusal::Code};
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    #[test]
    fn what_verifiers_read_differently_is_not_signed() {
        let fold = |name: &'static str, value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_bytes(value).unwrap());
            fold_signed_values(&mut headers, &[])
                .map(|()| headers[name].as_bytes().to_vec())
                .map_err(|refusal| refusal.code)
        };
        assert_eq!(fold("x-amz-meta-a", b"a \t b").as_deref(), Ok(&b"a b"[..]));
        assert_eq!(fold("x-amz-meta-a", "é\u{200b}漢".as_bytes()).as_deref(), Ok("é\u{200b}漢".as_bytes()));
        assert_eq!(fold("x-amz-meta-a", b"\xff"), Err(Code::HeaderNotUtf8));
        for space in ["\u{85}", "\u{a0}", "\u{2003}", "\u{2028}", "\u{3000}"] {
            assert_eq!(fold("content-type", space.as_bytes()), Err(Code::HeaderWhiteSpace));
            assert_eq!(fold("x-other", space.as_bytes()).as_deref(), Ok(space.as_bytes()));
        }
        assert!(method_in_capitals(&Method::GET).is_ok());
        assert!(method_in_capitals(&Method::from_bytes(b"M-SEARCH").unwrap()).is_ok());
        let refused = method_in_capitals(&Method::from_bytes(b"get").unwrap()).unwrap_err();
        assert_eq!(refused.code, Code::MethodNotAllowed);
    }

    #[test]
    fn a_request_under_way_does_not_hold_the_buffer_that_it_was_read_into() {
        let buffer = Bytes::from(b"127.0.0.1:8080 secret two \xff".to_vec());
        let value = |range| HeaderValue::from_maybe_shared(buffer.slice(range)).unwrap();
        let mut headers = HeaderMap::new();
        let mut sensitive = value(15..21);
        sensitive.set_sensitive(true);
        headers.append("a", sensitive);
        headers.append("b", value(22..25));
        headers.append("b", value(0..0));
        headers.append("c", value(26..27));
        let (before, mut host) = (headers.clone(), value(0..14));
        let_go_of_the_buffer(&mut headers, &mut host);
        assert_eq!((&headers, host.as_bytes()), (&before, &b"127.0.0.1:8080"[..]));
        assert!(headers["a"].is_sensitive() && !headers["b"].is_sensitive());
        drop(before);
        assert!(buffer.is_unique());
    }

    #[test]
    fn what_the_proxy_owns() {
        for (name, iam, none) in [
            ("authorization", true, false),
            ("x-api-key", true, true),
            ("x_api_key", true, true),
            ("x-api_key", true, true),
            ("x-amz-date", true, true),
            ("x-amz-security-token", true, true),
            ("x_amz_content_sha256", true, true),
            ("x-apigw-api-id", true, true),
            ("x_apigw-api_id", true, true),
            ("x-countersign-token", true, true),
            ("x_countersign_token", true, true),
            ("x-apigw-api-ie", false, false),
            ("x-amz-meta-a", false, false),
            ("x-amz-target", false, false),
            ("x-a-name-that-is-longer-than-any-of-ours", false, false),
            ("cookie", false, false),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!((is_owned(&name, Auth::Iam), is_owned(&name, Auth::None)), (iam, none), "{name}");
        }
    }
}
