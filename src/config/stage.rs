//! Which stages there are, and each stage's settings put together and checked.

use std::fs;

use confique::{Config as _, Layer as _};
use http::HeaderValue;

use super::{
    ApiKey, CredentialSource, Credentials, Role, Route, Stage, StageUrl, Timeouts,
    error::{Kind, Mistake, Place},
    given::{API_KEY_VARIABLE, WHICH_STAGE},
    host::{Told, told_by},
    resolve::Resolver,
    settings::{ApiKeyLayer, RoleSettings, RouteLayer, StageLayer, StageSettings},
    url::is_local,
    values::{HostPort, is_dot_segment, is_path},
};

/// One stage on its way: whether flags and variables are meant for it, and its number in the file.
#[derive(Clone, Copy)]
struct At {
    arguments: bool,
    index: Option<usize>,
}

impl At {
    /// The setting's name for people: `stage[1].url`; without a file, `stage.url`.
    fn key(self, name: &str) -> String {
        match self.index {
            Some(index) => format!("stage[{index}].{name}"),
            None => format!("stage.{name}"),
        }
    }
}

impl Resolver<'_> {
    /// Every stage; those with mistakes are left out, and their mistakes reported.
    pub(super) fn stages(&mut self, in_file: &[StageLayer]) -> Vec<Stage> {
        let Some(target) = self.target(in_file) else { return Vec::new() };
        let mut written: Vec<(At, Stage)> = Vec::new();
        let count = in_file.len().max(usize::from(target.is_some()));
        let mut mounts: Vec<(At, String)> = Vec::new();
        for i in 0..count {
            let at = At { arguments: target == Some(i), index: in_file.get(i).map(|_| i) };
            let file = in_file.get(i).cloned().unwrap_or_else(StageLayer::empty);
            let (mount, stage) = self.stage(at, file);
            if let Some(mount) = mount {
                let other = mounts.iter().find(|(_, other)| *other == mount).map(|(other, _)| *other);
                if let Some(other) = other {
                    let place = self.place_in(other, "mount").short();
                    let mistake =
                        Mistake::new(format!("{mount:?} is another stage's mount already ({place})"))
                            .fix("give each stage its own: mount = \"/orders\"");
                    self.report_in(Kind::Conflict, at, "mount", mistake);
                }
                mounts.push((at, mount));
            }
            let Some(stage) = stage else { continue };
            if let Some((other, _)) = written.iter().find(|(_, other)| other.name == stage.name) {
                let place = self.place_in(*other, "name").short();
                let mistake =
                    Mistake::new(format!("{:?} is another stage's name already ({place})", stage.name))
                        .fix("name the stages apart: name = \"orders\"");
                self.report_in(Kind::Conflict, at, "name", mistake);
            }
            written.push((at, stage));
        }
        written.into_iter().map(|(_, stage)| stage).collect()
    }

    /// The stage that flags and variables are meant for: its number, or `Some(None)` when there are none.
    /// `None` when that cannot be told, or there is no stage at all; it is reported then.
    #[allow(clippy::option_option, reason = "the outer says whether it could be told, the inner what")]
    fn target(&mut self, in_file: &[StageLayer]) -> Option<Option<usize>> {
        let (flags, variables) = (&self.given.flags, &self.given.variables);
        let which = flags.which_stage.as_ref().or(variables.which_stage.as_ref()).cloned();
        let arguments: Vec<&String> =
            flags.set.iter().chain(&variables.set).filter(|id| id.starts_with("stage.")).collect();
        let key_only =
            arguments.iter().all(|id| *id == "stage.api_key.value") && self.is_api_key_named(in_file);
        if let Some(wanted) = which {
            let names: Vec<String> = in_file.iter().map(name_of).collect();
            if let Some(index) = names.iter().position(|name| *name == wanted) {
                return Some(Some(index));
            }
            let mistake = match names.as_slice() {
                [] => Mistake::new("the file has no stages to choose from").fix("leave it out"),
                names => super::values::not_among(&wanted, names),
            };
            let place = self.argument(WHICH_STAGE).unwrap_or(Place::Nowhere);
            self.report(Kind::Value, place, "", mistake);
            return None;
        }
        match in_file.len() {
            0 if self.is_broken("stage") && arguments.is_empty() => None,
            0 if arguments.is_empty() => {
                let place = self.map.as_ref().map_or(Place::Nowhere, super::file::Map::whole);
                let mistake = Mistake::new("there is no stage to stand in front of").fix(
                    "name one: countersign https://abc123.execute-api.us-west-2.amazonaws.com/prod \
                     (or write a [[stage]] into ./countersign.toml; `countersign demo` needs neither)",
                );
                self.report(Kind::Missing, place, "stage", mistake);
                None
            }
            0 | 1 => Some(Some(0)),
            _ if arguments.is_empty() || key_only => Some(None),
            _ => {
                let names: Vec<String> = in_file.iter().map(name_of).collect();
                let id = arguments[0].clone();
                let place = self.argument(&id).unwrap_or(Place::Nowhere);
                let mistake =
                    Mistake::new(format!("the file has {} stages: which is this for?", in_file.len()))
                        .fix(format!("say --stage with one of {}", names.join(", ")));
                self.report(Kind::Missing, place, "", mistake);
                None
            }
        }
    }

    /// Whether the file itself refers to the variable that would otherwise set the key of a stage.
    fn is_api_key_named(&self, in_file: &[StageLayer]) -> bool {
        in_file.iter().any(|stage| stage.api_key.env.as_deref() == Some(API_KEY_VARIABLE))
    }

    /// Where a stage's setting was written, or else the stage.
    fn place_in(&self, at: At, name: &str) -> Place {
        let argument = at.arguments.then(|| self.argument(&format!("stage.{}", unindexed(name)))).flatten();
        argument
            .or_else(|| self.map.as_ref()?.find(&format!("stage[{}].{name}", at.index?)))
            .or_else(|| at.arguments.then(|| self.argument("stage.url")).flatten())
            .unwrap_or(Place::Nowhere)
    }

    fn report_in(&mut self, kind: Kind, at: At, name: &str, mistake: Mistake) {
        let place = self.place_in(at, name);
        let key = match place {
            Place::Flag(_) | Place::Variable(_) => format!("stage.{}", unindexed(name)),
            _ => at.key(name),
        };
        self.report(kind, place, &key, mistake);
    }

    fn is_broken_in(&self, at: At, name: &str) -> bool {
        (at.index.is_some() && self.is_broken(&at.key(name)))
            || (at.arguments && self.is_broken(&format!("stage.{}", unindexed(name))))
    }

    /// One stage, and its mount even when the rest is wrong.
    fn stage(&mut self, at: At, file: StageLayer) -> (Option<String>, Option<Stage>) {
        let empty = || (StageLayer::empty(), StageLayer::empty());
        let (mut flags, mut variables) = match at.arguments {
            true => (self.given.flags.stage.clone(), self.given.variables.stage.clone()),
            false => empty(),
        };
        let mut file = file;
        let has_key = at.arguments && self.given.variables.set.contains("stage.api_key.value");
        if has_key && variables.api_key.is_empty() {
            variables.api_key.env = Some(API_KEY_VARIABLE.to_owned());
        } else if has_key {
            let mistake =
                Mistake::new(format!("{API_KEY_VARIABLE} is set, and another source of the key beside it"))
                    .fix("keep one of them");
            self.report_in(Kind::Conflict, at, "api_key.value", mistake);
        }
        // The sources of a key exclude each other, so the highest layer that names one decides alone.
        if !flags.api_key.is_empty() {
            variables.api_key = ApiKeyLayer::empty();
        }
        if !flags.api_key.is_empty() || !variables.api_key.is_empty() {
            file.api_key = ApiKeyLayer::empty();
        }
        let keyless = flags.api_key.is_empty() && variables.api_key.is_empty() && file.api_key.is_empty();

        // Moved out, so that with_fallback below sees each once.
        let layer =
            std::mem::replace(&mut flags, StageLayer::empty()).with_fallback(variables).with_fallback(file);
        let settings = StageSettings::from_layer(layer.with_fallback(StageLayer::default_values()))
            .expect("every setting of a stage has a default or is optional");

        let api_key = self.api_key(at, &settings, keyless);
        let has_api_key = api_key.is_some() || self.is_broken_in(at, "api_key");
        let routes = self.routes(at, &settings.route, has_api_key);
        let role = self.role(at, &settings.role);
        self.files_and_names(at, &settings);
        self.plain_way(at, &settings);
        if settings.url.is_none() && !self.is_broken_in(at, "url") {
            let mistake = Mistake::new("the stage has no url").fix(
                "write url = \"https://abc123.execute-api.us-west-2.amazonaws.com/prod\", or give STAGE_URL",
            );
            self.report_in(Kind::Missing, at, "url", mistake);
        }
        let needs_region = super::signs(&routes);
        let scope = settings.url.as_ref().and_then(|url| self.scope(at, url, &settings, needs_region));

        let mount = (!self.is_broken_in(at, "mount")).then(|| settings.mount.0.clone());
        let stage = settings.url.zip(scope).map(|(url, (region, service))| Stage {
            name: settings.name.unwrap_or_else(|| default_name(&url)),
            mount: settings.mount.0,
            credentials: Credentials {
                profile: settings.profile,
                source: settings.credentials,
                role,
                fallback_region: if region.is_empty() { "us-east-1".to_owned() } else { region.clone() },
            },
            url,
            region,
            service,
            api_key,
            signed_headers: settings.signed_headers.into_iter().map(|header| header.0).collect(),
            connect_to: settings.connect_to.map(|to| (to.0, to.1)),
            ca_bundle: settings.ca_bundle,
            timeouts: Timeouts {
                connect: settings.timeouts.connect.0,
                first_byte: settings.timeouts.first_byte.0,
                idle: settings.timeouts.idle.0,
            },
            retry: settings.retry,
            routes,
        });
        (mount, stage)
    }

    fn api_key(&mut self, at: At, settings: &StageSettings, keyless: bool) -> Option<ApiKey> {
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
        let env = key.env.clone().map(|name| ("env", ApiKey::Env(name)));
        let file = key.file.clone().map(|path| ("file", ApiKey::File(path)));
        let command = key.command.clone().map(|command| ("command", ApiKey::Command(command.0)));
        let value = key.value.clone().map(|secret| ("value", ApiKey::Value(secret)));
        let sources: Vec<_> = [env, file, command, value].into_iter().flatten().collect();
        if sources.len() > 1 {
            let names: Vec<&str> = sources.iter().map(|(name, _)| *name).collect();
            let mistake =
                Mistake::new(format!("{} exclude each other", names.join(" and "))).fix("keep one of them");
            self.report_in(Kind::Conflict, at, &format!("api_key.{}", names[1]), mistake);
        }
        let (name, source) = sources.into_iter().next()?;
        // Nothing of these is repeated: what stands here may be the key itself, put into the wrong place.
        let wrong = match &source {
            ApiKey::Env(name) => {
                let mut bytes = name.bytes();
                let good = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
                    && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
                (!good).then(|| Mistake::new("this is not the name of an environment variable"))
            }
            ApiKey::File(path) => path.as_os_str().is_empty().then(|| Mistake::new("the path is empty")),
            ApiKey::Command(_) => None,
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
        };
        if let Some(mistake) = wrong {
            self.report_in(Kind::Value, at, &format!("api_key.{name}"), mistake);
        }
        Some(source)
    }

    /// Without TLS nothing may leave this machine, whatever the url calls it.
    fn plain_way(&mut self, at: At, settings: &StageSettings) {
        let (Some(url), Some(HostPort(host, _))) = (&settings.url, &settings.connect_to) else { return };
        if !url.tls && !is_local(host) {
            let mistake = Mistake::new(format!("the url has no TLS, and {host} is not this machine"))
                .fix("write an https:// url, or dial a loopback address");
            self.report_in(Kind::Conflict, at, "connect_to", mistake);
        }
    }

    fn routes(&mut self, at: At, written: &[RouteLayer], has_api_key: bool) -> Vec<Route> {
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

    fn role(&mut self, at: At, role: &RoleSettings) -> Option<Role> {
        let Some(arn) = &role.arn else {
            let lonely = [
                ("role.session_name", role.session_name.is_some()),
                ("role.external_id", role.external_id.is_some()),
                ("role.duration", role.duration.is_some()),
            ];
            if let Some((name, _)) = lonely.iter().find(|(_, set)| *set)
                && !self.is_broken_in(at, "role.arn")
            {
                let mistake = Mistake::new("there is no role for it").fix("name one: role.arn (--role-arn)");
                self.report_in(Kind::Missing, at, name, mistake);
            }
            return None;
        };
        if !is_role_arn(arn) {
            let mistake = Mistake::new(format!("{arn:?} is not a role's ARN"))
                .fix("write it like \"arn:aws:iam::123456789012:role/caller\"");
            self.report_in(Kind::Value, at, "role.arn", mistake);
        }
        let session_name = role.session_name.as_deref().map(clean_session_name);
        if session_name.as_ref().is_some_and(|name| name.len() < 2) {
            self.report_in(
                Kind::Value,
                at,
                "role.session_name",
                Mistake::new("STS asks for at least two characters"),
            );
        }
        if role.external_id.as_ref().is_some_and(|id| !(2..=1224).contains(&id.len())) {
            self.report_in(
                Kind::Value,
                at,
                "role.external_id",
                Mistake::new("STS takes 2 to 1224 characters"),
            );
        }
        let duration = role.duration.map(|lifetime| lifetime.0);
        Some(Role { arn: arn.clone(), session_name, external_id: role.external_id.clone(), duration })
    }

    fn files_and_names(&mut self, at: At, settings: &StageSettings) {
        if let (Some(profile), Some(source)) = (&settings.profile, settings.credentials)
            && source != CredentialSource::Profile
        {
            let other = self.place_in(at, "profile").short();
            let mistake = Mistake::new(format!("this is not where profile {profile:?} ({other}) comes from"))
                .fix("leave out one of them, or write credentials = \"profile\"");
            self.report_in(Kind::Conflict, at, "credentials", mistake);
        }
        for (key, text) in [("name", &settings.name), ("profile", &settings.profile)] {
            if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
                self.report_in(Kind::Value, at, key, Mistake::new("it is empty").fix("leave it out"));
            }
        }
        if let Some(path) = &settings.ca_bundle
            && let Err(error) =
                fs::File::open(path).and_then(|mut file| std::io::Read::read(&mut file, &mut [0]))
        {
            let mistake = Mistake::new(format!("{} cannot be read: {error}", path.display()));
            self.report_in(Kind::Unreadable, at, "ca_bundle", mistake);
        }
    }

    /// The region and the service to sign for: what the url tells, and what is given where it tells nothing.
    fn scope(
        &mut self,
        at: At,
        url: &StageUrl,
        settings: &StageSettings,
        needs_region: bool,
    ) -> Option<(String, String)> {
        let told = told_by(&url.host);
        let given_region = settings.region.as_ref().map(|region| region.0.as_str());
        let given_service = settings.service.as_deref();
        if told == Told::S3 || given_service == Some("s3") {
            let mistake = Mistake::new(
                "S3 signs differently from every other service; countersign does not speak to it",
            )
            .fix("use an S3 client: it signs by itself");
            self.report_in(Kind::Value, at, if told == Told::S3 { "url" } else { "service" }, mistake);
            return None;
        }
        let (told_service, told_region) = match &told {
            Told::Service { service, region } => (Some(*service), region.as_deref()),
            _ => (None, None),
        };
        let mut good = true;
        if let Some(service) = given_service {
            let shape =
                !service.is_empty() && service.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !shape {
                let mistake = Mistake::new(format!("{service:?} is not a service"))
                    .fix("API Gateway's is \"execute-api\"");
                self.report_in(Kind::Value, at, "service", mistake);
                good = false;
            }
        }
        for (name, given, told) in
            [("service", given_service, told_service), ("region", given_region, told_region)]
        {
            if let (Some(given), Some(told)) = (given, told)
                && given != told
            {
                let mistake = Mistake::new(format!(
                    "the url is of {name} {told:?}, and a signature for {given:?} never fits it"
                ))
                .fix(format!("leave {name} out; the url tells it"));
                self.report_in(Kind::Conflict, at, name, mistake);
                good = false;
            }
        }
        if told == Told::OtherAws && given_service.is_none() && !self.is_broken_in(at, "service") {
            let mistake = Mistake::new(format!("the service that {} belongs to is not known", url.host))
                .fix("write service, as the credential scope names it, and region");
            self.report_in(Kind::Missing, at, "service", mistake);
            good = false;
        }
        let region = given_region.or(told_region);
        if region.is_none()
            && needs_region
            && !self.is_broken_in(at, "region")
            && !self.is_broken_in(at, "route")
        {
            let mistake = Mistake::new(format!("{} does not tell the region to sign for", url.host));
            let fix = match told {
                Told::Service { .. } => "write the region that the emulator takes: region = \"us-east-1\"",
                _ => {
                    "write region = \"us-west-2\" (--region): for a custom domain it is the region of its API, in the \
                     API Gateway console or in the API's own name ID.execute-api.REGION.amazonaws.com"
                }
            };
            self.report_in(Kind::Missing, at, "region", mistake.fix(fix));
            good = false;
        }
        let service = given_service.or(told_service).unwrap_or("execute-api");
        good.then(|| (region.unwrap_or_default().to_owned(), service.to_owned()))
    }
}

