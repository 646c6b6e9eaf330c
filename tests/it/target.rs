//! The request target: the path's bytes stay, the query gets the strict spelling, no request leaves its stage, and no
//! spelling of a path dodges a mount or a rule.

use crate::support::{
    client::{Ask, Client, Via},
    scene::{NAME, Setup, assert_refusal},
};

/// What reaches the stage for this target.
fn forwarded(scene: &crate::support::scene::Scene, via: Via, target: &str) -> String {
    String::from_utf8(scene.sent(via, &Ask::new("GET", target)).target().to_vec()).unwrap()
}

#[test]
fn the_paths_bytes_stay_as_they_came() {
    let scene = Setup::new().start_ok();
    let mut paths: Vec<String> = [
        "/",
        "//",
        "/a//b///",
        "/a/",
        "/a%2Fb%2fc",
        "/%41%7e%7E",
        "/%C3%A9",
        "/%FF%fe",
        "/%00%0a%7F",
        "/a;v=1;w,x=2",
        "/a:b@c!d$e&f'g(h)i*j+k,l=m",
        "/a%20b+c",
        "/%25%2525",
        "/...",
        "/.well-known/x..y",
        "/%2e%2e%2e",
        "/@connections/ID%3D",
    ]
    .map(str::to_owned)
    .to_vec();
    // Every byte that a path may hold (RFC 3986, section 3.3), and every byte as an escape, in both cases.
    let legal =
        (b'!'..=b'~').filter(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(byte));
    paths.push(format!("/x{}x", String::from_utf8(legal.collect()).unwrap()));
    let escapes =
        |hex: fn(u8) -> String| (0..=255).map(|byte| format!("x{}x", hex(byte))).collect::<String>();
    paths.push(format!("/{}", escapes(|byte| format!("%{byte:02X}"))));
    paths.push(format!("/{}", escapes(|byte| format!("%{byte:02x}"))));
    for via in Via::ALL {
        for path in &paths {
            assert_eq!(forwarded(&scene, via, path), format!("/prod{path}"), "{via:?}");
        }
    }
}

#[test]
fn bytes_that_no_path_may_hold_are_passed_as_they_are_or_refused() {
    let scene = Setup::new().start_ok();
    for byte in (1..=255_u8).filter(|byte| !b"\t\r\n ?#".contains(byte)) {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte) {
            continue;
        }
        let path = [b"/a", &[byte][..], b"b"].concat();
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        client.send(&[b"GET ", &path[..], b" HTTP/1.1\r\nhost: localhost\r\n\r\n"].concat()).unwrap();
        let answer = client.answer("GET").unwrap();
        if answer.status == 200 {
            let request = scene.origin.next();
            assert_eq!(request.target(), [b"/prod", &path[..]].concat(), "{byte:#x}");
            crate::support::scene::assert_signed(&request);
        } else {
            assert_refusal(&answer, 400, "bad-request");
            assert_eq!(scene.origin.take().len(), 0, "{byte:#x}");
        }
    }
}

#[test]
fn the_query_gets_the_strict_spelling() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        for (sent, arrives) in [
            ("/a?", "/a"),
            ("/a?&&", "/a"),
            ("/a?b", "/a?b="),
            ("/a?=", "/a?="),
            ("/a?=v", "/a?=v"),
            ("/a?b=1&b=2&a=3&b=1", "/a?b=1&b=2&a=3&b=1"),
            ("/a?b=c=d", "/a?b=c%3Dd"),
            ("/a?&&b=1&&", "/a?b=1"),
            ("/a?b=x+y%20z", "/a?b=x%20y%20z"),
            ("/a?b=%2b%2B", "/a?b=%2B%2B"),
            ("/a?%62=%7e%41", "/a?b=~A"),
            ("/a?b[]=1&b[0]=2", "/a?b%5B%5D=1&b%5B0%5D=2"),
            ("/a?b=%C3%a9", "/a?b=%C3%A9"),
            ("/a?b=100%&c=%zz", "/a?b=100%25&c=%25zz"),
            ("/a?b=/?:@!$'()*,;", "/a?b=%2F%3F%3A%40%21%24%27%28%29%2A%2C%3B"),
            ("/a?b=%2526", "/a?b=%2526"),
            ("/a?b=%00", "/a?b=%00"),
            ("/a?b=../..", "/a?b=..%2F.."),
        ] {
            assert_eq!(forwarded(&scene, via, sent), format!("/prod{arrives}"), "{via:?} {sent}");
        }
    }
}

