//! `countersign check` says what is there and what is not, finding by finding, as text and as JSON; what it asks stages is
//! harmless, and its exit code is for containers.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use serde_json::{Value, json};

use crate::{
    healing::{Stage, session},
    support::{
        leaks::Leaks,
        ministack::Ministack,
        origin::{Options, Origin, Reply, Request, Then, Validity, answer},
        process::{Ended, Launch},
        scene::{API_KEY, NAME, SECRET, Setup, TOKEN, ok},
        snapshot,
    },
};

const KEY: &str = "ASIACHECKED";

const RULES: &str = r#"name = "orders"
api_key.env = "ORDERS_API_KEY"
route = [
  { path = "/auth/api-key", auth = "api-key" },
  { path = "/auth/iam-sigv4", auth = "iam" },
  { path = "/auth/iam-sigv4-and-api-key", auth = "iam+api-key" },
]
"#;

/// The verifying gateway, and the settings that fit it; STS is not there.
fn scene(rules: &str, api_key: Option<&str>) -> (Stage, Launch) {
    let stage = Stage::start(vec![session(KEY, None)]);
    let launch = stage
        .launch(rules)
        .keys(KEY, SECRET)
        .variable("AWS_SESSION_TOKEN", &format!("{TOKEN}-{KEY}"))
        .variable("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .variable("ORDERS_API_KEY", api_key.unwrap_or(&stage.running.settings.api_key.0));
    (stage, launch)
}

fn check(launch: &Launch, arguments: &[&str]) -> Ended {
    launch.instead("check", arguments)
}

/// By `check`: status and what it says.
fn found(launch: &Launch, arguments: &[&str]) -> (Option<i32>, Value) {
    let ended = check(launch, &[&["--json"], arguments].concat());
    let document: Value =
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    (ended.code, document)
}

/// What is said is as it was, but for how long a certificate is good and what a system says of a connection.
fn kept(name: &str, ended: &Ended, known: &[(&str, &str)]) {
    let until = |line: &str, part: &str, then: &str| {
        line.split_once(part).map(|(before, _)| format!("{before}{part}{then}"))
    };
    let line = |line: &str| {
        let line = until(line, "trusted for ", "N days").unwrap_or_else(|| line.to_owned());
        until(&line, "sts:GetCallerIdentity failed", " ...").unwrap_or(line) + "\n"
    };
    let out = ended.out.lines().map(line).collect();
    snapshot::ended(name, &Ended { out, ..ended.clone() }, known);
}

fn of<'a>(document: &'a Value, check: &str) -> &'a Value {
    let checks = document["checks"].as_array().unwrap();
    checks.iter().find(|one| one["check"] == check).unwrap_or_else(|| panic!("no {check}: {document:#}"))
}

/// The status of a finding, and a part of what it says or advises.
fn assert_found(document: &Value, check: &str, status: &str, part: &str) {
    let one = of(document, check);
    let text = format!("{} {}", one["what"].as_str().unwrap(), one["fix"].as_str().unwrap_or_default());
    assert!(one["status"] == status && text.contains(part), "{check}, {status}, {part}: {document:#}");
}

