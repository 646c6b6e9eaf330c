//! Takes down a request on its way, when somebody wants to see it: the inspector by its hub, `--show` and
//! `--log-failed` in the log.
//!
//! On the way of a request bytes are copied to a tape and nothing is formatted. When the record is dropped the tape is
//! handed over whole; who reads it makes it readable. Off, each hook is one branch.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};

use super::{
    Phase,
    exchange::{Body, End, Exchange, Hub, Route, Tape},
    show::Blocks,
};
use crate::config::Config;

/// How much `--log-failed` shows of an answer's body.
const FAILED_BODY: usize = 4 << 10;

/// Who wants to see requests.
#[derive(Clone, Default)]
pub struct Watchers {
    /// The inspector's.
    pub hub: Option<Arc<Hub>>,
    /// Where `--show` and `--log-failed` write.
    pub blocks: Option<Blocks>,
}

/// What a thread takes down, and for whom.
struct Rules {
    hub: Option<Arc<Hub>>,
    show: Option<Blocks>,
    failed: Option<Blocks>,
    /// Whether the hub gets bodies.
    bodies: bool,
    max_body: usize,
}

thread_local! {
    static HERE: RefCell<Option<Rc<Rules>>> = const { RefCell::new(None) };
}

impl Rules {
    /// Whether anybody wants to see requests now: those of the inspector before it is opened, nobody.
    fn wants(&self) -> bool {
        self.show.is_some() || self.failed.is_some() || self.hub.as_ref().is_some_and(|hub| hub.is_wanted())
    }
}

impl Watchers {
    /// From now on this thread takes down what is wanted by this configuration.
    pub fn enter(&self, config: &Config) {
        let blocks = |wanted: bool| self.blocks.clone().filter(|_| wanted);
        let (show, failed) = (blocks(config.log.show), blocks(config.log.failed));
        let wanted = self.hub.is_some() || show.is_some() || failed.is_some();
        let rules = wanted.then(|| {
            Rc::new(Rules {
                hub: self.hub.clone(),
                show,
                failed,
                bodies: self.hub.is_some() && config.inspector.bodies,
                max_body: usize::try_from(config.inspector.max_body).unwrap_or(usize::MAX),
            })
        });
        HERE.with(|here| here.replace(rules));
    }
}

/// What is taken down of one request.
pub struct Capture {
    rules: Rc<Rules>,
    taken: RefCell<Taken>,
}

struct Taken {
    tape: Tape,
    /// The request's body.
    received: Body,
    answer: Option<Answered>,
    /// Whether the proxy answered.
    refused: bool,
}

/// What counts of the stage's answer.
struct Answered {
    failed: bool,
    /// Whether they are the gateway's own words.
    gateways: bool,
    body: Body,
}

/// What a request is signed with, and what is signed.
pub struct Signed<'a> {
    /// Where the credentials come from.
    pub source: &'a Arc<str>,
    /// The whole id; its end is shown.
    pub access_key_id: &'a str,
    /// When they expire, if they do.
    pub expires: Option<SystemTime>,
    /// The session token.
    pub token: Option<&'a HeaderValue>,
    /// As it was hashed.
    pub canonical_request: &'a [u8],
    /// As it was signed.
    pub string_to_sign: &'a str,
}

impl Capture {
    /// Whether this thread takes requests down.
    #[must_use]
    pub fn is_wanted() -> bool {
        HERE.with(|here| here.borrow().as_ref().is_some_and(|rules| rules.wants()))
    }

    /// A request as it came, before anything of it has changed; `None` when this thread takes nothing down.
    #[must_use]
    pub fn begin(id: &str, parts: &Parts) -> Option<Box<Self>> {
        let rules = HERE.with(|here| here.borrow().clone()).filter(|rules| rules.wants())?;
        let target = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        // HTTP/2 has it in `:authority`.
        let authority = parts.uri.authority().filter(|_| !parts.headers.contains_key(header::HOST));
        let host = authority.map(|authority| (header::HOST.as_str(), authority.as_str().as_bytes()));
        let tape = Tape::begin(id, (&parts.method, target, parts.version), &parts.headers, host);
        let received = Body::keeping(rules.of_all());
        let taken = RefCell::new(Taken { tape, received, answer: None, refused: false });
        Some(Box::new(Self { rules, taken }))
    }

