//! `countersign init` writes a file with which the proxy serves: from a stack, from ids, from a URL, of REST and HTTP APIs;
//! and overwrites nothing unasked. Against ministack, which keeps the APIs and then judges what the proxy sends.

use std::{collections::BTreeSet, fs, process::Stdio};

use crate::support::{
    TempDir,
    client::{Ask, Via},
    ministack::{Ministack, User},
    process::{Ended, Launch, Running},
    python::environment,
    root, snapshot,
};

const ROUTES: &str = r#"route = [
  { path = "/auth/api-key", auth = "api-key" },
  { path = "/auth/iam-sigv4", auth = "iam" },
  { path = "/auth/iam-sigv4-and-api-key", auth = "iam+api-key" },
  # The API has nothing else: for that there is neither key nor signature.
  { path = "/*", auth = "none" },
]
"#;

/// What the file of these ends in.
const HTTP_ROUTES: &str = r#"route = [
  { path = "/mixed", methods = ["POST"], auth = "iam" },
  { path = "/mixed", methods = ["GET"], auth = "none" },
  { path = "/orders", auth = "iam" },
  { path = "/orders/{id}", auth = "iam" },
  { path = "/public/{proxy+}", auth = "none" },
  { path = "/status", auth = "none" },
  # The API has nothing else: for that there is neither key nor signature.
  { path = "/*", auth = "none" },
]
"#;

/// `countersign init` with these arguments, asking ministack.
fn init(ministack: &Ministack, user: &User, arguments: &[&str]) -> Launch {
    let launch = Launch::arguments(["init"])
        .keys(&user.access_key, &user.secret)
        .variable("AWS_REGION", "us-west-2")
        .variable("AWS_ENDPOINT_URL", &format!("http://{}", ministack.address()));
    arguments.iter().fold(launch, |launch, argument| launch.argument(argument))
}

fn ended(launch: Launch, code: i32) -> Ended {
    let ended = launch.run();
    assert_eq!(ended.code, Some(code), "{ended:?}");
    ended
}

/// Runs it on a terminal and answers.
fn typed(launch: Launch, text: &str) -> Ended {
    let script = root().join("tests/python/on_terminal.py");
    let wrapper = [environment("verify", "python"), script].map(|path| path.display().to_string());
    let launch = launch.variable("TERM", "xterm").variable("NO_COLOR", "1").wrapped(&wrapper);
    let mut running = Running::spawn(launch.command().stdin(Stdio::piped()));
    running.type_in(text);
    running.end()
}

