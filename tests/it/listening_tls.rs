//! TLS for clients: certificates that are made and certificates that are given, ALPN, plain HTTP that comes by mistake.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};

use crate::support::{
    PATIENCE, TempDir,
    client::{Answer, Ask, Client},
    h2c,
    origin::{Then, answer},
    process::{Address, Countersign, Launch, listening},
    scene::{ACCESS_KEY, NAME, SECRET, Scene, Setup, assert_refusal, assert_signed},
};

const SELF_SIGNED: &str = "tls = \"self-signed\"";

/// Where the certificate of `self-signed` is.
fn made(proxy: &Countersign) -> PathBuf {
    proxy.home().path().join(".local/state/countersign/localhost.pem")
}

fn tls(scene: &Scene) -> Client {
    Client::connect_tls(scene.proxy.address(), &made(&scene.proxy)).unwrap()
}

fn get(target: &str) -> Ask {
    Ask::new("GET", target)
}

/// What plain HTTP is answered at a port that speaks TLS.
pub fn plain_to_tls() -> Answer {
    let scene = Setup::new().top(SELF_SIGNED).start_ok();
    Client::connect(scene.proxy.address()).unwrap().exchange(&get("/a")).unwrap()
}

/// What the configuration ends with.
fn fails(tls: &str) -> String {
    let ended = Launch::config(&format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"off\"\n{tls}\n[[stage]]\nurl = \"https://{NAME}/prod\"\n"
    ))
    .keys(ACCESS_KEY, SECRET)
    .run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    // The report is wrapped to the terminal's width.
    ended.err.split_whitespace().collect::<Vec<_>>().join(" ").replace("│ ", "")
}

/// A certificate for localhost and its key.
fn pair(folder: &TempDir, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = folder.write(&format!("{name}.pem"), &made.cert.pem());
    (cert, folder.write(&format!("{name}.key"), &made.signing_key.serialize_pem()))
}

