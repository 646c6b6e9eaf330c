//! An exchange as it is written down while it happens: sections one after another in one buffer, and read back only when
//! somebody looks.
//!
//! A request is written down on the way of requests, and read by a person, which is rarer by far. So writing is copying
//! bytes into memory that is used again, and all else, allocations too, is the reader's. A section begins with its tag; of
//! sections with the same tag the last one counts, as of attempts the last one does. Numbers are in the machine's own
//! order, since no tape leaves the process.

mod bytes;
mod fields;
mod read;

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

pub(super) use bytes::TapeBytes;
use fields::Fields;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use memchr::memmem::Finder;
pub(super) use read::read;

use super::{Answer, Body, Credentials, Exchange, Received, Refusal, Route, Sent};
use crate::telemetry::Phase;

/// What a section is about.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Tag {
    Received,
    ReceivedBody,
    Repeats,
    Sent,
    Signing,
    SignedWith,
    Answer,
    AnswerBody,
    Refused,
    Ended,
    Phase,
    GatewayId,
}

impl Tag {
    const ALL: [Self; 12] = [
        Self::Received,
        Self::ReceivedBody,
        Self::Repeats,
        Self::Sent,
        Self::Signing,
        Self::SignedWith,
        Self::Answer,
        Self::AnswerBody,
        Self::Refused,
        Self::Ended,
        Self::Phase,
        Self::GatewayId,
    ];
}

/// Versions of HTTP; a tape has their place here.
const VERSIONS: [Version; 5] =
    [Version::HTTP_11, Version::HTTP_2, Version::HTTP_10, Version::HTTP_09, Version::HTTP_3];

/// What is shared, and so not copied to the tape.
#[derive(Default)]
pub(super) struct Pinned {
    pub(super) route: Option<Arc<Route>>,
    pub(super) source: Option<Arc<str>>,
    /// When the credentials expire.
    pub(super) expires: Option<SystemTime>,
    /// Code and fault of a refusal.
    pub(super) refusal: Option<(&'static str, &'static str)>,
    /// The session token: a thousand bytes that are the same for hours, and stand in what is sent and in what is signed.
    pub(super) token: Option<HeaderValue>,
}

/// One exchange on its way. It begins with the request's id.
pub struct Tape {
    bytes: TapeBytes,
    /// Where the fields stand that came.
    received: Fields,
    pinned: Pinned,
}

impl Pinned {
    /// Whether these are the same things, not only equal ones.
    pub(super) fn is(&self, other: &Self) -> bool {
        fn same<T: ?Sized>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
            match (one, other) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                (one, other) => one.is_none() && other.is_none(),
            }
        }
        let token = |pinned: &Self| pinned.token.as_ref().map(|token| token.as_bytes().as_ptr_range());
        same(self.route.as_ref(), other.route.as_ref())
            && same(self.source.as_ref(), other.source.as_ref())
            && (self.expires, self.refusal) == (other.expires, other.refusal)
            && token(self) == token(other)
    }
}

impl Tape {
    /// A request as it came, now. `more` is a field that is not among its headers.
    #[must_use]
    pub fn begin(
        id: &str,
        (method, target, version): (&Method, &str, Version),
        headers: &HeaderMap,
        more: Option<(&str, &[u8])>,
    ) -> Self {
        let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Self::begin_at(id, SystemTime::now(), (method, target, version), fields.chain(more))
    }

    fn begin_at<'a>(
        id: &str,
        began: SystemTime,
        (method, target, version): (&Method, &str, Version),
        fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Self {
        let mut tape =
            Self { bytes: TapeBytes::empty(), received: Fields::default(), pinned: Pinned::default() };
        tape.bytes.text(id.as_bytes());
        tape.tag(Tag::Received);
        tape.bytes.time(began);
        let version = VERSIONS.iter().position(|known| *known == version).unwrap_or_default();
        tape.bytes.byte(version as u8);
        tape.bytes.text(method.as_str().as_bytes());
        tape.bytes.text(target.as_bytes());
        tape.received = fields::write(&mut tape.bytes, fields, Fields::default(), None);
        tape
    }

