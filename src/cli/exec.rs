//! `countersign exec -- COMMAND…`: a proxy on a free port for as long as one command runs.
//!
//! ```text
//! start    the proxy listens; credentials, API keys and token are waited for, so that the first call is served
//! command  COUNTERSIGN_URL and {} tell it the address; its streams are those of this process
//! signals  are passed to it, and it decides what they mean
//! end      the proxy closes, and the exit code is the command's: 128 + n where signal n ended it
//! ```
//!
//! What fails before has the codes of env(1) and timeout(1): 125 in the proxy, 126 a command that cannot be run, 127 one
//! that is not there.
//!
//! A terminal sends SIGINT and SIGQUIT to all processes in its foreground, the command too, so those are passed on only
//! where this process is not in the foreground of a terminal: a command that takes a second Ctrl-C for "at once" is not to
//! get two of one.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    future::poll_fn,
    io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        process::ExitStatusExt as _,
    },
    process::{ExitCode, ExitStatus},
    sync::{Arc, mpsc},
    task::Poll,
    thread,
    time::{Duration, SystemTime},
};

use clap::{Arg, ArgMatches, builder::ValueParser};
use rustix::process::{Pid, Signal as Sent, getpgrp, kill_process};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, timeout_at},
};

use super::run::{self, RunError, Serving};
use crate::{
    config::{Config, TurnWait},
    credentials::{Problem, Sources},
    server::{Inherited, Server},
    telemetry::{self, Watchers},
};

/// The variable that tells the command the proxy's address.
pub const URL_VARIABLE: &str = "COUNTERSIGN_URL";

/// How long connections may take to notice that the command is gone.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// What is to be run.
#[derive(Debug)]
pub struct Wanted {
    command: Vec<OsString>,
    max: Duration,
}

impl Wanted {
    /// From what [`args`] took.
    pub(super) fn new(matches: &ArgMatches) -> Self {
        let command = matches.get_many("command").unwrap_or_default().cloned().collect();
        let max = matches.get_one::<TurnWait>("max").map_or(Duration::ZERO, |max| max.0);
        Self { command, max }
    }
}

/// The arguments beside the settings.
pub(super) fn args() -> [Arg; 2] {
    let max = Arg::new("max")
        .long("max")
        .value_name("TIME")
        .default_value("30s")
        .value_parser(|text: &str| text.parse::<TurnWait>())
        .help_heading("Command")
        .help("How long to wait for credentials before the command is started; 0s starts it at once");
    let command = Arg::new("command")
        .value_name("COMMAND")
        .last(true)
        .num_args(1..)
        .required(true)
        .value_parser(ValueParser::os_string())
        .help_heading("Command")
        .help("What to run, with its arguments; {} in them becomes the proxy's address");
    [max, command]
}

/// The command was not run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ExecError {
    /// The proxy cannot run.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Proxy(#[from] RunError),
    /// What requests need is not there.
    #[error("{what}: {why}")]
    NotReady {
        /// Whose, and what.
        what: String,
        /// Why not.
        why: String,
        /// What to do.
        #[help]
        hint: String,
    },
    /// There is no such program, or it cannot be run.
    #[error("cannot run {program}")]
    Command {
        /// As it was named.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

impl ExecError {
    /// The exit code that tells it from those of commands.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Proxy(_) | Self::NotReady { .. } => 125,
            Self::Command { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Command { .. } => 126,
        })
    }
}

/// Runs the command with a proxy of its own; its exit code.
///
/// # Errors
/// [`ExecError`] when it could not be run.
pub fn run(config: Config, wanted: &Wanted) -> Result<ExitCode, ExecError> {
    let logging = telemetry::start(&config.log).map_err(RunError::from)?;
    telemetry::log_panics();
    run::Cautions::of(&config).log();
    let watchers = run::watchers(&config, &logging);
    let ended = serve(&Arc::new(config), watchers, wanted);
    logging.finish();
    ended
}

fn serve(config: &Arc<Config>, watchers: Watchers, wanted: &Wanted) -> Result<ExitCode, ExecError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::from)?;
    let mut signals = {
        let _in_runtime = runtime.enter();
        Signals::install().map_err(RunError::from)?
    };
    let Serving { sources, health: _health, admin, server, link: _link } =
        run::start(config, watchers, Inherited::default(), &runtime)?;
    let url = server.bound().first().map(ToString::to_string).unwrap_or_default();
    let ended = runtime.block_on(async {
        tokio::select! {
            // A signal that came meanwhile is for a command that is not there yet.
            biased;
            number = signals.next() => return Ok(ExitCode::from(128 + low(number.as_raw()))),
            ready = wait_for_all(config, &sources, wanted.max) => ready?,
        }
        let child = spawn(&wanted.command, &url)?;
        Ok(code(follow(child, &mut signals).await.map_err(RunError::from)?))
    });
    end(server);
    if let Some(admin) = admin {
        admin.stop();
    }
    ended
}

/// Closes everything. What others than the command have under way is not waited for.
fn end(server: Server) {
    server.drain();
    let cut = server.cutter();
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        server.join();
        let _ = ended.send(());
    });
    if end.recv_timeout(LAST_WAIT).is_err() {
        cut();
        // Told, or its thread is gone.
        let _ = end.recv();
    }
}