    /// It repeats the request with this id.
    pub fn repeats(&self, id: &str) {
        self.taken.borrow_mut().tape.repeats(id);
    }

    /// Where it goes.
    pub fn route(&self, route: &Arc<Route>) {
        self.taken.borrow_mut().tape.route(route);
    }

    /// Its body is in hand.
    pub fn body(&self, pieces: &[Bytes]) {
        let body = &mut self.taken.borrow_mut().received;
        for piece in pieces {
            body.push(piece);
        }
    }

    /// It is about to be sent. Sent once more, this is what counts.
    pub fn sent(&self, target: &str, headers: &HeaderMap, signed: Option<Signed<'_>>) {
        let tape = &mut self.taken.borrow_mut().tape;
        tape.sent(target, headers, signed.as_ref().and_then(|signed| signed.token));
        if let Some(Signed { source, access_key_id, expires, canonical_request, string_to_sign, .. }) = signed
        {
            let last = access_key_id.get(access_key_id.len().saturating_sub(4)..).unwrap_or_default();
            tape.signed_with(source, last, expires);
            tape.signing(canonical_request, string_to_sign, access_key_id);
        }
    }

    /// The head of the stage's answer, before anything of it has changed.
    pub fn answer(&self, status: StatusCode, headers: &HeaderMap) {
        let rules = &self.rules;
        let failed = is_failure(status.as_u16());
        let gateways = failed && is_gateways(headers);
        let most = match rules.of_all() {
            0 if gateways && rules.hub.is_some() => rules.max_body,
            0 if failed && rules.failed.is_some() => FAILED_BODY,
            most => most,
        };
        // Neither masked for the client: its bytes say nothing about what is in them.
        let body = match headers.get(header::CONTENT_ENCODING) {
            Some(coding) if is_coded(coding.as_bytes()) => Body::compressed(),
            _ => Body::keeping(most),
        };
        let taken = &mut *self.taken.borrow_mut();
        taken.tape.answer(status, headers);
        taken.answer = Some(Answered { failed, gateways, body });
    }

    /// A piece of the answer's body on its way to the client, secrets masked where it may echo some.
    pub fn answer_piece(&self, piece: &[u8]) {
        if let Some(answer) = &mut self.taken.borrow_mut().answer {
            answer.body.push(piece);
        }
    }

    /// The proxy answers by itself.
    pub fn refused(&self, code: &'static str, fault: &'static str, message: &str, hint: &str) {
        let taken = &mut *self.taken.borrow_mut();
        taken.tape.refused(code, fault, message, hint);
        taken.refused = true;
    }

    /// Hands over what was taken down.
    pub(super) fn end(self, ended: Ended<'_, impl Iterator<Item = (Phase, Duration)>>) {
        let Self { rules, taken } = self;
        let mut taken = taken.into_inner();
        taken.tape.ended(&ended.end);
        for (phase, took) in ended.phases {
            taken.tape.phase(phase, took);
        }
        if let Some(id) = ended.gateway_id {
            taken.tape.gateway_id(id.as_bytes());
        }
        if let Some(blocks) = &rules.show {
            blocks.show(&taken.exchange().detail());
        } else if let Some(blocks) = rules.failed.as_ref().filter(|_| taken.has_failed()) {
            blocks.failed(&taken.exchange().detail());
        }
        if let Some(hub) = rules.hub.as_ref().filter(|hub| hub.is_wanted()) {
            hub.publish(taken.with_bodies(rules.bodies));
        }
    }
}

