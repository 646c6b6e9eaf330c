//! How many requests are under way at the same time, over all workers, and the line of those that wait.
//!
//! With room, coming and going cost one atomic operation and one load each. The lock is for the line alone, which is
//! served first come, first served: while anybody waits, newcomers stand behind. (tokio's semaphore takes its lock for
//! each permit that comes back.)
//!
//! Nobody is forgotten: who lines up says so (`waiting`) before looking for room once more, and who leaves makes room
//! before looking whether anybody waits, so one of the two sees the other.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{
            AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::sync::oneshot;

use super::refusal::{Code, Refusal};
use crate::coarse;

/// Requests under way from which on each is kept small: with 8 KiB each they hold a mebibyte.
const CROWD: usize = 128;

/// What all workers share.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: AtomicUsize,
    /// How long the line is.
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<oneshot::Sender<()>>,
    /// How many of them have left at least.
    left: usize,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let (taken, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { most, taken, waiting, line: Mutex::default() })
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().expect("no thread panics with this lock")
    }

    fn enter(&self) -> bool {
        self.taken.fetch_update(SeqCst, SeqCst, |taken| (taken < self.most).then_some(taken + 1)).is_ok()
    }

    fn try_enter(&self) -> bool {
        self.waiting.load(SeqCst) == 0 && self.enter()
    }

    fn leave(&self) {
        self.taken.fetch_sub(1, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            self.serve();
        }
    }

    /// Gives what room there is to those in front.
    fn serve(&self) {
        let mut line = self.line();
        while !line.waiting.is_empty() && self.enter() {
            let served = loop {
                match line.waiting.pop_front() {
                    Some(first) => match first.send(()) {
                        Ok(()) => break true,
                        Err(()) => line.left = line.left.saturating_sub(1),
                    },
                    None => break false,
                }
            };
            self.waiting.store(line.waiting.len(), SeqCst);
            if !served {
                // Whoever lines up needs the lock, and then looks for room.
                self.taken.fetch_sub(1, SeqCst);
            }
        }
    }

    /// Stands at the end of the line; `None` when there is room after all.
    fn line_up(self: &Arc<Self>) -> Option<Waiting> {
        let mut line = self.line();
        self.waiting.store(line.waiting.len() + 1, SeqCst);
        if line.waiting.is_empty() && self.enter() {
            self.waiting.store(0, SeqCst);
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        line.waiting.push_back(sender);
        Some(Waiting { places: Arc::clone(self), receiver, served: false })
    }
}

/// In line. Resolves once it has a place, which then is for the caller to leave.
struct Waiting {
    places: Arc<Places>,
    receiver: oneshot::Receiver<()>,
    served: bool,
}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let served = ready!(Pin::new(&mut self.receiver).poll(cx));
        self.served = true;
        served.expect("those in line are served or leave by themselves");
        Poll::Ready(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.served {
            return;
        }
        self.receiver.close();
        if self.receiver.try_recv().is_ok() {
            self.places.leave();
            return;
        }
        // While nobody goes, nobody is called, and those who left would pile up.
        let mut line = self.places.line();
        line.left += 1;
        if line.left > line.waiting.len() / 2 {
            line.waiting.retain(|one| !one.is_closed());
            line.left = 0;
            self.places.waiting.store(line.waiting.len(), SeqCst);
        }
    }
}

/// One worker's way to the places.
#[derive(Debug)]
pub(super) struct Door {
    places: Arc<Places>,
    wait: Duration,
}

impl Door {
    /// A request waits for up to `wait`; not at all when that is zero.
    pub(super) fn new(places: &Arc<Places>, wait: Duration) -> Rc<Self> {
        Rc::new(Self { places: Arc::clone(places), wait })
    }

    /// Whether so many requests are under way that the memory of each counts.
    pub(super) fn is_crowded(&self) -> bool {
        self.places.taken.load(Relaxed) >= CROWD
    }

    /// A place, if there is one and nobody waits for it.
    pub(super) fn try_take(self: &Rc<Self>) -> Option<Place> {
        self.places.try_enter().then(|| Place(Rc::clone(self)))
    }

