//! Clients that send slowly, read nothing or do nothing: each ends by itself, and none locks others out.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::{Mutex, mpsc},
    time::Duration,
};

use crate::{
    process::counted,
    support::{
        client::{Answer, Ask, Client, Via},
        h2c,
        origin::{Reply, Request, Then, answer},
        process::{Countersign, Running, listening},
        scene::{Scene, Setup, assert_refusal, ok},
    },
};

/// Where it is counted.
const ADMIN: &str = "admin = \"127.0.0.1:0\"";

fn get(target: &str) -> Ask {
    Ask::new("GET", target)
}

fn limits(lines: &str) -> Setup {
    Setup::new().top(&format!("{ADMIN}\n[log]\nfilter = \"info,countersign=debug\"\n[limits]\n{lines}"))
}

/// Waits until a connection has ended for this reason, by the log and by the metrics.
fn ended(proxy: &Countersign, cause: &str) {
    let wanted = format!("\"cause\":\"{cause}\"");
    let found = proxy.process().find(|line| line.contains(&wanted).then_some(()));
    assert!(found.is_some(), "{}", proxy.process().output());
    counted(proxy.process(), &format!("countersign_client_connections_ended_total{{cause=\"{cause}\"}}"));
}

/// Sends a byte of a body now and then, until there is an answer or nothing more to send.
fn trickle(address: SocketAddr, bytes: usize) -> (usize, Answer) {
    let mut client = Client::connect(address).unwrap();
    client
        .send(format!("PUT /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: {bytes}\r\n\r\n").as_bytes())
        .unwrap();
    let mut sent = 0;
    while sent < bytes && !client.is_answered_within(Duration::from_millis(20)).unwrap() {
        client.send(b"x").unwrap();
        sent += 1;
    }
    (sent, client.answer("PUT").unwrap())
}

/// What a client is answered that never pauses for long, and yet would take hours.
pub fn trickled() -> Answer {
    let scene = limits("body_timeout = \"300ms\"\nmin_body_rate = \"1KiB\"").start_ok();
    let (sent, answer) = trickle(scene.proxy.address(), 100_000);
    counted(scene.proxy.process(), "countersign_refusals_total{code=\"body-too-slow\"");
    assert!((2..100_000).contains(&sent), "{sent}");
    assert!(scene.origin.take().is_empty());
    answer
}

#[test]
fn a_body_that_trickles_ends_over_both_protocols() {
    assert_refusal(&trickled(), 408, "body-too-slow");
    let scene = limits("body_timeout = \"300ms\"\nmin_body_rate = \"1KiB\"").start_ok();
    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let mut stream = client.begin(&Ask::new("PUT", "/a"), false).unwrap();
    // h2 counts tiny frames as a flood, so these are not that tiny, and yet too few.
    while !stream.is_answered_within(Duration::from_millis(100)).unwrap() {
        stream.send(&[b'x'; 40], false).unwrap();
    }
    let (status, head) = stream.head().unwrap();
    assert_eq!((status, head.one("x-countersign-error")), (408, Some("body-too-slow")));
    assert!(scene.origin.take().is_empty());
}

#[test]
fn what_came_quickly_is_no_credit_for_a_trickle() {
    const QUICK: usize = 50_000;
    const SLOW: usize = 500;
    let scene = limits("body_timeout = \"300ms\"\nmin_body_rate = \"1KiB\"").start_ok();
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    let head = format!("PUT /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", QUICK + SLOW);
    client.send(head.as_bytes()).unwrap();
    client.send(&vec![b'x'; QUICK]).unwrap();
    for _ in 0..SLOW {
        if client.is_answered_within(Duration::from_millis(20)).unwrap() {
            break;
        }
        client.send(b"x").unwrap();
    }
    assert_refusal(&client.answer("PUT").unwrap(), 408, "body-too-slow");
    assert!(scene.origin.take().is_empty());
}

#[test]
fn a_head_that_trickles_ends_however_often_something_comes() {
    /// Far more than there is time for.
    const BYTES: usize = 1000;
    let scene = limits("header_timeout = \"300ms\"").start_ok();
    for already in [false, true] {
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        if already {
            assert_eq!(client.exchange(&get("/a")).unwrap().status, 200);
        }
        client.send(b"GET /b HTTP/1.1\r\nhost: localhost\r\nx: ").unwrap();
        let mut sent = 0;
        while sent < BYTES && !client.is_answered_within(Duration::from_millis(20)).unwrap() {
            client.send(b"x").unwrap();
            sent += 1;
        }
        assert!((2..BYTES).contains(&sent), "{sent}");
        assert_refusal(&client.answer("GET").unwrap(), 408, "header-timeout");
    }
    assert_eq!(scene.origin.take().len(), 1, "nothing but the request that was whole");
}