#[test]
fn a_presigned_urls_parameters_are_dropped() {
    let scene = Setup::new().start_ok();
    let target = "/a?b=1&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2Fx&X-Amz-Date=20260101T000000Z\
                  &X-Amz-Expires=60&x-amz-security-token=t&X-Amz-SignedHeaders=host&X%2DAmz%2DSignature=0\
                  &X-Amz-Target=kept&c=";
    for via in Via::ALL {
        assert_eq!(forwarded(&scene, via, target), "/prod/a?b=1&X-Amz-Target=kept&c=");
        assert_eq!(forwarded(&scene, via, "/a?X-Amz-Signature=0"), "/prod/a");
    }
}

#[test]
fn a_query_that_is_not_utf8_is_refused() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        for query in ["b=%FF", "%C3=%A9", "b=1&c=%c3", "b=%ED%A0%80"] {
            scene.refused(via, &Ask::new("GET", &format!("/a?{query}")), 400, "query-not-utf8");
        }
    }
}

#[test]
fn dot_segments_are_refused_in_every_spelling() {
    let scene = Setup::new().stage("mount = \"/m\"").start_ok();
    for via in Via::ALL {
        for path in [
            "/m/..",
            "/m/.",
            "/m/a/../b",
            "/m/./b",
            "/m/../m/b",
            "/m/%2e%2e/b",
            "/m/%2E%2e",
            "/m/.%2e",
            "/m/%2e",
            "/m/a%2f..%2fb",
            "/m/a%2F%2E%2E",
            "/m/a%5c..%5cb",
            "/m/a\\..\\b",
            "/m/..;/b",
            "/m/..;x=y/b",
            "/m/%2e%2e%3bx/b",
            "/m/%252e%252e/b",
            "/m/%25252e%25252e",
            "/m/a%252f..",
            "/../m/a",
            "/./m/a",
        ] {
            scene.refused(via, &Ask::new("GET", path), 400, "dot-segment");
        }
        assert_eq!(forwarded(&scene, via, "/m/a?b=../c"), "/prod/a?b=..%2Fc");
    }
}

#[test]
fn a_fragment_is_refused() {
    let scene = Setup::new().start_ok();
    for target in ["/a#b", "/a?b#c", "/#", "/a#b?c", "http://localhost/a#b"] {
        scene.refused(Via::Http1, &Ask::new("GET", target), 400, "bad-target");
    }
    // One that only an escape holds is none, and a header may hold what it likes.
    let request = scene.sent(Via::Http1, &Ask::new("GET", "/a%23b?c=%23").header("x-a", "#"));
    assert_eq!(request.target(), b"/prod/a%23b?c=%23");
    // Where it is cut off unseen it does not leave either.
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    let both = [Ask::new("GET", "/first").bytes(), Ask::new("GET", "/second#b").bytes()].concat();
    client.send(&both).unwrap();
    for target in [b"/prod/first".as_slice(), b"/prod/second"] {
        assert_eq!(client.answer("GET").unwrap().status, 200);
        assert_eq!(scene.origin.next().target(), target);
    }
    // A later request's is seen as well when it comes alone, and the connection ends with the refusal.
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    for (target, status) in [("/a", 200), ("/b", 200), ("/c#", 400)] {
        assert_eq!(client.exchange(&Ask::new("GET", target)).unwrap().status, status, "{target}");
    }
    assert_eq!(client.rest().unwrap(), b"");
}

