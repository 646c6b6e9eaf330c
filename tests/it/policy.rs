//! `countersign policy` writes the least that IAM has to allow for what is configured, or for what a log tells of; with it
//! a third-party IAM lets in whom it refused before, for that and for nothing else.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    client::{Ask, Via},
    ministack::Ministack,
    origin::{Origin, Then, answer},
    process::{Ended, Launch, Running},
    python,
    scene::Setup,
    snapshot,
};

/// Two stages: rules of all kinds, and another partition.
const CONFIG: &str = r#"
[[stage]]
name = "orders"
url = "https://abc123.execute-api.us-west-2.amazonaws.com/prod/v1"
mount = "/orders"
api_key.env = "ORDERS_API_KEY"
route = [
  { path = "/auth/api-key", auth = "api-key" },
  { path = "/items/{id}", auth = "iam" },
  { path = "/files/{name+}", auth = "iam" },
  { path = "/*", auth = "none" },
]

[[stage]]
name = "stock-cn"
url = "https://def456.execute-api.cn-north-1.amazonaws.com.cn"
mount = "/stock"
allow = ["GET|PUT /levels", "GET /levels/*"]
deny = ["* /levels/secret"]
"#;

fn policy(launch: &Launch, arguments: &[&str]) -> Ended {
    launch.instead("policy", arguments)
}

