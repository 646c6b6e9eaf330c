//! From start to end as others see it: `/startupz`, `/readyz` and the health path for load balancers say the truth at each
//! moment, `/quitquitquit` ends the proxy where that is allowed and only there, and the commands `wait` and `shutdown`
//! tell by their exit codes.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::Command,
};

use crate::{
    pages::own_address,
    process::admin,
    support::{
        TempDir,
        client::{Answer, Ask, Client, Via},
        process::{Launch, Running, Stream},
        scene::{SECRET, Scene, Setup, assert_refusal, holding},
        snapshot,
    },
};

const ADMIN: &str = "admin = \"127.0.0.1:0\"";

fn ask(address: SocketAddr, method: &str, target: &str) -> Answer {
    Via::Http1.exchange(address, &Ask::new(method, target)).unwrap()
}

/// The status and what is said to be wrong.
fn asked(scene: &Scene, target: &str) -> (u16, String) {
    let answer = ask(admin(scene.proxy.process()), "GET", target);
    (answer.status, answer.text().to_owned())
}

fn heard(scene: &Scene, part: &str) {
    let found = scene.proxy.process().find(|line| line.contains(part).then_some(()));
    assert!(found.is_some(), "the proxy ended without {part:?}");
}

/// A source of credentials that answers when its file is written to.
fn slow_source(directory: &TempDir) -> (Setup, std::path::PathBuf) {
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let profile = format!("[profile dev]\ncredential_process = cat {}\n", pipe.display());
    let setup = Setup::new().without_keys().stage("profile = \"dev\"").file(".aws/config", &profile);
    (setup, pipe)
}

fn credentials() -> String {
    format!(
        "{{\"Version\":1,\"AccessKeyId\":\"AKIDSLOW\",\"SecretAccessKey\":\"{SECRET}\",\"SessionToken\":\"t\",\
         \"Expiration\":\"2999-01-01T00:00:00Z\"}}"
    )
}

#[test]
fn it_has_started_once_the_first_question_for_credentials_is_answered() {
    let directory = TempDir::new();
    let (setup, pipe) = slow_source(&directory);
    let scene = setup.top(ADMIN).start_ok();
    let address = admin(scene.proxy.process()).to_string();
    let (status, said) = asked(&scene, "/startupz");
    assert_eq!(status, 503, "{said}");
    for part in ["\"starting\"", "abc123", "first question for credentials"] {
        assert!(said.contains(part), "{said}");
    }
    let (status, said) = asked(&scene, "/readyz");
    assert!(status == 503 && said.contains("\"listening\":true"), "{said}");

    let wait = Launch::arguments(["wait", "--max", "1m", "--admin", &address]);
    let mut wait = Running::spawn(&mut wait.command());
    let line = wait.find(|line| line.starts_with("waiting: ").then(|| line.to_owned()));
    assert_eq!(line.as_deref(), Some("waiting: stage abc123: there are no credentials"));
    fs::write(&pipe, credentials()).unwrap();
    let ended = wait.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "ready\n"), "{ended:?}");
    snapshot::ended("wait/ready", &ended, &[]);
    assert_eq!(asked(&scene, "/startupz"), (200, "{\"problems\":[],\"status\":\"started\"}\n".to_owned()));
    let (status, said) = asked(&scene, "/readyz");
    assert_eq!((status, said.as_str()), (200, "{\"status\":\"ready\",\"listening\":true,\"problems\":[]}\n"));
    scene.sent(Via::Http1, &Ask::new("GET", "/a"));
}

#[test]
fn a_start_without_credentials_is_a_start_and_not_ready() {
    let scene = Setup::new().top(ADMIN).without_keys().start_ok();
    heard(&scene, "no usable credentials");
    assert_eq!(asked(&scene, "/startupz").0, 200);
    let (status, said) = asked(&scene, "/readyz");
    assert!(status == 503 && said.contains("hint"), "{said}");
    assert_eq!(ask(admin(scene.proxy.process()), "POST", "/startupz").status, 405);
    let address = admin(scene.proxy.process()).to_string();
    let ended = Launch::arguments(["wait", "--max", "300ms", "--admin", &address]).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("not ready within 300ms") && ended.err.contains("abc123"), "{ended:?}");
    snapshot::ended("wait/not-ready", &ended, &[]);
    snapshot::ended("health/not-ready", &Launch::arguments(["health", "--admin", &address]).run(), &[]);
}

#[test]
fn whoever_waits_is_told_that_nobody_is_there() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = Launch::arguments(["wait", "--max=200ms", &format!("--admin={nobody}")]).run();
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    let line = format!("waiting: no countersign answers on {nobody}\n");
    assert_eq!(ended.err.matches(&line).count(), 1, "once, as it does not change: {ended:?}");
    let ended = Launch::arguments(["shutdown", &format!("--admin={nobody}")]).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(&nobody.to_string()), "{ended:?}");
}

