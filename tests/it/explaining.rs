//! `countersign explain` says what the proxy does, and what a refusal differs in: byte for byte as AWS's published
//! vectors, botocore and the proxy itself have it, without a secret, and without sending anything.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    agreement::generate,
    support::{
        TempDir,
        client::{Ask, Via},
        leaks::Leaks,
        process::{Ended, Launch, Running, listening},
        python,
        scene::{ACCESS_KEY, API_KEY, NAME, SECRET, Setup, TOKEN, assert_signed, ok},
        snapshot,
        sts::sts,
    },
    vectors,
};

const URL: &str = "https://abc123.execute-api.us-west-2.amazonaws.com/prod";
const AT: &str = "2015-08-30T12:36:00Z";

/// `explain` with these arguments, in what `launch` starts the proxy with.
fn explain(launch: &Launch, arguments: &[&str]) -> Command {
    let run = launch.command();
    let mut command = Command::new(run.get_program());
    command.arg("explain").args(arguments).args(run.get_args().skip(1));
    command.env_clear().stdin(Stdio::null()).current_dir(run.get_current_dir().unwrap());
    command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

fn ended(mut command: Command) -> Ended {
    Running::spawn(&mut command).end()
}

/// Without a configuration file, with AWS's example keys.
fn example(arguments: &[&str]) -> Ended {
    let launch = Launch::arguments(["run", "--example-keys", URL]);
    ended(explain(&launch, arguments))
}

fn parsed(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// The lines of one of its texts, joined as they are signed.
fn text(lines: &Value) -> String {
    let lines: Vec<_> = lines.as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect();
    lines.join("\n")
}

fn header<'a>(explained: &'a Value, name: &str) -> Option<&'a str> {
    let fields = explained["request"]["headers"].as_array().unwrap();
    fields.iter().find(|field| field["name"] == name).map(|field| field["value"].as_str().unwrap())
}

/// Why a vector is not a request that `explain` can be given: the proxy refuses dot segments, sends no payload hash to
/// API Gateway, sends a session token only inside of the signature, and encodes paths twice for every service but S3,
/// where the suite's has them once.
fn is_beyond(case: &vectors::Case) -> bool {
    let (context, request) = (&case.context, &case.request);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    let dots = request.path.split('/').any(|segment| matches!(segment, "." | ".."));
    let given_token = request.headers.contains_key("x-amz-security-token");
    let again = !case.is_own() && !request.path.bytes().all(plain);
    dots || context.sign_body
        || context.omit_session_token
        || given_token
        || again
        || request.path.contains(' ')
        || !context.normalize
}

#[test]
fn the_published_vectors_come_out_right_at_each_stage() {
    let (mut own, mut published) = (0, 0);
    for case in vectors::cases().into_iter().filter(|case| !is_beyond(case)) {
        *(if case.is_own() { &mut own } else { &mut published }) += 1;
        explains_as_written(&case);
    }
    // A case that goes missing is noticed.
    assert_eq!((published, own), (22, 19));
}

