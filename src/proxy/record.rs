//! First step of a request: starts the clock, names the request, and sees to its one line of log, refused or not.
//!
//! The line is written when the last holder of the record lets go: after the answer's last byte, or when the client
//! leaves.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming as HyperBody;
use pin_project_lite::pin_project;
use tower::Service;

use super::{inside::Inside, quiet::Quiet, refuse::AnswerBody};
use crate::{
    telemetry::{self, Capture, RequestId},
    upstream::Cut,
};

/// What the server hands in: a request as it came, and on which socket.
pub struct Incoming {
    /// As hyper read it.
    pub request: Request<HyperBody>,
    /// Shared by the requests of one connection.
    pub caller: Rc<Caller>,
    /// Whether its target had a fragment, which hyper drops.
    pub fragment: bool,
}

/// What is known of a connection.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The address of this machine that the client connected to; `None` on a Unix socket.
    pub local: Option<IpAddr>,
    /// The user at the other end of a Unix socket, where the system says.
    pub uid: Option<u32>,
    /// Whether the client speaks TLS with us, so that its own name for us begins with `https://`.
    pub tls: bool,
    /// Where the connection comes from within this process.
    pub inside: Option<Arc<Inside>>,
}

impl Caller {
    /// Whether it runs on this machine: what reaches a loopback address came from here, and so did what uses a Unix
    /// socket. Whoever uses another address may be anywhere.
    pub(super) fn is_here(&self) -> bool {
        self.local.is_none_or(|local| local.to_canonical().is_loopback())
    }
}

/// A request with its record: what `guard` takes.
///
/// The head is boxed because each step hands the request on by value: moving half a kilobyte nine times costs more
/// than the box.
pub struct Received {
    pub(super) parts: Box<request::Parts>,
    pub(super) body: HyperBody,
    pub(super) caller: Rc<Caller>,
    pub(super) fragment: bool,
    pub(super) record: Rc<telemetry::Record>,
}

/// The step.
#[derive(Clone)]
pub(super) struct Record<S> {
    next: S,
    quiet: Rc<Quiet>,
}

impl<S> Record<S> {
    pub(super) fn new(next: S, quiet: &Rc<Quiet>) -> Self {
        Self { next, quiet: Rc::clone(quiet) }
    }
}

impl<S> Service<Incoming> for Record<S>
where
    S: Service<Received, Response = Response<AnswerBody>, Error = Infallible>,
{
    type Response = Response<AnswerOut>;
    type Error = Infallible;
    type Future = Recording<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, incoming: Incoming) -> Self::Future {
        let Incoming { request, caller, fragment } = incoming;
        let (parts, body) = request.into_parts();
        let inside = caller.inside.as_deref();
        let id = inside.map_or_else(|| RequestId::of(&parts.headers), |inside| inside.id.clone());
        let trace = telemetry::Trace::begin(&parts.method, &parts.headers);
        let mut record = telemetry::Record::start(parts.method.clone(), parts.uri.path(), id, trace);
        record.lines.set(self.quiet.lines(&parts.method, parts.uri.path()));
        if Capture::is_wanted() {
            record.capture = take_down(record.id(), &parts, inside);
        }
        let record = Rc::new(record);
        let received =
            Received { parts: Box::new(parts), body, caller, fragment, record: Rc::clone(&record) };
        Recording { inner: self.next.call(received), record: Some(record) }
    }
}

/// The request as it came. One that is only to be signed is nothing to be seen: a person takes it along.
fn take_down(id: &RequestId, parts: &request::Parts, inside: Option<&Inside>) -> Option<Box<Capture>> {
    if inside.is_some_and(|inside| inside.only_sign.is_some()) {
        return None;
    }
    let capture = Capture::begin(id.as_str(), parts)?;
    if let Some(repeated) = inside.and_then(|inside| inside.replay_of.as_deref()) {
        capture.repeats(repeated);
    }
    Some(capture)
}

pin_project! {
    /// The rest of the chain at work.
    pub(super) struct Recording<F> {
        #[pin]
        inner: F,
        record: Option<Rc<telemetry::Record>>,
    }
}

impl<F> Future for Recording<F>
where
    F: Future<Output = Result<Response<AnswerBody>, Infallible>>,
{
    type Output = Result<Response<AnswerOut>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.inner.poll(cx));
        let record = this.record.take().expect("a future is not polled after it ended");
        record.status.set(response.status().as_u16());
        Poll::Ready(Ok(response.map(|body| AnswerOut { body, record: Some(record) })))
    }
}

/// The body of an answer to the client, counted as it goes.
pub struct AnswerOut {
    body: AnswerBody,
    /// `None` for what is no request.
    record: Option<Rc<telemetry::Record>>,
}

impl AnswerOut {
    /// An answer that leaves no trace.
    pub(super) const fn unrecorded(body: AnswerBody) -> Self {
        Self { body, record: None }
    }

    /// Whether the proxy itself answers, perhaps before it read the request's body.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self.body, AnswerBody::Own(_))
    }
}

impl Body for AnswerOut {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let Some(record) = &self.record else { return Poll::Ready(frame) };
        match &frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                record.sent.set(record.sent.get() + length);
                if let (Some(capture), Some(piece)) = (&record.capture, frame.data_ref()) {
                    capture.answer_piece(piece);
                }
            }
            Some(Err(error)) => {
                record.cut.set(true);
                tracing::warn!(request_id = record.id().as_str(), %error, "the answer ended early");
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::Caller;

    #[test]
    fn a_caller_on_this_machine_is_told_by_the_address_that_it_uses() {
        for (local, here) in [
            (None, true),
            (Some("127.0.0.1"), true),
            (Some("127.8.0.1"), true),
            (Some("::1"), true),
            (Some("::ffff:127.0.0.1"), true),
            (Some("10.0.0.7"), false),
            (Some("::ffff:10.0.0.7"), false),
            (Some("fe80::1"), false),
            (Some("2001:db8::1"), false),
        ] {
            let caller = Caller {
                local: local.map(|local| local.parse().unwrap()),
                uid: None,
                tls: false,
                inside: None,
            };
            assert_eq!(caller.is_here(), here, "{local:?}");
        }
    }
}
