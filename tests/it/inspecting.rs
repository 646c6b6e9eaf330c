//! Who may see the inspector, and what a browser is told to do with it: the token's link, the cookie, the header of what
//! acts, the guard of the listener; and that nobody who holds its connections keeps others out.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use crate::support::{
    PATIENCE, TempDir,
    client::{Answer, Ask, Client, Via},
    inspector::{Inspector, link, link_file, parts},
    process::Launch,
    scene::{Scene, Setup},
    snapshot,
};

const ADMIN: &str = "admin = \"127.0.0.1:0\"";

fn scene() -> Scene {
    Setup::new().top(ADMIN).start_ok()
}

/// Every path of the API with a method that it has.
const API: [(&str, &str); 14] = [
    ("GET", "/api/exchanges"),
    ("DELETE", "/api/exchanges"),
    ("GET", "/api/exchanges/0123456789abcdef"),
    ("GET", "/api/exchanges/0123456789abcdef/curl"),
    ("POST", "/api/exchanges/0123456789abcdef/signed-curl"),
    ("POST", "/api/exchanges/0123456789abcdef/replay"),
    ("GET", "/api/events"),
    ("POST", "/api/send"),
    ("GET", "/api/har"),
    ("POST", "/api/har"),
    ("GET", "/api/state"),
    ("POST", "/api/login"),
    ("POST", "/api/ticket"),
    ("POST", "/api/identity"),
];

fn exchange(address: SocketAddr, ask: &Ask) -> Answer {
    Via::Http1.exchange(address, ask).unwrap_or_else(|error| panic!("{ask:?}: {error}"))
}

#[test]
fn nothing_is_seen_without_the_token() {
    let scene = scene();
    let (address, token) = parts(&link(&scene.proxy));
    let nearly = |at: usize| {
        let mut wrong = token.clone().into_bytes();
        wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(wrong).unwrap()
    };
    let name = format!("countersign-inspector-{}", address.port());
    let cookies = [
        String::new(),
        format!("{name}={}", nearly(0)),
        format!("{name}={}", nearly(42)),
        format!("{name}={}", &token[..42]),
        format!("{name}="),
        format!("{name}x={token}"),
        format!("other={token}"),
        token.clone(),
    ];
    for cookie in &cookies {
        for (method, path) in
            API.into_iter().chain([("GET", "/api/"), ("GET", "/api"), ("POST", "/api/none")])
        {
            let ask = Ask::new(method, path).header("x-countersign-inspector", "1").header("cookie", cookie);
            let answer = exchange(address, &ask);
            let code = answer.head.one("x-countersign-error");
            assert_eq!((answer.status, code), (401, Some("inspector-token")), "{method} {path} {cookie}");
            assert_eq!(answer.head.one("cache-control"), Some("no-store"));
        }
        let page = exchange(address, &Ask::new("GET", "/").header("cookie", cookie));
        assert_eq!((page.status, page.head.one("set-cookie")), (401, None), "{cookie}");
        assert!(page.text().contains("locked"), "it says how to get in");
    }
    for wrong in [nearly(0), nearly(42), token[..42].to_owned(), format!("{token}A"), String::new()] {
        let page = exchange(address, &Ask::new("GET", &format!("/?token={wrong}")));
        assert_eq!((page.status, page.head.one("set-cookie")), (401, None), "{wrong}");
        // A link's token is no way around the cookie for what the page asks.
        let list = exchange(address, &Ask::new("GET", &format!("/api/exchanges?token={token}")));
        assert_eq!(list.status, 401);
    }
    // What says nothing is there for everybody: the check of whether the process is well.
    assert_eq!(exchange(address, &Ask::new("GET", "/healthz")).status, 200);
}