#[test]
fn what_is_written_serves_and_nothing_is_overwritten_unasked() {
    let ministack = Ministack::start();
    let stack = ministack.deploy();
    let root = User { access_key: "test".to_owned(), secret: "test".to_owned() };
    let directory = TempDir::new();
    let path = directory.path().join("countersign.toml");
    let file = path.to_str().expect("the directory's name is UTF-8");
    let run = |arguments: &[&str], code| ended(init(&ministack, &root, arguments), code);

    // By URL: the file is written, and is all that the proxy needs.
    let by_url = [stack.url.as_str(), "--output", file];
    let made = run(&by_url, 0);
    assert_eq!(
        made.out,
        format!("{file} is written: {}, 3 routes\nStart the proxy: countersign --config {file}\n", stack.url)
    );
    assert!(made.err.is_empty() && !made.out.contains('\x1b'), "{made:?}");
    let known = [
        (stack.url.as_str(), "URL"),
        (stack.api_id.as_str(), "API"),
        (stack.api_key_id.as_str(), "KEY"),
        (file, "FILE"),
    ];
    snapshot::ended("init/written", &made, &known);
    let head =
        "# Made by `countersign init`, and yours to change. docs/configuration.md explains every setting.\n";
    let of = |url: &str, region: &str| {
        let (id, key) = (&stack.api_id, &stack.api_key_id);
        format!(
            "{head}\n[[stage]]\nname = \"{id}\"\nurl = \"{url}\"\n{region}api_key = {{ id = \"{key}\" }}\n{ROUTES}"
        )
    };
    let expected = of(&stack.url, "region = \"us-west-2\"\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    let endpoint = format!("http://{}", ministack.address());
    let proxy = Launch::arguments(["run", "--config", file, "--listen=127.0.0.1:0", "--admin=off"])
        .keys("test", "test")
        .variable("AWS_ENDPOINT_URL", &endpoint)
        .variable("COUNTERSIGN_CONNECT_TO", &ministack.address().to_string())
        .start();
    for route in ["/auth/api-key", "/auth/iam-sigv4", "/auth/iam-sigv4-and-api-key"] {
        let answer = Via::Http1.exchange(proxy.address(), &Ask::new("GET", route)).unwrap();
        assert_eq!(answer.status, 200, "{route}: {}", answer.text());
    }
    // The policy that fits has the routes that are signed, and nothing else.
    let policy = Launch::arguments(["policy", "--config", file, "--account", "111122223333"]);
    let policy = ended(policy.argument("--api").argument(&format!("{}/prod", stack.api_id)), 0);
    let policy: serde_json::Value = serde_json::from_str(&policy.out).unwrap();
    let arn = |route: &str| {
        format!("arn:aws:execute-api:us-west-2:111122223333:{}/prod/*/auth/{route}", stack.api_id)
    };
    let expected_policy = serde_json::json!([arn("iam-sigv4"), arn("iam-sigv4-and-api-key")]);
    assert_eq!(policy["Statement"][0]["Resource"], expected_policy);
    let already = run(&by_url, 0);
    assert!(already.out.contains("is so already"));
    snapshot::ended("init/already", &already, &known);
    let of_a_route = format!("{}/auth/api-key", stack.url.trim_end_matches('/'));
    assert!(run(&[&of_a_route, "-o", file], 0).out.contains("is so already"), "cut to its stage");

    // The other ways lead to the same, under the name that AWS itself would serve.
    let aws = format!("https://{}.execute-api.us-west-2.amazonaws.com/prod", stack.api_id);
    for arguments in [
        &["--stack", "AuthAPIStack", "--output", "-"][..],
        &["--api-id", &stack.api_id, "--stage", "prod", "-o", "-"],
        &[&format!("{aws}/auth/api-key"), "--api-id", &stack.api_id, "-o", "-"],
        &["--yes", "-o", "-"],
    ] {
        assert_eq!(run(arguments, 0).out, of(&aws, ""), "{arguments:?}");
    }

    // What is there stays, unless somebody says yes.
    let own = expected.replace("auth = \"iam\" }", "auth = \"none\" }");
    fs::write(&path, &own).unwrap();
    let kept = run(&by_url, 1);
    assert!(
        kept.err.contains("\n-   { path = \"/auth/iam-sigv4\", auth = \"none\" },\n+   { path ="),
        "{kept:?}"
    );
    assert!(kept.err.contains("--yes"), "{kept:?}");
    let (diff, _) = kept.err.split_once("  × ").expect("a report");
    snapshot::text("init/nobody-to-ask", diff, &known);
    for (answer, code, then) in [("n\n", 1, &own), ("y\n", 0, &expected)] {
        let ended = typed(init(&ministack, &root, &by_url), answer);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert_eq!(&fs::read_to_string(&path).unwrap(), then, "{answer}");
        if code == 0 {
            snapshot::ended("init/overwritten", &without_echo(ended, answer), &known);
        }
    }
    // A key that is written in it is not shown.
    fs::write(&path, own.replace(&format!("id = \"{}\"", stack.api_key_id), "value = \"open-sesame-1234\""))
        .unwrap();
    let shown = run(&[stack.url.as_str(), "--yes", "--json", "-o", file], 0);
    assert!(shown.err.contains("- api_key = { value = ****") && !shown.err.contains("sesame"), "{shown:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);

    // An HTTP API; and now several fit.
    let http: serde_json::Value = serde_json::from_str(&ministack.script("http")).unwrap();
    let id = http["api_id"].as_str().unwrap();
    let made = run(&["--api-id", id, "-o", "-"], 0).out;
    assert_eq!(
        made,
        format!(
            "{head}\n[[stage]]\nname = \"{id}\"\nurl = \"https://{id}.execute-api.us-west-2.amazonaws.com\"\n{HTTP_ROUTES}"
        )
    );
    // By the URL of a route too: what the path begins with is no stage of it.
    let host = format!("https://{id}.execute-api.us-west-2.amazonaws.com");
    for path in ["", "/orders/1", "/mixed"] {
        assert_eq!(run(&[&format!("{host}{path}"), "-o", "-"], 0).out, made, "{path}");
    }
    for arguments in [&["-o", "-"][..], &["--yes", "-o", "-"]] {
        let several = run(arguments, 1);
        for part in ["more than one stage", &aws, id, "--api-id"] {
            assert!(several.err.contains(part), "{part}: {several:?}");
        }
    }
    let known = [&known[..], &[(id, "HTTP")]].concat();
    snapshot::ended("init/several-stages", &run(&["-o", "-"], 1), &known);
    let picked = typed(init(&ministack, &root, &["-o", "-"]), "1\n");
    snapshot::ended("init/which-stage", &without_echo(picked.clone(), "1\n"), &known);
    assert!(picked.out.contains("Which one? [1-2] ") && picked.out.contains("[[stage]]"), "{picked:?}");

    // What scripts read; no command shows the key itself.
    let told = run(&["--stack", "AuthAPIStack", "--json", "-o", "-"], 0);
    let json: serde_json::Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((&json["url"], &json["routes"][1]["auth"]), (&aws.as_str().into(), &"iam".into()), "{told:?}");
    assert_eq!(json["api_key_id"], stack.api_key_id.as_str());
    assert_eq!((&json["file"], &json["text"]), (&().into(), &of(&aws, "").into()));
    assert!(![made, told.out, told.err, picked.out].iter().any(|text| text.contains(&stack.api_key)));

    // What is not there, or not allowed, is told with what to do.
    let stranger = ended(init(&ministack, &stack.stranger, &by_url), 1);
    assert!(stranger.err.contains("apigateway:GET"), "{stranger:?}");
    snapshot::ended("init/denied", &stranger, &known);
    for (arguments, part) in [
        (&["--stack", "Nothing"][..], "there is no stack Nothing in us-west-2"),
        (&["--api-id", http["websocket_api_id"].as_str().unwrap()], "is a WEBSOCKET API"),
        (&["--api-id", "abc123"], "there is no API abc123 in us-west-2"),
        (&["https://api.example.com/v1"], "does not say which API it leads to"),
        (&[&aws.replace("/prod", "/orders/1")], "orders/1 leads to no stage of the API"),
        (&[&aws, "--stage", "beta"], "its stages: prod"),
        (&["wss://abc123.execute-api.us-west-2.amazonaws.com/prod"], "a stage is not called by wss://"),
        (&["api.example.com"], "is not a URL"),
    ] {
        let failed = run(arguments, 1);
        assert!(words(&failed.err).contains(part), "{part}: {failed:?}");
    }
}

/// What a terminal shows but for what was typed, which may come before the question.
fn without_echo(ended: Ended, typed: &str) -> Ended {
    Ended { out: ended.out.replacen(typed, "", 1), ..ended }
}

/// What a report says, without the lines that it is broken into.
fn words(text: &str) -> String {
    text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// A chat, and nothing else.
const CHAT: &str = "\
Resources:
  Chat:
    Type: AWS::ApiGatewayV2::Api
    Properties: {Name: chat, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}
  Stage:
    Type: AWS::ApiGatewayV2::Stage
    Properties: {ApiId: !Ref Chat, StageName: prod}
Outputs:
  Url: {Value: !Sub \"wss://${Chat}.execute-api.us-west-2.amazonaws.com/prod\"}
";

#[test]
fn keys_are_asked_about_on_a_terminal_alone_and_a_stack_of_sockets_is_refused() {
    let ministack = Ministack::start();
    let stack = ministack.deploy();
    let root = User { access_key: "test".to_owned(), secret: "test".to_owned() };
    let second: serde_json::Value = serde_json::from_str(&ministack.script("second")).unwrap();
    let second = second["id"].as_str().unwrap();
    let by_url = [stack.url.as_str(), "--output", "-"];

    let known =
        [(stack.url.as_str(), "URL"), (&stack.api_id, "API"), (&stack.api_key_id, "KEY"), (second, "SECOND")];
    for nobody in [&by_url[..], &[&by_url[..], &["--yes"]].concat()] {
        let several = ended(init(&ministack, &root, nobody), 1);
        snapshot::ended("init/several-keys", &several, &known);
    }
    let mut picked = Vec::new();
    for number in ["1", "2"] {
        let ended = typed(init(&ministack, &root, &by_url), &format!("{number}\n"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let line = ended.out.lines().find_map(|line| line.strip_prefix("api_key = { id = \"")).unwrap();
        picked.push(line.split('"').next().unwrap().to_owned());
        if number == "1" {
            snapshot::ended("init/which-key", &without_echo(ended, "1\n"), &known);
        }
    }
    assert_eq!(
        picked.iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([&stack.api_key_id, &second.to_owned()])
    );
    for answer in ["3\n", "\n", "KEY\n"] {
        let ended = typed(init(&ministack, &root, &by_url), answer);
        assert_eq!(ended.code, Some(1), "{answer}: {ended:?}");
        assert!(ended.out.contains("nothing was written"), "{ended:?}");
    }
    // A URL that ends with its host leaves open which stage is meant.
    let host = stack.url.trim_end_matches("/prod");
    let known = [&[(host, "HOST")], &known[..]].concat();
    let open = |more: &[&str]| init(&ministack, &root, &[&[host, "--output", "-"], more].concat());
    snapshot::ended("init/stage-not-named", &ended(open(&[]), 1), &known);
    let key = ["--api-key-id", second];
    let picked = typed(open(&key), "2\n");
    snapshot::ended("init/which-of-its-stages", &without_echo(picked.clone(), "2\n"), &known);
    let said = ended(open(&[&key[..], &["--stage", "beta"]].concat()), 0);
    assert!(said.out.contains("/beta\"\n") && picked.out.contains("[[stage]]"), "{said:?} {picked:?}");
    let named = ended(init(&ministack, &root, &[&by_url[..], &["--api-key-id", second]].concat()), 0);
    assert!(named.out.contains(&format!("api_key = {{ id = \"{second}\" }}")), "{named:?}");

    let deploy = Launch::arguments(["stack", "deploy", "--name", "chat", "--template", "chat.yaml"])
        .file("chat.yaml", CHAT)
        .keys("test", "test")
        .variable("AWS_REGION", "us-west-2")
        .variable("AWS_ENDPOINT_URL", &format!("http://{}", ministack.address()));
    ended(deploy, 0);
    let refused = ended(init(&ministack, &root, &["--stack", "chat", "--output", "-"]), 1);
    assert!(
        words(&refused.err).contains("is a WEBSOCKET API, and the proxy serves REST and HTTP APIs"),
        "{refused:?}"
    );
}