#[test]
fn an_honest_slow_body_arrives() {
    // Past the time from which the rate is looked at, faster than it must be, and slower than any network.
    let scene = limits("body_timeout = \"300ms\"\nmin_body_rate = \"10B\"").start_ok();
    let (sent, answer) = trickle(scene.proxy.address(), 40);
    assert_eq!((sent, answer.status), (40, 200));
    assert_eq!(scene.origin.next().body.len(), 40);
}

#[test]
fn an_idle_connection_is_closed_over_both_protocols() {
    let scene = limits("idle_timeout = \"2s\"").start_ok();
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    for _ in 0..2 {
        assert_eq!(client.exchange(&get("/a")).unwrap().status, 200);
    }
    assert!(client.rest().unwrap().is_empty(), "closed without a word");
    ended(&scene.proxy, "idle");

    let scene = limits("idle_timeout = \"2s\"").start_ok();
    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    assert_eq!(client.exchange(&get("/a")).unwrap().status, 200);
    ended(&scene.proxy, "idle");
    let error = client.exchange(&get("/a")).expect_err("the connection has gone away");
    // GOAWAY without an error, or already closed.
    assert!(!error.to_string().contains("PROTOCOL"), "{error}");
}

#[test]
fn a_connection_with_a_request_is_not_idle() {
    for via in Via::ALL {
        let (go, gone) = mpsc::channel::<()>();
        let gone = Mutex::new(gone);
        let scene = limits("idle_timeout = \"2s\"").start(move |request: &Request, reply: &mut Reply<'_>| {
            if request.target() == b"/prod/held" {
                gone.lock().unwrap().recv().map_err(io::Error::other)?;
            }
            ok(request, reply)
        });
        let address = scene.proxy.address();
        let held = std::thread::spawn(move || via.exchange(address, &get("/held")).unwrap().status);
        scene.origin.next();
        // Two connections one after the other become idle and are closed in the meantime.
        for _ in 0..2 {
            let mut other = Client::connect(address).unwrap();
            assert_eq!(other.exchange(&get("/a")).unwrap().status, 200);
            assert!(other.rest().unwrap().is_empty());
        }
        go.send(()).unwrap();
        assert_eq!(held.join().unwrap(), 200, "{via:?}");
    }
}

/// More than sockets and buffers on the way hold together.
const LARGE: usize = 64 << 20;

fn large(request: &Request, reply: &mut Reply<'_>) -> io::Result<Then> {
    if request.target() != b"/prod/large" {
        return ok(request, reply);
    }
    reply.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n"))?;
    let piece = vec![b'x'; 1 << 16];
    for _ in 0..LARGE / piece.len() {
        reply.send(&piece)?;
    }
    Ok(Then::Keep)
}

#[test]
fn a_client_that_reads_nothing_of_its_answer_loses_the_connection() {
    for tls in [false, true] {
        let setup = if tls { "tls = \"self-signed\"\n" } else { "" };
        let top = format!(
            "{setup}{ADMIN}\n[log]\nfilter = \"info,countersign=debug\"\n[limits]\nwrite_timeout = \"500ms\""
        );
        let scene = Setup::new().top(&top).start(large);
        let certificate = scene.proxy.home().path().join(".local/state/countersign/localhost.pem");
        let connect = || match tls {
            true => Client::connect_tls(scene.proxy.address(), &certificate).unwrap(),
            false => Client::connect(scene.proxy.address()).unwrap(),
        };
        let mut client = connect();
        client.send(&get("/large").bytes()).unwrap();
        assert_eq!(connect().exchange(&get("/a")).unwrap().status, 200);
        ended(&scene.proxy, "write-stalled");
        // What is left is cut short, and so is the answer on the way from the stage.
        let got = client.answer("GET").map(|answer| answer.body.len());
        assert!(got.is_err(), "{got:?}");
        assert_eq!(connect().exchange(&get("/a")).unwrap().status, 200);
    }
}

