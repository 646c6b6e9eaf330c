//! CORS for the pages that `guard.allowed_origins` names: the proxy speaks for itself, and the stage has no say.
//!
//! 1. A preflight is answered by `guard`: never signed, forwarded or held up. What the page asks for it gets; what it
//!    then sends is judged like any other request.
//! 2. On every answer to such a page, the proxy's refusals too, the gateway's `access-control-*` go and ours come. With
//!    credentials `*` means nothing (Fetch, "CORS protocol and credentials"), so the origin is named, and so is each
//!    field that the page may read.
//! 3. Every answer, to whomever, says `Vary: Origin`, since it depends on that.
//!
//! Without `allowed_origins` this layer is not there.

use std::{
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request};
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower::{Layer, Service, layer::layer_fn};

use super::{AnswerBody, Code, Received, Refusal, Shared};
use crate::callers::{Origin, origin};

/// How long a browser may keep a preflight's answer, in seconds: a setting that was changed is noticed soon.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const VARY_ON_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");

/// Private Network Access, "CORS preflight": asked by browsers that know of it when a public page calls a local one.
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Fields that a page may read in any case (Fetch, "CORS-safelisted response-header name"), or never can ("forbidden
/// response-header name").
const NOT_TO_EXPOSE: [HeaderName; 8] = [
    header::CACHE_CONTROL,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::PRAGMA,
    header::SET_COOKIE,
];

/// The layer, where there are origins to answer.
pub(in crate::proxy) fn layer<S>(shared: &Rc<Shared>) -> Option<impl Layer<S, Service = Cors<S>> + use<S>> {
    let shared = Rc::clone(shared);
    let wanted = !shared.config.guard.allowed_origins.is_empty();
    wanted.then(|| layer_fn(move |next| Cors { next, shared: Rc::clone(&shared) }))
}

/// The rest of the chain, and what it answers to whom.
#[derive(Clone)]
pub(in crate::proxy) struct Cors<S> {
    next: S,
    shared: Rc<Shared>,
}

impl<S> Service<Received> for Cors<S>
where
    S: Service<Received, Response = Response<AnswerBody>, Error = Infallible>,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, received: Received) -> Self::Future {
        let allowed = &self.shared.config.guard.allowed_origins;
        let origin = origin::allowed(&received.parts.headers, allowed).cloned();
        let preflight = is_preflight(&received.parts, allowed);
        Answering { inner: self.next.call(received), origin, preflight }
    }
}

pin_project! {
    /// The rest of the chain at work.
    pub(in crate::proxy) struct Answering<F> {
        #[pin]
        inner: F,
        origin: Option<HeaderValue>,
        preflight: bool,
    }
}

impl<F> Future for Answering<F>
where
    F: Future<Output = Result<Response<AnswerBody>, Infallible>>,
{
    type Output = Result<Response<AnswerBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.inner.poll(cx));
        if let Some(origin) = this.origin.take() {
            if matches!(response.body(), AnswerBody::Stage(_)) {
                remove_the_gateways(response.headers_mut());
            }
            let headers = response.headers_mut();
            if !*this.preflight
                && let Some(names) = exposed(headers)
            {
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
            }
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        vary_on_origin(response.headers_mut());
        Poll::Ready(Ok(response))
    }
}

fn remove_the_gateways(headers: &mut HeaderMap) {
    let is_theirs = |name: &&HeaderName| name.as_str().starts_with("access-control-");
    while let Some(name) = headers.keys().find(is_theirs).cloned() {
        headers.remove(name);
    }
}

/// The names of all fields that there are and that a page could not read otherwise.
fn exposed(headers: &HeaderMap) -> Option<HeaderValue> {
    let names: Vec<_> =
        headers.keys().filter(|name| !NOT_TO_EXPOSE.contains(name)).map(HeaderName::as_str).collect();
    let list = HeaderValue::from_str(&names.join(", ")).expect("names of fields are valid in a value");
    (!names.is_empty()).then_some(list)
}

fn vary_on_origin(headers: &mut HeaderMap) {
    let said = headers.get_all(header::VARY).iter().any(|value| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"))
    });
    if !said {
        headers.append(header::VARY, VARY_ON_ORIGIN);
    }
}

/// Whether a page of an allowed origin asks if it may send something (Fetch, "CORS-preflight request").
pub(super) fn is_preflight(parts: &request::Parts, allowed: &[Origin]) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && origin::allowed(&parts.headers, allowed).is_some()
}

/// Yes to what is asked; the fields that every answer to a page has come later.
///
/// Refused (400) is what no browser asks: more than one method, or what is no method's or field's name.
pub(super) fn answer_preflight(asked: &HeaderMap) -> Result<Response<AnswerBody>, Refusal> {
    let wrong = |what| {
        Refusal::because(Code::BadRequest, what).with_hint(
        "A CORS preflight names one method, and header fields with commas between them. To reach the stage, leave \
         Access-Control-Request-Method out.",
    )
    };
    let mut methods = asked.get_all(header::ACCESS_CONTROL_REQUEST_METHOD).iter();
    let (Some(method), None) = (methods.next(), methods.next()) else {
        return Err(wrong("The preflight asks for several methods."));
    };
    if Method::from_bytes(method.as_bytes()).is_err() {
        return Err(wrong("The preflight asks for what is no method."));
    }
    let fields = asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let names = fields.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    let names: Result<Vec<_>, _> = names.map(HeaderName::from_bytes).collect();
    let names = names.map_err(|_| wrong("The preflight asks for what is no name of a header field."))?;

    let mut response = Response::new(AnswerBody::Own(Full::<Bytes>::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
    if !names.is_empty() {
        let names: Vec<_> = names.iter().map(HeaderName::as_str).collect();
        let list = HeaderValue::from_str(&names.join(", ")).expect("names of fields are valid in a value");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, list);
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == TRUE) {
        headers.insert(ALLOW_PRIVATE_NETWORK, TRUE);
    }
    let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    headers.insert(header::VARY, HeaderValue::from_static(vary));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::{HeaderMap, HeaderValue, exposed, header, vary_on_origin};

    #[test]
    fn vary_is_said_once() {
        for (said, then) in [
            (&[][..], &["Origin"][..]),
            (&["Accept-Encoding"], &["Accept-Encoding", "Origin"]),
            (&["Accept, origin"], &["Accept, origin"]),
            (&["Accept", "ORIGIN"], &["Accept", "ORIGIN"]),
            (&["*"], &["*"]),
            (&["X-Origin"], &["X-Origin", "Origin"]),
        ] {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(header::VARY, HeaderValue::from_static(value));
            }
            vary_on_origin(&mut headers);
            let found: Vec<_> = headers.get_all(header::VARY).iter().collect();
            assert_eq!(found, then);
        }
    }

    #[test]
    fn what_a_page_may_read() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("x"));
        headers.insert(header::SET_COOKIE, HeaderValue::from_static("x"));
        assert_eq!(exposed(&headers), None);
        headers.insert("x-amzn-requestid", HeaderValue::from_static("x"));
        headers.insert(header::ETAG, HeaderValue::from_static("x"));
        let names = exposed(&headers).unwrap();
        let mut names: Vec<_> = names.to_str().unwrap().split(", ").collect();
        names.sort_unstable();
        assert_eq!(names, ["etag", "x-amzn-requestid"]);
    }
}
