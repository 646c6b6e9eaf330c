//! Who calls a stage, and what the signature says of it: role and profile, region and service.

use super::At;
use crate::config::{
    CredentialSource, Role, StageUrl,
    error::{Kind, Mistake},
    host::{Told, told_by},
    resolve::Resolver,
    settings::{RoleSettings, StageSettings},
    url::is_local,
    values::HostPort,
};

impl Resolver<'_> {
    pub(super) fn role(&mut self, at: At, role: &RoleSettings) -> Option<Role> {
        let Some(arn) = &role.arn else {
            let lonely = [
                ("role.session_name", role.session_name.is_some()),
                ("role.external_id", role.external_id.is_some()),
                ("role.duration", role.duration.is_some()),
                ("role.tags", role.tags.is_some()),
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
        let tags = role.tags.clone().map(|tags| tags.0).unwrap_or_default();
        Some(Role { arn: arn.clone(), session_name, external_id: role.external_id.clone(), duration, tags })
    }

    /// Without TLS nothing may leave this machine, whatever the url calls it.
    pub(super) fn plain_way(&mut self, at: At, settings: &StageSettings) {
        let (Some(url), Some(HostPort(host, _))) = (&settings.url, &settings.connect_to) else { return };
        if !url.tls && !is_local(host) {
            let mistake = Mistake::new(format!("the url has no TLS, and {host} is not this machine"))
                .fix("write an https:// url, or dial a loopback address");
            self.report_in(Kind::Conflict, at, "connect_to", mistake);
        }
    }

    pub(super) fn files_and_names(&mut self, at: At, settings: &StageSettings) {
        if let (Some(profile), Some(source)) = (&settings.profile, settings.credentials)
            && source != CredentialSource::Profile
        {
            let other = self.place_in(at, "profile").short();
            let mistake = Mistake::new(format!("this is not where profile {profile:?} ({other}) comes from"))
                .fix("leave out one of them, or write credentials = \"profile\"");
            self.report_in(Kind::Conflict, at, "credentials", mistake);
        }
        if let (Some(_), Some(source)) = (&settings.login_command, settings.credentials)
            && source != CredentialSource::Profile
        {
            let mistake = Mistake::new("nobody logs in to this source of credentials")
                .fix("leave out login_command, or take the credentials from a profile");
            self.report_in(Kind::Conflict, at, "login_command", mistake);
        }
        for (key, text) in [("name", &settings.name), ("profile", &settings.profile)] {
            if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
                self.report_in(Kind::Value, at, key, Mistake::new("it is empty").fix("leave it out"));
            }
        }
    }

    /// The region and the service to sign for: what the url tells, and what is given where it tells nothing.
    pub(super) fn scope(
        &mut self,
        at: At,
        url: &StageUrl,
        settings: &StageSettings,
        needs_region: bool,
    ) -> Option<(String, String)> {
        let told = told_by(&url.host);
        let given_region = settings.region.as_ref().map(|region| region.0.as_str());
        let given_service = settings.service.as_deref();
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
