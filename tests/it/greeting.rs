//! What a person sees who starts it on a terminal: a greeting that says what it will do and what will fail, and then
//! each request as it ends.

use crate::support::{
    client::{Ask, Via},
    process::{Ended, Launch},
    python::environment,
    root,
    scene::{API_KEY, SECRET, Scene, Setup, TOKEN, ok},
    snapshot,
};

/// The command that puts another one on a terminal.
fn terminal() -> Vec<String> {
    let script = root().join("tests/python/on_terminal.py");
    [environment("verify", "python"), script].map(|path| path.display().to_string()).to_vec()
}

fn on_terminal(launch: Launch) -> Launch {
    launch.variable("TERM", "xterm").wrapped(&terminal())
}

/// What was shown, from the greeting on; what differs from run to run has a word in its place.
fn shown(ended: &Ended, known: &[(String, &str)]) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.err, "", "all of it goes to the terminal");
    let mut text = ended.out.clone();
    for (value, word) in known {
        text = text.replace(value, word);
    }
    let start = text.find("\ncountersign ").unwrap_or_else(|| panic!("no greeting: {text}"));
    text.split_off(start)
}

const PROCESS: &str = r#"{"Version":1,"AccessKeyId":"AKIDPROCESS","SecretAccessKey":"SECRET","SessionToken":"TOKEN","Expiration":"2999-01-02T03:04:05Z"}"#;

#[test]
fn it_says_what_it_will_do() {
    let process = PROCESS.replace("SECRET", SECRET).replace("TOKEN", TOKEN);
    let more = "profile = \"dev\"\napi_key.env = \"ORDERS_API_KEY\"\nname = \"orders\"\nmount = \"/orders\"\n[[stage]]\nname = \"open\"\nmount = \"/open\"\n\
                url = \"https://api.example.com\"\nroute = [{ path = \"/*\", auth = \"none\" }]";
    let setup = Setup::new().top("admin = \"127.0.0.1:0\"").stage(more).without_keys();
    let setup = setup
        .file(".aws/config", "[profile dev]\ncredential_process = cat keys.json\n")
        .file("keys.json", &process)
        .variable("ORDERS_API_KEY", API_KEY)
        .variable("NO_COLOR", "1");
    let (origin, launch) = setup.prepare(ok);
    let scene = Scene { origin, proxy: on_terminal(launch).start() };
    // What comes after the greeting has been written after it.
    scene.ask(Via::Http1, &Ask::new("GET", "/orders/1"));
    let line = scene.proxy.process().find(|line| line.contains("/orders/1").then(|| line.to_owned()));
    let line = line.expect("the proxy runs");
    assert!(line.contains(" 200 GET     /orders/1  ") && line.trim_end().ends_with("orders"), "{line}");
    let known =
        [(scene.proxy.address().to_string(), "PROXY"), (env!("CARGO_PKG_VERSION").to_owned(), "VERSION")];
    let ended = scene.proxy.terminate();
    let text = shown(&ended, &known);
    let admin = text.split_once("admin      http://").expect("a link").1.split_whitespace().next().unwrap();
    let days = text.split_once("05Z, ").expect("the time left").1.split(' ').next().unwrap();
    // In one piece; what other threads have to say may come behind it.
    let greeting = &text[..text.find(&line).expect("one after the other")];
    let (greeting, rest) = greeting.rsplit_once("\n\n").expect("an empty line ends it");
    assert!(rest.lines().all(|line| line.contains(" INFO ")), "{greeting}\n\n{rest}");
    snapshot::text(
        "run/greeting",
        &format!("{greeting}\n"),
        &[(admin, "ADMIN"), (&format!(" {days} days"), " N days")],
    );
    for secret in [SECRET, TOKEN, API_KEY, "\x1b"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn it_warns_of_what_will_fail() {
    let top =
        "listen = [\"0.0.0.0:0\", \"127.0.0.1:0\"]\n[guard]\nallow_remote = true\ntoken.file = \"token\"";
    let stage = "profile = \"dev\"\napi_key.env = \"ORDERS_API_KEY\"\n";
    let setup = Setup::new().top(top).stage(stage).without_keys();
    let setup = setup.file(".aws/config", "[profile dev]\nregion = us-west-2\n").variable("NO_COLOR", "1");
    let (_origin, launch) = setup.prepare(ok);
    let proxy = on_terminal(launch).start();
    proxy.process().find(|line| line.contains("plain HTTP").then_some(())).expect("the proxy runs");
    let ended = proxy.terminate();
    let text = shown(&ended, &[]);
    for part in [
        "identity   none, see below",
        "api key    missing, from $ORDERS_API_KEY",
        "token      asked of every caller, from ",
        "warning    abc123: no credentials, so signed routes answer 503: ",
        "warning    abc123: no API key, so routes that need it answer 503: the API key's variable ORDERS_API_KEY is not set",
        "             set ORDERS_API_KEY where countersign runs",
        "warning    nobody passes while the token is not known: ",
        "warning    listen 0.0.0.0:0: other machines reach this address over plain HTTP",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let (greeting, _) = text.split_once(" INFO ").expect("it says that it stops");
    let (greeting, _) = greeting.rsplit_once('\n').expect("on a line of its own");
    snapshot::text("run/greeting-with-warnings", greeting, &[]);
    // They are told once.
    assert_eq!(ended.out.matches("over plain HTTP").count(), 1, "{ended:?}");
}

#[test]
fn it_is_coloured_unless_that_is_not_wanted() {
    for (no_color, coloured) in [(None, true), (Some(""), true), (Some("1"), false)] {
        let (origin, mut launch) = Setup::new().prepare(ok);
        if let Some(value) = no_color {
            launch = launch.variable("NO_COLOR", value);
        }
        let scene = Scene { origin, proxy: on_terminal(launch).start() };
        scene.ask(Via::Http1, &Ask::new("GET", "/a"));
        let text = shown_whole(scene);
        assert_eq!(text.contains("\x1b[1mcountersign\x1b[0m"), coloured, "{text}");
        assert_eq!(text.contains("\x1b[32m 200\x1b[0m GET"), coloured, "{text}");
        assert_eq!(text.contains('\x1b'), coloured, "{text}");
    }
}

fn shown_whole(scene: Scene) -> String {
    scene.proxy.terminate().out
}

#[test]
fn it_takes_the_place_of_the_lines_of_log_that_say_the_same() {
    for (top, greets, logs) in
        [("log.format = \"json\"", false, true), ("log.filter = \"info\"", true, false)]
    {
        let (origin, launch) = Setup::new().top(top).prepare(ok);
        let scene = Scene { origin, proxy: on_terminal(launch).start() };
        let text = shown_whole(scene);
        assert_eq!(
            (text.contains("identity"), text.contains("\"message\":\"stage\"")),
            (greets, logs),
            "{text}"
        );
    }
}
