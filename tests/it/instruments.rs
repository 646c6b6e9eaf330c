//! The tests' own tools tell the truth: what the origin captured is what was sent, a cut answer is an error for the
//! clients, the outside verifiers accept what is right and refuse what is not.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex, mpsc},
};

use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::support::{
    client::{Ask, Client, Via},
    h2c,
    ministack::Ministack,
    origin::{Options, Origin, Reply, Request, Then, answer},
    process::{Address, Running, Stream, listening},
    python::{self, Signed, Verifier},
};

const NAME: &str = "abc123.execute-api.us-west-2.amazonaws.com";

fn echo(request: &Request, reply: &mut Reply<'_>) -> io::Result<Then> {
    reply.send(answer("200 OK", &[("x-method", request.method())], &request.body))?;
    Ok(Then::Keep)
}

fn dial(origin: &Origin, name: &'static str) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(origin.ca()).expect("PEM")).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for both versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name).expect("a DNS name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("the configuration is whole");
    StreamOwned::new(connection, TcpStream::connect(origin.address()).expect("the origin listens"))
}

#[test]
fn origin_captures_what_was_sent_over_tls() {
    let origin = Origin::tls(&[NAME], |request, reply| {
        reply.send(answer("200 OK", &[], &request.body))?;
        Ok(Then::Close)
    });
    let mut stream = dial(&origin, NAME);
    let sent =
        b"POST /a%2Fb?x=%20 HTTP/1.1\r\nHost: h\r\nX-Odd:  v\xc3\xa9 \r\ntransfer-encoding: chunked\r\n\r\n\
        3;ext\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
    stream.write_all(sent).unwrap();
    let mut received = String::new();
    // An end without TLS's farewell would be an error here.
    stream.read_to_string(&mut received).unwrap();
    assert_eq!(received, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd");

    let request = origin.next();
    assert_eq!([request.head.raw.as_slice(), &request.wire_body].concat(), sent);
    assert_eq!((request.method(), request.target()), ("POST", &b"/a%2Fb?x=%20"[..]));
    assert_eq!(request.head.all("x-odd"), ["vé".as_bytes()]);
    assert_eq!((request.body.as_slice(), &request.broken), (&b"abcd"[..], &None));
    let session = request.tls.as_ref().expect("it came over TLS");
    assert_eq!(session.name.as_deref(), Some(NAME));
    assert_eq!(session.version, Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn origin_is_refused_under_another_name_and_says_so() {
    let origin =
        Origin::with(Options { names: vec![NAME.to_owned()], tls12_only: true, ..Options::default() }, echo);
    let mut stream = dial(&origin, "elsewhere.example");
    let refused = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert!(refused.to_string().contains("certificate not valid for name"), "{refused}");
    drop(stream);
    assert!(origin.failure().contains("alert"), "{}", origin.failure());
    assert_eq!(origin.take().len(), 0);

    let mut stream = dial(&origin, NAME);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let request = origin.next();
    assert_eq!(request.tls.as_ref().unwrap().version, Some(ProtocolVersion::TLSv1_2));
}

#[test]
fn connections_are_kept_counted_and_hung_up() {
    let origin = Origin::plain(echo);
    let mut client = Client::connect(origin.address()).unwrap();
    for body in ["one", "two"] {
        let ask = Ask::new("PUT", "/").header("x-a", "1").header("host", "h").body(body);
        let answer = client.exchange(&ask).unwrap();
        assert_eq!((answer.status, answer.text(), answer.head.one("X-Method")), (200, body, Some("PUT")));
        assert_eq!(origin.next().head.one("host"), Some("h"));
    }
    assert_eq!((origin.connections(), origin.open()), (1, 1));
    origin.hang_up();
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn a_cut_answer_is_an_error() {
    let origin = Origin::plain(|request, reply| {
        let (bytes, then): (&[u8], _) = match request.target() {
            b"/short" => (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", Then::Close),
            b"/chunk" => (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n", Then::Cut),
            b"/none" => (b"", Then::Reset),
            b"/both" => {
                (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n", Then::Keep)
            }
            _ => (b"HTTP/1.1 200 OK\r\n\r\nall of it", Then::Close),
        };
        reply.send(bytes)?;
        Ok(then)
    });
    for (target, kind) in [
        ("/short", io::ErrorKind::UnexpectedEof),
        ("/chunk", io::ErrorKind::UnexpectedEof),
        ("/none", io::ErrorKind::ConnectionReset),
        ("/both", io::ErrorKind::InvalidData),
    ] {
        let error = Via::Http1.exchange(origin.address(), &Ask::new("GET", target)).unwrap_err();
        assert_eq!(error.kind(), kind, "{target}: {error}");
    }
    let whole = Via::Http1.exchange(origin.address(), &Ask::new("GET", "/whole")).unwrap();
    assert_eq!(whole.text(), "all of it");
}

#[test]
fn a_request_that_ends_too_soon_is_captured_as_broken() {
    let origin = Origin::plain(echo);
    let mut client = Client::connect(origin.address()).unwrap();
    client.send(b"PUT / HTTP/1.1\r\ncontent-length: 9\r\n\r\nshort").unwrap();
    client.end_writing().unwrap();
    let request = origin.next();
    assert_eq!((request.body.as_slice(), request.broken.is_some()), (&b"short"[..], true));
    assert_eq!(client.rest().unwrap(), b"");

    let mut client = Client::connect(origin.address()).unwrap();
    client.send(b"PUT / HTTP/1.1\ncontent-length: 0\n\n").unwrap();
    assert_eq!(client.rest().unwrap(), b"");
    assert!(origin.failure().contains("does not end in CRLF"), "{}", origin.failure());
}

#[test]
fn an_answer_is_read_while_it_is_written() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let options = Options { answer_at_head: true, ..Options::default() };
    let origin = Origin::with(options, move |_, reply| {
        let gone = gone.lock().unwrap();
        reply
            .send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
        reply.send("3\r\none\r\n")?;
        gone.recv().unwrap();
        reply.send("3\r\ntwo\r\n0\r\n\r\n")?;
        Ok(Then::Keep)
    });
    let mut client = Client::connect(origin.address()).unwrap();
    // The body never comes: this origin answers at the head.
    client.send(b"PUT / HTTP/1.1\r\ncontent-length: 1\r\n\r\n").unwrap();
    assert_eq!(client.head("PUT").unwrap().0, 103);
    assert_eq!(client.head("PUT").unwrap().0, 200);
    assert_eq!(client.piece().unwrap().as_deref(), Some(&b"one"[..]));
    go.send(()).unwrap();
    assert_eq!(client.piece().unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(client.piece().unwrap(), None);

    go.send(()).unwrap();
    client.send(b"x").unwrap();
    let answer = client.exchange(&Ask::new("GET", "/")).unwrap();
    assert_eq!((answer.text(), answer.interim.as_slice()), ("onetwo", &[103][..]));
}

/// The other end of the HTTP/2 client, on the same crate; it echoes bodies piece by piece and ends one path's answers
/// with a reset.
fn http2_peer() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let mut connection = ::h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                tokio::spawn(async move {
                    let (parts, mut body) = request.into_parts();
                    let authority = parts.uri.authority().unwrap().to_string();
                    let head = http::Response::builder().header("x-authority", authority).body(()).unwrap();
                    let mut sending = respond.send_response(head, false).unwrap();
                    while let Some(Ok(piece)) = body.data().await {
                        body.flow_control().release_capacity(piece.len()).unwrap();
                        sending.send_data(piece, false).unwrap();
                    }
                    match parts.uri.path() {
                        "/cut" => sending.send_reset(::h2::Reason::INTERNAL_ERROR),
                        _ => sending.send_data(bytes::Bytes::new(), true).unwrap(),
                    }
                });
            }
        });
    });
    address
}

#[test]
fn http2_client_sends_and_reads_piece_by_piece() {
    let client = h2c::Client::connect(http2_peer()).unwrap();
    let large = vec![b'x'; 300_000];
    let echoed = client.exchange(&Ask::new("PUT", "/").header("host", "h:1").body(large.clone())).unwrap();
    assert_eq!(
        (echoed.status, echoed.head.one("x-authority"), echoed.body == large),
        (200, Some("h:1"), true)
    );

    let mut stream = client.begin(&Ask::new("PUT", "/"), false).unwrap();
    assert_eq!(stream.head().unwrap().0, 200);
    for piece in [b"one", b"two"] {
        stream.send(piece, false).unwrap();
        assert_eq!(stream.piece().unwrap().as_deref(), Some(&piece[..]));
    }
    stream.reset();

    let cut = client.exchange(&Ask::new("PUT", "/cut").body("x")).unwrap_err();
    assert!(cut.to_string().contains("unexpected internal error"), "{cut}");
}

#[test]
fn ready_lines_are_understood() {
    let tcp = Some(Address::Tcp("127.0.0.1:8080".parse().unwrap()));
    for line in [
        "2026-11-24T12:00:00Z  INFO countersign: listening on http://127.0.0.1:8080 stage=orders",
        r#"{"level":"INFO","fields":{"message":"listening","address":"127.0.0.1:8080"},"target":"countersign"}"#,
        r#"{"level":"INFO","message":"listening","address":"http://127.0.0.1:8080"}"#,
    ] {
        assert_eq!(listening(line), tcp, "{line}");
    }
    assert_eq!(listening("INFO listening on unix:/run/cs.sock"), Some(Address::Unix("/run/cs.sock".into())));
    for line in ["", "INFO not listening on anything", r#"{"message":"draining","address":"127.0.0.1:8080"}"#]
    {
        assert_eq!(listening(line), None, "{line}");
    }
}

#[cfg(unix)]
#[test]
fn programs_are_heard_signalled_and_ended() {
    let mut shell = std::process::Command::new("sh");
    let script = "trap 'echo caught; exit 7' TERM; echo aside >&2; echo ready; while :; do read -r _; done";
    // Nothing is ever written to its standard input: `read` waits until the signal comes.
    let mut running = Running::spawn(shell.args(["-c", script]).stdin(std::process::Stdio::piped()));
    assert_eq!(running.find(|line| (line == "ready").then_some(1)), Some(1));
    running.signal("TERM");
    let ended = running.end();
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(7), "ready\ncaught\n", "aside\n"));
    assert_eq!(running.stream(Stream::Err), "aside\n");
    assert_eq!(running.output().lines().count(), 3);
}

