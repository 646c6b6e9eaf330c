//! What a real browser lets pages do: Chromium runs them, the proxy decides, and only what may be signed reaches the
//! stage. Fields that browsers send are as they send them, not as another test believes them to be.
//!
//! Each attack is looked for in the proxy's log as well: one that never left the browser would prove nothing.

use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::{Value, json};

use crate::support::{
    browser::Browser,
    origin::{Origin, Then, answer},
    scene::{NAME, Scene, Setup, assert_signed},
};

const HTML: &str = "text/html; charset=utf-8";

/// A server of pages, nothing of the proxy's; `/to?URL` sends the browser on.
fn pages() -> Origin {
    Origin::plain(|request, reply| {
        let target = std::str::from_utf8(request.target()).unwrap();
        reply.send(match target.strip_prefix("/to?") {
            Some(to) => answer("302 Found", &[("location", to)], ""),
            None => answer(
                "200 OK",
                &[("content-type", HTML)],
                "<title>a page</title><link rel=icon href='data:,'><body>",
            ),
        })?;
        Ok(Then::Keep)
    })
}

fn at(scheme: &str, host: &str, address: SocketAddr) -> String {
    format!("{scheme}://{host}:{}", address.port())
}

/// Waits for the line of log about this path that satisfies; its method and code.
fn logged(scene: &Scene, path: &str, code: &str) -> String {
    let method = scene.proxy.process().find(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let found = event["path"] == path && event["refused"] == code;
        found.then(|| event["method"].as_str().unwrap().to_owned())
    });
    method.unwrap_or_else(|| panic!("{path} was not refused: {}", scene.proxy.process().output()))
}

/// Whatever the browser sent, of itself too (the icon of a page that is shown), none of it was signed and sent on.
fn assert_nothing_came(scene: &Scene) {
    let came: Vec<_> = scene.origin.take().iter().map(|r| r.head.raw.escape_ascii().to_string()).collect();
    assert!(came.is_empty(), "{came:#?}");
}

/// What a page tries, the method that reaches the proxy, and what the page sees of the answer: never more than that
/// there was one.
const ATTACKS: &[(&str, &str, &str)] = &[
    ("fetch-get", "GET", "failed"),
    ("fetch-get-with-cookies", "GET", "failed"),
    ("fetch-no-cors", "GET", "opaque"),
    ("fetch-no-cors-post", "POST", "opaque"),
    ("fetch-without-referrer", "GET", "opaque"),
    ("fetch-keepalive", "POST", "opaque"),
    ("fetch-json", "OPTIONS", "failed"),
    ("fetch-own-header", "OPTIONS", "failed"),
    ("fetch-put", "OPTIONS", "failed"),
    ("fetch-delete", "OPTIONS", "failed"),
    ("img", "GET", "error"),
    ("img-cors", "GET", "error"),
    ("script", "GET", "error"),
    ("script-module", "GET", "error"),
    ("stylesheet", "GET", "error"),
    ("preload", "GET", "error"),
    ("audio", "GET", "error"),
    // Frames say of each answer that they loaded it.
    ("iframe", "GET", "loaded"),
    ("iframe-sandboxed", "GET", "loaded"),
    ("object", "GET", "error"),
    ("embed", "GET", "loaded"),
    // The browser took it; what came back nobody is told.
    ("send-beacon", "POST", "true"),
    ("event-source", "GET", "error"),
    ("web-socket", "GET", "error"),
    ("xhr", "GET", "error"),
    ("null-fetch", "GET", "failed"),
    ("null-post", "POST", "opaque"),
    ("worker", "GET", "error"),
    ("redirect", "GET", "opaque"),
    // These show the proxy's refusal to the user.
    ("form-get", "GET", "403"),
    ("form-post", "POST", "403"),
    ("form-post-text", "POST", "403"),
    ("form-post-multipart", "POST", "403"),
    ("form-post-blank", "POST", "403"),
    ("link", "GET", "403"),
    ("link-without-referrer", "GET", "403"),
    ("link-blank", "GET", "403"),
    ("location", "GET", "403"),
    ("location-replace", "GET", "403"),
    ("window-open", "GET", "403"),
    ("window-open-noopener", "GET", "403"),
    ("meta-refresh", "GET", "403"),
    ("redirect-away", "GET", "403"),
];