#[test]
fn the_link_becomes_a_cookie_that_only_the_page_can_use() {
    let scene = scene();
    let (address, token) = parts(&link(&scene.proxy));
    let answer = exchange(address, &Ask::new("GET", &format!("/?token={token}")));
    assert_eq!((answer.status, answer.head.one("location")), (303, Some("/")));
    let cookie = answer.head.one("set-cookie").unwrap();
    let mut attributes: Vec<_> = cookie.split("; ").collect();
    let pair = attributes.remove(0);
    assert_eq!(pair, format!("countersign-inspector-{}={token}", address.port()));
    // No Domain, so that no other host gets it; no Max-Age, so that it ends with the browser.
    assert_eq!(attributes, ["HttpOnly", "SameSite=Strict", "Path=/"]);
    assert_eq!(answer.head.one("referrer-policy"), Some("no-referrer"));
    assert!(answer.body.is_empty());

    let inspector = Inspector::open(&scene.proxy);
    for target in ["/", "/api/state", "/api/exchanges", "/api/none"] {
        let answer = inspector.ask(&inspector.asking("GET", target));
        assert_eq!(answer.status, if target == "/api/none" { 404 } else { 200 }, "{target}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                 form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
            ),
        ] {
            assert_eq!(answer.head.one(name), Some(value), "{target}");
        }
    }
}

#[test]
fn what_acts_needs_a_header_that_no_form_sends() {
    let scene = scene();
    let inspector = Inspector::open(&scene.proxy);
    for (method, path) in API.into_iter().filter(|(method, _)| *method != "GET") {
        for header in [None, Some("0"), Some("")] {
            let mut ask =
                Ask::new(method, path).header("cookie", &inspector.cookie).body("{\"confirmed\":true}");
            if let Some(value) = header {
                ask = ask.header("x-countersign-inspector", value);
            }
            let answer = inspector.ask(&ask);
            let code = answer.head.one("x-countersign-error");
            assert_eq!((answer.status, code), (403, Some("inspector-header")), "{method} {path} {header:?}");
        }
    }
}

