//! Keeps one source's [`Current`] fresh: the task behind it.
//!
//! It looks around once a second rather than sleeping until a computed moment, so that a laptop that wakes up, a clock
//! that is set, an edited file and a new login are all noticed within a second or two. It asks the source
//! - well before expiry, the lead and its jitter scaled to the lifetime;
//! - when a file changed;
//! - when a request waits for usable credentials, or the gateway refused what is held;
//! - when a login command has ended, or a gateway's clock showed that this machine's is wrong;
//! - again after a failure, with a growing pause. What is held stays in use meanwhile.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use super::{
    current::{Current, Identity},
    environment::Environment,
    login::Login,
    problem::{Kind, Problem},
    source::Source,
    watch::{Seen, Watch},
};

/// How often it looks around.
const TICK: Duration = Duration::from_secs(1);
/// The first pause after a failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause for a source that runs a command, which may open a window on somebody's screen.
const LONGEST_COMMAND_PAUSE: Duration = Duration::from_secs(60);
/// Between two questions that requests cause.
const SPACING: Duration = Duration::from_secs(1);
const COMMAND_SPACING: Duration = Duration::from_secs(5);

/// When to ask next, by both clocks: the wall clock counts a laptop's sleep, the monotonic one is never set back.
#[derive(Debug, Clone, Copy)]
struct Due {
    wall: SystemTime,
    monotonic: Instant,
}

impl Due {
    fn after(delay: Duration) -> Self {
        Self { wall: SystemTime::now() + delay, monotonic: Instant::now() + delay }
    }

    fn reached(self) -> bool {
        SystemTime::now() >= self.wall || Instant::now() >= self.monotonic
    }
}

/// What was last said in the log, so that only changes are.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum State {
    Starting,
    Usable,
    /// Trouble, and whether what is held still serves.
    Failing(Kind, bool),
}

impl State {
    /// Whether a person has nothing new to learn: a service that is down is now silent, now out of reach, now in error.
    const fn is_like(self, other: Self) -> bool {
        const fn is_down(kind: Kind) -> bool {
            matches!(kind, Kind::Unreachable | Kind::TimedOut | Kind::Service)
        }
        match (self, other) {
            (Self::Failing(one, serves), Self::Failing(another, still_serves)) => {
                serves == still_serves && is_down(one) && is_down(another)
            }
            _ => false,
        }
    }
}

pub(super) struct Refresher {
    source: Source,
    current: Arc<Current>,
    watch: Watch,
    seen: Seen,
    /// When to ask again; `None` while long-lived keys are held.
    due: Option<Due>,
    /// No question caused by requests before this.
    spaced: Due,
    /// Whether requests caused the question that is being asked. One asked in time leaves room for theirs.
    by_request: bool,
    pause: Duration,
    state: State,
    login: Login,
    /// The clock's difference by which `due` was reckoned.
    offset: i64,
}

impl Refresher {
    pub fn new(source: Source, environment: &Environment, current: Arc<Current>, login: Login) -> Self {
        let watch = Watch::new(environment);
        if login.is_configured() {
            current.by_hand.allow();
        }
        Self {
            seen: watch.look(),
            due: Some(Due::after(Duration::ZERO)),
            spaced: Due::after(Duration::ZERO),
            by_request: false,
            pause: FIRST_PAUSE,
            state: State::Starting,
            login,
            offset: 0,
            source,
            current,
            watch,
        }
    }

    /// Runs until the runtime ends.
    pub async fn run(mut self) {
        loop {
            if self.wants() {
                self.ask().await;
            }
            self.consider_login();
            let current = Arc::clone(&self.current);
            let _woken = tokio::time::timeout(self.nap(), current.wake.notified()).await;
        }
    }

    /// Until something may be due, at most a tick.
    fn nap(&self) -> Duration {
        let due = self.due.map_or(TICK, |due| due.monotonic.saturating_duration_since(Instant::now()));
        due.clamp(Duration::from_millis(10), TICK)
    }

    /// Has a person log in, if only that helps and somebody on this machine waits for it.
    fn consider_login(&mut self) {
        if self.current.by_hand.take() {
            self.login.begin_by_hand(self.source.name());
        }
        self.consider_login_for_a_caller();
        self.current.by_hand.runs(self.login.is_running());
    }

