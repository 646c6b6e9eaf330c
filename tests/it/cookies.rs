//! A stage's cookies are kept for the proxy by whoever asked: their domain, path and `Secure` are those of the local
//! side.

use crate::support::{
    client::{Ask, Via},
    origin::{Then, answer},
    scene::{NAME, Scene, Setup},
};

/// A stage that sets these cookies.
fn setting(setup: Setup, cookies: &'static [&'static str]) -> Scene {
    setup.start(move |_, reply| {
        let fields: Vec<_> = cookies.iter().map(|cookie| ("Set-Cookie", *cookie)).collect();
        reply.send(answer("200 OK", &fields, "ok"))?;
        Ok(Then::Keep)
    })
}

fn set(scene: &Scene, via: Via, ask: &Ask) -> Vec<String> {
    let answer = scene.ask(via, ask);
    answer
        .head
        .all("set-cookie")
        .into_iter()
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

const COOKIES: &[&str] = &[
    "plain=1",
    "host=1; Domain=abc123.execute-api.us-west-2.amazonaws.com; Path=/; HttpOnly",
    "parent=1; Domain=.us-west-2.amazonaws.com; Max-Age=60",
    "other=1; Domain=example.com",
    "path=1; Path=/prod/cart; Secure",
    "stage=1; path=/prod",
    "beside=1; Path=/production",
    "none=\"a b\"; Secure; SameSite=None",
    "strict=1; SameSite=Strict; Secure",
    "__Secure-a=1; Secure; Path=/prod/x; SameSite=None",
    "__Host-a=1; Secure; Path=/",
];

#[test]
fn cookies_of_the_stage_are_cookies_of_the_proxy() {
    assert!(COOKIES[1].contains(NAME));
    let scene = setting(Setup::new(), COOKIES);
    for via in Via::ALL {
        // From a browser, or from anything else.
        for ask in [Ask::new("GET", "/a"), Ask::new("GET", "/a").header("sec-fetch-site", "same-origin")] {
            assert_eq!(
                set(&scene, via, &ask),
                [
                    "plain=1",
                    "host=1; Path=/; HttpOnly",
                    "parent=1; Max-Age=60",
                    "other=1; Domain=example.com",
                    "path=1; Path=/cart",
                    "stage=1; Path=/",
                    "beside=1; Path=/production",
                    "none=\"a b\"; SameSite=Lax",
                    "strict=1; SameSite=Strict",
                    "__Secure-a=1; Secure; Path=/x; SameSite=None",
                    "__Host-a=1; Secure; Path=/",
                ]
            );
        }
    }
}

#[test]
fn a_mount_keeps_its_cookies_from_other_stages() {
    let scene = setting(Setup::new().stage("mount = \"/shop/orders\""), COOKIES);
    let found = set(&scene, Via::Http1, &Ask::new("GET", "/shop/orders/a"));
    for (at, expected) in [
        (1, "host=1; Path=/shop/orders; HttpOnly"),
        (4, "path=1; Path=/shop/orders/cart"),
        (5, "stage=1; Path=/shop/orders"),
        (10, "__Host-a=1; Secure; Path=/"),
    ] {
        assert_eq!(found[at], expected);
    }
}

#[test]
fn a_page_of_another_site_gets_cookies_that_it_can_use() {
    let setup =
        Setup::new().top("guard.allowed_origins = [\"https://app.example\", \"http://localhost:3000\"]");
    let scene =
        setting(setup, &["a=1; Domain=amazonaws.com; Path=/prod; Secure; SameSite=None; Partitioned"]);
    for via in Via::ALL {
        for (origin, site, expected) in [
            ("https://app.example", "cross-site", "a=1; Path=/; Secure; SameSite=None; Partitioned"),
            ("http://localhost:3000", "same-site", "a=1; Path=/; SameSite=Lax"),
        ] {
            let ask = Ask::new("GET", "/a").header("origin", origin).header("sec-fetch-site", site);
            assert_eq!(set(&scene, via, &ask), [expected]);
        }
    }
}
