//! The process: how it starts, where it listens, what it answers to what is no request, how it ends.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    time::{Duration, Instant},
};

use crate::support::{
    PATIENCE, TempDir,
    client::{Ask, Client, Via},
    h2c,
    origin::{Then, answer},
    process::{Address, Launch, Running, listening},
    scene::{ACCESS_KEY, SECRET, Setup, assert_refusal, holding, ok},
    snapshot,
};

const STAGE: &str = "[[stage]]\nurl = \"http://127.0.0.1:9/prod\"\nregion = \"us-west-2\"\n";

fn config(top: &str) -> Launch {
    Launch::config(&format!("{top}\n{STAGE}")).keys(ACCESS_KEY, SECRET)
}

/// Where the admin listener is.
pub fn admin(process: &Running) -> SocketAddr {
    let address = |line: &str| {
        let (_, after) = line.split_once("admin on http://")?;
        after.split('"').next()?.trim().parse().ok()
    };
    process.find(address).expect("the admin listener is announced")
}

/// Waits until this series is not 0; it may be named by its beginning.
pub fn counted(process: &Running, series: &str) {
    let (address, end) = (admin(process), Instant::now() + PATIENCE);
    loop {
        let metrics = get(address, "/metrics").text().to_owned();
        let is_it = |line: &&str| line.starts_with(series);
        let values =
            metrics.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        if values.sum::<f64>() > 0.0 {
            return;
        }
        assert!(Instant::now() < end, "{series} counted nothing:\n{metrics}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn get(address: SocketAddr, target: &str) -> crate::support::client::Answer {
    Via::Http1.exchange(address, &Ask::new("GET", target)).unwrap()
}

#[test]
fn it_says_where_it_listens_and_what_it_serves() {
    let scene = Setup::new().top("admin = \"127.0.0.1:0\"").start_ok();
    assert_ne!(scene.proxy.address().port(), 0);
    assert_ne!(admin(scene.proxy.process()).port(), 0);
    let said = scene.proxy.process().output();
    for part in ["abc123.execute-api.us-west-2.amazonaws.com/prod", "us-west-2", "execute-api"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(get(scene.proxy.address(), "/a").status, 200);
}

#[test]
fn the_stage_url_alone_is_enough() {
    let origin = crate::support::origin::Origin::plain(ok);
    let url = format!("http://127.0.0.1:{}/prod", origin.address().port());
    let proxy = Launch::arguments([&url, "--region=us-west-2", "--listen=127.0.0.1:0", "--admin=off"])
        .keys(ACCESS_KEY, SECRET)
        .start();
    assert_eq!(get(proxy.address(), "/a?b").status, 200);
    let request = origin.next();
    assert_eq!(request.target(), b"/prod/a?b=");
    crate::support::scene::assert_signed(&request);
}

#[test]
fn several_listeners_serve_the_same() {
    let directory = TempDir::new();
    let path = directory.path().join("proxy.sock");
    let top = format!("listen = [\"127.0.0.1:0\", \"127.0.0.2:0\", \"unix:{}\"]", path.display());
    let scene = Setup::new().top(&top).start_ok();
    let mut found = Vec::new();
    scene.proxy.process().find(|line| {
        found.extend(listening(line));
        (found.len() == 3).then_some(())
    });
    for address in found {
        let answer = match address {
            Address::Tcp(address) => get(address, "/a"),
            Address::Unix(path) => {
                Client::connect_unix(&path).unwrap().exchange(&Ask::new("GET", "/a")).unwrap()
            }
        };
        assert_eq!(answer.status, 200);
        scene.origin.next();
    }
}

#[test]
fn a_unix_socket_is_for_its_owner_alone_and_is_cleaned_up() {
    let directory = TempDir::new();
    let path = directory.path().join("proxy.sock");
    let scene = Setup::new().top(&format!("listen = \"unix:{}\"", path.display())).start_ok();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    let mut client = Client::connect_unix(&path).unwrap();
    for _ in 0..2 {
        assert_eq!(client.exchange(&Ask::new("POST", "/a").body("x")).unwrap().status, 200);
    }
    // A name that is not this machine's is refused here as well.
    let ask = Ask::new("GET", "/a").header("host", "evil.example");
    assert_refusal(&client.exchange(&ask).unwrap(), 421, "host-not-allowed");
    let mut client = Client::connect_unix(&path).unwrap();

    // One that is served is not taken away.
    let absolute = format!("listen = \"unix:{}\"\nadmin = \"off\"", path.display());
    let ended = config(&absolute).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("proxy.sock") && ended.err.contains("another process"), "{ended:?}");
    assert_eq!(client.exchange(&Ask::new("GET", "/a")).unwrap().status, 200);
    drop(client);

    let left = || {
        let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.collect::<Vec<_>>()
    };
    assert_eq!(left(), ["proxy.sock"]);
    assert_eq!(scene.proxy.terminate().code, Some(0));
    assert!(left().is_empty());
}

#[test]
fn a_stale_socket_file_is_replaced_and_any_other_file_is_not() {
    let directory = TempDir::new();
    let path = directory.path().join("proxy.sock");
    // Nobody accepts on it any more once its listener is gone; the file stays.
    drop(UnixListener::bind(&path).unwrap());
    let top = format!("listen = \"unix:{}\"\nadmin = \"off\"", path.display());
    let proxy = config(&top).start();
    Client::connect_unix(&path).unwrap();
    assert_eq!(proxy.terminate().code, Some(0));

    directory.write("proxy.sock", "precious");
    let ended = config(&top).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn an_address_that_is_taken_stops_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for top in [
        format!("listen = \"{address}\"\nadmin = \"off\""),
        format!("listen = [\"127.0.0.1:0\", \"{address}\"]\nadmin = \"off\""),
        format!("listen = \"127.0.0.1:0\"\nadmin = \"{address}\""),
    ] {
        let ended = config(&top).run();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains(&address.to_string()), "{ended:?}");
    }
}

#[test]
fn signals_drain() {
    for signal in ["TERM", "INT"] {
        let (scene, go) = holding(Setup::new().top("admin = \"127.0.0.1:0\""));
        let (address, process) = (scene.proxy.address(), scene.proxy.process());
        let health = admin(process);
        let mut busy = Client::connect(address).unwrap();
        busy.send(&Ask::new("GET", "/held").bytes()).unwrap();
        scene.origin.next();
        let multiplexed = h2c::Client::connect(address).unwrap();
        let mut stream = multiplexed.begin(&Ask::new("GET", "/held"), true).unwrap();
        scene.origin.next();
        let mut idle = Client::connect(address).unwrap();
        assert_eq!(idle.exchange(&Ask::new("GET", "/a")).unwrap().status, 200);
        let mut silent = Client::connect(address).unwrap();

        process.signal(signal);
        assert!(process.find(|line| line.contains("stopping").then_some(())).is_some());
        // Idle connections end at once, with nothing on them, and no new one is taken.
        assert_eq!(idle.rest().unwrap(), b"");
        assert_eq!(silent.rest().unwrap_or_default(), b"");
        while TcpStream::connect(address).is_ok() {
            std::thread::yield_now();
        }
        // Whoever balances load can see it.
        let ready = get(health, "/readyz");
        assert_eq!(ready.status, 503);
        assert!(ready.text().contains("stopping"), "{}", ready.text());

        // Requests under way end as they would have.
        go.send(()).unwrap();
        go.send(()).unwrap();
        let answer = busy.answer("GET").unwrap();
        assert_eq!((answer.status, answer.text()), (200, "ok"));
        assert_eq!(busy.rest().unwrap(), b"");
        assert_eq!(stream.head().unwrap().0, 200);
        assert_eq!(stream.piece().unwrap().as_deref(), Some(&b"ok"[..]));
        drop(multiplexed);
        let ended = scene.proxy.ended();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let lines = ended.err.lines().filter(|line| line.contains("countersign::access")).count();
        assert_eq!(lines, 3, "each request's line is written: {ended:?}");
    }
}

#[test]
fn what_does_not_end_in_time_is_cut() {
    let (scene, _go) = holding(Setup::new().top("[limits]\ndrain_timeout = \"200ms\""));
    let mut busy = Client::connect(scene.proxy.address()).unwrap();
    busy.send(&Ask::new("GET", "/held").bytes()).unwrap();
    scene.origin.next();
    let ended = scene.proxy.terminate();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("drain_timeout"), "{ended:?}");
    assert!(busy.answer("GET").is_err());
}

