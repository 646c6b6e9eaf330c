//! What the inspector shows and does, over its JSON API: the list as it grows, one exchange opened, the state, requests sent
//! again and sent changed, commands for a shell, archives; and that no secret is in any of its answers.

use std::{
    fs,
    io::{self, Write as _},
    process::Stdio,
    time::SystemTime,
};

use countersign::demo::{
    canonical::Received,
    verify::{Account, Verifier},
};
use serde_json::{Value, json};

use crate::support::{
    client::{Answer, Ask, Client, Via},
    inspector::Inspector,
    leaks::Leaks,
    origin::{Origin, Reply, Request, Then, answer},
    python,
    scene::{ACCESS_KEY, API_KEY, SECRET, Scene, Setup, TOKEN, assert_signed, ok},
    sts::sts,
};

const TOP: &str = "admin = \"127.0.0.1:0\"\ninspector.bodies = true";

fn setup() -> Setup {
    Setup::new().top(TOP)
}

/// A scene and an inspector that is open.
fn open(setup: Setup) -> (Scene, Inspector) {
    let scene = setup.start_ok();
    let inspector = Inspector::open(&scene.proxy);
    (scene, inspector)
}

/// The exchange of this target, once it is there.
fn wait_for(inspector: &Inspector, is_it: impl Fn(&Value) -> bool) -> Value {
    let mut events = inspector.follow(Some(0));
    loop {
        let event = events.next_of("exchange");
        if is_it(&event.data) {
            return event.data;
        }
    }
}

fn detail(inspector: &Inspector, summary: &Value) -> Value {
    inspector.get(&format!("/api/exchanges/{}", summary["id"].as_str().unwrap()))
}

/// What an id that was promised becomes.
fn ended(inspector: &Inspector, accepted: &Answer) -> Value {
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let id = accepted.json()["id"].clone();
    wait_for(inspector, |summary| summary["id"] == id)
}

fn code(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.head.one("x-countersign-error"))
}

#[test]
fn exchanges_arrive_as_they_end_and_a_stream_goes_on_where_it_was() {
    let (scene, inspector) = open(setup());
    let mut live = inspector.follow(None);
    let state = live.next();
    assert_eq!((state.name.as_str(), &state.data["draining"]), ("state", &json!(false)));
    for via in Via::ALL {
        for number in 0..3 {
            assert_eq!(scene.ask(via, &Ask::new("GET", &format!("/{number}?via={via:?}"))).status, 200);
            let event = live.next_of("exchange");
            assert_eq!(event.data["target"], format!("/{number}?via={via:?}"));
            assert_eq!(event.id, event.data["sequence"].as_u64());
            assert_eq!(event.data["status"], 200);
        }
    }
    // One that comes back has the rest, and nothing twice.
    let mut resumed = inspector.follow(Some(4));
    let ids: Vec<_> = (0..2).map(|_| resumed.next_of("exchange").id).collect();
    assert_eq!(ids, [Some(5), Some(6)]);
    // And so has one that comes anew and says where it begins.
    let mut client = Client::connect(inspector.address).unwrap();
    client.send(&inspector.asking("GET", "/api/events?after=5").bytes()).unwrap();
    assert_eq!(client.head("GET").unwrap().0, 200);
    let mut text = String::new();
    while !text.contains("event: exchange") {
        text.push_str(std::str::from_utf8(&client.piece().unwrap().unwrap()).unwrap());
    }
    assert!(text.contains("id: 6\n") && !text.contains("id: 5\n"), "{text}");
    // What is cleared is gone, and everybody is told.
    let cleared = inspector.ask(&inspector.asking("DELETE", "/api/exchanges"));
    assert_eq!(cleared.status, 200);
    for stream in [&mut live, &mut resumed] {
        stream.next_of("cleared");
    }
    assert_eq!(inspector.exchanges(""), Vec::<Value>::new());
    scene.ask(Via::Http1, &Ask::new("GET", "/after"));
    for stream in [&mut live, &mut resumed] {
        let event = stream.next_of("exchange");
        assert_eq!((event.id, &event.data["target"]), (Some(7), &json!("/after")));
    }
    // One that has seen nothing yet begins with what is there.
    assert_eq!(inspector.follow(None).next_of("exchange").id, Some(7));
}

#[test]
fn a_reader_that_lags_is_told_what_it_missed() {
    let (scene, inspector) = open(Setup::new().top(
        "admin = \"127.0.0.1:0\"\ninspector = { bodies = true, max_body = \"8KiB\", buffer = \"64KiB\" }",
    ));
    let body = "x".repeat(8000);
    let total = 40;
    for number in 0..total {
        scene.ask(Via::Http1, &Ask::new("POST", &format!("/{number}")).body(body.as_str()));
    }
    let list = inspector.get("/api/exchanges");
    let held = list["exchanges"].as_array().unwrap().len() as u64;
    assert!(held > 0 && held < total, "{held}");
    assert_eq!((&list["last"], &list["dropped"]), (&json!(total), &json!(total - held)));
    let mut resumed = inspector.follow(Some(1));
    assert_eq!(resumed.next_of("dropped").data, json!({ "dropped": total - held - 1 }));
    assert_eq!(resumed.next_of("exchange").id, Some(total - held + 1));
}

