//! The demo works for whoever has nothing but the program, tells no secret, and leaves nothing behind.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
};

use countersign::demo::gateway::GatewaySettings;

use crate::support::{
    client::{Ask, Via},
    process::{Running, Stream},
    snapshot,
};

const ROUTES: [&str; 3] = ["/auth/api-key", "/auth/iam-sigv4", "/auth/iam-sigv4-and-api-key"];

/// `countersign demo` with no environment at all.
fn demo(arguments: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    Running::spawn(command.arg("demo").args(arguments).env_clear().stdin(Stdio::null()))
}

/// What stands in the table at the end.
fn marks(out: &str) -> usize {
    let (_, table) = out.split_once("through proxy\n").expect("the demo ends with a table");
    table.matches('✓').count()
}

/// Where the proxy is, from the commands that are there to paste; only once the last of them is written.
fn kept(running: &Running) -> SocketAddr {
    let mut address = None;
    running
        .find(|line| {
            if let Some((_, url)) = line.split_once("curl -i http://") {
                address = url.split('/').next().and_then(|address| address.parse().ok());
            }
            line.contains("curl -ik https://").then_some(())
        })
        .expect("the demo stays up");
    address.expect("the proxy's address is in the commands")
}

/// The processes that this one started.
fn children(id: u32) -> Vec<u32> {
    let all = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    all.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// The first text that may be a throwaway secret. They are 40 and more letters and digits, drawn anew for each run;
/// nobody can read them from outside of the process. A hash has no capitals, a name no such length.
fn secret(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).find(|run| {
        let mixed = run.bytes().any(|byte| byte.is_ascii_uppercase())
            && run.bytes().any(|byte| byte.is_ascii_lowercase());
        run.len() >= 40 && mixed
    })
}

#[test]
fn the_demo_shows_six_requests_and_ends() {
    let ended = demo(&[]).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(marks(&ended.out), 6, "{ended:?}");
    assert!(!ended.out.contains('✗') && !ended.out.contains('\x1b'), "{ended:?}");
    assert_eq!(ended.err, "", "{ended:?}");
    snapshot::text("demo/story", &settled(&ended.out), &[]);
}

/// Without what is drawn for each run.
fn settled(text: &str) -> String {
    let drawn = [
        "x-request-id: ",
        "x-api-key: ",
        "x-amz-date: ",
        "x-amz-security-token: ",
        "Credential=",
        "Signature=",
    ];
    let line = |line: &str| {
        let (before, name) = drawn.iter().find_map(|name| Some((line.split_once(name)?.0, *name)))?;
        Some(format!("{before}{name}VALUE"))
    };
    text.lines().map(|text| line(text).unwrap_or_else(|| text.to_owned()) + "\n").collect()
}

#[test]
fn a_demo_that_is_kept_serves_until_a_signal_and_takes_its_proxy_along() {
    for signal in ["INT", "TERM", "HUP"] {
        let mut running = demo(&["--keep"]);
        let address = kept(&running);
        assert_eq!(marks(&running.stream(Stream::Out)), 6);
        for route in ROUTES {
            let answer = Via::Http1.exchange(address, &Ask::new("GET", route)).unwrap();
            assert_eq!(answer.status, 200, "{route}: {}", answer.text());
        }
        let [proxy] = children(running.id())[..] else { panic!("the demo has one child, the proxy") };

        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{signal}: {ended:?}");
        assert!(!Path::new(&format!("/proc/{proxy}")).exists(), "{signal}: the proxy outlives the demo");
        assert!(TcpStream::connect(address).is_err(), "{signal}: somebody still listens");
        let all = ended.out + &ended.err;
        assert_eq!(secret(&all), None, "a secret is shown:\n{all}");
    }
}

#[test]
fn the_demos_secrets_are_known_by_their_looks() {
    for settings in std::iter::repeat_with(GatewaySettings::random).take(50).map(Result::unwrap) {
        let account = &settings.accounts[0];
        for text in [&settings.api_key.0, &account.secret_access_key, account.session_token.as_ref().unwrap()]
        {
            assert_eq!(secret(&format!("a \"{text}\" b")), Some(text.as_str()));
        }
    }
}
