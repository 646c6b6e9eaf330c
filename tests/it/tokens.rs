//! The callers' token: every way to send it passes, nobody passes without it, and it goes no further.

use std::fs;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::support::{
    TempDir,
    client::{Answer, Ask, Via},
    process::Launch,
    scene::{API_KEY, Scene, Setup, assert_refusal},
};

const TOKEN: &str = "caller-canary/0123456789+=";

/// Routes of every kind, behind the token.
fn scene() -> Scene {
    let stage = "[[stage.route]]\npath = \"/none\"\nauth = \"none\"\n\
                 [[stage.route]]\npath = \"/key\"\nauth = \"api-key\"";
    Setup::new().top(&format!("guard.token.value = \"{TOKEN}\"")).api_key().stage_more(stage).start_ok()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Each header and value that carries the token.
fn ways() -> Vec<(&'static str, String)> {
    vec![
        ("x-countersign-token", TOKEN.to_owned()),
        ("authorization", format!("Bearer {TOKEN}")),
        ("authorization", format!("bearer  {TOKEN}")),
        ("authorization", basic("any", TOKEN)),
        ("authorization", basic("", TOKEN)),
        ("proxy-authorization", format!("Bearer {TOKEN}")),
        ("proxy-authorization", basic("any", TOKEN)),
        ("x-api-key", TOKEN.to_owned()),
    ]
}

fn is_challenged(answer: &Answer) {
    let challenges: Vec<_> = answer.head.all("www-authenticate").into_iter().map(<[u8]>::to_vec).collect();
    assert_eq!(
        challenges,
        [&b"Bearer realm=\"countersign\""[..], b"Basic realm=\"countersign\", charset=\"UTF-8\""]
    );
    let hint = answer.json()["hint"].as_str().unwrap().to_owned();
    for way in ["X-Countersign-Token", "Bearer", "Basic", "Proxy-Authorization", "x-api-key"] {
        assert!(hint.contains(way), "{way}: {hint}");
    }
}

#[test]
fn every_way_to_send_it_passes_and_it_stays_here() {
    let scene = scene();
    for via in Via::ALL {
        for (name, value) in ways() {
            for path in ["/iam", "/none", "/key"] {
                let sent = scene.sent(via, &Ask::new("GET", path).header(name, &value));
                for (field, found) in &sent.head.fields {
                    let text = String::from_utf8_lossy(found);
                    assert!(
                        !text.contains(TOKEN) && !text.contains(&value),
                        "{path} {name}: {field}: {text}"
                    );
                }
                for gone in ["x-countersign-token", "proxy-authorization"] {
                    assert_eq!(sent.head.one(gone), None, "{path} {name}");
                }
                let authorization = sent.head.one("authorization");
                assert_eq!(authorization.is_some(), path == "/iam", "{path} {name}");
                let key = (path != "/none").then_some(API_KEY);
                assert_eq!(sent.head.one("x-api-key"), key, "{path} {name}");
            }
        }
    }
}

#[test]
fn whichever_headers_hold_it_lose_it_and_the_stages_own_authorization_stays() {
    let scene = scene();
    for via in Via::ALL {
        let ask = Ask::new("GET", "/none").header("x-countersign-token", TOKEN);
        for own in ["Bearer a.jwt.of-the-stage", &basic("user", "password"), "an-authorizers-token"] {
            let sent = scene.sent(via, &ask.clone().header("authorization", own));
            assert_eq!(sent.head.one("authorization"), Some(own));
        }
        // Twice, in several places, and beside another.
        let sent = scene.sent(
            via,
            &ask.header("authorization", format!("Bearer {TOKEN}"))
                .header("authorization", "Bearer a.jwt.of-the-stage")
                .header("proxy-authorization", basic("any", TOKEN))
                .header("x-api-key", TOKEN)
                .header("x_countersign_token", TOKEN)
                .header("proxy_authorization", basic("any", TOKEN))
                .header("x-countersign-token", "another"),
        );
        assert_eq!(sent.head.one("authorization"), Some("Bearer a.jwt.of-the-stage"));
        let raw = String::from_utf8_lossy(&sent.head.raw);
        assert!(!raw.contains(TOKEN) && !raw.contains(&STANDARD.encode(format!("any:{TOKEN}"))), "{raw}");
    }
}

#[test]
fn nobody_passes_without_it() {
    let scene = scene();
    for via in Via::ALL {
        for path in ["/iam", "/none", "/key"] {
            let refused = scene.refused(via, &Ask::new("GET", path), 401, "token-missing");
            is_challenged(&refused);
            for (name, value) in [
                ("x-countersign-token", String::new()),
                ("x-countersign-token", TOKEN[1..].to_owned()),
                ("x-countersign-token", format!("{TOKEN}x")),
                ("x-countersign-token", TOKEN.to_uppercase()),
                ("x-countersign-token", format!("Bearer {TOKEN}")),
                ("authorization", TOKEN.to_owned()),
                ("authorization", "Bearer a.jwt.of-the-stage".to_owned()),
                ("authorization", basic(TOKEN, "")),
                ("authorization", "Basic !".to_owned()),
                ("proxy-authorization", basic("any", "another-0123456789")),
                ("x-api-key", "another-key".to_owned()),
            ] {
                let ask = Ask::new("GET", path).header(name, &value);
                let refused = scene.refused(via, &ask, 401, "token-wrong");
                is_challenged(&refused);
                assert!(refused.json()["message"].as_str().unwrap().contains(name), "{}", refused.text());
                assert!(value.len() < 4 || !refused.text().contains(&value), "{}", refused.text());
            }
            let ask = Ask::new("GET", path).header("cookie", TOKEN).header("x-token", TOKEN);
            scene.refused(via, &ask, 401, "token-missing");
        }
        // The name comes first: a page that was rebound is not asked for a token.
        let ask =
            Ask::new("GET", "/none").header("host", "evil.example").header("x-countersign-token", TOKEN);
        scene.refused(via, &ask, 421, "host-not-allowed");
    }
}

#[test]
fn its_own_headers_never_pass_even_when_none_is_asked_for() {
    let scene = Setup::new().stage("[[stage.route]]\npath = \"/none\"\nauth = \"none\"").start_ok();
    for via in Via::ALL {
        let ask = Ask::new("GET", "/none")
            .header("x-countersign-token", TOKEN)
            .header("x_countersign_token", TOKEN)
            .header("proxy-authorization", "Bearer x")
            .header("proxy_authorization", "Bearer x")
            .header("authorization", "Bearer y");
        let sent = scene.sent(via, &ask);
        let names: Vec<_> = sent.head.fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        assert!(names.iter().all(|name| !name.contains("proxy") && !name.contains("token")), "{names:?}");
        assert_eq!(sent.head.one("authorization"), Some("Bearer y"));
    }
}

/// Asks until the answer has this status; the scene's own patience ends what never comes.
fn until(scene: &Scene, ask: &Ask, status: u16) {
    let end = std::time::Instant::now() + crate::support::PATIENCE;
    while scene.ask(Via::Http1, ask).status != status {
        assert!(std::time::Instant::now() < end, "{ask:?} is never answered {status}");
        std::thread::yield_now();
    }
}

#[test]
fn a_file_is_taken_up_when_it_comes_and_when_it_changes() {
    let folder = TempDir::new();
    let path = folder.path().join("token");
    let admin = "admin = \"127.0.0.1:0\"";
    let top = format!("{admin}\nguard.token.file = \"{}\"", path.display());
    let scene = Setup::new().top(&top).start_ok();
    let with = |token: &str| Ask::new("GET", "/a").header("x-countersign-token", token);
    let admin = scene.proxy.process().find(|line| {
        let (_, after) = line.split_once("admin on http://")?;
        after.split(['"', ' ']).next()?.parse().ok()
    });
    let admin = admin.unwrap();
    let ready = || Via::Http1.exchange(admin, &Ask::new("GET", "/readyz")).unwrap();

    // Closed, not open, while there is none; and why is not for everybody.
    for via in Via::ALL {
        for ask in [Ask::new("GET", "/a"), with("0123456789abcdef"), with("")] {
            let refused = scene.refused(via, &ask, 503, "token-unavailable");
            assert!(!refused.text().contains("token\" cannot be read"), "{}", refused.text());
            assert_eq!(refused.head.one("www-authenticate"), None);
        }
    }
    assert!(ready().status == 503 && ready().text().contains("cannot be read"), "{}", ready().text());
    fs::write(&path, "first-0123456789\n").unwrap();
    until(&scene, &with("first-0123456789"), 200);
    assert_eq!(ready().status, 200);
    fs::write(&path, "second-0123456789\n").unwrap();
    until(&scene, &with("second-0123456789"), 200);
    assert_eq!(scene.ask(Via::Http1, &with("first-0123456789")).status, 401);
    // Too short to be one: what was good stays.
    fs::write(&path, "short\n").unwrap();
    scene.proxy.process().find(|line| line.contains("no new token").then_some(())).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(scene.ask(Via::Http1, &with("short")).status, 401);
    assert_eq!(scene.ask(Via::Http1, &with("second-0123456789")).status, 200);
}

#[test]
fn it_comes_from_a_variable_or_a_command_as_well() {
    let command = format!("guard.token.command = [\"echo\", \"{TOKEN}\"]");
    for setup in [
        Setup::new().variable("COUNTERSIGN_TOKEN", TOKEN),
        Setup::new().variable("MINE", TOKEN).top("guard.token.env = \"MINE\""),
        Setup::new().top(&command),
    ] {
        let scene = setup.start_ok();
        scene.refused(Via::Http1, &Ask::new("GET", "/a"), 401, "token-missing");
        scene.sent(Via::Http1, &Ask::new("GET", "/a").header("x-countersign-token", TOKEN));
    }
    let ended =
        Setup::new().variable("COUNTERSIGN_TOKEN", "sh0rt").prepare(crate::support::scene::ok).1.run();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("COUNTERSIGN_TOKEN") && !ended.err.contains("sh0rt"), "{ended:?}");
}

