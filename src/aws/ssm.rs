//! Systems Manager: a parameter, decrypted.

use aws_sdk_ssm::Client;

use super::{Account, Problem};
use crate::secret::Secret;

/// `GetParameter` with decryption. `name` may be an ARN, and may end in `:VERSION` or `:LABEL`.
///
/// # Errors
/// The call failed, or there is no text.
pub async fn parameter(account: &Account, name: &str) -> Result<Secret, Problem> {
    let asked = Client::new(&account.config).get_parameter().name(name).with_decryption(true).send().await;
    let told = asked.map_err(|error| Problem::new(account, "ssm", "GetParameter", &error))?;
    let value = told.parameter.and_then(|parameter| parameter.value);
    value.map(Secret::new).ok_or_else(|| Problem::incomplete("ssm", "GetParameter", "a value"))
}
