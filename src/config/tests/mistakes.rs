//! All mistakes at once, each with its place, its key and what to write instead.

use std::ffi::OsString;

use super::{Error, all_text, from_file, load};
use crate::config::{Given, Kind, Place, given::parse_tolerantly, given::with_args};

const STAGE: &str = "[[stage]]\nurl = \"https://abc123.execute-api.us-west-2.amazonaws.com/prod\"\n";

fn wrong(text: &str) -> Error {
    from_file(text).map(|config| panic!("{text} was taken: {config:?}")).unwrap_err()
}

/// Line, column, key, and the valid name that was meant.
fn places(error: &Error) -> Vec<(usize, usize, &str, Option<&str>)> {
    let each = error.problems.iter().map(|problem| match &problem.place {
        Place::File { line, column, .. } => {
            (*line, *column, problem.key.as_str(), problem.mistake.nearest.as_deref())
        }
        place => panic!("{place:?} of {problem}"),
    });
    each.collect()
}

#[test]
fn a_file_with_many_mistakes_shows_them_all_in_order() {
    let error = wrong(
        r#"listen = ["0.0.0.0:8080"]
wrokers = 2
[limits]
max_body = "10 parsecs"
header_timeout = 10
max_bufferd = "1MiB"
[log]
format = "jsn"
filter = "inof"
acess = true
[[stage]]
url = "http://abc123.execute-api.us-west-2.amazonaws.com/prod"
retry = "sfae"
timeouts = { connect = "5s", idel = "5m" }
max_body = 5
signed_headers = ["x-ok", "Cookie", "te"]
[[stage]]
url = "https://api.example.com/prod"
mount = "orders/"
[[stage.route]]
path = "/ü ä"
auth = "iam"
"#,
    );
    let expected = [
        (1, 10, "listen", None),
        (2, 1, "wrokers", Some("workers")),
        (4, 12, "limits.max_body", None),
        (5, 18, "limits.header_timeout", None),
        (6, 1, "limits.max_bufferd", Some("max_buffered")),
        (8, 10, "log.format", Some("json")),
        (9, 10, "log.filter", Some("info")),
        (10, 1, "log.acess", Some("access")),
        (12, 7, "stage[0].url", None),
        (13, 9, "stage[0].retry", Some("safe")),
        (14, 30, "stage[0].timeouts.idel", Some("idle")),
        (15, 1, "stage[0].max_body", Some("max_body")),
        (16, 27, "stage[0].signed_headers", None),
        (18, 7, "stage[1].region", None),
        (19, 9, "stage[1].mount", None),
        (21, 8, "stage[1].route[0].path", None),
    ];
    // The region is missing, so it stands where the stage does.
    let found: Vec<_> = places(&error).into_iter().filter(|place| place.2 != "stage[1].region").collect();
    let expected: Vec<_> = expected.into_iter().filter(|place| place.2 != "stage[1].region").collect();
    assert_eq!(found, expected);
    assert!(error.problems.iter().any(|problem| problem.key == "stage[1].region"), "{error:?}");
    let shown = error.render(false);
    for part in [
        "test.toml:6:1",
        "did you mean max_buffered?",
        "It belongs to [limits].",
        "--allow-remote",
        "\"10s\"",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn mistakes_in_flags_variables_and_file_come_together() {
    let flags = ["--retry=nver", "--max-body=9XB", "--listen=0.0.0.0:80", "--route=/x"];
    let variables = [("COUNTERSIGN_WORKERS", "many"), ("COUNTERSIGN_REGOIN", "us-west-2")];
    let error = load(&flags, &variables, Some(&format!("wrokers = 1\n{STAGE}"))).expect_err("six mistakes");
    let shown = all_text(&error);
    for part in [
        "--retry: stage.retry: \"nver\" is not one of never, safe, idempotent",
        "--max-body: limits.max_body: \"9XB\" is not a size",
        "--listen: listen: 0.0.0.0:80 is reached by other machines",
        "--route: stage.route: \"/x\" is not a path and what it needs",
        "COUNTERSIGN_WORKERS: workers: \"many\" is not a whole number",
        "COUNTERSIGN_REGOIN: there is no such variable",
        "did you mean COUNTERSIGN_REGION?",
        "test.toml:1:1: wrokers: there is no setting \"wrokers\" here",
    ] {
        assert!(shown.contains(part), "{part}: {}", error.render(false));
    }
    assert_eq!(error.problems.len(), 7, "{}", error.render(false));
}

#[test]
fn what_only_follows_from_a_mistake_is_not_reported() {
    for (text, keys) in [
        ("[[stage]]\nurl = \"nonsense\"\n", &["stage[0].url"][..]),
        ("[[stage]]\nulr = \"https://a.example.com\"\n", &["stage[0].ulr"]),
        ("[[stage]]\nurl = \"https://a.example.com\"\nregion = 5\n", &["stage[0].region"]),
        ("[[stage]]\nurl = \"https://a.example.com\"\nregoin = \"us-west-2\"\n", &["stage[0].regoin"]),
        (
            "[[stage]]\nurl = \"https://a.example.com\"\nroute = [{ path = \"/*\", auth = \"api-key\" }]\napi_key = \"x\"\n",
            &["stage[0].api_key"],
        ),
        ("stage = 5\n", &["stage"]),
        ("stage = [5]\n", &["stage[0]"]),
        ("stages = [{ url = \"https://a.example.com\" }]\n", &["stages"]),
        ("[stage]\nurl = \"https://a.example.com\"\n", &["stage"]),
    ] {
        let error = wrong(text);
        let found: Vec<&str> = error.problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(found, keys, "{}", error.render(false));
    }
}

#[test]
fn what_is_not_toml_is_told_by_line_and_column() {
    for (text, line, column) in [
        ("listen = \n", 1, 10),
        ("workers = 1\nlisten = 127.0.0.1:8080\n", 2, 15),
        ("workers = 1\nworkers = 2\n", 2, 1),
        ("[limits\nmax_body = 1\n", 1, 8),
        ("a = \"ü\" b\n", 1, 9),
    ] {
        let error = wrong(text);
        let problem = &error.problems[0];
        assert_eq!(problem.kind, Kind::Syntax, "{text}");
        let Place::File { line: l, column: c, .. } = &problem.place else { panic!("{problem}") };
        assert_eq!((*l, *c), (line, column), "{text}: {problem}");
    }
    // A key that is written twice does not hide the rest.
    let error = wrong("workers = 1\nworkers = 2\nlisten = 5\n");
    assert!(error.problems.iter().any(|problem| problem.key == "listen"), "{error:?}");
}

#[test]
fn an_unsafe_or_contradictory_setting_is_named_with_what_to_do() {
    for (text, key, part) in [
        ("listen = \"192.168.1.5:80\"", "listen", "allow_remote"),
        ("listen = \"[::]:80\"", "listen", "allow_remote"),
        ("listen = \"[::ffff:10.0.0.1]:80\"", "listen", "allow_remote"),
        ("admin = \"0.0.0.0:80\"", "admin", "allow_remote"),
        ("listen = \"127.0.0.1:8081\"", "admin", "same port"),
        ("listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]", "listen", "same port"),
        ("listen = [\"unix:/a\", \"unix:/a\"]", "listen", "twice"),
        ("listen = []", "listen", "no address"),
        ("listen = \"unix:a.sock\"", "listen", "absolute"),
        ("listen = \"/a.sock\"", "listen", "unix:/a.sock"),
        ("listen = \"8080\"", "listen", "127.0.0.1:8080"),
        ("listen = \":8080\"", "listen", "127.0.0.1:8080"),
        ("listen = \"devbox:8080\"", "listen", "127.0.0.1:8080"),
        ("listen = 8080", "listen", "expected an address"),
        ("admin = false", "admin", "off"),
        ("workers = 0", "workers", "at least 1"),
        ("workers = -1", "workers", "at least 1"),
        ("workers = \"2\"", "workers", "without quotes"),
        ("workers = 5000", "workers", "too many"),
        ("guard.allowed_hosts = [\"http://devbox:80/\"]", "guard.allowed_hosts", "devbox"),
        ("guard.allowed_hosts = [\"*.example.com\"]", "guard.allowed_hosts", "patterns"),
        ("guard.allowed_origins = [\"*\"]", "guard.allowed_origins", "every page"),
        ("guard.allowed_origins = [\"null\"]", "guard.allowed_origins", "alike"),
        ("guard.allowed_origins = [\"localhost:3000\"]", "guard.allowed_origins", "http://localhost:3000"),
        (
            "guard.allowed_origins = [\"http://localhost:3000/\"]",
            "guard.allowed_origins",
            "http://localhost:3000\"",
        ),
        ("listen = \"0.0.0.0:80\"\nguard.allow_remote = true", "listen", "--token-file"),
        ("listen = \"0.0.0.0:80\"\nguard.allow_remote = true", "listen", "--no-token"),
        ("admin = \"0.0.0.0:80\"\nguard.allow_remote = true", "admin", "--no-token"),
        ("listen = \"0.0.0.0:80\"\nguard.no_token = true", "listen", "--allow-remote"),
        ("guard = { token.value = \"0123456789abcdef\", no_token = true }", "guard.no_token", "keep one"),
        ("guard.token.value = \"0123456789abcde\"", "guard.token.value", "can be guessed"),
        ("guard.token.value = \"\"", "guard.token.value", "empty"),
        ("guard.token.value = \"0123456789 abcdef\"", "guard.token.value", "without white space"),
        ("guard.token = { env = \"A\", file = \"/b\" }", "guard.token.file", "exclude each other"),
        ("guard.token = {}", "guard.token", "names no source"),
        ("guard.token = \"0123456789abcdef\"", "guard.token", "it is a table of env"),
        ("guard.token.env = \"A B\"", "guard.token.env", "not the name of an environment variable"),
        ("guard.allowed_uids = [1000]", "guard.allowed_uids", "unix:"),
        ("listen = \"unix:/a\"\nguard.allowed_uids = [-1]", "guard.allowed_uids", "id -u"),
        ("listen = \"unix:/a\"\nguard.allowed_uids = [\"root\"]", "guard.allowed_uids", "id -u"),
        ("unix_mode = 600", "unix_mode", "in quotes"),
        ("unix_mode = \"0400\"", "unix_mode", "0660"),
        ("unix_mode = \"rw\"", "unix_mode", "0660"),
        ("guard.allow_remote = \"yes\"", "guard.allow_remote", "boolean"),
        ("limits.max_body = \"300MiB\"", "limits.max_body", "max_buffered"),
        ("inspector.buffer = \"1KB\"", "inspector.buffer", "max_body"),
        ("inspector.max_body = \"33MiB\"", "inspector.max_body", "buffer"),
        ("limits.max_buffered = \"1KB\"", "limits.max_buffered", "max_body"),
        ("limits.max_body = \"4GiB\"", "limits.max_body", "that large"),
        ("limits.max_body = 0", "limits.max_body", "more than nothing"),
        ("limits.max_body = -5", "limits.max_body", "more than nothing"),
        ("limits.max_body = 1.5", "limits.max_body", "expected a size"),
        ("limits.body_timeout = \"30\"", "limits.body_timeout", "\"30s\""),
        ("limits.body_timeout = 30", "limits.body_timeout", "\"30s\""),
        ("limits.body_timeout = \"25h\"", "limits.body_timeout", "24h"),
        ("limits = 5", "limits", "expected a table, found integer"),
        ("log.filter = \"countersign=loud\"", "log.filter", "not a filter"),
    ] {
        let error = wrong(&format!("{text}\n{STAGE}"));
        assert_eq!(error.problems.len(), 1, "{}", error.render(false));
        assert_eq!(error.problems[0].key, key, "{text}");
        assert!(all_text(&error).contains(part), "{text}: {}", error.render(false));
    }
}

#[test]
fn what_is_safe_is_taken() {
    for text in [
        "listen = [\"127.0.0.1:80\", \"[::1]:80\"]",
        "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]",
        "listen = \"[::ffff:127.0.0.1]:80\"",
        "listen = \"localhost:80\"",
        "listen = \"0.0.0.0:80\"\nguard = { allow_remote = true, token.env = \"A\" }",
        "listen = [\"unix:/a\", \"127.0.0.1:80\"]\nunix_mode = \"660\"\nguard.allowed_uids = [0, 1000]",
        "listen = \"127.8.9.1:80\"",
        "listen = \"0.0.0.0:80\"\nadmin = \"0.0.0.0:81\"\nguard.allow_remote = true\nguard.no_token = true",
        "limits = { max_body = \"300MB\", max_buffered = \"300MiB\" }",
        "limits.header_timeout = \"1h 30m\"",
        "log.filter = \"warn,countersign::proxy=debug,hyper=off\"",
        "guard.allowed_origins = [\"http://localhost:3000\", \"https://app.example.com\", \"moz-extension://a-b\"]",
        "guard.allowed_hosts = [\"DevBox\", \"::1\", \"10.0.0.1\"]",
    ] {
        if let Err(error) = from_file(&format!("{text}\n{STAGE}")) {
            panic!("{text}: {}", error.render(false));
        }
    }
}

#[test]
fn variables_of_others_are_let_be() {
    let others = [
        ("COUNTERSIGN_SERVICE_HOST", "10.0.0.1"),
        ("COUNTERSIGN_PORT", "tcp://10.0.0.1:80"),
        ("COUNTERSIGN_TOKEN_SERVICE_HOST", "x"),
        ("COUNTERSIGN_API_KEY_2", "x"),
    ];
    assert!(load(&[], &others, Some(STAGE)).is_ok());
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_named() {
    use std::os::unix::ffi::OsStringExt as _;

    let arguments = [OsString::from("countersign")];
    let (matches, bad) = parse_tolerantly(with_args(clap::Command::new("countersign")), &arguments, None)
        .expect("no arguments");
    let environment = [(OsString::from("COUNTERSIGN_REGION"), OsString::from_vec(vec![0xff]))];
    let given = Given::new(&matches, bad, &environment).expect("clap reads what it has parsed");
    let shown = given.problems.iter().map(ToString::to_string).collect::<String>();
    assert!(shown.contains("COUNTERSIGN_REGION") && shown.contains("UTF-8"), "{shown}");
}