    /// One that is known already.
    #[must_use]
    pub fn of(exchange: &Exchange) -> Self {
        let Exchange { received, sent, answer, refusal, credentials, .. } = exchange;
        let Received { method, version, headers, body, target } = received;
        let mut tape =
            Self::begin_at(&exchange.id, exchange.began, (method, &target.0, *version), headers.iter());
        tape.received_body(body);
        if let Some(id) = &exchange.replay_of {
            tape.repeats(id);
        }
        if let Some(route) = &exchange.route {
            tape.route(route);
        }
        if let Some(Sent { headers, signing, target }) = sent {
            tape.sent_fields(&target.0, headers.iter());
            if let Some(signing) = signing {
                tape.signing(signing.exposed(), signing.string_to_sign(), signing.access_key_id());
            }
        }
        if let Some(Credentials { source, access_key, expires }) = credentials {
            tape.signed_with(source, access_key, *expires);
        }
        if let Some(Answer { status, headers, body }) = answer {
            tape.answer_fields(*status, headers.iter());
            tape.answer_body(body);
        }
        if let Some(Refusal { code, fault, message, hint }) = refusal {
            tape.refused(code, fault, message, hint);
        }
        tape.ended(&End {
            status: exchange.status,
            attempts: exchange.attempts,
            answered: exchange.answered,
            cut: exchange.cut,
            total: exchange.total,
        });
        for (phase, took) in &exchange.phases {
            tape.phase(*phase, *took);
        }
        if let Some(id) = &exchange.gateway_request_id {
            tape.gateway_id(id.as_bytes());
        }
        tape
    }

    /// It repeats the request with this id.
    pub fn repeats(&mut self, id: &str) {
        self.tag(Tag::Repeats);
        self.bytes.text(id.as_bytes());
    }

    /// Where it goes.
    pub fn route(&mut self, route: &Arc<Route>) {
        self.pinned.route = Some(Arc::clone(route));
    }

    /// It is about to be sent; `token` is the one of temporary credentials.
    pub fn sent(&mut self, target: &str, headers: &HeaderMap, token: Option<&HeaderValue>) {
        self.pinned.token = token.cloned();
        self.sent_fields(target, headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    }

    fn sent_fields<'a>(&mut self, target: &str, fields: impl Iterator<Item = (&'a str, &'a [u8])>) {
        self.tag(Tag::Sent);
        self.bytes.text(target.as_bytes());
        // Most fields go as they came.
        fields::write(&mut self.bytes, fields, self.received, self.pinned.token.as_ref());
    }

    /// How what was sent last was signed.
    pub fn signing(&mut self, canonical_request: &[u8], string_to_sign: &str, access_key_id: &str) {
        self.tag(Tag::Signing);
        let (before, after) = self.around_token(canonical_request);
        self.bytes.text(before);
        self.bytes.byte(u8::from(after.is_some()));
        if let Some(after) = after {
            self.bytes.text(after);
        }
        self.bytes.text(string_to_sign.as_bytes());
        self.bytes.text(access_key_id.as_bytes());
    }

    /// With what: of the access key's id the end.
    pub fn signed_with(&mut self, source: &Arc<str>, access_key: &str, expires: Option<SystemTime>) {
        self.pinned.source = Some(Arc::clone(source));
        self.pinned.expires = expires;
        self.tag(Tag::SignedWith);
        self.bytes.text(access_key.as_bytes());
    }

    /// The head of the stage's answer.
    pub fn answer(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.answer_fields(status, headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    }

    fn answer_fields<'a>(&mut self, status: StatusCode, fields: impl Iterator<Item = (&'a str, &'a [u8])>) {
        self.tag(Tag::Answer);
        self.bytes.raw(status.as_u16().to_ne_bytes());
        fields::write(&mut self.bytes, fields, Fields::default(), None);
    }

    /// The proxy answers.
    pub fn refused(&mut self, code: &'static str, fault: &'static str, message: &str, hint: &str) {
        self.pinned.refusal = Some((code, fault));
        self.tag(Tag::Refused);
        self.bytes.text(message.as_bytes());
        self.bytes.text(hint.as_bytes());
    }

    /// The request's body, as far as it is kept.
    pub fn received_body(&mut self, body: &Body) {
        self.body(Tag::ReceivedBody, body);
    }

    /// The answer's body, as far as it is kept.
    pub fn answer_body(&mut self, body: &Body) {
        self.body(Tag::AnswerBody, body);
    }

    /// How it ended.
    pub fn ended(&mut self, end: &End) {
        self.tag(Tag::Ended);
        self.bytes.raw(end.status.to_ne_bytes());
        self.bytes.byte(u8::from(end.cut));
        self.bytes.number(u64::from(end.attempts));
        self.bytes.number(end.answered);
        self.bytes.number(end.total.as_nanos() as u64);
    }

    /// How long a phase was.
    pub fn phase(&mut self, phase: Phase, took: Duration) {
        self.tag(Tag::Phase);
        self.bytes.byte(phase as u8);
        self.bytes.number(took.as_nanos() as u64);
    }

