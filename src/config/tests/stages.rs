//! Which stage the flags are meant for, and what one stage's settings come to.

use super::{all_text, from_file, given, load};
use crate::config::{self, ApiKey, Auth, Config, Error, Route, signs};

const ONE: &str = "[[stage]]\nurl = \"https://one.execute-api.us-west-2.amazonaws.com/prod\"\n";
const TWO: &str = "[[stage]]\nurl = \"https://one.execute-api.us-west-2.amazonaws.com/prod\"\n\
                   [[stage]]\nurl = \"https://two.execute-api.eu-west-1.amazonaws.com/prod\"\nmount = \"/two\"\nname = \"second\"\n";
const URL: &str = "https://abc123.execute-api.us-west-2.amazonaws.com/prod/";

fn good(result: Result<Config, Error>) -> Config {
    result.unwrap_or_else(|error| panic!("{}", error.render(false)))
}

fn refused(result: Result<Config, Error>, part: &str) {
    let error = result.map(|config| panic!("{part}: {config:?}")).unwrap_err();
    assert!(all_text(&error).contains(part), "{part}: {}", error.render(false));
}

#[test]
fn a_url_alone_is_enough() {
    let config = good(load(&[URL], &[], None));
    let stage = &config.stages[0];
    assert_eq!(
        (stage.name.as_str(), stage.region.as_str(), stage.service.as_str(), stage.mount.as_str()),
        ("abc123", "us-west-2", "execute-api", "/")
    );
    assert_eq!(stage.credentials.fallback_region, "us-west-2");
    assert_eq!((stage.url.path.as_str(), stage.url.port), ("/prod", 443));
    assert_eq!(good(load(&[], &[("COUNTERSIGN_STAGE_URL", URL)], None)).stages[0].name, "abc123");
}

#[test]
fn stages_of_several_regions_with_one_identity_share_its_source() {
    let stage = |name: &str, region: &str, more: &str| {
        format!(
            "[[stage]]\nname = \"{name}\"\nmount = \"/{name}\"\nurl = \"https://a.execute-api.{region}.amazonaws.com/p\"\n{more}\n"
        )
    };
    let text = [
        stage("a", "us-west-2", "profile = \"dev\""),
        stage("b", "eu-west-1", "profile = \"dev\""),
        stage("c", "eu-west-1", "profile = \"dev\"\nrole.arn = \"arn:aws:iam::111122223333:role/r\""),
        stage("d", "eu-west-1", "profile = \"ops\""),
    ]
    .concat();
    let config = good(load(&[], &[], Some(&text)));
    let regions: Vec<_> =
        config.stages.iter().map(|stage| stage.credentials.fallback_region.as_str()).collect();
    assert_eq!(regions, ["us-west-2", "us-west-2", "eu-west-1", "eu-west-1"]);
    assert_eq!(config.stages[0].credentials, config.stages[1].credentials);
    assert_eq!(config.stages[1].region, "eu-west-1", "what is signed for is the stage's own");
}

#[test]
fn nothing_at_all_says_how_to_start() {
    refused(load(&[], &[], None), "countersign demo");
    refused(load(&[], &[], Some("workers = 2\n")), "test.toml: stage: there is no stage");
    refused(load(&["--region=us-west-2"], &[], None), "has no url");
}

#[test]
fn flags_are_for_the_files_only_stage() {
    let config = good(load(&["--mount=/x"], &[("COUNTERSIGN_PROFILE", "dev")], Some(ONE)));
    assert_eq!(config.stages.len(), 1);
    assert_eq!((config.stages[0].name.as_str(), config.stages[0].mount.as_str()), ("one", "/x"));
    assert_eq!(config.stages[0].credentials.profile.as_deref(), Some("dev"));
    assert_eq!(good(load(&[URL], &[], Some(ONE))).stages[0].name, "abc123");
    let config = good(load(&[URL], &[], Some("workers = 2\n")));
    assert_eq!((config.workers.get(), config.stages.len()), (2, 1));
}

