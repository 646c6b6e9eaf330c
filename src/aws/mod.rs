//! The control plane: what the commands ask of AWS itself, beside the stages. Thin and typed, one file a service, only
//! the calls that something here needs.
//!
//! An [`Account`] is made by `credentials::account`, with the credentials that the proxy itself would sign with. What
//! fails is a [`Problem`]: which service and operation, AWS's own code and words, and what to do.
//!
//! | file | what it asks |
//! |---|---|
//! | `cloudformation` | stacks: make, change, delete, what happened to them, what they hold |
//! | `apigateway` | REST APIs: methods, stages, authorizers, usage plans, keys |
//! | `apigatewayv2` | HTTP APIs: routes, stages |
//! | `sts` | who is asking |
//! | `secretsmanager`, `ssm` | a secret that is kept there |
//! | `iam` | what a policy would say |

pub mod apigateway;
pub mod apigatewayv2;
pub mod cloudformation;
pub mod iam;
mod problem;
pub mod secretsmanager;
pub mod ssm;
pub mod sts;

pub(crate) use problem::plain;
pub use problem::{Cause, Problem};

use aws_config::SdkConfig;

/// Credentials, region, endpoints and HTTP client of the SDK's calls. Clients are made of it when they are needed.
#[derive(Debug, Clone)]
pub struct Account {
    config: SdkConfig,
    region: String,
    login: String,
}

impl Account {
    /// An account of what the SDK's clients take; `login` says what to do when its credentials are refused.
    ///
    /// # Panics
    /// When `config` has no region: whoever makes one has looked for it.
    #[must_use]
    pub fn new(config: SdkConfig, login: String) -> Self {
        let region = config.region().expect("an account is made with a region").as_ref().to_owned();
        Self { config, region, login }
    }

    /// The region that is asked.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Whether another than AWS's own endpoint is asked (`AWS_ENDPOINT_URL`, `endpoint_url` of the profile).
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.config.endpoint_url()
    }

    /// The address of AWS's console for this region, by its partition; an emulator has none.
    #[must_use]
    pub fn console(&self) -> Option<String> {
        if self.endpoint().is_some() {
            return None;
        }
        let domain = match &self.region {
            region if region.starts_with("cn-") => "console.amazonaws.cn",
            region if region.starts_with("us-gov-") => "console.amazonaws-us-gov.com",
            _ => "console.aws.amazon.com",
        };
        Some(format!("https://{}.{domain}", self.region))
    }
}
