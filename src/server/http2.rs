//! An HTTP/2 connection: what a client may do with it, and when it ends.
//!
//! | abuse | what ends it |
//! |---|---|
//! | requests that are reset at once | [`MAX_RESETS`] of them unseen; every other one costs what its frames cost |
//! | requests that make the proxy reset them | [`MAX_ERRORS`] |
//! | endless headers (CONTINUATION) | [`MAX_HEAD`], and h2's own count of such frames |
//! | floods of small DATA frames | h2 weighs frames against what they carry |
//! | floods of PING and SETTINGS | h2 reads on only when its answers to the last ones are written |
//! | a window that never opens | `limits.write_timeout`, for each stream |
//! | a connection without streams | `limits.idle_timeout`, then GOAWAY |

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming as HyperBody, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::sync::watch;
use tower::Service as _;

use super::{
    accept::until_stopped,
    connection::MAX_HEAD,
    phase::Watch,
    wire::{LINGER, Wire},
};
use crate::{
    coarse::{self, Deadline},
    proxy::{AnswerOut, Caller, Incoming, Live, latest},
    telemetry::ConnectionEnd,
    upstream::Cut,
};

/// Requests of one connection at a time: more than clients ask for (browsers and SDKs stay below 100).
const MAX_STREAMS: u32 = 250;
/// Streams that the client has reset before anybody looked at them (CVE-2023-44487, "rapid reset").
const MAX_RESETS: usize = 20;
/// Streams that were reset because of the client's mistakes (CVE-2025-8671, "made you reset"). A client that makes that
/// many is broken.
const MAX_ERRORS: usize = 100;
/// Bytes of a request's body that may come before anybody reads them, and so outside of the budget for bodies: what the
/// protocol begins with (RFC 9113 section 6.9.2).
const STREAM_WINDOW: u32 = 65_535;
/// The same for a connection. h2 lets half as many bytes be lost to small DATA frames that nobody has taken yet, each
/// costing what it lacks of 256: with less, a client that writes its body line by line would be taken for a flood.
const CONNECTION_WINDOW: u32 = 256 << 10;
/// The least that the protocol allows (RFC 9113 section 4.2): larger frames would only delay other streams.
const MAX_FRAME: u32 = 16 << 10;
/// Bytes of a stream's answer that may wait for the client.
const MAX_UNSENT: usize = 128 << 10;
/// How often the client is asked whether it is still there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// How long a connection that makes room for another has for what is not written yet.
pub(super) const FLUSH: Duration = Duration::from_millis(200);