impl Taken {
    /// Whether the proxy refused it, or the stage answered that it failed.
    fn has_failed(&self) -> bool {
        self.refused || self.answer.as_ref().is_some_and(|answer| answer.failed)
    }

    /// All of it, to be seen now.
    fn exchange(&self) -> Exchange {
        let mut exchange = self.tape.read();
        exchange.received.body = self.received.clone();
        if let (Some(answer), Some(answered)) = (&mut exchange.answer, &self.answer) {
            answer.body = answered.body.clone();
        }
        exchange
    }

    /// The tape with the bodies on it, or only with what a gateway says about its refusal.
    fn with_bodies(self, wanted: bool) -> Tape {
        let Self { mut tape, mut received, answer, .. } = self;
        if !wanted {
            received.forget();
        }
        tape.received_body(&received);
        if let Some(Answered { gateways, mut body, .. }) = answer {
            if !wanted && !gateways {
                body.forget();
            }
            tape.answer_body(&body);
        }
        tape
    }
}

/// How a request ended.
pub(super) struct Ended<'a, P> {
    pub(super) end: End,
    pub(super) phases: P,
    pub(super) gateway_id: Option<&'a HeaderValue>,
}

impl Rules {
    /// How much is kept of each body, whatever comes of the request.
    const fn of_all(&self) -> usize {
        if self.bodies || self.show.is_some() { self.max_body } else { 0 }
    }
}

/// A gateway's own words, of a failure's head: what explains it, and nothing of what lies behind the gateway. A REST API
/// gives them a type; an HTTP API says them in few bytes.
fn is_gateways(headers: &HeaderMap) -> bool {
    headers.contains_key("x-amzn-errortype") || headers.get(header::CONTENT_LENGTH).is_some_and(is_short)
}

/// `{"message":"Internal Server Error"}` has 35.
fn is_short(length: impl AsRef<[u8]>) -> bool {
    std::str::from_utf8(length.as_ref())
        .ok()
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: u64| length <= 64)
}

const fn is_failure(status: u16) -> bool {
    status >= 400
}

