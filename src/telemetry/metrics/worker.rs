//! One worker's numbers, by index; all workers' summed, by name.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Known, Metrics, Series, StageIndex,
    cells::{Counter, Gauge, Histogram, Sum},
    expose::{Exposition, Observe},
    families,
};
use crate::telemetry::{ConnectionEnd, Phase};

/// What a client's connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS.
    Http2,
    /// Nothing came, or not enough to tell.
    Unknown,
}

impl Protocol {
    const NAMES: [&str; 3] = ["http/1.1", "h2c", "unknown"];
}

/// How an attempt to connect to a stage ended; but for the first, as the refusal is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dial {
    /// There is a connection.
    Connected,
    /// The name has no address.
    Name,
    /// Nobody took the connection.
    Connect,
    /// The handshake failed.
    Tls,
    /// It took longer than `timeouts.connect`.
    Timeout,
    /// It broke before it could be used.
    Broken,
}

impl Dial {
    const NAMES: [&str; 6] = [
        "connected",
        "upstream-name",
        "upstream-connect",
        "upstream-tls",
        "upstream-connect-timeout",
        "upstream-broken",
    ];
}

/// Why a request is sent once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// The kept connection was dead: nothing of the request was sent.
    Unsent,
    /// The kept connection broke before any answer to a safe method.
    Unanswered,
    /// The gateway refused the credentials or the date, and there was something better to sign with.
    Mended,
}

impl Retried {
    const NAMES: [&str; 3] = ["unsent", "unanswered", "mended"];
}

/// Who answered with what. What else a stage may send stands under `other`; `none` is a client that left before.
const ANSWERS: [(&str, &str); 8] = [
    ("stage", "2xx"),
    ("stage", "3xx"),
    ("stage", "4xx"),
    ("stage", "5xx"),
    ("stage", "other"),
    ("proxy", "4xx"),
    ("proxy", "5xx"),
    ("none", "none"),
];

const fn answer(status: u16, refused: bool) -> usize {
    match (status, refused) {
        (0, _) => 7,
        (500.., true) => 6,
        (_, true) => 5,
        (200..300, false) => 0,
        (300..400, false) => 1,
        (400..500, false) => 2,
        (500..600, false) => 3,
        (_, false) => 4,
    }
}

/// A request that is over.
pub(in crate::telemetry) struct Finished<P> {
    pub(in crate::telemetry) series: Series,
    pub(in crate::telemetry) status: u16,
    pub(in crate::telemetry) refused: bool,
    pub(in crate::telemetry) cut: bool,
    pub(in crate::telemetry) received: u64,
    pub(in crate::telemetry) sent: u64,
    pub(in crate::telemetry) took: Duration,
    pub(in crate::telemetry) phases: P,
}

/// One worker's numbers. What belongs to a stage or a rule is shared with the cells that this worker had before a
/// reload, so that nothing is lost when there are more.
#[derive(Debug)]
pub(super) struct Cells {
    process: Arc<Process>,
    routes: Box<[Arc<Route>]>,
    stages: Box<[Arc<Stage>]>,
}

