//! Reads the body whole, up to the limit, hashed as it arrives, inside one budget that all requests share.
//!
//! Refused are:
//!
//! 1. a body that is signed piece by piece (415);
//! 2. a body past `limits.max_body` (413), before it is read where `Content-Length` tells;
//! 3. a body for which the budget has no room in time (503);
//! 4. a body that the client breaks off or whose chunks are broken (400), that it stops sending, or sends slower than
//!    `limits.min_body_rate` over any `limits.body_timeout` (408): it is never forwarded.
//!
//! The budget is charged for what has come, not for what is announced: otherwise a few bytes would take all of it. So
//! bodies that are half there can all wait for more; each waits for `limits.buffer_wait` at most and is then answered 503,
//! and what it gives back lets the others go on.
//!
//! The pieces stay as they came, but those under 4 KiB are merged: a body sent byte by byte would otherwise cost many
//! times the bytes that it was charged for.

use std::{
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::Either;
use http::{HeaderValue, Method, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tower::Service;

use super::{
    refusal::{Code, Refusal},
    sanitize::{Head, Sanitized},
    stage::{Share, Shared},
    turn::Due,
};
use crate::{
    coarse,
    config::Limits,
    sha256::{Hash, Long},
    sigv4::{EMPTY_SHA256, hex_into},
    telemetry::{Phase, Record},
    upstream::Chunks,
};

/// Pieces below this size are copied together. Also what a body is charged for before anything of it has come, which is
/// about what its request costs anyway.
const SMALL: usize = 4 << 10;
/// What a body asks the budget for beyond what has come, at most.
const STEP: u64 = 64 << 10;

/// A request whose body is in hand.
pub struct Buffered {
    pub(super) head: Box<Head>,
    pub(super) body: Body,
}

/// A body in hand.
pub(super) struct Body {
    pub(super) chunks: Chunks,
    /// SHA-256, lower-case hexadecimal; `None` for no body.
    hash: Option<String>,
    /// Its part of the budget, until the request is done.
    _share: Option<Share>,
    /// Counts it among the long bodies, likewise.
    _long: Option<Long>,
}

impl Body {
    /// The payload hash of the canonical request.
    pub(super) fn hash(&self) -> &str {
        self.hash.as_deref().unwrap_or(EMPTY_SHA256)
    }
}

/// The step.
#[derive(Clone)]
pub(super) struct ReadBody<S> {
    next: S,
    shared: Rc<Shared>,
}

impl<S> ReadBody<S> {
    pub(super) fn new(next: S, shared: &Rc<Shared>) -> Self {
        Self { next, shared: Rc::clone(shared) }
    }
}

/// Boxed only for a request that has a body, where the box is the least of its costs.
type Reading<R> = Pin<Box<dyn Future<Output = Result<R, Refusal>>>>;

impl<S> Service<Due> for ReadBody<S>
where
    S: Service<Buffered, Error = Refusal> + Clone + 'static,
{
    type Response = S::Response;
    type Error = Refusal;
    type Future = Either<S::Future, Reading<S::Response>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, Due(request): Due) -> Self::Future {
        if request.body.is_end_stream() && !request.signed_in_pieces {
            let mut head = request.head;
            // These methods give a body a meaning, so its absence is said (RFC 9110 section 8.6).
            if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
                head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            let body = Body { chunks: Chunks::default(), hash: None, _share: None, _long: None };
            return Either::Left(self.next.call(Buffered { head, body }));
        }
        let (mut next, shared) = (self.next.clone(), Rc::clone(&self.shared));
        Either::Right(Box::pin(async move {
            let buffered = read(request, &shared).await?;
            next.call(buffered).await
        }))
    }
}

async fn read(request: Sanitized, shared: &Shared) -> Result<Buffered, Refusal> {
    let Sanitized { mut head, mut body, signed_in_pieces } = request;
    if signed_in_pieces {
        return Err(Code::ChunkedSigning.into());
    }
    let limits = &shared.config.limits;
    let announced = body.size_hint().exact();
    if announced.is_some_and(|length| length > limits.max_body) {
        return Err(too_large(limits.max_body));
    }
    let most = announced.unwrap_or(limits.max_body);
    let record = Rc::clone(&head.record);
    let mut share = room(shared, ahead(0, 0, most), &record).await?;
    let mut pieces = Pieces::default();
    let mut hash = Hash::default();
    let mut pace = Pace::new();
    while let Some(frame) = coarse::timeout(limits.body_timeout, body.frame())
        .await
        .map_err(|coarse::Elapsed| Refusal::from(Code::BodyTimeout))?
    {
        let frame = frame.map_err(|error| broken(&error))?;
        let Ok(piece) = frame.into_data() else {
            // Trailers are a hop's own affair here: nothing that is signed can be among them. hyper takes their lines
            // for longer than others do (a bare LF ends none), so what follows may be meant otherwise.
            head.record.ends_connection.set(true);
            continue;
        };
        pace.bytes += piece.len() as u64;
        let come = pieces.bytes + piece.len() as u64;
        if come > limits.max_body {
            return Err(too_large(limits.max_body));
        }
        if !body.is_end_stream() && pace.is_too_slow(limits) {
            return Err(Code::BodyTooSlow.into());
        }
        let charged = share.num_permits() as u64;
        if come > charged {
            let asked = Instant::now();
            share.merge(match shared.budget.try_take(ahead(charged, come, most)) {
                Some(more) => more,
                // Room is scarce, so no more than what has come.
                None => room(shared, in_permits(come - charged), &record).await?,
            });
            // While it waits for room the client cannot send.
            pace.since += asked.elapsed();
        }
        // It may wait for the pieces of others, so it is charged for by now.
        hash.update(&piece).await;
        pieces.push(piece);
    }
    let pieces = pieces.finish();
    if let Some(capture) = &head.record.capture {
        capture.body(&pieces);
    }
    let chunks = Chunks::new(pieces);
    head.record.received.set(chunks.len());
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(chunks.len()));
    let (digest, long) = hash.finish();
    let mut hex = String::with_capacity(64);
    hex_into(&mut hex, &digest);
    Ok(Buffered { head, body: Body { chunks, hash: Some(hex), _share: Some(share), _long: long } })
}