#[test]
fn a_client_that_reads_slowly_gets_all_of_its_answer() {
    let scene = limits("write_timeout = \"3s\"").start(large);
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(&get("/large").bytes()).unwrap();
    let mut received = 0;
    let mut other = Client::connect(scene.proxy.address()).unwrap();
    assert_eq!(client.head("GET").unwrap().0, 200);
    while let Some(piece) = client.piece().unwrap() {
        received += piece.len();
        // Each is a pause far shorter than the limit; together they are longer.
        if received % (LARGE / 40) < piece.len() {
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(other.exchange(&get("/a")).unwrap().status, 200);
        }
    }
    assert_eq!(received, LARGE);
}

#[test]
fn a_stream_whose_client_opens_no_window_is_reset_and_others_go_on() {
    let scene = limits("write_timeout = \"500ms\"").start(large);
    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let mut stream = client.begin(&get("/large"), true).unwrap();
    assert_eq!(stream.head().unwrap().0, 200);
    let reset = scene.proxy.process().find(|line| line.contains("a stream is reset").then_some(()));
    assert!(reset.is_some());
    drop(stream);
    assert_eq!(client.exchange(&get("/a")).unwrap().status, 200);
}

#[test]
fn the_longest_idle_connection_makes_room_for_a_new_one() {
    for workers in [1, 2] {
        let top = format!(
            "{ADMIN}\nworkers = {workers}\n[log]\nfilter = \"info,countersign=debug\"\n[limits]\nmax_connections = 2"
        );
        let scene = Setup::new().top(&top).start_ok();
        let connect = || Client::connect(scene.proxy.address()).unwrap();
        let mut first = connect();
        assert_eq!(first.exchange(&get("/a")).unwrap().status, 200);
        let mut second = connect();
        assert_eq!(second.exchange(&get("/a")).unwrap().status, 200);
        if workers == 1 {
            // Now the second one has been idle for longer.
            assert_eq!(first.exchange(&get("/a")).unwrap().status, 200);
        }
        let mut third = connect();
        assert_eq!(third.exchange(&get("/a")).unwrap().status, 200);
        ended(&scene.proxy, "made-room");
        if workers == 1 {
            assert!(second.rest().unwrap().is_empty());
            assert_eq!(first.exchange(&get("/a")).unwrap().status, 200);
        }
        // Any number, one after the other, each kept open.
        let mut held: Vec<Client> = Vec::new();
        for _ in 0..20 {
            let mut client = connect();
            assert_eq!(client.exchange(&get("/a")).unwrap().status, 200);
            held.push(client);
        }
        // An HTTP/2 connection without a stream is idle too.
        let client = h2c::Client::connect(scene.proxy.address()).unwrap();
        assert_eq!(client.exchange(&get("/a")).unwrap().status, 200);
        for _ in 0..2 {
            let mut client = connect();
            assert_eq!(client.exchange(&get("/a")).unwrap().status, 200);
            held.push(client);
        }
        assert!(client.exchange(&get("/a")).is_err());
    }
}

#[test]
fn heads_that_never_end_lock_nobody_out() {
    let scene = limits("max_connections = 2\nheader_timeout = \"1h\"").start_ok();
    let half = b"GET /b HTTP/1.1\r\nhost: localhost\r\nx-a: x";
    let mut clients: Vec<_> = (0..2).map(|_| Client::connect(scene.proxy.address()).unwrap()).collect();
    for client in &mut clients {
        // With a request before it, so that it is known to have come.
        client.send(&[&get("/a").bytes()[..], half].concat()).unwrap();
        assert_eq!(client.answer("GET").unwrap().status, 200);
    }
    for via in Via::ALL {
        assert_eq!(scene.ask(via, &get("/a")).status, 200);
    }
    ended(&scene.proxy, "made-room");
    // The one that came first has gone, not without a word, and the other goes on.
    assert_refusal(&clients[0].answer("GET").unwrap(), 408, "header-timeout");
    assert!(clients[0].rest().is_ok_and(|rest| rest.is_empty()));
    clients[1].send(b"\r\n\r\n").unwrap();
    assert_eq!(clients[1].answer("GET").unwrap().status, 200);
}

#[test]
fn half_a_head_behind_a_request_ends_in_a_timeout_with_a_code() {
    let scene = limits("header_timeout = \"300ms\"").start_ok();
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(&[&get("/a").bytes()[..], b"GET /b HTTP/1.1\r\nhost"].concat()).unwrap();
    assert_eq!(client.answer("GET").unwrap().status, 200);
    assert_refusal(&client.answer("GET").unwrap(), 408, "header-timeout");
    assert!(client.rest().unwrap().is_empty());
    ended(&scene.proxy, "header-timeout");
    // An empty line behind a body is the start of nothing.
    let scene = limits("header_timeout = \"300ms\"\nidle_timeout = \"2s\"").start_ok();
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(b"PUT /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello\r\n").unwrap();
    assert_eq!(client.answer("PUT").unwrap().status, 200);
    assert!(client.rest().unwrap().is_empty());
    ended(&scene.proxy, "idle");
}

