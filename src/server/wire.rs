//! The client's side of an HTTP/1.1 connection, watched: hyper neither bounds the time of a request's head as we want
//! it, nor lets anybody word the answers that it gives before a request exists.
//!
//! A connection is in one of these phases:
//!
//! ```text
//! Idle   nothing of a request has come; ends after limits.idle_timeout
//! Head   a request's head is coming; answered with 408 after limits.header_timeout
//! Busy   the chain has the request
//! Tail   its answer's last bytes are still to be written
//! ```
//!
//! What a client sends behind a request (pipelining) is held by hyper. Where that is the start of a head, the next phase
//! is Head and not Idle; whether it is, the last bytes that came tell, and the length of the body.
//!
//! What hyper writes in Idle or Head is an answer of its own to something that is no request (400, 431): its body is
//! replaced by the proxy's, with a code, so that nobody takes it for the gateway's.
//!
//! A client that sends without a pause has its turn with the others: after [`TURN`] bytes they go first. Otherwise one
//! that sends nothing but PING, thousands to a read, would have its worker to itself. Over HTTP/2 a turn is short
//! ([`HTTP2_TURN`]): h2 counts the small DATA frames that nobody has taken yet and ends a connection with many, so who
//! takes them has to come between.
//!
//! In any phase, and for HTTP/2 too, a client that reads nothing of what is there for it for limits.write_timeout loses
//! the connection.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    listen::Conn,
    phase::{Phase, Watch},
};
use crate::{
    coarse::Deadline,
    proxy::{Code, Refusal},
    telemetry::{ConnectionEnd, metrics},
};

/// How long a client may take to see that its body is no longer read.
pub(super) const LINGER: Duration = Duration::from_secs(5);

/// Bytes that a client may send in one go while others wait.
const TURN: usize = 128 << 10;

/// The same over HTTP/2: four hundred of the smallest DATA frames, which cost the most by h2's count.
const HTTP2_TURN: usize = 4 << 10;

