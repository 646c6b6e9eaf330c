//! What `deploy/` has for others to watch and run the proxy with is right: each query of the dashboard and of the alerts
//! finds what it asks for in a real Prometheus that scrapes a real proxy, the alerts fire for what they are about, and
//! manifests and units call the program as it wants to be called.
//!
//! Where no Prometheus is to be had, its language is parsed, and each selector is held against what the program defines.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use countersign::telemetry::metrics::families;

use crate::{
    process::admin,
    support::{
        PATIENCE, TempDir,
        client::{Ask, Via},
        origin::{Reply, Request, Then, answer},
        process::{Launch, Running},
        python, root,
        scene::{SECRET, Scene, Setup, ok},
    },
};

const DASHBOARD: &str = "deploy/grafana/countersign.json";
const ALERTS: &str = "deploy/prometheus/alerts.yaml";

/// Whose it is and what it asks.
type Query = (String, String);

fn dashboard() -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(root().join(DASHBOARD)).unwrap()).unwrap()
}

/// With the variables of Grafana as they are when everything is chosen.
fn filled(expression: &str) -> String {
    let mut filled = expression.to_owned();
    for (variable, value) in
        [("$__rate_interval", "1m"), ("$job", ".*"), ("$instance", ".*"), ("$stage", ".*")]
    {
        filled = filled.replace(variable, value);
    }
    assert!(!filled.contains('$'), "a variable that is not known: {expression}");
    filled
}

/// Every query of a panel.
fn panels() -> Vec<Query> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries = panels.iter().flat_map(|panel| {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(targets.is_empty(), panel["type"] == "row", "{title}");
        targets.iter().map(move |target| (title.to_owned(), filled(target["expr"].as_str().unwrap())))
    });
    queries.collect()
}

/// YAML as JSON.
fn yaml(file: &str) -> Vec<serde_json::Value> {
    let mut command = Command::new(python::environment("lint", "python"));
    let read = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)";
    let text = python::run(command.args(["-c", read, file]).current_dir(root()).stdin(Stdio::null()));
    serde_json::from_str(&text).unwrap()
}

/// Every alert.
fn alerts() -> Vec<Query> {
    let file = yaml(ALERTS);
    let rules =
        file[0]["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    rules
        .map(|rule| {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()));
            let told = ["summary", "description"].map(|name| text(&rule["annotations"][name]));
            assert!(told.iter().all(|text| text.len() > 20), "{told:?}");
            (text(&rule["alert"]), text(&rule["expr"]))
        })
        .collect()
}

/// The selectors of each expression, by a parser that is not ours: text, name, labels.
fn selectors(queries: &[Query]) -> Vec<Vec<(String, String, Vec<String>)>> {
    let expressions: Vec<_> = queries.iter().map(|(_, expression)| expression).collect();
    let input = TempDir::new();
    let file = input.write("queries.json", &serde_json::to_string(&expressions).unwrap());
    let mut command = python::script("read_promql.py");
    let text = python::run(command.stdin(fs::File::open(file).unwrap()));
    let read: Vec<Vec<serde_json::Value>> = serde_json::from_str(&text).unwrap();
    let selector = |found: &serde_json::Value| {
        let text = |name: &str| found[name].as_str().unwrap().to_owned();
        let labels =
            found["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap().to_owned());
        (text("text"), text("name"), labels.collect())
    };
    read.iter().map(|found| found.iter().map(selector).collect()).collect()
}

#[test]
fn every_query_asks_for_metrics_and_labels_that_there_are() {
    let queries: Vec<_> = panels().into_iter().chain(alerts()).collect();
    assert!(queries.len() > 40, "{}", queries.len());
    let mut asked_for = BTreeSet::new();
    for ((of, query), found) in queries.iter().zip(selectors(&queries)) {
        assert!(!found.is_empty(), "{of}: {query}");
        for (_, name, labels) in found {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let family = families::ALL.iter().find(|family| {
                family.name() == name || family.kind() == "histogram" && Some(&*family.name()) == base
            });
            let own = match family {
                Some(family) => family.labels,
                None => {
                    assert_eq!(name, "up", "{of}: no such metric: {query}");
                    &[]
                }
            };
            asked_for.extend(family.map(|family| family.name()));
            for label in labels {
                let known = own.contains(&&*label) || ["job", "instance"].contains(&&*label);
                assert!(known, "{of}: {name} has no label {label}");
            }
        }
    }
    // What nobody would look at need not be counted.
    let left: Vec<_> =
        families::ALL.iter().map(|family| family.name()).filter(|name| !asked_for.contains(name)).collect();
    assert_eq!(
        left,
        ["countersign_client_connections_total", "process_virtual_memory_bytes", "process_threads"]
    );
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for (x, y) in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert((x, y)), "{} lies over another panel", panel["title"]);
        }
    }
    let names: Vec<_> =
        dashboard["templating"]["list"].as_array().unwrap().iter().map(|v| &v["name"]).collect();
    assert_eq!(names, ["datasource", "job", "instance", "stage"]);
    assert!(dashboard["uid"].is_string() && dashboard["schemaVersion"].as_u64() >= Some(36));
}