#[test]
fn a_connection_at_work_makes_no_room() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let top = "[limits]\nmax_connections = 2";
    let scene: Scene = Setup::new().top(top).start(move |request: &Request, reply: &mut Reply<'_>| {
        if request.target() == b"/prod/held" {
            gone.lock().unwrap().recv().map_err(io::Error::other)?;
        }
        reply.send(answer("200 OK", &[], request.target()))?;
        Ok(Then::Keep)
    });
    let mut first = Client::connect(scene.proxy.address()).unwrap();
    first.send(&get("/held").bytes()).unwrap();
    let http2 = h2c::Client::connect(scene.proxy.address()).unwrap();
    let mut stream = http2.begin(&get("/held"), true).unwrap();
    for _ in 0..2 {
        assert_eq!(scene.origin.next().target(), b"/prod/held");
    }
    // The third waits, and is served by the first that becomes idle, although nobody hangs up.
    let mut third = Client::connect(scene.proxy.address()).unwrap();
    third.send(&get("/third").bytes()).unwrap();
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(third.answer("GET").unwrap().body, b"/prod/third");
    assert_eq!(first.answer("GET").unwrap().body, b"/prod/held");
    assert_eq!(stream.head().unwrap().0, 200);
}

/// Resident memory of a process in kilobytes (`VmRSS` of proc(5)).
#[cfg(target_os = "linux")]
fn resident(process: &Running) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a field of status");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// As many connections as this process and the proxy may open, but ten thousand at most; the tests beside this one
/// need some too.
#[cfg(target_os = "linux")]
fn many() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let allowed = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| limit as usize);
    allowed.saturating_sub(2000).clamp(500, 10_000)
}

#[cfg(target_os = "linux")]
#[test]
fn thousands_of_idle_connections_cost_little_and_lock_nobody_out() {
    // 150 MiB for ten thousand. A debug build's futures are larger than a release's, and fit all the same.
    const MOST: usize = 15;
    let count = many();
    let top = format!("[limits]\nmax_connections = {count}\nheader_timeout = \"1h\"");
    let scene = Setup::new().top(&top).start_ok();
    let address = scene.proxy.address();
    let mut other = Client::connect(address).unwrap();
    assert_eq!(other.exchange(&get("/a")).unwrap().status, 200);
    let before = resident(scene.proxy.process());

    // A third says nothing, a third a byte, a third has been served.
    let mut idle: Vec<TcpStream> = Vec::new();
    let mut served: Vec<Client> = Vec::new();
    for number in 0..count - 1 {
        match number % 3 {
            0 => idle.push(TcpStream::connect(address).unwrap()),
            1 => {
                let stream = TcpStream::connect(address).unwrap();
                io::Write::write_all(&mut &stream, b"G").unwrap();
                idle.push(stream);
            }
            _ => {
                let mut client = Client::connect(address).unwrap();
                assert_eq!(client.exchange(&get("/.")).unwrap().status, 400);
                served.push(client);
            }
        }
        if number % 1000 == 0 {
            assert_eq!(other.exchange(&get("/a")).unwrap().status, 200);
        }
    }
    let after = resident(scene.proxy.process());
    let each = after.saturating_sub(before) / count;
    assert!(each < MOST, "{each} kB for each of {count} connections");
    assert!(count < 10_000 || after <= 150 << 10, "{after} kB for {count} connections");
    println!("{each} kB for each of {count} connections");

    // All places are taken, and yet everybody is served.
    for via in Via::ALL {
        for _ in 0..20 {
            assert_eq!(scene.ask(via, &get("/a")).status, 200);
        }
    }
}

#[test]
fn a_low_limit_of_open_files_is_raised() {
    let (_origin, launch) = Setup::new().prepare(ok);
    let inner = launch.command();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -S -n 64 && exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args());
    command.env_clear().current_dir(inner.get_current_dir().unwrap());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let running = Running::spawn(&mut command);
    let address = running.find(listening).expect("it listens");
    let crate::support::process::Address::Tcp(address) = address else { panic!("{address:?}") };
    let mut clients: Vec<_> = (0..200).map(|_| Client::connect(address).unwrap()).collect();
    for client in &mut clients {
        assert_eq!(client.exchange(&get("/a")).unwrap().status, 200);
    }
}
