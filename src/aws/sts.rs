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
/// The call failed, or it names no account: an emulator may answer anything, and what it says goes into policies.
pub async fn caller(account: &Account) -> Result<Caller, Problem> {
    let asked = Client::new(&account.config).get_caller_identity().send().await;
    let told = asked.map_err(|error| Problem::new(account, "sts", "GetCallerIdentity", &error))?;
    let (Some(id), Some(arn)) = (told.account.filter(|id| is_account(id)), told.arn) else {
        return Err(Problem::incomplete(
            "sts",
            "GetCallerIdentity",
            "an account of twelve digits and an ARN",
        ));
    };
    Ok(Caller { account: id, arn, user_id: told.user_id.unwrap_or_default() })
}

/// Whether this is an account's id: twelve digits.
#[must_use]
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}
