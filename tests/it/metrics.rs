//! `/metrics`: every number is right after known traffic, Prometheus' own parsers read it in both formats, and neither
//! a secret nor anything that a client chose is among the labels.

#![expect(
    clippy::float_cmp,
    clippy::cast_sign_loss,
    reason = "what is compared is whole and counts something"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    process::Stdio,
    sync::{Mutex, mpsc},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use countersign::{
    proxy::Code,
    telemetry::{ConnectionEnd, metrics::families},
};

use crate::{
    healing::{Stage, session},
    support::{
        PATIENCE,
        client::{Answer, Ask, Client, Via},
        h2c,
        origin::{Then, answer},
        process::Running,
        python, root,
        scene::{API_KEY, SECRET, Scene, Setup, TOKEN, ok},
    },
};

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";

/// Series by name and labels, the labels in alphabetical order.
type Series = BTreeMap<(String, Vec<(String, String)>), f64>;

/// What was scraped.
struct Scrape {
    text: String,
    series: Series,
}

impl Scrape {
    /// The value of a series.
    fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut labels: Vec<_> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        labels.sort();
        self.series.get(&(name.to_owned(), labels)).copied()
    }

    /// The value of a series that must be there.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or_else(|| panic!("no {name} {labels:?} in\n{}", self.text))
    }

    /// The series of this name that are not 0: values of their labels, and their own.
    fn moved(&self, name: &str) -> Vec<(Vec<&str>, u64)> {
        let of_name = self.series.iter().filter(|((of, _), value)| of == name && **value != 0.0);
        of_name
            .map(|((_, labels), value)| {
                (labels.iter().map(|(_, value)| value.as_str()).collect(), *value as u64)
            })
            .collect()
    }
}

/// Where the admin listener is.
fn admin(process: &Running) -> SocketAddr {
    let address = |line: &str| {
        let (_, after) = line.split_once("admin on http://")?;
        after.split('"').next()?.trim().parse().ok()
    };
    process.find(address).expect("the admin listener is announced")
}

fn fetch(admin: SocketAddr, accept: &str) -> Answer {
    Via::Http1.exchange(admin, &Ask::new("GET", "/metrics").header("accept", accept)).unwrap()
}

/// The lines of the text format without escapes in its labels.
fn series(text: &str) -> Series {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let mut labels: Vec<_> = labels
                .trim_end_matches('}')
                .split("\",")
                .filter(|label| !label.is_empty())
                .map(|label| {
                    let (name, value) = label.split_once("=\"").unwrap();
                    (name.to_owned(), value.trim_end_matches('"').to_owned())
                })
                .collect();
            labels.sort();
            ((name.to_owned(), labels), value.parse().unwrap())
        })
        .collect()
}

/// Prometheus' own parsers, which also say what the text means: families, and the same series as ours.
fn read(format: &str, text: &str) -> (Vec<serde_json::Value>, Series) {
    let mut command = python::script("read_metrics.py");
    let mut child = command
        .arg(format)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || input.write_all(text.as_bytes()).unwrap());
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}\n{text}", String::from_utf8_lossy(&ended.stderr));
        let families: Vec<serde_json::Value> = serde_json::from_slice(&ended.stdout).unwrap();
        let mut series = Series::new();
        for sample in families.iter().flat_map(|family| family["samples"].as_array().unwrap()) {
            let labels = sample["labels"].as_object().unwrap().iter();
            let mut labels: Vec<_> =
                labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
            labels.sort();
            let value = sample["value"].as_str().unwrap().parse().unwrap();
            let name = sample["name"].as_str().unwrap().to_owned();
            assert!(series.insert((name, labels), value).is_none(), "{sample} is there twice");
        }
        (families, series)
    })
}

