//! AWS's control plane with the credentials of the proxy: the same sources, asked in the same way.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::Mutex;

use super::{
    current::Identity,
    environment::Environment,
    problem::{Kind, Problem},
    profile::Base,
    source::{Source, http_client, name},
};
use crate::{aws::Account, config};

/// Credentials that are held are given until this long before they expire.
const LEAD: Duration = Duration::from_secs(60);

/// What the SDK's clients ask: one of our sources, and what it gave last.
#[derive(Debug)]
struct Lender(Mutex<(Source, Option<Credentials>)>);

/// A source's problem as the SDK carries it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Untold(Problem);

impl ProvideCredentials for Lender {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let mut inner = self.0.lock().await;
            let (source, held) = &mut *inner;
            let fresh =
                |held: &&Credentials| held.expiry().is_none_or(|expires| expires > SystemTime::now() + LEAD);
            if let Some(held) = held.as_ref().filter(fresh) {
                return Ok(held.clone());
            }
            let loaded = source.credentials().await;
            let given = loaded.map_err(|problem| CredentialsError::provider_error(Untold(problem)))?;
            *held = Some(given.clone());
            Ok(given)
        })
    }
}

/// The account behind these credentials, in `region`, or else in the region that profile and environment say. Asks the
/// source once, so that what is wrong with it is told in its own words; calls AWS for nothing else.
///
/// # Errors
/// The source gives nothing, or nobody says which region.
pub async fn account(wanted: &config::Credentials, region: Option<&str>) -> Result<Account, Problem> {
    let environment = Environment::process();
    let http = http_client();
    let mut source = Source::new(wanted.clone(), environment.clone(), http.clone(), Arc::default());
    let first = source.credentials().await?;
    let region = match region {
        Some(region) => region.to_owned(),
        None => source.region_told().await?.ok_or_else(|| {
            Problem::new(
                Kind::BadProfile,
                "nobody says which region",
                "name it: --region us-west-2, AWS_REGION=us-west-2, or `region = us-west-2` in the profile",
            )
        })?,
    };
    let profile = wanted.profile.clone().or_else(|| environment.profile());
    let login = login(&source, profile.as_deref());
    let provider = SharedCredentialsProvider::new(Lender(Mutex::new((source, Some(first)))));
    Ok(Account::new(sdk_config(wanted, region, http, provider).await, login))
}

/// The account of credentials that are held: no source is asked.
pub(super) async fn of_identity(
    wanted: &config::Credentials,
    held: &Identity,
    region: String,
    http: SharedHttpClient,
) -> Account {
    let token =
        held.session_token.as_ref().map(|token| String::from_utf8_lossy(token.as_bytes()).into_owned());
    let given =
        Credentials::new(&*held.access_key_id, held.secret.expose(), token, held.expires, "countersign");
    let config = sdk_config(wanted, region, http, SharedCredentialsProvider::new(given)).await;
    let login = format!(
        "replace the credentials of {}, or log in again: they are over, wrong, or of another account; and look at this \
         machine's clock",
        name(wanted)
    );
    Account::new(config, login)
}

/// What the SDK's clients take: endpoints of environment and profile, bounded waits, and these credentials.
async fn sdk_config(
    wanted: &config::Credentials,
    region: String,
    http: SharedHttpClient,
    provider: SharedCredentialsProvider,
) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(region))
        .credentials_provider(provider)
        .retry_config(RetryConfig::standard())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(5))
                .operation_attempt_timeout(Duration::from_secs(30))
                .operation_timeout(Duration::from_secs(90))
                .build(),
        );
    // Its endpoint_url and services; the credentials are given already.
    if let Some(profile) = &wanted.profile {
        loader = loader.profile_name(profile);
    }
    loader.load().await
}

/// What to do when AWS does not take the credentials.
fn login(source: &Source, profile: Option<&str>) -> String {
    let with = profile.map(|name| format!(" --profile {name}")).unwrap_or_default();
    match source.base_kind() {
        Some(Base::Sso) => format!("log in again: aws sso login{with}"),
        Some(Base::Login) => format!("log in again: aws login{with}"),
        Some(Base::Process(_)) => {
            format!("have the credential_process of {} give other ones", source.name())
        }
        _ => format!(
            "replace the credentials of {}: they are over, wrong, or of another account; and look at this machine's clock",
            source.name()
        ),
    }
}