    fn consider_login_for_a_caller(&mut self) {
        let State::Failing(kind, serves) = self.state else { return };
        let unusable = !serves || self.current.is_refused();
        if Login::helps(kind) && unusable && self.current.login_wanted() {
            let begun = self.login.begin(self.source.name());
            if let Some(problem) = self.current.problem().filter(|_| begun) {
                self.current.complain(self.login.amend((*problem).clone()));
            }
        }
    }

    /// The clock was found to differ: what was reckoned by the other time is reckoned anew.
    fn reckon(&mut self) {
        let offset = self.current.offset();
        if self.offset == offset {
            return;
        }
        self.offset = offset;
        let expires = self.current.load().as_ref().and_then(|held| held.expires);
        if let (State::Usable, Some(expires)) = (self.state, expires) {
            let left = expires.duration_since(self.current.now()).unwrap_or_default();
            self.due = Some(Due::after(refresh_after(left, jitter())));
        } else if matches!(self.state, State::Failing(Kind::Expired, _)) {
            // It may have been the clock alone.
            self.due = Some(Due::after(Duration::ZERO));
        }
    }

    /// Whether it is time to ask.
    fn wants(&mut self) -> bool {
        self.by_request = false;
        self.reckon();
        if self.login.has_ended() {
            self.pause = FIRST_PAUSE;
            return true;
        }
        if self.watch.look() != self.seen {
            self.pause = FIRST_PAUSE;
            return true;
        }
        if self.due.is_some_and(Due::reached) {
            return true;
        }
        if let State::Failing(kind, true) = self.state {
            let held = self.current.load();
            if held.as_ref().is_some_and(|held| held.expired(self.current.now())) {
                self.say(State::Failing(kind, false));
            }
        }
        // A refused identity stays refused until another comes; the pause grows if none does.
        if !self.spaced.reached() {
            return false;
        }
        let held = self.current.load();
        let usable = self.state == State::Usable
            && held.as_ref().is_some_and(|held| !held.expired(self.current.now()));
        // Who asked while what is held now was on its way has it.
        let asked = self.current.take_asked() && !usable;
        self.by_request = asked || self.current.is_refused();
        self.by_request
    }

    async fn ask(&mut self) {
        let before = self.watch.look();
        // The SDK logs headers and errors as it likes, secrets among them at some levels: it is not heard. What
        // matters is said below.
        let answer = self.source.load().with_subscriber(NoSubscriber::default()).await;
        self.current.take_asked();
        let token = self.source.token_file();
        let same_token = self.watch.token == token;
        self.watch.token = token;
        let after = self.watch.look();
        // An edit while the question was under way is a change still to be seen. What the SDK itself wrote is none.
        self.seen = Seen {
            files: before.files,
            caches: if answer.is_ok() { after.caches } else { before.caches },
            token: if same_token { before.token } else { after.token },
        };
        match answer {
            Ok(identity) => self.fetched(identity),
            Err(problem) => self.failed(problem),
        }
    }

    fn fetched(&mut self, identity: Identity) {
        let now = self.current.now();
        let expired = identity.expired(now).then(|| {
            let renew = match &*identity.source {
                "environment" => {
                    "start countersign anew with new ones (the environment of a running program cannot change), or name a \
                     profile"
                }
                _ => "renew them where they come from",
            };
            Problem::new(
                Kind::Expired,
                format!("the credentials from {} have expired", identity.source),
                format!("{renew}; if they are new, this machine's clock is wrong"),
            )
        });
        let kind = expired.as_ref().map(Problem::kind);
        let lifetime = identity.expires.map(|expires| expires.duration_since(now).unwrap_or_default());
        self.current.publish(identity, expired);
        let refused = self.current.is_refused();
        self.due = lifetime.map(|lifetime| Due::after(refresh_after(lifetime, jitter())));
        if self.by_request || kind.is_some() {
            self.spaced = Due::after(self.spacing());
        }
        if let Some(kind) = kind {
            self.due = Some(Due::after(self.next_pause()));
            self.say(State::Failing(kind, false));
        } else if refused {
            // The very keys that the gateway refused: asking again is worth less each time.
            self.spaced = Due::after(self.next_pause());
            self.current.complain(Problem::new(
                Kind::Refused,
                format!("the gateway refuses the credentials from {}, and there are no newer ones", self.source.name()),
                "they were deleted, deactivated or have expired: log in again, or renew them where they are kept",
            ));
            self.say(State::Failing(Kind::Refused, true));
        } else {
            self.pause = FIRST_PAUSE;
            self.login.reset();
            self.current.forget_login();
            self.say(State::Usable);
        }
    }

