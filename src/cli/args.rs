//! The arguments of the commands that take none of the settings, and are small.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::service;
use crate::config::{Admin, Listen, Mistake, Wait};

/// The arguments of `countersign demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Stay up after the six requests, for requests of your own
    #[arg(long)]
    pub keep: bool,

    /// Where the demo's proxy listens; by itself a free port of 127.0.0.1
    #[arg(long, value_name = "ADDRESS", value_parser = tcp)]
    pub listen: Option<SocketAddr>,
}

/// The arguments of `countersign health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Where the running countersign serves health
    #[arg(long, value_name = "ADDRESS", env = "COUNTERSIGN_ADMIN", default_value = "127.0.0.1:8081", value_parser = served)]
    pub admin: SocketAddr,

    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = wait)]
    pub timeout: Duration,
}

/// The arguments of `countersign inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Where that countersign serves its inspector; the port decides
    #[arg(long, value_name = "ADDRESS", env = "COUNTERSIGN_ADMIN", default_value = "127.0.0.1:8081", value_parser = served)]
    pub admin: SocketAddr,

    /// Have a browser open it, by xdg-open, or open on macOS
    #[arg(long)]
    pub open: bool,
}

/// The arguments of `countersign wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Where that countersign serves health
    #[arg(long, value_name = "ADDRESS", env = "COUNTERSIGN_ADMIN", default_value = "127.0.0.1:8081", value_parser = served)]
    pub admin: SocketAddr,

    /// How long to wait at most
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = wait)]
    pub max: Duration,
}

/// The arguments of `countersign shutdown`.
#[derive(Debug, Args)]
pub struct ShutdownArgs {
    /// Where the running countersign serves health
    #[arg(long, value_name = "ADDRESS", env = "COUNTERSIGN_ADMIN", default_value = "127.0.0.1:8081", value_parser = served)]
    pub admin: SocketAddr,

    /// How long to wait at most: longer than its limits.drain_delay and limits.drain_timeout together
    #[arg(long, value_name = "TIME", default_value = "40s", value_parser = wait)]
    pub max: Duration,

    /// A file that holds the callers' token, for an address that other machines reach; the variable COUNTERSIGN_TOKEN
    /// holds the token itself
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

/// The arguments of `countersign service`.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// What to do
    #[command(subcommand)]
    pub action: ServiceAction,

    /// Whose service it is; by itself that of this system
    #[arg(long, global = true, value_enum, value_name = "MANAGER")]
    pub manager: Option<service::Manager>,
}

/// What to do with the service.
#[derive(Debug, Subcommand)]
pub enum ServiceAction {
    /// Write its file, and have the manager start it now and at each login
    #[command(after_help = "Example:\n  countersign service install --config ~/orders.toml")]
    Install {
        /// What it runs with; by itself countersign/countersign.toml below $XDG_CONFIG_HOME or ~/.config
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,

        /// Print the file and the commands, and change nothing
        #[arg(long)]
        dry_run: bool,
    },

    /// End it, and remove its file
    #[command(after_help = "Example:\n  countersign service uninstall")]
    Uninstall {
        /// Print the commands, and change nothing
        #[arg(long)]
        dry_run: bool,
    },

    /// Show what the manager says of it; the exit code tells whether it runs
    #[command(after_help = "Example:\n  countersign service status")]
    Status,
}

/// The arguments of `countersign completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// The arguments of `countersign man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where to write the pages; it must exist
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

fn tcp(text: &str) -> Result<SocketAddr, Mistake> {
    match text.parse()? {
        Listen::Tcp(address) if address.ip().is_loopback() => Ok(address),
        Listen::Tcp(_) => Err(Mistake::new("the demo listens on this machine alone: 127.0.0.1:8080, say")),
        Listen::Unix(_) => Err(Mistake::new("the demo listens on an address, not on a Unix socket")),
    }
}

fn served(text: &str) -> Result<SocketAddr, Mistake> {
    text.parse::<Admin>()?.0.ok_or_else(|| Mistake::new("health is not served when admin is off"))
}

fn wait(text: &str) -> Result<Duration, Mistake> {
    text.parse::<Wait>().map(|wait| wait.0)
}
