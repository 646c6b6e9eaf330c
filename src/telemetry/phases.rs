//! Where a request's time went: one phase after another, each beginning when the one before it ends.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// What a request waits for. Sent again, it goes back to signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Guard and rules; its body.
    Receive,
    /// The wait for a turn by the stage's rate, for room for its body, and for a place among the requests under way.
    Queue,
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
    pub const ALL: [Self; 6] =
        [Self::Receive, Self::Queue, Self::Sign, Self::Connect, Self::FirstByte, Self::Answer];

    /// As metrics call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Queue => "queue",
            Self::Sign => "sign",
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
            Self::Answer => "answer",
        }
    }
}

#[cfg(feature = "otlp")]
impl Phase {
    /// As traces call it: microseconds.
    pub(super) const fn attribute(self) -> &'static str {
        match self {
            Self::Receive => "countersign.receive_micros",
            Self::Queue => "countersign.queue_micros",
            Self::Sign => "countersign.sign_micros",
            Self::Connect => "countersign.connect_micros",
            Self::FirstByte => "countersign.first_byte_micros",
            Self::Answer => "countersign.answer_micros",
        }
    }
}

/// How long a request was in each phase.
#[derive(Debug)]
pub(super) struct Phases {
    now: Cell<Phase>,
    since: Cell<Instant>,
    /// Nanoseconds; `None` for a phase that was never entered.
    took: [Cell<Option<u64>>; Phase::ALL.len()],
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

    /// The last of them ends.
    pub(super) fn end(&self, end: Instant) {
        self.enter(self.now.get(), end);
    }

    /// How long it was in this one, if it was entered and has ended.
    pub(super) fn took(&self, phase: Phase) -> Option<Duration> {
        self.took[phase as usize].get().map(Duration::from_nanos)
    }

    /// Those that were entered and have ended.
    pub(super) fn all(&self) -> impl Iterator<Item = (Phase, Duration)> {
        Phase::ALL.into_iter().filter_map(|phase| Some((phase, self.took(phase)?)))
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
        phases.end(at(15));
        let took: Vec<_> = phases.all().map(|(phase, took)| (phase, took.as_millis())).collect();
        assert_eq!(took, [(Phase::Receive, 1), (Phase::Sign, 6), (Phase::Connect, 8)]);
        assert!(Phase::ALL.iter().enumerate().all(|(index, phase)| index == *phase as usize));
    }
}
