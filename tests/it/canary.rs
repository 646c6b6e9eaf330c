//! Secrets stay secret in everything that comes out of the program: marked ones are put in wherever secrets go in, and
//! all that it writes and answers at its most talkative is searched for them, in any usual spelling, whole or in part.

use std::{
    fs, io,
    net::SocketAddr,
    path::PathBuf,
    sync::LazyLock,
    time::{Instant, SystemTime},
};

use countersign::demo::{
    canonical::Received,
    verify::{Account, Verifier},
};
use socket2::{Domain, Socket, Type};

use crate::support::{
    PATIENCE,
    client::{Answer, Ask, Client, Via},
    h2c,
    leaks::Leaks,
    origin::{Reply, Request, Then, answer},
    process::{Launch, Running},
    scene::{NAME, Scene, Setup},
};

const ACCESS_KEY: &str = "ASIAQ7ZK3VX9CANARY5T";
const SECRET_KEY: &str = "k9Zr/Vw3+QmTn7Xb0sYd/canary1/HgJ5pLcR8uE";
const TOKEN: &str = "IQoJb3JpZ2luX2VjEC8a/canary2/CXVzLWVhc3QtMSJHMEUCIQDk7w+Zt4vTq1fRkPz0mN==";
const KEY_BY_ENV: &str = "Zq81canary3vTn4xKpW0eRmLs7dYhB2uJg";
const KEY_BY_FILE: &str = "Xw52canary4bGt9cNzQ3kFvHr6yPmSj1oE";
const KEY_BY_VALUE: &str = "Vd73canary5mRk8sLxT4hJqWf0uCgZn2bA";
const KEY_BY_COMMAND: &str = "Uc94canary6pHs1wKzV5gBqNx8eYdRt3mF";
const PRINTED: &str = "Tb15canary7nJv2rFxC6kMwGz9aPqLh4sD";

const CALLERS_TOKEN: &str = "Ga14canaryGcVu1rPsZ3eAqOt8nMwIx5kR";

/// What the proxy holds, and what programs that it runs tell it.
const OURS: [&str; 8] =
    [SECRET_KEY, TOKEN, KEY_BY_ENV, KEY_BY_FILE, KEY_BY_VALUE, KEY_BY_COMMAND, PRINTED, CALLERS_TOKEN];

/// What a caller sends that knows no token.
const WRONG_TOKEN: &str = "Fz95canaryHbWt2qOrA4dBpNs7mLvJw3jQ";

/// The certificate and the key of the run with TLS, as PEM, and the key as it is inside.
static PAIR: LazyLock<(String, String, Vec<u8>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem(), made.signing_key.serialized_der().to_vec())
});

/// What the client sends that is its own business.
const THEIRS: [(&str, &str); 6] = [
    ("authorization", "Bearer Ra36canary8lKx3tHvB7jNyFw0cQsMg5pZ"),
    ("x-api-key", "Pz57canary9kLw4uJtA8hMxGv1dRqNf6sY"),
    ("cookie", "session=Nx78canaryAjMv5sKrZ9gLwHu2eTpQd7rX"),
    ("x-amz-security-token", "Mw99canaryBhNu6rLqY0fKvJt3gSoPc8qW"),
    ("x-own", "Lv20canaryCgPt7qMpX1eJuKs4hRnOb9pV"),
    ("proxy-authorization", "Basic Ku41canaryDfQs8pNoW2dHtLr5jQmNa0oU"),
];
const THEIR_QUERY: &str = "Jt62canaryEeRr9oPnV3cGsMq6kPlMz1nT";
const THEIR_BODY: &str = "Hs83canaryFdSq0nQmU4bFrNp7lOkLy2mS";

fn of_the_proxy() -> Leaks {
    with_tls_key(Leaks::of(OURS))
}

/// The numbers of a key on P-256: the private one, behind 36 bytes that all such keys begin with (RFC 5958, RFC 5915).
/// The public one is in the certificate.
fn with_tls_key(leaks: Leaks) -> Leaks {
    leaks.and("the TLS key", &PAIR.2[36..68])
}