#[test]
fn with_several_stages_the_flag_says_which() {
    refused(load(&["--profile=dev"], &[], Some(TWO)), "say --stage with one of one, second");
    refused(
        load(&[], &[("COUNTERSIGN_PROFILE", "dev")], Some(TWO)),
        "COUNTERSIGN_PROFILE: the file has 2 stages",
    );
    refused(load(&[URL], &[], Some(TWO)), "STAGE_URL: the file has 2 stages");
    refused(load(&["--stage=secnd"], &[], Some(TWO)), "did you mean second?");
    refused(load(&["--stage=x", URL], &[], None), "no stages to choose from");
    // What else is wrong with them is said too.
    let error =
        load(&["--profile=dev"], &[], Some(&format!("{TWO}region = \"eu-west-2\"\n"))).expect_err("both");
    assert_eq!(error.problems.len(), 2, "{}", error.render(false));
    assert_eq!(good(load(&[], &[], Some(TWO))).stages.len(), 2);
    for (stage, index) in [("one", 0), ("second", 1)] {
        for (flags, variables) in [
            (vec!["--profile=dev", "--stage", stage], vec![]),
            (vec!["--stage", stage], vec![("COUNTERSIGN_PROFILE", "dev")]),
            (vec!["--profile=dev"], vec![("COUNTERSIGN_STAGE", stage)]),
        ] {
            let config = good(load(&flags, &variables, Some(TWO)));
            let profiles: Vec<_> =
                config.stages.iter().map(|stage| stage.credentials.profile.is_some()).collect();
            assert_eq!(profiles, [index == 0, index == 1]);
        }
    }
}

#[test]
fn stages_are_told_apart() {
    let second = |more: &str| {
        format!("{ONE}[[stage]]\nurl = \"https://two.execute-api.us-west-2.amazonaws.com\"\n{more}")
    };
    refused(from_file(&second("")), "\"/\" is another stage's mount already");
    refused(from_file(&second("mount = \"//\"")), "empty segment");
    refused(
        from_file(&second("mount = \"/x\"\nname = \"one\"")),
        "\"one\" is another stage's name already (line",
    );
    good(from_file(&second("mount = \"/x/\"")));
    let third = |mounts: [&str; 2]| {
        let [two, three] = mounts.map(|mount| format!("mount = \"{mount}\"\n"));
        second(&format!("{two}[[stage]]\nurl = \"https://3.execute-api.us-west-2.amazonaws.com\"\n{three}"))
    };
    refused(from_file(&third(["/x/y", "/%78/%79"])), "\"/%78/%79\" is another stage's mount already");
    refused(from_file(&third(["/%5b", "/%5B/"])), "another stage's mount already");
    good(from_file(&third(["/x/y", "/x%2Fy"])));
}

#[test]
fn the_api_key_comes_from_the_highest_source_alone() {
    let key = |flags: &[&str], variables: &[(&str, &str)], more: &str| {
        good(load(flags, variables, Some(&format!("{ONE}{more}")))).stages[0].api_key.clone()
    };
    let env = |name: &str| Some(ApiKey::Env(name.to_owned()));
    let in_file = "api_key = { file = \"/k\" }\n";
    assert_eq!(key(&[], &[], in_file), Some(ApiKey::File("/k".into())));
    assert_eq!(key(&["--api-key-env=A"], &[], in_file), env("A"));
    assert_eq!(key(&["--api-key-env=A"], &[("COUNTERSIGN_API_KEY_FILE", "/x")], in_file), env("A"));
    assert_eq!(key(&["--api-key-env=A"], &[("COUNTERSIGN_API_KEY", "k")], in_file), env("A"));
    assert_eq!(key(&[], &[("COUNTERSIGN_API_KEY", "k")], in_file), env("COUNTERSIGN_API_KEY"));
    let both = [("COUNTERSIGN_API_KEY", "k"), ("COUNTERSIGN_API_KEY_FILE", "/x")];
    refused(load(&[], &both, Some(ONE)), "COUNTERSIGN_API_KEY is set, and another source");
    refused(
        load(&["--api-key-env=A", "--api-key-file=/x"], &[], Some(ONE)),
        "env and file exclude each other",
    );
    refused(
        from_file(&format!("{ONE}api_key = {{ env = \"A\", command = [\"b\"] }}\n")),
        "env and command exclude each other",
    );
    refused(from_file(&format!("{ONE}api_key = {{}}\n")), "names no source");
    refused(from_file(&format!("{ONE}api_key = {{ command = [] }}\n")), "empty");
    refused(load(&["--api-key-command=op 'x"], &[], Some(ONE)), "open quote");
    refused(load(&["--route=/x=api-key"], &[], Some(ONE)), "the stage has none");
    // The variable may be the one that the file names; then it is no setting of its own.
    let named = format!("{TWO}api_key = {{ env = \"COUNTERSIGN_API_KEY\" }}\n");
    let config = good(load(&[], &[("COUNTERSIGN_API_KEY", "k")], Some(&named)));
    assert_eq!(
        (config.stages[0].api_key.clone(), config.stages[1].api_key.clone()),
        (None, env("COUNTERSIGN_API_KEY"))
    );
    refused(
        load(&[], &[("COUNTERSIGN_API_KEY", "k")], Some(TWO)),
        "COUNTERSIGN_API_KEY: the file has 2 stages",
    );
}

