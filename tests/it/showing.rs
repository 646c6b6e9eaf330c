//! `--show` and `--log-failed`: a request as it came, as it was sent and signed, and its answer, readable, without a
//! secret, harmless to a terminal, and without changing or holding up what passes. `docs/showing.md` holds what is
//! printed here.

use std::sync::{Mutex, mpsc};

use serde_json::Value;

use crate::support::{
    client::{Ask, Client, Via},
    h2c,
    leaks::Leaks,
    origin::{Then, answer},
    root,
    scene::{ACCESS_KEY, API_KEY, SECRET, Scene, Setup, TOKEN},
};

/// What the client sends that is nobody's business.
const THEIRS: [(&str, &str); 3] = [
    ("authorization", "Bearer Ra36canary8lKx3tHvB7jNyFw0cQsMg5pZ"),
    ("cookie", "session=Nx78canaryAjMv5sKrZ9gLwHu2eTpQd7rX"),
    ("x-amz-security-token", "Mw99canaryBhNu6rLqY0fKvJt3gSoPc8qW"),
];

fn secrets() -> Leaks {
    let theirs = THEIRS.map(|(_, value)| value.rsplit([' ', '=']).next().unwrap());
    Leaks::of([SECRET, TOKEN, API_KEY].into_iter().chain(theirs))
}

fn loaded(method: &str, target: &str) -> Ask {
    THEIRS.iter().fold(Ask::new(method, target), |ask, (name, value)| ask.header(name, value))
}

fn shown(top: &str) -> Setup {
    Setup::new().top(top).api_key().session()
}

/// The blocks in a log of text: what is set in below a heading.
fn blocks(log: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut inside = false;
    for line in log.lines() {
        if line.starts_with("── ") {
            blocks.push(String::new());
            inside = true;
        } else if !line.starts_with(' ') {
            inside = false;
        }
        if inside {
            let block = blocks.last_mut().expect("a heading began it");
            block.push_str(line.trim_end());
            block.push('\n');
        }
    }
    blocks
}

/// The block without what differs from run to run.
fn steady(block: &str) -> String {
    let mut out = String::new();
    for line in block.lines() {
        let (line, rule) = match line.trim_end_matches('─') {
            cut if cut.len() < line.len() && line.starts_with("──") => (cut, "───"),
            _ => (line, ""),
        };
        let mut words = Vec::new();
        let timed = line.trim_start().starts_with("milliseconds");
        for word in line.split(' ') {
            words.push(
                if (timed || line.starts_with("──")) && word.parse::<f64>().is_ok() && word.contains('.')
                {
                    "0.0".to_owned()
                } else {
                    steady_word(word)
                },
            );
        }
        out.push_str(&words.join(" "));
        out.push_str(rule);
        out.push('\n');
    }
    out
}

fn steady_word(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        let hex = run.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let digits = run.bytes().filter(u8::is_ascii_digit).count();
        out.push_str(match run.len() {
            64 if hex => "HASH",
            16 if hex => "ID",
            16 if digits == 14 => "DATE",
            8 if digits == 8 && !after.starts_with('…') => "DAY",
            8 if hex && after.starts_with('…') => "SIGNATURE",
            _ => run,
        });
        let other = after.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(after.len());
        out.push_str(&after[..other]);
        rest = &after[other..];
    }
    out
}

/// What `docs/showing.md` holds under this heading.
fn documented(heading: &str, actual: &str) {
    let file = root().join("docs/showing.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, after) = text.split_once(&format!("## {heading}\n")).expect("the heading is there");
    let (between, rest) = after.split_once("```text\n").expect("an example is there");
    let (example, rest) = rest.split_once("```\n").expect("it ends");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        let text = format!("{before}## {heading}\n{between}```text\n{actual}```\n{rest}");
        return std::fs::write(file, text).unwrap();
    }
    assert_eq!(example, actual, "docs/showing.md is stale: UPDATE_GENERATED=1 tests/run rewrites it");
}

