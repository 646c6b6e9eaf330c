//! Answers on the way back: byte for byte and as they come, but for what a hop must not pass, `Location` into the
//! stage, and secrets that a refusal echoes. An answer that the stage cuts short is an error for the client too.

use std::{
    io,
    sync::{Mutex, mpsc},
};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use crate::support::{
    client::{Ask, Client, Via},
    h2c,
    origin::{Then, answer},
    scene::{API_KEY, NAME, Scene, Setup, TOKEN},
};

/// A stage that answers each request with the bytes that its path names.
fn answering(setup: Setup, answers: &'static [(&'static str, &'static [u8], Then)]) -> Scene {
    setup.start(move |request, reply| {
        let path = request.target().strip_prefix(b"/prod/").unwrap_or(request.target());
        let (_, bytes, then) = answers
            .iter()
            .find(|(name, ..)| name.as_bytes() == path)
            .unwrap_or_else(|| panic!("no answer for {}", path.escape_ascii()));
        reply.send(bytes)?;
        Ok(*then)
    })
}

#[test]
fn status_headers_and_body_pass_as_they_are() {
    let scene = answering(
        Setup::new(),
        &[
            (
                "a",
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Repeat: 2\r\nx-repeat: 1\r\nX-Odd: caf\xe9  \t x\r\n\
                  Date: Tue, 24 Nov 2026 12:00:00 GMT\r\nServer: x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                  Content-Encoding: gzip\r\nVary: origin\r\nVia: 1.1 x\r\nx-amzn-RequestId: 1-2\r\n\
                  content-length: 4\r\n\r\n\x1f\x8b\x00\xff",
                Then::Keep,
            ),
            ("chunks", b"HTTP/1.1 201 Made\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n", Then::Keep),
            ("end", b"HTTP/1.1 202 Accepted\r\n\r\nuntil the end", Then::Close),
            ("empty", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Then::Keep),
            ("odd", b"HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n", Then::Keep),
            ("1.0", b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", Then::Close),
        ],
    );
    for via in Via::ALL {
        let answer = scene.ask(via, &Ask::new("GET", "/a"));
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"\x1f\x8b\x00\xff"[..]));
        let mut fields: Vec<_> =
            answer.head.fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        // Nothing is put in but the request's id.
        let id = fields.pop().expect("there are some");
        assert_eq!((id.0, id.1.len()), ("x-request-id", 16));
        let expected: [(&str, &[u8]); 13] = [
            ("content-type", b"text/plain"),
            ("x-repeat", b"2"),
            ("x-repeat", b"1"),
            ("x-odd", b"caf\xe9  \t x"),
            ("date", b"Tue, 24 Nov 2026 12:00:00 GMT"),
            ("server", b"x"),
            ("set-cookie", b"a=1"),
            ("set-cookie", b"b=2"),
            ("content-encoding", b"gzip"),
            ("vary", b"origin"),
            ("via", b"1.1 x"),
            ("x-amzn-requestid", b"1-2"),
            ("content-length", b"4"),
        ];
        assert_eq!(fields, expected, "{via:?}");
        for (path, status, body) in [
            ("/chunks", 201, "abcde"),
            ("/end", 202, "until the end"),
            ("/empty", 200, ""),
            ("/odd", 299, ""),
            ("/1.0", 200, "hi"),
        ] {
            let answer = scene.ask(via, &Ask::new("GET", path));
            assert_eq!((answer.status, answer.text()), (status, body), "{via:?} {path}");
        }
    }
}

