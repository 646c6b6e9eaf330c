//! `countersign health`: asks a running countersign whether it is ready, for a container's health check, where there
//! may be no shell and no curl.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
};

use http::{Method, StatusCode};

use super::{
    HealthArgs,
    ask::{NoAnswer, ask_within},
};

/// No answer that tells anything.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HealthError {
    /// Nobody listens there, or whoever does breaks off.
    #[error("no countersign answers on {address}")]
    #[diagnostic(help("is it running, with this admin address? (--admin or COUNTERSIGN_ADMIN says which)"))]
    NoAnswer {
        /// The admin address.
        address: SocketAddr,
        /// What went wrong.
        source: NoAnswer,
    },
    /// It took too long.
    #[error("no answer from {address} in time")]
    #[diagnostic(help("--timeout sets how long to wait"))]
    TimedOut {
        /// The admin address.
        address: SocketAddr,
    },
    /// The system gives no runtime.
    #[error("the system refuses what the check needs")]
    System(#[from] io::Error),
}

/// Prints what the running countersign says; success when it is ready.
///
/// # Errors
/// [`HealthError`] when nothing was said.
pub fn run(args: &HealthArgs) -> Result<ExitCode, HealthError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = args.admin;
    let asked = runtime.block_on(ask_within(args.timeout, address, Method::GET, "/readyz", None));
    let answer = asked
        .ok_or(HealthError::TimedOut { address })?
        .map_err(|source| HealthError::NoAnswer { address, source })?;
    // The exit code tells whoever does not read on.
    let _ = writeln!(io::stdout(), "{}", answer.text());
    Ok(if answer.status == StatusCode::OK { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