    /// A place, when it is this one's turn.
    ///
    /// # Errors
    /// 503 when that takes too long.
    pub(super) async fn take(self: &Rc<Self>) -> Result<Place, Refusal> {
        if let Some(place) = self.try_take() {
            return Ok(place);
        }
        if self.wait.is_zero() {
            return Err(Code::TooManyInFlight.into());
        }
        if let Some(waiting) = self.places.line_up() {
            coarse::timeout(self.wait, waiting)
                .await
                .map_err(|coarse::Elapsed| Refusal::from(Code::TooManyInFlight))?;
        }
        Ok(Place(Rc::clone(self)))
    }
}

/// A request's place among those under way; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place(Rc<Door>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        future::Future as _,
        rc::Rc,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
        task::{Context, Poll, Waker},
        time::Duration,
    };

    use super::{Door, Places};

    const LONG: Duration = Duration::from_secs(3600);

    fn run<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, future)
    }

    #[test]
    fn first_come_first_served_and_nobody_passes_by() {
        run(async {
            let places = Places::new(2);
            let door = Door::new(&places, LONG);
            let held = [door.try_take().unwrap(), door.try_take().unwrap()];
            assert!(door.try_take().is_none());
            let served = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..20)
                .map(|n| {
                    let (door, served) = (Rc::clone(&door), Rc::clone(&served));
                    tokio::task::spawn_local(async move {
                        let _place = door.take().await.unwrap();
                        served.borrow_mut().push(n);
                        tokio::task::yield_now().await;
                    })
                })
                .collect();
            while places.waiting.load(SeqCst) < 20 {
                tokio::task::yield_now().await;
            }
            let [one, two] = held;
            drop(one);
            assert!(door.try_take().is_none(), "the place is the first one's in line");
            drop(two);
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*served.borrow(), (0..20).collect::<Vec<_>>());
            assert_eq!((places.taken.load(SeqCst), places.waiting.load(SeqCst)), (0, 0));
        });
    }

    #[test]
    fn who_leaves_the_line_takes_nothing_along() {
        let places = Places::new(1);
        let held = places.try_enter();
        let line = |n: usize| (0..n).map(|_| places.line_up().unwrap()).collect::<Vec<_>>();
        let mut waiting = line(10);
        // Those in the middle go; the line is not cleared for each of them, but never more than half of it is dead.
        waiting.drain(3..9);
        assert!(places.line().waiting.len() <= 8, "{:?}", places.line());
        let mut last = waiting.pop().unwrap();
        drop(waiting);
        assert!(held);
        places.leave();
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(std::pin::Pin::new(&mut last).poll(&mut cx), Poll::Ready(()));
        places.leave();

        // One is served, and has left before it knew.
        assert!(places.try_enter());
        let waiting = line(1);
        places.leave();
        assert_eq!(places.taken.load(SeqCst), 1);
        drop(waiting);
        assert_eq!((places.taken.load(SeqCst), places.waiting.load(SeqCst)), (0, 0));
        assert!(places.try_enter());
    }

    #[test]
    fn the_count_holds_over_threads_however_requests_end() {
        let places = Places::new(3);
        let inside = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (places, inside) = (&places, &inside);
                scope.spawn(move || {
                    run(async {
                        let door = Door::new(places, LONG);
                        let tasks = (0..8).map(|task| {
                            tokio::task::spawn_local(come_and_go(
                                thread + task,
                                Rc::clone(&door),
                                Arc::clone(inside),
                            ))
                        });
                        for task in tasks.collect::<Vec<_>>() {
                            task.await.unwrap();
                        }
                    });
                });
            }
        });
        assert_eq!((places.taken.load(SeqCst), places.waiting.load(SeqCst)), (0, 0));
    }

    /// Every third time it gives up at once if it has to wait.
    async fn come_and_go(number: usize, door: Rc<Door>, inside: Arc<AtomicUsize>) {
        for round in 0..200 {
            let mut taking = Box::pin(door.take());
            let place = if (number + round).is_multiple_of(3) {
                match taking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(place) => place.unwrap(),
                    Poll::Pending => continue,
                }
            } else {
                taking.await.unwrap()
            };
            assert!(inside.fetch_add(1, SeqCst) < 3);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, SeqCst);
            drop(place);
        }
    }
}
