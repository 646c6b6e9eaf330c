//! `countersign stack` from no stack to one and back to none, against a CloudFormation that others wrote (ministack), and
//! whatever comes in between: templates that fail, permissions that lack, roles, signals, terminals.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::Stdio,
    sync::{Arc, Mutex, OnceLock},
    thread,
};

use serde::Deserialize;
use serde_json::Value;

use crate::support::{
    ministack::{Ministack, User},
    process::{Ended, Launch, Running},
    python::environment,
    root, snapshot,
};

/// Waits for a signal that never comes; fails after `Seconds`, and everything made before it is then taken back.
const WAITING: &str = "\
Parameters:
  Seconds: {Type: Number, Default: 600}
Resources:
  Topic: {Type: AWS::SNS::Topic}
  Handle: {Type: AWS::CloudFormation::WaitConditionHandle}
  Wait:
    Type: AWS::CloudFormation::WaitCondition
    DependsOn: Topic
    Properties: {Handle: !Ref Handle, Timeout: !Ref Seconds, Count: 1}
";

/// Comes to be at once.
const PLAIN: &str = "\
Resources:
  Topic: {Type: AWS::SNS::Topic}
Outputs:
  Name: {Value: !GetAtt Topic.TopicName}
";

/// Who is allowed what, as `ministack_stack.py people` made them.
#[derive(Deserialize)]
struct People {
    visitor: User,
    deployer: User,
    leaver: User,
    role_arn: String,
}

/// One for all tests here, each with a stack of its own name. It ends when this process does.
fn ministack() -> &'static (Ministack, People) {
    static SHARED: OnceLock<(Ministack, People)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let ministack = Ministack::start();
        let people = serde_json::from_str(&ministack.script("people")).expect("people prints whom it made");
        (ministack, people)
    })
}

/// `countersign stack` with these arguments, asking ministack as its root.
fn stack<const N: usize>(arguments: [&str; N]) -> Launch {
    bare(arguments).keys("test", "test").variable("AWS_REGION", "us-west-2")
}

/// The same, with nobody's keys.
fn bare<const N: usize>(arguments: [&str; N]) -> Launch {
    let launch = Launch::arguments(["stack"])
        .file("waiting.yaml", WAITING)
        .file("plain.yaml", PLAIN)
        .variable("AWS_ENDPOINT_URL", &format!("http://{}", ministack().0.address()));
    arguments.iter().fold(launch, |launch, argument| launch.argument(argument))
}

fn done(launch: Launch) -> Ended {
    let ended = launch.run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

fn failed(launch: Launch) -> Ended {
    let ended = launch.run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("one JSON document: {error}\n{ended:?}"))
}

/// What the command says is as it was; of its resources, which are not always made in one order, in the order of letters.
fn kept(name: &str, ended: &Ended, known: &[(&str, &str)]) {
    let of_resource = |line: &str| {
        let status = line.split(' ').next().unwrap_or_default();
        ["_IN_PROGRESS", "_COMPLETE", "_FAILED"].iter().any(|end| status.ends_with(end))
    };
    let mut lines: Vec<&str> = ended.err.lines().collect();
    for run in lines.chunk_by_mut(|a, b| of_resource(a) && of_resource(b)) {
        run.sort_unstable();
    }
    let err = lines.iter().map(|line| format!("{line}\n")).collect();
    snapshot::ended(name, &Ended { code: ended.code, out: ended.out.clone(), err }, known);
}

