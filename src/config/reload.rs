//! A configuration that is read while another one is running: what of it can be taken up, and what needs a restart.

use std::path::Path;

use super::{Config, LocalTls};

impl Config {
    /// Puts back what cannot change while the proxy runs, and names the settings that differ: sockets that are bound,
    /// threads that run, how the log is written.
    ///
    /// What it puts back stays as safe as it was: addresses that other machines reach keep asking for the token that
    /// they asked for.
    pub fn keep_of(&mut self, running: &Self) -> Vec<&'static str> {
        fn keep<T: Clone + PartialEq>(
            new: &mut T,
            running: &T,
            name: &'static str,
            kept: &mut Vec<&'static str>,
        ) {
            if new != running {
                new.clone_from(running);
                kept.push(name);
            }
        }
        let mut kept = Vec::new();
        keep(&mut self.listen, &running.listen, "listen", &mut kept);
        keep(&mut self.admin, &running.admin, "admin", &mut kept);
        keep(&mut self.metrics, &running.metrics, "metrics", &mut kept);
        keep(&mut self.inspector, &running.inspector, "inspector", &mut kept);
        keep(&mut self.unix_mode, &running.unix_mode, "unix_mode", &mut kept);
        keep(&mut self.workers, &running.workers, "workers", &mut kept);
        let connections = (&mut self.limits.max_connections, &running.limits.max_connections);
        keep(connections.0, connections.1, "limits.max_connections", &mut kept);
        keep(&mut self.log.format, &running.log.format, "log.format", &mut kept);
        keep(&mut self.log.filter, &running.log.filter, "log.filter", &mut kept);
        keep(&mut self.log.access, &running.log.access, "log.access", &mut kept);
        keep(&mut self.otlp, &running.otlp, "otlp.endpoint", &mut kept);
        if self.tls.is_some() != running.tls.is_some() {
            self.tls.clone_from(&running.tls);
            kept.push("tls");
        }
        let addresses_kept = kept.iter().any(|name| matches!(*name, "listen" | "admin"));
        if addresses_kept && self.guard.token.is_none() && running.remote().next().is_some() {
            keep(&mut self.guard.token, &running.guard.token, "guard.token", &mut kept);
        }
        kept
    }

    /// The files that it was read from, or that are read once for it: when one of them changes, everything is read
    /// again. What credentials, keys and tokens come from is not among them, as these are followed for themselves.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let tls = self.tls.iter().flat_map(|tls| match tls {
            LocalTls::SelfSigned => [None, None],
            LocalTls::Files { cert, key } => [Some(cert.as_path()), Some(key.as_path())],
        });
        let bundles = self.stages.iter().map(|stage| stage.ca_bundle.as_deref());
        self.file.as_deref().into_iter().chain(tls.chain(bundles).flatten())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, tests::load};

    const STAGE: &str = "[[stage]]\nurl = \"https://api.example.com/prod\"\nregion = \"us-west-2\"\n";

    fn config(top: &str) -> Config {
        load(&[], &[], Some(&format!("{top}\n{STAGE}")))
            .unwrap_or_else(|error| panic!("{}", error.render(false)))
    }

    #[test]
    fn what_needs_a_restart_stays_and_is_named() {
        let running = config("");
        for (top, name) in [
            ("listen = \"127.0.0.1:1\"", "listen"),
            ("admin = \"off\"\nmetrics = true", "admin"),
            ("metrics = false", "metrics"),
            ("inspector.enabled = false", "inspector"),
            ("unix_mode = \"0660\"", "unix_mode"),
            ("tls = \"self-signed\"", "tls"),
            ("workers = 7", "workers"),
            ("limits.max_connections = 7", "limits.max_connections"),
            ("log.format = \"json\"", "log.format"),
            ("log.filter = \"debug\"", "log.filter"),
            ("log.access = false", "log.access"),
            ("otlp.endpoint = \"off\"", "otlp.endpoint"),
        ] {
            let mut new = config(top);
            let kept = new.keep_of(&running);
            assert!(kept.contains(&name), "{top}: {kept:?}");
            assert_eq!(format!("{new:?}"), format!("{running:?}"), "{top}");
        }
        let mut new = config("limits.idle_timeout = \"7s\"\nguard.allowed_hosts = [\"a.example\"]");
        assert!(new.keep_of(&running).is_empty());
        assert_eq!(new.guard.allowed_hosts, ["a.example"]);
    }

    #[test]
    fn an_address_that_others_reach_does_not_lose_its_token() {
        let running =
            config("listen = \"0.0.0.0:1\"\nguard = { allow_remote = true, token.env = \"COUNTERSIGN_A\" }");
        let mut new = config("listen = \"127.0.0.1:1\"");
        assert_eq!(new.keep_of(&running), ["listen", "guard.token"]);
        assert_eq!(new.guard.token, running.guard.token);

        let mut new = config("listen = \"127.0.0.1:1\"\nguard.token.env = \"COUNTERSIGN_B\"");
        assert_eq!(new.keep_of(&running), ["listen"]);
        assert_ne!(new.guard.token, running.guard.token);
    }

    #[test]
    fn files_that_are_read_once() {
        let mut config = config("tls = { cert = \"a.pem\", key = \"a.key\" }");
        config.file = Some("c.toml".into());
        config.stages[0].ca_bundle = Some("ca.pem".into());
        let files: Vec<_> = config.files().map(|path| path.to_str().unwrap_or_default()).collect();
        assert_eq!(files, ["c.toml", "a.pem", "a.key", "ca.pem"]);
    }
}
