//! STS: who is asking.

use aws_sdk_sts::Client;

use super::{Account, Problem};

/// Whose the credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account's twelve digits.
    pub account: String,
    /// The user's, or the assumed role's session's.
    pub arn: String,
    /// The unique id of the user or role, with the session's name for a role.
    pub user_id: String,
}

/// `GetCallerIdentity`: needs no permission.
///
/// # Errors
/// The call failed.
pub async fn caller(account: &Account) -> Result<Caller, Problem> {
    let asked = Client::new(&account.config).get_caller_identity().send().await;
    let told = asked.map_err(|error| Problem::new(account, "sts", "GetCallerIdentity", &error))?;
    let (Some(id), Some(arn)) = (told.account, told.arn) else {
        return Err(Problem::incomplete("sts", "GetCallerIdentity", "an account and an ARN"));
    };
    Ok(Caller { account: id, arn, user_id: told.user_id.unwrap_or_default() })
}
