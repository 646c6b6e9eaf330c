//! The certificate of `tls = "self-signed"`: made once for this machine's own names, kept in the state folder, and made
//! anew before it expires, or when its key may have been read by others.
//!
//! ```text
//! localhost-key.pem   0600: the date until which it is good, the private key, the certificate
//! localhost.pem       the certificate alone, for clients to trust
//! ```
//!
//! Key and certificate are one file that appears whole, so that two processes that start together cannot mix theirs.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::tls::{Material, TlsError, broken};

const KEY_FILE: &str = "localhost-key.pem";
const CERTIFICATE_FILE: &str = "localhost.pem";

/// What a client on this machine may call it.
const NAMES: [&str; 4] = ["localhost", "*.localhost", "127.0.0.1", "::1"];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a certificate is good.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// One that is good for less than this is made anew.
const MARGIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Begins the line of the key file that says until when it is good. PEM lets text stand outside of its blocks
/// (RFC 7468 section 2).
const UNTIL: &str = "Good until ";

/// `$XDG_STATE_HOME/countersign`, else `~/.local/state/countersign` (XDG Base Directory Specification 0.8).
///
/// # Errors
/// [`TlsError::NoFolder`] when neither variable is set.
pub(super) fn folder() -> Result<PathBuf, TlsError> {
    folder_of(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"))
}

fn folder_of(state: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, TlsError> {
    // A path that is not absolute is to be ignored, says the specification.
    let absolute = |path: Option<OsString>| path.map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(state).or_else(|| absolute(home).map(|home| home.join(".local/state")));
    base.map(|base| base.join("countersign")).ok_or(TlsError::NoFolder)
}

/// What is kept in the folder, or new; with the certificate's file.
///
/// # Errors
/// [`TlsError`] when the folder cannot be used.
pub(super) fn load_or_make(folder: &Path) -> Result<(Material, PathBuf), TlsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| {
            broken(&path, format!("cannot be written: {error}; set XDG_STATE_HOME to a folder of your own"))
        }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(failed(folder))?;
    let (key_file, certificate_file) = (folder.join(KEY_FILE), folder.join(CERTIFICATE_FILE));
    let now = SystemTime::now();
    let kept = || fs::read_to_string(&key_file).ok().filter(|text| is_good(text, now + MARGIN));
    let text = match kept().filter(|_| is_private(&key_file)) {
        Some(text) => text,
        None => {
            let made = make(now)?;
            put(folder, &key_file, &made).map_err(failed(&key_file))?;
            // Of two processes that made one, both take the one that came last.
            kept().unwrap_or(made)
        }
    };
    let unusable = |error: rustls::pki_types::pem::Error| {
        broken(&key_file, format!("is damaged ({error}); remove it, and it is made anew"))
    };
    let certificate = CertificateDer::from_pem_slice(text.as_bytes()).map_err(unusable)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(unusable)?;
    let public = public_part(&text);
    if fs::read_to_string(&certificate_file).ok().as_deref() != Some(public) {
        put(folder, &certificate_file, public).map_err(failed(&certificate_file))?;
    }
    Ok((Material { chain: vec![certificate], key }, certificate_file))
}

/// Writes a file that is there whole or not at all, for its owner alone.
fn put(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(".new")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn is_private(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| matches!(found.permissions().mode() & 0o777, 0o600 | 0o400))
}

/// Whether the text says that it is good at this moment, and holds what it should.
fn is_good(text: &str, at: SystemTime) -> bool {
    let until = text.lines().find_map(|line| line.strip_prefix(UNTIL));
    until.and_then(|until| humantime::parse_rfc3339(until).ok()).is_some_and(|until| until > at)
        && CertificateDer::from_pem_slice(text.as_bytes()).is_ok()
        && PrivateKeyDer::from_pem_slice(text.as_bytes()).is_ok()
}

fn public_part(text: &str) -> &str {
    text.find("-----BEGIN CERTIFICATE-----").map_or("", |at| &text[at..])
}

/// A key file's text.
fn make(now: SystemTime) -> Result<String, TlsError> {
    let until = now + LIFETIME;
    let mut certificate = CertificateParams::new(NAMES.map(str::to_owned))?;
    certificate.distinguished_name.push(DnType::CommonName, "countersign on localhost");
    // Not an authority: whoever gets hold of the key can pretend to be this machine, and nobody else.
    certificate.is_ca = IsCa::ExplicitNoCa;
    certificate.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    certificate.serial_number = Some(SerialNumber::from_slice(&serial(now)));
    // A clock that is a little slow elsewhere is no reason to refuse it.
    certificate.not_before = (now - DAY).into();
    certificate.not_after = until.into();
    let key = KeyPair::generate()?;
    let signed = certificate.self_signed(&key)?;
    let date = humantime::format_rfc3339_seconds(until);
    Ok(format!("{UNTIL}{date}\n{}{}", key.serialize_pem(), signed.pem()))
}

/// Differs from one certificate to the next: browsers refuse two of one issuer with the same number.
fn serial(now: SystemTime) -> [u8; 8] {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, time::SystemTime};

    use super::{
        CERTIFICATE_FILE, KEY_FILE, LIFETIME, MARGIN, UNTIL, folder_of, is_good, load_or_make, make,
    };

    #[test]
    fn the_folder_follows_the_specification() {
        let some = |text: &str| Some(text.into());
        assert_eq!(folder_of(some("/s"), some("/h")).unwrap(), std::path::Path::new("/s/countersign"));
        for state in [None, some(""), some("relative")] {
            let folder = folder_of(state, some("/h")).unwrap();
            assert_eq!(folder, std::path::Path::new("/h/.local/state/countersign"));
        }
        assert!(folder_of(None, None).is_err());
    }

    #[test]
    fn it_is_kept_private_and_made_anew_only_when_it_must() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/countersign");
        let (first, file) = load_or_make(&folder).unwrap();
        let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("."), mode(KEY_FILE), mode(CERTIFICATE_FILE)), (0o700, 0o600, 0o600));
        assert_eq!(file, folder.join(CERTIFICATE_FILE));
        let public = fs::read_to_string(&file).unwrap();
        assert!(public.starts_with("-----BEGIN CERTIFICATE") && !public.contains("PRIVATE"), "{public}");
        let again = || load_or_make(&folder).unwrap().0.chain;
        assert_eq!(again(), first.chain, "it is kept");
        fs::remove_file(&file).unwrap();
        assert_eq!(again(), first.chain);
        assert_eq!(fs::read_to_string(&file).unwrap(), public, "the copy is put back");

        fs::set_permissions(folder.join(KEY_FILE), fs::Permissions::from_mode(0o640)).unwrap();
        let second = again();
        assert_ne!(second, first.chain, "its key may have been read");
        assert_ne!(fs::read_to_string(&file).unwrap(), public, "the copy follows");
        fs::write(folder.join(KEY_FILE), "damaged").unwrap();
        assert_ne!(again(), second);
        let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn it_is_good_until_shortly_before_it_expires() {
        let now = SystemTime::now();
        let text = make(now).unwrap();
        assert!(text.starts_with(UNTIL), "{text}");
        assert!(is_good(&text, now + MARGIN));
        assert!(!is_good(&text, now + LIFETIME));
        assert!(!is_good(text.split("-----BEGIN CERTIFICATE").next().unwrap(), now));
        assert!(!is_good(text.split_once('\n').unwrap().1, now));
    }
}
