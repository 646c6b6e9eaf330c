//! Under a service manager: systemd is told what happens, sockets that it made are used, and as process 1 of a container
//! the program still ends when it is told to.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener},
    },
    process::{Command, Stdio},
};

use crate::support::{
    PATIENCE, TempDir,
    client::{Ask, Client, Via},
    origin::Origin,
    process::{Address, Launch, Running, listening},
    scene::{ACCESS_KEY, SECRET, Setup, assert_signed, ok},
};

/// A service manager that hears what it is told.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = TempDir::new();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    fn path(&self) -> String {
        self.folder.path().join("notify").to_str().unwrap().to_owned()
    }

    /// The next message, line by line.
    fn next(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).unwrap();
        std::str::from_utf8(&message[..length]).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn systemd_is_told_what_happens() {
    let manager = Manager::new();
    let scene = Setup::new().variable("NOTIFY_SOCKET", &manager.path()).start_ok();
    assert_eq!(manager.next(), ["READY=1", "STATUS=serving"]);
    let file = scene.proxy.home().path().join("countersign.toml");
    let good = fs::read_to_string(&file).unwrap();
    // A reload that fails is over as well.
    for text in [good.as_str(), "nonsense"] {
        fs::write(&file, text).unwrap();
        scene.proxy.process().signal("HUP");
        let message = manager.next();
        assert_eq!(message[0], "RELOADING=1");
        let since = message[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
        assert!(since > 0);
        assert_eq!(manager.next(), ["READY=1", "STATUS=serving"]);
    }
    scene.proxy.process().signal("TERM");
    let mut message = manager.next();
    // The file may have been looked at meanwhile.
    while message[0] != "STOPPING=1" {
        message = manager.next();
    }
    assert_eq!(scene.proxy.ended().code, Some(0));
}

#[test]
fn the_watchdog_is_fed_by_workers_that_answer() {
    let manager = Manager::new();
    let scene = Setup::new()
        .top("workers = 2")
        .variable("NOTIFY_SOCKET", &manager.path())
        .variable("WATCHDOG_USEC", "100000")
        .start_ok();
    assert_eq!(manager.next()[0], "READY=1");
    for _ in 0..5 {
        assert_eq!(manager.next(), ["WATCHDOG=1"]);
    }
    assert_eq!(scene.proxy.terminate().code, Some(0));
}

/// The program as `sh` runs it after this script, in which `"$0" "$@"` stands for it.
fn through(launch: &Launch, script: &str) -> Command {
    let inner = launch.command();
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(inner.get_current_dir().unwrap()).stdin(Stdio::null());
    command
}

/// Hands standard input over.
const ONE: &str = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
/// The same, and standard output, in whose place standard error comes.
const TWO: &str = "exec 5<&1 1>&2; exec 3<&0 4<&5 0</dev/null; LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\" \"$@\"";

fn launch(origin: &Origin, listen: &str) -> Launch {
    Launch::config(&format!(
        "listen = \"{listen}\"\nadmin = \"off\"\n[[stage]]\nurl = \"http://{}/prod\"\nregion = \"us-west-2\"\n",
        origin.address()
    ))
    .keys(ACCESS_KEY, SECRET)
}

fn handed(socket: impl Into<OwnedFd>) -> Stdio {
    Stdio::from(socket.into())
}

#[test]
fn a_socket_that_is_handed_over_is_served_from_before_the_start() {
    let origin = Origin::plain(ok);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // Whoever comes before there is a program waits, and is served.
    let mut early = Client::connect(address).unwrap();
    early.send(&Ask::new("GET", "/early").bytes()).unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    // It is not bound: another program has it.
    let launch = launch(&origin, &other.local_addr().unwrap().to_string());
    let mut running = Running::spawn(through(&launch, ONE).stdin(handed(socket)));
    assert_eq!(running.find(listening), Some(Address::Tcp(address)));
    assert_eq!(early.answer("GET").unwrap().status, 200);
    let request = origin.next();
    assert_eq!(request.target(), b"/prod/early");
    assert_signed(&request);
    running.signal("TERM");
    assert_eq!(running.end().code, Some(0));
    assert!(TcpStream::connect(address).is_err(), "the last who held it has let go");
}

#[test]
fn a_unix_socket_that_is_handed_over_stays_its_makers() {
    let origin = Origin::plain(ok);
    let folder = TempDir::new();
    let path = folder.path().join("proxy.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let launch = launch(&origin, "127.0.0.1:0");
    let mut command = through(&launch, TWO);
    command.stdin(handed(socket)).stdout(handed(tcp)).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let by_unix =
        || Client::connect_unix(&path).and_then(|mut client| client.exchange(&Ask::new("GET", "/u")));
    assert_eq!(by_unix().unwrap().status, 200);
    assert_eq!(Via::Http1.exchange(address, &Ask::new("GET", "/t")).unwrap().status, 200);
    let id = child.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(path.exists(), "who made the file removes it");
    assert_eq!(origin.take().len(), 2);
}

#[test]
fn a_socket_that_others_reach_has_to_be_meant() {
    let origin = Origin::plain(ok);
    let open = || TcpListener::bind("0.0.0.0:0").unwrap();
    let ended = Running::spawn(through(&launch(&origin, "127.0.0.1:0"), ONE).stdin(handed(open()))).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("LISTEN_FDS") && ended.err.contains("0.0.0.0"), "{ended:?}");

    let launch = launch(&origin, "0.0.0.0:0").argument("--allow-remote").argument("--no-token");
    let socket = open();
    let port = socket.local_addr().unwrap().port();
    let running = Running::spawn(through(&launch, ONE).stdin(handed(socket)));
    running.find(listening).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(Via::Http1.exchange(address, &Ask::new("GET", "/a")).unwrap().status, 200);
}

#[test]
fn sockets_that_are_meant_for_another_process_are_left_alone() {
    let origin = Origin::plain(ok);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let script = ONE.replace("LISTEN_PID=$$", "LISTEN_PID=1");
    let launch = launch(&origin, "127.0.0.1:0");
    let running = Running::spawn(through(&launch, &script).stdin(handed(socket)));
    let Some(Address::Tcp(own)) = running.find(listening) else { panic!("it listens by itself") };
    assert_ne!(own, address);
    // What is handed over and is no listening socket stops the start.
    let ended = Running::spawn(&mut through(&launch, ONE)).end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("LISTEN_FDS"), "{ended:?}");
}

