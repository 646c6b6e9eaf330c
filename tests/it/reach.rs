//! Getting to the stage: names that move, addresses that swallow packets, certificates that do not hold, and a stage
//! that comes back. docs/reliability.md is the table of these tests.

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    path::Path,
    process::Command,
};

use crate::support::{
    TempDir,
    client::{Ask, Via},
    faulty::Deaf,
    origin::{Options, Origin, Then, Validity, answer},
    process::{Countersign, Launch},
    scene::{ACCESS_KEY, NAME, SECRET, Setup, assert_refusal, ok},
};

/// The proxy before a stage of which only its configuration is given.
fn before(stage: &str) -> Launch {
    let text = format!("listen = \"127.0.0.1:0\"\nadmin = \"off\"\n[[stage]]\n{stage}\n");
    Launch::config(&text).keys(ACCESS_KEY, SECRET)
}

#[test]
fn a_certificate_that_does_not_hold_says_what_to_do() {
    let refused = |options: Options, message: &str, hint: &str| {
        let scene = Setup::new().origin(options).start_ok();
        for via in Via::ALL {
            let answer = scene.refused(via, &Ask::new("POST", "/a").body("x"), 502, "upstream-tls");
            let body = answer.json();
            assert!(body["message"].as_str().unwrap().contains(message), "{body}");
            assert!(body["hint"].as_str().unwrap().contains(hint), "{body}");
        }
    };
    refused(Options { validity: Validity::Over, ..Options::default() }, "expired", "clock");
    refused(Options { validity: Validity::ToCome, ..Options::default() }, "not valid yet", "clock");
    let elsewhere = Options { names: vec!["elsewhere.example".to_owned()], ..Options::default() };
    refused(elsewhere, "not valid for name", "url's host");
    // A root that nobody here knows.
    let (origin, other) = (Origin::tls(&[NAME], ok), Origin::tls(&[NAME], ok));
    let proxy = before(&format!(
        "url = \"https://{NAME}/prod\"\nconnect_to = \"{}\"\nca_bundle = \"{}\"",
        origin.address(),
        other.ca().display()
    ));
    let answer = Via::Http1.exchange(proxy.start().address(), &Ask::new("GET", "/a")).unwrap();
    assert_refusal(&answer, 502, "upstream-tls");
    assert!(answer.json()["hint"].as_str().unwrap().contains("ca_bundle"), "{}", answer.text());
}

#[test]
fn a_stage_that_comes_back_is_used_at_once() {
    // No breaker: the first request after a fault is sent.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = before(&format!("url = \"http://{free}/prod\"\nregion = \"us-west-2\"")).start();
    for _ in 0..20 {
        let answer = Via::Http1.exchange(proxy.address(), &Ask::new("GET", "/a")).unwrap();
        assert_refusal(&answer, 502, "upstream-connect");
    }
    let origin = Origin::with(Options { listen: Some(free), ..Options::default() }, ok);
    assert_eq!(Via::Http1.exchange(proxy.address(), &Ask::new("GET", "/a")).unwrap().status, 200);
    assert_eq!(origin.take().len(), 1);
}

/// How to start a program with this file in the place of /etc/hosts: by a mount that only it and its children see.
/// Nothing where the machine does not allow that.
fn with_hosts(file: &Path) -> Option<Vec<String>> {
    let allowed = |flags: &str| {
        let probe = ["-c", "mount --bind /etc/hosts /etc/hosts"];
        let ran = Command::new("unshare").args([flags, "sh"]).args(probe).output();
        ran.is_ok_and(|ran| ran.status.success())
    };
    let flags = ["-m", "-rm"].into_iter().find(|flags| allowed(flags))?;
    let script = format!("mount --bind '{}' /etc/hosts && exec \"$0\" \"$@\"", file.display());
    Some(["unshare", flags, "sh", "-c", &script].map(str::to_owned).to_vec())
}

/// A stage that is dialled by this name, at the origin's port.
fn led_to(origin: &Origin, name: &str, roots: &Path) -> String {
    let port = origin.address().port();
    let roots = roots.display();
    format!("url = \"https://{NAME}/prod\"\nconnect_to = \"{name}:{port}\"\nca_bundle = \"{roots}\"")
}

