//! The arguments of `countersign stack`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{config, curl};

/// The arguments of `countersign stack`.
#[derive(Debug, Args)]
pub struct StackArgs {
    /// What to do with the stack.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with the stack.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make the stack, or change it to what the template says, and show its outputs
    #[command(
        display_order = 0,
        after_help = "Examples:\n  countersign stack deploy\n  countersign stack deploy --name orders --template \
                      orders.yaml --parameter Level=info"
    )]
    Deploy(DeployArgs),

    /// Show what the stack gives out: its URL, its key's id
    #[command(
        display_order = 1,
        after_help = "Examples:\n  countersign stack outputs\n  countersign \"$(countersign stack outputs ApiGatewayUrl)\""
    )]
    Outputs(OutputsArgs),

    /// Delete the stack and everything in it
    #[command(
        display_order = 2,
        after_help = "Example:\n  countersign stack delete --name AuthAPIStack --yes"
    )]
    Delete(DeleteArgs),
}

/// The arguments of `countersign stack deploy`.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// The stack's name
    #[arg(long, value_name = "NAME", default_value = "AuthAPIStack")]
    pub name: String,

    /// A template of CloudFormation; by itself the three routes of config/cloudformation.yaml, which are built in
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,

    /// A parameter of the template; may be repeated
    #[arg(long = "parameter", value_name = "KEY=VALUE", value_parser = parameter)]
    pub parameters: Vec<(String, String)>,

    /// What the template may do beyond the ordinary, such as CAPABILITY_IAM; may be repeated
    #[arg(long = "capability", value_name = "NAME")]
    pub capabilities: Vec<String>,

    /// Do not ask: a stack that can only be deleted is replaced
    #[arg(long)]
    pub yes: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    /// Whose account.
    #[command(flatten)]
    pub account: AccountArgs,
}

impl DeployArgs {
    /// What another `deploy` needs to say the same, for a person to copy. What a parameter holds is left out: it may be
    /// secret.
    pub(super) fn again(&self) -> String {
        let mut words = String::new();
        if let Some(path) = &self.template {
            words.push_str(&format!(" --template {}", curl::word(path.as_os_str().as_encoded_bytes())));
        }
        for (key, _) in &self.parameters {
            words.push_str(&format!(" --parameter {}=…", curl::word(key.as_bytes())));
        }
        for name in &self.capabilities {
            words.push_str(&format!(" --capability {}", curl::word(name.as_bytes())));
        }
        words
    }
}

/// The arguments of `countersign stack outputs`.
#[derive(Debug, Args)]
pub struct OutputsArgs {
    /// One output, whose value alone is printed
    #[arg(value_name = "KEY")]
    pub key: Option<String>,

    /// The stack's name
    #[arg(long, value_name = "NAME", default_value = "AuthAPIStack")]
    pub name: String,

    /// Print the result as JSON
    #[arg(long, conflicts_with = "key")]
    pub json: bool,

    /// Whose account.
    #[command(flatten)]
    pub account: AccountArgs,
}

/// The arguments of `countersign stack delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The stack's name
    #[arg(long, value_name = "NAME", default_value = "AuthAPIStack")]
    pub name: String,

    /// Do not ask
    #[arg(long)]
    pub yes: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    /// Whose account.
    #[command(flatten)]
    pub account: AccountArgs,
}

/// Whose account, where and as whom: for commands that ask AWS and serve no stage.
#[derive(Debug, Clone, Default, Args)]
pub struct AccountArgs {
    /// A profile of ~/.aws/config; by itself the whole chain, as in every AWS tool
    #[arg(long, value_name = "NAME", env = "COUNTERSIGN_PROFILE")]
    pub profile: Option<String>,

    /// The region; by itself the profile's, or AWS_REGION
    #[arg(long, value_name = "REGION", env = "COUNTERSIGN_REGION")]
    pub region: Option<String>,

    /// A role to assume first
    #[arg(long, value_name = "ARN", env = "COUNTERSIGN_ROLE_ARN")]
    pub role_arn: Option<String>,
}

impl AccountArgs {
    /// The credentials that these name.
    #[must_use]
    pub fn credentials(&self) -> config::Credentials {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        config::Credentials {
            profile: given(&self.profile),
            source: None,
            role: given(&self.role_arn).map(|arn| config::Role {
                arn,
                session_name: None,
                external_id: None,
                duration: None,
                tags: std::collections::BTreeMap::new(),
            }),
            login_command: None,
            fallback_region: String::new(),
        }
    }

    /// As another command is given them, for a person to copy.
    pub(super) fn again(&self) -> String {
        let given = [("profile", &self.profile), ("region", &self.region), ("role-arn", &self.role_arn)];
        let words = given.into_iter().filter_map(|(name, text)| {
            let text = text.as_deref().filter(|text| !text.trim().is_empty())?;
            Some(format!(" --{name} {}", curl::word(text.as_bytes())))
        });
        words.collect()
    }

    /// The region that these name.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref().filter(|region| !region.trim().is_empty())
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it like Level=info".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::AccountArgs;

    #[test]
    fn a_command_to_copy_asks_the_same_account() {
        assert_eq!(AccountArgs::default().again(), "");
        let given = AccountArgs {
            profile: Some("my team".to_owned()),
            region: Some("eu-west-1".to_owned()),
            role_arn: Some("arn:aws:iam::111122223333:role/deploy".to_owned()),
        };
        let expected =
            " --profile 'my team' --region eu-west-1 --role-arn arn:aws:iam::111122223333:role/deploy";
        assert_eq!(given.again(), expected);
    }
}
