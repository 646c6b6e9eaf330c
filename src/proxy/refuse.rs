//! Turns a refusal of any step into the proxy's own answer: its status, `x-countersign-error`, and a JSON body that
//! says what happened and what to do.
//!
//! Every answer, the stage's too, gets the request's id as `x-request-id`, unless the stage gave one.
//!
//! A panic further in is a refusal too (500): it costs the one request, which is recorded like any other. What the
//! panic said has gone to the log. Nothing that a step borrows from its worker stays borrowed or half changed for
//! others: guards let go while the stack unwinds, and a connection to the stage that was in use is closed.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
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
    telemetry::{REQUEST_ID, Record, metrics},
    upstream::Cut,
};

pub(super) const ERROR_HEADER: HeaderName = HeaderName::from_static("x-countersign-error");

/// The step.
#[derive(Clone)]
pub(super) struct Refuse<S> {
    next: S,
    /// Whether answers carry the request's id.
    tells_id: bool,
}

impl<S> Refuse<S> {
    pub(super) const fn new(next: S, tells_id: bool) -> Self {
        Self { next, tells_id }
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
        let inner = catch_unwind(AssertUnwindSafe(|| self.next.call(request))).ok();
        Refusing { inner, record, bodiless, http1, tells_id: self.tells_id }
    }
}

pin_project! {
    /// The rest of the chain at work.
    pub(super) struct Refusing<F> {
        // `None` for a step that panicked at once.
        #[pin]
        inner: Option<F>,
        record: Rc<Record>,
        bodiless: bool,
        http1: bool,
        tells_id: bool,
    }
}

