//! An exchange as it is written down while it happens: sections one after another in one buffer, and read back only when
//! somebody looks.
//!
//! A request is written down on the way of requests, and read by a person, which is rarer by far. So writing is copying
//! bytes into memory that is used again, and all else, allocations too, is the reader's. A section begins with its tag; of
//! sections with the same tag the last one counts, as of attempts the last one does. Numbers are in the machine's own
//! order, since no tape leaves the process.

mod read;

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
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
#[derive(Clone, Default)]
pub(super) struct Pinned {
    pub(super) route: Option<Arc<Route>>,
    pub(super) source: Option<Arc<str>>,
    /// Code and fault of a refusal.
    pub(super) refusal: Option<(&'static str, &'static str)>,
    /// The session token: a thousand bytes that are the same for hours, and stand in what is sent and in what is signed.
    pub(super) token: Option<HeaderValue>,
}

/// In the place of a value's length: it is the session token.
const THE_TOKEN: u32 = u32::MAX;

/// The field in which it is sent.
const TOKEN: &str = "x-amz-security-token";

/// Buffers that a thread keeps, and the largest that it does.
const SPARE: usize = 64;
const SPARE_BYTES: usize = 16 << 10;

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// One exchange on its way. It begins with the request's id.
pub struct Tape {
    bytes: TapeBytes,
    pinned: Pinned,
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
        let bytes = TapeBytes(SPARES.with_borrow_mut(Vec::pop).unwrap_or_default());
        let mut tape = Self { bytes, pinned: Pinned::default() };
        tape.text(id.as_bytes());
        tape.tag(Tag::Received);
        tape.time(began);
        let version = VERSIONS.iter().position(|known| *known == version).unwrap_or_default();
        tape.bytes.0.push(version as u8);
        tape.text(method.as_str().as_bytes());
        tape.text(target.as_bytes());
        tape.fields(fields);
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
        self.text(id.as_bytes());
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
        self.text(target.as_bytes());
        self.fields(fields);
    }

    /// How what was sent last was signed.
    pub fn signing(&mut self, canonical_request: &[u8], string_to_sign: &str, access_key_id: &str) {
        self.tag(Tag::Signing);
        let (before, after) = self.around_token(canonical_request);
        self.text(before);
        self.bytes.0.push(u8::from(after.is_some()));
        if let Some(after) = after {
            self.text(after);
        }
        self.text(string_to_sign.as_bytes());
        self.text(access_key_id.as_bytes());
    }

    /// With what: of the access key's id the end.
    pub fn signed_with(&mut self, source: &Arc<str>, access_key: &str, expires: Option<SystemTime>) {
        self.pinned.source = Some(Arc::clone(source));
        self.tag(Tag::SignedWith);
        self.text(access_key.as_bytes());
        self.bytes.0.push(u8::from(expires.is_some()));
        self.time(expires.unwrap_or(UNIX_EPOCH));
    }

    /// The head of the stage's answer.
    pub fn answer(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.answer_fields(status, headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
    }

    fn answer_fields<'a>(&mut self, status: StatusCode, fields: impl Iterator<Item = (&'a str, &'a [u8])>) {
        self.tag(Tag::Answer);
        self.bytes.0.extend_from_slice(&status.as_u16().to_ne_bytes());
        self.fields(fields);
    }

    /// The proxy answers.
    pub fn refused(&mut self, code: &'static str, fault: &'static str, message: &str, hint: &str) {
        self.pinned.refusal = Some((code, fault));
        self.tag(Tag::Refused);
        self.text(message.as_bytes());
        self.text(hint.as_bytes());
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
        self.bytes.0.extend_from_slice(&end.status.to_ne_bytes());
        self.bytes.0.push(u8::from(end.cut));
        self.number(u64::from(end.attempts));
        self.number(end.answered);
        self.number(end.total.as_nanos() as u64);
    }

    /// How long a phase was.
    pub fn phase(&mut self, phase: Phase, took: Duration) {
        self.tag(Tag::Phase);
        self.bytes.0.push(phase as u8);
        self.number(took.as_nanos() as u64);
    }

    /// The gateway's own id of it.
    pub fn gateway_id(&mut self, id: &[u8]) {
        self.tag(Tag::GatewayId);
        self.text(id);
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
        self.bytes.0.push(tag as u8);
    }

    fn number(&mut self, number: u64) {
        self.bytes.0.extend_from_slice(&number.to_ne_bytes());
    }

    fn length(&mut self, length: usize) {
        // Heads and what is kept of bodies are far below 4 GiB.
        self.bytes.0.extend_from_slice(&(length as u32).to_ne_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.length(text.len());
        self.bytes.0.extend_from_slice(text);
    }

    fn time(&mut self, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.number(since.as_nanos() as u64);
    }

    /// What stands before and behind the session token in a canonical request; all of it and nothing when it is not there.
    fn around_token<'a>(&self, canonical_request: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
        const LINE: &[u8] = b"\nx-amz-security-token:";
        let Some(token) = &self.pinned.token else { return (canonical_request, None) };
        let found = memchr::memmem::find(canonical_request, LINE).and_then(|at| {
            let (before, value) = canonical_request.split_at(at + LINE.len());
            Some((before, value.strip_prefix(token.as_bytes())?))
        });
        found.map_or((canonical_request, None), |(before, after)| (before, Some(after)))
    }

    fn fields<'a>(&mut self, fields: impl Iterator<Item = (&'a str, &'a [u8])>) {
        let at = self.bytes.len();
        self.length(0);
        let mut count = 0_u32;
        for (name, value) in fields {
            self.text(name.as_bytes());
            if name == TOKEN && self.pinned.token.as_ref().is_some_and(|token| token == value) {
                self.bytes.0.extend_from_slice(&THE_TOKEN.to_ne_bytes());
            } else {
                self.text(value);
            }
            count += 1;
        }
        self.bytes.0[at..at + 4].copy_from_slice(&count.to_ne_bytes());
    }

    fn body(&mut self, tag: Tag, body: &Body) {
        self.tag(tag);
        self.number(body.len());
        self.bytes.0.push(u8::from(body.why_not().is_some()));
        self.text(body.exposed());
    }
}

