//! `countersign run`: starts everything, says so, reads the configuration again when it changes or on SIGHUP, and stops
//! everything in order on SIGINT or SIGTERM.
//!
//! ```text
//! SIGTERM   or POST /quitquitquit, where that is allowed: /readyz says 503 at once; connections are still taken for limits.drain_delay
//! then      listeners and idle connections close; requests under way may end for limits.drain_timeout
//! at last   what is left is cut, and the exit code is 0
//! ```
//!
//! A second signal cuts at once; the exit code then is 128 and the signal's number, as shells have it. Handlers are
//! installed for all three signals, so that they count for process 1 of a container too, for which the kernel drops what
//! is not handled (pid_namespaces(7)).

use std::{io, net::SocketAddr, process::ExitCode, sync::Arc, thread, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::{self, MissedTickBehavior},
};

use super::{
    greeting::greet,
    link::{self, LinkFile},
    notify,
    reload::{Files, LOOK, Reloader},
};
use crate::{
    admin::{self, Admin, Health, Inspected, Reach},
    config::{Config, Given},
    credentials::Sources,
    server::{self, BindError, Inherited, InheritedError, Server, StartError},
    telemetry::{self, Logging, Terminal, Watchers, exchange::Hub},
};

/// How long the start waits for commands that print API keys and the token.
pub(super) const KEY_WAIT: Duration = Duration::from_secs(2);

/// The proxy cannot run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RunError {
    /// The log filter is not one.
    #[error(transparent)]
    #[diagnostic(help("a filter is a level, or target=level pairs with commas: \"info,countersign=debug\""))]
    Filter(#[from] telemetry::BadFilter),
    /// An address is taken, or is not this machine's.
    #[error(transparent)]
    #[diagnostic(help("another program may have it; --listen names another address, and port 0 a free one"))]
    Listen(BindError),
    /// A stage cannot be served, or a worker cannot start.
    #[error(transparent)]
    Start(StartError),
    /// The admin listener cannot start.
    #[error("cannot listen on {address} for admin")]
    #[diagnostic(help(
        "another countersign may run; give this one another address with --admin, or \"off\""
    ))]
    Admin {
        /// As it was configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread, runtime or signal.
    #[error("the system refuses what the proxy needs")]
    System(#[from] io::Error),
}

impl From<InheritedError> for RunError {
    fn from(error: InheritedError) -> Self {
        Self::Start(error.into())
    }
}

impl From<StartError> for RunError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Bind(error) => Self::Listen(error),
            other => Self::Start(other),
        }
    }
}

/// Serves until a signal says stop. `config` was read from what is `given`, and is read again.
///
/// # Errors
/// [`RunError`] when it cannot start.
pub fn run(given: Given, config: Config) -> Result<ExitCode, RunError> {
    // First, while there is no other thread that reads the environment.
    let inherited = Inherited::take()?;
    let files = Files::of(&config);
    let logging = telemetry::start(&config.log)?;
    telemetry::log_panics();
    // On a terminal they are part of the greeting.
    if logging.terminal().is_none() {
        Cautions::of(&config).log();
    }
    let watchers = watchers(&config, &logging);
    let traces = telemetry::start_traces(config.otlp.as_ref()).unwrap_or_else(|error| {
        tracing::warn!("{error}");
        None
    });
    let served = serve(given, &Arc::new(config), watchers, inherited, files, logging.terminal());
    if let Some(traces) = traces {
        traces.finish();
    }
    logging.finish();
    served
}

/// Who is to see requests.
pub(super) fn watchers(config: &Config, logging: &Logging) -> Watchers {
    let hub = config
        .inspector
        .enabled
        .then(|| Hub::new(usize::try_from(config.inspector.buffer).unwrap_or(usize::MAX)));
    // A person at a terminal may want to know what came before they looked.
    let from_start = config.inspector.from_start.unwrap_or(logging.terminal().is_some());
    if let Some(hub) = hub.as_ref().filter(|_| from_start) {
        hub.want();
    }
    Watchers { hub, blocks: Some(logging.blocks()) }
}

/// What is allowed and yet worth a thought, each time it starts.
pub(super) struct Cautions<'a>(&'a Config);

const PLAIN: &str = "other machines reach this address over plain HTTP: whoever can read their network reads requests, \
                     answers and the token";
const OPEN: &str =
    "no token is asked for: whoever reaches this address calls your stages with your credentials and API key";
const OPEN_ADMIN: &str =
    "no token is asked for: whoever reaches this address sees metrics and the state of your credentials";

impl<'a> Cautions<'a> {
    pub(super) const fn of(config: &'a Config) -> Self {
        Self(config)
    }