/// Room for so many bytes; the wait for it counts as waiting, not as the client's sending.
async fn room(shared: &Shared, bytes: u32, record: &Record) -> Result<Share, Refusal> {
    if let Some(share) = shared.budget.try_take(bytes) {
        return Ok(share);
    }
    record.enter(Phase::Queue);
    let share = shared.budget.take(bytes).await?;
    record.enter(Phase::Receive);
    Ok(share)
}

/// A body that ends early, or one whose chunks are none.
fn broken(error: &hyper::Error) -> Refusal {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
            Refusal::because(Code::BadRequest, "The chunks of the body are not well formed.")
                .with_hint("Send each chunk as RFC 9112 section 7.1 has it, with lines that end in CRLF.")
        }
        _ => Code::BodyCut.into(),
    }
}

/// How much more to charge a body for that has come so far: as much again as it is charged for, within bounds, so that
/// a long one asks seldom and a short one is not charged for much that never comes.
fn ahead(charged: u64, come: u64, most: u64) -> u32 {
    let more = charged.clamp(SMALL as u64, STEP).min(most.saturating_sub(charged));
    in_permits(more.max(come.saturating_sub(charged)))
}

fn in_permits(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// How fast a body comes, judged over one `limits.body_timeout` after the other: what came quickly once is no credit for
/// a trickle later.
struct Pace {
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }

    /// Judged only when something has come: a pause is for `limits.body_timeout` to end.
    fn is_too_slow(&mut self, limits: &Limits) -> bool {
        let time = self.since.elapsed();
        if time <= limits.body_timeout {
            return false;
        }
        let is_too_slow = (self.bytes as f64) < limits.min_body_rate as f64 * time.as_secs_f64();
        *self = Self::new();
        is_too_slow
    }
}

fn too_large(limit: u64) -> Refusal {
    Refusal::because(Code::BodyTooLarge, format!("The body is larger than limits.max_body ({limit} bytes)."))
}

/// The pieces of a body, small ones merged.
#[derive(Default)]
struct Pieces {
    whole: Vec<Bytes>,
    tail: BytesMut,
    bytes: u64,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len() as u64;
        if piece.len() < SMALL {
            self.tail.extend_from_slice(&piece);
        } else {
            self.end_tail();
            self.whole.push(piece);
        }
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.whole.push(self.tail.split().freeze());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.end_tail();
        self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::{Pieces, SMALL, STEP, ahead};
    use bytes::Bytes;

    #[test]
    fn a_body_is_charged_for_little_more_than_has_come_and_never_for_more_than_can_come() {
        assert_eq!(ahead(0, 0, 10 << 20), SMALL as u32);
        assert_eq!(ahead(0, 0, 26), 26);
        assert_eq!(ahead(8 << 10, (8 << 10) + 1, 10 << 20), 8 << 10);
        assert_eq!(ahead(1 << 20, (1 << 20) + 1, 10 << 20), STEP as u32);
        assert_eq!(ahead(4 << 10, 200 << 10, 10 << 20), 196 << 10, "whatever came in one piece");
        assert_eq!(ahead(64 << 10, 65 << 10, 100_000), 100_000 - (64 << 10), "the budget may be no larger");
    }

    #[test]
    fn small_pieces_are_merged_and_large_ones_kept() {
        let large = Bytes::from(vec![b'x'; SMALL]);
        let mut pieces = Pieces::default();
        for piece in ["a", "b", "c"] {
            pieces.push(Bytes::from_static(piece.as_bytes()));
        }
        pieces.push(large.clone());
        pieces.push(Bytes::from_static(b"d"));
        assert_eq!(pieces.bytes, 4 + SMALL as u64);
        let whole = pieces.finish();
        assert_eq!(whole, [Bytes::from_static(b"abc"), large.clone(), Bytes::from_static(b"d")]);
        assert_eq!(whole[1].as_ptr(), large.as_ptr());
    }
}
