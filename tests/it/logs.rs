//! What is logged: one line a request, and never a secret, at any level of any crate.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Mutex, mpsc},
    thread,
    time::Instant,
};

use serde_json::Value;

use crate::{
    resources::dropped,
    support::{
        PATIENCE,
        client::{Ask, Client, Via},
        origin::{Origin, Then, answer},
        process::{Address, listening},
        root,
        scene::{ACCESS_KEY, API_KEY, SECRET, Scene, Setup, TOKEN, ok},
    },
};

/// The line of the request for this path.
fn line(scene: &Scene, path: &str) -> Value {
    let found = scene.proxy.process().find(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["target"] == "countersign::access" && event["path"] == path).then_some(event)
    });
    found.expect("the proxy runs")
}

#[test]
fn each_request_is_one_line_of_json() {
    let scene = Setup::new().stage("name = \"orders\"").start(|request, reply| {
        let fields = [("x-amzn-RequestId", "3f2a-1")];
        reply.send(answer("201 Created", &fields, &request.body))?;
        Ok(Then::Keep)
    });
    for (number, via) in Via::ALL.into_iter().enumerate() {
        let path = format!("/a%20b/{number}");
        scene.ask(via, &Ask::new("POST", &format!("{path}?secret=query")).body("twelve bytes"));
        let event = line(&scene, &path);
        for (field, value) in [
            ("level", Value::from("INFO")),
            ("method", "POST".into()),
            ("status", 201.into()),
            ("stage", "orders".into()),
            ("received", 12.into()),
            ("sent", 12.into()),
            ("attempts", 1.into()),
            ("gateway_request_id", "3f2a-1".into()),
            ("route", "default".into()),
            ("auth", "iam".into()),
            ("credentials", "environment".into()),
            ("access_key", "MPLE".into()),
        ] {
            assert_eq!(event[field], value, "{field}: {event}");
        }
        assert!(event["micros"].as_u64().is_some_and(|micros| micros > 0), "{event}");
        assert_eq!(event["request_id"].as_str().map(str::len), Some(16), "{event}");
        let time = event["timestamp"].as_str().unwrap_or_default();
        assert!(time.len() == "2026-11-25T03:04:05.678Z".len() && &time[19..20] == ".", "{event}");
        for absent in ["refused", "fault", "cut"] {
            assert!(event.get(absent).is_none(), "{event}");
        }
    }
    assert!(!scene.proxy.process().output().contains(ACCESS_KEY), "four characters tell keys apart");
    let ended = scene.proxy.terminate();
    assert_eq!(ended.out, "", "standard output is nobody's log");
    assert_eq!(ended.err.lines().filter(|line| line.contains("countersign::access")).count(), 2);
    assert!(ended.err.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{ended:?}");
    assert!(!ended.err.contains("secret"), "a query may hold secrets: {ended:?}");
}

/// The table of docs/logging.md: each field with its type.
fn documented() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("docs/logging.md")).unwrap();
    let table = text.split("<!-- fields -->").nth(1).expect("the list is marked").to_owned();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(str::trim).map(str::to_owned).collect::<Vec<_>>());
    cells.map(|cells| (cells[1].trim_matches('`').to_owned(), cells[2].clone())).collect()
}