    /// The gateway's own id of it.
    pub fn gateway_id(&mut self, id: &[u8]) {
        self.tag(Tag::GatewayId);
        self.bytes.text(id);
    }

    /// What was written, and what it refers to.
    pub(super) fn parts(self) -> (TapeBytes, Pinned) {
        (self.bytes, self.pinned)
    }

    /// The exchange so far, read back.
    #[must_use]
    pub fn read(&self) -> Exchange {
        read(&self.bytes, &self.pinned)
    }

    fn tag(&mut self, tag: Tag) {
        self.bytes.byte(tag as u8);
    }

    /// What stands before and behind the session token in a canonical request; all of it and nothing when it is not there.
    fn around_token<'a>(&self, canonical_request: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
        static LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\nx-amz-security-token:"));
        let Some(token) = &self.pinned.token else { return (canonical_request, None) };
        let found = LINE.find(canonical_request).and_then(|at| {
            let (before, value) = canonical_request.split_at(at + LINE.needle().len());
            Some((before, value.strip_prefix(token.as_bytes())?))
        });
        found.map_or((canonical_request, None), |(before, after)| (before, Some(after)))
    }

    fn body(&mut self, tag: Tag, body: &Body) {
        self.tag(tag);
        self.bytes.number(body.len());
        self.bytes.byte(u8::from(body.why_not().is_some()));
        self.bytes.text(body.exposed());
    }
}

/// How an exchange ended.
pub struct End {
    /// The status that the client got; 0 when it left before.
    pub status: u16,
    /// How often it was sent.
    pub attempts: u32,
    /// Bytes of the answer's body that the client got.
    pub answered: u64,
    /// Whether the answer broke off.
    pub cut: bool,
    /// All of its time.
    pub total: Duration,
}

/// Whether a tape is that of the request with this id.
pub(super) fn is_of<'a>(tape: impl IntoIterator<Item = &'a u8>, id: &str) -> bool {
    let (length, id) = ((id.len() as u32).to_ne_bytes(), id.as_bytes());
    let mut bytes = tape.into_iter();
    length.iter().chain(id).all(|byte| bytes.next() == Some(byte))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, Version};

    use super::{Tape, is_of};

    fn tape(id: &str) -> Tape {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("canary"));
        let host = Some(("host", &b"localhost"[..]));
        Tape::begin(id, (&Method::GET, "/a?b", Version::HTTP_2), &headers, host)
    }

    #[test]
    fn a_session_token_is_shared_and_read_back_where_it_stood() {
        let token = HeaderValue::from_static("canary-token");
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-security-token", token.clone());
        headers.insert("x-other", token.clone());
        let other = HeaderValue::from_static("canary");
        for (given, canonical, times) in [
            (Some(&token), "GET\n/\n\nhost:h\nx-amz-security-token:canary-token\n\nhost\nhash", 1),
            (Some(&token), "GET\n/\n\nx-own:canary-token\n\nx-own\nhash", 2),
            (Some(&other), "GET\n/\n\nx-amz-security-token:canary-token\n\nhost\nhash", 3),
            (None, "GET\n/\n\nx-amz-security-token:canary-token\n\nhost\nhash", 3),
        ] {
            let mut tape = tape("1");
            tape.sent("/", &headers, given);
            tape.signing(canonical.as_bytes(), "to sign", "AKIA");
            let exchange = tape.read();
            let sent = exchange.sent.unwrap();
            assert_eq!(sent.headers.exposed(), headers);
            assert_eq!(sent.signing.unwrap().exposed(), canonical.as_bytes());
            let (bytes, _) = tape.parts();
            let written = memchr::memmem::find_iter(&bytes, "canary-token").count();
            // Another one's beginning is cut off where it stands in the canonical request.
            assert_eq!(written + usize::from(given == Some(&other)), times, "{canonical}");
        }
    }

    #[test]
    fn of_one_that_was_given_up_is_known_what_had_happened() {
        let read = tape("1").read();
        assert_eq!((&*read.id, read.received.exposed_target(), read.status), ("1", "/a?b", 0));
        assert_eq!(read.received.version, Version::HTTP_2);
        assert_eq!(read.received.headers.get("host"), Some(&b"localhost"[..]));
        assert!(read.sent.is_none() && read.answer.is_none() && read.refusal.is_none());
    }

    #[test]
    fn it_is_found_by_its_whole_id() {
        let (bytes, _) = tape("abc").parts();
        for (id, found) in [("abc", true), ("ab", false), ("abcd", false), ("", false), ("abd", false)] {
            assert_eq!(is_of(bytes.iter(), id), found, "{id}");
        }
        assert!(!is_of([], "abc"));
    }
}
