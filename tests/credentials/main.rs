//! Credentials from real files, real commands and real (loopback) endpoints, by way of the process environment.
//!
//! The environment belongs to a process, so each test runs its body in a process of its own: this very binary, started
//! again for one test with exactly the variables that the test names and a home directory of its own. In each of them
//! everything that any crate logs, down to TRACE, is kept, and at the end none of it may hold a secret: every secret
//! here contains `hunter2`.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "in a test a panic is how a failure is told; a scene says on standard output that it was played"
)]

mod places;
mod scene;

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::FutureExt as _;

use countersign::{
    config::{ApiKey, CredentialSource, Credentials, Role},
    credentials::{Current, Identity, Kind, Problem, Sources},
};

use scene::{SECRET, Scene, endpoint, scene, write};

/// Bounds what should happen soon; only a test that fails ever waits so long.
const LONG: Duration = Duration::from_secs(90);

fn in_an_hour() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(3600)).to_string()
}

fn plain() -> Credentials {
    Credentials { fallback_region: "eu-north-1".into(), ..Credentials::default() }
}

fn profile(name: &str) -> Credentials {
    Credentials { profile: Some(name.into()), ..plain() }
}

fn only(source: CredentialSource) -> Credentials {
    Credentials { source: Some(source), ..plain() }
}

