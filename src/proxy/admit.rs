//! Lets requests in one by one, when there is a place among those under way.
//!
//! A request comes here with its turn and its whole body, so that neither who waits for a slow stage's rate nor who sends
//! slowly holds a place that others could use.
//!
//! Refused (503) is a request that finds no place among `limits.max_in_flight` within `limits.in_flight_wait`.
//!
//! The place is kept until the answer's body has ended, however long it streams.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_util::future::Either;
use tower::Service;

use super::{body::Buffered, places::Door, refusal::Refusal, stage::Shared};
use crate::telemetry::Phase;

/// A request that may be sent on and answered.
pub struct Admitted(pub(super) Buffered);

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

impl<S> Service<Buffered> for Admit<S>
where
    S: Service<Admitted, Error = Refusal> + Clone + 'static,
{
    type Response = S::Response;
    type Error = Refusal;
    type Future = Either<S::Future, Waiting<S::Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, mut request: Buffered) -> Self::Future {
        if let Some(place) = self.door.try_take() {
            request.head.place = Some(place);
            return Either::Left(self.next.call(Admitted(request)));
        }
        let (mut next, door) = (self.next.clone(), Rc::clone(&self.door));
        Either::Right(Box::pin(async move {
            request.head.record.enter(Phase::Queue);
            request.head.place = Some(door.take().await?);
            next.call(Admitted(request)).await
        }))
    }
}
