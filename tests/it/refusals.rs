//! Every way in which the proxy itself says no is provoked here for real, and its answer is what `docs/errors.md` says.
//!
//! A new [`Code`] does not compile until [`provoke`] knows how to cause it.

use std::{fs, net::TcpListener, sync::mpsc};

use countersign::proxy::{Code, reference};

use crate::support::{
    TempDir,
    client::{Answer, Ask, Client, Via},
    faulty,
    origin::{Origin, Then},
    process::{Countersign, Launch},
    root,
    scene::{ACCESS_KEY, NAME, SECRET, Setup, assert_refusal, ok},
};

/// What the proxy of the usual scene answers to this.
fn usual(ask: &Ask) -> Answer {
    Setup::new().start_ok().ask(Via::Http1, ask)
}

/// The same, with other limits.
fn limited(limits: &str, ask: &Ask) -> Answer {
    Setup::new().top(&format!("[limits]\n{limits}")).start_ok().ask(Via::Http1, ask)
}

/// What the proxy of the usual scene answers to these bytes, after which nothing comes.
fn sending(setup: Setup, bytes: &[u8], end: bool) -> Answer {
    let scene = setup.start_ok();
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(bytes).unwrap();
    if end {
        client.end_writing().unwrap();
    }
    client.answer("PUT").unwrap()
}

/// What the proxy answers before a stage of which only its configuration is given.
fn before(stage: &str) -> Answer {
    let text = format!("listen = \"127.0.0.1:0\"\nadmin = \"off\"\n[[stage]]\n{stage}\n");
    let proxy: Countersign = Launch::config(&text).keys(ACCESS_KEY, SECRET).start();
    Via::Http1.exchange(proxy.address(), &Ask::new("GET", "/a")).unwrap()
}

/// For callers.
const TOKEN: &str = "caller-token-0123456789";

fn asked_for_a_token(source: &str, value: &str, ask: &Ask) -> Answer {
    Setup::new().top(&format!("guard.token.{source} = \"{value}\"")).start_ok().ask(Via::Http1, ask)
}

fn refused_peer() -> Answer {
    let folder = TempDir::new();
    let path = folder.path().join("socket");
    // No user has this number: it stands for one that has none.
    let top = format!("listen = \"unix:{}\"\nguard.allowed_uids = [4294967295]", path.display());
    let _scene = Setup::new().top(&top).start_ok();
    Client::connect_unix(&path).unwrap().exchange(&Ask::new("GET", "/a")).unwrap()
}

fn busy() -> Answer {
    let limits = "[limits]\nmax_body = \"100B\"\nmax_buffered = \"100B\"\nbuffer_wait = \"100ms\"";
    let scene = Setup::new().top(limits).start_ok();
    let mut holder = Client::connect(scene.proxy.address()).unwrap();
    let head = b"PUT /a HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 100\r\n\r\n";
    holder.send(head).unwrap();
    assert_eq!(holder.head("PUT").unwrap().0, 100);
    scene.ask(Via::Http1, &Ask::new("PUT", "/b").body("x"))
}

