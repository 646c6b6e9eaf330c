//! Where the process is between its start and its end: `/startupz` and `POST /quitquitquit`.
//!
//! It has started once it listens and every stage's first question for credentials, API key or token has been answered,
//! well or badly, or has taken longer than [`START_WAIT`]. From then on `/startupz` says 200 for good: whether requests
//! would be served is for `/readyz` to say.
//!
//! `/quitquitquit` is there with `admin_quit = true`, and ends the proxy as SIGTERM does. It is answered first: the end
//! begins when that connection has ended. Who asks over an address that other machines reach needs the callers' token,
//! and cannot ask where there is none.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::json;
use tokio::sync::Notify;

use super::{
    answer::{Answer, error, explained, json},
    health::Trouble,
    is_local, refused,
};
use crate::{
    admin::Health,
    proxy::{Readiness, Refusal},
};

/// For the first answers of providers: longer than those of the SDK take that wait for a network which is not there.
const START_WAIT: Duration = Duration::from_secs(30);

/// Where it is.
#[derive(Debug)]
pub(super) struct Lifecycle {
    begun: Instant,
    listening: AtomicBool,
    started: AtomicBool,
    draining: AtomicBool,
    quit: Notify,
}

impl Lifecycle {
    pub(super) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            listening: AtomicBool::new(false),
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            quit: Notify::new(),
        }
    }

    pub(super) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Relaxed)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

impl Health {
    /// From now on requests are taken.
    pub fn listening(&self) {
        self.life.listening.store(true, Ordering::Relaxed);
    }

    /// From now on nothing new should be sent here.
    pub fn drain(&self) {
        self.life.draining.store(true, Ordering::Relaxed);
    }

    /// Whether nothing new should be sent here.
    pub(super) fn is_draining(&self) -> bool {
        self.life.is_draining()
    }

    /// For those who probe the port of the requests (`health_path`).
    #[must_use]
    pub fn for_probes(self: &Arc<Self>) -> Arc<Readiness> {
        let health = Arc::clone(self);
        Readiness::new(move || health.is_ready())
    }

    /// Waits until somebody has asked for the end by `/quitquitquit`, and has been answered.
    pub async fn quit_asked(&self) {
        self.life.quit.notified().await;
    }

    /// Whether it has started, or what is waited for.
    fn startup(&self) -> (StatusCode, String) {
        let life = &self.life;
        let mut waits = Vec::new();
        if !life.started.load(Ordering::Relaxed) {
            if !life.is_listening() {
                waits.push(Trouble::of_all("it does not listen yet"));
            }
            if life.begun.elapsed() < START_WAIT {
                waits.extend(self.first_answers_to_come());
            }
            life.started.store(waits.is_empty(), Ordering::Relaxed);
        }
        let (code, status) = match waits.is_empty() {
            true => (StatusCode::OK, "started"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        };
        (code, json!({ "status": status, "problems": waits }).to_string())
    }
}

/// Begins the end when the last of it is dropped. It comes in the extensions of the answer, and whoever serves that
/// answer's connection holds it for as long as the connection lasts.
#[derive(Debug, Clone)]
pub(super) struct Quit {
    _held: Arc<Asked>,
}

#[derive(Debug)]
struct Asked(Arc<Health>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.life.quit.notify_one();
    }
}

/// The answer to what is asked here; `None` for other paths. `seen` says whether this one may see more than whether all
/// is well.
pub(super) fn answer<B>(
    request: &Request<B>,
    local: Option<IpAddr>,
    health: &Arc<Health>,
    seen: &Result<(), Refusal>,
) -> Option<Answer> {
    match (request.uri().path(), request.method()) {
        ("/startupz", &Method::GET | &Method::HEAD) => {
            let (status, body) = health.startup();
            let bare =
                if status.is_success() { r#"{"status":"started"}"# } else { r#"{"status":"starting"}"# };
            Some(json(status, if seen.is_ok() { body } else { bare.to_owned() }))
        }
        ("/startupz", _) => Some(method_not_allowed("GET, HEAD")),
        ("/quitquitquit", &Method::POST) => Some(quit(local, health, seen)),
        ("/quitquitquit", _) => Some(method_not_allowed("POST")),
        _ => None,
    }
}

fn quit(local: Option<IpAddr>, health: &Arc<Health>, seen: &Result<(), Refusal>) -> Answer {
    let refuse =
        |message: &str, hint: &str| explained(StatusCode::FORBIDDEN, "quit-not-allowed", message, hint);
    if !health.may_quit() {
        return refuse("Nobody may end this proxy by a request.", "admin_quit = true allows it.");
    }
    if !is_local(local) && health.token().is_none() {
        return refuse(
            "Other machines reach this address, and there is no token for callers.",
            "Ask over 127.0.0.1, where admin listens on all addresses, or set guard.token.",
        );
    }
    if let Err(refusal) = seen {
        return refused(refusal);
    }
    tracing::info!("the end is asked for by /quitquitquit");
    let mut answer = json(StatusCode::OK, r#"{"status":"stopping"}"#.to_owned());
    answer.extensions_mut().insert(Quit { _held: Arc::new(Asked(Arc::clone(health))) });
    answer
}

fn method_not_allowed(allowed: &'static str) -> Answer {
    let body = r#"{"error":"method-not-allowed"}"#.to_owned();
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", body);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{admin::Health, cli, config, credentials::Sources};

    #[test]
    fn it_is_not_ready_before_it_listens_and_has_started_for_good() {
        let url = "https://abc123.execute-api.us-west-2.amazonaws.com/prod";
        // A stage that nothing has to be asked for.
        let line = ["countersign", "run", url, "--route=/*=none"].map(Into::into);
        let Ok(cli::Command::Run(given)) = cli::parse(line, []) else { panic!("it is run") };
        let config = config::load(&given).unwrap_or_else(|error| panic!("{}", error.render(false)));
        let health = Health::new(&Arc::new(config), &Sources::start([], []).expect("a thread"));
        for (status, body) in [health.readiness(), health.startup()] {
            assert!(status == 503 && body.contains("does not listen yet"), "{body}");
        }
        assert!(!health.is_ready());
        health.listening();
        assert!(health.is_ready());
        assert_eq!(health.startup().0, 200);
        health.drain();
        assert!(!health.is_ready() && health.readiness().1.contains("stopping"));
        assert_eq!(health.startup().0, 200);
    }
}