fn unindexed(name: &str) -> &str {
    name.split('[').next().unwrap_or(name)
}

/// A stage's name before it is resolved, for choosing among the file's.
fn name_of(layer: &StageLayer) -> String {
    match (&layer.name, &layer.url) {
        (Some(name), _) => name.clone(),
        (None, Some(url)) => default_name(url),
        (None, None) => "(without name and url)".to_owned(),
    }
}

/// The API's id: the host's first label. An address is kept whole.
fn default_name(url: &StageUrl) -> String {
    match url.host.parse::<std::net::IpAddr>() {
        Ok(_) => url.host.clone(),
        Err(_) => url.host.split('.').next().unwrap_or(&url.host).to_owned(),
    }
}

/// `arn:PARTITION:iam::ACCOUNT:role/NAME`, the name perhaps with a path before it.
fn is_role_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [prefix, partition, service, region, account, resource] = parts[..] else { return false };
    prefix == "arn"
        && partition.starts_with("aws")
        && service == "iam"
        && region.is_empty()
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && resource.strip_prefix("role/").is_some_and(|name| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@-_/".contains(&b))
        })
}

/// STS takes `[\w+=,.@-]{2,64}` (AssumeRole, `RoleSessionName`).
fn clean_session_name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    name.chars().take(64).map(|c| if allowed(c) { c } else { '-' }).collect()
}

/// Why a route's path could never match.
fn wrong_pattern(path: &str) -> Option<Mistake> {
    if !path.starts_with('/') {
        return Some(
            Mistake::new(format!("{path:?} does not start with /")).fix(format!("write \"/{path}\"")),
        );
    }
    if path.contains("//") {
        return Some(Mistake::new(format!(
            "{path:?} has an empty segment, and those are collapsed before matching"
        )));
    }
    if path.split('/').any(is_dot_segment) {
        return Some(Mistake::new(format!("{path:?} has a dot segment, and requests with one are refused")));
    }
    if !path.split('/').all(|segment| is_path(variable(segment).unwrap_or(segment))) {
        return Some(
            Mistake::new(format!("{path:?} has characters that a URL's path cannot have"))
                .fix("write the path alone, as requests write it"),
        );
    }
    None
}

/// The name in `{name}` or `{name+}`, as API Gateway's resources write a variable segment.
fn variable(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}
