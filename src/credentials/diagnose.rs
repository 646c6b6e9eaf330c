//! Tells from the SDK's errors what is wrong, and names the fix.
//!
//! The SDK's own texts are looked at and, but for a service's error code and message, not passed on.

use std::{error::Error, io, path::PathBuf};

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_types::error::ErrorMetadata;

use super::{
    environment::Environment,
    problem::{Kind, Problem, plain},
    profile::{Base, Survey},
};

/// What was being asked when it went wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked<'a> {
    Environment,
    Profile(&'a Survey),
    WebIdentity,
    Container,
    Instance,
    /// This role, with credentials from there.
    Role {
        arn: &'a str,
        over: &'a str,
    },
}

impl Asked<'_> {
    fn name(self) -> String {
        match self {
            Self::Environment => "the environment".to_owned(),
            Self::Profile(survey) => format!("profile `{}`", survey.profile),
            Self::WebIdentity => "web identity (AWS_WEB_IDENTITY_TOKEN_FILE)".to_owned(),
            Self::Container => "the container credential endpoint".to_owned(),
            Self::Instance => "the instance metadata service".to_owned(),
            Self::Role { arn, over } => format!("role {arn} with credentials from {over}"),
        }
    }

    /// The kind of source, when it is a profile's.
    fn base(&self) -> Option<(&str, &Base)> {
        match self {
            Self::Profile(survey) => Some((&survey.base.0, &survey.base.1)),
            _ => None,
        }
    }
}

/// What is found along a chain of errors.
#[derive(Default)]
struct Findings {
    /// A service's error code and message.
    service: Option<(String, String)>,
    io: Option<io::ErrorKind>,
    /// The file that the SDK says it failed to read or write.
    file: Option<(PathBuf, bool)>,
    timed_out: bool,
    unreachable: bool,
    /// All texts, to search in, never to show.
    texts: String,
}

impl Findings {
    fn of(error: &CredentialsError) -> Self {
        let mut found = Self::default();
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        // Bounded, as a chain of errors could be a ring.
        for _ in 0..32 {
            let Some(error) = next else { break };
            found.look(error);
            next = error.source().or_else(|| {
                // Some of the SDK's errors answer only to the old name of `source`, which asks `source` by default.
                #[expect(deprecated, reason = "SsoTokenProviderError implements `cause` and not `source`")]
                let cause = error.cause()?;
                found.read(&cause.to_string());
                cause.source()
            });
        }
        found
    }

