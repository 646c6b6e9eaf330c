//! How often, and how many at once: the rate limit of a stage and the places for requests under way. Both are shared by
//! all workers, served in order, and given back however a request ends.

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use crate::{
    process::counted,
    support::{
        PATIENCE,
        client::{Answer, Ask, Client, Via},
        h2c,
        origin::{Then, answer},
        scene::{Scene, Setup, assert_refusal},
    },
};

/// Holds answers back until a test lets them go, by the request's path.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<HashMap<String, usize>>, Condvar)>);

/// An answer to a path below this is held back.
const HELD: &str = "/prod/held";

impl Gate {
    /// Lets one answer go.
    fn open(&self, path: &str) {
        *self.0.0.lock().unwrap().entry(format!("/prod{path}")).or_default() += 1;
        self.0.1.notify_all();
    }

    fn pass(&self, path: &str) {
        let mut open = self.0.0.lock().unwrap();
        loop {
            match open.get_mut(path) {
                Some(left @ 1..) => {
                    *left -= 1;
                    return;
                }
                _ => open = self.0.1.wait_timeout(open, PATIENCE).unwrap().0,
            }
        }
    }

    fn start(&self, setup: Setup) -> Scene {
        let gate = self.clone();
        setup.start(move |request, reply| {
            let path = String::from_utf8_lossy(request.target()).into_owned();
            if path.starts_with(HELD) {
                if path.ends_with("/stream") {
                    reply.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n2\r\n\n\n\r\n")?;
                    gate.pass(&path);
                    reply.send("0\r\n\r\n")?;
                    return Ok(Then::Keep);
                }
                gate.pass(&path);
            }
            reply.send(answer("200 OK", &[], "ok"))?;
            Ok(Then::Keep)
        })
    }
}

fn in_flight(most: usize, wait: &str) -> Setup {
    Setup::new().top(&format!(
        "admin = \"127.0.0.1:0\"\n[limits]\nmax_in_flight = {most}\nin_flight_wait = \"{wait}\""
    ))
}

fn get(path: &str) -> Ask {
    Ask::new("GET", path)
}

/// Sends a request and leaves its answer for later.
fn begin(scene: &Scene, path: &str) -> Client {
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(&get(path).bytes()).unwrap();
    client
}

/// Asks until it is answered by the stage.
fn eventually(scene: &Scene, via: Via, path: &str, meanwhile: (u16, &str)) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = scene.ask(via, &get(path));
        if answer.head.one("x-countersign-error").is_none() {
            return answer;
        }
        assert_refusal(&answer, meanwhile.0, meanwhile.1);
        assert!(begun.elapsed() < PATIENCE, "refused for ever");
    }
}

#[test]
fn a_burst_passes_and_what_is_beyond_is_told_when_to_come_back() {
    for via in Via::ALL {
        let scene = Setup::new()
            .top("admin = \"127.0.0.1:0\"")
            .stage("rate_limit = { rate = \"2/h\", burst = 3, wait = \"0s\" }")
            .start_ok();
        for _ in 0..3 {
            scene.sent(via, &get("/a"));
        }
        // A body is not read for it.
        for ask in [get("/a"), Ask::new("PUT", "/b").body("x")] {
            let refused = scene.refused(via, &ask, 429, "rate-limited");
            let seconds: u64 = refused.head.one("retry-after").expect("it says when").parse().unwrap();
            assert!((1..=1800).contains(&seconds), "a turn comes each half hour: {seconds}");
        }
        counted(scene.proxy.process(), "countersign_refusals_total{code=\"rate-limited\"");
        // What is refused for another reason takes no turn, and is told that reason.
        scene.refused(via, &get("/../a"), 400, "dot-segment");
    }
}

#[test]
fn the_bucket_fills_again() {
    let scene = Setup::new().stage("rate_limit = { rate = \"2/s\", burst = 1, wait = \"0s\" }").start_ok();
    for via in Via::ALL {
        for _ in 0..2 {
            // It is empty within a few requests, unless nothing limits them or each takes half a second.
            let begun = Instant::now();
            let refused = loop {
                let answer = scene.ask(via, &get("/a"));
                if answer.status != 200 {
                    break answer;
                }
                assert!(begun.elapsed() < PATIENCE, "never empty");
            };
            assert_refusal(&refused, 429, "rate-limited");
            eventually(&scene, via, "/a", (429, "rate-limited"));
        }
    }
}