    fn failed(&mut self, problem: Problem) {
        let kind = problem.kind();
        let serves = self.current.load().as_ref().is_some_and(|held| !held.expired(self.current.now()));
        self.current.fail(self.login.amend(problem));
        self.due = Some(Due::after(self.next_pause()));
        self.spaced = Due::after(self.spacing());
        self.say(State::Failing(kind, serves));
    }

    fn next_pause(&mut self) -> Duration {
        let longest = if self.source.runs_command() { LONGEST_COMMAND_PAUSE } else { LONGEST_PAUSE };
        let pause = self.pause.min(longest);
        self.pause = pause * 2;
        // 80 to 120 %: many proxies that failed together do not come back together.
        pause.mul_f64(0.8 + 0.4 * jitter())
    }

    fn spacing(&self) -> Duration {
        if self.source.runs_command() { COMMAND_SPACING } else { SPACING }
    }

    /// Logs a change of state.
    fn say(&mut self, state: State) {
        let before = std::mem::replace(&mut self.state, state);
        if before == state || before.is_like(state) {
            return;
        }
        let held = self.current.load();
        let problem = self.current.problem();
        let text = |part: fn(&Problem) -> &str| problem.as_deref().map(part).unwrap_or_default().to_owned();
        match state {
            State::Starting => {}
            State::Usable => {
                let from = held.as_ref().map_or("", |held| &*held.source);
                let expires =
                    held.as_ref().and_then(|held| held.expires).map(humantime::format_rfc3339_seconds);
                let expires = expires.map_or_else(|| "never".to_owned(), |time| time.to_string());
                tracing::info!(target: TARGET, source = from, expires, "credentials are ready");
            }
            State::Failing(_, true) => tracing::warn!(
                target: TARGET,
                source = self.source.name(),
                problem = text(Problem::message),
                hint = text(Problem::hint),
                "no newer credentials; those held stay in use"
            ),
            State::Failing(_, false) => tracing::warn!(
                target: TARGET,
                source = self.source.name(),
                problem = text(Problem::message),
                hint = text(Problem::hint),
                "no usable credentials"
            ),
        }
    }
}

/// Where this module's log lines come from, for filters.
const TARGET: &str = "countersign::credentials";

/// How long to wait before refreshing what lives for `lifetime`: until 20 to 30 % of it remain, at most 5 to 10
/// minutes; `jitter` from 0 to 1 picks within both. A source that gives the same credentials again is asked at ever
/// shorter intervals until they end.
fn refresh_after(lifetime: Duration, jitter: f64) -> Duration {
    let lead = lifetime.mul_f64(0.2 + 0.1 * jitter).min(Duration::from_secs(300).mul_f64(1.0 + jitter));
    (lifetime - lead).max(Duration::from_millis(500))
}

/// From 0 to 1, different each time. Spreads load and needs no more randomness than a hash seed has.
fn jitter() -> f64 {
    f64::from(u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Kind, State, jitter, refresh_after};

    #[test]
    fn a_service_that_is_down_is_said_once_however_it_shows() {
        let (silent, unreachable) =
            (State::Failing(Kind::TimedOut, true), State::Failing(Kind::Unreachable, true));
        assert!(silent.is_like(unreachable));
        for news in [
            State::Failing(Kind::Unreachable, false),
            State::Failing(Kind::SsoLogin, true),
            State::Failing(Kind::Expired, true),
            State::Usable,
        ] {
            assert!(!silent.is_like(news), "{news:?}");
        }
    }

    #[test]
    fn the_lead_scales_with_the_lifetime() {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        for step in 0..=10 {
            let jitter = f64::from(step) / 10.0;
            let hour = minutes(60) - refresh_after(minutes(60), jitter);
            assert!((minutes(5)..=minutes(10)).contains(&hour), "{hour:?}");
            let short = Duration::from_secs(4) - refresh_after(Duration::from_secs(4), jitter);
            assert!((Duration::from_millis(799)..=Duration::from_millis(1201)).contains(&short), "{short:?}");
        }
        assert!(refresh_after(Duration::ZERO, 0.5) > Duration::ZERO, "no busy loop");
    }

    #[test]
    fn jitter_varies_within_bounds() {
        let drawn: Vec<f64> = (0..64).map(|_| jitter()).collect();
        assert!(drawn.iter().all(|one| (0.0..=1.0).contains(one)));
        assert!(drawn.iter().any(|one| (one - drawn[0]).abs() > f64::EPSILON));
    }
}
