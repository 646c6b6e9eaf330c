//! One client connection: HTTP/1.1 or HTTP/2, told apart by ALPN or by its first bytes.
//!
//! hyper's connection is made only once something has come: a client that connects and sends nothing costs little,
//! and is cut off after `limits.header_timeout`, which hyper-util's detection would not do.

use std::{cell::RefCell, convert::Infallible, error::Error as _, io, pin::Pin, rc::Rc, task};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming as HyperBody, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncReadExt as _, sync::watch};
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::{
    accept::until_stopped,
    http2,
    listen::Conn,
    phase::Watch,
    tls,
    wire::{PREFACE, Wire},
};
use crate::{
    coarse,
    proxy::{AnswerOut, Caller, Incoming, Live, latest},
    telemetry::{
        ConnectionEnd,
        metrics::{OpenConnection, Protocol},
    },
    upstream::Cut,
};

/// Bytes of request line and headers; API Gateway takes 10,240.
pub(super) const MAX_HEAD: usize = 64 << 10;
/// Bytes that hyper may hold of one connection before it waits.
const MAX_BUFFER: usize = 128 << 10;

/// Serves one connection to its end.
pub(super) async fn serve(
    conn: Conn,
    live: &Rc<Live>,
    acceptor: Option<&TlsAcceptor>,
    watch: &Rc<Watch>,
    mut stopping: watch::Receiver<bool>,
) {
    let unknown = OpenConnection::new();
    let header_timeout = watch.crowd().limits().header_timeout;
    let mut conn = match (conn, acceptor) {
        (Conn::Tcp(stream), Some(acceptor)) => {
            // Boxed, as what follows is, so that connections that do not need it do not carry its room.
            let shaking = Box::pin(tls::accept(stream, acceptor, header_timeout));
            match until_stopped(&mut stopping, shaking).await {
                Some(Ok(conn)) => conn,
                Some(Err(cause)) => return watch.ends_for(cause),
                None => return watch.ends_for(ConnectionEnd::Drained),
            }
        }
        (conn, _) => conn,
    };
    let caller =
        Rc::new(Caller { local: conn.local(), uid: conn.uid(), tls: conn.is_tls(), inside: conn.inside() });
    let first = coarse::timeout(header_timeout, read_ahead(&mut conn));
    let ahead = match until_stopped(&mut stopping, first).await {
        Some(Ok(Ok(ahead))) => ahead,
        // Nothing came: there is nobody to tell.
        Some(Ok(Err(error))) => return watch.ends_for(ending(&error)),
        Some(Err(coarse::Elapsed)) => return watch.ends_for(ConnectionEnd::HeaderTimeout),
        None => return watch.ends_for(ConnectionEnd::Drained),
    };
    let is_http2 = conn.speaks_http2().unwrap_or_else(|| ahead.0[..ahead.1] == *PREFACE);
    let wire = Wire::new(conn, ahead, watch);
    let ended = if is_http2 {
        let _open = unknown.becomes(Protocol::Http2);
        Box::pin(http2::serve(wire, watch, live, &caller, &mut stopping)).await
    } else {
        let _open = unknown.becomes(Protocol::Http1);
        serve_http1(wire, watch, live, &caller, &mut stopping).await
    };
    if let Err(error) = ended {
        watch.ends_for(cause_of(&error));
        tracing::debug!(%error, "a client's connection ended with an error");
    }
}

fn ending(error: &io::Error) -> ConnectionEnd {
    if error.kind() == io::ErrorKind::UnexpectedEof { ConnectionEnd::Closed } else { ConnectionEnd::Broken }
}

/// What hyper's error says of the connection, where [`Wire`] has not said it already.
fn cause_of(error: &hyper::Error) -> ConnectionEnd {
    if let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) {
        return match error.reason() {
            _ if error.is_remote() => ConnectionEnd::Closed,
            Some(h2::Reason::ENHANCE_YOUR_CALM) => ConnectionEnd::Flooded,
            _ if error.is_io() => ConnectionEnd::Broken,
            _ => ConnectionEnd::ProtocolError,
        };
    }
    if error.is_parse() {
        ConnectionEnd::ProtocolError
    } else if error.is_incomplete_message() || error.is_closed() {
        ConnectionEnd::Closed
    } else {
        ConnectionEnd::Broken
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
    watch: &Rc<Watch>,
    live: &Rc<Live>,
    caller: &Rc<Caller>,
    stopping: &mut watch::Receiver<bool>,
) -> hyper::Result<()> {
    // The chain decides at once or hands out a future of its own, so this is never borrowed twice.
    let chain = RefCell::new(latest(live));
    let service = service_fn(move |request: Request<HyperBody>| {
        let has_body = !request.body().is_end_stream();
        let fragment = watch.begin(request.body().size_hint().exact());
        let busy = Busy(Rc::clone(watch));
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
            watch.ends_for(ConnectionEnd::Drained);
            connection.as_mut().graceful_shutdown();
            connection.await
        }
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
