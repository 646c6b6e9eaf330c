//! How the last questions to a source ended, for a person who looks. Written once a question, which is seldom.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// How many are remembered: more than a day of hourly sessions is of no use.
const REMEMBERED: usize = 20;

/// One question, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: SystemTime,
    /// `fetched`, `hiccup` (may pass by itself) or `failed` (somebody has to mend something).
    pub outcome: &'static str,
    /// What there is to say: until when the credentials are good, or what went wrong. Holds no secret.
    pub detail: String,
}

/// The last ones, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<Attempt>>);

impl History {
    pub fn add(&self, outcome: &'static str, detail: String) {
        let mut past = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == REMEMBERED {
            past.pop_front();
        }
        past.push_back(Attempt { at: SystemTime::now(), outcome, detail });
    }

    pub fn all(&self) -> Vec<Attempt> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::History;

    #[test]
    fn the_last_ones_are_kept() {
        let history = History::default();
        for number in 0..25 {
            history.add("fetched", number.to_string());
        }
        let kept: Vec<_> = history.all().into_iter().map(|attempt| attempt.detail).collect();
        assert_eq!(kept.len(), 20);
        assert_eq!((kept[0].as_str(), kept[19].as_str()), ("5", "24"));
    }
}