/// The access key's id is no secret to the stage, but no log needs more than its end.
fn of_everybody() -> Leaks {
    let theirs = THEIRS.map(|(_, value)| value.rsplit([' ', '=']).next().unwrap());
    let more = [THEIR_QUERY, THEIR_BODY, WRONG_TOKEN, ACCESS_KEY];
    with_tls_key(Leaks::of(OURS.into_iter().chain(theirs).chain(more)))
}

/// A request with a secret of the client's in every place, and the token that opens.
fn loaded(method: &str, path: &str) -> Ask {
    loaded_but(method, path).header("x-countersign-token", CALLERS_TOKEN)
}

/// The same without that token.
fn loaded_but(method: &str, path: &str) -> Ask {
    let mut ask = Ask::new(method, &format!("{path}?a=1&token={THEIR_QUERY}")).body(THEIR_BODY);
    for (name, value) in THEIRS {
        ask = ask.header(name, value);
    }
    ask
}

/// The stage: it answers as a gateway does to a wrong signature, breaks off, or talks nonsense, all with what it was
/// sent.
fn stage(request: &Request, reply: &mut Reply<'_>) -> io::Result<Then> {
    let target = String::from_utf8_lossy(request.target()).into_owned();
    let asked = target.split(['?', '/']).find(|part| ["wrong", "garbage", "broken", "cut"].contains(part));
    match asked {
        Some("wrong") => {
            let (status, fields, body) = wrong_signature(request);
            reply.send(answer(&status, &fields, body))?;
            return Ok(Then::Keep);
        }
        Some("garbage") => reply.send(&request.head.raw)?,
        Some("cut") => {
            reply.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 100000\r\n\r\n")?;
            reply.send(wrong_signature(request).2)?;
        }
        Some(_) => {}
        None => {
            reply.send(answer("200 OK", &[("set-cookie", "a=b")], "ok"))?;
            return Ok(Then::Keep);
        }
    }
    Ok(Then::Close)
}

/// The demo gateway's answer to who signs with another secret: the canonical request, every signed value in clear.
fn wrong_signature(request: &Request) -> (String, Vec<(&'static str, &'static str)>, String) {
    let account = Account {
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: "another".to_owned(),
        session_token: Some(TOKEN.to_owned()),
        expires: None,
    };
    let verifier = Verifier {
        region: "us-west-2".to_owned(),
        service: "execute-api".to_owned(),
        accounts: vec![account],
    };
    let received = Received {
        method: request.method(),
        target: request.target(),
        headers: &request.head.fields,
        body: &request.body,
    };
    let refusal = verifier.verify(&received, SystemTime::now()).expect_err("the secret is another");
    let kind = refusal.error_type().expect("a signature's refusal has a type");
    let body = refusal.body();
    assert!(body.contains(TOKEN) && body.contains("canary"), "it is echoed: {body}");
    (
        "403 Forbidden".to_owned(),
        vec![("x-amzn-ErrorType", kind), ("content-type", refusal.content_type())],
        body,
    )
}

/// The stages, by their mounts: each way to give a key, and each way in which a stage can be out of reach.
fn stages(dead: SocketAddr) -> String {
    let more = |mount: &str, name: &str, lines: &str| {
        format!(
            "[[stage]]\nname = \"{mount}\"\nmount = \"/{mount}\"\nurl = \"https://{name}/prod\"\n{lines}\n"
        )
    };
    let other = "def456.execute-api.us-west-2.amazonaws.com";
    [
        "api_key.env = \"ORDERS_KEY\"\n".to_owned(),
        more("file", NAME, "{dial}\napi_key.file = \"key.txt\""),
        more("value", NAME, &format!("{{dial}}\napi_key.value = \"{KEY_BY_VALUE}\"")),
        more("command", NAME, "{dial}\napi_key.command = [\"cat\", \"command.txt\"]"),
        more("no-key", NAME, "{dial}\napi_key.command = [\"sh\", \"fail.sh\"]"),
        more("two-lines", NAME, "{dial}\napi_key.file = \"two-lines.txt\""),
        more("no-keys", NAME, "{dial}\nprofile = \"fails\""),
        more("dead", NAME, &format!("connect_to = \"{dead}\"\napi_key.file = \"key.txt\"")),
        more("stranger", other, "{dial}\napi_key.file = \"key.txt\""),
    ]
    .concat()
}