    fn look(&mut self, error: &(dyn Error + 'static)) {
        if let Some(metadata) = error.downcast_ref::<ErrorMetadata>()
            && let Some(code) = metadata.code()
        {
            self.service = Some((code.to_owned(), metadata.message().unwrap_or_default().to_owned()));
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            self.io.get_or_insert(error.kind());
        }
        self.read(&error.to_string());
    }

    fn read(&mut self, text: &str) {
        if let Some((code, message)) = modelled(text) {
            self.service.get_or_insert((code.to_owned(), message.to_owned()));
        }
        if let Some((path, writing)) = named_file(text) {
            self.file.get_or_insert((path, writing));
        }
        self.timed_out |= text.contains("timed out") || text.contains("timeout");
        self.unreachable |= text == "dispatch failure" || text.contains("could not communicate with IMDS");
        self.texts.push_str(text);
        self.texts.push('\n');
    }

    fn says(&self, text: &str) -> bool {
        self.texts.contains(text)
    }
}

/// `ExpiredTokenException: The security token …`, as the SDK writes errors that its model knows.
fn modelled(text: &str) -> Option<(&str, &str)> {
    let (code, message) = text.split_once(": ").unwrap_or((text, ""));
    (code.ends_with("Exception") && code.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .then_some((code, message))
}

/// ``failed to read `/home/ann/.aws/sso/cache/….json` ``
fn named_file(text: &str) -> Option<(PathBuf, bool)> {
    let rest = text.strip_prefix("failed to ")?;
    let (verb, rest) = rest.split_once(" `")?;
    let path = rest.strip_suffix('`')?;
    Some((PathBuf::from(path), verb == "write"))
}

/// The problem that `error` is, when `asked` was asked; `region` is that of the SDK's own calls.
pub(super) fn diagnose(
    error: &CredentialsError,
    asked: Asked<'_>,
    region: &str,
    environment: &Environment,
) -> Problem {
    let found = Findings::of(error);
    let name = asked.name();
    if let (Some((path, true)), Some(kind)) = (&found.file, found.io) {
        return unwritable(path, kind);
    }
    if let (Some((path, false)), Some(kind)) = (&found.file, found.io)
        && kind != io::ErrorKind::NotFound
    {
        return Problem::unreadable(path, &kind.into());
    }
    if found.says("resolve a home directory") {
        return Problem::new(
            Kind::NoHome,
            format!("{name}: HOME is not set, so the tokens below ~/.aws cannot be found"),
            "set HOME where countersign runs; in a container, to where ~/.aws is mounted",
        );
    }
    if let Some((profile, base)) = asked.base()
        && let Some(problem) = login(&found, profile, base)
    {
        return problem;
    }
    if let Some((code, message)) = &found.service {
        return refusal(code, message, asked, region, &name);
    }
    if found.timed_out {
        return Problem::new(Kind::TimedOut, format!("{name}: no answer in time"), network(asked, region));
    }
    if found.unreachable {
        let cause = found.io.map(|kind| format!(" ({})", plain(&kind.into()))).unwrap_or_default();
        return Problem::new(
            Kind::Unreachable,
            format!("{name}: the service cannot be reached{cause}"),
            network(asked, region),
        );
    }
    if (matches!(asked, Asked::WebIdentity) || matches!(asked.base(), Some((_, Base::WebIdentity))))
        && let Some(kind) = found.io
    {
        let path = match asked {
            Asked::Profile(survey) => survey.token_file.clone(),
            _ => environment.web_identity_token(),
        };
        return Problem::unreadable(&path.unwrap_or_default(), &kind.into());
    }
    if found.says("was not defined") || found.says("ProfileFile provider could not be built") {
        return bad_profile(&found, &name);
    }
    match (error, asked) {
        (CredentialsError::CredentialsNotLoaded(_), asked) => nothing(asked, &name),
        (_, Asked::Container) => Problem::new(
            Kind::Service,
            format!("{name} failed or refused"),
            "look at the agent's log; AWS_CONTAINER_CREDENTIALS_FULL_URI must be https or a loopback, ECS or EKS address, \
             and AWS_CONTAINER_AUTHORIZATION_TOKEN must fit it",
        ),
        (_, Asked::Instance) => Problem::new(
            Kind::Service,
            format!("{name} failed or refused"),
            "the instance needs a role; from a container the metadata service needs a hop limit of 2",
        ),
        _ => Problem::new(
            Kind::Other,
            format!("{name} gave no credentials"),
            "see what `aws sts get-caller-identity` says for the same profile or environment",
        ),
    }
}

/// What to look at when nobody answers. A region that does not exist has no address.
fn network(asked: Asked<'_>, region: &str) -> String {
    let and = match (asked, asked.base()) {
        (_, Some((_, Base::Sso))) => ", and sso_region".to_owned(),
        (Asked::Environment | Asked::Container | Asked::Instance, _) => String::new(),
        _ => format!(", and the region, which is {region} here"),
    };
    format!(
        "check the network, the proxy and name resolution of this machine{and}; it is tried again by itself"
    )
}

/// Sessions that a person begins and that end.
fn login(found: &Findings, profile: &str, base: &Base) -> Option<Problem> {
    let flag = if profile == "default" { String::new() } else { format!(" --profile {profile}") };
    let code = found.service.as_ref().map(|(code, _)| code.as_str());
    match base {
        Base::Sso
            if found.says("SSO token") || found.file.is_some() || code == Some("UnauthorizedException") =>
        {
            // A service in another region knows nothing of the session.
            let region =
                if code.is_some() { " (if that has been done already, check sso_region)" } else { "" };
            Some(Problem::new(
                Kind::SsoLogin,
                format!("the SSO session of profile `{profile}` is over or was never begun"),
                format!("run `aws sso login{flag}`; the proxy takes it up by itself{region}"),
            ))
        }
        Base::Login if found.says("due to insufficient permissions") => Some(Problem::new(
            Kind::Denied,
            format!("the login session of profile `{profile}` may not be renewed"),
            "allow its user or role signin:CreateOAuth2Token, or take the credentials from elsewhere",
        )),
        // That it could not be renewed tells nothing of the session when nobody answered, or with an error.
        Base::Login
            if found.unreachable
                || found.timed_out
                || code.is_some_and(|code| code.starts_with("Internal") || code.starts_with("TooMany")) =>
        {
            None
        }
        Base::Login if found.says("Login token") || found.file.is_some() => Some(Problem::new(
            Kind::Login,
            format!("the login session of profile `{profile}` is over or was never begun"),
            format!("run `aws login{flag}`; the proxy takes it up by itself"),
        )),
        _ => None,
    }
}

/// A service understood the question and said no.
fn refusal(code: &str, message: &str, asked: Asked<'_>, region: &str, name: &str) -> Problem {
    let said =
        if message.is_empty() { format!("{name}: {code}") } else { format!("{name}: {code}: {message}") };
    let bare = code.strip_suffix("Exception").unwrap_or(code);
    let web = matches!(asked, Asked::WebIdentity) || matches!(asked.base(), Some((_, Base::WebIdentity)));
    let sso = matches!(asked.base(), Some((_, Base::Sso)));
    let another_region =
        |why: &str| format!("{why}, or set another region than {region} in the profile or as AWS_REGION");
    let (kind, hint) = match bare {
        "SignatureDoesNotMatch" if message.contains("should be scoped to") => {
            return Problem::new(
                Kind::Denied,
                said,
                another_region("the service is asked in another region than its own: mend its address"),
            );
        }
        "RegionDisabled" => {
            return Problem::new(
                Kind::Denied,
                said,
                another_region("STS is not active in this region; activate it"),
            );
        }
        "InvalidClientTokenId" | "UnrecognizedClient" | "InvalidAccessKeyId" => {
            let hint = format!(
                "the access key is unknown: it was deleted or deactivated, belongs to another partition, is a session's key \
                 without its token, or the account has not enabled the region, which is {region} here"
            );
            return Problem::new(Kind::Refused, said, hint);
        }
        "ExpiredToken" | "InvalidIdentityToken" | "IDPRejectedClaim" if web => (
            Kind::Refused,
            "the web identity token is old or not trusted: whoever writes AWS_WEB_IDENTITY_TOKEN_FILE must renew it, and \
             the role must trust its issuer",
        ),
        "ExpiredToken" => (
            Kind::Refused,
            "the credentials that were to be exchanged have expired: log in again, or renew them where they are kept",
        ),
        "SignatureDoesNotMatch" => (
            Kind::Refused,
            "the secret access key does not belong to the access key id, or this clock is wrong",
        ),
        "AccessDenied" | "Forbidden" | "ResourceNotFound" | "InvalidRequest" if sso => (
            Kind::Denied,
            "check sso_account_id and sso_role_name; the permission set may not be assigned to you",
        ),
        "AccessDenied" => (
            Kind::Denied,
            "the caller needs sts:AssumeRole on the role, the role's trust policy must name the caller, and an external id \
             must be the one it asks for",
        ),
        "ValidationError" | "MalformedPolicyDocument" | "InvalidRequest" | "ResourceNotFound" => {
            (Kind::Denied, "check the role's ARN, its session name, external id and duration")
        }
        _ => (Kind::Service, "it is tried again by itself"),
    };
    Problem::new(kind, said, hint)
}

/// The profile says something that the SDK cannot follow. The SDK composes this text from names in the file.
fn bad_profile(found: &Findings, name: &str) -> Problem {
    let detail = found
        .texts
        .lines()
        .find(|line| line.contains("was not defined") || line.contains("could not be built"))
        .map(|line| line.trim_start_matches("ProfileFile provider could not be built: "))
        .unwrap_or_default();
    Problem::new(Kind::BadProfile, format!("{name}: {detail}"), "mend the profile in ~/.aws/config")
}

/// A single source that was asked for by name and has nothing.
fn nothing(asked: Asked<'_>, name: &str) -> Problem {
    let hint = match asked {
        Asked::Environment => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN for a session) where countersign runs"
        }
        Asked::Profile(_) => {
            "it says neither sso_session, login_session, credential_process, role_arn nor keys: `aws configure sso` sets one up"
        }
        Asked::WebIdentity => {
            "set AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN; on EKS, annotate the service account"
        }
        Asked::Container => {
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI is set by ECS (task role) and EKS (Pod Identity association)"
        }
        Asked::Instance => {
            "this is no EC2 instance, it has no role, AWS_EC2_METADATA_DISABLED is set, or the hop limit is too low for a container"
        }
        Asked::Role { .. } => "see what `aws sts assume-role` says",
    };
    let kind = if matches!(asked, Asked::Profile(_)) { Kind::BadProfile } else { Kind::Nothing };
    Problem::new(kind, format!("{name} holds no credentials"), hint)
}