/// Scrapes until this holds: what a worker counts is counted a moment after the client has its answer.
fn until(scene: &Scene, holds: impl Fn(&Scrape) -> bool) -> Scrape {
    let admin = admin(scene.proxy.process());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = fetch(admin, "*/*");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let scrape = Scrape { series: series(answer.text()), text: answer.text().to_owned() };
        if holds(&scrape) {
            return scrape;
        }
        assert!(Instant::now() < deadline, "what is waited for did not come:\n{}", scrape.text);
        thread::yield_now();
    }
}

/// Scrapes once no request is under way and this many have ended.
fn after(scene: &Scene, requests: u64) -> Scrape {
    until(scene, |scrape| {
        let ended: u64 = scrape.moved("countersign_requests_total").iter().map(|(_, count)| count).sum();
        ended == requests && scrape.value("countersign_requests_in_flight", &[]) == 0.0
    })
}

fn setup() -> Setup {
    Setup::new().top("admin = \"127.0.0.1:0\"")
}

fn with(lines: &str) -> Setup {
    Setup::new().top(&format!("admin = \"127.0.0.1:0\"\n{lines}"))
}

const STAGE: (&str, &str) = ("stage", "abc123");

#[test]
fn prometheus_reads_every_metric_in_both_formats() {
    let scene =
        setup().session().stage("[[stage.route]]\npath = \"/s/*\"\nauth = \"none\"").api_key().start_ok();
    for via in Via::ALL {
        for target in ["/a", "/s/b", "/a/../b"] {
            scene.ask(via, &Ask::new("POST", target).body("body"));
        }
    }
    after(&scene, 6);
    let admin = admin(scene.proxy.process());
    for (accept, content_type, format) in [
        (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8", "openmetrics"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", "text"),
    ] {
        let answer = fetch(admin, accept);
        assert_eq!((answer.status, answer.head.one("content-type")), (200, Some(content_type)));
        assert_eq!(answer.head.one("cache-control"), Some("no-store"));
        assert_eq!(answer.text().ends_with("\n# EOF\n"), format == "openmetrics");
        let (found, theirs) = read(format, answer.text());
        assert_eq!(theirs, series(answer.text()), "the tests' own reader agrees");
        // The parser's families have no suffix; ours have the name that queries use.
        let found: BTreeMap<_, _> =
            found.iter().map(|family| (family["name"].as_str().unwrap(), family)).collect();
        let mut expected = BTreeSet::new();
        for family in families::ALL {
            let name = family.name();
            let name = match (family.kind(), format) {
                ("counter", _) => name.trim_end_matches("_total").to_owned(),
                ("info", "openmetrics") => name.trim_end_matches("_info").to_owned(),
                _ => name,
            };
            let kind = if (family.kind(), format) == ("info", "text") { "gauge" } else { family.kind() };
            // Long-lived keys do not expire.
            let absent = name == "countersign_credentials_expiry_timestamp_seconds";
            let seen = found.get(&*name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!((&seen["type"], &seen["help"]), (&kind.into(), &family.help.into()), "{name}");
            let samples = seen["samples"].as_array().unwrap();
            assert_eq!(samples.is_empty(), absent, "{name}");
            for sample in samples {
                let labels: BTreeSet<_> = sample["labels"]
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(String::as_str)
                    .filter(|l| *l != "le")
                    .collect();
                assert_eq!(labels, family.labels.iter().copied().collect(), "{name}");
            }
            expected.insert(name);
        }
        assert_eq!(found.keys().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), expected);
    }
    let head = Via::Http1.exchange(admin, &Ask::new("HEAD", "/metrics")).unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(Via::Http1.exchange(admin, &Ask::new("POST", "/metrics")).unwrap().status, 405);
}