fn explains_as_written(case: &vectors::Case) {
    let (context, request) = (&case.context, &case.request);
    let host = request.headers["host"].to_str().unwrap().trim();
    let mut launch = Launch::arguments(["run"])
        .argument(&format!("https://{host}"))
        .argument(&format!("--region={}", context.region))
        .argument(&format!("--service={}", context.service))
        .keys(&context.credentials.access_key_id, &context.credentials.secret_access_key);
    if let Some(token) = &context.credentials.token {
        launch = launch.variable("AWS_SESSION_TOKEN", token);
    }
    let mut own_headers = Vec::new();
    let mut arguments = vec![request.method.clone(), case.request.path.clone()];
    if !request.query.is_empty() {
        let _ = write!(arguments[1], "?{}", request.query);
    }
    for (name, value) in &request.headers {
        let value = value.to_str().unwrap_or_else(|_| std::str::from_utf8(value.as_bytes()).unwrap());
        match name.as_str() {
            "host" | "content-length" => {}
            "x-api-key" => {
                launch = launch.variable("COUNTERSIGN_API_KEY", value).argument("--route=/**=iam+api-key");
            }
            _ => {
                // What the suite signs beside the standard headers. Our own vectors sign by the allow list alone.
                if !case.is_own() && !["content-type", "x-amz-date"].contains(&name.as_str()) {
                    own_headers.push(name.to_string());
                }
                arguments.extend(["-H".to_owned(), format!("{name}: {value}")]);
            }
        }
    }
    own_headers.dedup();
    if !own_headers.is_empty() {
        launch = launch.argument(&format!("--signed-headers={}", own_headers.join(",")));
    }
    let body = TempDir::new();
    if !request.body.is_empty() {
        fs::write(body.path().join("body"), &request.body).unwrap();
        arguments.extend(["-d".to_owned(), format!("@{}", body.path().join("body").display())]);
    }
    arguments.extend(["--json".to_owned(), format!("--at={}", context.timestamp)]);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let explained = parsed(&ended(explain(&launch, &arguments)));

    let file = |name: &str| fs::read_to_string(case.directory.join(name)).unwrap();
    let signing = &explained["signing"];
    let mask = |line: &str| match line.split_once(':') {
        Some((name @ ("x-api-key" | "x-amz-security-token"), value)) => {
            format!("{name}:•••• ({} characters)", value.chars().count())
        }
        _ => line.to_owned(),
    };
    let canonical = file("canonical-request.txt");
    let masked: Vec<_> = canonical.split('\n').map(mask).collect();
    assert_eq!(text(&signing["canonical_request"]), masked.join("\n"), "{}", case.name);
    assert_eq!(text(&signing["string_to_sign"]), file("string-to-sign.txt"), "{}", case.name);
    assert_eq!(header(&explained, "authorization"), Some(&*file("authorization.txt")), "{}", case.name);
}

#[test]
fn botocore_signs_generated_requests_the_same_step_by_step() {
    const CASES: usize = 60;
    let (mut cases, mut lines) = (Vec::new(), String::new());
    for seed in 0.. {
        if cases.len() == CASES {
            break;
        }
        assert!(seed < 1000, "of {seed} generated requests only {} can be explained", cases.len());
        let case = generate::Case::new(seed);
        let Some(explained) = explained(&case) else { continue };
        let signing = &explained["signing"];
        let names: Vec<_> =
            signing["signed_headers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let signed: Vec<_> = explained["request"]["headers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|field| names.contains(&field["name"].as_str().unwrap()))
            .map(|field| [field["name"].clone(), field["value"].clone()])
            .collect();
        let body_sha256: String =
            Sha256::digest(case.body()).iter().map(|byte| format!("{byte:02x}")).collect();
        let line = json!({
            "method": case.ask.method,
            "target": explained["request"]["target"],
            "headers": signed,
            "timestamp": "20150830T123600Z",
            "body_sha256": body_sha256,
            "region": "us-west-2",
            "service": "execute-api",
            "access_key": ACCESS_KEY,
            "secret": SECRET,
        });
        writeln!(lines, "{line}").unwrap();
        cases.push((seed, explained));
    }
    let folder = TempDir::new();
    let input = fs::File::open(folder.write("cases", &lines)).unwrap();
    let out = python::run(python::script("explain_botocore.py").stdin(input));
    assert_eq!(out.lines().count(), CASES);
    for ((seed, explained), line) in cases.iter().zip(out.lines()) {
        let theirs: Value = serde_json::from_str(line).unwrap();
        let signing = &explained["signing"];
        assert_eq!(text(&signing["canonical_request"]), theirs["canonical_request"], "seed {seed}");
        assert_eq!(text(&signing["string_to_sign"]), theirs["string_to_sign"], "seed {seed}");
        assert_eq!(signing["signature"], theirs["signature"], "seed {seed}");
    }
}