/// Where Prometheus is, if it is.
fn prometheus() -> Option<PathBuf> {
    let folder = fs::read_to_string(python::prepared().join("prometheus/bin")).unwrap();
    Some(PathBuf::from(folder.trim())).filter(|folder| !folder.as_os_str().is_empty())
}

fn promtool(folder: &std::path::Path, arguments: &[&str]) {
    let mut command = Command::new(folder.join("promtool"));
    let ended = Running::spawn(command.args(arguments).current_dir(root()).stdin(Stdio::null())).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// A Prometheus that scrapes the proxy each second, with our rules.
struct Prometheus {
    running: Running,
    address: SocketAddr,
    _directory: TempDir,
}

impl Prometheus {
    fn start(folder: &std::path::Path, scraped: SocketAddr) -> Self {
        let directory = TempDir::new();
        let rules = root().join(ALERTS);
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\nrule_files: [{rules:?}]\n\
             scrape_configs:\n  - job_name: countersign\n    static_configs: [{{ targets: [\"{scraped}\"] }}]\n"
        );
        let config = directory.write("prometheus.yml", &config);
        // Another program may be given the port between this one's letting go and Prometheus' taking it.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut command = Command::new(folder.join("prometheus"));
            command.arg(format!("--config.file={}", config.display()));
            command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
            command.arg(format!("--web.listen-address={address}")).current_dir(directory.path());
            let running = Running::spawn(command.stdin(Stdio::null()));
            if running.find(|line| line.contains("Server is ready").then_some(())).is_some() {
                return Self { running, address, _directory: directory };
            }
        }
        panic!("Prometheus does not start");
    }

    fn get(&self, path: &str, query: &str) -> serde_json::Value {
        let mut target = format!("/api/v1/{path}?query=");
        for byte in query.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => target.push(char::from(byte)),
                other => write!(target, "%{other:02X}").unwrap(),
            }
        }
        let answer = Via::Http1.exchange(self.address, &Ask::new("GET", &target)).unwrap();
        let json = answer.json();
        assert_eq!((answer.status, &json["status"]), (200, &"success".into()), "{query}: {json}");
        json["data"].clone()
    }

    /// How many series an expression gives.
    fn count(&self, query: &str) -> usize {
        self.get("query", query)["result"].as_array().map_or(0, Vec::len)
    }
}

/// A stage that answers, fails, breaks off, and has another time.
fn stage(request: &Request, reply: &mut Reply<'_>) -> std::io::Result<Then> {
    match request.target() {
        b"/prod/fail" => {
            reply.send(answer("500 Internal Server Error", &[], "no"))?;
            Ok(Then::Keep)
        }
        // Ten minutes further than this machine.
        b"/prod/skew" => {
            let stamp = |ahead| {
                let at = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(ahead));
                at.to_string().replace(['-', ':'], "")
            };
            let (signed, bound, now) = (stamp(0), stamp(300), stamp(600));
            let said = format!("Signature expired: {signed} is now earlier than {bound} ({now} - 5 min.)");
            let kind = [("x-amzn-errortype", "InvalidSignatureException")];
            reply.send(answer("403 Forbidden", &kind, format!("{{\"message\":\"{said}\"}}")))?;
            Ok(Then::Keep)
        }
        b"/prod/cut" => {
            reply.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nno")?;
            Ok(Then::Close)
        }
        _ => ok(request, reply),
    }
}

/// A proxy with a good stage and one for which all is missing.
fn scene() -> Scene {
    let printed = format!(
        "{{\"Version\":1,\"AccessKeyId\":\"AKIDSEEN\",\"SecretAccessKey\":\"{SECRET}\",\"SessionToken\":\"t\",\
         \"Expiration\":\"2999-01-01T00:00:00Z\"}}"
    );
    let second = "profile = \"dev\"\n[[stage]]\nname = \"second\"\nmount = \"/second\"\nprofile = \"none\"\n\
                  url = \"https://second.execute-api.us-west-2.amazonaws.com/prod\"\napi_key.env = \"NOT_SET\"\n{dial}";
    let setup = Setup::new().top("admin = \"127.0.0.1:0\"").without_keys().stage(second);
    let setup = setup.file("printed.json", &printed);
    setup.file(".aws/config", "[profile dev]\ncredential_process = cat printed.json\n").start(stage)
}

