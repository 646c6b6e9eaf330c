//! A request's span, where traces are exported: it joins the trace that the client's `traceparent` names (W3C Trace
//! Context), is sent on to the stage as its parent, and ends when the request does.
//!
//! It is made of what the record knows, by the OpenTelemetry SDK itself. A layer of `tracing` would need a span of that
//! crate for each request as well, and someone to look it up.

use std::{borrow::Cow, sync::OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    trace::{Span as _, SpanKind, Status, Tracer as _},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, Span},
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// From now on requests have spans.
pub(super) fn begin_with(tracer: SdkTracer) {
    // Called once, at the start.
    let _ = TRACER.set(tracer);
}

/// One request's span, while the request lasts.
pub struct Trace {
    span: Span,
}

/// Whether the parts of a `traceparent` are as long as they have to be (W3C Trace Context, section 3.2.2); the SDK, which
/// judges all else, takes shorter ones for numbers.
fn has_form(value: &[u8]) -> bool {
    let [_, _, b'-', rest @ ..] = value else { return false };
    rest.get(32) == Some(&b'-')
        && rest.get(49) == Some(&b'-')
        && matches!(rest.get(52), None | Some(b'-'))
        && rest.len() >= 52
}

impl Trace {
    /// The span of a request with these headers; `None` where traces are not exported.
    #[must_use]
    pub fn begin(method: &Method, headers: &HeaderMap) -> Option<Box<Self>> {
        let tracer = TRACER.get()?;
        let mut parent = Context::new();
        if headers.get(TRACEPARENT).is_some_and(|value| has_form(value.as_bytes())) {
            parent = TraceContextPropagator::new().extract_with_context(&parent, &HeaderExtractor(headers));
        }
        let builder = tracer.span_builder(method.as_str().to_owned()).with_kind(SpanKind::Server);
        Some(Box::new(Self { span: builder.start_with_context(tracer, &parent) }))
    }

    /// Tells the stage: its own span becomes a child of this one. What the client sent of the kind is replaced.
    pub fn inject(&self, headers: &mut HeaderMap) {
        let context = self.span.span_context();
        let (trace, span) = (context.trace_id(), context.span_id());
        let flags = u8::from(context.is_sampled());
        let value = HeaderValue::try_from(format!("00-{trace}-{span}-{flags:02x}"));
        headers.insert(TRACEPARENT, value.expect("hexadecimal digits and dashes are a valid value"));
        match HeaderValue::try_from(context.trace_state().header()) {
            Ok(state) if !state.is_empty() => drop(headers.insert(TRACESTATE, state)),
            _ => drop(headers.remove(TRACESTATE)),
        }
    }

    /// As logs name it: 32 hexadecimal digits.
    pub(super) fn id(&self) -> String {
        self.span.span_context().trace_id().to_string()
    }

    /// Whether it is exported: a client that samples may have decided against it.
    pub(super) fn is_recorded(&self) -> bool {
        self.span.is_recording()
    }

    /// A fact, under its name.
    pub(super) fn tell(&mut self, name: &'static str, value: impl Into<opentelemetry::Value>) {
        self.span.set_attribute(KeyValue::new(name, value));
    }

    /// The request is over; `error` is why it failed by the stage's or the proxy's doing.
    pub(super) fn end(mut self, name: String, error: Option<Cow<'static, str>>) {
        self.span.update_name(name);
        if let Some(error) = error {
            self.span.set_attribute(KeyValue::new("error.type", error));
            self.span.set_status(Status::error(""));
        }
        self.span.end();
    }
}
