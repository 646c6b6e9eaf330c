//! Where the identity and the API key come from, and how they stay fresh.
//!
//! A thread of its own owns everything that waits: providers, the SDK's HTTP client, files, commands. One task for
//! each distinct [`config::Credentials`] asks its source (`source.rs`) well before expiry (`refresh.rs`) and publishes
//! into a [`Current`], from which requests read without a lock or a wait. While unexpired credentials are held, no
//! request waits for a provider or fails for one. What cannot be had is a [`Problem`]: what happened, and what mends
//! it. A file that changes (a login, an edit) is noticed within a second or two. What leaves no file, such as a role
//! or a `credential_process` that works again, is noticed when the source is next asked: within seconds while requests
//! need it, otherwise after a pause that grows to ten seconds, and to a minute where a command is run. An API key's
//! command waits for that pause whoever needs it.
//!
//! | file | what it is |
//! |---|---|
//! | `current.rs` | what requests read |
//! | `clock.rs` | how far this machine's clock is from a gateway's |
//! | `dated.rs` | what the services that give credentials show of the time |
//! | `refresh.rs` | when a source is asked, and what is logged |
//! | `source.rs` | asking a source once: the SDK's providers, roles |
//! | `profile.rs` | what the AWS configuration files say about a profile |
//! | `process.rs`, `command.rs` | `credential_process`, and running commands whose output is a secret |
//! | `login.rs` | has a person log in, where the configuration says how |
//! | `history.rs` | how the last questions ended |
//! | `watch.rs`, `environment.rs` | files that change, variables that name them |
//! | `problem.rs`, `diagnose.rs` | what is wrong, in words that hold no secret |
//! | `api_key.rs` | the API key, and the token for callers |
//! | `lookup.rs` | an API key that AWS keeps |
//! | `account.rs` | AWS's control plane with the same sources |
//! | `whose.rs` | whose they are, for whoever reads why a gateway refused |

mod account;
mod api_key;
mod clock;
mod command;
mod current;
mod dated;
mod diagnose;
mod environment;
mod history;
mod login;
mod lookup;
mod problem;
mod process;
mod profile;
mod refresh;
mod source;
mod watch;
mod whose;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    task::AbortHandle,
};

pub use self::{
    account::account,
    api_key::CurrentKey,
    clock::Clock,
    current::{Current, Identity},
    history::Attempt,
    login::LoginRefused,
    problem::{Kind, Problem},
    watch::stamp,
};
use self::{
    api_key::Purpose,
    environment::Environment,
    login::{Flight, Login},
    lookup::Asker,
    refresh::Refresher,
    source::Source,
    whose::Callers,
};
use crate::config;

/// How long the thread waits at its end for a name resolution or a file that cannot be interrupted.
const LAST_WAIT: Duration = Duration::from_millis(200);

/// A key's source, and the task that follows it.
type KeySource = (Purpose, config::ApiKey, Arc<CurrentKey>, AbortHandle);

/// All sources, and the thread that keeps them fresh. Dropping it ends the thread; what was read stays readable.
#[derive(Debug)]
pub struct Sources {
    environment: Environment,
    http: SharedHttpClient,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    identities: Mutex<HashMap<config::Credentials, (Arc<Current>, AbortHandle)>>,
    keys: Mutex<Vec<KeySource>>,
    clocks: Mutex<HashMap<String, Arc<Clock>>>,
    flights: Mutex<HashMap<Vec<String>, Arc<Flight>>>,
    callers: Callers,
}

