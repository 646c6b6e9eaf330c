//! Pages of allowed origins: their preflights are answered by the proxy, they can read answers and refusals, and the
//! stage's own CORS fields do not come between.

use crate::support::{
    client::{Answer, Ask, Via},
    origin::{Then, answer},
    scene::{Scene, Setup, assert_refusal},
};

const APP: &str = "http://localhost:3000";
const ALLOWED: &str =
    "guard.allowed_origins = [\"http://localhost:3000\", \"https://App.example:443\", \"http://[::1]:5173\"]";

fn from(origin: &str, method: &str, target: &str) -> Ask {
    Ask::new(method, target).header("origin", origin).header("sec-fetch-site", "same-site")
}

fn preflight(origin: &str, method: &str) -> Ask {
    from(origin, "OPTIONS", "/a").header("access-control-request-method", method)
}

/// What lets a page of this origin read the answer.
fn assert_readable(answer: &Answer, origin: &str) {
    assert_eq!(answer.head.one("access-control-allow-origin"), Some(origin));
    assert_eq!(answer.head.one("access-control-allow-credentials"), Some("true"));
    assert!(vary(answer).contains(&"origin".to_owned()), "{:?}", answer.head.all("vary"));
}

/// The names of a field that is a list, in lower case.
fn list(answer: &Answer, name: &str) -> Vec<String> {
    let values =
        answer.head.all(name).into_iter().map(|value| String::from_utf8_lossy(value).to_ascii_lowercase());
    let mut names: Vec<_> = values
        .flat_map(|value| value.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>())
        .collect();
    names.sort();
    names
}

fn vary(answer: &Answer) -> Vec<String> {
    list(answer, "vary")
}

/// A stage that has CORS of its own.
fn stage_with_cors(top: &str) -> Scene {
    Setup::new().top(top).start(|_, reply| {
        let fields = [
            ("Access-Control-Allow-Origin", "*"),
            ("access-control-allow-origin", "https://stage.example"),
            ("access-control-allow-credentials", "false"),
            ("access-control-allow-methods", "GET"),
            ("access-control-allow-headers", "x-stage"),
            ("access-control-expose-headers", "x-stage"),
            ("access-control-max-age", "86400"),
            ("access-control-allow-private-network", "true"),
            ("vary", "Accept-Encoding"),
            ("x-amzn-RequestId", "r"),
            ("etag", "e"),
            ("content-type", "text/plain"),
            ("set-cookie", "a=1"),
        ];
        reply.send(answer("200 OK", &fields, "ok"))?;
        Ok(Then::Keep)
    })
}

#[test]
fn a_preflight_is_answered_by_the_proxy() {
    // It has no credentials, so nothing of it can be signed.
    let scene = Setup::new().top(ALLOWED).without_keys().start_ok();
    for via in Via::ALL {
        for origin in [APP, "https://app.example", "http://[::1]:5173"] {
            for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "patch"] {
                let ask = preflight(origin, method)
                    .header("access-control-request-headers", "content-type, X-Tenant,,authorization");
                let answer = scene.ask(via, &ask);
                assert_eq!((answer.status, answer.body.len()), (204, 0), "{via:?}");
                assert_readable(&answer, origin);
                for (name, value) in [
                    ("access-control-allow-methods", Some(method)),
                    ("access-control-allow-headers", Some("content-type, x-tenant, authorization")),
                    ("access-control-max-age", Some("600")),
                    ("access-control-allow-private-network", None),
                    ("access-control-expose-headers", None),
                    ("x-countersign-error", None),
                    ("content-type", None),
                ] {
                    assert_eq!(answer.head.one(name), value, "{name}");
                }
                assert_eq!(
                    vary(&answer),
                    ["access-control-request-headers", "access-control-request-method", "origin"]
                );
            }
        }
        // Nothing more is asked for, so nothing more is granted.
        let answer = scene.ask(via, &preflight(APP, "GET"));
        assert_eq!(answer.head.one("access-control-allow-headers"), None);
        // As browsers with Private Network Access ask when a public page calls.
        let private = preflight(APP, "GET").header("access-control-request-private-network", "true");
        assert_eq!(scene.ask(via, &private).head.one("access-control-allow-private-network"), Some("true"));
    }
    assert_eq!(scene.origin.take().len(), 0);
}

#[test]
fn a_preflight_that_no_browser_sends_is_refused_readably() {
    let scene = Setup::new().top(ALLOWED).start_ok();
    for via in Via::ALL {
        for ask in [
            preflight(APP, "GET").header("access-control-request-method", "PUT"),
            preflight(APP, "GET, PUT"),
            preflight(APP, ""),
            preflight(APP, "G T"),
            preflight(APP, "GET").header("access-control-request-headers", "x-a, x b"),
            preflight(APP, "GET").header("access-control-request-headers", "*/*"),
        ] {
            assert_readable(&scene.refused(via, &ask, 400, "bad-request"), APP);
        }
    }
}

