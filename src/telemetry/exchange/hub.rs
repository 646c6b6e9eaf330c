//! The last exchanges of the process, within so many bytes, and word of new ones.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

use super::Exchange;

/// Where workers hand over what they captured, and where an inspector finds it. One lock, for each request once.
pub struct Hub {
    /// Whether anybody has looked, or said that they will.
    wanted: AtomicBool,
    ring: Mutex<Ring>,
    state: watch::Sender<State>,
    most: usize,
}

/// What has changed, for who waits for it.
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
    pub exchanges: Vec<Arc<Exchange>>,
    /// The last sequence that was given; perhaps not among these.
    pub last: u64,
    /// Exchanges that had to make room, since the start.
    pub dropped: u64,
}

#[derive(Default)]
struct Ring {
    /// Oldest first, each with its weight.
    held: VecDeque<(Arc<Exchange>, usize)>,
    bytes: usize,
    dropped: u64,
    state: State,
}

impl Hub {
    /// One that holds about so many bytes at most, and takes in nothing before somebody wants it.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        let (ring, state) = (Mutex::default(), watch::Sender::default());
        Arc::new(Self { wanted: AtomicBool::new(false), ring, state, most })
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

    /// Takes an exchange in, gives it its sequence, and lets the oldest go that have no room any more.
    pub fn publish(&self, mut exchange: Exchange) -> Arc<Exchange> {
        let weight = exchange.weight() + size_of::<(Arc<Exchange>, usize)>();
        let mut ring = self.ring();
        ring.state.last += 1;
        exchange.sequence = ring.state.last;
        let exchange = Arc::new(exchange);
        ring.bytes += weight;
        ring.held.push_back((Arc::clone(&exchange), weight));
        while ring.bytes > self.most {
            let Some((_, weight)) = ring.held.pop_front() else { break };
            ring.bytes -= weight;
            ring.dropped += 1;
        }
        // Under the lock, so that it never goes back.
        self.state.send_replace(ring.state);
        exchange
    }

    /// Wakes up when something is published or everything is cleared.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// The exchanges after this sequence, at most so many of them, from the oldest on.
    #[must_use]
    pub fn after(&self, sequence: u64, limit: usize) -> Backlog {
        let ring = self.ring();
        let from = ring.held.partition_point(|(exchange, _)| exchange.sequence <= sequence);
        let exchanges = ring.held.iter().skip(from).take(limit).map(|(exchange, _)| Arc::clone(exchange));
        Backlog { exchanges: exchanges.collect(), last: ring.state.last, dropped: ring.dropped }
    }

    /// The exchange of the request with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Exchange>> {
        let ring = self.ring();
        ring.held.iter().rev().map(|(exchange, _)| exchange).find(|exchange| &*exchange.id == id).cloned()
    }

    /// Lets everything go. Sequences go on.
    pub fn clear(&self) {
        let mut ring = self.ring();
        ring.held.clear();
        ring.bytes = 0;
        ring.state.cleared += 1;
        self.state.send_replace(ring.state);
    }

    /// Bytes that are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ring().bytes
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
        super::{Body, Headers, Received},
        Exchange, Hub, State,
    };

    fn exchange(number: usize, body: usize) -> Exchange {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("localhost"));
        let target = format!("/{number}");
        let mut received = Received::new(Method::GET, &target, Version::HTTP_11, Headers::of(&headers));
        received.body = Body::keeping(body);
        received.body.push(&vec![b'x'; body]);
        Exchange::new(&format!("{number:016x}"), received)
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
        let weights: usize = all.exchanges.iter().map(|exchange| exchange.weight()).sum();
        assert!(weights <= hub.bytes() && hub.bytes() > MOST / 2, "{weights} {}", hub.bytes());
        assert!(hub.find(&format!("{:016x}", 0)).is_none());
        assert_eq!(hub.find(&format!("{:016x}", 9_999)).unwrap().sequence, 10_000);
    }

    #[test]
    fn one_that_has_no_room_is_not_held() {
        let hub = Hub::new(10_000);
        hub.publish(exchange(1, 10));
        hub.publish(exchange(2, 20_000));
        assert_eq!((numbers(&hub, 0, 9), hub.bytes()), (vec![], 0));
        assert_eq!(hub.publish(exchange(3, 10)).sequence, 3);
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

    #[tokio::test]
    async fn a_subscriber_sees_what_is_published_and_cleared() {
        let hub = Hub::new(1 << 20);
        let mut states = hub.subscribe();
        assert_eq!(*states.borrow_and_update(), State::default());
        hub.publish(exchange(1, 10));
        states.changed().await.unwrap();
        assert_eq!(*states.borrow_and_update(), State { last: 1, cleared: 0 });
        hub.clear();
        states.changed().await.unwrap();
        assert_eq!(*states.borrow_and_update(), State { last: 1, cleared: 1 });
        assert_eq!((numbers(&hub, 0, 9), hub.bytes()), (vec![], 0));
        let other = std::sync::Arc::clone(&hub);
        let publishing = std::thread::spawn(move || other.publish(exchange(2, 10)).sequence);
        states.changed().await.unwrap();
        assert_eq!(publishing.join().unwrap(), 2);
        assert_eq!(numbers(&hub, 1, 9), [2]);
    }
}
