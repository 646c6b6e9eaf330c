//! The way to the stage: TLS, names, kept connections, and what is answered when there is no answer.

use std::{
    io::{Read, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustls::ProtocolVersion;

use crate::support::{
    PATIENCE,
    client::{Ask, Client, Via},
    faulty::Deaf,
    origin::{Options, Origin, Then, answer},
    process::Launch,
    scene::{ACCESS_KEY, NAME, SECRET, Scene, Setup, assert_refusal, ok},
};

/// The proxy before a stage of which only its configuration is given.
fn before(stage: &str) -> crate::support::process::Countersign {
    let text = format!("listen = \"127.0.0.1:0\"\nadmin = \"off\"\n[[stage]]\n{stage}\n");
    Launch::config(&text).keys(ACCESS_KEY, SECRET).start()
}

/// Asked by both protocols, the proxy refuses so.
fn refuses(address: std::net::SocketAddr, method: &str, status: u16, code: &str) -> String {
    let mut message = String::new();
    for via in Via::ALL {
        let answer = via.exchange(address, &Ask::new(method, "/a")).unwrap();
        assert_refusal(&answer, status, code);
        answer.json()["message"].as_str().unwrap().clone_into(&mut message);
    }
    message
}

#[test]
fn tls_12_and_13_are_spoken_with_sni_and_the_host_of_the_url() {
    for (tls12_only, version) in [(true, ProtocolVersion::TLSv1_2), (false, ProtocolVersion::TLSv1_3)] {
        let options = Options { names: vec![NAME.to_owned()], tls12_only, ..Options::default() };
        let scene = Setup::new().origin(options).start_ok();
        for via in Via::ALL {
            let request = scene.sent(via, &Ask::new("GET", "/a"));
            let session = request.tls.as_ref().unwrap();
            assert_eq!(session.version, Some(version));
            assert_eq!(session.name.as_deref(), Some(NAME), "connect_to changes only what is dialled");
            assert_eq!(session.protocol.as_deref(), Some(&b"http/1.1"[..]));
            assert_eq!(request.head.one("host"), Some(NAME));
        }
    }
}

#[test]
fn an_untrusted_root_is_refused() {
    let origin = Origin::tls(&[NAME], ok);
    let other = Origin::tls(&[NAME], ok);
    let port = origin.address().port();
    // Somebody else's root: the platform may have none at all.
    let proxy = before(&format!(
        "url = \"https://{NAME}/prod\"\nconnect_to = \"127.0.0.1:{port}\"\nca_bundle = \"{}\"",
        other.ca().display()
    ));
    let message = refuses(proxy.address(), "GET", 502, "upstream-tls");
    assert!(message.contains(NAME) && message.contains("certificate"), "{message}");
    assert_eq!(origin.take().len(), 0);
}

#[test]
fn the_platforms_roots_are_trusted() {
    let origin = Origin::tls(&[NAME], ok);
    let port = origin.address().port();
    let text = format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"off\"\n[[stage]]\nurl = \"https://{NAME}/prod\"\n\
         connect_to = \"127.0.0.1:{port}\"\n"
    );
    let ca = origin.ca().to_str().unwrap();
    let proxy = Launch::config(&text).keys(ACCESS_KEY, SECRET).variable("SSL_CERT_FILE", ca).start();
    assert_eq!(Via::Http1.exchange(proxy.address(), &Ask::new("GET", "/a")).unwrap().status, 200);
    assert_eq!(origin.next().tls.as_ref().unwrap().name.as_deref(), Some(NAME));
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    for names in [&["elsewhere.example"][..], &["127.0.0.1"], &["*.us-west-2.amazonaws.com"]] {
        let options =
            Options { names: names.iter().map(|&name| name.to_owned()).collect(), ..Options::default() };
        let scene = Setup::new().origin(options).start_ok();
        for via in Via::ALL {
            scene.refused(via, &Ask::new("GET", "/a"), 502, "upstream-tls");
        }
    }
    // A wildcard stands for one label.
    let options =
        Options { names: vec!["*.execute-api.us-west-2.amazonaws.com".to_owned()], ..Options::default() };
    let scene = Setup::new().origin(options).start_ok();
    scene.sent(Via::Http1, &Ask::new("GET", "/a"));
}

#[test]
fn a_stage_may_be_an_address() {
    let options = Options { names: vec!["127.0.0.1".to_owned()], ..Options::default() };
    let origin = Origin::with(options, ok);
    let proxy = before(&format!(
        "url = \"https://127.0.0.1:{}/prod\"\nregion = \"us-west-2\"\nca_bundle = \"{}\"",
        origin.address().port(),
        origin.ca().display()
    ));
    assert_eq!(Via::Http1.exchange(proxy.address(), &Ask::new("GET", "/a")).unwrap().status, 200);
    let request = origin.next();
    assert_eq!(request.head.one("host"), Some(&*format!("127.0.0.1:{}", origin.address().port())));
    assert_eq!(request.tls.as_ref().unwrap().name, None, "SNI names no address (RFC 6066, section 3)");
}

#[test]
fn a_stage_without_tls_is_for_this_machine_alone() {
    let scene = Setup::new().plain().start_ok();
    for via in Via::ALL {
        let request = scene.sent(via, &Ask::new("GET", "/a"));
        let host = format!("abc123.execute-api.localhost:{}", scene.origin.address().port());
        assert_eq!((request.head.one("host"), request.tls.is_none()), (Some(&*host), true));
    }
    // *.localhost is this machine (RFC 6761, section 6.3), whether or not the resolver knows.
    let origin = Origin::plain(ok);
    let port = origin.address().port();
    for host in ["abc123.execute-api.localhost", "localhost", "127.0.0.1"] {
        let proxy = before(&format!("url = \"http://{host}:{port}/prod\"\nregion = \"us-west-2\""));
        let answer = Via::Http1.exchange(proxy.address(), &Ask::new("GET", "/a")).unwrap();
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{host}");
        assert_eq!(origin.next().head.one("host"), Some(&*format!("{host}:{port}")));
    }
    let text = format!("[[stage]]\nurl = \"http://{NAME}/prod\"\n");
    let ended = Launch::config(&text).run();
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("https"), "{ended:?}");
}