/// Whether this `content-encoding` is one.
pub(super) fn is_coded(coding: &[u8]) -> bool {
    !coding.trim_ascii().is_empty() && !coding.trim_ascii().eq_ignore_ascii_case(b"identity")
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, path::Path, sync::Arc, time::Duration};

    use bytes::Bytes;
    use clap::Command;
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};

    use super::{Body, Capture, End, Ended, Exchange, Hub, Signed, Watchers};
    use crate::{
        config::{Config, Given, load_text, parse_tolerantly, with_args},
        telemetry::Phase,
    };

    fn config(top: &str) -> Config {
        let arguments = [OsString::from("countersign")];
        let (matches, bad) =
            parse_tolerantly(with_args(Command::new("countersign")), &arguments, None).unwrap();
        let given = Given::new(&matches, bad, &[]).unwrap();
        let text = format!("{top}\n[[stage]]\nurl = \"https://api.example.com\"\nregion = \"us-west-2\"\n");
        load_text(&given, Path::new("test.toml"), &text).unwrap()
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter();
        fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    /// What the hub gets of a request with this answer.
    fn published(top: &str, status: u16, answer: &[(&'static str, &'static str)]) -> Exchange {
        let hub = Hub::new(1 << 20);
        hub.want();
        Watchers { hub: Some(Arc::clone(&hub)), blocks: None }.enter(&config(top));
        let (parts, ()) = Request::builder()
            .method(Method::POST)
            .uri("http://localhost:8080/a?b=1")
            .header("x-own", "1")
            .body(())
            .unwrap()
            .into_parts();
        let capture = Capture::begin("0123456789abcdef", &parts).unwrap();
        capture.body(&[Bytes::from_static(b"ab"), Bytes::from_static(b"cd")]);
        let source = "environment".into();
        let signed = |string_to_sign| Signed {
            source: &source,
            access_key_id: "AKIAABCDEFGHIJKLWXYZ",
            expires: None,
            token: None,
            canonical_request: b"POST",
            string_to_sign,
        };
        capture.sent("/first", &headers(&[("x-own", "1")]), Some(signed("first")));
        capture.sent("/a?b=1", &headers(&[("x-own", "1")]), Some(signed("second")));
        capture.answer(StatusCode::from_u16(status).unwrap(), &headers(answer));
        capture.answer_piece(b"answer");
        capture.end(Ended {
            end: End { status, attempts: 2, answered: 6, cut: false, total: Duration::from_micros(5) },
            phases: [(Phase::Receive, Duration::from_micros(5))].into_iter(),
            gateway_id: Some(&HeaderValue::from_static("3f2a")),
        });
        Watchers::default().enter(&config(""));
        hub.find("0123456789abcdef").unwrap()
    }

    fn kept(body: &Body) -> (&[u8], u64) {
        (body.exposed(), body.len())
    }

    #[test]
    fn a_request_is_taken_down_whole() {
        let exchange = published("inspector.bodies = true", 200, &[("content-type", "text/plain")]);
        let detail = exchange.detail();
        assert_eq!((detail.summary.target.as_str(), detail.summary.status), ("/a?b=1", 200));
        assert_eq!(detail.received.headers[1].name, "host", "HTTP/2 has it elsewhere");
        assert_eq!(detail.received.body.text.as_deref(), Some("abcd"));
        let sent = exchange.sent.as_ref().unwrap();
        assert_eq!(sent.exposed_target(), "/a?b=1", "what was sent last is what counts");
        assert_eq!(sent.signing.as_ref().unwrap().string_to_sign(), "second");
        assert_eq!(detail.answer.unwrap().body.text.as_deref(), Some("answer"));
        assert_eq!((detail.summary.attempts, detail.summary.sent_bytes, detail.summary.micros), (2, 6, 5));
        assert_eq!(detail.credentials.unwrap().access_key, "…WXYZ");
        assert_eq!(detail.gateway_request_id.as_deref(), Some("3f2a"));
    }

    #[test]
    fn bodies_are_kept_where_they_are_wanted_and_a_gateways_own_words_in_any_case() {
        let typed = [("x-amzn-errortype", "ForbiddenException")];
        let short = [("content-length", "23")];
        let long = [("content-length", "2300")];
        for (top, status, answer, expected) in [
            ("", 200, &typed, &b""[..]),
            ("", 403, &typed, b"answer"),
            ("", 403, &short, b"answer"),
            ("", 403, &long, b""),
            ("inspector.bodies = true", 403, &long, b"answer"),
            ("inspector.bodies = true\ninspector.max_body = 3", 200, &long, b"ans"),
            // Nobody writes, so nobody wants this.
            ("log.failed = true", 500, &long, b""),
        ] {
            let exchange = published(top, status, answer);
            assert_eq!(
                kept(&exchange.answer.as_ref().unwrap().body),
                (expected, 6),
                "{top} {status} {answer:?}"
            );
            let wanted = top.contains("bodies = true");
            let received = kept(&exchange.received.body);
            assert_eq!((received.0.is_empty(), received.1), (!wanted, 4), "{top} {status} {answer:?}");
        }
        let coded = published("inspector.bodies = true", 403, &[("content-encoding", "gzip")]);
        let body = &coded.answer.as_ref().unwrap().body;
        assert_eq!(kept(body), (&b""[..], 6));
        assert!(body.why_not().is_some_and(|why| why.contains("compressed")));
        let plain = published("inspector.bodies = true", 403, &[("content-encoding", "identity")]);
        assert_eq!(kept(&plain.answer.as_ref().unwrap().body).0, b"answer");
    }

    #[test]
    fn nothing_is_taken_down_where_nobody_looks() {
        Watchers::default().enter(&config("log.show = true\nlog.failed = true"));
        assert!(!Capture::is_wanted());
        let (parts, ()) = Request::new(()).into_parts();
        assert!(Capture::begin("0", &parts).is_none());
    }
}