/// The identity with this access key id, once it is there.
async fn get(current: &Current, key: &str) -> Arc<Identity> {
    let end = Instant::now() + LONG;
    loop {
        let found =
            current.wait_usable(|identity| &*identity.access_key_id == key, Duration::from_secs(1)).await;
        if let Some(identity) = found {
            return identity;
        }
        assert!(Instant::now() < end, "{key} never came: {:?}, {:?}", current.load(), current.problem());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The problem, once there is one of this kind; checked to hold no secret.
async fn trouble(current: &Current, kind: Kind) -> Arc<Problem> {
    let end = Instant::now() + LONG;
    loop {
        if let Some(problem) = current.problem().filter(|problem| problem.kind() == kind) {
            assert!(!format!("{problem} {problem:?}").contains(SECRET), "{problem}");
            return problem;
        }
        assert!(Instant::now() < end, "no {kind:?}: {:?}, {:?}", current.load(), current.problem());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a request would take now.
fn held(current: &Current) -> Arc<Identity> {
    Arc::clone(current.load().as_ref().expect("something is held"))
}

fn keys(name: &str) -> String {
    format!("aws_access_key_id = {name}\naws_secret_access_key = {SECRET}\n")
}

/// A script for `credential_process`: prints the file `printed` in the home directory with the expiry that lies
/// `lifetime` seconds ahead and a new key each time, counts its runs in `runs`, and fails while `broken` exists.
fn process(home: &Path, lifetime: u32) -> String {
    let script = home.join("process.sh");
    let text = format!(
        "cd '{}'\n\
         echo run >> runs\n\
         if test -e broken; then echo 'password {SECRET}' >&2; exit 7; fi\n\
         n=$(wc -l < runs | tr -d ' ')\n\
         at=$(date -u -d '+{lifetime} seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
         printf '{{\"Version\":1,\"AccessKeyId\":\"AKIA%s\",\"SecretAccessKey\":\"{SECRET}\",\"SessionToken\":\
         \"{SECRET}-token\",\"Expiration\":\"%s\"}}' \"$n\" \"$at\"\n",
        home.display()
    );
    write(&script, &text);
    format!("sh {} --password {SECRET}", script.display())
}

fn runs(scene: &Scene) -> usize {
    scene.read("runs").lines().count()
}

fn unexpired(identity: &Identity) -> bool {
    identity.expires.is_none_or(|expires| expires > SystemTime::now())
}

#[test]
fn an_explicit_profile_wins_over_the_environment() {
    let variables = |_: &Path| {
        vec![("AWS_ACCESS_KEY_ID", "AKIAENV".to_owned()), ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned())]
    };
    scene("an_explicit_profile_wins_over_the_environment", variables, |scene| async move {
        scene.write(
            ".aws/config",
            &format!("[profile dev]\n{}[profile ops]\n{}", keys("AKIADEV"), keys("AKIAOPS")),
        );
        let wanted = [plain(), profile("dev"), profile("ops")];
        let sources = Sources::start(&wanted, []).unwrap();
        let dev = get(&sources.current(&wanted[1]), "AKIADEV").await;
        assert_eq!(&*dev.source, "profile dev");
        get(&sources.current(&wanted[2]), "AKIAOPS").await;
        assert_eq!(&*get(&sources.current(&wanted[0]), "AKIAENV").await.source, "environment");
        assert!(Arc::ptr_eq(&sources.current(&wanted[1]), &sources.current(&profile("dev"))));
    });
}

#[test]
fn keys_in_the_environment_may_say_when_they_end() {
    let ended = "2026-01-01T00:00:00+00:00";
    let variables = |_: &Path| {
        vec![
            ("AWS_ACCESS_KEY_ID", "AKIAENV".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_SESSION_TOKEN", SECRET.to_owned()),
            ("AWS_CREDENTIAL_EXPIRATION", ended.to_owned()),
        ]
    };
    scene("keys_in_the_environment_may_say_when_they_end", variables, |scene| async move {
        let wanted = only(CredentialSource::Environment);
        let sources = Sources::start([&wanted], []).unwrap();
        let current = sources.current(&wanted);
        let problem = trouble(&current, Kind::Expired).await;
        assert!(problem.hint().contains("start countersign anew"), "{problem}");
        assert_eq!(
            held(&current).expires,
            Some(humantime::parse_rfc3339(&ended.replace("+00:00", "Z")).unwrap())
        );
        assert_eq!(scene.said("no usable credentials"), 1);
    });
}

#[test]
fn a_named_source_never_falls_through_to_another() {
    let variables = |home: &Path| {
        vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint(home)), ("AWS_PROFILE", "absent".to_owned())]
    };
    scene("a_named_source_never_falls_through_to_another", variables, |scene| async move {
        scene.write(".aws/credentials", &format!("[default]\n{}", keys("AKIADEFAULT")));
        let sources = Sources::start([], []).unwrap();
        let from = |source| sources.current(&only(source));
        let problem = trouble(&from(CredentialSource::Environment), Kind::Nothing).await;
        assert!(problem.hint().contains("AWS_SECRET_ACCESS_KEY"), "{problem}");
        let problem = trouble(&from(CredentialSource::WebIdentity), Kind::Nothing).await;
        assert!(problem.hint().contains("AWS_ROLE_ARN"), "{problem}");
        trouble(&from(CredentialSource::Container), Kind::Nothing).await;
        // Whoever names a profile in the environment means it: the chain ends there.
        let problem = trouble(&sources.current(&plain()), Kind::NoProfile).await;
        assert!(problem.message().contains("`absent`") && problem.hint().contains("default"), "{problem}");
        assert_eq!(scene.read("requests"), "", "the instance's role was not asked for");
    });
}

#[test]
fn a_role_is_assumed_with_what_the_configuration_says() {
    let variables = |home: &Path| {
        vec![
            ("AWS_ENDPOINT_URL_STS", endpoint(home)),
            ("AWS_ACCESS_KEY_ID", "AKIABASE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("USER", "ann lee".to_owned()),
        ]
    };
    scene("a_role_is_assumed_with_what_the_configuration_says", variables, |scene| async move {
        scene.write("answers/any", &format!("200 OK\n{}", assumed("AssumeRole", "ASIAROLE")));
        let role = Role {
            arn: "arn:aws:iam::111122223333:role/caller".into(),
            session_name: Some("a b/c".into()),
            external_id: Some("ext".into()),
            duration: Some(Duration::from_secs(900)),
            tags: [("team".to_owned(), "or ders".to_owned())].into(),
        };
        let wanted = Credentials { role: Some(role.clone()), ..plain() };
        let sources = Sources::start([&wanted], []).unwrap();
        let identity = get(&sources.current(&wanted), "ASIAROLE").await;
        assert_eq!(&*identity.source, "role arn:aws:iam::111122223333:role/caller");
        assert!(identity.session_token.as_ref().unwrap().is_sensitive());
        let request = scene.read("requests");
        for part in [
            "Action=AssumeRole",
            "RoleSessionName=a-b-c",
            "ExternalId=ext",
            "DurationSeconds=900",
            "Tags.member.1.Key=team&Tags.member.1.Value=or%20ders",
            "/eu-north-1/sts/",
        ] {
            assert!(request.contains(part), "{part} is not in {request}");
        }

        let denied = "403 Forbidden\n<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: \
                      ann is not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>";
        scene.write("answers/any", denied);
        let plain_name = Credentials { role: Some(Role { session_name: None, ..role }), ..plain() };
        let problem = trouble(&sources.current(&plain_name), Kind::Denied).await;
        assert!(problem.message().contains("AccessDenied: User: ann is not authorized"), "{problem}");
        assert!(problem.hint().contains("trust policy"), "{problem}");
        assert!(scene.read("requests").contains("RoleSessionName=countersign-ann-lee"));
    });
}

#[test]
fn what_sts_says_of_a_role_comes_with_what_mends_it() {
    let variables = |home: &Path| {
        vec![
            ("AWS_ENDPOINT_URL_STS", endpoint(home)),
            ("AWS_ACCESS_KEY_ID", "AKIABASE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
    };
    scene("what_sts_says_of_a_role_comes_with_what_mends_it", variables, |scene| async move {
        let sources = Sources::start([], []).unwrap();
        for (index, (code, message, kind, hint)) in [
            (
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
                Kind::Refused,
                "deleted",
            ),
            ("InvalidClientTokenId", "The same", Kind::Refused, "the region, which is eu-north-1"),
            (
                "ExpiredToken",
                "The security token included in the request is expired",
                Kind::Refused,
                "log in again",
            ),
            (
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match",
                Kind::Refused,
                "secret access key",
            ),
            (
                "SignatureDoesNotMatch",
                "Credential should be scoped to a valid region.",
                Kind::Denied,
                "another region than eu-north-1",
            ),
            (
                "RegionDisabledException",
                "STS is not activated in this region",
                Kind::Denied,
                "another region than eu-north-1",
            ),
            (
                "ValidationError",
                "1 validation error detected: Value at 'roleArn'",
                Kind::Denied,
                "the role's ARN",
            ),
            ("Unheard", "Of", Kind::Service, "tried again"),
        ]
        .into_iter()
        .enumerate()
        {
            let answer = format!(
                "403 Forbidden\n<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>\
                 </Error></ErrorResponse>"
            );
            scene.write("answers/any", &answer);
            let role = Role {
                arn: format!("arn:aws:iam::111122223333:role/r{index}"),
                session_name: None,
                external_id: None,
                duration: None,
                tags: [].into(),
            };
            let wanted = Credentials { role: Some(role), ..plain() };
            let problem = trouble(&sources.current(&wanted), kind).await;
            assert!(problem.message().contains(&format!("{code}: {message}")), "{problem}");
            assert!(problem.hint().contains(hint), "{code}: {problem}");
            sources.retain(&[], &[], &[]);
        }
    });
}

#[test]
fn a_clock_that_is_ahead_is_shown_by_who_gives_credentials() {
    let variables = |home: &Path| {
        vec![
            ("AWS_ENDPOINT_URL_STS", endpoint(home)),
            ("AWS_ACCESS_KEY_ID", "AKIABASE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
    };
    scene("a_clock_that_is_ahead_is_shown_by_who_gives_credentials", variables, |scene| async move {
        let hours_ago = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600);
        let one_ago = humantime::format_rfc3339_seconds(hours_ago(1)).to_string();
        let given = assumed_until("AssumeRole", "ASIAROLE", &one_ago);
        scene.write("answers/any", &format!("200 OK\n{given}"));
        let role = |name: &str| Role {
            arn: format!("arn:aws:iam::111122223333:role/{name}"),
            session_name: None,
            external_id: None,
            duration: None,
            tags: [].into(),
        };
        let sources = Sources::start([], []).unwrap();
        // Of an hour ago, and nothing says that this is not so.
        let current = sources.current(&Credentials { role: Some(role("old")), ..plain() });
        trouble(&current, Kind::Expired).await;
        assert_eq!(current.supposed_offset(), 0);
        // For whoever made them it is two hours ago, and they have an hour to go.
        scene.write("answers/date", &httpdate::fmt_http_date(hours_ago(2)));
        let current = sources.current(&Credentials { role: Some(role("new")), ..plain() });
        get(&current, "ASIAROLE").await;
        assert!(current.problem().is_none(), "{:?}", current.problem());
        assert!((current.supposed_offset() + 7200).abs() < 60, "{}", current.supposed_offset());
    });
}

#[test]
fn the_environment_names_the_session_and_the_name_is_cleaned() {
    let variables = |home: &Path| {
        vec![
            ("AWS_ENDPOINT_URL_STS", endpoint(home)),
            ("AWS_ACCESS_KEY_ID", "AKIABASE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_ROLE_SESSION_NAME", "b\u{fc}ild 7/".to_owned() + &"x".repeat(80)),
        ]
    };
    scene("the_environment_names_the_session_and_the_name_is_cleaned", variables, |scene| async move {
        scene.write("answers/any", &format!("200 OK\n{}", assumed("AssumeRole", "ASIAROLE")));
        let role = Role {
            arn: "arn:aws:iam::111122223333:role/caller".into(),
            session_name: None,
            external_id: None,
            duration: None,
            tags: [].into(),
        };
        let wanted = Credentials { role: Some(role), ..plain() };
        let sources = Sources::start([&wanted], []).unwrap();
        get(&sources.current(&wanted), "ASIAROLE").await;
        let requests = scene.read("requests");
        let (_, after) = requests.split_once("RoleSessionName=").unwrap();
        let name = after.split(['&', '\n']).next().unwrap();
        assert_eq!(name, format!("b-ild-7-{}", "x".repeat(56)));
        assert!(!requests.contains("Tags") && !requests.contains("DurationSeconds"), "{requests}");
    });
}

fn assumed(action: &str, key: &str) -> String {
    assumed_until(action, key, &in_an_hour())
}

fn assumed_until(action: &str, key: &str, expires: &str) -> String {
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser><Arn>\
         arn:aws:sts::111122223333:assumed-role/caller/x</Arn><AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>\
         <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>{SECRET}\
         </SessionToken><Expiration>{expires}</Expiration></Credentials></{action}Result></{action}Response>"
    )
}

#[test]
fn eks_irsa_exchanges_the_token_and_follows_its_rotation() {
    let variables = |home: &Path| {
        vec![
            ("AWS_ENDPOINT_URL_STS", endpoint(home)),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", home.join("token").display().to_string()),
            ("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/pod".to_owned()),
            ("AWS_ROLE_SESSION_NAME", "pod-7".to_owned()),
        ]
    };
    scene("eks_irsa_exchanges_the_token_and_follows_its_rotation", variables, |scene| async move {
        let wanted = only(CredentialSource::WebIdentity);
        let sources = Sources::start([&wanted], []).unwrap();
        let current = sources.current(&wanted);
        let problem = trouble(&current, Kind::File).await;
        assert!(problem.message().contains("/token cannot be read"), "{problem}");
        scene.write("answers/any", &format!("200 OK\n{}", assumed("AssumeRoleWithWebIdentity", "ASIAPOD1")));
        scene.write("token", &format!("{SECRET}-jwt"));
        get(&current, "ASIAPOD1").await;
        assert!(scene.read("requests").contains("RoleSessionName=pod-7"));
        scene.write("answers/any", &format!("200 OK\n{}", assumed("AssumeRoleWithWebIdentity", "ASIAPOD2")));
        scene.write("token", &format!("{SECRET}-jwt-2"));
        get(&current, "ASIAPOD2").await;
        get(&sources.current(&plain()), "ASIAPOD2").await;
    });
}

#[test]
fn eks_pod_identity_and_ecs_ask_the_container_endpoint() {
    let variables = |home: &Path| {
        write(&home.join("pod-token"), &format!("{SECRET}-pod"));
        vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint(home) + "/v1/credentials"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", home.join("pod-token").display().to_string()),
        ]
    };
    scene("eks_pod_identity_and_ecs_ask_the_container_endpoint", variables, |scene| async move {
        let wanted = only(CredentialSource::Container);
        let sources = Sources::start([&wanted], []).unwrap();
        let current = sources.current(&wanted);
        let problem = trouble(&current, Kind::Service).await;
        assert!(problem.message().contains("container credential endpoint"), "{problem}");
        scene.write("answers/GET_v1_credentials", &format!("200 OK\n{}", container("ASIAPOD")));
        assert_eq!(&*get(&current, "ASIAPOD").await.source, "container");
        assert!(
            scene.read("requests").to_ascii_lowercase().contains(&format!("authorization: {SECRET}-pod"))
        );
        assert_eq!(
            &*get(&sources.current(&plain()), "ASIAPOD").await.source,
            "container",
            "by the chain as well"
        );
        // The kubelet has rotated the token.
        scene.write("pod-token", &format!("{SECRET}-rotated"));
        scene.write("answers/GET_v1_credentials", &format!("200 OK\n{}", container("ASIAPOD2")));
        current.refused(held(&current).serial);
        get(&current, "ASIAPOD2").await;
        let requests = scene.read("requests").to_ascii_lowercase();
        assert!(requests.contains(&format!("authorization: {SECRET}-rotated")), "{requests}");
    });
}

#[test]
fn an_expiry_that_the_instance_metadata_extends_is_obeyed() {
    let variables = |home: &Path| vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint(home))];
    scene("an_expiry_that_the_instance_metadata_extends_is_obeyed", variables, |scene| async move {
        scene.write("answers/PUT_latest_api_token", &format!("200 OK\n{SECRET}"));
        scene.write("answers/GET_latest_meta-data_iam_security-credentials_", "200 OK\nnode");
        let old = container("ASIANODE").replace(&in_an_hour()[..4], "2020");
        let file = "answers/GET_latest_meta-data_iam_security-credentials_node";
        scene.write(file, &format!("200 OK\n{old}"));
        let wanted = only(CredentialSource::Imds);
        let sources = Sources::start([&wanted], []).unwrap();
        let current = sources.current(&wanted);
        let identity = current.wait_usable(unexpired, LONG).await.unwrap();
        assert_eq!(&*identity.access_key_id, "ASIANODE");
        assert!(current.problem().is_none());
    });
}

#[test]
fn while_the_instance_metadata_is_down_nobody_waits_for_it() {
    let variables = |home: &Path| vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint(home))];
    scene("while_the_instance_metadata_is_down_nobody_waits_for_it", variables, |scene| async move {
        scene.write("answers/PUT_latest_api_token", &format!("200 OK\n{SECRET}"));
        scene.write("answers/GET_latest_meta-data_iam_security-credentials_", "200 OK\nnode");
        let file = "answers/GET_latest_meta-data_iam_security-credentials_node";
        scene.write(file, &format!("200 OK\n{}", container("ASIANODE")));
        let wanted = only(CredentialSource::Imds);
        let sources = Sources::start([&wanted], []).unwrap();
        let current = sources.current(&wanted);
        let first = get(&current, "ASIANODE").await;
        for name in ["PUT_latest_api_token", "GET_latest_meta-data_iam_security-credentials_"] {
            scene.write(&format!("answers/{name}"), "500 Oops\n");
        }
        // Something makes it ask, again and again, in vain.
        scene.write(".aws/config", "# edited\n");
        trouble(&current, Kind::Service).await;
        for _ in 0..100 {
            // Ready at once, or this future would be pending.
            let now = current.wait_usable(unexpired, LONG).now_or_never().expect("nobody waits").unwrap();
            assert_eq!(now.serial, first.serial);
        }
        assert_eq!(scene.said("those held stay in use"), 1, "{}", scene.log());
    });
}