/// Something of all that can happen.
fn traffic(scene: &Scene) {
    let address = scene.proxy.address();
    for (ask, status) in [
        (Ask::new("GET", "/a"), Some(200)),
        (Ask::new("POST", "/a").body("body"), Some(200)),
        (Ask::new("GET", "/fail"), Some(500)),
        (Ask::new("GET", "/skew"), Some(403)),
        (Ask::new("GET", "/cut"), None),
        (Ask::new("GET", "/a/../b"), Some(400)),
        (Ask::new("GET", "/second/a"), Some(503)),
    ] {
        for via in Via::ALL {
            let answer = via.exchange(address, &ask).ok().map(|answer| answer.status);
            assert_eq!(answer, status, "{ask:?}");
        }
    }
}

/// Conditions that hold in this scene, so that the alerts' expressions are not empty.
const WRONG: [&str; 7] = [
    "CountersignCredentialsUnusable",
    "CountersignClockOff",
    "CountersignApiKeyMissing",
    "CountersignFails",
    "CountersignStageFails",
    "CountersignAnswersCut",
    "CountersignConfigurationRejected",
];

#[test]
fn a_real_prometheus_finds_what_each_query_asks_for() {
    let Some(folder) = prometheus() else {
        // No server to ask: at least the language is right, and each alert is about something that there is.
        let queries: Vec<_> = panels().into_iter().chain(alerts()).collect();
        assert!(selectors(&queries).iter().all(|found| !found.is_empty()));
        return;
    };
    let scene = scene();
    let heard = |part: &str| scene.proxy.process().find(|line| line.contains(part).then_some(()));
    heard("credentials are ready").unwrap();
    heard("no usable credentials").unwrap();
    let scraped = admin(scene.proxy.process());

    let prometheus = Prometheus::start(&folder, scraped);
    traffic(&scene);
    // Seen once before it counts: an increase is one from something.
    let deadline = Instant::now() + PATIENCE;
    let pause = || {
        assert!(Instant::now() < deadline, "Prometheus finds not enough:\n{}", prometheus.running.output());
        thread::sleep(Duration::from_millis(100));
    };
    while prometheus.count("countersign_config_reloads_total") == 0 {
        pause();
    }
    scene.proxy.home().write("countersign.toml", "listen = 7");
    heard("the configuration is not taken up").unwrap();

    let (panels, alerts) = (panels(), alerts());
    let conditions = alerts.iter().filter(|(name, _)| WRONG.contains(&&**name));
    let mut open: Vec<_> = panels.iter().chain(conditions).collect();
    assert_eq!(open.len(), panels.len() + WRONG.len());
    loop {
        traffic(&scene);
        open.retain(|(_, query)| prometheus.count(query) == 0);
        if open.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "these find nothing: {open:#?}\n{}", prometheus.running.output());
        pause();
    }
    // The others are about what has not happened; each of their parts is there all the same.
    for ((name, query), found) in alerts.iter().zip(selectors(&alerts)) {
        prometheus.count(query);
        for (selector, ..) in found {
            assert!(prometheus.count(&selector) > 0, "{name}: {selector} finds nothing");
        }
    }
    let by_stage = "sum(countersign_requests_total{origin=\"stage\", status=\"5xx\"})";
    let value = prometheus.get("query", by_stage)["result"][0]["value"][1].clone();
    assert!(value.as_str().and_then(|value| value.parse().ok()).unwrap_or(0.0) >= 4.0, "{value}");
    // Prometheus itself is content with the rules, also while it evaluates them.
    loop {
        let groups = prometheus.get("rules", "")["groups"].clone();
        let rules: Vec<_> =
            groups[0]["rules"].as_array().unwrap().iter().map(|rule| rule["health"].clone()).collect();
        assert_eq!(rules.len(), alerts.len());
        if rules.iter().all(|health| health == "ok") {
            break;
        }
        assert!(!rules.contains(&"err".into()), "{groups:#}");
        pause();
    }
    // The variables of the dashboard have something to choose from.
    for variable in dashboard()["templating"]["list"].as_array().unwrap() {
        let Some(definition) = variable["definition"].as_str() else { continue };
        let inner = definition.trim_start_matches("label_values(").trim_end_matches(')');
        let (series, label) = inner.rsplit_once(", ").unwrap();
        assert!(prometheus.count(&format!("count by ({label}) ({})", filled(series))) > 0, "{definition}");
    }
}

