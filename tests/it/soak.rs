//! Many requests through everything that changes at once: credentials that rotate, a configuration that is written anew
//! all the time, a stage that restarts. A stage that counts finds none lost and none doubled, and the proxy does not grow.
//!
//! As many as `COUNTERSIGN_SOAK` says: `COUNTERSIGN_SOAK=2000000 cargo test --release --test it soak`.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    process::admin,
    support::{
        PATIENCE,
        client::{Ask, Via},
        process::{Countersign, Launch},
        scene::SECRET,
    },
};

/// Unless told otherwise: seconds, in the ordinary run of all tests.
const REQUESTS: usize = 20_000;
const CLIENTS: usize = 8;
/// A client takes a new connection after so many requests.
const EACH: usize = 997;
/// The stage hangs up unannounced after so many requests of a connection.
const UNANNOUNCED: u32 = 499;

/// Counts what arrives, by the number in the path.
struct Stage {
    address: SocketAddr,
    counts: Vec<AtomicU8>,
    keys: Mutex<BTreeSet<String>>,
    unsigned: AtomicUsize,
    /// Raised at each restart: nobody listens for a moment, and connections of an older one end with their next answer,
    /// which says so.
    run: AtomicU32,
}

impl Stage {
    fn start(requests: usize) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stage = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            counts: std::iter::repeat_with(AtomicU8::default).take(requests).collect(),
            keys: Mutex::default(),
            unsigned: AtomicUsize::new(0),
            run: AtomicU32::new(0),
        });
        let accepting = Arc::clone(&stage);
        // Ends with the process: the test has nothing else to tell it.
        thread::spawn(move || accepting.accept(listener));
        stage
    }

    fn accept(self: Arc<Self>, mut listener: TcpListener) {
        loop {
            let run = self.run.load(Relaxed);
            for stream in listener.incoming().map_while(Result::ok) {
                let stage = Arc::clone(&self);
                thread::spawn(move || stage.serve(stream));
                if self.run.load(Relaxed) != run {
                    break;
                }
            }
            // Whoever waits to be accepted is reset, and whoever comes now is refused.
            drop(listener);
            listener = loop {
                if let Ok(listener) = TcpListener::bind(self.address) {
                    break listener;
                }
            };
        }
    }

    fn restart(&self) {
        self.run.fetch_add(1, Relaxed);
        // It is noticed with the next connection, of whomever.
        drop(TcpStream::connect(self.address));
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let born = self.run.load(Relaxed);
        let (mut served, mut last_key) = (0, String::new());
        while let Some((start, length, authorization)) = head(&mut reader)? {
            io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
            let number =
                start.split(' ').nth(1).and_then(|target| target.rsplit('/').next()?.parse::<usize>().ok());
            self.counts[number.expect("each path ends in a number")].fetch_add(1, Relaxed);
            match authorization.split_once("Credential=").and_then(|(_, after)| after.split('/').next()) {
                Some(key) if key == last_key => {}
                Some(key) => {
                    key.clone_into(&mut last_key);
                    self.keys.lock().unwrap().insert(key.to_owned());
                }
                None => drop(self.unsigned.fetch_add(1, Relaxed)),
            }
            served += 1;
            let restarted = self.run.load(Relaxed) != born;
            let close = if restarted { "connection: close\r\n" } else { "" };
            write!(stream, "HTTP/1.1 200 OK\r\n{close}content-length: 2\r\n\r\nok")?;
            if restarted || served == UNANNOUNCED {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// First line, length of the body and `authorization`; `None` at the end.
fn head(reader: &mut impl io::BufRead) -> io::Result<Option<(String, u64, String)>> {
    let (mut start, mut length, mut authorization) = (String::new(), 0, String::new());
    if reader.read_line(&mut start)? == 0 {
        return Ok(None);
    }
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            return Ok(Some((start, length, authorization)));
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().map_err(io::Error::other)?;
        } else if name.eq_ignore_ascii_case("authorization") {
            value.clone_into(&mut authorization);
        }
    }
}

/// What became of all requests.
#[derive(Default)]
struct Tally {
    next: AtomicUsize,
    /// Where sending pauses: what is measured there is not moved by requests under way.
    until: AtomicUsize,
    failed: Mutex<Vec<(usize, String)>>,
}

/// Even numbers are safe to send twice.
const fn is_safe(number: usize) -> bool {
    number.is_multiple_of(2)
}

fn client(address: SocketAddr, tally: &Tally) -> io::Result<()> {
    let mut connection: Option<(BufReader<TcpStream>, usize)> = None;
    loop {
        let number = tally.next.fetch_add(1, Relaxed);
        if number >= tally.until.load(Relaxed) {
            return Ok(());
        }
        let (reader, used) = match connection.as_mut().filter(|(_, used)| *used < EACH) {
            Some(kept) => kept,
            None => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                connection.insert((BufReader::new(stream), 0))
            }
        };
        *used += 1;
        let request = match is_safe(number) {
            true => format!("GET /{number} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
            false => format!("POST /{number} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nbody"),
        };
        reader.get_mut().write_all(request.as_bytes())?;
        let Some((start, length, _)) = head(reader)? else {
            return Err(io::Error::other(format!("no answer to {number}")));
        };
        let mut body = String::new();
        reader.by_ref().take(length).read_to_string(&mut body)?;
        if !start.starts_with("HTTP/1.1 200 ") || body != "ok" {
            tally.failed.lock().unwrap().push((number, format!("{start}{body}")));
        }
    }
}

/// Sends up to this number of requests in all, and waits for their answers.
fn send(address: SocketAddr, tally: &Tally, until: usize) {
    let from = tally.until.swap(until, Relaxed);
    tally.next.store(from, Relaxed);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| client(address, tally))).collect();
        for client in clients {
            client.join().unwrap().unwrap();
        }
    });
}