/// Waits until each stage can be called, or cannot.
async fn wait_for_all(config: &Config, sources: &Sources, max: Duration) -> Result<(), ExecError> {
    if max.is_zero() {
        return Ok(());
    }
    let deadline = Instant::now() + max;
    for stage in config.stages.iter().filter(|stage| stage.signs()) {
        let current = sources.current(&stage.credentials);
        let has_login = stage.credentials.login_command.is_some();
        if has_login {
            current.want_login();
        }
        let usable = async {
            loop {
                let found = current.wait_usable(|held| !held.expired(SystemTime::now()), max).await;
                // Somebody may be at the login.
                if found.is_some() || !has_login {
                    return found.is_some();
                }
            }
        };
        if !timeout_at(deadline, usable).await.unwrap_or(false) {
            let what = format!("stage {}: no usable credentials", stage.name);
            return Err(not_ready(what, current.problem().as_deref(), max));
        }
    }
    let keys = config.stages.iter().filter_map(|stage| {
        let key = sources.api_key(stage.api_key.as_ref()?);
        Some((format!("stage {}: no API key", stage.name), key))
    });
    let token = config.guard.token.as_ref();
    let token = token.map(|from| ("no token for callers".to_owned(), sources.token(from)));
    for (what, key) in keys.chain(token) {
        let left = deadline.saturating_duration_since(Instant::now());
        if key.wait(left).await.is_none() {
            return Err(not_ready(what, key.problem().as_deref(), max));
        }
    }
    Ok(())
}

fn not_ready(what: String, problem: Option<&Problem>, max: Duration) -> ExecError {
    let (why, hint) = problem.map_or_else(
        || {
            let max = humantime::format_duration(max);
            (format!("nothing came within {max}"), "--max sets how long to wait".to_owned())
        },
        |problem| (problem.message().to_owned(), problem.hint().to_owned()),
    );
    let hint = format!("{hint}\n--max 0s starts the command all the same");
    ExecError::NotReady { what, why, hint }
}

fn spawn(command: &[OsString], url: &str) -> Result<Child, ExecError> {
    let (program, arguments) = command.split_first().expect("clap asks for one word at least");
    let mut child = Command::new(program);
    child.args(arguments.iter().map(|argument| with_url(argument, url))).env(URL_VARIABLE, url);
    child.kill_on_drop(true);
    child
        .spawn()
        .map_err(|source| ExecError::Command { program: program.to_string_lossy().into_owned(), source })
}

/// `{}` becomes the address, and `{{}}` becomes `{}`.
fn with_url(argument: &OsStr, url: &str) -> OsString {
    let mut rest = argument.as_bytes();
    let mut out = Vec::with_capacity(rest.len() + url.len());
    while let Some(&first) = rest.first() {
        let (becomes, taken) = if rest.starts_with(b"{{}}") {
            (&b"{}"[..], 4)
        } else if rest.starts_with(b"{}") {
            (url.as_bytes(), 2)
        } else {
            (std::slice::from_ref(&first), 1)
        };
        out.extend_from_slice(becomes);
        rest = &rest[taken..];
    }
    OsString::from_vec(out)
}

/// Waits for the command's end, and passes on what signals come until then.
async fn follow(mut child: Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            ended = child.wait() => return ended,
            signal = signals.next() => {
                // It is there until it has been waited for.
                let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
                if let Some(id) = id.filter(|_| !has_come_from_a_terminal(signal)) {
                    // It may have become another user's, as `sudo` does; then it is for that one to end.
                    let _ = kill_process(id, signal);
                }
            }
        }
    }
}

/// Whether a terminal has sent this signal to the command as well.
fn has_come_from_a_terminal(signal: Sent) -> bool {
    let of_keys = [Sent::INT, Sent::QUIT].contains(&signal);
    of_keys
        && File::open("/dev/tty")
            .is_ok_and(|terminal| rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp()))
}

fn code(ended: ExitStatus) -> ExitCode {
    let number = match (ended.code(), ended.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 125,
    };
    ExitCode::from(low(number))
}

/// Of an exit code the system keeps 8 bits.
fn low(number: i32) -> u8 {
    number.to_le_bytes()[0]
}

/// All that are passed on: those by which programs are ended, or told something.
struct Signals([(Sent, Signal); 6]);

impl Signals {
    fn install() -> io::Result<Self> {
        let of = |sent: Sent, kind| Ok::<_, io::Error>((sent, signal(kind)?));
        Ok(Self([
            of(Sent::INT, SignalKind::interrupt())?,
            of(Sent::TERM, SignalKind::terminate())?,
            of(Sent::HUP, SignalKind::hangup())?,
            of(Sent::QUIT, SignalKind::quit())?,
            of(Sent::USR1, SignalKind::user_defined1())?,
            of(Sent::USR2, SignalKind::user_defined2())?,
        ]))
    }

    async fn next(&mut self) -> Sent {
        poll_fn(|cx| {
            for (sent, signal) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(*sent);
                }
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    use super::with_url;

    #[test]
    fn only_an_empty_pair_becomes_the_address() {
        for (argument, expected) in [
            ("{}", "http://a:1"),
            ("{}/orders?x={}", "http://a:1/orders?x=http://a:1"),
            ("{{}}", "{}"),
            ("-d{{}}", "-d{}"),
            ("{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}"),
            ("{ }", "{ }"),
            ("{", "{"),
            ("", ""),
        ] {
            assert_eq!(with_url(OsStr::new(argument), "http://a:1"), expected, "{argument}");
        }
        let raw = OsStr::from_bytes(b"\xFF{}");
        assert_eq!(with_url(raw, "u").as_bytes(), b"\xFFu");
    }
}