#[test]
fn every_field_that_comes_out_is_documented_and_every_documented_one_comes_out() {
    let scene = Setup::new()
        // A trace has an id, whether or not anybody takes it.
        .top("otlp.endpoint = \"http://127.0.0.1:9\"")
        .api_key()
        .stage_more("rate_limit = { rate = \"1/s\", burst = 1, wait = \"10s\" }")
        .start(|request, reply| {
            if request.target() == b"/prod/cut" {
                reply.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort")?;
                return Ok(Then::Close);
            }
            reply.send(answer("200 OK", &[("x-amzn-RequestId", "3f2a-1")], "fine"))?;
            Ok(Then::Keep)
        });
    let mut seen = BTreeMap::new();
    let mut see = |event: Value| {
        for (name, value) in event.as_object().expect("an object") {
            let kind = match value {
                Value::String(_) => "text",
                Value::Number(number) if number.is_u64() => "number",
                Value::Bool(true) => "`true`",
                other => panic!("{name}: {other}"),
            };
            seen.insert(name.clone(), kind.to_owned());
        }
        event
    };
    // One after the other, until one has to wait for its turn.
    let ask = |number: u32| {
        let path = format!("/{number}");
        scene.ask(Via::Http1, &Ask::new("POST", &path).body("body"));
        see(line(&scene, &path))
    };
    let waited = (0..1000).map(ask).find(|event| event["queue_micros"].is_u64());
    let waited = waited.expect("they come faster than the rate");
    let phases = ["receive", "queue", "sign", "connect", "first_byte", "answer"];
    let sum: u64 = phases.iter().map(|phase| waited[format!("{phase}_micros")].as_u64().unwrap()).sum();
    let whole = waited["micros"].as_u64().unwrap();
    assert!(sum <= whole && whole - sum <= phases.len() as u64, "rounded down, they add up: {waited}");
    scene.origin.take();
    scene.refused(Via::Http1, &Ask::new("GET", "/../refused"), 400, "dot-segment");
    see(line(&scene, "/../refused"));
    Via::Http1.exchange(scene.proxy.address(), &Ask::new("GET", "/cut")).unwrap_err();
    see(line(&scene, "/cut"));
    assert_eq!(seen, documented());
}

#[test]
fn failures_have_levels_of_their_own_and_the_filter_decides_on_them() {
    let levels = |filter: &str| {
        let scene = Setup::new().top(&format!("log.filter = \"{filter}\"")).start(|request, reply| {
            let status = match request.target() {
                b"/prod/404" => "404 Not Found",
                b"/prod/503" => "503 Service Unavailable",
                _ => "200 OK",
            };
            reply.send(answer(status, &[], ""))?;
            Ok(Then::Keep)
        });
        for path in ["/200", "/404", "/503", "/../a"] {
            scene.ask(Via::Http1, &Ask::new("GET", path));
        }
        let ended = scene.proxy.terminate();
        let events = ended.err.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let requests = events.filter(|event| event["target"] == "countersign::access");
        let told = |event: Value| format!("{} {}", event["status"], event["level"].as_str().unwrap());
        requests.map(told).collect::<Vec<_>>()
    };
    let all = ["200 INFO", "404 WARN", "503 ERROR", "400 WARN"];
    assert_eq!(levels("info"), all);
    assert_eq!(levels("warn,countersign::cli=info"), all[1..]);
    assert_eq!(levels("info,countersign::access=warn"), all[1..]);
    assert_eq!(levels("info,countersign::access=error"), ["503 ERROR"]);
    assert_eq!(levels("off,countersign::cli=info,countersign::access=info"), all);
}

#[test]
fn health_checks_and_most_successes_can_go_unwritten_and_failures_cannot() {
    let top = "[log]\nquiet = [\"GET /ping\"]\nsample = \"1/5\"";
    let scene = Setup::new().top(top).start(|request, reply| {
        let bad = request.target() == b"/prod/bad" || request.head.one("x-sick").is_some();
        reply.send(answer(if bad { "503 Service Unavailable" } else { "200 OK" }, &[], ""))?;
        Ok(Then::Keep)
    });
    for number in 0..10 {
        scene.ask(Via::Http1, &Ask::new("GET", &format!("/fine/{number}")));
        scene.ask(Via::Http1, &Ask::new("GET", "/ping"));
        scene.ask(Via::Http1, &Ask::new("GET", "/bad"));
    }
    scene.ask(Via::Http1, &Ask::new("GET", "/ping").header("x-sick", "1"));
    scene.ask(Via::Http1, &Ask::new("POST", "/bad").body("x"));
    let ended = scene.proxy.terminate();
    let events = ended.err.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let requests = events.filter(|event| event["target"] == "countersign::access");
    let paths: Vec<_> = requests.map(|event| event["path"].as_str().unwrap().to_owned()).collect();
    let count = |path: &str| paths.iter().filter(|found| *found == path).count();
    assert_eq!((count("/bad"), count("/ping")), (11, 1));
    let fine: Vec<_> = paths.iter().filter(|path| path.starts_with("/fine")).collect();
    assert_eq!(fine, ["/fine/0", "/fine/5"]);
}

