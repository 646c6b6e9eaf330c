//! What the integration tests share. Every wait is for an event and bounded by [`PATIENCE`]; nothing is timed.

pub mod browser;
pub mod client;
pub mod corpus;
pub mod faulty;
pub mod frames;
pub mod front;
pub mod h2c;
pub mod inspector;
pub mod leaks;
pub mod ministack;
pub mod origin;
pub mod process;
pub mod python;
pub mod scene;
pub mod snapshot;
pub mod sts;
pub mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// How long any test waits for anything before it fails: far longer than it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An empty directory of its own, removed with everything in it when this is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one below cargo's directory for tests.
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // A killed run may have left one behind whose process number is used again.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("cargo's directory for tests is writable");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, with the directories above it, and says where it is.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("directory is made");
        fs::write(&path, content).expect("file is written");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
