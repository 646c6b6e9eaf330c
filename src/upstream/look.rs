//! A look at a stage from outside of any request: its addresses, and the certificate that it shows. Dialled as for a
//! request, and closed again.

use std::{
    io,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    ProtocolVersion,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{net::lookup_host, time};

use super::{
    dial::Dialer,
    failure::Failure,
    tls::{RootError, Roots},
};
use crate::config::{StageUrl, Timeouts};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// No certificate that a browser takes lasts longer (CA/Browser Forum, Baseline Requirements 6.3.2).
pub const MOST_DAYS: u32 = 398;

/// What a handshake has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// `1.3`
    pub version: &'static str,
    /// Certificates that the stage sent: its own, and those that lead to a root.
    pub certificates: usize,
    /// For how many whole days from now the chain will still hold; at most [`MOST_DAYS`].
    pub days: u32,
}

/// No handshake.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// There is no root to trust.
    #[error(transparent)]
    Roots(#[from] RootError),
    /// No connection, or no TLS on it.
    #[error(transparent)]
    Failure(#[from] Failure),
}

/// The addresses of what is dialled for a stage.
///
/// # Errors
/// What the resolver says, or that it said nothing in `timeouts.connect`.
pub async fn addresses(
    url: &StageUrl,
    connect_to: Option<&(String, u16)>,
    timeouts: Timeouts,
) -> io::Result<Vec<IpAddr>> {
    let (host, port) = connect_to.map_or((url.host.as_str(), url.port), |(host, port)| (host, *port));
    // As the dialler does it.
    let host = if host.ends_with(".localhost") { "localhost" } else { host };
    let asked = time::timeout(timeouts.connect, lookup_host((host, port))).await;
    let mut found: Vec<_> =
        asked.map_err(|_| io::ErrorKind::TimedOut)??.map(|address| address.ip()).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Dials, and says what TLS there is; `None` for a stage without.
///
/// # Errors
/// [`LookError`] when a request would fail likewise.
pub async fn look(
    url: &StageUrl,
    connect_to: Option<&(String, u16)>,
    ca_bundle: Option<&Path>,
    timeouts: Timeouts,
) -> Result<Option<Seen>, LookError> {
    let roots = Roots::default();
    let tls = if url.tls { Some(roots.client_config(ca_bundle)?) } else { None };
    let stream = Dialer::new(url, connect_to, tls, timeouts).dial().await?;
    let Some(session) = stream.session() else { return Ok(None) };
    let shown = session.peer_certificates().unwrap_or_default();
    let days = match (ServerName::try_from(url.host.as_str()), shown.split_first()) {
        (Ok(name), Some((own, others))) => days(&roots, ca_bundle, &name, own, others)?,
        _ => 0,
    };
    let version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "1.2",
    };
    Ok(Some(Seen { version, certificates: shown.len(), days }))
}

/// The chain is verified for later days until one is found on which it does not hold: that sees whichever of its
/// certificates expires first, a root too.
fn days(
    roots: &Roots,
    ca_bundle: Option<&Path>,
    name: &ServerName<'_>,
    own: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
) -> Result<u32, RootError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let store = Arc::new(roots.store(ca_bundle)?);
    let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(store, provider).build() else {
        return Ok(0);
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let holds = |days: u32| {
        let then = UnixTime::since_unix_epoch(now + DAY * days);
        verifier.verify_server_cert(own, others, name, &[], then).is_ok()
    };
    let (mut holding, mut not) = (0, MOST_DAYS + 1);
    while not - holding > 1 {
        let middle = holding + (not - holding) / 2;
        if holds(middle) { holding = middle } else { not = middle }
    }
    Ok(holding)
}
