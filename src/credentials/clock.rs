//! How far this machine's clock is from a gateway's.
//!
//! API Gateway takes a signature whose date lies within five minutes of its own clock. Its refusals tell what that
//! shows, and every answer's `Date` does. A difference is learned when a request was refused for it, never before; it
//! is forgotten when answers show that the clock was set right.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// Seconds that no difference is made of: answers take their time, and `Date` is whole seconds.
const SLACK: i64 = 60;
/// A greater difference is not believed. A clock that is off by more than a day trusts no certificate for long, and a
/// signature for another day may be of use to others.
const MOST: i64 = 24 * 60 * 60;

/// A gateway's clock, seen from here. Shared: all workers sign by it, and each may learn.
#[derive(Debug)]
pub struct Clock {
    /// Seconds to add to this machine's time.
    offset: AtomicI64,
    /// Whether `Date` is the gateway's own: over TLS, and as long as it does not contradict a refusal.
    date_is_true: AtomicBool,
    stage: Box<str>,
}

impl Clock {
    /// As this machine's clock. `stage` is its host, for the log; `tls` says whether the answers are surely its own.
    #[must_use]
    pub fn new(stage: &str, tls: bool) -> Self {
        Self { offset: AtomicI64::new(0), date_is_true: AtomicBool::new(tls), stage: stage.into() }
    }

    /// The time to sign with, and by which credentials expire.
    pub fn now(&self) -> SystemTime {
        match self.offset() {
            0 => SystemTime::now(),
            offset => shifted(SystemTime::now(), offset),
        }
    }

    /// Seconds to add to this machine's time.
    pub fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// A request that was signed for `signed` was refused for its date: the text shows `text`, the answer's header
    /// `date`. Says whether signing anew makes a difference.
    pub fn refused(&self, signed: SystemTime, text: Option<SystemTime>, date: Option<SystemTime>) -> bool {
        let date = date.filter(|_| self.date_is_true.load(Ordering::Relaxed));
        if let (Some(text), Some(date)) = (text, date)
            && between(text, date).abs() > SLACK
        {
            self.date_is_true.store(false, Ordering::Relaxed);
        }
        if let Some(shown) = text.or(date) {
            self.settle(between(SystemTime::now(), shown));
        }
        between(signed, self.now()).abs() > SLACK
    }

    /// An answer's `Date`, looked at while there is a difference: it may have become another, or none.
    pub fn shown(&self, date: SystemTime) {
        if self.offset() != 0 && self.date_is_true.load(Ordering::Relaxed) {
            self.settle(between(SystemTime::now(), date));
        }
    }

    /// What is held seems to have expired, and whoever made it had a clock that differs by `offset`: that is taken for
    /// the gateway's time until the gateway shows its own. Says whether there is a difference now.
    pub fn suppose(&self, offset: i64) -> bool {
        if offset != 0 && self.offset() == 0 && self.date_is_true.load(Ordering::Relaxed) {
            self.settle(offset);
        }
        self.offset() != 0
    }

    fn settle(&self, found: i64) {
        let offset = if found.abs() <= SLACK { 0 } else { found };
        let held = self.offset();
        let same = (offset == 0) == (held == 0) && (offset - held).abs() <= SLACK;
        if same || offset.abs() > MOST {
            return;
        }
        let won = self.offset.compare_exchange(held, offset, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        // Of many requests that learn it at once, one says so.
        if won && offset == 0 {
            tracing::info!(
                target: TARGET,
                stage = &*self.stage,
                "this machine's clock agrees with the gateway's again"
            );
        } else if won {
            let (direction, distance) = (if offset > 0 { "behind" } else { "ahead" }, offset.unsigned_abs());
            tracing::warn!(
                target: TARGET,
                stage = &*self.stage,
                offset_seconds = offset,
                "this machine's clock is {} minutes {direction}; signing with the gateway's time",
                (distance + 30) / 60
            );
        }
    }
}

/// What the answers of those who give credentials show of the time.
#[derive(Debug, Default)]
pub(super) struct Witness(Mutex<Option<Sighting>>);

/// A `Date`, and both of this machine's clocks when it came.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    date: SystemTime,
    wall: SystemTime,
    monotonic: Instant,
}

impl Witness {
    /// An answer of `date` has come.
    pub(super) fn saw(&self, date: SystemTime, wall: SystemTime, monotonic: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Sighting { date, wall, monotonic });
    }

    /// Seconds to add to this machine's time, by the last answer. 0 when it agrees, and when this machine's clock has been
    /// set since, or may have been: then its two clocks have not gone the same way.
    pub(super) fn offset(&self) -> i64 {
        self.offset_at(SystemTime::now(), Instant::now())
    }

    fn offset_at(&self, wall: SystemTime, monotonic: Instant) -> i64 {
        let Some(seen) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) else { return 0 };
        let gone = monotonic.saturating_duration_since(seen.monotonic);
        if between(seen.wall + gone, wall).abs() > SLACK {
            return 0;
        }
        let offset = between(seen.wall, seen.date);
        if (SLACK..=MOST).contains(&offset.abs()) { offset } else { 0 }
    }
}

