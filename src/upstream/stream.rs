//! A connection to a stage: TLS, or plain to an emulator on this machine. It notes what passes, because hyper tells
//! neither when a request's last byte was written, nor whether any was, nor whether an answer had begun.

use std::{
    cell::Cell,
    io,
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// What has passed on a connection.
#[derive(Debug)]
pub(super) struct Traffic {
    /// When the connection last took bytes.
    written: Cell<Instant>,
    /// Whether it took any since the last request began.
    begun: Cell<bool>,
    /// Whether a byte came since the last request began.
    answered: Cell<bool>,
    /// Whether to look, before the next byte is written, if the stage has closed its end.
    doubted: Cell<bool>,
    /// Whether something was written and has not left yet. hyper does not tell: it takes for sent what TLS has taken.
    unsent: Cell<bool>,
}

impl Traffic {
    fn new() -> Rc<Self> {
        Rc::new(Self {
            written: Cell::new(Instant::now()),
            begun: Cell::new(false),
            answered: Cell::new(false),
            doubted: Cell::new(false),
            unsent: Cell::new(false),
        })
    }

    /// A request begins. On a `doubted` connection it fails, unsent, if the stage has ended the connection and nobody
    /// has seen that yet.
    pub(super) fn begin(&self, now: Instant, doubted: bool) {
        self.written.set(now);
        self.begun.set(false);
        self.answered.set(false);
        self.doubted.set(doubted);
    }

    /// When the last bytes so far were written, or the request began.
    pub(super) const fn last_written(&self) -> Instant {
        self.written.get()
    }

    /// Whether any byte of the request left. Without one the stage cannot have acted.
    pub(super) const fn is_begun(&self) -> bool {
        self.begun.get()
    }

    /// Whether some of what was written is still here. A stage that has answered then did not read it first, and what
    /// is written next would wait behind it.
    pub(super) const fn is_unsent(&self) -> bool {
        self.unsent.get()
    }

    /// Whether any byte of an answer came.
    pub(super) const fn is_answered(&self) -> bool {
        self.answered.get()
    }
}

/// The TCP connection itself.
pub(super) struct Wire {
    tcp: TcpStream,
    traffic: Rc<Traffic>,
    /// The stage takes nothing more.
    closed: bool,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, traffic: Traffic::new(), closed: false }
    }

    /// Writes what has `length` bytes by `write`.
    ///
    /// A stage may answer before it has read the request, and close: further writes fail, with the answer waiting to be
    /// read. hyper would give up at the failed write, so from then on bytes are dropped and reading decides: it finds
    /// the answer, or the connection's end.
    fn write(
        &mut self,
        length: usize,
        write: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.traffic.doubted.take() && !is_quiet(&self.tcp) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.closed {
            return Poll::Ready(Ok(length));
        }
        match ready!(write(Pin::new(&mut self.tcp))) {
            Ok(written) => {
                if written > 0 {
                    self.traffic.written.set(Instant::now());
                    self.traffic.begun.set(true);
                }
                Poll::Ready(Ok(written))
            }
            Err(error)
                if self.traffic.is_begun()
                    && matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                self.closed = true;
                Poll::Ready(Ok(length))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// Whether a connection that waits for a request is as it should be: open, with nothing to read. tokio knows of an end
/// only since it last asked for events, so this asks the kernel.
fn is_quiet(tcp: &TcpStream) -> bool {
    let peeked = SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write(buf.len(), |tcp| tcp.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        self.write(length, |tcp| tcp.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// A connection with its notes.
pub(super) struct Stream {
    kind: Kind,
    traffic: Rc<Traffic>,
}

/// Plain or TLS, as one type without a virtual call.
enum Kind {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

impl Stream {
    pub(super) fn plain(wire: Wire) -> Self {
        let traffic = Rc::clone(&wire.traffic);
        Self { kind: Kind::Plain(wire), traffic }
    }

    pub(super) fn tls(stream: TlsStream<Wire>) -> Self {
        let traffic = Rc::clone(&stream.get_ref().0.traffic);
        Self { kind: Kind::Tls(Box::new(stream)), traffic }
    }

    /// The handshake's outcome; none without TLS.
    pub(super) fn session(&self) -> Option<&rustls::ClientConnection> {
        match &self.kind {
            Kind::Plain(_) => None,
            Kind::Tls(stream) => Some(stream.get_ref().1),
        }
    }

    pub(super) fn traffic(&self) -> Rc<Traffic> {
        Rc::clone(&self.traffic)
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.kind {
            Kind::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Kind::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = each!(self, stream => stream.poll_read(cx, buf));
        // Here and not on the wire, where TLS's tickets and farewells pass as well.
        if buf.filled().len() > before {
            self.traffic.answered.set(true);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.traffic.unsent.set(true);
        each!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.traffic.unsent.set(true);
        each!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Plain(stream) => stream.is_write_vectored(),
            Kind::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = each!(self, stream => stream.poll_flush(cx));
        self.traffic.unsent.set(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::{Stream, Wire};
    use std::{
        future::poll_fn,
        io::{self, Read as _, Write as _},
        net::{Shutdown, TcpListener, TcpStream},
        pin::Pin,
        task::Poll,
        time::Instant,
    };
    use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

    /// A connection from both ends, before anything passed.
    fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        ours.set_nonblocking(true).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        (Stream::plain(Wire::new(tokio::net::TcpStream::from_std(ours).unwrap())), theirs)
    }

    fn run<F: Future>(future: impl FnOnce() -> F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { future().await })
    }

    /// Writes without letting the runtime look for events before.
    async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await
    }

    #[test]
    fn an_end_that_nobody_has_seen_yet_is_found_before_a_byte_is_written() {
        run(async || {
            let (mut stream, mut theirs) = pair();
            theirs.shutdown(Shutdown::Write).unwrap();
            stream.traffic().begin(Instant::now(), true);
            assert_eq!(write(&mut stream, b"x").await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
            assert!(!stream.traffic().is_begun());
            drop(stream);
            assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0, "nothing was sent");

            // An open one is written to, and asked about once.
            let (mut stream, mut theirs) = pair();
            stream.traffic().begin(Instant::now(), true);
            assert_eq!(write(&mut stream, b"x").await.unwrap(), 1);
            theirs.shutdown(Shutdown::Write).unwrap();
            assert_eq!(write(&mut stream, b"y").await.unwrap(), 1);
            theirs.read_exact(&mut [0; 2]).unwrap();
        });
    }

    #[test]
    fn a_reset_before_the_first_byte_leaves_the_request_unsent() {
        run(async || {
            let (mut stream, theirs) = pair();
            socket2::SockRef::from(&theirs).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(theirs);
            stream.traffic().begin(Instant::now(), false);
            let error = write(&mut stream, b"x").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            assert!(!stream.traffic().is_begun());
        });
    }

    #[test]
    fn what_a_stage_said_before_it_closed_is_read_although_writing_failed() {
        run(async || {
            let (mut stream, mut theirs) = pair();
            stream.traffic().begin(Instant::now(), false);
            assert_eq!(write(&mut stream, b"x").await.unwrap(), 1);
            theirs.write_all(b"enough").unwrap();
            // It closes with a byte unread, which resets the connection.
            drop(theirs);
            let large = vec![0; 1 << 20];
            for _ in 0..3 {
                assert!(write(&mut stream, &large).await.unwrap() > 0);
            }
            let mut said = [0; 6];
            stream.read_exact(&mut said).await.unwrap();
            assert_eq!(&said, b"enough");
            let end = poll_fn(|cx| {
                let mut one = [0; 1];
                let mut one = tokio::io::ReadBuf::new(&mut one);
                let read = tokio::io::AsyncRead::poll_read(Pin::new(&mut stream), cx, &mut one);
                read.map(|read| (read.is_err(), one.filled().is_empty()))
            });
            assert!(matches!(Poll::Ready(end.await), Poll::Ready((true, _) | (false, true))));
        });
    }
}