/// What is told of it, if it can be written as arguments and the proxy would send it.
fn explained(case: &generate::Case) -> Option<Value> {
    let folder = TempDir::new();
    let body = folder.path().join("body");
    fs::write(&body, case.body()).unwrap();
    let mut arguments = vec![case.ask.method.clone(), case.ask.target.clone()];
    for (name, value) in &case.ask.headers {
        let value = std::str::from_utf8(value).ok().filter(|value| !value.contains('\0'))?;
        let framing =
            ["host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "te"];
        if !framing.contains(&name.to_ascii_lowercase().as_str()) {
            arguments.extend(["-H".to_owned(), format!("{name}: {value}")]);
        }
    }
    if !case.body().is_empty() {
        arguments.extend(["-d".to_owned(), format!("@{}", body.display())]);
    }
    arguments.extend(["--json", "--at", AT].map(str::to_owned));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let ended = example(&arguments);
    match ended.code {
        Some(0) => Some(parsed(&ended)),
        // The proxy refuses it, or it is no argument.
        Some(1 | 2) => None,
        _ => panic!("{ended:?}"),
    }
}

#[test]
fn it_says_what_the_proxy_sends() {
    let setup = Setup::new().plain().api_key().session();
    let setup = setup
        .stage_more("signed_headers = [\"x-tenant\"]\n[[stage.route]]\npath = \"/open\"\nauth = \"none\"");
    let (origin, launch) = setup.prepare(ok);
    let mut proxy = Running::spawn(&mut launch.command());
    let address = proxy.find(listening).expect("it listens");
    let crate::support::process::Address::Tcp(address) = address else { panic!("{address:?}") };
    for (method, target, headers, body) in [
        ("GET", "/orders?b=2&a=1%201+2&a", &[("X-Tenant", " a  b "), ("x-own", "c")][..], ""),
        ("POST", "/a%20b//c/", &[("content-type", "application/json")], "{\"a\":1}"),
        (
            "DELETE",
            "/orders/7?X-Amz-Signature=abc",
            &[("x-api-key", "theirs"), ("authorization", "Bearer x")],
            "",
        ),
        ("PUT", "/empty", &[], ""),
        ("GET", "/open?x=y", &[("authorization", "Bearer x")], ""),
    ] {
        let mut ask = Ask::new(method, target).header("host", "localhost");
        let mut arguments = vec![method.to_owned(), target.to_owned(), "--json".to_owned()];
        for (name, value) in headers {
            ask = ask.header(name, value);
            arguments.extend(["-H".to_owned(), format!("{name}: {value}")]);
        }
        if !body.is_empty() {
            ask = ask.body(body);
            arguments.extend(["-d".to_owned(), body.to_owned()]);
        }
        assert_eq!(Via::Http1.exchange(address, &ask).unwrap().status, 200);
        let sent = origin.next();
        arguments.extend(sent.head.one("x-amz-date").map(|date| format!("--at={date}")));
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let explained = parsed(&ended(explain(&launch, &arguments)));
        let request = &explained["request"];
        assert_eq!(request["method"], sent.method());
        assert_eq!(request["target"].as_str().unwrap().as_bytes(), sent.target());
        let mut said = Vec::new();
        for field in request["headers"].as_array().unwrap() {
            let (name, value) = (field["name"].as_str().unwrap(), field["value"].as_str().unwrap());
            said.push(name);
            let real = sent.head.one(name).unwrap_or_else(|| panic!("{name} was not sent"));
            match field["hidden"].as_bool().unwrap() {
                // Each request gets one of its own.
                false if name == "x-request-id" => assert_eq!(value.len(), real.len()),
                false => assert_eq!(value, real, "{name}"),
                true => assert!(value.contains("••••") && !value.contains(real), "{name}: {value}"),
            }
        }
        for (name, _) in &sent.head.fields {
            let name = name.to_ascii_lowercase();
            assert!(said.contains(&name.as_str()), "{name} was sent and is not told: {said:?}");
        }
        assert_eq!(explained["signing"].is_null(), sent.head.one("x-amz-date").is_none());
    }
    assert_eq!(origin.take().len(), 0, "explaining sends nothing");
    proxy.signal("TERM");
    assert_eq!(proxy.end().code, Some(0));
}

#[test]
fn a_signed_command_is_what_a_shell_runs() {
    let (origin, launch) = Setup::new().plain().api_key().session().prepare(ok);
    let folder = TempDir::new();
    let trap = folder.path().join("trap");
    let trap = trap.to_str().unwrap();
    let hostile = format!("'; touch {trap}; $(touch {trap}) `touch {trap}` \"\\ !! ${{HOME}} & | é");
    let lines = format!("@{hostile}\n\n$(touch {trap})\n");
    let path = format!("/a'%22;$(touch%20{trap})/{{x}}[1-3]?q='&r=$(id)`id`");
    for (method, body) in
        [("GET", ""), ("POST", lines.as_str()), ("PUT", ""), ("DELETE", "x\u{7}\u{202e}"), ("HEAD", "")]
    {
        let field = format!("x-own: {hostile}");
        let mut arguments = vec![method, path.as_str(), "--curl", "-H", &field, "-H", "x-empty;"];
        let file = folder.write("body", body);
        let from_file = format!("@{}", file.display());
        if !body.is_empty() {
            arguments.extend(["-d", &from_file]);
        }
        let explained = ended(explain(&launch, &arguments));
        assert_eq!(explained.code, Some(0), "{explained:?}");
        assert!(explained.err.contains("do not share it"), "{explained:?}");
        python::prepared();
        let mut shell = Command::new("sh");
        shell.args(["-euc", &explained.out]).stdin(Stdio::null());
        let done = ended(shell);
        assert_eq!(done.code, Some(0), "{}\n{done:?}", explained.out);
        let sent = origin.next();
        assert_signed(&sent);
        assert_eq!((sent.method(), String::from_utf8_lossy(&sent.body).as_ref()), (method, body));
        assert_eq!(sent.head.all("x-own"), [hostile.as_bytes()], "{}", explained.out);
        assert_eq!(sent.head.one("x-empty"), Some(""));
        assert_eq!(sent.head.one("x-api-key"), Some(API_KEY));
        assert!(!fs::exists(trap).unwrap(), "the shell ran what it was to pass on: {}", explained.out);
    }
}

fn refusal_of(canonical: &str, to_sign: &str) -> String {
    let text = format!(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
         and signing method. Consult the service documentation for details.\n\nThe Canonical String for this request \
         should have been\n'{canonical}'\n\nThe String-to-Sign should have been\n'{to_sign}'\n"
    );
    json!({ "message": text }).to_string()
}

/// The usual request of the tests below, with the key, at its usual time or at that of a refusal.
const USUAL: [&str; 6] =
    ["POST", "/orders?limit=2&a=1", "-d", "{\"a\":1}", "-H", "content-type: application/json"];

fn keyed() -> Launch {
    Launch::arguments(["run", "--example-keys", URL]).variable("COUNTERSIGN_API_KEY", API_KEY)
}

fn usual(more: &[&str]) -> Ended {
    ended(explain(&keyed(), &[&USUAL[..], more].concat()))
}

/// The refusal of the usual request, as a gateway that saw another query prints it.
fn usual_refusal() -> (String, Value) {
    let explained = parsed(&usual(&["--json", "--at", AT]));
    let signing = &explained["signing"];
    let canonical = text(&signing["canonical_request"]).replace("•••• (25 characters)", API_KEY);
    let refusal = refusal_of(&canonical.replace("limit=2", "limit=3"), &text(&signing["string_to_sign"]));
    (refusal, explained)
}

#[test]
fn it_reads_well() {
    let (refusal, explained) = usual_refusal();
    let folder = TempDir::new();
    let file = folder.write("refused.json", &refusal);
    let shown = usual(&["--against", file.to_str().unwrap()]);
    // Each request gets an id of its own.
    let id =
        shown.out.lines().find_map(|line| line.trim().strip_prefix("x-request-id:")).expect("it has one");
    let known = [
        (explained["signing"]["canonical_request_hash"].as_str().unwrap(), "CANONICAL_HASH"),
        (explained["signing"]["signature"].as_str().unwrap(), "SIGNATURE"),
        (id.trim(), "REQUEST_ID"),
    ];
    snapshot::ended("explain/against", &shown, &known);
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
}

#[test]
fn a_refusal_is_read_in_every_form_and_its_first_difference_marked() {
    let (body, _) = usual_refusal();
    let verbose = format!(
        "*   Trying 192.0.2.1:443...\n> POST /prod/orders HTTP/1.1\n> Host: {NAME}\n> x-amz-date: 20150830T123600Z\n> \n\
         < HTTP/1.1 403 Forbidden\n< content-type: application/json\n< x-amzn-errortype: InvalidSignatureException\n< \n\
         {{ [945 bytes data]\n{body}* Connection #0 to host {NAME} left intact\n"
    );
    let har = json!({ "log": { "version": "1.2", "entries": [{
        "request": { "method": "POST", "headers": [{ "name": "x-amz-date", "value": "20150830T123600Z" }] },
        "response": { "status": 403, "headers": [], "content": { "text": body } },
    }]}});
    let printed =
        format!("HTTP/1.1 403 Forbidden\r\nx-amzn-errortype: InvalidSignatureException\r\n\r\n{body}");
    let folder = TempDir::new();
    for (name, content) in [
        ("body.json", body.clone()),
        ("a.har", har.to_string()),
        ("verbose.txt", verbose),
        ("printed.txt", printed),
    ] {
        let file = folder.write(name, &content);
        let explained = parsed(&usual(&["--json", "--against", file.to_str().unwrap()]));
        // Signed for the time of the refusal, so that nothing but the query differs.
        assert_eq!(header(&explained, "x-amz-date"), Some("20150830T123600Z"), "{name}");
        let diagnosis = &explained["diagnosis"];
        assert_eq!(diagnosis["rule"], "signature-mismatch", "{name}");
        let differing: Vec<_> =
            diagnosis["diff"].as_array().unwrap().iter().filter(|line| line["kind"] != "same").collect();
        assert_eq!(
            differing,
            [
                &json!({ "kind": "ours", "line": "a=1&limit=2" }),
                &json!({ "kind": "theirs", "line": "a=1&limit=3" })
            ],
            "{name}"
        );
        let shown = usual(&["--against", file.to_str().unwrap()]);
        let marked: Vec<_> =
            shown.out.lines().filter(|line| line.contains("<- the first difference")).collect();
        assert_eq!(marked.len(), 1, "{name}: {}", shown.out);
        assert!(marked[0].starts_with("  - a=1&limit=2 "), "{name}: {}", marked[0]);
    }
    // From standard input.
    let launch = keyed();
    let mut command = explain(&launch, &[&USUAL[..], &["--json", "--against", "-"]].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let explained: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(explained["diagnosis"]["rule"], "signature-mismatch");
}

#[test]
fn other_refusals_are_explained_too() {
    let folder = TempDir::new();
    for (answer, rule) in [
        ("{\"message\":\"Missing Authentication Token\"}", json!("unknown-route")),
        ("HTTP/2 403\r\napigw-requestid: x\r\n\r\n{\"message\":\"Forbidden\"}", json!("http-api-forbidden")),
        ("{\"message\":\"The security token included in the request is expired\"}", json!("expired-token")),
        ("HTTP/1.1 500 Oops\r\n\r\n<html>", Value::Null),
    ] {
        let file = folder.write("answer", answer);
        let explained = parsed(&usual(&["--json", "--against", file.to_str().unwrap()]));
        assert_eq!(explained["diagnosis"].get("rule").unwrap_or(&Value::Null), &rule, "{answer}");
    }
    let shown = usual(&["--against", folder.path().join("answer").to_str().unwrap()]);
    assert!(shown.out.contains("It is none that is known"), "{}", shown.out);
}

#[test]
fn a_denial_names_who_signs_as_sts_says() {
    let sts = sts("arn:aws:sts::111122223333:assumed-role/orders/me");
    let masked = "arn:aws:execute-api:us-west-2:********3333:abc123/prod/GET/a";
    let denied = format!(
        "{{\"Message\":\"User: you is not authorized to perform: execute-api:Invoke on resource: {masked}\"}}"
    );
    let folder = TempDir::new();
    let file = folder.write("denied.json", &denied);
    let arguments = ["GET", "/a", "--json", "--against", file.to_str().unwrap()];
    let launch = |endpoint: &str| {
        Launch::arguments(["run", URL]).keys(ACCESS_KEY, SECRET).variable("AWS_ENDPOINT_URL_STS", endpoint)
    };
    let endpoint = format!("http://{}", sts.address());
    let told = |explained: &Value| {
        let diagnosis = &explained["diagnosis"];
        let resource = &diagnosis["policy"]["Statement"][0]["Resource"];
        (diagnosis["title"].as_str().unwrap().to_owned(), resource.as_str().unwrap().to_owned())
    };
    let explained = parsed(&ended(explain(&launch(&endpoint), &arguments)));
    let (title, resource) = told(&explained);
    assert_eq!(title, "No policy permits this to assumed-role/orders/me");
    assert_eq!(resource, masked.replace("********", "11112222"));
    assert_eq!(sts.take().len(), 1);
    // Nobody is there, or nobody is asked: for AWS's example keys, and where it does not matter who signs.
    let plain = ("No policy permits this".to_owned(), masked.to_owned());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let explained = parsed(&ended(explain(&launch(&format!("http://{nobody}")), &arguments)));
    assert_eq!(told(&explained), plain);
    let example = [&arguments[..], &["--example-keys"]].concat();
    assert_eq!(told(&parsed(&ended(explain(&launch(&endpoint), &example)))), plain);
    folder.write("denied.json", "{\"message\":\"Missing Authentication Token\"}");
    let explained = parsed(&ended(explain(&launch(&endpoint), &arguments)));
    assert_eq!(explained["diagnosis"]["rule"], "unknown-route");
    assert_eq!(sts.take().len(), 0);
}

/// Keys of objects, below arrays too; with what kind of value each has.
fn shape(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| shape(value, &format!("{at}.{key}"), out))
        }
        Value::Array(list) => list.iter().for_each(|value| shape(value, &format!("{at}[]"), out)),
        Value::String(_) => out.push(format!("{at}: text")),
        Value::Number(_) => out.push(format!("{at}: number")),
        Value::Bool(_) => out.push(format!("{at}: bool")),
        Value::Null => out.push(format!("{at}: null")),
    }
    out.sort();
    out.dedup();
}

