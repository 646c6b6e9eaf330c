//! What a worker serves with now: a reload puts another [`Shared`] in its place, between two requests.
//!
//! A connection keeps its chain; a request that finds another generation than its connection's last one has the chain
//! built anew first, so that a connection which is kept for days sees the reload too. That look is one comparison. What
//! is under way ends on what it began with.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll},
};

use tower::Service;

use super::stage::Shared;

/// The current [`Shared`] of one worker.
pub struct Live {
    shared: RefCell<Rc<Shared>>,
    generation: Cell<u64>,
}

impl Live {
    /// Serves with this.
    #[must_use]
    pub fn new(shared: Rc<Shared>) -> Rc<Self> {
        Rc::new(Self { shared: RefCell::new(shared), generation: Cell::new(0) })
    }

    /// What is served with now.
    #[must_use]
    pub fn shared(&self) -> Rc<Shared> {
        Rc::clone(&self.shared.borrow())
    }

    /// From the next request on this is served with. Kept connections of stages that it does not have are closed.
    pub fn replace(&self, shared: Rc<Shared>) {
        let old = self.shared.replace(Rc::clone(&shared));
        self.generation.set(self.generation.get() + 1);
        old.retire(&shared);
    }
}

/// A chain that is built anew when [`Live`] has something else.
pub(super) struct Latest<F, S> {
    live: Rc<Live>,
    make: F,
    generation: u64,
    chain: S,
}

impl<F: Fn(&Rc<Shared>) -> S, S> Latest<F, S> {
    pub(super) fn new(live: &Rc<Live>, make: F) -> Self {
        let chain = make(&live.shared.borrow());
        Self { live: Rc::clone(live), generation: live.generation.get(), make, chain }
    }
}

impl<F, S, R> Service<R> for Latest<F, S>
where
    F: Fn(&Rc<Shared>) -> S,
    S: Service<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.chain.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        let generation = self.live.generation.get();
        if generation != self.generation {
            self.generation = generation;
            self.chain = (self.make)(&self.live.shared.borrow());
        }
        self.chain.call(request)
    }
}
