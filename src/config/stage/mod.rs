//! Which stages there are, and each stage's settings put together and checked.

pub(super) mod access;
mod identity;
mod lending;
mod target;

use confique::{Config as _, Layer as _};

use super::{
    Credentials, Stage, StageUrl, Timeouts,
    error::{Kind, Mistake, Place},
    given::API_KEY_VARIABLE,
    resolve::Resolver,
    settings::{ApiKeyLayer, StageLayer, StageSettings},
    values::decoded_segments,
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
        let target = self.target(in_file);
        let has_key = self.is_api_key_given(in_file);
        let mut written: Vec<(At, Stage)> = Vec::new();
        let count = in_file.len().max(usize::from(target.is_some()));
        let mut mounts: Vec<(At, Vec<Vec<u8>>)> = Vec::new();
        for i in 0..count {
            let at = At { arguments: target == Some(i), index: in_file.get(i).map(|_| i) };
            let file = in_file.get(i).cloned().unwrap_or_else(StageLayer::empty);
            let (mount, stage) = self.stage(at, file, has_key);
            if let Some(mount) = mount {
                let segments = decoded_segments(&mount);
                let other = mounts.iter().find(|(_, other)| *other == segments).map(|(other, _)| *other);
                if let Some(other) = other {
                    let place = self.place_in(other, "mount").short();
                    let mistake =
                        Mistake::new(format!("{mount:?} is another stage's mount already ({place})"))
                            .fix("give each stage its own: mount = \"/orders\"");
                    self.report_in(Kind::Conflict, at, "mount", mistake);
                }
                mounts.push((at, segments));
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
        let mut stages: Vec<Stage> = written.into_iter().map(|(_, stage)| stage).collect();
        share_identities(&mut stages);
        stages.iter_mut().for_each(access::ask_as_the_stage);
        stages
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
    fn stage(&mut self, at: At, mut file: StageLayer, has_key: bool) -> (Option<String>, Option<Stage>) {
        let empty = || (StageLayer::empty(), StageLayer::empty());
        let (flags, mut variables) = match at.arguments {
            true => (self.given.flags.stage.clone(), self.given.variables.stage.clone()),
            false => empty(),
        };
        let has_key = at.arguments && has_key;
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

        let layer = flags.with_fallback(variables).with_fallback(file);
        let settings = StageSettings::from_layer(layer.with_fallback(StageLayer::default_values()))
            .expect("every setting of a stage has a default or is optional");

        let api_key = self.api_key(at, &settings, keyless);
        let has_api_key = api_key.is_some() || self.is_broken_in(at, "api_key");
        let routes = self.routes(at, &settings.route, has_api_key);
        self.lending(at, &settings);
        let rate_limit = self.rate_limit(at, &settings.rate_limit);
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
                login_command: settings.login_command.map(|command| command.0),
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
                tls: settings.timeouts.tls.0,
                first_byte: settings.timeouts.first_byte.0,
                idle: settings.timeouts.idle.0,
                connection_age: settings.timeouts.connection_age.0,
            },
            retry: settings.retry,
            routes,
            allow: settings.allow,
            deny: settings.deny,
            read_only: settings.read_only,
            rate_limit,
        });
        (mount, stage)
    }
}

fn unindexed(name: &str) -> &str {
    name.split('[').next().unwrap_or(name)
}

/// The API's id: the host's first label. An address is kept whole.
fn default_name(url: &StageUrl) -> String {
    match url.host.parse::<std::net::IpAddr>() {
        Ok(_) => url.host.clone(),
        Err(_) => url.host.split('.').next().unwrap_or(&url.host).to_owned(),
    }
}

/// One identity is one source, asked once and logged in to once, whatever the regions of its stages: the SDK is told the
/// first one's where nothing else tells it a region.
fn share_identities(stages: &mut [Stage]) {
    for index in 1..stages.len() {
        let (before, rest) = stages.split_at_mut(index);
        let credentials = &mut rest[0].credentials;
        let first =
            before.iter().find(|other| other.signs() && other.credentials.is_identity_of(credentials));
        if let Some(first) = first {
            credentials.fallback_region.clone_from(&first.credentials.fallback_region);
        }
    }
}
