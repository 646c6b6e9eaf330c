//! How the proxy starts, serves and stops.
//!
//! ```text
//! start  bind every address, then start the workers; the first that cannot serve stops the start
//! serve  one acceptor hands sockets to the workers round robin; with one worker it accepts by itself
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
mod listen;
mod self_signed;
mod socket_file;
mod tls;
mod wire;
mod worker;

use std::{
    io,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use tokio::sync::{Notify, Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use listen::Listener;
pub use listen::{BindError, Bound};
pub use tls::{Certificate, TlsError};

use crate::{
    config::Config,
    credentials::Sources,
    proxy::{Budget, Code, SharedError},
    telemetry::metrics::Metrics,
    upstream::Roots,
};

/// The proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// TLS cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A stage cannot be served.
    #[error(transparent)]
    Stage(#[from] SharedError),
    /// The system gives no thread or runtime.
    #[error("a worker cannot start")]
    Worker(#[from] io::Error),
}

/// A proxy that serves.
pub struct Server {
    bound: Vec<Bound>,
    certificate: Option<Certificate>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// What all workers and the acceptor hold.
#[derive(Clone)]
struct Common {
    config: Arc<Config>,
    sources: Arc<Sources>,
    roots: Arc<Roots>,
    budget: Arc<Budget>,
    metrics: Option<Arc<Metrics>>,
    /// One permit a connection.
    connections: Arc<Semaphore>,
    /// Told once for each connection for which there is no permit.
    room: Arc<Notify>,
    /// For the TCP listeners, when they speak TLS.
    tls: Option<TlsAcceptor>,
    stopping: watch::Receiver<bool>,
}

/// What the workers of this configuration count into, all at 0; `None` where metrics are off.
#[must_use]
pub fn metrics(config: &Config) -> Option<Arc<Metrics>> {
    let codes = || Code::ALL.iter().map(|code| [code.as_str(), code.fault().as_str()]).collect();
    config.metrics.then(|| Metrics::new(config, codes()))
}

impl Server {
    /// Binds and serves, and counts into `metrics` if there are any.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(
        config: &Arc<Config>,
        sources: &Arc<Sources>,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<Self, StartError> {
        files::raise_limit(config.limits.max_connections);
        let (tls, certificate) = config.tls.as_ref().map(tls::load).transpose()?.unzip();
        let listeners = config.listen.iter().map(|address| Listener::bind(address, config.unix_mode));
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let bound = listeners.iter().map(|listener| listener.bound(tls.is_some())).collect();
        let (stop, stopping) = watch::channel(false);
        let budget = Budget::new(config);
        if let Some(metrics) = &metrics {
            let budget = Arc::clone(&budget);
            metrics.set_buffered(move || budget.used());
        }
        let common = Common {
            config: Arc::clone(config),
            sources: Arc::clone(sources),
            roots: Arc::default(),
            budget,
            metrics,
            connections: Arc::new(Semaphore::new(config.limits.max_connections)),
            room: Arc::default(),
            tls,
            stopping,
        };
        let mut server = Self { bound, certificate, stop, threads: Vec::new() };
        let started = if config.workers.get() == 1 {
            server.start_one(&common, listeners)
        } else {
            server.start_many(&common, listeners)
        };
        match started {
            Ok(()) => Ok(server),
            Err(error) => {
                server.stop();
                Err(error)
            }
        }
    }

    fn start_one(&mut self, common: &Common, listeners: Vec<Listener>) -> Result<(), StartError> {
        let (ready, started) = mpsc::channel();
        self.threads.push(worker::spawn(0, common.clone(), worker::Inbox::Listeners(listeners), ready)?);
        wait_for(&started)
    }

    fn start_many(&mut self, common: &Common, listeners: Vec<Listener>) -> Result<(), StartError> {
        let mut outboxes = Vec::new();
        for index in 0..common.config.workers.get() {
            let (outbox, inbox) = tokio::sync::mpsc::unbounded_channel();
            outboxes.push(outbox);
            let (ready, started) = mpsc::channel();
            self.threads.push(worker::spawn(index, common.clone(), worker::Inbox::Sockets(inbox), ready)?);
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

    /// What clients are shown, when TLS is served.
    #[must_use]
    pub const fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Closes the listeners, lets requests under way end, and waits for that.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
    }
}

fn wait_for(started: &mpsc::Receiver<Result<(), StartError>>) -> Result<(), StartError> {
    started.recv().unwrap_or_else(|_| Err(io::Error::other("it ended before it served").into()))
}
