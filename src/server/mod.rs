//! How the proxy starts, serves and stops.
//!
//! ```text
//! start  bind every address, then start the workers; the first that cannot serve stops the start
//! serve  one acceptor hands sockets to the workers round robin; with one worker it accepts by itself
//! reload each worker serves with the new configuration from its next request on; what is under way ends on the old one
//! stop   listeners close, idle connections too; requests under way may end for limits.drain_timeout
//! ```
//!
//! A worker is a thread with a runtime, pools and signers of its own: on the way of a request nothing is shared
//! between threads but the credentials, which are read without a lock, and the budget for bodies.

mod accept;
mod connection;
mod crowd;
mod files;
mod http2;
mod inherited;
mod listen;
mod phase;
mod self_signed;
mod socket_file;
mod tls;
mod wire;
mod worker;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    io::DuplexStream,
    sync::{Notify, Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;

pub use inherited::{Inherited, InheritedError};
use listen::Listener;
pub use listen::{BindError, Bound};
pub use tls::{Certificate, TlsError};
use worker::FromInside;

use crate::{
    config::Config,
    credentials::Sources,
    proxy::{Budget, Closed, Code, Entry, Inside, Readiness, SharedError},
    telemetry::{Watchers, metrics::Metrics},
};

/// How long a reload waits for the workers: far longer than one is ever busy without a pause.
const SWAP_WAIT: Duration = Duration::from_secs(10);

/// Where this program keeps what it makes: `$XDG_STATE_HOME/countersign`, else `~/.local/state/countersign`. `None` when
/// neither variable is set.
#[must_use]
pub fn state_folder() -> Option<std::path::PathBuf> {
    self_signed::folder().ok()
}

/// The proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// TLS cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No stage can be served.
    #[error(transparent)]
    Stage(#[from] SharedError),
    /// A socket that was handed over cannot be used.
    #[error(transparent)]
    Inherited(#[from] InheritedError),
    /// The system gives no thread or runtime.
    #[error("a worker cannot start")]
    Worker(#[from] io::Error),
}

/// A proxy that serves.
pub struct Server {
    bound: Vec<Bound>,
    certificate: Option<Certificate>,
    stop: watch::Sender<bool>,
    cut: watch::Sender<bool>,
    pulse: watch::Sender<u64>,
    setup: watch::Sender<Arc<Setup>>,
    inside: tokio::sync::mpsc::UnboundedSender<(DuplexStream, Arc<Inside>)>,
    common: Common,
    threads: Vec<JoinHandle<()>>,
}

/// What a reload replaces.
struct Setup {
    /// With the configuration.
    budget: Arc<Budget>,
    /// For the TCP listeners, when they speak TLS.
    tls: Option<TlsAcceptor>,
    /// Told by each worker that serves with this.
    swapped: Option<mpsc::Sender<()>>,
}

/// What all workers and the acceptor hold.
#[derive(Clone)]
struct Common {
    /// That of the start: what no reload changes.
    config: Arc<Config>,
    sources: Arc<Sources>,
    setup: watch::Receiver<Arc<Setup>>,
    metrics: Option<Arc<Metrics>>,
    watchers: Watchers,
    /// One permit a connection.
    connections: Arc<Semaphore>,
    /// Told once for each connection for which there is no permit.
    room: Arc<Notify>,
    stopping: watch::Receiver<bool>,
    /// Whether requests under way are no longer waited for.
    cutting: watch::Receiver<bool>,
    /// What each worker that is not stuck repeats.
    pulse: watch::Receiver<u64>,
    beats: Arc<[AtomicU64]>,
}

/// What the workers of this configuration count into, all at 0; `None` where metrics are off.
#[must_use]
pub fn metrics(config: &Config) -> Option<Arc<Metrics>> {
    let codes = || Code::ALL.iter().map(|code| [code.as_str(), code.fault().as_str()]).collect();
    config.metrics.then(|| Metrics::new(config, codes()))
}

impl Server {
    /// Binds, or takes the sockets that were `inherited` in place of `listen`, and serves; counts into `metrics` if there
    /// are any, and takes requests down for `watchers` as far as the configuration wants that. `readiness` is for
    /// `health_path`.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(
        config: &Arc<Config>,
        sources: &Arc<Sources>,
        metrics: Option<Arc<Metrics>>,
        watchers: Watchers,
        inherited: Inherited,
        readiness: &Arc<Readiness>,
    ) -> Result<Self, StartError> {
        files::raise_limit(config.limits.max_connections);
        let (tls, certificate) = config.tls.as_ref().map(tls::load).transpose()?.unzip();
        let listeners = inherited.or_bind(config)?;
        let bound = listeners.iter().map(|listener| listener.bound(tls.is_some())).collect();
        let (stop, stopping) = watch::channel(false);
        let (cut, cutting) = watch::channel(false);
        let (pulse, pulsing) = watch::channel(0);
        let budget = Budget::new(config, readiness)?;
        count_buffered(metrics.as_ref(), &budget);
        let (setup, setups) = watch::channel(Arc::new(Setup { budget, tls, swapped: None }));
        let common = Common {
            config: Arc::clone(config),
            sources: Arc::clone(sources),
            setup: setups,
            metrics,
            watchers,
            connections: Arc::new(Semaphore::new(config.limits.max_connections)),
            room: Arc::default(),
            stopping,
            cutting,
            pulse: pulsing,
            beats: (0..config.workers.get()).map(|_| AtomicU64::new(0)).collect(),
        };
        let threads = Vec::new();
        let (inside, from_inside) = tokio::sync::mpsc::unbounded_channel();
        let mut server =
            Self { bound, certificate, stop, cut, pulse, setup, inside, common: common.clone(), threads };
        let started = if config.workers.get() == 1 {
            server.start_one(&common, listeners, from_inside)
        } else {
            server.start_many(&common, listeners, from_inside)
        };
        match started {
            Ok(()) => Ok(server),
            Err(error) => {
                server.drain();
                server.join();
                Err(error)
            }
        }
    }

    fn start_one(
        &mut self,
        common: &Common,
        listeners: Vec<Listener>,
        inside: FromInside,
    ) -> Result<(), StartError> {
        let (ready, started) = mpsc::channel();
        let inbox = worker::Inbox::Listeners(listeners);
        self.threads.push(worker::spawn(0, common.clone(), inbox, Some(inside), ready)?);
        wait_for(&started)
    }

    fn start_many(
        &mut self,
        common: &Common,
        listeners: Vec<Listener>,
        inside: FromInside,
    ) -> Result<(), StartError> {
        // These are few: the first worker has them all.
        let mut inside = Some(inside);
        let mut outboxes = Vec::new();
        for index in 0..common.config.workers.get() {
            let (outbox, inbox) = tokio::sync::mpsc::unbounded_channel();
            outboxes.push(outbox);
            let (ready, started) = mpsc::channel();
            let inbox = worker::Inbox::Sockets(inbox);
            self.threads.push(worker::spawn(index, common.clone(), inbox, inside.take(), ready)?);
            wait_for(&started)?;
        }
        self.threads.push(accept::spawn(common.clone(), listeners, outboxes)?);
        Ok(())
    }

    /// The addresses as they are bound, free ports filled in.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// Where this process itself can hand over connections.
    #[must_use]
    pub fn entry(&self) -> Entry {
        let inside = self.inside.clone();
        Arc::new(move |stream, about| inside.send((stream, about)).map_err(|_| Closed))
    }

    /// What clients are shown, when TLS is served.
    #[must_use]
    pub const fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Reads what is needed to serve with this configuration; nothing has changed yet. What [`Config::keep_of`] keeps is
    /// taken to be as it was. Blocks.
    ///
    /// # Errors
    /// [`TlsError`] when there is TLS for clients, and its files are unusable.
    pub fn prepare(&self, config: &Arc<Config>) -> Result<Prepared, TlsError> {
        let (tls, certificate) = config.tls.as_ref().map(tls::load).transpose()?.unzip();
        let budget = self.setup.borrow().budget.next(config);
        Ok(Prepared { budget, tls, certificate })
    }

    /// Every worker serves with this from its next request on; requests under way end on what they began with. Blocks
    /// until that is so.
    ///
    /// # Errors
    /// When a worker does not answer.
    pub fn reload(&mut self, prepared: Prepared) -> io::Result<()> {
        let Prepared { budget, tls, certificate } = prepared;
        if let Some(metrics) = &self.common.metrics {
            metrics.extend(budget.config());
        }
        count_buffered(self.common.metrics.as_ref(), &budget);
        self.certificate = certificate;
        let (swapped, answers) = mpsc::channel();
        self.setup.send_replace(Arc::new(Setup { budget, tls, swapped: Some(swapped) }));
        for _ in 0..self.common.config.workers.get() {
            answers.recv_timeout(SWAP_WAIT).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Whether each worker has answered since the last time this was asked, in other words is not stuck.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let last = *self.pulse.borrow();
        let alive = self.common.beats.iter().all(|beat| beat.load(Ordering::Relaxed) == last);
        if alive {
            self.pulse.send_replace(last + 1);
        }
        alive
    }

    /// Closes the listeners and idle connections; requests under way may end for `limits.drain_timeout`.
    pub fn drain(&self) {
        self.stop.send_replace(true);
    }

    /// What cuts requests under way after [`Server::drain`] when it is called, on any thread.
    pub fn cutter(&self) -> impl Fn() + Send + 'static {
        let cut = self.cut.clone();
        move || {
            cut.send_replace(true);
        }
    }

    /// Waits for the end of what [`Server::drain`] began.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
    }
}

/// What a reload goes on with.
pub struct Prepared {
    budget: Arc<Budget>,
    tls: Option<TlsAcceptor>,
    certificate: Option<Certificate>,
}

fn count_buffered(metrics: Option<&Arc<Metrics>>, budget: &Arc<Budget>) {
    if let Some(metrics) = metrics {
        let budget = Arc::clone(budget);
        metrics.set_buffered(move || budget.used());
    }
}

fn wait_for(started: &mpsc::Receiver<Result<(), StartError>>) -> Result<(), StartError> {
    started.recv().unwrap_or_else(|_| Err(io::Error::other("it ended before it served").into()))
}