fn gauge(admin: SocketAddr, name: &str) -> u64 {
    let answer = Via::Http1.exchange(admin, &Ask::new("GET", "/metrics")).unwrap();
    let value = answer.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

fn configuration(stage: &Stage, version: usize) -> String {
    let url = format!("url = \"http://{}/prod\"\nregion = \"us-west-2\"\nprofile = \"dev\"", stage.address);
    let (top, more) = match version % 3 {
        0 => ("", String::new()),
        // Everything of the stage is made anew.
        1 => ("limits.max_in_flight = 500", "timeouts.idle = \"1m\"".to_owned()),
        // The stage stays as it is, and there is another one.
        _ => (
            "limits.idle_timeout = \"1m\"",
            format!("[[stage]]\nname = \"other\"\nmount = \"/other\"\n{url}"),
        ),
    };
    format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 2\nlog.access = false\ninspector.from_start = true\ninspector.buffer = \"1MiB\"\n{top}\n[[stage]]\nname = \"a\"\n\
         {url}\n{more}\n"
    )
}

/// Changes everything that can change, until it is told to stop.
fn disturb(proxy: &Countersign, stage: &Stage, stop: &AtomicBool) {
    const STEP: Duration = Duration::from_millis(100);
    let home = proxy.home();
    let mut count = 0;
    while !stop.load(Relaxed) {
        // The pace of the disturbance; nothing is waited for.
        thread::park_timeout(STEP);
        count += 1;
        match count % 5 {
            0 => stage.restart(),
            1 => {
                let next = home.write("next.toml", &configuration(stage, count));
                fs::rename(next, home.path().join("countersign.toml")).unwrap();
                proxy.process().signal("HUP");
            }
            2 => drop(home.write(".aws/config", &format!("{PROFILE}# {count}\n"))),
            _ => {}
        }
    }
}

const PROFILE: &str = "[profile dev]\ncredential_process = sh rotate.sh\n";

