//! What a web page can cause: requests of pages of other sites are refused whatever they send, and nothing is forwarded;
//! tools, the address bar and pages that came through the proxy are not concerned. The admin listener judges alike.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::support::{
    client::{Answer, Ask, Client, Via},
    process::Launch,
    scene::{Scene, Setup, assert_refusal},
};

/// Another's page, and what its browser sends with each thing that it can do.
const OF_OTHER_SITES: &[(&str, &[(&str, &str)])] = &[
    (
        "fetch",
        &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")],
    ),
    ("fetch without cors", &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]),
    (
        "image",
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
    ),
    (
        "script",
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "script")],
    ),
    (
        "link",
        &[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-user", "?1"),
        ],
    ),
    (
        "frame",
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
    ),
    (
        "form",
        &[
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ],
    ),
    ("form of an old browser", &[("origin", "https://evil.example")]),
    ("link on another local page", &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate")]),
    ("fetch of another local page", &[("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")]),
    (
        "fetch of another name of this machine",
        &[("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "cross-site")],
    ),
    (
        "fetch of a page served over TLS",
        &[("origin", "https://localhost:8080"), ("sec-fetch-site", "cross-site")],
    ),
    ("fetch of a neighbour", &[("origin", "http://a.localhost:8080"), ("sec-fetch-site", "same-site")]),
    ("sandboxed frame", &[("origin", "null"), ("sec-fetch-site", "cross-site")]),
    ("local file", &[("origin", "null")]),
    ("file that the user opened", &[("origin", "null"), ("sec-fetch-site", "none")]),
    ("redirect back from elsewhere", &[("origin", "null"), ("sec-fetch-site", "same-site")]),
    ("extension", &[("origin", "chrome-extension://abcdef"), ("sec-fetch-site", "none")]),
    ("preflight", &[("origin", "https://evil.example"), ("access-control-request-method", "DELETE")]),
    ("contradiction", &[("origin", "http://localhost:8080"), ("sec-fetch-site", "cross-site")]),
    (
        "another way through a server of its own",
        &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
    ),
    // What no browser sends, but somebody who tries.
    ("value in capitals", &[("sec-fetch-site", "Same-Origin")]),
    ("value of the future", &[("sec-fetch-site", "same-planet")]),
    ("no value", &[("sec-fetch-site", "")]),
    ("two sites", &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")]),
    ("two origins", &[("origin", "http://localhost:8080"), ("origin", "http://localhost:8080")]),
    ("two in one", &[("origin", "http://localhost:8080 https://evil.example")]),
    ("origin with a path", &[("origin", "http://localhost:8080/")]),
    ("origin without a scheme", &[("origin", "localhost:8080")]),
    ("origin with a user", &[("origin", "http://localhost:8080@evil.example")]),
    ("every origin", &[("origin", "*")]),
    ("no origin", &[("origin", "")]),
];

/// What passes, and who sends it.
const HONEST: &[(&str, &[(&str, &str)])] = &[
    ("curl", &[("user-agent", "curl/8.14.1"), ("accept", "*/*")]),
    (
        "an SDK",
        &[("user-agent", "aws-sdk-go-v2/1.30"), ("amz-sdk-invocation-id", "1"), ("x-amz-target", "A.B")],
    ),
    (
        "a tool that repeats what a browser sent",
        &[("referer", "https://evil.example/"), ("sec-fetch-mode", "cors")],
    ),
    ("a tool with cookies", &[("cookie", "a=1"), ("accept-language", "en")]),
    (
        "the address bar",
        &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate"), ("sec-fetch-user", "?1")],
    ),
    ("an image of its own page", &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "no-cors")]),
    ("a fetch of its own page", &[("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")]),
    (
        "a form of its own page that sends no referrer",
        &[("origin", "null"), ("sec-fetch-site", "same-origin")],
    ),
    ("an old browser's own page", &[("origin", "http://localhost:8080")]),
    ("capitals", &[("origin", "HTTP://LOCALHOST:8080")]),
];

fn with(mut ask: Ask, fields: &[(&str, &str)]) -> Ask {
    for (name, value) in fields {
        ask = ask.header(name, value);
    }
    ask.header("host", "localhost:8080")
}

fn asks(fields: &[(&str, &str)]) -> Vec<Ask> {
    let bodies = ["POST", "PUT", "DELETE", "PATCH"].map(|method| Ask::new(method, "/a?b=1").body("x"));
    let bare = ["GET", "OPTIONS"].map(|method| Ask::new(method, "/a?b=1"));
    bare.into_iter().chain(bodies).map(|ask| with(ask, fields)).collect()
}

fn assert_unreadable(answer: &Answer) {
    let cors =
        answer.head.fields.iter().find(|(name, _)| name.to_ascii_lowercase().starts_with("access-control-"));
    assert!(cors.is_none(), "{cors:?}");
}

#[test]
fn pages_of_other_sites_are_refused() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        for (who, fields) in OF_OTHER_SITES {
            for ask in asks(fields) {
                let answer = scene.refused(via, &ask, 403, "origin-not-allowed");
                assert_unreadable(&answer);
                assert_eq!(answer.head.one("vary"), None, "{who}");
            }
        }
    }
}

