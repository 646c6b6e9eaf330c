//! Waits for a turn by the stage's rate.
//!
//! Nothing of a request's body has been read yet, and whoever leaves while waiting gives its turn back.
//!
//! Refused (429) is a request whose turn by `rate_limit` is further off than its `wait`.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_util::future::Either;
use tower::Service;

use super::{rate::Rate, refusal::Refusal, sanitize::Sanitized, step::Refused};
use crate::telemetry::Phase;

/// A request whose body may be read.
pub struct Due(pub(super) Sanitized);

/// The step.
#[derive(Clone)]
pub(super) struct Turn<S> {
    next: S,
}

impl<S> Turn<S> {
    pub(super) fn new(next: S) -> Self {
        Self { next }
    }
}

/// Boxed only for a request that has to wait.
type Waiting<R> = Pin<Box<dyn Future<Output = Result<R, Refusal>>>>;

impl<S> Service<Sanitized> for Turn<S>
where
    S: Service<Due, Error = Refusal> + Clone + 'static,
{
    type Response = S::Response;
    type Error = Refusal;
    type Future = Either<S::Future, Either<Refused<S::Response>, Waiting<S::Response>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, request: Sanitized) -> Self::Future {
        match request.head.stage.rate.as_ref().map_or(Ok(None), Rate::take) {
            Ok(None) => Either::Left(self.next.call(Due(request))),
            Err(refusal) => Either::Right(Either::Left(Refused::new(refusal))),
            Ok(Some(wait)) => {
                let mut next = self.next.clone();
                Either::Right(Either::Right(Box::pin(async move {
                    let record = Rc::clone(&request.head.record);
                    record.enter(Phase::Queue);
                    wait.over().await;
                    record.enter(Phase::Receive);
                    next.call(Due(request)).await
                })))
            }
        }
    }
}