/// Where each request is shown, what is the client's own business is seen, but for what its name hides.
fn of_who_is_shown() -> Leaks {
    let theirs = THEIRS.iter().filter(|(name, _)| *name != "x-own");
    let theirs = theirs.map(|(_, value)| value.rsplit([' ', '=']).next().unwrap());
    Leaks::of(OURS.into_iter().chain(theirs).chain([ACCESS_KEY]))
}

fn start(format: &str, shown: Option<&str>, tls: bool, dead: SocketAddr) -> Scene {
    let show = shown.map(|setting| format!(", {setting} = true")).unwrap_or_default();
    let bodies = shown.is_some();
    let tls = if tls { "tls = { cert = \"cert.pem\", key = \"cert.key\" }" } else { "" };
    let fails = format!("cat printed.txt; cat printed.txt >&2; exit 3; # {format}");
    Setup::new()
        .top(&format!(
            "admin = \"127.0.0.1:0\"\nlog = {{ format = \"{format}\", filter = \"trace\"{show} }}\ninspector.bodies = {bodies}\ninspector.from_start = true\n{tls}\n\
             guard.token.env = \"CALLERS_TOKEN\"\n[limits]\nmax_body = \"9KiB\""
        ))
        .stage(&stages(dead))
        .without_keys()
        .variable("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .variable("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .variable("AWS_SESSION_TOKEN", TOKEN)
        .variable("ORDERS_KEY", KEY_BY_ENV)
        .variable("CALLERS_TOKEN", CALLERS_TOKEN)
        .variable("RUST_LOG", "trace")
        .variable("RUST_BACKTRACE", "full")
        .file("cert.pem", &PAIR.0)
        .file("cert.key", &PAIR.1)
        .file("key.txt", &format!("{KEY_BY_FILE}\n"))
        .file("command.txt", &format!("{KEY_BY_COMMAND}\n"))
        .file("printed.txt", &format!("{{\"Version\":1,\"SecretAccessKey\":\"{PRINTED}\"\n"))
        .file("two-lines.txt", &format!("{PRINTED}\n{KEY_BY_FILE}\n"))
        .file("fail.sh", &fails)
        .file(".aws/config", "[profile fails]\ncredential_process = sh fail.sh\n")
        .start(stage)
}

/// The listener's certificate, where it speaks TLS.
fn certificate(scene: &Scene, tls: bool) -> Option<PathBuf> {
    tls.then(|| scene.proxy.home().path().join("cert.pem"))
}

fn connect(scene: &Scene, tls: bool) -> Client {
    let address = scene.proxy.address();
    match certificate(scene, tls) {
        Some(certificate) => Client::connect_tls(address, &certificate).unwrap(),
        None => Client::connect(address).unwrap(),
    }
}

fn exchange(scene: &Scene, tls: bool, via: Via, ask: &Ask) -> Answer {
    let answer = match (certificate(scene, tls), via) {
        (None, via) => return scene.ask(via, ask),
        (Some(_), Via::Http1) => connect(scene, tls).exchange(ask),
        (Some(certificate), Via::H2c) => {
            h2c::Client::connect_tls(scene.proxy.address(), &certificate).unwrap().exchange(ask)
        }
    };
    answer.unwrap_or_else(|error| panic!("{via:?} {ask:?}: {error}"))
}

/// Until the keys are there, which come from files and commands, requests are refused.
fn wait_for_keys(scene: &Scene, tls: bool) {
    let deadline = Instant::now() + PATIENCE;
    for mount in ["", "/file", "/value", "/command"] {
        while exchange(scene, tls, Via::Http1, &loaded("GET", &format!("{mount}/ready"))).status == 503 {
            assert!(Instant::now() < deadline, "{mount} has no key");
        }
    }
}

/// One request of each sort, each with the client's secrets.
fn asks() -> Vec<Ask> {
    let mounts =
        ["", "/file", "/value", "/command", "/no-key", "/two-lines", "/no-keys", "/dead", "/stranger"];
    let of_the_stage = mounts.iter().flat_map(|mount| {
        ["/fine", "/wrong", "/garbage", "/broken"].map(|path| loaded("POST", &format!("{mount}{path}")))
    });
    let of_the_client = [
        loaded("POST", "/a/%2e%2e/b"),
        loaded("TRACE", "/a"),
        loaded("post", "/a"),
        loaded("GET", "/a").header("host", "evil.example"),
        loaded("GET", "/a").header("x-http-method-override", "DELETE"),
        loaded("GET", "/a").header("x-amz-meta-a", b"\xff"),
        loaded("GET", "/a").header("x-amz-meta-a", "a\u{a0}b"),
        loaded("GET", "/a").header("x-large", "x".repeat(70_000)),
        loaded("PUT", "/a").header("expect", "200-ok"),
        loaded("PUT", "/a").header("content-encoding", "aws-chunked"),
        loaded("PUT", "/a").body(THEIR_BODY.repeat(300)),
        loaded("GET", "/a?b=%FF"),
        Ask::new("GET", "/a"),
        loaded_but("GET", "/a").header("x-countersign-token", WRONG_TOKEN),
    ];
    of_the_stage.chain(of_the_client).collect()
}

/// What comes back, as it came; a cut answer, as far as it came.
fn raw(answer: &Answer) -> Vec<u8> {
    let fields =
        answer.head.fields.iter().flat_map(|(name, value)| [name.as_bytes(), b": ", value, b"\n"].concat());
    [fields.collect(), answer.head.raw.clone(), answer.body.clone()].concat()
}

/// Bytes that are no request, with secrets in them.
fn malformed(scene: &Scene, tls: bool) -> Vec<u8> {
    let mut all = Vec::new();
    for text in [
        format!("GET /a HTTP/1.1\r\nhost: localhost\r\nx-api-key {THEIR_QUERY}\r\n\r\n"),
        format!(
            "GET /a?{THEIR_QUERY} HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\ncookie: {THEIR_QUERY}\r\n\r\n"
        ),
        format!("POST /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{THEIR_QUERY}\r\n"),
        format!("POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: {THEIR_QUERY}\r\n\r\n"),
        format!("GET /a HTTP/{THEIR_QUERY}\r\n\r\n"),
    ] {
        let mut client = connect(scene, tls);
        client.send(text.as_bytes()).unwrap();
        client.end_writing().unwrap();
        // It may be reset when the proxy closes on bytes that it has not read.
        all.extend(client.rest().unwrap_or_default());
    }
    all
}

fn admin(process: &Running) -> SocketAddr {
    let address = |line: &str| {
        let (_, after) = line.split_once("admin on http://")?;
        after.split(['"', ' ', ',']).next()?.parse().ok()
    };
    process.find(address).expect("the admin listener is announced")
}

/// Every page for whoever watches over the proxy, those that are not there too.
fn pages(address: SocketAddr) -> Vec<u8> {
    let mut all = Vec::new();
    for path in ["/", "/healthz", "/readyz", "/metrics", "/requests", "/config", "/debug"] {
        let ask = Ask::new("GET", &format!("{path}?token={THEIR_QUERY}")).header("cookie", THEIR_BODY);
        for token in [CALLERS_TOKEN, WRONG_TOKEN] {
            let ask = ask.clone().header("x-countersign-token", token);
            all.extend(raw(&Via::Http1.exchange(address, &ask).unwrap()));
        }
        all.extend(raw(&Via::Http1.exchange(address, &ask).unwrap()));
    }
    all
}

#[test]
fn no_canary_comes_out_of_a_run_at_trace_level() {
    // Bound and not listened on: connections are refused, and nobody else is given the port meanwhile.
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let dead = held.local_addr().unwrap().as_socket().unwrap();
    let settings = [None, Some("show"), Some("failed")];
    let runs = settings.into_iter().flat_map(|shown| [("text", shown, false), ("json", shown, true)]);
    for (format, shown, tls) in runs {
        let scene = start(format, shown, tls, dead);
        wait_for_keys(&scene, tls);
        let mut seen = Vec::new();
        for via in Via::ALL {
            for ask in asks() {
                let answer = exchange(&scene, tls, via, &ask);
                seen.extend(answer.head.one("x-countersign-error").map(str::to_owned));
                if answer.head.one("x-amzn-ErrorType").is_some() {
                    seen.push("wrong signature".to_owned());
                    assert!(answer.text().contains("****"), "{}", answer.text());
                }
                of_the_proxy().assert_none(&format!("the answer to {ask:?}"), &raw(&answer));
            }
            // A cut answer is an error of the connection; what came of it is in what was read before.
            let mut client = connect(&scene, tls);
            client.send(&loaded("GET", "/cut").bytes()).unwrap();
            client.end_writing().unwrap();
            of_the_proxy().assert_none("a cut answer", &client.rest().unwrap_or_default());
        }
        of_the_proxy().assert_none("answers to what is no request", &malformed(&scene, tls));
        for code in [
            "wrong signature",
            "upstream-garbage",
            "upstream-broken",
            "upstream-connect",
            "upstream-tls",
            "no-api-key",
            "no-credentials",
            "dot-segment",
            "method-not-allowed",
            "host-not-allowed",
            "method-override",
            "header-not-utf8",
            "header-white-space",
            "headers-too-large",
            "expectation-failed",
            "chunked-signing",
            "body-too-large",
            "query-not-utf8",
            "token-missing",
            "token-wrong",
        ] {
            assert!(seen.iter().any(|one| one == code), "{code} was not provoked: {seen:?}");
        }
        let sent = scene.origin.take();
        for secret in [TOKEN, KEY_BY_ENV, KEY_BY_FILE, KEY_BY_VALUE, KEY_BY_COMMAND] {
            let carried = |request: &Request| String::from_utf8_lossy(&request.head.raw).contains(secret);
            assert!(sent.iter().any(|request| carried(request)), "{secret} is in use");
        }
        let stages = |request: &Request| [request.head.raw.clone(), request.body.clone()].concat();
        for request in &sent {
            Leaks::of([CALLERS_TOKEN]).assert_none("what a stage was sent", &stages(request));
        }

        let process = scene.proxy.process();
        let address = admin(process);
        of_everybody().assert_none("the admin listener's pages", &pages(address));
        let health = Launch::arguments(["health", "--admin", &address.to_string()]).run();
        of_everybody().assert_none("health", format!("{health:?}").as_bytes());
        let home = scene.proxy.home().path().to_str().unwrap();
        let inspect = Launch::arguments(["inspect", "--admin", &address.to_string()]);
        let inspect = inspect.variable("HOME", home).variable("RUST_LOG", "trace").run();
        assert_eq!(inspect.code, Some(0), "{inspect:?}");
        of_everybody().assert_none("inspect", format!("{inspect:?}").as_bytes());
        #[cfg(target_os = "linux")]
        {
            let line = fs::read(format!("/proc/{}/cmdline", process.id())).unwrap();
            assert!(!line.is_empty());
            of_everybody().assert_none("the command line", &line);
        }
        let ended = scene.proxy.terminate();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(
            ended.err.contains("TRACE") || ended.err.contains("DEBUG"),
            "it was talkative: {}",
            ended.err
        );
        let in_the_log = if shown.is_some() { of_who_is_shown() } else { of_everybody() };
        in_the_log.assert_none("the log", ended.err.as_bytes());
        assert_eq!(ended.err.contains(THEIR_BODY), shown == Some("show"), "what is to be shown is shown");
        let echo = ended.err.contains("InvalidSignatureException");
        assert_eq!(echo, shown.is_some(), "the gateway's words are shown");
        of_everybody().assert_none("standard output", ended.out.as_bytes());
    }
}

#[test]
fn no_canary_comes_out_of_a_configuration_that_is_refused() {
    let url = format!("url = \"https://{NAME}/prod\"");
    let with_password = format!("url = \"https://me:{KEY_BY_VALUE}@{NAME}/prod\"");
    for stage in [
        format!("{url}\napi_key = \"{KEY_BY_VALUE}\""),
        format!("{url}\napi_key = {{ value = \"{KEY_BY_VALUE}\""),
        format!("{url}\napi_key.value = \"{KEY_BY_VALUE}\\n\""),
        format!("{url}\napi_key.env = \"{KEY_BY_VALUE}!\""),
        format!("{url}\napi_kye = {{ value = \"{KEY_BY_VALUE}\" }}"),
        format!("{url}\napi_key.value = \"{KEY_BY_VALUE}\" retry = 1"),
        format!("{url}\napi_key = {{ value = \"{KEY_BY_VALUE}\", env = \"X\" }} # beside it"),
        with_password,
    ] {
        let launch =
            Launch::config(&format!("admin = \"off\"\nlog.filter = \"trace\"\n[[stage]]\n{stage}\n"));
        for command in
            [&["request", "GET", "/", "--json"][..], &["explain", "GET", "/", "--json"], &["check", "--json"]]
        {
            let told = launch.instead(command[0], &command[1..]);
            assert!(told.code == Some(2) && told.out.starts_with('{'), "{told:?}");
            of_the_proxy().assert_none(&stage, format!("{}{}", told.out, told.err).as_bytes());
        }
        let ended = launch.run();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("countersign.toml"), "{ended:?}");
        of_the_proxy().assert_none(&stage, format!("{}{}", ended.out, ended.err).as_bytes());
    }
    for (name, value) in [
        ("COUNTERSIGN_API_KEY_ENV", format!("{KEY_BY_VALUE}!")),
        ("COUNTERSIGN_API_KYE", KEY_BY_VALUE.to_owned()),
        ("COUNTERSIGN_STAGE_URL", format!("https://me:{KEY_BY_VALUE}@{NAME}/prod")),
    ] {
        let ended = Launch::arguments(["run", "--admin=off"]).variable(name, &value).run();
        assert_eq!(ended.code, Some(2), "{name}: {ended:?}");
        of_the_proxy().assert_none(name, format!("{}{}", ended.out, ended.err).as_bytes());
    }
    for flag in [format!("--api-key={KEY_BY_VALUE}"), format!("--api-key-env={KEY_BY_VALUE}!")] {
        let ended =
            Launch::arguments(["run", "https://api.example.com", "--region=us-west-2"]).argument(&flag).run();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        of_the_proxy().assert_none(&flag, format!("{}{}", ended.out, ended.err).as_bytes());
    }
}