/// An origin at this address of loopback and this port that answers with `name`.
fn named(address: SocketAddr, name: &'static str) -> Origin {
    let options = Options { listen: Some(address), names: vec![NAME.to_owned()], ..Options::default() };
    Origin::with(options, move |_, reply| {
        reply.send(answer("200 OK", &[], name))?;
        Ok(Then::Keep)
    })
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_moved_is_followed() {
    let directory = TempDir::new();
    let hosts = directory.write("hosts", "127.0.0.1 moves.test\n");
    let first = named(([127, 0, 0, 1], 0).into(), "first");
    let second = named(([127, 0, 0, 2], first.address().port()).into(), "second");
    let roots = [&first, &second].map(|origin| std::fs::read_to_string(origin.ca()).unwrap()).concat();
    let roots = directory.write("roots.pem", &roots);
    let aged = |name| format!("{}\ntimeouts.connection_age = \"2s\"", led_to(&first, name, &roots));
    let ask = |proxy: &Countersign| {
        let answer = Via::Http1.exchange(proxy.address(), &Ask::new("POST", "/a")).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().to_owned()
    };
    if let Some(wrapper) = with_hosts(&hosts) {
        let proxy = before(&aged("moves.test")).wrapped(&wrapper).start();
        assert_eq!(ask(&proxy), "first");
        directory.write("hosts", "127.0.0.2 moves.test\n");
        // However busy the connection is kept, it is not kept for ever.
        while ask(&proxy) == "first" {}
        assert_eq!((first.connections(), second.connections()), (1, 1));
    }
    // The same without a name of our own: connections are made anew, and where they lead is looked up for each.
    let proxy = before(&aged("localhost")).start();
    ask(&proxy);
    let before = first.connections();
    while first.connections() == before {
        ask(&proxy);
    }
}

#[test]
fn a_family_of_addresses_that_swallows_packets_holds_nobody_up() {
    let directory = TempDir::new();
    let origin = named(([127, 0, 0, 1], 0).into(), "by IPv4");
    let port = origin.address().port();
    // A machine without IPv6 refuses it at once, which must be as good.
    let ipv6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
    let _deaf = UdpSocket::bind((ipv6.ip(), 0)).is_ok().then(|| Deaf::at(ipv6));
    let hosts = directory.write("hosts", "::1 both.test\n127.0.0.1 both.test\n");
    let launch = match with_hosts(&hosts) {
        Some(wrapper) => before(&led_to(&origin, "both.test", origin.ca())).wrapped(&wrapper),
        // Where localhost has both families, as on most machines, it is the same.
        None => before(&led_to(&origin, "localhost", origin.ca())),
    };
    // One after the other would be over `timeouts.connect`, 5 s, before IPv4 had its turn.
    let answer = Via::Http1.exchange(launch.start().address(), &Ask::new("GET", "/a")).unwrap();
    assert_eq!((answer.status, answer.text()), (200, "by IPv4"));
}

#[cfg(target_os = "linux")]
#[test]
fn an_address_that_swallows_packets_leaves_time_for_the_next() {
    let directory = TempDir::new();
    // The second address is nobody else's, so that what is free at the first is free there.
    let deaf = Deaf::at(SocketAddr::from(([127, 0, 0, 1], 0)));
    let origin = named(([127, 0, 0, 2], deaf.address().port()).into(), "by the second");
    let hosts = directory.write("hosts", "127.0.0.1 two.test\n127.0.0.2 two.test\n");
    let Some(wrapper) = with_hosts(&hosts) else {
        // No name can have two addresses here: the fault is not caused.
        println!("not caused: this machine allows no mount namespace");
        return;
    };
    let launch = before(&led_to(&origin, "two.test", origin.ca())).wrapped(&wrapper);
    let answer = Via::Http1.exchange(launch.start().address(), &Ask::new("GET", "/a")).unwrap();
    assert_eq!((answer.status, answer.text()), (200, "by the second"));
}
