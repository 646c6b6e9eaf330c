//! Addresses become listening sockets, and connections one type: TCP, Unix, or from within this process.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_rustls::server::TlsStream;

use super::socket_file::{self, SocketFile};
use crate::{config::Listen, proxy::Inside};

/// Connections that wait to be accepted.
pub(super) const BACKLOG: i32 = 4096;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// As it was written.
    pub address: String,
    /// What the system said.
    pub source: io::Error,
}

/// An address that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// With the port that was free, where 0 was asked for.
    Tcp(SocketAddr),
    /// The same, with TLS.
    Tls(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

impl Bound {
    /// Without the scheme: what a program that waits for the proxy looks for.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(address) | Self::Tls(address) => address.to_string(),
            Self::Unix(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Tls(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A listening socket that no runtime has taken yet.
pub(super) enum Listener {
    Tcp(std::net::TcpListener, SocketAddr),
    /// The file is dropped first: while its socket is open, no other file takes its number. Without one it is for who
    /// made the socket to remove.
    Unix(PathBuf, Option<SocketFile>, StdUnixListener),
}

impl Listener {
    /// `unix_mode` is the mode of a Unix socket's file.
    pub(super) fn bind(address: &Listen, unix_mode: u32) -> Result<Self, BindError> {
        match address {
            Listen::Tcp(address) => {
                let failed = |source| BindError { address: address.to_string(), source };
                let listener = bind_tcp(*address).map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                Ok(Self::Tcp(listener, bound))
            }
            Listen::Unix(path) => {
                let failed = |source| BindError { address: format!("unix:{}", path.display()), source };
                let (file, listener) = socket_file::bind(path, unix_mode).map_err(failed)?;
                Ok(Self::Unix(file.path().to_owned(), Some(file), listener))
            }
        }
    }

    pub(super) fn bound(&self, tls: bool) -> Bound {
        match self {
            Self::Tcp(_, address) if tls => Bound::Tls(*address),
            Self::Tcp(_, address) => Bound::Tcp(*address),
            Self::Unix(path, ..) => Bound::Unix(path.clone()),
        }
    }

    /// Hands the socket to the runtime of this thread.
    pub(super) fn into_async(self) -> io::Result<AsyncListener> {
        Ok(match self {
            Self::Tcp(listener, _) => AsyncListener::Tcp(TcpListener::from_std(listener)?),
            Self::Unix(_, file, listener) => AsyncListener::Unix(file, UnixListener::from_std(listener)?),
        })
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // "[::]" means IPv6 here; who wants both families lists both.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A listening socket in a runtime.
pub(super) enum AsyncListener {
    Tcp(TcpListener),
    /// The file goes when the listener does, and before it.
    Unix(#[expect(dead_code, reason = "held for its drop")] Option<SocketFile>, UnixListener),
}

impl AsyncListener {
    pub(super) async fn accept(&self) -> io::Result<Conn> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are written whole; waiting to fill packets would only delay them.
                stream.set_nodelay(true)?;
                Ok(Conn::Tcp(stream))
            }
            Self::Unix(_, listener) => Ok(Conn::Unix(listener.accept().await?.0)),
        }
    }
}

/// A connection from a client.
pub(super) enum Conn {
    Tcp(TcpStream),
    /// Boxed, so that plain connections do not carry its room.
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
    /// From this process itself.
    Inside(DuplexStream, Arc<Inside>),
}

/// The same on its way from one runtime to another.
pub(super) enum Detached {
    Tcp(std::net::TcpStream),
    Unix(StdUnixStream),
}

impl Conn {
    /// The address of this machine that the client connected to.
    pub(super) fn local(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().map(|address| address.ip()),
            Self::Tls(stream) => stream.get_ref().0.local_addr().ok().map(|address| address.ip()),
            Self::Unix(_) => None,
            Self::Inside(..) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        }
    }

    /// What is known of a connection from this process itself.
    pub(super) fn inside(&self) -> Option<Arc<Inside>> {
        match self {
            Self::Inside(_, inside) => Some(Arc::clone(inside)),
            Self::Tcp(_) | Self::Tls(_) | Self::Unix(_) => None,
        }
    }

    /// The user at the other end of a Unix socket (`SO_PEERCRED`): who it was when it connected.
    pub(super) fn uid(&self) -> Option<u32> {
        match self {
            Self::Tcp(_) | Self::Tls(_) | Self::Inside(..) => None,
            Self::Unix(stream) => stream.peer_cred().ok().map(|peer| peer.uid()),
        }
    }

    pub(super) const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether ALPN chose HTTP/2 (RFC 7301); `None` when it chose nothing.
    pub(super) fn speaks_http2(&self) -> Option<bool> {
        match self {
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol().map(|protocol| protocol == b"h2"),
            Self::Tcp(_) | Self::Unix(_) | Self::Inside(..) => None,
        }
    }

    /// Before the handshake, if there is one.
    pub(super) fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Self::Tcp(stream) => Detached::Tcp(stream.into_std()?),
            Self::Tls(stream) => Detached::Tcp(stream.into_inner().0.into_std()?),
            Self::Unix(stream) => Detached::Unix(stream.into_std()?),
            // It is handed to its worker as it is.
            Self::Inside(..) => return Err(io::ErrorKind::Unsupported.into()),
        })
    }

    pub(super) fn attach(socket: Detached) -> io::Result<Self> {
        Ok(match socket {
            Detached::Tcp(stream) => Self::Tcp(TcpStream::from_std(stream)?),
            Detached::Unix(stream) => Self::Unix(UnixStream::from_std(stream)?),
        })
    }
}

impl AsyncRead for Conn {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Inside(stream, _) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Inside(stream, _) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Inside(stream, _) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Inside(stream, _) => Pin::new(stream).poll_flush(cx),
            // Sockets hold nothing back.
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Inside(stream, _) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
