//! The end in order: readiness goes first, then listeners, idle connections, requests under way; streams that outlive
//! their time are cut so that nobody takes them for whole, and a second signal waits for nothing.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Mutex, mpsc},
    thread,
};

use crate::{
    process::admin,
    support::{
        PATIENCE,
        client::{Ask, Client, Via},
        frames, h2c,
        origin::{Reply, Request, Then},
        scene::{Scene, Setup, ok},
    },
};

fn get(target: &str) -> Ask {
    Ask::new("GET", target)
}

/// A stage that sends the head and one event at `/stream`, more when it is told to, and an end when nobody can tell it
/// more.
fn streaming(setup: Setup) -> (Scene, mpsc::Sender<()>) {
    let (more, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let handler = move |request: &Request, reply: &mut Reply<'_>| {
        if request.target() != b"/prod/stream" {
            return ok(request, reply);
        }
        reply.send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
        )?;
        while told.lock().unwrap().recv().is_ok() {
            reply.send("9\r\ndata: 2\n\n\r\n")?;
        }
        reply.send("0\r\n\r\n")?;
        Ok(Then::Keep)
    };
    (setup.start(handler), more)
}

fn readiness(health: SocketAddr) -> u16 {
    Via::Http1.exchange(health, &get("/readyz")).unwrap().status
}

#[test]
fn readiness_goes_first_and_connections_are_taken_for_the_delay() {
    let scene = Setup::new().top("admin = \"127.0.0.1:0\"\nlimits.drain_delay = \"2s\"").start_ok();
    let (address, process) = (scene.proxy.address(), scene.proxy.process());
    let health = admin(process);
    process.find(|line| line.contains("credentials are ready").then_some(()));
    let mut kept = Client::connect(address).unwrap();
    assert_eq!(kept.exchange(&get("/a")).unwrap().status, 200);
    assert_eq!(readiness(health), 200);
    process.signal("TERM");
    process.find(|line| line.contains("limits.drain_delay").then_some(()));
    // Not ready, and still at work for whoever has not noticed.
    assert_eq!(readiness(health), 503);
    assert_eq!(Via::Http1.exchange(address, &get("/b")).unwrap().status, 200);
    assert_eq!(kept.exchange(&get("/c")).unwrap().status, 200);
    assert_eq!(readiness(health), 503);
    // Then the end, at once: nothing is under way.
    assert_eq!(kept.rest().unwrap(), b"");
    let ended = scene.proxy.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(scene.origin.take().len(), 3);
}

#[test]
fn a_stream_may_end_in_time() {
    let (scene, more) = streaming(Setup::new());
    let mut http1 = Client::connect(scene.proxy.address()).unwrap();
    http1.send(&get("/stream").bytes()).unwrap();
    assert_eq!(http1.head("GET").unwrap().0, 200);
    assert_eq!(http1.piece().unwrap().unwrap(), b"data: 1\n\n");
    scene.proxy.process().signal("TERM");
    scene.proxy.process().find(|line| line.contains("stopping").then_some(()));
    more.send(()).unwrap();
    assert_eq!(http1.piece().unwrap().unwrap(), b"data: 2\n\n");
    drop(more);
    assert_eq!(http1.piece().unwrap(), None);
    assert_eq!(http1.rest().unwrap(), b"");
    assert_eq!(scene.proxy.ended().code, Some(0));
}

#[test]
fn a_stream_that_outlives_its_time_is_cut_and_not_ended() {
    let (scene, _more) = streaming(Setup::new().top("limits.drain_timeout = \"300ms\""));
    let address = scene.proxy.address();
    let mut http1 = Client::connect(address).unwrap();
    http1.send(&get("/stream").bytes()).unwrap();
    http1.head("GET").unwrap();
    http1.piece().unwrap().unwrap();
    let http2 = h2c::Client::connect(address).unwrap();
    let ask = get("/stream");
    let mut stream = http2.begin(&ask, true).unwrap();
    assert_eq!(stream.head().unwrap().0, 200);
    assert_eq!(stream.piece().unwrap().unwrap(), b"data: 1\n\n");
    scene.proxy.process().signal("TERM");
    assert!(http1.piece().is_err(), "a cut stream has no proper end");
    assert!(stream.piece().is_err(), "neither over HTTP/2");
    let ended = scene.proxy.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("limits.drain_timeout"), "{ended:?}");
}

#[test]
fn an_http2_connection_is_told_to_go_away() {
    const GOAWAY: u8 = 7;
    let scene = Setup::new().start_ok();
    let mut stream = TcpStream::connect(scene.proxy.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&frames::preface()).unwrap();
    // Once its SETTINGS have come the connection is HTTP/2's.
    let next = |stream: &mut TcpStream| {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut content)?;
        Ok::<_, std::io::Error>((head[3], content))
    };
    assert_eq!(next(&mut stream).unwrap().0, 4);
    scene.proxy.process().signal("TERM");
    let code = loop {
        let (kind, content) = next(&mut stream).expect("GOAWAY comes before the end");
        if kind == GOAWAY {
            break content[4..8].to_vec();
        }
        // The pings with which it waits for what crosses are answered as every client does.
        if kind == 6 {
            stream.write_all(&frames::frame(6, 1, 0, &content)).unwrap();
        }
    };
    assert_eq!(code, [0; 4], "NO_ERROR");
    drop(stream);
    assert_eq!(scene.proxy.ended().code, Some(0));
}

#[test]
fn a_second_signal_waits_for_nothing() {
    for (delay, second, code) in [("0s", "TERM", 143), ("0s", "INT", 130), ("1h", "INT", 130)] {
        let top = format!("limits = {{ drain_delay = \"{delay}\", drain_timeout = \"1h\" }}");
        let (scene, _more) = streaming(Setup::new().top(&top));
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        client.send(&get("/stream").bytes()).unwrap();
        client.head("GET").unwrap();
        client.piece().unwrap().unwrap();
        let process = scene.proxy.process();
        process.signal("TERM");
        process.find(|line| line.contains("stopping").then_some(()));
        process.signal(second);
        assert!(client.piece().is_err());
        let ended = scene.proxy.ended();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        // Its line of log is written all the same.
        assert!(ended.err.contains("/stream"), "{ended:?}");
    }
}

#[test]
fn a_reload_before_the_end_counts() {
    let scene = Setup::new().top("limits.drain_timeout = \"1h\"").start(|_, reply| {
        reply.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")?;
        loop {
            thread::park();
        }
    });
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(&get("/a").bytes()).unwrap();
    client.head("GET").unwrap();
    let home = scene.proxy.home();
    let text = std::fs::read_to_string(home.path().join("countersign.toml")).unwrap();
    home.write("countersign.toml", &text.replace("1h", "100ms"));
    let process = scene.proxy.process();
    process.signal("HUP");
    process.find(|line| line.contains("the configuration is taken up").then_some(()));
    let ended = scene.proxy.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
