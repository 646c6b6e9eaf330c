//! A real browser: Chromium without a window, driven by a script of tests/browser, with an empty profile of its own.

use std::{fs, process::Stdio};

use serde_json::Value;

use super::{
    TempDir,
    process::Running,
    python::{prepared, tool},
    root,
};

/// A scenario that runs; the browser ends with it.
pub struct Browser {
    running: Running,
    _home: TempDir,
}

impl Browser {
    /// Starts a script of tests/browser, and tells it where things are.
    pub fn start(script: &str, mut given: Value) -> Self {
        let packages = prepared().join("browser");
        let executable = fs::read_to_string(packages.join("executable")).expect("tests/setup writes it");
        given["packages"] = packages.to_str().expect("the path is UTF-8").into();
        given["browser"] = executable.trim_end().into();
        let home = TempDir::new();
        let mut node = tool("node");
        node.arg(root().join("tests/browser").join(script)).arg(given.to_string()).stdin(Stdio::null());
        // The browser writes its profile and whatever else it has below these. It needs no variable of the machine's, and
        // a proxy that one names would come between.
        node.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        node.env("HOME", home.path()).env("TMPDIR", home.path());
        Self { running: Running::spawn(&mut node), _home: home }
    }

    /// What a page saw, of the line with this name: written already or to come.
    ///
    /// # Panics
    /// When the scenario ends without it.
    pub fn saw(&self, name: &str) -> Value {
        self.line(|line| (line["name"] == name).then(|| line["saw"].clone()), name)
    }

    /// What is found in one of the scenario's lines.
    ///
    /// # Panics
    /// When the scenario ends before it is found.
    pub fn line<T>(&self, find: impl Fn(&Value) -> Option<T>, what: &str) -> T {
        let found = self.running.find(|line| find(&serde_json::from_str(line).ok()?));
        found.unwrap_or_else(|| panic!("{what} did not come:\n{}", self.running.output()))
    }

    /// Waits for the end of the scenario and of the browser.
    ///
    /// # Panics
    /// When it failed.
    pub fn end(mut self) {
        let ended = self.running.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}
