//! The client's side of an HTTP/1.1 connection, watched: hyper neither bounds the time of a request's head as we want
//! it, nor lets anybody word the answers that it gives before a request exists.
//!
//! A connection is in one of these phases:
//!
//! ```text
//! Idle   nothing of a request has come; ends after IDLE
//! Head   a request's head is coming; answered with 408 after limits.header_timeout
//! Busy   the chain has the request
//! Tail   its answer's last bytes are still to be written
//! ```
//!
//! What hyper writes in Idle or Head is an answer of its own to something that is no request (400, 431): its body is
//! replaced by the proxy's, with a code, so that nobody takes it for the gateway's.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::listen::Conn;
use crate::{
    coarse::Deadline,
    proxy::{Code, Refusal},
    telemetry::metrics,
};

/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(300);

/// How long a client may take to see that its body is no longer read.
const LINGER: Duration = Duration::from_secs(5);

/// How long an HTTP/2 preface can be.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Head,
    Busy,
    Tail,
}

/// Shared by the connection and the service that answers its requests.
pub(super) struct Watch {
    phase: Cell<Phase>,
    /// Whether a `#` came in a request line.
    fragment: Cell<bool>,
    /// Whether the last request, or what came in place of one, was refused while more of it was still coming.
    unread: Cell<bool>,
}

impl Watch {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self { phase: Cell::new(Phase::Idle), fragment: Cell::new(false), unread: Cell::new(false) })
    }

    /// The chain has a request. Says whether its target had a fragment, which hyper drops unseen.
    pub(super) fn begin(&self) -> bool {
        self.phase.set(Phase::Busy);
        self.unread.set(false);
        self.fragment.replace(false)
    }

    /// The request is refused, and some of it may not have been read.
    pub(super) fn leave_unread(&self) {
        self.unread.set(true);
    }

    /// The answer has been handed over to hyper whole, or was given up.
    pub(super) fn end(&self) {
        self.phase.set(Phase::Tail);
    }
}

/// A client's connection, with the bytes that were read to tell its protocol put back before it.
pub(super) struct Wire {
    conn: Conn,
    /// What was read ahead, and how much of it has been given out.
    ahead: ([u8; 24], usize, usize),
    watch: Rc<Watch>,
    header_timeout: Duration,
    deadline: Option<Deadline>,
    /// Whether the line that is coming is a request's first.
    in_first_line: bool,
    own: Option<Own>,
    /// Set once only the client's side is open.
    lingering: Option<Deadline>,
}

/// An answer of ours that is being written.
struct Own {
    bytes: Vec<u8>,
    written: usize,
    /// What hyper is told that it has written, once ours is out; `None` for a 408, which hyper knows nothing of.
    claimed: Option<usize>,
}

impl Wire {
    pub(super) fn new(
        conn: Conn,
        ahead: ([u8; 24], usize),
        watch: &Rc<Watch>,
        header_timeout: Duration,
    ) -> Self {
        let (bytes, length) = ahead;
        let watch = Rc::clone(watch);
        let ahead = (bytes, 0, length);
        Self {
            conn,
            ahead,
            watch,
            header_timeout,
            deadline: None,
            in_first_line: false,
            own: None,
            lingering: None,
        }
    }

    fn read_ahead(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let (bytes, given, length) = &mut self.ahead;
        if given == length {
            return false;
        }
        let count = buf.remaining().min(*length - *given);
        buf.put_slice(&bytes[*given..*given + count]);
        *given += count;
        true
    }

    /// Moves on to the phase that these bytes mean.
    fn saw(&mut self, bytes: &[u8]) {
        let phase = self.watch.phase.get();
        if !bytes.is_empty() && phase == Phase::Idle {
            self.watch.phase.set(Phase::Head);
            self.deadline = Some(Deadline::after(self.header_timeout));
            self.in_first_line = true;
        }
        if self.in_first_line {
            let end = memchr::memchr(b'\n', bytes);
            // Empty lines before a request are allowed (RFC 9112 section 2.2).
            self.in_first_line = end.is_none_or(|end| bytes[..end].trim_ascii().is_empty());
            if memchr::memchr(b'#', &bytes[..end.unwrap_or(bytes.len())]).is_some() {
                self.watch.fragment.set(true);
            }
        }
    }