#[test]
fn connections_are_kept_and_used_again() {
    let scene = Setup::new().start_ok();
    for number in 0..10 {
        let via = Via::ALL[number % 2];
        scene.sent(via, &Ask::new(["GET", "POST"][number % 2], "/a"));
    }
    assert_eq!(scene.origin.connections(), 1);
    // As many as there are requests at a time, and all of them are kept.
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let scene = Setup::new().start(move |request, reply| {
        if request.target() == b"/prod/held" {
            gone.lock().unwrap().recv().unwrap();
        }
        ok(request, reply)
    });
    for _ in 0..2 {
        let mut clients: Vec<_> = (0..4).map(|_| Client::connect(scene.proxy.address()).unwrap()).collect();
        for client in &mut clients {
            client.send(&Ask::new("GET", "/held").bytes()).unwrap();
        }
        for _ in 0..4 {
            scene.origin.next();
        }
        for _ in 0..4 {
            go.send(()).unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.answer("GET").unwrap().status, 200);
        }
        assert_eq!(scene.origin.connections(), 4);
    }
}

#[test]
fn a_connection_that_the_stage_says_it_closes_is_not_kept() {
    let scene = Setup::new().start(|_, reply| {
        reply.send(answer("200 OK", &[("connection", "close")], "ok"))?;
        Ok(Then::Close)
    });
    for _ in 0..5 {
        for via in Via::ALL {
            scene.sent(via, &Ask::new("POST", "/a").body("x"));
        }
    }
    assert_eq!(scene.origin.connections(), 10);
}

#[test]
fn idle_connections_that_the_stage_closed_cost_no_request() {
    let scene = Setup::new().start_ok();
    for method in ["GET", "POST", "PUT", "DELETE", "GET", "POST"] {
        for via in Via::ALL {
            scene.sent(via, &Ask::new(method, "/a").body("x"));
            // Whatever the proxy has seen of the end by the next request, nothing of that can have been processed.
            scene.origin.hang_up();
            while scene.origin.open() > 0 {
                thread::yield_now();
            }
        }
    }
}