#[test]
fn names_of_others_and_pages_of_others_get_nothing_even_with_the_cookie() {
    let scene = Setup::new()
        .top(&format!("{ADMIN}\nguard.allowed_origins = [\"http://trusted.example\"]"))
        .start_ok();
    let inspector = Inspector::open(&scene.proxy);
    let (_, token) = parts(&link(&scene.proxy));
    let enter = format!("/?token={token}");
    for (method, path) in API.into_iter().chain([("GET", "/"), ("GET", enter.as_str())]) {
        let ask =
            Ask::new(method, path).header("cookie", &inspector.cookie).header("x-countersign-inspector", "1");
        let rebound = inspector.ask(&ask.clone().header("host", "evil.example"));
        assert_eq!((rebound.status, rebound.head.one("set-cookie")), (421, None), "{path}");
        for (name, value) in [
            ("origin", "http://evil.example"),
            ("origin", "null"),
            // Another port of this machine is another origin, though the cookie goes there too.
            ("origin", "http://localhost:1"),
            // Lends out stages, and not this.
            ("origin", "http://trusted.example"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let foreign = inspector.ask(&ask.clone().header(name, value));
            assert_eq!(
                (foreign.status, foreign.head.one("set-cookie")),
                (403, None),
                "{path} {name}: {value}"
            );
        }
    }
    assert_eq!(scene.origin.take().len(), 0);
}

#[test]
fn every_run_has_a_link_of_its_own_which_no_log_shows_and_which_goes_with_it() {
    let scene = Setup::new().top(&format!("{ADMIN}\nlog.filter = \"trace\"")).start_ok();
    let (address, token) = parts(&link(&scene.proxy));
    let file = link_file(&scene.proxy);
    let inspector = Inspector::open(&scene.proxy);
    inspector.get("/api/state");
    assert!(file.ends_with(format!("inspector-{}", address.port())), "{}", file.display());
    let other = self::scene();
    let (_, other_token) = parts(&link(&other.proxy));
    assert_ne!(token, other_token);
    let cookie = format!("countersign-inspector-{}={token}", parts(&link(&other.proxy)).0.port());
    let asked = Ask::new("GET", "/api/state").header("cookie", cookie);
    assert_eq!(exchange(parts(&link(&other.proxy)).0, &asked).status, 401, "a token of another run");
    let ended = scene.proxy.terminate();
    assert!(!ended.err.contains(&token) && !ended.out.contains(&token), "{ended:?}");
    assert!(fs::metadata(&file).is_err(), "the file is gone");
}

/// A program that stands for the one that opens links, and writes down what it was asked to open. `end` is what it does
/// then.
fn opener(home: &TempDir, end: &str) -> String {
    let script = format!("#!/bin/sh\nprintf '%s' \"$1\" > \"$HOME/opened\"\n{end}\n");
    let name = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let file = home.write(&format!("bin/{name}"), &script);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:/usr/bin:/bin", file.parent().unwrap().display())
}

#[test]
fn inspect_prints_the_link_of_the_one_that_runs_and_opens_it_by_a_ticket() {
    let scene = scene();
    let link = link(&scene.proxy);
    let (address, token) = parts(&link);
    let home = scene.proxy.home();
    let inspect = |arguments: &[&str], path: Option<&str>| {
        let mut launch = Launch::arguments(["inspect", "--admin", &address.to_string()])
            .variable("HOME", home.path().to_str().unwrap());
        for argument in arguments {
            launch = launch.argument(argument);
        }
        path.into_iter().fold(launch, |launch, path| launch.variable("PATH", path)).run()
    };
    let ended = inspect(&[], None);
    snapshot::ended("inspect/link", &ended, &[(&token, "TOKEN")]);
    assert_eq!((ended.code, ended.out, ended.err.as_str()), (Some(0), format!("{link}\n"), ""));

    // A browser is not told the token: others see command lines. What it is told opens the page once.
    let path = opener(home, "exit 0");
    let ended = inspect(&["--open"], Some(&path));
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), "", ""), "{ended:?}");
    let opened = fs::read_to_string(home.path().join("opened")).unwrap();
    assert!(!opened.contains(&token), "{opened}");
    let target = opened.strip_prefix(&format!("http://{address}")).unwrap();
    let answer = exchange(address, &Ask::new("GET", target).header("sec-fetch-site", "none"));
    assert_eq!((answer.status, answer.head.one("location")), (303, Some("/")), "{target}");
    assert!(answer.head.one("set-cookie").unwrap().contains(&token));
    assert_eq!(exchange(address, &Ask::new("GET", target)).status, 401, "it was good once");

    let ended = inspect(&["--open"], Some(&opener(home, "exit 3")));
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.contains("does not open the link") && ended.err.contains("without --open"),
        "{ended:?}"
    );
    // A browser that it becomes itself, as without a desktop, is not waited for.
    let browser = home.path().join("browser");
    let runs_on = "echo $$ > \"$HOME/pid\" && mv \"$HOME/pid\" \"$HOME/browser\"; exec sleep 120";
    let ended = inspect(&["--open"], Some(&opener(home, runs_on)));
    let deadline = Instant::now() + PATIENCE;
    while !browser.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let killed = format!("kill $(cat '{}')", browser.display());
    let killed = std::process::Command::new("sh").args(["-c", &killed]).status().unwrap();
    assert!(killed.success(), "it runs on");
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), "", ""), "{ended:?}");
    let ended = inspect(&["--open"], Some("/nowhere"));
    assert_eq!(ended.code, Some(1));
    assert!(!ended.err.contains(&token), "{ended:?}");
}

