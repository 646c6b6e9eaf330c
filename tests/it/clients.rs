//! Clients that know nothing of the proxy work through it unmodified: curl, Python's httpx and requests, boto3, Node's
//! fetch and nghttp. What comes to the stage, over TLS, is signed for the stage whatever the client signed.

use std::{
    fs,
    process::{Command, Stdio},
    sync::Arc,
    time::SystemTime,
};

use countersign::demo::{
    canonical::Received,
    verify::{Account, Verifier},
};

use crate::support::{
    TempDir,
    origin::{Origin, Request, Then, answer},
    process::{Countersign, Ended, Launch, Running},
    python,
};

const NAME: &str = "abc1234567.execute-api.us-west-2.amazonaws.com";
const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const API_KEY: &str = "9mZ3EXAMPLEkey7Qw5T1yXo2LpRb4NcVd8FgHs6J";

const DOWNLOAD: usize = 50_000_000;
/// As much as API Gateway takes.
const UPLOAD: usize = 10 << 20;

/// 0, 1, …, 250, 0, 1, …: what is lost, doubled or out of place shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// The proxy in front of a stage that tells what it got, and answers `/large` with [`DOWNLOAD`] bytes.
struct Scene {
    origin: Origin,
    proxy: Countersign,
    files: TempDir,
}

impl Scene {
    fn new() -> Self {
        let large = pattern(DOWNLOAD);
        let origin = Origin::tls(&[NAME], move |request, reply| {
            let json = [("content-type", "application/json")];
            let told = format!("{{\"method\": \"{}\", \"bytes\": {}}}", request.method(), request.body.len());
            match (request.method(), request.target()) {
                ("HEAD", _) => {
                    // The length of what is left out.
                    let whole = answer("200 OK", &json, &told);
                    reply.send(&whole[..whole.len() - told.len()])?;
                }
                (_, b"/prod/large") => {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {DOWNLOAD}\r\n\r\n");
                    reply.send(head)?;
                    // In pieces, as a stream comes.
                    large.chunks(100_000).try_for_each(|piece| reply.send(piece))?;
                }
                _ => reply.send(answer("200 OK", &json, told))?,
            }
            Ok(Then::Keep)
        });
        let config = format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"off\"\n[[stage]]\nurl = \"https://{NAME}/prod\"\nconnect_to = \"{}\"\n\
             ca_bundle = {:?}\napi_key = {{ value = \"{API_KEY}\" }}\n",
            origin.address(),
            origin.ca(),
        );
        let proxy = Launch::config(&config).keys(ACCESS_KEY, SECRET).start();
        Self { origin, proxy, files: TempDir::new() }
    }

    fn url(&self, target: &str) -> String {
        format!("http://localhost:{}{target}", self.proxy.address().port())
    }

    /// The next request at the stage, which must be this one, signed by the proxy for the stage with the API key in the
    /// signature.
    fn arrived(&self, method: &str, target: &str, body: &[u8]) -> Arc<Request> {
        let request = self.origin.next();
        let got = (request.method(), String::from_utf8_lossy(request.target()).into_owned());
        assert_eq!(got, (method, format!("/prod{target}")));
        assert!(request.body == body, "{method} {target}: {} bytes of body came", request.body.len());
        let account = Account {
            access_key_id: ACCESS_KEY.to_owned(),
            secret_access_key: SECRET.to_owned(),
            session_token: None,
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
            headers: &request.head.fields,
            body: &request.body,
        };
        verifier.verify(&received, SystemTime::now()).unwrap_or_else(|refused| panic!("{refused}"));
        assert_eq!(request.head.one("x-api-key"), Some(API_KEY));
        let authorization = request.head.one("authorization").expect("it is signed");
        assert!(authorization.contains(";x-api-key"), "{authorization}");
        assert_eq!(request.head.one("host"), Some(NAME));
        request
    }
}

/// Lets a client run to its end, free of what the surroundings tell it (proxies, options, credentials).
fn run(mut command: Command) -> Ended {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    command.env_clear().env("PATH", path).stdin(Stdio::null());
    let ended = Running::spawn(&mut command).end();
    assert_eq!(ended.code, Some(0), "{command:?} {ended:?}");
    ended
}

