//! What every command says to people is kept in `tests/it/snapshots`: its help here, its work and its failures in the files
//! that are about it, and nothing is kept that no test makes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    path::Path,
    process::Command,
};

use crate::support::{
    process::{Launch, Running},
    python::environment,
    root, snapshot,
};

/// Every command that there is, `stack deploy` as `stack-deploy`, and whether it does something by itself.
fn commands() -> BTreeMap<String, bool> {
    fn below(command: &clap::Command, name: &str, all: &mut BTreeMap<String, bool>) {
        all.insert(name.to_owned(), !command.has_subcommands());
        // `help` is clap's own.
        for next in command.get_subcommands().filter(|next| next.get_name() != "help") {
            let name = match name {
                "countersign" => next.get_name().to_owned(),
                before => format!("{before}-{}", next.get_name()),
            };
            below(next, &name, all);
        }
    }
    let mut root = countersign::cli::command();
    root.build();
    let mut all = BTreeMap::new();
    below(&root, "countersign", &mut all);
    all
}

/// The snapshots that are there, by command.
fn kept() -> BTreeMap<String, BTreeSet<String>> {
    let read = |path: &Path| {
        let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
    };
    let folder = snapshot::folder();
    read(&folder).into_iter().map(|command| (command.clone(), read(&folder.join(command)))).collect()
}

