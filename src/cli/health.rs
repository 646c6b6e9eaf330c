//! `countersign health`: asks a running countersign whether it is ready, for a container's health check, where there
//! may be no shell and no curl.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::HealthArgs;

/// More than a readiness report ever is.
const MOST: usize = 1 << 20;

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
        source: Box<dyn std::error::Error + Send + Sync>,
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
    let asked = runtime.block_on(async { tokio::time::timeout(args.timeout, ask(address)).await });
    let (status, report) = asked
        .map_err(|_| HealthError::TimedOut { address })?
        .map_err(|source| HealthError::NoAnswer { address, source })?;
    // The exit code tells whoever does not read on.
    let _ = writeln!(io::stdout(), "{}", String::from_utf8_lossy(&report).trim_end());
    Ok(if status == StatusCode::OK { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ask(address: SocketAddr) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    // Not the address that was asked for: what a "0.0.0.0" leads to is called 127.0.0.1.
    let host = stream.peer_addr()?.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let asking = async {
        let request = Request::get("/readyz").header(header::HOST, host);
        let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = answer.status();
        Ok((status, Limited::new(answer.into_body(), MOST).collect().await?.to_bytes()))
    };
    tokio::select! {
        answer = asking => answer,
        Err(error) = connection => Err(error.into()),
    }
}
