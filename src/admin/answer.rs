//! What the admin listener answers with: a whole body, or events as they come.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// An answer of this listener.
pub(super) type Answer = Response<AnswerBody>;

/// Its body.
pub(super) enum AnswerBody {
    /// There as a whole.
    Whole(Full<Bytes>),
    /// Written as it comes.
    Events(Events),
}

/// A stream that ends when its writer, or its reader, goes.
pub(super) struct Events {
    pieces: mpsc::Receiver<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Events {
    /// A stream that holds this place, and what writes into it. It holds few pieces: who writes waits for the reader.
    pub(super) fn new(place: OwnedSemaphorePermit) -> (mpsc::Sender<Bytes>, Self) {
        let (writer, pieces) = mpsc::channel(4);
        (writer, Self { pieces, _place: place })
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Events(events) => {
                events.pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// An answer with this body, whatever it is.
pub(super) fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(AnswerBody::Whole(Full::new(body.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// JSON, and a line's end.
pub(super) fn json(status: StatusCode, body: String) -> Answer {
    whole(status, "application/json", body + "\n")
}

/// With the code where the proxy has it too.
pub(super) fn error(status: StatusCode, code: &'static str, body: String) -> Answer {
    let mut response = json(status, body);
    response.headers_mut().insert("x-countersign-error", HeaderValue::from_static(code));
    response
}

/// An error that says what happened and what to do.
pub(super) fn explained(status: StatusCode, code: &'static str, message: &str, hint: &str) -> Answer {
    let body = serde_json::json!({ "error": code, "message": message, "hint": hint });
    error(status, code, body.to_string())
}

/// There is no such thing.
pub(super) fn not_found(hint: &str) -> Answer {
    let body = serde_json::json!({ "error": "not-found", "hint": hint });
    error(StatusCode::NOT_FOUND, "not-found", body.to_string())
}
