//! May this caller borrow the credentials?
//!
//! A request passes when all of this holds, in this order:
//!
//! 1. On a Unix socket its user is one of `guard.allowed_uids`, if there are any (403): see [`super::peer`].
//! 2. Its method is not CONNECT or TRACE (405), and it carries no `X-HTTP-Method-Override`, which would change the
//!    method inside API Gateway after it was checked here (403; API Gateway Developer Guide, "important notes").
//! 3. It names exactly one host (400), and that is a name of this machine (421): see [`crate::callers::host`].
//! 4. No page of another site can have caused it (403): see [`crate::callers::origin`].
//! 5. It carries `guard.token`, if there is one (401), which goes no further: see [`super::token`].
//!
//! A CORS preflight of an origin that is allowed is answered here and goes no further, see [`cors`]. Browsers send it
//! without a token.

pub(super) mod cors;

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready as polled},
};

use futures_util::future::Either;
use http::{HeaderMap, HeaderValue, Method, Response};
use pin_project_lite::pin_project;
use tower::Service;

use super::{
    peer,
    record::Received,
    refusal::{Code, Refusal},
    refuse::AnswerBody,
    respond::MaskedBody,
    stage::Shared,
};
use crate::callers::{Denied, host, origin};

/// A request whose caller may borrow the credentials.
pub struct Guarded {
    pub(super) received: Received,
    /// The host as the client named it, to point `Location` back at.
    pub(super) local_host: HeaderValue,
}

/// The step.
#[derive(Clone)]
pub(super) struct Guard<S> {
    next: S,
    shared: Rc<Shared>,
}

/// What becomes of a request that is not refused.
enum Passed {
    On(Guarded),
    /// Boxed because it is rare and large.
    Answered(Box<Response<AnswerBody>>),
}

impl<S> Guard<S> {
    pub(super) fn new(next: S, shared: &Rc<Shared>) -> Self {
        Self { next, shared: Rc::clone(shared) }
    }

    fn apply(&self, mut received: Received) -> Result<Passed, Refusal> {
        let rules = &self.shared.config.guard;
        peer::check(&received.caller, &rules.allowed_uids)?;
        let parts = &received.parts;
        if matches!(parts.method, Method::CONNECT | Method::TRACE) {
            return Err(Code::MethodNotAllowed.into());
        }
        let noticed = Noticed::in_names(&parts.headers);
        if noticed.overrides_method {
            return Err(Code::MethodOverride.into());
        }
        let authority = parts.uri.authority();
        let local_host = host::check(&parts.headers, authority, received.caller.local, &rules.allowed_hosts)?;
        if noticed.from_a_browser {
            let scheme = if received.caller.tls { "https" } else { "http" };
            origin::check(&parts.headers, scheme, local_host.as_bytes(), &rules.allowed_origins)?;
            if cors::is_preflight(parts, &rules.allowed_origins) {
                return cors::answer_preflight(&parts.headers)
                    .map(|answer| Passed::Answered(Box::new(answer)));
            }
        }
        if let Some(token) = &self.shared.token {
            token.admit(&mut received.parts.headers)?;
        }
        Ok(Passed::On(Guarded { received, local_host }))
    }
}

impl<S> Service<Received> for Guard<S>
where
    S: Service<Guarded, Response = Response<MaskedBody>, Error = Refusal>,
{
    type Response = Response<AnswerBody>;
    type Error = Refusal;
    type Future = Either<Guarding<S::Future>, Decided>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, received: Received) -> Self::Future {
        match self.apply(received) {
            Ok(Passed::On(guarded)) => Either::Left(Guarding { inner: self.next.call(guarded) }),
            Ok(Passed::Answered(answer)) => Either::Right(Decided(Some(Ok(answer)))),
            Err(refusal) => Either::Right(Decided(Some(Err(refusal)))),
        }
    }
}

/// What needs nothing further in.
pub(super) struct Decided(Option<Result<Box<Response<AnswerBody>>, Refusal>>);

impl Future for Decided {
    type Output = Result<Response<AnswerBody>, Refusal>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let decided = self.0.take().expect("a future is not polled after it ended");
        Poll::Ready(decided.map(|answer| *answer))
    }
}

pin_project! {
    /// The rest of the chain at work.
    pub(super) struct Guarding<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future<Output = Result<Response<MaskedBody>, Refusal>>> Future for Guarding<F> {
    type Output = Result<Response<AnswerBody>, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(polled!(self.project().inner.poll(cx)).map(|response| response.map(AnswerBody::Stage)))
    }
}

/// What one look at the names of all fields tells, so that a request without any of them costs no search for each.
#[derive(Default)]
struct Noticed {
    overrides_method: bool,
    from_a_browser: bool,
}

impl Noticed {
    fn in_names(headers: &HeaderMap) -> Self {
        let mut noticed = Self::default();
        for name in headers.keys() {
            let text = name.as_str().as_bytes();
            match text.len() {
                6 => noticed.from_a_browser |= text == b"origin",
                14 => noticed.from_a_browser |= text == b"sec-fetch-site",
                22 => noticed.overrides_method |= overrides_method(text),
                _ => {}
            }
        }
        noticed
    }
}

/// In any spelling that a server may read as the same: some take `_` for `-`.
pub(crate) fn overrides_method(name: &[u8]) -> bool {
    const NAME: &[u8] = b"x-http-method-override";
    let same = |(a, b): (&u8, &u8)| a == b || (*a, *b) == (b'_', b'-');
    name.len() == NAME.len() && name.iter().zip(NAME).all(same)
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::NoHost | Denied::SeveralHosts => Code::BadRequest,
            Denied::Host(_) => Code::HostNotAllowed,
            Denied::Origin(_)
            | Denied::NullOrigin
            | Denied::SeveralOrigins
            | Denied::BadOrigin(_)
            | Denied::Site(_)
            | Denied::BadSite(_) => Code::OriginNotAllowed,
        };
        Self::because(code, denied.to_string()).with_hint(denied.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::{Denied, HeaderMap, HeaderValue, Noticed, Refusal};
    use http::HeaderName;

    #[test]
    fn one_look_finds_them() {
        for (name, expected) in [
            ("x-http-method-override", (true, false)),
            ("x_http_method_override", (true, false)),
            ("x-http_method-override", (true, false)),
            ("x-http-method-overridf", (false, false)),
            ("origin", (false, true)),
            ("sec-fetch-site", (false, true)),
            ("sec-fetch-mode", (false, false)),
            ("accept", (false, false)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x"));
            let found = Noticed::in_names(&headers);
            assert_eq!((found.overrides_method, found.from_a_browser), expected, "{name}");
        }
    }

    #[test]
    fn both_listeners_call_it_the_same() {
        for denied in [
            Denied::NoHost,
            Denied::SeveralHosts,
            Denied::Host("x".to_owned()),
            Denied::Origin("x".to_owned()),
            Denied::NullOrigin,
            Denied::SeveralOrigins,
            Denied::BadOrigin("x".to_owned()),
            Denied::Site("cross-site"),
            Denied::BadSite("x".to_owned()),
        ] {
            let (code, status) = (denied.code(), denied.status());
            let refusal = Refusal::from(denied);
            assert_eq!((refusal.code.as_str(), refusal.code.status()), (code, status));
        }
    }
}
