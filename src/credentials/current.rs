//! The identity that requests are signed with now: read without a lock or a wait, replaced by the background task.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::{ArcSwapOption, Guard};
use http::HeaderValue;
use tokio::{
    sync::{Notify, watch},
    time,
};

use super::{
    clock::{Witness, shifted},
    history::{Attempt, History},
    login::{ByHand, LoginRefused},
    problem::{Kind, Problem},
};
use crate::{secret::Secret, telemetry};

/// One set of AWS credentials, checked to be fit for headers.
pub struct Identity {
    /// Printable ASCII without white space, `/`, `,` and `=`: what fits into `Credential=…`.
    pub access_key_id: Box<str>,
    /// The secret access key.
    pub secret: Secret,
    /// The value of `x-amz-security-token`, marked sensitive. Long-lived keys have none.
    pub session_token: Option<HeaderValue>,
    /// When the provider says they expire, by true time; `None` for long-lived keys. It is for the reader to judge
    /// (by the learned clock offset) whether that has passed: an expired identity is kept here until a newer one comes.
    pub expires: Option<SystemTime>,
    /// Differs between any two sets of keys of this process. Caches of signing keys use it.
    pub serial: u64,
    /// Where they come from: `environment`, `profile dev`, `role arn:aws:iam::…`.
    pub source: Arc<str>,
}

impl Identity {
    /// Checks what a provider gave. The problem names the part that is wrong and nothing of it.
    pub(super) fn new(given: &aws_credential_types::Credentials, source: &str) -> Result<Self, Problem> {
        let malformed = |part: &str| {
            Problem::new(
                Kind::Malformed,
                format!("the {part} from {source} cannot be put into a header"),
                "look for a line break, a space or a missing piece where it is kept, often from copying",
            )
        };
        let fits = |text: &str, more: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_graphic() && !more.as_bytes().contains(&byte))
        };
        if !fits(given.access_key_id(), "/,=") {
            return Err(malformed("access key id"));
        }
        if !fits(given.secret_access_key(), "") {
            return Err(malformed("secret access key"));
        }
        let session_token = match given.session_token().filter(|token| !token.is_empty()) {
            Some(token) if fits(token, "") => {
                let mut value = HeaderValue::from_str(token).map_err(|_| malformed("session token"))?;
                value.set_sensitive(true);
                Some(value)
            }
            Some(_) => return Err(malformed("session token")),
            None => None,
        };
        Ok(Self {
            access_key_id: given.access_key_id().into(),
            secret: Secret::new(given.secret_access_key()),
            session_token,
            expires: given.expiry(),
            serial: 0,
            source: source.into(),
        })
    }

    /// The keys of AWS's documentation and of its test suite for Signature Version 4.
    pub(super) fn example() -> Self {
        Self {
            access_key_id: "AKIDEXAMPLE".into(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
            expires: None,
            serial: 0,
            source: "AWS's example keys".into(),
        }
    }

    /// Whether the keys are the same, whatever their expiry.
    pub(super) fn same_keys(&self, other: &Self) -> bool {
        self.access_key_id == other.access_key_id
            && self.secret == other.secret
            && self.session_token == other.session_token
    }

    /// From now on no diagnostic line can show these keys.
    fn hide(&self) {
        telemetry::hide(&self.secret);
        if let Some(token) = &self.session_token {
            telemetry::hide(&Secret::new(String::from_utf8_lossy(token.as_bytes())));
        }
    }

    /// Whether it is over at `now`.
    pub(crate) fn expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("access_key_id", &self.access_key_id)
            .field("expires", &self.expires)
            .field("serial", &self.serial)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// How the last attempt to get credentials ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// None has ended yet.
    Pending,
    /// The source gave credentials.
    Fetched,
    /// It did not, and that may pass by itself.
    Hiccup,
    /// It did not, and somebody has to mend something.
    Failed,
}

/// What one source holds now. Shared: the background task writes, any number of threads read.
#[derive(Debug)]
pub struct Current {
    identity: ArcSwapOption<Identity>,
    problem: ArcSwapOption<Problem>,
    /// Attempts that have ended, and how the last one did.
    attempts: watch::Sender<(u64, Outcome)>,
    /// Wakes the task.
    pub(super) wake: Notify,
    /// The newest serial that the gateway refused; 0 is none.
    refused: AtomicU64,
    /// The refused serial beyond which the source had nothing newer when last asked.
    settled: AtomicU64,
    /// Whether somebody waits for usable credentials.
    asked: AtomicU64,
    /// Whether a caller on this machine could not be served for want of credentials.
    login_wanted: AtomicBool,
    /// Seconds to add to this machine's time, by a gateway's clock.
    offset: AtomicI64,
    /// What the answers that credentials come in show of the time.
    pub(super) witness: Arc<Witness>,
    /// Attempts by how they ended.
    fetched: AtomicU64,
    hiccups: AtomicU64,
    failed: AtomicU64,
    history: History,
    /// The login that a person may begin.
    pub(super) by_hand: ByHand,
}