#[test]
fn allowing_one_origin_lets_in_no_other() {
    let scene = Setup::new().top("guard.allowed_origins = [\"https://app.example\"]").start_ok();
    for via in Via::ALL {
        for (_, fields) in OF_OTHER_SITES {
            assert_unreadable(&scene.refused(
                via,
                &with(Ask::new("GET", "/a"), fields),
                403,
                "origin-not-allowed",
            ));
        }
        for (_, fields) in HONEST {
            assert_unreadable(&scene.ask(via, &with(Ask::new("GET", "/a"), fields)));
            scene.origin.next();
        }
    }
}

#[test]
fn tools_the_address_bar_and_its_own_pages_pass() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        for (who, fields) in HONEST {
            for ask in asks(fields) {
                let sent = scene.sent(via, &ask);
                assert_eq!(sent.method(), ask.method, "{who}");
            }
        }
    }
}

#[test]
fn its_own_origin_is_the_host_as_it_is_named() {
    let scene = Setup::new().top("guard.allowed_hosts = [\"devbox.example\"]").start_ok();
    for via in Via::ALL {
        for (host, origin, passes) in [
            ("localhost", "http://localhost", true),
            ("localhost", "http://localhost:80", true),
            ("localhost:80", "http://localhost", true),
            ("localhost:9000", "http://localhost:9000", true),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("devbox.example:8080", "http://devbox.example:8080", true),
            ("devbox.example:8080", "http://devbox.example", false),
            ("devbox.example:8080", "http://localhost:8080", false),
            ("localhost:9000", "http://localhost:8080", false),
            ("localhost", "https://localhost", false),
            ("localhost:443", "https://localhost", false),
        ] {
            let ask = Ask::new("POST", "/a").header("host", host).header("origin", origin).body("x");
            if passes {
                scene.sent(via, &ask);
            } else {
                scene.refused(via, &ask, 403, "origin-not-allowed");
            }
        }
    }
}

#[test]
fn a_rebound_name_is_refused_before_its_origin_is_looked_at() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        let ask = Ask::new("GET", "/a")
            .header("host", "evil.example:8080")
            .header("origin", "http://evil.example:8080")
            .header("sec-fetch-site", "same-origin");
        scene.refused(via, &ask, 421, "host-not-allowed");
    }
}

#[test]
fn a_websocket_handshake_is_judged_like_any_request() {
    let scene = Setup::new().start_ok();
    let handshake = |origin: &str| {
        Ask::new("GET", "/a")
            .header("host", "localhost:8080")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("origin", origin)
    };
    for origin in ["https://evil.example", "http://localhost:3000", "null"] {
        scene.refused(Via::Http1, &handshake(origin), 403, "origin-not-allowed");
    }
    scene.sent(Via::Http1, &handshake("http://localhost:8080"));
}