#[test]
fn inspect_says_why_there_is_nothing_to_open() {
    let scene = scene();
    let (address, token) = parts(&link(&scene.proxy));
    let (file, home) = (link_file(&scene.proxy), scene.proxy.home().path().to_str().unwrap().to_owned());
    let inspect = |admin: SocketAddr, home: &str| {
        let launch = Launch::arguments(["inspect"]).variable("COUNTERSIGN_ADMIN", &admin.to_string());
        let ended = launch.variable("HOME", home).run();
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
        assert!(!ended.err.contains(&token), "{ended:?}");
        ended.err.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
    };
    let other = ([127, 0, 0, 1], 1).into();
    let said = inspect(other, &home);
    assert!(said.contains("has an inspector on 127.0.0.1:1"), "{said}");
    assert!(said.contains(&format!("--admin 127.0.0.1:{}", address.port())), "{said}");
    let empty = TempDir::new();
    let said = inspect(other, empty.path().to_str().unwrap());
    assert!(said.contains("start one with `countersign run`"), "{said}");
    let none = Launch::arguments(["inspect"]).variable("COUNTERSIGN_ADMIN", "127.0.0.1:1");
    let none = none.variable("HOME", empty.path().to_str().unwrap()).run();
    snapshot::ended("inspect/none", &none, &[]);

    // Somebody else answers there.
    let kept = fs::read_to_string(&file).unwrap();
    fs::write(&file, kept.replace(&token, &"A".repeat(43))).unwrap();
    let said = inspect(address, &home);
    assert!(said.contains("opens nothing") && said.contains("says 401"), "{said}");
    fs::write(&file, "no link").unwrap();
    assert!(inspect(address, &home).contains("it holds no link"));

    // One that was killed leaves its link.
    fs::write(&file, &kept).unwrap();
    scene.proxy.process().signal("KILL");
    assert!(scene.proxy.process().find(|_| None::<()>).is_none(), "it has ended");
    let said = inspect(address, &home);
    assert!(said.contains("no longer runs") && said.contains("it was killed"), "{said}");
}

#[test]
fn it_can_be_switched_off_and_there_is_none_without_an_admin_address() {
    let scene = Setup::new().top(&format!("{ADMIN}\ninspector.enabled = false")).start_ok();
    let address = crate::process::admin(scene.proxy.process());
    for path in ["/", "/api/state", "/assets/x", "/?token=x"] {
        assert_eq!(exchange(address, &Ask::new("GET", path)).status, 404, "{path}");
    }
    let ended = scene.proxy.terminate();
    assert!(!ended.err.contains("inspector"), "{ended:?}");
    let ended = Setup::new().start_ok().proxy.terminate();
    assert!(!ended.err.contains("inspector"), "{ended:?}");
}

#[test]
fn who_can_keep_no_link_is_told_so() {
    let scene = Setup::new().top(ADMIN).variable("XDG_STATE_HOME", "/proc/none").start_ok();
    let told =
        scene.proxy.process().find(|line| line.contains("nobody can open the inspector").then_some(()));
    assert!(told.is_some());
    assert_eq!(
        exchange(crate::process::admin(scene.proxy.process()), &Ask::new("GET", "/healthz")).status,
        200
    );
}

#[test]
fn over_an_address_that_others_reach_the_callers_token_is_asked_for_as_well() {
    const TOKEN: &str = "caller-token-0123456789";
    // On a machine without a network only loopback is left, where the token is not asked for.
    let own = crate::pages::own_address();
    let outside = !own.is_loopback();
    let top = format!("admin = \"{own}:0\"\nguard = {{ allow_remote = true, token.value = \"{TOKEN}\" }}");
    let scene = Setup::new().top(&top).start_ok();
    let (address, token) = parts(&link(&scene.proxy));
    assert_eq!(address.ip(), own);
    let host = address.to_string();
    let enter = Ask::new("GET", &format!("/?token={token}")).header("host", &host);
    let refused = exchange(address, &enter);
    assert_eq!(
        (refused.status, refused.head.one("set-cookie").is_none()),
        if outside { (401, true) } else { (303, false) }
    );
    assert_eq!(
        refused.head.one("www-authenticate").is_some_and(|value| value.starts_with("Basic ")),
        outside
    );
    let entered = exchange(address, &enter.header("x-countersign-token", TOKEN));
    assert_eq!(entered.status, 303);
    let cookie = entered.head.one("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    for (method, path) in API.into_iter().filter(|_| outside) {
        let ask = Ask::new(method, path).header("host", &host).header("cookie", &cookie);
        let ask = ask.header("x-countersign-inspector", "1");
        assert_eq!(exchange(address, &ask).head.one("x-countersign-error"), Some("token-missing"), "{path}");
    }
    let state = Ask::new("GET", "/api/state").header("host", &host).header("cookie", &cookie);
    assert_eq!(exchange(address, &state.header("authorization", format!("Bearer {TOKEN}"))).status, 200);
    // A login opens a window on the proxy's machine, where whoever comes from elsewhere is not.
    let login = Ask::new("POST", "/api/login").header("host", &host).header("cookie", &cookie);
    let login = login.header("x-countersign-inspector", "1").header("x-countersign-token", TOKEN);
    let answer = exchange(address, &login.body("{\"stage\":\"abc123\"}"));
    let code = if outside { "login-from-afar" } else { "no-login-command" };
    assert_eq!(answer.head.one("x-countersign-error"), Some(code));
}

