//! Asks one configured source for credentials, once.
//!
//! Everything is built anew for each question: aws-config parses profile files once for ever and keeps its errors
//! too, and its SSO and login providers look at a token in memory before they look at the file that a new login
//! wrote. Building costs microseconds; a question is asked every few minutes at most.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, Region, ecs::EcsCredentialsProvider,
    environment::EnvironmentVariableCredentialsProvider, imds, imds::credentials::ImdsCredentialsProvider,
    profile::ProfileFileCredentialsProvider, provider_config::ProviderConfig, sts::AssumeRoleProvider,
    web_identity_token::WebIdentityTokenCredentialsProvider,
};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError},
};
use aws_smithy_http_client::{Builder, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::{
    clock::Witness,
    current::Identity,
    dated,
    diagnose::{Asked, diagnose},
    environment::Environment,
    problem::{Kind, Problem},
    process,
    profile::{Base, Survey, place},
};
use crate::config;

/// How long one question may take, everything included.
const LIMIT: Duration = Duration::from_secs(30);

/// The HTTP client that all of the SDK's calls share: rustls with ring, the platform's roots.
pub(super) fn http_client() -> SharedHttpClient {
    Builder::new().tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https()
}

/// One configured source.
#[derive(Debug)]
pub(super) struct Source {
    wanted: config::Credentials,
    environment: Environment,
    http: SharedHttpClient,
    survey: Option<Survey>,
}

/// Credentials and the name of where they came from.
struct Given(Credentials, Arc<str>);

/// What a source is called: `profile dev`, `role arn:aws:iam::… over default chain`.
pub(super) fn name(wanted: &config::Credentials) -> String {
    let base = match (&wanted.profile, wanted.source) {
        (_, Some(config::CredentialSource::Environment)) => "environment".to_owned(),
        (_, Some(config::CredentialSource::Container)) => "container".to_owned(),
        (_, Some(config::CredentialSource::Imds)) => "instance metadata".to_owned(),
        (_, Some(config::CredentialSource::WebIdentity)) => "web identity".to_owned(),
        (Some(profile), _) => format!("profile {profile}"),
        (None, Some(config::CredentialSource::Profile)) => "profile".to_owned(),
        (None, None) => "default chain".to_owned(),
    };
    match &wanted.role {
        Some(role) => format!("role {} over {base}", role.arn),
        None => base,
    }
}

impl Source {
    /// Asks by `http`; what its answers show of the time goes to `witness`.
    pub fn new(
        wanted: config::Credentials,
        environment: Environment,
        http: SharedHttpClient,
        witness: Arc<Witness>,
    ) -> Self {
        Self { wanted, environment, http: dated::client(http, witness), survey: None }
    }

    /// What the person calls it.
    pub fn name(&self) -> String {
        name(&self.wanted)
    }

    /// The token file that the profile names, once the profile has been read.
    pub fn token_file(&self) -> Option<PathBuf> {
        self.survey.as_ref().and_then(|survey| survey.token_file.clone())
    }

    /// Whether asking starts a command, which may open a window on somebody's screen.
    pub fn runs_command(&self) -> bool {
        self.survey.as_ref().is_some_and(|survey| matches!(survey.base.1, Base::Process(_)))
    }

    /// Asks. Never takes longer than a minute and a half.
    ///
    /// # Errors
    ///
    /// What is wrong and how to mend it.
    pub async fn load(&mut self) -> Result<Identity, Problem> {
        let Given(credentials, name) = self.given().await?;
        Identity::new(&credentials, &name)
    }

    /// As [`Self::load`], for the SDK's own calls.
    ///
    /// # Errors
    ///
    /// What is wrong and how to mend it.
    pub async fn credentials(&mut self) -> Result<Credentials, Problem> {
        self.given().await.map(|Given(credentials, _)| credentials)
    }

    async fn given(&mut self) -> Result<Given, Problem> {
        match self.wanted.role.clone() {
            None => self.base().await,
            Some(role) => {
                let Given(base, over) = self.base().await?;
                self.assume(&role, base, &over).await
            }
        }
    }

    /// What the profile's chain ends in, once the profile has been read.
    pub fn base_kind(&self) -> Option<&Base> {
        self.survey.as_ref().map(|survey| &survey.base.1)
    }

    /// The region that profile and environment say, the profile read for it if it was not yet.
    ///
    /// # Errors
    ///
    /// The AWS configuration files cannot be read.
    pub async fn region_told(&mut self) -> Result<Option<String>, Problem> {
        if let Some(region) = self.region_if_told() {
            return Ok(Some(region));
        }
        if self.survey.is_none() {
            // Not kept: credentials that came from elsewhere are not the profile's.
            let survey = Survey::read(&self.environment, self.wanted.profile.as_deref()).await?;
            return Ok(survey.region);
        }
        Ok(None)
    }

    async fn base(&mut self) -> Result<Given, Problem> {
        use config::CredentialSource as From;
        self.survey = None;
        match self.wanted.source {
            Some(From::Environment) => self.environment().await,
            Some(From::Container) => self.container().await,
            Some(From::Imds) => self.instance(3).await,
            Some(From::WebIdentity) => self.web_identity().await,
            Some(From::Profile) => self.profile().await,
            None if self.wanted.profile.is_some() => self.profile().await,
            None => self.chain().await,
        }
        .map_err(|failed| self.explain(failed))
    }

    /// The SDK's default chain, by its own providers and in its order: only "I have none" moves on to the next. Asking
    /// one by one tells which it was, and builds no HTTP client for those that need none. One thing is stricter: an
    /// `AWS_PROFILE` that does not exist ends the search, as it does in the AWS CLI.
    async fn chain(&mut self) -> Result<Given, Failure> {
        match self.environment().await {
            Err(Failure::Sdk(CredentialsError::CredentialsNotLoaded(_), _)) => {}
            done => return done,
        }
        match self.profile().await {
            Err(Failure::Sdk(CredentialsError::CredentialsNotLoaded(_), _)) => {}
            Err(Failure::Known(problem))
                if matches!(problem.kind(), Kind::NoProfile | Kind::NoHome)
                    && self.environment.profile().is_none() => {}
            done => return done,
        }
        if self.environment.web_identity_token().is_some() {
            return self.web_identity().await;
        }
        match self.container().await {
            Err(Failure::Sdk(CredentialsError::CredentialsNotLoaded(_), _)) => {}
            done => return done,
        }
        match self.instance(1).await {
            Err(Failure::Sdk(CredentialsError::CredentialsNotLoaded(_), _)) => {
                Err(Failure::Known(self.exhausted()))
            }
            done => done,
        }
    }

    async fn environment(&self) -> Result<Given, Failure> {
        let provider = EnvironmentVariableCredentialsProvider::new();
        let Given(mut credentials, name) = ask(provider, "environment", Ask::Environment).await?;
        // The SDK does not read it; `aws configure export-credentials --format env` writes it.
        if let Some(text) = self.environment.get("AWS_CREDENTIAL_EXPIRATION") {
            *credentials.expiry_mut() = process::expiration(text.trim());
        }
        Ok(Given(credentials, name))
    }

    async fn web_identity(&self) -> Result<Given, Failure> {
        let provider =
            WebIdentityTokenCredentialsProvider::builder().configure(&self.provider_config()).build();
        ask(provider, "web identity", Ask::WebIdentity).await
    }

    async fn container(&self) -> Result<Given, Failure> {
        let provider = EcsCredentialsProvider::builder().configure(&self.provider_config()).build();
        ask(provider, "container", Ask::Container).await
    }

    async fn instance(&self, attempts: u32) -> Result<Given, Failure> {
        let config = self.provider_config();
        let client = imds::Client::builder().configure(&config).max_attempts(attempts).build();
        let provider = ImdsCredentialsProvider::builder().configure(&config).imds_client(client).build();
        ask(provider, "instance metadata", Ask::Instance).await
    }

    async fn profile(&mut self) -> Result<Given, Failure> {
        let wanted = self.wanted.profile.as_deref();
        let survey = self
            .survey
            .insert(Survey::read(&self.environment, wanted).await.map_err(Failure::Known)?)
            .clone();
        if !survey.exists {
            return Err(Failure::Known(survey.missing(&survey.profile, &self.environment)));
        }
        if let Some(profile) = &survey.mfa {
            return Err(Failure::Known(Problem::new(
                Kind::Mfa,
                format!(
                    "profile `{profile}` has mfa_serial: it wants a one-time code, and nobody can type one into a proxy"
                ),
                "use a profile of `aws login` or `aws sso login`, or of a `credential_process` that gets the session by \
                 itself, or put what `aws sts get-session-token --serial-number … --token-code …` prints into a profile",
            )));
        }
        let name = format!("profile {}", survey.profile);
        let (base, Base::Process(command)) = &survey.base else {
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&self.provider_config())
                .profile_name(&survey.profile)
                .build();
            return ask(provider, &name, Ask::Profile).await;
        };
        let mut credentials = process::credentials(command.line(), base).await.map_err(Failure::Known)?;
        let mut over = format!("profile {base}");
        for step in &survey.roles {
            let role = config::Role {
                arn: step.arn.clone(),
                session_name: step.session_name.clone(),
                external_id: step.external_id.clone(),
                duration: None,
                tags: BTreeMap::new(),
            };
            let given = self.assume(&role, credentials, &over).await.map_err(Failure::Known)?;
            credentials = given.0;
            over = format!("role {}", step.arn);
        }
        Ok(Given(credentials, name.into()))
    }

    async fn assume(&self, role: &config::Role, base: Credentials, over: &str) -> Result<Given, Problem> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .region(self.region())
            .credentials_provider(base.clone());
        if let Some(survey) = &self.survey {
            loader = loader.profile_name(&survey.profile);
        }
        let mut builder = AssumeRoleProvider::builder(&role.arn)
            .configure(&loader.load().await)
            .session_name(self.session_name(role.session_name.as_deref()));
        if let Some(id) = &role.external_id {
            builder = builder.external_id(id);
        }
        if let Some(duration) = role.duration {
            builder = builder.session_length(duration);
        }
        if !role.tags.is_empty() {
            builder = builder.tags(role.tags.clone());
        }
        let provider = builder.build_from_provider(base).await;
        let asked = provider.provide_credentials();
        match tokio::time::timeout(LIMIT, asked).await {
            Ok(Ok(credentials)) => Ok(Given(credentials, format!("role {}", role.arn).into())),
            Ok(Err(error)) => Err(self.diagnose(&error, Asked::Role { arn: &role.arn, over })),
            Err(_) => Err(self.diagnose(
                &CredentialsError::provider_timed_out(LIMIT),
                Asked::Role { arn: &role.arn, over },
            )),
        }
    }

    /// The session name in CloudTrail: configured, `AWS_ROLE_SESSION_NAME`, or one that says who and on which machine.
    fn session_name(&self, configured: Option<&str>) -> String {
        let name =
            configured.map(ToOwned::to_owned).or_else(|| self.environment.get("AWS_ROLE_SESSION_NAME"));
        clean_session_name(&name.unwrap_or_else(|| {
            let who = ["USER", "LOGNAME", "USERNAME", "HOSTNAME"]
                .iter()
                .find_map(|name| self.environment.get(name));
            let who = who.or_else(|| std::fs::read_to_string("/etc/hostname").ok()).unwrap_or_default();
            format!("countersign-{}", who.trim())
        }))
    }

    fn provider_config(&self) -> ProviderConfig {
        // With a region set the SDK never asks the instance metadata for one.
        ProviderConfig::without_region().with_region(Some(self.region())).with_http_client(self.http.clone())
    }

    /// The region for the SDK's own calls. A profile that is named in the configuration brings its own; otherwise the
    /// environment comes first, as in every AWS tool.
    fn region(&self) -> Region {
        Region::new(self.region_if_told().unwrap_or_else(|| "us-east-1".to_owned()))
    }

    fn region_if_told(&self) -> Option<String> {
        let profile = self.survey.as_ref().and_then(|survey| survey.region.clone());
        let environment = self.environment.region();
        let (first, second) =
            if self.wanted.profile.is_some() { (profile, environment) } else { (environment, profile) };
        let fallback = Some(self.wanted.fallback_region.clone()).filter(|region| !region.is_empty());
        first.or(second).or(fallback)
    }

    /// Nothing in the whole chain.
    fn exhausted(&self) -> Problem {
        let listed = self.survey.as_ref().map(Survey::listed).filter(|names| !names.is_empty());
        let place = place(&self.environment);
        let (profiles, hint) = match listed {
            Some(names) => (
                format!("no usable default profile in {place}"),
                format!("name a profile (`profile = …` for the stage, or AWS_PROFILE); there are: {names}"),
            ),
            None if self.environment.home().is_none() => (
                "HOME is not set, so there is no ~/.aws".to_owned(),
                "set HOME (in a container, to where ~/.aws is mounted), or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    .to_owned(),
            ),
            None => (
                format!("no profile in {place}"),
                "run `aws configure sso` or `aws login`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; in a container, \
                 mount ~/.aws and set HOME"
                    .to_owned(),
            ),
        };
        Problem::new(
            Kind::Nothing,
            format!(
                "no AWS credentials: no keys in the environment, {profiles}, no web identity, container or instance role"
            ),
            hint,
        )
    }

    fn explain(&self, failure: Failure) -> Problem {
        let (error, ask) = match failure {
            Failure::Known(problem) => return problem,
            Failure::Sdk(error, ask) => (error, ask),
        };
        let asked = match (ask, &self.survey) {
            (Ask::Environment, _) | (Ask::Profile, None) => Asked::Environment,
            (Ask::Profile, Some(survey)) => Asked::Profile(survey),
            (Ask::WebIdentity, _) => Asked::WebIdentity,
            (Ask::Container, _) => Asked::Container,
            (Ask::Instance, _) => Asked::Instance,
        };
        self.diagnose(&error, asked)
    }

    fn diagnose(&self, error: &CredentialsError, asked: Asked<'_>) -> Problem {
        diagnose(error, asked, self.region().as_ref(), &self.environment)
    }
}

/// Which provider was asked; [`Asked`] without what it borrows.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Environment,
    Profile,
    WebIdentity,
    Container,
    Instance,
}

/// Why a provider gave nothing: one of the SDK's errors, or a problem that was found before the SDK was asked.
enum Failure {
    Sdk(CredentialsError, Ask),
    Known(Problem),
}

async fn ask(provider: impl ProvideCredentials, name: &str, ask: Ask) -> Result<Given, Failure> {
    match tokio::time::timeout(LIMIT, provider.provide_credentials()).await {
        Ok(Ok(credentials)) => Ok(Given(credentials, name.into())),
        Ok(Err(error)) => Err(Failure::Sdk(error, ask)),
        Err(_) => Err(Failure::Sdk(CredentialsError::provider_timed_out(LIMIT), ask)),
    }
}

/// STS takes 2 to 64 of `[\w+=,.@-]` (AssumeRole, RoleSessionName).
fn clean_session_name(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let mut clean: String = name.chars().take(64).map(|c| if fits(c) { c } else { '-' }).collect();
    while clean.len() < 2 {
        clean.push('-');
    }
    clean
}
