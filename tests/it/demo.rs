//! The demo works for whoever has nothing but the program, tells no secret, and leaves nothing behind.

use std::{
    collections::HashMap,
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{
    client::{Ask, Via},
    process::{Running, Stream},
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

/// The environment that a process was started with.
fn environment(id: u32) -> HashMap<String, String> {
    let all = String::from_utf8(fs::read(format!("/proc/{id}/environ")).unwrap()).unwrap();
    all.split_terminator('\0')
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_demo_shows_six_requests_and_ends() {
    let ended = demo(&[]).end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(marks(&ended.out), 6, "{ended:?}");
    assert!(!ended.out.contains('✗') && !ended.out.contains('\x1b'), "{ended:?}");
    assert_eq!(ended.err, "", "{ended:?}");
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
        let environment = environment(proxy);

        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "{signal}: {ended:?}");
        assert!(!Path::new(&format!("/proc/{proxy}")).exists(), "{signal}: the proxy outlives the demo");
        assert!(TcpStream::connect(address).is_err(), "{signal}: somebody still listens");
        let all = ended.out + &ended.err;
        for name in ["COUNTERSIGN_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            let secret = &environment[name];
            assert!(secret.len() >= 16 && !all.contains(secret.as_str()), "{name} is shown:\n{all}");
        }
    }
}
