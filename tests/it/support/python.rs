//! The Python side: `tests/setup` makes the environments, botocore verifies signatures in one of them.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
    thread,
};

use super::{process::Running, root};

/// A command of the environment `verify`, `ministack` or `lint`.
///
/// # Panics
/// As [`prepared`].
pub fn environment(name: &str, command: &str) -> PathBuf {
    prepared().join(name).join("bin").join(command)
}

/// The folder of all that `tests/setup` makes. The first call runs it, so that plain `cargo test` works; it does nothing
/// when all is there.
///
/// # Panics
/// When `tests/setup` could not make everything.
pub fn prepared() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let done = Command::new(root().join("tests/setup")).status().expect("tests/setup starts");
        assert!(done.success(), "tests/setup could not make all that the tests need; what it wrote says why");
        let directory = std::env::var_os("COUNTERSIGN_TEST_ENV").unwrap_or_else(|| "target/test-env".into());
        root().join(directory)
    })
}

/// A tool that `tests/setup` installs when the machine has none: `curl`, `node`, `nghttp`.
pub fn tool(name: &str) -> Command {
    prepared();
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    command
}

/// A script of tests/python, with the packages of `verify`.
pub fn script(name: &str) -> Command {
    let mut command = Command::new(environment("verify", "python"));
    command.arg(root().join("tests/python").join(name)).current_dir(root()).stdin(Stdio::null());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a script to its end and returns what it printed.
///
/// # Panics
/// When it fails.
pub fn run(command: &mut Command) -> String {
    let ended = Running::spawn(command).end();
    assert_eq!(ended.code, Some(0), "{command:?} {ended:?}");
    ended.out
}

/// A signed request as it was on the wire, and the credentials it was signed with.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `GET`
    pub method: &'a str,
    /// The request target.
    pub target: &'a [u8],
    /// In wire order.
    pub headers: &'a [(String, Vec<u8>)],
    /// Without its framing.
    pub body: &'a [u8],
    /// In the credential scope.
    pub region: &'a str,
    /// In the credential scope.
    pub service: &'a str,
    /// `AKID…`
    pub access_key: &'a str,
    /// The secret access key.
    pub secret: &'a str,
    /// The session token, if there is one.
    pub token: Option<&'a str>,
}

/// The bytes of the wire as the characters of the same numbers.
fn wire_text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

impl Signed<'_> {
    fn line(&self, id: usize) -> String {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (name, wire_text(value))).collect();
        serde_json::json!({
            "id": id,
            "method": self.method,
            "target": wire_text(self.target),
            "headers": headers,
            "body": wire_text(self.body),
            "region": self.region,
            "service": self.service,
            "access_key": self.access_key,
            "secret": self.secret,
            "token": self.token,
        })
        .to_string()
    }
}

/// botocore, ready to verify; ends when dropped.
pub struct Verifier {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

#[derive(serde::Deserialize)]
struct Verdict {
    id: usize,
    ok: bool,
    detail: String,
}

impl Verifier {
    /// Starts it.
    pub fn start() -> Self {
        let mut child = script("verify_botocore.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the environment's Python starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, input, output }
    }

    /// Verifies all of these; for each, `None` when it holds or the reason why not.
    pub fn verify(&mut self, requests: &[Signed<'_>]) -> Vec<Option<String>> {
        let mut lines = String::new();
        for (id, request) in requests.iter().enumerate() {
            writeln!(lines, "{}", request.line(id)).expect("a string takes any text");
        }
        let Self { input, output, .. } = self;
        let input = input.as_mut().expect("it is piped");
        // Both pipes are small: who only writes until all is written waits for ever.
        thread::scope(|scope| {
            scope.spawn(|| input.write_all(lines.as_bytes()).expect("the verifier reads"));
            (0..requests.len())
                .map(|id| {
                    let mut line = String::new();
                    output.read_line(&mut line).expect("the verifier writes");
                    let verdict: Verdict = serde_json::from_str(&line).expect("the verifier answers");
                    assert_eq!(verdict.id, id, "the verifier answers in order");
                    (!verdict.ok).then_some(verdict.detail)
                })
                .collect()
        })
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
