//! How often a stage may be called: a token bucket that all workers share in one atomic number.
//!
//! It is the generic cell rate algorithm (ITU-T I.371, annex A), which keeps of a bucket only the moment at which it is
//! full again. Who finds it empty takes a turn in the future, if that is near enough, and sleeps until then: turns are
//! given in the order of asking, and nobody passes by.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::refusal::{Code, Refusal};
use crate::config::RateLimit;

/// A stage's bucket. Times are nanoseconds since it was made.
#[derive(Debug)]
pub(super) struct Rate {
    limit: RateLimit,
    start: Instant,
    /// Between two turns.
    interval: u64,
    /// When it is full again. Every turn that is given moves it on by `interval`.
    full: AtomicU64,
}

/// When a request may go on.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Now,
    /// Nanoseconds from now.
    In(u64),
    /// It would be so many nanoseconds from now, which is too far.
    TooFar(u64),
}

impl Rate {
    pub(super) fn new(limit: RateLimit) -> Self {
        let interval = in_nanos(limit.per) / u64::from(limit.requests.max(1));
        Self { limit, start: Instant::now(), interval, full: AtomicU64::new(0) }
    }

    /// Takes a turn. `Some` is a wait that comes before it.
    ///
    /// # Errors
    /// 429, when it is too far in the future.
    pub(super) fn take(self: &Arc<Self>) -> Result<Option<Wait>, Refusal> {
        match self.turn(in_nanos(self.start.elapsed())) {
            Turn::Now => Ok(None),
            Turn::In(nanos) => {
                Ok(Some(Wait { rate: Arc::clone(self), time: Duration::from_nanos(nanos), over: false }))
            }
            Turn::TooFar(nanos) => {
                let seconds = nanos.div_ceil(1_000_000_000).max(1);
                Err(Refusal::from(Code::RateLimited).retry_after(seconds))
            }
        }
    }

    fn turn(&self, now: u64) -> Turn {
        let ahead = self.interval * u64::from(self.limit.burst.max(1) - 1);
        let longest = in_nanos(self.limit.wait);
        // Nothing else is told by it, so no order with other memory is needed.
        let mut full = self.full.load(Ordering::Relaxed);
        loop {
            let from = full.max(now);
            let wait = from.saturating_sub(ahead).saturating_sub(now);
            if wait > longest {
                return Turn::TooFar(wait);
            }
            let next = from + self.interval;
            match self.full.compare_exchange_weak(full, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) if wait == 0 => return Turn::Now,
                Ok(_) => return Turn::In(wait),
                Err(other) => full = other,
            }
        }
    }

    /// A turn that was given is not used, so one more comes earlier.
    fn give_back(&self) {
        self.full.fetch_sub(self.interval, Ordering::Relaxed);
    }
}

/// A turn in the future. Dropped before it has come, it is given back.
pub(super) struct Wait {
    rate: Arc<Rate>,
    time: Duration,
    over: bool,
}

impl Wait {
    /// Until the turn has come. A timer of its own: coarse deadlines would fire in any order.
    pub(super) async fn over(mut self) {
        tokio::time::sleep(self.time).await;
        self.over = true;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if !self.over {
            self.rate.give_back();
        }
    }
}

fn in_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{Rate, Turn};
    use crate::config::RateLimit;

    const MILLI: u64 = 1_000_000;

    /// Ten a second: a turn each 100 ms.
    fn rate(burst: u32, wait: u64) -> Rate {
        let per = Duration::from_secs(1);
        Rate::new(RateLimit { requests: 10, per, burst, wait: Duration::from_millis(wait) })
    }

    #[test]
    fn a_burst_then_turns_in_the_order_of_asking_then_none() {
        let rate = rate(3, 200);
        let now = 5_000 * MILLI;
        let turns: Vec<_> = (0..7).map(|_| rate.turn(now)).collect();
        let in_millis = |n| Turn::In(n * MILLI);
        let too_far = || Turn::TooFar(300 * MILLI);
        assert_eq!(
            turns,
            [Turn::Now, Turn::Now, Turn::Now, in_millis(100), in_millis(200), too_far(), too_far()]
        );
        // Whoever was refused took nothing.
        assert_eq!(rate.turn(now + 100 * MILLI), in_millis(200));
        assert_eq!(rate.turn(now + 400 * MILLI), Turn::Now);
    }

    #[test]
    fn it_never_fills_beyond_the_burst() {
        let rate = rate(2, 0);
        for now in [0, 3_600_000 * MILLI] {
            assert_eq!([0; 3].map(|_| rate.turn(now)), [Turn::Now, Turn::Now, Turn::TooFar(100 * MILLI)]);
        }
    }

    #[test]
    fn a_turn_that_is_not_used_is_given_back() {
        let rate = Arc::new(rate(1, 150));
        let take = || rate.take().map(|wait| wait.is_some());
        assert!(matches!(rate.take(), Ok(None)));
        let Ok(Some(wait)) = rate.take() else { panic!("the second waits") };
        let refused = take().expect_err("the third would wait for too long");
        assert_eq!(refused.retry_after, Some(1));
        drop(wait);
        assert!(matches!(take(), Ok(true)));
    }

    #[test]
    fn threads_together_get_no_more_than_one_would() {
        let rate = rate(1000, 0);
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| rate.turn(0) == Turn::Now).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}