/// What a report says, without the lines that it is broken into.
fn words(text: &str) -> String {
    text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

#[test]
fn from_no_stack_to_one_and_back_to_none() {
    let none = failed(stack(["outputs"]));
    assert!(none.err.contains("there is no stack AuthAPIStack in us-west-2"), "{none:?}");
    assert!(none.err.contains("countersign stack deploy --name AuthAPIStack"), "{none:?}");

    kept("stack-outputs/none", &none, &[]);

    let made = done(stack(["deploy"]));
    let told = json(&done(stack(["outputs", "--json"])));
    let (url, key) = (told["outputs"]["ApiGatewayUrl"].as_str(), told["outputs"]["ApiKeyId"].as_str());
    let (url, key) = (url.expect("the URL"), key.expect("the key's id"));
    let known = [(url, "URL"), (key, "KEY")];
    kept("stack-deploy/made", &made, &known);
    let shown = |ended: &Ended| ended.out.replace(url, "URL").replace(key, "KEY");
    let outputs = "  ApiGatewayUrl  URL
                 The stage's URL; a route's path follows it.
  ApiKeyId       KEY
                 The API key's id (not its value, which GetApiKey returns with includeValue).
";
    assert_eq!(shown(&made), format!("AuthAPIStack is made, in us-west-2\n{outputs}"));
    let lines: Vec<&str> = made.err.lines().collect();
    let first = [
        "creating AuthAPIStack in us-west-2",
        "CREATE_IN_PROGRESS AuthAPIStack (AWS::CloudFormation::Stack)",
    ];
    assert_eq!(lines[..2], first);
    let last = [
        "CREATE_COMPLETE AuthAPIStack (AWS::CloudFormation::Stack)",
        "next: countersign init --stack AuthAPIStack",
    ];
    assert_eq!(lines[lines.len() - 2..], last);
    assert_eq!(lines.iter().filter(|line| line.starts_with("CREATE_COMPLETE ")).count(), 14, "{made:?}");
    assert!(!made.err.contains('\x1b') && !made.out.contains('\x1b'), "plain where nobody watches: {made:?}");

    assert_eq!((&told["name"], &told["status"]), (&"AuthAPIStack".into(), &"CREATE_COMPLETE".into()));
    assert_eq!(
        shown(&done(stack(["outputs"]))),
        format!("AuthAPIStack is CREATE_COMPLETE, in us-west-2\n{outputs}")
    );
    assert_eq!(shown(&done(stack(["outputs", "ApiGatewayUrl"]))), "URL\n");
    kept("stack-outputs/all", &done(stack(["outputs"])), &known);
    kept("stack-outputs/one", &done(stack(["outputs", "ApiGatewayUrl"])), &known);
    let other = failed(stack(["outputs", "Url"]));
    kept("stack-outputs/no-such", &other, &[]);
    assert!(words(&other.err).contains("no output Url help: it has: ApiGatewayUrl, ApiKeyId"), "{other:?}");

    let again = done(stack(["deploy"]));
    kept("stack-deploy/already", &again, &known);
    assert_eq!(
        shown(&again),
        format!("AuthAPIStack is already what the template says, in us-west-2\n{outputs}")
    );
    assert_eq!(json(&done(stack(["deploy", "--json"])))["changed"], false);

    let asked = failed(stack(["delete"]));
    kept("stack-delete/nobody-to-ask", &asked, &[]);
    assert!(words(&asked.err).contains("holds 13 resources; that needs a yes"), "{asked:?}");
    assert!(asked.err.contains("--yes"), "{asked:?}");
    done(stack(["outputs"]));
    let deleted = done(stack(["delete", "--yes"]));
    kept("stack-delete/deleted", &deleted, &[]);
    assert_eq!(deleted.out, "AuthAPIStack is deleted, in us-west-2\n");
    assert_eq!(
        deleted.err.lines().filter(|line| line.starts_with("DELETE_COMPLETE ")).count(),
        14,
        "{deleted:?}"
    );
    let gone = done(stack(["delete", "--yes", "--json"]));
    assert_eq!((&json(&gone)["status"], &json(&gone)["changed"]), (&"DELETE_COMPLETE".into(), &false.into()));
    let nothing = done(stack(["delete"]));
    assert_eq!(nothing.out, "there is no stack AuthAPIStack in us-west-2\n");
    kept("stack-delete/nothing", &nothing, &[]);
}

#[test]
fn a_template_that_fails_is_told_by_its_resource_and_the_stack_is_replaced_when_told() {
    let waiting = ["deploy", "--name", "failing", "--template", "waiting.yaml", "--parameter", "Seconds=1"];
    let ended = failed(stack(waiting));
    kept("stack-deploy/failed", &ended, &[]);
    assert_eq!(ended.out, "");
    let report = ended.err.split_once("  × ").expect("a report").1;
    let expected = "stack failing is ROLLBACK_COMPLETE CREATE_FAILED Wait (AWS::CloudFormation::WaitCondition): WaitCondition \
                    timed out. Received 0 conditions when expecting 1 help: mend what failed and deploy again: what is left \
                    of the stack is then replaced";
    assert_eq!(words(report), expected);

    // What never was whole takes no update; it is replaced when somebody says so.
    let asked = failed(stack(["deploy", "--name", "failing", "--template", "plain.yaml"]));
    assert!(words(&asked.err).contains("failing is ROLLBACK_COMPLETE: it takes no update"), "{asked:?}");
    kept("stack-deploy/takes-no-update", &asked, &[]);
    let made = done(stack(["deploy", "--name", "failing", "--template", "plain.yaml", "--yes", "--json"]));
    assert!(made.err.contains("deleting failing in us-west-2\n"), "{made:?}");
    let made = json(&made);
    assert_eq!((&made["status"], &made["changed"]), (&"CREATE_COMPLETE".into(), &true.into()));

    // An update that fails leaves it as it was, and is told to scripts too.
    kept("stack-deploy/update-failed", &failed(stack(waiting)), &[]);
    let ended = stack(waiting).argument("--json").run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = json(&ended);
    assert_eq!(told["status"], "UPDATE_ROLLBACK_COMPLETE");
    assert_eq!(told["failed"][0]["resource"], "Wait");
    let status = told["failed"][0]["status"].as_str().expect("a state");
    assert!(status.ends_with("_FAILED"), "{told}");
    assert!(ended.err.contains("the stack is as it was before"), "{ended:?}");
    let stays = json(&done(stack(["outputs", "--name", "failing", "--json"])));
    assert_eq!(stays["outputs"], made["outputs"]);

    let absent = failed(stack(["deploy", "--name", "failing", "--template", "absent.yaml"]));
    assert!(absent.err.contains("cannot read the template absent.yaml"), "{absent:?}");
    kept("stack-deploy/no-template", &absent, &[]);
    let none = failed(
        stack(["deploy", "--name", "nonsense", "--template", ".aws/config"])
            .file(".aws/config", "[default]\n"),
    );
    assert!(none.err.contains("cloudformation:CreateStack failed in us-west-2: "), "{none:?}");
    done(stack(["delete", "--name", "failing", "--yes"]));
}

#[test]
fn who_stops_watching_is_told_in_which_state_the_stack_is_left() {
    let launch = stack(["deploy", "--name", "long", "--template", "waiting.yaml"]);
    let mut running = Running::spawn(&mut launch.command());
    running.find(|line| line.contains("CREATE_IN_PROGRESS Wait").then_some(())).expect("it is being made");
    running.signal("INT");
    let ended = running.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(130), ""), "{ended:?}");
    kept("stack-deploy/stopped", &ended, &[]);
    let said = ended.err.split_once("\nStopped watching.").expect("the last words").1;
    assert!(
        said.contains("Stack long is CREATE_IN_PROGRESS: CloudFormation goes on with it by itself"),
        "{ended:?}"
    );
    for command in ["countersign stack deploy --name long", "countersign stack delete --name long"] {
        assert!(said.contains(command), "{said}");
    }

    // As it said: the next one watches what is under way. Scripts have a document of its end.
    let launch = stack(["deploy", "--name", "long", "--template", "waiting.yaml", "--json"]);
    let mut running = Running::spawn(&mut launch.command());
    running.find(|line| line.contains("CREATE_IN_PROGRESS already; watching it to its end").then_some(()));
    running.signal("TERM");
    let ended = running.end();
    assert_eq!(ended.code, Some(143));
    kept("stack-deploy/stopped-again", &ended, &[]);
    let told = json(&ended);
    let message = told["error"]["message"].as_str().expect("what happened");
    assert!(message.starts_with("Stopped watching. Stack long is CREATE_IN_PROGRESS"), "{told}");
    done(stack(["delete", "--name", "long", "--yes"]));
}

