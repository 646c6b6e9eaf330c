//! Traces: a collector that is not ours reads what is exported; spans join the client's trace, the stage joins theirs, and
//! no secret is in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::Value;

use crate::support::{
    client::{Ask, Via},
    origin::{Request, Then, answer},
    process::Running,
    python::script,
    root,
    scene::{API_KEY, SECRET, Scene, Setup, TOKEN, assert_signed, ok, signed_headers},
};

struct Collector {
    running: Running,
    port: u16,
}

impl Collector {
    fn start() -> Self {
        let running = Running::spawn(&mut script("collector.py"));
        let port = running.find(|line| line.parse().ok()).expect("the collector says where it listens");
        Self { running, port }
    }

    fn setting(&self) -> String {
        format!("otlp.endpoint = \"http://127.0.0.1:{}\"", self.port)
    }

    /// The span of the request to this path.
    fn span(&self, path: &str) -> Value {
        let found = self.running.find(|line| {
            let span: Value = serde_json::from_str(line).ok()?;
            (span["attributes"]["url.path"] == path).then_some(span)
        });
        found.expect("the collector runs")
    }

    fn count(&self) -> usize {
        self.running.output().lines().filter(|line| line.starts_with('{')).count()
    }
}

/// The parts of the `traceparent` that reached the stage: trace, span and flags.
fn parent(request: &Request) -> [String; 3] {
    let text = request.head.one("traceparent").expect("one goes on");
    let parts: Vec<_> = text.split('-').map(str::to_owned).collect();
    let [version, trace, span, flags] = &parts[..] else { panic!("{text}") };
    assert_eq!((version.as_str(), trace.len(), span.len()), ("00", 32, 16), "{text}");
    [trace.clone(), span.clone(), flags.clone()]
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn logged(scene: &Scene, path: &str) -> Value {
    let found = scene.proxy.process().find(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["path"] == path).then_some(event)
    });
    found.expect("the proxy runs")
}

#[test]
fn a_span_joins_the_clients_trace_and_the_stage_joins_it() {
    let collector = Collector::start();
    let scene = Setup::new().top(&collector.setting()).start_ok();
    let client = |flags: &str| format!("00-{TRACE}-{SPAN}-{flags}");
    let mut expected = Vec::new();
    for via in Via::ALL {
        let path = |name: &str| format!("/{name}/{via:?}");
        let joined = Ask::new("GET", &path("joined"))
            .header("traceparent", client("01"))
            .header("tracestate", "a=1,b=2");
        let request = scene.sent(via, &joined);
        let [trace, span, flags] = parent(&request);
        assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "01"));
        assert_ne!(span, SPAN);
        assert_eq!(request.head.one("tracestate"), Some("a=1,b=2"));
        assert_signed(&request);
        assert_eq!(signed_headers(&request), ["host", "x-amz-date"]);
        assert_eq!(logged(&scene, &path("joined"))["trace_id"], TRACE);
        expected.push((path("joined"), trace, span, SPAN.to_owned()));

        // A trace of its own: nobody asked, or what was asked is no trace.
        for (name, sent) in [
            ("own", None),
            ("short", Some("00-0af7-b7ad-01".to_owned())),
            ("capitals", Some(client("01").to_uppercase())),
            ("zero", Some(format!("00-{}-{SPAN}-01", "0".repeat(32)))),
        ] {
            let ask = Ask::new("GET", &path(name)).header("tracestate", "a=1");
            let ask = sent.iter().fold(ask, |ask, sent| ask.header("traceparent", sent.as_str()));
            let request = scene.sent(via, &ask);
            let [trace, span, flags] = parent(&request);
            assert!(trace != TRACE && flags == "01", "{trace} {flags}");
            assert_eq!(request.head.one("tracestate"), None, "without its parent it says nothing");
            expected.push((path(name), trace, span, String::new()));
        }

        // Followed, and not exported.
        let request =
            scene.sent(via, &Ask::new("GET", &path("unsampled")).header("traceparent", client("00")));
        let [trace, _, flags] = parent(&request);
        assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "00"));
    }
    assert_eq!(scene.proxy.terminate().code, Some(0));
    for (path, trace, span, parent) in &expected {
        let exported = collector.span(path);
        assert_eq!(
            [&exported["trace"], &exported["span"], &exported["parent"]],
            [trace, span, parent],
            "{exported}"
        );
        let about = ["path", "scope", "name", "kind", "status"].map(|name| exported[name].as_str().unwrap());
        assert_eq!(about, ["/v1/traces", "countersign", "GET default", "SERVER", "UNSET"]);
        assert_eq!(exported["resource"]["service.name"], "countersign");
    }
    assert_eq!(collector.count(), expected.len(), "one span a request, none for what is not sampled");
}

