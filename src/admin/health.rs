//! Whether a request would be served, and why not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::StatusCode;
use serde::Serialize;

use super::lifecycle::Lifecycle;
use crate::{
    config::{self, Config},
    credentials::{Clock, Current, CurrentKey, Problem, Sources},
};

/// What readiness is judged by.
#[derive(Debug)]
pub struct Health {
    pub(super) life: Lifecycle,
    watched: ArcSwap<Watched>,
    /// Why the configuration as it was last read is not the one that runs.
    rejected: ArcSwapOption<String>,
    reloads: [AtomicU64; 2],
}

/// What the configuration that runs needs.
#[derive(Debug)]
struct Watched {
    config: Arc<Config>,
    token: Option<Arc<CurrentKey>>,
    stages: Vec<Stage>,
    allowed_hosts: Vec<String>,
}

/// What a stage lives on.
#[derive(Debug)]
pub(super) struct Stage {
    name: String,
    /// `None` where nothing is signed.
    pub(super) credentials: Option<Arc<Current>>,
    pub(super) api_key: Option<Arc<CurrentKey>>,
    pub(super) clock: Arc<Clock>,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    /// Whether connections are taken.
    listening: bool,
    problems: Vec<Trouble>,
    /// Not among the problems: what runs is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Trouble {
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    problem: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Health {
    /// Watches the sources that the configured stages need.
    #[must_use]
    pub fn new(config: &Arc<Config>, sources: &Sources) -> Arc<Self> {
        Arc::new(Self {
            life: Lifecycle::begin(),
            watched: ArcSwap::from_pointee(Watched::new(config, sources)),
            rejected: ArcSwapOption::empty(),
            reloads: Default::default(),
        })
    }

    /// Another configuration was taken up.
    pub fn reloaded(&self, config: &Arc<Config>, sources: &Sources) {
        self.watched.store(Arc::new(Watched::new(config, sources)));
        self.rejected.store(None);
        self.reloads[0].fetch_add(1, Ordering::Relaxed);
    }

    /// Another configuration was not taken up, for this reason.
    pub fn rejected(&self, why: String) {
        self.rejected.store(Some(Arc::new(why)));
        self.reloads[1].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn reloads(&self) -> [(&'static str, u64); 2] {
        let [applied, rejected] = &self.reloads;
        [("applied", applied.load(Ordering::Relaxed)), ("rejected", rejected.load(Ordering::Relaxed))]
    }

    /// The API key of each stage that has one, by the stage's name.
    pub(super) fn api_keys(&self) -> Vec<(String, Arc<CurrentKey>)> {
        let watched = self.watched.load();
        let with_key = watched.stages.iter().filter_map(|stage| Some((stage, stage.api_key.as_ref()?)));
        with_key.map(|(stage, key)| (stage.name.clone(), Arc::clone(key))).collect()
    }

    /// What `with` makes of the names that `Host` may hold beside this machine's own.
    pub(super) fn with_allowed_hosts<T>(&self, with: impl FnOnce(&[String]) -> T) -> T {
        with(&self.watched.load().allowed_hosts)
    }
}

impl Watched {
    fn new(config: &Arc<Config>, sources: &Sources) -> Self {
        let stages = config.stages.iter().map(|stage| Stage {
            name: stage.name.clone(),
            credentials: stage.signs().then(|| sources.current(&stage.credentials)),
            api_key: stage.api_key.as_ref().map(|key| sources.api_key(key)),
            clock: sources.clock(&stage.url),
        });
        let token = config.guard.token.as_ref().map(|from| sources.token(from));
        let config = Arc::clone(config);
        Self { token, stages: stages.collect(), allowed_hosts: config.guard.allowed_hosts.clone(), config }
    }
}

impl Health {
    /// The configuration that runs.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.watched.load().config)
    }

    /// What `each` makes of every stage of it.
    pub(super) fn stages<T>(&self, mut each: impl FnMut(&config::Stage, &Stage) -> T) -> Vec<T> {
        let watched = self.watched.load();
        let stages = watched.config.stages.iter().zip(&watched.stages);
        stages.map(|(config, stage)| each(config, stage)).collect()
    }

    /// The callers' token, if one is asked for.
    pub(super) fn token(&self) -> Option<Arc<CurrentKey>> {
        self.watched.load().token.clone()
    }

    /// Whether `/quitquitquit` is there.
    pub(super) fn may_quit(&self) -> bool {
        self.watched.load().config.admin_quit
    }

    /// Whether a request would be served now.
    pub fn is_ready(&self) -> bool {
        self.problems().is_empty()
    }

    /// Those of whom nobody knows yet whether they have anything.
    pub(super) fn first_answers_to_come(&self) -> Vec<Trouble> {
        let watched = self.watched.load();
        let mut found: Vec<_> = watched.stages.iter().flat_map(Stage::first_answers_to_come).collect();
        if watched.token.as_ref().is_some_and(|token| !token.is_tried()) {
            found.push(Trouble::of_all("the token for callers is not there yet"));
        }
        found
    }

    fn problems(&self) -> Vec<Trouble> {
        let watched = self.watched.load();
        let mut problems: Vec<_> = watched.stages.iter().flat_map(Stage::problems).collect();
        if let Some(token) = watched.token.as_ref().filter(|token| token.load().is_none()) {
            problems.push(trouble(None, token.problem(), "there is no token for callers"));
        }
        if self.life.is_draining() {
            problems.push(Trouble::of_all("the proxy is stopping"));
        } else if !self.life.is_listening() {
            problems.push(Trouble::of_all("the proxy does not listen yet"));
        }
        problems
    }

    pub(super) fn readiness(&self) -> (StatusCode, String) {
        let problems = self.problems();
        let (code, status) = if problems.is_empty() {
            (StatusCode::OK, "ready")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready")
        };
        let report = Report {
            status,
            listening: self.life.is_listening(),
            problems,
            configuration: self.rejected.load().as_ref().map(ToString::to_string),
        };
        (code, serde_json::to_string(&report).expect("texts are always JSON"))
    }
}

impl Trouble {
    /// Of no stage alone, and with nothing to be done.
    pub(super) fn of_all(problem: &str) -> Self {
        Self { stage: None, problem: problem.to_owned(), hint: None }
    }
}

impl Stage {
    fn first_answers_to_come(&self) -> Vec<Trouble> {
        let mut found = Vec::new();
        if self.credentials.as_ref().is_some_and(|current| !current.is_tried()) {
            found.push(trouble(
                Some(&self.name),
                None,
                "the first question for credentials is not answered yet",
            ));
        }
        if self.api_key.as_ref().is_some_and(|key| !key.is_tried()) {
            found.push(trouble(Some(&self.name), None, "the API key is not there yet"));
        }
        found
    }

    fn problems(&self) -> Vec<Trouble> {
        let mut found = Vec::new();
        if let Some(current) = &self.credentials {
            let identity = current.load();
            let expired = identity
                .as_ref()
                .map(|held| held.expires.is_some_and(|expires| expires <= SystemTime::now()));
            let otherwise = match expired {
                Some(false) => None,
                Some(true) => Some("the credentials have expired"),
                None => Some("there are no credentials"),
            };
            if let Some(otherwise) = otherwise {
                found.push(trouble(Some(&self.name), current.problem(), otherwise));
            }
        }
        if let Some(key) = self.api_key.as_ref().filter(|key| key.load().is_none()) {
            found.push(trouble(Some(&self.name), key.problem(), "there is no API key"));
        }
        found
    }
}

fn trouble(stage: Option<&str>, problem: Option<Arc<Problem>>, otherwise: &str) -> Trouble {
    let (text, hint) = problem.map_or_else(
        || (otherwise.to_owned(), None),
        |problem| (problem.message().to_owned(), Some(problem.hint().to_owned())),
    );
    Trouble { stage: stage.map(str::to_owned), problem: text, hint }
}
