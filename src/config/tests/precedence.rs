//! A flag wins over a variable, a variable over the file, the file over the default: for every setting there is.

use super::{Error, load};
use crate::config::{
    ApiKey, Config,
    generate::{Entry, reference, schema, sections},
};

/// A setting, and a value for each source; what is read must differ from one source to the next.
struct Row {
    key: &'static str,
    flag: &'static str,
    variable: &'static str,
    /// As TOML.
    file: &'static str,
    /// What else the file says, above the setting: what makes its effect visible.
    around: &'static str,
    /// What a configuration shows of it.
    read: fn(&Config) -> String,
    /// What is read when the flag is given.
    shown: &'static str,
}

const STAGE: &str = "[[stage]]\nurl = \"https://api.example.com/prod\"\n";
const WITH_REGION: &str = "[[stage]]\nurl = \"https://api.example.com/prod\"\nregion = \"us-west-2\"\n";
const WITH_RATE: &str =
    "[[stage]]\nurl = \"https://api.example.com/prod\"\nregion = \"us-west-2\"\nrate_limit.rate = \"10/s\"\n";

macro_rules! row {
    ($key:literal, $flag:literal, $variable:literal, $file:literal, $around:expr, $read:expr, $shown:literal) => {
        Row {
            key: $key,
            flag: $flag,
            variable: $variable,
            file: $file,
            around: $around,
            read: $read,
            shown: $shown,
        }
    };
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    vec![
        row!("listen", "127.0.0.1:1,127.0.0.1:4", "unix:/b", r#"["[::1]:3", "127.0.0.1:3"]"#, "", |c| format!("{:?}", c.listen), "[Tcp(127.0.0.1:1), Tcp(127.0.0.1:4)]"),
        row!("admin", "off", "127.0.0.1:2", r#""[::1]:3""#, "", |c| format!("{:?}", c.admin), "None"),
        row!("metrics", "false", "true", "false", "", |c| c.metrics.to_string(), "false"),
        row!("admin_quit", "true", "false", "true", "", |c| c.admin_quit.to_string(), "true"),
        row!("health_path", "/a", "/b/", r#""/c""#, "", |c| format!("{:?}", c.health_path), r#"Some("/a")"#),
        row!("inspector.enabled", "false", "true", "false", "", |c| c.inspector.enabled.to_string(), "false"),
        row!("request_id", "false", "true", "false", "", |c| c.request_id.to_string(), "false"),
        row!("tls", "a.pem,a.key", "self-signed", r#"{ cert = "c.pem", key = "c.key" }"#, "", |c| format!("{:?}", c.tls), r#"Some(Files { cert: "a.pem", key: "a.key" })"#),
        row!("workers", "2", "3", "4", "", |c| c.workers.to_string(), "2"),
        row!("guard.allowed_hosts", "A.example", "b.example,bb.example", r#"["c.example"]"#, "", |c| format!("{:?}", c.guard.allowed_hosts), r#"["a.example"]"#),
        row!("guard.allowed_origins", "HTTP://Localhost:3000,https://a.example:443", "https://b.example", r#"["http://c.example"]"#, "", |c| c.guard.allowed_origins.iter().map(|origin| format!("{origin} ")).collect(), "http://localhost:3000 https://a.example "),
        row!("unix_mode", "0660", "0666", r#""640""#, "", |c| format!("{:04o}", c.unix_mode), "0660"),
        row!("strict", "true", "false", "true", "", |c| c.strict.to_string(), "true"),
        row!("guard.allowed_uids", "0,1", "2", "[3]", "listen = \"unix:/a\"\n", |c| format!("{:?}", c.guard.allowed_uids), "[0, 1]"),
        row!("guard.token.env", "A", "B", r#""C""#, "", |c| format!("{:?}", c.guard.token), r#"Some(Env("A"))"#),
        row!("guard.token.file", "/a", "/b", r#""/c""#, "", |c| format!("{:?}", c.guard.token), r#"Some(File("/a"))"#),
        row!("guard.token.command", "a 'b c'", "b", r#"["c", "d e"]"#, "", |c| format!("{:?}", c.guard.token), r#"Some(Command(["a", "b c"]))"#),
        row!("limits.max_body", "1MiB", "2MB", r#""3 MiB""#, "", |c| c.limits.max_body.to_string(), "1048576"),
        row!("limits.max_buffered", "11MiB", "12MiB", "13631488", "", |c| c.limits.max_buffered.to_string(), "11534336"),
        row!("limits.buffer_wait", "1s", "2s", r#""3s""#, "", |c| format!("{:?}", c.limits.buffer_wait), "1s"),
        row!("limits.max_connections", "1", "2", "3", "", |c| c.limits.max_connections.to_string(), "1"),
        row!("limits.max_in_flight", "1", "2", "3", "", |c| c.limits.max_in_flight.to_string(), "1"),
        row!("limits.in_flight_wait", "0s", "2s", r#""3s""#, "", |c| format!("{:?}", c.limits.in_flight_wait), "0ns"),
        row!("limits.header_timeout", "1s", "2s", r#""3s""#, "", |c| format!("{:?}", c.limits.header_timeout), "1s"),
        row!("limits.body_timeout", "1s", "2s", r#""3s""#, "", |c| format!("{:?}", c.limits.body_timeout), "1s"),
        row!("limits.min_body_rate", "1KiB", "2KiB", r#""3KiB""#, "", |c| c.limits.min_body_rate.to_string(), "1024"),
        row!("limits.idle_timeout", "1s", "2s", r#""3s""#, "", |c| format!("{:?}", c.limits.idle_timeout), "1s"),
        row!("limits.write_timeout", "1s", "2s", r#""3s""#, "", |c| format!("{:?}", c.limits.write_timeout), "1s"),
        row!("limits.drain_delay", "0s", "2s", r#""3s""#, "", |c| format!("{:?}", c.limits.drain_delay), "0ns"),
        row!("limits.drain_timeout", "1s", "2s", r#""3s""#, "", |c| format!("{:?}", c.limits.drain_timeout), "1s"),
        row!("log.format", "json", "text", r#""json""#, "", |c| format!("{:?}", c.log.format), "Some(Json)"),
        row!("log.filter", "warn", "error", r#""debug""#, "", |c| c.log.filter.clone(), "warn"),
        row!("log.failed", "true", "false", "true", "", |c| c.log.failed.to_string(), "true"),
        row!("log.show", "true", "false", "true", "", |c| c.log.show.to_string(), "true"),
        row!("inspector.from_start", "false", "true", "false", "", |c| format!("{:?}", c.inspector.from_start), "Some(false)"),
        row!("inspector.bodies", "true", "false", "true", "", |c| c.inspector.bodies.to_string(), "true"),
        row!("inspector.max_body", "1KiB", "2KiB", r#""3KiB""#, "", |c| c.inspector.max_body.to_string(), "1024"),
        row!("inspector.buffer", "1MiB", "2MiB", r#""3MiB""#, "", |c| c.inspector.buffer.to_string(), "1048576"),
        row!("log.access", "false", "true", "false", "", |c| c.log.access.to_string(), "false"),
        row!("log.quiet", "GET /a,GET|HEAD /b/*", "* /c", r#"["GET /d"]"#, "", |c| c.log.quiet.iter().map(|rule| format!("{rule};")).collect(), "GET /a;GET|HEAD /b/*;"),
        row!("log.sample", "1/10", "20%", "0.5", "", |c| c.log.sample.to_string(), "0.1"),
        row!("otlp.endpoint", "http://localhost:4318/", "off", r#""https://a.example""#, "", |c| format!("{:?}", c.otlp), r#"Some(At("http://localhost:4318"))"#),
        row!("stage.name", "a", "b", r#""c""#, WITH_REGION, |c| c.stages[0].name.clone(), "a"),
        row!("stage.url", "https://a.example.com", "https://b.example.com", r#""https://c.example.com""#, "[[stage]]\nregion = \"us-west-2\"\n", |c| c.stages[0].url.host.clone(), "a.example.com"),
        row!("stage.mount", "/a/", "/b", r#""/c""#, WITH_REGION, |c| c.stages[0].mount.clone(), "/a"),
        row!("stage.region", "us-east-1", "us-east-2", r#""us-west-1""#, STAGE, |c| c.stages[0].region.clone(), "us-east-1"),
        row!("stage.service", "lambda", "es", r#""aoss""#, WITH_REGION, |c| c.stages[0].service.clone(), "lambda"),
        row!("stage.profile", "a", "b", r#""c""#, WITH_REGION, |c| format!("{:?}", c.stages[0].credentials.profile), r#"Some("a")"#),
        row!("stage.credentials", "imds", "web-identity", r#""container""#, WITH_REGION, |c| format!("{:?}", c.stages[0].credentials.source), "Some(Imds)"),
        row!("stage.role.arn", "arn:aws:iam::123456789012:role/a", "arn:aws-cn:iam::123456789012:role/b/b", r#""arn:aws-us-gov:iam::123456789012:role/c""#, WITH_REGION, |c| c.stages[0].credentials.role.as_ref().map(|r| r.arn.clone()).unwrap_or_default(), "arn:aws:iam::123456789012:role/a"),
        row!("stage.role.session_name", "a b", "bb", r#""cc""#, "[[stage]]\nurl = \"https://api.example.com\"\nregion = \"us-west-2\"\nrole.arn = \"arn:aws:iam::123456789012:role/a\"\n", |c| format!("{:?}", c.stages[0].credentials.role.as_ref().map(|r| r.session_name.clone())), r#"Some(Some("a-b"))"#),
        row!("stage.role.external_id", "aa", "bb", r#""cc""#, "[[stage]]\nurl = \"https://api.example.com\"\nregion = \"us-west-2\"\nrole.arn = \"arn:aws:iam::123456789012:role/a\"\n", |c| format!("{:?}", c.stages[0].credentials.role.as_ref().map(|r| r.external_id.clone())), r#"Some(Some("aa"))"#),
        row!("stage.role.duration", "15m", "12h", r#""1h 30m""#, "[[stage]]\nurl = \"https://api.example.com\"\nregion = \"us-west-2\"\nrole.arn = \"arn:aws:iam::123456789012:role/a\"\n", |c| format!("{:?}", c.stages[0].credentials.role.as_ref().map(|r| r.duration)), "Some(Some(900s))"),
        row!("stage.role.tags", "team=a b,env=dev", "team=b", r#"{ team = "c" }"#, "[[stage]]\nurl = \"https://api.example.com\"\nregion = \"us-west-2\"\nrole.arn = \"arn:aws:iam::123456789012:role/a\"\n", |c| format!("{:?}", c.stages[0].credentials.role.as_ref().map(|r| r.tags.clone())), r#"Some({"env": "dev", "team": "a b"})"#),
        row!("stage.login_command", "aws sso login --profile 'a b'", "b", r#"["c", "d e"]"#, WITH_REGION, |c| format!("{:?}", c.stages[0].credentials.login_command), r#"Some(["aws", "sso", "login", "--profile", "a b"])"#),
        row!("stage.api_key.env", "A", "B", r#""C""#, WITH_REGION, |c| format!("{:?}", c.stages[0].api_key), r#"Some(Env("A"))"#),
        row!("stage.api_key.file", "/a", "/b", r#""/c""#, WITH_REGION, |c| format!("{:?}", c.stages[0].api_key), r#"Some(File("/a"))"#),
        row!("stage.api_key.command", "a 'b c'", "b", r#"["c", "d e"]"#, WITH_REGION, |c| format!("{:?}", c.stages[0].api_key), r#"Some(Command(["a", "b c"]))"#),
        row!("stage.api_key.id", "a1b2c3", "b1", r#""c1""#, WITH_REGION, |c| kept(c.stages[0].api_key.as_ref()), r#"ApiGateway("a1b2c3") in us-west-2"#),
        row!("stage.api_key.secret", "a/b#c.d", "b", r#""c""#, WITH_REGION, |c| kept(c.stages[0].api_key.as_ref()), r#"SecretsManager("a/b", Some("c.d")) in us-west-2"#),
        row!("stage.api_key.parameter", "/a/b", "/b", r#""/c""#, WITH_REGION, |c| kept(c.stages[0].api_key.as_ref()), r#"ParameterStore("/a/b") in us-west-2"#),
        row!("stage.signed_headers", "X-A,x-aa", "x-b", r#"["x-c"]"#, WITH_REGION, |c| format!("{:?}", c.stages[0].signed_headers), r#"["x-a", "x-aa"]"#),
        row!("stage.connect_to", "A.example:1", "[::1]:2", r#""c.example:3""#, WITH_REGION, |c| format!("{:?}", c.stages[0].connect_to), r#"Some(("a.example", 1))"#),
        row!("stage.ca_bundle", "Cargo.toml", "src/lib.rs", r#""src/main.rs""#, WITH_REGION, |c| format!("{:?}", c.stages[0].ca_bundle), r#"Some("Cargo.toml")"#),
        row!("stage.timeouts.connect", "1s", "2s", r#""3s""#, WITH_REGION, |c| format!("{:?}", c.stages[0].timeouts.connect), "1s"),
        row!("stage.timeouts.tls", "1s", "2s", r#""3s""#, WITH_REGION, |c| format!("{:?}", c.stages[0].timeouts.tls), "1s"),
        row!("stage.timeouts.first_byte", "1s", "2s", r#""3s""#, WITH_REGION, |c| format!("{:?}", c.stages[0].timeouts.first_byte), "1s"),
        row!("stage.timeouts.idle", "1s", "2s", r#""3s""#, WITH_REGION, |c| format!("{:?}", c.stages[0].timeouts.idle), "1s"),
        row!("stage.timeouts.connection_age", "1s", "2s", r#""3s""#, WITH_REGION, |c| format!("{:?}", c.stages[0].timeouts.connection_age), "1s"),
        row!("stage.retry", "never", "safe", r#""idempotent""#, WITH_REGION, |c| format!("{:?}", c.stages[0].retry), "Never"),
        row!("stage.allow", "GET /a,POST|PUT /b/*", "* /c", r#"["GET /d"]"#, WITH_REGION, |c| c.stages[0].allow.iter().flatten().map(|rule| format!("{rule};")).collect(), "GET /a;POST|PUT /b/*;"),
        row!("stage.deny", "GET /a,POST|PUT /b/*", "* /c", r#"["GET /d"]"#, WITH_REGION, |c| c.stages[0].deny.iter().map(|rule| format!("{rule};")).collect(), "GET /a;POST|PUT /b/*;"),
        row!("stage.rate_limit.rate", "5/s", "120/m", r#""3600/h""#, WITH_REGION, |c| format!("{:?}", c.stages[0].rate_limit.map(|l| (l.requests, l.per, l.burst, l.wait))), "Some((5, 1s, 5, 1s))"),
        row!("stage.rate_limit.burst", "1", "2", "3", WITH_RATE, |c| c.stages[0].rate_limit.map(|l| l.burst.to_string()).unwrap_or_default(), "1"),
        row!("stage.rate_limit.wait", "0s", "2s", r#""3s""#, WITH_RATE, |c| format!("{:?}", c.stages[0].rate_limit.map(|l| l.wait)), "Some(0ns)"),
        row!("stage.route", "GET|PUT /a=none,/=b=iam", "* /b=iam", r#"[{ path = "/c", methods = ["GET"], auth = "none" }]"#, WITH_REGION, |c| format!("{:?}", c.stages[0].routes), r#"[Route { path: "/a", methods: ["GET", "PUT"], auth: None }, Route { path: "/=b", methods: [], auth: Iam }]"#),
    ]
}

/// Where AWS keeps a stage's key.
fn kept(key: Option<&ApiKey>) -> String {
    match key {
        Some(ApiKey::Lookup(lookup)) => {
            format!("{:?} in {}", lookup.place, lookup.region.as_deref().unwrap_or("no region"))
        }
        other => format!("{other:?}"),
    }
}

/// What the sources together give; a setting is put below what is around it.
fn read(row: &Row, entry: &Entry, flag: bool, variable: bool, file: bool) -> Result<String, Error> {
    let name = entry.flag.as_ref().expect("the row's setting has a flag");
    let flag_argument = match name.as_str() {
        "STAGE_URL" => row.flag.to_owned(),
        name => format!("{name}={}", row.flag),
    };
    let flags: Vec<&str> = if flag { vec![&flag_argument] } else { vec![] };
    let variable_name = entry.variable.as_ref().expect("the row's setting has a variable");
    let variables: Vec<(&str, &str)> = if variable { vec![(variable_name, row.variable)] } else { vec![] };
    let setting = match file {
        true => format!("{} = {}\n", row.key.trim_start_matches("stage."), row.file),
        false => String::new(),
    };
    let text = match row.key.starts_with("stage.") {
        true => format!("{}{setting}", row.around),
        false => format!("{setting}{}{WITH_REGION}", row.around),
    };
    load(&flags, &variables, Some(&text)).map(|config| (row.read)(&config))
}

#[test]
fn every_setting_from_every_source() {
    let all: Vec<Entry> = sections().into_iter().flat_map(|(.., entries)| entries).collect();
    for row in rows() {
        let entry = all.iter().find(|entry| entry.key == row.key).expect("the row names a setting");
        let get = |flag, variable, file| {
            read(&row, entry, flag, variable, file)
                .unwrap_or_else(|error| panic!("{}: {}", row.key, error.render(false)))
        };
        let (flag, variable, file) =
            (get(true, false, false), get(false, true, false), get(false, false, true));
        assert_eq!(flag, row.shown, "{}", row.key);
        assert_ne!(flag, variable, "{}", row.key);
        assert_ne!(variable, file, "{}", row.key);
        assert_eq!(get(true, true, true), flag, "{}: a flag wins", row.key);
        assert_eq!(get(true, false, true), flag, "{}: a flag wins over the file", row.key);
        assert_eq!(get(false, true, true), variable, "{}: a variable wins over the file", row.key);
        // Without a url or region there is no configuration; every other setting has a default or may be absent.
        if let Ok(default) = read(&row, entry, false, false, false) {
            assert_ne!(file, default, "{}: the file wins over the default", row.key);
        } else {
            assert!(["stage.url", "stage.region"].contains(&row.key), "{}", row.key);
        }
    }
}

#[test]
fn allow_remote_from_every_source() {
    let allowed = |flags: &[&str], variables: &[(&str, &str)], file: &str| {
        let text = format!("listen = \"0.0.0.0:1\"\nguard.no_token = true\n{file}\n{WITH_REGION}");
        load(flags, variables, Some(&text)).is_ok()
    };
    let variable = |value| [("COUNTERSIGN_ALLOW_REMOTE", value)];
    let file = |value: bool| format!("guard.allow_remote = {value}");
    assert!(!allowed(&[], &[], ""));
    assert!(allowed(&[], &[], &file(true)));
    assert!(!allowed(&[], &variable("false"), &file(true)));
    assert!(allowed(&[], &variable("true"), &file(false)));
    assert!(allowed(&["--allow-remote"], &variable("false"), &file(false)));
    assert!(!allowed(&["--allow-remote=false"], &variable("true"), &file(true)));
}

#[test]
fn read_only_from_every_source() {
    let read_only = |flags: &[&str], variables: &[(&str, &str)], file: &str| {
        let config = load(flags, variables, Some(&format!("{WITH_REGION}{file}\n"))).expect("it is right");
        config.stages[0].read_only
    };
    let variable = |value| [("COUNTERSIGN_READ_ONLY", value)];
    assert!(!read_only(&[], &[], ""));
    assert!(read_only(&[], &[], "read_only = true"));
    assert!(!read_only(&[], &variable("false"), "read_only = true"));
    assert!(read_only(&[], &variable("true"), "read_only = false"));
    assert!(read_only(&["--read-only"], &variable("false"), "read_only = false"));
    assert!(!read_only(&["--read-only=false"], &variable("true"), "read_only = true"));
}

#[test]
fn no_token_from_every_source() {
    let open = |flags: &[&str], variables: &[(&str, &str)], file: &str| {
        let text = format!("listen = \"0.0.0.0:1\"\nguard.allow_remote = true\n{file}\n{WITH_REGION}");
        load(flags, variables, Some(&text)).is_ok()
    };
    let variable = |value| [("COUNTERSIGN_NO_TOKEN", value)];
    let file = |value: bool| format!("guard.no_token = {value}");
    assert!(!open(&[], &[], ""));
    assert!(open(&[], &[], &file(true)));
    assert!(!open(&[], &variable("false"), &file(true)));
    assert!(open(&[], &variable("true"), &file(false)));
    assert!(open(&["--no-token"], &variable("false"), &file(false)));
    assert!(!open(&["--no-token=false"], &variable("true"), &file(true)));
}

#[test]
fn one_source_of_the_token_from_the_highest_that_names_one() {
    let value = [("COUNTERSIGN_TOKEN", "variable-0123456789")];
    let token = |flags: &[&str], variables: &[(&str, &str)], file: &str| {
        let config = load(flags, variables, Some(&format!("{file}\n{WITH_REGION}")));
        config.map(|config| format!("{:?}", config.guard.token.expect("there is one")))
    };
    let own = r#"Env("COUNTERSIGN_TOKEN")"#;
    for file in ["", "guard.token.file = \"/c\"", "guard.token.env = \"COUNTERSIGN_TOKEN\""] {
        assert_eq!(token(&[], &value, file).expect("it is right"), own, "{file}");
    }
    assert_eq!(token(&["--token-file=/a"], &value, "guard.token.env = \"C\"").expect("x"), r#"File("/a")"#);
    let both = [value[0], ("COUNTERSIGN_TOKEN_FILE", "/b")];
    let error = token(&[], &both, "").expect_err("two at once").render(false);
    assert!(error.contains("another source of the token beside it"), "{error}");
    for bad in ["sh0rt", "two words 0123456789", " 0123456789abcdef"] {
        let error = token(&[], &[("COUNTERSIGN_TOKEN", bad)], "").expect_err("no token");
        assert!(super::all_text(&error).contains("COUNTERSIGN_TOKEN: "), "{bad}");
        assert!(!super::all_text(&error).contains(bad), "{bad}");
    }
}

#[test]
fn the_table_has_every_setting() {
    let mut tested: Vec<String> = rows().iter().map(|row| row.key.to_owned()).collect();
    let on_or_off = ["guard.allow_remote", "guard.no_token", "stage.read_only"];
    tested.extend(on_or_off.map(str::to_owned));
    let with_flag =
        sections().into_iter().flat_map(|(.., entries)| entries).filter(|entry| entry.flag.is_some());
    for entry in with_flag {
        assert!(tested.contains(&entry.key), "{} is not in the table of precedence", entry.key);
    }
}

#[test]
fn every_setting_has_flag_variable_schema_and_reference() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("the schema is JSON");
    let reference = reference();
    let mut flags = Vec::new();
    for (_, about, entries) in sections() {
        assert!(!about.is_empty(), "a section without a comment");
        for entry in entries {
            let key = &entry.key;
            assert!(!entry.doc.is_empty(), "{key} has no comment");
            assert!(in_schema(&schema, key), "{key} is not in the schema");
            assert!(reference.contains(entry.doc.as_str()), "{key} is not in the reference");
            let below_list = key.starts_with("stage.route.");
            match entry.flag {
                Some(flag) => flags.push(flag),
                None => {
                    let secret = ["stage.api_key.value", "guard.token.value"].contains(&key.as_str());
                    assert!(below_list || secret, "{key} has no flag");
                }
            }
            match entry.variable {
                Some(variable) => {
                    assert!(reference.contains(&format!("`{variable}`")), "{variable}");
                    let plain = |c: char| c.is_ascii_uppercase() || c == '_';
                    assert!(variable.chars().all(plain), "{variable}");
                }
                None => assert!(below_list, "{key} has no variable"),
            }
        }
    }
    let count = flags.len();
    flags.sort();
    flags.dedup();
    assert_eq!(flags.len(), count, "two settings share a flag");
}

/// Follows a key through properties, references and lists.
fn in_schema(root: &serde_json::Value, key: &str) -> bool {
    let mut at = root;
    for name in key.split('.') {
        let Some(next) = at.get("properties").and_then(|properties| properties.get(name)) else {
            return false;
        };
        let list = next.get("items").unwrap_or(next);
        at = match list.get("$ref").and_then(|reference| reference.as_str()) {
            Some(reference) => {
                root.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere")
            }
            None => list,
        };
    }
    true
}

#[test]
fn the_schema_refuses_what_the_program_refuses() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("the schema is JSON");
    let definitions = schema["$defs"].as_object().expect("sections");
    for (name, section) in definitions.iter().chain([(&"the root".to_owned(), &schema)]) {
        assert_eq!(section["additionalProperties"], false, "{name} lets unknown keys pass");
    }
    assert_eq!(schema["$defs"]["Limits"]["properties"]["max_body"]["default"], "10MiB");
    assert_eq!(schema["properties"]["workers"]["default"], 1);
    assert!(!schema.to_string().contains("null"), "TOML has no null");
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = load(&[], &[], Some(WITH_REGION)).expect("a stage is enough");
    let limits = &config.limits;
    let seconds = [
        limits.buffer_wait,
        limits.in_flight_wait,
        limits.header_timeout,
        limits.body_timeout,
        limits.idle_timeout,
        limits.write_timeout,
        limits.drain_timeout,
        config.stages[0].timeouts.connect,
        config.stages[0].timeouts.tls,
        config.stages[0].timeouts.first_byte,
        config.stages[0].timeouts.idle,
        config.stages[0].timeouts.connection_age,
    ];
    assert_eq!(
        seconds.map(|duration| duration.as_secs()),
        [10, 10, 10, 30, 300, 300, 25, 5, 5, 35, 300, 300]
    );
    assert_eq!((limits.max_body, limits.max_buffered, limits.max_connections), (10 << 20, 256 << 20, 10_000));
    assert_eq!((limits.min_body_rate, config.tls.is_none()), (256, true));
    let shown = format!("{:?} {:?} {} {:?}", config.listen, config.admin, config.workers, config.log);
    assert_eq!(
        shown,
        "[Tcp(127.0.0.1:8080)] Some(127.0.0.1:8081) 1 Log { format: None, filter: \"info\", access: true, failed: false, \
         show: false, quiet: [], sample: 1.0 }"
    );
    assert_eq!(limits.max_in_flight, 10_000);
    let stage = &config.stages[0];
    assert!(stage.allow.is_none() && stage.deny.is_empty() && !stage.read_only && stage.rate_limit.is_none());
    assert!(config.guard.allowed_hosts.is_empty() && config.guard.allowed_origins.is_empty());
    assert!(config.guard.allowed_uids.is_empty());
    assert!(config.guard.token.is_none() && !config.strict && config.unix_mode == 0o600);
    assert_eq!(format!("{:?}", config.stages[0].retry), "Safe");
}

#[test]
fn an_empty_variable_is_not_set() {
    let config = load(&[], &[("COUNTERSIGN_WORKERS", ""), ("COUNTERSIGN_API_KEY", "")], Some(WITH_REGION));
    let config = config.expect("empty variables say nothing");
    assert_eq!((config.workers.get(), config.stages[0].api_key.is_none()), (1, true));
}
