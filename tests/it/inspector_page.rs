//! The inspector's page in a real browser: list, one request opened, diagnosis, what it sends; that nothing captured runs in
//! it, that no secret is in it, and that whoever needs the keyboard or a screen reader can use it.
//!
//! The scenarios are in tests/browser/inspector; the stage judges each signature as the demo's gateway does.

use std::{
    io,
    time::{Duration, SystemTime},
};

use countersign::demo::{
    canonical::Received,
    verify::{Account, Verifier},
};
use serde_json::json;

use crate::support::{
    browser::Browser,
    inspector::{link, parts},
    leaks::Leaks,
    origin::{Reply, Request, Then, answer},
    scene::{ACCESS_KEY, API_KEY, SECRET, Scene, Setup, TOKEN, assert_signed},
    sts::sts,
};

const JSON: &str = "application/json";

/// A stage that lets in what is signed with [`SECRET`]. On the way to `/invoices` a content type gets a character set, as
/// well-meant proxies do.
fn stage(request: &Request, reply: &mut Reply<'_>) -> io::Result<Then> {
    serve(request, reply, true)
}

/// The same, with nothing on the way.
fn near_stage(request: &Request, reply: &mut Reply<'_>) -> io::Result<Then> {
    serve(request, reply, false)
}

fn serve(request: &Request, reply: &mut Reply<'_>, changes: bool) -> io::Result<Then> {
    let target = String::from_utf8_lossy(request.target()).into_owned();
    let mut fields = request.head.fields.clone();
    if changes && target == "/prod/invoices" {
        for (name, value) in &mut fields {
            if name.eq_ignore_ascii_case("content-type") {
                value.extend_from_slice(b"; charset=utf-8");
            }
        }
    }
    let account = Account {
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: SECRET.to_owned(),
        session_token: request.head.one("x-amz-security-token").map(str::to_owned),
        expires: None,
    };
    let verifier = Verifier {
        region: "us-west-2".to_owned(),
        service: "execute-api".to_owned(),
        accounts: vec![account],
    };
    let received = Received {
        method: request.method(),
        target: request.target(),
        headers: &fields,
        body: &request.body,
    };
    let is_open = target == "/prod/health";
    if !is_open && let Err(refusal) = verifier.verify(&received, SystemTime::now()) {
        let kind = refusal.error_type().expect("a signature's refusal has a type");
        let fields = [
            ("x-amzn-ErrorType", kind),
            ("content-type", refusal.content_type()),
            ("x-amzn-RequestId", "a1"),
        ];
        reply.send(answer("403 Forbidden", &fields, refusal.body()))?;
        return Ok(Then::Keep);
    }
    reply.send(match target.split('?').next() {
        Some("/prod/missing") => answer("404 Not Found", &[("content-type", JSON)], r#"{"message":"none"}"#),
        Some(path) if path.starts_with("/prod/markup") => {
            let markup = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>";
            let kind = if path.ends_with("json") { JSON } else { "text/html" };
            answer("200 OK", &[("content-type", kind), ("x-markup", markup)], format!("<h1>{markup}</h1>"))
        }
        Some(path) if path.starts_with("/prod/orders") => {
            let orders = r#"{"orders":[{"id":1042,"customer":"Ada","total":12.50,"paid":true,"note":null},{"id":1043,"customer":"Grace","total":8,"paid":false,"items":["A-1"]}],"next":null}"#;
            answer("200 OK", &[("content-type", JSON), ("x-amzn-RequestId", "0f5c7b9e-1f0a-4c52-9f0e-3f2c5d7a8b11")], orders)
        }
        _ => answer("200 OK", &[("content-type", JSON)], r#"{"message":"success"}"#),
    })?;
    Ok(Then::Keep)
}

const TOP: &str = "admin = \"127.0.0.1:0\"\ninspector.bodies = true\ninspector.from_start = true";

fn setup() -> Setup {
    Setup::new().top(TOP).session().api_key()
}

/// The scenario, on its page.
fn inspect(scene: &Scene, script: &str, differs: bool) -> Browser {
    let link = link(&scene.proxy);
    let (admin, _) = parts(&link);
    let given = json!({
        "link": link,
        "admin": format!("http://{admin}"),
        "proxy": format!("http://{}", scene.proxy.address()),
        "differs": differs,
        "pictures": std::env::var("COUNTERSIGN_PICTURES").ok(),
    });
    Browser::start(&format!("inspector/{script}"), given)
}

/// It comes to its end, step by step.
fn ends(browser: Browser) {
    comes_to(&browser, "done");
    browser.end();
}

/// It comes to this step; each one before it has as long as any wait.
fn comes_to(browser: &Browser, step: &str) {
    for number in 0.. {
        if browser.saw(&format!("step {number}")) == step {
            break;
        }
    }
}

#[test]
fn the_list_shows_what_was_and_what_comes_and_is_filtered_held_and_cleared() {
    let two = "[[stage]]\nname = \"two\"\nmount = \"/two\"\n\
               url = \"https://abc123.execute-api.us-west-2.amazonaws.com/prod\"\n{dial}";
    let scene = setup().stage_more(two).start(stage);
    ends(inspect(&scene, "list.mjs", false));
}

#[test]
fn a_request_opened_shows_what_was_added_and_signed_and_no_secret() {
    let scene = setup().stage_more("[[stage.route]]\npath = \"/open\"\nauth = \"none\"").start(stage);
    let (_, token) = parts(&link(&scene.proxy));
    let browser = inspect(&scene, "opened.mjs", false);
    comes_to(&browser, "response");
    let leaks = Leaks::of([SECRET, TOKEN, API_KEY, "of the client's own", "session=of the client", &token]);
    for name in ["shown", "told"] {
        let saw = browser.saw(name);
        let texts = saw.as_array().unwrap();
        assert!(texts.len() > 1, "{name}: {texts:?}");
        for text in texts {
            let text = text.as_str().unwrap();
            assert!(!text.is_empty());
            leaks.assert_none(name, text.as_bytes());
        }
    }
    ends(browser);
    assert_signed(&scene.origin.next());
}

#[test]
fn a_refused_signature_is_shown_line_by_line() {
    let scene = setup().start(stage);
    ends(inspect(&scene, "refused.mjs", true));
    let wrong = setup().without_keys().variable("AWS_ACCESS_KEY_ID", ACCESS_KEY);
    let scene = wrong.variable("AWS_SECRET_ACCESS_KEY", "another-secret-than-the-gateways").start(near_stage);
    ends(inspect(&scene, "refused.mjs", false));
}

#[test]
fn what_the_page_sends_arrives_as_it_says() {
    let scene = setup().start(stage);
    ends(inspect(&scene, "acting.mjs", false));
    let requests = scene.origin.take();
    let seen: Vec<_> = requests
        .iter()
        .map(|request| format!("{} {}", request.method(), request.target().escape_ascii()))
        .collect();
    let get = "GET /prod/first?a=1";
    assert_eq!(seen, [get, get, "POST /prod/acts", "POST /prod/acts", "PUT /prod/edited?b=2"]);
    for request in &requests {
        assert_signed(request);
    }
    for request in &requests[..2] {
        assert_eq!(request.head.one("x-own"), Some("kept"));
    }
    for (request, body) in requests[2..].iter().zip(["once", "once", "twice"]) {
        assert_eq!(request.body, body.as_bytes());
        assert_eq!(
            request.head.one("cookie"),
            Some("session=theirs"),
            "hidden from the page, not from the stage"
        );
    }
    assert_eq!(requests[4].head.one("x-new"), Some("one"));
}

#[test]
fn ten_thousand_requests_are_as_quick_to_use_as_ten() {
    let scene = setup().start(stage);
    ends(inspect(&scene, "many.mjs", false));
}

#[test]
fn markup_in_what_is_captured_stays_text() {
    let scene = setup().start(stage);
    ends(inspect(&scene, "hostile.mjs", false));
}

#[test]
fn nothing_opens_without_the_link_and_the_page_says_when_it_is_cut_off() {
    let scene = setup().start(stage);
    let browser = inspect(&scene, "locked.mjs", false);
    comes_to(&browser, "open");
    assert_eq!(scene.proxy.terminate().code, Some(0));
    ends(browser);
}

#[test]
fn the_panel_tells_what_stages_live_on_and_has_somebody_log_in() {
    let sts = sts("arn:aws:iam::111122223333:user/ann");
    let other = "name = \"orders\"\nlogin_command = [\"sh\", \"-c\", \"echo login >> logins\"]\n\
                 [[stage]]\nname = \"second\"\nmount = \"/second\"\nprofile = \"none\"\napi_key.env = \"NOT_SET\"\n\
                 read_only = true\nurl = \"https://abc123.execute-api.us-west-2.amazonaws.com/prod\"\n{dial}";
    let scene = setup()
        .variable("AWS_ENDPOINT_URL_STS", &format!("http://{}", sts.address()))
        .stage_more(other)
        .start(skewed);
    let browser = inspect(&scene, "stages.mjs", false);
    comes_to(&browser, "logged in");
    let begun = scene.proxy.process().find(|line| line.contains("the login command has ended").then_some(()));
    assert!(begun.is_some());
    let logins = std::fs::read_to_string(scene.proxy.home().path().join("logins")).unwrap();
    assert_eq!(logins, "login\n");
    ends(browser);
    assert_eq!(sts.take().len(), 1);
}

#[test]
fn what_is_not_shown_of_an_answer_is_told_with_the_reason() {
    let stage = |request: &Request, reply: &mut Reply<'_>| {
        if request.target() == b"/prod/cut" {
            reply.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 9\r\n\r\nno")?;
            return Ok(Then::Close);
        }
        reply.send(answer("200 OK", &[("content-encoding", "gzip")], b"\x1f\x8b\x08 and so on"))?;
        Ok(Then::Keep)
    };
    let scene = setup().start(stage);
    ends(inspect(&scene, "bodies.mjs", true));
    let scene = Setup::new().top(&TOP.replace("inspector.bodies = true\n", "")).start(stage);
    ends(inspect(&scene, "bodies.mjs", false));
}

#[test]
fn a_denial_is_shown_with_who_was_denied_and_the_policy() {
    let sts = sts("arn:aws:iam::111122223333:user/ann");
    let scene = Setup::new()
        .top(TOP)
        .session()
        .stage("api_key.file = \"key.txt\"\nroute = [{ path = \"/*\", auth = \"iam\" }]")
        .variable("AWS_ENDPOINT_URL_STS", &format!("http://{}", sts.address()))
        .start(|_, reply| {
            let said = "User: arn:aws:iam::********3333:user/ann is not authorized to perform: execute-api:Invoke on \
                        resource: arn:aws:execute-api:us-west-2:********3333:abc123/prod/GET/orders/42 with an explicit \
                        deny in an identity-based policy";
            let kind = [("x-amzn-errortype", "AccessDeniedException"), ("content-type", JSON)];
            reply.send(answer("403 Forbidden", &kind, json!({ "Message": said }).to_string()))?;
            Ok(Then::Keep)
        });
    let browser = inspect(&scene, "denied.mjs", false);
    comes_to(&browser, "opened");
    scene.proxy.home().write("key.txt", API_KEY);
    ends(browser);
}

/// A gateway whose clock is ten minutes ahead, and which takes what is signed by that.
fn skewed(request: &Request, reply: &mut Reply<'_>) -> io::Result<Then> {
    let stamp = |ahead: u64| {
        let at = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(ahead));
        at.to_string().replace(['-', ':'], "")
    };
    if request.head.one("x-amz-date").is_none_or(|date| date < stamp(300).as_str()) {
        let (signed, bound, now) = (stamp(0), stamp(300), stamp(600));
        let said = format!("Signature expired: {signed} is now earlier than {bound} ({now} - 5 min.)");
        let kind = [("x-amzn-errortype", "InvalidSignatureException")];
        reply.send(answer("403 Forbidden", &kind, json!({ "message": said }).to_string()))?;
        return Ok(Then::Keep);
    }
    reply.send(answer("200 OK", &[], "ok"))?;
    Ok(Then::Keep)
}

#[test]
fn nothing_bars_the_page_to_those_who_do_not_see_or_point() {
    let end = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_hours(1));
    let printed = json!({
        "Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET, "SessionToken": TOKEN,
        "Expiration": end.to_string(),
    });
    let sts = sts("arn:aws:sts::111122223333:assumed-role/orders-dev/ada");
    let scene = setup()
        .without_keys()
        .variable("AWS_ENDPOINT_URL_STS", &format!("http://{}", sts.address()))
        .stage_more("name = \"orders\"\nprofile = \"dev\"\nroute = [{ path = \"/health\", auth = \"none\" }]")
        .file(".aws/config", "[profile dev]\ncredential_process = cat printed.json\n")
        .file("printed.json", &printed.to_string())
        .start(stage);
    ends(inspect(&scene, "accessible.mjs", false));
}