/// The table of docs/tracing.md.
fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("docs/tracing.md")).unwrap();
    let table = text.split("<!-- attributes -->").nth(1).expect("the list is marked").to_owned();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

#[test]
fn a_span_says_what_is_documented_and_no_secret() {
    let collector = Collector::start();
    let stage = "rate_limit = { rate = \"1/s\", burst = 1, wait = \"10s\" }\n[[stage.route]]\npath = \"/orders/*\"\nauth = \"iam+api-key\"";
    let setup = Setup::new().top(&collector.setting()).api_key().stage_more(stage).session();
    let scene = setup.start(|request, reply| {
        let path = request.target().split(|byte| *byte == b'?').next().unwrap();
        match path {
            b"/prod/orders/broken" => return Ok(Then::Close),
            b"/prod/orders/cut" => {
                reply.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort")?;
                return Ok(Then::Close);
            }
            b"/prod/orders/500" => reply.send(answer("500 Oh", &[], &request.head.raw))?,
            _ => reply.send(answer(
                "200 OK",
                &[("x-amzn-RequestId", "3f2a-1"), ("set-cookie", "a=canary")],
                "canary",
            ))?,
        }
        Ok(Then::Keep)
    });
    let ask = |path: &str| {
        Ask::new("POST", &format!("{path}?token=canary"))
            .header("authorization", "Bearer canary")
            .header("cookie", "a=canary")
            .header("x-canary", "canary")
            .header("x-api-key", "canary")
            .body("canary")
    };
    // One after the other, until one has to wait for its turn.
    let waited = (0..1000).map(|number| format!("/orders/{number}")).find(|path| {
        scene.ask(Via::Http1, &ask(path));
        logged(&scene, path)["queue_micros"].is_u64()
    });
    let waited = waited.expect("they come faster than the rate");
    for path in ["/orders/broken", "/orders/500", "/../a"] {
        scene.ask(Via::Http1, &ask(path));
    }
    Via::Http1.exchange(scene.proxy.address(), &ask("/orders/cut")).unwrap_err();
    assert_eq!(scene.proxy.terminate().code, Some(0));

    let mut seen = BTreeSet::new();
    let mut see = |path: &str| {
        let span = collector.span(path);
        seen.extend(span["attributes"].as_object().unwrap().keys().cloned());
        span
    };
    let fine = see(&waited);
    assert_eq!((&fine["name"], &fine["status"]), (&"POST /orders/*".into(), &"UNSET".into()));
    for (name, value) in BTreeMap::from([
        ("http.request.method", Value::from("POST")),
        ("http.response.status_code", 200.into()),
        ("http.request.body.size", 6.into()),
        ("http.response.body.size", 6.into()),
        ("countersign.stage", "abc123".into()),
        ("countersign.auth", "iam+api-key".into()),
        ("countersign.credentials", "environment".into()),
        ("countersign.access_key", "MPLE".into()),
        ("countersign.attempts", 1.into()),
        ("aws.request_id", "3f2a-1".into()),
    ]) {
        assert_eq!(fine["attributes"][name], value, "{name}: {fine}");
    }
    let phases = ["receive", "queue", "sign", "connect", "first_byte", "answer"];
    let took = |phase| fine["attributes"][format!("countersign.{phase}_micros")].as_u64().unwrap();
    let sum: u64 = phases.into_iter().map(took).sum();
    let whole = fine["micros"].as_u64().unwrap();
    assert!(sum <= whole, "its time is divided among the phases: {fine}");
    for (path, status, error) in [
        ("/orders/broken", "ERROR", Value::from("upstream-broken")),
        ("/orders/500", "ERROR", "500".into()),
        ("/orders/cut", "ERROR", "cut".into()),
        ("/../a", "UNSET", Value::Null),
    ] {
        let span = see(path);
        assert_eq!((&span["status"], &span["attributes"]["error.type"]), (&status.into(), &error), "{span}");
    }
    assert_eq!(see("/../a")["attributes"]["countersign.refused"], "dot-segment");
    assert_eq!(seen, documented());
    let all = collector.running.output();
    for secret in [SECRET, TOKEN, API_KEY, "canary", "AKIDEXAMPLE"] {
        assert!(!all.contains(secret), "{secret} was exported:\n{all}");
    }
}

