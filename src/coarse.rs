//! Deadlines that are checked ten times a second, one list a thread.
//!
//! A timer of tokio's own costs each request a system call at low load, because each new earliest deadline wakes the
//! timer driver. A proxy's timeouts are seconds long and need no such precision: here a deadline is a slot in a list
//! that one task looks through while anything is in it. It fires up to [`TICK`] late, never early.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// How often deadlines are looked at.
pub const TICK: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Wheel {
    slots: Vec<Slot>,
    free: Vec<usize>,
    ticking: bool,
}

enum Slot {
    Free,
    Waiting(Instant, Waker),
    Fired,
}

thread_local! {
    static WHEEL: RefCell<Wheel> = RefCell::default();
}

impl Wheel {
    fn add(&mut self, at: Instant, waker: Waker) -> usize {
        let slot = Slot::Waiting(at, waker);
        if !self.ticking {
            self.ticking = true;
            tokio::task::spawn_local(tick());
        }
        if let Some(index) = self.free.pop() {
            self.slots[index] = slot;
            index
        } else {
            self.slots.push(slot);
            self.slots.len() - 1
        }
    }

    fn remove(&mut self, index: usize) {
        self.slots[index] = Slot::Free;
        self.free.push(index);
    }
}

async fn tick() {
    let mut due = Vec::new();
    loop {
        tokio::time::sleep(TICK).await;
        let now = Instant::now();
        let done = WHEEL.with_borrow_mut(|wheel| {
            for slot in &mut wheel.slots {
                if matches!(slot, Slot::Waiting(at, _) if *at <= now)
                    && let Slot::Waiting(_, waker) = std::mem::replace(slot, Slot::Fired)
                {
                    due.push(waker);
                }
            }
            wheel.ticking = wheel.free.len() < wheel.slots.len();
            if !wheel.ticking {
                *wheel = Wheel::default();
            }
            !wheel.ticking
        });
        due.drain(..).for_each(Waker::wake);
        if done {
            return;
        }
    }
}

/// A moment that can be waited for on the thread on which it is first polled.
pub struct Deadline {
    at: Instant,
    slot: Option<usize>,
}

impl Deadline {
    /// `limit` from now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self::at(Instant::now() + limit)
    }

    /// At this moment.
    #[must_use]
    pub const fn at(at: Instant) -> Self {
        Self { at, slot: None }
    }

    /// Moves the deadline to `limit` from now.
    pub fn restart(&mut self, limit: Duration) {
        self.at = Instant::now() + limit;
        self.forget();
    }

    fn forget(&mut self) {
        if let Some(index) = self.slot.take() {
            WHEEL.with_borrow_mut(|wheel| wheel.remove(index));
        }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        WHEEL.with_borrow_mut(|wheel| match self.slot {
            None => {
                self.slot = Some(wheel.add(self.at, context.waker().clone()));
                Poll::Pending
            }
            Some(index) => match &mut wheel.slots[index] {
                Slot::Waiting(_, waker) => {
                    waker.clone_from(context.waker());
                    Poll::Pending
                }
                Slot::Fired | Slot::Free => Poll::Ready(()),
            },
        })
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time ran out")]
pub struct Elapsed;

/// Runs `future` for at most `limit` (and a [`TICK`]).
///
/// # Errors
/// [`Elapsed`] when it did not end in time; it is dropped then.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut deadline = Deadline::after(limit);
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut deadline).poll(context).map(|()| Err(Elapsed))
    })
    .await
}

/// Coarse deadlines for hyper's own timeouts.
#[derive(Debug, Clone, Copy, Default)]
pub struct HyperTimer;

impl hyper::rt::Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Deadline::after(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Deadline { at: deadline, slot: None })
    }
}

impl hyper::rt::Sleep for Deadline {}

#[cfg(test)]
mod tests {
    use super::{Elapsed, WHEEL, timeout};
    use std::{future::pending, time::Duration};

    fn run<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, future)
    }

    #[test]
    fn what_ends_in_time_leaves_nothing_behind() {
        run(async {
            let long = Duration::from_secs(3600);
            assert_eq!(timeout(long, async { 7 }).await, Ok(7));
            let slow = timeout(long, tokio::time::sleep(Duration::from_millis(5))).await;
            assert_eq!(slow, Ok(()));
            WHEEL.with_borrow(|wheel| assert_eq!(wheel.free.len(), wheel.slots.len()));
        });
    }

    #[test]
    fn each_deadline_fires_on_its_own() {
        run(async {
            let short = timeout(Duration::from_millis(1), pending::<()>());
            let long = timeout(Duration::from_secs(3600), async {
                tokio::time::sleep(Duration::from_millis(300)).await;
            });
            assert_eq!(tokio::join!(short, long), (Err(Elapsed), Ok(())));
            let again = timeout(Duration::from_millis(1), pending::<()>()).await;
            assert_eq!(again, Err(Elapsed));
        });
    }
}
