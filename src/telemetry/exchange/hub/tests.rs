//! The ring: what it holds, how much, and what its exchanges refer to.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::{
    super::{Body, Exchange, Route, Tape},
    Held, Hub, SHARED, State,
};
use crate::config::Auth;

const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

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
    let none = Hub::new(Held::WEIGHT);
    none.publish(exchange(1, 0));
    assert_eq!((numbers(&none, 0, 9), none.bytes()), (vec![], 0));
    let too_much = Hub::new(usize::MAX);
    too_much.publish(exchange(1, 0));
    assert_eq!((numbers(&too_much, 0, 9), too_much.state().last), (vec![], 1));
}

fn route(stage: &str) -> Arc<Route> {
    Arc::new(Route {
        stage: stage.into(),
        origin: "https://api.example.com".into(),
        region: "us-west-2".into(),
        service: "execute-api".into(),
        path: None,
        auth: Auth::Iam,
    })
}

/// All that an exchange refers to.
#[derive(Clone)]
struct Refers {
    route: Option<Arc<Route>>,
    source: Option<Arc<str>>,
    expires: Option<SystemTime>,
    refusal: Option<(&'static str, &'static str)>,
    token: Option<HeaderValue>,
}

impl Refers {
    fn publish(&self, hub: &Hub, number: usize) {
        let mut tape = exchange(number, 0);
        if let Some(route) = &self.route {
            tape.route(route);
        }
        let headers = self.token.iter().map(|token| (TOKEN, token.clone()));
        tape.sent("/", &headers.collect(), self.token.as_ref());
        if let Some(source) = &self.source {
            tape.signed_with(source, "WXYZ", self.expires);
        }
        if let Some((code, fault)) = self.refusal {
            tape.refused(code, fault, "", "");
        }
        hub.publish(tape);
    }

    fn assert_read(&self, exchange: &Exchange) {
        assert_eq!(exchange.route, self.route);
        let credentials = exchange.credentials.as_ref();
        assert_eq!(credentials.map(|with| &with.source), self.source.as_ref());
        assert_eq!(credentials.and_then(|with| with.expires), self.expires.filter(|_| self.source.is_some()));
        let refusal = exchange.refusal.as_ref();
        assert_eq!(refusal.map(|refusal| (refusal.code, refusal.fault)), self.refusal);
        let sent = exchange.sent.as_ref().unwrap().headers.get(TOKEN.as_str());
        assert_eq!(sent, self.token.as_ref().map(HeaderValue::as_bytes));
    }
}

#[test]
fn what_an_exchange_refers_to_is_its_own_though_it_differs_in_one_thing() {
    let one = Refers {
        route: Some(route("one")),
        source: Some("profile one".into()),
        expires: Some(UNIX_EPOCH + Duration::from_secs(1)),
        refusal: Some(("no-credentials", "proxy")),
        token: Some(HeaderValue::from_static("one")),
    };
    let others = [
        Refers { route: Some(route("two")), ..one.clone() },
        Refers { route: None, ..one.clone() },
        Refers { source: Some("profile two".into()), ..one.clone() },
        Refers { source: None, ..one.clone() },
        Refers { expires: Some(UNIX_EPOCH + Duration::from_secs(2)), ..one.clone() },
        Refers { expires: None, ..one.clone() },
        Refers { refusal: Some(("no-api-key", "proxy")), ..one.clone() },
        Refers { refusal: Some(("no-credentials", "client")), ..one.clone() },
        Refers { refusal: None, ..one.clone() },
        Refers { token: Some(HeaderValue::from_static("two")), ..one.clone() },
        Refers { token: None, ..one.clone() },
    ];
    for other in &others {
        let hub = Hub::new(1 << 20);
        for refers in [&one, other, &one] {
            refers.publish(&hub, 0);
        }
        let exchanges = hub.after(0, usize::MAX).exchanges;
        assert_eq!(exchanges.len(), 3);
        for (exchange, refers) in exchanges.iter().zip([&one, other, &one]) {
            refers.assert_read(exchange);
        }
        let ring = hub.ring();
        assert!(Arc::ptr_eq(&ring.held[0].pinned, &ring.held[2].pinned), "it is known again");
    }
}

#[test]
fn what_is_referred_to_is_held_once_and_as_long_as_it_is() {
    let refers: Vec<_> = (0..2 * SHARED)
        .map(|number| Refers {
            route: Some(route(&format!("stage{number}"))),
            source: None,
            expires: None,
            refusal: None,
            token: None,
        })
        .collect();
    let hub = Hub::new(1 << 20);
    // More than are known again, and among them one that comes every other time.
    let order: Vec<_> =
        (0..100).map(|number| if number % 2 == 0 { 0 } else { number % refers.len() }).collect();
    for (number, of) in order.iter().enumerate() {
        refers[*of].publish(&hub, number);
    }
    let exchanges = hub.after(0, usize::MAX).exchanges;
    assert_eq!(exchanges.len(), order.len());
    for (exchange, of) in exchanges.iter().zip(&order) {
        refers[*of].assert_read(exchange);
    }
    {
        let ring = hub.ring();
        let first = &ring.held[0].pinned;
        assert!(ring.held.iter().step_by(2).all(|held| Arc::ptr_eq(&held.pinned, first)));
        assert_eq!(ring.shared.len(), SHARED);
    }
    while hub.ring().let_the_oldest_go() {}
    refers[2].publish(&hub, 0);
    assert_eq!(hub.ring().shared.len(), 1, "of those that made room nothing is left");
    hub.clear();
    assert!(hub.ring().shared.is_empty());
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
    let other = Arc::clone(&hub);
    assert_eq!(std::thread::spawn(move || other.publish(exchange(2, 10))).join().unwrap(), 2);
    assert_eq!((numbers(&hub, 1, 9), hub.state().last), (vec![2], 2));
    assert!(hub.find(&format!("{:016x}", 1)).is_none());
}
