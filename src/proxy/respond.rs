//! The stage's answer on its way back: hop-by-hop fields go, `Location` into the stage points back at the proxy,
//! and so do cookies, secrets that a refusal echoes are masked, and the body streams as it comes. One that the stage
//! cuts short ends in an error for the client too, never as a short success.
//!
//! A refusal that is compressed in a way that [`super::unpack`] knows is unpacked for that and goes on as it is inside.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::Service;

use super::{
    api_key::Keyed,
    attempt::Answered,
    cookie::{self, bring_home},
    hop_by_hop::remove_hop_by_hop,
    peek::PeekedBody,
    places::Place,
    refusal::Refusal,
    refuse::ERROR_HEADER,
    stage::Stage,
    unpack::{NotPacked, Unpack},
};
use crate::{telemetry::Mask, upstream::Cut};

/// The step.
#[derive(Clone)]
pub(super) struct Respond<S> {
    next: S,
}

impl<S> Respond<S> {
    pub(super) const fn new(next: S) -> Self {
        Self { next }
    }
}

impl<S> Service<Keyed> for Respond<S>
where
    S: Service<Keyed, Response = Answered, Error = Refusal>,
{
    type Response = Response<MaskedBody>;
    type Error = Refusal;
    type Future = Responding<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, request: Keyed) -> Self::Future {
        Responding { inner: self.next.call(request) }
    }
}

pin_project! {
    /// The attempt at work.
    pub(super) struct Responding<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future<Output = Result<Answered, Refusal>>> Future for Responding<F> {
    type Output = Result<Response<MaskedBody>, Refusal>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = ready!(self.project().inner.poll(cx))?;
        Poll::Ready(Ok(respond(answered)))
    }
}

fn respond(answered: Answered) -> Response<MaskedBody> {
    let Answered { response, stage, local_host, local_tls, record, secrets, cross_site, place } = answered;
    let (mut parts, body) = response.into_parts();
    if let Some(capture) = &record.capture {
        capture.answer(parts.status, &parts.headers);
    }
    remove_hop_by_hop(&mut parts.headers);
    let (mut poses_as_ours, mut leads_elsewhere, mut sets_cookies) = (false, false, false);
    // One pass instead of a search for each.
    for (name, value) in &parts.headers {
        match name.as_str() {
            // The gateway's own id: REST APIs, then HTTP APIs.
            "x-amzn-requestid" | "apigw-requestid" => {
                // The first counts: each request has one answer.
                let _ = record.gateway_id.set(value.clone());
            }
            "location" => leads_elsewhere = true,
            "set-cookie" => sets_cookies = true,
            "x-countersign-error" => poses_as_ours = true,
            _ => {}
        }
    }
    if poses_as_ours {
        // Only the proxy itself says that an answer is its own.
        parts.headers.remove(ERROR_HEADER);
    }
    if leads_elsewhere {
        point_back(&mut parts.headers, &stage, &local_host, local_tls);
    }
    if sets_cookies {
        let (url, mount) = (&stage.config.url, &stage.config.mount);
        let keeps_secure = cross_site || local_tls;
        let places = cookie::Places { host: &url.host, path: &url.path, mount, keeps_secure };
        bring_home(&mut parts.headers, &places);
    }
    let echoes = parts.status.is_client_error() || parts.status.is_server_error();
    let secrets = secrets.iter().flatten().map(HeaderValue::as_bytes);
    let mut mask = if echoes { Mask::new(secrets) } else { None };
    if let Some(mask) = &mut mask {
        mask_headers(&mut parts.headers, mask);
    }
    let masking = mask.map(|mask| {
        let unpack = if body.is_end_stream() { None } else { Unpack::new(&parts.headers) };
        if unpack.is_some() {
            parts.headers.remove(header::CONTENT_ENCODING);
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        Box::new(Masking { unpack, mask })
    });
    Response::from_parts(parts, MaskedBody { body, masking, _place: place })
}

/// Masks what the stage repeats in a header.
fn mask_headers(headers: &mut HeaderMap, mask: &mut Mask) {
    for value in headers.values_mut() {
        let masked = [mask.push(value.as_bytes()), mask.finish()].concat();
        if masked != value.as_bytes() {
            *value = HeaderValue::from_bytes(&masked).expect("stars leave a value valid");
        }
    }
}

/// Rewrites `Location` when it leads into the stage, by full URL or by path.
fn point_back(headers: &mut HeaderMap, stage: &Stage, local_host: &HeaderValue, local_tls: bool) {
    let Some(location) = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()) else { return };
    let Ok(host) = local_host.to_str() else { return };
    if let Some(here) = here(location, stage, host, local_tls)
        && let Ok(here) = HeaderValue::from_str(&here)
    {
        headers.insert(header::LOCATION, here);
    }
}