#[test]
fn json_has_the_documented_shape() {
    let mut found = Vec::new();
    shape(&parsed(&usual(&["--json", "--at", AT])), "", &mut found);
    assert_eq!(
        found,
        [
            ".diagnosis: null",
            ".refusal: null",
            ".request.auth: text",
            ".request.body.length: number",
            ".request.headers[].hidden: bool",
            ".request.headers[].name: text",
            ".request.headers[].value: text",
            ".request.method: text",
            ".request.stage: text",
            ".request.target: text",
            ".request.url: text",
            ".signing.access_key_id: text",
            ".signing.canonical_request[].from: text",
            ".signing.canonical_request[].part: text",
            ".signing.canonical_request[].text: text",
            ".signing.canonical_request_hash: text",
            ".signing.credentials: text",
            ".signing.derivation[].of: text",
            ".signing.derivation[].step: text",
            ".signing.expires: null",
            ".signing.scope.date: text",
            ".signing.scope.region: text",
            ".signing.scope.service: text",
            ".signing.scope.terminator: text",
            ".signing.signature: text",
            ".signing.signed_headers[]: text",
            ".signing.string_to_sign[].from: text",
            ".signing.string_to_sign[].part: text",
            ".signing.string_to_sign[].text: text",
        ]
    );
    let refused = example(&["GET", "/../a", "--json"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let refused: Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!((&refused["refusal"]["code"], &refused["request"]), (&json!("dot-segment"), &Value::Null));
}

#[test]
fn no_secret_is_explained() {
    let secrets = Leaks::of([SECRET, TOKEN, API_KEY, "Bearer-canary-0123456789", "canary-of-a-cookie-0123"]);
    let launch = Launch::arguments(["run", URL])
        .keys(ACCESS_KEY, SECRET)
        .variable("AWS_SESSION_TOKEN", TOKEN)
        .variable("COUNTERSIGN_API_KEY", API_KEY);
    let (refusal, _) = usual_refusal();
    let folder = TempDir::new();
    // With every secret echoed, as the gateway does.
    let echoed = refusal.replace("x-amz-date:", &format!("x-amz-security-token:{TOKEN}\\nx-amz-date:"));
    let file = folder.write("refused.json", &echoed);
    for more in [
        &[][..],
        &["--json"],
        &["--against", file.to_str().unwrap()],
        &["--json", "--against", file.to_str().unwrap()],
    ] {
        for route in ["--route=/**=iam+api-key", "--route=/**=none"] {
            let arguments = [
                "GET",
                &format!("/orders?again={API_KEY}&x-amz-security-token={}", TOKEN.replace('+', "%2B")),
                "-H",
                "authorization: Bearer Bearer-canary-0123456789",
                "-H",
                "cookie: a=canary-of-a-cookie-0123",
                "-H",
                &format!("x-again: {API_KEY}"),
                route,
            ];
            let shown = ended(explain(&launch, &[&arguments[..], more].concat()));
            assert_eq!(shown.code, Some(0), "{shown:?}");
            secrets.assert_none("what is explained", shown.out.as_bytes());
            secrets.assert_none("what is explained", shown.err.as_bytes());
        }
    }
}

/// The message of what `--json` prints where there is no explanation.
fn parsed_failure(ended: &Ended) -> String {
    let told: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    told["error"]["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_cannot_be_explained_says_why() {
    // For a shell that reads the command, a refusal is none.
    let refused = example(&["HEAD", "/../a", "--curl"]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(1), ""));
    assert!(refused.err.contains("dot-segment"), "{refused:?}");
    let refused = ended(explain(&Launch::arguments(["run", URL]), &["GET", "/a"]));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.out.contains("The proxy would refuse this request: no-credentials"), "{refused:?}");
    snapshot::ended("explain/refused", &refused, &[]);
    let folder = TempDir::new();
    let passed = folder.write("passed", "HTTP/1.1 200 OK\r\n\r\n");
    for (arguments, code, part) in [
        (&["GET", "/a", "--against", passed.to_str().unwrap()][..], 1, "the status 200, which is no refusal"),
        (&["GET", "/a", "--against", "nowhere"], 1, "cannot read nowhere"),
        (&["GET", "/up", "--health-path=/up"], 1, "the proxy answers /up itself"),
        (&["GET", "/a", "-d", "@nowhere"], 1, "cannot read nowhere"),
        (&["GET", "/a", "-d", "@-", "--against", "-"], 1, "cannot be both"),
        (&["GET", "a"], 2, "it begins with /"),
        (&["GET", "/a#b"], 2, "%23"),
        (&["GET", "/a", "-H", "x"], 2, "\"name: value\""),
        (&["GET", "/a", "--at", "now"], 2, "not a time"),
        (&["GET", "/a", "--curl", "--json"], 2, "cannot be used with"),
        (&["GET"], 2, "<PATH>"),
        (&["GET", "/a", "--workers", "none"], 2, "--workers"),
    ] {
        let failed = example(arguments);
        let words = failed.err.split_whitespace().collect::<Vec<_>>().join(" ").replace("│ ", "");
        assert_eq!(failed.code, Some(code), "{arguments:?} {failed:?}");
        assert!(words.contains(part), "{arguments:?}: {words}");
        assert_eq!(failed.out, "", "{arguments:?}");
        // Scripts have a document, but for wrong usage.
        if code == 1 || arguments.contains(&"--workers") {
            let told = example(&[arguments, &["--json"]].concat());
            let message = parsed_failure(&told);
            assert!(told.code == Some(code) && !message.is_empty(), "{told:?}");
        }
    }
}
