//! Why a call to AWS failed: which one, in AWS's own words, and what to do.
//!
//! AWS's messages name ARNs, actions and request ids, never a secret; requests and answers do not become part of it.

use std::{error::Error, fmt};

use aws_smithy_runtime_api::{client::result::SdkError, http::Response};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId as _;

use super::Account;

/// What kind of failure it is, where a caller acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The caller may not do this.
    Denied,
    /// The credentials are over, or AWS does not know them.
    Credentials,
    /// What was asked about is not there.
    NotFound,
    /// Asked too often.
    Throttled,
    /// No answer: network, name resolution, TLS, time.
    Unreachable,
    /// The service has another objection.
    Other,
}

/// A call that failed. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    message: String,
    hint: String,
    code: Option<String>,
    cause: Cause,
    said: Option<String>,
}

impl Problem {
    /// Of what a call of `operation` at `service`, whose IAM action has their names, ended with.
    pub(super) fn new<E>(
        account: &Account,
        service: &str,
        operation: &str,
        error: &SdkError<E, Response>,
    ) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        Self::with_action(account, service, operation, &format!("{service}:{operation}"), error)
    }

    /// As [`Self::new`], of a call whose IAM action has another name.
    pub(super) fn with_action<E>(
        account: &Account,
        service: &str,
        operation: &str,
        action: &str,
        error: &SdkError<E, Response>,
    ) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let code = error.code().map(plain);
        let said = error.message().map(plain);
        if code.is_none() && error.raw_response().is_none() {
            return Self::unreachable(account, service, operation, error);
        }
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        let id = error.request_id().map(|id| format!(" (request {})", plain(id))).unwrap_or_default();
        let words = match (&code, &said, status) {
            (Some(code), Some(said), _) => format!("{code}: {}", said.trim().trim_end_matches('.')),
            (Some(code), None, _) => code.clone(),
            (None, Some(said), _) => said.trim().to_owned(),
            (None, None, Some(status)) => format!("an answer of status {status} that is not AWS's"),
            (None, None, None) => "an answer that is not AWS's".to_owned(),
        };
        let message = format!("{service}:{operation} failed in {}: {words}{id}", account.region);
        let cause = cause(code.as_deref().unwrap_or_default(), status);
        let hint = match cause {
            Cause::Denied => denied(action, said.as_deref().unwrap_or_default()),
            Cause::Credentials => account.login.clone(),
            Cause::NotFound => {
                format!(
                    "look at the name and the region ({}; --region, AWS_REGION or the profile sets it)",
                    account.region
                )
            }
            Cause::Throttled => {
                "wait a moment and try again: the account's limit of calls is reached".to_owned()
            }
            Cause::Unreachable | Cause::Other => match (&code, account.endpoint()) {
                (None, Some(endpoint)) => {
                    format!("is {endpoint} (AWS_ENDPOINT_URL or endpoint_url) what it should be?")
                }
                _ => format!(
                    "look {} up in AWS's reference of {service}:{operation}",
                    code.as_deref().unwrap_or("it")
                ),
            },
        };
        Self { message, hint, code, cause, said }
    }

    /// No answer that could be read.
    fn unreachable<E: Error + 'static>(
        account: &Account,
        service: &str,
        operation: &str,
        error: &SdkError<E, Response>,
    ) -> Self {
        let why = match error {
            SdkError::TimeoutError(_) => "no answer in time".to_owned(),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => "no answer in time".to_owned(),
            _ => deepest(error),
        };
        let hint = match account.endpoint() {
            Some(endpoint) => format!(
                "is {endpoint} (AWS_ENDPOINT_URL or endpoint_url) what it should be, and does it answer?"
            ),
            None => format!("look at the network, and whether {} is a region of AWS", account.region),
        };
        Self {
            message: format!("{service}:{operation} failed in {}: {why}", account.region),
            hint,
            code: None,
            cause: Cause::Unreachable,
            said: None,
        }
    }

    /// An answer that lacks what it should hold.
    pub(super) fn incomplete(service: &str, operation: &str, what: &str) -> Self {
        Self {
            message: format!("{service}:{operation} answered without {what}"),
            hint: "an emulator may lack it; AWS itself never leaves it out".to_owned(),
            code: None,
            cause: Cause::Other,
            said: None,
        }
    }

    /// What happened: service, operation, region, AWS's code and words, the request's id.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// AWS's code: `AccessDenied`, `ValidationError`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// AWS's own words alone.
    #[must_use]
    pub fn said(&self) -> Option<&str> {
        self.said.as_deref()
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.cause
    }
}

