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
    cell::RefCell,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    known: Mutex<Known>,
}

/// What there is now. A reload adds to it and takes nothing away: counters never go back.
#[derive(Clone)]
struct Known {
    /// The first is for requests without a stage.
    stages: Vec<String>,
    /// As above; each has its stage's index.
    routes: Vec<(StageIndex, String)>,
    workers: Vec<Arc<Cells>>,
    buffered: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
    most_buffered: u64,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("routes", &self.known().routes).finish_non_exhaustive()
    }
}

/// What a path that no rule names is counted under, and called in the log.
pub const DEFAULT_ROUTE: &str = "default";

impl Known {
    fn name(&mut self, config: &Config) {
        for stage in &config.stages {
            let index = self.stages.iter().position(|name| *name == stage.name).unwrap_or_else(|| {
                self.stages.push(stage.name.clone());
                self.stages.len() - 1
            });
            for path in stage.routes.iter().map(|route| route.path.as_str()).chain([DEFAULT_ROUTE]) {
                let route = (index, path.to_owned());
                // Rules may share a path; no two series may have the same labels.
                if !self.routes.contains(&route) {
                    self.routes.push(route);
                }
            }
        }
        self.most_buffered = config.limits.max_buffered;
    }
}

impl Metrics {
    /// All series at 0. `codes` are code and fault of each refusal.
    #[must_use]
    pub fn new(config: &Config, codes: Vec<[&'static str; 2]>) -> Arc<Self> {
        let mut known = Known {
            stages: vec![String::new()],
            routes: vec![(0, String::new())],
            workers: Vec::new(),
            buffered: None,
            most_buffered: 0,
        };
        known.name(config);
        let cells = || Arc::new(Cells::new(known.stages.len(), known.routes.len(), codes.len()));
        known.workers = (0..config.workers.get()).map(|_| cells()).collect();
        Arc::new(Self { codes, known: Mutex::new(known) })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for the stages and rules of another configuration. Each worker counts there once it has entered again.
    pub fn extend(&self, config: &Config) {
        let mut known = self.known();
        known.name(config);
        let (stages, routes) = (known.stages.len(), known.routes.len());
        for cells in &mut known.workers {
            *cells = Arc::new(cells.grown(stages, routes));
        }
    }

    /// From now on this thread counts as that worker. Each worker is one thread: its numbers have one writer.
    pub fn enter(self: &Arc<Self>, worker: usize) {
        let cells = Arc::clone(&self.known().workers[worker]);
        HERE.with(|here| here.replace(Some(Here { cells, metrics: Arc::clone(self) })));
    }

    /// Who knows how many bytes bodies hold of the budget. The last that is given is asked.
    pub fn set_buffered(&self, used: impl Fn() -> u64 + Send + Sync + 'static) {
        self.known().buffered = Some(Arc::new(used));
    }
}

struct Here {
    cells: Arc<Cells>,
    metrics: Arc<Metrics>,
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// Counts, if this thread counts at all. At the end of a thread it no longer does.
fn count(with: impl FnOnce(&Cells)) {
    let _ = HERE.try_with(|here| here.borrow().as_ref().map(|here| with(&here.cells)));
}

fn named<T: Default>(find: impl FnOnce(&Known) -> Option<T>) -> T {
    HERE.with(|here| here.borrow().as_ref().and_then(|here| find(&here.metrics.known()))).unwrap_or_default()
}

/// Whether this thread counts.
pub(super) fn is_on() -> bool {
    HERE.with(|here| here.borrow().is_some())
}

/// Where a stage of this name counts. For the start and for reloads: it is searched for.
#[must_use]
pub fn stage(name: &str) -> StageIndex {
    named(|known| known.stages.iter().position(|stage| stage == name))
}

/// Where requests to this stage count that match this rule, or none. For the start and for reloads: it is searched for.
#[must_use]
pub fn series(stage_name: &str, path: Option<&str>) -> Series {
    let stage = stage(stage_name);
    let path = path.unwrap_or(DEFAULT_ROUTE);
    let route = named(|known| known.routes.iter().position(|(of, route)| *of == stage && route == path));
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