impl<F> Future for Refusing<F>
where
    F: Future<Output = Result<Response<AnswerBody>, Refusal>>,
{
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = catch_unwind(AssertUnwindSafe(|| this.inner.as_pin_mut().map(|inner| inner.poll(cx))));
        let answered = match polled {
            Ok(Some(polled)) => ready!(polled),
            Ok(None) | Err(_) => Err(Code::InternalError.into()),
        };
        let mut answer = match answered {
            Ok(response) => response,
            Err(refusal) => {
                metrics::refused(refusal.code as usize);
                if let Some(capture) = &this.record.capture {
                    let (code, fault) = (refusal.code.as_str(), refusal.code.fault().as_str());
                    capture.refused(code, fault, refusal.message(), refusal.hint());
                }
                this.record.refusal.set(Some((refusal.code.as_str(), refusal.code.fault().as_str())));
                if refusal.code.ends_connection() {
                    this.record.ends_connection.set(true);
                }
                answer(&refusal, this.record.id().as_str(), *this.bodiless)
            }
        };
        if *this.tells_id {
            // A stage that has an id of its own for it knows why.
            answer.headers_mut().entry(REQUEST_ID).or_insert_with(|| this.record.id().value());
        }
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
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(Refusal::NO_PAGE));
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

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, rc::Rc};

    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use http_body_util::{BodyExt as _, Empty};
    use hyper::{
        body::Incoming as HyperBody,
        client::conn as client,
        server::conn::{http1, http2},
        service::service_fn,
    };
    use hyper_util::rt::TokioIo;
    use tokio::{
        io::DuplexStream,
        sync::Notify,
        task::{LocalSet, spawn_local},
    };
    use tower::Service as _;

    use super::{AnswerBody, Received, Refuse};
    use crate::{
        proxy::{
            quiet::Quiet,
            record::{AnswerOut, Caller, Incoming, Record},
            refusal::{Code, Refusal},
        },
        telemetry,
    };

    #[derive(Clone)]
    struct Local;

    impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
        fn execute(&self, future: F) {
            spawn_local(future);
        }
    }

    /// The last steps of the chain: one panics at once, one while it is waited for, one waits, and one refuses.
    async fn last(request: Received, go: Rc<Notify>) -> Result<Response<AnswerBody>, Refusal> {
        match request.parts.uri.path() {
            "/later" => {
                tokio::task::yield_now().await;
                panic!("later");
            }
            "/waits" => go.notified().await,
            _ => {}
        }
        Err(Code::NoStage.into())
    }

    type Called = Result<Response<AnswerOut>, Infallible>;

    fn chain(
        go: &Rc<Notify>,
    ) -> impl Fn(Request<HyperBody>) -> std::pin::Pin<Box<dyn Future<Output = Called>>> + use<> {
        let go = Rc::clone(go);
        move |request| {
            let go = Rc::clone(&go);
            let steps = tower::service_fn(move |request: Received| {
                assert_ne!(request.parts.uri.path(), "/now", "a step that panics at once");
                last(request, Rc::clone(&go))
            });
            let caller = Rc::new(Caller { local: None, uid: None, tls: false, inside: None });
            let mut steps = Record::new(Refuse::new(steps, true), &Rc::new(Quiet::default()));
            Box::pin(steps.call(Incoming { request, caller, fragment: false }))
        }
    }

    fn ask(path: &str) -> Request<Empty<Bytes>> {
        Request::get(format!("http://localhost{path}")).body(Empty::new()).unwrap()
    }

    async fn code(answer: Response<HyperBody>) -> (StatusCode, String) {
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (status, body["error"].as_str().unwrap().to_owned())
    }

    const BROKEN: (StatusCode, &str) = (StatusCode::INTERNAL_SERVER_ERROR, "internal-error");
    const OTHER: (StatusCode, &str) = (StatusCode::NOT_FOUND, "no-stage");

    /// Runs this on a worker's kind of runtime, and gives the lines about requests.
    fn run<F: Future<Output = ()>>(
        work: impl FnOnce(DuplexStream, DuplexStream, Rc<Notify>) -> F,
    ) -> Vec<(u64, String)> {
        telemetry::turn_on();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (near, far) = tokio::io::duplex(64 << 10);
        LocalSet::new().block_on(&runtime, work(near, far, Rc::new(Notify::new())));
        let line = |line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            (line["status"].as_u64().unwrap(), line["refused"].as_str().unwrap().to_owned())
        };
        telemetry::taken().lines().map(line).collect()
    }

    fn owned(list: &[(u64, &str)]) -> Vec<(u64, String)> {
        list.iter().map(|(status, code)| (*status, (*code).to_owned())).collect()
    }

    #[test]
    fn a_panic_costs_its_request_alone_over_http1() {
        let lines = run(|near, far, go| async move {
            let serving = http1::Builder::new().serve_connection(TokioIo::new(far), service_fn(chain(&go)));
            let serving = spawn_local(serving);
            let (mut sender, connection) = client::http1::handshake(TokioIo::new(near)).await.unwrap();
            spawn_local(connection);
            for (path, (status, name)) in [("/now", BROKEN), ("/later", BROKEN), ("/other", OTHER)] {
                let answer = sender.send_request(ask(path)).await.unwrap();
                assert_eq!(code(answer).await, (status, name.to_owned()), "{path}");
            }
            drop(sender);
            serving.await.expect("the connection's task lives on").unwrap();
        });
        assert_eq!(lines, owned(&[(500, "internal-error"), (500, "internal-error"), (404, "no-stage")]));
    }

    #[test]
    fn a_panic_costs_its_stream_alone_over_http2() {
        let lines = run(|near, far, go| async move {
            let serving =
                http2::Builder::new(Local).serve_connection(TokioIo::new(far), service_fn(chain(&go)));
            let serving = spawn_local(serving);
            let (mut sender, connection) = client::http2::handshake(Local, TokioIo::new(near)).await.unwrap();
            spawn_local(connection);
            // Under way while the others panic.
            let waits = sender.send_request(ask("/waits"));
            for path in ["/now", "/later", "/now"] {
                let answer = sender.send_request(ask(path)).await.unwrap();
                assert_eq!(code(answer).await, (BROKEN.0, BROKEN.1.to_owned()), "{path}");
            }
            go.notify_one();
            assert_eq!(code(waits.await.unwrap()).await, (OTHER.0, OTHER.1.to_owned()));
            drop(sender);
            serving.await.expect("the connection's task lives on").unwrap();
        });
        let broken = (500, "internal-error");
        assert_eq!(lines, owned(&[broken, broken, broken, (404, "no-stage")]));
    }
}
