//! Turns a refusal of any step into the proxy's own answer: its status, `x-countersign-error`, and a JSON body that
//! says what happened and what to do.

use std::{
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower::Service;

use super::{
    record::Received,
    refusal::{Code, Refusal},
    respond::MaskedBody,
    token,
};
use crate::{
    telemetry::{Record, metrics},
    upstream::Cut,
};

const ERROR_HEADER: HeaderName = HeaderName::from_static("x-countersign-error");

/// The step.
#[derive(Clone)]
pub(super) struct Refuse<S> {
    next: S,
}

impl<S> Refuse<S> {
    pub(super) const fn new(next: S) -> Self {
        Self { next }
    }
}

impl<S> Service<Received> for Refuse<S>
where
    S: Service<Received, Response = Response<AnswerBody>, Error = Refusal>,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Refusing<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Every step inside is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Received) -> Self::Future {
        let record = Rc::clone(&request.record);
        let bodiless = request.parts.method == Method::HEAD;
        let http1 = request.parts.version < Version::HTTP_2;
        Refusing { inner: self.next.call(request), record, bodiless, http1 }
    }
}

pin_project! {
    /// The rest of the chain at work.
    pub(super) struct Refusing<F> {
        #[pin]
        inner: F,
        record: Rc<Record>,
        bodiless: bool,
        http1: bool,
    }
}

impl<F> Future for Refusing<F>
where
    F: Future<Output = Result<Response<AnswerBody>, Refusal>>,
{
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = match ready!(this.inner.poll(cx)) {
            Ok(response) => response,
            Err(refusal) => {
                metrics::refused(refusal.code as usize);
                this.record.refusal.set(Some((refusal.code.as_str(), refusal.code.fault().as_str())));
                if refusal.code.ends_connection() {
                    this.record.ends_connection.set(true);
                }
                answer(&refusal, this.record.id().as_str(), *this.bodiless)
            }
        };
        // HTTP/2 has no such field (RFC 9113 section 8.2.2); its streams do not follow each other.
        if this.record.ends_connection.get() && *this.http1 {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(answer))
    }
}

fn answer(refusal: &Refusal, request_id: &str, bodiless: bool) -> Response<AnswerBody> {
    let code = refusal.code;
    let body = refusal.body(request_id);
    let length = HeaderValue::from(body.len());
    // hyper leaves a body to HEAD out of HTTP/1.1, but not out of HTTP/2, where it is a protocol error.
    let body = if bodiless { Full::default() } else { Full::from(body) };
    let mut response = Response::new(AnswerBody::Own(body));
    *response.status_mut() = code.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ERROR_HEADER, HeaderValue::from_static(code.as_str()));
    if code == Code::MethodNotAllowed {
        let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        headers.insert(header::ALLOW, allowed);
    }
    if let Some(seconds) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if matches!(code, Code::TokenMissing | Code::TokenWrong) {
        // In two fields: not every client reads a list of challenges.
        for challenge in token::CHALLENGES {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
    }
    response
}

/// The body of an answer: the stage's, or one of the proxy's own.
pub enum AnswerBody {
    /// As it comes from the stage.
    Stage(MaskedBody),
    /// A refusal's, or a preflight's.
    Own(Full<Bytes>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Stage(body) => Pin::new(body).poll_frame(cx),
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Stage(body) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Stage(body) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}
