//! Trusted roots and TLS 1.2 and 1.3 by rustls. There is no switch that turns verification off.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// No usable root certificate.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The `ca_bundle` cannot be read or holds no certificate.
    #[error("ca_bundle {}: {why}", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Neither the platform nor a `ca_bundle` has a root.
    #[error(
        "this machine has no trusted root certificates (install the package ca-certificates, or set SSL_CERT_FILE)"
    )]
    NonePresent,
}

/// The platform's roots, read when they are first needed: it takes some milliseconds.
#[derive(Debug, Default)]
pub struct Roots {
    platform: OnceLock<RootCertStore>,
}

impl Roots {
    fn platform(&self) -> RootCertStore {
        let load = || {
            let mut store = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "some of the platform's root certificates cannot be read");
            }
            store.add_parsable_certificates(found.certs);
            store
        };
        self.platform.get_or_init(load).clone()
    }

    /// What a stage's certificate may lead to: the platform's roots and those of `ca_bundle`.
    ///
    /// # Errors
    /// [`RootError`] when the bundle is unusable or there is no root at all.
    pub(super) fn store(&self, ca_bundle: Option<&Path>) -> Result<RootCertStore, RootError> {
        let mut store = self.platform();
        if let Some(path) = ca_bundle {
            add_bundle(&mut store, path)?;
        }
        if store.is_empty() {
            return Err(RootError::NonePresent);
        }
        Ok(store)
    }

    /// The TLS settings for a stage that trust these.
    ///
    /// # Errors
    /// [`RootError`] when the bundle is unusable or there is no root at all.
    pub fn client_config(&self, ca_bundle: Option<&Path>) -> Result<Arc<ClientConfig>, RootError> {
        self.store(ca_bundle).map(trusting)
    }
}

fn trusting(store: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring offers the suites of TLS 1.2 and 1.3")
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// TLS settings with which every handshake fails: what a stage has whose roots cannot be read.
#[must_use]
pub fn trusting_nobody() -> Arc<ClientConfig> {
    trusting(RootCertStore::empty())
}

fn add_bundle(store: &mut RootCertStore, path: &Path) -> Result<(), RootError> {
    let broken = |why: String| RootError::Bundle { path: path.to_owned(), why };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| broken(error.to_string()))?;
    let before = store.len();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| broken(error.to_string()))?;
        store.add(certificate).map_err(|error| broken(error.to_string()))?;
    }
    if store.len() == before { Err(broken("no certificate in it".into())) } else { Ok(()) }
}