/// How long an HTTP/2 preface can be.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client's connection, with the bytes that were read to tell its protocol put back before it.
pub(super) struct Wire {
    conn: Conn,
    /// What was read ahead, and how much of it has been given out.
    ahead: ([u8; 24], usize, usize),
    watch: Rc<Watch>,
    deadline: Option<Deadline>,
    /// Bytes that have come since it last had to wait.
    turn: usize,
    /// Runs while the client takes nothing.
    stalled: Option<Deadline>,
    /// Whether the line that is coming is a request's first.
    in_first_line: bool,
    /// The last bytes that came.
    last: [u8; 3],
    /// How many have come after the last head; `None` where that is not known: hyper had that head already.
    after_head: Option<u64>,
    /// Whether the request line that comes next may have begun with the last request's bytes.
    unsure: bool,
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
    pub(super) fn new(conn: Conn, ahead: ([u8; 24], usize), watch: &Rc<Watch>) -> Self {
        let (bytes, length) = ahead;
        let watch = Rc::clone(watch);
        let ahead = (bytes, 0, length);
        Self {
            conn,
            ahead,
            watch,
            deadline: None,
            turn: 0,
            stalled: None,
            in_first_line: false,
            last: [0; 3],
            after_head: None,
            unsure: false,
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
        if bytes.is_empty() {
            return;
        }
        match self.watch.phase.get() {
            Phase::Idle => {
                self.watch.phase.set(Phase::Head);
                // Begins once more of it has to be waited for; most heads come whole.
                self.deadline = None;
                self.in_first_line = !std::mem::take(&mut self.unsure);
                self.after_head = None;
                self.saw_head(bytes);
            }
            Phase::Head => self.saw_head(bytes),
            Phase::Busy | Phase::Tail => {
                self.after_head = self.after_head.map(|count| count + bytes.len() as u64);
            }
        }
        let kept = bytes.len().min(3);
        self.last.rotate_left(kept);
        self.last[3 - kept..].copy_from_slice(&bytes[bytes.len() - kept..]);
    }

    fn saw_head(&mut self, bytes: &[u8]) {
        let mut from = 0;
        if self.in_first_line {
            // Empty lines before a request are allowed (RFC 9112 section 2.2).
            from = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            let line = &bytes[from..];
            let end = memchr::memchr(b'\n', line);
            self.in_first_line = end.is_none();
            if memchr::memchr(b'#', &line[..end.unwrap_or(line.len())]).is_some() {
                self.watch.fragment.set(true);
            }
        }
        // Most reads end where a head does, and then nothing has come after it.
        if let Some(count) = &mut self.after_head {
            *count += bytes.len() as u64;
        } else if !bytes.ends_with(b"\n\r\n") {
            let before = |at: usize| if at < 3 { self.last[at] } else { bytes[at - 3] };
            let is_end = |at: &usize| {
                let at = at + 3;
                before(at - 1) == b'\n' || (before(at - 1), before(at - 2)) == (b'\r', b'\n')
            };
            let end = memchr::memchr_iter(b'\n', bytes).filter(|at| *at >= from).find(is_end);
            self.after_head = end.map(|end| (bytes.len() - end - 1) as u64);
        }
    }

    /// The answer is out, and the next request's head comes; some of it may have come already.
    fn next_request(&mut self) {
        let watch = &self.watch;
        // What ends with an empty line is a head, or chunks, to the last byte; or a body that is not followed by more.
        let is_whole = self.last.ends_with(b"\n\r\n") || self.last.ends_with(b"\n\n");
        let has_begun = match (is_whole, watch.body.get(), self.after_head) {
            (true, ..) => Some(false),
            (false, Some(0) | None, _) => Some(true),
            (false, Some(length), Some(count)) if count >= length => {
                // Some clients send an empty line behind a body.
                let more = usize::try_from(count - length).unwrap_or(usize::MAX);
                Some(more > 2 || self.last[3 - more..].iter().any(|byte| !matches!(byte, b'\r' | b'\n')))
            }
            // A body that was not read to its end, or whose head was not seen: it came together with the request before
            // it, and where it ended only hyper knows. Half a head behind such a body counts as nothing until more of it
            // comes; so it is not answered with 408, ends with limits.idle_timeout, and is the first to make room.
            (false, ..) => None,
        };
        self.deadline = None;
        self.after_head = None;
        self.in_first_line = false;
        self.unsure = has_begun.is_none();
        watch.phase.set(if has_begun == Some(true) { Phase::Head } else { Phase::Idle });
        watch.rest();
    }

    /// Whether the time for a head is up. Polled only while nothing comes.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        // Idle connections are ended by their crowd: hyper does not ask again for what it knows is not there yet.
        if self.watch.phase.get() != Phase::Head {
            self.deadline = None;
            return false;
        }
        let crowd = &self.watch.crowd;
        let deadline = self.deadline.get_or_insert_with(|| Deadline::after(crowd.limits().header_timeout));
        let is_late = Pin::new(deadline).poll(cx).is_ready();
        if is_late {
            self.watch.ends_for(ConnectionEnd::HeaderTimeout);
        } else {
            self.watch.waits_in_head(cx.waker());
        }
        is_late
    }

    /// Answers a head that does not come to its end; then an error ends the connection.
    fn poll_give_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.own.is_none() {
            let refusal = if self.watch.gives_way() {
                Refusal::because(Code::HeaderTimeout, "The request was not there yet when another client came and all connections were taken.")
                    .with_hint("Send a request's head in one go. limits.max_connections is how many connections there may be.")
            } else {
                Code::HeaderTimeout.into()
            };
            self.own = Some(Own { bytes: own_answer(refusal), written: 0, claimed: None });
        }
        let written = self.poll_own(cx);
        // Whoever takes nothing keeps nobody out.
        if written.is_ready() || !self.watch.gives_way() {
            ready!(self.unless_stalled(cx, written))?;
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Passes on how a write went; an error once the client has taken nothing for too long.
    fn unless_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let crowd = &self.watch.crowd;
        let deadline = self.stalled.get_or_insert_with(|| Deadline::after(crowd.limits().write_timeout));
        ready!(Pin::new(deadline).poll(cx));
        self.watch.ends_for(ConnectionEnd::WriteStalled);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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
            self.own = Some(Own { bytes: own_answer(refusal(status)), written: 0, claimed: Some(length) });
            self.watch.ends_for(ConnectionEnd::ProtocolError);
            // hyper stops at the first mistake; the rest of a large head may still be coming.
            self.watch.leave_unread();
        }
    }
}

