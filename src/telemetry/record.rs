//! What is known of one request. The steps fill it in; it is written down when the last of them lets go, which is
//! when the answer's last byte has been handed over or the client has left.

use std::{
    cell::{Cell, OnceCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderValue, Method};
use tracing::Level;

use super::{
    access,
    capture::{Capture, Ended},
    exchange::End,
    metrics::{self, Finished, Series},
    phases::{Phase, Phases},
    request_id::RequestId,
    sample::Lines,
    trace::Trace,
};
use crate::config::Auth;

/// What a request was signed with, as far as it may be told.
#[derive(Debug)]
pub struct SignedWith {
    /// Where the credentials come from: `environment`, `profile dev`.
    pub source: Arc<str>,
    /// The last four characters of the access key id.
    pub access_key: Box<str>,
    /// When they expire, by true time; `None` for long-lived keys.
    pub expires: Option<SystemTime>,
    /// Differs between any two sets of keys.
    pub serial: u64,
}

/// One request, as far as it is known. It holds no header but ids, no body and no query.
pub struct Record {
    started: Instant,
    /// Whether it may be written down.
    logged: bool,
    /// Whether it is, when all goes well.
    pub lines: Cell<Lines>,
    id: RequestId,
    method: Method,
    /// A copy: the request's own is a slice of the buffer that it was read into.
    path: Box<str>,
    /// Its span, where traces are exported.
    trace: Option<Box<Trace>>,
    /// Where its time went; `None` when nobody counts.
    phases: Option<Phases>,
    /// What is taken down of it, where somebody wants to see it.
    pub capture: Option<Box<Capture>>,
    /// Where it is counted.
    pub series: Cell<Series>,
    /// The stage that was chosen.
    pub stage: OnceCell<Rc<str>>,
    /// The path of the rule that matched, and what it asks for.
    pub route: OnceCell<(Rc<str>, Auth)>,
    /// What it was signed with last.
    pub signed_with: Cell<Option<Rc<SignedWith>>>,
    /// The status that the client gets; 0 when it left before.
    pub status: Cell<u16>,
    /// The refusal's code and whose fault it is, when the proxy answered itself.
    pub refusal: Cell<Option<(&'static str, &'static str)>>,
    /// Bytes of the request's body.
    pub received: Cell<u64>,
    /// Bytes of the answer's body.
    pub sent: Cell<u64>,
    /// How often it was sent to the stage.
    pub attempts: Cell<u32>,
    /// Whether the answer broke off.
    pub cut: Cell<bool>,
    /// Whether the client's HTTP/1.1 connection ends with the answer, as what follows on it is not to be trusted.
    pub ends_connection: Cell<bool>,
    /// The gateway's own id of the request.
    pub gateway_id: OnceCell<HeaderValue>,
}

impl Record {
    /// Starts the clock. A request that this process makes itself has an id already.
    #[must_use]
    pub fn start(method: Method, path: &str, id: RequestId, trace: Option<Box<Trace>>) -> Self {
        let started = Instant::now();
        let (counted, logged) = (metrics::is_on(), access::is_on());
        let wanted = counted || logged || trace.is_some() || Capture::is_wanted();
        let phases = wanted.then(|| Phases::start(started));
        if counted {
            metrics::request_began();
        }
        Self {
            started,
            logged,
            trace,
            lines: Cell::default(),
            phases,
            capture: None,
            series: Cell::default(),
            id,
            method,
            path: path.into(),
            stage: OnceCell::new(),
            route: OnceCell::new(),
            signed_with: Cell::default(),
            status: Cell::new(0),
            refusal: Cell::new(None),
            received: Cell::new(0),
            sent: Cell::new(0),
            attempts: Cell::new(0),
            cut: Cell::new(false),
            ends_connection: Cell::new(false),
            gateway_id: OnceCell::new(),
        }
    }

    /// The request's id.
    #[must_use]
    pub const fn id(&self) -> &RequestId {
        &self.id
    }

    /// Whether anybody reads what is only for the log and for traces.
    #[must_use]
    pub const fn is_logged(&self) -> bool {
        self.logged || self.trace.is_some()
    }

    /// Its span, where traces are exported.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    /// The next phase begins.
    pub fn enter(&self, phase: Phase) {
        if let Some(phases) = &self.phases {
            phases.enter(phase, Instant::now());
        }
    }

    /// The next phase began at `now`, which the caller knows anyway.
    pub fn enter_at(&self, phase: Phase, now: Instant) {
        if let Some(phases) = &self.phases {
            phases.enter(phase, now);
        }
    }
}

impl Record {
    /// How the line of a request that ended like this is marked: what the stage or the proxy failed at is an error, what
    /// the client did wrong, or did not wait for, a warning.
    const fn level(&self) -> Level {
        match self.status.get() {
            500.. => Level::ERROR,
            0 | 400.. => Level::WARN,
            _ if self.cut.get() => Level::ERROR,
            _ => Level::INFO,
        }
    }
}

impl Record {
    /// Ends the span, if there is one: its trace's id. Names follow OpenTelemetry's semantic conventions for HTTP, and
    /// `countersign.` where those have none.
    #[cfg(feature = "otlp")]
    fn end_trace(&mut self, phases: &Phases, signed_with: Option<&SignedWith>) -> Option<String> {
        let mut trace = *self.trace.take()?;
        let id = trace.id();
        if !trace.is_recorded() {
            return Some(id);
        }
        let (status, refused) = (self.status.get(), self.refusal.get());
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        trace.tell("http.request.method", self.method.as_str().to_owned());
        trace.tell("url.path", self.path.to_string());
        trace.tell("http.request.body.size", number(self.received.get()));
        trace.tell("http.response.body.size", number(self.sent.get()));
        if status > 0 {
            trace.tell("http.response.status_code", i64::from(status));
        }
        if let Some(stage) = self.stage.get() {
            trace.tell("countersign.stage", stage.to_string());
        }
        let mut name = self.method.as_str().to_owned();
        if let Some((route, auth)) = self.route.get() {
            trace.tell("http.route", route.to_string());
            trace.tell("countersign.auth", auth.as_str());
            name = format!("{name} {route}");
        }
        if let Some((code, fault)) = refused {
            trace.tell("countersign.refused", code);
            trace.tell("countersign.fault", fault);
        }
        trace.tell("countersign.attempts", i64::from(self.attempts.get()));
        for (phase, took) in phases.all() {
            trace.tell(phase.attribute(), took.as_micros() as i64);
        }
        if let Some(with) = signed_with {
            trace.tell("countersign.credentials", with.source.to_string());
            trace.tell("countersign.access_key", with.access_key.to_string());
        }
        trace.tell("countersign.request_id", self.id.as_str().to_owned());
        if let Some(id) = self.gateway_id.get().and_then(|id| id.to_str().ok()) {
            trace.tell("aws.request_id", id.to_owned());
        }
        let error = match (status, refused) {
            _ if self.cut.get() => Some("cut".into()),
            (500.., Some((code, _))) => Some(code.into()),
            (500.., None) => Some(status.to_string().into()),
            _ => None,
        };
        trace.end(name, error);
        Some(id)
    }

    #[cfg(not(feature = "otlp"))]
    const fn end_trace(&self, _: &Phases, _: Option<&SignedWith>) -> Option<String> {
        None
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // Nobody counts and nobody writes.
        let Some(phases) = self.phases.take() else { return };
        let end = Instant::now();
        let whole = end.saturating_duration_since(self.started);
        phases.end(end);
        let refused = self.refusal.get().is_some();
        metrics::request_finished(Finished {
            series: self.series.get(),
            status: self.status.get(),
            refused,
            cut: self.cut.get(),
            received: self.received.get(),
            sent: self.sent.get(),
            took: whole,
            phases: phases.all(),
        });
        let signed_with = self.signed_with.take();
        let trace_id = self.end_trace(&phases, signed_with.as_deref());
        self.log(&phases, whole, signed_with.as_deref(), trace_id.as_deref());
        if let Some(capture) = self.capture.take() {
            capture.end(Ended {
                end: End {
                    status: self.status.get(),
                    attempts: self.attempts.get(),
                    answered: self.sent.get(),
                    cut: self.cut.get(),
                    total: whole,
                },
                phases: phases.all(),
                gateway_id: self.gateway_id.get(),
            });
        }
    }
}

impl Record {
    /// Writes its line, if it gets one.
    fn log(
        &self,
        phases: &Phases,
        whole: Duration,
        signed_with: Option<&SignedWith>,
        trace_id: Option<&str>,
    ) {
        let level = self.level();
        if !self.logged || (level == Level::INFO && !self.lines.get().has_this_one()) {
            return;
        }
        let (refused, fault) = self.refusal.get().unzip();
        let line = access::Line {
            level,
            method: self.method.as_str(),
            path: &self.path,
            stage: self.stage.get().map(|name| &**name),
            route: self.route.get().map(|(path, _)| &**path),
            auth: self.route.get().map(|(_, auth)| auth.as_str()),
            status: self.status.get(),
            refused,
            fault,
            cut: self.cut.get(),
            received: self.received.get(),
            sent: self.sent.get(),
            attempts: self.attempts.get(),
            micros: whole.as_micros() as u64,
            phases: Phase::ALL.map(|phase| phases.took(phase).map(|took| took.as_micros() as u64)),
            credentials: signed_with.map(|with| &*with.source),
            access_key: signed_with.map(|with| &*with.access_key),
            request_id: self.id.as_str(),
            trace_id,
            gateway_request_id: self.gateway_id.get().and_then(|id| id.to_str().ok()),
        };
        line.write();
    }
}
