//! Headers on the way in: what ends at the proxy, what it owns, what is signed, and that it invents nothing.

use std::collections::HashSet;

use crate::support::{
    client::{Ask, Client, Via},
    origin::{Request, Then, answer},
    scene::{ACCESS_KEY, API_KEY, NAME, Setup, TOKEN, assert_signed, signed_headers},
};

const NONE: &str = "[[stage.route]]\npath = \"/none/*\"\nauth = \"none\"";
const KEY: &str = "[[stage.route]]\npath = \"/key/*\"\nauth = \"api-key\"";

fn names(request: &Request) -> Vec<String> {
    let mut names: Vec<_> = request.head.fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    names
}

#[test]
fn hop_by_hop_fields_end_here() {
    let scene = Setup::new().start_ok();
    let ask = Ask::new("GET", "/a")
        .header("connection", "x-one, close")
        .header("Connection", "X-Two,,keep-alive")
        .header("x-one", "1")
        .header("x-two", "2")
        .header("x-three", "3")
        .header("keep-alive", "timeout=5")
        .header("proxy-authorization", "Basic eA==")
        .header("proxy-authenticate", "Basic")
        .header("proxy-connection", "keep-alive")
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .header("upgrade", "websocket");
    let request = scene.sent(Via::Http1, &ask);
    assert_eq!(names(&request), ["authorization", "host", "x-amz-date", "x-request-id", "x-three"]);

    // HTTP/2 knows no Connection; the fields of other hops can come all the same.
    let ask = Ask::new("GET", "/a")
        .header("proxy-authorization", "Basic eA==")
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .header("x-three", "3");
    let request = scene.sent(Via::H2c, &ask);
    assert_eq!(names(&request), ["authorization", "host", "x-amz-date", "x-request-id", "x-three"]);
}

#[test]
fn connection_strips_nothing_that_the_proxy_adds() {
    let scene = Setup::new().api_key().session().start_ok();
    let ask = Ask::new("PUT", "/a")
        .header(
            "connection",
            "x-api-key, authorization, x-amz-date, x-amz-security-token, host, content-length, content-type, :path",
        )
        .header("x-api-key", "mine")
        .header("content-type", "text/plain")
        .body("body");
    let request = scene.sent(Via::Http1, &ask);
    assert_eq!(
        names(&request),
        [
            "authorization",
            "content-length",
            "host",
            "x-amz-date",
            "x-amz-security-token",
            "x-api-key",
            "x-request-id"
        ]
    );
    assert_eq!(request.head.one("x-api-key"), Some(API_KEY));
    assert_eq!(request.head.one("host"), Some(NAME));
    assert_eq!(request.body, b"body");
}

#[test]
fn what_the_proxy_owns_is_replaced_on_signed_routes() {
    let scene = Setup::new().api_key().session().start_ok();
    for via in Via::ALL {
        let ask = Ask::new("GET", "/a")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=AKIDOTHER/20260101/x/y/aws4_request")
            .header("authorization", "Bearer canary")
            .header("x-api-key", "canary-1")
            .header("x-api-key", "canary-2")
            .header("x_api_key", "canary")
            .header("x-api_key", "canary")
            .header("x-amz-date", "canary")
            .header("x_amz_date", "canary")
            .header("x-amz-security-token", "canary")
            .header("x-amz-security_token", "canary")
            .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
            .header("x_amz_content_sha256", "canary")
            .header("x-amz-target", "passes");
        let request = scene.sent(via, &ask);
        assert_eq!(
            names(&request),
            [
                "authorization",
                "host",
                "x-amz-date",
                "x-amz-security-token",
                "x-amz-target",
                "x-api-key",
                "x-request-id"
            ]
        );
        let authorization = request.head.one("authorization").unwrap();
        assert!(authorization.contains(&format!("Credential={ACCESS_KEY}/")), "{authorization}");
        assert_eq!(request.head.one("x-api-key"), Some(API_KEY));
        assert_eq!(request.head.one("x-amz-security-token"), Some(TOKEN));
        let raw = String::from_utf8_lossy(&request.head.raw).replace(TOKEN, "").replace(API_KEY, "");
        assert!(!raw.contains("canary"), "{raw}");
    }
}