#[test]
fn who_waits_for_a_turn_is_served_in_order() {
    let scene = Setup::new().stage("rate_limit = { rate = \"3/s\", burst = 1, wait = \"1m\" }").start_ok();
    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let paths: Vec<String> = (0..5).map(|n| format!("/{n}")).collect();
    let mut streams: Vec<_> = paths.iter().map(|path| client.begin(&get(path), true).unwrap()).collect();
    for path in &paths {
        assert_eq!(scene.origin.next().target(), format!("/prod{path}").as_bytes());
    }
    for stream in &mut streams {
        assert_eq!(stream.head().unwrap().0, 200);
    }
}

#[test]
fn a_turn_that_nobody_waits_for_any_more_is_given_back() {
    // The second turn is half an hour away, which may be waited for; the third would be an hour away.
    let scene = Setup::new().stage("rate_limit = { rate = \"2/h\", burst = 1, wait = \"40m\" }").start_ok();
    scene.sent(Via::Http1, &get("/a"));
    let refused = |scene: &Scene| scene.refused(Via::H2c, &get("/c"), 429, "rate-limited");
    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    for _ in 0..3 {
        let waiting = client.begin(&get("/b"), true).unwrap();
        // Answered at once: what came before it on this connection has been looked at.
        assert_eq!(client.exchange(&Ask::new("TRACE", "/")).unwrap().status, 405);
        refused(&scene);
        waiting.reset();
        assert_eq!(client.exchange(&Ask::new("TRACE", "/")).unwrap().status, 405);
    }
    let _waiting = client.begin(&get("/b"), true).unwrap();
    assert_eq!(client.exchange(&Ask::new("TRACE", "/")).unwrap().status, 405);
    refused(&scene);
}

#[test]
fn workers_share_a_stage_s_rate() {
    let scene = Setup::new()
        .top("workers = 4")
        .stage("rate_limit = { rate = \"1/h\", burst = 10, wait = \"0s\" }")
        .start_ok();
    let statuses: Vec<u16> = (0..40).map(|n| scene.ask(Via::ALL[n % 2], &get("/a")).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 30, "{statuses:?}");
    assert_eq!(scene.origin.take().len(), 10);
}

#[test]
fn each_stage_has_its_own_rate() {
    let stage = "mount = \"/m\"\nrate_limit = { rate = \"1/h\", wait = \"0s\" }\n[[stage]]\nname = \"other\"\n\
                 url = \"https://abc123.execute-api.us-west-2.amazonaws.com/v2\"\nmount = \"/n\"\n{dial}";
    let scene = Setup::new().stage(stage).start_ok();
    scene.sent(Via::Http1, &get("/m/a"));
    scene.refused(Via::Http1, &get("/m/a"), 429, "rate-limited");
    for _ in 0..5 {
        scene.sent(Via::Http1, &get("/n/a"));
    }
}

#[test]
fn beyond_the_places_there_is_a_refusal_that_costs_nothing() {
    let gate = Gate::default();
    for via in Via::ALL {
        let scene = gate.start(in_flight(2, "0s"));
        let mut holders = [begin(&scene, "/held/1"), begin(&scene, "/held/2")];
        for _ in &holders {
            scene.origin.next();
        }
        for ask in [get("/a"), Ask::new("PUT", "/b").body("x")] {
            let refused = scene.refused(via, &ask, 503, "too-many-in-flight");
            assert_eq!(refused.head.one("retry-after"), Some("1"));
        }
        counted(scene.proxy.process(), "countersign_refusals_total{code=\"too-many-in-flight\"");
        gate.open("/held/1");
        gate.open("/held/2");
        for holder in &mut holders {
            assert_eq!(holder.answer("GET").unwrap().status, 200);
        }
        scene.sent(via, &get("/a"));
    }
}