    /// Addresses that other machines reach: setting, address and what is to be thought of.
    fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr, &'static str)> + '_ {
        self.0.remote().flat_map(|(setting, address)| {
            let plain = (self.0.tls.is_none() || setting == "admin").then_some(PLAIN);
            let open = if setting == "admin" { OPEN_ADMIN } else { OPEN };
            let open = self.0.guard.token.is_none().then_some(open);
            plain.into_iter().chain(open).map(move |what| (setting, address, what))
        })
    }

    /// For whoever reads the log.
    pub(super) fn log(&self) {
        for exposed in &self.0.exposed {
            tracing::warn!(
                file = %exposed.path.display(),
                hint = exposed.fix,
                "{}; --strict makes this an error",
                exposed.what
            );
        }
        for (setting, address, what) in self.addresses() {
            tracing::warn!(setting, %address, "{what}");
        }
    }

    /// The same for a person: what, and what to do about it.
    pub(super) fn told(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let files =
            self.0.exposed.iter().map(|exposed| {
                (format!("{}: {}", exposed.path.display(), exposed.what), exposed.fix.clone())
            });
        files.chain(
            self.addresses()
                .map(|(setting, address, what)| (format!("{setting} {address}: {what}"), String::new())),
        )
    }
}

/// The signals that are obeyed.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

/// What says stop: a signal's name and its number, or a request.
type Stop = (&'static str, u8);

impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// One that says stop, or `None` for SIGHUP.
    async fn next(&mut self) -> Option<Stop> {
        tokio::select! {
            _ = self.interrupt.recv() => Some(("SIGINT", 2)),
            _ = self.terminate.recv() => Some(("SIGTERM", 15)),
            _ = self.hangup.recv() => None,
        }
    }

    /// SIGINT or SIGTERM.
    async fn stop(&mut self) -> Stop {
        loop {
            if let Some(stop) = self.next().await {
                return stop;
            }
        }
    }
}

fn serve(
    given: Given,
    config: &Arc<Config>,
    watchers: Watchers,
    inherited: Inherited,
    files: Files,
    terminal: Option<&Terminal>,
) -> Result<ExitCode, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _in_runtime = runtime.enter();
        Signals::install()?
    };
    let Serving { sources, health, admin, mut server, link: _link } =
        start(config, watchers, inherited, &runtime)?;
    match terminal {
        Some(terminal) => runtime.block_on(greet(config, &sources, &server, admin.as_ref(), terminal)),
        None => announce(config, &server, admin.as_ref()),
    }
    notify::ready("serving");

    let mut reloader = Reloader::new(given, Arc::clone(config), sources, Arc::clone(&health), files);
    let stop = runtime.block_on(supervise(&mut signals, &mut server, &mut reloader, &health));
    let code = runtime.block_on(end(stop, &mut signals, server, &health, &reloader))?;
    if let Some(admin) = admin {
        admin.stop();
    }
    tracing::info!("stopped");
    Ok(code)
}

/// All that is at work.
pub(super) struct Serving {
    pub(super) sources: Arc<Sources>,
    pub(super) health: Arc<Health>,
    pub(super) admin: Option<Admin>,
    pub(super) server: Server,
    /// Keeps the inspector's link in its file.
    pub(super) link: Option<LinkFile>,
}

/// Starts everything that serves.
pub(super) fn start(
    config: &Arc<Config>,
    watchers: Watchers,
    inherited: Inherited,
    runtime: &tokio::runtime::Runtime,
) -> Result<Serving, RunError> {
    let signing = config.stages.iter().filter(|stage| stage.signs());
    let keys = config.stages.iter().filter_map(|stage| stage.api_key.as_ref());
    let sources = Arc::new(Sources::start(signing.map(|stage| &stage.credentials), keys)?);
    // A token that a file holds is known from here on; one that a command prints is waited for below.
    if let Some(from) = &config.guard.token {
        sources.token(from);
    }
    let health = Health::new(config, &sources);
    let metrics = server::metrics(config);
    let exposer = metrics.as_ref().map(|metrics| admin::exposer(&health, &sources, metrics));
    let inspected = watchers.hub.clone().map(|hub| Inspected { hub, sources: Arc::clone(&sources) });
    let admin = match config.admin {
        Some(address) => Some(
            Admin::start(address, Arc::clone(&health), exposer, inspected)
                .map_err(|source| RunError::Admin { address, source })?,
        ),
        None => None,
    };
    runtime.block_on(wait_for_keys(config, &sources));
    let server = Server::start(config, &sources, metrics, watchers, inherited, &health.for_probes())?;
    if let Some(admin) = &admin {
        let listen = server.bound().iter().map(ToString::to_string).collect();
        admin.reaches(Reach { entry: server.entry(), listen });
    }
    health.listening();
    let link = announced(admin.as_ref());
    Ok(Serving { sources, health, admin, server, link })
}

