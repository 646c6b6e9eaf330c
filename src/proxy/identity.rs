//! The current credentials, without a lock or a wait; one bounded wait when what is held has expired, or nothing has
//! been loaded yet. Expired credentials are never signed with.

use std::time::{Duration, SystemTime};

use super::refusal::{Code, Refusal};
use crate::credentials::{Current, Identity};

/// How long a request waits for a refresh: a laptop that wakes up, a container that was throttled.
const WAIT: Duration = Duration::from_secs(5);

fn is_usable(identity: &Identity) -> bool {
    identity.expires.is_none_or(|expires| expires > SystemTime::now())
}

/// Returns once there are credentials that can sign.
pub(super) async fn usable(current: &Current) -> Result<(), Refusal> {
    let held = current.load().as_ref().map(|identity| is_usable(identity));
    if held == Some(true) {
        return Ok(());
    }
    // With none at all and a known reason, the answer is already clear; the next request may be luckier.
    let hopeless = held.is_none() && current.problem().is_some();
    if hopeless {
        current.poke();
    } else if current.wait_usable(is_usable, WAIT).await.is_some() {
        return Ok(());
    }
    // Looked at again: expired ones may have come meanwhile.
    let code = if current.load().is_some() { Code::CredentialsExpired } else { Code::NoCredentials };
    let Some(problem) = current.problem() else { return Err(code.into()) };
    Err(Refusal::because(code, problem.message().to_owned()).with_hint(problem.hint().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Code, Current, usable};

    #[tokio::test]
    async fn a_known_problem_is_answered_at_once_and_has_the_source_asked_again() {
        let current = Current::failed();
        assert!(!current.is_asked());
        assert_eq!(usable(&current).await.unwrap_err().code, Code::NoCredentials);
        assert!(current.is_asked());
    }
}