#[test]
fn the_list_is_filtered_and_read_in_pages() {
    let scene = setup()
        .stage("deny = [\"* /no\"]\n[[stage]]\nname = \"two\"\nmount = \"/two\"\nurl = \"https://abc123.execute-api.us-west-2.amazonaws.com/two\"\n{dial}")
        .start(|request, reply| {
            let status = if request.target().ends_with(b"missing") { "404 Not Found" } else { "200 OK" };
            reply.send(answer(status, &[("content-type", "text/plain")], "an Answer's text"))?;
            Ok(Then::Keep)
        });
    let inspector = Inspector::open(&scene.proxy);
    for (method, target) in [
        ("GET", "/a"),
        ("POST", "/b"),
        ("GET", "/missing"),
        ("GET", "/no"),
        ("GET", "/two/a"),
        ("PUT", "/two/c"),
    ] {
        let ask = Ask::new(method, target).header("x-own", "A Header's text");
        scene.ask(Via::Http1, &if method == "GET" { ask } else { ask.body("a Request's text") });
    }
    wait_for(&inspector, |summary| summary["target"] == "/two/c");
    for (query, targets) in [
        ("", &["/a", "/b", "/missing", "/no", "/two/a", "/two/c"][..]),
        ("?after=4", &["/two/a", "/two/c"]),
        ("?limit=2", &["/a", "/b"]),
        ("?after=1&limit=2", &["/b", "/missing"]),
        ("?after=99", &[]),
        ("?method=GET", &["/a", "/missing", "/no", "/two/a"]),
        ("?method=put", &["/two/c"]),
        ("?stage=two", &["/two/a", "/two/c"]),
        ("?stage=two&method=GET", &["/two/a"]),
        ("?status=404", &["/missing"]),
        ("?status=4xx", &["/missing", "/no"]),
        ("?status=refused", &["/no"]),
        ("?status=5xx", &[]),
        ("?text=request%27s+TEXT", &["/b", "/two/c"]),
        ("?text=answer%27s", &["/a", "/b", "/missing", "/two/a", "/two/c"]),
        ("?text=missing", &["/missing"]),
        ("?text=a+header%27s", &["/a", "/b", "/missing", "/no", "/two/a", "/two/c"]),
        ("?text=nowhere", &[]),
        ("?text=request%27s&status=404", &[]),
    ] {
        let found = inspector.exchanges(query);
        let found: Vec<_> = found.iter().map(|summary| summary["target"].as_str().unwrap()).collect();
        assert_eq!(found, targets, "{query}");
    }
    let page = inspector.get("/api/exchanges?limit=2");
    assert_eq!((&page["last"], &page["more"]), (&json!(2), &json!(true)));
    let rest = inspector.get("/api/exchanges?after=2&limit=4");
    assert_eq!((&rest["last"], &rest["more"]), (&json!(6), &json!(false)));
    for wrong in ["?status=all", "?after=x", "?limit=-1"] {
        let refused = inspector.ask(&inspector.asking("GET", &format!("/api/exchanges{wrong}")));
        assert_eq!(code(&refused), (400, Some("bad-request")), "{wrong}");
    }
}

