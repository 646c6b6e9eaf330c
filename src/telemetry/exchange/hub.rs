//! The last exchanges of the process, within so many bytes.
//!
//! Workers hand over tapes, whose bytes are copied to the end of one ring that has all of its room from the start: memory
//! is written in order, an allocator is hardly ever asked, and what made room is overwritten by what comes next. Who reads
//! gets exchanges, read back outside the lock.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Exchange,
    tape::{self, Pinned, Tape, TapeBytes},
};

/// Where workers hand over what they captured, and where an inspector finds it. One lock, for each request once.
pub struct Hub {
    /// Whether anybody has looked, or said that they will.
    wanted: AtomicBool,
    ring: Mutex<Ring>,
    most: usize,
}

/// What has changed, for who looks every now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// The sequence of the last exchange; 0 before the first.
    pub last: u64,
    /// How often everything was cleared.
    pub cleared: u64,
}

/// Exchanges after a sequence.
pub struct Backlog {
    /// Oldest first.
    pub exchanges: Vec<Exchange>,
    /// The last sequence that was given; perhaps not among these.
    pub last: u64,
    /// Exchanges that had to make room, since the start.
    pub dropped: u64,
}

#[derive(Default)]
struct Ring {
    /// Oldest first.
    held: VecDeque<Held>,
    /// Their tapes, one after another.
    bytes: VecDeque<u8>,
    /// Bytes that were there before the first of these.
    gone: u64,
    /// What the last ones referred to, which is mostly the same: what was referred to last, first.
    shared: VecDeque<Arc<Pinned>>,
    dropped: u64,
    state: State,
}

/// One exchange.
struct Held {
    sequence: u64,
    /// Where its tape begins, counted from the first byte that ever was in the ring.
    at: u64,
    length: u32,
    pinned: Arc<Pinned>,
}

impl Held {
    /// What it takes beside its tape, were nothing shared: with an `Arc`'s two counts.
    const WEIGHT: usize = size_of::<Self>() + size_of::<Pinned>() + 2 * size_of::<usize>();
}

/// How many sets of what is shared are known again: those of the rules that take turns, for each worker, and refusals.
const SHARED: usize = 32;

/// A copy of one.
struct Copied {
    sequence: u64,
    tape: TapeBytes,
    pinned: Arc<Pinned>,
}

impl Copied {
    fn read(&self) -> Exchange {
        let mut exchange = tape::read(&self.tape, &self.pinned);
        exchange.sequence = self.sequence;
        exchange
    }
}

impl Ring {
    fn weight(&self) -> usize {
        self.bytes.len() + self.held.len() * Held::WEIGHT
    }

    /// The same, if it is known.
    fn shared(&mut self, pinned: Pinned) -> Arc<Pinned> {
        let known = match self.shared.iter().position(|known| known.is(&pinned)) {
            Some(0) => return Arc::clone(&self.shared[0]),
            Some(at) => self.shared.remove(at),
            None => {
                // What nothing refers to any more, perhaps a session's token, goes with the last that did.
                self.shared.retain(|known| Arc::strong_count(known) > 1);
                self.shared.truncate(SHARED - 1);
                None
            }
        };
        let known = known.unwrap_or_else(|| Arc::new(pinned));
        self.shared.push_front(Arc::clone(&known));
        known
    }

    /// Whether there was one.
    fn let_the_oldest_go(&mut self) -> bool {
        let Some(oldest) = self.held.pop_front() else { return false };
        self.bytes.drain(..oldest.length as usize);
        self.gone += u64::from(oldest.length);
        self.dropped += 1;
        true
    }

    /// A tape, which may go round the end of the ring's memory.
    fn pieces(&self, held: &Held) -> [&[u8]; 2] {
        let (front, back) = self.bytes.as_slices();
        let start = (held.at - self.gone) as usize;
        let end = start + held.length as usize;
        let of = |slice: &'_ [u8], before: usize| {
            let place = |at: usize| at.saturating_sub(before).min(slice.len());
            place(start)..place(end)
        };
        [&front[of(front, 0)], &back[of(back, front.len())]]
    }

    fn copy(&self, held: &Held) -> Copied {
        let tape = TapeBytes::of(self.pieces(held));
        Copied { sequence: held.sequence, tape, pinned: Arc::clone(&held.pinned) }
    }
}

impl Hub {
    /// One that holds so many bytes at most, and takes in nothing before somebody wants it.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { wanted: AtomicBool::new(false), ring: Mutex::default(), most })
    }

    /// From now on requests are taken in.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Whether requests are taken in.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Whole after each statement that could panic.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an exchange in, gives it its sequence, and lets the oldest go that have no room any more. One that has no
    /// room by itself is counted as such.
    pub fn publish(&self, tape: Tape) -> u64 {
        let (bytes, pinned) = tape.parts();
        let mut ring = self.ring();
        ring.state.last += 1;
        let sequence = ring.state.last;
        let weight = bytes.len() + Held::WEIGHT;
        // All at once, so that it never has more. Memory that was never written to costs nothing.
        let has_room = ring.bytes.capacity() > 0 || ring.bytes.try_reserve_exact(self.most).is_ok();
        let length = u32::try_from(bytes.len()).ok().filter(|_| weight <= self.most && has_room);
        let Some(length) = length else {
            ring.dropped += 1;
            return sequence;
        };
        while ring.weight() + weight > self.most && ring.let_the_oldest_go() {}
        let pinned = ring.shared(pinned);
        let at = ring.gone + ring.bytes.len() as u64;
        ring.bytes.extend(&*bytes);
        ring.held.push_back(Held { sequence, at, length, pinned });
        sequence
    }

    /// What has happened so far.
    #[must_use]
    pub fn state(&self) -> State {
        self.ring().state
    }

    /// The exchanges after this sequence, at most so many of them, from the oldest on.
    #[must_use]
    pub fn after(&self, sequence: u64, limit: usize) -> Backlog {
        let ring = self.ring();
        let from = ring.held.partition_point(|held| held.sequence <= sequence);
        let copied: Vec<_> = ring.held.iter().skip(from).take(limit).map(|held| ring.copy(held)).collect();
        let (last, dropped) = (ring.state.last, ring.dropped);
        drop(ring);
        Backlog { exchanges: copied.iter().map(Copied::read).collect(), last, dropped }
    }

    /// The exchange of the request with this id: the newest, should there be several.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Exchange> {
        let ring = self.ring();
        let is_it = |held: &&Held| tape::is_of(ring.pieces(held).into_iter().flatten(), id);
        let copied = ring.held.iter().rev().find(is_it).map(|held| ring.copy(held));
        drop(ring);
        copied.map(|copied| copied.read())
    }

    /// Overwrites everything and lets it go. Sequences go on.
    pub fn clear(&self) {
        let mut ring = self.ring();
        ring.held.clear();
        ring.shared.clear();
        ring.gone += ring.bytes.len() as u64;
        let mut bytes = std::mem::take(&mut ring.bytes);
        let (front, back) = bytes.as_mut_slices();
        front.fill(0);
        back.fill(0);
        ring.state.cleared += 1;
    }

    /// Bytes that are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ring().weight()
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("state", &self.ring().state).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
