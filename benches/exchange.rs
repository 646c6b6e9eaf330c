//! What a whole exchange costs: a request to the real proxy over loopback, and on to a plain origin.
//!
//! The origin and the client are as small as they can be, so most of what is measured is the proxy and the kernel.
//! Compare runs of this on one quiet machine; against other proxies, `benches/side-by-side` compares.
//!
//! `cargo bench --bench exchange`

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run says so by a panic")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
};

use countersign::{
    cli::{self, Command},
    config,
    credentials::Sources,
    server::{Bound, Server},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

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
fn proxy(origin: SocketAddr) -> (Server, Arc<Sources>, SocketAddr) {
    let url = format!("http://{origin}/prod");
    let arguments = ["countersign", "run", &url, "--region", "us-west-2", "--listen", "127.0.0.1:0"];
    let environment = [("COUNTERSIGN_API_KEY", "abcdefghijklmnopqrstuvwxyz0123456789")];
    let arguments = arguments.into_iter().map(Into::into);
    let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into()));
    let Command::Run(given) = cli::parse(arguments, environment).unwrap() else { unreachable!("it is run") };
    let config = Arc::new(config::load(&given).unwrap());
    let keys = config.stages.iter().filter_map(|stage| stage.api_key.as_ref());
    let sources = Arc::new(Sources::start([&config.stages[0].credentials], keys).unwrap());
    let server = Server::start(&config, &sources).unwrap();
    let Bound::Tcp(address) = server.bound()[0].clone() else { unreachable!("it is TCP") };
    (server, sources, address)
}

fn exchange(c: &mut Criterion, name: &str, length: usize) {
    let (server, sources, address) = proxy(origin(length));
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
                got += stream.read(&mut buffer[got..]).unwrap();
            }
            assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..got]));
        });
    });
    group.finish();
    drop(stream);
    server.stop();
    drop(sources);
}

fn small_get(c: &mut Criterion) {
    exchange(c, "GET", 0);
}

fn upload(c: &mut Criterion) {
    exchange(c, "POST 1 MiB", 1 << 20);
}

criterion_group!(benches, small_get, upload);
criterion_main!(benches);