/// Every command to copy asks the same account; scripts get a document.
#[test]
fn whose_credentials_end_is_told_that_the_stack_goes_on() {
    let (ministack, People { leaver, .. }) = ministack();
    let deploy =
        ["deploy", "--name", "left", "--template", "waiting.yaml", "--region", "us-west-2", "--json"];
    let launch = bare(deploy).keys(&leaver.access_key, &leaver.secret);
    let mut running = Running::spawn(&mut launch.command());
    running.find(|line| line.contains("CREATE_IN_PROGRESS Wait").then_some(())).expect("it is being made");
    ministack.script("retire");
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = ended.err.split_once("\nStopped watching. Stack left ").expect("the state").1;
    assert!(said.contains("what CloudFormation was asked for goes on by itself"), "{ended:?}");
    let again = "countersign stack deploy --name left --region us-west-2 --template waiting.yaml";
    let away = "countersign stack delete --name left --region us-west-2";
    let told = json(&ended);
    let hint = told["error"]["hint"].as_str().expect("what to do");
    for shown in [said, hint] {
        assert!(shown.contains(again) && shown.contains(away), "{ended:?}");
    }
    let message = told["error"]["message"].as_str().expect("what happened");
    assert!(message.contains("cloudformation:DescribeStack") && message.contains(" failed in "), "{message}");
    assert!(words(said).contains(message), "people are told the same: {ended:?}");
    done(stack(["delete", "--name", "left", "--yes"]));
}

