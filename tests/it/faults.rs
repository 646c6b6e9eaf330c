//! The stage, or the way to it, breaks off at each moment in each way. Nothing is lost that was not processed, nothing
//! is sent twice that could act twice, the answer says what happened, and the next request is served.
//! docs/reliability.md is the table of these tests.

use std::{
    net::TcpListener,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    PATIENCE,
    client::{Ask, Client, Via},
    faulty::{End, Faulty, ID, Moment},
    origin::{Options, Then, answer},
    process::{Countersign, Launch},
    scene::{ACCESS_KEY, NAME, SECRET, Setup, assert_refusal, ok},
};

/// The proxy before a stage of which only its configuration is given.
fn before(stage: &str) -> Launch {
    let text = format!("listen = \"127.0.0.1:0\"\nadmin = \"off\"\n[[stage]]\n{stage}\n");
    Launch::config(&text).keys(ACCESS_KEY, SECRET)
}

/// The proxy before a stage that breaks off, with these lines of configuration.
fn before_faulty(lines: &str) -> (Faulty, Countersign) {
    let stage = Faulty::start(NAME);
    let proxy = before(&format!(
        "url = \"https://{NAME}/prod\"\nconnect_to = \"{}\"\nca_bundle = \"{}\"\n{lines}",
        stage.address(),
        stage.ca().display()
    ));
    (stage, proxy.start())
}

/// A request that no other has the id of.
fn numbered(method: &str, path: &str) -> (Ask, String) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
    (Ask::new(method, &format!("{path}/{id}")).header(ID, &id), id)
}

/// The line of log of the request to this path.
fn line(proxy: &Countersign, path: &str) -> Value {
    let found = proxy.process().find(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["target"] == "countersign::access" && event["path"] == path).then_some(event)
    });
    found.expect("the proxy runs")
}

/// What the client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sees {
    /// The stage's whole answer.
    Answer,
    /// The proxy's refusal.
    Refusal(u16, &'static str),
    /// An answer that is visibly not whole.
    Cut,
}

use Sees::{Answer, Cut, Refusal};

const BROKEN: Sees = Refusal(502, "upstream-broken");
const TLS: Sees = Refusal(502, "upstream-tls");
const CONNECT: (u16, &str) = (502, "upstream-connect");

/// One row: when it breaks off, how, under which method and path; what the client sees, how often the request reached
/// the stage, and how often the log says that it was sent (nothing: once or twice, as the proxy saw it).
type Row = (Moment, End, &'static str, &'static str, Sees, usize, Option<u64>);