#[test]
fn botocore_holds_against_the_published_vectors() {
    let passed = python::run(python::script("verify_botocore.py").arg("--self-test"));
    assert!(passed.contains("vectors"), "{passed}");
    python::run(python::script("make_vectors.py").arg("--check"));
}

#[test]
fn botocore_answers_for_each_request_in_order() {
    // The published vector get-vanilla.
    let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let authorization = |signature: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={signature}"
        )
    };
    let headers = |authorization: String| {
        [
            ("Host", "example.amazonaws.com"),
            ("X-Amz-Date", "20150830T123600Z"),
            ("User-Agent", "café"),
            ("Authorization", &authorization),
        ]
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
    };
    let right = headers(authorization(signature));
    let wrong = headers(authorization(&signature.replace("5fa0", "5fa1")));
    let signed = |headers| Signed {
        method: "GET",
        target: b"/",
        headers,
        body: b"",
        region: "us-east-1",
        service: "service",
        access_key: "AKIDEXAMPLE",
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        token: None,
    };
    let samples: Vec<_> = (0..500).map(|n| signed(if n % 7 == 3 { &wrong } else { &right })).collect();
    let mut verifier = Verifier::start();
    for _ in 0..2 {
        let verdicts = verifier.verify(&samples);
        for (n, verdict) in verdicts.iter().enumerate() {
            assert_eq!(verdict.is_some(), n % 7 == 3, "{n}: {verdict:?}");
        }
        assert!(verdicts[3].as_ref().is_some_and(|why| why.contains("GET\n/\n")), "{:?}", verdicts[3]);
    }
}

#[test]
fn ministack_verifies_what_botocore_signs() {
    let ministack = Ministack::start();
    let proof = ministack.script("prove");
    assert!(proof.lines().count() >= 20 && proof.lines().all(|line| line.starts_with("ok ")), "{proof}");

    let stack = ministack.deploy();
    let host = format!("{}.execute-api.localhost:{}", stack.api_id, ministack.address().port());
    assert_eq!(stack.url, format!("http://{host}/prod"));
    let ask = Ask::new("GET", "/prod/auth/api-key").header("host", &host);
    let refused = Via::Http1.exchange(ministack.address(), &ask).unwrap();
    assert_eq!((refused.status, refused.text()), (403, r#"{"message":"Forbidden"}"#));
    let answered =
        Via::Http1.exchange(ministack.address(), &ask.header("x-api-key", &stack.api_key)).unwrap();
    assert_eq!((answered.status, answered.json()["message"].as_str()), (200, Some("success")));
}
