//! A client for HTTP/2 without TLS, with prior knowledge, on crate `h2`: it can leave a body unfinished, reset a stream
//! and read an answer piece by piece.

use std::{future::Future, io, net::SocketAddr, path::Path};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::{Builder, Handle},
    sync::oneshot,
};

use super::{
    PATIENCE,
    client::{Answer, Ask},
    wire::Head,
};

/// One connection. A thread of its own answers the peer's pings while nothing is asked, as every real client does.
pub struct Client {
    runtime: Handle,
    _stop: oneshot::Sender<()>,
    requests: SendRequest<Bytes>,
}

/// One request under way.
pub struct Stream<'a> {
    client: &'a Client,
    sending: SendStream<Bytes>,
    answer: Option<ResponseFuture>,
    arrived: Option<http::Response<RecvStream>>,
    receiving: Option<RecvStream>,
}

fn failed(error: h2::Error) -> io::Error {
    io::Error::other(error)
}

impl Client {
    /// Over TCP.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }

    /// Over a Unix socket.
    pub fn connect_unix(path: &Path) -> io::Result<Self> {
        Self::over(tokio::net::UnixStream::connect(path))
    }

    /// Over TLS, for `localhost`, with HTTP/2 by ALPN; trusting the certificates of this file alone.
    pub fn connect_tls(address: SocketAddr, trusted: &Path) -> io::Result<Self> {
        let config = super::client::trusting(trusted, &["h2", "http/1.1"]);
        Self::over(async move {
            let tcp = tokio::net::TcpStream::connect(address).await?;
            let name = "localhost".try_into().expect("a DNS name");
            let stream = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await?;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            Ok(stream)
        })
    }

    fn over<S>(connecting: impl Future<Output = io::Result<S>>) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let driven = Builder::new_current_thread().enable_all().build()?;
        let runtime = driven.handle().clone();
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || driven.block_on(stopped));
        let requests = bounded(&runtime, async {
            let (requests, connection) = h2::client::handshake(connecting.await?).await.map_err(failed)?;
            // Its error is every stream's error as well.
            tokio::spawn(async { drop(connection.await) });
            Ok(requests)
        })?;
        Ok(Self { runtime, _stop: stop, requests })
    }

    /// Begins a request; `end` when nothing follows its head.
    pub fn begin(&self, ask: &Ask, end: bool) -> io::Result<Stream<'_>> {
        let authority =
            ask.headers.iter().find(|(name, _)| name == "host").map_or(&b""[..], |(_, value)| value);
        let uri = format!("http://{}{}", String::from_utf8_lossy(authority), ask.target);
        let mut request =
            http::Request::builder().method(ask.method.as_str()).uri(uri).version(http::Version::HTTP_2);
        for (name, value) in ask.headers.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value.as_slice());
        }
        let request = request.body(()).map_err(io::Error::other)?;
        let (answer, sending) = bounded(&self.runtime, async {
            let mut requests = self.requests.clone().ready().await.map_err(failed)?;
            let begun = requests.send_request(request, end).map_err(failed)?;
            leave().await;
            Ok(begun)
        })?;
        Ok(Stream { client: self, sending, answer: Some(answer), arrived: None, receiving: None })
    }

    /// Sends a request and reads its answer.
    pub fn exchange(&self, ask: &Ask) -> io::Result<Answer> {
        let mut stream = self.begin(ask, ask.body.is_none())?;
        if let Some(body) = &ask.body {
            stream.send(body, true)?;
        }
        let (status, head) = stream.head()?;
        let mut body = Vec::new();
        while let Some(piece) = stream.piece()? {
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status, head, body, interim: Vec::new() })
    }
}

impl Stream<'_> {
    /// Sends a piece of the body as the peer's window lets it; `end` with the last one. A peer that has answered and
    /// wants no more of the body is no error.
    pub fn send(&mut self, mut data: &[u8], end: bool) -> io::Result<()> {
        let Self { client, sending, .. } = self;
        bounded(&client.runtime, async {
            if data.is_empty() && !taken(sending.send_data(Bytes::new(), end))? {
                return Ok(());
            }
            while !data.is_empty() {
                sending.reserve_capacity(data.len());
                let granted = match std::future::poll_fn(|context| sending.poll_capacity(context)).await {
                    Some(Ok(granted)) => granted,
                    Some(Err(error)) if error.reason() != Some(Reason::NO_ERROR) => {
                        return Err(failed(error));
                    }
                    Some(Err(_)) | None => return Ok(()),
                };
                let (now, later) = data.split_at(granted.min(data.len()));
                if !taken(sending.send_data(Bytes::copy_from_slice(now), end && later.is_empty()))? {
                    return Ok(());
                }
                data = later;
            }
            leave().await;
            Ok(())
        })
    }

    /// Gives the request up with `RST_STREAM`.
    pub fn reset(mut self) {
        self.sending.send_reset(Reason::CANCEL);
        self.client.runtime.block_on(leave());
    }

    /// Whether the answer's head, or the stream's end, arrives within this time.
    pub fn is_answered_within(&mut self, time: std::time::Duration) -> io::Result<bool> {
        let answer = self.answer.as_mut().expect("the head is read once");
        let arrived = self.client.runtime.block_on(async { tokio::time::timeout(time, answer).await });
        let Ok(arrived) = arrived else { return Ok(false) };
        self.arrived = Some(arrived.map_err(failed)?);
        Ok(true)
    }

    /// Status and head of the answer.
    pub fn head(&mut self) -> io::Result<(u16, Head)> {
        let answer = self.answer.take().expect("the head is read once");
        let (parts, body) = match self.arrived.take() {
            Some(arrived) => arrived.into_parts(),
            None => bounded(&self.client.runtime, async { answer.await.map_err(failed) })?.into_parts(),
        };
        self.receiving = Some(body);
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.as_str().to_owned(), value.as_bytes().to_vec())
        };
        let fields = parts.headers.iter().map(field).collect();
        Ok((parts.status.as_u16(), Head { fields, ..Head::default() }))
    }

    /// The next bytes of the body as soon as there are any; `None` at its proper end; an error when it is cut short.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let receiving = self.receiving.as_mut().expect("the head is read first");
        bounded(&self.client.runtime, async {
            let Some(piece) = receiving.data().await.transpose().map_err(failed)? else { return Ok(None) };
            receiving.flow_control().release_capacity(piece.len()).map_err(failed)?;
            Ok(Some(piece.to_vec()))
        })
    }
}

/// Whether data still goes to the peer: on a stream that it has ended h2 takes none, and tells that only by its text.
fn taken(sent: Result<(), h2::Error>) -> io::Result<bool> {
    match sent {
        Ok(()) => Ok(true),
        Err(error) if error.to_string().contains("inactive stream") => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// Lets the connection's task write what is queued.
async fn leave() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

fn bounded<T>(runtime: &Handle, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await? })
}