#[test]
fn all_that_is_well_is_told() {
    let (stage, launch) = scene(RULES, None);
    let ended = check(&launch, &[]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    let config = launch.home().path().join("countersign.toml");
    kept("check/well", &ended, &[(config.to_str().unwrap(), "CONFIG")]);
    // With less than it asks for no route lets anybody in.
    let verdicts = stage.verdicts();
    assert_eq!(verdicts.iter().filter(|verdict| verdict.is_none()).count(), 3, "{verdicts:?}");
    let leaks = Leaks::of([SECRET, &format!("{TOKEN}-{KEY}"), &stage.running.settings.api_key.0]);
    leaks.assert_none("check", ended.out.as_bytes());

    let (code, document) = found(&launch, &[]);
    assert_eq!(code, Some(0));
    let orders: Vec<_> =
        document["checks"].as_array().unwrap().iter().filter(|one| one["stage"] == "orders").collect();
    assert_eq!(orders.len(), 11, "{document:#}");
    assert_eq!((&document["status"], &of(&document, "config")["stage"]), (&json!("warn"), &Value::Null));
}

#[test]
fn what_a_stage_says_otherwise_is_named() {
    let (_stage, launch) = scene(RULES, Some("wrong-key-0123456789"));
    let (code, document) = found(&launch, &[]);
    assert_eq!((code, &document["status"]), (Some(1), &json!("fail")));
    assert_found(&document, "GET /auth/api-key", "fail", "403 with the API key");
    assert_found(&document, "GET /auth/iam-sigv4", "ok", "200 with the signature, refused with less");
    assert_found(&document, "GET /auth/iam-sigv4-and-api-key", "fail", "403 with signature and API key");

    let config = launch.home().path().join("countersign.toml");
    kept("check/wrong-key", &check(&launch, &[]), &[(config.to_str().unwrap(), "CONFIG")]);

    // Rules that ask for more than the stage does, and for less.
    let rules = RULES
        .replace("auth = \"iam\" ", "auth = \"iam+api-key\" ")
        .replace("auth = \"api-key\"", "auth = \"none\"");
    let (_stage, launch) = scene(&rules, None);
    let (code, document) = found(&launch, &[]);
    assert_eq!(code, Some(1));
    assert_found(&document, "GET /auth/iam-sigv4", "warn", "let in with the signature alone as well");
    assert_found(&document, "GET /auth/api-key", "fail", "403 with nothing");

    // Keys that the gateway does not know.
    let (_stage, launch) = scene(RULES, None);
    let launch = launch.variable("AWS_SECRET_ACCESS_KEY", "wrong");
    let (code, document) = found(&launch, &[]);
    assert_eq!(code, Some(1));
    assert_found(&document, "GET /auth/iam-sigv4", "fail", "403 with the signature");
    assert_found(&document, "GET /auth/api-key", "ok", "200 with the API key");
}

#[test]
fn a_clock_that_is_off_is_told() {
    let (stage, launch) = scene(RULES, None);
    stage.running.clock.set_offset(600);
    let (code, document) = found(&launch, &[]);
    // Requests are signed by the gateway's time once one was refused.
    assert_eq!(code, Some(0), "{document:#}");
    assert_found(&document, "clock", "warn", "behind the gateway's");
    assert_found(&document, "GET /auth/iam-sigv4", "ok", "200");
}

#[test]
fn a_way_that_leads_nowhere_is_told() {
    let endpoint = |setup: Setup| setup.variable("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let old = Options { names: vec![NAME.to_owned()], validity: Validity::Over, ..Options::default() };
    let (_origin, launch) = endpoint(Setup::new().origin(old)).prepare(ok);
    let (code, document) = found(&launch, &[]);
    assert_eq!(code, Some(1));
    assert_found(&document, "connect", "fail", "Check this machine's clock");

    let other = Options { names: vec!["other.example.com".to_owned()], ..Options::default() };
    let (origin, launch) = endpoint(Setup::new().origin(other)).prepare(ok);
    let (code, document) = found(&launch, &[]);
    assert_eq!((code, origin.take().len()), (Some(1), 0));
    assert_found(&document, "connect", "fail", "must be for the url's host");
    // The rest is looked at all the same, but for what has to be asked of the stage.
    assert_found(&document, "credentials", "ok", "from environment");
    assert!(!document.to_string().contains("\"answer\""), "{document:#}");

    let (gone, launch) = endpoint(Setup::new().plain()).prepare(ok);
    drop(gone);
    let (code, document) = found(&launch, &[]);
    assert_eq!(code, Some(1));
    assert_found(&document, "connect", "fail", "no connection to 127.0.0.1");

    // A name that nobody has (RFC 6761, section 6.4).
    let (_origin, launch) = endpoint(Setup::new()).prepare(ok);
    let (code, document) = found(&launch, &["--connect-to", "nobody.invalid:443"]);
    assert_eq!(code, Some(1));
    assert_found(&document, "dns", "fail", "nobody.invalid");
}

#[test]
fn a_signal_ends_it_with_what_was_found_until_then() {
    // The stage takes the connection, and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/prod", mute.local_addr().unwrap());
    let launch = Launch::arguments(["run", &url, "--region=us-west-2"])
        .keys(KEY, SECRET)
        .variable("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let mut running = launch.instead_of("check", &["--json"]);
    let connection = mute.accept().unwrap();
    running.signal("INT");
    let ended = running.end();
    drop(connection);
    let document: Value =
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    assert_eq!((ended.code, &document["status"]), (Some(130), &json!("fail")), "{ended:?}");
    assert_found(&document, "config", "ok", "1 stage");
    assert_found(&document, "time", "fail", "a signal ended it");
}

#[test]
fn only_what_is_harmless_is_asked() {
    let rules = "name = \"orders\"\nmount = \"/m\"\nallow = [\"GET|POST /plain\", \"POST /act\", \"GET /items/{id}\"]\n\
                 route = [{ path = \"/plain\", auth = \"iam\" }, { path = \"/act\", methods = [\"POST\"], auth = \"iam\" }, \
                 { path = \"/items/{id}\", auth = \"none\" }]";
    let setup = || {
        let setup = Setup::new().stage(rules).variable("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        setup.prepare(|request, reply| {
            let signed = request.head.one("authorization").is_some();
            let open = request.target().starts_with(b"/prod/items");
            reply.send(answer(if signed || open { "200 OK" } else { "403 Forbidden" }, &[], "{}"))?;
            Ok(Then::Keep)
        })
    };
    let asked = |arguments: &[&str]| {
        let (origin, launch) = setup();
        let (code, document) = found(&launch, arguments);
        let asked: Vec<_> = origin
            .take()
            .iter()
            .map(|request| {
                let signed = if request.head.one("authorization").is_some() { " signed" } else { "" };
                format!("{} {}{signed}", request.method(), String::from_utf8_lossy(request.target()))
            })
            .collect();
        (code, document, asked)
    };
    let (code, document, all) = asked(&[]);
    assert_eq!(
        (code, all),
        (Some(0), ["GET /prod", "GET /prod/plain", "GET /prod/plain signed"].map(str::to_owned).to_vec())
    );
    assert_found(&document, "routes", "ok", "not asked: POST /act, /items/{id}");

    let (code, document, all) = asked(&["--probe", "POST /m/act", "--probe", "GET /m/items/7?a=b"]);
    assert_eq!(code, Some(0), "{document:#}");
    let expected = [
        "GET /prod",
        "GET /prod/plain",
        "GET /prod/plain signed",
        "POST /prod/act",
        "POST /prod/act signed",
        "GET /prod/items/7?a=b",
    ];
    assert_eq!(all, expected);
    assert_found(&document, "POST /m/act", "ok", "200 with the signature");
    assert_found(&document, "GET /m/items/7", "ok", "200 with nothing");

    // What is not lent out is not asked either.
    let (code, document, all) = asked(&["--probe", "DELETE /m/act"]);
    assert_eq!((code, all.iter().any(|one| one.starts_with("DELETE"))), (Some(1), false), "{document:#}");
    assert_found(&document, "DELETE /m/act", "fail", "not-lent");

    // Nor is what no stage serves, and that is told.
    let (code, document, _) = asked(&["--probe", "GET /nowhere"]);
    assert_eq!(code, Some(1), "{document:#}");
    assert_found(&document, "GET /nowhere", "fail", "no stage serves it");
    assert_eq!(of(&document, "GET /nowhere")["stage"], Value::Null);

    let (code, _, all) = asked(&["--no-probe"]);
    assert_eq!((code, all), (Some(0), vec!["GET /prod".to_owned()]));
}

#[test]
fn tries_are_judged_and_not_sent() {
    let stage = "name = \"orders\"\nread_only = true\ndeny = [\"* /secret\"]\nroute = [{ path = \"/free\", auth = \"none\" }]";
    let (origin, launch) = Setup::new()
        .without_keys()
        .api_key()
        .stage_more(stage)
        .variable("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .prepare(ok);
    let ended = check(&launch, &["--try", "GET /orders/1", "--try", "GET /free?a=b"]);
    snapshot::ended("check/try", &ended, &[]);
    let expected = format!(
        "ok    GET /orders/1  passes to orders https://{NAME}/prod/orders/1, auth = \"iam+api-key\"\n\
         ok    GET /free?a=b  passes to orders https://{NAME}/prod/free, auth = \"none\"\n\nall is well\n"
    );
    assert_eq!(
        (ended.code, ended.out.as_str(), ended.err.as_str()),
        (Some(0), expected.as_str(), ""),
        "{ended:?}"
    );
    let (code, document) =
        found(&launch, &["--try", "DELETE /orders/1", "--try", "GET /%73ecret", "--try", "GET /a/../b"]);
    assert_eq!(code, Some(1));
    assert_found(&document, "DELETE /orders/1", "fail", "Take read_only out");
    assert_found(&document, "GET /%73ecret", "fail", "stage.deny names it");
    assert_found(&document, "GET /a/../b", "fail", "dot-segment");
    assert_eq!(origin.take().len(), 0);
    for arguments in
        [&["--try", "GET"][..], &["--try", "/x"], &["--try", "GET /x", "--no-probe"], &["--timeout", "soon"]]
    {
        let ended = check(&launch, arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?} {ended:?}");
    }
}

#[test]
fn a_configuration_is_judged_first() {
    let launch = Launch::config("workers = 0\n[[stage]]\nurl = \"https://api.example.com\"\n");
    let ended = check(&launch, &[]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    let (code, document) = found(&launch, &[]);
    assert_eq!((code, &document["status"]), (Some(2), &json!("fail")));
    let checks = document["checks"].as_array().unwrap();
    assert!(checks.len() == 2 && checks.iter().all(|one| one["check"] == "config"), "{document:#}");

    let (_stage, launch) = scene(RULES, None);
    let config = launch.home().path().join("countersign.toml");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o666)).unwrap();
    let (code, document) = found(&launch, &["--no-probe"]);
    assert_eq!(code, Some(0), "{document:#}");
    assert_found(&document, "file modes", "warn", "chmod go-w");
    assert_eq!(check(&launch, &["--strict"]).code, Some(2));
}

#[test]
fn what_is_missing_fails() {
    let setup = Setup::new().without_keys().variable("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let stage = "name = \"orders\"\napi_key.env = \"NOT_THERE\"\nroute = [{ path = \"/plain\", auth = \"iam+api-key\" }]";
    let (_origin, launch) = setup.stage(stage).prepare(ok);
    let (code, document) = found(&launch, &[]);
    assert_eq!(code, Some(1));
    assert_eq!(of(&document, "credentials")["status"], "fail");
    assert_found(&document, "api key", "fail", "NOT_THERE");
    let leaks = Leaks::of([API_KEY]);
    leaks.assert_none("check", document.to_string().as_bytes());

    // A source that hangs does not keep it.
    let (_origin, launch) = Setup::new()
        .without_keys()
        .stage("profile = \"slow\"")
        .file(".aws/config", "[profile slow]\ncredential_process = sleep 60\n")
        .prepare(ok);
    let (code, document) = found(&launch, &["--timeout", "1s"]);
    assert_eq!(code, Some(1));
    assert_found(&document, "time", "fail", "--timeout");
}

#[test]
fn a_denial_points_to_the_policy() {
    let denied = |_: &Request, reply: &mut Reply<'_>| {
        let kind = ("x-amzn-errortype", "AccessDeniedException");
        let text = r#"{"Message":"User: arn:aws:iam::111122223333:user/ann is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:us-west-2:********3333:abc123/prod/GET/orders"}"#;
        reply.send(answer("403 Forbidden", &[kind], text))?;
        Ok(Then::Keep)
    };
    let stage = "route = [{ path = \"/orders\", auth = \"iam\" }]";
    let (_origin, launch) =
        Setup::new().stage(stage).variable("AWS_ENDPOINT_URL", "http://127.0.0.1:1").prepare(denied);
    let (code, document) = found(&launch, &[]);
    assert_eq!(code, Some(1), "{document:#}");
    assert_found(&document, "GET /orders", "fail", "No policy permits this");
    assert_found(&document, "GET /orders", "fail", "`countersign policy` writes it");
    assert!(!document.to_string().contains("below"), "{document:#}");
}

/// STS and IAM at a role of IAM Identity Center: its path is not in the session's ARN. `get_role` is what GetRole answers.
fn of_identity_center(get_role: &'static str) -> (Option<i32>, Value, Vec<String>) {
    let aws = Origin::plain(move |request, reply| {
        let asked = String::from_utf8_lossy(&request.body).into_owned();
        let missing = "<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>no such role</Message>\
                       </Error><RequestId>1</RequestId></ErrorResponse>";
        let (status, text) = if asked.contains("Action=GetCallerIdentity") {
            let arn = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Dev_1/ann";
            let text = format!(
                "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{arn}</Arn><UserId>AROA:ann</UserId>\
                 <Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
            );
            ("200 OK", text)
        } else if asked.contains("Action=GetRole") {
            (if get_role.contains("<Error>") { "403 Forbidden" } else { "200 OK" }, get_role.to_owned())
        } else if asked.contains("aws-reserved") {
            let text = "<SimulatePrincipalPolicyResponse><SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated>\
                        <EvaluationResults><member><EvalActionName>execute-api:Invoke</EvalActionName>\
                        <EvalResourceName>arn</EvalResourceName><EvalDecision>allowed</EvalDecision></member>\
                        </EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>";
            ("200 OK", text.to_owned())
        } else {
            ("404 Not Found", missing.to_owned())
        };
        reply.send(answer(status, &[("content-type", "text/xml")], text))?;
        Ok(Then::Keep)
    });
    let (_origin, launch) =
        Setup::new().variable("AWS_ENDPOINT_URL", &format!("http://{}", aws.address())).prepare(ok);
    let (code, document) = found(&launch, &["--no-probe"]);
    let action = |request: &Arc<Request>| {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        body.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default().to_owned()
    };
    (code, document, aws.take().iter().map(action).collect())
}

#[test]
fn a_role_with_a_path_is_asked_about_too() {
    let role = "<GetRoleResponse><GetRoleResult><Role>\
                <Path>/aws-reserved/sso.amazonaws.com/</Path><RoleName>AWSReservedSSO_Dev_1</RoleName><RoleId>AROA</RoleId>\
                <Arn>arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Dev_1</Arn>\
                <CreateDate>2026-01-01T00:00:00Z</CreateDate></Role></GetRoleResult></GetRoleResponse>";
    let (code, document, asked) = of_identity_center(role);
    assert_eq!(code, Some(0), "{document:#}");
    assert_found(&document, "iam", "ok", "identity policies allow");
    assert_eq!(asked, ["GetCallerIdentity", "SimulatePrincipalPolicy", "GetRole", "SimulatePrincipalPolicy"]);

    // Where that cannot be known, it is told.
    let denied = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidInput</Code><Message>not a name</Message></Error>\
                  <RequestId>1</RequestId></ErrorResponse>";
    let (code, document, asked) = of_identity_center(denied);
    assert_eq!((code, asked.len()), (Some(0), 3), "{document:#}");
    assert_found(&document, "iam", "ok", "not asked: iam:GetRole failed");
}

#[test]
fn aws_says_whose_the_credentials_are() {
    let ministack = Ministack::start();
    let stack = ministack.deploy();
    let launch = |user: &crate::support::ministack::User| {
        let rules = RULES.replace("name = \"orders\"\n", "");
        Launch::config(&format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"off\"\n[[stage]]\nname = \"orders\"\nurl = \"{}\"\nregion = \"{}\"\n\
             connect_to = \"{}\"\n{rules}",
            stack.url,
            stack.region,
            ministack.address(),
        ))
        .keys(&user.access_key, &user.secret)
        .variable("ORDERS_API_KEY", &stack.api_key)
        .variable("AWS_ENDPOINT_URL", &format!("http://{}", ministack.address()))
    };
    let (code, document) = found(&launch(&stack.caller), &[]);
    assert_eq!(code, Some(0), "{document:#}");
    assert_found(&document, "identity", "ok", "arn:aws:iam::000000000000:user/caller");
    for route in ["/auth/api-key", "/auth/iam-sigv4", "/auth/iam-sigv4-and-api-key"] {
        assert_found(&document, &format!("GET {route}"), "ok", "200");
    }
    let (code, document) = found(&launch(&stack.stranger), &[]);
    assert_eq!(code, Some(1));
    assert_found(&document, "identity", "ok", "user/stranger");
    assert_found(&document, "GET /auth/iam-sigv4", "fail", "403 with the signature");
    assert_found(&document, "GET /auth/api-key", "ok", "200");
    assert_found(&document, "iam", "ok", "may not have a policy simulated");

    // Who may ask is told what IAM says.
    let arn = format!("arn:aws:execute-api:{}:000000000000:{}/prod/GET/auth/", stack.region, stack.api_id);
    ministack.allow_stranger(
        &json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*" },
            { "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": format!("{arn}iam-sigv4") },
        ]})
        .to_string(),
    );
    let allow = |path: &str| {
        let url = stack.url.as_str();
        let config = format!(
            "[[stage]]\nname = \"orders\"\nurl = \"{url}\"\nregion = \"{}\"\nconnect_to = \"{}\"\nallow = [\"GET {path}\"]",
            stack.region,
            ministack.address()
        );
        Launch::config(&config)
            .keys(&stack.stranger.access_key, &stack.stranger.secret)
            .variable("AWS_ENDPOINT_URL", &format!("http://{}", ministack.address()))
    };
    let (code, document) = found(&allow("/auth/iam-sigv4"), &[]);
    assert_eq!(code, Some(0), "{document:#}");
    assert_found(&document, "iam", "ok", "allow execute-api:Invoke");
    let (code, document) = found(&allow("/auth/other"), &[]);
    assert_eq!(code, Some(0), "{document:#}");
    assert_found(&document, "iam", "warn", &format!("do not allow {arn}other"));
    assert_found(&document, "iam", "warn", "countersign policy");

    let (code, document) = found(&launch(&stack.caller).variable("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN"), &[]);
    assert_eq!(code, Some(1));
    assert_found(&document, "identity", "fail", "sts:GetCallerIdentity");
}
