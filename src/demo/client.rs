//! A plain HTTP client that knows nothing of AWS: the tool in the demo's hand.

use std::{fmt, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header::HeaderMap, rt};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls::{self, TlsError};

/// One exchange takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(40);
const MAX_ANSWER: usize = 1 << 20;

/// What came back. `Debug` shows no body: the gateway's mismatch text repeats credentials.
#[derive(Clone)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Answer {
    /// A header's value, when it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, or TLS failed.
    #[error("cannot connect to {addr}: {source}")]
    Connect {
        /// Where to.
        addr: SocketAddr,
        /// What the system or TLS says.
        source: io::Error,
    },
    /// The root or the server's name is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The host is no DNS name.
    #[error("{0:?} is not a host name")]
    Name(String),
    /// The exchange broke off.
    #[error("the exchange broke off: {0}")]
    Exchange(#[from] hyper::Error),
    /// The answer is longer than the mebibyte that is taken, or its body broke off.
    #[error("the answer's body could not be read")]
    Body,
    /// It took too long.
    #[error("no answer within {} seconds", PATIENCE.as_secs())]
    Late,
}

/// A `GET` without a body. `host` becomes the `Host` header; further headers are added as they are.
///
/// # Panics
/// When target, host or headers are no legal HTTP: they are the caller's own constants.
#[must_use]
pub fn get(target: &str, host: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(Method::GET).uri(target).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).expect("the caller gives a legal target and headers")
}

/// Sends a request over plain HTTP, on a connection of its own.
///
/// # Errors
/// When no whole answer comes back in time.
pub async fn http(addr: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
    bounded(async {
        let stream =
            TcpStream::connect(addr).await.map_err(|source| ClientError::Connect { addr, source })?;
        exchange(TokioIo::new(stream), request).await
    })
    .await
}

/// Sends a request over TLS, on a connection of its own, to a server that proves with this root to be `server_name`.
///
/// # Errors
/// When no whole answer comes back in time.
pub async fn https(
    addr: SocketAddr,
    server_name: &str,
    ca_pem: &str,
    request: Request<Full<Bytes>>,
) -> Result<Answer, ClientError> {
    let connect = |source| ClientError::Connect { addr, source };
    let tls = TlsConnector::from(tls::trusting(ca_pem)?);
    let name = ServerName::try_from(server_name.to_owned())
        .map_err(|_| ClientError::Name(server_name.to_owned()))?;
    bounded(async {
        let stream = TcpStream::connect(addr).await.map_err(connect)?;
        let stream = tls.connect(name, stream).await.map_err(connect)?;
        exchange(TokioIo::new(stream), request).await
    })
    .await
}

async fn bounded(exchange: impl Future<Output = Result<Answer, ClientError>>) -> Result<Answer, ClientError> {
    tokio::time::timeout(PATIENCE, exchange).await.unwrap_or(Err(ClientError::Late))
}

async fn exchange(
    io: impl rt::Read + rt::Write + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, ClientError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    // The connection does the reading and writing; its own error shows at the sender too.
    let driver = tokio::spawn(connection);
    let answer = async {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|_| ClientError::Body)?;
        Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }
    .await;
    driver.abort();
    answer
}
