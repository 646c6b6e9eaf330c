//! Looks into a small answer before it goes on, and gives it on unchanged.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::{
    coarse,
    upstream::{AnswerBody, Cut},
};

/// The longest body that is looked into. API Gateway's refusals are shorter, but for a mismatch, which repeats the
/// request's headers.
const LONGEST: u64 = 16 << 10;
/// How long its bytes may take. They come with the head; where they do not, the answer goes on as it comes.
const PATIENCE: Duration = Duration::from_secs(2);

/// An answer's body of which the beginning may have been read.
pub(super) struct PeekedBody {
    early: Option<Box<Early>>,
    rest: AnswerBody,
}

/// What was read, and how that ended.
struct Early {
    read: Bytes,
    cut: Option<Cut>,
    whole: bool,
}

impl PeekedBody {
    /// A body that nobody has looked into.
    pub(super) const fn untouched(rest: AnswerBody) -> Self {
        Self { early: None, rest }
    }

    /// Looks into it, if it is short and says how long it is: gives all of its bytes, or nothing.
    pub(super) async fn read(&mut self) -> Option<Bytes> {
        if self.rest.size_hint().exact().is_none_or(|length| length > LONGEST) {
            return None;
        }
        let mut read = BytesMut::new();
        let mut cut = None;
        let reading = async {
            while !self.rest.is_end_stream() {
                match self.rest.frame().await {
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
        self.early = Some(Box::new(Early { read: read.clone(), cut, whole }));
        whole.then_some(read)
    }
}

/// Whether the body is text as it stands.
pub(super) fn is_plain<T>(response: &Response<T>) -> bool {
    !response.headers().contains_key(header::CONTENT_ENCODING)
}

impl Body for PeekedBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if let Some(early) = &mut this.early {
            if !early.read.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut early.read)))));
            }
            if let Some(cut) = early.cut.take() {
                early.whole = true;
                return Poll::Ready(Some(Err(cut)));
            }
            if early.whole {
                return Poll::Ready(None);
            }
        }
        Pin::new(&mut this.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        match &self.early {
            Some(early) if early.whole => early.read.is_empty(),
            Some(early) => early.read.is_empty() && early.cut.is_none() && self.rest.is_end_stream(),
            None => self.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        match (&self.early, rest.exact()) {
            (None, _) => rest,
            (Some(early), Some(left)) => SizeHint::with_exact(left + early.read.len() as u64),
            (Some(_), None) => SizeHint::default(),
        }
    }
}