#[test]
fn a_refusal_names_its_code_and_whose_fault_it_is() {
    let scene = Setup::new().start(|_, _| Ok(Then::Close));
    for via in Via::ALL {
        let refused = scene.refused(via, &Ask::new("GET", "/a/../b"), 400, "dot-segment");
        let event = line(&scene, "/a/../b");
        assert_eq!((&event["refused"], &event["fault"]), (&"dot-segment".into(), &"client".into()));
        assert_eq!((&event["status"], &event["attempts"]), (&400.into(), &0.into()));
        if via == Via::Http1 {
            assert_eq!(event["request_id"], refused.json()["request_id"], "the answer leads to the line");
        }
        assert_eq!(scene.ask(via, &Ask::new("GET", "/broken")).status, 502);
        scene.origin.take();
        let event = line(&scene, "/broken");
        assert_eq!((&event["refused"], &event["fault"]), (&"upstream-broken".into(), &"upstream".into()));
    }
}

#[test]
fn an_answer_that_broke_off_and_a_client_that_left_are_told() {
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let scene = Setup::new().start(move |request, reply| {
        if request.target() == b"/prod/cut" {
            reply.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort")?;
            return Ok(Then::Close);
        }
        let _ = held.lock().unwrap().recv();
        Ok(Then::Close)
    });
    Via::Http1.exchange(scene.proxy.address(), &Ask::new("GET", "/cut")).unwrap_err();
    let event = line(&scene, "/cut");
    assert_eq!((&event["cut"], &event["sent"], &event["status"]), (&true.into(), &5.into(), &200.into()));

    let mut leaver = Client::connect(scene.proxy.address()).unwrap();
    leaver.send(&Ask::new("GET", "/left").bytes()).unwrap();
    while scene.origin.next().target() != b"/prod/left" {}
    drop(leaver);
    assert_eq!(line(&scene, "/left")["status"], 0);
    drop(hold);
}

#[test]
fn a_request_that_was_sent_twice_says_so() {
    let seen = Mutex::new(Vec::new());
    let scene = Setup::new().start(move |request, reply| {
        let mut seen = seen.lock().unwrap();
        if seen.contains(&request.connection) {
            return Ok(Then::Close);
        }
        seen.push(request.connection);
        ok(request, reply)
    });
    scene.ask(Via::Http1, &Ask::new("GET", "/first"));
    scene.ask(Via::Http1, &Ask::new("GET", "/second"));
    assert_eq!(line(&scene, "/second")["attempts"], 2);
}