/// A stage that ends the second request of each connection without an answer.
fn cutting(setup: Setup, then: Then) -> Scene {
    let seen = Mutex::new(Vec::new());
    setup.start(move |request, reply| {
        let mut seen = seen.lock().unwrap();
        if seen.contains(&request.connection) {
            return Ok(then);
        }
        seen.push(request.connection);
        ok(request, reply)
    })
}

#[test]
fn a_safe_request_that_a_kept_connection_cut_is_sent_again_once() {
    for then in [Then::Close, Then::Cut, Then::Reset] {
        let scene = cutting(Setup::new(), then);
        for via in Via::ALL {
            for method in ["GET", "HEAD", "OPTIONS"] {
                assert_eq!(scene.ask(via, &Ask::new(method, "/first")).status, 200);
                assert_eq!(scene.ask(via, &Ask::new(method, "/second")).status, 200, "{then:?} {method}");
                let seen = scene.origin.take();
                // The first may itself have met the connection that the one before left.
                let seconds: Vec<_> =
                    seen.iter().filter(|request| request.target() == b"/prod/second").collect();
                assert_eq!(seconds.len(), 2, "{then:?} {method}");
                assert_ne!(seconds[0].connection, seconds[1].connection);
                for second in seconds {
                    crate::support::scene::assert_signed(second);
                }
                scene.origin.hang_up();
                while scene.origin.open() > 0 {
                    thread::yield_now();
                }
            }
        }
    }
}

#[test]
fn nothing_else_is_ever_sent_twice() {
    for (setup, methods) in [
        (Setup::new(), &["POST", "PUT", "PATCH", "DELETE", "PURGE"][..]),
        (Setup::new().stage("retry = \"never\""), &["GET", "HEAD", "OPTIONS", "POST"]),
    ] {
        let scene = cutting(setup, Then::Close);
        for via in Via::ALL {
            for method in methods {
                assert_eq!(scene.ask(via, &Ask::new(method, "/first").body("x")).status, 200);
                let answer = scene.ask(via, &Ask::new(method, "/second").body("x"));
                assert_eq!(
                    (answer.status, answer.head.one("x-countersign-error")),
                    (502, Some("upstream-broken")),
                    "{method}"
                );
                let seen = scene.origin.take();
                let seconds = seen.iter().filter(|request| request.target() == b"/prod/second").count();
                assert_eq!(seconds, 1, "{method}");
            }
        }
    }
}

#[test]
fn a_new_connection_that_breaks_is_not_tried_again() {
    let scene = Setup::new().start(|_, _| Ok(Then::Close));
    for via in Via::ALL {
        for method in ["GET", "POST"] {
            let answer = scene.ask(via, &Ask::new(method, "/a"));
            assert_refusal(&answer, 502, "upstream-broken");
            assert_eq!(scene.origin.take().len(), 1, "{method}");
        }
    }
}

#[test]
fn a_connection_that_half_an_answer_broke_is_not_tried_again() {
    let scene = Setup::new().start(|request, reply| {
        if request.target() == b"/prod/first" {
            return ok(request, reply);
        }
        reply.send("HTTP/1.1 200 OK\r\ncontent-le")?;
        Ok(Then::Close)
    });
    for via in Via::ALL {
        assert_eq!(scene.ask(via, &Ask::new("GET", "/first")).status, 200);
        scene.origin.take();
        let answer = scene.ask(via, &Ask::new("GET", "/second"));
        assert_eq!(answer.status, 502, "{}", answer.text());
        assert_eq!(scene.origin.take().len(), 1);
    }
}

#[test]
fn nobody_listens() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = before(&format!("url = \"http://{free}/prod\"\nregion = \"us-west-2\""));
    let message = refuses(proxy.address(), "GET", 502, "upstream-connect");
    assert!(message.contains(&free.to_string()), "{message}");
    refuses(proxy.address(), "POST", 502, "upstream-connect");
}