#[test]
fn promtool_finds_nothing_to_object_to() {
    let Some(folder) = prometheus() else {
        assert!(!alerts().is_empty(), "the rules can be read");
        return;
    };
    promtool(&folder, &["check", "rules", ALERTS]);
    promtool(&folder, &["test", "rules", "tests/prometheus/alerts.test.yaml"]);
    let tests = fs::read_to_string(root().join("tests/prometheus/alerts.test.yaml")).unwrap();
    for (alert, _) in alerts() {
        assert!(tests.contains(&format!("alertname=\"{alert}\"")), "{alert} is not tested");
    }

    let scene = scene();
    traffic(&scene);
    let scrape = Via::Http1.exchange(admin(scene.proxy.process()), &Ask::new("GET", "/metrics")).unwrap();
    let mut command = Command::new(folder.join("promtool"));
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(scrape.text().as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    assert!(ended.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// The program starts with these arguments, on other addresses.
fn starts_with(arguments: &[&str]) {
    let start = Launch::arguments(["run"]).keys("AKIDEXAMPLE", SECRET);
    let own = ["--listen=127.0.0.1:0", "--admin=127.0.0.1:0"];
    arguments.iter().chain(&own).fold(start, |launch, argument| launch.argument(argument)).start();
}

#[test]
fn manifests_call_the_program_as_it_wants_to_be_called() {
    let mut seen = 0;
    for file in ["sidecar", "job", "job-before-1.29"] {
        let manifest = &yaml(&format!("deploy/kubernetes/{file}.yaml"))[0];
        let pod = &manifest["spec"]["template"]["spec"];
        let containers =
            ["initContainers", "containers"].map(|kind| pod[kind].as_array().cloned().unwrap_or_default());
        for container in containers.concat().iter().filter(|container| container["image"] == "countersign") {
            seen += 1;
            let words = |value: &serde_json::Value| -> Vec<String> {
                value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
            };
            let arguments = words(&container["args"]);
            starts_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
            // Where another container ends it, that is allowed.
            let ended_by_request = pod.to_string().contains("quitquitquit");
            assert_eq!(arguments.contains(&"--admin-quit".to_owned()), ended_by_request, "{file}");
            for probe in ["startupProbe", "readinessProbe"] {
                let command = &container[probe]["exec"]["command"];
                if command.is_null() {
                    continue;
                }
                let command = words(command);
                assert_eq!(command[0], "/usr/local/bin/countersign");
                let asked =
                    command[1..].iter().fold(Launch::arguments([]), |launch, word| launch.argument(word));
                assert_eq!(asked.argument("--help").run().code, Some(0), "{command:?}");
            }
            assert!(container["resources"]["limits"]["memory"].is_string());
        }
    }
    assert_eq!(seen, 3);
    let image = fs::read_to_string(root().join("Dockerfile")).unwrap();
    assert!(image.contains("/usr/local/bin/countersign"), "{image}");
}

#[test]
fn units_call_the_program_as_it_wants_to_be_called() {
    let scene = Setup::new().start_ok();
    let config = scene.proxy.home().path().join("countersign.toml");
    let mut units = 0;
    for file in ["countersign.service", "countersign-system.conf", "countersign.socket"] {
        let text = fs::read_to_string(root().join("deploy/systemd").join(file)).unwrap();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{file}: {line}"));
            let Some((_, arguments)) =
                value.split_once("bin/countersign run --config ").filter(|_| key == "ExecStart")
            else {
                continue;
            };
            units += 1;
            assert!(arguments.ends_with("countersign.toml") && !arguments.contains(' '), "{arguments}");
            starts_with(&["--config", config.to_str().unwrap()]);
        }
    }
    assert_eq!(units, 2);
    // systemd's own word, where it is there; older ones do not know the newest type.
    let unit = fs::read_to_string(root().join("deploy/systemd/countersign.service")).unwrap();
    assert!(unit.contains("Type=notify-reload"));
    let directory = TempDir::new();
    let program = std::env::current_exe().unwrap();
    let unit = unit.replace("Type=notify-reload", "Type=notify");
    let unit = unit.replace("%h/.local/bin/countersign", program.to_str().unwrap());
    let file = directory.write("countersign.service", &unit);
    let mut command = Command::new("systemd-analyze");
    command
        .args(["verify", "--user", "--recursive-errors=no"])
        .arg(&file)
        .env("XDG_RUNTIME_DIR", directory.path());
    if let Ok(output) = command.stdin(Stdio::null()).output() {
        let said = String::from_utf8_lossy(&output.stderr);
        let of_ours: Vec<_> = said.lines().filter(|line| line.contains("countersign.service")).collect();
        assert!(of_ours.is_empty(), "{said}");
    }
}
