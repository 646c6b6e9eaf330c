//! Tables of what is lent, and that no spelling of a path dodges a rule.

use http::Method;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{NotLent, Rules};
use crate::config::LendRule;

fn compiled(allow: &[&str], deny: &[&str], read_only: bool) -> Rules {
    let parse = |rules: &[&str]| -> Vec<LendRule> {
        rules.iter().map(|rule| rule.parse().unwrap_or_else(|mistake| panic!("{rule}: {mistake}"))).collect()
    };
    let allow = (!allow.is_empty()).then(|| parse(allow));
    Rules::compile(allow.as_deref(), &parse(deny), read_only)
}

fn judge(rules: &Rules, request: &str) -> Result<(), NotLent> {
    let (method, path) = request.split_once(' ').expect("a method and a path");
    rules.judge(&Method::from_bytes(method.as_bytes()).unwrap(), path)
}

#[test]
fn what_is_allowed() {
    let rules = compiled(
        &["GET|HEAD /orders/*", "POST /orders", "* /health", "GET /v*/status", "PURGE /cache/{key}"],
        &[],
        false,
    );
    for request in [
        "GET /orders/1",
        "HEAD /orders/1/lines/2",
        "GET //orders//1/",
        "GET /%6Frders/%31",
        "GET /orders/a%20b",
        "GET /orders/a%2Fb",
        "GET /orders/1;v=2",
        "GET /orders/a%252Fb",
        "GET /orders/A\\b",
        "POST /orders",
        "POST /orders/",
        "DELETE /health",
        "get /health",
        "GET /v12/status",
        "PURGE /cache/x",
        "GET /orders/caf%C3%A9",
    ] {
        assert_eq!(judge(&rules, request), Ok(()), "{request}");
    }
    for (request, why) in [
        ("GET /orders", NotLent::NotAllowed),
        ("GET /orders/", NotLent::NotAllowed),
        ("DELETE /orders/1", NotLent::NotAllowed),
        ("get /orders/1", NotLent::NotAllowed),
        ("PUT /orders", NotLent::NotAllowed),
        ("POST /orders/1", NotLent::NotAllowed),
        ("GET /Orders/1", NotLent::NotAllowed),
        ("GET /", NotLent::NotAllowed),
        ("GET /orders%2F1", NotLent::NotAlways),
        ("GET /orders%5C1", NotLent::NotAlways),
        ("GET /orders%252F1", NotLent::NotAlways),
        ("GET /orders/;x", NotLent::NotAlways),
        ("GET /orders/%3Bx", NotLent::NotAlways),
        ("POST /orders;x", NotLent::NotAlways),
        ("GET /%256Frders/1", NotLent::NotAlways),
        ("PURGE /cache/a%2Fb", NotLent::NotAlways),
        ("GET /v1%2F2/status", NotLent::NotAlways),
        ("GET /orders/%252541", NotLent::Unclear),
        ("GET /orders/a%00", NotLent::Unclear),
        ("GET /orders/%C0%AE", NotLent::Unclear),
    ] {
        assert_eq!(judge(&rules, request), Err(why), "{request}");
    }
}

#[test]
fn what_is_denied() {
    let rules = compiled(&[], &["* /admin/*", "DELETE /orders/{id}", "PUT|PATCH /files/a%20b"], false);
    for request in [
        "GET /admin/x",
        "GET /admin/x/y",
        "GET /admin/",
        "GET //admin//",
        "GET /ADMIN/x",
        "GET /%61dmin/x",
        "GET /%2561dmin/x",
        "GET /admin%2Fx",
        "GET /admin%252fx",
        "GET /admin\\x",
        "GET /admin%5Cx",
        "GET /admin;v=1/x",
        "GET /admin%3Bv/x",
        "GET /admin;a%2Fb/x",
        "GET /;x/admin/x",
        "GET /admin/;x",
        "purge /admin/x",
        "DELETE /orders/7",
        "delete /orders/7",
        "DELETE /orders/7/",
        "DELETE /orders/",
        "DELETE /orders%2F7",
        "PUT /files/a+b",
        "PUT /files/a%20b",
        "PATCH /files/A%2Bb",
    ] {
        assert!(matches!(judge(&rules, request), Err(NotLent::Denied(_))), "{request}");
    }
    for request in ["GET /admin/%252561", "DELETE /x%00", "PUT /%ff"] {
        assert_eq!(judge(&rules, request), Err(NotLent::Unclear), "{request}");
    }
    for request in [
        "GET /admin",
        "GET /administrator/x",
        "GET /x/admin/y",
        "GET /orders/7",
        "HEAD /orders/7",
        "DELETE /orders",
        "DELETE /orders/7/lines",
        "GET /files/a%20b",
    ] {
        assert_eq!(judge(&rules, request), Ok(()), "{request}");
    }
    let only_delete = compiled(&[], &["DELETE /orders"], false);
    assert_eq!(judge(&only_delete, "GET /a%00"), Ok(()), "no rule for GET looks at its path");
}

