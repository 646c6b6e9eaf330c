//! A throwaway certificate authority and the gateway's certificate, and TLS set up on either side with them.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
};

use super::clock::{civil, seconds};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate could not be made.
    #[error("cannot make the gateway's certificate")]
    Certificate(#[from] rcgen::Error),
    /// rustls refused the certificate or key.
    #[error("cannot set up TLS")]
    Setup(#[from] rustls::Error),
    /// The root is not a certificate in PEM.
    #[error("the root certificate is not PEM")]
    Pem,
}

/// A server's TLS side, and the root that its clients have to trust.
pub struct Material {
    /// HTTP/1.1 over TLS 1.2 or 1.3.
    pub server: Arc<ServerConfig>,
    /// The root certificate. Its private key is gone once this is made.
    pub ca_pem: String,
}

/// Makes a root, and with it a certificate for these names and addresses, good for a month from yesterday on.
///
/// # Errors
/// When a name is no DNS name or address, or a key cannot be generated.
pub fn make(names: Vec<String>) -> Result<Material, TlsError> {
    let mut root = CertificateParams::new(Vec::new())?;
    root.distinguished_name.push(DnType::CommonName, "countersign demo root");
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    date(&mut root);
    let root_key = KeyPair::generate()?;
    let ca_pem = root.self_signed(&root_key)?.pem();

    // rustls refuses a certificate authority's own certificate as a server's, so the server gets one of its own.
    let mut leaf = CertificateParams::new(names)?;
    leaf.distinguished_name.push(DnType::CommonName, "countersign demo gateway");
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    date(&mut leaf);
    let leaf_key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&leaf_key, &Issuer::new(root, root_key))?;

    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Material { server: Arc::new(server), ca_pem })
}

/// A client's TLS side that trusts this root and no other.
///
/// # Errors
/// When the text is no certificate in PEM.
pub fn trusting(ca_pem: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|_| TlsError::Pem)?)?;
    let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(client))
}

fn date(certificate: &mut CertificateParams) {
    let today = seconds(std::time::SystemTime::now()).div_euclid(86_400);
    let moment = |days: i64| {
        let (year, month, day) = civil(days);
        let small = |number: i64| u8::try_from(number).expect("months and days of a month are small");
        rcgen::date_time_ymd(i32::try_from(year).expect("a year of this era"), small(month), small(day))
    };
    certificate.not_before = moment(today - 1);
    certificate.not_after = moment(today + 30);
}
