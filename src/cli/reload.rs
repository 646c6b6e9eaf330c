//! When the configuration is read again, and what becomes of it.
//!
//! The files that it comes from are looked at twice a second: that sees edits, replacement by a rename, and the symbolic
//! links of a Kubernetes volume swapped underneath. A file that has changed is read once it has stayed the same between
//! two looks, since editors write in pieces; one that never comes to rest is read all the same.
//!
//! What is wrong is reported once, and what ran before goes on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    admin::Health,
    config::{self, Config, Given},
    credentials::{Sources, stamp},
    server::Server,
};

/// Between two looks at the files.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// A file that changes between so many looks in a row is read as it is.
const RESTLESS: u32 = 4;

/// Everything that a reload touches.
pub(super) struct Reloader {
    given: Given,
    running: Arc<Config>,
    sources: Arc<Sources>,
    health: Arc<Health>,
    files: Files,
    /// What was reported last; the same again is not news.
    reported: Option<String>,
}

impl Reloader {
    /// `files` as they were when `running` was read.
    pub(super) fn new(
        given: Given,
        running: Arc<Config>,
        sources: Arc<Sources>,
        health: Arc<Health>,
        files: Files,
    ) -> Self {
        Self { given, running, sources, health, files, reported: None }
    }

    /// The configuration that is served with.
    pub(super) const fn running(&self) -> &Arc<Config> {
        &self.running
    }

    /// Looks at the files; whether it is time to read them.
    pub(super) fn has_changed(&mut self) -> bool {
        self.files.has_changed()
    }

    /// Reads everything again, and has `server` serve with it, unless something is wrong.
    pub(super) async fn reload(&mut self, server: &mut Server) {
        if let Err(why) = self.try_reload(server).await {
            let again = self.reported.as_ref() == Some(&why);
            self.health.rejected(why.clone());
            if !again {
                tracing::error!("the configuration is not taken up, and the one before stays: {why}");
                self.reported = Some(why);
            }
        }
    }

    async fn try_reload(&mut self, server: &mut Server) -> Result<(), String> {
        // Looked at before they are read, so that no change in between is missed.
        self.files.look();
        let mut config = config::load(&self.given).map_err(|mistakes| mistakes.render(false))?;
        self.files.watch(self.running.files().chain(config.files()));
        let kept = config.keep_of(&self.running);
        let config = Arc::new(config);
        let prepared = server.prepare(&config).map_err(|error| error.to_string())?;
        start(&config, &self.sources);
        super::run::wait_for_keys(&config, &self.sources).await;
        server.reload(prepared).map_err(|error| format!("a worker does not answer: {error}"))?;
        self.health.reloaded(&config, &self.sources);
        // What no stage names any more is asked for no longer. What is under way holds what it has.
        let credentials: Vec<_> =
            config.stages.iter().filter(|stage| stage.signs()).map(|stage| &stage.credentials).collect();
        let keys: Vec<_> = config.stages.iter().filter_map(|stage| stage.api_key.as_ref()).collect();
        let tokens: Vec<_> = config.guard.token.iter().collect();
        self.sources.retain(&credentials, &keys, &tokens);
        self.files.watch(config.files());
        self.running = config;
        self.reported = None;
        if !kept.is_empty() {
            let settings = kept.join(", ");
            tracing::warn!(
                settings,
                "these settings have changed, which needs a restart; until then they stay"
            );
        }
        let stages: Vec<_> = self.running.stages.iter().map(|stage| stage.name.as_str()).collect();
        tracing::info!(stages = stages.join(", "), "the configuration is taken up");
        Ok(())
    }
}

/// Starts the sources that are new.
fn start(config: &Config, sources: &Sources) {
    for stage in &config.stages {
        if stage.signs() {
            sources.current(&stage.credentials);
        }
        if let Some(key) = &stage.api_key {
            sources.api_key(key);
        }
    }
    if let Some(token) = &config.guard.token {
        sources.token(token);
    }
}

/// Files, and how they were when they were last read.
pub(super) struct Files {
    /// Each with how it was when it was read, and at the last look.
    files: Vec<(PathBuf, u64, u64)>,
    restless: u32,
}

impl Files {
    /// As they are now, which is taken for how they were read.
    pub(super) fn of(config: &Config) -> Self {
        let mut files = Self { files: Vec::new(), restless: 0 };
        files.watch(config.files());
        files
    }

    /// From now on these are looked at; those that were before keep what was seen of them.
    fn watch<'a>(&mut self, paths: impl Iterator<Item = &'a std::path::Path>) {
        let mut next: Vec<(PathBuf, u64, u64)> = Vec::new();
        for path in paths {
            if next.iter().any(|(known, ..)| known == path) {
                continue;
            }
            let known = self.files.iter().find(|(known, ..)| known == path).cloned();
            next.push(known.unwrap_or_else(|| {
                let now = stamp(path);
                (path.to_owned(), now, now)
            }));
        }
        self.files = next;
    }

    /// As they are now is how they are read.
    fn look(&mut self) {
        self.restless = 0;
        for (path, read, last) in &mut self.files {
            *last = stamp(path);
            *read = *last;
        }
    }

    fn has_changed(&mut self) -> bool {
        let (mut changed, mut resting) = (false, true);
        for (path, read, last) in &mut self.files {
            let now = stamp(path);
            resting &= now == std::mem::replace(last, now);
            changed |= now != *read;
        }
        self.restless = if changed { self.restless + 1 } else { 0 };
        changed && (resting || self.restless > RESTLESS)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{Files, RESTLESS};

    fn files(path: &Path) -> Files {
        let mut files = Files { files: Vec::new(), restless: 0 };
        files.watch([path].into_iter());
        files
    }

    #[test]
    fn a_change_is_told_once_it_rests() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        fs::write(&path, "1").unwrap();
        let mut files = files(&path);
        assert!(!files.has_changed());
        fs::write(&path, "12").unwrap();
        assert!(!files.has_changed(), "it may still be written to");
        fs::write(&path, "123").unwrap();
        assert!(!files.has_changed());
        assert!(files.has_changed());
        assert!(files.has_changed(), "until it is read");
        files.look();
        assert!(!files.has_changed());
        // Gone is a change as well, and so is what is put in its place.
        fs::remove_file(&path).unwrap();
        assert!(!files.has_changed());
        assert!(files.has_changed());
    }

    #[test]
    fn what_never_rests_is_told_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let mut files = files(&path);
        let told = (0..=RESTLESS as usize).map(|count| {
            fs::write(&path, "x".repeat(count + 1)).unwrap();
            files.has_changed()
        });
        assert_eq!(told.filter(|told| *told).count(), 1);
    }

    #[test]
    fn a_link_that_is_swapped_underneath_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["1", "2"] {
            fs::create_dir(folder.path().join(version)).unwrap();
            fs::write(folder.path().join(version).join("a.toml"), "same").unwrap();
        }
        let data = folder.path().join("data");
        std::os::unix::fs::symlink("1", &data).unwrap();
        let mut files = files(&data.join("a.toml"));
        assert!(!files.has_changed());
        let next = folder.path().join("next");
        std::os::unix::fs::symlink("2", &next).unwrap();
        fs::rename(&next, &data).unwrap();
        assert!(!files.has_changed());
        assert!(files.has_changed());
    }
}