fn document(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

fn resources(ended: &Ended) -> Vec<String> {
    let document = document(ended);
    let all =
        document["Statement"].as_array().unwrap().iter().flat_map(|one| one["Resource"].as_array().unwrap());
    all.map(|resource| resource.as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_format_is_written_as_it_was() {
    let launch = Launch::config(CONFIG);
    let account = ["--account", "111122223333"];
    for format in ["json", "terraform", "cdk"] {
        let ended = policy(&launch, &[&account[..], &["--format", format]].concat());
        assert_eq!(ended.code, Some(0), "{format}: {ended:?}");
        // Said literally, so that whoever looks for a name finds it here.
        let name = match format {
            "json" => "policy/json",
            "terraform" => "policy/terraform",
            _ => "policy/cdk",
        };
        snapshot::ended(name, &ended, &[]);
        assert_eq!(
            ended.err,
            "note: stage stock-cn: what deny names is held back by the proxy alone, where the policy allows more around it\n"
        );
    }
}

/// Stands in the place of the CDK's module, which only keeps what it is given.
const CDK: &str = "\
export const Effect = { ALLOW: \"Allow\" };
export class PolicyStatement { constructor(given) { Object.assign(this, given); } }
";

/// A policy's statements, as the other formats have them after a tool that is not ours has read them.
#[test]
fn each_format_says_the_same() {
    let hostile = "[[stage]]\nname = \"odd\"\nurl = \"https://ab1.execute-api.us-west-2.amazonaws.com/prod\"\nmount = \"/odd\"\n\
                   allow = [\"GET /$x/a=b,c\"]\n";
    let launch = Launch::config(&format!("{CONFIG}\n{hostile}"));
    let written = |format: &str| {
        let ended = policy(&launch, &["--account", "111122223333", "--format", format]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out
    };
    let policy: Value = serde_json::from_str(&written("json")).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    assert_eq!(statements.len(), 3, "{policy}");

    let file = launch.home().write("policy.tf", &written("terraform"));
    let mut terraform = python::script("read_terraform.py");
    terraform.stdin(fs::File::open(file).unwrap());
    let read: Value = serde_json::from_str(&python::run(&mut terraform)).unwrap();
    assert_eq!(read, policy);

    // TypeScript without types is a module that node runs.
    let home = launch.home();
    home.write("policy.mjs", &written("cdk"));
    home.write("node_modules/aws-cdk-lib/iam.mjs", CDK);
    let package = r#"{ "name": "aws-cdk-lib", "exports": { "./aws-iam": "./iam.mjs" } }"#;
    home.write("node_modules/aws-cdk-lib/package.json", package);
    let print =
        "import { countersignInvoke } from './policy.mjs'; console.log(JSON.stringify(countersignInvoke));";
    let main = home.write("print.mjs", print);
    let mut node = python::tool("node");
    let read: Value = serde_json::from_str(&python::run(node.arg(main))).unwrap();
    let expected: Vec<_> = statements
        .iter()
        .map(|one| json!({ "sid": one["Sid"], "effect": "Allow", "actions": [one["Action"]], "resources": one["Resource"] }))
        .collect();
    assert_eq!(read, json!(expected));
}

#[test]
fn what_it_cannot_know_it_asks_for() {
    // Neither keys nor a stage that answers: nobody is asked.
    let url = "https://api.example.com/base";
    let launch = Launch::arguments(["run", url, "--region", "us-west-2"]);
    let ended = policy(&launch, &["--account", "111122223333"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("does not tell which API") && ended.err.contains("--api"), "{ended:?}");
    snapshot::ended("policy/no-api", &ended, &[]);
    let arn = "arn:aws:execute-api:us-west-2:111122223333:abc123/$default/*/v1/*";
    assert_eq!(
        resources(&policy(&launch, &["--account", "111122223333", "--api", "abc123/$default/v1"])),
        [arn]
    );

    let ended = policy(&launch, &["--api", "abc123/prod"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("whose account") && ended.err.contains("--account"), "{ended:?}");

    // What the path of a URL or of --api holds is no pattern.
    let api = ["--account", "111122223333", "--api", "abc123/prod/v*/${aws:username}"];
    let arn = "arn:aws:execute-api:us-west-2:111122223333:abc123/prod/*/v${*}/${$}{aws:username}/*";
    assert_eq!(resources(&policy(&launch, &api)), [arn]);

    // An --api that is for no stage is a slip.
    let ended = policy(&launch, &["--account", "111122223333", "--api", "typo=abc123/prod"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("stage typo, and none"), "{ended:?}");
    let ended = policy(&Launch::config(CONFIG), &["--account", "111122223333", "--api", "abc123/prod"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("there are several") && ended.err.contains("orders, stock-cn"), "{ended:?}");

    for arguments in [
        &["--account", "1111-2222-3333"][..],
        &["--format", "yaml"],
        &["--api", "abc123"],
        &["--workers", "many"],
    ] {
        let ended = policy(&launch, arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?} {ended:?}");
    }

    let launch = Launch::arguments([
        "run",
        "https://abc123.execute-api.us-west-2.amazonaws.com/prod",
        "--route",
        "/*=none",
    ]);
    let ended = policy(&launch, &["--account", "111122223333"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("nothing is signed"), "{ended:?}");
}

#[test]
fn what_was_called_is_allowed_and_nothing_else() {
    let setup = || {
        let stage = "name = \"orders\"\nmount = \"/m\"\ndeny = [\"* /secret\"]\nroute = [{ path = \"/free\", auth = \"none\" }, \
                     { path = \"/items/{id}\", auth = \"iam\" }]";
        Setup::new().stage(stage)
    };
    let scene = setup().start(|request, reply| {
        let status = if request.target().ends_with(b"denied") { "403 Forbidden" } else { "200 OK" };
        reply.send(answer(status, &[], "ok"))?;
        Ok(Then::Keep)
    });
    for (method, target) in [
        ("GET", "/m/items/1?secret=1"),
        ("GET", "/m/items/2"),
        ("POST", "/m/a//b"),
        ("GET", "/m/*"),
        ("GET", "/m/free"),
        ("GET", "/m/denied"),
        ("GET", "/m/secret"),
        ("GET", "/m/a%20b"),
        ("GET", "/n"),
    ] {
        scene.ask(Via::Http1, &Ask::new(method, target));
    }
    let log = scene.proxy.terminate().err;
    let (_origin, launch) = setup().prepare(crate::support::scene::ok);
    let file = launch.home().write("access.log", &log);
    let file = file.to_str().unwrap();
    let ended = policy(&launch, &["--account", "111122223333", "--from-log", file]);
    let arn = |what: &str| format!("arn:aws:execute-api:us-west-2:111122223333:abc123/prod/{what}");
    assert_eq!(resources(&ended), [arn("GET/${*}"), arn("GET/items/*"), arn("POST/a/b")]);
    assert!(ended.err.contains("left out: GET /m/denied") && ended.err.contains("escapes"), "{ended:?}");
    assert!(!ended.err.contains("/m/secret"), "{ended:?}");

    // As a terminal shows them.
    let lines = "\
03:04:05.678  200 GET     /m/items/1                                   41.3 ms    1.2 kB  orders\n\
03:04:05.912  403 POST    /m/x                                         38.0 ms      23 B  orders  id=85d5f8c4a1b2c3d4\n\
03:04:06.101  403 GET     /m/secret                                     0.1 ms     283 B  orders  refused=not-lent  id=8\n";
    launch.home().write("shown.log", lines);
    let ended = policy(&launch, &["--account", "111122223333", "--from-log", "shown.log"]);
    assert_eq!(resources(&ended), [arn("GET/items/*")]);
    assert_eq!(ended.err, "note: refused once, and left out: POST /m/x\n");

    launch.home().write("empty.log", "03:04:05.678  403 POST /m/x 1.0 ms 1 B  orders\n");
    let ended = policy(&launch, &["--account", "111122223333", "--from-log", "empty.log"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("empty.log tells of no signed request"), "{ended:?}");
    let ended = policy(&launch, &["--from-log", "absent.log"]);
    assert_eq!((ended.code, ended.err.contains("cannot read absent.log")), (Some(1), true), "{ended:?}");
}

#[test]
fn iam_lets_in_with_it_whom_it_refused() {
    let ministack = Ministack::start();
    let stack = ministack.deploy();
    let config = |routes: &str| {
        format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"off\"\n[[stage]]\nname = \"orders\"\nurl = \"{}\"\nregion = \"{}\"\n\
             connect_to = \"{}\"\napi_key.env = \"ORDERS_API_KEY\"\n{routes}",
            stack.url,
            stack.region,
            ministack.address(),
        )
    };
    let launch = |routes: &str| {
        Launch::config(&config(routes))
            .keys(&stack.stranger.access_key, &stack.stranger.secret)
            .variable("ORDERS_API_KEY", &stack.api_key)
            .variable("AWS_ENDPOINT_URL", &format!("http://{}", ministack.address()))
    };
    let status = |path: &str| {
        let proxy = launch("").start();
        Via::Http1.exchange(proxy.address(), &Ask::new("GET", path)).unwrap().status
    };
    let (signed, both) = ("/auth/iam-sigv4", "/auth/iam-sigv4-and-api-key");
    assert_eq!((status(signed), status(both)), (403, 403));

    // STS says whose account it is.
    let rules = "allow = [\"GET /auth/iam-sigv4\"]";
    let written = policy(&launch(rules), &[]);
    assert_eq!(
        document(&written),
        json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Sid": "InvokeOrders",
                "Effect": "Allow",
                "Action": "execute-api:Invoke",
                "Resource": [format!("arn:aws:execute-api:{}:000000000000:{}/prod/GET/auth/iam-sigv4", stack.region, stack.api_id)],
            }],
        })
    );
    ministack.allow_stranger(&written.out);
    assert_eq!((status(signed), status(both)), (200, 403));
    let written = policy(
        &launch(
            "route = [{ path = \"/auth/*\", auth = \"iam+api-key\" }, { path = \"/*\", auth = \"none\" }]",
        ),
        &[],
    );
    ministack.allow_stranger(&written.out);
    assert_eq!((status(signed), status(both)), (200, 200));
    ministack.allow_stranger("");
    assert_eq!((status(signed), status(both)), (403, 403));

    // Keys that AWS does not know cannot ask.
    let stranger = launch(rules).variable("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN");
    let ended = policy(&stranger, &[]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("sts:GetCallerIdentity") && ended.err.contains("--account"), "{ended:?}");
}

#[test]
fn an_account_that_is_none_is_not_taken() {
    let sts = Origin::plain(|_, reply| {
        let answered = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:iam::111122223333:user/ann</Arn><UserId>AIDA</UserId><Account>*</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>";
        reply.send(answer("200 OK", &[("content-type", "text/xml")], answered))?;
        Ok(Then::Keep)
    });
    let launch = Launch::arguments(["run", "https://abc123.execute-api.us-west-2.amazonaws.com/prod"])
        .keys("AKIDEXAMPLE", "secret")
        .variable("AWS_ENDPOINT_URL", &format!("http://{}", sts.address()));
    let ended = policy(&launch, &[]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("without an account of twelve digits"), "{ended:?}");
    assert_eq!(sts.take().len(), 1);
}

#[test]
fn the_log_may_come_by_standard_input() {
    let (_origin, launch) = Setup::new().stage("name = \"orders\"").prepare(crate::support::scene::ok);
    let file = launch.home().write("access.log", "03:04:05.678  200 GET /a 1.0 ms 1 B  orders\n");
    let run = launch.command();
    let mut command = std::process::Command::new(run.get_program());
    command.args(["policy", "--account", "111122223333", "--from-log", "-"]).args(run.get_args().skip(1));
    command.env_clear().current_dir(launch.home().path()).stdin(fs::File::open(file).unwrap());
    let ended = Running::spawn(&mut command).end();
    assert_eq!(resources(&ended), ["arn:aws:execute-api:us-west-2:111122223333:abc123/prod/GET/a"]);
}
