//! What a stage's routes ask for: the API key and the rules.

use std::path::PathBuf;

use http::HeaderValue;

use super::At;
use crate::{
    config::{
        ApiKey, Route,
        error::{Kind, Mistake},
        resolve::Resolver,
        settings::{RouteLayer, StageSettings},
        values::{CommandLine, wrong_pattern},
    },
    secret::Secret,
};

impl Resolver<'_> {
    pub(super) fn api_key(&mut self, at: At, settings: &StageSettings, keyless: bool) -> Option<ApiKey> {
        let key = &settings.api_key;
        if keyless {
            let written = at.index.is_some_and(|i| {
                self.map.as_ref().is_some_and(|map| map.has(&format!("stage[{i}].api_key")))
            });
            if written && !self.is_broken_in(at, "api_key") {
                let mistake = Mistake::new("it names no source of the key")
                    .fix("write one: api_key = { env = \"ORDERS_API_KEY\" }");
                self.report_in(Kind::Missing, at, "api_key", mistake);
            }
            return None;
        }
        let (sources, conflict) =
            sources(key.env.clone(), key.file.clone(), key.command.clone(), key.value.clone());
        if let Some((name, mistake)) = conflict {
            self.report_in(Kind::Conflict, at, &format!("api_key.{name}"), mistake);
        }
        let (name, source) = sources.into_iter().next()?;
        let wrong = match &source {
            ApiKey::Value(secret) => {
                let text = secret.expose();
                let good = !text.is_empty() && text.trim() == text && HeaderValue::from_str(text).is_ok();
                (!good).then(|| {
                    Mistake::new(
                        "this cannot be an API key: it is empty, has white space around it, or characters \
                                  that a header cannot carry",
                    )
                })
            }
            elsewhere => wrong_reference(elsewhere),
        };
        if let Some(mistake) = wrong {
            self.report_in(Kind::Value, at, &format!("api_key.{name}"), mistake);
        }
        Some(source)
    }

    pub(super) fn routes(&mut self, at: At, written: &[RouteLayer], has_api_key: bool) -> Vec<Route> {
        let mut routes = Vec::new();
        for (i, route) in written.iter().enumerate() {
            let name = |field: &str| format!("route[{i}].{field}");
            for (field, missing, fix) in [
                ("path", route.path.is_none(), "write path = \"/orders/*\""),
                ("auth", route.auth.is_none(), "write auth = \"iam\" (or none, api-key, iam+api-key)"),
            ] {
                if missing && !self.is_broken_in(at, &name(field)) {
                    self.report_in(
                        Kind::Missing,
                        at,
                        &name(field),
                        Mistake::new(format!("the rule has no {field}")).fix(fix),
                    );
                }
            }
            if let Some(path) = &route.path
                && let Some(mistake) = wrong_pattern(path)
            {
                self.report_in(Kind::Value, at, &name("path"), mistake);
            }
            let Some(auth) = route.auth else { continue };
            if auth.keyed() && !has_api_key {
                let mistake = Mistake::new("this route gets the API key, and the stage has none")
                    .fix("add api_key = { env = \"ORDERS_API_KEY\" } to the stage, or another source of it");
                self.report_in(Kind::Conflict, at, &name("auth"), mistake);
            }
            if let Some(path) = route.path.clone() {
                routes.push(Route { path, auth });
            }
        }
        routes
    }
}

/// A source that was named, by the name of its setting.
type Named = (&'static str, ApiKey);

/// The sources of a secret that are named; with several, the second's name and what is wrong.
pub(in crate::config) fn sources(
    env: Option<String>,
    file: Option<PathBuf>,
    command: Option<CommandLine>,
    value: Option<Secret>,
) -> (Vec<Named>, Option<(&'static str, Mistake)>) {
    let env = env.map(|name| ("env", ApiKey::Env(name)));
    let file = file.map(|path| ("file", ApiKey::File(path)));
    let command = command.map(|command| ("command", ApiKey::Command(command.0)));
    let value = value.map(|secret| ("value", ApiKey::Value(secret)));
    let sources: Vec<_> = [env, file, command, value].into_iter().flatten().collect();
    let names: Vec<&str> = sources.iter().map(|(name, _)| *name).collect();
    let conflict = names.get(1).map(|second| {
        let what = format!("{} exclude each other", names.join(" and "));
        (*second, Mistake::new(what).fix("keep one of them"))
    });
    (sources, conflict)
}

/// Why a secret cannot be had from where it is said to be. Nothing of it is repeated: what stands here may be the
/// secret itself, put into the wrong place.
pub(in crate::config) fn wrong_reference(source: &ApiKey) -> Option<Mistake> {
    match source {
        ApiKey::Env(name) => {
            let mut bytes = name.bytes();
            let good = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
                && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
            (!good).then(|| Mistake::new("this is not the name of an environment variable"))
        }
        ApiKey::File(path) => path.as_os_str().is_empty().then(|| Mistake::new("the path is empty")),
        ApiKey::Command(_) | ApiKey::Value(_) => None,
    }
}