#[test]
fn without_iam_the_clients_own_authorization_passes_and_the_rest_does_not() {
    let scene = Setup::new().stage(&format!("api_key.value = \"{API_KEY}\"\n{NONE}\n{KEY}")).start_ok();
    for via in Via::ALL {
        for (path, key) in [("/none/a", None), ("/key/a", Some(API_KEY))] {
            let ask = Ask::new("GET", path)
                .header("authorization", "Bearer a.b.c")
                .header("x-api-key", "mine")
                .header("x_api_key", "mine")
                .header("x-amz-date", "20260101T000000Z")
                .header("x-amz-security-token", "mine")
                .header("x-amz-content-sha256", "mine");
            let request = scene.sent(via, &ask);
            assert_eq!(request.head.one("authorization"), Some("Bearer a.b.c"), "{path}");
            assert_eq!(request.head.one("x-api-key"), key, "{path}");
            let expected: &[_] = if key.is_some() {
                &["authorization", "host", "x-api-key", "x-request-id"]
            } else {
                &["authorization", "host", "x-request-id"]
            };
            assert_eq!(names(&request), expected, "{path}");
        }
    }
}

#[test]
fn host_becomes_the_stages() {
    for (url, host) in [
        (format!("https://{NAME}/prod"), NAME.to_owned()),
        (format!("https://{NAME}:443/prod"), NAME.to_owned()),
        (format!("https://{}:8443/prod", NAME.to_uppercase()), format!("{NAME}:8443")),
    ] {
        let scene = Setup::new().url(&url).start_ok();
        for via in Via::ALL {
            let request = scene.sent(via, &Ask::new("GET", "/").header("host", "localhost:1234"));
            assert_eq!(request.head.one("host"), Some(host.as_str()), "{url}");
        }
    }
}

#[test]
fn no_header_is_invented_but_the_requests_id() {
    for (top, id) in [("", &["x-request-id"][..]), ("request_id = false", &[])] {
        let scene = Setup::new().top(top).stage(NONE).start_ok();
        let with_id = |names: &[&'static str]| [names, id].concat();
        for via in Via::ALL {
            for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
                let signed = scene.sent(via, &Ask::new(method, "/a"));
                assert_eq!(names(&signed), with_id(&["authorization", "host", "x-amz-date"]), "{method}");
                let plain = scene.sent(via, &Ask::new(method, "/none/a"));
                assert_eq!(names(&plain), with_id(&["host"]), "{method}");
            }
            for method in ["POST", "PUT", "PATCH"] {
                let request = scene.sent(via, &Ask::new(method, "/none/a").body("x"));
                assert_eq!(names(&request), with_id(&["content-length", "host"]), "{method}");
            }
        }
    }
}

#[test]
fn the_requests_id_goes_on_and_comes_back() {
    let scene = Setup::new().stage(NONE).start(|request, reply| {
        let own = request.head.one("x-own").map(|id| ("x-request-id", id));
        reply.send(answer("200 OK", own.as_slice(), "ok"))?;
        Ok(Then::Keep)
    });
    let logged = |path: &str| {
        let found = scene.proxy.process().find(|line| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            (event["path"] == path).then(|| event["request_id"].as_str().unwrap_or_default().to_owned())
        });
        found.expect("the proxy runs")
    };
    let mut seen = HashSet::new();
    for via in Via::ALL {
        for (number, sent) in [
            &[][..],
            &["0a1b-2C.3d_4~5:/+=@|#"],
            &["two words"],
            &["a,b"],
            &["one", "two"],
            &["canary\"quoted"],
        ]
        .into_iter()
        .enumerate()
        {
            for below in ["", "/none"] {
                let path = format!("{below}/{number}{via:?}");
                let ask =
                    Ask::new("GET", &path).header("x_request_id", "canary").header("x-request_id", "canary");
                let ask = sent.iter().fold(ask, |ask, id| ask.header("x-request-id", *id));
                let back = scene.ask(via, &ask);
                let request = scene.origin.next();
                let id = request.head.one("x-request-id").expect("it goes on, once").to_owned();
                assert_eq!(back.head.one("x-request-id"), Some(id.as_str()), "{path}");
                assert_eq!(logged(&path), id, "{path}");
                match sent {
                    [one] if number == 1 => assert_eq!(id, *one),
                    _ => {
                        assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
                        assert!(seen.insert(id), "each request has its own");
                    }
                }
                assert!(!request.head.raw.escape_ascii().to_string().contains("canary"), "{path}");
                if below.is_empty() {
                    assert_signed(&request);
                    assert_eq!(signed_headers(&request), ["host", "x-amz-date"]);
                }
            }
        }
        // Whatever the client says of its connection, and whatever the stage calls it.
        let named = Ask::new("GET", "/a").header("connection", "x-request-id").header("x-request-id", "mine");
        if via == Via::Http1 {
            scene.ask(via, &named);
            assert_eq!(scene.origin.next().head.one("x-request-id"), Some("mine"));
        }
        let own = Ask::new("GET", "/a").header("x-request-id", "mine").header("x-own", "theirs");
        assert_eq!(scene.ask(via, &own).head.all("x-request-id"), [b"theirs"]);
        scene.origin.take();
        let refused = Ask::new("GET", "/../a").header("x-request-id", "mine");
        let refused = scene.refused(via, &refused, 400, "dot-segment");
        assert_eq!(
            (refused.head.one("x-request-id"), &refused.json()["request_id"]),
            (Some("mine"), &"mine".into())
        );
    }
}