/// Pages of this name try everything at the proxy, and nothing comes of it.
fn nothing_comes_of_attacks(scheme: &str, top: &str, name: &str) {
    let scene = Setup::new().top(top).start_ok();
    let pages = pages();
    let browser = Browser::start(
        "attacks.mjs",
        json!({
            "page": at("http", name, pages.address()),
            "proxy": at(scheme, "localhost", scene.proxy.address()),
            "mark": "/attack/",
        }),
    );
    for (attack, method, expected) in ATTACKS {
        assert_eq!(browser.saw(attack), *expected, "{name}: {attack}");
        let code = "origin-not-allowed";
        assert_eq!(logged(&scene, &format!("/attack/{attack}"), code), *method, "{name}: {attack}");
    }
    browser.end();
    assert_nothing_came(&scene);
}

#[test]
fn a_page_of_another_site_cannot_make_a_browser_spend_the_credentials() {
    nothing_comes_of_attacks("http", "", "evil.test");
}

#[test]
fn a_page_of_another_port_cannot_make_a_browser_spend_the_credentials() {
    nothing_comes_of_attacks("http", "", "localhost");
}

#[test]
fn a_page_of_another_site_cannot_do_it_over_tls() {
    nothing_comes_of_attacks("https", "tls = \"self-signed\"", "evil.test");
}

#[test]
fn a_rebound_name_gets_nothing_from_a_browser() {
    let scene = Setup::new().start_ok();
    let pages = pages();
    let browser = Browser::start(
        "rebound.mjs",
        json!({
            "page": at("http", "rebound.test", pages.address()),
            "rebound": at("http", "rebound.test", scene.proxy.address()),
        }),
    );
    let code = "host-not-allowed";
    for (name, seen) in [("another-port", "failed"), ("no-cors", "opaque")] {
        assert_eq!(browser.saw(name)["type"], seen, "{name}");
        assert_eq!(logged(&scene, &format!("/rebound/{name}"), code), "GET");
    }
    // The browser believes that these are the page's own, and lets it read them.
    for (name, method) in [("same-origin", "GET"), ("same-origin-post", "POST"), ("address-bar", "GET")] {
        let saw = browser.saw(name);
        assert_eq!(saw["status"], 421, "{name}: {saw}");
        assert!(saw["text"].as_str().unwrap().contains(code), "{saw}");
        assert_eq!(logged(&scene, &format!("/rebound/{name}"), code), method);
    }
    browser.end();
    assert_nothing_came(&scene);
}