#[test]
fn what_only_looks_like_a_preflight_is_not_answered() {
    let scene = Setup::new().top(ALLOWED).start_ok();
    for via in Via::ALL {
        for ask in [
            from(APP, "OPTIONS", "/a"),
            from(APP, "GET", "/a").header("access-control-request-method", "PUT"),
            Ask::new("OPTIONS", "/a").header("access-control-request-method", "PUT"),
            Ask::new("OPTIONS", "/a")
                .header("access-control-request-method", "PUT")
                .header("origin", "http://localhost"),
        ] {
            scene.sent(via, &ask);
        }
        let refused =
            scene.refused(via, &preflight("https://evil.example", "GET"), 403, "origin-not-allowed");
        assert_eq!(refused.head.one("access-control-allow-origin"), None);
        let rebound = preflight(APP, "GET").header("host", "evil.example");
        scene.refused(via, &rebound, 421, "host-not-allowed");
    }
}

#[test]
fn an_allowed_page_can_call_and_read_everything() {
    let scene = stage_with_cors(ALLOWED);
    for via in Via::ALL {
        for (origin, site) in [
            (APP, Some("same-site")),
            (APP, Some("cross-site")),
            (APP, None),
            ("HTTPS://APP.EXAMPLE", Some("cross-site")),
            ("https://app.example:443", Some("cross-site")),
        ] {
            let mut ask = Ask::new("POST", "/a").header("origin", origin).header("cookie", "a=1").body("{}");
            if let Some(site) = site {
                ask = ask.header("sec-fetch-site", site);
            }
            let answer = scene.ask(via, &ask);
            assert_eq!((answer.status, answer.text()), (200, "ok"));
            assert_readable(&answer, origin);
            assert_eq!(vary(&answer), ["accept-encoding", "origin"]);
            let readable = list(&answer, "access-control-expose-headers");
            assert!(readable.contains(&"x-amzn-requestid".to_owned()), "{readable:?}");
            assert!(readable.contains(&"etag".to_owned()), "{readable:?}");
            assert!(
                !readable.iter().any(|name| ["set-cookie", "content-type", "x-stage"].contains(&&**name))
            );
            for name in ["methods", "headers", "private-network"] {
                assert_eq!(answer.head.one(&format!("access-control-allow-{name}")), None);
            }
            assert_eq!(answer.head.one("access-control-max-age"), None);
            assert_eq!(scene.origin.next().head.one("cookie"), Some("a=1"));
        }
    }
}

#[test]
fn an_allowed_page_can_read_what_the_proxy_refuses() {
    let scene = Setup::new().top(ALLOWED).without_keys().start_ok();
    for via in Via::ALL {
        for (ask, status, code) in [
            (from(APP, "GET", "/a/%2e%2e/b"), 400, "dot-segment"),
            (from(APP, "GET", "/a").header("x-http-method-override", "PUT"), 403, "method-override"),
            (from(APP, "GET", "/a").header("host", "evil.example"), 421, "host-not-allowed"),
            (from(APP, "TRACE", "/a"), 405, "method-not-allowed"),
            (from(APP, "GET", "/a"), 503, "no-credentials"),
            (from(APP, "GET", "/a").header("sec-fetch-site", "none"), 403, "origin-not-allowed"),
        ] {
            let answer = scene.refused(via, &ask, status, code);
            assert_readable(&answer, APP);
            assert!(
                list(&answer, "access-control-expose-headers").contains(&"x-countersign-error".to_owned())
            );
        }
    }
}

#[test]
fn answers_to_others_vary_by_origin_as_well() {
    let scene = stage_with_cors(ALLOWED);
    for via in Via::ALL {
        for ask in [
            Ask::new("GET", "/a"),
            Ask::new("GET", "/a").header("sec-fetch-site", "same-origin"),
            Ask::new("GET", "/a").header("origin", "http://localhost"),
        ] {
            let answer = scene.ask(via, &ask);
            assert_eq!(vary(&answer), ["accept-encoding", "origin"]);
            // They are no answers of CORS, so the stage's fields are as it sent them.
            assert_eq!(answer.head.all("access-control-allow-origin").len(), 2);
        }
        let refused = scene.ask(via, &Ask::new("GET", "/a/../b"));
        assert_refusal(&refused, 400, "dot-segment");
        assert_eq!(vary(&refused), ["origin"]);
    }
}

#[test]
fn without_allowed_origins_answers_are_as_the_stage_sent_them() {
    let scene = stage_with_cors("");
    for via in Via::ALL {
        let answer = scene.ask(via, &Ask::new("GET", "/a"));
        assert_eq!(vary(&answer), ["accept-encoding"]);
        assert_eq!(answer.head.all("access-control-allow-origin").len(), 2);
        let refused = scene.ask(via, &preflight(APP, "GET"));
        assert_refusal(&refused, 403, "origin-not-allowed");
    }
}