#[test]
fn expiry_is_judged_by_the_clock_that_was_learned() {
    scene(
        "expiry_is_judged_by_the_clock_that_was_learned",
        |_| vec![],
        |scene| async move {
            let command = process(&scene.home, 3600);
            scene.write(".aws/config", &format!("[profile tool]\ncredential_process = {command}\n"));
            let wanted = profile("tool");
            let sources = Sources::start([&wanted], []).unwrap();
            let current = sources.current(&wanted);
            let first = current.wait_usable(unexpired, LONG).await.unwrap();
            // By the gateway's clock they ended an hour ago.
            current.follow_clock(7200);
            trouble(&current, Kind::Expired).await;
            assert_ne!(held(&current).serial, first.serial, "it was asked");
            current.follow_clock(0);
            let end = Instant::now() + LONG;
            while current.problem().is_some() {
                assert!(Instant::now() < end);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(scene.said("no usable credentials"), 1, "{}", scene.log());
        },
    );
}

#[test]
fn a_source_that_hangs_holds_up_no_other() {
    scene(
        "a_source_that_hangs_holds_up_no_other",
        |_| vec![],
        |scene| async move {
            let config = |key: &str| {
                format!("[profile slow]\ncredential_process = sleep 600\n[profile dev]\n{}", keys(key))
            };
            scene.write(".aws/config", &config("AKIADEV1"));
            let wanted = [profile("slow"), profile("dev")];
            let sources = Sources::start(&wanted, []).unwrap();
            let (slow, dev) = (sources.current(&wanted[0]), sources.current(&wanted[1]));
            get(&dev, "AKIADEV1").await;
            scene.write(".aws/config", &config("AKIADEV2"));
            get(&dev, "AKIADEV2").await;
            assert!(
                slow.load().is_none() && slow.problem().is_none(),
                "it still hangs: {:?}",
                slow.problem()
            );
            assert!(dev.problem().is_none());
        },
    );
}

#[test]
fn sources_that_nobody_names_any_more_end() {
    scene(
        "sources_that_nobody_names_any_more_end",
        |_| vec![],
        |scene| async move {
            let command = process(&scene.home, 3600);
            scene.write(
                ".aws/config",
                &format!(
                    "[profile tool]\ncredential_process = {command}\n[profile dev]\n{}",
                    keys("AKIADEV1")
                ),
            );
            let wanted = [profile("tool"), profile("dev")];
            let key = ApiKey::File(scene.home.join("key"));
            scene.write("key", "first");
            let sources = Sources::start(&wanted, [&key]).unwrap();
            let (tool, old) = (sources.current(&wanted[0]), sources.api_key(&key));
            tool.wait_usable(unexpired, LONG).await.unwrap();
            get(&sources.current(&wanted[1]), "AKIADEV1").await;
            sources.retain(&[&wanted[1]], &[], &[]);
            // Its task lets go of what it wrote to.
            let end = Instant::now() + LONG;
            while Arc::strong_count(&tool) > 1 {
                assert!(Instant::now() < end, "it was not ended");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // What is kept follows an edit, which would have made the other ask as well.
            scene.write("key", "second");
            scene.write(
                ".aws/config",
                &format!(
                    "[profile tool]\ncredential_process = {command}\n[profile dev]\n{}",
                    keys("AKIADEV2")
                ),
            );
            get(&sources.current(&wanted[1]), "AKIADEV2").await;
            assert_eq!(runs(&scene), 1, "it was not asked again");
            assert!(tool.load().is_some(), "what was read stays readable");
            assert_eq!(old.load().as_deref().unwrap().as_bytes(), b"first");
            // Named once more, it begins anew.
            assert!(!Arc::ptr_eq(&tool, &sources.current(&wanted[0])));
            assert_eq!(sources.api_key(&key).load().as_deref().unwrap().as_bytes(), b"second");
        },
    );
}

fn container(key: &str) -> String {
    format!(
        "{{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"LastUpdated\":\"2026-01-01T00:00:00Z\",\"AccessKeyId\":\"{key}\",\
         \"SecretAccessKey\":\"{SECRET}\",\"Token\":\"{SECRET}\",\"Expiration\":\"{}\"}}",
        in_an_hour()
    )
}

#[test]
fn the_instance_role_is_read_by_version_2() {
    let variables = |home: &Path| vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint(home))];
    scene("the_instance_role_is_read_by_version_2", variables, |scene| async move {
        scene.write("answers/PUT_latest_api_token", &format!("200 OK\n{SECRET}"));
        scene.write("answers/GET_latest_meta-data_iam_security-credentials_", "200 OK\nnode");
        let credentials = format!("200 OK\n{}", container("ASIANODE"));
        scene.write("answers/GET_latest_meta-data_iam_security-credentials_node", &credentials);
        let wanted = only(CredentialSource::Imds);
        let sources = Sources::start([&wanted, &plain()], []).unwrap();
        assert_eq!(&*get(&sources.current(&wanted), "ASIANODE").await.source, "instance metadata");
        get(&sources.current(&plain()), "ASIANODE").await;
        assert!(!scene.read("requests").contains("placement"), "no region is asked for");
    });
}