/// curl's last line is the status and the protocol.
fn curl(options: &[&str], url: &str) -> Ended {
    let mut command = python::tool("curl");
    command.args(["-q", "-sS", "--max-time", "60", "-w", "\n%{http_code} HTTP/%{http_version}"]);
    command.args(options).arg(url);
    run(command)
}

const CURL_PROTOCOLS: [(&str, &str); 2] =
    [("--http1.1", "200 HTTP/1.1"), ("--http2-prior-knowledge", "200 HTTP/2")];

#[test]
fn curl_sends_what_its_users_send() {
    let scene = &Scene::new();
    let file = scene.files.write("orders.json", "{\"id\": 7}\n");
    let file = file.to_str().unwrap();
    for (protocol, spoken) in CURL_PROTOCOLS {
        let ended = curl(&[protocol], &scene.url("/orders?tag=b&tag=a&q=%C3%BC"));
        assert_eq!(ended.out, format!("{{\"method\": \"GET\", \"bytes\": 0}}\n{spoken}\n"));
        scene.arrived("GET", "/orders?tag=b&tag=a&q=%C3%BC", b"");

        let ended = curl(&[protocol, "-d", "a=1&b=2"], &scene.url("/orders"));
        assert_eq!(ended.out, format!("{{\"method\": \"POST\", \"bytes\": 7}}\n{spoken}\n"));
        let request = scene.arrived("POST", "/orders", b"a=1&b=2");
        assert_eq!(request.head.one("content-type"), Some("application/x-www-form-urlencoded"));

        curl(&[protocol, "-T", file], &scene.url("/orders/7"));
        scene.arrived("PUT", "/orders/7", b"{\"id\": 7}\n");

        // A length that curl does not know.
        let ended =
            curl(&[protocol, "-H", "transfer-encoding: chunked", "-T", file], &scene.url("/orders/8"));
        assert!(ended.out.ends_with(&format!("{spoken}\n")), "{ended:?}");
        scene.arrived("PUT", "/orders/8", b"{\"id\": 7}\n");

        let ended = curl(&[protocol, "-I"], &scene.url("/orders"));
        assert!(ended.out.contains("content-length: 30"), "{ended:?}");
        scene.arrived("HEAD", "/orders", b"");

        // What curl signs is replaced: another key, region and service.
        let own = ["-u", "AKIDOTHER:other", "--aws-sigv4", "aws:amz:eu-north-1:s3"];
        curl(&[&[protocol][..], &own].concat(), &scene.url("/orders"));
        let request = scene.arrived("GET", "/orders", b"");
        assert!(!request.head.raw.windows(9).any(|bytes| bytes == b"AKIDOTHER"));
    }
}

#[test]
fn curl_moves_large_bodies_byte_for_byte() {
    let scene = &Scene::new();
    let upload = scene.files.path().join("upload");
    fs::write(&upload, pattern(UPLOAD)).unwrap();
    let download = scene.files.path().join("download");
    for (protocol, spoken) in CURL_PROTOCOLS {
        // Over HTTP/1.1 curl asks with Expect: 100-continue first.
        let ended = curl(&[protocol, "-T", upload.to_str().unwrap()], &scene.url("/upload"));
        assert_eq!(ended.out, format!("{{\"method\": \"PUT\", \"bytes\": {UPLOAD}}}\n{spoken}\n"));
        scene.arrived("PUT", "/upload", &pattern(UPLOAD));

        let ended = curl(&[protocol, "-o", download.to_str().unwrap()], &scene.url("/large"));
        assert_eq!(ended.out, format!("\n{spoken}\n"));
        scene.arrived("GET", "/large", b"");
        assert!(fs::read(&download).unwrap() == pattern(DOWNLOAD), "what came is not what was sent");
        fs::remove_file(&download).unwrap();
    }
}

