//! Where the signature's keys and the API key come from, seen from outside: which source wins, what happens without
//! any, and that the proxy recovers by itself. The sources one by one are tested in `tests/credentials`.

use std::fs;

use crate::support::{
    client::{Ask, Via},
    origin::{Origin, Then, answer},
    scene::{API_KEY, SECRET, Scene, Setup, TOKEN, access_key, signed_headers},
};

fn profile(name: &str, key: &str) -> String {
    format!("[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n")
}

fn heard(scene: &Scene, part: &str) {
    let found = scene.proxy.process().find(|line| line.contains(part).then_some(()));
    assert!(found.is_some(), "the proxy ended without {part:?}");
}

#[test]
fn without_credentials_the_proxy_starts_says_so_and_recovers_by_itself() {
    let scene = Setup::new().without_keys().start_ok();
    heard(&scene, "no usable credentials");
    for via in Via::ALL {
        let refused = scene.refused(via, &Ask::new("GET", "/a"), 503, "no-credentials");
        let hint = refused.json()["hint"].as_str().unwrap().to_owned();
        assert!(hint.contains("AWS_ACCESS_KEY_ID") || hint.contains("aws sso login"), "{hint}");
    }
    scene.proxy.home().write(".aws/credentials", &profile("default", "AKIDLATER"));
    heard(&scene, "credentials are ready");
    for via in Via::ALL {
        assert_eq!(access_key(&scene.sent(via, &Ask::new("GET", "/a"))), "AKIDLATER");
    }
    // Somebody logs in as somebody else.
    let anew = profile("default", "AKIDANEW");
    scene.proxy.home().write(".aws/credentials", &anew);
    loop {
        let request = scene.sent(Via::Http1, &Ask::new("GET", "/a"));
        if access_key(&request) == "AKIDANEW" {
            break;
        }
    }
}

#[test]
fn an_explicit_profile_wins_over_keys_in_the_environment() {
    let files = profile("default", "AKIDDEFAULT") + &profile("dev", "AKIDDEV");
    let start = |stage: &str| Setup::new().stage(stage).file(".aws/credentials", &files).start_ok();
    let scene = start("profile = \"dev\"");
    for via in Via::ALL {
        assert_eq!(access_key(&scene.sent(via, &Ask::new("GET", "/a"))), "AKIDDEV");
    }
    // Without one, the environment comes first, as in every AWS SDK.
    let scene = start("");
    assert_eq!(access_key(&scene.sent(Via::Http1, &Ask::new("GET", "/a"))), "AKIDEXAMPLE");
    // And exactly the source that is asked for.
    let scene = start("credentials = \"profile\"");
    assert_eq!(access_key(&scene.sent(Via::Http1, &Ask::new("GET", "/a"))), "AKIDDEFAULT");
}

#[test]
fn an_explicit_profile_that_is_not_there_falls_through_to_nothing() {
    let scene = Setup::new()
        .stage("profile = \"dev\"")
        .file(".aws/credentials", &profile("default", "AKIDDEFAULT"))
        .start_ok();
    heard(&scene, "no usable credentials");
    let refused = scene.refused(Via::Http1, &Ask::new("GET", "/a"), 503, "no-credentials");
    assert!(refused.text().contains("dev"), "{}", refused.text());
}

#[test]
fn a_sessions_token_is_sent_and_signed() {
    let scene = Setup::new().session().start_ok();
    for via in Via::ALL {
        let request = scene.sent(via, &Ask::new("GET", "/a"));
        assert_eq!(request.head.one("x-amz-security-token"), Some(TOKEN));
        assert_eq!(signed_headers(&request), ["host", "x-amz-date", "x-amz-security-token"]);
    }
}