/// Whoever waits for "listening" is not to be refused because a key's command has not ended yet. Of several none waits
/// for another: they have been running since the sources started.
pub(super) async fn wait_for_keys(config: &Config, sources: &Sources) {
    let all = async {
        for key in config.stages.iter().filter_map(|stage| stage.api_key.as_ref()) {
            sources.api_key(key).wait(KEY_WAIT).await;
        }
        if let Some(from) = &config.guard.token {
            sources.token(from).wait(KEY_WAIT).await;
        }
    };
    // One that takes longer is not waited for: its stage answers 503 until it has ended.
    let _in_time = time::timeout(KEY_WAIT, all).await;
}

/// Serves until it is told to stop.
async fn supervise(
    signals: &mut Signals,
    server: &mut Server,
    reloader: &mut Reloader,
    health: &Health,
) -> Stop {
    let ticks = |pause| {
        let mut ticks = time::interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let mut look = ticks(LOOK);
    let mut watchdog = notify::watchdog().map(ticks);
    loop {
        let reload = tokio::select! {
            event = signals.next() => match event {
                Some(stop) => return stop,
                None => true,
            },
            () = health.quit_asked() => return ("/quitquitquit", 0),
            _ = look.tick() => reloader.has_changed(),
            () = tick(watchdog.as_mut()) => {
                if server.is_alive() {
                    notify::alive();
                }
                false
            }
        };
        if reload {
            notify::reloading();
            reloader.reload(server).await;
            notify::ready("serving");
        }
    }
}

/// Never ends when there is nothing to wait for.
async fn tick(interval: Option<&mut time::Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

/// Ends in order; a second signal ends it at once.
async fn end(
    (signal, _): Stop,
    signals: &mut Signals,
    server: Server,
    health: &Health,
    reloader: &Reloader,
) -> io::Result<ExitCode> {
    let limits = &reloader.running().limits;
    health.drain();
    notify::stopping("requests under way may end");
    let mut second = None;
    if !limits.drain_delay.is_zero() {
        let delay = humantime::format_duration(limits.drain_delay);
        tracing::info!(signal, "stopping: connections are still taken for {delay} (limits.drain_delay)");
        tokio::select! {
            stop = signals.stop() => second = Some(stop),
            () = time::sleep(limits.drain_delay) => {}
        }
    }
    tracing::info!(signal, "stopping: requests under way may end");
    server.drain();
    let cut = server.cutter();
    let (ended, mut end) = oneshot::channel();
    let waiting = thread::Builder::new().name("end".into()).spawn(move || {
        server.join();
        // Whoever waits for it is this function.
        let _ = ended.send(());
    })?;
    if second.is_none() {
        tokio::select! {
            _ = &mut end => {}
            stop = signals.stop() => second = Some(stop),
        }
    }
    if let Some((signal, _)) = second {
        tracing::warn!(signal, "a second signal: requests under way are not waited for");
        cut();
        let _ = end.await;
    }
    // It has said that it is done; nothing is left that could panic.
    let _ = waiting.join();
    Ok(second.map_or(ExitCode::SUCCESS, |(_, number)| ExitCode::from(128 + number)))
}

/// Says how to get into the inspector, if there is one. What it gives back keeps the link in its file.
fn announced(admin: Option<&Admin>) -> Option<LinkFile> {
    let admin = admin?;
    link::announce(admin.address(), &admin.link()?)
}

fn announce(config: &Config, server: &Server, admin: Option<&Admin>) {
    for stage in &config.stages {
        let url = &stage.url;
        let scheme = if url.tls { "https" } else { "http" };
        tracing::info!(
            stage = stage.name,
            mount = stage.mount,
            url = format!("{scheme}://{}{}", url.authority, url.path),
            region = stage.region,
            service = stage.service,
            "stage"
        );
    }
    if let Some(admin) = admin {
        tracing::info!(address = %admin.address(), "admin on http://{}", admin.address());
    }
    if let Some(certificate) = server.certificate() {
        let (file, sha256) = (certificate.file.display(), &certificate.sha256);
        tracing::info!(%file, sha256, "TLS for clients; the certificate's SHA-256 is {sha256}");
    }
    // Last, so that whoever waits for this line finds everything up.
    for bound in server.bound() {
        tracing::info!(address = bound.address(), "listening on {bound}");
    }
}
