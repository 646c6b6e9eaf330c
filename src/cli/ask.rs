//! One request to the admin address of a countersign that runs.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time};

/// More than a readiness report ever is.
const MOST: usize = 1 << 20;

/// Nobody listens there, or whoever does breaks off or takes too long.
pub(super) type NoAnswer = Box<dyn std::error::Error + Send + Sync>;

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    /// The body as text, without the line's end.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end().to_owned()
    }
}

/// Asks once, with the callers' `token` if there is one.
pub(super) async fn ask(
    address: SocketAddr,
    method: Method,
    path: &str,
    token: Option<&HeaderValue>,
) -> Result<Answer, NoAnswer> {
    let token = token.map(|token| (HeaderName::from_static("x-countersign-token"), token.clone()));
    exchange(address, method, path, token.as_slice()).await
}

async fn exchange(
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(HeaderName, HeaderValue)],
) -> Result<Answer, NoAnswer> {
    let stream = TcpStream::connect(address).await?;
    // Not the address that was asked for: what a "0.0.0.0" leads to is called 127.0.0.1.
    let host = stream.peer_addr()?.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let asking = async {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST).collect().await?.to_bytes();
        Ok(Answer { status, body })
    };
    tokio::select! {
        answer = asking => answer,
        Err(error) = connection => Err(error.into()),
    }
}

/// As [`ask`], for at most `limit`; `None` when it took longer.
pub(super) async fn ask_within(
    limit: Duration,
    address: SocketAddr,
    method: Method,
    path: &str,
    token: Option<&HeaderValue>,
) -> Option<Result<Answer, NoAnswer>> {
    time::timeout(limit, ask(address, method, path, token)).await.ok()
}

/// As [`ask_within`], with these headers.
pub(super) async fn ask_with(
    limit: Duration,
    address: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(HeaderName, HeaderValue)],
) -> Option<Result<Answer, NoAnswer>> {
    time::timeout(limit, exchange(address, method, path, headers)).await.ok()
}