#[test]
fn it_is_logged_at_no_level() {
    for format in ["json", "text"] {
        let top =
            format!("log.format = \"{format}\"\nlog.filter = \"trace\"\nguard.token.value = \"{TOKEN}\"");
        let scene = Setup::new().top(&top).start_ok();
        for via in Via::ALL {
            for (name, value) in ways() {
                assert_eq!(scene.ask(via, &Ask::new("GET", "/a").header(name, &value)).status, 200);
                let wrong = Ask::new("GET", &format!("/a?token={TOKEN}")).header(name, format!("{value}x"));
                assert_eq!(scene.ask(via, &wrong).status, 401);
            }
        }
        let ended = scene.proxy.terminate();
        let all = ended.out + &ended.err;
        assert!(all.lines().count() > 20, "{all}");
        let encoded = STANDARD.encode(format!("any:{TOKEN}"));
        for secret in [TOKEN, "caller-canary", &encoded] {
            assert!(!all.contains(secret), "{secret} was logged:\n{all}");
        }
    }
}

#[test]
fn an_address_that_others_reach_needs_a_token_or_the_word_that_there_is_none() {
    let stage = "[[stage]]\nurl = \"http://127.0.0.1:9/prod\"\nregion = \"us-west-2\"\n";
    let start = |more: &str, flags: &[&str]| {
        let text = format!("listen = \"0.0.0.0:0\"\nadmin = \"off\"\n{more}\n{stage}");
        flags.iter().fold(Launch::config(&text), |launch, flag| launch.argument(flag)).try_start()
    };
    for flags in [&[][..], &["--allow-remote"], &["--no-token"]] {
        let Err(ended) = start("", flags) else { panic!("{flags:?} let it start") };
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let missing = match flags {
            ["--allow-remote"] => &["--token-file", "--no-token"][..],
            ["--no-token"] => &["--allow-remote"],
            _ => &["--allow-remote", "--token-file", "--no-token"],
        };
        for part in missing {
            assert!(ended.err.contains(part), "{flags:?} {part}: {ended:?}");
        }
    }
    let risk = "plain HTTP";
    let open = "no token is asked for";
    for (more, flags, warnings) in [
        (format!("guard.token.value = \"{TOKEN}\""), &["--allow-remote"][..], &[risk][..]),
        (String::new(), &["--allow-remote", "--no-token"], &[risk, open]),
    ] {
        let proxy = start(&more, flags).unwrap_or_else(|ended| panic!("{ended:?}"));
        let port = proxy.address().port();
        let here = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let answer = Via::Http1.exchange(here, &Ask::new("GET", "/a")).unwrap();
        if warnings.contains(&open) {
            assert_eq!(answer.status, 503, "it passed the guard: {}", answer.text());
        } else {
            assert_refusal(&answer, 401, "token-missing");
        }
        let ended = proxy.terminate();
        for warning in [risk, open] {
            let lines = ended.err.lines().filter(|line| line.contains(warning) && line.contains("WARN"));
            assert_eq!(lines.count(), usize::from(warnings.contains(&warning)), "{warning}: {ended:?}");
        }
    }
    // On this machine alone nothing is asked for.
    let text = format!("listen = \"127.0.0.1:0\"\nadmin = \"off\"\n{stage}");
    let ended = Launch::config(&text).start().terminate();
    assert!(!ended.err.contains("other machines"), "{ended:?}");
}