#[test]
fn several_workers_serve() {
    let scene = Setup::new().top("workers = 2").start_ok();
    let mut clients: Vec<_> = (0..6).map(|_| Client::connect(scene.proxy.address()).unwrap()).collect();
    for _ in 0..2 {
        for client in &mut clients {
            let answer = client.exchange(&Ask::new("POST", "/a").body("x")).unwrap();
            assert_eq!(answer.status, 200);
            crate::support::scene::assert_signed(&scene.origin.next());
        }
    }
    for via in Via::ALL {
        scene.sent(via, &Ask::new("GET", "/a"));
    }
    // Each has connections of its own to the stage: round robin brought both to work.
    assert_eq!(scene.origin.connections(), 2);
    assert_eq!(scene.proxy.terminate().code, Some(0));
}

#[test]
fn connections_beyond_the_limit_wait() {
    let scene = Setup::new().top("[limits]\nmax_connections = 2").start_ok();
    let mut first = Client::connect(scene.proxy.address()).unwrap();
    let mut second = Client::connect(scene.proxy.address()).unwrap();
    // At work, so that neither makes room.
    for client in [&mut first, &mut second] {
        let head = b"PUT /a HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";
        client.send(head).unwrap();
        assert_eq!(client.head("PUT").unwrap().0, 100);
    }
    let mut third = Client::connect(scene.proxy.address()).unwrap();
    third.send(&Ask::new("GET", "/third").bytes()).unwrap();
    first.send(b"x").unwrap();
    assert_eq!(first.answer("PUT").unwrap().status, 200);
    assert_eq!(scene.origin.next().target(), b"/prod/a");
    drop(first);
    assert_eq!(third.answer("GET").unwrap().status, 200);
    assert_eq!(scene.origin.next().target(), b"/prod/third");
}