fn here(location: &str, stage: &Stage, local_host: &str, local_tls: bool) -> Option<String> {
    let url = &stage.config.url;
    let mount = stage.config.mount.trim_end_matches('/');
    let (origin, path) = if location.starts_with('/') && !location.starts_with("//") {
        (String::new(), location)
    } else {
        let rest = location.strip_prefix(if url.tls { "https:" } else { "http:" }).unwrap_or(location);
        let rest = rest.strip_prefix("//")?;
        let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
        let default = if url.tls { ":443" } else { ":80" };
        let authority = authority.strip_suffix(default).unwrap_or(authority);
        if !authority.eq_ignore_ascii_case(url.authority.as_str()) {
            return None;
        }
        let scheme = if local_tls { "https" } else { "http" };
        (format!("{scheme}://{local_host}"), path)
    };
    let below = path.strip_prefix(&url.path)?;
    if !(below.is_empty() || below.starts_with(['/', '?', '#'])) {
        return None;
    }
    let slash = if mount.is_empty() && !below.starts_with('/') { "/" } else { "" };
    Some(format!("{origin}{mount}{slash}{below}"))
}

/// An answer's body, its secrets masked where it may echo some.
pub struct MaskedBody {
    body: PeekedBody,
    /// Boxed because it is rare and large.
    masking: Option<Box<Masking>>,
    _place: Option<Place>,
}

/// What becomes of the body of a refusal.
struct Masking {
    unpack: Option<Unpack>,
    mask: Mask,
}

impl Masking {
    /// What can be passed on of what has come before and is not done.
    fn next(&mut self) -> Option<Result<Bytes, NotPacked>> {
        let unpacked = self.unpack.as_mut()?.next()?;
        Some(unpacked.map(|piece| self.mask.push(&piece)))
    }

    /// What can be passed on now that `piece` has come.
    fn push(&mut self, piece: Bytes) -> Bytes {
        match &mut self.unpack {
            Some(unpack) => {
                unpack.push(piece);
                Bytes::new()
            }
            None => self.mask.push(&piece),
        }
    }

    /// What was held back, once nothing more comes.
    fn finish(&mut self) -> Result<Bytes, NotPacked> {
        let last = self.unpack.take().map_or_else(|| Ok(Vec::new()), Unpack::finish)?;
        let passed = self.mask.push(&last);
        Ok([passed, self.mask.finish()].concat().into())
    }

    /// Whether nothing is held back.
    fn is_done(&self) -> bool {
        self.unpack.is_none() && self.mask.is_empty()
    }
}

impl Body for MaskedBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        let Some(masking) = &mut this.masking else { return Pin::new(&mut this.body).poll_frame(cx) };
        loop {
            let passed = match masking.next() {
                Some(passed) => passed,
                None => match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(piece) => Ok(masking.push(piece)),
                        // Trailers end the body, and what is held back would have to go before them. A refusal's tell
                        // nothing that is missed.
                        Err(_) => continue,
                    },
                    Some(Err(cut)) => return Poll::Ready(Some(Err(cut))),
                    None if masking.is_done() => return Poll::Ready(None),
                    None => masking.finish(),
                },
            };
            match passed {
                Ok(passed) if passed.is_empty() => {}
                Ok(passed) => return Poll::Ready(Some(Ok(Frame::data(passed)))),
                Err(NotPacked) => return Poll::Ready(Some(Err(Cut::NotPacked))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.masking.as_ref().is_none_or(|masking| masking.is_done())
    }

    fn size_hint(&self) -> SizeHint {
        // Masking changes no length, but what is held back is still to come; unpacking changes it.
        if self.masking.as_ref().is_none_or(|masking| masking.is_done()) {
            self.body.size_hint()
        } else {
            SizeHint::default()
        }
    }
}