/// The bytes of a tape. Their buffer is used again, and so written over; one that is given back is wiped before.
pub(super) struct TapeBytes(Vec<u8>);

impl TapeBytes {
    /// A copy.
    pub(super) fn of(pieces: [&[u8]; 2]) -> Self {
        Self(pieces.concat())
    }
}

impl std::ops::Deref for TapeBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for TapeBytes {
    fn drop(&mut self) {
        if (1..=SPARE_BYTES).contains(&self.0.capacity()) {
            let is_kept = SPARES.try_with(|spares| {
                let mut spares = spares.borrow_mut();
                let has_room = spares.len() < SPARE;
                if has_room {
                    self.0.clear();
                    spares.push(std::mem::take(&mut self.0));
                }
                has_room
            });
            if is_kept == Ok(true) {
                return;
            }
        }
        self.0.fill(0);
        std::hint::black_box(&self.0);
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

    use super::{SPARE, SPARES, Tape, is_of};

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

    #[test]
    fn its_buffer_is_used_again() {
        std::thread::spawn(|| {
            drop(tape("1"));
            let capacity = SPARES.with_borrow(|spares| {
                assert_eq!(spares.len(), 1);
                spares[0].capacity()
            });
            let again = tape("2");
            assert_eq!((SPARES.with_borrow(Vec::len), again.bytes.0.capacity()), (0, capacity));
            drop((0..2 * SPARE).map(|_| tape("3")).collect::<Vec<_>>());
            assert_eq!(SPARES.with_borrow(Vec::len), SPARE);
        })
        .join()
        .unwrap();
    }
}
