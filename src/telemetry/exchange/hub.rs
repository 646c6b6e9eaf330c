//! The last exchanges of the process, within so many bytes.
//!
//! Workers hand over tapes, whose bytes are copied to the end of one ring that has all of its room from the start: memory
//! is written in order, no allocator is asked, and what made room is overwritten by what comes next. Who reads gets
//! exchanges, read back outside the lock.

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
    dropped: u64,
    state: State,
}

/// One exchange.
struct Held {
    sequence: u64,
    /// Where its tape begins, counted from the first byte that ever was in the ring.
    at: u64,
    length: usize,
    pinned: Pinned,
}

/// A copy of one.
struct Copied {
    sequence: u64,
    tape: TapeBytes,
    pinned: Pinned,
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
        self.bytes.len() + self.held.len() * size_of::<Held>()
    }

    /// Whether there was one.
    fn let_the_oldest_go(&mut self) -> bool {
        let Some(oldest) = self.held.pop_front() else { return false };
        self.bytes.drain(..oldest.length);
        self.gone += oldest.length as u64;
        self.dropped += 1;
        true
    }

    /// A tape, which may go round the end of the ring's memory.
    fn pieces(&self, held: &Held) -> [&[u8]; 2] {
        let (front, back) = self.bytes.as_slices();
        let start = (held.at - self.gone) as usize;
        let end = start + held.length;
        let of = |slice: &'_ [u8], before: usize| {
            let place = |at: usize| at.saturating_sub(before).min(slice.len());
            place(start)..place(end)
        };
        [&front[of(front, 0)], &back[of(back, front.len())]]
    }

    fn copy(&self, held: &Held) -> Copied {
        let tape = TapeBytes::of(self.pieces(held));
        Copied { sequence: held.sequence, tape, pinned: held.pinned.clone() }
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
        let weight = bytes.len() + size_of::<Held>();
        // All at once, so that it never has more. Memory that was never written to costs nothing.
        let has_room = ring.bytes.capacity() > 0 || ring.bytes.try_reserve_exact(self.most).is_ok();
        if weight > self.most || !has_room {
            ring.dropped += 1;
            return sequence;
        }
        while ring.weight() + weight > self.most && ring.let_the_oldest_go() {}
        let at = ring.gone + ring.bytes.len() as u64;
        ring.bytes.extend(&*bytes);
        ring.held.push_back(Held { sequence, at, length: bytes.len(), pinned });
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
mod tests {
    use http::{HeaderMap, HeaderValue, Method, Version};

    use super::{
        super::{Body, Tape},
        Held, Hub, State,
    };

    fn exchange(number: usize, body: usize) -> Tape {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost"));
        let target = format!("/{number}");
        let id = format!("{number:016x}");
        let mut tape = Tape::begin(&id, (&Method::GET, &target, Version::HTTP_11), &headers, None);
        let mut kept = Body::keeping(body);
        kept.push(&vec![b'x'; body]);
        tape.received_body(&kept);
        tape
    }

    fn numbers(hub: &Hub, after: u64, limit: usize) -> Vec<u64> {
        hub.after(after, limit).exchanges.iter().map(|exchange| exchange.sequence).collect()
    }

    #[test]
    fn ten_thousand_exchanges_stay_within_its_bytes_and_the_oldest_go_first() {
        const MOST: usize = 1 << 20;
        let hub = Hub::new(MOST);
        for number in 0..10_000 {
            hub.publish(exchange(number, number % 3000));
            assert!(hub.bytes() <= MOST);
        }
        let all = hub.after(0, usize::MAX);
        let held = all.exchanges.len() as u64;
        assert!(held > 100, "{held}");
        assert_eq!((all.last, all.dropped), (10_000, 10_000 - held));
        assert_eq!(numbers(&hub, 0, usize::MAX), (10_001 - held..=10_000).collect::<Vec<_>>());
        let bodies: usize = all.exchanges.iter().map(|exchange| exchange.received.body.kept()).sum();
        assert!(bodies < hub.bytes() && hub.bytes() > MOST - 4_000, "{bodies} {}", hub.bytes());
        assert!(hub.ring().bytes.capacity() <= MOST, "more room than it may have");
        assert!(hub.find(&format!("{:016x}", 0)).is_none());
        // Each is what it was, also the one that goes round the end of the memory.
        for exchange in all.exchanges {
            let number = exchange.sequence - 1;
            assert_eq!(exchange.received.exposed_target(), format!("/{number}"));
            assert_eq!(exchange.received.body.exposed(), vec![b'x'; number as usize % 3000]);
            assert_eq!(hub.find(&format!("{number:016x}")).unwrap().sequence, exchange.sequence);
        }
    }

    #[test]
    fn one_that_has_no_room_is_not_held() {
        let hub = Hub::new(10_000);
        hub.publish(exchange(1, 10));
        hub.publish(exchange(2, 20_000));
        assert_eq!((numbers(&hub, 0, 9), hub.after(0, 0).dropped), (vec![1], 1));
        assert_eq!(hub.publish(exchange(3, 10)), 3);
        assert_eq!(numbers(&hub, 0, 9), [1, 3]);
        // Nor is anything where there is no room at all.
        let none = Hub::new(size_of::<Held>());
        none.publish(exchange(1, 0));
        assert_eq!((numbers(&none, 0, 9), none.bytes()), (vec![], 0));
        let too_much = Hub::new(usize::MAX);
        too_much.publish(exchange(1, 0));
        assert_eq!((numbers(&too_much, 0, 9), too_much.state().last), (vec![], 1));
    }

    #[test]
    fn it_is_read_in_pages() {
        let hub = Hub::new(1 << 20);
        for number in 0..10 {
            hub.publish(exchange(number, 10));
        }
        assert_eq!(numbers(&hub, 0, 3), [1, 2, 3]);
        assert_eq!(numbers(&hub, 3, 2), [4, 5]);
        assert!(numbers(&hub, 10, 2).is_empty());
        assert!(numbers(&hub, 99, 2).is_empty());
    }

    #[test]
    fn who_looks_sees_what_was_published_and_cleared() {
        let hub = Hub::new(1 << 20);
        assert_eq!(hub.state(), State::default());
        hub.publish(exchange(1, 10));
        assert_eq!(hub.state(), State { last: 1, cleared: 0 });
        hub.clear();
        assert_eq!(hub.state(), State { last: 1, cleared: 1 });
        assert_eq!((numbers(&hub, 0, 9), hub.bytes()), (vec![], 0));
        let other = std::sync::Arc::clone(&hub);
        assert_eq!(std::thread::spawn(move || other.publish(exchange(2, 10))).join().unwrap(), 2);
        assert_eq!((numbers(&hub, 1, 9), hub.state().last), (vec![2], 2));
        assert!(hub.find(&format!("{:016x}", 1)).is_none());
    }
}