#[test]
fn nobody_ends_it_by_a_request_unless_that_is_allowed() {
    let scene = Setup::new().top(ADMIN).start_ok();
    let address = admin(scene.proxy.process());
    let refused = ask(address, "POST", "/quitquitquit");
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["error"], "quit-not-allowed");
    assert!(refused.json()["hint"].as_str().unwrap().contains("admin_quit = true"));
    let ended = Launch::arguments(["shutdown", "--admin", &address.to_string()]).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("admin_quit = true"), "{ended:?}");
    snapshot::ended("shutdown/not-allowed", &ended, &[]);
    scene.sent(Via::Http1, &Ask::new("GET", "/a"));
}

#[test]
fn where_it_is_allowed_it_ends_in_order_and_only_as_it_is_to_be_asked() {
    let (scene, go) = holding(Setup::new().top(&format!("{ADMIN}\nadmin_quit = true")));
    let address = admin(scene.proxy.process());
    let wrong_ways = [
        (Ask::new("GET", "/quitquitquit"), 405),
        // A page cannot ask, not even one that a stage serves; nor can a name that leads here.
        (Ask::new("POST", "/quitquitquit").header("origin", "http://evil.example"), 403),
        (Ask::new("POST", "/quitquitquit").header("sec-fetch-site", "cross-site"), 403),
        (
            Ask::new("POST", "/quitquitquit")
                .header("origin", format!("http://{}", scene.proxy.address()))
                .header("sec-fetch-site", "same-site"),
            403,
        ),
        (Ask::new("POST", "/quitquitquit").header("host", "evil.example"), 421),
        (Ask::new("POST", "/quitquitquit/"), 404),
    ];
    for (wrong, status) in wrong_ways {
        assert_eq!(Via::Http1.exchange(address, &wrong).unwrap().status, status, "{wrong:?}");
    }
    // Nor does the port that requests are sent to know of it.
    scene.sent(Via::Http1, &Ask::new("POST", "/quitquitquit"));

    let mut busy = Client::connect(scene.proxy.address()).unwrap();
    busy.send(&Ask::new("GET", "/held").bytes()).unwrap();
    assert_eq!(scene.origin.next().target(), b"/prod/held");
    for _ in 0..2 {
        let answer = ask(address, "POST", "/quitquitquit");
        assert_eq!((answer.status, answer.text()), (200, "{\"status\":\"stopping\"}\n"));
    }
    heard(&scene, "stopping: requests under way may end");
    let (status, said) = asked(&scene, "/readyz");
    assert!(status == 503 && said.contains("stopping"), "{said}");
    go.send(()).unwrap();
    assert_eq!(busy.answer("GET").unwrap().status, 200, "what is under way ends as it would have");
    let ended = scene.proxy.ended();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.err.contains("second signal"), "{ended:?}");
}

#[test]
fn the_shutdown_command_waits_until_it_is_gone() {
    let (scene, go) = holding(Setup::new().top(&format!("{ADMIN}\nadmin_quit = true")));
    let address = admin(scene.proxy.process()).to_string();
    let mut busy = Client::connect(scene.proxy.address()).unwrap();
    busy.send(&Ask::new("GET", "/held").bytes()).unwrap();
    scene.origin.next();
    // Not within a time that is too short.
    let ended = Launch::arguments(["shutdown", "--max=200ms", "--admin", &address]).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("has not ended within 200ms"), "{ended:?}");
    snapshot::ended("shutdown/too-late", &ended, &[]);
    let shutdown = Launch::arguments(["shutdown", "--admin", &address]);
    let mut shutdown = Running::spawn(&mut shutdown.command());
    let mut asked = 0;
    let twice = scene.proxy.process().find(|line| {
        asked += usize::from(line.contains("asked for by /quitquitquit"));
        (asked == 2).then_some(())
    });
    assert!(twice.is_some(), "it ended while a request was under way");
    go.send(()).unwrap();
    assert_eq!(busy.answer("GET").unwrap().status, 200);
    let ended = shutdown.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "ended\n"), "{ended:?}");
    snapshot::ended("shutdown/ended", &ended, &[]);
    assert_eq!(scene.proxy.ended().code, Some(0));
}

#[test]
fn from_elsewhere_it_takes_the_callers_token() {
    const TOKEN: &str = "token-0123456789-of-callers";
    let own = own_address();
    let outside = !own.is_loopback();
    let start = |guard: &str| {
        let top =
            format!("admin = \"{own}:0\"\nadmin_quit = true\nguard = {{ allow_remote = true, {guard} }}");
        Setup::new().top(&top).variable("CALLERS", TOKEN).start_ok()
    };
    let quit = |scene: &Scene, token: Option<&str>| {
        let address = admin(scene.proxy.process());
        let ask = Ask::new("POST", "/quitquitquit").header("host", address.to_string());
        let ask = token.into_iter().fold(ask, |ask, token| ask.header("x-countersign-token", token));
        Via::Http1.exchange(address, &ask).unwrap()
    };
    let scene = start("token.env = \"CALLERS\"");
    if outside {
        assert_eq!(quit(&scene, None).head.one("x-countersign-error"), Some("token-missing"));
        assert_eq!(quit(&scene, Some("token-0123456789-of-others")).status, 401);
    }
    scene.sent(Via::Http1, &Ask::new("GET", "/a").header("x-countersign-token", TOKEN));
    let address = admin(scene.proxy.process()).to_string();
    let shutdown = Launch::arguments(["shutdown", "--admin", &address]).variable("COUNTERSIGN_TOKEN", TOKEN);
    let ended = shutdown.run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(scene.proxy.ended().code, Some(0));

    let scene = start("token.env = \"CALLERS\"");
    let address = admin(scene.proxy.process()).to_string();
    let shutdown = Launch::arguments(["shutdown", "--token-file=token", "--admin", &address]);
    let ended = shutdown.file("token", &format!("{TOKEN}\n")).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(scene.proxy.ended().code, Some(0));

    // That nobody is asked for a token does not mean that anybody may end it.
    let scene = start("no_token = true");
    if outside {
        let refused = quit(&scene, None);
        assert_eq!((refused.status, &refused.json()["error"]), (403, &"quit-not-allowed".into()));
        scene.sent(Via::Http1, &Ask::new("GET", "/a"));
    }
}