impl miette::Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.hint))
    }
}

/// AWS's codes differ by service: "Common errors" of each one's API reference.
fn cause(code: &str, status: Option<u16>) -> Cause {
    match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "AuthorizationError"
        | "AuthorizationErrorException"
        | "UnauthorizedException" => Cause::Denied,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "InvalidAccessKeyId"
        | "AuthFailure"
        | "InvalidToken" => Cause::Credentials,
        "Throttling" | "ThrottlingException" | "TooManyRequestsException" | "RequestLimitExceeded" => {
            Cause::Throttled
        }
        _ if code.contains("NotFound") || code == "NoSuchEntity" => Cause::NotFound,
        "" if status == Some(404) => Cause::NotFound,
        _ => Cause::Other,
    }
}

/// What AWS says is missing where it says so; else what was asked for.
fn denied(action: &str, said: &str) -> String {
    let word_after = |marker: &str| {
        let rest = &said[said.find(marker)? + marker.len()..];
        rest.split_whitespace().next().map(|word| word.trim_end_matches(['.', ',', ';']).to_owned())
    };
    let action = word_after("not authorized to perform: ").unwrap_or_else(|| action.to_owned());
    match word_after("on resource: ") {
        Some(resource) => format!("have a policy of the caller allow {action} on {resource}"),
        None => format!("have a policy of the caller allow {action}"),
    }
}

/// Without what could move the cursor of a terminal: an emulator may say anything.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The innermost cause: what the network or the credentials said.
fn deepest(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    plain(&error.to_string())
}

#[cfg(test)]
mod tests {
    use aws_config::{Region, SdkConfig};
    use aws_smithy_runtime_api::{
        client::result::SdkError,
        http::{Response, StatusCode},
    };
    use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};

    use super::{Account, Cause, Problem, cause, denied};

    #[test]
    fn what_is_missing_is_told_in_the_words_of_iam() {
        let said = "User: arn:aws:iam::111122223333:user/ann is not authorized to perform: cloudformation:CreateStack on \
                    resource: arn:aws:cloudformation:us-west-2:111122223333:stack/AuthAPIStack/* because no identity-based \
                    policy allows the cloudformation:CreateStack action";
        assert_eq!(
            denied("cloudformation:CreateStack", said),
            "have a policy of the caller allow cloudformation:CreateStack on \
             arn:aws:cloudformation:us-west-2:111122223333:stack/AuthAPIStack/*"
        );
        assert_eq!(denied("ssm:GetParameter", ""), "have a policy of the caller allow ssm:GetParameter");
    }

    #[test]
    fn what_a_service_says_moves_no_cursor() {
        let account =
            Account::new(SdkConfig::builder().region(Region::new("us-west-2")).build(), String::new());
        let said = ErrorMetadata::builder().code("No\x1b[2J").message("a\u{9b}31m\r\nb").build();
        let mut answer = Response::new(StatusCode::try_from(400).unwrap(), SdkBody::empty());
        // Those that a field's value may hold.
        answer.headers_mut().insert("x-amzn-requestid", "id\u{9b}2J".to_owned());
        let failed = SdkError::service_error(said, answer);
        let broken = SdkError::construction_failure(std::io::Error::other("gone\x1b]0;title\x07"));
        for error in [failed, broken] {
            let problem = Problem::new(&account, "sts", "GetCallerIdentity", &error);
            let shown = format!("{}{}", problem.message(), problem.hint());
            assert!(!shown.contains(char::is_control), "{shown:?}");
        }
    }

    #[test]
    fn codes_of_all_services_are_told_apart() {
        for (code, status, expected) in [
            ("AccessDenied", 403, Cause::Denied),
            ("ExpiredTokenException", 403, Cause::Credentials),
            ("ResourceNotFoundException", 400, Cause::NotFound),
            ("ParameterNotFound", 400, Cause::NotFound),
            ("NotFoundException", 404, Cause::NotFound),
            ("TooManyRequestsException", 429, Cause::Throttled),
            ("ValidationError", 400, Cause::Other),
            ("", 404, Cause::NotFound),
        ] {
            assert_eq!(cause(code, Some(status)), expected, "{code}");
        }
    }
}
