//! What is counted, for `/metrics`.
//!
//! Each worker counts into cells of its own: an index, a load, a store. Nothing is looked up by its labels on the way
//! of a request, because the labels are few and known from the configuration: a stage's name, a rule's path, never what
//! a client sent. A worker that was not told to count finds nothing here, and that is all that it costs.
//!
//! | file | what it is |
//! |---|---|
//! | `families` | every metric: name, type, labels, meaning |
//! | `cells` | numbers with one writer |
//! | `worker` | a worker's cells, and how they are shown |
//! | `expose` | the text formats, by `prometheus-client` |
//! | `process` | what the system says of the process |

mod cells;
mod expose;
pub mod families;
pub mod process;
mod worker;

use std::{
    cell::OnceCell,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

pub use expose::{Exposer, Exposition, Format, Observe, Samples};
use worker::Cells;
pub(super) use worker::Finished;
pub use worker::{Dial, Protocol, Retried};

use super::{ConnectionEnd, Phase};
use crate::config::Config;

/// Which series of its metrics a stage counts in.
pub type StageIndex = usize;

/// Which series a request counts in; the default is that of requests without a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Series {
    pub(super) route: usize,
    pub(super) stage: StageIndex,
}

impl Series {
    /// The stage's part of it.
    #[must_use]
    pub const fn stage(self) -> StageIndex {
        self.stage
    }
}

/// What the series are called, and every worker's numbers.
pub struct Metrics {
    /// Code and fault of each refusal.
    codes: Vec<[&'static str; 2]>,
    /// The first is for requests without a stage.
    stages: Vec<String>,
    /// As above; each has its stage's index.
    routes: Vec<(StageIndex, String)>,
    workers: Vec<Arc<Cells>>,
    buffered: OnceLock<Box<dyn Fn() -> u64 + Send + Sync>>,
    most_buffered: u64,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("routes", &self.routes).finish_non_exhaustive()
    }
}

/// What a path that no rule names is counted under.
const DEFAULT_ROUTE: &str = "default";

impl Metrics {
    /// All series at 0. `codes` are code and fault of each refusal.
    #[must_use]
    pub fn new(config: &Config, codes: Vec<[&'static str; 2]>) -> Arc<Self> {
        let mut stages = vec![String::new()];
        let mut routes = vec![(0, String::new())];
        for stage in &config.stages {
            for path in stage.routes.iter().map(|route| route.path.as_str()).chain([DEFAULT_ROUTE]) {
                let route = (stages.len(), path.to_owned());
                // Rules may share a path; no two series may have the same labels.
                if !routes.contains(&route) {
                    routes.push(route);
                }
            }
            stages.push(stage.name.clone());
        }
        let cells = || Arc::new(Cells::new(stages.len(), routes.len(), codes.len()));
        let workers = (0..config.workers.get()).map(|_| cells()).collect();
        let most_buffered = config.limits.max_buffered;
        Arc::new(Self { codes, stages, routes, workers, buffered: OnceLock::new(), most_buffered })
    }

    /// From now on this thread counts as that worker. Each worker is one thread: its numbers have one writer.
    pub fn enter(self: &Arc<Self>, worker: usize) {
        HERE.with(|here| {
            let _ = here.set(Here { cells: Arc::clone(&self.workers[worker]), metrics: Arc::clone(self) });
        });
    }

    /// Who knows how many bytes bodies hold of the budget. The first that is given is asked.
    pub fn set_buffered(&self, used: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.buffered.set(Box::new(used));
    }
}

struct Here {
    cells: Arc<Cells>,
    metrics: Arc<Metrics>,
}

thread_local! {
    static HERE: OnceCell<Here> = const { OnceCell::new() };
}

/// Counts, if this thread counts at all. At the end of a thread it no longer does.
fn count(with: impl FnOnce(&Cells)) {
    let _ = HERE.try_with(|here| here.get().map(|here| with(&here.cells)));
}

fn named<T: Default>(find: impl FnOnce(&Metrics) -> Option<T>) -> T {
    HERE.with(|here| here.get().and_then(|here| find(&here.metrics))).unwrap_or_default()
}

/// Whether this thread counts.
pub(super) fn is_on() -> bool {
    HERE.with(|here| here.get().is_some())
}

/// Where a stage of this name counts. For the start: it is searched for.
#[must_use]
pub fn stage(name: &str) -> StageIndex {
    named(|metrics| metrics.stages.iter().position(|stage| stage == name))
}

/// Where requests to this stage count that match this rule, or none. For the start: it is searched for.
#[must_use]
pub fn series(stage_name: &str, path: Option<&str>) -> Series {
    let stage = stage(stage_name);
    let path = path.unwrap_or(DEFAULT_ROUTE);
    let route = named(|metrics| metrics.routes.iter().position(|(of, route)| *of == stage && route == path));
    Series { route, stage }
}

/// The proxy says no, by the number of the code.
pub fn refused(code: usize) {
    count(|cells| cells.refused(code));
}

/// How an attempt to connect to a stage ended.
pub fn dialled(stage: StageIndex, outcome: Dial) {
    count(|cells| cells.dialled(stage, outcome));
}

/// A request is handed to a connection, kept from before or new.
pub fn sent(stage: StageIndex, kept: bool) {
    count(|cells| cells.sent(stage, kept));
}

/// A request is sent once more.
pub fn retried(stage: StageIndex, cause: Retried) {
    count(|cells| cells.retried(stage, cause));
}

pub(super) fn connection_ended(cause: ConnectionEnd) {
    count(|cells| cells.ended(cause));
}

pub(super) fn request_began() {
    count(Cells::began);
}

pub(super) fn request_finished(request: Finished<impl Iterator<Item = (Phase, Duration)>>) {
    count(|cells| cells.finished(request));
}

/// A client's connection, counted as open for as long as this lives. To the number of all it is added once: when its
/// protocol is known, or it ends before.
#[derive(Debug)]
pub struct OpenConnection(Protocol);

#[expect(clippy::new_without_default, reason = "it counts, which a default should not")]
impl OpenConnection {
    /// Nothing has come yet.
    #[must_use]
    pub fn new() -> Self {
        count(|cells| cells.opened(Protocol::Unknown));
        Self(Protocol::Unknown)
    }

    /// Now that something came, it is known what it speaks.
    #[must_use]
    pub fn becomes(mut self, protocol: Protocol) -> Self {
        count(|cells| {
            cells.closed(self.0);
            cells.opened(protocol);
            cells.speaks(protocol);
        });
        self.0 = protocol;
        self
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        count(|cells| {
            cells.closed(self.0);
            if self.0 == Protocol::Unknown {
                cells.speaks(Protocol::Unknown);
            }
        });
    }
}

/// A connection to a stage, counted as open, or as idle, for as long as this lives.
#[derive(Debug)]
pub struct UpstreamConnection {
    stage: StageIndex,
    idle: bool,
}

impl UpstreamConnection {
    /// It is open.
    #[must_use]
    pub fn open(stage: StageIndex) -> Self {
        Self::new(stage, false)
    }

    /// It waits in the pool.
    #[must_use]
    pub fn idle(stage: StageIndex) -> Self {
        Self::new(stage, true)
    }

    fn new(stage: StageIndex, idle: bool) -> Self {
        count(|cells| cells.upstream(stage, idle).inc());
        Self { stage, idle }
    }
}

impl Drop for UpstreamConnection {
    fn drop(&mut self) {
        count(|cells| cells.upstream(self.stage, self.idle).dec());
    }
}
