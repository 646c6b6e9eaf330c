//! `countersign run`: starts everything, says so, and stops it in order on SIGINT or SIGTERM.

use std::{io, process::ExitCode, sync::Arc, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use super::hardening;
use crate::{
    admin::{self, Admin, Health},
    config::Config,
    credentials::Sources,
    server::{self, BindError, Server, StartError},
    telemetry,
};

/// How long the start waits for commands that print API keys and the token.
const KEY_WAIT: Duration = Duration::from_secs(2);

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
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread, runtime or signal.
    #[error("the system refuses what the proxy needs")]
    System(#[from] io::Error),
}

impl From<StartError> for RunError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Bind(error) => Self::Listen(error),
            other => Self::Start(other),
        }
    }
}

/// Serves until a signal says stop.
///
/// # Errors
/// [`RunError`] when it cannot start.
pub fn run(config: Config) -> Result<ExitCode, RunError> {
    hardening::harden();
    let logging = telemetry::start(&config.log)?;
    telemetry::log_panics();
    warn(&config);
    let served = serve(&Arc::new(config));
    logging.finish();
    served.map(|()| ExitCode::SUCCESS)
}

/// What is allowed and yet worth a thought, each time it starts.
fn warn(config: &Config) {
    for exposed in &config.exposed {
        tracing::warn!(
            file = %exposed.path.display(),
            hint = exposed.fix,
            "{}; --strict makes this an error",
            exposed.what
        );
    }
    for (setting, address) in config.remote() {
        if config.tls.is_none() || setting == "admin" {
            tracing::warn!(
                setting,
                %address,
                "other machines reach this address over plain HTTP: whoever can read their network reads requests, \
                 answers and the token"
            );
        }
        if config.guard.token.is_none() {
            tracing::warn!(
                setting,
                %address,
                "no token is asked for: whoever reaches this address calls your stages with your credentials and API key"
            );
        }
    }
}

fn serve(config: &Arc<Config>) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _in_runtime = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let signing = config.stages.iter().filter(|stage| stage.signs());
    let keys = config.stages.iter().filter_map(|stage| stage.api_key.as_ref());
    let sources = Arc::new(Sources::start(signing.map(|stage| &stage.credentials), keys)?);
    // A token that a file holds is known from here on; one that a command prints is waited for below.
    let token = config.guard.token.as_ref().map(|from| sources.token(from));
    let health = Health::new(config, &sources);
    let metrics = server::metrics(config);
    let exposer = metrics.as_ref().map(|metrics| admin::exposer(config, &sources, metrics));
    let admin = match config.admin {
        Some(address) => Some(
            Admin::start(address, Arc::clone(&health), exposer, &config.guard.allowed_hosts)
                .map_err(|source| RunError::Admin { address, source })?,
        ),
        None => None,
    };
    // Whoever waits for "listening" is not to be refused because a key's command has not ended yet. Of several none
    // waits for another: they have been running since the sources started.
    runtime.block_on(async {
        let all = async {
            for key in config.stages.iter().filter_map(|stage| stage.api_key.as_ref()) {
                sources.api_key(key).wait(KEY_WAIT).await;
            }
            if let Some(token) = token {
                token.wait(KEY_WAIT).await;
            }
        };
        // One that takes longer is not waited for: its stage answers 503 until it has ended.
        let _in_time = tokio::time::timeout(KEY_WAIT, all).await;
    });
    let server = Server::start(config, &sources, metrics)?;
    announce(config, &server, admin.as_ref());

    let signal = runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    });
    tracing::info!(signal, "stopping: requests under way may end");
    health.drain();
    server.stop();
    if let Some(admin) = admin {
        admin.stop();
    }
    tracing::info!("stopped");
    Ok(())
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
