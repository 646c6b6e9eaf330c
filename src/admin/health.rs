//! Whether a request would be served, and why not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use http::StatusCode;
use serde::Serialize;

use crate::{
    config::Config,
    credentials::{Current, CurrentKey, Problem, Sources},
};

/// What readiness is judged by.
pub struct Health {
    draining: AtomicBool,
    token: Option<Arc<CurrentKey>>,
    stages: Vec<Stage>,
}

struct Stage {
    name: String,
    credentials: Option<Arc<Current>>,
    api_key: Option<Arc<CurrentKey>>,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    problems: Vec<Trouble>,
}

#[derive(Serialize)]
struct Trouble {
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    problem: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Health {
    /// Watches the sources that the configured stages need.
    #[must_use]
    pub fn new(config: &Config, sources: &Sources) -> Arc<Self> {
        let stages = config.stages.iter().map(|stage| Stage {
            name: stage.name.clone(),
            credentials: stage.signs().then(|| sources.current(&stage.credentials)),
            api_key: stage.api_key.as_ref().map(|key| sources.api_key(key)),
        });
        let token = config.guard.token.as_ref().map(|from| sources.token(from));
        Arc::new(Self { draining: AtomicBool::new(false), token, stages: stages.collect() })
    }

    /// From now on nothing new should be sent here.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn readiness(&self) -> (StatusCode, String) {
        let mut problems: Vec<_> = self.stages.iter().flat_map(Stage::problems).collect();
        if let Some(token) = self.token.as_ref().filter(|token| token.load().is_none()) {
            problems.push(trouble(None, token.problem(), "there is no token for callers"));
        }
        if self.draining.load(Ordering::Relaxed) {
            problems.push(Trouble { stage: None, problem: "the proxy is stopping".to_owned(), hint: None });
        }
        let (code, status) = if problems.is_empty() {
            (StatusCode::OK, "ready")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready")
        };
        let report = Report { status, problems };
        (code, serde_json::to_string(&report).expect("texts are always JSON"))
    }
}

impl Stage {
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