#[test]
fn every_series_is_there_from_the_start() {
    let rules = "[[stage.route]]\npath = \"/s/*\"\nauth = \"none\"\n[[stage.route]]\npath = \"/s/*\"\nauth = \"iam\"\n\
                 [[stage]]\nname = \"other\"\nurl = \"https://abc123.execute-api.us-west-2.amazonaws.com/dev\"\n\
                 mount = \"/other\"\n{dial}\n";
    let scene = setup().stage(rules).start_ok();
    let scrape = after(&scene, 0);
    let at_0 =
        |name, labels: &[(&str, &str)]| assert_eq!(scrape.value(name, labels), 0.0, "{name} {labels:?}");
    for (index, code) in Code::ALL.iter().enumerate() {
        assert_eq!(index, *code as usize, "the list is in the order of their numbers");
        at_0("countersign_refusals_total", &[("code", code.as_str()), ("fault", code.fault().as_str())]);
    }
    for cause in ConnectionEnd::ALL {
        at_0("countersign_client_connections_ended_total", &[("cause", cause.as_str())]);
    }
    for (stage, route) in [("abc123", "/s/*"), ("abc123", "default"), ("other", "default"), ("", "")] {
        for (origin, status) in [("stage", "2xx"), ("stage", "5xx"), ("proxy", "4xx"), ("none", "none")] {
            if (stage, origin) != ("", "stage") {
                let labels = [("stage", stage), ("route", route), ("origin", origin), ("status", status)];
                at_0("countersign_requests_total", &labels);
            }
        }
    }
    for stage in ["abc123", "other"] {
        at_0("countersign_upstream_connections_open", &[("stage", stage)]);
        at_0("countersign_request_duration_seconds_count", &[("stage", stage)]);
        at_0("countersign_upstream_dials_total", &[("stage", stage), ("outcome", "upstream-tls")]);
        at_0("countersign_retries_total", &[("stage", stage), ("cause", "unsent")]);
    }
    let limit = scrape.value("countersign_body_budget_limit_bytes", &[]);
    assert_eq!((limit, scrape.value("countersign_body_budget_used_bytes", &[])), (268_435_456.0, 0.0));
    let build = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("os", std::env::consts::OS),
        ("arch", std::env::consts::ARCH),
    ];
    assert_eq!(scrape.value("countersign_build_info", &build), 1.0);
    assert_eq!(read("text", &scrape.text).1, scrape.series, "rules that share a path share a series");
}