#[test]
fn health_and_readiness_are_served_apart() {
    let scene = Setup::new().top("admin = \"127.0.0.1:0\"").api_key().start_ok();
    let process = scene.proxy.process();
    process.find(|line| line.contains("credentials are ready").then_some(()));
    let address = admin(process);
    for (target, status, part) in [
        ("/healthz", 200, "\"ok\""),
        ("/readyz", 200, "\"ready\""),
        ("/", 401, "locked"),
        ("/b", 404, "/healthz, /readyz"),
        ("/a", 404, "not-found"),
    ] {
        let answer = get(address, target);
        assert_eq!(answer.status, status, "{target}");
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    let posted = Via::Http1.exchange(address, &Ask::new("POST", "/healthz").body("x")).unwrap();
    assert_eq!(posted.status, 405);
    let head = Via::Http1.exchange(address, &Ask::new("HEAD", "/readyz")).unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    // They are no routes of the proxy itself.
    assert_eq!(get(scene.proxy.address(), "/healthz").text(), "ok");
    assert_eq!(scene.origin.next().target(), b"/prod/healthz");

    let healthy = Launch::arguments(["health", "--admin", &address.to_string()]).run();
    assert_eq!(healthy.code, Some(0), "{healthy:?}");
    assert!(healthy.out.contains("\"ready\""), "{healthy:?}");
    snapshot::ended("health/ready", &healthy, &[]);
    let by_variable = Launch::arguments(["health"]).variable("COUNTERSIGN_ADMIN", &address.to_string()).run();
    assert_eq!(by_variable.code, Some(0), "{by_variable:?}");
    assert_eq!(scene.proxy.terminate().code, Some(0));
    let gone = Launch::arguments(["health", "--admin", &address.to_string()]).run();
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.err.contains("no countersign answers"), "{gone:?}");
}

