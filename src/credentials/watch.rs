//! Whether the files that credentials come from have changed, found by looking at them once a second.
//!
//! Looking is dull and sure: it sees edits, atomic replacement, a Kubernetes volume's symbolic links swapped
//! underneath, files on network mounts, and files that do not exist yet. It costs a handful of `stat` calls.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
};

use super::environment::Environment;

/// Entries of a token cache that are looked at; nobody has more logins than this.
const CACHE_ENTRIES: usize = 512;

/// What to look at for one source.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    files: Vec<PathBuf>,
    caches: Vec<PathBuf>,
    /// A web identity token that the profile names.
    pub token: Option<PathBuf>,
}

/// What was seen. Equal means: nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// Files that people and tools edit.
    pub files: u64,
    /// Token caches, which the SDK itself writes to as well.
    pub caches: u64,
    /// The profile's web identity token.
    pub token: u64,
}

impl Watch {
    /// Everything that can bear on AWS credentials and is known before a profile has been read.
    pub fn new(environment: &Environment) -> Self {
        Self {
            files: [
                environment.config_file(),
                environment.credentials_file(),
                environment.web_identity_token(),
            ]
            .into_iter()
            .flatten()
            .collect(),
            caches: [environment.sso_cache(), environment.login_cache()].into_iter().flatten().collect(),
            token: None,
        }
    }

    /// Looks now.
    pub fn look(&self) -> Seen {
        let mut files = DefaultHasher::new();
        for path in &self.files {
            stamp(path).hash(&mut files);
        }
        let mut caches = DefaultHasher::new();
        for directory in &self.caches {
            let mut entries: Vec<PathBuf> = fs::read_dir(directory)
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
                .take(CACHE_ENTRIES)
                .collect();
            entries.sort_unstable();
            for path in entries {
                stamp(&path).hash(&mut caches);
                path.hash(&mut caches);
            }
        }
        let token = self.token.as_deref().map_or(0, stamp);
        Seen { files: files.finish(), caches: caches.finish(), token }
    }
}

/// A file's modification time, length and identity, links followed; or the kind of error. A file that was replaced by
/// one of the same age and length differs by its inode.
#[must_use]
pub fn stamp(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    match fs::metadata(path) {
        Ok(metadata) => {
            metadata.modified().ok().hash(&mut hasher);
            metadata.len().hash(&mut hasher);
            #[cfg(unix)]
            {
                use std::os::unix::fs::MetadataExt;
                (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()).hash(&mut hasher);
            }
        }
        Err(error) => error.kind().hash(&mut hasher),
    }
    hasher.finish()
}