#[test]
fn deny_wins_and_read_only_narrows() {
    let rules = compiled(&["* /*"], &["GET /secret"], true);
    for (request, verdict) in [
        ("GET /a%00", Err(NotLent::Unclear)),
        ("HEAD /a%00", Ok(())),
        ("OPTIONS /secret", Ok(())),
        ("GET /secret", Err(NotLent::Denied("GET /secret".into()))),
        ("POST /a", Err(NotLent::ReadOnly)),
        ("get /a", Err(NotLent::ReadOnly)),
        ("PROPFIND /a", Err(NotLent::ReadOnly)),
    ] {
        assert_eq!(judge(&rules, request), verdict, "{request}");
    }
    let rules = compiled(&["GET /a/*"], &["* /**"], false);
    assert_eq!(judge(&rules, "GET /a/b"), Err(NotLent::Denied("* /**".into())));
}

/// One byte as a request may spell it for a server that decodes once or twice.
fn spelt(byte: u8, how: u8) -> String {
    match how {
        0 => format!("%{byte:02X}"),
        1 => format!("%{byte:02x}"),
        2 => format!("%25{byte:02X}"),

        _ => (byte as char).to_string(),
    }
}

/// A spelling of `/admin/users/7`, which some server takes for that.
fn spelling() -> impl Strategy<Value = String> {
    let letter = |byte: u8| {
        (0_u8..12, any::<bool>()).prop_map(move |(how, capital)| {
            spelt(if capital { byte.to_ascii_uppercase() } else { byte }, how)
        })
    };
    let word = move |text: &'static str| {
        let letters: Vec<_> = text.bytes().map(letter).collect();
        let parameters = prop::sample::select(vec!["", "", "", ";", ";v=1", "%3Bv", "%253B", ";a=b;c"]);
        (letters, parameters).prop_map(|(letters, parameters)| letters.concat() + parameters)
    };
    let slash =
        || prop::sample::select(vec!["/", "/", "//", "/;x/", "%2F", "%2f", "%252F", "\\", "%5C", "/%2F"]);
    let start = prop::sample::select(vec!["/", "//", "/;/", "/%2F"]);
    let end = prop::sample::select(vec!["", "", "/", "//", "%2F", "/;x"]);
    (start, word("admin"), slash(), word("users"), slash(), word("7"), end)
        .prop_map(|(start, a, one, b, two, c, end)| [start, &a, one, &b, two, &c, end].concat())
}

fn for_each_spelling(check: impl Fn(String) -> Result<(), TestCaseError>) {
    let config = Config { cases: 4096, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&spelling(), check).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn no_spelling_dodges_a_deny() {
    let rules = ["* /admin/users/7", "* /admin/*", "* /admin/{name}/7", "* /a*n/us*/{id}", "GET /*/users/7"];
    let rules = rules.map(|rule| (rule, compiled(&[], &[rule], false)));
    for_each_spelling(|path| {
        for (text, rules) in &rules {
            prop_assert!(judge(rules, &format!("GET {path}")).is_err(), "{text}: {path}");
        }
        Ok(())
    });
}

#[test]
fn what_is_allowed_is_nothing_else_in_any_reading() {
    // Whatever is let through as something else must not be this.
    let rules = compiled(&["* /public/*", "* /{one}", "* /admin/{name}"], &[], false);
    for_each_spelling(|path| {
        prop_assert!(judge(&rules, &format!("GET {path}")).is_err(), "{path}");
        Ok(())
    });
}

#[test]
fn a_plain_path_is_judged_as_by_its_only_reading() {
    let rules = compiled(
        &["GET /a/*", "* /A/b", "PUT /*", "GET|POST /a+b/{id}/c*d"],
        &["* /a/b/*", "PUT /a*c", "GET /A%20B/x", "* /"],
        false,
    );
    let segment = prop_oneof![
        Just(""),
        Just("a"),
        Just("b"),
        Just("A"),
        Just("a+b"),
        Just("a b"),
        Just("x"),
        Just("cd")
    ];
    let segments = prop::collection::vec(segment, 0..6);
    let fill = prop_oneof![9 => Just(0), 1 => 240usize..280];
    let case = (prop::sample::select(&["GET", "get", "PUT", "POST"][..]), segments, fill, any::<bool>());
    TestRunner::new(Config::with_cases(3000))
        .run(&case, |(method, segments, fill, free)| {
            let path = format!("/{}{}", segments.join("/"), "c".repeat(fill));
            let path = if path == "/" && free { "" } else { &path };
            let plain = rules.judge_plain(method, path, free);
            prop_assert_eq!(&plain, &rules.judge_readings(method, path, free), "{} {}", method, path);
            Ok(())
        })
        .unwrap();
    for (path, is) in [("", true), ("/", true), ("//A//B/", true), ("/a/b", false), ("/a/b/", true)] {
        assert_eq!(rules.judge_plain("POST", path, true).is_err(), is, "{path}");
    }
}