impl Current {
    pub(super) fn new() -> Self {
        Self {
            identity: ArcSwapOption::empty(),
            problem: ArcSwapOption::empty(),
            attempts: watch::Sender::new((0, Outcome::Pending)),
            wake: Notify::new(),
            refused: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            login_wanted: AtomicBool::new(false),
            offset: AtomicI64::new(0),
            witness: Arc::default(),
            fetched: AtomicU64::new(0),
            hiccups: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            history: History::default(),
            by_hand: ByHand::default(),
        }
    }

    /// One whose source failed, and in a way that lasts.
    #[cfg(test)]
    #[must_use]
    pub fn failed() -> Self {
        let current = Self::new();
        current.fail(Problem::new(Kind::Command, "it failed", "mend it"));
        current
    }

    /// Whether the source is to be asked because of a request.
    #[cfg(test)]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire) > 0
    }

    /// Whether a login would be begun.
    #[cfg(test)]
    pub fn is_login_wanted(&self) -> bool {
        self.login_wanted.load(Ordering::Acquire)
    }

    /// What there is now, maybe expired. Takes no lock and never waits.
    pub fn load(&self) -> Guard<Option<Arc<Identity>>> {
        self.identity.load()
    }

    /// Why there are no credentials, or why those there are cannot be refreshed. `None` when all is well, and before
    /// the first attempt has ended.
    pub fn problem(&self) -> Option<Arc<Problem>> {
        self.problem.load_full()
    }

    /// Whether the source was asked once, and that has ended, well or badly.
    #[must_use]
    pub fn is_tried(&self) -> bool {
        self.attempts.borrow().0 > 0
    }

    /// Waits once, at most `limit`, for an identity that `usable` accepts, and has the source asked now.
    ///
    /// Gives up sooner when waiting longer is pointless: the source answered with nothing usable, or failed in a way
    /// that does not pass by itself. [`Self::problem`] then says why.
    pub async fn wait_usable(
        &self,
        usable: impl Fn(&Identity) -> bool,
        limit: Duration,
    ) -> Option<Arc<Identity>> {
        let found = || self.identity.load_full().filter(|identity| usable(identity));
        let wait = async {
            // Subscribed before looking: what is published in between is not missed.
            let mut attempts = self.attempts.subscribe();
            let (first, _) = *attempts.borrow_and_update();
            if let Some(identity) = found() {
                return Some(identity);
            }
            if self.load().as_ref().is_some_and(|held| held.serial == self.settled.load(Ordering::Acquire)) {
                return None;
            }
            self.asked.fetch_add(1, Ordering::AcqRel);
            self.wake.notify_one();
            loop {
                if attempts.changed().await.is_err() {
                    return None;
                }
                let (count, outcome) = *attempts.borrow_and_update();
                if let Some(identity) = found() {
                    return Some(identity);
                }
                if count > first && matches!(outcome, Outcome::Fetched | Outcome::Failed) {
                    return None;
                }
            }
        };
        time::timeout(limit, wait).await.unwrap_or(None)
    }

    /// Returns once the source has answered for the first time, with credentials or a problem.
    pub async fn first_attempt(&self) {
        // This holds the sender, so that it cannot be gone.
        let mut attempts = self.attempts.subscribe();
        let _ended = attempts.wait_for(|(count, _)| *count > 0).await;
    }

    /// Has the source asked again soon, within its own spacing, and waits for nothing: what is given up after a known
    /// problem recovers with the next request rather than after a long pause. Any number of calls wake the task once.
    pub fn poke(&self) {
        if self.asked.fetch_add(1, Ordering::AcqRel) == 0 {
            self.wake.notify_one();
        }
    }

    /// The gateway refused this identity (expired, deleted): the source is asked at once, unless a newer one is
    /// already here. Any number of calls cause one refresh.
    pub fn refused(&self, serial: u64) {
        if self.load().as_ref().is_some_and(|held| held.serial == serial)
            && self.refused.fetch_max(serial, Ordering::AcqRel) < serial
        {
            self.wake.notify_one();
        }
    }

    /// A caller on this machine could not be served: if a session is over, its login command may be run. Forgotten when
    /// there are usable credentials.
    pub fn want_login(&self) {
        if !self.login_wanted() && !self.login_wanted.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// A person asks for it: the login command is begun now, whatever is held.
    ///
    /// # Errors
    /// [`LoginRefused`] when there is no such command, or it runs already.
    pub fn log_in(&self) -> Result<(), LoginRefused> {
        self.by_hand.ask()?;
        self.wake.notify_one();
        Ok(())
    }

    /// Whether there is a command that logs in.
    #[must_use]
    pub fn can_log_in(&self) -> bool {
        self.by_hand.is_there()
    }

    /// How the last questions to the source ended, the oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<Attempt> {
        self.history.all()
    }

    /// Whether such a caller is waiting.
    pub(super) fn login_wanted(&self) -> bool {
        self.login_wanted.load(Ordering::Acquire)
    }

    /// There are usable credentials again.
    pub(super) fn forget_login(&self) {
        self.login_wanted.store(false, Ordering::Release);
    }

    /// Expiry is judged by a clock that differs by so many seconds from this machine's.
    pub fn follow_clock(&self, offset: i64) {
        if self.offset() != offset && self.offset.swap(offset, Ordering::AcqRel) != offset {
            self.wake.notify_one();
        }
    }

    /// The difference that was last learned.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset.load(Ordering::Acquire)
    }

    /// Seconds to add to this machine's time by the clock of whoever gives these credentials; 0 when that is not known.
    pub fn supposed_offset(&self) -> i64 {
        self.witness.offset()
    }

    /// The time by which credentials expire.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        let offset = match self.offset() {
            0 => self.supposed_offset(),
            learned => learned,
        };
        shifted(SystemTime::now(), offset)
    }

    /// Whether the gateway refused what is held. Stays so until newer keys are here.
    pub(super) fn is_refused(&self) -> bool {
        let refused = self.refused.load(Ordering::Acquire);
        self.load().as_ref().is_some_and(|held| held.serial == refused)
    }

    /// Whether somebody has been waiting since the last call.
    pub(super) fn take_asked(&self) -> bool {
        self.asked.swap(0, Ordering::AcqRel) > 0
    }

    /// The source gave `identity`. The same keys as before keep their serial. Returns what is held now.
    pub(super) fn publish(&self, mut identity: Identity, problem: Option<Problem>) -> Arc<Identity> {
        /// Serials begin at 1, so that 0 is nobody's.
        static SERIAL: AtomicU64 = AtomicU64::new(1);

        let same = self.load().as_ref().filter(|held| held.same_keys(&identity)).map(|held| held.serial);
        if same.is_some_and(|serial| serial == self.refused.load(Ordering::Acquire)) {
            self.settled.store(same.unwrap_or(0), Ordering::Release);
        }
        identity.serial = same.unwrap_or_else(|| {
            identity.hide();
            SERIAL.fetch_add(1, Ordering::Relaxed)
        });
        let identity = Arc::new(identity);
        let detail = match (&problem, identity.expires) {
            (Some(problem), _) => problem.message().to_owned(),
            (None, Some(expires)) => format!("good until {}", humantime::format_rfc3339_seconds(expires)),
            (None, None) => "they do not expire".to_owned(),
        };
        self.history.add("fetched", detail);
        self.identity.store(Some(Arc::clone(&identity)));
        self.problem.store(problem.map(Arc::new));
        self.ended(Outcome::Fetched);
        identity
    }

    /// The source gave nothing; what is held stays.
    pub(super) fn fail(&self, problem: Problem) {
        let outcome = if problem.kind().transient() { Outcome::Hiccup } else { Outcome::Failed };
        if self.is_refused() && outcome == Outcome::Failed {
            self.settled.store(self.refused.load(Ordering::Acquire), Ordering::Release);
        }
        let word = if outcome == Outcome::Hiccup { "hiccup" } else { "failed" };
        self.history.add(word, problem.message().to_owned());
        self.problem.store(Some(Arc::new(problem)));
        self.ended(outcome);
    }

    /// Sets a problem beside what was just published.
    pub(super) fn complain(&self, problem: Problem) {
        self.problem.store(Some(Arc::new(problem)));
    }

    /// How often the source was asked, by how that ended: it gave credentials; it failed in a way that may pass by
    /// itself; it failed until somebody mends something.
    #[must_use]
    pub fn outcomes(&self) -> [(&'static str, u64); 3] {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        [("fetched", count(&self.fetched)), ("hiccup", count(&self.hiccups)), ("failed", count(&self.failed))]
    }

    fn ended(&self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Pending => None,
            Outcome::Fetched => Some(&self.fetched),
            Outcome::Hiccup => Some(&self.hiccups),
            Outcome::Failed => Some(&self.failed),
        };
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.attempts.send_modify(|(count, last)| {
            *count += 1;
            *last = outcome;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use aws_credential_types::Credentials;
    use futures_util::FutureExt as _;

    use super::{Current, Identity};
    use crate::{
        credentials::problem::{Kind, Problem},
        telemetry,
    };

    const LONG: Duration = Duration::from_secs(60);

    fn identity(key: &str) -> Identity {
        Identity::new(&Credentials::new(key, "hunter2", Some("t0ken".into()), None, "test"), "test").unwrap()
    }

    #[test]
    fn the_same_keys_keep_their_serial_and_new_ones_get_a_new_one() {
        let current = Current::new();
        let first = current.publish(identity("AKIA1"), None).serial;
        assert_eq!(current.publish(identity("AKIA1"), None).serial, first);
        assert_ne!(current.publish(identity("AKIA2"), None).serial, first);
        let other = Current::new();
        assert_ne!(other.publish(identity("AKIA1"), None).serial, first, "unique across sources");
    }

    #[test]
    fn debug_shows_no_secret_and_the_token_is_sensitive() {
        let identity = identity("AKIA1");
        let shown = format!("{identity:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("t0ken"), "{shown}");
        assert!(identity.session_token.unwrap().is_sensitive());
    }

    #[test]
    fn what_is_signed_with_is_hidden_from_the_log() {
        let given =
            Credentials::new("AKIA1", "hunter2-published", Some("t0ken-published".into()), None, "test");
        Current::new().publish(Identity::new(&given, "test").unwrap(), None);
        assert!(telemetry::is_hidden("hunter2-published") && telemetry::is_hidden("t0ken-published"));
    }

    #[test]
    fn what_does_not_fit_into_a_header_is_a_problem_that_does_not_show_it() {
        for (key, secret, token) in [
            ("AK IA", "s", "t"),
            ("AK/IA", "s", "t"),
            ("", "s", "t"),
            ("AKIA", "hun\nter2", "t"),
            ("AKIA", "s", "t\r\nx: y"),
        ] {
            let given = Credentials::new(key, secret, Some(token.into()), None, "test");
            let problem = Identity::new(&given, "profile dev").unwrap_err();
            assert_eq!(problem.kind(), Kind::Malformed);
            assert!(
                !problem.to_string().contains("hun") && !problem.to_string().contains("x: y"),
                "{problem}"
            );
        }
    }

    #[tokio::test]
    async fn waiting_ends_with_what_is_published_or_with_a_lasting_failure() {
        let current = Arc::new(Current::new());
        let waiting = tokio::spawn({
            let current = Arc::clone(&current);
            async move { current.wait_usable(|identity| &*identity.access_key_id == "AKIA2", LONG).await }
        });
        current.wake.notified().await;
        assert!(current.take_asked());
        current.fail(Problem::new(Kind::Unreachable, "m", "h"));
        assert!(!waiting.is_finished());
        current.publish(identity("AKIA2"), None);
        assert_eq!(&*waiting.await.unwrap().unwrap().access_key_id, "AKIA2");

        let waiting = tokio::spawn({
            let current = Arc::clone(&current);
            async move { current.wait_usable(|_| false, LONG).await.is_none() }
        });
        current.wake.notified().await;
        current.fail(Problem::new(Kind::SsoLogin, "m", "h"));
        assert!(waiting.await.unwrap());
        assert!(current.load().is_some(), "what is held stays");
    }

    #[tokio::test]
    async fn pokes_wake_the_task_once() {
        let current = Current::failed();
        for _ in 0..3 {
            current.poke();
        }
        current.wake.notified().await;
        current.poke();
        assert!(current.wake.notified().now_or_never().is_none());
        assert!(current.take_asked() && !current.take_asked());
        current.poke();
        assert!(current.wake.notified().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_refused_identity_that_the_source_gives_again_is_not_waited_for() {
        let current = Current::new();
        let serial = current.publish(identity("AKIA1"), None).serial;
        current.refused(serial + 1000);
        assert!(!current.is_refused(), "not the one that is held");
        current.refused(serial);
        assert!(current.is_refused());
        current.publish(identity("AKIA1"), None);
        assert!(current.wait_usable(|identity| identity.serial != serial, LONG).await.is_none());
        current.publish(identity("AKIA2"), None);
        assert!(!current.is_refused());
    }
}
