//! What a stage's routes ask for: the API key and the rules.

use std::path::PathBuf;

use http::HeaderValue;

use super::At;
use crate::{
    config::{
        ApiKey, Credentials, KeptIn, Lookup, Route, Stage,
        error::{Kind, Mistake},
        resolve::Resolver,
        settings::{RouteLayer, StageSettings},
        values::{CommandLine, MethodName, wrong_pattern},
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
        let own = sources(key.env.clone(), key.file.clone(), key.command.clone(), key.value.clone());
        let kept = [
            ("id", key.id.clone().map(KeptIn::ApiGateway)),
            ("secret", key.secret.as_deref().map(secret)),
            ("parameter", key.parameter.clone().map(KeptIn::ParameterStore)),
        ];
        let kept = kept.into_iter().filter_map(|(name, place)| Some((name, lookup(place?))));
        let (sources, conflict) = only_one(own.into_iter().chain(kept).collect());
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
            if route.methods.as_ref().is_some_and(Vec::is_empty) {
                let mistake =
                    Mistake::new("the rule is for no method").fix("leave methods out: then it is for any");
                self.report_in(Kind::Value, at, &name("methods"), mistake);
            }
            let Some(auth) = route.auth else { continue };
            if auth.keyed() && !has_api_key {
                let mistake = Mistake::new("this route gets the API key, and the stage has none")
                    .fix("add api_key = { env = \"ORDERS_API_KEY\" } to the stage, or another source of it");
                self.report_in(Kind::Conflict, at, &name("auth"), mistake);
            }
            if let Some(path) = route.path.clone() {
                let methods = route.methods.iter().flatten().map(|MethodName(name)| name.clone()).collect();
                routes.push(Route { path, methods, auth });
            }
        }
        routes
    }
}

/// A source that was named, by the name of its setting.
type Named = (&'static str, ApiKey);

/// `name#json-key`: no name and no ARN of a secret holds a `#` (Secrets Manager, CreateSecret).
fn secret(written: &str) -> KeptIn {
    match written.split_once('#') {
        Some((name, part)) => KeptIn::SecretsManager(name.to_owned(), Some(part.to_owned())),
        None => KeptIn::SecretsManager(written.to_owned(), None),
    }
}

/// Whose credentials ask for it is known once the stage is: [`ask_as_the_stage`].
fn lookup(place: KeptIn) -> ApiKey {
    ApiKey::Lookup(Box::new(Lookup { place, credentials: Credentials::default(), region: None }))
}

/// Says as whom and in which region a key that AWS keeps is asked for.
pub(super) fn ask_as_the_stage(stage: &mut Stage) {
    let Some(ApiKey::Lookup(lookup)) = &mut stage.api_key else { return };
    let name = match &lookup.place {
        KeptIn::ApiGateway(_) => "",
        KeptIn::SecretsManager(name, _) | KeptIn::ParameterStore(name) => name,
    };
    // arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE
    let of_arn = name.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
    let region = of_arn.unwrap_or(&stage.region);
    lookup.region = (!region.is_empty()).then(|| region.to_owned());
    lookup.credentials = stage.credentials.clone();
}

/// The sources of a secret that are named, all kinds that keys and tokens share.
pub(in crate::config) fn sources(
    env: Option<String>,
    file: Option<PathBuf>,
    command: Option<CommandLine>,
    value: Option<Secret>,
) -> Vec<Named> {
    let env = env.map(|name| ("env", ApiKey::Env(name)));
    let file = file.map(|path| ("file", ApiKey::File(path)));
    let command = command.map(|command| ("command", ApiKey::Command(command.0)));
    let value = value.map(|secret| ("value", ApiKey::Value(secret)));
    [env, file, command, value].into_iter().flatten().collect()
}

/// All of them; with several, the second's name and what is wrong.
pub(in crate::config) fn only_one(sources: Vec<Named>) -> (Vec<Named>, Option<(&'static str, Mistake)>) {
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
        ApiKey::Lookup(lookup) => {
            let good = match &lookup.place {
                // What GetApiKey takes; a key's value has capitals, or is longer.
                KeptIn::ApiGateway(id) => {
                    (1..=20).contains(&id.len())
                        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                }
                KeptIn::SecretsManager(name, part) => is_name(name) && part.as_deref() != Some(""),
                KeptIn::ParameterStore(name) => is_name(name),
            };
            let mistake = match &lookup.place {
                KeptIn::ApiGateway(_) => Mistake::new("this is not the id of an API key").fix(
                    "it has about ten small letters and digits: `aws apigateway get-api-keys` lists them",
                ),
                KeptIn::SecretsManager(..) => Mistake::new("this is not the name of a secret").fix(
                    "write \"orders/api-key\", its ARN, or \"orders#api-key\" for a part of a JSON object",
                ),
                KeptIn::ParameterStore(_) => Mistake::new("this is not the name of a parameter")
                    .fix("write \"/orders/api-key\", or its ARN"),
            };
            (!good).then_some(mistake)
        }
        ApiKey::Command(_) | ApiKey::Value(_) => None,
    }
}

/// What names and ARNs of secrets (CreateSecret) and parameters (PutParameter, and `:VERSION`) are made of.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+=.@-:".contains(&b))
}