#[test]
fn a_log_that_people_read() {
    let scene = Setup::new().top("log.format = \"text\"").start_ok();
    scene.ask(Via::Http1, &Ask::new("GET", "/orders?secret=1"));
    scene.ask(Via::Http1, &Ask::new("GET", "/a/../b"));
    let ended = scene.proxy.terminate();
    let lines: Vec<_> = ended.err.lines().filter(|line| line.contains("GET")).collect();
    let [fine, refused] = lines[..] else { panic!("{ended:?}") };
    for part in ["200", "/orders", " ms", "abc123"] {
        assert!(fine.contains(part), "{fine}");
    }
    for part in ["400", "refused=dot-segment"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(!ended.err.contains("secret") && !ended.err.contains('\x1b'), "{ended:?}");
}

#[test]
fn the_line_of_each_request_can_be_left_out() {
    for top in ["log.access = false", "log.filter = \"info,countersign::access=off\""] {
        let scene = Setup::new().top(top).start_ok();
        scene.sent(Via::Http1, &Ask::new("GET", "/a"));
        let ended = scene.proxy.terminate();
        assert!(!ended.err.contains("countersign::access"), "{top}: {ended:?}");
        assert!(ended.err.contains("listening"), "{top}: {ended:?}");
    }
}

#[test]
fn what_is_no_request_has_a_line_without_its_bytes() {
    let scene = Setup::new().top("[limits]\nheader_timeout = \"200ms\"").start_ok();
    for (bytes, status, code) in [
        // TLS to the port that speaks none.
        ("\x16\x03\x01\x02\0\x01\0canary".to_owned(), 400, "bad-request"),
        (format!("GET /canary HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(70_000)), 431, "headers-too-large"),
        ("GET /canary HTT".to_owned(), 408, "header-timeout"),
    ] {
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        client.send(bytes.as_bytes()).unwrap();
        assert_eq!(client.answer("GET").unwrap().status, status);
        let event = scene.proxy.process().find(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["target"] == "countersign::server" && event["code"] == code).then_some(event)
        });
        let event = event.expect("the proxy runs");
        assert_eq!((&event["level"], &event["status"]), (&"INFO".into(), &status.into()), "{event}");
    }
    let ended = scene.proxy.terminate();
    assert!(!ended.err.contains("canary"), "{ended:?}");
}

/// A process whose standard error is read by hand or not at all; it ends with the test.
struct Unheard(Child);

impl Drop for Unheard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_stops_no_request() {
    /// Each is two lines of diagnostics at least, and half a kilobyte: more than a pipe and all that waits for it hold.
    const COUNT: usize = 4000;
    let (origin, launch) = Setup::new().top("admin = \"127.0.0.1:0\"\nlog.filter = \"debug\"").prepare(ok);
    let mut proxy = Unheard(launch.command().stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(proxy.0.stderr.take().unwrap());
    let (mut line, mut admin) = (String::new(), None);
    let address = loop {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it starts");
        let said: Value = serde_json::from_str(&line).unwrap();
        if said["message"].as_str().unwrap().starts_with("admin on ") {
            admin = Some(said["address"].as_str().unwrap().parse().unwrap());
        }
        if let Some(Address::Tcp(address)) = listening(&line) {
            break address;
        }
    };
    // From here on nothing is read, and the pipe fills up.
    for _ in 0..COUNT {
        let mut client = Client::connect(address).unwrap();
        client.send(b"hello\r\n\r\n").unwrap();
        assert_eq!(client.answer("GET").unwrap().status, 400);
    }
    for via in Via::ALL {
        assert_eq!(via.exchange(address, &Ask::new("GET", "/a")).unwrap().status, 200);
        crate::support::scene::assert_signed(&origin.next());
    }
    assert!(dropped(admin.expect("it says where admin is")) > 0, "what is lost is counted");
    // Nor does it keep the process.
    let sent = Command::new("sh").args(["-c", "kill \"$0\"", &proxy.0.id().to_string()]).status();
    assert!(sent.unwrap().success());
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        if let Some(ended) = proxy.0.try_wait().unwrap() {
            break ended;
        }
        assert!(Instant::now() < deadline, "it waits for somebody to read its log");
        thread::yield_now();
    };
    assert_eq!(ended.code(), Some(0));
    // How many bytes a full pipe holds depends on how writes fall into its pages; that it was full shows in what is not
    // in it.
    let held = log.lines().map_while(Result::ok).count();
    assert!((1..2 * COUNT).contains(&held), "the pipe was full: {held} lines");
}

#[test]
fn no_secret_is_logged_at_any_level() {
    const MARK: &str = "canary";
    let sts = Origin::plain(|_, reply| {
        let assumed = format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>\
             {TOKEN}</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>\
             </AssumeRoleResponse>"
        );
        reply.send(answer("200 OK", &[("content-type", "text/xml")], assumed))?;
        Ok(Then::Keep)
    });
    let stage = format!(
        "api_key.command = [\"echo\", \"{API_KEY}\"]\nrole.arn = \"arn:aws:iam::111122223333:role/caller\"\n\
         [[stage.route]]\npath = \"/none\"\nauth = \"none\"\n[[stage.route]]\npath = \"/key\"\nauth = \"api-key\""
    );
    for format in ["json", "text"] {
        let scene = Setup::new()
            .top(&format!("log.format = \"{format}\"\nlog.filter = \"trace\""))
            .stage(&stage)
            .session()
            .variable("AWS_ENDPOINT_URL_STS", &format!("http://{}", sts.address()))
            .start(|request, reply| {
                match request.target() {
                    b"/prod/broken" => return Ok(Then::Close),
                    b"/prod/garbage" => reply.send(&request.head.raw)?,
                    b"/prod/mismatch" => reply.send(answer(
                        "403 Forbidden",
                        &[
                            ("x-amzn-ErrorType", "InvalidSignatureException"),
                            ("set-cookie", "a=canary-answer"),
                        ],
                        &request.head.raw,
                    ))?,
                    _ => {
                        reply.send(answer(
                            "200 OK",
                            &[("set-cookie", "a=canary-answer")],
                            "canary-answer",
                        ))?;
                    }
                }
                Ok(Then::Keep)
            });
        while scene.ask(Via::Http1, &Ask::new("GET", "/key")).status == 503 {}
        for via in Via::ALL {
            for path in ["/iam", "/none", "/key", "/mismatch", "/broken", "/garbage", "/../x", "/last"] {
                let ask = Ask::new("POST", &format!("{path}?token=canary-query"))
                    .header("authorization", "Bearer canary-authorization")
                    .header("cookie", "a=canary-cookie")
                    .header("x-api-key", "canary-key")
                    .header("x-amz-security-token", "canary-token")
                    .header("x-canary", "canary-header")
                    .body("canary-body");
                scene.ask(via, &ask);
            }
            scene.ask(via, &Ask::new("GET", "/iam").header("x-amz-meta-a", b"canary\xff"));
        }
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        client.send(b"GET / HTTP/1.1\r\nx-api-key canary\r\n\r\n").unwrap();
        assert_eq!(client.answer("GET").unwrap().status, 400);
        let sent = scene.origin.take();
        assert!(sent.iter().any(|request| request.head.one("x-amz-security-token") == Some(TOKEN)));
        assert!(sent.iter().any(|request| request.head.one("x-api-key") == Some(API_KEY)));

        let ended = scene.proxy.terminate();
        let all = ended.out + &ended.err;
        assert!(all.contains("/last") && all.lines().count() > 20, "something was logged: {all}");
        for secret in [MARK, SECRET, TOKEN, API_KEY] {
            assert!(!all.contains(secret), "{secret} was logged:\n{all}");
        }
    }
}

#[test]
fn a_command_that_fails_keeps_what_it_said_to_itself() {
    let scene = Setup::new()
        .without_keys()
        .top("log.filter = \"trace\"")
        .stage("profile = \"dev\"\napi_key.command = [\"sh\", \"-c\", \"echo canary-out; echo canary-err >&2; exit 3\"]")
        .file(
            ".aws/config",
            "[profile dev]\ncredential_process = sh -c 'echo canary-out; echo canary-err >&2; exit 3'\n",
        )
        .start_ok();
    for part in ["no usable credentials", "no new API key"] {
        scene.proxy.process().find(|line| line.contains(part).then_some(())).unwrap();
    }
    let refused = scene.refused(Via::Http1, &Ask::new("GET", "/a"), 503, "no-api-key");
    assert!(!refused.text().contains("canary"), "{}", refused.text());
    let ended = scene.proxy.terminate();
    assert!(!ended.err.contains("canary"), "{ended:?}");
}
