//! Two stages that share no parser: hyper, and Python's h11. Each says what it read as requests, and what was none.

use std::{
    convert::Infallible,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

use crate::support::{PATIENCE, python};

/// A request as a stage read it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Read {
    pub method: String,
    pub target: String,
    /// Names in lower case; bytes are the characters of the same numbers.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What a stage says: a request, or why what came is none.
pub type Report = Result<Read, String>;

/// A stage on loopback; ends when dropped.
pub struct Origin {
    pub address: SocketAddr,
    reports: Receiver<Report>,
    python: Option<Child>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

async fn read(request: Request<Incoming>) -> Report {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?;
    if body.trailers().is_some() {
        return Err("trailers came".to_owned());
    }
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect();
    let target = text(parts.uri.to_string().as_bytes());
    Ok(Read { method: parts.method.to_string(), target, headers, body: text(&body.to_bytes()) })
}

async fn serve(stream: tokio::net::TcpStream, reports: Sender<Report>) {
    let service = service_fn(|request| {
        let reports = reports.clone();
        async move {
            // Said before it is answered, so whoever has the answer finds the report.
            let _ = reports.send(read(request).await);
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        }
    });
    // The proxy takes 100 fields and adds its own.
    let connection = http1::Builder::new().max_headers(1000).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        let _ = reports.send(Err(error.to_string()));
    }
}

impl Origin {
    /// On hyper.
    pub fn hyper() -> Self {
        let (sender, reports) = channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        listener.set_nonblocking(true).expect("a listener takes options");
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
                let accept = async {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(serve(stream, sender.clone()));
                    }
                };
                tokio::select! { () = accept => {}, _ = stopped => {} }
            });
        });
        Self { address, reports, python: None, stop: Some(stop) }
    }

    /// On h11.
    pub fn h11() -> Self {
        let mut child = python::script("h11_origin.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the environment's Python starts");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut port = String::new();
        output.read_line(&mut port).expect("it says its port");
        let port: u16 = port.trim().parse().expect("a port");
        let (sender, reports) = channel();
        thread::spawn(move || {
            for line in output.lines() {
                let line = line.unwrap_or_else(|error| error.to_string());
                let report = serde_json::from_str::<Read>(&line).map_err(|_| line);
                if sender.send(report).is_err() {
                    return;
                }
            }
        });
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)), reports, python: Some(child), stop: None }
    }

    /// The next so many reports, and any that are there besides.
    pub fn take(&self, count: usize) -> Vec<Report> {
        let mut taken: Vec<_> = (0..count)
            .map(|_| match self.reports.recv_timeout(PATIENCE) {
                Ok(report) => report,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    Err("fewer came than were answered".to_owned())
                }
            })
            .collect();
        taken.extend(self.reports.try_iter());
        taken
    }

    /// Ends it; what it had still to say.
    pub fn end(mut self) -> Vec<Report> {
        if let Some(child) = &mut self.python {
            drop(child.stdin.take());
            let ended = child.wait().expect("the child is ours");
            assert!(ended.success(), "h11's origin failed: {ended}");
        }
        drop(self.stop.take());
        // Until the sender is gone with its thread.
        self.reports.iter().collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(child) = &mut self.python {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}