#[test]
fn expired_credentials_are_never_signed_with() {
    let printed = format!(
        "{{\"Version\":1,\"AccessKeyId\":\"AKIDOLD\",\"SecretAccessKey\":\"{SECRET}\",\"SessionToken\":\"t\",\
         \"Expiration\":\"2020-01-01T00:00:00Z\"}}"
    );
    let scene = Setup::new()
        .without_keys()
        .stage("profile = \"dev\"")
        .file("printed.json", &printed)
        .file(".aws/config", "[profile dev]\ncredential_process = cat printed.json\n")
        .start_ok();
    for via in Via::ALL {
        let refused = scene.refused(via, &Ask::new("GET", "/a"), 503, "credentials-expired");
        let hint = refused.json()["hint"].as_str().unwrap().to_owned();
        assert!(hint.contains("renew them") && hint.contains("clock is wrong"), "{hint}");
    }
    scene.proxy.home().write("printed.json", &printed.replace("2020", "2999").replace("AKIDOLD", "AKIDNEW"));
    // The source is asked again because requests ask; nobody restarts anything.
    loop {
        let answer = scene.ask(Via::Http1, &Ask::new("GET", "/a"));
        if answer.status == 200 {
            break;
        }
        assert_eq!(answer.head.one("x-countersign-error"), Some("credentials-expired"), "{}", answer.text());
    }
    assert_eq!(access_key(&scene.origin.next()), "AKIDNEW");
}

#[test]
fn a_role_is_assumed_and_its_session_signs() {
    let sts = Origin::plain(|request, reply| {
        assert!(request.body.starts_with(b"Action=AssumeRole"), "{}", request.body.escape_ascii());
        let assumed = format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/caller/x</Arn><AssumedRoleId>AROA:x\
             </AssumedRoleId></AssumedRoleUser><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>\
             {SECRET}</SecretAccessKey><SessionToken>{TOKEN}</SessionToken><Expiration>2999-01-01T00:00:00Z\
             </Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        );
        reply.send(answer("200 OK", &[("content-type", "text/xml")], assumed))?;
        Ok(Then::Keep)
    });
    let scene = Setup::new()
        .stage("role.arn = \"arn:aws:iam::111122223333:role/caller\"\nrole.external_id = \"ext\"")
        .variable("AWS_ENDPOINT_URL_STS", &format!("http://{}", sts.address()))
        .start_ok();
    for via in Via::ALL {
        let request = scene.sent(via, &Ask::new("GET", "/a"));
        assert_eq!(access_key(&request), "ASIAROLE");
        assert_eq!(request.head.one("x-amz-security-token"), Some(TOKEN));
    }
    let asked = sts.take();
    assert_eq!(asked.len(), 1, "the role is assumed once, not for every request");
    let body = String::from_utf8_lossy(&asked[0].body);
    assert!(body.contains("ExternalId=ext") && body.contains("RoleArn=arn"), "{body}");
}

#[test]
fn the_api_key_comes_from_each_of_its_sources_and_is_signed() {
    for source in [
        format!("api_key.value = \"{API_KEY}\""),
        "api_key.env = \"MY_KEY\"".to_owned(),
        "api_key.file = \"key.txt\"".to_owned(),
        format!("api_key.command = [\"printf\", \"%s\\\\n\", \"{API_KEY}\"]"),
    ] {
        let rule = "[[stage.route]]\npath = \"/key\"\nauth = \"api-key\"";
        let scene = Setup::new()
            .stage(&format!("{source}\n{rule}"))
            .variable("MY_KEY", API_KEY)
            .file("key.txt", &format!("{API_KEY}\n"))
            .start_ok();
        if source.contains("command") {
            // It may not have ended yet.
            while scene.ask(Via::Http1, &Ask::new("GET", "/key")).status == 503 {}
            scene.origin.take();
        }
        for via in Via::ALL {
            let request = scene.sent(via, &Ask::new("GET", "/a"));
            assert_eq!(request.head.one("x-api-key"), Some(API_KEY), "{source}");
            assert_eq!(signed_headers(&request), ["host", "x-amz-date", "x-api-key"], "{source}");
            let request = scene.sent(via, &Ask::new("GET", "/key"));
            assert_eq!(request.head.one("x-api-key"), Some(API_KEY), "{source}");
            assert_eq!(request.head.one("authorization"), None, "{source}");
        }
    }
}

