//! Request bodies that can be sent again, and answer bodies that give their connection back.

use std::{
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::Lease;
use crate::coarse::Deadline;

/// A request body in the pieces in which it came; a clone shares them.
///
/// It is handed to hyper whole, as one frame: hyper writes whenever it has taken frames of 128 KiB, and most writes wake
/// whoever reads.
///
/// A pointer wide: hyper keeps room for 32 requests with each connection to a stage, so every word here is 256 bytes
/// of each.
#[derive(Debug, Clone, Default)]
pub struct Chunks(Option<Box<Left>>);

/// What is left to send; never nothing as a body.
#[derive(Debug, Clone)]
pub struct Left {
    /// hyper wants what it sends to be `Send`, so they are not in an `Rc`.
    pieces: Arc<[Bytes]>,
    next: usize,
    /// Of the next piece, how many bytes have been sent.
    sent: usize,
    bytes: usize,
}

impl Chunks {
    /// A body of these pieces.
    #[must_use]
    pub fn new(mut pieces: Vec<Bytes>) -> Self {
        // An empty piece would look like the end.
        pieces.retain(|piece| !piece.is_empty());
        let bytes = pieces.iter().map(Bytes::len).sum();
        Self((bytes > 0).then(|| Box::new(Left { pieces: pieces.into(), next: 0, sent: 0, bytes })))
    }

    /// Bytes that are still to be sent.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.as_ref().map_or(0, |left| left.bytes as u64)
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Body for Chunks {
    type Data = Box<Left>;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Box<Left>>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|left| Ok(Frame::data(left))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}

impl Buf for Left {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.get(self.next).map_or(&[], |piece| &piece[self.sent..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = &self.pieces[self.next..];
        for (place, (slice, piece)) in slices.iter_mut().zip(pieces).enumerate() {
            *slice = IoSlice::new(if place == 0 { &piece[self.sent..] } else { piece });
        }
        slices.len().min(pieces.len())
    }

    fn advance(&mut self, mut count: usize) {
        self.bytes = self.bytes.checked_sub(count).expect("no more is sent than is left");
        while let Some(piece) = self.pieces.get(self.next) {
            let rest = piece.len() - self.sent;
            if count < rest {
                self.sent += count;
                return;
            }
            count -= rest;
            self.sent = 0;
            self.next += 1;
        }
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

#[cfg(test)]
mod tests {
    use super::Chunks;
    use bytes::{Buf as _, Bytes};
    use http_body::Body as _;
    use http_body_util::BodyExt as _;
    use std::io::IoSlice;

    const WHOLE: &[u8] = b"a body that came in pieces of very different length";

    fn body() -> Chunks {
        let ends = [0, 1, 1, 20, 21, 21, 50, WHOLE.len(), WHOLE.len()];
        let piece = |ends: &[usize]| Bytes::from_static(&WHOLE[ends[0]..ends[1]]);
        Chunks::new(ends.windows(2).map(piece).collect())
    }

    /// hyper writes what it is given by slices, and goes on wherever the connection took no more.
    #[tokio::test]
    async fn however_much_of_a_body_is_taken_at_once_all_of_it_is_sent_in_order() {
        for step in 1..=WHOLE.len() {
            for slots in [1, 2, 64] {
                let mut left = body().frame().await.unwrap().unwrap().into_data().unwrap();
                let mut seen = Vec::new();
                while left.has_remaining() {
                    assert_eq!(left.remaining(), WHOLE.len() - seen.len());
                    let mut slices = [IoSlice::new(&[]); 64];
                    let filled = left.chunks_vectored(&mut slices[..slots]);
                    assert!(
                        slices[..filled].iter().all(|slice| !slice.is_empty()),
                        "empty would look like the end"
                    );
                    assert_eq!(left.chunk(), &*slices[0]);
                    let offered: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
                    let taken = step.min(offered.len());
                    seen.extend_from_slice(&offered[..taken]);
                    left.advance(taken);
                }
                assert_eq!(seen, WHOLE, "{step} bytes at once, {slots} slices");
                assert!(left.chunk().is_empty() && left.chunks_vectored(&mut [IoSlice::new(&[])]) == 0);
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_one_frame_and_a_clone_is_whole() {
        let mut first = body();
        let again = first.clone();
        assert_eq!((first.len(), first.size_hint().exact()), (WHOLE.len() as u64, Some(WHOLE.len() as u64)));
        let mut frame = first.frame().await.unwrap().unwrap().into_data().unwrap();
        frame.advance(7);
        assert!(first.is_end_stream() && first.is_empty() && first.frame().await.is_none());
        assert_eq!(again.collect().await.unwrap().to_bytes(), WHOLE);
        let nothing = Chunks::new(vec![Bytes::new()]);
        assert!(nothing.is_end_stream() && nothing.is_empty());
    }
}
