//! The API key, and the token for callers: from the configuration, a variable, a file that may be replaced, a command,
//! or, for the API key, from where AWS keeps it ([`mod@super::lookup`]).
//!
//! What was good stays in use: a file that vanishes, is empty for a moment or holds rubbish keeps the key that it held
//! before, and the problem says so.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwapOption, Guard};
use http::HeaderValue;
use tokio::{
    sync::{Notify, watch},
    time,
};
use zeroize::Zeroizing;

use super::{
    command,
    environment::Environment,
    lookup::Asker,
    problem::{Kind, Problem},
    watch::stamp,
};
use crate::{
    config::{ApiKey, LONGEST_TOKEN, SHORTEST_TOKEN},
    secret::Secret,
    telemetry,
};

/// How often a file is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// Pauses between tries of a command that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Between two lookups at AWS that refusals of the gateway are the reason of.
const BETWEEN_LOOKUPS: Duration = Duration::from_secs(60);
/// A file that is longer is not a key.
const LONGEST_FILE: u64 = 64 * 1024;

/// What a secret is for: the words of its messages, and how long it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    ApiKey,
    Token,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "API key",
            Self::Token => "token",
        }
    }
}

/// What one source of an API key or token holds now.
#[derive(Debug)]
pub struct CurrentKey {
    purpose: Purpose,
    /// Marked sensitive, so that its `Debug` shows nothing.
    key: ArcSwapOption<HeaderValue>,
    problem: ArcSwapOption<Problem>,
    tries: watch::Sender<u64>,
    renewal: Renewal,
}

/// When a key that AWS keeps is looked up again because the gateway refused it: once for all who ask at the same time,
/// and not within [`BETWEEN_LOOKUPS`] of the last time.
#[derive(Debug, Default)]
struct Renewal {
    state: Mutex<Lookups>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Lookups {
    /// Whether AWS keeps the key.
    any: bool,
    under_way: bool,
    /// When the last one began that a refusal was the reason of.
    asked: Option<Instant>,
}

impl Renewal {
    fn lock(&self) -> MutexGuard<'_, Lookups> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begins(&self) {
        let mut state = self.lock();
        (state.any, state.under_way) = (true, true);
    }

    fn ended(&self) {
        self.lock().under_way = false;
    }

    /// Whether a lookup is under way, begun just now if that is due.
    fn ask(&self) -> bool {
        let mut state = self.lock();
        if !state.any || state.under_way {
            return state.under_way;
        }
        let now = Instant::now();
        if state.asked.is_some_and(|then| now.duration_since(then) < BETWEEN_LOOKUPS) {
            return false;
        }
        (state.under_way, state.asked) = (true, Some(now));
        self.wake.notify_one();
        true
    }
}

impl CurrentKey {
    pub(super) fn new(purpose: Purpose) -> Self {
        let (key, problem) = (ArcSwapOption::empty(), ArcSwapOption::empty());
        Self { purpose, key, problem, tries: watch::Sender::new(0), renewal: Renewal::default() }
    }

    /// The key or token as a header's value, marked sensitive. Takes no lock and never waits.
    pub fn load(&self) -> Guard<Option<Arc<HeaderValue>>> {
        self.key.load()
    }

    /// Why there is no key, or why a newer one was not taken up.
    pub fn problem(&self) -> Option<Arc<Problem>> {
        self.problem.load_full()
    }

    /// Whether AWS keeps the key, so that it can be had again.
    #[must_use]
    pub fn is_looked_up(&self) -> bool {
        self.renewal.lock().any
    }

    /// The gateway refused this key: waits, at most `limit`, for another one. At once `None` where the key is not looked
    /// up at AWS, or a refusal had it looked up within the last minute; whoever asks meanwhile waits for the same lookup.
    pub async fn other_than(&self, refused: &HeaderValue, limit: Duration) -> Option<Arc<HeaderValue>> {
        let other = || self.key.load_full().filter(|held| **held != *refused);
        let mut tries = self.tries.subscribe();
        let seen = *tries.borrow_and_update();
        if let Some(held) = other() {
            return Some(held);
        }
        if !self.renewal.ask() {
            return None;
        }
        let _ended = time::timeout(limit, tries.wait_for(|count| *count > seen)).await;
        other()
    }