/// A way to ministack that breaks when it is told to.
struct Way {
    address: SocketAddr,
    /// What is open, and how many of the next connections end at once.
    state: Arc<Mutex<(Vec<TcpStream>, usize)>>,
}

impl Way {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::<Mutex<(Vec<TcpStream>, usize)>>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for here in listener.incoming() {
                let here = here.expect("a connection");
                let mut state = shared.lock().expect("no thread panics with this lock");
                if state.1 > 0 {
                    state.1 -= 1;
                    continue;
                }
                let there = TcpStream::connect(ministack().0.address()).expect("ministack is there");
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let [mut from, mut to] = [from, to].map(|stream| stream.try_clone().expect("a handle"));
                    thread::spawn(move || {
                        // Whichever way it ends, it has ended.
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                state.0.extend([here, there]);
            }
        });
        Self { address, state }
    }

    /// Ends what is open, and the next `count` connections.
    fn break_off(&self, count: usize) {
        let mut state = self.state.lock().expect("no thread panics with this lock");
        state.1 = count;
        for stream in state.0.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn to_be_broken(&self) -> usize {
        self.state.lock().expect("no thread panics with this lock").1
    }
}

#[test]
fn a_network_that_comes_back_does_not_end_the_watching() {
    let way = Way::open();
    let waiting = ["deploy", "--name", "broken", "--template", "waiting.yaml", "--parameter", "Seconds=2"];
    let launch = stack(waiting).variable("AWS_ENDPOINT_URL", &format!("http://{}", way.address));
    let mut running = Running::spawn(&mut launch.command());
    running.find(|line| line.contains("CREATE_IN_PROGRESS Wait").then_some(())).expect("it is being made");
    // As often as the SDK tries by itself.
    way.break_off(3);
    let ended = running.end();
    assert_eq!(way.to_be_broken(), 0, "{ended:?}");
    assert!(words(&ended.err).contains("stack broken is ROLLBACK_COMPLETE"), "{ended:?}");
    done(stack(["delete", "--name", "broken", "--yes"]));
}

#[test]
fn who_stops_before_anything_was_asked_for_is_told_that_nothing_changed() {
    let mute = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let endpoint = format!("http://{}", mute.local_addr().expect("it is bound"));
    let launch = stack(["deploy"]).variable("AWS_ENDPOINT_URL", &endpoint);
    let mut running = Running::spawn(&mut launch.command());
    let connection = mute.accept().expect("it asks which stack there is");
    running.signal("INT");
    let ended = running.end();
    drop(connection);
    assert_eq!((ended.code, ended.err.as_str()), (Some(130), "\nStopped. Nothing was changed.\n"));
}