#[test]
fn what_appears_or_is_edited_later_is_taken_up() {
    scene(
        "what_appears_or_is_edited_later_is_taken_up",
        |_| vec![],
        |scene| async move {
            let wanted = [profile("dev"), profile("ops")];
            let sources = Sources::start(&wanted, []).unwrap();
            let (dev, ops) = (sources.current(&wanted[0]), sources.current(&wanted[1]));
            assert!(dev.wait_usable(|_| true, LONG).await.is_none(), "a lasting failure is not waited out");
            trouble(&dev, Kind::NoProfile).await;
            trouble(&ops, Kind::NoProfile).await;

            let both = |one: &str, other: &str| format!("[dev]\n{}[ops]\n{}", keys(one), keys(other));
            scene.write(".aws/credentials", &both("AKIADEV", "AKIAOPS1"));
            let serial = get(&dev, "AKIADEV").await.serial;
            get(&ops, "AKIAOPS1").await;
            assert!(dev.problem().is_none());
            for edit in ["AKIAOPS2", "AKIAOPS3"] {
                scene.write(".aws/credentials", &both("AKIADEV", edit));
                get(&ops, edit).await;
            }
            assert_eq!(dev.load().as_ref().unwrap().serial, serial, "the same keys are the same identity");

            scene.write(".aws/credentials", "[ops]\n");
            trouble(&dev, Kind::NoProfile).await;
            assert_eq!(dev.load().as_ref().unwrap().serial, serial, "what is held stays");
            scene.write(".aws/credentials", &both("AKIANEW", "AKIAOPS3"));
            get(&dev, "AKIANEW").await;
            drop(sources);
            assert!(dev.load().is_some(), "what was read stays readable");
        },
    );
}