/// Every outcome of a dial that is none is called as the refusal that it becomes.
#[test]
fn outcomes_of_dials_are_codes() {
    let scene = setup().start_ok();
    let scrape = after(&scene, 0);
    let codes: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let outcomes = scrape.series.keys().filter(|(name, _)| name == "countersign_upstream_dials_total");
    let mut count = 0;
    for (_, labels) in outcomes {
        let outcome = labels[0].1.as_str();
        assert!(outcome == "connected" || codes.contains(outcome), "{outcome}");
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn requests_are_counted_by_stage_rule_and_answer() {
    let scene = with("limits.max_body = \"8B\"")
        .stage("mount = \"/m\"\n[[stage.route]]\npath = \"/s/*\"\nauth = \"none\"")
        .start(|request, reply| {
            let status = match request.target() {
                b"/prod/s/404" => "404 Not Found",
                b"/prod/500" => "500 Internal Server Error",
                b"/prod/302" => "302 Found",
                _ => "200 OK",
            };
            reply.send(answer(status, &[], "answer"))?;
            Ok(Then::Keep)
        });
    let mut requests = 0;
    for via in Via::ALL {
        for (ask, status) in [
            (Ask::new("GET", "/m/a?canary-query=1"), 200),
            (Ask::new("PUT", "/m/canary-path").body("1234567"), 200),
            (Ask::new("GET", "/m/s/404"), 404),
            (Ask::new("GET", "/m/s/200").header("x-canary", "canary-header"), 200),
            (Ask::new("GET", "/m/500"), 500),
            (Ask::new("GET", "/m/302"), 302),
            (Ask::new("PUT", "/m/s/large").body("too large"), 413),
            (Ask::new("GET", "/m/a").header("host", "canary.example"), 421),
            (Ask::new("GET", "/canary"), 404),
        ] {
            assert_eq!(scene.ask(via, &ask).status, status, "{via:?} {ask:?}");
            requests += 1;
        }
    }
    let scrape = after(&scene, requests);
    // Labels in alphabetical order: origin, route, stage, status.
    assert_eq!(
        scrape.moved("countersign_requests_total"),
        [
            (vec!["proxy", "", "", "4xx"], 4),
            (vec!["proxy", "/s/*", "abc123", "4xx"], 2),
            (vec!["stage", "/s/*", "abc123", "2xx"], 2),
            (vec!["stage", "/s/*", "abc123", "4xx"], 2),
            (vec!["stage", "default", "abc123", "2xx"], 4),
            (vec!["stage", "default", "abc123", "3xx"], 2),
            (vec!["stage", "default", "abc123", "5xx"], 2),
        ]
    );
    assert_eq!(
        scrape.moved("countersign_refusals_total"),
        [
            (vec!["body-too-large", "client"], 2),
            (vec!["host-not-allowed", "client"], 2),
            (vec!["no-stage", "client"], 2),
        ]
    );
    assert_eq!(scrape.value("countersign_request_body_bytes_total", &[STAGE]), 14.0);
    let sent = scrape.value("countersign_response_body_bytes_total", &[STAGE]);
    assert!(sent > 72.0, "twelve answers of the stage, and two of the proxy's: {sent}");
    assert_eq!(scrape.value("countersign_upstream_requests_total", &[STAGE, ("connection", "new")]), 1.0);
    assert_eq!(scrape.value("countersign_upstream_requests_total", &[STAGE, ("connection", "kept")]), 11.0);
    assert_eq!(scrape.value("countersign_upstream_dials_total", &[STAGE, ("outcome", "connected")]), 1.0);

    let count = |stage: &str, phase: &str| {
        let labels = [("stage", stage), ("phase", phase)];
        scrape.get("countersign_request_phase_duration_seconds_count", &labels)
    };
    assert_eq!(scrape.value("countersign_request_duration_seconds_count", &[STAGE]), 14.0);
    assert_eq!(scrape.value("countersign_request_duration_seconds_count", &[("stage", "")]), 4.0);
    assert_eq!((count("", "receive"), count("", "sign")), (Some(4.0), None));
    assert_eq!(count("abc123", "queue"), Some(0.0), "nobody had to wait");
    assert_eq!(count("abc123", "receive"), Some(14.0));
    for phase in ["sign", "connect", "first_byte", "answer"] {
        assert_eq!(count("abc123", phase), Some(12.0), "{phase}");
    }
    let phases: f64 = ["receive", "queue", "sign", "connect", "first_byte", "answer"]
        .iter()
        .map(|phase| {
            let labels = [STAGE, ("phase", *phase)];
            scrape.value("countersign_request_phase_duration_seconds_sum", &labels)
        })
        .sum();
    let whole = scrape.value("countersign_request_duration_seconds_sum", &[STAGE]);
    assert!(whole > 0.0 && (whole - phases).abs() < 1e-6, "the phases add up: {whole} {phases}");
    assert!(!scrape.text.contains("canary"), "{}", scrape.text);
}

#[test]
fn what_is_under_way_is_counted_while_it_is() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let scene =
        with("limits.max_body = \"100B\"\nlimits.max_buffered = \"150B\"").start(move |request, reply| {
            if request.target() == b"/prod/held" {
                let _ = gone.lock().unwrap().recv();
            }
            ok(request, reply)
        });
    let open = "countersign_client_connections_open";
    let http1 = ("protocol", "http/1.1");
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(&Ask::new("PUT", "/held").body(vec![b'x'; 100]).bytes()).unwrap();
    scene.origin.next();
    let scrape = until(&scene, |_| true);
    assert_eq!(scrape.value("countersign_requests_in_flight", &[]), 1.0);
    assert_eq!(scrape.value("countersign_body_budget_used_bytes", &[]), 100.0);
    assert_eq!(scrape.value("countersign_body_budget_limit_bytes", &[]), 150.0);
    assert_eq!(scrape.value(open, &[http1]), 1.0);
    assert_eq!(scrape.value("countersign_upstream_connections_open", &[STAGE]), 1.0);
    assert_eq!(scrape.value("countersign_upstream_connections_idle", &[STAGE]), 0.0);
    go.send(()).unwrap();
    assert_eq!(client.answer("PUT").unwrap().status, 200);
    let scrape = after(&scene, 1);
    assert_eq!(scrape.value("countersign_body_budget_used_bytes", &[]), 0.0);
    assert_eq!(scrape.value("countersign_upstream_connections_open", &[STAGE]), 1.0);
    assert_eq!(scrape.value("countersign_upstream_connections_idle", &[STAGE]), 1.0);
    assert_eq!(scrape.value(open, &[http1]), 1.0, "it is kept");

    // A client that leaves before there is an answer.
    client.send(&Ask::new("GET", "/held").bytes()).unwrap();
    scene.origin.next();
    drop(client);
    let scrape = after(&scene, 2);
    assert_eq!(
        scrape.moved("countersign_requests_total"),
        [(vec!["none", "default", "abc123", "none"], 1), (vec!["stage", "default", "abc123", "2xx"], 1)]
    );
    until(&scene, |scrape| scrape.value("countersign_upstream_connections_open", &[STAGE]) == 0.0);
    drop(go);
}

#[test]
fn connections_of_clients_are_counted_by_protocol_and_end() {
    let scene = setup().start_ok();
    let address = scene.proxy.address();
    let mut one = Client::connect(address).unwrap();
    let two = h2c::Client::connect(address).unwrap();
    let mut garbage = Client::connect(address).unwrap();
    let silent = Client::connect(address).unwrap();
    for _ in 0..3 {
        assert_eq!(one.exchange(&Ask::new("GET", "/a")).unwrap().status, 200);
    }
    assert_eq!(two.exchange(&Ask::new("GET", "/a")).unwrap().status, 200);
    garbage.send(b"no request\r\n\r\n").unwrap();
    assert_eq!(garbage.answer("GET").unwrap().status, 400);
    let open = |scrape: &Scrape| {
        ["http/1.1", "h2c", "unknown"]
            .map(|protocol| scrape.value("countersign_client_connections_open", &[("protocol", protocol)]))
    };
    // That a connection is no longer open is counted a moment before why it ended.
    let ended = |scrape: &Scrape| -> u64 {
        scrape.moved("countersign_client_connections_ended_total").iter().map(|(_, count)| count).sum()
    };
    let scrape = until(&scene, |scrape| open(scrape) == [1.0, 1.0, 1.0] && ended(scrape) == 1);
    let total = scrape.moved("countersign_client_connections_total");
    assert_eq!(total, [(vec!["h2c"], 1), (vec!["http/1.1"], 2)]);
    assert_eq!(scrape.moved("countersign_refusals_total"), [(vec!["bad-request", "client"], 1)]);
    assert_eq!(scrape.moved("countersign_client_connections_ended_total"), [(vec!["protocol-error"], 1)]);
    drop((one, two, silent));
    let scrape = until(&scene, |scrape| open(scrape) == [0.0, 0.0, 0.0] && ended(scrape) == 4);
    assert_eq!(scrape.get("countersign_client_connections_total", &[("protocol", "unknown")]), Some(1.0));
    assert_eq!(scrape.get("countersign_client_connections_ended_total", &[("cause", "closed")]), Some(3.0));
}

#[test]
fn what_is_sent_again_and_what_breaks_off_is_counted() {
    let seen = Mutex::new(Vec::new());
    let scene = setup().start(move |request, reply| {
        let mut seen = seen.lock().unwrap();
        if request.target() == b"/prod/cut" {
            reply.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort")?;
            return Ok(Then::Close);
        }
        if seen.contains(&request.connection) {
            return Ok(Then::Close);
        }
        seen.push(request.connection);
        ok(request, reply)
    });
    let get = |target| scene.ask(Via::Http1, &Ask::new("GET", target)).status;
    assert_eq!((get("/first"), get("/again")), (200, 200));
    let again =
        |cause| move |scrape: &Scrape| scrape.value("countersign_retries_total", &[STAGE, ("cause", cause)]);
    let scrape = after(&scene, 2);
    assert_eq!((again("unanswered")(&scrape), again("unsent")(&scrape)), (1.0, 0.0));
    assert_eq!(scrape.value("countersign_upstream_requests_total", &[STAGE, ("connection", "new")]), 2.0);
    assert_eq!(scrape.value("countersign_upstream_requests_total", &[STAGE, ("connection", "kept")]), 1.0);
    // Its connection breaks the second time, and may not be tried again.
    let answer = scene.ask(Via::Http1, &Ask::new("POST", "/once").body("x"));
    assert_eq!(answer.head.one("x-countersign-error"), Some("upstream-broken"));
    assert!(Via::Http1.exchange(scene.proxy.address(), &Ask::new("GET", "/cut")).is_err());
    let scrape = after(&scene, 4);
    assert_eq!(scrape.value("countersign_responses_cut_total", &[STAGE]), 1.0);
    assert_eq!(scrape.moved("countersign_refusals_total"), [(vec!["upstream-broken", "upstream"], 1)]);
    assert_eq!((again("unanswered")(&scrape), again("unsent")(&scrape)), (1.0, 0.0));
}

#[test]
fn dials_that_fail_are_counted_by_their_code() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let stages = format!(
        "mount = \"/tls\"\n[[stage]]\nname = \"nobody\"\nmount = \"/nobody\"\nurl = \"http://{free}\"\nregion = \"us-west-2\""
    );
    let options = crate::support::origin::Options {
        names: vec!["elsewhere.example".to_owned()],
        ..crate::support::origin::Options::default()
    };
    let scene = setup().origin(options).stage(&stages).start_ok();
    for target in ["/tls/a", "/nobody/a", "/nobody/b"] {
        assert_eq!(scene.ask(Via::Http1, &Ask::new("GET", target)).status, 502);
    }
    let scrape = after(&scene, 3);
    assert_eq!(
        scrape.moved("countersign_upstream_dials_total"),
        [(vec!["upstream-connect", "nobody"], 2), (vec!["upstream-tls", "abc123"], 1)]
    );
    assert_eq!(
        scrape.moved("countersign_refusals_total"),
        [(vec!["upstream-connect", "upstream"], 2), (vec!["upstream-tls", "upstream"], 1)]
    );
    assert_eq!(scrape.moved("countersign_upstream_requests_total"), []);
}

