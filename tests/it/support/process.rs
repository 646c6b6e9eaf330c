//! Programs under test: started with a known environment, heard to the last line, ended with the test.

use std::{
    fmt,
    io::{BufRead, BufReader, Read, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Instant,
};

use super::{PATIENCE, TempDir};

/// Which of a program's two streams a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

#[derive(Default)]
struct Captured {
    lines: Vec<(Stream, String)>,
    open: usize,
}

#[derive(Default)]
struct Output {
    captured: Mutex<Captured>,
    changed: Condvar,
}

impl Output {
    fn captured(&self) -> MutexGuard<'_, Captured> {
        self.captured.lock().expect("no thread panics with this lock")
    }

    fn capture(self: Arc<Self>, stream: Stream, from: impl Read + Send + 'static) {
        self.captured().open += 1;
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
                self.captured().lines.push((stream, text));
                self.changed.notify_all();
                line.clear();
            }
            self.captured().open -= 1;
            self.changed.notify_all();
        });
    }
}

/// A program that runs; killed when dropped.
pub struct Running {
    child: Child,
    output: Arc<Output>,
}

impl Running {
    /// Starts it with both output streams captured.
    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let output = Arc::<Output>::default();
        Arc::clone(&output).capture(Stream::Out, child.stdout.take().expect("it is piped"));
        Arc::clone(&output).capture(Stream::Err, child.stderr.take().expect("it is piped"));
        Self { child, output }
    }

    /// The first thing that `find` finds in a line, of those written already or to come; `None` when the program ends
    /// without.
    ///
    /// # Panics
    /// When it neither ends nor writes such a line.
    pub fn find<T>(&self, mut find: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut captured = self.output.captured();
        let mut next = 0;
        loop {
            for (_, line) in &captured.lines[next..] {
                if let Some(found) = find(line) {
                    return Some(found);
                }
            }
            next = captured.lines.len();
            if captured.open == 0 {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let heard = text(&captured, None);
                drop(captured);
                panic!("the line waited for did not come:\n{heard}");
            }
            captured =
                self.output.changed.wait_timeout(captured, left).expect("no thread panics with this lock").0;
        }
    }

    /// Everything written so far, in order of arrival.
    pub fn output(&self) -> String {
        text(&self.output.captured(), None)
    }

    /// What was written to one stream so far.
    pub fn stream(&self, stream: Stream) -> String {
        text(&self.output.captured(), Some(stream))
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name: `TERM`, `INT`, `HUP`.
    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status();
        assert!(sent.expect("sh starts").success(), "signal {name} was not taken");
    }

    /// Stops it, and waits until all of its threads stand still: the one that takes the signal stops the others, and they
    /// run on until it has been scheduled. `CONT` lets them go on.
    #[cfg(unix)]
    pub fn stop(&self) {
        use rustix::process::{Pid, WaitOptions, waitpid};
        self.signal("STOP");
        let id = Pid::from_raw(self.child.id().cast_signed()).expect("a process has a number");
        let seen = waitpid(Some(id), WaitOptions::UNTRACED).expect("the child is ours");
        assert!(seen.is_some_and(|(_, status)| status.stopped()), "it ended instead");
    }

    /// Waits for its end: both streams closed and the process gone.
    ///
    /// # Panics
    /// When it does not end.
    pub fn end(&mut self) -> Ended {
        assert!(self.find(|_| None::<()>).is_none(), "nothing is looked for");
        let code = self.child.wait().expect("the child is ours").code();
        Ended { code, out: self.stream(Stream::Out), err: self.stream(Stream::Err) }
    }

    /// Writes to its standard input, which has to be piped.
    ///
    /// # Panics
    /// When it reads no more.
    pub fn type_in(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("standard input is piped");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("the program reads");
    }

    /// Ends its standard input and waits until it is gone, for a program that then ends by itself.
    pub fn end_input(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn text(captured: &Captured, only: Option<Stream>) -> String {
    let wanted = captured.lines.iter().filter(|(stream, _)| only.is_none_or(|only| only == *stream));
    wanted.flat_map(|(_, line)| [line.as_str(), "\n"]).collect()
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How to start countersign: nothing of the surrounding environment but PATH reaches it, HOME is a directory of its own,
/// and it asks no metadata service.
pub struct Launch {
    home: TempDir,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    wrapper: Vec<String>,
}

/// A program that ended.
#[derive(Clone)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All of standard output.
    pub out: String,
    /// All of standard error.
    pub err: String,
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended with {:?}, having written\n{}\nand\n{}", self.code, self.out, self.err)
    }
}

impl Launch {
    /// `countersign` with these arguments, for other commands than `run`.
    pub fn arguments<const N: usize>(arguments: [&str; N]) -> Self {
        let arguments = arguments.map(str::to_owned).to_vec();
        Self { home: TempDir::new(), arguments, variables: Vec::new(), wrapper: Vec::new() }
            .variable("AWS_EC2_METADATA_DISABLED", "true")
    }

