//! `countersign exec`: a proxy for the life of one command, which notices nothing of it but the address: its streams, its
//! exit code and its signals are its own.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{
    TempDir,
    origin::Origin,
    process::{Ended, Launch, Running, Stream},
    python,
    scene::{ACCESS_KEY, SECRET, assert_signed, ok},
    snapshot,
};

/// `exec` in front of an origin, with these arguments before and after the `--`.
fn exec(origin: &Origin, settings: &[&str], command: &[&str]) -> Launch {
    let url = format!("http://127.0.0.1:{}/prod", origin.address().port());
    let mut launch = Launch::arguments(["exec", &url, "--region=us-west-2"]).keys(ACCESS_KEY, SECRET);
    for argument in settings.iter().chain(&["--"]).chain(command) {
        launch = launch.argument(argument);
    }
    launch
}

fn sh<'a>(script: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    ["sh", "-c", script].into_iter().chain(arguments.iter().copied()).collect()
}

#[test]
fn the_command_calls_through_it_and_finds_the_address_in_variable_and_arguments() {
    let origin = Origin::plain(ok);
    python::prepared();
    let script = "echo \"$COUNTERSIGN_URL\" \"$0\" \"$1\"; curl -sS --fail \"$COUNTERSIGN_URL/a\"";
    let ended = exec(&origin, &[], &sh(script, &["{}", "{{}}:{}/x"])).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (line, answer) = ended.out.split_once('\n').unwrap();
    let [variable, argument, other] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    assert!(variable.starts_with("http://127.0.0.1:"), "{line}");
    assert_eq!((argument, other), (variable, &*format!("{{}}:{variable}/x")));
    assert_eq!(answer.trim_end(), "ok");
    let request = origin.next();
    assert_eq!(request.target(), b"/prod/a");
    assert_signed(&request);
    // Not a word of its own.
    assert_eq!(ended.err, "");
    // Nobody listens there any more.
    let address = variable.trim_start_matches("http://");
    assert!(TcpStream::connect(address).is_err(), "{address}");
}

#[test]
fn what_passes_is_shown_where_that_is_asked_for() {
    let origin = Origin::plain(ok);
    python::prepared();
    let script = "curl -sS --fail \"$COUNTERSIGN_URL/a\"";
    let ended = exec(&origin, &["--show", "--log-format=text"], &sh(script, &[])).run();
    assert_eq!((ended.code, ended.out.trim_end()), (Some(0), "ok"), "{ended:?}");
    assert!(ended.err.contains("/prod/a") && ended.err.contains("string to sign"), "{ended:?}");
}

#[test]
fn its_exit_code_is_passed_on() {
    let origin = Origin::plain(ok);
    let directory = TempDir::new();
    let plain_file = directory.write("plain", "no program");
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "exit 255"], 255),
        (&["sh", "-c", "kill -TERM $$"], 128 + 15),
        (&["sh", "-c", "kill -KILL $$"], 128 + 9),
        (&["no-such-command-anywhere"], 127),
        (&[plain_file.to_str().unwrap()], 126),
    ] {
        let ended = exec(&origin, &[], command).run();
        assert_eq!(ended.code, Some(code), "{command:?} {ended:?}");
        assert_eq!(ended.err.is_empty(), !matches!(code, 126 | 127), "{command:?} {ended:?}");
        if code == 127 {
            snapshot::ended("exec/no-such-command", &ended, &[]);
        }
    }
}

#[test]
fn its_streams_are_its_own() {
    let origin = Origin::plain(ok);
    let launch = exec(&origin, &[], &sh("cat; echo to-err >&2", &[]));
    let mut child =
        launch.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.stdout, ended.stderr), (bytes, b"to-err\n".to_vec()));
}

/// A command that says which signals it gets, and ends with 9 at the last one.
const LISTENS: &str = "trap 'echo got USR1' USR1; trap 'echo got HUP' HUP; trap \"echo got $0; exit 9\" \"$0\"; \
                       echo up $$; while :; do sleep 0.02; done";

