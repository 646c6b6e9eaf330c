//! The connections of the admin listener: whoever holds some, in whatever way, keeps nobody out.
//!
//! A connection takes one of [`MAX_CONNECTIONS`] places. One more takes the place of the one that has been without a
//! request longest, and where all have one, of the one that has had it longest; so whoever asks for health is always
//! let in. One whose head does not come, or that takes nothing of its answer, ends by itself.
//!
//! An event stream, for which a browser has shown the inspector's token, leaves its place and takes one of
//! [`MAX_STREAMS`] of its own; it is never made to give it up.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{AbortHandle, spawn_local},
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::{
    answer::{Answer, AnswerBody},
    lifecycle::Quit,
};

/// Connections at a time: this is for a few watchers and a page, not for traffic.
const MAX_CONNECTIONS: usize = 64;
/// Event streams at a time: many windows, and those that a browser has not yet noticed to be gone.
const MAX_STREAMS: usize = 256;
/// For the head of a request, from the connection's beginning or the last answer's end.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// For a client that takes nothing of what is there for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after the system gave no socket.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections that are open.
pub(super) struct Crowd {
    /// By number, which grows: each with whether it has a request, since when, and how to end it.
    members: RefCell<BTreeMap<u64, Member>>,
    next: Cell<u64>,
    streams: Arc<Semaphore>,
}

struct Member {
    busy: bool,
    since: u64,
    task: AbortHandle,
}

impl Crowd {
    fn new() -> Rc<Self> {
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        Rc::new(Self { members: RefCell::default(), next: Cell::new(0), streams })
    }

    /// A place for an event stream, if there is one.
    pub(super) fn stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }

    fn moment(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// Ends one when there is no place left.
    fn make_room(&self) {
        let mut members = self.members.borrow_mut();
        if members.len() < MAX_CONNECTIONS {
            return;
        }
        let longest = members.iter().min_by_key(|(_, member)| (member.busy, member.since));
        if let Some(number) = longest.map(|(number, _)| *number)
            && let Some(member) = members.remove(&number)
        {
            member.task.abort();
        }
    }

    fn set(&self, number: u64, busy: bool) {
        let since = self.moment();
        if let Some(member) = self.members.borrow_mut().get_mut(&number) {
            (member.busy, member.since) = (busy, since);
        }
    }

    /// Its place is free for another.
    fn leave(&self, number: u64) {
        self.members.borrow_mut().remove(&number);
    }
}

/// Leaves when the connection ends, however it does.
struct Leaving(Rc<Crowd>, u64);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// Serves for ever. `answer` is told the address that the client connected to.
pub(super) async fn serve<F, A>(listener: std::net::TcpListener, answer: F) -> io::Result<()>
where
    F: Fn(Request<Incoming>, Option<IpAddr>, Rc<Crowd>) -> A + 'static,
    A: Future<Output = Answer> + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    let answer = Rc::new(answer);
    let crowd = Crowd::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "the admin listener accepted nothing");
                sleep(PAUSE).await;
                continue;
            }
        };
        // Events are written one by one, and are to arrive so.
        let _ = stream.set_nodelay(true);
        crowd.make_room();
        let number = crowd.moment();
        let leaving = Leaving(Rc::clone(&crowd), number);
        let answer = Rc::clone(&answer);
        let task = spawn_local(connection(stream, leaving, answer));
        let member = Member { busy: false, since: number, task: task.abort_handle() };
        crowd.members.borrow_mut().insert(number, member);
    }
}

async fn connection<F, A>(stream: TcpStream, leaving: Leaving, answer: Rc<F>)
where
    F: Fn(Request<Incoming>, Option<IpAddr>, Rc<Crowd>) -> A + 'static,
    A: Future<Output = Answer> + 'static,
{
    let local = stream.local_addr().ok().map(|address| address.ip());
    let Leaving(crowd, number) = &leaving;
    // Dropped after the connection, however that ends.
    let quit = Cell::<Option<Quit>>::new(None);
    let held = &quit;
    let service = service_fn(move |request: Request<Incoming>| {
        let answered = answer(request, local, Rc::clone(crowd));
        async move {
            crowd.set(*number, true);
            let mut answered = answered.await;
            if let Some(quit) = answered.extensions_mut().remove::<Quit>() {
                held.set(Some(quit));
            }
            if matches!(answered.body(), AnswerBody::Events(_)) {
                answered.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                crowd.leave(*number);
            } else {
                // What hyper has of it is little, or is bounded by `WRITE_TIMEOUT`.
                crowd.set(*number, false);
            }
            Ok::<_, Infallible>(answered)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(Prompt { stream, stalled: None }), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an admin connection ended");
    }
}

/// A connection whose client takes what is there for it, or loses it.
struct Prompt {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        if written.is_ready() {
            this.stalled = None;
            return written;
        }
        let stalled =
            this.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + WRITE_TIMEOUT)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