    /// Waits, at most `limit`, for the first end of a key's command or lookup. Every other source is ready from the start.
    pub async fn wait(&self, limit: Duration) -> Option<Arc<HeaderValue>> {
        let mut tries = self.tries.subscribe();
        let _ended = time::timeout(limit, tries.wait_for(|count| *count > 0)).await;
        self.key.load_full()
    }

    fn set(&self, outcome: Result<HeaderValue, Problem>) {
        match outcome {
            Ok(key) => {
                if self.key.load().as_deref() != Some(&key) {
                    telemetry::hide(&Secret::new(String::from_utf8_lossy(key.as_bytes())));
                    self.key.store(Some(Arc::new(key)));
                }
                if self.problem.swap(None).is_some() {
                    let name = self.purpose.name();
                    tracing::info!(target: "countersign::credentials", "the {name} is ready");
                }
            }
            Err(problem) => {
                let before = self.problem.swap(Some(Arc::new(problem.clone())));
                if before.is_none_or(|before| *before != problem) {
                    tracing::warn!(
                        target: "countersign::credentials",
                        problem = problem.message(),
                        hint = problem.hint(),
                        kept = self.key.load().is_some(),
                        "no new {}",
                        self.purpose.name()
                    );
                }
            }
        }
        self.tries.send_modify(|count| *count += 1);
    }

    /// What can be known without waiting: all sources but a command and a lookup.
    pub(super) fn read_now(&self, from: &ApiKey, environment: &Environment) {
        let what = self.purpose.name();
        match from {
            ApiKey::Value(secret) => {
                self.set(self.header(secret.expose(), &format!("the {what} in the configuration")));
            }
            ApiKey::Env(name) => self.set(match environment.get(name) {
                Some(value) => self.header(&value, &format!("the {what} in {name}")),
                None => Err(Problem::new(
                    Kind::Nothing,
                    format!("the {what}'s variable {name} is not set"),
                    format!("set {name} where countersign runs"),
                )),
            }),
            ApiKey::File(path) => self.set(self.read_file(path)),
            // Nobody who asks before it has ended begins another.
            ApiKey::Lookup(_) => self.renewal.begins(),
            ApiKey::Command(_) => {}
        }
    }

    /// Keeps the key fresh; ends when nothing more can happen.
    pub(super) async fn follow(self: Arc<Self>, from: ApiKey, seen: u64) {
        match from {
            // A lookup is followed by `follow_lookup`.
            ApiKey::Value(_) | ApiKey::Env(_) | ApiKey::Lookup(_) => {}
            ApiKey::File(path) => self.follow_file(&path, seen).await,
            ApiKey::Command(words) => self.run_until_it_works(&words).await,
        }
    }

