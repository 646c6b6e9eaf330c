//! Where a request's time went: one phase after another, each beginning when the one before it ends.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// What a request waits for. Sent again, it goes back to signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Guard and rules; its body, and the wait for room for that.
    Receive,
    /// The wait for credentials; the signature.
    Sign,
    /// A kept connection, or dialling and the handshake.
    Connect,
    /// Sending it, the stage at work, the head of its answer.
    FirstByte,
    /// The answer's body, as fast as stage and client let it pass.
    Answer,
}

impl Phase {
    /// In their order.
    pub const ALL: [Self; 5] = [Self::Receive, Self::Sign, Self::Connect, Self::FirstByte, Self::Answer];

    /// As metrics call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Sign => "sign",
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::Answer => "answer",
        }
    }
}

/// How long a request was in each phase.
#[derive(Debug)]
pub(super) struct Phases {
    now: Cell<Phase>,
    since: Cell<Instant>,
    /// Nanoseconds; `None` for a phase that was never entered.
    took: [Cell<Option<u64>>; 5],
}

impl Phases {
    /// The first phase begins.
    pub(super) fn start(now: Instant) -> Self {
        Self { now: Cell::new(Phase::Receive), since: Cell::new(now), took: Default::default() }
    }

    /// The phase so far ends, and this one begins.
    pub(super) fn enter(&self, phase: Phase, now: Instant) {
        let took = &self.took[self.now.replace(phase) as usize];
        let since = now.saturating_duration_since(self.since.replace(now));
        took.set(Some(took.get().unwrap_or(0) + since.as_nanos() as u64));
    }

    /// The phases that were entered, the last of them until `end`.
    pub(super) fn end(&self, end: Instant) -> impl Iterator<Item = (Phase, Duration)> {
        self.enter(self.now.get(), end);
        Phase::ALL
            .into_iter()
            .filter_map(|phase| Some((phase, Duration::from_nanos(self.took[phase as usize].get()?))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Phase, Phases};

    #[test]
    fn they_add_up_whatever_comes_twice_and_wherever_it_ends() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let phases = Phases::start(start);
        phases.enter(Phase::Sign, at(1));
        phases.enter(Phase::Connect, at(3));
        phases.enter(Phase::Sign, at(6));
        phases.enter(Phase::Connect, at(10));
        let took: Vec<_> = phases.end(at(15)).map(|(phase, took)| (phase, took.as_millis())).collect();
        assert_eq!(took, [(Phase::Receive, 1), (Phase::Sign, 6), (Phase::Connect, 8)]);
        assert!(Phase::ALL.iter().enumerate().all(|(index, phase)| index == *phase as usize));
    }
}