#[test]
fn what_is_signed_for() {
    let scope = |url: &str, flags: &[&str]| {
        let flags: Vec<&str> = std::iter::once(url).chain(flags.iter().copied()).collect();
        load(&flags, &[], None)
    };
    let custom = "https://api.example.com/prod";
    refused(scope(custom, &[]), "api.example.com does not tell the region");
    refused(scope("http://x.execute-api.localhost:4566/prod", &[]), "the region that the emulator takes");
    refused(scope("http://127.0.0.1:3000", &[]), "does not tell the region");
    refused(scope(URL, &["--region=eu-west-1"]), "\"us-west-2\", and a signature for \"eu-west-1\"");
    refused(scope(URL, &["--service=lambda"]), "\"execute-api\", and a signature for \"lambda\"");
    refused(scope(custom, &["--region=Oregon"]), "not a region");
    // What no rule names is signed.
    refused(scope(custom, &["--route=/a=none"]), "region");
    refused(scope(custom, &["--region=us-west-2", "--service=a b"]), "not a service");
    refused(scope("https://bucket.s3.amazonaws.com/", &[]), "does not tell the region");
    refused(
        scope("http://localhost:1", &["--region=us-east-1", "--connect-to=10.0.0.1:2"]),
        "not this machine",
    );
    refused(scope("https://sqs.us-west-2.amazonaws.com/", &["--region=us-west-2"]), "is not known");
    for (url, flags, region, service) in [
        (URL, &["--region=us-west-2", "--service=execute-api"][..], "us-west-2", "execute-api"),
        (custom, &["--region=us-west-2"], "us-west-2", "execute-api"),
        ("https://sqs.us-west-2.amazonaws.com", &["--region=us-west-2", "--service=sqs"], "us-west-2", "sqs"),
        ("https://x.lambda-url.us-west-2.on.aws", &[], "us-west-2", "lambda"),
        ("https://bucket.s3.us-west-2.amazonaws.com/", &[], "us-west-2", "s3"),
        ("http://x.execute-api.localhost:4566/prod", &["--region=us-east-1"], "us-east-1", "execute-api"),
        (
            "http://localhost:1",
            &["--region=us-east-1", "--connect-to=127.0.0.1:2"],
            "us-east-1",
            "execute-api",
        ),
        // Nothing is signed, so nothing need be known.
        (custom, &["--route=/a=none,/*=api-key", "--api-key-env=K"], "", "execute-api"),
    ] {
        let config = good(scope(url, flags));
        assert_eq!(
            (config.stages[0].region.as_str(), config.stages[0].service.as_str()),
            (region, service),
            "{url}"
        );
        assert!(!config.stages[0].credentials.fallback_region.is_empty());
    }
}