/// Aligned, as the others are, so that no other worker writes into the same lines of a cache.
#[derive(Debug)]
#[repr(align(128))]
struct Process {
    in_flight: Gauge,
    refusals: Box<[Counter]>,
    connections: [(Counter, Gauge); Protocol::NAMES.len()],
    endings: [Counter; ConnectionEnd::ALL.len()],
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Route([Counter; ANSWERS.len()]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stage {
    took: Histogram,
    phases: [Histogram; Phase::ALL.len()],
    received: Counter,
    sent: Counter,
    cut: Counter,
    attempts: [Counter; 2],
    retries: [Counter; Retried::NAMES.len()],
    dials: [Counter; Dial::NAMES.len()],
    open: Gauge,
    idle: Gauge,
}

impl Cells {
    pub(super) fn new(stages: usize, routes: usize, codes: usize) -> Self {
        let process = Process {
            in_flight: Gauge::default(),
            refusals: std::iter::repeat_with(Counter::default).take(codes).collect(),
            connections: Default::default(),
            endings: Default::default(),
        };
        Self { process: Arc::new(process), routes: Box::default(), stages: Box::default() }
            .grown(stages, routes)
    }

    /// The same numbers, with room for so many stages and routes.
    pub(super) fn grown(&self, stages: usize, routes: usize) -> Self {
        fn all<T: Default>(known: &[Arc<T>], count: usize) -> Box<[Arc<T>]> {
            known.iter().cloned().chain(std::iter::repeat_with(Arc::default)).take(count).collect()
        }
        Self {
            process: Arc::clone(&self.process),
            routes: all(&self.routes, routes),
            stages: all(&self.stages, stages),
        }
    }

    pub(super) fn began(&self) {
        self.process.in_flight.inc();
    }

    pub(super) fn finished(&self, request: Finished<impl Iterator<Item = (Phase, Duration)>>) {
        self.process.in_flight.dec();
        self.routes[request.series.route].0[answer(request.status, request.refused)].add(1);
        let stage = &self.stages[request.series.stage];
        stage.took.observe(request.took);
        for (phase, took) in request.phases {
            stage.phases[phase as usize].observe(took);
        }
        stage.received.add(request.received);
        stage.sent.add(request.sent);
        stage.cut.add(u64::from(request.cut));
    }

    pub(super) fn refused(&self, code: usize) {
        self.process.refusals[code].add(1);
    }

    pub(super) fn dialled(&self, stage: StageIndex, outcome: Dial) {
        self.stages[stage].dials[outcome as usize].add(1);
    }

    pub(super) fn sent(&self, stage: StageIndex, kept: bool) {
        self.stages[stage].attempts[usize::from(kept)].add(1);
    }

    pub(super) fn retried(&self, stage: StageIndex, cause: Retried) {
        self.stages[stage].retries[cause as usize].add(1);
    }

    pub(super) fn upstream(&self, stage: StageIndex, idle: bool) -> &Gauge {
        let stage = &self.stages[stage];
        if idle { &stage.idle } else { &stage.open }
    }

    pub(super) fn opened(&self, protocol: Protocol) {
        self.process.connections[protocol as usize].1.inc();
    }

    pub(super) fn speaks(&self, protocol: Protocol) {
        self.process.connections[protocol as usize].0.add(1);
    }

    pub(super) fn closed(&self, protocol: Protocol) {
        self.process.connections[protocol as usize].1.dec();
    }

    pub(super) fn ended(&self, cause: ConnectionEnd) {
        self.process.endings[cause as usize].add(1);
    }
}

impl Known {
    fn sum(&self, of: impl Fn(&Cells) -> u64) -> u64 {
        // A gauge of one worker never goes below 0, but may be read between two of its changes.
        self.workers.iter().fold(0, |sum: u64, cells| sum.wrapping_add(of(cells)))
    }

    fn histogram<'a>(&'a self, of: impl Fn(&'a Cells) -> &'a Histogram) -> Sum {
        let mut sum = Sum::default();
        self.workers.iter().for_each(|cells| sum.add(of(cells)));
        sum
    }

    /// Every configured stage, with its index.
    fn stages(&self) -> impl Iterator<Item = (usize, &str)> {
        self.stages.iter().map(String::as_str).enumerate().skip(1)
    }
}

impl Observe for Arc<Metrics> {
    fn observe(&self, to: &mut Exposition<'_>) -> fmt::Result {
        let known = self.known().clone();
        known.observe_requests(to)?;
        let mut samples = to.family(&families::REFUSALS)?;
        for (index, labels) in self.codes.iter().enumerate() {
            samples.counter(labels, known.sum(|cells| cells.process.refusals[index].get()))?;
        }
        to.family(&families::IN_FLIGHT)?.gauge(&[], known.sum(|cells| cells.process.in_flight.get()))?;
        known.observe_durations(to)?;
        known.observe_bytes(to)?;
        known.observe_clients(to)?;
        known.observe_upstream(to)
    }
}

impl Known {
    fn observe_requests(&self, to: &mut Exposition<'_>) -> fmt::Result {
        let mut samples = to.family(&families::REQUESTS)?;
        for (index, (stage, route)) in self.routes.iter().enumerate() {
            for (answer, (origin, status)) in ANSWERS.iter().enumerate() {
                // Nobody but the proxy answers what has no stage.
                if *stage != 0 || *origin != "stage" {
                    let count = self.sum(|cells| cells.routes[index].0[answer].get());
                    samples.counter(&[&self.stages[*stage], route, origin, status], count)?;
                }
            }
        }
        Ok(())
    }

    fn observe_durations(&self, to: &mut Exposition<'_>) -> fmt::Result {
        let mut samples = to.family(&families::DURATION)?;
        for (index, name) in self.stages.iter().enumerate() {
            samples.histogram(&[name], &self.histogram(|cells| &cells.stages[index].took))?;
        }
        let mut samples = to.family(&families::PHASES)?;
        for (index, name) in self.stages.iter().enumerate() {
            // What has no stage gets no further than the first.
            for phase in &Phase::ALL[..if index == 0 { 1 } else { Phase::ALL.len() }] {
                let sum = self.histogram(|cells| &cells.stages[index].phases[*phase as usize]);
                samples.histogram(&[name, phase.as_str()], &sum)?;
            }
        }
        Ok(())
    }

    fn observe_bytes(&self, to: &mut Exposition<'_>) -> fmt::Result {
        let mut samples = to.family(&families::REQUEST_BYTES)?;
        for (index, name) in self.stages() {
            samples.counter(&[name], self.sum(|cells| cells.stages[index].received.get()))?;
        }
        let mut samples = to.family(&families::RESPONSE_BYTES)?;
        for (index, name) in self.stages.iter().enumerate() {
            samples.counter(&[name], self.sum(|cells| cells.stages[index].sent.get()))?;
        }
        let mut samples = to.family(&families::CUT)?;
        for (index, name) in self.stages() {
            samples.counter(&[name], self.sum(|cells| cells.stages[index].cut.get()))?;
        }
        if let Some(used) = &self.buffered {
            to.family(&families::BUDGET_USED)?.gauge(&[], used())?;
        }
        to.family(&families::BUDGET_LIMIT)?.gauge(&[], self.most_buffered)
    }

    fn observe_clients(&self, to: &mut Exposition<'_>) -> fmt::Result {
        let mut samples = to.family(&families::CONNECTIONS_OPEN)?;
        for (index, name) in Protocol::NAMES.iter().enumerate() {
            samples.gauge(&[name], self.sum(|cells| cells.process.connections[index].1.get()))?;
        }
        let mut samples = to.family(&families::CONNECTIONS)?;
        for (index, name) in Protocol::NAMES.iter().enumerate() {
            samples.counter(&[name], self.sum(|cells| cells.process.connections[index].0.get()))?;
        }
        let mut samples = to.family(&families::CONNECTIONS_ENDED)?;
        for &cause in ConnectionEnd::ALL {
            let count = self.sum(|cells| cells.process.endings[cause as usize].get());
            samples.counter(&[cause.as_str()], count)?;
        }
        Ok(())
    }

    fn observe_upstream(&self, to: &mut Exposition<'_>) -> fmt::Result {
        let mut samples = to.family(&families::UPSTREAM_OPEN)?;
        for (index, name) in self.stages() {
            samples.gauge(&[name], self.sum(|cells| cells.stages[index].open.get()))?;
        }
        let mut samples = to.family(&families::UPSTREAM_IDLE)?;
        for (index, name) in self.stages() {
            samples.gauge(&[name], self.sum(|cells| cells.stages[index].idle.get()))?;
        }
        let mut samples = to.family(&families::DIALS)?;
        for (index, name) in self.stages() {
            for (outcome, text) in Dial::NAMES.iter().enumerate() {
                samples.counter(&[name, text], self.sum(|cells| cells.stages[index].dials[outcome].get()))?;
            }
        }
        let mut samples = to.family(&families::UPSTREAM_REQUESTS)?;
        for (index, name) in self.stages() {
            for (kept, text) in ["new", "kept"].iter().enumerate() {
                samples.counter(&[name, text], self.sum(|cells| cells.stages[index].attempts[kept].get()))?;
            }
        }
        let mut samples = to.family(&families::RETRIES)?;
        for (index, name) in self.stages() {
            for (cause, text) in Retried::NAMES.iter().enumerate() {
                samples.counter(&[name, text], self.sum(|cells| cells.stages[index].retries[cause].get()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ANSWERS, answer};

    #[test]
    fn each_answer_has_its_series() {
        for (status, refused, labels) in [
            (200, false, ("stage", "2xx")),
            (304, false, ("stage", "3xx")),
            (403, false, ("stage", "4xx")),
            (599, false, ("stage", "5xx")),
            (600, false, ("stage", "other")),
            (103, false, ("stage", "other")),
            (421, true, ("proxy", "4xx")),
            (503, true, ("proxy", "5xx")),
            (0, false, ("none", "none")),
            (0, true, ("none", "none")),
        ] {
            assert_eq!(ANSWERS[answer(status, refused)], labels, "{status} {refused}");
        }
    }
}
