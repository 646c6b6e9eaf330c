//! What is known of one request. The steps fill it in; it is written down when the last of them lets go, which is
//! when the answer's last byte has been handed over or the client has left.

use std::{
    cell::{Cell, OnceCell},
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use http::{HeaderValue, Method};

use super::{
    capture::{Capture, Ended},
    metrics::{self, Finished, Series},
    phases::{Phase, Phases},
};

/// The `tracing` target of the one line a request.
pub const ACCESS: &str = "countersign::access";

/// Names a request in its log line and in the body of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// An id that this process has not given before and other processes hardly will.
    #[must_use]
    pub fn next() -> Self {
        thread_local! {
            static NEXT: Cell<u64> = Cell::new(first());
        }
        let number = NEXT.get();
        NEXT.set(number.wrapping_add(1));
        let mut text = [0; 16];
        for (index, slot) in text.iter_mut().enumerate() {
            *slot = b"0123456789abcdef"[(number >> (60 - 4 * index)) as usize & 15];
        }
        Self(text)
    }

    /// Sixteen hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII was written")
    }
}

/// Where a thread starts to count: far from every other thread, and from this program's other runs.
fn first() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    let thread = THREADS.fetch_add(1, Ordering::Relaxed);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    since.rotate_left(20) ^ u64::from(std::process::id()).rotate_left(44) ^ (thread << 56)
}

/// One request, as far as it is known. It holds no header but the gateway's id, no body and no query.
pub struct Record {
    started: Instant,
    id: RequestId,
    method: Method,
    /// A copy: the request's own is a slice of the buffer that it was read into.
    path: Box<str>,
    /// Where its time went; `None` when nobody counts.
    phases: Option<Phases>,
    /// Whether it is counted.
    counted: bool,
    /// What is taken down of it, where somebody wants to see it.
    pub capture: Option<Box<Capture>>,
    /// Where it is counted.
    pub series: Cell<Series>,
    /// The stage that was chosen.
    pub stage: OnceCell<Rc<str>>,
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
    pub fn start(id: Option<RequestId>, method: Method, path: &str) -> Self {
        let started = Instant::now();
        let counted = metrics::is_on();
        let phases = (counted || Capture::is_wanted()).then(|| Phases::start(started));
        if counted {
            metrics::request_began();
        }
        Self {
            started,
            phases,
            counted,
            capture: None,
            series: Cell::default(),
            id: id.unwrap_or_else(RequestId::next),
            method,
            path: path.into(),
            stage: OnceCell::new(),
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
    pub const fn id(&self) -> RequestId {
        self.id
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

impl Drop for Record {
    fn drop(&mut self) {
        let (refused, fault) = self.refusal.get().unzip();
        let took = self.phases.as_ref().map(|phases| {
            let end = Instant::now();
            let took = end.saturating_duration_since(self.started);
            if self.counted {
                metrics::request_finished(Finished {
                    series: self.series.get(),
                    status: self.status.get(),
                    refused: refused.is_some(),
                    cut: self.cut.get(),
                    received: self.received.get(),
                    sent: self.sent.get(),
                    took,
                    phases: phases.end(end),
                });
            }
            (took, end)
        });
        tracing::info!(
            target: ACCESS,
            method = self.method.as_str(),
            path = &*self.path,
            status = u64::from(self.status.get()),
            micros = took.map_or_else(|| self.started.elapsed(), |(took, _)| took).as_micros() as u64,
            stage = self.stage.get().map(|name| &**name),
            refused,
            fault,
            received = self.received.get(),
            sent = self.sent.get(),
            attempts = u64::from(self.attempts.get()),
            cut = self.cut.get(),
            request_id = self.id.as_str(),
            gateway_request_id = self.gateway_id.get().and_then(|id| id.to_str().ok()),
        );
        if let (Some(capture), Some(phases), Some((took, end))) = (self.capture.take(), &self.phases, took) {
            capture.end(Ended {
                status: self.status.get(),
                attempts: self.attempts.get(),
                sent: self.sent.get(),
                cut: self.cut.get(),
                took,
                phases: phases.end(end),
                gateway_id: self.gateway_id.get(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_within_and_across_threads() {
        let many = || (0..1000).map(|_| RequestId::next().as_str().to_owned()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(many)).collect();
        let ids: HashSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.len(), 4000);
        assert!(ids.iter().all(|id| id.len() == 16));
    }
}