impl Sources {
    /// Starts the thread and asks every source; returns at once. Keys that are values, variables or files are ready
    /// when it returns.
    ///
    /// # Errors
    ///
    /// The system gives no thread or no runtime. Sources that have nothing are no error: see [`Current::problem`].
    pub fn start<'a>(
        credentials: impl IntoIterator<Item = &'a config::Credentials>,
        keys: impl IntoIterator<Item = &'a config::ApiKey>,
    ) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("credentials".to_owned()).spawn(move || {
            // Ends by word or because the sender is gone: either way it is the end.
            let _end = runtime.block_on(stopped);
            runtime.shutdown_timeout(LAST_WAIT);
        })?;
        let sources = Self {
            environment: Environment::process(),
            http: source::http_client(),
            handle,
            stop: Some(stop),
            thread: Some(thread),
            identities: Mutex::default(),
            keys: Mutex::default(),
            clocks: Mutex::default(),
            flights: Mutex::default(),
            callers: Callers::default(),
        };
        for wanted in credentials {
            sources.current(wanted);
        }
        for from in keys {
            sources.api_key(from);
        }
        Ok(sources)
    }

    /// The identity of this source; equal configurations share one. A source that is new is started, as after a
    /// reload.
    pub fn current(&self, wanted: &config::Credentials) -> Arc<Current> {
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((current, _)) = identities.get(wanted) {
            return Arc::clone(current);
        }
        let current = Arc::new(Current::new());
        let (environment, witness) = (self.environment.clone(), Arc::clone(&current.witness));
        let source = Source::new(wanted.clone(), environment, self.http.clone(), witness);
        let login = self.login(wanted);
        let refresher = Refresher::new(source, &self.environment, Arc::clone(&current), login);
        let task = self.handle.spawn(refresher.run()).abort_handle();
        identities.insert(wanted.clone(), (Arc::clone(&current), task));
        current
    }

    /// Has these sources hold the keys of AWS's documentation, and asks nobody. They open nothing.
    pub fn hold_examples<'a>(&self, wanted: impl IntoIterator<Item = &'a config::Credentials>) {
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        for wanted in wanted {
            let current = Arc::new(Current::new());
            current.publish(Identity::example(), None);
            let nothing = self.handle.spawn(std::future::ready(())).abort_handle();
            identities.insert(wanted.clone(), (current, nothing));
        }
    }

    /// What has a person log in for this source. Sources with one command share a flight of it.
    fn login(&self, wanted: &config::Credentials) -> Login {
        let words = wanted.login_command.clone().unwrap_or_default();
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let flight = Arc::clone(flights.entry(words.clone()).or_default());
        Login::new(words, flight)
    }

    /// Every source that was started, with its name. Two that differ in what the name does not tell share one.
    pub fn all(&self) -> Vec<(String, Arc<Current>)> {
        let identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        identities.iter().map(|(wanted, (current, _))| (source::name(wanted), Arc::clone(current))).collect()
    }

    /// What stands for the identity of a stage that never signs: nothing is asked, and nothing ever comes.
    #[must_use]
    pub fn nothing() -> Arc<Current> {
        Arc::new(Current::new())
    }

    /// The API key of this source; equal configurations share one. A source that is new is started.
    pub fn api_key(&self, from: &config::ApiKey) -> Arc<CurrentKey> {
        self.key(Purpose::ApiKey, from)
    }

    /// The token for callers; as [`Self::api_key`], but never a short one.
    pub fn token(&self, from: &config::ApiKey) -> Arc<CurrentKey> {
        self.key(Purpose::Token, from)
    }

    fn key(&self, purpose: Purpose, from: &config::ApiKey) -> Arc<CurrentKey> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, key, _)) = keys.iter().find(|(what, known, ..)| *what == purpose && known == from)
        {
            return Arc::clone(key);
        }
        let key = Arc::new(CurrentKey::new(purpose));
        // Looked at before it is read, so that no change in between is missed.
        let seen = match from {
            config::ApiKey::File(path) => stamp(path),
            _ => 0,
        };
        key.read_now(from, &self.environment);
        let task = match from {
            config::ApiKey::Lookup(lookup) => {
                let current = self.current(&lookup.credentials);
                let asker =
                    Asker::new((**lookup).clone(), current, self.environment.clone(), self.http.clone());
                self.handle.spawn(Arc::clone(&key).follow_lookup(asker))
            }
            _ => self.handle.spawn(Arc::clone(&key).follow(from.clone(), seen)),
        };
        let task = task.abort_handle();
        keys.push((purpose, from.clone(), Arc::clone(&key), task));
        key
    }

    /// The clock of the gateway at `url`, which all stages there share.
    pub fn clock(&self, url: &config::StageUrl) -> Arc<Clock> {
        let name = format!("{}://{}", if url.tls { "https" } else { "http" }, url.authority);
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        let clock =
            clocks.entry(name).or_insert_with(|| Arc::new(Clock::new(url.authority.as_str(), url.tls)));
        Arc::clone(clock)
    }

    /// Ends every source that is not among these, as after a reload. Whoever still holds what it gave can read it;
    /// it is no longer kept fresh.
    pub fn retain(
        &self,
        credentials: &[&config::Credentials],
        keys: &[&config::ApiKey],
        tokens: &[&config::ApiKey],
    ) {
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        identities.retain(|wanted, (_, task)| {
            let asks = |from: &&config::ApiKey| matches!(from, config::ApiKey::Lookup(lookup) if lookup.credentials == *wanted);
            let used = credentials.contains(&wanted) || keys.iter().any(asks);
            if !used {
                task.abort();
            }
            used
        });
        drop(identities);
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).retain(|(purpose, from, _, task)| {
            let named = match purpose {
                Purpose::ApiKey => keys,
                Purpose::Token => tokens,
            };
            let used = named.contains(&from);
            if !used {
                task.abort();
            }
            used
        });
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the runtime already.
            let _ended = thread.join();
        }
    }
}
