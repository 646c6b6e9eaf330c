//! Who may borrow the credentials: the rules on `Host`, methods and addresses, and that nothing is forwarded for those
//! who may not.

use crate::support::{
    client::{Ask, Client, Via},
    process::Launch,
    scene::{Scene, Setup, assert_refusal},
};

fn raw(scene: &Scene, bytes: &str) -> crate::support::client::Answer {
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(bytes.as_bytes()).unwrap();
    client.answer("GET").unwrap()
}

#[test]
fn names_of_this_machine_pass() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        for host in [
            "localhost",
            "localhost:8080",
            "LocalHost",
            "a.localhost",
            "abc123.execute-api.localhost:4566",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:8080",
        ] {
            scene.sent(via, &Ask::new("GET", "/a").header("host", host));
        }
    }
}

#[test]
fn other_names_are_refused_with_a_hint() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "abc123.execute-api.us-west-2.amazonaws.com",
            "host.docker.internal",
            "192.168.7.7",
            "0.0.0.0",
            "[::ffff:127.0.0.1]",
            "localhost.",
            "127.1",
            "2130706433",
        ] {
            let refused =
                scene.refused(via, &Ask::new("GET", "/a").header("host", host), 421, "host-not-allowed");
            let body = refused.json();
            assert!(body["message"].as_str().unwrap().contains(host), "{}", refused.text());
            assert!(body["hint"].as_str().unwrap().contains("guard.allowed_hosts"), "{}", refused.text());
        }
    }
    // What is no host at all; a client for HTTP/2 cannot even write some of these.
    for host in ["", ":80", "localhost:x", "localhost:99999", "user@localhost", "::1", "a b", "localhost/x"] {
        let answer = raw(&scene, &format!("GET /a HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        assert_refusal(&answer, 421, "host-not-allowed");
    }
    assert_eq!(scene.origin.take().len(), 0);
}

#[test]
fn allowed_hosts_are_allowed() {
    let scene = Setup::new()
        .top("[guard]\nallowed_hosts = [\"host.docker.internal\", \"Devbox.example\", \"10.1.2.3\"]")
        .start_ok();
    for via in Via::ALL {
        for host in ["host.docker.internal", "HOST.docker.internal:8080", "devbox.example", "10.1.2.3:99"] {
            scene.sent(via, &Ask::new("GET", "/a").header("host", host));
        }
        for host in ["docker.internal", "x.host.docker.internal", "10.1.2.4"] {
            scene.refused(via, &Ask::new("GET", "/a").header("host", host), 421, "host-not-allowed");
        }
    }
}

#[test]
fn an_absolute_form_target_names_its_host() {
    let scene = Setup::new().start_ok();
    for (target, host, status) in [
        ("http://localhost/a", "localhost", 200),
        ("http://evil.example/a", "evil.example", 421),
        // Both are looked at, whichever wins.
        ("http://localhost/a", "evil.example", 421),
        ("http://evil.example/a", "localhost", 421),
        ("https://evil.example/a", "localhost", 421),
    ] {
        let answer = raw(&scene, &format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        assert_eq!(answer.status, status, "{target} {host}");
    }
    assert_eq!(scene.origin.take().len(), 1);
}

#[test]
fn exactly_one_host_is_named() {
    let scene = Setup::new().start_ok();
    for hosts in ["", "host: localhost\r\nhost: localhost\r\n", "host: localhost\r\nHost: evil.example\r\n"] {
        assert_refusal(&raw(&scene, &format!("GET /a HTTP/1.1\r\n{hosts}\r\n")), 400, "bad-request");
    }
    assert_refusal(&raw(&scene, "GET /a HTTP/1.0\r\n\r\n"), 400, "bad-request");
    assert_eq!(scene.origin.take().len(), 0);
    let answer = raw(&scene, "GET /a HTTP/1.0\r\nhost: localhost\r\n\r\n");
    assert_eq!((answer.status, answer.text()), (200, "ok"));
}

#[test]
fn a_host_field_beside_the_authority_is_checked_as_well() {
    let scene = Setup::new().start_ok();
    // The client's helper would turn `host` into the authority; `Host` stays a field.
    for (host, status) in [("localhost", 200), ("evil.example", 421)] {
        let answer = scene.ask(Via::H2c, &Ask::new("GET", "/a").header("Host", host));
        assert_eq!(answer.status, status, "{host}");
    }
    assert_eq!(scene.origin.take().len(), 1);
}

#[test]
fn connect_and_trace_are_not_allowed() {
    let scene = Setup::new().start_ok();
    for target in ["/a", "localhost:443", "http://localhost/a"] {
        for method in ["CONNECT", "TRACE"] {
            let answer = raw(&scene, &format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
            if answer.head.one("x-countersign-error") == Some("bad-request") {
                // hyper takes CONNECT in authority form only.
                assert_eq!((method, answer.status), ("CONNECT", 400));
                continue;
            }
            assert_refusal(&answer, 405, "method-not-allowed");
            let allowed = answer.head.one("allow").unwrap();
            assert!(allowed.contains("GET") && !allowed.contains("TRACE"), "{allowed}");
        }
    }
    let refused = scene.refused(Via::H2c, &Ask::new("TRACE", "/a"), 405, "method-not-allowed");
    assert!(refused.head.one("allow").is_some());
    assert_eq!(scene.origin.take().len(), 0);
}

#[test]
fn a_method_override_is_refused() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        for name in ["x-http-method-override", "x_http_method_override", "x-http_method-override"] {
            let refused = scene.refused(
                via,
                &Ask::new("POST", "/a").header(name, "DELETE").body("x"),
                403,
                "method-override",
            );
            assert!(refused.head.one("allow").is_none());
        }
        scene.sent(via, &Ask::new("GET", "/a").header("x-http-method", "GET"));
    }
}

#[test]
fn an_address_that_others_reach_needs_its_flag() {
    let stage = "[[stage]]\nurl = \"http://127.0.0.1:9/prod\"\nregion = \"us-west-2\"\n";
    for (listen, admin) in [("0.0.0.0:0", "off"), ("[::]:0", "off"), ("127.0.0.1:0", "0.0.0.0:0")] {
        let top = format!("listen = \"{listen}\"\nadmin = \"{admin}\"\n");
        let ended = Launch::config(&format!("{top}{stage}")).run();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("allow_remote"), "{ended:?}");
        if listen.starts_with('[') {
            // This machine may have no IPv6.
            continue;
        }
        let allowed = format!("{top}[guard]\nallow_remote = true\nno_token = true\n{stage}");
        let proxy = Launch::config(&allowed).start();
        assert_eq!(proxy.terminate().code, Some(0));
    }
}

#[test]
fn the_address_that_was_connected_to_is_a_name_of_this_machine() {
    // 127.0.0.1 passes in any case; what a machine's other address is, a test cannot know.
    let scene = Setup::new()
        .top("listen = \"0.0.0.0:0\"\nguard.allow_remote = true\nguard.no_token = true")
        .start_ok();
    let port = scene.proxy.address().port();
    let here = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let answer = Via::Http1
        .exchange(here, &Ask::new("GET", "/a").header("host", format!("127.0.0.1:{port}")))
        .unwrap();
    assert_eq!(answer.status, 200);
    for host in ["evil.example", "0.0.0.0", "8.8.8.8"] {
        let answer = Via::Http1.exchange(here, &Ask::new("GET", "/a").header("host", host)).unwrap();
        assert_refusal(&answer, 421, "host-not-allowed");
    }
}