/// Serves one connection to its end.
pub(super) async fn serve(
    wire: Wire,
    watch: &Rc<Watch>,
    live: &Rc<Live>,
    caller: &Rc<Caller>,
    stopping: &mut watch::Receiver<bool>,
) -> hyper::Result<()> {
    watch.begin_http2();
    let limits = watch.crowd().limits().clone();
    let state = Rc::new(Streams { watch: Rc::clone(watch), idle_since: Cell::new(Instant::now()) });
    let next = Rc::new(Cell::new(None));
    // The chain decides at once or hands out a future of its own, so this is never borrowed twice.
    let chain = RefCell::new(latest(live));
    let caller = Rc::clone(caller);
    let service = {
        let (state, next) = (Rc::clone(&state), Rc::clone(&next));
        service_fn(move |request: Request<HyperBody>| {
            let stream = Stream::begin(&state);
            // hyper hands the stream's future to the executor directly after this call.
            next.set(Some(Rc::clone(&stream)));
            let answer =
                chain.borrow_mut().call(Incoming { request, caller: Rc::clone(&caller), fragment: false });
            async move { answer.await.map(|answer| answer.map(|body| StreamBody { body, stream })) }
        })
    };
    let connection = http2::Builder::new(OnThisThread { next, write_timeout: limits.write_timeout })
        .timer(coarse::HyperTimer)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_ERRORS)
        .max_header_list_size(MAX_HEAD as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_send_buf_size(MAX_UNSENT)
        .serve_connection(TokioIo::new(wire), service);
    let mut connection = std::pin::pin!(connection);

    let mut idle = Deadline::after(limits.idle_timeout);
    let until_idle = poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        while Pin::new(&mut idle).poll(cx).is_ready() {
            match state.left_of(limits.idle_timeout) {
                Some(left) => idle.restart(left),
                None => return Poll::Ready(None),
            }
        }
        Poll::Pending
    });
    let until_left = async {
        tokio::select! {
            biased;
            ended = until_idle => ended.map_or(Left::For(LINGER), Left::Ended),
            () = watch.told_to_leave() => Left::For(FLUSH),
        }
    };
    match until_stopped(stopping, until_left).await {
        Some(Left::Ended(ended)) => ended,
        Some(Left::For(patience)) => {
            watch.ends_for(ConnectionEnd::Idle);
            connection.as_mut().graceful_shutdown();
            // A request that crosses the GOAWAY is still answered.
            loop {
                match coarse::timeout(patience, connection.as_mut()).await {
                    Ok(ended) => return ended,
                    Err(coarse::Elapsed) if watch.is_idle() => return Ok(()),
                    Err(coarse::Elapsed) => {}
                }
            }
        }
        None => {
            watch.ends_for(ConnectionEnd::Drained);
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// Why the connection is no longer only served.
enum Left {
    Ended(hyper::Result<()>),
    /// It is to end; the client has this long to see that, and again for each request that crosses the GOAWAY.
    For(Duration),
}

/// What the streams of a connection share.
struct Streams {
    watch: Rc<Watch>,
    idle_since: Cell<Instant>,
}

impl Streams {
    /// How long the connection may still be idle; `None` when that is over.
    fn left_of(&self, limit: Duration) -> Option<Duration> {
        if !self.watch.is_idle() {
            return Some(limit);
        }
        Some(limit.saturating_sub(self.idle_since.get().elapsed())).filter(|left| !left.is_zero())
    }
}

/// One request, as long as hyper is at work on it.
struct Stream {
    streams: Rc<Streams>,
    /// Pieces of the answer that hyper has taken.
    taken: Cell<u32>,
    /// Whether it is hyper's turn: it asks for the next piece when the client has room for it.
    unasked: Cell<bool>,
}

impl Stream {
    fn begin(streams: &Rc<Streams>) -> Rc<Self> {
        streams.watch.begin_stream();
        Rc::new(Self { streams: Rc::clone(streams), taken: Cell::new(0), unasked: Cell::new(false) })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.streams.watch.end_stream() {
            self.streams.idle_since.set(Instant::now());
        }
    }
}

/// An answer's body that notes when hyper asks for it.
struct StreamBody {
    body: AnswerOut,
    stream: Rc<Stream>,
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.stream.unasked.set(polled.is_ready());
        if polled.is_ready() {
            self.stream.taken.set(self.stream.taken.get().wrapping_add(1));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs the streams of a connection on its thread.
#[derive(Clone)]
struct OnThisThread {
    next: Rc<Cell<Option<Rc<Stream>>>>,
    write_timeout: Duration,
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        let (stream, limit) = (self.next.take(), self.write_timeout);
        tokio::task::spawn_local(WhileRead { future, stream, limit, taken: 0, stalled: None });
    }
}

pin_project! {
    /// A stream at work, given up when the client takes nothing of its answer: dropping hyper's future resets it.
    struct WhileRead<F> {
        #[pin]
        future: F,
        stream: Option<Rc<Stream>>,
        limit: Duration,
        taken: u32,
        stalled: Option<Deadline>,
    }
}

impl<F: Future<Output = ()>> Future for WhileRead<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.future.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(stream) = this.stream.as_ref().filter(|stream| stream.unasked.get()) else {
            *this.stalled = None;
            return Poll::Pending;
        };
        if stream.taken.get() != *this.taken {
            *this.taken = stream.taken.get();
            *this.stalled = None;
        }
        let stalled = this.stalled.get_or_insert_with(|| Deadline::after(*this.limit));
        ready!(Pin::new(stalled).poll(cx));
        tracing::debug!(target: "countersign::server", "a stream is reset: its client reads nothing");
        Poll::Ready(())
    }
}
