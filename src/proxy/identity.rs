//! The current credentials, without a lock or a wait; one bounded wait when what is held has expired, or nothing has
//! been loaded yet. Expired credentials are never signed with.

use std::time::{Duration, SystemTime};

use super::refusal::{Code, Refusal};
use crate::credentials::{Clock, Current, Identity};

/// How long a request waits for a refresh: a laptop that wakes up, a container that was throttled.
const WAIT: Duration = Duration::from_secs(5);

/// Whether there are credentials that can sign at `now`, so that nobody need wait.
pub(super) fn is_held(current: &Current, now: SystemTime) -> bool {
    current.load().as_ref().is_some_and(|identity| !identity.expired(now))
}

/// Returns once there are credentials that can sign. Only for a caller on this machine (`from_here`) may somebody be
/// asked to log in.
pub(super) async fn usable(current: &Current, clock: &Clock, from_here: bool) -> Result<(), Refusal> {
    let held = current.load().as_ref().map(|identity| !identity.expired(clock.now()));
    if held == Some(true) {
        return Ok(());
    }
    // With none at all and a reason that somebody has to mend, the answer is already clear; the next request may be
    // luckier.
    let hopeless = held.is_none() && current.problem().is_some_and(|problem| !problem.kind().transient());
    // What seems to have expired may only seem so, by a clock that is ahead.
    let unexpired = |identity: &Identity| {
        !identity.expired(clock.now())
            || clock.suppose(current.supposed_offset()) && !identity.expired(clock.now())
    };
    if hopeless {
        current.poke();
    } else if current.wait_usable(unexpired, WAIT).await.is_some() {
        return Ok(());
    }
    // Looked at again: others may have come meanwhile.
    let code = match current.load().as_ref().map(|identity| identity.expired(clock.now())) {
        Some(false) => return Ok(()),
        Some(true) => Code::CredentialsExpired,
        None => Code::NoCredentials,
    };
    if from_here {
        current.want_login();
    }
    let Some(problem) = current.problem() else { return Err(code.into()) };
    Err(Refusal::because(code, problem.message().to_owned()).with_hint(problem.hint().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Clock, Code, Current, usable};

    #[tokio::test]
    async fn a_known_problem_is_answered_at_once_and_has_the_source_asked_again() {
        let current = Current::failed();
        let clock = Clock::new("stage", true);
        assert!(!current.is_asked());
        assert_eq!(usable(&current, &clock, false).await.unwrap_err().code, Code::NoCredentials);
        assert!(current.is_asked());
    }

    #[tokio::test]
    async fn only_a_caller_on_this_machine_has_somebody_log_in() {
        let current = Current::failed();
        let clock = Clock::new("stage", true);
        for (from_here, wanted) in [(false, false), (true, true), (false, true)] {
            assert!(usable(&current, &clock, from_here).await.is_err());
            assert_eq!(current.is_login_wanted(), wanted);
        }
    }
}