#[test]
fn health_is_answered_while_streams_are_open_and_others_hold_connections() {
    let scene = scene();
    let inspector = Inspector::open(&scene.proxy);
    let mut streams: Vec<_> = (0..200).map(|_| inspector.follow(None)).collect();
    // Each is at work.
    for stream in &mut streams {
        assert_eq!(stream.next().name, "state");
    }
    // Connections that say nothing, and heads that never end, more of both than there are places.
    let silent: Vec<_> = (0..100).map(|_| Client::connect(inspector.address).unwrap()).collect();
    let endless: Vec<_> = (0..100)
        .map(|_| {
            let mut client = Client::connect(inspector.address).unwrap();
            client.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n").unwrap();
            client
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(exchange(inspector.address, &Ask::new("GET", "/healthz")).status, 200);
        assert_eq!(exchange(inspector.address, &Ask::new("GET", "/readyz")).status, 200);
    }
    // No stream had to make room.
    assert_eq!(scene.ask(Via::Http1, &Ask::new("GET", "/a")).status, 200);
    for stream in &mut streams {
        assert_eq!(stream.next_of("exchange").data["target"], "/a");
    }
    drop((silent, endless));
}

#[test]
fn a_page_asks_several_things_over_one_connection_and_watchers_keep_none() {
    let scene = scene();
    let inspector = Inspector::open(&scene.proxy);
    let mut page = Client::connect(inspector.address).unwrap();
    for target in ["/", "/api/state", "/api/exchanges", "/api/none", "/api/state"] {
        let answer = page.exchange(&inspector.asking("GET", target)).unwrap();
        assert_eq!(answer.head.one("connection"), None, "{target}");
    }
    let mut watcher = Client::connect(inspector.address).unwrap();
    assert_eq!(watcher.exchange(&Ask::new("GET", "/healthz")).unwrap().head.one("connection"), Some("close"));
    assert_eq!(watcher.rest().unwrap(), b"");
}

#[test]
fn streams_beyond_their_places_are_refused_and_come_free() {
    let scene = scene();
    let inspector = Inspector::open(&scene.proxy);
    let mut streams: Vec<_> = (0..256).map(|_| inspector.follow(None)).collect();
    for stream in &mut streams {
        assert_eq!(stream.next().name, "state");
    }
    let asked = inspector.asking("GET", "/api/events");
    assert_eq!(inspector.ask(&asked).head.one("x-countersign-error"), Some("too-many-streams"));
    drop(streams);
    // Until it has noticed that they are gone.
    loop {
        let mut client = Client::connect(inspector.address).unwrap();
        client.send(&asked.bytes()).unwrap();
        if client.head("GET").unwrap().0 == 200 {
            break;
        }
    }
}

#[test]
fn the_image_has_none() {
    let text = fs::read_to_string(crate::support::root().join("Dockerfile")).unwrap();
    assert!(text.contains("ENV COUNTERSIGN_INSPECTOR=false"), "{text}");
    let scene = Setup::new().top(ADMIN).variable("COUNTERSIGN_INSPECTOR", "false").start_ok();
    let address = crate::process::admin(scene.proxy.process());
    assert_eq!(exchange(address, &Ask::new("GET", "/")).status, 404);
    let help = Launch::arguments(["run", "--help"]).run();
    assert!(help.out.contains("--inspector"), "{help:?}");
}