/// The text of every file of these tests.
fn sources() -> String {
    let files = fs::read_dir(root().join("tests/it")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    files.map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn the_help_of_every_command_is_as_it_was() {
    let all = commands();
    assert!(all.len() >= 20, "{all:?}: the tree is another one");
    let run = Launch::arguments(["run", "--help"]).run().out;
    let settings: BTreeSet<_> = run.split("\n\n").collect();
    for name in all.keys() {
        // One word has a dash in it in none of them.
        let words = name.split('-').filter(|word| *word != "countersign");
        let launch = words.fold(Launch::arguments([]), Launch::argument).argument("--help");
        let ended = launch.run();
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{name}: {ended:?}");
        assert!(ended.out.contains("\nExample"), "{name} shows no example");
        // The settings, which several commands take, are kept with those of `run`.
        let own = ended.out.split("\n\n").filter(|part| name == "run" || !settings.contains(part));
        snapshot::text(&format!("{name}/help"), &own.collect::<Vec<_>>().join("\n\n"), &[]);
    }
}

#[test]
fn every_command_has_its_output_kept_and_all_that_is_kept_is_made() {
    let (commands, kept, sources) = (commands(), kept(), sources());
    for (command, works) in &commands {
        let cases = kept.get(command).unwrap_or_else(|| panic!("no snapshot of {command}"));
        assert!(cases.contains("help.txt"), "no help of {command}");
        assert!(cases.len() > 1 || !works, "no output of {command} is kept but its help");
    }
    for (command, cases) in &kept {
        assert!(commands.contains_key(command), "snapshots/{command} is of no command");
        for case in cases.iter().filter(|case| *case != "help.txt") {
            let name = format!("\"{command}/{}\"", case.trim_end_matches(".txt"));
            assert!(sources.contains(&name), "no test makes snapshots/{command}/{case}");
        }
    }
}

/// Kept as they are written; whether they are right is for other tests.
#[test]
fn what_is_wrong_with_a_command_line_is_told() {
    for (case, arguments) in [
        ("countersign/mistyped", &["demoo"][..]),
        ("countersign/no-command", &["everything"]),
        ("stack/no-action", &["stack"]),
        ("request/no-path", &["request", "GET"]),
        ("explain/no-method", &["explain", "G@T", "/orders"]),
        ("exec/no-command", &["exec", "https://api.example.com"]),
        ("check/wrong-try", &["check", "--try", "/orders"]),
        ("policy/wrong-account", &["policy", "--account", "12"]),
        ("completions/no-shell", &["completions", "fishy"]),
        ("health/wrong-admin", &["health", "--admin", "off"]),
    ] {
        let launch = arguments.iter().fold(Launch::arguments([]), |launch, word| launch.argument(word));
        let ended = launch.run();
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{case}: {ended:?}");
        snapshot::ended(case, &ended, &[]);
    }
}

/// Each kind of mistake once, in all three places.
const WRONG: &str = r#"wrokers = 2
listen = "0.0.0.0:8080"
[limits]
max_body = "10 parsecs"
[guard]
token = { env = "A", file = "b" }
[[stage]]
name = "orders"
url = "https://api.example.com/v1"
route = [
  { path = "orders", auth = "iam" },
  { path = "/orders", methods = ["get"], auth = "iam" },
  { path = "/keyed", auth = "api-key" },
]
[[stage]]
name = "orders"
url = "http://stock.example.com"
"#;

#[test]
fn what_is_wrong_with_a_configuration_is_told() {
    let launch = || Launch::arguments(["run", "--config", "wrong.toml"]).file("wrong.toml", WRONG);
    let launch = launch().argument("--retry=nver").variable("COUNTERSIGN_WORKERS", "many");
    let ended = launch.run();
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    snapshot::ended("run/mistakes", &ended, &[]);
    let ended =
        Launch::arguments(["run", "--config", "broken.toml"]).file("broken.toml", "listen = \n").run();
    snapshot::ended("run/no-toml", &ended, &[]);
    snapshot::ended("run/no-file", &Launch::arguments(["run", "--config", "absent.toml"]).run(), &[]);
    snapshot::ended("run/no-stage", &Launch::arguments(["run"]).run(), &[]);
}

#[test]
fn whom_nobody_answers_is_told() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let admin = format!("--admin={nobody}");
    for (case, arguments) in [
        ("health/nobody", &["health"][..]),
        ("wait/nobody", &["wait", "--max=200ms"]),
        ("shutdown/nobody", &["shutdown"]),
    ] {
        let launch = arguments.iter().fold(Launch::arguments([]), |launch, word| launch.argument(word));
        let ended = launch.argument(&admin).run();
        assert_eq!(ended.code, Some(1), "{case}: {ended:?}");
        snapshot::ended(case, &ended, &[]);
    }
}

/// Colours are for terminals that take them, and for people who want them; without them the words are the same.
#[test]
fn colours_are_for_terminals_and_who_wants_them() {
    let script = root().join("tests/python/on_terminal.py");
    let wrapper = [environment("verify", "python"), script].map(|path| path.display().to_string());
    let url = "https://abc123.execute-api.us-west-2.amazonaws.com/prod";
    for arguments in [
        &["check", url, "--try", "GET /orders"][..],
        &[
            "explain",
            "GET",
            "/orders",
            url,
            "--example-keys",
            "--at",
            "2026-11-25T03:04:05Z",
            "--request-id=false",
        ],
        &["run", "--config", "wrong.toml"],
        &["request", "GET", "/orders", url, "--connect-to", "nobody.invalid:443", "--route", "/*=none"],
    ] {
        let launch = || {
            let launch = Launch::arguments([]).file("wrong.toml", WRONG);
            arguments.iter().fold(launch, |launch, word| launch.argument(word))
        };
        let shown = |variables: &[(&str, &str)]| {
            let launch =
                variables.iter().fold(launch(), |launch, (name, value)| launch.variable(name, value));
            launch.wrapped(&wrapper).run().out.replace('\r', "")
        };
        let piped = launch().run();
        let piped = piped.out + &piped.err;
        assert!(!piped.contains('\x1b') && !piped.is_empty(), "{piped}");
        assert!(shown(&[("TERM", "xterm")]).contains("\x1b["), "{arguments:?}");
        for plain in [&[("TERM", "xterm"), ("NO_COLOR", "1")][..], &[("TERM", "dumb")], &[]] {
            assert_eq!(shown(plain), piped, "{arguments:?} {plain:?}");
        }
    }
}

/// What bash itself makes of the script, without the completions that a system has beside it.
#[test]
fn bash_completes_commands_flags_and_values() {
    const ASKED: &str = r#"
source ./completions
COMP_WORDS=(countersign "$@"); COMP_CWORD=$#
_countersign countersign "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]-}"
"#;
    let launch = Launch::arguments([]);
    let script = Launch::arguments(["completions", "bash"]).run();
    launch.home().write("completions", &script.out);
    for (typed, expected) in [
        (&["ex"][..], &["exec", "explain"][..]),
        (&["stack", "de"], &["delete", "deploy"]),
        (&["check", "--js"], &["--json"]),
        (&["policy", "--format", "t"], &["terraform"]),
        (&["completions", "f"], &["fish"]),
        (&["nothing-like-it"], &[""]),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["--noprofile", "--norc", "-u", "-c", ASKED, "bash"]).args(typed).env_remove("BASH_ENV");
        let ended = Running::spawn(bash.current_dir(launch.home().path())).end();
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
        let mut offered: Vec<_> = ended.out.lines().collect();
        offered.sort_unstable();
        assert_eq!(offered, expected, "{typed:?}");
    }
}

#[test]
fn the_man_page_is_as_it_was() {
    let ended = Launch::arguments(["man"]).run();
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    snapshot::text("man/page", &ended.out, &[]);
    let launch = Launch::arguments(["man", "pages"]);
    fs::create_dir(launch.home().path().join("pages")).unwrap();
    let ended = Running::spawn(&mut launch.command()).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let mut pages: Vec<_> = fs::read_dir(launch.home().path().join("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort_unstable();
    snapshot::text("man/pages", &(pages.join("\n") + "\n"), &[]);
}