    /// Looks the key up, and again when [`Self::other_than`] asks for that; after a failure by itself.
    pub(super) async fn follow_lookup(self: Arc<Self>, asker: Asker) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.renewal.begins();
            let whence = asker.whence();
            let outcome = asker.ask().await.and_then(|secret| self.header(secret.expose(), &whence));
            let good = outcome.is_ok();
            // Before it is told, so that nobody who looks then waits for a lookup that has ended.
            self.renewal.ended();
            self.set(outcome);
            if good {
                pause = FIRST_PAUSE;
                self.renewal.wake.notified().await;
            } else {
                tokio::select! {
                    () = self.renewal.wake.notified() => {}
                    () = time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    async fn follow_file(&self, path: &Path, mut seen: u64) {
        loop {
            time::sleep(TICK).await;
            let now = stamp(path);
            if now != seen {
                self.set(self.read_file(path));
                seen = now;
            }
        }
    }

    async fn run_until_it_works(&self, words: &[String]) {
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = self.run(words).await;
            let done = outcome.is_ok();
            self.set(outcome);
            if done {
                return;
            }
            time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn run(&self, words: &[String]) -> Result<HeaderValue, Problem> {
        let (program, arguments) =
            words.split_first().map_or(("", words), |(first, rest)| (first.as_str(), rest));
        let what = self.purpose.name();
        let mut command = tokio::process::Command::new(program);
        command.args(arguments);
        let printed = command::output(command, COMMAND_LIMIT).await.map_err(|failed| {
            Problem::new(
                Kind::Command,
                format!("the {what}'s command `{program}` {failed}"),
                "run it by hand to see its errors, which are kept out of this message; it is tried again by itself",
            )
        })?;
        let first = printed.split(|byte| *byte == b'\n').next().unwrap_or_default();
        self.header(&text(first), &format!("what the {what}'s command `{program}` prints"))
    }

    fn read_file(&self, path: &Path) -> Result<HeaderValue, Problem> {
        let read = || {
            let metadata = std::fs::metadata(path)?;
            if metadata.is_dir() {
                return Err(std::io::ErrorKind::IsADirectory.into());
            }
            if metadata.len() > LONGEST_FILE {
                return Err(std::io::ErrorKind::FileTooLarge.into());
            }
            std::fs::read(path)
        };
        let bytes = Zeroizing::new(read().map_err(|error| Problem::unreadable(path, &error))?);
        self.header(&text(&bytes), &format!("the {} in {}", self.purpose.name(), path.display()))
    }

    /// Makes the header's value. Both are printable ASCII without white space. API Gateway's keys have 20 to 128
    /// characters, but other services and emulators take shorter ones.
    fn header(&self, text: &str, whence: &str) -> Result<HeaderValue, Problem> {
        let text = text.trim();
        if text.is_empty() {
            let hint = format!("put the {} there", self.purpose.name());
            return Err(Problem::new(Kind::Malformed, format!("{whence} is empty"), hint));
        }
        if self.purpose == Purpose::Token && !(SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&text.len()) {
            let wrong = if text.len() < SHORTEST_TOKEN { "short: it could be guessed" } else { "long" };
            return Err(Problem::new(
                Kind::Malformed,
                format!("{whence} is too {wrong}"),
                format!("a token has {SHORTEST_TOKEN} to {LONGEST_TOKEN} characters: openssl rand -hex 32"),
            ));
        }
        let fits = text.bytes().all(|byte| byte.is_ascii_graphic());
        match HeaderValue::from_str(text) {
            Ok(mut value) if fits => {
                value.set_sensitive(true);
                Ok(value)
            }
            _ => Err(Problem::new(
                Kind::Malformed,
                format!("{whence} cannot be put into a header"),
                "it must be one line of printable ASCII without white space inside",
            )),
        }
    }
}

/// The text of it, or nothing when it is not UTF-8, which no key is.
fn text(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(std::str::from_utf8(bytes).unwrap_or("\0").to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::PathBuf,
        sync::Arc,
        time::{Duration, Instant},
    };

    use super::{BETWEEN_LOOKUPS, CurrentKey, Kind, Purpose};
    use crate::{
        config::ApiKey,
        credentials::{Sources, environment::Environment},
        secret::Secret,
        telemetry,
    };

    const LONG: Duration = Duration::from_secs(60);

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("countersign-key-{name}-{}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn held(key: &CurrentKey) -> Option<String> {
        key.load().as_ref().map(|value| value.to_str().unwrap().to_owned())
    }

    /// Waits until `done`; the bound only ends a test that fails.
    #[expect(clippy::disallowed_methods, reason = "a test without a runtime looks again until the bound")]
    fn until(what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + LONG;
        while !done() {
            assert!(Instant::now() < end, "never happened: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn values_and_variables_are_read_at_once_and_never_shown() {
        let environment = Environment::of(&[("KEY", " k3y\n"), ("BAD", "sp ace")]);
        let read = |from: ApiKey| {
            let key = CurrentKey::new(Purpose::ApiKey);
            key.read_now(&from, &environment);
            key
        };
        let value = read(ApiKey::Value(Secret::new("v4lue")));
        assert_eq!(held(&value).as_deref(), Some("v4lue"));
        read(ApiKey::Value(Secret::new("v4lue-in-use")));
        assert!(telemetry::is_hidden("v4lue-in-use"), "from the log");
        assert!(!format!("{value:?}").contains("v4lue"));
        assert_eq!(held(&read(ApiKey::Env("KEY".into()))).as_deref(), Some("k3y"));
        let bad = read(ApiKey::Env("BAD".into()));
        assert_eq!(bad.problem().unwrap().kind(), Kind::Malformed);
        assert!(!bad.problem().unwrap().to_string().contains("sp ace"));
        let absent = read(ApiKey::Env("ABSENT".into()));
        assert!(absent.problem().unwrap().message().contains("ABSENT"));
        let hidden = read(ApiKey::Value(Secret::new("hun\nter2")));
        assert!(hidden.load().is_none() && !hidden.problem().unwrap().to_string().contains("hun"));
    }

    #[test]
    fn a_token_that_can_be_guessed_is_none() {
        let (short, long) = ("0123456789abcde", "x".repeat(513));
        let environment = Environment::of(&[("SHORT", short), ("LONG", &long), ("GOOD", "0123456789abcdef")]);
        for (name, part) in [("SHORT", "too short"), ("LONG", "too long"), ("ABSENT", "not set")] {
            let token = CurrentKey::new(Purpose::Token);
            token.read_now(&ApiKey::Env(name.into()), &environment);
            let problem = token.problem().unwrap();
            assert!(token.load().is_none() && problem.message().contains(part), "{problem}");
            assert!(!problem.to_string().contains(short));
        }
        let token = CurrentKey::new(Purpose::Token);
        token.read_now(&ApiKey::Env("GOOD".into()), &environment);
        assert_eq!(held(&token).as_deref(), Some("0123456789abcdef"));
        assert!(telemetry::is_hidden("0123456789abcdef"), "from the log");
        assert!(!format!("{token:?} {token:#?}").contains("0123456789abcdef"));
    }

    #[test]
    fn a_file_is_followed_and_what_was_good_is_kept() {
        let path = directory("file").join("key");
        fs::write(&path, "first\n").unwrap();
        let from = ApiKey::File(path.clone());
        let sources = Sources::start([], [&from]).unwrap();
        let key = sources.api_key(&from);
        assert_eq!(held(&key).as_deref(), Some("first"), "ready when start returns");
        for bad in ["", "two words\n", "\u{e9}"] {
            fs::write(&path, bad).unwrap();
            until("a problem", || key.problem().is_some_and(|problem| problem.kind() == Kind::Malformed));
            assert_eq!(held(&key).as_deref(), Some("first"));
            fs::write(&path, "first").unwrap();
            until("no problem", || key.problem().is_none());
        }
        fs::remove_file(&path).unwrap();
        until("a problem", || key.problem().is_some_and(|problem| problem.kind() == Kind::File));
        assert_eq!(held(&key).as_deref(), Some("first"), "a vanished file keeps the key");
        fs::write(&path, "other").unwrap();
        until("the new key", || held(&key).as_deref() == Some("other"));
        assert!(key.problem().is_none());
    }

    #[test]
    fn sources_show_no_secret_in_any_debug() {
        let (key, token) = ("canary-key-0123456789", "canary-token-0123456789");
        let path = directory("debug").join("key");
        fs::write(&path, key).unwrap();
        let keys = [ApiKey::Value(Secret::new(key)), ApiKey::File(path)];
        let sources = Sources::start([], &keys).unwrap();
        let held_token = sources.token(&ApiKey::Value(Secret::new(token)));
        assert_eq!(held(&held_token).as_deref(), Some(token));
        assert_eq!(held(&sources.api_key(&keys[1])).as_deref(), Some(key));
        let credentials = aws_credential_types::Credentials::new(
            "AKIDEXAMPLE",
            "canary-secret",
            Some("canary-session".to_owned()),
            None,
            "test",
        );
        let shown =
            format!("{sources:?} {sources:#?} {held_token:?} {held_token:#?} {credentials:?} {keys:?}");
        assert!(!shown.contains("canary") && shown.contains("hidden"), "{shown}");
    }

    #[cfg(unix)]
    #[test]
    fn a_kubernetes_volume_swaps_its_links() {
        use std::os::unix::fs::symlink;

        let root = directory("volume");
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("key"), text).unwrap();
        }
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/key", root.join("key")).unwrap();
        let from = ApiKey::File(root.join("key"));
        let sources = Sources::start([], [&from]).unwrap();
        let key = sources.api_key(&from);
        assert_eq!(held(&key).as_deref(), Some("one"));
        symlink("..2", root.join("..tmp")).unwrap();
        fs::rename(root.join("..tmp"), root.join("..data")).unwrap();
        fs::remove_dir_all(root.join("..1")).unwrap();
        until("the new key", || held(&key).as_deref() == Some("two"));
    }

    /// What the gateway refuses is looked up again for all who were refused, and then not for a minute.
    #[tokio::test]
    async fn a_refused_key_is_looked_up_once_a_minute() {
        let key = CurrentKey::new(Purpose::ApiKey);
        let old = key.header("old", "the test").unwrap();
        assert!(!key.is_looked_up());
        key.set(Ok(old.clone()));
        assert!(key.other_than(&old, LONG).await.is_none(), "nobody keeps it");

        key.renewal.begins();
        key.renewal.ended();
        assert!(key.is_looked_up());
        let next = |text: &str| {
            let header = key.header(text, "the test").unwrap();
            let key = &key;
            async move {
                key.renewal.wake.notified().await;
                key.renewal.begins();
                tokio::task::yield_now().await;
                key.renewal.ended();
                key.set(Ok(header));
            }
        };
        let (first, second, ()) =
            tokio::join!(key.other_than(&old, LONG), key.other_than(&old, LONG), next("new"));
        assert_eq!(first.as_deref().unwrap().to_str().unwrap(), "new");
        assert_eq!(first, second);
        let new = first.unwrap();
        assert_eq!(key.other_than(&old, LONG).await.as_ref(), Some(&new), "who was late takes it");
        assert!(key.other_than(&new, LONG).await.is_none(), "not within a minute");
        // As if it had been a minute ago.
        key.renewal.lock().asked = Instant::now().checked_sub(BETWEEN_LOOKUPS);
        let (third, ()) = tokio::join!(key.other_than(&new, LONG), next("newest"));
        assert_eq!(third.unwrap().to_str().unwrap(), "newest");
    }

    #[tokio::test]
    async fn a_command_is_run_again_until_it_works() {
        let marker = directory("command").join("ready");
        let script = format!(
            "test -e {0} && echo ' k3y ' && echo second; test -e {0} || {{ echo hunter2 >&2; exit 1; }}",
            marker.display()
        );
        let from = ApiKey::Command(vec!["sh".into(), "-c".into(), script]);
        let sources = Sources::start([], [&from]).unwrap();
        let key = sources.api_key(&from);
        assert!(Arc::ptr_eq(&key, &sources.api_key(&from)), "one source for equal configurations");
        assert!(key.wait(LONG).await.is_none());
        let problem = key.problem().unwrap();
        assert_eq!(problem.kind(), Kind::Command);
        assert!(
            problem.message().contains("exit status: 1") && !problem.to_string().contains("hunter2"),
            "{problem}"
        );
        fs::write(&marker, "").unwrap();
        tokio::task::spawn_blocking(move || {
            until("the key", || held(&key).as_deref() == Some("k3y"));
            until("no problem", || key.problem().is_none());
        })
        .await
        .unwrap();
        drop(sources);
    }
}