#[test]
fn the_requests_id_can_stay_here() {
    let scene = Setup::new().top("request_id = false").start_ok();
    for via in Via::ALL {
        let ask = Ask::new("GET", "/a").header("x-request-id", "a, b").header("x-request-id", "c");
        let back = scene.ask(via, &ask);
        assert_eq!(back.head.one("x-request-id"), None);
        assert_eq!(scene.origin.next().head.all("x-request-id"), [&b"a, b"[..], b"c"]);
        let refused = Ask::new("GET", "/../a").header("x-request-id", "mine");
        let refused = scene.refused(via, &refused, 400, "dot-segment");
        assert_eq!((refused.head.one("x-request-id"), &refused.json()["request_id"]), (None, &"mine".into()));
    }
}

#[test]
fn the_client_s_own_headers_pass_in_number_and_order() {
    let scene = Setup::new().start_ok();
    let pairs: [(&str, &[u8]); 12] = [
        ("accept", b"*/*"),
        ("user-agent", b"x/1.0"),
        ("accept-encoding", b"gzip, br"),
        ("x-repeat", b"2"),
        ("x-repeat", b""),
        ("x-repeat", b"1"),
        ("x-forwarded-for", b"10.0.0.1"),
        ("via", b"1.1 other"),
        ("forwarded", b"for=10.0.0.1"),
        ("x-odd", b"caf\xe9  \t two"),
        ("x-amzn-trace-id", b"Root=1"),
        ("origin", b"http://localhost"),
    ];
    for via in Via::ALL {
        let ask = pairs.iter().fold(Ask::new("GET", "/a"), |ask, (name, value)| ask.header(name, *value));
        let request = scene.sent(via, &ask);
        let passed: Vec<_> = request
            .head
            .fields
            .iter()
            .filter(|(name, _)| {
                !["host", "authorization", "x-amz-date", "x-request-id"].contains(&name.as_str())
            })
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        assert_eq!(passed, pairs, "{via:?}");
    }
}

#[test]
fn an_allow_list_says_what_is_signed() {
    let scene = Setup::new().api_key().session().start_ok();
    for via in Via::ALL {
        let ask = Ask::new("POST", "/a")
            .header("content-type", "application/json")
            .header("x-amz-meta-b", "2")
            .header("x-amz-meta-a", "1")
            .header("x-amz-meta-a", "")
            .header("x-amzn-trace-id", "Root=1")
            .header("user-agent", "x")
            .header("accept", "*/*")
            .header("accept-encoding", "gzip")
            .header("cookie", "a=b")
            .header("origin", "http://localhost")
            .header("referer", "x")
            .header("x-tenant", "t")
            .header("content-encoding", "gzip")
            .header("traceparent", "x")
            .header("range", "bytes=0-1")
            .body("{}");
        let request = scene.sent(via, &ask);
        assert_eq!(
            signed_headers(&request),
            [
                "content-type",
                "host",
                "x-amz-date",
                "x-amz-meta-a",
                "x-amz-meta-b",
                "x-amz-security-token",
                "x-api-key"
            ]
        );
    }
}