#[test]
fn what_is_no_path_is_refused() {
    let scene = Setup::new().start_ok();
    scene.refused(Via::Http1, &Ask::new("OPTIONS", "*"), 400, "bad-target");
    for (target, status, code) in [
        ("localhost:80", 400, "bad-target"),
        ("", 400, "bad-request"),
        ("?a", 400, "bad-request"),
        // Where a path is missing, this is read as a host.
        ("a", 421, "host-not-allowed"),
    ] {
        scene.refused(Via::Http1, &Ask::new("GET", target), status, code);
    }
}

#[test]
fn an_absolute_form_target_is_read_as_its_path() {
    let scene = Setup::new().start_ok();
    for (sent, arrives) in [
        ("http://localhost/a?b", "/prod/a?b="),
        ("http://127.0.0.1:1/", "/prod/"),
        ("http://localhost", "/prod/"),
    ] {
        assert_eq!(forwarded(&scene, Via::Http1, sent), arrives);
    }
}

#[test]
fn the_longest_mount_picks_the_stage() {
    let more = format!(
        "name = \"root\"\n[[stage]]\nname = \"shop\"\nurl = \"https://{NAME}/s\"\nmount = \"/shop\"\n{{dial}}\n\
         [[stage]]\nname = \"orders\"\nurl = \"https://{NAME}\"\nmount = \"/shop/orders\"\n{{dial}}"
    );
    let scene = Setup::new().stage(&more).start_ok();
    for via in Via::ALL {
        for (sent, arrives) in [
            ("/", "/prod/"),
            ("/x?y", "/prod/x?y="),
            ("/shopping", "/prod/shopping"),
            ("/Shop/x", "/prod/Shop/x"),
            ("/shop%2Forders", "/prod/shop%2Forders"),
            ("/shop", "/s"),
            ("/shop?a", "/s?a="),
            ("/shop/", "/s/"),
            ("//shop//x", "/s//x"),
            ("/%73hop/x", "/s/x"),
            ("/shop/orders2", "/s/orders2"),
            ("/shop/orders", "/"),
            ("/shop/orders?a=1", "/?a=1"),
            ("/shop/orders/", "/"),
            ("/shop/orders/1", "/1"),
            ("//shop///orders//1/", "//1/"),
            ("/sh%6fp/%6Frders/%6F", "/%6F"),
        ] {
            assert_eq!(forwarded(&scene, via, sent), arrives, "{via:?} {sent}");
        }
    }
}

#[test]
fn a_path_below_no_mount_is_not_found() {
    let scene = Setup::new().stage("mount = \"/shop\"").start_ok();
    for via in Via::ALL {
        for path in ["/", "/shop2", "/sho", "/x/shop", "/shop%2Fx", "/SHOP"] {
            scene.refused(via, &Ask::new("GET", path), 404, "no-stage");
        }
        assert_eq!(forwarded(&scene, via, "/shop/x"), "/prod/x");
    }
}

#[test]
fn no_spelling_of_a_path_dodges_a_rule() {
    let rules = [
        ("/auth/api-key", "api-key"),
        ("/auth/iam-sigv4", "iam"),
        ("/auth/iam-sigv4-and-api-key", "iam+api-key"),
        ("/open/*", "none"),
        ("/open", "none"),
        ("/item/{id}", "api-key"),
        ("/files/{proxy+}", "none"),
        ("/v*/status", "none"),
        ("/auth/*", "none"),
    ];
    let rules = rules.map(|(path, auth)| format!("[[stage.route]]\npath = \"{path}\"\nauth = \"{auth}\""));
    let stage = format!("mount = \"/m\"\napi_key.value = \"k3y\"\n{}", rules.join("\n"));
    let scene = Setup::new().stage(&stage).start_ok();
    for via in Via::ALL {
        for (path, signed, keyed) in [
            ("/m/auth/api-key", false, true),
            ("/m/auth/api-key/", false, true),
            ("/m/auth//api-key", false, true),
            ("//m///auth/api-key", false, true),
            ("/m/%61uth/api%2dkey", false, true),
            ("/%6D/auth/api-key?x=1", false, true),
            ("/m/auth/api-key?/auth/iam-sigv4", false, true),
            ("/m/auth/iam-sigv4", true, false),
            ("/m/auth/iam-sigv4-and-api-key", true, true),
            ("/m//auth//iam-sigv4-and-api-ke%79", true, true),
            ("/m/auth%2Fapi-key", true, true),
            ("/m/Auth/api-key", true, true),
            ("/m/auth/other", false, false),
            ("/m/auth/api-key/below", false, false),
            ("/m/open", false, false),
            ("/m/open/", false, false),
            ("/m/open/a/b", false, false),
            ("/m/open%2Fa", true, true),
            ("/m/item/7", false, true),
            ("/m/item/7/8", true, true),
            ("/m/files/a/b", false, false),
            ("/m/v12/status", false, false),
            ("/m/v1/2/status", true, true),
            ("/m/else", true, true),
            ("/m", true, true),
        ] {
            let request = scene.sent(via, &Ask::new("GET", path));
            let got = (
                request.head.one("authorization").is_some(),
                request.head.one("x-api-key").is_some_and(|key| key == "k3y"),
            );
            assert_eq!(got, (signed, keyed), "{via:?} {path}");
        }
    }
}