#[test]
fn a_permission_that_lacks_is_named() {
    let visitor = &ministack().1.visitor;
    let launch = bare(["deploy", "--name", "denied"]).keys(&visitor.access_key, &visitor.secret);
    let ended = failed(launch.variable("AWS_REGION", "us-west-2"));
    let said = words(&ended.err);
    assert!(said.contains("cloudformation:DescribeStacks failed in us-west-2: AccessDenied"), "{ended:?}");
    assert!(
        said.contains("help: have a policy of the caller allow cloudformation:DescribeStacks"),
        "{ended:?}"
    );
    assert!(!ended.err.contains(&visitor.secret), "{ended:?}");
    kept("stack-deploy/denied", &ended, &[]);
    for arguments in [&["outputs", "--json"][..], &["deploy", "--json"], &["delete", "--json"]] {
        let launch = arguments.iter().fold(bare([]), |launch, argument| launch.argument(argument));
        let launch = launch.keys(&visitor.access_key, &visitor.secret).variable("AWS_REGION", "us-west-2");
        let error = &json(&failed(launch))["error"];
        assert!(error["message"].as_str().is_some_and(|said| said.contains("AccessDenied")), "{error}");
        assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("have a policy")), "{error}");
    }

    let unknown =
        failed(bare(["outputs"]).keys("AKIAUNKNOWNUNKNOWN00", "x").variable("AWS_REGION", "us-west-2"));
    assert!(words(&unknown.err).contains("help: replace the credentials of default chain"), "{unknown:?}");
}

#[test]
fn a_role_is_assumed_by_flag_and_by_profile() {
    let People { deployer, role_arn, .. } = &ministack().1;
    let plain = ["deploy", "--template", "plain.yaml", "--region", "eu-west-1", "--name"];
    let own = failed(bare(plain).argument("role").keys(&deployer.access_key, &deployer.secret));
    assert!(own.err.contains("AccessDenied"), "without the role: {own:?}");

    let by_flag = bare(plain).argument("role").keys(&deployer.access_key, &deployer.secret);
    let ended = done(by_flag.argument("--role-arn").argument(role_arn));
    assert!(ended.out.starts_with("role is made, in eu-west-1\n"), "{ended:?}");
    // What it says to do next asks the same account, in the same place.
    let launch = stack(["deploy", "--name", "elsewhere", "--region", "eu-west-1"]);
    assert!(done(launch).err.ends_with("\nnext: countersign init --stack elsewhere --region eu-west-1\n"));
    done(stack(["delete", "--name", "elsewhere", "--region", "eu-west-1", "--yes"]));

    let config = format!(
        "[profile deployer]\naws_access_key_id = {}\naws_secret_access_key = {}\n[profile role]\nrole_arn = {role_arn}\n\
         source_profile = deployer\nregion = eu-west-1\n",
        deployer.access_key, deployer.secret
    );
    let profile = ["delete", "--name", "role", "--profile", "role", "--yes"];
    let ended = done(bare(profile).file(".aws/config", &config));
    assert_eq!(ended.out, "role is deleted, in eu-west-1\n");
}

#[test]
fn what_is_missing_to_begin_is_told_with_its_fix() {
    let nobody = failed(bare(["outputs", "--region", "us-west-2"]));
    assert!(words(&nobody.err).contains("no AWS credentials"), "{nobody:?}");
    kept("stack-outputs/no-credentials", &nobody, &[]);
    let nowhere = failed(bare(["outputs"]).keys("test", "test"));
    assert!(
        nowhere.err.contains("nobody says which region") && nowhere.err.contains("AWS_REGION"),
        "{nowhere:?}"
    );
    kept("stack-outputs/no-region", &nowhere, &[]);
    // A port that nobody listens at.
    let free =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let launch = stack(["outputs"]).variable("AWS_MAX_ATTEMPTS", "1");
    let refused = failed(launch.variable("AWS_ENDPOINT_URL", &format!("http://{free}")));
    assert!(
        words(&refused.err).contains("cloudformation:DescribeStacks failed in us-west-2: "),
        "{refused:?}"
    );
    assert!(
        words(&refused.err).contains(&format!("is http://{free} (AWS_ENDPOINT_URL or endpoint_url)")),
        "{refused:?}"
    );
    for wrong in [&["deploy", "--parameter", "novalue"][..], &["destroy"], &["outputs", "--json", "Key"]] {
        let launch = wrong.iter().fold(Launch::arguments(["stack"]), |launch, word| launch.argument(word));
        assert_eq!(launch.run().code, Some(2), "{wrong:?}");
    }
}