#[test]
fn an_exchange_opened_shows_both_sides_and_what_was_signed() {
    let (scene, inspector) = open(setup().api_key().session());
    let ask = Ask::new("POST", "/a?b=1").header("x-own", "seen").header("content-type", "application/json");
    scene.sent(Via::Http1, &ask.body("{\"c\":1}"));
    let summary = wait_for(&inspector, |summary| summary["target"] == "/a?b=1");
    assert_eq!((&summary["stage"], &summary["auth"]), (&json!("abc123"), &json!("iam+api-key")));
    assert_eq!((&summary["origin"], &summary["imported"]), (&json!("stage"), &json!(false)));
    let detail = detail(&inspector, &summary);
    assert_eq!(detail["summary"], summary);
    assert_eq!(detail["received"]["body"]["text"], "{\"c\":1}");
    assert_eq!(detail["answer"]["body"]["text"], "ok");
    let field = |side: &str, name: &str| {
        let fields = detail[side]["headers"].as_array().unwrap();
        fields.iter().find(|field| field["name"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(field("received", "x-own")["value"], "seen");
    for (name, change) in
        [("x-api-key", "added"), ("authorization", "added"), ("x-amz-date", "added"), ("host", "replaced")]
    {
        assert_eq!(field("sent", name)["change"], change, "{name}");
    }
    assert_eq!(field("sent", "x-api-key")["hidden"], true);
    let signing = &detail["sent"]["signing"];
    assert_eq!(signing["canonical_request"][0]["text"], "POST");
    assert_eq!(signing["scope"]["region"], "us-west-2");
    assert!(signing["signature"].as_str().unwrap().ends_with('…'));
    let gone = inspector.ask(&inspector.asking("GET", "/api/exchanges/0000000000000000"));
    assert_eq!(code(&gone), (404, Some("not-found")));
}

#[test]
fn the_state_tells_what_the_proxy_lives_on() {
    let route = "[[stage.route]]\npath = \"/open\"\nauth = \"none\"";
    let (scene, inspector) = open(setup().api_key().stage_more(route));
    scene.proxy.process().find(|line| line.contains("credentials are ready").then_some(()));
    let state = inspector.get("/api/state");
    assert_eq!(state["bodies"], true);
    assert_eq!(state["listen"], json!([format!("http://{}", scene.proxy.address())]));
    let stage = &state["stages"][0];
    assert_eq!(
        (&stage["name"], &stage["mount"], &stage["region"]),
        (&json!("abc123"), &json!("/"), &json!("us-west-2"))
    );
    assert_eq!(
        stage["auth"],
        json!([
            { "path": "/open", "methods": [], "auth": "none" },
            { "path": "/*", "methods": [], "auth": "iam+api-key" },
        ])
    );
    assert_eq!(
        stage["api_key"],
        json!({ "source": "the configuration file", "present": true, "problem": null })
    );
    let credentials = &stage["credentials"];
    assert_eq!((&credentials["access_key"], &credentials["problem"]), (&json!("…MPLE"), &json!(null)));
    assert_eq!((&credentials["login"], &credentials["expires"]), (&json!(false), &json!(null)));
    assert_eq!(credentials["history"][0]["outcome"], "fetched");
    assert_eq!(stage["clock_offset_seconds"], 0);

    let none = open(setup().without_keys());
    none.0.proxy.process().find(|line| line.contains("no usable credentials").then_some(()));
    let credentials = none.1.get("/api/state")["stages"][0]["credentials"].clone();
    assert!(credentials["problem"]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{credentials}");
    assert_eq!(credentials["history"][0]["outcome"], "failed");
}

#[test]
fn a_change_of_state_is_an_event() {
    let (scene, inspector) = open(setup().stage("api_key.file = \"key.txt\""));
    let mut events = inspector.follow(None);
    assert_eq!(events.next_of("state").data["stages"][0]["api_key"]["present"], false);
    scene.proxy.home().write("key.txt", API_KEY);
    let mut state = events.next_of("state").data;
    while state["stages"][0]["api_key"]["present"] == false {
        state = events.next_of("state").data;
    }
    assert_eq!(state["stages"][0]["api_key"]["problem"], json!(null));
}

#[test]
fn a_login_is_begun_once_by_hand() {
    let script = "echo login >> logins; while ! test -e go; do sleep 0.05; done";
    let stage = format!("name = \"orders\"\nlogin_command = [\"sh\", \"-c\", \"{script}\"]");
    let (scene, inspector) = open(setup().stage(&stage));
    scene.proxy.process().find(|line| line.contains("credentials are ready").then_some(()));
    assert_eq!(inspector.get("/api/state")["stages"][0]["credentials"]["login"], true);
    let login = |stage: &str| inspector.post("/api/login", &json!({ "stage": stage }));
    assert_eq!(code(&login("nothing")), (404, Some("not-found")));
    assert_eq!(login("orders").status, 202);
    let begun = |scene: &Scene| {
        scene.proxy.process().find(|line| line.contains("a login was asked for").then_some(()))
    };
    assert!(begun(&scene).is_some());
    assert_eq!(code(&login("orders")), (409, Some("login-under-way")));
    scene.proxy.home().write("go", "");
    scene.proxy.process().find(|line| line.contains("the login command has ended").then_some(()));
    // Once it has been noticed, another may be begun.
    while login("orders").status != 202 {
        std::thread::yield_now();
    }
    let logins =
        || fs::read_to_string(scene.proxy.home().path().join("logins")).unwrap_or_default().lines().count();
    while logins() < 2 {
        std::thread::yield_now();
    }
    let (_none, inspector) = open(setup());
    let answer = inspector.post("/api/login", &json!({ "stage": "abc123" }));
    assert_eq!(code(&answer), (409, Some("no-login-command")));
}

#[test]
fn a_request_is_sent_again_as_it_came_with_its_secrets() {
    let (scene, inspector) = open(setup());
    let ask =
        Ask::new("GET", "/a?b=%2F").header("cookie", "session=their-secret-cookie").header("x-own", "c");
    scene.sent(Via::Http1, &ask);
    let first = wait_for(&inspector, |summary| summary["target"] == "/a?b=%2F");
    let id = first["id"].as_str().unwrap();
    let again = ended(&inspector, &inspector.post(&format!("/api/exchanges/{id}/replay"), &json!({})));
    assert_eq!((&again["replay_of"], &again["status"]), (&first["id"], &json!(200)));
    let request = scene.origin.next();
    assert_signed(&request);
    assert_eq!(request.target(), b"/prod/a?b=%2F");
    assert_eq!(request.head.one("cookie"), Some("session=their-secret-cookie"));
    assert_eq!(request.head.one("x-own"), Some("c"));
    // A repetition can be repeated.
    let id = again["id"].as_str().unwrap();
    ended(&inspector, &inspector.post(&format!("/api/exchanges/{id}/replay"), &json!({})));
    scene.origin.next();
    let gone = inspector.post("/api/exchanges/0000000000000000/replay", &json!({}));
    assert_eq!(code(&gone), (404, Some("not-found")));
}

#[test]
fn what_may_act_is_asked_about_first() {
    let (scene, inspector) = open(setup());
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        scene.sent(Via::Http1, &Ask::new(method, &format!("/{method}")).body("x"));
        let first = wait_for(&inspector, |summary| summary["method"] == method);
        let replay = format!("/api/exchanges/{}/replay", first["id"].as_str().unwrap());
        for body in [json!({}), json!({ "confirmed": false })] {
            let refused = inspector.post(&replay, &body);
            assert_eq!(code(&refused), (409, Some("confirm")), "{method}");
            assert_eq!(refused.json()["needs"], "confirmed");
        }
        assert_eq!(
            code(&inspector.post(&replay, &json!({ "confirmed": "yes" }))),
            (400, Some("bad-request"))
        );
        let send = json!({ "method": method, "target": "/b", "headers": [] });
        assert_eq!(code(&inspector.post("/api/send", &send)), (409, Some("confirm")));
        assert_eq!(scene.origin.take().len(), 0, "nothing was sent");
        ended(&inspector, &inspector.post(&replay, &json!({ "confirmed": true })));
        let request = scene.origin.next();
        assert_eq!((request.method(), &request.body[..]), (method, &b"x"[..]));
        assert_signed(&request);
    }
}

#[test]
fn what_was_not_kept_is_not_sent_again() {
    let scene = Setup::new().top("admin = \"127.0.0.1:0\"").start_ok();
    let inspector = Inspector::open(&scene.proxy);
    scene.sent(Via::Http1, &Ask::new("POST", "/a").body("x"));
    let first = wait_for(&inspector, |_| true);
    let replay = format!("/api/exchanges/{}/replay", first["id"].as_str().unwrap());
    let refused = inspector.post(&replay, &json!({ "confirmed": true }));
    assert_eq!(code(&refused), (409, Some("body-not-kept")));
    assert!(refused.json()["hint"].as_str().unwrap().contains("inspector.bodies"));
    assert_eq!(scene.origin.take().len(), 0);
}

#[test]
fn guard_and_rules_hold_for_what_the_inspector_sends() {
    const CALLERS: &str = "caller-token-0123456789";
    let top = format!("{TOP}\nguard.token.value = \"{CALLERS}\"");
    let (scene, inspector) = open(setup().top(&top).stage("read_only = true"));
    let send = |method: &str, target: &str, headers: Value| {
        let body = json!({ "method": method, "target": target, "headers": headers, "confirmed": true });
        ended(&inspector, &inspector.post("/api/send", &body))
    };
    // The callers' token is put in: the person who has the inspector's need not know it.
    assert_eq!(send("GET", "/a", json!([]))["status"], 200);
    let request = scene.origin.next();
    assert_eq!(request.head.one("x-countersign-token"), None);
    assert_signed(&request);
    for (method, target, headers, refusal) in [
        ("POST", "/a", json!([]), "not-lent"),
        ("GET", "/a/../b", json!([]), "dot-segment"),
        ("GET", "/a", json!([["host", "evil.example"]]), "host-not-allowed"),
        ("GET", "/a", json!([["Origin", "http://evil.example"]]), "origin-not-allowed"),
        ("GET", "/a", json!([["sec-fetch-site", "cross-site"]]), "origin-not-allowed"),
        ("GET", "/a", json!([["x-http-method-override", "DELETE"]]), "method-override"),
        ("TRACE", "/a", json!([]), "method-not-allowed"),
        ("GET", "/a?b=%FF", json!([]), "query-not-utf8"),
    ] {
        assert_eq!(send(method, target, headers)["refusal"], refusal, "{method} {target}");
        assert_eq!(scene.origin.take().len(), 0);
    }
    // A refused request is refused again.
    let refused = scene.ask(Via::Http1, &Ask::new("GET", "/c"));
    assert_eq!(code(&refused), (401, Some("token-missing")));
    let first = wait_for(&inspector, |summary| summary["target"] == "/c");
    let replay = format!("/api/exchanges/{}/replay", first["id"].as_str().unwrap());
    // But for the token, which is the inspector's to give.
    assert_eq!(ended(&inspector, &inspector.post(&replay, &json!({})))["status"], 200);
}

#[test]
fn what_is_no_request_is_refused_before_it_is_sent() {
    let (scene, inspector) = open(Setup::new().top(&format!("health_path = \"/up\"\n{TOP}")));
    for body in [
        json!({}),
        // Of what is no exchange there is nothing to be seen.
        json!({ "method": "GET", "target": "/up?a" }),
        json!({ "method": "GET" }),
        json!({ "method": "G T", "target": "/" }),
        json!({ "method": "GET", "target": "a" }),
        json!({ "method": "GET", "target": "/a b" }),
        json!({ "method": "GET", "target": "/a#b" }),
        json!({ "method": "GET", "target": "/\r\nx: y" }),
        json!({ "method": "GET", "target": "/", "headers": [["a", "b\r\nc: d"]] }),
        json!({ "method": "GET", "target": "/", "headers": [["a b", "c"]] }),
        json!({ "method": "GET", "target": "/", "headers": [["a"]] }),
        json!({ "method": "GET", "target": "/", "body_base64": "!" }),
        json!({ "method": "GET", "target": "/", "body": "a", "body_base64": "YQ==" }),
        json!({ "method": "GET", "target": "/", "more": 1 }),
        json!([]),
    ] {
        assert_eq!(code(&inspector.post("/api/send", &body)), (400, Some("bad-request")), "{body}");
    }
    let unknown = json!({ "method": "GET", "target": "/", "replay_of": "0000000000000000" });
    assert_eq!(code(&inspector.post("/api/send", &unknown)), (404, Some("not-found")));
    assert_eq!(scene.origin.take().len(), 0);
}

#[test]
fn what_is_edited_keeps_the_values_that_were_hidden() {
    let (scene, inspector) = open(setup());
    let ask = Ask::new("POST", "/a?access_token=their-query-secret&c=1")
        .header("cookie", "session=their-secret-cookie")
        .header("x-own", "before")
        .header("content-type", "text/plain");
    scene.sent(Via::Http1, &ask.body("a body"));
    let first = wait_for(&inspector, |_| true);
    let received = detail(&inspector, &first)["received"].clone();
    assert!(!received.to_string().contains("their-"), "{received}");
    let headers: Vec<Value> = received["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| {
            let value = if field["name"] == "x-own" { json!("after") } else { field["value"].clone() };
            json!([field["name"], value])
        })
        .collect();
    let mut edited = json!({
        "method": "POST", "target": received["target"], "headers": headers, "body": received["body"]["text"],
        "replay_of": first["id"], "confirmed": true,
    });
    let sent = ended(&inspector, &inspector.post("/api/send", &edited));
    assert_eq!(sent["replay_of"], first["id"]);
    let request = scene.origin.next();
    assert_signed(&request);
    assert_eq!(request.target(), b"/prod/a?access_token=their-query-secret&c=1");
    assert_eq!(request.head.one("cookie"), Some("session=their-secret-cookie"));
    assert_eq!((request.head.one("x-own"), &request.body[..]), (Some("after"), &b"a body"[..]));
    // Bytes that are no text.
    edited["body"] = Value::Null;
    edited["body_base64"] = json!("/wAB");
    ended(&inspector, &inspector.post("/api/send", &edited));
    assert_eq!(scene.origin.next().body, b"\xff\x00\x01");
}

#[test]
fn it_sends_whatever_way_clients_come() {
    let folder = crate::support::TempDir::new();
    let socket = folder.path().join("socket");
    let unix = format!("listen = \"unix:{}\"\nguard.allowed_uids = [4294967295]\n{TOP}", socket.display());
    for top in [unix, format!("tls = \"self-signed\"\n{TOP}"), format!("workers = 3\n{TOP}")] {
        let (scene, inspector) = open(setup().top(&top));
        let body = json!({ "method": "PUT", "target": "/a", "headers": [["x-own", "b"]], "body": "c", "confirmed": true });
        for _ in 0..3 {
            assert_eq!(ended(&inspector, &inspector.post("/api/send", &body))["status"], 200, "{top}");
            assert_signed(&scene.origin.next());
        }
        assert_eq!(scene.proxy.terminate().code, Some(0), "{top}");
    }
}

/// Runs a command in a shell with this curl, from a folder of its own.
fn shell(command: &str, variables: &[(&str, &str)]) -> String {
    let mut shell = python::tool("sh");
    shell.args(["-c", command]).envs(variables.iter().copied());
    // Nothing of the person's own.
    shell.env("HOME", "/nonexistent").stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Method, target, a header's value and a body, of which a shell, or curl, would make something else.
const BREAKING: [(&str, &str, &str, Option<&str>); 5] = [
    ("GET", "/a?b='c'&d=$(e)&f=[1-2]", "`g` \"h\" $i \\", None),
    ("POST", "/a", "plain", Some("{\"a\": \"it's\"}\n")),
    ("PUT", "/a", "plain", Some("@/etc/passwd")),
    ("PUT", "/%27%3Btouch%20x%0Aid", "\t tab", Some("\u{1b}[0m\0\r\n'; id; '")),
    ("DELETE", "/a", ";", None),
];

#[test]
fn a_copied_command_sends_the_request_and_holds_no_secret() {
    python::prepared();
    let top = format!("{TOP}\nguard.token.value = \"caller-token-0123456789\"");
    let (scene, inspector) = open(setup().top(&top));
    for (method, target, value, body) in BREAKING {
        let mut ask = Ask::new(method, target)
            .header("x-own", value)
            .header("x-countersign-token", "caller-token-0123456789")
            .header("cookie", "session=their-secret-cookie");
        if let Some(body) = body {
            ask = ask.body(body).header("content-type", "text/plain");
        }
        let first = scene.sent(Via::Http1, &ask);
        let last = wait_for(&inspector, |summary| {
            summary["sequence"].as_u64() == inspector.exchanges("").last().unwrap()["sequence"].as_u64()
        });
        let copied = inspector.get(&format!("/api/exchanges/{}/curl", last["id"].as_str().unwrap()));
        let command = copied["command"].as_str().unwrap();
        assert!(!command.contains("their-") && !command.contains("caller-token"), "{command}");
        assert!(copied["notes"].to_string().contains("cookie"), "{copied}");
        assert_eq!(shell(command, &[("COUNTERSIGN_TOKEN", "caller-token-0123456789")]), "ok");
        let second = scene.origin.next();
        assert_eq!(
            (second.method(), second.target(), &second.body),
            (first.method(), first.target(), &first.body),
            "{command}"
        );
        assert_eq!(second.head.all("x-own"), first.head.all("x-own"), "{command}");
        assert_eq!(second.head.one("content-type"), first.head.one("content-type"), "{command}");
        wait_for(&inspector, |summary| summary["sequence"].as_u64() > last["sequence"].as_u64());
    }
}

#[test]
fn a_signed_command_works_past_the_proxy_and_nothing_was_sent_for_it() {
    python::prepared();
    let (scene, inspector) = open(setup().api_key().session().stage_more("deny = [\"* /no\"]"));
    let ask = Ask::new("POST", "/a?b='c'").header("x-own", "it's").header("content-type", "text/plain");
    scene.sent(Via::Http1, &ask.body("d"));
    let first = wait_for(&inspector, |_| true);
    let path = format!("/api/exchanges/{}/signed-curl", first["id"].as_str().unwrap());
    assert_eq!(code(&inspector.post(&path, &json!({}))), (409, Some("confirm")));
    let answer = inspector.post(&path, &json!({ "confirmed": true }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("do not share"), "{}", answer.text());
    assert_eq!(scene.origin.take().len(), 0, "it was only signed");
    assert_eq!(inspector.exchanges("").len(), 1, "and is not shown as if it had been");
    let copied = answer.json();
    assert_eq!(shell(copied["command"].as_str().unwrap(), &[]), "ok");
    let request = scene.origin.next();
    assert_signed(&request);
    assert_eq!(
        (request.method(), request.target(), &request.body[..]),
        ("POST", &b"/prod/a?b=%27c%27"[..], &b"d"[..])
    );
    assert_eq!((request.head.one("x-api-key"), request.head.one("x-own")), (Some(API_KEY), Some("it's")));
    // What the proxy would not send it does not sign.
    scene.refused(Via::Http1, &Ask::new("GET", "/no"), 403, "not-lent");
    let refused = wait_for(&inspector, |summary| summary["refusal"] == "not-lent");
    let path = format!("/api/exchanges/{}/signed-curl", refused["id"].as_str().unwrap());
    let answer = inspector.post(&path, &json!({ "confirmed": true }));
    assert_eq!(code(&answer), (409, Some("not-signed")));
    assert!(answer.text().contains("stage.deny"), "{}", answer.text());
}

#[test]
fn nothing_breaks_out_of_a_signed_command() {
    python::prepared();
    let (scene, inspector) = open(setup().api_key().session());
    for (method, target, value, body) in BREAKING {
        let ask = Ask::new(method, target).header("x-own", value);
        let first = scene.sent(Via::Http1, &body.into_iter().fold(ask, Ask::body));
        let id = first.head.one("x-request-id").unwrap();
        wait_for(&inspector, |summary| summary["id"] == id);
        let path = format!("/api/exchanges/{id}/signed-curl");
        let copied = inspector.post(&path, &json!({ "confirmed": true })).json();
        let command = copied["command"].as_str().unwrap();
        assert_eq!(shell(command, &[]), "ok", "{command}");
        let second = scene.origin.next();
        assert_signed(&second);
        assert_eq!(
            (second.method(), second.target(), &second.body, second.head.all("x-own")),
            (first.method(), first.target(), &first.body, first.head.all("x-own")),
            "{command}"
        );
    }
}

/// Python's reader of archives: what it found.
fn read_archive(text: &[u8]) -> Vec<Value> {
    let mut child =
        python::script("read_har.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn an_archive_is_valid_and_comes_back_marked() {
    let scene = setup().api_key().session().stage_more("deny = [\"* /no\"]").start(|_, reply| {
        reply.send(answer(
            "200 OK",
            &[("content-type", "text/plain"), ("set-cookie", "a=their-set-cookie")],
            "seen",
        ))?;
        Ok(Then::Keep)
    });
    let inspector = Inspector::open(&scene.proxy);
    let ask = Ask::new("POST", "/a?b=1&access_token=their-query-secret")
        .header("cookie", "a=their-cookie")
        .header("authorization", "Bearer their-authorization")
        .header("content-type", "text/plain");
    scene.ask(Via::Http1, &ask.body("sent"));
    scene.ask(Via::H2c, &Ask::new("PUT", "/binary").body(b"\xff\xfe".to_vec()));
    scene.ask(Via::Http1, &Ask::new("GET", "/no"));
    wait_for(&inspector, |summary| summary["target"] == "/no");
    let archive = inspector.ask(&inspector.asking("GET", "/api/har"));
    assert!(archive.head.one("content-disposition").is_some_and(|value| value.contains("countersign.har")));
    let text = archive.text().to_owned();
    assert!(!text.contains("their-"), "{text}");
    Leaks::of([SECRET, TOKEN, API_KEY]).assert_none("the archive", text.as_bytes());
    let found = read_archive(text.as_bytes());
    let seen: Vec<_> = found
        .iter()
        .map(|entry| (entry["method"].as_str().unwrap(), entry["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(seen, [("POST", 200), ("PUT", 200), ("GET", 403)]);
    assert_eq!(found[0]["text"], "seen");
    assert!(found[2]["text"].as_str().unwrap().contains("not-lent"));
    let filtered = inspector.ask(&inspector.asking("GET", "/api/har?method=PUT"));
    assert_eq!(read_archive(&filtered.body).len(), 1);

    // Into another one.
    let (other, elsewhere) = open(setup());
    let import = elsewhere.ask(&elsewhere.asking("POST", "/api/har").body(text));
    assert_eq!((import.status, import.json()), (201, json!({ "imported": 3 })));
    let list = elsewhere.exchanges("");
    assert!(list.iter().all(|summary| summary["imported"] == true), "{list:?}");
    let first = detail(&elsewhere, &list[0]);
    assert_eq!(
        (&first["received"]["body"]["text"], &first["answer"]["body"]["text"]),
        (&json!("sent"), &json!("seen"))
    );
    assert_eq!(first["summary"]["began"], inspector.exchanges("")[0]["began"]);
    let replay = format!("/api/exchanges/{}/replay", list[0]["id"].as_str().unwrap());
    assert_eq!(code(&elsewhere.post(&replay, &json!({ "confirmed": true }))), (409, Some("imported")));
    assert_eq!(other.origin.take().len(), 0);
    // An archive of an archive.
    let again = elsewhere.ask(&elsewhere.asking("GET", "/api/har"));
    assert_eq!(read_archive(&again.body).len(), 3);
    for wrong in ["", "{}", "[]", "{\"log\":{}}", "{\"log\":{\"entries\":[{}]}}"] {
        let refused = elsewhere.ask(&elsewhere.asking("POST", "/api/har").body(wrong));
        assert_eq!(code(&refused), (400, Some("bad-request")), "{wrong}");
    }
}

/// A stage that repeats all that it got.
fn echo(request: &Request, reply: &mut Reply<'_>) -> io::Result<Then> {
    let raw = String::from_utf8_lossy(&request.head.raw).into_owned();
    let status = if request.target().ends_with(b"wrong") { "403 Forbidden" } else { "200 OK" };
    let token = request.head.one("x-amz-security-token").unwrap_or_default().to_owned();
    reply.send(answer(status, &[("content-type", "text/plain"), ("x-echo", &token)], raw))?;
    Ok(Then::Keep)
}

#[test]
fn no_secret_is_in_any_answer_of_the_inspector() {
    const CALLERS: &str = "caller-token-canary-0123456789";
    const THEIRS: [(&str, &str); 4] = [
        ("authorization", "Bearer Ra36canary8lKx3tHvB7jNyFw0cQsMg5pZ"),
        ("cookie", "session=Nx78canaryAjMv5sKrZ9gLwHu2eTpQd7rX"),
        ("x-api-key", "Pz57canary9kLw4uJtA8hMxGv1dRqNf6sY"),
        ("proxy-authorization", "Basic Ku41canaryDfQs8pNoW2dHtLr5jQmNa0oU"),
    ];
    let top = format!("{TOP}\nguard.token.value = \"{CALLERS}\"");
    let scene = setup().top(&top).api_key().session().start(echo);
    let inspector = Inspector::open(&scene.proxy);
    let token = inspector.cookie.split('=').nth(1).unwrap().to_owned();
    let theirs = THEIRS.map(|(_, value)| value.rsplit([' ', '=']).next().unwrap());
    let leaks = Leaks::of([SECRET, TOKEN, API_KEY, CALLERS, &token].into_iter().chain(theirs));
    for via in Via::ALL {
        for target in ["/right", "/wrong", "/../no"] {
            let mut ask = Ask::new("POST", target)
                .header("x-countersign-token", CALLERS)
                .body(format!("key {API_KEY}"));
            for (name, value) in THEIRS {
                ask = ask.header(name, value);
            }
            scene.ask(via, &ask);
        }
    }
    let mut events = inspector.follow(None);
    let mut heard = String::new();
    loop {
        let event = events.next();
        heard.push_str(&event.data.to_string());
        if event.id == Some(6) {
            break;
        }
    }
    leaks.assert_none("the events", heard.as_bytes());
    let list = inspector.exchanges("");
    assert_eq!(list.len(), 6);
    let mut targets: Vec<String> = [
        "/",
        "/api/exchanges",
        "/api/state",
        "/api/har",
        "/api/none",
        "/api/exchanges?text=canary",
        "/metrics",
        "/readyz",
    ]
    .map(str::to_owned)
    .to_vec();
    for summary in &list {
        let id = summary["id"].as_str().unwrap();
        targets.extend([format!("/api/exchanges/{id}"), format!("/api/exchanges/{id}/curl")]);
    }
    for target in &targets {
        let answer = inspector.ask(&inspector.asking("GET", target));
        leaks.assert_none(target, &[&answer.head.raw[..], &answer.body].concat());
    }
    // What is found says as much as what is shown.
    for secret in [SECRET, TOKEN, API_KEY, CALLERS].into_iter().chain(theirs) {
        let mut text = String::new();
        countersign::demo::encoding::percent_encode_into(&mut text, secret.as_bytes());
        assert_eq!(inspector.exchanges(&format!("?text={text}")), Vec::<Value>::new(), "{secret}");
    }
    let shown = detail(&inspector, &list[0]).to_string();
    assert!(shown.contains("••••"), "{shown}");
    // Replays, with all their secrets, tell no more.
    let id = list[1]["id"].as_str().unwrap();
    let replayed = inspector.post(&format!("/api/exchanges/{id}/replay"), &json!({ "confirmed": true }));
    leaks.assert_none("the replay", &replayed.body);
    let again = ended(&inspector, &replayed);
    leaks.assert_none("what was replayed", detail(&inspector, &again).to_string().as_bytes());
    let ended = scene.proxy.terminate();
    leaks.assert_none("standard error", ended.err.as_bytes());
}

/// A gateway whose account has another secret: it says what it expected, every value in clear.
fn mismatching(request: &Request, reply: &mut Reply<'_>) -> io::Result<Then> {
    if request.target().ends_with(b"/unknown") {
        let kind = ("x-amzn-ErrorType", "MissingAuthenticationTokenException");
        let body = "{\"message\":\"Missing Authentication Token\"}";
        reply.send(answer("403 Forbidden", &[kind, ("x-amzn-RequestId", "a")], body))?;
        return Ok(Then::Keep);
    }
    let account = Account {
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: "another".to_owned(),
        session_token: Some(TOKEN.to_owned()),
        expires: None,
    };
    let accounts = vec![account];
    let verifier = Verifier { region: "us-west-2".to_owned(), service: "execute-api".to_owned(), accounts };
    let received = Received {
        method: request.method(),
        target: request.target(),
        headers: &request.head.fields,
        body: &request.body,
    };
    let refusal = verifier.verify(&received, SystemTime::now()).expect_err("the secret is another");
    let kind = refusal.error_type().expect("a signature's refusal has a type");
    let fields = [("x-amzn-ErrorType", kind), ("content-type", refusal.content_type())];
    reply.send(answer("403 Forbidden", &fields, refusal.body()))?;
    Ok(Then::Keep)
}

#[test]
fn the_inspectors_cookie_reaches_no_stage() {
    let (scene, inspector) = open(setup());
    for (sent, left) in [
        (inspector.cookie.clone(), None),
        (format!("a=b; {}; c=d", inspector.cookie), Some("a=b; c=d")),
        (format!("{};c=d", inspector.cookie), Some("c=d")),
        ("a=b; my-countersign-inspector-1=c".to_owned(), Some("a=b; my-countersign-inspector-1=c")),
    ] {
        for via in Via::ALL {
            let request = scene.sent(via, &Ask::new("GET", "/a").header("cookie", &sent));
            assert_eq!(request.head.one("cookie"), left, "{sent}");
        }
    }
}

#[test]
fn a_refusal_of_the_gateway_is_explained_without_a_secret() {
    let scene = Setup::new().top("admin = \"127.0.0.1:0\"").api_key().session().start(mismatching);
    let inspector = Inspector::open(&scene.proxy);
    scene.ask(Via::Http1, &Ask::new("GET", "/unknown"));
    scene.ask(Via::Http1, &Ask::new("GET", "/a"));
    for (target, rule) in [("/unknown", "unknown-route"), ("/a", "signature-mismatch")] {
        let summary = wait_for(&inspector, |summary| summary["target"] == target);
        let shown = detail(&inspector, &summary);
        let diagnosis = &shown["diagnosis"];
        assert_eq!(diagnosis["rule"], rule, "{shown}");
        assert_eq!((&summary["diagnosis"], &shown["summary"]), (&diagnosis["title"], &summary));
        assert!(!diagnosis["steps"].as_array().unwrap().is_empty(), "{diagnosis}");
        Leaks::of([SECRET, TOKEN, API_KEY]).assert_none(target, shown.to_string().as_bytes());
    }
    let summary = wait_for(&inspector, |summary| summary["target"] == "/a");
    let diff = detail(&inspector, &summary)["diagnosis"]["diff"].clone();
    // The secret alone is another: what was signed is the same, line by line.
    let kinds: Vec<_> = diff.as_array().unwrap().iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert!(kinds.len() > 8 && kinds.iter().all(|kind| *kind == "same"), "{diff}");
}

const DENIED: &str = "User: arn:aws:iam::********3333:user/ann is not authorized to perform: execute-api:Invoke on resource: \
                      arn:aws:execute-api:us-west-2:********3333:abc123/prod/GET/a with an explicit deny in an \
                      identity-based policy";

/// A gateway that masks every account's id.
fn denying(_: &Request, reply: &mut Reply<'_>) -> io::Result<Then> {
    let kind = [("x-amzn-errortype", "AccessDeniedException")];
    reply.send(answer("403 Forbidden", &kind, json!({ "Message": DENIED }).to_string()))?;
    Ok(Then::Keep)
}

/// A denial, and the policy of its diagnosis.
fn denied(inspector: &Inspector) -> (Value, String) {
    let summary = wait_for(inspector, |summary| summary["target"] == "/a");
    let diagnosis = detail(inspector, &summary)["diagnosis"].clone();
    let resource = diagnosis["policy"]["Statement"][0]["Resource"].as_str().unwrap().to_owned();
    (diagnosis, resource)
}

#[test]
fn sts_is_asked_once_who_was_denied_when_somebody_wants_to_know() {
    let sts = sts("arn:aws:iam::111122223333:user/ann");
    let endpoint = format!("http://{}", sts.address());
    let scene = setup().session().variable("AWS_ENDPOINT_URL_STS", &endpoint).start(denying);
    let inspector = Inspector::open(&scene.proxy);
    assert_eq!(scene.ask(Via::Http1, &Ask::new("GET", "/a")).status, 403);
    let title = "A policy of the caller denies this";
    assert_eq!(wait_for(&inspector, |_| true)["diagnosis"], title, "the list asks nobody");
    assert_eq!(sts.take().len(), 0);
    for _ in 0..2 {
        let (diagnosis, resource) = denied(&inspector);
        assert_eq!(resource, "arn:aws:execute-api:us-west-2:111122223333:abc123/prod/GET/a");
        assert_eq!(diagnosis["title"], format!("{title} to user/ann"), "{diagnosis}");
    }
    let asked = sts.take();
    assert_eq!(asked.len(), 1, "once for these keys");
    // By the keys that had signed.
    assert_eq!(crate::support::scene::access_key(&asked[0]), ACCESS_KEY);
    assert_eq!(asked[0].head.one("x-amz-security-token"), Some(TOKEN));

    // The panel of stages knows it now.
    let identity = || inspector.get("/api/state")["stages"][0]["credentials"]["identity"].clone();
    assert_eq!(identity(), "arn:aws:iam::111122223333:user/ann");

    // What needs no answer of STS asks for none.
    let plain = setup().variable("AWS_ENDPOINT_URL_STS", &endpoint).start(mismatching);
    let inspector = Inspector::open(&plain.proxy);
    plain.ask(Via::Http1, &Ask::new("GET", "/unknown"));
    let summary = wait_for(&inspector, |_| true);
    assert_eq!(detail(&inspector, &summary)["diagnosis"]["rule"], "unknown-route");
    assert_eq!(sts.take().len(), 0);
}

#[test]
fn whose_the_credentials_are_is_asked_by_hand() {
    let sts = sts("arn:aws:sts::111122223333:assumed-role/orders/me");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let none = "[[stage]]\nname = \"open\"\nmount = \"/open\"\nprofile = \"none\"\n\
                url = \"https://abc123.execute-api.us-west-2.amazonaws.com/prod\"\n{dial}";
    for (address, arn) in
        [(sts.address(), Some("arn:aws:sts::111122223333:assumed-role/orders/me")), (nobody, None)]
    {
        let setup = setup().stage_more(none).variable("AWS_ENDPOINT_URL_STS", &format!("http://{address}"));
        let (scene, inspector) = open(setup);
        scene.proxy.process().find(|line| line.contains("credentials are ready").then_some(()));
        let ask = |stage: &str| inspector.post("/api/identity", &json!({ "stage": stage }));
        let known = || inspector.get("/api/state")["stages"][0]["credentials"]["identity"].clone();
        assert_eq!((known(), sts.take().len()), (Value::Null, 0), "nobody was asked");
        let answer = ask("abc123");
        match arn {
            Some(arn) => assert_eq!((answer.status, answer.json()), (200, json!({ "arn": arn }))),
            None => assert_eq!(code(&answer), (502, Some("identity-unknown"))),
        }
        assert_eq!(known(), arn.map_or(Value::Null, Value::from));
        assert_eq!(ask("abc123").status, answer.status);
        assert_eq!(sts.take().len(), usize::from(arn.is_some()), "once");
        assert_eq!(code(&ask("nothing")), (404, Some("not-found")));
        assert_eq!(code(&ask("open")), (409, Some("no-credentials")));
    }
}

#[test]
fn where_sts_says_nothing_all_else_is_told() {
    // Silent, not there, and one that talks nonsense.
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let silent = Origin::plain(move |_, _| {
        let _end = gone.lock().unwrap().recv();
        Ok(Then::Close)
    });
    let nonsense = sts("arn:aws:iam::*:user/ann");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.address(), nobody, nonsense.address()] {
        let endpoint = format!("http://{address}");
        let scene = setup().session().variable("AWS_ENDPOINT_URL_STS", &endpoint).start(denying);
        let inspector = Inspector::open(&scene.proxy);
        scene.ask(Via::Http1, &Ask::new("GET", "/a"));
        let summary = wait_for(&inspector, |_| true);
        let mut client = Client::connect(inspector.address).unwrap();
        let target = format!("/api/exchanges/{}", summary["id"].as_str().unwrap());
        client.send(&inspector.asking("GET", &target).bytes()).unwrap();
        if address == silent.address() {
            // While it is asked, nobody else waits.
            silent.next();
            assert_eq!(inspector.ask(&Ask::new("GET", "/healthz")).status, 200);
            assert_eq!(scene.ask(Via::Http1, &Ask::new("GET", "/b")).status, 403);
        }
        let told = client.answer("GET").unwrap().json();
        let statement = &told["diagnosis"]["policy"]["Statement"][0];
        assert_eq!(statement["Resource"], "arn:aws:execute-api:us-west-2:********3333:abc123/prod/GET/a");
        assert_eq!(told["diagnosis"]["title"], "A policy of the caller denies this", "{told}");
    }
    drop(go);
}

#[test]
fn large_and_broken_requests_to_the_api_are_refused() {
    let (_scene, inspector) = open(setup());
    let mut client = Client::connect(inspector.address).unwrap();
    let ask = inspector.asking("POST", "/api/har").header("content-length", (40 << 20).to_string());
    client.send(&ask.bytes()).unwrap();
    assert_eq!(client.head("POST").unwrap().0, 413);
    for (method, target) in [
        ("PUT", "/api/exchanges"),
        ("POST", "/api/exchanges/0123456789abcdef"),
        ("DELETE", "/api/state"),
        ("POST", "/api/events"),
        ("DELETE", "/api/har"),
        ("DELETE", "/api/send"),
    ] {
        let answer = inspector.ask(&inspector.asking(method, target));
        assert_eq!(code(&answer), (405, Some("method-not-allowed")), "{method} {target}");
        assert!(answer.head.one("allow").is_some());
    }
    for target in ["/api", "/api/", "/api/exchanges/", "/api/exchanges/a/b", "/api/state/x"] {
        assert_eq!(inspector.ask(&inspector.asking("GET", target)).status, 404, "{target}");
    }
}

#[test]
fn the_page_is_served_to_whoever_has_the_cookie() {
    let (_scene, inspector) = open(setup());
    let page = inspector.ask(&inspector.asking("GET", "/"));
    assert_eq!((page.status, page.head.one("content-type")), (200, Some("text/html; charset=utf-8")));
    // What it names is there, for anybody: it is public.
    let names: Vec<_> =
        page.text().split("/assets/").skip(1).map(|rest| rest.split(['"', '\'']).next().unwrap()).collect();
    for name in names {
        let asset =
            Via::Http1.exchange(inspector.address, &Ask::new("GET", &format!("/assets/{name}"))).unwrap();
        assert_eq!(
            (asset.status, asset.head.one("x-content-type-options")),
            (200, Some("nosniff")),
            "{name}"
        );
    }
    for name in ["", "..", "../mod.rs", "%2e%2e/mod.rs", "index.html/x"] {
        let asset =
            Via::Http1.exchange(inspector.address, &Ask::new("GET", &format!("/assets/{name}"))).unwrap();
        assert_eq!(asset.status, 404, "{name}");
    }
}

#[test]
fn hostile_captures_come_out_as_they_are_and_as_data_alone() {
    let hostile = "</script><script>alert(1)</script>\u{2028}\u{202e}'\"\\";
    let scene = setup().start(ok);
    let inspector = Inspector::open(&scene.proxy);
    let ask = Ask::new("POST", "/%3Cscript%3E").header("x-own", "<img src=x onerror=alert(1)>").body(hostile);
    scene.ask(Via::Http1, &ask);
    let summary = wait_for(&inspector, |_| true);
    let detail = detail(&inspector, &summary);
    assert_eq!(detail["received"]["body"]["text"], hostile);
    let answer = inspector.ask(&inspector.asking("GET", "/api/exchanges"));
    assert_eq!(answer.head.one("content-type"), Some("application/json"));
    // A browser that is led there shows no page.
    assert!(answer.head.one("content-security-policy").unwrap().contains("default-src 'none'"));
}