#[test]
fn short_lived_credentials_are_refreshed_before_they_expire() {
    scene(
        "short_lived_credentials_are_refreshed_before_they_expire",
        |_| vec![],
        |scene| async move {
            let command = process(&scene.home, 8);
            scene.write(".aws/config", &format!("[profile tool]\ncredential_process = {command}\n"));
            let wanted = profile("tool");
            let sources = Sources::start([&wanted], []).unwrap();
            let current = sources.current(&wanted);
            let mut serials = vec![current.wait_usable(unexpired, LONG).await.unwrap().serial];
            let end = Instant::now() + LONG;
            while serials.len() < 3 {
                let now = held(&current);
                assert!(unexpired(&now), "a request would have waited: {now:?}");
                if !serials.contains(&now.serial) {
                    serials.push(now.serial);
                }
                assert!(Instant::now() < end);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(runs(&scene), 3, "one run for each refresh");
            assert_eq!(scene.said("credentials are ready"), 1, "a refresh is no news");
        },
    );
}

#[test]
fn while_a_refresh_fails_what_is_unexpired_stays() {
    scene(
        "while_a_refresh_fails_what_is_unexpired_stays",
        |_| vec![],
        |scene| async move {
            let command = process(&scene.home, 10);
            scene.write(".aws/config", &format!("[profile tool]\ncredential_process = {command}\n"));
            let wanted = profile("tool");
            let sources = Sources::start([&wanted], []).unwrap();
            let current = sources.current(&wanted);
            let first = current.wait_usable(unexpired, LONG).await.unwrap();
            scene.write("broken", "");
            let problem = trouble(&current, Kind::Command).await;
            assert!(problem.message().contains("profile `tool` ended with exit status: 7"), "{problem}");
            assert!(problem.hint().contains("--profile tool"), "{problem}");
            assert_eq!(held(&current).serial, first.serial);

            // Its last moment comes; then nobody gets it by waiting, and it is said once.
            let end = Instant::now() + LONG;
            while unexpired(&first) || scene.said("no usable credentials") == 0 {
                assert!(Instant::now() < end);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(current.wait_usable(unexpired, LONG).await.is_none());
            assert_eq!(
                (scene.said("no usable credentials"), scene.said("no newer credentials")),
                (1, 1),
                "{}",
                scene.log()
            );

            fs::remove_file(scene.home.join("broken")).unwrap();
            let again = loop {
                if let Some(identity) = current.wait_usable(unexpired, LONG).await {
                    break identity;
                }
                assert!(Instant::now() < end + LONG);
            };
            assert_ne!(again.serial, first.serial);
            assert!(current.problem().is_none());
        },
    );
}

#[test]
fn many_refusals_cause_one_refresh() {
    scene(
        "many_refusals_cause_one_refresh",
        |_| vec![],
        |scene| async move {
            let command = process(&scene.home, 3600);
            scene.write(
                ".aws/config",
                &format!("[profile tool]\ncredential_process = {command}\n[profile dev]\n{}", keys("AKIA")),
            );
            let wanted = [profile("tool"), profile("dev")];
            let sources = Sources::start(&wanted, []).unwrap();
            let current = sources.current(&wanted[0]);
            let first = current.wait_usable(unexpired, LONG).await.unwrap();
            let waiting: Vec<_> = (0..100)
                .map(|_| {
                    let (current, serial) = (Arc::clone(&current), first.serial);
                    tokio::spawn(async move {
                        current.refused(serial);
                        current.wait_usable(|identity| identity.serial != serial, LONG).await.unwrap().serial
                    })
                })
                .collect();
            let mut serials = Vec::new();
            for one in waiting {
                serials.push(one.await.unwrap());
            }
            serials.dedup();
            assert_eq!((serials.len(), runs(&scene)), (1, 2));
            current.refused(first.serial);
            assert_eq!(held(&current).serial, serials[0], "an old refusal means nothing");

            // Keys in a file: asking again gives the same ones, and nobody waits for others.
            let current = sources.current(&wanted[1]);
            let first = get(&current, "AKIA").await.serial;
            current.refused(first);
            assert!(current.wait_usable(|identity| identity.serial != first, LONG).await.is_none());
            let problem = trouble(&current, Kind::Refused).await;
            assert!(problem.message().contains("profile dev"), "{problem}");
        },
    );
}

#[test]
fn an_sso_login_is_asked_for_and_taken_up() {
    let variables = |home: &Path| vec![("AWS_ENDPOINT_URL_SSO", endpoint(home))];
    scene("an_sso_login_is_asked_for_and_taken_up", variables, |scene| async move {
        scene.write(
            ".aws/config",
            "[profile dev]\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = dev\n\
             [sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.awsapps.com/start\n",
        );
        let wanted = profile("dev");
        let sources = Sources::start([&wanted], []).unwrap();
        let current = sources.current(&wanted);
        let problem = trouble(&current, Kind::SsoLogin).await;
        assert!(problem.hint().contains("`aws sso login --profile dev`"), "{problem}");

        // A session that the service has ended.
        let token = |ends: &str| {
            format!(
                "{{\"accessToken\":\"{SECRET}\",\"expiresAt\":\"{ends}\",\"startUrl\":\"https://corp.awsapps.com/start\"}}"
            )
        };
        let ended = "401 Unauthorized\n{\"__type\":\"UnauthorizedException\",\"message\":\"Session token not found or invalid\"}";
        scene.write("answers/any", ended);
        // The cache's file is named by the SHA-1 of the session's name.
        let cache = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";
        scene.write(cache, &token(&in_an_hour()));
        let end = Instant::now() + LONG;
        while scene.read("requests").is_empty() {
            assert!(Instant::now() < end);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        trouble(&current, Kind::SsoLogin).await;
        assert_eq!(scene.said("no usable credentials"), 1, "{}", scene.log());

        // What `aws sso login` leaves behind.
        let expires =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() + 3_600_000;
        let given = format!(
            "200 OK\n{{\"roleCredentials\":{{\"accessKeyId\":\"ASIASSO\",\"secretAccessKey\":\"{SECRET}\",\"sessionToken\":\
             \"{SECRET}\",\"expiration\":{expires}}}}}"
        );
        scene.write("answers/any", &given);
        scene.write(cache, &token(&in_an_hour()));
        let held = get(&current, "ASIASSO").await;

        // While the portal is down nobody waits for it.
        scene.write("answers/any", "500 Oops\n");
        let config = scene.read(".aws/config");
        scene.write(".aws/config", &format!("{config}# edited\n"));
        trouble(&current, Kind::Other).await;
        let now = current.wait_usable(unexpired, LONG).now_or_never().expect("nobody waits").unwrap();
        assert_eq!(now.serial, held.serial);
    });
}

#[test]
fn problems_name_the_fix() {
    scene(
        "problems_name_the_fix",
        |_| vec![],
        |scene| async move {
            scene.write(
            ".aws/config",
            &format!(
                "[profile code]\nrole_arn = arn:aws:iam::111122223333:role/x\nsource_profile = dev\nmfa_serial = arn:aws:iam::1:mfa/a\n\
                 [profile dev]\n{}[profile console]\nlogin_session = arn:aws:iam::111122223333:user/ann\n\
                 [profile ring]\nrole_arn = arn:aws:iam::111122223333:role/x\nsource_profile = gone\n\
                 [profile empty]\nregion = us-east-1\n[profile torn]\naws_access_key_id = AK IA\naws_secret_access_key = {SECRET}\n\
                 [profile chatty]\ncredential_process = echo {SECRET}; echo {SECRET} >&2\n",
                keys("AKIADEV")
            ),
        );
            let sources = Sources::start([], []).unwrap();
            for (name, kind, message, hint) in [
                ("code", Kind::Mfa, "mfa_serial", "credential_process"),
                ("console", Kind::Login, "login session", "`aws login --profile console`"),
                ("ring", Kind::BadProfile, "gone", "mend"),
                ("empty", Kind::BadProfile, "holds no credentials", "aws configure sso"),
                ("torn", Kind::Malformed, "access key id", "line break"),
                ("chatty", Kind::Command, "is not a JSON object", "by hand"),
                ("def", Kind::NoProfile, "`def`", "did you mean `dev`?"),
            ] {
                let problem = trouble(&sources.current(&profile(name)), kind).await;
                assert!(
                    problem.message().contains(message) && problem.hint().contains(hint),
                    "{name}: {problem:?}"
                );
            }
        },
    );
}
