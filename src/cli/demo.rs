//! `countersign demo`: the verifying gateway, the real proxy in front of it, and six requests. It needs no AWS account,
//! no network and no Python.
//!
//! The proxy is this very program, run as a user runs it: its own process, its settings as flags, throwaway
//! credentials and API key as environment variables. So what the demo shows is what the user gets.

use std::{
    io::{self, BufReader, IsTerminal as _, Write as _},
    net::SocketAddr,
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use tempfile::TempDir;

use super::{DemoArgs, stop::Stop};
use crate::demo::{
    gateway::{Gateway, GatewaySettings, NoRandom, ROUTES, Running, StartError},
    story::{self, Telling},
};

/// The demo cannot be shown.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum DemoError {
    /// The system gives no random numbers for the throwaway credentials.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// The gateway cannot start.
    #[error(transparent)]
    Gateway(#[from] StartError),
    /// The proxy ended before it listened.
    #[error("the proxy did not start:\n{said}")]
    Proxy {
        /// What it wrote.
        said: String,
    },
    /// The system refuses a file, process or the terminal.
    #[error("the system refuses what the demo needs")]
    System(#[from] io::Error),
}

/// Shows the six requests; success when all came out as they should.
///
/// # Errors
/// [`DemoError`] when they could not even be sent.
pub fn run(args: &DemoArgs) -> Result<ExitCode, DemoError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(show(args))
}

async fn show(args: &DemoArgs) -> Result<ExitCode, DemoError> {
    // From here on a signal ends the demo in order, so that the proxy's process never outlives it.
    let mut stop = Stop::new()?;
    let gateway = Gateway::start(GatewaySettings::random()?).await?;
    let listen = args.listen.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
    let proxy = Proxy::start(&gateway, listen)?;
    let mut out = io::stdout();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let telling = Telling { colour, keep: args.keep };
    let right = tokio::select! {
        outcome = story::tell(&gateway, proxy.address, telling, &mut out) => match outcome {
            // A reader that has seen enough is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            outcome => outcome?.is_right(),
        },
        _ = stop.asked() => return Ok(ExitCode::FAILURE),
    };
    if args.keep {
        proxy.show_log.store(true, Ordering::Relaxed);
        stop.asked().await;
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The proxy's process; it ends with the demo.
struct Proxy {
    child: Child,
    address: SocketAddr,
    /// Whether its log is shown from now on.
    show_log: Arc<AtomicBool>,
    _files: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already, by the same Ctrl-C.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Proxy {
    fn start(gateway: &Running, listen: SocketAddr) -> Result<Self, DemoError> {
        let files = tempfile::Builder::new().prefix("countersign-demo-").tempdir()?;
        let (root, empty) = (files.path().join("root.pem"), files.path().join("countersign.toml"));
        std::fs::write(&root, &gateway.ca_pem)?;
        std::fs::write(&empty, "")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("run").arg(&gateway.stage_url).arg("--config").arg(&empty).arg("--ca-bundle").arg(&root);
        command.args(["--listen", &listen.to_string(), "--admin", "off", "--log-format", "text"]);
        command.args(["--connect-to", &gateway.addr.to_string()]);
        for route in ROUTES {
            let auth = match (route.iam, route.api_key) {
                (true, true) => "iam+api-key",
                (true, false) => "iam",
                (false, true) => "api-key",
                (false, false) => "none",
            };
            command.args(["--route", &format!("{}={auth}", route.path)]);
        }
        let settings = &gateway.settings;
        let account = &settings.accounts[0];
        // Nothing of the user's own environment or files may change what the demo shows.
        command.env_clear().current_dir(files.path()).env("HOME", files.path());
        command.env("COUNTERSIGN_API_KEY", &settings.api_key.0);
        command.env("AWS_ACCESS_KEY_ID", &account.access_key_id);
        command.env("AWS_SECRET_ACCESS_KEY", &account.secret_access_key);
        if let Some(token) = &account.session_token {
            command.env("AWS_SESSION_TOKEN", token);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let log = child.stderr.take().expect("it is piped just above");
        let show_log = Arc::new(AtomicBool::new(false));
        let (sender, listening) = mpsc::channel();
        let shown = Arc::clone(&show_log);
        std::thread::spawn(move || watch_log(BufReader::new(log), &sender, &shown));
        let started = listening.recv().unwrap_or_else(|_| Err(String::new()));
        match started {
            Ok(address) => Ok(Self { child, address, show_log, _files: files }),
            Err(said) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(DemoError::Proxy { said })
            }
        }
    }
}

/// Reads the proxy's log for as long as it writes one, so that it never waits for a reader.
fn watch_log(log: impl io::BufRead, started: &mpsc::Sender<Result<SocketAddr, String>>, shown: &AtomicBool) {
    let mut said = String::new();
    let mut running = false;
    for line in log.lines().map_while(Result::ok) {
        if !running {
            let address = line.split("listening on http://").nth(1);
            let address = address.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            if let Some(address) = address {
                running = started.send(Ok(address)).is_ok();
            }
            said.push_str(&line);
            said.push('\n');
        } else if shown.load(Ordering::Relaxed) {
            // The log is read on even when nobody looks any more.
            let _ = writeln!(io::stdout(), "{line}");
        }
    }
    if !running {
        let _ = started.send(Err(said));
    }
}
