//! Who signs, as STS says, and what IAM says that they may call. Asked by `policy` and `check`, with the very credentials
//! that sign the stage's requests, at the endpoints that the AWS SDKs' standard settings name (`AWS_ENDPOINT_URL` and
//! its companions, the profile's `endpoint_url` and `services`).

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use aws_sdk_iam::types::PolicyEvaluationDecisionType;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::SdkConfig;

use crate::{
    config::Stage,
    credentials::{Identity, Sources},
};

/// For one question, its retries included.
const PATIENCE: Duration = Duration::from_secs(10);

/// An AWS service did not answer what was asked. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Unanswered {
    /// The service's code, such as `AccessDenied`; none when there was no answer.
    pub(super) code: Option<String>,
    /// What happened.
    pub(super) message: String,
    /// What to do.
    pub(super) hint: String,
}

impl Unanswered {
    fn of<E: ProvideErrorMetadata>(operation: &str, error: &SdkError<E, HttpResponse>) -> Self {
        let (service, action) = operation.split_once(':').unwrap_or((operation, ""));
        let Some(meta) = error.as_service_error().map(ProvideErrorMetadata::meta) else {
            let what = match error {
                SdkError::TimeoutError(_) => "no answer in time",
                SdkError::DispatchFailure(_) => "no connection",
                SdkError::ResponseError(_) => "its answer cannot be read",
                _ => "the request cannot be made",
            };
            return Self {
                code: None,
                message: format!("{service} did not say ({action}): {what}"),
                hint: format!("see that this machine reaches {service}'s endpoint (AWS_ENDPOINT_URL names another one)"),
            };
        };
        let code = meta.code().unwrap_or("an error");
        let hint = match code {
            "AccessDenied" | "AccessDeniedException" => format!("allow {operation} for these credentials"),
            "ExpiredToken" | "ExpiredTokenException" => {
                "the session is over: log in again, with `aws sso login` or as the profile has it".to_owned()
            }
            "InvalidClientTokenId" | "UnrecognizedClientException" => {
                "AWS does not know this access key, or it belongs to another partition: make a new one, or name another profile"
                    .to_owned()
            }
            "SignatureDoesNotMatch" | "InvalidSignatureException" => {
                "the secret access key is not the one of this access key: copy both again".to_owned()
            }
            _ => format!("look for the code in {service}'s documentation"),
        };
        let said = meta.message().map(|message| format!(": {message}")).unwrap_or_default();
        Self { code: Some(code.to_owned()), message: format!("{service} answered {code} ({action}){said}"), hint }
    }

    /// Whether the service refused because these credentials may not ask.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self.code.as_deref(), Some("AccessDenied" | "AccessDeniedException"))
    }
}

/// The SDK's settings with which this identity asks for a stage.
pub(super) async fn settings(sources: &Sources, stage: &Stage, identity: &Identity) -> SdkConfig {
    let token = identity.session_token.as_ref();
    let token = token.map(|token| String::from_utf8_lossy(token.as_bytes()).into_owned());
    let credentials = Credentials::new(
        &*identity.access_key_id,
        identity.secret.expose(),
        token,
        identity.expires,
        "countersign",
    );
    let region = if stage.region.is_empty() { "us-east-1" } else { &stage.region };
    let timeouts = TimeoutConfig::builder().operation_timeout(PATIENCE).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(sources.http_client())
        .credentials_provider(credentials)
        .region(Region::new(region.to_owned()))
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(timeouts);
    if let Some(profile) = &stage.credentials.profile {
        loader = loader.profile_name(profile);
    }
    loader.load().await
}

/// Who these credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Who {
    /// `111122223333`
    pub(super) account: String,
    /// `arn:aws:iam::111122223333:user/ann`
    pub(super) arn: String,
}

/// STS GetCallerIdentity, which needs no permission.
pub(super) async fn who(settings: &SdkConfig) -> Result<Who, Unanswered> {
    let asked = aws_sdk_sts::Client::new(settings).get_caller_identity().send().await;
    let said = asked.map_err(|error| Unanswered::of("sts:GetCallerIdentity", &error))?;
    match (said.account, said.arn) {
        (Some(account), Some(arn)) => Ok(Who { account, arn }),
        _ => Err(Unanswered {
            code: None,
            message: "sts did not say who these credentials are".to_owned(),
            hint: "name the account with --account".to_owned(),
        }),
    }
}

/// The principal whose policies decide: the role of a session.
/// `arn:aws:sts::111122223333:assumed-role/NAME/SESSION` becomes `arn:aws:iam::111122223333:role/NAME`; a role with a path
/// cannot be told from that, and is then not found.
pub(super) fn principal(arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, partition, service, _, account, resource] = parts[..] else { return None };
    match (service, resource.split_once('/')) {
        ("iam", Some(("user" | "role", _))) => Some(arn.to_owned()),
        ("sts", Some(("assumed-role", rest))) => {
            Some(format!("arn:{partition}:iam::{account}:role/{}", rest.split('/').next()?))
        }
        _ => None,
    }
}

/// Those of `resources` that the principal's identity policies do not let it invoke (IAM SimulatePrincipalPolicy). Resource
/// policies of the API are not looked at.
pub(super) async fn not_allowed(
    settings: &SdkConfig,
    principal: &str,
    resources: &[String],
) -> Result<Vec<String>, Unanswered> {
    let asked = aws_sdk_iam::Client::new(settings)
        .simulate_principal_policy()
        .policy_source_arn(principal)
        .action_names("execute-api:Invoke")
        .set_resource_arns(Some(resources.to_vec()))
        .send()
        .await;
    let said = asked.map_err(|error| Unanswered::of("iam:SimulatePrincipalPolicy", &error))?;
    let results = said.evaluation_results();
    let denied = results.iter().filter(|result| result.eval_decision != PolicyEvaluationDecisionType::Allowed);
    Ok(denied.filter_map(|result| result.eval_resource_name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::principal;

    #[test]
    fn whose_policies_decide() {
        for (arn, expected) in [
            ("arn:aws:iam::111122223333:user/team/ann", Some("arn:aws:iam::111122223333:user/team/ann")),
            ("arn:aws-cn:sts::111122223333:assumed-role/orders/me@x", Some("arn:aws-cn:iam::111122223333:role/orders")),
            ("arn:aws:iam::111122223333:root", None),
            ("arn:aws:sts::111122223333:federated-user/ann", None),
            ("nothing", None),
        ] {
            assert_eq!(principal(arn).as_deref(), expected, "{arn}");
        }
    }
}