#[test]
fn what_does_not_go_together() {
    for (more, part) in [
        ("profile = \"dev\"\ncredentials = \"environment\"", "profile \"dev\" (line 3)"),
        ("profile = \"\"", "empty"),
        ("name = \" \"", "empty"),
        ("role = { session_name = \"xy\" }", "no role for it"),
        ("role = { arn = \"arn:aws:iam::1:role/x\" }", "not a role's ARN"),
        ("role = { arn = \"arn:aws:iam::123456789012:user/x\" }", "not a role's ARN"),
        (
            "role = { arn = \"arn:aws:iam::123456789012:role/x\", duration = \"5m\" }",
            "15 minutes to 12 hours",
        ),
        (
            "role = { arn = \"arn:aws:iam::123456789012:role/x\", duration = \"13h\" }",
            "15 minutes to 12 hours",
        ),
        ("role = { arn = \"arn:aws:iam::123456789012:role/x\", duration = 3600 }", "needs a unit"),
        ("role = { arn = \"arn:aws:iam::123456789012:role/x\", session_name = \"x\" }", "two characters"),
        ("role = { arn = \"arn:aws:iam::123456789012:role/x\", external_id = \"x\" }", "2 to 1224"),
        ("role = { tags = { team = \"a\" } }", "no role for it"),
        (
            "role = { arn = \"arn:aws:iam::123456789012:role/x\", tags = \"team=a\" }",
            "expected a table of texts",
        ),
        (
            "role = { arn = \"arn:aws:iam::123456789012:role/x\", tags = { \"aws:x\" = \"a\" } }",
            "begins with aws:",
        ),
        (
            "role = { arn = \"arn:aws:iam::123456789012:role/x\", tags = { team = \"a,b\" } }",
            "letters, digits, spaces",
        ),
        (
            "role = { arn = \"arn:aws:iam::123456789012:role/x\", tags = { Team = \"a\", team = \"b\" } }",
            "there twice",
        ),
        ("role = { arn = \"arn:aws:iam::123456789012:role/x\", tags = { team = 7 } }", "expected a string"),
        ("login_command = \"aws sso login\"", "expected a list of words"),
        ("login_command = []", "the command is empty"),
        ("credentials = \"container\"\nlogin_command = [\"x\"]", "nobody logs in"),
        ("credentials = \"sso\"", "environment, profile, container, imds, web-identity"),
        ("connect_to = \"example.com\"", "example.com:443"),
        ("connect_to = \"https://example.com:443\"", "not a host and a port"),
        ("connect_to = \"example.com:0\"", "not a host and a port"),
        ("allow = []", "lets nothing be called"),
        ("allow = \"GET /a\"", "invalid type"),
        ("allow = [\"/a\"]", "names no method"),
        ("deny = [\"get /a\"]", "case-sensitive"),
        ("deny = [5]", "expected a method and a path"),
        ("read_only = \"yes\"", "boolean"),
        ("read_only = true\nallow = [\"GET /a\", \"GET|POST /b\"]", "allows POST, and read_only forbids it"),
        ("allow = [\"GET /a%2Fb\"]", "could never match"),
        ("rate_limit = { burst = 5 }", "there is no rate for it"),
        ("rate_limit = { wait = \"1s\" }", "there is no rate for it"),
        ("rate_limit = { rate = 10 }", "10/s"),
        ("rate_limit = { rate = \"10\" }", "not a rate"),
        ("rate_limit = { rate = \"10/s\", burst = 0 }", "at least 1"),
        ("rate_limit = { rate = \"10/s\", burst = 5000000 }", "no limit"),
        ("rate_limit = { rate = \"10/s\", wait = 1 }", "needs a unit"),
        ("rate_limit = \"10/s\"", "rate, burst, wait"),
        ("signed_headers = [\"x y\"]", "not a header's name"),
        ("signed_headers = [\"X-Forwarded-For\"]", "proxies on the way"),
        ("signed_headers = [\"Content-Length\"]", "made anew"),
        ("signed_headers = [\"Authorization\"]", "carries the signature itself"),
        ("signed_headers = [\"x-amz-date\"]", "always signed"),
        ("mount = \"/a/../b\"", "dot segment"),
        ("mount = \"/a/%2e%2E/b\"", "dot segment"),
        ("mount = \"/a?b\"", "query"),
        ("mount = \"/a b\"", "characters"),
        ("timeouts = \"5s\"", "a table of connect, tls, first_byte, idle, connection_age"),
        ("route = [{ path = \"/a/{b}c\", auth = \"iam\" }]", "characters"),
        ("route = [{ auth = \"iam\" }]", "the rule has no path"),
        ("route = [{ path = \"/x\" }]", "the rule has no auth"),
        ("route = [{ path = \"x\", auth = \"iam\" }]", "does not start with /"),
        ("route = [{ path = \"/x\", methods = [], auth = \"iam\" }]", "for no method"),
        ("route = [{ path = \"/x\", methods = [\"get\"], auth = \"iam\" }]", "case-sensitive"),
        ("route = [{ path = \"/x\", methods = \"GET\", auth = \"iam\" }]", "invalid type"),
        ("route = [{ path = \"/x\", method = [\"GET\"], auth = \"iam\" }]", "did you mean methods?"),
        ("route = [{ path = \"/a//b\", auth = \"iam\" }]", "empty segment"),
        ("route = [{ path = \"/x?y\", auth = \"iam\" }]", "characters"),
        ("route = [{ path = \"/x\", auth = \"iam+api-key\" }]", "the stage has none"),
        ("route = { path = \"/x\", auth = \"iam\" }", "[[stage.route]]"),
    ] {
        let error = from_file(&format!("{ONE}{more}\n")).map(|c| panic!("{more}: {c:?}")).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{}", error.render(false));
        assert!(all_text(&error).contains(part), "{more}: {}", error.render(false));
    }
    good(from_file(&format!("{ONE}profile = \"dev\"\ncredentials = \"profile\"\n")));
}

