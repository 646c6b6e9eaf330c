//! A step of the chain that decides at once: it takes the previous step's type and gives the next step's, or refuses.

use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::future::Either;
use tower::{Layer, Service};

use super::refusal::Refusal;

/// What such a step does.
pub trait Step {
    /// What the step before it made.
    type In;
    /// What the step after it takes.
    type Out;

    /// Passes the request on, or refuses it.
    ///
    /// # Errors
    /// The [`Refusal`] that the client is answered with.
    fn apply(&self, request: Self::In) -> Result<Self::Out, Refusal>;
}

/// A refusal as a future. It holds no room for an answer, which the layers would move each time they hand it on.
pub struct Refused<R> {
    refusal: Option<Refusal>,
    answer: PhantomData<fn() -> R>,
}

impl<R> Refused<R> {
    pub(super) const fn new(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), answer: PhantomData }
    }
}

impl<R> Future for Refused<R> {
    type Output = Result<R, Refusal>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Err(self.refusal.take().expect("a future is not polled after it ended")))
    }
}

/// Puts a [`Step`] before the rest of the chain.
#[derive(Debug, Clone)]
pub struct StepLayer<T>(pub T);

/// A [`Step`] and the rest of the chain.
#[derive(Debug, Clone)]
pub struct StepService<T, S> {
    step: T,
    next: S,
}

impl<T: Clone, S> Layer<S> for StepLayer<T> {
    type Service = StepService<T, S>;

    fn layer(&self, next: S) -> Self::Service {
        StepService { step: self.0.clone(), next }
    }
}

impl<T, S> Service<T::In> for StepService<T, S>
where
    T: Step,
    S: Service<T::Out, Error = Refusal>,
{
    type Response = S::Response;
    type Error = Refusal;
    type Future = Either<S::Future, Refused<S::Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, request: T::In) -> Self::Future {
        match self.step.apply(request) {
            Ok(request) => Either::Left(self.next.call(request)),
            Err(refusal) => Either::Right(Refused::new(refusal)),
        }
    }
}