#[test]
fn no_canary_comes_out_of_what_explains_the_program() {
    let commands: &[&[&str]] = &[
        &["--help"],
        &["-h"],
        &["--version"],
        &["help", "run"],
        &["run", "--help"],
        &["demo", "--help"],
        &["health", "--help"],
        &["inspect", "--help"],
        &["init", "--help"],
        &["request", "--help"],
        &["check", "--help"],
        &["policy", "--help"],
        &["stack", "--help"],
        &["stack", "deploy", "--help"],
        &["completions", "--help"],
        &["completions", "bash"],
        &["completions", "zsh"],
        &["completions", "fish"],
        &["completions", "elvish"],
        &["completions", "powershell"],
        &["man"],
    ];
    for &command in commands {
        let mut launch = Launch::arguments([]);
        for &argument in command {
            launch = launch.argument(argument);
        }
        let ended = launch
            .keys(ACCESS_KEY, SECRET_KEY)
            .variable("AWS_SESSION_TOKEN", TOKEN)
            .variable("COUNTERSIGN_API_KEY", KEY_BY_ENV)
            .variable("COUNTERSIGN_STAGE_URL", &format!("https://me:{KEY_BY_VALUE}@{NAME}/prod"))
            .variable("RUST_LOG", "trace")
            .run();
        assert_eq!(ended.code, Some(0), "{command:?}: {ended:?}");
        assert!(!ended.out.is_empty(), "{command:?}");
        of_everybody().assert_none(&format!("{command:?}"), format!("{}{}", ended.out, ended.err).as_bytes());
    }
}