#[test]
fn a_refusal_says_what_to_allow() {
    let scene = Setup::new().start_ok();
    for (fields, part) in [
        (&[("origin", "http://localhost:3000")][..], "\"http://localhost:3000\" to guard.allowed_origins"),
        (&[("origin", "null")], "Serve the page from an address"),
        (&[("sec-fetch-site", "cross-site")], "address bar"),
        (&[("sec-fetch-site", "x")], "Other programs need none"),
        (&[("origin", "x")], "Other programs need none"),
    ] {
        let answer =
            scene.refused(Via::Http1, &with(Ask::new("GET", "/a"), fields), 403, "origin-not-allowed");
        assert!(answer.json()["hint"].as_str().unwrap().contains(part), "{}", answer.text());
    }
    // However long it is, and whatever bytes it has.
    let long = Ask::new("GET", "/a").header("origin", [&b"\xff"[..], &[b'x'; 5000]].concat());
    let answer = scene.refused(Via::Http1, &long, 403, "origin-not-allowed");
    assert!(answer.body.len() < 1000, "{}", answer.text());
}

#[test]
fn an_unread_body_does_not_reach_the_next_request() {
    let scene = Setup::new().start_ok();
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    let hidden = "GET /hidden HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let head = format!(
        "POST /a HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\ncontent-length: {}\r\n\r\n",
        hidden.len()
    );
    client.send([head.as_bytes(), hidden.as_bytes()].concat().as_slice()).unwrap();
    assert_refusal(&client.answer("POST").unwrap(), 403, "origin-not-allowed");
    client.end_writing().unwrap();
    assert_eq!(client.rest().unwrap(), b"");
    assert_eq!(scene.origin.take().len(), 0);
}

fn admin(scene: &Scene) -> SocketAddr {
    crate::process::admin(scene.proxy.process())
}