#[test]
fn the_stages_own_refusals_pass_untouched() {
    let scene = answering(
        Setup::new().api_key(),
        &[
            (
                "403",
                b"HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: AccessDeniedException\r\ncontent-type: application/json\r\n\
                  content-length: 59\r\n\r\n{\"Message\":\"User: arn:aws:iam::1:user/x is not authorized\"}",
                Then::Close,
            ),
            ("429", b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\ncontent-length: 2\r\n\r\n{}", Then::Keep),
            ("500", b"HTTP/1.1 500 x\r\ncontent-length: 4\r\n\r\noops", Then::Keep),
            ("502", b"HTTP/1.1 502 x\r\ncontent-length: 4\r\n\r\noops", Then::Keep),
            ("503", b"HTTP/1.1 503 x\r\ncontent-length: 4\r\n\r\noops", Then::Keep),
            ("504", b"HTTP/1.1 504 x\r\ncontent-length: 4\r\n\r\noops", Then::Keep),
        ],
    );
    for via in Via::ALL {
        for status in [403, 429, 500, 502, 503, 504] {
            let answer = scene.ask(via, &Ask::new("GET", &format!("/{status}")));
            assert_eq!((answer.status, answer.head.one("x-countersign-error")), (status, None));
            assert_eq!(scene.origin.take().len(), 1, "{status} was sent again");
            match status {
                403 => {
                    assert_eq!(answer.head.one("x-amzn-errortype"), Some("AccessDeniedException"));
                    assert!(answer.text().starts_with("{\"Message\":\"User: arn:aws:iam::1:user/x is not"));
                }
                429 => assert_eq!((answer.head.one("retry-after"), answer.text()), (Some("7"), "{}")),
                _ => assert_eq!(answer.text(), "oops"),
            }
        }
    }
}

#[test]
fn an_answer_reaches_the_client_as_it_is_sent() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let scene = Setup::new().start(move |_, reply| {
        let gone = gone.lock().unwrap();
        reply.send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )?;
        gone.recv().unwrap();
        for event in ["one", "two", "three"] {
            let text = format!("data: {event}\n\n");
            reply.send(format!("{:x}\r\n{text}\r\n", text.len()))?;
            gone.recv().unwrap();
        }
        reply.send("0\r\n\r\n")?;
        Ok(Then::Keep)
    });
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(&Ask::new("GET", "/events").bytes()).unwrap();
    assert_eq!(client.head("GET").unwrap().0, 200, "the head comes before any event");
    for event in ["one", "two", "three"] {
        go.send(()).unwrap();
        assert_eq!(client.piece().unwrap().unwrap(), format!("data: {event}\n\n").as_bytes());
    }
    go.send(()).unwrap();
    assert_eq!(client.piece().unwrap(), None);

    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let mut stream = client.begin(&Ask::new("GET", "/events"), true).unwrap();
    assert_eq!(stream.head().unwrap().0, 200);
    for event in ["one", "two", "three"] {
        go.send(()).unwrap();
        assert_eq!(stream.piece().unwrap().unwrap(), format!("data: {event}\n\n").as_bytes());
    }
    go.send(()).unwrap();
    // Its end may come as a frame of its own, without data.
    let mut end = stream.piece().unwrap();
    while end.as_ref().is_some_and(Vec::is_empty) {
        end = stream.piece().unwrap();
    }
    assert_eq!(end, None);
}

#[test]
fn an_answer_that_comes_before_the_body_was_sent_passes() {
    let options = crate::support::origin::Options { answer_at_head: true, ..Default::default() };
    let scene = Setup::new().origin(options).start(|_, reply| {
        reply.send(answer("413 Too Large", &[], "no"))?;
        Ok(Then::Keep)
    });
    for via in Via::ALL {
        let answer = scene.ask(via, &Ask::new("PUT", "/a").body(vec![b'x'; 200_000]));
        assert_eq!((answer.status, answer.text()), (413, "no"), "{via:?}");
        assert_eq!(answer.head.one("x-countersign-error"), None);
    }
}