#[test]
fn who_sends_slowly_holds_no_place() {
    let scene = Gate::default().start(in_flight(1, "10s"));
    let mut slow: Vec<_> = (0..3).map(|_| Client::connect(scene.proxy.address()).unwrap()).collect();
    for client in &mut slow {
        client
            .send(b"PUT /a HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
            .unwrap();
        // Its body is being read.
        assert_eq!(client.head("PUT").unwrap().0, 100);
    }
    for via in Via::ALL {
        scene.sent(via, &get("/a"));
    }
    for mut client in slow {
        client.send(b"hello").unwrap();
        assert_eq!(client.answer("PUT").unwrap().status, 200);
    }
}

#[test]
fn an_answer_that_streams_keeps_its_place_until_its_end() {
    let gate = Gate::default();
    let scene = gate.start(in_flight(1, "0s"));
    let mut events = begin(&scene, "/held/stream");
    scene.origin.next();
    assert_eq!(events.head("GET").unwrap().0, 200);
    assert_eq!(events.piece().unwrap().as_deref(), Some(&b"\n\n"[..]));
    for via in Via::ALL {
        scene.refused(via, &get("/a"), 503, "too-many-in-flight");
    }
    gate.open("/held/stream");
    assert_eq!(events.piece().unwrap(), None);
    for via in Via::ALL {
        eventually(&scene, via, "/a", (503, "too-many-in-flight"));
    }
}

#[test]
fn whoever_leaves_gives_the_place_back() {
    let gate = Gate::default();
    let scene = gate.start(in_flight(2, "1m"));
    for round in 0..5 {
        // Two are served and three wait when all of them leave.
        let clients: Vec<_> = (0..5).map(|n| begin(&scene, &format!("/held/{round}/{n}"))).collect();
        let h2 = h2c::Client::connect(scene.proxy.address()).unwrap();
        let stream = h2.begin(&get("/held/h2"), true).unwrap();
        assert_eq!(h2.exchange(&Ask::new("TRACE", "/")).unwrap().status, 405);
        scene.origin.next();
        scene.origin.next();
        stream.reset();
        drop(clients);
        for via in Via::ALL {
            assert_eq!(scene.ask(via, &get("/a")).status, 200, "round {round}");
        }
        scene.origin.take();
    }
}

#[test]
fn one_greedy_client_does_not_starve_another() {
    const STREAMS: usize = 200;
    let gate = Gate::default();
    let scene = gate.start(in_flight(1, "1m"));
    let greedy = h2c::Client::connect(scene.proxy.address()).unwrap();
    let modest = h2c::Client::connect(scene.proxy.address()).unwrap();
    // Answered at once, after all that came before it on its connection has been looked at.
    let looked_at = |client: &h2c::Client| {
        assert_eq!(client.exchange(&Ask::new("TRACE", "/")).unwrap().status, 405);
    };
    let held = get("/held/greedy");
    let mut streams: std::collections::VecDeque<_> =
        (0..STREAMS).map(|_| greedy.begin(&held, true).unwrap()).collect();
    looked_at(&greedy);
    let mut waiting = modest.begin(&get("/modest"), true).unwrap();
    looked_at(&modest);
    // The greedy one asks anew as soon as it has an answer, and never has less than all its streams in line.
    let mut served = 0;
    loop {
        let request = scene.origin.next();
        if request.target() == b"/prod/modest" {
            break;
        }
        served += 1;
        gate.open("/held/greedy");
        assert_eq!(streams.pop_front().expect("there are as many as ever").head().unwrap().0, 200);
        streams.push_back(greedy.begin(&held, true).unwrap());
        assert!(served <= STREAMS, "others were let in before it");
    }
    assert_eq!(waiting.head().unwrap().0, 200);
}

#[test]
fn a_thousand_connections_of_one_client_leave_room_for_another() {
    const CONNECTIONS: usize = 1000;
    let scene =
        Setup::new().top("workers = 2\n[limits]\nmax_in_flight = 4\nin_flight_wait = \"10m\"").start_ok();
    let address = scene.proxy.address();
    let mut greedy: Vec<_> = (0..CONNECTIONS).map(|_| Client::connect(address).unwrap()).collect();
    for client in &mut greedy {
        client.send(&get("/greedy").bytes()).unwrap();
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let greed = scope.spawn(|| {
            let mut served = 0_usize;
            while !stop.load(Ordering::SeqCst) {
                let client = &mut greedy[served % CONNECTIONS];
                assert_eq!(client.answer("GET").unwrap().status, 200);
                client.send(&get("/greedy").bytes()).unwrap();
                served += 1;
            }
            served
        });
        for via in Via::ALL {
            for _ in 0..3 {
                assert_eq!(scene.ask(via, &get("/modest")).status, 200);
            }
        }
        stop.store(true, Ordering::SeqCst);
        greed.join().unwrap();
    });
}