#[test]
fn without_a_health_path_the_path_is_the_stages() {
    let scene = Setup::new().top(ADMIN).start_ok();
    for path in ["/healthz", "/readyz", "/startupz", "/quitquitquit"] {
        scene.sent(Via::Http1, &Ask::new("GET", path));
    }
}

#[test]
fn load_balancers_are_answered_on_the_port_that_they_send_to() {
    let token = "guard.token.value = \"token-0123456789-of-callers\"";
    let top = format!("{ADMIN}\nhealth_path = \"/healthz\"\nlimits.drain_delay = \"1m\"\n{token}");
    let scene = Setup::new().top(&top).start_ok();
    heard(&scene, "credentials are ready");
    let address = scene.proxy.address();
    for via in Via::ALL {
        // As a load balancer asks: by an address, without a token. It may be any name.
        for host in ["192.0.2.7", "192.0.2.7:8080", "lb.example"] {
            for target in ["/healthz", "/healthz?from=lb"] {
                let answer = via.exchange(address, &Ask::new("GET", target).header("host", host)).unwrap();
                assert_eq!((answer.status, answer.text()), (200, "{\"status\":\"ready\"}\n"), "{host}");
                assert_eq!(answer.head.one("content-type"), Some("application/json"));
                assert_eq!(answer.head.one("cross-origin-resource-policy"), Some("same-origin"));
                assert_eq!(answer.head.one("access-control-allow-origin"), None);
            }
            let answer = via.exchange(address, &Ask::new("HEAD", "/healthz").header("host", host)).unwrap();
            assert_eq!((answer.status, answer.body.len()), (200, 0));
        }
        // Nothing beside it: other paths and methods are requests like any other.
        for (method, target) in
            [("GET", "/healthz/"), ("GET", "/Healthz"), ("POST", "/healthz"), ("GET", "/%68ealthz")]
        {
            let answer =
                via.exchange(address, &Ask::new(method, target).header("host", "192.0.2.7")).unwrap();
            assert_refusal(&answer, 421, "host-not-allowed");
        }
        let ask = Ask::new("POST", "/healthz").header("x-countersign-token", "token-0123456789-of-callers");
        assert_eq!(scene.sent(via, &ask).target(), b"/prod/healthz");
    }
    // Who probes is no caller: neither counted nor in the log, but where the answer changes.
    let metrics = asked(&scene, "/metrics").1;
    let series = |line: &&str| line.starts_with("countersign_requests_total") && !line.ends_with(" 0");
    let refused = "countersign_requests_total{stage=\"\",route=\"\",origin=\"proxy\",status=\"4xx\"} 8";
    assert!(metrics.lines().any(|line| line == refused), "{metrics}");
    assert_eq!(metrics.lines().filter(series).count(), 2, "{metrics}");

    scene.proxy.process().signal("TERM");
    heard(&scene, "limits.drain_delay");
    for _ in 0..2 {
        let answer = ask(address, "GET", "/healthz");
        assert_eq!((answer.status, answer.text()), (503, "{\"status\":\"not ready\"}\n"));
    }
    scene.proxy.process().signal("TERM");
    let ended = scene.proxy.ended();
    let lines = |part: &str| ended.err.lines().filter(|line| line.contains(part)).count();
    assert_eq!(
        (lines("asks health_path is told: ready"), lines("asks health_path is told: not ready")),
        (1, 1)
    );
    let access = ended.err.lines().filter(|line| line.contains("countersign::access"));
    let of_probes =
        |line: &&str| line.contains("\"path\":\"/healthz\"") && line.contains("\"method\":\"GET\"");
    assert_eq!(access.filter(of_probes).count(), 0, "{ended:?}");
}

#[test]
fn the_health_path_says_nothing_of_why() {
    let scene = Setup::new().without_keys().top("health_path = \"/\"").start_ok();
    heard(&scene, "no usable credentials");
    for via in Via::ALL {
        let answer = scene.ask(via, &Ask::new("GET", "/"));
        assert_eq!((answer.status, answer.text()), (503, "{\"status\":\"not ready\"}\n"));
    }
    assert_eq!(scene.proxy.process().stream(Stream::Out), "");
}
