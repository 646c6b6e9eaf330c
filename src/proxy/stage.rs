//! What one worker holds of the configuration, ready to serve: each stage with its rules, signer and connections.
//!
//! Nothing here is shared between threads but the credentials, the API keys and the budget. The first two are read
//! without a lock; of the last, its atomic counters are touched by each request, its locks only by those that have a
//! body or wait.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use http::HeaderValue;
use tokio::sync::{Semaphore, TryAcquireError};

use super::{
    pattern::Pattern,
    places::{Door, Places},
    rate::Rate,
    refusal::{Code, Refusal},
    rules::Rules,
    token::CallerToken,
};
use crate::{
    coarse,
    config::{self, Auth, Config},
    credentials::{Current, CurrentKey, Sources},
    sigv4::{DateCache, Scope, Signer},
    telemetry::metrics::{self, Series},
    upstream::{Pool, RootError, Roots},
};

/// One worker's share of everything.
pub struct Shared {
    pub(super) config: Arc<Config>,
    /// Longest mount first.
    pub(super) stages: Vec<Rc<Stage>>,
    pub(super) token: Option<CallerToken>,
    pub(super) budget: Arc<Budget>,
    pub(super) door: Rc<Door>,
}

/// A stage cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("stage {stage}")]
pub struct SharedError {
    /// Its name.
    pub stage: String,
    /// Why not.
    pub source: RootError,
}

impl Shared {
    /// Makes a worker's share, on the worker's own thread.
    ///
    /// # Errors
    /// [`SharedError`] when a stage's `ca_bundle` is unusable, or the platform has no roots.
    pub fn new(
        config: &Arc<Config>,
        sources: &Sources,
        roots: &Roots,
        budget: &Arc<Budget>,
    ) -> Result<Rc<Self>, SharedError> {
        let mut stages = Vec::with_capacity(config.stages.len());
        for (stage, rate) in config.stages.iter().zip(&budget.rates) {
            let failed = |source| SharedError { stage: stage.name.clone(), source };
            stages.push(Rc::new(Stage::new(stage, rate.as_ref(), sources, roots).map_err(failed)?));
        }
        stages.sort_by_key(|stage| std::cmp::Reverse(stage.mount.len()));
        let door = Door::new(&budget.places, config.limits.in_flight_wait);
        let token = config.guard.token.as_ref().map(|from| CallerToken::new(sources.token(from)));
        Ok(Rc::new(Self { config: Arc::clone(config), stages, token, budget: Arc::clone(budget), door }))
    }

    /// Closes connections that have been idle for too long.
    pub fn sweep(&self) {
        for stage in &self.stages {
            stage.pool.sweep();
        }
    }
}

/// A stage, ready to serve.
pub(super) struct Stage {
    pub(super) name: Rc<str>,
    pub(super) config: config::Stage,
    /// The mount's segments, percent-decoded.
    pub(super) mount: Vec<Vec<u8>>,
    /// What each rule asks for, and where its requests are counted.
    routes: Vec<(Pattern, Auth, Series)>,
    otherwise: (Auth, Series),
    /// What is lent out, where that is not everything.
    pub(super) rules: Option<Rules>,
    /// How often, where that is limited.
    pub(super) rate: Option<Arc<Rate>>,
    pub(super) host: HeaderValue,
    pub(super) credentials: Arc<Current>,
    pub(super) api_key: Option<Arc<CurrentKey>>,
    pub(super) signer: RefCell<Signer>,
    pub(super) dates: RefCell<DateCache>,
    pub(super) pool: Rc<Pool>,
}

impl Stage {
    fn new(
        config: &config::Stage,
        rate: Option<&Arc<Rate>>,
        sources: &Sources,
        roots: &Roots,
    ) -> Result<Self, RootError> {
        let tls = if config.url.tls { Some(roots.client_config(config.ca_bundle.as_deref())?) } else { None };
        let scope = Scope { region: &config.region, service: &config.service };
        Ok(Self {
            name: config.name.as_str().into(),
            mount: super::target::segments(&config.mount)
                .map(|segment| super::target::decode(segment.as_bytes()))
                .collect(),
            routes: config
                .routes
                .iter()
                .map(|route| {
                    let series = metrics::series(&config.name, Some(&route.path));
                    (Pattern::new(&route.path), route.auth, series)
                })
                .collect(),
            otherwise: (config.default_auth(), metrics::series(&config.name, None)),
            rules: Rules::new(config),
            rate: rate.cloned(),
            host: HeaderValue::from_str(config.url.authority.as_str())
                .expect("an authority has only characters that a header may hold"),
            credentials: if config.signs() {
                sources.current(&config.credentials)
            } else {
                Sources::nothing()
            },
            api_key: config.api_key.as_ref().map(|key| sources.api_key(key)),
            signer: RefCell::new(Signer::new(scope, config.signed_headers.clone())),
            dates: RefCell::default(),
            pool: Pool::new(config, tls),
            config: config.clone(),
        })
    }

    /// What the path below the mount requires: the first rule that matches, else IAM, with the API key if there is one.
    /// Also where such requests are counted.
    pub(super) fn auth(&self, path: &str) -> (Auth, Series) {
        let rule = self.routes.iter().find(|(pattern, ..)| pattern.matches(path));
        rule.map_or(self.otherwise, |(_, auth, series)| (*auth, *series))
    }
}

/// What the requests of all workers share: room for bodies, places to be under way, and how often each stage is called.
#[derive(Debug)]
pub struct Budget {
    room: Arc<Semaphore>,
    bytes: usize,
    wait: Duration,
    places: Arc<Places>,
    /// A stage each, in the order of the configuration.
    rates: Vec<Option<Arc<Rate>>>,
}

/// A share of the room, given back when it is dropped.
pub(super) type Share = tokio::sync::OwnedSemaphorePermit;

impl Budget {
    /// `limits.max_buffered` bytes, for which a request waits up to `limits.buffer_wait`; `limits.max_in_flight` places;
    /// each stage's `rate_limit`.
    #[must_use]
    pub fn new(config: &Config) -> Arc<Self> {
        let limits = &config.limits;
        let bytes = usize::try_from(limits.max_buffered).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let rates =
            config.stages.iter().map(|stage| stage.rate_limit.map(|limit| Arc::new(Rate::new(limit))));
        Arc::new(Self {
            room: Arc::new(Semaphore::new(bytes)),
            bytes,
            wait: limits.buffer_wait,
            places: Places::new(limits.max_in_flight),
            rates: rates.collect(),
        })
    }

    /// Bytes that are given out.
    #[must_use]
    pub fn used(&self) -> u64 {
        (self.bytes - self.room.available_permits()) as u64
    }

    /// Room for `bytes`, if it is there.
    pub(super) fn try_take(&self, bytes: u32) -> Option<Share> {
        Arc::clone(&self.room).try_acquire_many_owned(bytes).ok()
    }

    /// Room for `bytes`, in the order in which it was asked for.
    pub(super) async fn take(&self, bytes: u32) -> Result<Share, Refusal> {
        match Arc::clone(&self.room).try_acquire_many_owned(bytes) {
            Ok(share) => return Ok(share),
            Err(TryAcquireError::NoPermits) => {}
            Err(TryAcquireError::Closed) => return Err(Code::Busy.into()),
        }
        let waiting = Arc::clone(&self.room).acquire_many_owned(bytes);
        match coarse::timeout(self.wait, waiting).await {
            Ok(Ok(share)) => Ok(share),
            Ok(Err(_)) | Err(coarse::Elapsed) => Err(Code::Busy.into()),
        }
    }
}