#[test]
fn signals_reach_it() {
    let origin = Origin::plain(ok);
    for signal in ["INT", "TERM", "QUIT"] {
        // A group of its own, so that no terminal of the tests' has this one in its foreground.
        let launch = exec(&origin, &[], &sh(LISTENS, &[signal]));
        let mut running = Running::spawn(launch.command().process_group(0));
        let id = running.find(|line| Some(line.strip_prefix("up ")?.to_owned())).expect("the command starts");
        for other in ["USR1", "HUP"] {
            running.signal(other);
            running.find(|line| (line == format!("got {other}")).then_some(()));
        }
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(9), "{ended:?}");
        assert_eq!(ended.out.matches(&format!("got {signal}\n")).count(), 1, "{ended:?}");
        // Waited for: no trace of it is left.
        let gone = Command::new("kill").args(["-0", &id]).stderr(Stdio::null()).status().unwrap();
        assert!(!gone.success(), "process {id} is still there");
    }
    // One that does not listen is ended by it.
    let launch = exec(&origin, &[], &sh("echo up; while :; do sleep 0.02; done", &[]));
    let mut running = Running::spawn(launch.command().process_group(0));
    running.find(|line| (line == "up").then_some(()));
    running.signal("TERM");
    assert_eq!(running.end().code, Some(128 + 15));
}

#[test]
fn a_key_of_the_terminal_reaches_it_once() {
    let origin = Origin::plain(ok);
    let script = "n=0; trap 'n=$((n+1)); echo int $n' INT; trap 'echo end; exit 3' TERM; echo up; \
                  while :; do sleep 0.02; done";
    let launch = exec(&origin, &[], &sh(script, &[]));
    let command = launch.command();
    let mut terminal = python::script("terminal.py");
    terminal.arg(command.get_program()).args(command.get_args());
    terminal.env_clear().current_dir(command.get_current_dir().unwrap_or(Path::new(".")));
    terminal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = Running::spawn(&mut terminal).end();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let said: Vec<_> = ended.out.lines().map(|line| line.trim_start_matches("^C")).collect();
    assert_eq!(said, ["up", "int 1", "end"], "{ended:?}");
}

#[test]
fn without_credentials_the_command_is_not_started() {
    let origin = Origin::plain(ok);
    let url = format!("http://127.0.0.1:{}/prod", origin.address().port());
    let bare = |more: &[&str]| {
        let launch = Launch::arguments(["exec", &url, "--region=us-west-2"]);
        more.iter().fold(launch, |launch, argument| launch.argument(argument))
    };
    let ended = bare(&["--", "echo", "ran"]).run();
    assert_eq!((ended.code, ended.out.as_str()), (Some(125), ""), "{ended:?}");
    assert!(ended.err.contains("no usable credentials") && ended.err.contains("--max 0s"), "{ended:?}");
    // Beside what the log says at this time.
    let err =
        ended.err.lines().filter(|line| !line.starts_with('{')).map(|line| format!("{line}\n")).collect();
    snapshot::ended("exec/no-credentials", &Ended { err, ..ended }, &[]);
    // Unless it is to be, or needs none.
    for settings in ["--max=0s", "--route=/*=none"] {
        let ended = bare(&[settings, "--", "echo", "ran"]).run();
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), "ran\n"), "{ended:?}");
    }
}

/// A source of credentials, as a named pipe that it reads.
fn slow(origin: &Origin, pipe: &Path, settings: &[&str], command: &[&str]) -> Launch {
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let profile = format!("[profile dev]\ncredential_process = cat {}\n", pipe.display());
    let settings: Vec<_> = settings.iter().chain(&["--profile=dev"]).copied().collect();
    exec(origin, &settings, command).file(".aws/config", &profile)
}

