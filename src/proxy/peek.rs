//! Looks into a small answer before it goes on, and gives it on unchanged.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::unpack;
use crate::{
    coarse,
    upstream::{AnswerBody, Cut},
};

/// The longest body that is looked into. API Gateway's refusals are shorter, but for a mismatch, which repeats the
/// request's headers.
const LONGEST: u64 = 16 << 10;
/// How long its bytes may take. They come with the head; where they do not, the answer goes on as it comes.
const PATIENCE: Duration = Duration::from_secs(2);

/// An answer's body of which the beginning may have been read. As large as one that nobody looked into: each answer is
/// moved by every step.
pub(super) enum PeekedBody {
    /// Nobody has looked into it.
    Untouched(AnswerBody),
    /// Somebody has.
    Looked(Box<Looked>),
}

/// What was read, how that ended, and what is left.
pub(super) struct Looked {
    read: Bytes,
    cut: Option<Cut>,
    whole: bool,
    rest: AnswerBody,
}

impl PeekedBody {
    /// Looks into it, if it is short and says how long it is: gives all of its bytes, or nothing.
    pub(super) async fn look(self) -> (Self, Option<Bytes>) {
        let mut rest = match self {
            Self::Untouched(rest) if rest.size_hint().exact().is_some_and(|length| length <= LONGEST) => rest,
            other => return (other, None),
        };
        let mut read = BytesMut::new();
        let mut cut = None;
        let reading = async {
            while !rest.is_end_stream() {
                match rest.frame().await {
                    // A body with a length has no trailers.
                    Some(Ok(frame)) => read.extend_from_slice(&frame.into_data().unwrap_or_default()),
                    Some(Err(error)) => {
                        cut = Some(error);
                        return false;
                    }
                    None => return true,
                }
            }
            true
        };
        let whole = matches!(coarse::timeout(PATIENCE, reading).await, Ok(true));
        let read = read.freeze();
        let seen = whole.then(|| read.clone());
        (Self::Looked(Box::new(Looked { read, cut, whole, rest })), seen)
    }
}

/// The text of what was read, if it can be told; nothing where it cannot.
pub(super) fn text(headers: &HeaderMap, read: &Bytes) -> Bytes {
    if headers.contains_key(header::CONTENT_ENCODING) {
        unpack::whole(headers, read).unwrap_or_default().into()
    } else {
        read.clone()
    }
}

impl Body for PeekedBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let looked = match self.get_mut() {
            Self::Untouched(body) => return Pin::new(body).poll_frame(cx),
            Self::Looked(looked) => looked,
        };
        if !looked.read.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut looked.read)))));
        }
        if let Some(cut) = looked.cut.take() {
            looked.whole = true;
            return Poll::Ready(Some(Err(cut)));
        }
        if looked.whole { Poll::Ready(None) } else { Pin::new(&mut looked.rest).poll_frame(cx) }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Untouched(body) => body.is_end_stream(),
            Self::Looked(looked) => {
                looked.read.is_empty()
                    && looked.cut.is_none()
                    && (looked.whole || looked.rest.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Untouched(body) => body.size_hint(),
            // Only what says how long it is was looked into.
            Self::Looked(looked) => {
                let left = looked.rest.size_hint().exact().unwrap_or_default();
                SizeHint::with_exact(left + looked.read.len() as u64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AnswerBody, PeekedBody};

    #[test]
    fn a_body_is_no_larger_for_it() {
        assert_eq!(size_of::<PeekedBody>(), size_of::<AnswerBody>());
    }
}