/// Breaks off as each row says, on new connections or on kept ones, and looks at client, stage and log.
fn hold(lines: &str, kept: bool, rows: &[Row]) {
    // A connection that is too old as soon as it is made is never used again.
    let age = if kept { "5m" } else { "1ms" };
    let (stage, proxy) = before_faulty(&format!("{lines}\ntimeouts.connection_age = \"{age}\""));
    for (number, &(moment, end, method, path, sees, arrived, attempts)) in rows.iter().enumerate() {
        let via = Via::ALL[number % 2];
        let row = format!("{moment:?} {end:?} {method} {path} kept: {kept} {via:?}");
        let address = proxy.address();
        let served = || {
            let (ask, id) = numbered("POST", "/served");
            let answer =
                via.exchange(address, &ask.body("x")).unwrap_or_else(|error| panic!("{row}: {error}"));
            assert_eq!((answer.status, answer.text()), (200, "0123456789"), "{row}");
            assert_eq!(stage.seen(&id), 1, "{row}");
        };
        let struck = stage.struck() + 1;
        if moment == Moment::Between {
            stage.arm(moment, end);
            served();
            stage.wait_struck(struck);
        } else {
            if kept {
                served();
            }
            stage.arm(moment, end);
        }
        let (mut ask, id) = numbered(method, path);
        if method != "GET" {
            // Where it breaks off within the body, that is more than sockets hold.
            let within = matches!(moment, Moment::Head | Moment::MidBody);
            ask = ask.body(vec![b'x'; if within { 8 << 20 } else { 8 }]);
        }
        let answer = via.exchange(address, &ask);
        let sees = match &answer {
            // The reset may come before the proxy knows that it was connected.
            Ok(answer)
                if moment == Moment::Accepted && end == End::Reset && answer.text().contains(CONNECT.1) =>
            {
                Refusal(CONNECT.0, CONNECT.1)
            }
            _ => sees,
        };
        match (sees, &answer) {
            (Answer, Ok(answer)) => assert_eq!((answer.status, answer.text()), (200, "0123456789"), "{row}"),
            (Refusal(status, code), Ok(answer)) => assert_refusal(answer, status, code),
            (Cut, Err(_)) => {}
            (_, other) => panic!("{row}: {other:?}"),
        }
        stage.wait_struck(struck);
        assert_eq!(stage.seen(&id), arrived, "{row}");
        let event = line(&proxy, &ask.target);
        let refused = match sees {
            Refusal(_, code) => Value::from(code),
            _ => Value::Null,
        };
        assert_eq!((&event["refused"], event["cut"] == true), (&refused, sees == Cut), "{row}: {event}");
        if let Some(attempts) = attempts {
            assert_eq!(event["attempts"], attempts, "{row}: {event}");
        }
        // Whatever happened, the next request is served.
        served();
    }
}

#[test]
fn a_new_connection_breaks_at_each_moment() {
    let mut rows = Vec::new();
    for end in [End::Fin, End::Reset] {
        for method in ["GET", "POST"] {
            rows.extend([
                (Moment::Accepted, end, method, "/a", TLS, 0, Some(1)),
                (Moment::Handshake, end, method, "/a", TLS, 0, Some(1)),
                (Moment::Head, end, method, "/a", BROKEN, 1, Some(1)),
                (Moment::Request, end, method, "/a", BROKEN, 1, Some(1)),
                (Moment::MidHead, end, method, "/a", BROKEN, 1, Some(1)),
                (Moment::AnswerHead, end, method, "/a", Cut, 1, Some(1)),
                (Moment::MidAnswer, end, method, "/a", Cut, 1, Some(1)),
                (Moment::MidChunk, end, method, "/chunked", Cut, 1, Some(1)),
            ]);
        }
        rows.push((Moment::MidBody, end, "POST", "/a", BROKEN, 1, Some(1)));
    }
    hold("", false, &rows);
}

#[test]
fn a_kept_connection_breaks_at_each_moment() {
    let mut rows = Vec::new();
    for end in [End::Fin, End::Reset] {
        rows.extend([
            // No client sees an error for what was not processed, whatever it is.
            (Moment::Between, end, "GET", "/a", Answer, 1, None),
            (Moment::Between, end, "POST", "/a", Answer, 1, None),
            (Moment::Between, end, "PATCH", "/a", Answer, 1, None),
            // What could act twice is not sent twice.
            (Moment::Head, end, "GET", "/a", Answer, 2, Some(2)),
            (Moment::Head, end, "POST", "/a", BROKEN, 1, Some(1)),
            (Moment::MidBody, end, "PUT", "/a", BROKEN, 1, Some(1)),
            (Moment::Request, end, "GET", "/a", Answer, 2, Some(2)),
            (Moment::Request, end, "POST", "/a", BROKEN, 1, Some(1)),
            (Moment::Request, end, "DELETE", "/a", BROKEN, 1, Some(1)),
            // It had begun to answer, so it has acted.
            (Moment::MidHead, end, "GET", "/a", BROKEN, 1, Some(1)),
            (Moment::AnswerHead, end, "GET", "/a", Cut, 1, Some(1)),
            (Moment::MidAnswer, end, "GET", "/a", Cut, 1, Some(1)),
            (Moment::MidChunk, end, "GET", "/chunked", Cut, 1, Some(1)),
        ]);
    }
    hold("", true, &rows);
}

