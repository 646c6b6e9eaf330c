//! What the proxy lives on now: stages with what they ask for, credentials with the time they have left, keys, clocks.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::Inspector;
use crate::{
    admin::{
        answer::{self, Answer},
        health,
    },
    config::{self, ApiKey, Auth},
    credentials::{Current, LoginRefused, Problem, Sources},
};

impl Inspector {
    /// The state as JSON.
    pub(super) fn state(&self) -> Value {
        let config = self.health.config();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "draining": self.health.is_draining(),
            "bodies": config.inspector.bodies,
            "stages": self.health.stages(|config, held| stage(config, held, &self.sources)),
            "connections": { "limit": config.limits.max_connections, "workers": config.workers },
            "listen": self.listen(),
            "token": config.guard.token.is_some(),
        })
    }

    /// Asks STS whose a stage's credentials are; the state has it from then on.
    pub(super) async fn identify(&self, name: &str) -> Answer {
        let found = self.health.stages(|config, stage| {
            let held = stage.credentials.as_ref().and_then(|current| current.load().clone());
            (config.name == name).then(|| (config.credentials.clone(), config.region.clone(), held))
        });
        let Some((wanted, region, held)) = found.into_iter().flatten().next() else {
            return super::no_such("There is no such stage.");
        };
        let Some(held) = held else {
            return answer::explained(
                http::StatusCode::CONFLICT,
                "no-credentials",
                "There are no credentials to ask about.",
                "The stage signs nothing, or its source has given none.",
            );
        };
        match self.sources.caller(&wanted, &region, &held.access_key_id).await {
            Some(arn) => answer::json(http::StatusCode::OK, json!({ "arn": &*arn }).to_string()),
            None => answer::explained(
                http::StatusCode::BAD_GATEWAY,
                "identity-unknown",
                "STS does not say whose the credentials are.",
                "`countersign check` says why. It is asked again in a minute.",
            ),
        }
    }

    /// Has somebody log in, for a stage.
    pub(super) fn log_in(&self, name: &str, local: Option<IpAddr>) -> Answer {
        // What reaches a loopback address of this machine came from this machine.
        if !local.is_some_and(|local| local.to_canonical().is_loopback()) {
            return answer::explained(
                http::StatusCode::FORBIDDEN,
                "login-from-afar",
                "A login opens a window on the proxy's own machine.",
                "Open the inspector there, at its loopback address.",
            );
        }
        let found = self.health.stages(|config, stage| {
            (config.name == name).then(|| stage.credentials.as_ref().map(|current| current.log_in()))
        });
        match found.into_iter().flatten().next() {
            None => super::no_such("There is no such stage."),
            Some(Some(Ok(()))) => answer::json(http::StatusCode::ACCEPTED, json!({}).to_string()),
            Some(refused) => {
                let (code, text) = match refused {
                    Some(Err(LoginRefused::UnderWay)) => ("login-under-way", "A login is under way already."),
                    _ => ("no-login-command", "The stage has no login_command."),
                };
                let hint = "Follow what it says on the proxy's standard error, or log in by hand.";
                answer::explained(http::StatusCode::CONFLICT, code, text, hint)
            }
        }
    }
}

fn stage(config: &config::Stage, stage: &health::Stage, sources: &Sources) -> Value {
    let url = &config.url;
    let scheme = if url.tls { "https" } else { "http" };
    let rules = config
        .routes
        .iter()
        .map(|route| json!({ "path": route.path, "methods": route.methods, "auth": auth(route.auth) }));
    // What no rule names.
    let otherwise = json!({ "path": "/*", "methods": [], "auth": auth(config.default_auth()) });
    let rules: Vec<Value> = rules.chain([otherwise]).collect();
    let api_key = config.api_key.as_ref().zip(stage.api_key.as_ref()).map(|(from, key)| {
        json!({
            "source": key_source(from),
            "present": key.load().is_some(),
            "problem": problem(key.problem()),
        })
    });
    json!({
        "name": config.name,
        "mount": config.mount,
        "url": format!("{scheme}://{}{}", url.authority, url.path),
        "region": config.region,
        "service": config.service,
        "auth": rules,
        "read_only": config.read_only,
        "credentials": stage.credentials.as_deref().map(|current| credentials(current, sources)),
        "api_key": api_key,
        "clock_offset_seconds": stage.clock.offset(),
    })
}

/// What is known of credentials, without any secret.
fn credentials(current: &Current, sources: &Sources) -> Value {
    let held = current.load();
    let expires = held.as_ref().and_then(|held| held.expires);
    // By the time by which they expire, which may be a gateway's.
    let left = expires.map(|expires| signed_seconds(expires, current.now()));
    let history: Vec<Value> = current
        .history()
        .into_iter()
        .map(
            |attempt| json!({ "at": time(attempt.at), "outcome": attempt.outcome, "detail": attempt.detail }),
        )
        .collect();
    json!({
        "source": held.as_ref().map(|held| held.source.to_string()),
        "access_key": held.as_ref().map(|held| last_four(&held.access_key_id)),
        "identity": held.as_ref().and_then(|held| sources.known_caller(&held.access_key_id)).as_deref(),
        "expires": expires.map(time),
        "seconds_left": left,
        "problem": problem(current.problem()),
        "login": current.can_log_in(),
        "history": history,
    })
}

/// `…WXYZ`
fn last_four(id: &str) -> String {
    let from = id.len().saturating_sub(4);
    format!("…{}", id.get(from..).unwrap_or_default())
}

fn signed_seconds(to: SystemTime, from: SystemTime) -> i64 {
    let whole = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match to.duration_since(from) {
        Ok(ahead) => whole(ahead),
        Err(past) => -whole(past.duration()),
    }
}

fn problem(problem: Option<Arc<Problem>>) -> Value {
    problem.map_or(Value::Null, |problem| json!({ "message": problem.message(), "hint": problem.hint() }))
}

/// As the configuration writes it.
fn auth(auth: Auth) -> &'static str {
    match auth {
        Auth::None => "none",
        Auth::ApiKey => "api-key",
        Auth::Iam => "iam",
        Auth::IamAndApiKey => "iam+api-key",
    }
}

/// Where a key comes from, never what it is. A command's arguments may hold something that is nobody's business.
fn key_source(from: &ApiKey) -> String {
    match from {
        ApiKey::Value(_) => "the configuration file".to_owned(),
        ApiKey::Env(name) => format!("variable {name}"),
        ApiKey::File(path) => format!("file {}", path.display()),
        ApiKey::Lookup(lookup) => lookup.place.to_string(),
        ApiKey::Command(words) => format!("command {}", words.first().map_or("", String::as_str)),
    }
}

/// RFC 3339, with milliseconds.
pub(super) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}