#[test]
fn a_cut_answer_is_an_error_for_the_client() {
    let scene = answering(
        Setup::new(),
        &[
            ("length", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", Then::Close),
            ("length-cut", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", Then::Cut),
            ("length-reset", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", Then::Reset),
            ("chunk", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nshort", Then::Close),
            ("chunks", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n", Then::Close),
            ("chunks-cut", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n", Then::Cut),
            (
                "chunks-bad",
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\nzz\r\n",
                Then::Keep,
            ),
            // Without TLS's farewell nobody knows whether this was all.
            ("end-cut", b"HTTP/1.1 200 OK\r\n\r\nshort", Then::Cut),
            // The proxy masks here, and holds back what may begin a secret.
            ("masked", b"HTTP/1.1 403 x\r\ncontent-length: 9\r\n\r\nshort", Then::Close),
        ],
    );
    for path in [
        "/length",
        "/length-cut",
        "/length-reset",
        "/chunk",
        "/chunks",
        "/chunks-cut",
        "/chunks-bad",
        "/end-cut",
        "/masked",
    ] {
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        client.send(&Ask::new("GET", path).bytes()).unwrap();
        // A reset may overtake the head; then the proxy's own answer says so.
        let (status, head) = client.head("GET").unwrap();
        if path == "/length-reset" && status == 502 {
            assert_eq!(head.one("x-countersign-error"), Some("upstream-broken"));
            continue;
        }
        let mut body = Vec::new();
        let error = loop {
            match client.piece() {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => panic!("{path}: {} looks whole", body.escape_ascii()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{path}: {error}");
        let client = h2c::Client::connect(scene.proxy.address()).unwrap();
        let cut = client.exchange(&Ask::new("GET", path));
        match cut {
            Err(error) => assert!(error.to_string().contains("stream error"), "{path}: {error}"),
            Ok(answer) => {
                assert_eq!((path, answer.status), ("/length-reset", 502));
            }
        }
    }
    // None of them was sent again: the client has seen their beginning.
    assert_eq!(scene.origin.take().iter().filter(|request| request.target() == b"/prod/chunks").count(), 2);
    scene.proxy.process().find(|line| line.contains("the answer ended early").then_some(())).unwrap();
}

#[test]
fn an_answer_that_stalls_is_cut() {
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let scene = Setup::new().stage("timeouts.idle = \"200ms\"").start(move |_, reply| {
        reply.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort")?;
        let _ = held.lock().unwrap().recv();
        Ok(Then::Close)
    });
    for via in Via::ALL {
        let error = via.exchange(scene.proxy.address(), &Ask::new("GET", "/a")).unwrap_err();
        assert!(!error.to_string().contains("deadline"), "{error}");
        hold.send(()).unwrap();
    }
}

#[test]
fn location_into_the_stage_points_back_here() {
    let scene = Setup::new().stage("mount = \"/m\"").start(|request, reply| {
        let location = request.head.one("x-location").unwrap();
        reply.send(answer("302 Found", &[("location", location)], ""))?;
        Ok(Then::Keep)
    });
    let stage = |path: &str| format!("https://{NAME}{path}");
    for via in Via::ALL {
        for (location, here) in [
            (stage("/prod/x?y=1#z"), "http://localhost:99/m/x?y=1#z"),
            (stage(":443/prod/x"), "http://localhost:99/m/x"),
            (stage("/prod"), "http://localhost:99/m"),
            (stage("/prod/"), "http://localhost:99/m/"),
            (stage("/prod?x"), "http://localhost:99/m?x"),
            (format!("https://{}/prod/x", NAME.to_uppercase()), "http://localhost:99/m/x"),
            (format!("//{NAME}/prod/x"), "http://localhost:99/m/x"),
            ("/prod/x".to_owned(), "/m/x"),
            ("/prod".to_owned(), "/m"),
            // Not into the stage:
            ("/production/x".to_owned(), "/production/x"),
            ("/other/x".to_owned(), "/other/x"),
            ("relative".to_owned(), "relative"),
            ("?x".to_owned(), "?x"),
            ("https://elsewhere.example/prod/x".to_owned(), "https://elsewhere.example/prod/x"),
            ("//elsewhere.example/prod/x".to_owned(), "//elsewhere.example/prod/x"),
            (stage(":8443/prod/x"), &stage(":8443/prod/x")),
            (stage("/dev/x"), &stage("/dev/x")),
            (stage(".evil.example/prod"), &stage(".evil.example/prod")),
            (format!("http://{NAME}/prod/x"), &format!("http://{NAME}/prod/x")),
            (String::new(), ""),
        ] {
            let ask = Ask::new("GET", "/m/a").header("host", "localhost:99").header("x-location", &location);
            let answer = scene.ask(via, &ask);
            assert_eq!((answer.status, answer.head.one("location")), (302, Some(here)), "{via:?} {location}");
        }
    }
}

#[test]
fn location_at_the_root_mount() {
    let scene = Setup::new().start(|request, reply| {
        let location = request.head.one("x-location").unwrap();
        reply.send(answer("201 Created", &[("location", location)], ""))?;
        Ok(Then::Keep)
    });
    for via in Via::ALL {
        for (location, here) in [
            (format!("https://{NAME}/prod/x"), "http://127.0.0.1/x"),
            (format!("https://{NAME}/prod"), "http://127.0.0.1/"),
            (format!("https://{NAME}/prod?x"), "http://127.0.0.1/?x"),
            ("/prod/x".to_owned(), "/x"),
            ("/prod".to_owned(), "/"),
            ("/x".to_owned(), "/x"),
        ] {
            let ask = Ask::new("POST", "/a").header("host", "127.0.0.1").header("x-location", &location);
            let answer = scene.ask(via, &ask);
            assert_eq!(answer.head.one("location"), Some(here), "{via:?} {location}");
        }
    }
}

#[test]
fn answers_without_a_body() {
    let scene = answering(
        Setup::new(),
        &[
            ("head", b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\netag: \"x\"\r\n\r\n", Then::Keep),
            ("head-chunked", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Then::Keep),
            ("204", b"HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n", Then::Keep),
            ("304", b"HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 1234\r\n\r\n", Then::Keep),
        ],
    );
    for via in Via::ALL {
        let head = scene.ask(via, &Ask::new("HEAD", "/head"));
        assert_eq!((head.status, head.head.one("content-length"), head.body.len()), (200, Some("1234"), 0));
        assert_eq!(head.head.one("etag"), Some("\"x\""));
        assert_eq!(scene.ask(via, &Ask::new("HEAD", "/head-chunked")).status, 200);
        for method in ["GET", "DELETE", "HEAD"] {
            let gone = scene.ask(via, &Ask::new(method, "/204"));
            assert_eq!((gone.status, gone.head.one("x-a"), gone.body.len()), (204, Some("b"), 0));
            assert_eq!((gone.head.one("content-length"), gone.head.one("transfer-encoding")), (None, None));
            let same = scene.ask(via, &Ask::new(method, "/304"));
            assert_eq!((same.status, same.head.one("etag"), same.body.len()), (304, Some("\"x\""), 0));
        }
    }
    assert_eq!(scene.origin.connections(), 1, "each answer's end was seen");
    // They end where they should: the next answer on the client's connection is not misread.
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    for (method, path, status) in [
        ("HEAD", "/head", 200),
        ("GET", "/204", 204),
        ("GET", "/304", 304),
        ("HEAD", "/head-chunked", 200),
        ("GET", "/204", 204),
    ] {
        assert_eq!(client.exchange(&Ask::new(method, path)).unwrap().status, status);
    }
}

#[test]
fn interim_answers_are_skipped() {
    let scene = answering(
        Setup::new(),
        &[
            (
                "100",
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                Then::Keep,
            ),
            (
                "103",
                b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                  HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
                Then::Keep,
            ),
        ],
    );
    for via in Via::ALL {
        for path in ["/100", "/103"] {
            let answer = scene.ask(via, &Ask::new("PUT", path).body("x"));
            assert_eq!(
                (answer.status, answer.text(), answer.interim.len()),
                (200, "ok", 0),
                "{via:?} {path}"
            );
            assert_eq!(answer.head.one("link"), None);
        }
    }
}

#[test]
fn an_upgrade_nobody_asked_for_is_no_answer() {
    let scene = answering(
        Setup::new(),
        &[(
            "101",
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nraw",
            Then::Close,
        )],
    );
    for via in Via::ALL {
        let answer = scene.ask(via, &Ask::new("PUT", "/101").body("x"));
        assert_eq!(answer.status, 502, "{via:?}: {}", answer.text());
        assert!(answer.head.one("x-countersign-error").is_some());
    }
}

#[test]
fn hop_by_hop_fields_of_the_stage_end_here() {
    let scene = answering(
        Setup::new(),
        &[(
            "a",
            b"HTTP/1.1 200 OK\r\nConnection: x-one\r\nconnection: keep-alive\r\nx-one: 1\r\nx-two: 2\r\nKeep-Alive: timeout=5\r\n\
              Proxy-Authenticate: Basic\r\nProxy-Connection: close\r\nTrailer: x-sum\r\nUpgrade: h2c\r\n\
              transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n",
            Then::Keep,
        )],
    );
    for via in Via::ALL {
        let answer = scene.ask(via, &Ask::new("GET", "/a"));
        assert_eq!(answer.text(), "ok");
        for name in [
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-connection",
            "trailer",
            "upgrade",
            "x-one",
            "x-sum",
        ] {
            assert_eq!(answer.head.one(name), None, "{via:?} {name}");
        }
        assert_eq!(answer.head.one("x-two"), Some("2"));
    }
    assert_eq!(scene.origin.connections(), 1);
}

#[test]
fn secrets_that_a_refusal_echoes_are_masked() {
    // As API Gateway does when a signature does not match, in pieces that part the secrets.
    let scene = Setup::new().api_key().session().start(|request, reply| {
        let token = request.head.one("x-amz-security-token").unwrap();
        let echo = format!(
            "{{\"message\":\"The Canonical String ... 'x-amz-security-token:{token}\\nx-api-key:{API_KEY}\\n' {}\"}}",
            token.replace('/', "\\/")
        );
        let (status, pieces) = match request.target() {
            b"/prod/whole" => ("403 Forbidden", 1),
            b"/prod/pieces" => ("403 Forbidden", 7),
            b"/prod/server" => ("500 Internal Server Error", 3),
            _ => ("200 OK", 1),
        };
        if pieces == 1 {
            reply.send(answer(status, &[], echo))?;
            return Ok(Then::Keep);
        }
        reply.send(format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n"))?;
        for piece in echo.as_bytes().chunks(pieces) {
            reply.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())?;
        }
        reply.send("0\r\n\r\n")?;
        Ok(Then::Keep)
    });
    let (token, key) = ("*".repeat(TOKEN.len()), "*".repeat(API_KEY.len()));
    let escaped = "*".repeat(TOKEN.replace('/', "\\/").len());
    let masked = format!(
        "{{\"message\":\"The Canonical String ... 'x-amz-security-token:{token}\\nx-api-key:{key}\\n' {escaped}\"}}"
    );
    for via in Via::ALL {
        for path in ["/whole", "/pieces", "/server"] {
            assert_eq!(scene.ask(via, &Ask::new("GET", path)).text(), masked, "{via:?} {path}");
        }
        // What is no refusal is the stage's own affair.
        let fine = scene.ask(via, &Ask::new("GET", "/fine"));
        assert!(fine.text().contains(TOKEN) && fine.text().contains(API_KEY));
    }
}

/// As the stage compresses it.
fn packed(coding: &str, text: &str) -> Vec<u8> {
    let level = Compression::default();
    let mut packer: Box<dyn Packer> = match coding {
        "gzip" | "X-GZIP" => Box::new(GzEncoder::new(Vec::new(), level)),
        "deflate" => Box::new(ZlibEncoder::new(Vec::new(), level)),
        _ => return text.as_bytes().to_vec(),
    };
    packer.write_all(text.as_bytes()).unwrap();
    packer.end()
}

trait Packer: io::Write {
    fn end(self: Box<Self>) -> Vec<u8>;
}

impl Packer for GzEncoder<Vec<u8>> {
    fn end(self: Box<Self>) -> Vec<u8> {
        self.finish().unwrap()
    }
}

impl Packer for ZlibEncoder<Vec<u8>> {
    fn end(self: Box<Self>) -> Vec<u8> {
        self.finish().unwrap()
    }
}

#[test]
fn secrets_in_a_compressed_refusal_are_masked() {
    // Long, so that it comes out of its coding in many pieces.
    let filler = |at: usize| format!("{at:x}").repeat(at % 7);
    let filler: String = (0..20_000).map(filler).collect();
    let text =
        format!("{{\"message\":\"{filler} x-amz-security-token:{TOKEN} {filler}\\nx-api-key:{API_KEY}\"}}");
    let masked = text.replace(TOKEN, &"*".repeat(TOKEN.len())).replace(API_KEY, &"*".repeat(API_KEY.len()));
    let sent = text.clone();
    let scene = Setup::new().api_key().session().start(move |request, reply| {
        let path = String::from_utf8_lossy(request.target()).into_owned();
        let parts: Vec<&str> = path.split('/').skip(2).collect();
        let [coding, status, how] = parts[..] else { panic!("{path}") };
        let body = packed(coding, &sent);
        let fields = [("content-encoding", coding), ("content-type", "application/json")];
        let whole = answer(&format!("{status} x"), &fields, &body);
        let head = &whole[..whole.len() - body.len()];
        match how {
            _ if request.method() == "HEAD" => reply.send(head)?,
            "cut-in-coding" => {
                reply.send(answer(&format!("{status} x"), &fields, &body[..body.len() - 9]))?;
            }
            "cut" => {
                reply.send(&whole[..whole.len() - 9])?;
                return Ok(Then::Close);
            }
            "chunks" => {
                reply.send(format!(
                    "HTTP/1.1 {status} x\r\ncontent-encoding: {coding}\r\ntransfer-encoding: chunked\r\n\r\n"
                ))?;
                for piece in body.chunks(1000) {
                    reply.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())?;
                }
                reply.send("0\r\n\r\n")?;
            }
            _ => reply.send(whole)?,
        }
        Ok(Then::Keep)
    });
    let ask =
        |method: &str, path: &str| Ask::new(method, path).header("accept-encoding", "gzip, deflate, br");
    for via in Via::ALL {
        for coding in ["gzip", "X-GZIP", "deflate"] {
            for rest in ["403/whole", "500/whole", "403/chunks"] {
                let answer = scene.ask(via, &ask("GET", &format!("/{coding}/{rest}")));
                assert!(answer.text() == masked, "{via:?} {coding} {rest}: {}", answer.body.len());
                assert_eq!(answer.head.one("content-encoding"), None, "{via:?} {coding} {rest}");
            }
            // What ends early never ends well.
            for rest in ["403/cut", "403/cut-in-coding"] {
                let cut = via.exchange(scene.proxy.address(), &ask("GET", &format!("/{coding}/{rest}")));
                assert!(cut.is_err(), "{via:?} {coding} {rest}");
            }
            // What is no refusal, and what has no body, stays as it is.
            let fine = scene.ask(via, &ask("GET", &format!("/{coding}/200/whole")));
            assert!(fine.body == packed(coding, &text), "{via:?} {coding}");
            let head = scene.ask(via, &ask("HEAD", &format!("/{coding}/403/whole")));
            for answer in [fine, head] {
                assert_eq!(answer.head.one("content-encoding"), Some(coding));
                assert_eq!(
                    answer.head.one("content-length"),
                    Some(&*packed(coding, &text).len().to_string())
                );
            }
        }
        // Other codings pass: the gateway has none, and what an integration sends it could encode in any way.
        let other = scene.ask(via, &ask("GET", "/br/403/whole"));
        assert_eq!(other.head.one("content-encoding"), Some("br"));
        // It only says that it is one: the text is plain, and so it is masked.
        assert!(other.text() == masked);
    }
}

#[test]
fn a_refusal_s_headers_are_masked_too_and_none_says_it_is_the_proxy_s() {
    let scene = Setup::new().api_key().session().start(|request, reply| {
        let token = request.head.one("x-amz-security-token").unwrap();
        let status = if request.target() == b"/prod/fine" { "200 OK" } else { "403 Forbidden" };
        let echo = format!("a {token} {API_KEY} b");
        let fields = [("x-echo", &*echo), ("x-countersign-error", "token-missing"), ("x-other", "kept")];
        reply.send(answer(status, &fields, ""))?;
        Ok(Then::Keep)
    });
    for via in Via::ALL {
        let refused = scene.ask(via, &Ask::new("GET", "/a"));
        let masked = format!("a {} {} b", "*".repeat(TOKEN.len()), "*".repeat(API_KEY.len()));
        assert_eq!(refused.head.one("x-echo"), Some(&*masked));
        for answer in [refused, scene.ask(via, &Ask::new("GET", "/fine"))] {
            assert_eq!(answer.head.one("x-countersign-error"), None);
            assert_eq!(answer.head.one("x-other"), Some("kept"));
        }
    }
}

#[test]
fn what_begins_like_a_secret_and_is_none_is_not_lost() {
    let scene = answering(
        Setup::new().api_key(),
        &[
            ("length", b"HTTP/1.1 403 x\r\ncontent-length: 9\r\n\r\nno api-ke", Then::Keep),
            ("chunked", b"HTTP/1.1 403 x\r\ntransfer-encoding: chunked\r\n\r\n9\r\nno api-ke\r\n0\r\n\r\n", Then::Keep),
            (
                "trailers",
                b"HTTP/1.1 403 x\r\ntransfer-encoding: chunked\r\n\r\n9\r\nno api-ke\r\n0\r\nx-sum: 1\r\n\r\n",
                Then::Keep,
            ),
        ],
    );
    for via in Via::ALL {
        for path in ["/length", "/chunked", "/trailers"] {
            let answer = scene.ask(via, &Ask::new("GET", path).header("te", "trailers"));
            assert_eq!(answer.text(), "no api-ke", "{via:?} {path}");
        }
    }
    assert_eq!(scene.origin.connections(), 1);
}

#[test]
fn trailers_break_nothing() {
    let scene = answering(
        Setup::new(),
        &[(
            "a",
            b"HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n",
            Then::Keep,
        )],
    );
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    for te in ["trailers", "trailers, deflate", "", "gzip"] {
        let ask = Ask::new("GET", "/a").header("te", te).header("connection", "te");
        assert_eq!(client.exchange(&ask).unwrap().text(), "ok");
        assert_eq!(scene.ask(Via::H2c, &Ask::new("GET", "/a").header("te", "trailers")).text(), "ok");
    }
    assert_eq!(scene.origin.connections(), 1, "its connection is kept");
}

#[test]
fn fifty_mebibytes_pass_whole() {
    const MIB: usize = 1 << 20;
    let scene = Setup::new().start(|_, reply| {
        reply.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 50 * MIB))?;
        for number in 0..50_u8 {
            reply.send(vec![number; MIB])?;
        }
        Ok(Then::Keep)
    });
    for via in Via::ALL {
        let answer = scene.ask(via, &Ask::new("GET", "/a"));
        assert_eq!(answer.body.len(), 50 * MIB, "{via:?}");
        assert!(
            answer
                .body
                .chunks(MIB)
                .enumerate()
                .all(|(number, chunk)| chunk.iter().all(|b| *b == number as u8))
        );
    }
}

#[test]
fn a_client_that_leaves_costs_only_its_own_connection() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let scene = Setup::new().start(move |request, reply| {
        if request.target() == b"/prod/slow" {
            reply.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\nstart")?;
            gone.lock().unwrap().recv().unwrap();
            // The proxy has hung up, or does so while this is written.
            for _ in 0..100 {
                reply.send(vec![b'x'; 1_000_000])?;
            }
            return Ok(Then::Close);
        }
        reply.send(answer("200 OK", &[], "ok"))?;
        Ok(Then::Keep)
    });
    let mut leaver = Client::connect(scene.proxy.address()).unwrap();
    leaver.send(&Ask::new("GET", "/slow").bytes()).unwrap();
    assert_eq!(leaver.head("GET").unwrap().0, 200);
    drop(leaver);
    go.send(()).unwrap();
    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let mut stream = client.begin(&Ask::new("GET", "/slow"), true).unwrap();
    assert_eq!(stream.head().unwrap().0, 200);
    stream.reset();
    go.send(()).unwrap();
    assert_eq!(client.exchange(&Ask::new("GET", "/a")).unwrap().text(), "ok");
    for via in Via::ALL {
        assert_eq!(scene.ask(via, &Ask::new("GET", "/a")).text(), "ok");
    }
}