/// Another key each second, good for a minute.
fn rotate() -> String {
    let answer = format!(
        "{{\"Version\":1,\"AccessKeyId\":\"AKID$now\",\"SecretAccessKey\":\"{SECRET}\",\"SessionToken\":\"t$now\",\
         \"Expiration\":\"$(date -u -d @$((now + 60)) +%Y-%m-%dT%H:%M:%SZ)\"}}"
    );
    format!("now=$(date +%s)\ncat <<END\n{answer}\nEND\n")
}

#[test]
fn nothing_is_lost_or_doubled_and_nothing_grows() {
    let requests = match std::env::var("COUNTERSIGN_SOAK") {
        Ok(number) => number.parse().expect("COUNTERSIGN_SOAK is a number of requests"),
        Err(_) => REQUESTS,
    };
    let stage = Stage::start(requests);
    let proxy = Launch::config(&configuration(&stage, 0))
        .file(".aws/config", PROFILE)
        .file("rotate.sh", &rotate())
        .start();
    let health = admin(proxy.process());
    proxy.process().find(|line| line.contains("credentials are ready").then_some(())).unwrap();
    let (tally, stop, began) = (Tally::default(), AtomicBool::new(false), Instant::now());
    let measures = thread::scope(|scope| {
        let disturbing = scope.spawn(|| disturb(&proxy, &stage, &stop));
        let measured = scope.spawn(|| {
            let measure =
                || (gauge(health, "process_resident_memory_bytes"), gauge(health, "process_open_fds"));
            // Warm after a quarter.
            send(proxy.address(), &tally, requests / 4);
            let warm = measure();
            send(proxy.address(), &tally, requests);
            (warm, measure())
        });
        let measured = measured.join();
        stop.store(true, Relaxed);
        disturbing.join().unwrap();
        measured.unwrap()
    });

    let failed = tally.failed.into_inner().unwrap();
    for (number, answer) in &failed {
        // Nobody listened, and nothing arrived.
        let away = answer.contains("upstream-connect") && stage.counts[*number].load(Relaxed) == 0;
        // What may have acted is not sent twice, and says so; nor is anything that a new connection was reset under.
        let broken = answer.contains("upstream-broken");
        assert!(away || broken, "{number}: {answer}");
    }
    let failed: BTreeSet<usize> = failed.into_iter().map(|(number, _)| number).collect();
    for (number, count) in stage.counts.iter().enumerate() {
        let count = count.load(Relaxed);
        let right = match (is_safe(number), failed.contains(&number)) {
            (true, false) => (1..=2).contains(&count),
            (true, true) => count == 0,
            (false, false) => count == 1,
            (false, true) => count <= 1,
        };
        assert!(right, "request {number} arrived {count} times");
    }
    assert!(failed.len() <= requests / 100, "{} of {requests} failed", failed.len());
    assert_eq!(stage.unsigned.load(Relaxed), 0, "each is signed");
    let keys = stage.keys.lock().unwrap().len();
    assert!(keys > 1, "the credentials rotated: {keys}");
    let output = proxy.process().output();
    let reloads = output.matches("the configuration is taken up").count();
    assert!(reloads > 1 && !output.contains("the configuration is not taken up"), "{output}");

    let ((warm_memory, warm_files), (memory, files)) = measures;
    println!(
        "{requests} requests in {:?}: {keys} keys, {reloads} reloads, {} restarts, {} errors that say so; memory {} KiB, then \
         {} KiB; descriptors {warm_files}, then {files}",
        began.elapsed(),
        stage.run.load(Relaxed),
        failed.len(),
        warm_memory >> 10,
        memory >> 10,
    );
    #[cfg(target_os = "linux")]
    {
        assert!(memory < warm_memory + warm_memory / 4 + (16 << 20), "{warm_memory} grew to {memory}");
        assert!(files < warm_files + 32, "{warm_files} grew to {files}");
    }
    assert_eq!(gauge(health, "countersign_requests_in_flight"), 0);
    assert_eq!(gauge(health, "countersign_body_budget_used_bytes"), 0);
    assert_eq!(proxy.terminate().code, Some(0));
}
