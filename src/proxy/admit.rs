//! Lets requests in one by one: when the stage's rate allows it, and there is a place among those under way.
//!
//! First the turn, then the place, so that those who wait for a slow stage's rate hold no place that others could use.
//! Nothing of a request's body has been read yet, and whoever leaves while waiting gives its turn or place back.
//!
//! Refused are:
//!
//! 1. a request whose turn by `rate_limit` is further off than its `wait` (429);
//! 2. a request that finds no place among `limits.max_in_flight` within `limits.in_flight_wait` (503).
//!
//! The place is kept until the answer's body has ended, however long it streams.

use std::{
    future::{Ready, ready},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_util::future::Either;
use tower::Service;

use super::{
    places::Door,
    rate::{Rate, Wait},
    refusal::Refusal,
    sanitize::Sanitized,
    stage::Shared,
};

/// A request that may be read, sent on and answered.
pub struct Admitted(pub(super) Sanitized);

/// The step.
#[derive(Clone)]
pub(super) struct Admit<S> {
    next: S,
    door: Rc<Door>,
}

impl<S> Admit<S> {
    pub(super) fn new(next: S, shared: &Shared) -> Self {
        Self { next, door: Rc::clone(&shared.door) }
    }
}

/// Boxed only for a request that has to wait.
type Waiting<R> = Pin<Box<dyn Future<Output = Result<R, Refusal>>>>;
type Answer<R> = Result<R, Refusal>;

impl<S> Service<Sanitized> for Admit<S>
where
    S: Service<Admitted, Error = Refusal> + Clone + 'static,
{
    type Response = S::Response;
    type Error = Refusal;
    type Future = Either<S::Future, Either<Ready<Answer<S::Response>>, Waiting<S::Response>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, mut request: Sanitized) -> Self::Future {
        let turn = match request.head.stage.rate.as_ref().map_or(Ok(None), Rate::take) {
            Ok(turn) => turn,
            Err(refusal) => return Either::Right(Either::Left(ready(Err(refusal)))),
        };
        if turn.is_none()
            && let Some(place) = self.door.try_take()
        {
            request.head.place = Some(place);
            return Either::Left(self.next.call(Admitted(request)));
        }
        let (mut next, door) = (self.next.clone(), Rc::clone(&self.door));
        Either::Right(Either::Right(Box::pin(async move {
            let admitted = admit(request, turn, &door).await?;
            next.call(admitted).await
        })))
    }
}

async fn admit(mut request: Sanitized, turn: Option<Wait>, door: &Rc<Door>) -> Result<Admitted, Refusal> {
    if let Some(wait) = turn {
        wait.over().await;
    }
    request.head.place = Some(door.take().await?);
    Ok(Admitted(request))
}