#[test]
fn a_name_without_an_address() {
    // RFC 6761, section 6.4: "invalid" never resolves, and resolvers need ask nobody.
    let proxy =
        before("url = \"https://api.invalid/prod\"\nregion = \"us-west-2\"\ntimeouts.connect = \"1m\"");
    let answer = Via::Http1.exchange(proxy.address(), &Ask::new("GET", "/a")).unwrap();
    assert_refusal(&answer, 502, "upstream-name");
    assert!(answer.text().contains("api.invalid"), "{}", answer.text());
}

#[test]
fn no_connection_in_time() {
    // It accepts, and never says a word of TLS.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let root = Origin::tls(&[NAME], ok);
    let proxy = before(&format!(
        "url = \"https://{NAME}/prod\"\nconnect_to = \"{address}\"\nca_bundle = \"{}\"\ntimeouts.tls = \"200ms\"",
        root.ca().display()
    ));
    let message = refuses(proxy.address(), "GET", 504, "upstream-tls-timeout");
    assert!(message.contains(NAME), "{message}");
    // Nothing of it is heard at all.
    let deaf = Deaf::at("127.0.0.1:0".parse().unwrap());
    let address = deaf.address();
    let proxy = before(&format!(
        "url = \"http://{address}/prod\"\nregion = \"us-west-2\"\ntimeouts.connect = \"200ms\""
    ));
    let message = refuses(proxy.address(), "POST", 504, "upstream-connect-timeout");
    assert!(message.contains(&address.to_string()), "{message}");
}

#[test]
fn no_answer_in_time() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let scene = Setup::new().stage("timeouts.first_byte = \"200ms\"").start(move |request, reply| {
        if request.target() == b"/prod/slow" {
            let _ = gone.lock().unwrap().recv();
        }
        ok(request, reply)
    });
    for via in Via::ALL {
        for method in ["GET", "POST"] {
            // On a kept connection too it is not sent again: it may be at work on it.
            scene.sent(via, &Ask::new("GET", "/a"));
            let answer = scene.ask(via, &Ask::new(method, "/slow"));
            assert_refusal(&answer, 504, "upstream-timeout");
            assert_eq!(scene.origin.take().len(), 1, "{method}");
            go.send(()).unwrap();
        }
    }
    // The late answer belongs to nobody: the connection it comes on is not used again.
    assert_eq!(scene.sent(Via::Http1, &Ask::new("GET", "/a")).target(), b"/prod/a");
}

#[expect(clippy::disallowed_methods, reason = "a stage that reads slowly is what is tested")]
#[test]
fn a_slow_upload_is_not_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // A small window: most of the body waits in the proxy until the stage reads on.
    socket2::SockRef::from(&listener).set_recv_buffer_size(128 << 10).unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = before(&format!(
        "url = \"http://{address}/prod\"\nregion = \"us-west-2\"\ntimeouts.first_byte = \"2s\""
    ));
    let stage = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let begun = Instant::now();
        let mut piece = vec![0; 128 << 10];
        // Slowly for longer than first_byte, then the rest.
        while begun.elapsed() < Duration::from_millis(2600) {
            stream.read_exact(&mut piece).unwrap();
            assert_ne!(piece.last(), Some(&b'!'), "the upload was over too soon to show anything");
            thread::sleep(Duration::from_millis(70));
        }
        loop {
            let length = stream.read(&mut piece).unwrap();
            assert_ne!(length, 0, "the proxy broke off the upload");
            if piece[length - 1] == b'!' {
                break;
            }
        }
        stream.write_all(&answer("200 OK", &[], "ok")).unwrap();
    });
    let mut body = vec![b'x'; 9 << 20];
    body.push(b'!');
    let answer = Via::Http1.exchange(proxy.address(), &Ask::new("POST", "/a").body(body)).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    stage.join().unwrap();
}

/// A stage that answers an upload before it reads it, stays, and reads no more until it is told to go.
fn answers_early(setup: Setup) -> (Scene, mpsc::Sender<()>) {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let options = Options { answer_at_head: true, ..Options::default() };
    let rule = "route = [{ path = \"/*\", auth = \"none\" }]";
    let scene = setup.stage_more(rule).origin(options).start(move |request, reply| {
        ok(request, reply)?;
        if request.target() == b"/prod/upload" {
            let _ = gone.lock().unwrap().recv();
        }
        Ok(Then::Keep)
    });
    (scene, go)
}