/// The SDK renews a token and cannot keep it.
fn unwritable(path: &std::path::Path, kind: io::ErrorKind) -> Problem {
    let message = format!("a renewed token cannot be written to {}: {}", path.display(), plain(&kind.into()));
    if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Problem::new(Kind::File, message, "make room there; it is tried again by itself");
    }
    Problem::new(
        Kind::File,
        message,
        "the SDK writes refreshed tokens back: mount ~/.aws so that it can be written (without `:ro`) and belongs to the \
         user that runs countersign, or give it credentials from outside with `credential_process` or the environment",
    )
}

#[cfg(test)]
mod tests {
    use std::{error::Error, fmt, io};

    use aws_credential_types::provider::error::CredentialsError;

    use super::{Asked, diagnose};
    use crate::credentials::{environment::Environment, problem::Kind};

    /// An error with a text and a cause, told only by the old `cause`, as the SDK's SSO provider tells its own.
    #[derive(Debug)]
    struct Told(&'static str, Option<Box<dyn Error + Send + Sync>>);

    impl fmt::Display for Told {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Told {
        fn cause(&self) -> Option<&dyn Error> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    /// As [`Told`], by `source`.
    #[derive(Debug)]
    struct Sourced(&'static str, io::Error);

    impl fmt::Display for Sourced {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Sourced {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn a_token_that_cannot_be_kept_or_read_names_the_file() {
        let environment = Environment::of(&[]);
        for (text, kind, hint) in [
            ("failed to write `/home/ann/.aws/sso/cache/x.json`", io::ErrorKind::ReadOnlyFilesystem, "`:ro`"),
            ("failed to write `/home/ann/.aws/sso/cache/x.json`", io::ErrorKind::StorageFull, "make room"),
            ("failed to read `/home/ann/.aws/sso/cache/x.json`", io::ErrorKind::PermissionDenied, "--user"),
        ] {
            let io = io::Error::new(kind, "hunter2");
            let error = Told("failed to load the cached SSO token", Some(Box::new(Sourced(text, io))));
            let problem =
                diagnose(&CredentialsError::provider_error(error), Asked::Environment, "", &environment);
            assert_eq!(problem.kind(), Kind::File);
            assert!(problem.message().contains("/home/ann/.aws/sso/cache/x.json"), "{problem}");
            assert!(problem.hint().contains(hint) && !problem.to_string().contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn texts_that_are_not_known_are_not_passed_on() {
        let error = CredentialsError::provider_error("the password hunter2 is wrong");
        let problem = diagnose(&error, Asked::Instance, "", &Environment::of(&[]));
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}
