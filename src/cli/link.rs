//! The link that opens the inspector: shown on a terminal, and kept in a file that only the person can read.
//!
//! It carries the inspector's token. A log may be read by others, so there the file is named and the link is not.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::{secret::Secret, server, telemetry};

/// What the names of these files begin with, before the admin listener's port.
pub(super) const PREFIX: &str = "inspector-";

/// The file with the link of the countersign whose admin listener has this port.
pub(super) fn file(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("{PREFIX}{port}"))
}

/// The file with the link; it goes when this is dropped.
pub(super) struct LinkFile(PathBuf);

impl LinkFile {
    /// Writes it into `folder`, named by the admin listener's port, for its owner alone.
    fn write(folder: &Path, admin: SocketAddr, link: &Secret) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        let path = file(folder, admin.port());
        let mut written = tempfile::Builder::new()
            .prefix(".new")
            .permissions(fs::Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        written.write_all(link.expose().as_bytes())?;
        written.write_all(b"\n")?;
        // Whole or not at all, in place of what a run that was killed has left.
        written.persist(&path)?;
        Ok(Self(path))
    }
}

impl Drop for LinkFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Says how to open the inspector. From here on no line of log can hold the token.
pub(super) fn announce(admin: SocketAddr, link: &Secret) -> Option<LinkFile> {
    let written = match server::state_folder() {
        Some(folder) => LinkFile::write(&folder, admin, link),
        None => Err(io::Error::other("neither XDG_STATE_HOME nor HOME is set")),
    };
    if io::stderr().is_terminal() {
        tracing::info!("inspector on {}", link.expose());
    } else {
        match &written {
            Ok(file) => tracing::info!(
                file = %file.0.display(),
                "inspector on http://{admin}; the link that opens it is in {}",
                file.0.display()
            ),
            Err(error) => tracing::warn!(
                %error,
                "nobody can open the inspector: the link to it cannot be kept; set XDG_STATE_HOME to a folder of your own"
            ),
        }
    }
    if let Some((_, token)) = link.expose().split_once("token=") {
        telemetry::hide(&Secret::new(token));
    }
    written.ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::LinkFile;
    use crate::secret::Secret;

    #[test]
    fn only_its_owner_reads_it_and_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = state.join("inspector-8081");
        let admin = ([127, 0, 0, 1], 8081).into();
        let mut held = Vec::new();
        for link in ["http://127.0.0.1:8081/?token=a", "http://127.0.0.1:8081/?token=b"] {
            let file = LinkFile::write(&state, admin, &Secret::new(link)).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{link}\n"));
            assert_eq!((mode(&path), mode(&state)), (0o600, 0o700));
            held.push(file);
        }
        // The first is what a run that was killed has left: the second took its place.
        held.clear();
        assert!(!path.exists());
    }
}