#[test]
fn the_admin_listener_has_the_same_guard() {
    // What is allowed to call stages is not allowed here.
    let scene = Setup::new()
        .top(
            "admin = \"127.0.0.1:0\"\n[guard]\nallowed_hosts = [\"devbox.example\"]\n\
             allowed_origins = [\"https://app.example\"]",
        )
        .start_ok();
    let address = admin(&scene);
    for target in ["/healthz", "/readyz", "/"] {
        let ask = |fields: &[(&str, &str)]| {
            Via::Http1.exchange(address, &with(Ask::new("GET", target), fields)).unwrap()
        };
        let plain = ask(&[]).status;
        assert_ne!(plain, 403);
        let trusted = [("an origin that may call stages", &[("origin", "https://app.example")][..])];
        for (who, fields) in OF_OTHER_SITES.iter().chain(&trusted) {
            let answer = ask(fields);
            assert_eq!(
                (answer.status, &answer.json()["error"]),
                (403, &"origin-not-allowed".into()),
                "{who}"
            );
            assert_unreadable(&answer);
        }
        for (who, fields) in HONEST {
            assert_eq!(ask(fields).status, plain, "{who}");
        }
        for (host, passes) in [
            ("localhost", true),
            ("localhost:8081", true),
            ("127.0.0.1", true),
            ("devbox.example:8081", true),
            ("evil.example", false),
            ("127.0.0.1.nip.io", false),
            ("0.0.0.0", false),
            ("localhost.", false),
        ] {
            let answer = Via::Http1.exchange(address, &Ask::new("GET", target).header("host", host)).unwrap();
            if passes {
                assert_eq!(answer.status, plain, "{host}");
            } else {
                assert_eq!(
                    (answer.status, &answer.json()["error"]),
                    (421, &"host-not-allowed".into()),
                    "{host}"
                );
            }
        }
    }
    let mut bare = Client::connect(address).unwrap();
    bare.send(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(bare.answer("GET").unwrap().status, 400);
}

/// An address of this machine that is not loopback, where it has one. Nothing is sent to find out.
pub fn own_address() -> IpAddr {
    let found = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    found.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

#[test]
fn the_address_that_is_listened_on_passes_as_a_host() {
    let own = own_address();
    let top = format!(
        "listen = \"{own}:0\"\nadmin = \"{own}:0\"\nguard = {{ allow_remote = true, no_token = true }}"
    );
    let scene = Setup::new().top(&top).start_ok();
    let (proxy, admin) = (scene.proxy.address(), admin(&scene));
    for via in Via::ALL {
        for host in [proxy.to_string(), own.to_string()] {
            let answer = via.exchange(proxy, &Ask::new("GET", "/a").header("host", &host)).unwrap();
            assert_eq!(answer.status, 200, "{host}");
        }
        // As a page that was served from there would send it.
        let ask = Ask::new("POST", "/a")
            .header("host", proxy.to_string())
            .header("origin", format!("http://{proxy}"))
            .body("x");
        assert_eq!(via.exchange(proxy, &ask).unwrap().status, 200);
        let refused = via.exchange(proxy, &Ask::new("GET", "/a").header("host", "192.0.2.7")).unwrap();
        assert_refusal(&refused, 421, "host-not-allowed");
    }
    // As kubelet and load balancers ask.
    for host in [admin.to_string(), own.to_string()] {
        let answer = Via::Http1.exchange(admin, &Ask::new("GET", "/healthz").header("host", &host)).unwrap();
        assert_eq!(answer.status, 200, "{host}");
    }
    let refused =
        Via::Http1.exchange(admin, &Ask::new("GET", "/healthz").header("host", "192.0.2.7")).unwrap();
    assert_eq!(refused.status, 421);
}

#[test]
fn the_health_command_passes_wherever_admin_listens() {
    let scene = Setup::new()
        .top("admin = \"0.0.0.0:0\"\nguard = { allow_remote = true, no_token = true }")
        .start_ok();
    scene.proxy.process().find(|line| line.contains("credentials are ready").then_some(()));
    let everywhere = format!("0.0.0.0:{}", admin(&scene).port());
    let asked = Launch::arguments(["health", "--admin", &everywhere]).run();
    assert_eq!(asked.code, Some(0), "{asked:?}");
}

#[test]
fn whoever_reaches_admin_from_elsewhere_needs_the_token_for_more_than_whether_all_is_well() {
    const TOKEN: &str = "token-0123456789-of-callers";
    let own = own_address();
    let top = format!("admin = \"{own}:0\"\nguard = {{ allow_remote = true, token.env = \"CALLERS\" }}");
    let scene = Setup::new().top(&top).variable("CALLERS", TOKEN).without_keys().start_ok();
    scene.proxy.process().find(|line| line.contains("no usable credentials").then_some(()));
    let admin = admin(&scene);
    let ask = |path: &str, token: Option<&str>| {
        let ask = Ask::new("GET", path).header("host", admin.to_string());
        let ask = token.into_iter().fold(ask, |ask, token| ask.header("x-countersign-token", token));
        Via::Http1.exchange(admin, &ask).unwrap()
    };
    let outside = !own.is_loopback();
    let refused = if outside { 401 } else { 200 };
    assert_eq!(ask("/metrics", None).status, refused);
    assert_eq!(ask("/metrics", Some("token-0123456789-of-others")).status, refused);
    assert_eq!(ask("/metrics", Some(TOKEN)).status, 200);
    assert_eq!(ask("/healthz", None).status, 200);
    let bare = ask("/readyz", None);
    assert_eq!((bare.status, bare.text().contains("problem")), (503, !outside), "{}", bare.text());
    assert!(ask("/readyz", Some(TOKEN)).text().contains("problem"));
}
