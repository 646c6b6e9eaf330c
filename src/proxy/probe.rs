//! `health_path`: a load balancer asks the port that it sends requests to whether it should.
//!
//! GET and HEAD of exactly that path, written exactly so, are answered here: 200 when a request would be served, 503
//! when not, and nothing of why. Such a probe is no request: it has no record, is not counted, never reaches the guard
//! (probes come with an IP address as `Host`, and without a token), a stage or a signature. What it tells is one bit, and
//! no page of another site can read it. A line of log is written when the answer changes.
//!
//! Without the setting the layer is not there.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::future::Either;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use tower::{Layer, Service, layer::layer_fn};

use super::{
    record::{AnswerOut, Incoming},
    refusal::Refusal,
    refuse::AnswerBody,
    stage::Shared,
};
use crate::config::Config;

/// Whether a request would be served, as those judge who know everything; shared by all workers.
pub struct Readiness {
    ask: Box<dyn Fn() -> bool + Send + Sync>,
    /// What was answered last.
    told: AtomicU8,
}

/// [`Readiness::told`] before the first answer.
const NOTHING: u8 = 2;

impl Readiness {
    /// Answers what `ask` says, which must not wait.
    #[must_use]
    pub fn new(ask: impl Fn() -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { ask: Box::new(ask), told: AtomicU8::new(NOTHING) })
    }

    fn now(&self) -> bool {
        let ready = (self.ask)();
        if self.told.swap(ready.into(), Ordering::Relaxed) != u8::from(ready) {
            let status = status(ready);
            tracing::info!(status, "whoever asks health_path is told: {status}");
        }
        ready
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("told", &self.told).finish_non_exhaustive()
    }
}

const fn status(ready: bool) -> &'static str {
    if ready { "ready" } else { "not ready" }
}

/// The layer, where there is a path to answer at.
pub(super) fn layer<S>(shared: &Rc<Shared>) -> Option<impl Layer<S, Service = Probe<S>> + Clone + use<S>> {
    shared.config.health_path.is_some().then(|| {
        let shared = Rc::clone(shared);
        layer_fn(move |next| Probe { next, shared: Rc::clone(&shared) })
    })
}

/// The step.
#[derive(Clone)]
pub(super) struct Probe<S> {
    next: S,
    shared: Rc<Shared>,
}

/// Whether it is answered here.
#[must_use]
pub fn is_probe(config: &Config, method: &Method, path: &str) -> bool {
    config.health_path.as_deref() == Some(path) && matches!(*method, Method::GET | Method::HEAD)
}

impl<S> Service<Incoming> for Probe<S>
where
    S: Service<Incoming, Response = Response<AnswerOut>, Error = Infallible>,
{
    type Response = Response<AnswerOut>;
    type Error = Infallible;
    type Future = Either<S::Future, Told>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, incoming: Incoming) -> Self::Future {
        let request = &incoming.request;
        if !is_probe(&self.shared.config, request.method(), request.uri().path()) {
            return Either::Left(self.next.call(incoming));
        }
        let bodiless = incoming.request.method() == Method::HEAD;
        Either::Right(Told(Some(Box::new(answer(self.shared.readiness().now(), bodiless)))))
    }
}

fn answer(ready: bool, bodiless: bool) -> Response<AnswerOut> {
    let text = format!("{{\"status\":\"{}\"}}\n", status(ready));
    let length = HeaderValue::from(text.len());
    // hyper leaves a body to HEAD out of HTTP/1.1, but not out of HTTP/2, where it is a protocol error.
    let body = if bodiless { Full::default() } else { Full::from(text) };
    let mut response = Response::new(AnswerOut::unrecorded(AnswerBody::Own(body)));
    *response.status_mut() = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, Refusal::NO_PAGE),
        // With it no page of another site learns so much as the status (Fetch, "cross-origin resource policy check").
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_LENGTH, length);
    response
}

/// An answer that is there; boxed, as it is rare and large.
pub(super) struct Told(Option<Box<Response<AnswerOut>>>);

impl Future for Told {
    type Output = Result<Response<AnswerOut>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.0.take().expect("a future is not polled after it ended");
        Poll::Ready(Ok(*answer))
    }
}