#[test]
fn credentials_are_waited_for_so_that_the_first_call_is_served() {
    let origin = Origin::plain(ok);
    python::prepared();
    let directory = TempDir::new();
    let pipe = directory.path().join("pipe");
    let launch = slow(&origin, &pipe, &["--log-access"], &["curl", "-sS", "--fail", "{}/first"]);
    let mut running = Running::spawn(&mut launch.command());
    let printed = format!("{{\"Version\":1,\"AccessKeyId\":\"AKIDLATE\",\"SecretAccessKey\":\"{SECRET}\"}}");
    // Taken once the source is asked; until then nothing is started.
    std::fs::write(&pipe, printed).unwrap();
    let ended = running.end();
    assert_eq!((ended.code, ended.out.trim_end()), (Some(0), "ok"), "{ended:?}");
    assert_eq!(origin.next().target(), b"/prod/first");
    // The log shows requests where it is asked to, and nothing else.
    let lines: Vec<_> = ended.err.lines().collect();
    assert!(lines.len() == 1 && lines[0].contains("/first"), "{ended:?}");
}

#[test]
fn a_signal_while_credentials_are_waited_for_ends_it() {
    let origin = Origin::plain(ok);
    let directory = TempDir::new();
    let pipe = directory.path().join("pipe");
    let launch = slow(&origin, &pipe, &[], &["echo", "ran"]);
    let mut running = Running::spawn(launch.command().process_group(0));
    // Opens once the source reads it, and is kept open without a word.
    let source = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    running.signal("TERM");
    let ended = running.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(128 + 15), ""), "{ended:?}");
    drop(source);
}

#[test]
fn other_settings_work_and_the_files_address_is_not_taken() {
    let origin = Origin::plain(ok);
    python::prepared();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let file = format!(
        "listen = \"{address}\"\nadmin = \"{address}\"\n[[stage]]\nurl = \"http://127.0.0.1:{}/prod\"\n\
         region = \"us-west-2\"\nmount = \"/orders\"\nread_only = true\n",
        origin.address().port()
    );
    let launch = |settings: &[&str], script: &str| {
        let start =
            Launch::arguments(["exec", "--config=c.toml"]).file("c.toml", &file).keys(ACCESS_KEY, SECRET);
        let words = settings.iter().copied().chain(["--"]).chain(sh(script, &[]));
        words.fold(start, Launch::argument).run()
    };
    let status = "curl -s -o /dev/null -w '%{http_code} ' -X";
    let script = format!("{status} GET $COUNTERSIGN_URL/orders/1; {status} DELETE $COUNTERSIGN_URL/orders/1");
    let ended = launch(&[], &script);
    assert_eq!((ended.code, ended.out.trim_end()), (Some(0), "200 403"), "{ended:?}");
    assert_eq!(origin.next().target(), b"/prod/1");
    // Where a flag names addresses, those are taken.
    let ended = launch(
        &["--listen=127.0.0.2:0", "--admin=127.0.0.1:0", "--log-filter=info"],
        "echo $COUNTERSIGN_URL",
    );
    assert!(ended.out.starts_with("http://127.0.0.2:"), "{ended:?}");
    let ended = launch(&[&format!("--listen={address}")], "echo ran");
    assert_eq!((ended.code, ended.out.as_str()), (Some(125), ""), "{ended:?}");
    assert!(ended.err.contains(&address.to_string()), "{ended:?}");
    drop(taken);
}

#[test]
fn wrong_usage_and_wrong_settings_run_nothing() {
    for (arguments, part) in [
        (&["exec", "https://api.example.com"][..], "COMMAND"),
        (&["exec", "https://api.example.com", "--region=us-west-2", "--"], "COMMAND"),
        (&["exec", "https://api.example.com", "--", "echo", "ran"], "region"),
        (&["exec", "--max=soon", "https://api.example.com", "--", "echo", "ran"], "--max"),
    ] {
        let launch = arguments[1..].iter().fold(Launch::arguments([arguments[0]]), |l, a| l.argument(a));
        let running = &mut Running::spawn(&mut launch.command());
        let ended = running.end();
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{arguments:?} {ended:?}");
        assert!(running.stream(Stream::Err).contains(part), "{arguments:?} {ended:?}");
    }
}

#[test]
fn what_the_command_leaves_behind_does_not_keep_it() {
    let origin = Origin::plain(ok);
    // A child of the command's goes on, and has the streams; the exit code comes all the same.
    let launch = exec(&origin, &[], &sh("(read line) <&0 & exit 4", &[]));
    let mut child = launch.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let held = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    drop(held);
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}