    /// `countersign run --config FILE` with this text in the file.
    pub fn config(text: &str) -> Self {
        let launch = Self::arguments(["run", "--config"]);
        let file = launch.home.write("countersign.toml", text);
        launch.argument(file.to_str().expect("the directory's name is UTF-8"))
    }

    /// One argument more.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Sets an environment variable.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    pub fn keys(self, access_key: &str, secret: &str) -> Self {
        self.variable("AWS_ACCESS_KEY_ID", access_key).variable("AWS_SECRET_ACCESS_KEY", secret)
    }

    /// Writes a file below HOME, such as `.aws/credentials`.
    pub fn file(self, name: &str, content: &str) -> Self {
        self.home.write(name, content);
        self
    }

    /// Starts it by this command, which has to become the program and arguments that follow.
    pub fn wrapped(mut self, wrapper: &[String]) -> Self {
        self.wrapper = wrapper.to_vec();
        self
    }

    /// How it is started, for a test that wants its streams otherwise; HOME is there for as long as this is.
    pub fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_countersign").to_owned();
        let mut words = self.wrapper.iter().chain([&program]).chain(&self.arguments);
        let mut command = Command::new(words.next().expect("the program itself is one"));
        command.args(words).env_clear().current_dir(self.home.path()).stdin(Stdio::null());
        command.env("HOME", self.home.path()).envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Another command with these arguments, in the same environment and with the same settings as `run` would have.
    pub fn instead(&self, name: &str, arguments: &[&str]) -> Ended {
        self.instead_of(name, arguments).end()
    }

    /// The same while it runs.
    pub fn instead_of(&self, name: &str, arguments: &[&str]) -> Running {
        let run = self.command();
        let mut command = Command::new(run.get_program());
        command.arg(name).args(arguments).args(run.get_args().skip(1)).stdin(Stdio::null()).env_clear();
        command.current_dir(self.home.path());
        command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Running::spawn(&mut command)
    }

    /// HOME, and the directory it is started in.
    pub fn home(&self) -> &TempDir {
        &self.home
    }

    /// Starts it and waits until it listens; an error when it ends instead.
    pub fn try_start(self) -> Result<Countersign, Ended> {
        let mut running = Running::spawn(&mut self.command());
        match running.find(listening) {
            Some(address) => Ok(Countersign { running, address, home: self.home }),
            None => Err(running.end()),
        }
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn start(self) -> Countersign {
        self.try_start().unwrap_or_else(|ended| panic!("countersign does not start: {ended:?}"))
    }

    /// Lets it run to its end.
    pub fn run(self) -> Ended {
        Running::spawn(&mut self.command()).end()
    }
}

/// Where a proxy takes requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `http://127.0.0.1:8080`
    Tcp(SocketAddr),
    /// `unix:/path`
    Unix(PathBuf),
}

/// The address in a line of log that says where the proxy listens, written for people or as JSON.
pub fn listening(line: &str) -> Option<Address> {
    let parse = |address: &str| match address.strip_prefix("unix:") {
        Some(path) => Some(Address::Unix(path.into())),
        None => {
            let bare = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
            bare.unwrap_or(address).parse().ok().map(Address::Tcp)
        }
    };
    if let Ok(event) = serde_json::from_str::<serde_json::Value>(line) {
        let fields = event.get("fields").unwrap_or(&event);
        let listens = fields["message"].as_str()?.starts_with("listening");
        return listens.then(|| parse(fields["address"].as_str()?)).flatten();
    }
    let (_, after) = line.split_once("listening on ")?;
    parse(after.split_whitespace().next()?.trim_end_matches(','))
}

/// The proxy under test, listening.
pub struct Countersign {
    running: Running,
    address: Address,
    home: TempDir,
}

impl Countersign {
    /// Where it listens; the first address, if there are several.
    ///
    /// # Panics
    /// When that is a Unix socket.
    pub fn address(&self) -> SocketAddr {
        match self.address {
            Address::Tcp(address) => address,
            Address::Unix(ref path) => panic!("it listens on {}", path.display()),
        }
    }

    /// The process: its output, signals.
    pub fn process(&self) -> &Running {
        &self.running
    }

    /// HOME, and the directory it was started in.
    pub fn home(&self) -> &TempDir {
        &self.home
    }

    /// Asks it to end (SIGTERM) and waits until it did: how it ended and all it ever wrote.
    #[cfg(unix)]
    pub fn terminate(self) -> Ended {
        self.running.signal("TERM");
        self.ended()
    }

    /// Waits until it ended: how, and all it ever wrote.
    pub fn ended(mut self) -> Ended {
        self.running.end()
    }
}