#[test]
fn readiness_says_why_not() {
    let scene = Setup::new()
        .without_keys()
        .top("admin = \"127.0.0.1:0\"")
        .stage("name = \"orders\"\napi_key.env = \"MY_KEY\"")
        .start_ok();
    let process = scene.proxy.process();
    process.find(|line| line.contains("no usable credentials").then_some(()));
    let address = admin(process);
    let ready = get(address, "/readyz");
    assert_eq!(ready.status, 503);
    let report = ready.json();
    assert_eq!(report["status"], "not ready");
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{report}");
    for (problem, part) in problems.iter().zip(["no AWS credentials", "MY_KEY"]) {
        assert_eq!(problem["stage"], "orders");
        assert!(problem["problem"].as_str().unwrap().contains(part), "{problem}");
        assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{problem}");
    }
    assert_eq!(get(address, "/healthz").status, 200, "the process itself is well");
    let asked = Launch::arguments(["health", "--admin", &address.to_string()]).run();
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.out.contains("MY_KEY"), "{asked:?}");
}

#[test]
fn a_health_check_does_not_wait_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let ended = Launch::arguments(["health", "--admin", &address, "--timeout", "100ms"]).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("in time"), "{ended:?}");
}

#[test]
fn http2_with_prior_knowledge_and_http1_share_a_port() {
    let scene = Setup::new().start_ok();
    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let mut streams: Vec<_> =
        (0..20).map(|number| client.begin(&Ask::new("GET", &format!("/{number}")), true).unwrap()).collect();
    for stream in &mut streams {
        assert_eq!(stream.head().unwrap().0, 200);
    }
    drop(streams);
    assert_eq!(get(scene.proxy.address(), "/a").status, 200);
    // HTTP/2 by upgrade is not offered (RFC 9113 dropped it): the request is answered as HTTP/1.1.
    let ask = Ask::new("GET", "/a").header("connection", "upgrade, http2-settings").header("upgrade", "h2c");
    let answer =
        Via::Http1.exchange(scene.proxy.address(), &ask.header("http2-settings", "AAMAAABk")).unwrap();
    assert_eq!(answer.status, 200);
}

#[test]
fn a_preface_that_comes_in_pieces_is_understood() {
    let scene = Setup::new().start_ok();
    for bytes in [&b"P"[..], b"PRI * HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        client.send(bytes).unwrap();
        // Whatever else starts with a P goes on as HTTP/1.1.
        if bytes == b"P" {
            client.send(b"UT /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx").unwrap();
            assert_eq!(client.answer("PUT").unwrap().status, 200);
        } else {
            client.end_writing().unwrap();
            let rest = client.rest().unwrap();
            assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"), "{}", rest.escape_ascii());
        }
    }
}

#[test]
fn a_head_that_does_not_come_ends_in_a_timeout_with_a_code() {
    let scene = Setup::new().top("[limits]\nheader_timeout = \"200ms\"").start_ok();
    for (first, rest) in
        [("", "GET /a HTT"), ("", "GET /a HTTP/1.1\r\nhost: local"), ("GET", " /a HTTP/1.1\r\n")]
    {
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        client.send(first.as_bytes()).unwrap();
        client.send(rest.as_bytes()).unwrap();
        let answer = client.answer("GET").unwrap();
        assert_refusal(&answer, 408, "header-timeout");
        assert_eq!(answer.head.one("connection"), Some("close"));
        assert_eq!(client.rest().unwrap(), b"");
    }
    // The second request's head is timed as well.
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    assert_eq!(client.exchange(&Ask::new("GET", "/a")).unwrap().status, 200);
    client.send(b"GET /b HTTP/1.1\r\n").unwrap();
    assert_refusal(&client.answer("GET").unwrap(), 408, "header-timeout");
    assert_eq!(scene.origin.take().len(), 1);
    // Who sends nothing at all is cut off; there is no request to answer.
    let scene = Setup::new().top("admin = \"127.0.0.1:0\"\n[limits]\nheader_timeout = \"200ms\"").start_ok();
    let mut silent = Client::connect(scene.proxy.address()).unwrap();
    assert_eq!(silent.rest().unwrap(), b"");
    counted(scene.proxy.process(), "countersign_client_connections_ended_total{cause=\"header-timeout\"}");
}

