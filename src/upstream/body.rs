//! Request bodies that can be sent again, and answer bodies that give their connection back.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::Lease;
use crate::coarse::Deadline;

/// A request body in the pieces in which it came; a clone shares them.
///
/// A pointer wide: hyper keeps room for 32 requests with each connection to a stage, so every word here is 256 bytes
/// of each.
#[derive(Debug, Clone, Default)]
pub struct Chunks(Option<Box<Left>>);

/// What is left to send; never nothing.
#[derive(Debug, Clone)]
struct Left {
    pieces: Rc<[Bytes]>,
    next: usize,
    bytes: u64,
}

impl Chunks {
    /// A body of these pieces.
    #[must_use]
    pub fn new(pieces: Vec<Bytes>) -> Self {
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self((bytes > 0).then(|| Box::new(Left { pieces: pieces.into(), next: 0, bytes })))
    }

    /// Bytes that are still to be sent.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.as_ref().map_or(0, |left| left.bytes)
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(left) = &mut self.0 else { return Poll::Ready(None) };
        let piece = left.pieces.get(left.next).cloned();
        left.next += 1;
        left.bytes -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if left.bytes == 0 {
            self.0 = None;
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}

/// Why an answer ended early. The client is given no end either, so that it cannot take it for whole.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The stage broke off.
    #[error("the stage broke off its answer")]
    Broken(#[source] hyper::Error),
    /// Nothing came for `timeouts.idle`.
    #[error("the stage's answer stalled")]
    Idle,
    /// It is a refusal that had to be unpacked, and is not what its `content-encoding` says.
    #[error("the stage's answer is not compressed as it says")]
    NotPacked,
}

/// An answer's body as it comes. Read to its end, it puts its connection back into the pool.
pub struct AnswerBody {
    incoming: Incoming,
    lease: Option<Lease>,
    idle: Option<Deadline>,
    limit: Duration,
}

impl AnswerBody {
    pub(super) fn new(incoming: Incoming, lease: Lease, limit: Duration) -> Self {
        let mut body = Self { incoming, lease: Some(lease), idle: None, limit };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        self.idle = None;
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                // Nobody asks for more after trailers.
                if this.incoming.is_end_stream() || frame.is_trailers() {
                    this.give_back();
                } else if let Some(idle) = &mut this.idle {
                    idle.restart(this.limit);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Cut::Broken(error)))),
            Poll::Ready(None) => {
                this.give_back();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let idle = this.idle.get_or_insert_with(|| Deadline::after(this.limit));
                ready!(Pin::new(idle).poll(cx));
                this.lease = None;
                Poll::Ready(Some(Err(Cut::Idle)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
