//! The third-party gateway: ministack, which emulates API Gateway, IAM and STS and verifies signatures and policies.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
};

use super::{
    TempDir,
    client::{Ask, Client},
    process::Running,
    python,
};

/// Runs ministack and ends it, with all it started, when standard input ends: it does not outlive a test that is killed.
const LAUNCHER: &str = "
import os, runpy, signal, sys, threading
def watch():
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
runpy.run_module('ministack', run_name='__main__')
";

/// A running ministack; ends when dropped.
pub struct Ministack {
    running: Running,
    address: SocketAddr,
    _home: TempDir,
}

/// A user's long-lived credentials.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct User {
    /// `AKIA…`
    pub access_key: String,
    /// The secret access key.
    pub secret: String,
}

/// What tests need of that which `tests/python/ministack_stack.py deploy` made.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Stack {
    /// `http://ID.execute-api.localhost:PORT/prod`
    pub url: String,
    /// The API's id.
    pub api_id: String,
    /// The API key.
    pub api_key: String,
    /// What it is found by.
    pub api_key_id: String,
    /// Where it was deployed, and what must be signed for.
    pub region: String,
    /// May invoke the three routes and assume the role.
    pub caller: User,
    /// May do nothing.
    pub stranger: User,
    /// May assume the role and nothing else.
    pub assumer: User,
    /// May invoke the three routes.
    pub role_arn: String,
}

impl Ministack {
    /// Starts it on a free port and waits until it answers.
    ///
    /// # Panics
    /// When it does not, or is not the version that verifies.
    pub fn start() -> Self {
        Self::start_as("localhost")
    }

    /// The same, its stages called `ID.execute-api.HOST`.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_as(host: &str) -> Self {
        // It cannot say which port it got, so one is chosen for it, and may be gone when it takes it.
        let started = (0..5).find_map(|_| Self::try_start(host));
        let ministack = started.expect("a port that is free stays free once in five times");
        let health = ministack.health().expect("it said that it is ready");
        assert_eq!((&health["auth"], &health["version"]), (&"enabled".into(), &"1.5.33".into()), "{health}");
        ministack
    }

    fn try_start(host: &str) -> Option<Self> {
        let home = TempDir::new();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = port.expect("loopback has a free port");
        let mut command = Command::new(python::environment("ministack", "python"));
        command.args(["-c", LAUNCHER]).env_clear().current_dir(home.path()).stdin(Stdio::piped());
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        for (name, value) in [
            ("AUTH", "true"),
            ("GATEWAY_PORT", &address.port().to_string()),
            ("BIND_HOST", "127.0.0.1"),
            ("MINISTACK_HOST", host),
            ("IOT_MTLS_ENABLED", "0"),
            ("SFTP_ENABLED", "0"),
            ("PYTHONUNBUFFERED", "1"),
        ] {
            command.env(name, value);
        }
        for variable in ["HOME", "TMPDIR", "STATE_DIR", "S3_DATA_DIR"] {
            command.env(variable, home.path());
        }
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let running = Running::spawn(&mut command);
        running.find(|line| line.contains("Running on http://127.0.0.1").then_some(()))?;
        Some(Self { running, address, _home: home })
    }

    fn health(&self) -> io::Result<serde_json::Value> {
        Ok(Client::connect(self.address)?.exchange(&Ask::new("GET", "/_ministack/health"))?.json())
    }

    /// Where it listens, for `AWS_ENDPOINT_URL` and `connect_to`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `tests/python/ministack_stack.py` with this argument, pointed here.
    pub fn script(&self, argument: &str) -> String {
        self.script_with(&[argument])
    }

    fn script_with(&self, arguments: &[&str]) -> String {
        let endpoint = format!("http://{}", self.address);
        python::run(python::script("ministack_stack.py").args(arguments).env("AWS_ENDPOINT_URL", endpoint))
    }

    /// Gives the stack's stranger this policy; an empty one takes it away.
    pub fn allow_stranger(&self, policy: &str) {
        self.script_with(&["allow", policy]);
    }

    /// Deploys the three-route stack with its callers.
    pub fn deploy(&self) -> Stack {
        serde_json::from_str(&self.script("deploy")).expect("deploy prints what it made")
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        self.running.end_input();
    }
}