#[test]
fn credentials_and_keys_are_seen() {
    let printed = format!(
        "{{\"Version\":1,\"AccessKeyId\":\"AKIDEXAMPLE\",\"SecretAccessKey\":\"{SECRET}\",\"SessionToken\":\"{TOKEN}\",\
         \"Expiration\":\"2100-01-01T00:00:00Z\"}}"
    );
    let scene = setup()
        .without_keys()
        .stage(&format!(
            "profile = \"dev\"\napi_key.value = \"{API_KEY}\"\n[[stage]]\nname = \"bare\"\nmount = \"/bare\"\n\
             url = \"https://abc123.execute-api.us-west-2.amazonaws.com/dev\"\nprofile = \"none\"\napi_key.env = \"UNSET\"\n{{dial}}"
        ))
        .file("printed.json", &printed)
        .file(".aws/config", "[profile dev]\ncredential_process = cat printed.json\n")
        .start_ok();
    let source = |name| ("source", name);
    let refreshes = |scrape: &Scrape, name, outcome| {
        scrape.value("countersign_credentials_refreshes_total", &[source(name), ("outcome", outcome)])
    };
    let scrape = until(&scene, |scrape| {
        refreshes(scrape, "profile dev", "fetched") == 1.0
            && refreshes(scrape, "profile none", "failed") >= 1.0
    });
    let usable = |name| scrape.value("countersign_credentials_usable", &[source(name)]);
    assert_eq!((usable("profile dev"), usable("profile none")), (1.0, 0.0));
    let expiry = "countersign_credentials_expiry_timestamp_seconds";
    assert_eq!(scrape.value(expiry, &[source("profile dev")]), 4_102_444_800.0);
    assert_eq!(scrape.get(expiry, &[source("profile none")]), None);
    let loaded = |stage| scrape.value("countersign_api_key_loaded", &[("stage", stage)]);
    assert_eq!((loaded("abc123"), loaded("bare")), (1.0, 0.0));
    // The secrets are in use, and none is among what is told.
    assert_eq!(scene.ask(Via::Http1, &Ask::new("GET", "/a")).status, 200);
    let scrape = after(&scene, 1);
    for secret in [SECRET, TOKEN, API_KEY] {
        assert!(!scrape.text.contains(secret), "{}", scrape.text);
    }
}

