//! What a whole exchange costs: a request to the real proxy over loopback, and on to a plain origin.
//!
//! The origin and the client are as small as they can be, so most of what is measured is the proxy and the kernel.
//! Compare runs of this on one quiet machine; against other proxies, `benches/side-by-side` compares.
//!
//! `cargo bench --bench exchange`

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run says so by a panic")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::Arc,
};

use countersign::{
    cli, config,
    credentials::Sources,
    proxy::Readiness,
    server::{Bound, Inherited, Server},
    telemetry::{Watchers, exchange::Hub},
};
use criterion::{Criterion, Throughput, criterion_group};

/// Where the proxy finds its API key.
const API_KEY: &str = "COUNTERSIGN_API_KEY";

/// Reads a request of `length` bytes of body from each connection, over and over, and answers.
fn origin(length: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while let Some(head) = read_head(&mut stream, &mut buffer) {
                    let mut rest = length.saturating_sub(head);
                    while rest > 0 {
                        rest = rest.saturating_sub(stream.read(&mut buffer).unwrap());
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                }
            });
        }
    });
    address
}

/// Reads a head, and says how much of what follows it came along.
fn read_head(stream: &mut TcpStream, buffer: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        match stream.read(&mut buffer[length..]) {
            Ok(count) if count > 0 => length += count,
            _ => return None,
        }
        if let Some(end) = buffer[..length].windows(4).position(|window| window == b"\r\n\r\n") {
            return Some(length - end - 4);
        }
    }
}

/// The proxy in this process, in front of `origin`.
fn proxy(origin: SocketAddr, watchers: Watchers) -> (Server, Arc<Sources>, SocketAddr) {
    let url = format!("http://{origin}/prod");
    let arguments = ["countersign", "run", &url, "--region", "us-west-2", "--listen", "127.0.0.1:0"];
    let arguments = arguments.into_iter().map(Into::into);
    let environment = std::env::vars_os().filter(|(name, _)| name == API_KEY);
    let cli::Command::Run(given) = cli::parse(arguments, environment).unwrap() else {
        unreachable!("it is run")
    };
    let config = Arc::new(config::load(&given).unwrap());
    let keys = config.stages.iter().filter_map(|stage| stage.api_key.as_ref());
    let sources = Arc::new(Sources::start([&config.stages[0].credentials], keys).unwrap());
    let metrics = countersign::server::metrics(&config);
    let (inherited, ready) = (Inherited::default(), Readiness::new(|| true));
    let server = Server::start(&config, &sources, metrics, watchers, inherited, &ready).unwrap();
    let Bound::Tcp(address) = server.bound()[0].clone() else { unreachable!("it is TCP") };
    (server, sources, address)
}

fn exchange(c: &mut Criterion, name: &str, length: usize, watchers: Watchers) {
    let (server, sources, address) = proxy(origin(length), watchers);
    let mut request =
        format!("POST /orders?b=2&a=1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    if length == 0 {
        request = String::from("GET /orders?b=2&a=1 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    }
    request.push_str(&"x".repeat(length));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 4096];
    let mut group = c.benchmark_group("exchange");
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |b| {
        b.iter(|| {
            stream.write_all(request.as_bytes()).unwrap();
            let mut got = 0;
            while !buffer[..got].ends_with(b"\r\n\r\nok") {
                let count = stream.read(&mut buffer[got..]).unwrap();
                got += count;
                let whole = count > 0 && buffer.starts_with(b"HTTP/1.1 200");
                assert!(whole, "{}", String::from_utf8_lossy(&buffer[..got]));
            }
        });
    });
    group.finish();
    drop(stream);
    server.drain();
    server.join();
    drop(sources);
}

fn small_get(c: &mut Criterion) {
    exchange(c, "GET", 0, Watchers::default());
}

/// The same with each request kept for the inspector.
fn captured_get(c: &mut Criterion) {
    let hub = Hub::new(32 << 20);
    hub.want();
    exchange(c, "GET captured", 0, Watchers { hub: Some(hub), blocks: None });
}

fn upload(c: &mut Criterion) {
    exchange(c, "POST 1 MiB", 1 << 20, Watchers::default());
}

criterion_group!(benches, small_get, captured_get, upload);

/// Runs this program once more with throwaway credentials in its environment, whatever the user has in theirs.
fn main() {
    const INNER: &str = "COUNTERSIGN_BENCH_INNER";
    if std::env::var_os(INNER).is_some() {
        benches();
        return Criterion::default().configure_from_args().final_summary();
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(std::env::args_os().skip(1)).env(INNER, "1");
    again.env(API_KEY, "abcdefghijklmnopqrstuvwxyz0123456789");
    again.env("AWS_ACCESS_KEY_ID", "AKIDBENCH").env("AWS_SECRET_ACCESS_KEY", "c2VjcmV0IG9mIGEgYmVuY2htYXJr");
    again.env("AWS_SESSION_TOKEN", "dG9rZW4gb2YgYSBiZW5jaG1hcms".repeat(37)).env_remove("AWS_PROFILE");
    std::process::exit(again.status().unwrap().code().unwrap_or(1));
}