#[test]
fn an_api_key_in_a_file_is_rotated_without_a_restart() {
    let scene = Setup::new().stage("api_key.file = \"key.txt\"").file("key.txt", "first-key").start_ok();
    let sent = |scene: &Scene| {
        scene.sent(Via::Http1, &Ask::new("GET", "/a")).head.one("x-api-key").map(str::to_owned).unwrap()
    };
    assert_eq!(sent(&scene), "first-key");
    fs::remove_file(scene.proxy.home().path().join("key.txt")).unwrap();
    heard(&scene, "no new API key");
    assert_eq!(sent(&scene), "first-key", "what was good stays in use");
    // As Kubernetes does it: a link that points elsewhere all at once.
    scene.proxy.home().write("second/key.txt", "second-key\n");
    std::os::unix::fs::symlink("second/key.txt", scene.proxy.home().path().join("key.txt")).unwrap();
    heard(&scene, "the API key is ready");
    assert_eq!(sent(&scene), "second-key");
}

#[test]
fn without_the_api_key_the_routes_that_need_it_say_so() {
    let rules = "[[stage.route]]\npath = \"/iam\"\nauth = \"iam\"\n[[stage.route]]\npath = \"/key\"\nauth = \"api-key\"";
    for (source, named) in [
        ("api_key.env = \"MY_KEY\"", "MY_KEY"),
        ("api_key.command = [\"false\"]", "false"),
        ("api_key.command = [\"no-such-program-here\"]", "no-such-program-here"),
    ] {
        let scene = Setup::new().stage(&format!("{source}\n{rules}")).start_ok();
        heard(&scene, "no new API key");
        for via in Via::ALL {
            for path in ["/both", "/key"] {
                let refused = scene.refused(via, &Ask::new("GET", path), 503, "no-api-key");
                assert!(refused.json()["message"].as_str().unwrap().contains(named), "{}", refused.text());
            }
            assert_eq!(scene.sent(via, &Ask::new("GET", "/iam")).head.one("x-api-key"), None);
        }
    }
}

#[test]
fn routes_without_iam_need_no_credentials() {
    let rules =
        ["/*", "/"].map(|path| format!("[[stage.route]]\npath = \"{path}\"\nauth = \"api-key\"")).join("\n");
    let scene =
        Setup::new().without_keys().stage(&format!("api_key.value = \"{API_KEY}\"\n{rules}")).start_ok();
    for via in Via::ALL {
        for path in ["/", "/a"] {
            let request = scene.sent(via, &Ask::new("GET", path));
            assert_eq!(request.head.one("x-api-key"), Some(API_KEY));
            assert_eq!(request.head.one("authorization"), None);
        }
    }
    let ended = scene.proxy.terminate();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.err.contains("credentials"), "nothing is missing, and nothing is said: {}", ended.err);
}

#[test]
fn stages_have_credentials_of_their_own() {
    let more = "profile = \"one\"\n[[stage]]\nname = \"two\"\nurl = \"https://two.execute-api.eu-west-1.amazonaws.com/\"\n\
                mount = \"/two\"\nprofile = \"two\"\n{dial}";
    let options = crate::support::origin::Options {
        names: vec![
            crate::support::scene::NAME.to_owned(),
            "two.execute-api.eu-west-1.amazonaws.com".to_owned(),
        ],
        ..Default::default()
    };
    let files = profile("one", "AKIDONE") + &profile("two", "AKIDTWO");
    let scene = Setup::new().origin(options).stage(more).file(".aws/credentials", &files).start_ok();
    for via in Via::ALL {
        assert_eq!(access_key(&scene.sent(via, &Ask::new("GET", "/a"))), "AKIDONE");
        assert_eq!(scene.ask(via, &Ask::new("GET", "/two/a")).status, 200);
        let request = scene.origin.next();
        assert_eq!(access_key(&request), "AKIDTWO");
        assert_eq!(request.head.one("host"), Some("two.execute-api.eu-west-1.amazonaws.com"));
        let authorization = request.head.one("authorization").unwrap();
        assert!(authorization.contains("/eu-west-1/execute-api/aws4_request"), "{authorization}");
    }
}

#[test]
fn the_first_request_finds_the_key_that_a_command_takes_a_moment_to_print() {
    // The command cannot see that the proxy waits for it, so it takes a fixed time.
    let command = format!("api_key.command = [\"sh\", \"-c\", \"sleep 0.5; echo {API_KEY}\"]");
    let scene = Setup::new().stage(&command).start_ok();
    assert_eq!(scene.sent(Via::Http1, &Ask::new("GET", "/a")).head.one("x-api-key"), Some(API_KEY));
}