#[test]
fn what_may_be_sent_twice_is_a_setting() {
    for end in [End::Fin, End::Reset] {
        let twice = |method| (Moment::Request, end, method, "/a", Answer, 2, Some(2));
        let once = |method| (Moment::Request, end, method, "/a", BROKEN, 1, Some(1));
        hold("retry = \"never\"", true, &[once("GET"), once("PUT"), once("POST")]);
        let rows = [twice("GET"), twice("PUT"), twice("DELETE"), once("POST"), once("PATCH")];
        hold("retry = \"idempotent\"", true, &rows);
        // What provably was not processed is sent again all the same.
        hold("retry = \"never\"", true, &[(Moment::Between, end, "POST", "/a", Answer, 1, None)]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_network_goes_at_each_moment() {
    let (timeout, tls) = (Refusal(504, "upstream-timeout"), Refusal(504, "upstream-tls-timeout"));
    let rows: Vec<_> = [
        (Moment::Accepted, "/a", tls, 0),
        (Moment::Handshake, "/a", tls, 0),
        (Moment::Request, "/a", timeout, 1),
        (Moment::MidHead, "/a", timeout, 1),
        (Moment::AnswerHead, "/a", Cut, 1),
        (Moment::MidAnswer, "/a", Cut, 1),
        (Moment::MidChunk, "/chunked", Cut, 1),
    ]
    .into_iter()
    .map(|(moment, path, sees, seen)| (moment, End::Silence, "GET", path, sees, seen, Some(1)))
    .chain([(Moment::Head, End::Silence, "POST", "/a", timeout, 1, Some(1))])
    .collect();
    let lines = "timeouts.tls = \"3s\"\ntimeouts.first_byte = \"3s\"\ntimeouts.idle = \"3s\"";
    thread::scope(|scope| {
        scope.spawn(|| hold(lines, false, &rows));
        scope.spawn(|| hold(lines, true, &rows[2..]));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_kept_connection_that_the_network_forgot_costs_a_safe_request_time_and_nothing_else() {
    // The first-byte time-out of 35 s is not what ends it.
    let outcome = |lines: &str, method: &str| {
        let scene = Setup::new().stage(lines).start_ok();
        scene.sent(Via::Http1, &Ask::new("GET", "/first"));
        scene.origin.silence();
        let begun = Instant::now();
        let answer = scene.ask(Via::Http1, &Ask::new(method, "/second").body("x"));
        assert!(begun.elapsed() < Duration::from_secs(33), "the kernel did not give up");
        let seen = scene.origin.take().len();
        // The dead connection is gone from the pool.
        scene.sent(Via::Http1, &Ask::new("POST", "/third"));
        (answer.status, answer.head.one("x-countersign-error").map(str::to_owned), seen)
    };
    thread::scope(|scope| {
        let safe = scope.spawn(|| outcome("", "GET"));
        let idempotent = scope.spawn(|| outcome("retry = \"idempotent\"", "PUT"));
        let other = scope.spawn(|| outcome("", "POST"));
        assert_eq!(safe.join().unwrap(), (200, None, 1));
        assert_eq!(idempotent.join().unwrap(), (200, None, 1));
        // It may have arrived, for all that anybody on this side can know.
        assert_eq!(other.join().unwrap(), (502, Some("upstream-broken".to_owned()), 0));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_stream_ends_soon_after_the_network_went() {
    // `timeouts.idle` lets a quiet stream last 5 minutes; probes find that nobody is there.
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let scene = Setup::new().start(move |_, reply| {
        reply.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")?;
        let _ = held.lock().unwrap().recv();
        Ok(Then::Cut)
    });
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(&Ask::new("GET", "/stream").bytes()).unwrap();
    assert_eq!(client.head("GET").unwrap().0, 200);
    assert_eq!(client.piece().unwrap().unwrap(), b"one");
    // The acknowledgement of what came is up to 40 ms behind it.
    thread::sleep(Duration::from_millis(200));
    scene.origin.silence();
    let error = client.piece().unwrap_err();
    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the client's patience ended first");
    assert_eq!(line(&scene.proxy, "/stream")["cut"], true);
    drop(hold);
}

#[cfg(unix)]
#[test]
fn a_connection_that_ended_while_the_proxy_slept_costs_no_request() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        scene.sent(via, &Ask::new("POST", "/a"));
        // As a laptop that sleeps: what happened meanwhile, it sees all at once.
        scene.proxy.process().stop();
        let (address, asked) = (scene.proxy.address(), mpsc::channel());
        let client = thread::spawn(move || {
            let mut client = Client::connect(address).unwrap();
            client.send(&Ask::new("POST", "/b").body("x").bytes()).unwrap();
            asked.0.send(()).unwrap();
            client.answer("POST").unwrap()
        });
        asked.1.recv().unwrap();
        scene.origin.hang_up();
        let deadline = Instant::now() + PATIENCE;
        while scene.origin.open() > 0 {
            assert!(Instant::now() < deadline, "a connection is left");
            thread::yield_now();
        }
        // A connection that was used within the last tenth of a second is not looked at before it is written to.
        thread::sleep(Duration::from_millis(150));
        scene.proxy.process().signal("CONT");
        assert_eq!(client.join().unwrap().status, 200);
        assert_eq!(scene.origin.next().target(), b"/prod/b");
        assert_eq!(scene.origin.take().len(), 0);
    }
}

#[test]
fn a_408_that_crossed_with_a_request_is_no_answer_to_it() {
    let seen = Mutex::new(Vec::new());
    let scene = Setup::new().start(move |request, reply| {
        let mut seen = seen.lock().unwrap();
        let first = !seen.contains(&request.connection);
        seen.push(request.connection);
        if request.target() == b"/prod/own" {
            reply.send(answer("408 Request Timeout", &[], "mine"))?;
            return Ok(Then::Keep);
        }
        if first {
            return ok(request, reply);
        }
        // What some servers send when a connection was idle for too long.
        reply.send(answer("408 Request Timeout", &[("connection", "close")], ""))?;
        Ok(Then::Close)
    });
    for via in Via::ALL {
        scene.sent(via, &Ask::new("GET", "/first"));
        assert_eq!(scene.ask(via, &Ask::new("GET", "/second")).status, 200);
        assert_eq!(scene.origin.take().len(), 2);
        // Whether it acted nobody knows, so it is not sent again, and the answer passes.
        let crossed = scene.ask(via, &Ask::new("POST", "/third").body("x"));
        assert_eq!((crossed.status, crossed.head.one("x-countersign-error")), (408, None));
        assert_eq!(scene.origin.take().len(), 1);
        // An application's own 408 is an answer like any other.
        scene.sent(via, &Ask::new("GET", "/first"));
        assert_eq!(scene.ask(via, &Ask::new("GET", "/own")).text(), "mine");
        assert_eq!(scene.origin.take().len(), 1);
        scene.origin.hang_up();
        while scene.origin.open() > 0 {
            thread::yield_now();
        }
    }
}

#[test]
fn an_answer_before_the_body_was_read_reaches_the_client() {
    for (status, then) in [
        ("413 Too Large", Then::Reset),
        ("401 No", Then::Cut),
        ("403 No", Then::Close),
        ("429 Later", Then::Reset),
    ] {
        let options = Options { answer_at_head: true, ..Options::default() };
        let scene = Setup::new().origin(options).start(move |request, reply| {
            if request.target() != b"/prod/upload" {
                return ok(request, reply);
            }
            let fields = [("connection", "close"), ("retry-after", "7")];
            reply.send(answer(status, &fields, "not this"))?;
            Ok(then)
        });
        for via in Via::ALL {
            let answer = scene.ask(via, &Ask::new("PUT", "/upload").body(vec![b'x'; 9 << 20]));
            assert_eq!((answer.text(), answer.head.one("retry-after")), ("not this", Some("7")));
            assert!(status.starts_with(&answer.status.to_string()), "{answer:?}");
            assert_eq!(scene.origin.take().len(), 1);
            // A body that comes after the answer is not captured, so its signature cannot be checked.
            assert_eq!(scene.ask(via, &Ask::new("POST", "/a").body("x")).text(), "ok");
            assert_eq!(scene.origin.take().len(), 1);
        }
    }
}

#[test]
fn an_upload_that_the_stage_does_not_take_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = before(&format!(
        "url = \"http://{}/prod\"\nregion = \"us-west-2\"\ntimeouts.first_byte = \"1s\"",
        listener.local_addr().unwrap()
    ));
    let proxy = proxy.start();
    for via in Via::ALL {
        // More than the sockets hold.
        let answer = via.exchange(proxy.address(), &Ask::new("PUT", "/a").body(vec![b'x'; 9 << 20])).unwrap();
        assert_refusal(&answer, 504, "upstream-timeout");
    }
}

#[test]
fn a_stream_that_moves_is_not_cut() {
    // Longer than every time-out; 15 minutes are the same on another scale.
    const PIECES: usize = 12;
    let timeouts = ["connect", "tls", "first_byte", "idle", "connection_age"];
    let timeouts = timeouts.map(|name| format!("timeouts.{name} = \"2s\"")).join("\n");
    let scene = Setup::new().stage(&timeouts).start(|_, reply| {
        reply.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        for _ in 0..PIECES {
            thread::sleep(Duration::from_millis(500));
            reply.send("5\r\npiece\r\n")?;
        }
        reply.send("0\r\n\r\n")?;
        Ok(Then::Keep)
    });
    thread::scope(|scope| {
        for via in Via::ALL {
            let scene = &scene;
            scope.spawn(move || {
                let answer = scene.ask(via, &Ask::new("GET", "/stream"));
                assert_eq!(answer.text(), "piece".repeat(PIECES));
            });
        }
    });
}

#[test]
fn a_stream_that_stalls_is_cut_and_the_log_says_why() {
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let scene = Setup::new().stage("timeouts.idle = \"200ms\"").start(move |request, reply| {
        if request.target() != b"/prod/stalls" {
            return ok(request, reply);
        }
        reply.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234")?;
        let _ = held.lock().unwrap().recv();
        Ok(Then::Cut)
    });
    Via::Http1.exchange(scene.proxy.address(), &Ask::new("GET", "/stalls")).unwrap_err();
    assert_eq!(line(&scene.proxy, "/stalls")["cut"], true);
    assert!(scene.proxy.process().output().contains("the stage's answer stalled"));
    scene.origin.take();
    scene.sent(Via::Http1, &Ask::new("POST", "/a"));
    drop(hold);
}

#[test]
fn what_is_badly_framed_is_cut_or_refused_and_taints_nothing() {
    let scene = Setup::new().start(|request, reply| {
        let (bytes, then): (Vec<u8>, _) = match request.target() {
            b"/prod/chunk-size" => {
                (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n".to_vec(), Then::Keep)
            }
            b"/prod/chunk-end" => {
                (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n".to_vec(), Then::Keep)
            }
            b"/prod/too-long" => (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort".to_vec(), Then::Close),
            b"/prod/too-short" => (
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nforeign"
                    .to_vec(),
                Then::Keep,
            ),
            b"/prod/mid-head" => (b"HTTP/1.1 200 OK\r\ncontent-le".to_vec(), Then::Close),
            b"/prod/endless" => {
                (["HTTP/1.1 200 OK\r\n".to_owned(), "x-a: b\r\n".repeat(40_000)].concat().into(), Then::Cut)
            }
            b"/prod/one-line" => {
                (["HTTP/1.1 200 OK\r\nx-a: ".to_owned(), "b".repeat(400_000)].concat().into(), Then::Cut)
            }
            b"/prod/1.0" => (b"HTTP/1.0 200 OK\r\n\r\nto the end".to_vec(), Then::Close),
            _ => (answer("200 OK", &[], request.target()), Then::Keep),
        };
        reply.send(bytes)?;
        Ok(then)
    });
    for via in Via::ALL {
        for (path, sees) in [
            ("/chunk-size", Cut),
            ("/chunk-end", Cut),
            ("/too-long", Cut),
            ("/too-short", Answer),
            ("/mid-head", BROKEN),
            ("/endless", Refusal(502, "upstream-garbage")),
            ("/one-line", Refusal(502, "upstream-garbage")),
            ("/1.0", Answer),
        ] {
            for method in ["GET", "POST"] {
                match (sees, via.exchange(scene.proxy.address(), &Ask::new(method, path))) {
                    (Answer, Ok(answer)) => assert_eq!(answer.status, 200, "{path}"),
                    (Refusal(status, code), Ok(answer)) => assert_refusal(&answer, status, code),
                    (Cut, Err(_)) => {}
                    (_, other) => panic!("{path}: {other:?}"),
                }
                // The next request gets its own answer, and nothing of the one before.
                let next = format!("/next-after{path}");
                assert_eq!(scene.ask(via, &Ask::new("POST", &next)).text(), format!("/prod{next}"));
                assert_eq!(scene.origin.take().len(), 2, "{path}: something was sent twice");
            }
        }
    }
}

#[test]
fn nothing_is_lost_and_nothing_doubled_while_the_stage_breaks_off() {
    const EACH: usize = 60;
    let (stage, proxy) = before_faulty("");
    let moments = [
        Moment::Between,
        Moment::Request,
        Moment::MidAnswer,
        Moment::Head,
        Moment::Handshake,
        Moment::MidHead,
        Moment::Accepted,
    ];
    let clients = ["GET", "POST", "PUT", "GET", "DELETE", "POST"];
    thread::scope(|scope| {
        let clients = clients.into_iter().enumerate().map(|(number, method)| {
            let (stage, proxy) = (&stage, &proxy);
            scope.spawn(move || {
                for _ in 0..EACH {
                    let (mut ask, id) = numbered(method, "/a");
                    if method != "GET" {
                        ask = ask.body("x");
                    }
                    let seen = match Via::ALL[number % 2].exchange(proxy.address(), &ask) {
                        Ok(answer) if answer.status == 200 => {
                            assert_eq!(answer.text(), "0123456789");
                            assert!(stage.seen(&id) > 0, "{method} {id} was answered and never arrived");
                            stage.seen(&id)
                        }
                        // Refused, or visibly cut.
                        Ok(answer) => {
                            let code = answer.head.one("x-countersign-error");
                            let known = ["upstream-broken", "upstream-tls", "upstream-connect"];
                            assert!(code.is_some_and(|code| known.contains(&code)), "{}", answer.text());
                            stage.seen(&id)
                        }
                        Err(_) => stage.seen(&id),
                    };
                    let most = if method == "GET" { 2 } else { 1 };
                    assert!(seen <= most, "{method} {id} arrived {seen} times");
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        let asking = || clients.iter().any(|client| !client.is_finished());
        // One fault after another, for as long as anybody asks.
        let mut struck = stage.struck();
        for (moment, end) in moments.iter().cycle().zip([End::Fin, End::Reset].into_iter().cycle()) {
            stage.arm(*moment, end);
            while stage.struck() == struck && asking() {
                thread::yield_now();
            }
            struck = stage.struck();
            if !asking() {
                break;
            }
        }
    });
    assert!(stage.struck() > 20, "only {} connections were broken off", stage.struck());
}
