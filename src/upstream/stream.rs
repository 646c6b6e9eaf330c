//! A connection to a stage: TLS, or plain to an emulator on this machine. It notes what passes, because hyper tells
//! neither when a request's last byte was written nor whether an answer had begun.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

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
    /// Whether a byte came since the last request began.
    answered: Cell<bool>,
}

impl Traffic {
    /// A request begins. Says when.
    pub(super) fn begin(&self) -> Instant {
        let now = Instant::now();
        self.written.set(now);
        self.answered.set(false);
        now
    }

    /// When the last bytes so far were written, or the request began.
    pub(super) const fn last_written(&self) -> Instant {
        self.written.get()
    }

    /// Whether any byte of an answer came.
    pub(super) const fn is_answered(&self) -> bool {
        self.answered.get()
    }
}

/// A connection with its notes.
pub(super) struct Stream {
    kind: Kind,
    traffic: Rc<Traffic>,
}

/// Plain or TLS, as one type without a virtual call.
enum Kind {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self::new(Kind::Plain(stream))
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self::new(Kind::Tls(Box::new(stream)))
    }

    fn new(kind: Kind) -> Self {
        let traffic = Traffic { written: Cell::new(Instant::now()), answered: Cell::new(false) };
        Self { kind, traffic: Rc::new(traffic) }
    }

    pub(super) fn traffic(&self) -> Rc<Traffic> {
        Rc::clone(&self.traffic)
    }

    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.traffic.written.set(Instant::now());
        }
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
        if buf.filled().len() > before {
            self.traffic.answered.set(true);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = each!(self, stream => stream.poll_write(cx, buf));
        self.note_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = each!(self, stream => stream.poll_write_vectored(cx, bufs));
        self.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Plain(stream) => stream.is_write_vectored(),
            Kind::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}