    /// Whether the time for the phase is up. Polled only while nothing comes.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = match self.watch.phase.get() {
            Phase::Idle => IDLE,
            Phase::Head => self.header_timeout,
            Phase::Busy | Phase::Tail => {
                self.deadline = None;
                return false;
            }
        };
        let deadline = self.deadline.get_or_insert_with(|| Deadline::after(limit));
        Pin::new(deadline).poll(cx).is_ready()
    }

    /// Writes what is left of an answer of ours.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let Some(own) = &mut self.own else { return Poll::Ready(Ok(None)) };
        while own.written < own.bytes.len() {
            let count = ready!(Pin::new(&mut self.conn).poll_write(cx, &own.bytes[own.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            own.written += count;
        }
        let claimed = own.claimed;
        self.own = None;
        Poll::Ready(Ok(claimed))
    }

    /// Takes note of what hyper is about to write; an answer of its own is replaced.
    fn before_write(&mut self, first: &[u8], length: usize) {
        let status = match self.watch.phase.get() {
            Phase::Idle | Phase::Head => first.get(9..12),
            Phase::Busy | Phase::Tail => None,
        };
        if let (None, Some(status)) = (&self.own, status) {
            self.own = Some(Own { bytes: own_answer(status), written: 0, claimed: Some(length) });
            // hyper stops at the first mistake; the rest of a large head may still be coming.
            self.watch.leave_unread();
        }
    }
}

/// The answer to what is no request, which is logged. It is the connection's last.
fn own_answer(status: &[u8]) -> Vec<u8> {
    let refusal: Refusal = match status {
        b"408" => Code::HeaderTimeout.into(),
        b"431" | b"414" => Code::HeadersTooLarge.into(),
        _ => Refusal::because(Code::BadRequest, "What came is not a valid HTTP/1.1 request.").with_hint(
            "Check the request line, the header lines and the framing. TLS is not spoken here: use http://.",
        ),
    };
    let (code, status, body) = (refusal.code.as_str(), refusal.code.status(), refusal.body(""));
    metrics::refused(refusal.code as usize);
    // There is no request whose line could tell it. Nothing of what came is logged: it may be anything.
    tracing::info!(
        target: "countersign::server", code, status = status.as_u16(), "answered what is no request"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncache-control: no-store\r\nx-countersign-error: \
         {code}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.read_ahead(buf) {
            // With what followed it: after a first read of a few bytes hyper would double its buffer, for good. An
            // end or an error is met again with the next read.
            let _ = Pin::new(&mut this.conn).poll_read(cx, buf);
            this.saw(&buf.filled()[before..]);
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.conn).poll_read(cx, buf) {
            Poll::Ready(done) => {
                this.saw(&buf.filled()[before..]);
                Poll::Ready(done)
            }
            Poll::Pending => {
                if this.own.is_none() && !this.is_late(cx) {
                    return Poll::Pending;
                }
                if this.watch.phase.get() == Phase::Head && this.own.is_none() {
                    this.own = Some(Own { bytes: own_answer(b"408"), written: 0, claimed: None });
                }
                ready!(this.poll_own(cx))?;
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.before_write(buf, buf.len());
        if let Some(claimed) = ready!(this.poll_own(cx))? {
            return Poll::Ready(Ok(claimed));
        }
        Pin::new(&mut this.conn).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
        this.before_write(first, bufs.iter().map(|buf| buf.len()).sum());
        if let Some(claimed) = ready!(this.poll_own(cx))? {
            return Poll::Ready(Ok(claimed));
        }
        Pin::new(&mut this.conn).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.conn.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_own(cx))?;
        // hyper flushes once its own buffer is empty: the answer is out, and what follows is another one.
        if this.watch.phase.get() == Phase::Tail {
            this.watch.phase.set(Phase::Idle);
            this.deadline = None;
        }
        Pin::new(&mut this.conn).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.conn).poll_shutdown(cx))?;
            if !this.watch.unread.get() {
                return Poll::Ready(Ok(()));
            }
        }
        // A socket that is closed with bytes unread resets the connection, and the client, still sending, may never
        // see the answer. So what it sends is thrown away until it has seen.
        let deadline = this.lingering.get_or_insert_with(|| Deadline::after(LINGER));
        let mut waste = [0; 16 << 10];
        loop {
            if Pin::new(&mut *deadline).poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut waste);
            if ready!(Pin::new(&mut this.conn).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