#[test]
fn a_stage_that_answers_before_it_reads_holds_up_no_other_request() {
    let (scene, go) = answers_early(Setup::new().plain());
    for via in Via::ALL {
        let upload = scene.sent(via, &Ask::new("PUT", "/upload").body(vec![b'x'; 9 << 20]));
        let next = scene.sent(via, &Ask::new("GET", "/next"));
        assert_ne!(next.connection, upload.connection);
        go.send(()).unwrap();
    }
}

/// How much a connection on this machine takes that nobody reads from.
fn unread() -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let _other = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let (piece, mut taken) = (vec![0; 64 << 10], 0);
    while let Ok(length) = stream.write(&piece) {
        taken += length;
    }
    taken
}

/// The rest of the upload is neither in the kernel nor with hyper, which takes it for sent.
#[test]
fn what_tls_still_has_of_an_upload_holds_up_no_other_request() {
    // The kernel would end the connection after 15 seconds, and the request would go over another.
    let (scene, go) = answers_early(Setup::new().stage("timeouts.first_byte = \"5s\""));
    let unread = unread();
    for more in [192 << 10, 256 << 10, 320 << 10] {
        let upload = scene.sent(Via::Http1, &Ask::new("PUT", "/upload").body(vec![b'x'; unread + more]));
        let next = scene.sent(Via::Http1, &Ask::new("GET", "/next"));
        assert_ne!(next.connection, upload.connection);
        go.send(()).unwrap();
    }
}

#[test]
fn what_is_not_http_is_no_answer() {
    let scene = Setup::new().start(|request, reply| {
        reply.send(match request.target() {
            b"/prod/text" => &b"hello\r\n\r\n"[..],
            b"/prod/status" => b"HTTP/1.1 9x9 OK\r\n\r\n",
            b"/prod/field" => b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"/prod/length" => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
            b"/prod/http2" => b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\x01\0\0\0\x05\0\xff\xff\xff",
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nok",
        })?;
        Ok(Then::Close)
    });
    for via in Via::ALL {
        for path in ["/text", "/status", "/field", "/length", "/http2", "/number"] {
            for method in ["GET", "POST"] {
                let answer = scene.ask(via, &Ask::new(method, path));
                assert_eq!(
                    (answer.status, answer.head.one("x-countersign-error")),
                    (502, Some("upstream-garbage")),
                    "{path}: {}",
                    answer.text()
                );
                assert_eq!(scene.origin.take().len(), 1, "{path}");
            }
        }
    }
}

#[test]
fn tls_to_a_stage_that_speaks_none() {
    let origin = Origin::plain(ok);
    let root = Origin::tls(&[NAME], ok);
    let proxy = before(&format!(
        "url = \"https://{NAME}/prod\"\nconnect_to = \"{}\"\nca_bundle = \"{}\"",
        origin.address(),
        root.ca().display()
    ));
    refuses(proxy.address(), "GET", 502, "upstream-tls");
}

#[test]
fn a_stage_that_hangs_up_in_the_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 1]);
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    let root = Origin::tls(&[NAME], ok);
    let proxy = before(&format!(
        "url = \"https://{NAME}/prod\"\nconnect_to = \"{address}\"\nca_bundle = \"{}\"",
        root.ca().display()
    ));
    refuses(proxy.address(), "POST", 502, "upstream-tls");
}

#[test]
fn a_bundle_that_is_none_stops_the_start() {
    for (file, content) in [("ca.pem", "not PEM"), ("other.pem", "")] {
        let text = format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"off\"\n[[stage]]\nurl = \"https://{NAME}/prod\"\nca_bundle = \"ca.pem\"\n"
        );
        let ended = Launch::config(&text).file(file, content).run();
        assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
        assert!(ended.err.contains("ca.pem"), "{ended:?}");
    }
}