#[test]
fn what_is_no_request_gets_a_code() {
    let scene = Setup::new().start_ok();
    for bytes in [
        "hello\r\n\r\n",
        "GET\r\n\r\n",
        "GET /a\r\n\r\n",
        "GET /a HTTP/9.9\r\n\r\n",
        "GET /a HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: localhost\r\nx y: z\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: localhost\r\n folded: z\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n",
        // TLS on a port that speaks none.
        "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03",
    ] {
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        client.send(bytes.as_bytes()).unwrap();
        client.end_writing().unwrap();
        let answer = client.answer("GET").unwrap_or_else(|error| panic!("{bytes:?}: {error}"));
        assert_refusal(&answer, 400, "bad-request");
        assert_eq!(client.rest().unwrap(), b"");
    }
    // After a good request on the same connection too, and when both came at once.
    for together in [false, true] {
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        let good = Ask::new("GET", "/a").bytes();
        if together {
            client.send(&[&good[..], b"hello\r\n\r\n"].concat()).unwrap();
            assert_eq!(client.answer("GET").unwrap().status, 200);
        } else {
            client.send(&good).unwrap();
            assert_eq!(client.answer("GET").unwrap().status, 200);
            client.send(b"hello\r\n\r\n").unwrap();
        }
        assert_refusal(&client.answer("GET").unwrap(), 400, "bad-request");
    }
    assert_eq!(scene.origin.take().len(), 2);
}

#[test]
fn a_head_that_is_too_large_gets_a_code() {
    let scene = Setup::new().start_ok();
    for (target, fields) in [
        ("/a".to_owned(), format!("x-large: {}\r\n", "x".repeat(70_000))),
        ("/a".to_owned(), format!("x-large: {}\r\n", "x".repeat(200_000))),
        ("/a".to_owned(), (0..300).map(|number| format!("x-{number}: y\r\n")).collect()),
        (format!("/{}", "x".repeat(70_000)), String::new()),
        (format!("/{}", "x".repeat(200_000)), String::new()),
    ] {
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        client.send(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n").as_bytes()).unwrap();
        let answer = client.answer("GET").unwrap();
        assert!(matches!(answer.status, 431 | 414), "{}", answer.text());
        assert_refusal(&answer, answer.status, "headers-too-large");
    }
    // What a stage takes, and more, passes.
    for via in Via::ALL {
        let ask = Ask::new("GET", &format!("/{}", "x".repeat(8_000)));
        scene.sent(via, &ask.header("x-large", "x".repeat(30_000)));
    }
    // h2 has its own way to say so: the status alone.
    let ask = Ask::new("GET", "/a").header("x-large", "x".repeat(70_000));
    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let (status, head) = client.begin(&ask, true).unwrap().head().unwrap();
    assert_eq!((status, head.one("x-countersign-error")), (431, None));
    assert_eq!(scene.origin.take().len(), 0);
}

#[test]
fn requests_that_come_together_are_answered_in_order() {
    let scene = Setup::new().start(|request, reply| {
        reply.send(answer("200 OK", &[], request.target()))?;
        Ok(Then::Keep)
    });
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    let all: Vec<u8> = (0..10)
        .flat_map(|number| Ask::new("POST", &format!("/{number}")).body(format!("{number}")).bytes())
        .collect();
    client.send(&all).unwrap();
    for number in 0..10 {
        assert_eq!(client.answer("POST").unwrap().text(), format!("/prod/{number}"));
        let request = scene.origin.next();
        assert_eq!(request.body, number.to_string().as_bytes());
    }
}

#[test]
fn all_mistakes_of_a_configuration_show_at_once() {
    let text = "listen = \"nowhere\"\nworker = 2\n[limits]\nmax_body = \"10 apples\"\n[[stage]]\nurl = \"https://api.example.com\"\n\
                retry = \"always\"\n[[stage.route]]\npath = \"x\"\nauth = \"iam\"\n";
    let ended = Launch::config(text).run();
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    for part in ["listen", "workers", "max_body", "retry", "route", "countersign.toml"] {
        assert!(ended.err.contains(part), "{part}: {ended:?}");
    }
    for (arguments, part) in [
        (["run", "--config", "absent.toml"], "absent.toml"),
        (["run", "--no-such-flag", "x"], "--no-such-flag"),
        (["runn", "--config", "x"], "runn"),
    ] {
        let ended = Launch::arguments(arguments).run();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(part), "{ended:?}");
    }
    let ended = config("listen = \"127.0.0.1:0\"\nadmin = \"off\"\nlog.filter = \"=nonsense=\"").run();
    assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
    assert!(ended.err.contains("log.filter"), "{ended:?}");
}