#[test]
fn what_is_printed_is_what_the_docs_show() {
    let scene = shown("log = { format = \"text\", show = true }").stage_more("name = \"orders\"").start(
        |_, reply| {
            let fields = [
                ("content-type", "application/json"),
                ("x-amzn-requestid", "3f2a-1"),
                ("set-cookie", "a=canary-of-the-stage"),
            ];
            reply.send(answer("201 Created", &fields, r#"{"id":7,"items":[{"name":"pen"}]}"#))?;
            Ok(Then::Keep)
        },
    );
    let ask = Ask::new("POST", "/orders?b=2&a=1")
        .header("content-type", "application/json")
        .header("authorization", THEIRS[0].1)
        .header("connection", "keep-alive")
        .header("x-amz-meta-note", "two  spaces")
        .body(r#"{"name":"pen"}"#);
    for via in Via::ALL {
        let ask = if via == Via::Http1 { ask.clone() } else { loaded("POST", "/orders?b=2&a=1").body("x") };
        assert_eq!(scene.ask(via, &ask).status, 201);
    }
    let ended = scene.proxy.terminate();
    let [first, second] = &blocks(&ended.err)[..] else { panic!("{ended:?}") };
    documented("All of a request", &steady(first));
    for part in ["POST /orders?b=2&a=1 HTTP/2.0", "host: localhost", "string to sign"] {
        assert!(second.contains(part), "{part}: {second}");
    }
    assert!(!ended.err.contains('\x1b'), "no colours where nobody watches: {ended:?}");
    secrets().assert_none("--show", ended.err.as_bytes());
    assert!(!ended.err.contains("canary") && !ended.err.contains(ACCESS_KEY), "{ended:?}");
}

#[test]
fn a_failure_is_shown_once_and_a_success_is_not() {
    let scene = shown("log = { format = \"text\", failed = true }").start(|request, reply| {
        let echoed = format!(
            "{{\"message\":\"The request signature we calculated does not match the signature you provided.\\n\
             x-amz-security-token:{}\\nx-api-key:{}\"}}",
            request.head.one("x-amz-security-token").unwrap_or_default(),
            request.head.one("x-api-key").unwrap_or_default(),
        );
        let kind = [("x-amzn-errortype", "InvalidSignatureException"), ("x-amzn-requestid", "3f2a-2")];
        match request.target() {
            b"/prod/wrong?a=1" => reply.send(answer("403 Forbidden", &kind, echoed))?,
            _ => reply.send(answer("200 OK", &[], "ok"))?,
        }
        Ok(Then::Keep)
    });
    for via in Via::ALL {
        assert_eq!(scene.ask(via, &loaded("GET", "/fine")).status, 200);
        assert_eq!(scene.ask(via, &loaded("GET", "/wrong?a=1")).status, 403);
        scene.origin.take();
        scene.refused(via, &loaded("GET", "/a/../b?a=1"), 400, "dot-segment");
    }
    let ended = scene.proxy.terminate();
    let all = blocks(&ended.err);
    let [wrong, refused, again, again_refused] = &all[..] else { panic!("{ended:?}") };
    documented("What failed", &format!("{}{}", steady(wrong), steady(refused)));
    assert_eq!(
        (steady(again), steady(again_refused)),
        (steady(wrong), steady(refused)),
        "over both protocols"
    );
    assert!(!ended.err.contains("a=1"), "a query may hold secrets: {ended:?}");
    secrets().assert_none("--log-failed", ended.err.as_bytes());
}

#[test]
fn as_json_each_is_one_line() {
    for (setting, count) in [("show", 3), ("failed", 2)] {
        let scene =
            shown(&format!("log = {{ format = \"json\", {setting} = true }}")).start(|request, reply| {
                let status = if request.target() == b"/prod/wrong" { "403 Forbidden" } else { "200 OK" };
                let body = [&request.head.raw[..], b"\n\x1b[2J"].concat();
                reply.send(answer(status, &[("x-amzn-errortype", "AccessDeniedException")], body))?;
                Ok(Then::Keep)
            });
        for path in ["/fine", "/wrong", "/a/../b"] {
            scene.ask(Via::Http1, &loaded("PUT", path).body("{\"a\": 1}"));
        }
        let ended = scene.proxy.terminate();
        let lines: Vec<Value> = ended.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let target = format!("countersign::{setting}");
        let lines: Vec<_> = lines.iter().filter(|line| line["target"] == target.as_str()).collect();
        assert_eq!(lines.len(), count, "{ended:?}");
        assert!(lines.iter().all(|line| line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z'))));
        let (wrong, refused) = (lines[count - 2], lines[count - 1]);
        if setting == "show" {
            let exchange = &wrong["exchange"];
            assert_eq!(
                (&exchange["summary"]["status"], &exchange["answer"]["status"]),
                (&403.into(), &403.into())
            );
            assert_eq!(exchange["sent"]["signing"]["scope"]["region"], "us-west-2");
            assert_eq!(exchange["received"]["body"]["text"], "{\"a\": 1}");
            assert_eq!(refused["exchange"]["refusal"]["code"], "dot-segment");
            assert_eq!(refused["exchange"]["sent"], Value::Null);
        } else {
            assert_eq!(
                (&wrong["status"], &wrong["error_type"]),
                (&403.into(), &"AccessDeniedException".into())
            );
            assert_eq!((&wrong["path"], &wrong["level"]), (&"/wrong".into(), &"WARN".into()));
            assert!(wrong["body"].as_str().unwrap().contains("PUT /prod/wrong HTTP/1.1"), "{wrong}");
            assert_eq!((&refused["refused"], &refused["status"]), (&"dot-segment".into(), &400.into()));
            assert!(refused["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{refused}");
        }
        secrets().assert_none(&target, ended.err.as_bytes());
    }
}

#[test]
fn what_is_shown_is_harmless_to_a_terminal() {
    for setting in ["show", "failed"] {
        let scene = shown(&format!("log = {{ format = \"text\", {setting} = true }}")).start(|_, reply| {
            let body = "2026-01-01T00:00:00Z INFO a line of nobody's\r\n── GET /faked ──\n\x1b[2J\u{9b}31m\u{202e}\0end";
            reply.send(answer("400 Bad Request", &[("x-note", "caf\u{e9}\u{202e}")], body))?;
            Ok(Then::Keep)
        });
        for via in Via::ALL {
            scene.ask(via, &Ask::new("GET", "/a").header("x-note", b"\x9b31m\xff"));
        }
        let ended = scene.proxy.terminate();
        let all = blocks(&ended.err);
        assert_eq!(all.len(), 2, "{ended:?}");
        for block in &all {
            assert!(block.contains("a line of nobody's") && block.contains("end"), "{block}");
            assert!(
                block.lines().skip(1).all(|line| line.is_empty() || line.starts_with("  ")),
                "all of it is set in: {block}"
            );
        }
        let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!ended.err.contains(harmful), "{ended:?}");
    }
}

#[test]
fn a_stream_passes_as_it_is_sent() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let scene = shown("log = { format = \"text\", show = true, failed = true }").start(move |_, reply| {
        let gone = gone.lock().unwrap();
        reply.send(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )?;
        for event in ["one", "two", "three"] {
            gone.recv().unwrap();
            let text = format!("data: {event}\n\n");
            reply.send(format!("{:x}\r\n{text}\r\n", text.len()))?;
        }
        gone.recv().unwrap();
        reply.send("0\r\n\r\n")?;
        Ok(Then::Keep)
    });
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(&Ask::new("GET", "/events").bytes()).unwrap();
    assert_eq!(client.head("GET").unwrap().0, 200, "the head comes before any event");
    for event in ["one", "two", "three"] {
        go.send(()).unwrap();
        assert_eq!(client.piece().unwrap().unwrap(), format!("data: {event}\n\n").as_bytes());
    }
    go.send(()).unwrap();
    assert_eq!(client.piece().unwrap(), None);

    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let mut stream = client.begin(&Ask::new("GET", "/events"), true).unwrap();
    assert_eq!(stream.head().unwrap().0, 200);
    for event in ["one", "two", "three"] {
        go.send(()).unwrap();
        assert_eq!(stream.piece().unwrap().unwrap(), format!("data: {event}\n\n").as_bytes());
    }
    go.send(()).unwrap();
    while stream.piece().unwrap().is_some() {}
    let shown = blocks(&scene.proxy.terminate().err);
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(
        shown.iter().all(|block| block.contains("data: one") && block.contains("data: three")),
        "{shown:?}"
    );
}

#[test]
fn bodies_are_cut_at_the_limit_and_secrets_with_them() {
    let scene = shown("log = { format = \"text\", show = true }\ninspector.max_body = \"1KiB\"").start(
        |request, reply| {
            // A success is not masked for the client, and the limit lies within the token.
            let token = request.head.one("x-amz-security-token").unwrap();
            let body = format!("{}{token}{}", "a".repeat(1000), "b".repeat(4000 - token.len()));
            reply.send(answer("200 OK", &[], body))?;
            Ok(Then::Keep)
        },
    );
    for via in Via::ALL {
        // Not a letter that a signature can begin with: at the cut that one would be masked.
        let sent = "z".repeat(3000);
        let answer = scene.ask(via, &Ask::new("POST", "/a").body(sent.clone()));
        assert_eq!(answer.body.len(), 5000, "the client gets all of it");
        assert!(answer.text().contains(TOKEN));
        assert_eq!(scene.origin.next().body, sent.as_bytes());
    }
    let ended = scene.proxy.terminate();
    for block in &blocks(&ended.err) {
        assert!(block.contains("(the first 1024 of 5000 bytes)"), "{block}");
        assert!(block.contains("(the first 1024 of 3000 bytes)"), "{block}");
        let runs = block.split(|c| c != 'z').map(str::len).filter(|run| *run > 8);
        assert_eq!(runs.collect::<Vec<_>>(), [1024], "{block}");
        assert!(block.contains(&format!("{}{}", "a".repeat(1000), "*".repeat(24))), "{block}");
    }
    assert!(!ended.err.contains(&TOKEN[..12]), "{ended:?}");
}

#[test]
fn of_a_compressed_body_nothing_is_shown() {
    for setting in ["show", "failed"] {
        let scene =
            shown(&format!("log = {{ format = \"text\", {setting} = true }}")).start(|request, reply| {
                let fields = [("content-encoding", "br"), ("x-amzn-errortype", "InvalidSignatureException")];
                reply.send(answer("403 Forbidden", &fields, &request.head.raw))?;
                Ok(Then::Keep)
            });
        let ask = Ask::new("POST", "/a").header("content-encoding", "br").body("compressed-by-the-client");
        assert_eq!(scene.ask(Via::Http1, &ask).status, 403);
        assert_eq!(scene.origin.next().body, b"compressed-by-the-client");
        let ended = scene.proxy.terminate();
        let [block] = &blocks(&ended.err)[..] else { panic!("{ended:?}") };
        assert!(block.contains("not shown: it is compressed"), "{block}");
        assert!(!block.contains("compressed-by") && !block.contains("POST /prod/a HTTP"), "{block}");
        secrets().assert_none(setting, ended.err.as_bytes());
    }
}

#[test]
fn it_can_be_switched_on_while_the_proxy_runs() {
    let scene: Scene = shown("log.format = \"text\"").start_ok();
    scene.ask(Via::Http1, &Ask::new("GET", "/before"));
    let file = scene.proxy.home().path().join("countersign.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("log.format", "log.show = true\nlog.format", 1)).unwrap();
    scene.proxy.process().find(|line| line.contains("is taken up").then_some(())).unwrap();
    scene.ask(Via::Http1, &Ask::new("GET", "/after"));
    let all = blocks(&scene.proxy.terminate().err);
    assert!(all.len() == 1 && all[0].contains("GET /after"), "{all:?}");
}
