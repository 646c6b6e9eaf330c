//! When the system has no more to give: no descriptors, no room on the disk, nobody who reads the log. It keeps serving,
//! and says what is lost.

use std::{
    fs::{File, OpenOptions},
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use crate::support::{
    PATIENCE,
    client::{Answer, Ask, Client, Via},
    origin::Origin,
    process::{Address, Launch, Running, listening},
    scene::{ACCESS_KEY, SECRET, assert_refusal, ok},
};

/// Descriptors that the program may have open in these tests, its own included.
const FEW: usize = 48;

fn get(target: &str) -> Ask {
    Ask::new("GET", target)
}

fn launch(origin: &Origin, top: &str) -> Launch {
    Launch::config(&format!(
        "{top}\n[[stage]]\nurl = \"http://{}/prod\"\nregion = \"us-west-2\"\n",
        origin.address()
    ))
    .keys(ACCESS_KEY, SECRET)
}

/// The program with [`FEW`] descriptors.
fn with_few(origin: &Origin) -> (Running, SocketAddr, Launch) {
    let launch = launch(origin, "listen = \"127.0.0.1:0\"\nadmin = \"off\"");
    let inner = launch.command();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {FEW}; exec \"$0\" \"$@\"")]).arg(inner.get_program());
    command.args(inner.get_args()).env_clear().current_dir(inner.get_current_dir().unwrap());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let running = Running::spawn(&mut command);
    let Some(Address::Tcp(address)) = running.find(listening) else { panic!("it listens on TCP") };
    (running, address, launch)
}

/// Connections that take all descriptors that are left.
fn exhaust(running: &Running, address: SocketAddr) -> Vec<TcpStream> {
    let taken = (0..2 * FEW).map(|_| TcpStream::connect(address).unwrap()).collect();
    running.find(|line| line.contains("connections cannot be accepted for now").then_some(())).unwrap();
    taken
}

/// What a request is answered for which no connection to the stage can be made.
pub fn out_of_files() -> Answer {
    let origin = Origin::plain(ok);
    let (running, address, _launch) = with_few(&origin);
    let mut client = Client::connect(address).unwrap();
    // Answered by the proxy itself, so that it is known to be accepted.
    assert_eq!(client.exchange(&get("/a//%FF?%FF")).unwrap().status, 400);
    let _taken = exhaust(&running, address);
    client.exchange(&get("/a")).unwrap()
}

#[test]
fn without_descriptors_those_who_are_here_are_served_and_the_rest_later() {
    let origin = Origin::plain(ok);
    let (running, address, _launch) = with_few(&origin);
    assert!(running.output().contains("may open only 48 files"), "{}", running.output());
    let mut served = Client::connect(address).unwrap();
    let mut second = Client::connect(address).unwrap();
    assert_eq!(served.exchange(&get("/1")).unwrap().status, 200);
    assert_eq!(second.exchange(&get("/a?%FF")).unwrap().status, 400);
    let taken = exhaust(&running, address);
    // The connection to the stage is there.
    for _ in 0..3 {
        assert_eq!(served.exchange(&get("/2")).unwrap().status, 200);
    }
    let mut waiting = Client::connect(address).unwrap();
    waiting.send(&get("/3").bytes()).unwrap();
    drop(taken);
    assert_eq!(waiting.answer("GET").unwrap().status, 200);
    // There is room for more to the stage as well.
    assert_eq!(second.exchange(&get("/4")).unwrap().status, 200);
    let said = running.output().matches("connections cannot be accepted for now").count();
    assert!(said < 5, "a state is said once, not for each try: {said}");
}

#[test]
fn a_request_that_finds_no_descriptor_is_told_why_and_the_next_one_is_sent() {
    let origin = Origin::plain(ok);
    let (running, address, _launch) = with_few(&origin);
    let mut client = Client::connect(address).unwrap();
    assert_eq!(client.exchange(&get("/a?%FF")).unwrap().status, 400);
    let taken = exhaust(&running, address);
    assert_refusal(&client.exchange(&get("/a")).unwrap(), 503, "out-of-files");
    drop(taken);
    let deadline = Instant::now() + PATIENCE;
    while client.exchange(&get("/a")).unwrap().status != 200 {
        assert!(Instant::now() < deadline, "it does not recover");
        thread::yield_now();
    }
}

/// Ends with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that is free now.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Starts the program with this for standard output and standard error; where it listens, and where admin is.
fn deaf(origin: &Origin, out: Stdio, err: Stdio) -> (Started, SocketAddr, SocketAddr, Launch) {
    let (address, admin) = (free(), free());
    let launch = launch(origin, &format!("listen = \"{address}\"\nadmin = \"{admin}\""));
    let child = launch.command().stdout(out).stderr(err).spawn().unwrap();
    let started = Started(child);
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "it does not listen");
        thread::yield_now();
    }
    (started, address, admin, launch)
}

/// How many lines of log are lost, by its own count.
pub fn dropped(admin: SocketAddr) -> u64 {
    let answer = Via::Http1.exchange(admin, &get("/metrics")).unwrap();
    let mut lines = answer.text().lines();
    let value = lines.find_map(|line| line.strip_prefix("countersign_log_lines_dropped_total "));
    value.expect("the series is there").parse().unwrap()
}

fn serves_and_counts(mut started: Started, address: SocketAddr, admin: SocketAddr) {
    const REQUESTS: u64 = 50;
    let before = dropped(admin);
    let mut client = Client::connect(address).unwrap();
    for _ in 0..REQUESTS {
        assert_eq!(client.exchange(&get("/a")).unwrap().status, 200);
    }
    let deadline = Instant::now() + PATIENCE;
    while dropped(admin) < before + REQUESTS {
        assert!(Instant::now() < deadline, "{} lines are said to be lost", dropped(admin));
        thread::yield_now();
    }
    let id = started.0.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &id]).status().unwrap().success());
    assert_eq!(started.0.wait().unwrap().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_lines_of_log_and_nothing_else() {
    let origin = Origin::plain(ok);
    let full = || -> File { OpenOptions::new().write(true).open("/dev/full").unwrap() };
    let refused = io::Write::write(&mut full(), b"x").unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    let (started, address, admin, _launch) = deaf(&origin, full().into(), full().into());
    serves_and_counts(started, address, admin);
}

#[test]
fn closed_streams_lose_lines_of_log_and_nothing_else() {
    let origin = Origin::plain(ok);
    let closed = || {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let (started, address, admin, _launch) = deaf(&origin, closed(), closed());
    serves_and_counts(started, address, admin);
}