/// The gateway that verifies lies about the time; what signing goes by is what is told.
#[test]
fn the_clock_that_is_signed_by_is_seen() {
    let stage = Stage::start(vec![session("ASIACLOCK", None)]);
    let other = format!(
        "name = \"orders\"\n[[stage]]\nname = \"other\"\nmount = \"/other\"\nregion = \"us-west-2\"\n\
         url = \"http://{}\"\n",
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    );
    let launch = stage
        .launch(&other)
        .keys("ASIACLOCK", SECRET)
        .variable("AWS_SESSION_TOKEN", &format!("{TOKEN}-ASIACLOCK"))
        .variable("COUNTERSIGN_ADMIN", "127.0.0.1:0");
    let proxy = launch.start();
    let admin = admin(proxy.process());
    let told = || {
        let answer = fetch(admin, "*/*");
        let series = series(answer.text());
        ["orders", "other"].map(|stage| {
            let labels = vec![("stage".to_owned(), stage.to_owned())];
            series[&("countersign_clock_offset_seconds".to_owned(), labels)]
        })
    };
    assert_eq!(told(), [0.0, 0.0], "nothing was learned");
    let ask = || {
        let answer = Via::Http1.exchange(proxy.address(), &Ask::new("GET", "/auth/iam-sigv4")).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    for offset in [3000_i32, -3000] {
        stage.running.clock.set_offset(offset.into());
        ask();
        stage.verdicts();
        let [orders, other] = told();
        assert!((orders - f64::from(offset)).abs() <= 5.0, "{orders} is not {offset}");
        assert_eq!(other, 0.0, "another gateway's clock is another's");
        ask();
        assert_eq!(stage.verdicts(), [None], "it is what was signed by");
        stage.running.clock.set_offset(0);
        ask();
        assert_eq!(told(), [0.0, 0.0], "forgotten once the clocks agree");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_is_seen() {
    let scene = setup().start_ok();
    let scrape = after(&scene, 0);
    let value = |name| scrape.value(name, &[]);
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_cpu_seconds_total") >= 0.0);
    let (open, most) = (value("process_open_fds"), value("process_max_fds"));
    assert!(open > 3.0 && most > open, "{open} {most}");
    let threads = fs::read_dir(format!("/proc/{}/task", scene.proxy.process().id())).unwrap().count();
    assert_eq!(value("process_threads"), threads as f64);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let started = value("process_start_time_seconds");
    // The boot time that it is counted from is a whole second.
    assert!(started <= now + 1.0 && now - started < PATIENCE.as_secs_f64() + 1.0, "{started} {now}");
}

#[test]
fn the_workers_are_summed() {
    let scene = with("workers = 2").start_ok();
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(scene.proxy.address()).unwrap()).collect();
    for client in &mut clients {
        for _ in 0..3 {
            assert_eq!(client.exchange(&Ask::new("GET", "/a")).unwrap().status, 200);
        }
    }
    let scrape = after(&scene, 12);
    assert_eq!(scrape.value("countersign_request_duration_seconds_count", &[STAGE]), 12.0);
    assert_eq!(scrape.value("countersign_client_connections_open", &[("protocol", "http/1.1")]), 4.0);
    assert_eq!(scrape.value("countersign_upstream_connections_open", &[STAGE]), 2.0, "each has its own");
    assert_eq!(scrape.value("countersign_upstream_connections_idle", &[STAGE]), 2.0);
}

#[test]
fn they_can_be_off() {
    let scene = with("metrics = false").start_ok();
    assert_eq!(scene.ask(Via::Http1, &Ask::new("GET", "/a")).status, 200);
    let admin = admin(scene.proxy.process());
    let answer = fetch(admin, OPENMETRICS);
    assert_eq!((answer.status, &answer.json()["hint"]), (404, &"metrics = false".into()));
    assert_eq!(Via::Http1.exchange(admin, &Ask::new("GET", "/healthz")).unwrap().status, 200);
}

#[test]
fn the_list_of_metrics_is_written_from_the_code() {
    let path = root().join("docs/metrics.md");
    let written = fs::read_to_string(&path).unwrap();
    let (before, rest) = written.split_once("<!-- list -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of list -->").unwrap();
    let fresh = format!("{before}<!-- list -->\n{}<!-- end of list -->{after}", families::reference());
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, &fresh).unwrap();
    } else {
        assert!(written == fresh, "docs/metrics.md is stale: UPDATE_GENERATED=1 tests/run rewrites it");
    }
}

