//! A tape read back: what is rare, and may take its time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Method, StatusCode, Version};

use super::{Pinned, Tag, VERSIONS, fields};
use crate::telemetry::{
    Phase,
    exchange::{Answer, Body, Credentials, Exchange, Headers, Received, Refusal, Sent, Signing},
};

/// The exchange that a tape tells of.
pub(in crate::telemetry::exchange) fn read(tape: &[u8], pinned: &Pinned) -> Exchange {
    let token = pinned.token.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let mut reader = Reader { left: tape, token };
    let mut received = Vec::new();
    let id = reader.string();
    let none = || Received::new(Method::GET, "", Version::HTTP_11, Headers::default());
    let mut exchange = Exchange::new(&id, none());
    exchange.route.clone_from(&pinned.route);
    while let [tag, rest @ ..] = reader.left {
        reader.left = rest;
        match Tag::ALL[usize::from(*tag)] {
            Tag::Received => {
                exchange.began = reader.time();
                let version = VERSIONS[usize::from(reader.byte())];
                let method = Method::from_bytes(reader.text()).expect("it was a method");
                let target = reader.string();
                received = fields::read(&mut reader, &[]);
                exchange.received = Received::new(method, &target, version, Headers::copied(&received));
            }
            Tag::ReceivedBody => exchange.received.body = reader.body(),
            Tag::Repeats => exchange.replay_of = Some(reader.string().into()),
            Tag::Sent => {
                let target = reader.string();
                let headers = Headers::copied(&fields::read(&mut reader, &received));
                exchange.sent = Some(Sent::new(&target, headers, None));
            }
            Tag::Signing => {
                let mut canonical = vec![reader.text()];
                if reader.byte() == 1 {
                    canonical.extend([token, reader.text()]);
                }
                let (to_sign, key) = (reader.string(), reader.string());
                if let Some(sent) = &mut exchange.sent {
                    sent.signing = Some(Signing::of_pieces(&canonical, &to_sign, &key));
                }
            }
            Tag::SignedWith => {
                let (access_key, expires) = (reader.string().into(), pinned.expires);
                exchange.credentials =
                    pinned.source.clone().map(|source| Credentials { source, access_key, expires });
            }
            Tag::Answer => {
                let status = u16::from_ne_bytes(reader.take());
                let status = StatusCode::from_u16(status).expect("it was a status");
                let headers = Headers::copied(&fields::read(&mut reader, &[]));
                exchange.answer = Some(Answer { status, headers, body: Body::default() });
            }
            Tag::AnswerBody => {
                let body = reader.body();
                if let Some(answer) = &mut exchange.answer {
                    answer.body = body;
                }
            }
            Tag::Refused => {
                let (message, hint) = (reader.string().into(), reader.string().into());
                exchange.refusal = pinned.refusal.map(|(code, fault)| Refusal { code, fault, message, hint });
            }
            Tag::Ended => {
                exchange.status = u16::from_ne_bytes(reader.take());
                exchange.cut = reader.byte() == 1;
                exchange.attempts = reader.number() as u32;
                exchange.answered = reader.number();
                exchange.total = Duration::from_nanos(reader.number());
            }
            Tag::Phase => {
                let phase = Phase::ALL[usize::from(reader.byte())];
                exchange.phases.push((phase, Duration::from_nanos(reader.number())));
            }
            Tag::GatewayId => exchange.gateway_request_id = Some(reader.string().into()),
        }
    }
    exchange
}

/// What is left of a tape. That it ends within a section is impossible: nobody writes half of one.
pub(super) struct Reader<'a> {
    left: &'a [u8],
    pub(super) token: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.left.split_first_chunk().expect("a tape has whole sections");
        self.left = rest;
        *taken
    }

    fn byte(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }

    fn number(&mut self) -> u64 {
        u64::from_ne_bytes(self.take())
    }

    pub(super) fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.left.split_at(length);
        self.left = rest;
        bytes
    }

    fn text(&mut self) -> &'a [u8] {
        let length = u32::from_ne_bytes(self.take());
        self.bytes(length as usize)
    }

    fn string(&mut self) -> String {
        String::from_utf8_lossy(self.text()).into_owned()
    }

    fn time(&mut self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.number())
    }

    fn body(&mut self) -> Body {
        let length = self.number();
        let withheld = self.byte() == 1;
        Body::restored(self.text(), length, withheld)
    }
}