#[test]
fn rules_hold_for_the_methods_that_they_name() {
    let rules = r#"api_key.value = "k3y"
route = [
  { path = "/orders/{id}", methods = ["GET", "HEAD"], auth = "none" },
  { path = "/orders/*", methods = ["POST", "PURGE"], auth = "api-key" },
  { path = "/orders/{id}", auth = "iam" },
  { path = "/*", methods = ["GET"], auth = "none" },
]"#;
    let scene = Setup::new().stage(rules).start_ok();
    for via in Via::ALL {
        for (method, path, signed, keyed) in [
            ("GET", "/orders/1", false, false),
            ("HEAD", "//orders/%31/", false, false),
            ("POST", "/orders/1", false, true),
            ("PURGE", "/orders/1/parts", false, true),
            ("PUT", "/orders/1", true, false),
            ("OPTIONS", "/orders/1", true, false),
            ("GET", "/else", false, false),
            // No rule is for it: as strict as can be.
            ("PUT", "/else", true, true),
            ("HEAD", "/else", true, true),
        ] {
            let request = scene.sent(via, &Ask::new(method, path));
            let got = (request.head.one("authorization").is_some(), request.head.one("x-api-key").is_some());
            assert_eq!(got, (signed, keyed), "{via:?} {method} {path}");
        }
        // Another spelling of a method meets no rule for it: it would be signed, and is refused.
        scene.refused(via, &Ask::new("get", "/orders/1"), 405, "method-not-allowed");
    }
}

#[test]
fn methods_pass_as_they_are() {
    let scene = Setup::new().stage("[[stage.route]]\npath = \"/none\"\nauth = \"none\"").start_ok();
    for via in Via::ALL {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "PROPFIND", "M-SEARCH"] {
            assert_eq!(scene.sent(via, &Ask::new(method, "/a")).method(), method);
        }
        // Verifiers disagree on lower case, so it is not signed; methods are case-sensitive (RFC 9110, section 9.1).
        scene.refused(via, &Ask::new("get", "/a"), 405, "method-not-allowed");
        assert_eq!(scene.sent(via, &Ask::new("get", "/none")).method(), "get");
    }
}

#[test]
fn a_hash_in_a_line_of_a_pipelined_head_is_no_fragment() {
    let scene = Setup::new().start_ok();
    for first in [
        "GET /a HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "PUT /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello",
        "PUT /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ] {
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        client.send(format!("{first}GET /b HTTP/1.1\r\nhost: localhost\r\nx-a: x").as_bytes()).unwrap();
        assert_eq!(client.answer("GET").unwrap().status, 200);
        client.send(b"#y\r\n\r\n").unwrap();
        assert_eq!(client.answer("GET").unwrap().status, 200, "{first}");
        // Behind a whole request it is seen again, after a body too.
        for _ in 0..2 {
            client.send(first.as_bytes()).unwrap();
            assert_eq!(client.answer("GET").unwrap().status, 200);
        }
        client.send(b"GET /b#y HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        assert_refusal(&client.answer("GET").unwrap(), 400, "bad-target");
    }
}
