//! One client connection: HTTP/1.1 or h2c, told apart by its first bytes.
//!
//! hyper's connection is made only once something has come: a client that connects and sends nothing costs little,
//! and is cut off after `limits.header_timeout`, which hyper-util's detection would not do.

use std::{cell::RefCell, convert::Infallible, io, pin::Pin, rc::Rc, task, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming as HyperBody,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncReadExt as _, sync::watch};
use tower::Service;

use super::{
    accept::until_stopped,
    listen::Conn,
    wire::{PREFACE, Watch, Wire},
};
use crate::{
    coarse,
    proxy::{AnswerOut, Caller, Incoming, Shared, chain},
    telemetry::{
        ConnectionEnd, connection_ended,
        metrics::{OpenConnection, Protocol},
    },
    upstream::Cut,
};

/// Bytes of request line and headers; API Gateway takes 10,240.
const MAX_HEAD: usize = 64 << 10;
/// Bytes that hyper may hold of one connection before it waits.
const MAX_BUFFER: usize = 128 << 10;
/// Requests of one HTTP/2 connection at a time.
const MAX_STREAMS: u32 = 250;

/// Serves one connection to its end.
pub(super) async fn serve(
    mut conn: Conn,
    shared: &Rc<Shared>,
    header_timeout: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    let caller = Rc::new(Caller { local: conn.local(), uid: conn.uid() });
    let unknown = OpenConnection::new();
    let first = coarse::timeout(header_timeout, read_ahead(&mut conn));
    let ahead = match until_stopped(&mut stopping, first).await {
        Some(Ok(Ok(ahead))) => ahead,
        // Nothing came: there is nobody to tell.
        None => return connection_ended(ConnectionEnd::Drained),
        Some(Ok(Err(error))) => return connection_ended(cause(&error)),
        Some(Err(coarse::Elapsed)) => return connection_ended(ConnectionEnd::HeaderTimeout),
    };
    let watch = Watch::new();
    let wire = Wire::new(conn, ahead, &watch, header_timeout);
    let ended = if ahead.0[..ahead.1] == *PREFACE {
        let _open = unknown.becomes(Protocol::Http2);
        watch.begin();
        // Boxed, so that HTTP/1.1 connections do not carry its room.
        Box::pin(serve_http2(wire, shared, &caller, &mut stopping)).await
    } else {
        let _open = unknown.becomes(Protocol::Http1);
        serve_http1(wire, watch, shared, &caller, &mut stopping).await
    };
    connection_ended(match ended {
        Ok(()) if *stopping.borrow() => ConnectionEnd::Drained,
        Ok(()) => ConnectionEnd::Closed,
        Err(error) => {
            tracing::debug!(%error, "a client's connection ended");
            let from = std::error::Error::source(&error).and_then(|from| from.downcast_ref::<io::Error>());
            from.map_or(ConnectionEnd::ProtocolError, cause)
        }
    });
}

fn cause(error: &io::Error) -> ConnectionEnd {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ConnectionEnd::Closed,
        io::ErrorKind::TimedOut => ConnectionEnd::HeaderTimeout,
        _ => ConnectionEnd::Broken,
    }
}

/// Reads as far as it takes to know the protocol.
async fn read_ahead(conn: &mut Conn) -> io::Result<([u8; 24], usize)> {
    let mut bytes = [0; PREFACE.len()];
    let mut length = 0;
    while length < PREFACE.len() && bytes[..length] == PREFACE[..length] {
        let count = conn.read(&mut bytes[length..]).await?;
        if count == 0 {
            break;
        }
        length += count;
    }
    if length == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((bytes, length)) }
}

async fn serve_http1(
    wire: Wire,
    watch: Rc<Watch>,
    shared: &Rc<Shared>,
    caller: &Rc<Caller>,
    stopping: &mut watch::Receiver<bool>,
) -> hyper::Result<()> {
    // The chain decides at once or hands out a future of its own, so this is never borrowed twice.
    let chain = RefCell::new(chain(shared));
    let service = service_fn(move |request: Request<HyperBody>| {
        let fragment = watch.begin();
        let busy = Busy(Rc::clone(&watch));
        let has_body = !request.body().is_end_stream();
        let answer = chain.borrow_mut().call(Incoming { request, caller: Rc::clone(caller), fragment });
        async move {
            let answer = answer.await?;
            if has_body && answer.body().is_refusal() {
                busy.0.leave_unread();
            }
            Ok::<_, Infallible>(answer.map(|body| Watched { body, _busy: busy }))
        }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(MAX_BUFFER)
        .max_header_size(MAX_HEAD)
        .serve_connection(TokioIo::new(wire), service);
    let mut connection = std::pin::pin!(connection);
    match until_stopped(stopping, connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

async fn serve_http2(
    wire: Wire,
    shared: &Rc<Shared>,
    caller: &Rc<Caller>,
    stopping: &mut watch::Receiver<bool>,
) -> hyper::Result<()> {
    let chain = RefCell::new(chain(shared));
    let caller = Rc::clone(caller);
    let service = service_fn(move |request: Request<HyperBody>| {
        chain.borrow_mut().call(Incoming { request, caller: Rc::clone(&caller), fragment: false })
    });
    let connection = http2::Builder::new(OnThisThread)
        .timer(coarse::HyperTimer)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .serve_connection(TokioIo::new(wire), service);
    let mut connection = std::pin::pin!(connection);
    match until_stopped(stopping, connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// Runs the streams of an HTTP/2 connection on the thread of their connection.
#[derive(Clone)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// While it lives, the chain or hyper is at work on an answer.
struct Busy(Rc<Watch>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// An answer's body that tells the connection when it is done.
struct Watched {
    body: AnswerOut,
    _busy: Busy,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<Frame<Bytes>, Cut>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