fn python_client(scene: &Scene, name: &str) -> Vec<serde_json::Value> {
    let mut command = python::script("clients.py");
    command.args([name, &scene.url("")]);
    run(command).out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn python_clients_work() {
    // Each writes JSON in its own way.
    let bodies = [("httpx", r#"{"name":"Jürgen"}"#), ("requests", r#"{"name": "J\u00fcrgen"}"#)];
    for (name, body) in bodies {
        let scene = &Scene::new();
        let got = python_client(scene, name);
        let told = |method: &str, bytes: usize| serde_json::json!({ "method": method, "bytes": bytes });
        scene.arrived("GET", "/orders?tag=b&tag=a&q=%C3%BC%20x%2By", b"");
        let posted = scene.arrived("POST", "/orders", body.as_bytes());
        assert_eq!(posted.head.one("content-type"), Some("application/json"));
        scene.arrived("PUT", "/upload", &pattern(UPLOAD));
        scene.arrived("GET", "/large", b"");
        let expected = [told("GET", 0), told("POST", body.len()), told("PUT", UPLOAD), true.into()];
        assert_eq!(got, expected, "{name}");
    }
}

#[test]
fn boto3_pointed_at_the_proxy_has_its_signature_replaced() {
    let scene = &Scene::new();
    let got = python_client(scene, "boto3");
    assert_eq!(got, [serde_json::json!({ "method": "POST", "bytes": 9 }), 200.into()]);
    let invoke = scene.arrived("POST", "/2015-03-31/functions/orders/invocations", b"{\"id\": 7}");
    let post = scene.arrived("POST", "/@connections/L0SM9cOFvHcCIhw%3D", b"hello");
    for request in [invoke, post] {
        let raw = String::from_utf8_lossy(&request.head.raw);
        for theirs in ["AKIDOTHER", "another-token", "eu-north-1"] {
            assert!(!raw.contains(theirs), "{raw}");
        }
    }
}

const FETCH: &str = "
const [, url] = process.argv;
const show = (value) => console.log(JSON.stringify(value));
const pattern = (length) => { const b = new Uint8Array(length); for (let i = 0; i < length; i++) b[i] = i % 251; return b; };
const json = async (target, options) => {
  const answer = await fetch(url + target, options);
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json();
};
show(await json('/orders?tag=b&tag=a&q=ü'));
const headers = { 'content-type': 'application/json' };
show(await json('/orders', { method: 'POST', headers, body: JSON.stringify({ name: 'Jürgen' }) }));
show(await json('/upload', { method: 'PUT', body: pattern(10 << 20) }));
const large = Buffer.from(await (await fetch(url + '/large')).arrayBuffer());
show(large.equals(pattern(50_000_000)));
";

#[test]
fn nodes_fetch_works() {
    let scene = &Scene::new();
    let mut node = python::tool("node");
    node.args(["--input-type=module", "-e", FETCH, &scene.url("")]);
    let out = run(node).out;
    let expected = [
        r#"{"method":"GET","bytes":0}"#.to_owned(),
        r#"{"method":"POST","bytes":18}"#.to_owned(),
        format!("{{\"method\":\"PUT\",\"bytes\":{UPLOAD}}}"),
        "true".to_owned(),
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    scene.arrived("GET", "/orders?tag=b&tag=a&q=%C3%BC", b"");
    let posted = scene.arrived("POST", "/orders", "{\"name\":\"Jürgen\"}".as_bytes());
    assert_eq!(posted.head.one("content-type"), Some("application/json"));
    scene.arrived("PUT", "/upload", &pattern(UPLOAD));
    scene.arrived("GET", "/large", b"");
}

#[test]
fn nghttp_works() {
    let scene = &Scene::new();
    let upload = scene.files.path().join("upload");
    fs::write(&upload, pattern(UPLOAD)).unwrap();
    let nghttp = |options: &[&str], target: &str| {
        let mut command = python::tool("nghttp");
        command.args(["--timeout=60"]).args(options).arg(scene.url(target));
        run(command).out
    };
    assert_eq!(nghttp(&[], "/orders?tag=b&tag=a").trim_end(), r#"{"method": "GET", "bytes": 0}"#);
    scene.arrived("GET", "/orders?tag=b&tag=a", b"");
    let posted = nghttp(&["-d", upload.to_str().unwrap()], "/orders");
    assert_eq!(posted.trim_end(), format!("{{\"method\": \"POST\", \"bytes\": {UPLOAD}}}"));
    scene.arrived("POST", "/orders", &pattern(UPLOAD));
}