#[test]
fn the_file_is_found_or_named() {
    let dir = std::env::temp_dir().join(format!("countersign-config-{}", std::process::id()));
    let user = dir.join("xdg/countersign");
    std::fs::create_dir_all(&user).expect("a directory of our own");
    std::fs::write(user.join("countersign.toml"), ONE).expect("a file of our own");
    std::fs::write(dir.join("broken.toml"), "wrokers = 2\nurl = 5\n").expect("a file of our own");
    let path = |name: &str| dir.join(name).to_str().expect("a plain path").to_owned();

    let found = config::load(&given(&[], &[("XDG_CONFIG_HOME", &path("xdg"))]));
    let named =
        config::load(&given(&["--config", &path("broken.toml")], &[("XDG_CONFIG_HOME", &path("xdg"))]));
    let absent = config::load(&given(&[URL], &[("COUNTERSIGN_CONFIG", &path("absent.toml"))]));
    std::fs::remove_dir_all(&dir).expect("it is ours");

    let found = good(found);
    assert_eq!(found.file, Some(user.join("countersign.toml")));
    assert_eq!(found.stages[0].name, "one");
    refused(named, "broken.toml:1:1: wrokers");
    refused(absent, "absent.toml: the configuration file cannot be read");
    assert_eq!(
        given(&[], &[("HOME", "/h")]).default_files[1].to_str(),
        Some("/h/.config/countersign/countersign.toml")
    );
}

#[test]
fn a_stage_signs_unless_its_rules_leave_no_path_that_does() {
    let rule = |path: &str, auth| Route { path: path.to_owned(), methods: Vec::new(), auth };
    for everything in ["/*", "/**", "/{proxy+}", "/{any+}", "//*"] {
        assert!(!signs(&[rule(everything, Auth::ApiKey)]), "{everything}");
        assert!(signs(&[rule("/a", Auth::Iam), rule(everything, Auth::None)]), "{everything}");
        assert!(!signs(&[rule(everything, Auth::None), rule("/a", Auth::Iam)]), "{everything}");
    }
    for part in ["/", "/a/*", "/*/a", "/{id}", "/{id}/{proxy+}"] {
        assert!(signs(&[rule(part, Auth::None)]), "{part}");
    }
    // Another method meets no rule.
    let reading = Route { methods: vec!["GET".to_owned()], ..rule("/*", Auth::None) };
    assert!(signs(std::slice::from_ref(&reading)));
    assert!(!signs(&[reading, rule("/*", Auth::None)]));
}