#[test]
fn refusals_of_the_admin_listener_carry_their_code() {
    let scene = Setup::new().top("admin = \"127.0.0.1:0\"\nmetrics = false").start_ok();
    let admin = admin(scene.proxy.process());
    for (ask, status, code) in [
        (Ask::new("GET", "/other"), 404, "not-found"),
        (Ask::new("GET", "/metrics"), 404, "not-found"),
        (Ask::new("POST", "/healthz"), 405, "method-not-allowed"),
        (Ask::new("GET", "/healthz").header("origin", "https://a.example"), 403, "origin-not-allowed"),
        (Ask::new("GET", "http://a.example/healthz"), 421, "host-not-allowed"),
    ] {
        let answer = Via::Http1.exchange(admin, &ask).unwrap();
        assert_eq!((answer.status, answer.head.one("x-countersign-error")), (status, Some(code)));
        assert_eq!(answer.json()["error"], code);
    }
}

#[test]
fn who_holds_admin_connections_keeps_health_from_nobody_for_long() {
    let scene = Setup::new().top("admin = \"127.0.0.1:0\"").start_ok();
    let admin = admin(scene.proxy.process());
    let fetched = |client: &mut Client| client.exchange(&Ask::new("GET", "/healthz")).unwrap();
    // A connection has one request, so that nobody holds a place after the answer.
    let mut once = Client::connect(admin).unwrap();
    let answer = fetched(&mut once);
    assert_eq!((answer.status, answer.head.one("connection")), (200, Some("close")));
    assert!(once.rest().unwrap().is_empty());
    // All places, by clients that never read: they ask again and again, and do not get that far.
    let asks = Ask::new("GET", "/metrics").bytes().repeat(200);
    let mut held: Vec<Client> = (0..64).map(|_| Client::connect(admin).unwrap()).collect();
    for (number, client) in held.iter_mut().enumerate() {
        match number % 2 {
            // It may have been hung up on meanwhile.
            0 => drop(client.send(&asks)),
            _ => client.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: ").unwrap(),
        }
    }
    assert_eq!(fetched(&mut Client::connect(admin).unwrap()).status, 200);
}
