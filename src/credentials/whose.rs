//! Whose credentials are, as STS says: asked when somebody reads why a gateway refused, and once for each set of keys.
//!
//! Nobody depends on it. What STS does not say in time is not known, and everything else is told all the same.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time;

use super::{Sources, account};
use crate::{aws, config};

/// For the whole question. A person waits for it.
const LIMIT: Duration = Duration::from_secs(3);
/// After a question without an answer none is asked for so long: each time that something is opened would wait again.
const PAUSE: Duration = Duration::from_secs(60);
/// Sets of keys that are remembered: sessions follow one another for as long as the proxy runs.
const MOST: usize = 32;

/// What is known of sets of keys, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Callers(Mutex<Vec<(Box<str>, Answer)>>);

#[derive(Debug, Clone)]
enum Answer {
    /// The ARN.
    Told(Arc<str>),
    /// At this time.
    Nothing(Instant),
}

impl Callers {
    /// What is known; the outer `None` says that it is worth asking.
    #[expect(clippy::option_option, reason = "that nothing is known and that nobody is to be asked differ")]
    fn known(&self, key: &str, now: Instant) -> Option<Option<Arc<str>>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, answer) = known.iter().find(|(of, _)| **of == *key)?;
        match answer {
            Answer::Told(arn) => Some(Some(Arc::clone(arn))),
            Answer::Nothing(at) => (now.saturating_duration_since(*at) < PAUSE).then_some(None),
        }
    }

    fn learn(&self, key: &str, answer: Answer) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, _)| **of != *key);
        if known.len() == MOST {
            known.remove(0);
        }
        known.push((key.into(), answer));
    }
}

impl Sources {
    /// The same as [`Self::caller`] has said before; nobody is asked.
    #[must_use]
    pub fn known_caller(&self, access_key_id: &str) -> Option<Arc<str>> {
        self.callers.known(access_key_id, Instant::now()).flatten()
    }

    /// The ARN of whoever signs with the key `access_key_id` of this source: `arn:aws:iam::111122223333:user/ann`.
    ///
    /// STS is asked with the credentials that are held, from the thread that asks for credentials, and no source is asked
    /// for new ones. `None` when other keys are held by now and nobody asked about those, and when STS does not say it
    /// within seconds.
    pub async fn caller(
        &self,
        wanted: &config::Credentials,
        region: &str,
        access_key_id: &str,
    ) -> Option<Arc<str>> {
        if let Some(known) = self.callers.known(access_key_id, Instant::now()) {
            return known;
        }
        let current = {
            let identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
            identities.get(wanted).map(|(current, _)| Arc::clone(current))
        };
        let held = current?.load().clone().filter(|held| *held.access_key_id == *access_key_id)?;
        let (wanted, region, http) = (wanted.clone(), region.to_owned(), self.http.clone());
        let asked = self.handle.spawn(time::timeout(LIMIT, async move {
            let account = account::of_identity(&wanted, &held, region, http).await;
            aws::sts::caller(&account).await
        }));
        let answer = match asked.await {
            Ok(Ok(Ok(caller))) if is_arn_of(&caller.arn, &caller.account) => Answer::Told(caller.arn.into()),
            Ok(Ok(Err(problem))) => {
                tracing::debug!(error = %problem, "STS does not say whose the credentials are");
                Answer::Nothing(Instant::now())
            }
            _ => Answer::Nothing(Instant::now()),
        };
        self.callers.learn(access_key_id, answer.clone());
        match answer {
            Answer::Told(arn) => Some(arn),
            Answer::Nothing(_) => None,
        }
    }
}

/// An emulator may answer anything, and what it says is shown.
fn is_arn_of(arn: &str, account: &str) -> bool {
    arn.len() <= 2048
        && arn.bytes().all(|byte| byte.is_ascii_graphic())
        && arn.starts_with("arn:")
        && arn.split(':').nth(4) == Some(account)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Answer, Callers, MOST, PAUSE};

    #[test]
    fn answers_are_kept_and_silence_is_kept_for_a_while() {
        let (callers, now) = (Callers::default(), Instant::now());
        assert_eq!(callers.known("AKIA1", now), None, "worth asking");
        callers.learn("AKIA1", Answer::Nothing(now));
        assert_eq!(callers.known("AKIA1", now + PAUSE - Duration::from_secs(1)), Some(None));
        assert_eq!(callers.known("AKIA1", now + PAUSE), None, "worth asking again");
        callers.learn("AKIA1", Answer::Told("arn".into()));
        assert_eq!(callers.known("AKIA1", now + 2 * PAUSE), Some(Some("arn".into())));
        for number in 0..MOST {
            callers.learn(&format!("ASIA{number}"), Answer::Told("other".into()));
        }
        assert_eq!(callers.known("AKIA1", now), None, "the oldest made room");
        assert_eq!(callers.0.lock().unwrap().len(), MOST);
    }
}