/// Where this module's log lines come from, for filters.
const TARGET: &str = "countersign::clock";

/// Seconds from `from` to `to`.
fn between(from: SystemTime, to: SystemTime) -> i64 {
    let seconds = |distance: Duration| i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
    match to.duration_since(from) {
        Ok(after) => seconds(after),
        Err(before) => -seconds(before.duration()),
    }
}

/// `time`, so many seconds later.
pub(super) fn shifted(time: SystemTime, seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let there = if seconds < 0 { time.checked_sub(distance) } else { time.checked_add(distance) };
    there.unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::{Clock, MOST, Witness, shifted};

    fn from_now(seconds: i64) -> SystemTime {
        shifted(SystemTime::now(), seconds)
    }

    fn about(clock: &Clock, offset: i64) {
        assert!((clock.offset() - offset).abs() <= 2, "{clock:?}");
    }

    #[test]
    fn a_difference_is_learned_followed_and_forgotten() {
        let clock = Clock::new("s", true);
        for offset in [600, -7200] {
            assert!(clock.refused(clock.now(), Some(from_now(offset)), None));
            about(&clock, offset);
            assert!(!clock.refused(clock.now(), Some(from_now(offset)), None), "signed by it already");
        }
        clock.shown(from_now(-7230));
        about(&clock, -7200);
        clock.shown(from_now(-3600));
        about(&clock, -3600);
        clock.shown(from_now(30));
        assert_eq!(clock.offset(), 0);
        clock.shown(from_now(3600));
        assert_eq!(clock.offset(), 0, "no difference is learned from what was accepted");
        assert!(clock.refused(clock.now(), None, Some(from_now(3600))), "without a text the header tells it");
        about(&clock, 3600);
        assert!(clock.refused(clock.now(), Some(from_now(0)), None));
        assert_eq!(clock.offset(), 0, "the machine's clock was set right in between");
    }

    #[test]
    fn a_request_that_took_too_long_is_worth_another_signature() {
        let clock = Clock::new("s", true);
        assert!(clock.refused(from_now(-400), Some(from_now(0)), None));
        assert_eq!(clock.offset(), 0);
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let clock = Clock::new("s", true);
        for far in [MOST + 100, -MOST - 100] {
            assert!(!clock.refused(clock.now(), Some(from_now(far)), None));
            assert!(!clock.refused(clock.now(), None, Some(from_now(far))));
        }
        assert!(!clock.refused(clock.now(), None, None));
        assert_eq!(clock.offset(), 0);
        let plain = Clock::new("s", false);
        assert!(
            !plain.refused(plain.now(), None, Some(from_now(600))),
            "anybody may have written this header"
        );
        assert!(plain.refused(plain.now(), Some(from_now(600)), None));
        plain.shown(from_now(0));
        about(&plain, 600);
    }

    #[test]
    fn who_gives_credentials_tells_the_time_until_the_clock_is_set() {
        let (wall, monotonic) = (SystemTime::now(), Instant::now());
        let (later, hour) = (Duration::from_secs(3), Duration::from_secs(3600));
        let witness = Witness::default();
        assert_eq!(witness.offset(), 0);
        for (shown, believed) in [(-7200, -7200), (600, 600), (30, 0), (-MOST - 100, 0)] {
            witness.saw(shifted(wall, shown), wall, monotonic);
            assert_eq!(witness.offset_at(wall + later, monotonic + later), believed);
            assert_eq!(witness.offset_at(wall - 2 * hour, monotonic + later), 0, "set back");
            assert_eq!(witness.offset_at(wall + hour, monotonic + later), 0, "set forward, or asleep");
        }
    }

    #[test]
    fn what_is_supposed_gives_way_to_what_the_gateway_shows() {
        let clock = Clock::new("s", true);
        assert!(!clock.suppose(0) && clock.suppose(-7200));
        about(&clock, -7200);
        assert!(clock.suppose(-3600));
        about(&clock, -7200);
        clock.shown(from_now(0));
        assert_eq!(clock.offset(), 0);
        assert!(!Clock::new("s", false).suppose(-7200), "an emulator goes by this machine's clock");
    }

    #[test]
    fn a_date_that_contradicts_the_refusal_is_never_looked_at_again() {
        let clock = Clock::new("s", true);
        assert!(clock.refused(clock.now(), Some(from_now(600)), Some(from_now(0))));
        clock.shown(from_now(0));
        about(&clock, 600);
    }
}