#[test]
fn an_allowed_page_can_use_the_stage_from_a_browser() {
    // By a name of this machine, where cookies are the same site's, and by another site's.
    for (app, same_site) in [("localhost", true), ("app.test", false)] {
        let pages = pages();
        let app = at("http", app, pages.address());
        let scene =
            Setup::new().top(&format!("guard.allowed_origins = [\"{app}\"]")).start(|request, reply| {
                let cookie = format!("session=1; Domain={NAME}; Path=/prod; Secure; HttpOnly");
                let mut fields =
                    vec![("x-amzn-requestid", "id-of-the-stage"), ("content-type", "text/plain")];
                if request.target().ends_with(b"/login") {
                    fields.push(("set-cookie", &cookie));
                }
                reply.send(answer("200 OK", &fields, format!("{} of the stage", request.method())))?;
                Ok(Then::Keep)
            });
        let other = at("http", "evil.test", pages.address());
        let proxy = at("http", "localhost", scene.proxy.address());
        let browser = Browser::start("allowed.mjs", json!({ "app": app, "other": other, "proxy": proxy }));
        for (name, method) in [
            ("get", "GET"),
            ("post", "POST"),
            ("delete", "DELETE"),
            ("login", "POST"),
            ("with-cookie", "GET"),
            ("without-cookie", "GET"),
        ] {
            let saw = browser.saw(name);
            assert_eq!((&saw["type"], &saw["status"]), (&"cors".into(), &200.into()), "{name}: {saw}");
            assert_eq!(saw["text"], format!("{method} of the stage"));
            assert_eq!(saw["headers"]["x-amzn-requestid"], "id-of-the-stage", "{saw}");
            // In order, and no preflight between them.
            let request = scene.origin.next();
            assert_signed(&request);
            assert_eq!(request.method(), method);
            assert_eq!(request.target(), format!("/prod/app/{name}").as_bytes());
            let cookie = (same_site && name == "with-cookie").then_some("session=1");
            assert_eq!(request.head.one("cookie"), cookie, "{name}");
            if name == "post" {
                assert_eq!(request.body, br#"{"a":1}"#);
                assert_eq!(request.head.one("x-tenant"), Some("a"));
            }
        }
        let saw = browser.saw("refused");
        assert_eq!(
            (&saw["status"], &saw["headers"]["x-countersign-error"]),
            (&400.into(), &"dot-segment".into())
        );
        let refusal: Value = serde_json::from_str(saw["text"].as_str().unwrap()).unwrap();
        assert_eq!(refusal["error"], "dot-segment");
        for (name, method) in [("other", "GET"), ("other-json", "OPTIONS")] {
            assert_eq!(browser.saw(name)["type"], "failed", "{name}");
            assert_eq!(logged(&scene, &format!("/app/{name}"), "origin-not-allowed"), method);
        }
        browser.end();
        assert_nothing_came(&scene);
    }
}

/// The address bar, and a page of the stage's that is shown by it.
fn own_pages_work(scheme: &str, top: &str, host: &str) {
    let scene = Setup::new().top(top).start(|request, reply| {
        let page = "<title>of the stage</title><link rel=icon href='data:,'>\
                    <form action=form method=post><button id=form>send</button></form><a id=link href=link>go</a>";
        reply.send(answer("200 OK", &[("content-type", HTML)], page))?;
        assert_signed(request);
        Ok(Then::Keep)
    });
    let proxy = at(scheme, host, scene.proxy.address());
    let browser = Browser::start("own.mjs", json!({ "proxy": proxy }));
    for name in ["page", "get", "post", "form", "link"] {
        assert_eq!(browser.saw(name)["status"], 200, "{name}");
    }
    assert_eq!(browser.saw("reload")["title"], "of the stage");
    browser.end();
    let requests = scene.origin.take();
    for request in &requests {
        assert_signed(request);
    }
    let seen: BTreeSet<_> =
        requests.iter().map(|r| format!("{} {}", r.method(), r.target().escape_ascii())).collect();
    let expected = [
        "GET /prod/own/get",
        "GET /prod/own/link",
        "GET /prod/own/page",
        "POST /prod/own/form",
        "POST /prod/own/post",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn the_address_bar_and_pages_of_the_stage_work_in_a_browser() {
    own_pages_work("http", "", "localhost");
    own_pages_work("http", "", "127.0.0.1");
}

#[test]
fn the_address_bar_and_pages_of_the_stage_work_over_tls() {
    own_pages_work("https", "tls = \"self-signed\"", "localhost");
}

#[test]
fn no_page_reads_the_admin_address_in_a_browser() {
    let pages = pages();
    let allowed = at("http", "app.test", pages.address());
    let scene = Setup::new()
        .top(&format!("admin = \"127.0.0.1:0\"\nguard.allowed_origins = [\"{allowed}\"]"))
        .start_ok();
    let admin = at("http", "localhost", crate::process::admin(scene.proxy.process()));
    let from = json!({
        "another site": at("http", "evil.test", pages.address()),
        "another port": at("http", "localhost", pages.address()),
        "an allowed page": allowed,
        "the stage": format!("{}/page", at("http", "localhost", scene.proxy.address())),
    });
    let browser = Browser::start("admin.mjs", json!({ "pages": from, "admin": admin }));
    for from in from.as_object().unwrap().keys() {
        for path in ["readyz", "healthz", "metrics"] {
            for (name, expected) in
                [("fetch", "failed"), ("no-cors", "opaque 403"), ("post", "opaque 403"), ("location", "403")]
            {
                let saw = browser.line(
                    |line| {
                        (line["from"] == **from && line["path"] == path && line["name"] == name)
                            .then(|| line["saw"].clone())
                    },
                    &format!("{name} of {path} from {from}"),
                );
                assert_eq!(saw, expected, "{name} of {path} from {from}");
            }
        }
    }
    assert_eq!(browser.saw("open"), "200");
    browser.end();
}
