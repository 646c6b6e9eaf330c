//! TLS on the listeners: the certificate, the handshake, and an answer for whoever speaks plain HTTP to it.
//!
//! TLS 1.2 and 1.3 by rustls over ring; HTTP/2 or HTTP/1.1 by ALPN. Clients are not asked for certificates, and session
//! keys are never written to a file.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

use super::{
    listen::Conn,
    self_signed,
    wire::{LINGER, own_answer},
};
use crate::{coarse, config::LocalTls, proxy::Code, telemetry::ConnectionEnd};

/// The first byte of a TLS record that opens a handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 0x16;

/// TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("tls: {} {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// There is no folder for what is made.
    #[error(
        "tls = \"self-signed\" needs a folder to keep its certificate in, and neither XDG_STATE_HOME nor HOME is set; \
         set one of them, or name a certificate and its key"
    )]
    NoFolder,
    /// A certificate could not be made.
    #[error("tls: no self-signed certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Certificate and key, in hand.
pub(super) struct Material {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// The certificate that clients are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The PEM file that clients can be told to trust.
    pub file: PathBuf,
    /// Of its DER form, as `openssl x509 -fingerprint -sha256` prints it.
    pub sha256: String,
}

/// Reads or makes what is asked for.
///
/// # Errors
/// [`TlsError`], which names the file and says what to do.
pub(super) fn load(tls: &LocalTls) -> Result<(TlsAcceptor, Certificate), TlsError> {
    let (material, file, key_file) = match tls {
        LocalTls::SelfSigned => {
            let (material, file) = self_signed::load_or_make(&self_signed::folder()?)?;
            (material, file.clone(), file)
        }
        LocalTls::Files { cert, key } => {
            let material = Material { chain: read_chain(cert)?, key: read_key(key)? };
            (material, cert.clone(), key.clone())
        }
    };
    let Material { chain, key } = material;
    let sha256 = chain.first().map(|first| fingerprint(first)).unwrap_or_default();
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring offers the suites of TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => broken(
                &key_file,
                format!(
                    "does not belong to the certificate in {}; name the key that the certificate was made for",
                    file.display()
                ),
            ),
            rustls::Error::InvalidCertificate(_) => {
                broken(&file, format!("holds a certificate that cannot be used ({error}); make it anew"))
            }
            error => broken(&key_file, format!("holds a key that cannot be used ({error}); use ECDSA or RSA")),
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), Certificate { file, sha256 }))
}

pub(super) fn broken(path: &Path, why: String) -> TlsError {
    TlsError::File { path: path.to_owned(), why }
}

fn unreadable(path: &Path, error: &pem::Error, wanted: &str) -> TlsError {
    let why = match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        pem::Error::NoItemsFound => format!("holds no {wanted}"),
        error => format!("is not PEM ({error}); it has to hold a {wanted}"),
    };
    broken(path, why)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const WANTED: &str = "certificate in PEM (-----BEGIN CERTIFICATE-----)";
    let failed = |error| unreadable(path, &error, WANTED);
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if chain.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    const WANTED: &str = "private key in PEM (-----BEGIN PRIVATE KEY-----); an encrypted one has to be decrypted first: openssl pkey";
    PrivateKeyDer::from_pem_file(path).map_err(|error| unreadable(path, &error, WANTED))
}

fn fingerprint(certificate: &[u8]) -> String {
    let bytes: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// Shakes hands, within `limit`.
///
/// # Errors
/// Why there is no connection; whoever spoke plain HTTP has been told.
pub(super) async fn accept(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    limit: Duration,
) -> Result<Conn, ConnectionEnd> {
    let shaking = async {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(0) => return Err(ConnectionEnd::Closed),
            Ok(_) if first[0] == HANDSHAKE => {}
            Ok(_) => return Ok(Err(stream)),
            Err(_) => return Err(ConnectionEnd::Broken),
        }
        match acceptor.accept(stream).await {
            Ok(stream) => Ok(Ok(Conn::Tls(Box::new(stream)))),
            Err(error) => {
                // A client that does not trust the certificate says so here.
                tracing::debug!(target: "countersign::server", %error, "a TLS handshake failed");
                Err(ConnectionEnd::HandshakeFailed)
            }
        }
    };
    match coarse::timeout(limit, shaking).await {
        Ok(Ok(Ok(conn))) => Ok(conn),
        Ok(Ok(Err(plain))) => {
            refuse_plain(plain).await;
            Err(ConnectionEnd::HandshakeFailed)
        }
        Ok(Err(cause)) => Err(cause),
        Err(coarse::Elapsed) => Err(ConnectionEnd::HandshakeTimeout),
    }
}

/// Answers plain HTTP, as it was asked.
async fn refuse_plain(mut stream: TcpStream) {
    let answering = async {
        stream.write_all(&own_answer(Code::TlsExpected.into())).await?;
        stream.shutdown().await?;
        throw_away(&mut stream).await
    };
    // In time or not, and read or not: the connection is over.
    let _ = coarse::timeout(LINGER, answering).await;
}

/// Reads until the client has ended: closing a socket with bytes unread would take the answer from it.
async fn throw_away(from: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut waste = [0; 1 << 10];
    while from.read(&mut waste).await? > 0 {}
    Ok(())
}
