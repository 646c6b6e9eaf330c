//! Secrets Manager: a secret's current text.

use aws_sdk_secretsmanager::Client;

use super::{Account, Problem};
use crate::secret::Secret;

/// `GetSecretValue`, the current version. `name` may be an ARN.
///
/// # Errors
/// The call failed, or the secret is not a text.
pub async fn value(account: &Account, name: &str) -> Result<Secret, Problem> {
    let asked = Client::new(&account.config).get_secret_value().secret_id(name).send().await;
    let told = asked.map_err(|error| Problem::new(account, "secretsmanager", "GetSecretValue", &error))?;
    told.secret_string
        .map(Secret::new)
        .ok_or_else(|| Problem::incomplete("secretsmanager", "GetSecretValue", "a SecretString"))
}
