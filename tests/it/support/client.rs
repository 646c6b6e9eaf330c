//! A client that sends exactly the bytes it is given over HTTP/1.1 and reads strictly what comes back.

use std::{
    fmt,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    PATIENCE, h2c,
    wire::{Framing, Head},
};

/// A request for either protocol.
#[derive(Clone)]
pub struct Ask {
    /// `GET`
    pub method: String,
    /// The request target: `/path?query`, sent as it is.
    pub target: String,
    /// Sent in this order, as they are. `host` is sent as `:authority` over HTTP/2.
    pub headers: Vec<(String, Vec<u8>)>,
    /// `None` sends no framing field; over HTTP/1.1 a body is sent with `content-length`.
    pub body: Option<Vec<u8>>,
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.target)?;
        for (name, value) in &self.headers {
            write!(f, " | {name}: {}", value.escape_ascii())?;
        }
        self.body.as_ref().map_or(Ok(()), |body| write!(f, " | {} bytes", body.len()))
    }
}

impl Ask {
    /// A request to `localhost` without a body.
    pub fn new(method: &str, target: &str) -> Self {
        let headers = vec![("host".to_owned(), b"localhost".to_vec())];
        Self { method: method.to_owned(), target: target.to_owned(), headers, body: None }
    }

    /// One header more. `host` replaces the one that is there.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if name == "host" {
            self.headers.retain(|(n, _)| n != "host");
        }
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The request as HTTP/1.1 writes it.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// An answer, whichever protocol brought it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 200
    pub status: u16,
    /// Fields in wire order; `start` and `raw` are empty over HTTP/2.
    pub head: Head,
    /// Without its framing.
    pub body: Vec<u8>,
    /// Statuses of the interim answers before it.
    pub interim: Vec<u16>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("body is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("body is JSON")
    }
}

/// Which protocol a request takes; most rules hold for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// HTTP/1.1
    Http1,
    /// HTTP/2 without TLS, with prior knowledge.
    H2c,
}

impl Via {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http1, Self::H2c];

    /// One request on a connection of its own; an answer that is cut short is an error.
    pub fn exchange(self, address: SocketAddr, ask: &Ask) -> io::Result<Answer> {
        match self {
            Self::Http1 => Client::connect(address)?.exchange(ask),
            Self::H2c => h2c::Client::connect(address)?.exchange(ask),
        }
    }
}

trait Stream: Read + Write + Send {
    fn end_writing(&self) -> io::Result<()>;
    fn wait_at_most(&self, time: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn end_writing(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

#[cfg(unix)]
impl Stream for std::os::unix::net::UnixStream {
    fn end_writing(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

impl<S: Stream + 'static> Stream for rustls::StreamOwned<rustls::ClientConnection, S> {
    fn end_writing(&self) -> io::Result<()> {
        self.sock.end_writing()
    }

    fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.sock.wait_at_most(time)
    }
}

/// A TLS client that trusts the certificates of this file alone and offers these protocols.
pub fn trusting(file: &std::path::Path, protocols: &[&str]) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).expect("the file is PEM") {
        roots.add(certificate.expect("a certificate")).expect("it can be trusted");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the suites")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// One connection.
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
    body: Framing,
}

impl Client {
    /// Over TCP.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(Box::new(stream)), body: Framing::Done })
    }

    /// Over TLS, for `localhost`, with HTTP/1.1 by ALPN; trusting the certificates of this file alone.
    pub fn connect_tls(address: SocketAddr, trusted: &std::path::Path) -> io::Result<Self> {
        let tcp = TcpStream::connect(address)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let name = "localhost".try_into().expect("a DNS name");
        let session = rustls::ClientConnection::new(trusting(trusted, &["http/1.1"]), name);
        let mut stream = rustls::StreamOwned::new(session.map_err(io::Error::other)?, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        Ok(Self { stream: BufReader::new(Box::new(stream)), body: Framing::Done })
    }

    /// Over a Unix socket.
    #[cfg(unix)]
    pub fn connect_unix(path: &std::path::Path) -> io::Result<Self> {
        let stream = std::os::unix::net::UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(Box::new(stream)), body: Framing::Done })
    }

    /// Sends these bytes and nothing else.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Whether an answer, or the connection's end, begins to arrive within this time.
    pub fn is_answered_within(&mut self, time: Duration) -> io::Result<bool> {
        self.stream.get_ref().wait_at_most(time)?;
        let found = self.stream.fill_buf().map(|_| true);
        self.stream.get_ref().wait_at_most(PATIENCE)?;
        match found {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Ok(false)
            }
            found => found,
        }
    }

    /// Says that nothing more will be sent, and stays to read.
    pub fn end_writing(&mut self) -> io::Result<()> {
        self.stream.get_ref().end_writing()
    }

    /// Status and head of the next answer, interim ones (1xx) too. What is left of the last body is skipped. `method` is
    /// the request's: an answer to HEAD has no body.
    pub fn head(&mut self, method: &str) -> io::Result<(u16, Head)> {
        while self.piece()?.is_some() {}
        let head = Head::read(&mut self.stream)?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "connection ended before the answer")
        })?;
        let code = head.start.strip_prefix(b"HTTP/1.1 ").or_else(|| head.start.strip_prefix(b"HTTP/1.0 "));
        let code = code.and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse::<u16>().ok());
        let status = code.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("status line: {}", head.start.escape_ascii()))
        })?;
        self.body = match status {
            100..200 | 204 | 304 => Framing::Done,
            _ if method == "HEAD" => Framing::Done,
            _ => head.framing(Framing::ToEnd)?,
        };
        Ok((status, head))
    }

    /// The next bytes of the body as soon as there are any; `None` at its proper end; an error when it is cut short.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.body.piece(&mut self.stream, &mut Vec::new())
    }

    /// The whole next answer.
    pub fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let (status, head) = self.head(method)?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let mut body = Vec::new();
            while let Some(piece) = self.piece()? {
                body.extend_from_slice(&piece);
            }
            return Ok(Answer { status, head, body, interim });
        }
    }

    /// Sends a request and reads its answer.
    pub fn exchange(&mut self, ask: &Ask) -> io::Result<Answer> {
        self.send(&ask.bytes())?;
        self.answer(&ask.method)
    }

    /// Everything until the other side closes.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }
}