fn too_many_in_flight() -> Answer {
    let (hold, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let limits = "[limits]\nmax_in_flight = 1\nin_flight_wait = \"0s\"";
    let scene = Setup::new().top(limits).start(move |_, _| {
        // Until the sender is gone.
        let _ = held.lock().unwrap().recv();
        Ok(Then::Close)
    });
    let mut holder = Client::connect(scene.proxy.address()).unwrap();
    holder.send(&Ask::new("GET", "/a").bytes()).unwrap();
    scene.origin.next();
    let answer = scene.ask(Via::Http1, &Ask::new("GET", "/b"));
    drop(hold);
    answer
}

fn rate_limited() -> Answer {
    let scene = Setup::new().stage("rate_limit = { rate = \"1/h\", wait = \"0s\" }").start_ok();
    scene.sent(Via::Http1, &Ask::new("GET", "/a"));
    scene.ask(Via::Http1, &Ask::new("GET", "/a"))
}

fn expired() -> Answer {
    let printed = format!(
        "{{\"Version\":1,\"AccessKeyId\":\"AKIDOLD\",\"SecretAccessKey\":\"{SECRET}\",\"SessionToken\":\"t\",\
         \"Expiration\":\"2020-01-01T00:00:00Z\"}}"
    );
    let scene = Setup::new()
        .without_keys()
        .stage("profile = \"dev\"")
        .file("printed.json", &printed)
        .file(".aws/config", "[profile dev]\ncredential_process = cat printed.json\n")
        .start_ok();
    scene.ask(Via::Http1, &Ask::new("GET", "/a"))
}

fn silent_before_the_handshake() -> Answer {
    let deaf = faulty::Deaf::at("127.0.0.1:0".parse().unwrap());
    let stage = format!("url = \"http://{}\"\nregion = \"us-west-2\"", deaf.address());
    before(&format!("{stage}\ntimeouts.connect = \"100ms\""))
}

fn silent_in_the_handshake() -> Answer {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let root = Origin::tls(&[NAME], ok);
    before(&format!(
        "url = \"https://{NAME}/prod\"\nconnect_to = \"{}\"\nca_bundle = \"{}\"\ntimeouts.tls = \"100ms\"",
        silent.local_addr().unwrap(),
        root.ca().display()
    ))
}

fn silent_after_the_request() -> Answer {
    let (hold, held) = mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let scene = Setup::new().stage("timeouts.first_byte = \"100ms\"").start(move |_, _| {
        // Until the sender is gone.
        let _ = held.lock().unwrap().recv();
        Ok(Then::Close)
    });
    let answer = scene.ask(Via::Http1, &Ask::new("GET", "/a"));
    drop(hold);
    answer
}

fn provoke(code: Code) -> Option<Answer> {
    let get = |target: &str| Ask::new("GET", target);
    Some(match code {
        Code::TlsExpected => crate::listening_tls::plain_to_tls(),
        Code::HeaderTimeout => {
            sending(Setup::new().top("[limits]\nheader_timeout = \"100ms\""), b"GET /a HTTP/1.1\r\n", false)
        }
        Code::HeadersTooLarge => usual(&get("/a").header("x-large", "x".repeat(70_000))),
        Code::BadRequest => usual(&get("/a").header("Host", "localhost")),
        Code::PeerNotAllowed => refused_peer(),
        Code::TokenMissing => asked_for_a_token("value", TOKEN, &get("/a")),
        Code::TokenWrong => {
            asked_for_a_token("value", TOKEN, &get("/a").header("x-countersign-token", "another"))
        }
        Code::TokenUnavailable => {
            asked_for_a_token("file", "/nowhere", &get("/a").header("x-countersign-token", TOKEN))
        }
        Code::HostNotAllowed => usual(&get("/a").header("host", "evil.example")),
        Code::OriginNotAllowed => usual(&get("/a").header("origin", "https://evil.example")),
        Code::MethodNotAllowed => usual(&Ask::new("TRACE", "/a")),
        Code::MethodOverride => usual(&get("/a").header("x-http-method-override", "DELETE")),
        Code::BadTarget => usual(&get("/a#b")),
        Code::DotSegment => usual(&get("/a/%2e%2e/b")),
        Code::NoStage => Setup::new().stage("mount = \"/m\"").start_ok().ask(Via::Http1, &get("/a")),
        Code::NotLent => {
            Setup::new().stage("read_only = true").start_ok().ask(Via::Http1, &Ask::new("PUT", "/a"))
        }
        Code::StageUnavailable => crate::reload::unavailable(),
        Code::QueryNotUtf8 => usual(&get("/a?b=%FF")),
        Code::HeaderNotUtf8 => usual(&get("/a").header("x-amz-meta-a", b"\xff")),
        Code::HeaderWhiteSpace => usual(&get("/a").header("x-amz-meta-a", "a\u{a0}b")),
        Code::ExpectationFailed => usual(&get("/a").header("expect", "200-ok")),
        Code::RateLimited => rate_limited(),
        Code::TooManyInFlight => too_many_in_flight(),
        Code::ChunkedSigning => {
            usual(&Ask::new("PUT", "/a").header("content-encoding", "aws-chunked").body("0"))
        }
        Code::BodyTooLarge => limited("max_body = \"8B\"", &Ask::new("PUT", "/a").body("too large")),
        Code::BodyCut => sending(
            Setup::new(),
            b"PUT /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nshort",
            true,
        ),
        Code::BodyTimeout => sending(
            Setup::new().top("[limits]\nbody_timeout = \"100ms\""),
            b"PUT /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nshort",
            false,
        ),
        Code::BodyTooSlow => crate::slow::trickled(),
        Code::Busy => busy(),
        Code::NoApiKey => {
            Setup::new().stage("api_key.env = \"UNSET\"").start_ok().ask(Via::Http1, &get("/a"))
        }
        Code::NoCredentials => Setup::new().without_keys().start_ok().ask(Via::Http1, &get("/a")),
        Code::CredentialsExpired => expired(),
        // There is no request that makes the program panic; src/proxy/refuse.rs provokes it with a step that does.
        Code::InternalError => return None,
        // Nobody is answered so but the inspector, whose user asked for a command: tests/it/inspecting.rs has one signed.
        Code::NotSent => return None,
        Code::OutOfFiles => crate::resources::out_of_files(),
        Code::UpstreamName => {
            before("url = \"https://api.invalid\"\nregion = \"us-west-2\"\ntimeouts.connect = \"1m\"")
        }
        Code::UpstreamConnect => {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            before(&format!("url = \"http://{free}\"\nregion = \"us-west-2\""))
        }
        Code::UpstreamTls => {
            let options = crate::support::origin::Options {
                names: vec!["elsewhere.example".to_owned()],
                ..Default::default()
            };
            Setup::new().origin(options).start_ok().ask(Via::Http1, &get("/a"))
        }
        Code::UpstreamConnectTimeout => silent_before_the_handshake(),
        Code::UpstreamTlsTimeout => silent_in_the_handshake(),
        Code::UpstreamTimeout => silent_after_the_request(),
        Code::UpstreamBroken => Setup::new().start(|_, _| Ok(Then::Close)).ask(Via::Http1, &get("/a")),
        Code::UpstreamGarbage => {
            let scene = Setup::new().start(|_, reply| {
                reply.send("hello\r\n\r\n")?;
                Ok(Then::Close)
            });
            scene.ask(Via::Http1, &get("/a"))
        }
    })
}

#[test]
fn every_code_is_provoked_and_answered_as_documented() {
    for &code in Code::ALL {
        let Some(answer) = provoke(code) else { continue };
        assert_refusal(&answer, code.status().as_u16(), code.as_str());
        assert!(answer.body.ends_with(b"}\n"), "a terminal's prompt begins on a line of its own");
        assert_eq!(answer.head.one("content-length"), Some(&*answer.body.len().to_string()));
        let id = answer.json()["request_id"].as_str().unwrap().to_owned();
        // What comes before there is a request has no id.
        let early = matches!(code, Code::TlsExpected | Code::HeaderTimeout | Code::HeadersTooLarge);
        assert_eq!(id.len(), if early { 0 } else { 16 }, "{code:?}: {id}");
        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }
}

#[test]
fn a_refusal_of_head_has_no_body_and_the_length_of_one() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        let answer = scene.ask(via, &Ask::new("HEAD", "/../a"));
        assert_eq!((answer.status, answer.head.one("x-countersign-error")), (400, Some("dot-segment")));
        assert!(answer.body.is_empty(), "{via:?}");
        assert_ne!(answer.head.one("content-length"), None);
    }
}

#[test]
fn the_list_of_errors_is_written_from_the_code() {
    let path = root().join("docs/errors.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference(), "docs/errors.md is stale: UPDATE_GENERATED=1 tests/run rewrites it");
    for code in Code::ALL {
        assert!(written.contains(&format!("\n## {}\n", code.as_str())), "{code:?}");
    }
}
