//! `countersign request` sends one request as the proxy would, writes what came and nothing else on standard output, and
//! says by its exit code, as curl does, how it went.

use std::{
    fs,
    sync::{Mutex, mpsc},
};

use serde_json::{Value, json};

use crate::support::{
    leaks::Leaks,
    origin::{Reply, Request, Then, answer},
    process::Ended,
    scene::{API_KEY, SECRET, Setup, TOKEN, assert_signed, ok},
    snapshot,
};

fn assert_code(ended: &Ended, code: i32) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
}

#[test]
fn it_is_signed_and_the_answer_comes_as_it_is() {
    let (origin, launch) = Setup::new().api_key().session().prepare(|request, reply| {
        let body = [b"\xff\x00got ", &request.body[..]].concat();
        reply.send(answer("201 Created", &[("x-Of-Stage", "a"), ("content-type", "text/plain")], body))?;
        Ok(Then::Keep)
    });
    let home = launch.home().path().to_owned();
    launch.home().write("order.json", "{\"a\":1}");
    let file = home.join("answer");
    let ended = launch.instead(
        "request",
        &[
            "POST",
            "/orders?b=2",
            "-d",
            "@order.json",
            "-H",
            "content-type: application/json",
            "-o",
            file.to_str().unwrap(),
        ],
    );
    assert_code(&ended, 0);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("", ""));
    assert_eq!(fs::read(file).unwrap(), b"\xff\x00got {\"a\":1}");
    let sent = origin.next();
    assert_signed(&sent);
    assert_eq!(
        (sent.method(), sent.target(), &sent.body[..]),
        ("POST", &b"/prod/orders?b=2"[..], &b"{\"a\":1}"[..])
    );
    assert_eq!(sent.head.one("x-api-key"), Some(API_KEY));
    assert_eq!(sent.head.one("content-type"), Some("application/json"));

    let ended = launch.instead("request", &["GET", "/orders", "--json"]);
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (&told["status"], &told["reason"], &told["body"]),
        (&json!(201), &json!("Created"), &Value::Null)
    );
    assert_eq!(told["body_base64"], "/wBnb3Qg");
    assert!(told["headers"].as_array().unwrap().contains(&json!(["x-of-stage", "a"])), "{told}");
}

#[test]
fn the_head_is_written_when_asked_for() {
    let (_origin, launch) = Setup::new().top("request_id = false").prepare(ok);
    let shown = |method: &str| {
        let ended = launch.instead("request", &[method, "/", "-i"]);
        // Lines are captured without their ends.
        let (head, body) = ended.out.split_once("\n\n").unwrap_or_else(|| panic!("{ended:?}"));
        (head.to_owned(), body.to_owned())
    };
    let head = "HTTP/1.1 200 OK\ncontent-length: 2".to_owned();
    assert_eq!(shown("GET"), (head.clone(), "ok\n".to_owned()));
    assert_eq!(shown("HEAD"), (head, String::new()));
}

#[test]
fn the_exit_code_is_curls() {
    let (origin, launch) = Setup::new().stage("deny = [\"* /secret\"]").prepare(|_, reply| {
        reply.send(answer("404 Not Found", &[], "none such"))?;
        Ok(Then::Keep)
    });
    let ended = launch.instead("request", &["GET", "/orders"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "none such\n"), "{ended:?}");
    let ended = launch.instead("request", &["GET", "/orders", "--fail-with-body"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(22), "none such\n"), "{ended:?}");
    let ended = launch.instead("request", &["GET", "/orders", "--fail-with-body", "--repeat", "2"]);
    assert_code(&ended, 22);
    assert_eq!(origin.take().len(), 4);

    // The proxy's own answer goes where errors go.
    let ended = launch.instead("request", &["GET", "/secret"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("not-lent") && ended.err.contains("stage.deny names it"), "{ended:?}");
    snapshot::ended("request/refused", &ended, &[]);
    // As JSON it is a document too.
    let ended = launch.instead("request", &["GET", "/secret", "--json"]);
    let told: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    assert!(ended.code == Some(1) && ended.err.contains("not-lent"), "{ended:?}");
    let (message, hint) = (&told["error"]["message"], &told["error"]["hint"]);
    assert!(message.as_str().is_some_and(|text| text.starts_with("not-lent: ")), "{told}");
    assert!(hint.as_str().is_some_and(|text| text.contains("Take the rule out")), "{told}");
    // Without an answer a file stays as it is.
    let kept = launch.home().write("kept", "what was there, and is longer");
    assert_code(&launch.instead("request", &["GET", "/secret", "-o", "kept"]), 1);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "what was there, and is longer");
    assert_code(&launch.instead("request", &["GET", "/secret", "-o", "new"]), 1);
    assert!(!launch.home().path().join("new").exists());
    assert_eq!(origin.take().len(), 0);
    assert_code(&launch.instead("request", &["GET", "/orders", "-o", "kept"]), 0);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "none such");
    assert_eq!(origin.take().len(), 1);

    for arguments in [
        &["GET"][..],
        &["GET", "orders"],
        &["GET", "/", "--no-such"],
        &["GET", "/", "--repeat", "0"],
        &["GET", "/", "--workers", "many"],
    ] {
        assert_code(&launch.instead("request", arguments), 2);
    }
    let ended = launch.instead("request", &["POST", "/", "-d", "@absent"]);
    assert_eq!((ended.code, ended.err.contains("cannot read absent")), (Some(1), true), "{ended:?}");
    let ended = launch.instead("request", &["GET", "/", "-o", "absent/file"]);
    assert_eq!((ended.code, ended.err.contains("cannot write absent/file")), (Some(1), true), "{ended:?}");
    snapshot::ended("request/no-place", &ended, &[]);
    assert_eq!(origin.take().len(), 0);

    let (gone, launch) = Setup::new().plain().prepare(ok);
    drop(gone);
    let ended = launch.instead("request", &["GET", "/orders"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("upstream-connect"), "{ended:?}");
}