/// Runs it on a terminal; HOME with its templates is there for as long as the second one.
fn on_terminal(launch: Launch) -> (Running, Launch) {
    on_terminal_bare(launch.variable("TERM", "xterm"))
}

/// The same, on a terminal without a name, unless it has one already.
fn on_terminal_bare(launch: Launch) -> (Running, Launch) {
    let script = root().join("tests/python/on_terminal.py");
    let wrapper = [environment("verify", "python"), script].map(|path| path.display().to_string());
    let launch = launch.wrapped(&wrapper);
    (Running::spawn(launch.command().stdin(Stdio::piped())), launch)
}

/// What sets a colour or a weight: `ESC [ … m`.
fn coloured(text: &str) -> Vec<&str> {
    let codes = text.split("\x1b[").skip(1).filter_map(|code| {
        let end = code.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
        code[end..].starts_with('m').then(|| &code[..end])
    });
    codes.collect()
}

#[test]
fn on_a_terminal_it_draws_and_asks() {
    let waiting = ["deploy", "--name", "drawn", "--template", "waiting.yaml", "--parameter", "Seconds=2"];
    let (mut running, _home) = on_terminal(stack(waiting));
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let shown = &ended.out;
    assert!(shown.contains("\x1b[2K"), "it is drawn: {shown:?}");
    assert!(coloured(shown).contains(&"31"), "{shown:?}");
    for part in [
        "drawn creating: ",
        "creating Wait (AWS::CloudFormation::WaitCondition)",
        "\x1b[32m✓\x1b[0m Topic (AWS::SNS::Topic)",
        "\x1b[31m✗\x1b[0m CREATE_FAILED Wait",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown:?}");
    }
    // A moment later the same lines again, in place.
    assert!(shown.matches("creating Wait (AWS::CloudFormation::WaitCondition)").count() > 1, "{shown:?}");

    let plain = ["deploy", "--name", "drawn", "--template", "plain.yaml"];
    for (answer, code, last) in [("n", 1, "nothing was changed"), ("y", 0, "drawn is made, in us-west-2")] {
        let launch = stack(plain).variable("NO_COLOR", "1");
        let (mut running, _home) = on_terminal(launch);
        running.type_in(&format!("{answer}\n"));
        let ended = running.end();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.out.contains("Delete it, with whatever is left in it? [y/N] "), "{ended:?}");
        assert!(ended.out.contains(last), "{ended:?}");
        assert!(coloured(&ended.out).is_empty(), "NO_COLOR: {ended:?}");
    }
    // Ctrl-C, as the terminal has it.
    let (mut running, _home) = on_terminal(stack(["delete", "--name", "drawn"]));
    running.find(|line| line.contains("holds 1 resource").then_some(())).expect("it says what goes");
    running.type_in("\x03");
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.out.contains("Stopped. Nothing was changed."), "{ended:?}");
    done(stack(["delete", "--name", "drawn", "--yes"]));
}

#[test]
fn on_a_terminal_that_only_prints_it_tells_by_lines() {
    let deploy = stack(["deploy", "--name", "dull", "--template", "plain.yaml"]);
    let delete = stack(["delete", "--name", "dull", "--yes"]).variable("TERM", "dumb");
    for (launch, line) in [
        (deploy, "CREATE_COMPLETE Topic (AWS::SNS::Topic)"),
        (delete, "DELETE_COMPLETE Topic (AWS::SNS::Topic)"),
    ] {
        let (mut running, _home) = on_terminal_bare(launch);
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.contains(line), "{ended:?}");
        assert!(!ended.out.contains('\x1b'), "{ended:?}");
    }
}