#[test]
fn signed_headers_adds_to_the_list() {
    let scene = Setup::new().stage("signed_headers = [\"X-Tenant\", \"accept\", \"x-absent\"]").start_ok();
    for via in Via::ALL {
        let ask =
            Ask::new("GET", "/a").header("x-tenant", "a  \t b").header("x-tenant", "c").header("accept", "d");
        let request = scene.sent(via, &ask);
        assert_eq!(signed_headers(&request), ["accept", "host", "x-amz-date", "x-tenant"]);
        assert_eq!(request.head.all("x-tenant"), [b"a b", &b"c"[..]]);
    }
}

#[test]
fn signed_values_leave_with_single_spaces() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        let ask = Ask::new("PUT", "/a")
            .header("content-type", "text/plain;\t  charset=utf-8")
            .header("x-amz-meta-a", "a\tb   c \t d")
            .header("x-amz-meta-b", "")
            .header("x-other", "a\tb   c")
            .body("x");
        let request = scene.sent(via, &ask);
        assert_eq!(request.head.one("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(request.head.one("x-amz-meta-a"), Some("a b c d"));
        assert_eq!(request.head.one("x-amz-meta-b"), Some(""));
        assert_eq!(request.head.one("x-other"), Some("a\tb   c"));
    }
}

#[test]
fn a_signed_value_is_utf8_or_refused() {
    let scene = Setup::new().stage(&format!("signed_headers = [\"x-tenant\"]\n{NONE}")).start_ok();
    for via in Via::ALL {
        for name in ["x-amz-meta-a", "content-type", "x-tenant"] {
            let answer =
                scene.refused(via, &Ask::new("GET", "/a").header(name, b"caf\xe9"), 400, "header-not-utf8");
            assert!(answer.json()["message"].as_str().unwrap().contains(name), "{}", answer.text());
            let request = scene.sent(via, &Ask::new("GET", "/a").header(name, "café"));
            assert_eq!(request.head.one(name), Some("café"));
            // Where nothing is signed, verifiers have nothing to differ on.
            let request = scene.sent(via, &Ask::new("GET", "/none/a").header(name, b"caf\xe9"));
            assert_eq!(request.head.all(name), [b"caf\xe9"]);
        }
    }
}

#[test]
fn white_space_that_verifiers_read_differently_is_refused_where_it_is_signed() {
    let scene = Setup::new().stage(NONE).start_ok();
    for via in Via::ALL {
        for value in ["a\u{a0}b", "a\u{2003}", "\u{3000}", "a\u{85}b"] {
            let ask = Ask::new("GET", "/a").header("x-amz-meta-a", value);
            let refused = scene.refused(via, &ask, 400, "header-white-space");
            assert!(
                refused.json()["message"].as_str().unwrap().contains("x-amz-meta-a"),
                "{}",
                refused.text()
            );
            let request = scene.sent(via, &Ask::new("GET", "/a").header("x-other", value));
            assert_eq!(request.head.one("x-other"), Some(value));
            let request = scene.sent(via, &Ask::new("GET", "/none/a").header("x-amz-meta-a", value));
            assert_eq!(request.head.one("x-amz-meta-a"), Some(value));
        }
    }
}

#[test]
fn cookies_that_http2_split_are_joined() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        let ask = Ask::new("GET", "/a")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("cookie", "c=3; d=4");
        assert_eq!(scene.sent(via, &ask).head.one("cookie"), Some("a=1; b=2; c=3; d=4"));
    }
}

#[test]
fn every_request_of_a_connection_is_signed_for_itself() {
    let scene = Setup::new().api_key().start_ok();
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    for number in 0..5 {
        let ask = Ask::new("PUT", &format!("/{number}")).body(format!("body {number}"));
        assert_eq!(client.exchange(&ask).unwrap().status, 200);
        let request = scene.origin.next();
        assert_signed(&request);
        assert_eq!(request.body, format!("body {number}").as_bytes());
    }
}