#[test]
fn an_answer_that_breaks_off_is_no_success() {
    let (_origin, launch) = Setup::new().prepare(|_, reply| {
        reply.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")?;
        Ok(Then::Cut)
    });
    let ended = launch.instead("request", &["GET", "/"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), "half\n"), "{ended:?}");
    assert!(ended.err.contains("broke off after 4 bytes"), "{ended:?}");
    snapshot::ended("request/cut", &ended, &[]);
    let ended = launch.instead("request", &["GET", "/", "--json"]);
    let told: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(told["error"]["message"], "the answer broke off after 4 bytes of its body");
}

#[test]
fn many_go_over_one_connection() {
    let (origin, launch) = Setup::new().prepare(ok);
    let ended = launch.instead("request", &["GET", "/", "--repeat", "5", "--json"]);
    assert_code(&ended, 0);
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&told["sent"], &told["statuses"]), (&json!(5), &json!({"200": 5})), "{told}");
    assert!(told["micros"]["least"].as_u64() <= told["micros"]["most"].as_u64(), "{told}");
    let sent = origin.take();
    assert_eq!(sent.len(), 5);
    for request in &sent {
        assert_signed(request);
        assert_eq!(request.connection, 0);
    }
    let ended = launch.instead("request", &["GET", "/", "--repeat", "2"]);
    let mut lines = ended.out.lines();
    assert_eq!(lines.next(), Some("2 sent"));
    assert_eq!(lines.next(), Some("  200                      2"));
    assert!(lines.next().is_some_and(|line| line.starts_with("  least ")), "{ended:?}");
    snapshot::ended("request/repeated", &ended, &[]);
}

/// What `--json` says in the place of an answer.
fn failure(ended: &Ended, code: i32) -> Value {
    let told: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    assert_code(ended, code);
    let fields: Vec<_> = told.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["error"], "{told}");
    // People are told beside it.
    assert!(!ended.err.is_empty(), "{ended:?}");
    told["error"].clone()
}

#[test]
fn a_script_is_told_of_every_failure_in_one_document() {
    let (origin, launch) = Setup::new().without_keys().prepare(ok);
    let text = |error: &Value, field: &str| error[field].as_str().unwrap_or_default().to_owned();
    // The configuration, with each mistake.
    let wrong = launch.instead("request", &["GET", "/", "--json", "--workers", "many", "--retry", "nver"]);
    let error = failure(&wrong, 2);
    assert_eq!(error["message"], "the configuration has 2 mistakes");
    let mistakes = error["mistakes"].as_array().unwrap();
    assert!(text(&mistakes[0], "message").starts_with("--workers: "), "{error}");
    assert_eq!((mistakes.len(), &mistakes[1]["hint"]), (2, &json!("did you mean never?")));
    // Credentials, the body, the place of the answer, the guard, a name that nobody knows.
    let error = failure(&launch.instead("request", &["GET", "/", "--json"]), 1);
    assert!(text(&error, "message").starts_with("no-credentials: "), "{error}");
    let error = failure(&launch.instead("request", &["POST", "/", "-d", "@absent", "--json"]), 1);
    assert!(text(&error, "message").starts_with("cannot read absent: "), "{error}");
    let error = failure(&launch.instead("request", &["GET", "/", "-o", "absent/file", "--json"]), 1);
    assert!(text(&error, "message").starts_with("cannot write absent/file: "), "{error}");
    let other = ["GET", "/", "-H", "host: evil.example.com", "--json"];
    let error = failure(&launch.instead("request", &other), 1);
    assert!(text(&error, "message").starts_with("host-not-allowed: "), "{error}");
    assert!(!text(&error, "hint").is_empty(), "{error}");
    let unknown = ["GET", "/", "--json", "--route=/*=none", "--connect-to", "nobody.invalid:443"];
    let error = failure(&launch.instead("request", &unknown), 1);
    assert!(text(&error, "message").starts_with("upstream-"), "{error}");
    let repeated = [&unknown[..], &["--repeat", "2"]].concat();
    let ended = launch.instead("request", &repeated);
    let told: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    assert_eq!((ended.code, &told["sent"], &told["micros"]), (Some(1), &json!(2), &Value::Null), "{told}");
    // Where the answer would have been.
    let ended = launch.instead("request", &["POST", "/", "-d", "@absent", "--json", "-o", "answer.json"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    let kept = fs::read_to_string(launch.home().path().join("answer.json")).unwrap();
    assert!(kept.contains("cannot read absent"), "{kept}");
    assert_eq!(origin.take().len(), 0);
}

#[test]
fn a_signal_ends_it_with_what_is_known() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let (origin, launch) = Setup::new().prepare(move |request, reply| {
        if request.target() != b"/prod/at-once" {
            gone.lock().unwrap().recv().unwrap();
        }
        ok(request, reply)
    });
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut running = launch.instead_of("request", &["GET", "/held", "--json"]);
        origin.next();
        running.signal(signal);
        let ended = running.end();
        go.send(()).unwrap();
        let error = failure(&ended, code);
        assert_eq!(error["message"], "a signal ended it before the answer was whole", "{error}");
        assert_eq!(error["hint"], "whether the stage has the request is not known");
    }
    // Of many, what came until then.
    // Where nothing is to be told, a signal does what it always does.
    let mut running = launch.instead_of("request", &["GET", "/held"]);
    origin.next();
    running.signal("INT");
    let ended = running.end();
    assert_eq!((ended.code, ended.out + &ended.err), (None, String::new()));
    go.send(()).unwrap();
    let mut running = launch.instead_of("request", &["GET", "/at-once", "--json", "--repeat", "1000000"]);
    origin.next();
    origin.next();
    running.signal("INT");
    let ended = running.end();
    let told: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(told["sent"].as_u64().is_some_and(|sent| (1..1_000_000).contains(&sent)), "{told}");
    assert_eq!(told["statuses"]["200"], told["sent"], "{told}");
}