/// What hyper's own answer means.
fn refusal(status: &[u8]) -> Refusal {
    match status {
        b"431" | b"414" => Code::HeadersTooLarge.into(),
        _ => Refusal::because(Code::BadRequest, "What came is not a valid HTTP/1.1 request.").with_hint(
            "Check the request line, the header lines and the framing. TLS is not spoken here: use http://, or set tls.",
        ),
    }
}

/// The answer to what is no request, which is logged. It is the connection's last.
pub(super) fn own_answer(refusal: Refusal) -> Vec<u8> {
    let (code, status, body) = (refusal.code.as_str(), refusal.code.status(), refusal.body(""));
    metrics::refused(refusal.code as usize);
    // There is no request whose line could tell it. Nothing of what came is logged: it may be anything.
    tracing::info!(
        target: "countersign::server", code, status = status.as_u16(), "answered what is no request"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         content-security-policy: {}\r\nx-countersign-error: {code}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        Refusal::NO_PAGE,
        body.len()
    );
    [head.into_bytes(), body].concat()
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Before anything is read: with the rest of its head it would begin a request whose place is promised.
        if this.watch.gives_way() {
            return this.poll_give_up(cx);
        }
        let before = buf.filled().len();
        if this.read_ahead(buf) {
            // With what followed it: after a first read of a few bytes hyper would double its buffer, for good. An
            // end or an error is met again with the next read.
            let _ = Pin::new(&mut this.conn).poll_read(cx, buf);
            this.saw(&buf.filled()[before..]);
            return Poll::Ready(Ok(()));
        }
        let http2 = this.watch.is_http2();
        if this.turn >= if http2 { HTTP2_TURN } else { TURN } {
            this.turn = 0;
            // Wakes this task once all others that are ready have run; there is nothing to keep of it.
            return std::pin::pin!(tokio::task::yield_now()).poll(cx).map(Ok);
        }
        let read = if http2 {
            let most = buf.remaining().min(HTTP2_TURN - this.turn);
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            let read = Pin::new(&mut this.conn).poll_read(cx, &mut part);
            let count = part.filled().len();
            buf.advance(count);
            read
        } else {
            Pin::new(&mut this.conn).poll_read(cx, buf)
        };
        match read {
            Poll::Ready(done) => {
                this.turn += buf.filled().len() - before;
                this.saw(&buf.filled()[before..]);
                Poll::Ready(done)
            }
            Poll::Pending => {
                this.turn = 0;
                if this.own.is_none() && !this.is_late(cx) {
                    return Poll::Pending;
                }
                this.poll_give_up(cx)
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.before_write(buf, buf.len());
        let written = match this.poll_own(cx) {
            Poll::Ready(Ok(None)) => Pin::new(&mut this.conn).poll_write(cx, buf),
            own => own.map_ok(Option::unwrap_or_default),
        };
        this.unless_stalled(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
        this.before_write(first, bufs.iter().map(|buf| buf.len()).sum());
        let written = match this.poll_own(cx) {
            Poll::Ready(Ok(None)) => Pin::new(&mut this.conn).poll_write_vectored(cx, bufs),
            own => own.map_ok(Option::unwrap_or_default),
        };
        this.unless_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.conn.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let written = match this.poll_own(cx) {
            Poll::Ready(Ok(_)) => Pin::new(&mut this.conn).poll_flush(cx),
            own => own.map_ok(|_| ()),
        };
        ready!(this.unless_stalled(cx, written))?;
        // hyper flushes once its own buffer is empty: the answer is out, and what follows is another one.
        if this.watch.phase.get() == Phase::Tail {
            this.next_request();
            // hyper may not read until more comes, so the time for the head begins here; what is late is answered there.
            let _ = this.watch.phase.get() == Phase::Head && this.is_late(cx);
        }
        Poll::Ready(Ok(()))
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