/// The signals that a process has handlers for, from Linux's own account.
#[cfg(target_os = "linux")]
fn caught(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

/// The kernel drops signals to process 1 of a PID namespace that it has no handler for.
#[cfg(target_os = "linux")]
#[test]
fn it_ends_on_sigterm_as_process_1() {
    let scene = Setup::new().start_ok();
    for (name, number) in [("HUP", 1), ("INT", 2), ("TERM", 15)] {
        assert_ne!(caught(scene.proxy.process().id()) & (1 << (number - 1)), 0, "{name} has a handler");
    }
    // And for real, where this machine lets a namespace be made.
    let allowed = Command::new("unshare").args(["--pid", "--fork", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        return;
    }
    let origin = Origin::plain(ok);
    let launch = launch(&origin, "127.0.0.1:0");
    let script = "exec unshare --pid --fork --kill-child \"$0\" \"$@\"";
    let mut running = Running::spawn(&mut through(&launch, script));
    let Some(Address::Tcp(address)) = running.find(listening) else { panic!("it listens") };
    let parent = running.id();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let child = children.trim().to_owned();
    let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    assert_eq!(inside.split_whitespace().last(), Some("1"), "it is process 1 of its namespace");
    assert_eq!(Via::Http1.exchange(address, &Ask::new("GET", "/a")).unwrap().status, 200);
    assert!(Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &child]).status().unwrap().success());
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("stopped"), "{ended:?}");
}