fn forbidden(_: &Request, reply: &mut Reply<'_>) -> std::io::Result<Then> {
    let kind = ("x-amzn-errortype", "ForbiddenException");
    reply.send(answer("403 Forbidden", &[kind, ("x-amzn-requestid", "1")], r#"{"message":"Forbidden"}"#))?;
    Ok(Then::Keep)
}

#[test]
fn a_gateways_refusal_is_explained_beside_the_answer() {
    let (origin, launch) = Setup::new().api_key().session().prepare(forbidden);
    let ended = launch.instead("request", &["GET", "/orders"]);
    assert_code(&ended, 0);
    // Asked once: what explains it is not sent.
    assert_eq!(origin.take().len(), 1);
    assert_eq!(ended.out, "{\"message\":\"Forbidden\"}\n");
    let first = ended.err.lines().next().unwrap_or_default().to_owned();
    assert!(first.to_lowercase().contains("api key") && ended.err.contains("\n  - "), "{ended:?}");
    snapshot::ended("request/forbidden", &ended, &[]);
    let ended = launch.instead("request", &["GET", "/orders", "--json"]);
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert!(told["diagnosis"]["title"].is_string(), "{told}");
    assert_code(&ended, 0);
    let leaks = Leaks::of([SECRET, TOKEN, API_KEY]);
    leaks.assert_none("request", format!("{}{}", ended.out, ended.err).as_bytes());
}

#[test]
fn what_an_answer_says_cannot_move_the_cursor_and_is_no_policy() {
    let said = |text: &'static str| {
        let (_origin, launch) = Setup::new().prepare(move |_, reply| {
            let kind = ("x-amzn-errortype", "AccessDeniedException");
            reply.send(answer("403 Forbidden", &[kind], text))?;
            Ok(Then::Keep)
        });
        let ended = launch.instead("request", &["GET", "/orders"]);
        assert_code(&ended, 0);
        ended.err
    };
    let hostile = said(
        r#"{"Message":"User: x\u001b]0;a\u0007\u009b2J is not authorized to perform: iam:* on resource: arn:aws:iam::123456789012:role/*\u001b[2J"}"#,
    );
    assert!(hostile.contains("may not perform"), "{hostile:?}");
    assert!(!hostile.chars().any(|c| c.is_control() && c != '\n'), "{hostile:?}");
    assert!(!hostile.contains("below") && !hostile.contains("Statement"), "{hostile}");

    let told = said(
        r#"{"Message":"User: arn:aws:iam::111122223333:user/ann is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:us-west-2:********3333:abc123/prod/GET/orders"}"#,
    );
    let (steps, policy) = told.split_once("The policy:\n").unwrap_or_else(|| panic!("{told}"));
    assert!(steps.contains("Attach the policy below"), "{told}");
    let policy: Value = serde_json::from_str(policy).unwrap();
    assert_eq!(
        policy["Statement"][0]["Resource"],
        "arn:aws:execute-api:us-west-2:111122223333:abc123/prod/GET/orders"
    );
}

#[test]
fn the_callers_token_is_not_asked_for() {
    let top = "guard.token = { env = \"CALLERS_TOKEN\" }";
    let (origin, launch) =
        Setup::new().top(top).variable("CALLERS_TOKEN", &"token-of-callers-".repeat(4)).prepare(ok);
    let ended = launch.instead("request", &["GET", "/"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "ok\n"), "{ended:?}");
    assert_signed(&origin.next());
}
