//! Files that hold a secret and that others may read, and a configuration that others may write.
//!
//! Whoever writes the configuration file has the credentials sent to a host of their choice, so nobody but its owner is to
//! write it; reading it harms only when a secret is written in it. A file that this process does not own is another
//! matter in one respect: that its group may read it is how this process reads it at all (Kubernetes mounts secrets
//! as root's, with `fsGroup` for their group).
//!
//! Only bits of ordinary files are looked at: a pipe (`<(command)`) and what does not exist yet are let be.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{
    ApiKey, Config,
    error::{Kind, Mistake, Place, Problem},
};

const READ: u32 = 0o044;
const WRITE: u32 = 0o022;

/// A file that others may read or write and should not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The file.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// The setting that names it; empty for the configuration file.
    pub key: String,
    /// What is wrong, in a sentence without a full stop.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl From<Exposed> for Problem {
    fn from(exposed: Exposed) -> Self {
        let mistake = Mistake::new(exposed.what).fix(exposed.fix);
        let place = Place::WholeFile(exposed.path);
        Self { kind: Kind::Unsafe, place, key: exposed.key, mistake }
    }
}

/// All such files. `has_secret`: a key or token is written in the configuration file.
pub(super) fn exposed(config: &Config, has_secret: bool) -> Vec<Exposed> {
    let mut all = Vec::new();
    if let Some(path) = &config.file {
        let forbidden = if has_secret { READ | WRITE } else { WRITE };
        all.extend(look(path, "", "the configuration file", forbidden));
    }
    if let Some(ApiKey::File(path)) = &config.guard.token {
        all.extend(look(path, "guard.token.file", "the file of the token", READ | WRITE));
    }
    for path in config.key_files() {
        all.extend(look(path, "tls.key", "the private key of tls", READ | WRITE));
    }
    for stage in &config.stages {
        if let Some(ApiKey::File(path)) = &stage.api_key {
            let name = format!("the file of {}'s API key", stage.name);
            all.extend(look(path, "stage.api_key.file", &name, READ | WRITE));
        }
    }
    all
}

fn look(path: &Path, key: &str, name: &str, forbidden: u32) -> Option<Exposed> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mode = metadata.permissions().mode() & 0o777;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    let excess = excess(mode, ours, forbidden);
    let (doing, fix) = match (excess & READ != 0, excess & WRITE != 0) {
        (false, false) => return None,
        (true, false) => ("read", "600"),
        (false, true) => ("write", "go-w"),
        (true, true) => ("read and write", "600"),
    };
    let shown = path.display();
    let mounted = if ours { "" } else { "; for a mounted secret, its defaultMode or mode: 0400" };
    Some(Exposed {
        path: path.to_owned(),
        mode,
        key: key.to_owned(),
        what: format!("others may {doing} {name} (mode {mode:04o})"),
        fix: format!("chmod {fix} '{shown}'{mounted}"),
    })
}

/// The bits that should not be there.
const fn excess(mode: u32, ours: bool, forbidden: u32) -> u32 {
    mode & if ours { forbidden } else { forbidden & !0o040 }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::{READ, WRITE, excess, look};

    #[test]
    fn what_may_be_read_and_written_by_whom() {
        for (mode, ours, secret, plain) in [
            (0o600, true, false, false),
            (0o400, true, false, false),
            (0o700, true, false, false),
            (0o640, true, true, false),
            (0o644, true, true, false),
            (0o604, true, true, false),
            (0o620, true, true, true),
            (0o602, true, true, true),
            (0o711, true, false, false),
            // Mounted, root's: readable by our group, by everybody, and written by the group.
            (0o440, false, false, false),
            (0o444, false, true, false),
            (0o644, false, true, false),
            (0o660, false, true, true),
        ] {
            let found = |forbidden| excess(mode, ours, forbidden) != 0;
            assert_eq!((found(READ | WRITE), found(WRITE)), (secret, plain), "{mode:o} {ours}");
        }
    }

    #[test]
    fn only_files_that_are_there_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert_eq!(look(&path, "k", "it", READ), None);
        assert_eq!(look(folder.path(), "k", "it", READ | WRITE), None);
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
        let found = look(&path, "k", "it", READ | WRITE).unwrap();
        assert_eq!((found.mode, &*found.what), (0o646, "others may read and write it (mode 0646)"));
        assert_eq!(found.fix, format!("chmod 600 '{}'", path.display()));
        assert_eq!(look(&path, "k", "it", WRITE).unwrap().fix, format!("chmod go-w '{}'", path.display()));
    }
}