fn given(cert: &Path, key: &Path) -> String {
    format!("tls = {{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display())
}

#[test]
fn both_protocols_by_alpn_with_a_certificate_that_is_made() {
    let scene = Setup::new().top(&format!("{SELF_SIGNED}\nworkers = 2")).start_ok();
    let file = made(&scene.proxy);
    let mut http1 = tls(&scene);
    let http2 = h2c::Client::connect_tls(scene.proxy.address(), &file).unwrap();
    for _ in 0..2 {
        assert_eq!(http1.exchange(&Ask::new("POST", "/a?b").body("x")).unwrap().status, 200);
        assert_signed(&scene.origin.next());
        let body = vec![7; 1 << 20];
        assert_eq!(http2.exchange(&Ask::new("PUT", "/a").body(body.clone())).unwrap().status, 200);
        let request = scene.origin.next();
        assert_signed(&request);
        assert!(request.body == body);
    }
    // The name is checked as without TLS.
    assert_refusal(
        &http1.exchange(&get("/a").header("host", "evil.example")).unwrap(),
        421,
        "host-not-allowed",
    );

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    assert_eq!(mode(&file.with_file_name("localhost-key.pem")), 0o600);
    let said = scene.proxy.process().output();
    let address = scene.proxy.address();
    assert!(said.contains(&format!("listening on https://{address}")), "{said}");
    assert!(!said.contains("PRIVATE KEY"), "{said}");
    // What is printed is what a client sees.
    let pem = CertificateDer::from_pem_file(&file).unwrap();
    let print: Vec<String> = Sha256::digest(&pem).iter().map(|byte| format!("{byte:02X}")).collect();
    assert!(said.contains(&print.join(":")), "{said}");
}

#[test]
fn the_certificate_is_kept_from_one_run_to_the_next() {
    let state = TempDir::new();
    let file = state.path().join("countersign/localhost.pem");
    let run = || {
        let state = state.path().to_str().unwrap();
        let scene = Setup::new().top(SELF_SIGNED).variable("XDG_STATE_HOME", state).start_ok();
        let mut client = Client::connect_tls(scene.proxy.address(), &file).unwrap();
        assert_eq!(client.exchange(&get("/a")).unwrap().status, 200);
        assert!(!made(&scene.proxy).exists());
        fs::read_to_string(&file).unwrap()
    };
    assert_eq!(run(), run());
}

#[test]
fn certificate_and_key_are_given() {
    let folder = TempDir::new();
    let (cert, key) = pair(&folder, "a");
    let scene = Setup::new().top(&given(&cert, &key)).start_ok();
    let mut client = Client::connect_tls(scene.proxy.address(), &cert).unwrap();
    assert_eq!(client.exchange(&get("/a")).unwrap().status, 200);
    let client = h2c::Client::connect_tls(scene.proxy.address(), &cert).unwrap();
    assert_eq!(client.exchange(&get("/a")).unwrap().status, 200);
    // Nothing is made where nothing is asked for.
    assert!(!made(&scene.proxy).exists());
}

#[test]
fn mistakes_name_the_file_and_what_to_do() {
    let folder = TempDir::new();
    let ((a, a_key), (b, b_key)) = (pair(&folder, "a"), pair(&folder, "b"));
    let absent = folder.path().join("absent.pem");
    let text = folder.write("text.pem", "hello");
    let damaged = folder.write("damaged.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    for (cert, key, names, says) in [
        (&a, &b_key, "b.key", "does not belong to the certificate"),
        (&absent, &a_key, "absent.pem", "cannot be read: No such file"),
        (&a, &absent, "absent.pem", "cannot be read: No such file"),
        (&text, &a_key, "text.pem", "holds no certificate in PEM"),
        (&damaged, &a_key, "damaged.pem", "is not PEM"),
        (&a, &b, "b.pem", "holds no private key in PEM"),
    ] {
        let said = fails(&given(cert, key));
        assert!(said.contains(names) && said.contains(says), "{says}: {said}");
    }
}

#[test]
fn plain_http_is_told_so() {
    let scene = Setup::new().top(SELF_SIGNED).start_ok();
    for bytes in [get("/a").bytes(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), vec![b'x'; 100_000]] {
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        client.send(&bytes).unwrap();
        let answer = client.answer("GET").unwrap();
        assert_refusal(&answer, 400, "tls-expected");
        assert_eq!(answer.head.one("connection"), Some("close"));
        assert!(client.rest().unwrap().is_empty());
    }
    assert!(scene.origin.take().is_empty());
    assert_eq!(tls(&scene).exchange(&get("/a")).unwrap().status, 200);
}

#[test]
fn what_is_no_handshake_ends_and_holds_nobody_up() {
    let top = format!("{SELF_SIGNED}\n[limits]\nheader_timeout = \"300ms\"\n[log]\nfilter = \"debug\"");
    let scene = Setup::new().top(&top).start_ok();
    let ended = |cause: &str| {
        let wanted = format!("\"cause\":\"{cause}\"");
        scene.proxy.process().find(|line| line.contains(&wanted).then_some(()));
    };
    for (bytes, cause) in [
        // Nothing; the beginning of a handshake; then records that are none.
        (&b""[..], "handshake-timeout"),
        (&b"\x16\x03\x01\x02\x00\x01\x00"[..], "handshake-timeout"),
        (&b"\x16\x03\x01\x00\x05hello, this is no handshake"[..], "handshake-failed"),
    ] {
        let mut stream = TcpStream::connect(scene.proxy.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        assert_eq!(tls(&scene).exchange(&get("/a")).unwrap().status, 200);
        // An alert at most; then it is closed.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 100, "{}", rest.escape_ascii());
        ended(cause);
    }
    // A client that does not trust the certificate leaves the server as it was.
    let folder = TempDir::new();
    let (other, _) = pair(&folder, "other");
    let error = Client::connect_tls(scene.proxy.address(), &other).err().expect("it is not trusted");
    assert!(error.to_string().contains("certificate"), "{error}");
    // One that shakes hands and then says nothing is cut off as over plain TCP.
    let mut silent = tls(&scene);
    let _ = silent.rest();
    ended("header-timeout");
    assert_eq!(tls(&scene).exchange(&get("/a")).unwrap().status, 200);
}

#[test]
fn unix_sockets_stay_plain() {
    let directory = TempDir::new();
    let path = directory.path().join("proxy.sock");
    let top = format!("{SELF_SIGNED}\nlisten = [\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    let scene = Setup::new().top(&top).start_ok();
    scene.proxy.process().find(|line| matches!(listening(line)?, Address::Unix(_)).then_some(())).unwrap();
    assert_eq!(Client::connect_unix(&path).unwrap().exchange(&get("/a")).unwrap().status, 200);
    assert_eq!(tls(&scene).exchange(&get("/a")).unwrap().status, 200);
}

#[test]
fn location_points_back_with_the_scheme_that_the_client_used() {
    let moved = |_: &_, reply: &mut crate::support::origin::Reply<'_>| {
        reply.send(answer("302 Found", &[("location", &format!("https://{NAME}/prod/there"))], ""))?;
        Ok(Then::Keep)
    };
    let scene = Setup::new().top(SELF_SIGNED).start(moved);
    let answer = tls(&scene).exchange(&get("/a").header("host", "localhost:8443")).unwrap();
    assert_eq!(answer.head.one("location"), Some("https://localhost:8443/there"));
}

#[test]
fn it_drains_as_without_tls() {
    let scene = Setup::new().top(SELF_SIGNED).start_ok();
    let mut idle = tls(&scene);
    assert_eq!(idle.exchange(&get("/a")).unwrap().status, 200);
    let Scene { proxy, .. } = scene;
    assert_eq!(proxy.terminate().code, Some(0));
    assert!(idle.rest().unwrap_or_default().is_empty());
}