#[test]
fn the_standard_variables_are_obeyed_where_no_setting_says_otherwise() {
    let collector = Collector::start();
    let base = format!("http://127.0.0.1:{}", collector.port);
    let run = |top: &str, path: &str, variables: &[(&str, &str)]| {
        let setup = Setup::new().top(top);
        let setup = variables.iter().fold(setup, |setup, (name, value)| setup.variable(name, value));
        let scene = setup.start_ok();
        let request = scene.sent(Via::Http1, &Ask::new("GET", path));
        (request.head.one("traceparent").is_some(), scene.proxy.terminate().err)
    };
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", base.as_str());
    let named = ("OTEL_SERVICE_NAME", "mine");
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20for-the-collector");
    let (traced, log) = run("", "/variables", &[endpoint, named, headers]);
    assert!(traced && !log.contains("for-the-collector"), "{log}");
    let span = collector.span("/variables");
    assert_eq!(
        [&span["path"], &span["resource"]["service.name"], &span["authorization"]],
        ["/v1/traces", "mine", "Bearer for-the-collector"]
    );
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &*format!("{base}/elsewhere"));
    assert!(run("", "/traces", &[endpoint, traces]).0);
    assert_eq!(collector.span("/traces")["path"], "/elsewhere");
    for (top, variables) in [
        ("", &[][..]),
        ("otlp.endpoint = \"off\"", &[endpoint]),
        ("", &[endpoint, ("OTEL_SDK_DISABLED", "true")]),
        ("", &[endpoint, ("OTEL_TRACES_EXPORTER", "none")]),
    ] {
        assert!(!run(top, "/none", variables).0, "{top} {variables:?}");
    }
    let (traced, log) = run("", "/none", &[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    assert!(!traced && log.contains("only \\\"http/protobuf\\\" is spoken here"), "{log}");
    assert_eq!(collector.count(), 2);
}

#[test]
fn a_collector_that_is_not_there_costs_a_line_of_log() {
    // Nothing listens where something did a moment ago.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Setup::new()
        .top(&format!("otlp.endpoint = \"http://{gone}\""))
        .variable("OTEL_BSP_SCHEDULE_DELAY", "1")
        .start(ok);
    let warned = |line: &str| line.contains("traces cannot be exported").then_some(());
    scene.sent(Via::Http1, &Ask::new("GET", "/first"));
    scene.proxy.process().find(warned).expect("the proxy runs");
    for number in 0..20 {
        scene.sent(Via::Http1, &Ask::new("GET", &format!("/{number}")));
    }
    let ended = scene.proxy.terminate();
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.err.lines().filter_map(warned).count(), 1, "{ended:?}");
}
