//! What one worker holds of the configuration, ready to serve: each stage with its rules, signer and connections.
//!
//! Nothing here is shared between threads but the credentials, the API keys, the clocks and the budget. The first
//! three are read without a lock; of the last, its atomic counters are touched by each request, its locks only by those that have a
//! body or wait.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use http::{HeaderValue, Method};
use rustls::ClientConfig;
use tokio::sync::{Semaphore, TryAcquireError};

use super::{
    pattern::Pattern,
    places::{Door, Places},
    probe::Readiness,
    quiet::Quiet,
    rate::Rate,
    refusal::{Code, Refusal},
    rules::Rules,
    token::CallerToken,
};
use crate::{
    coarse,
    config::{self, Auth, Config},
    credentials::{Clock, Current, CurrentKey, Identity, Sources, stamp},
    sigv4::{DateCache, Scope, Signer},
    telemetry::{
        SignedWith, exchange,
        metrics::{self, DEFAULT_ROUTE, Series},
    },
    upstream::{self, Pool, RootError, Roots},
};

/// One worker's share of everything.
pub struct Shared {
    pub(super) config: Arc<Config>,
    /// Longest mount first.
    pub(super) stages: Vec<Rc<Stage>>,
    pub(super) token: Option<CallerToken>,
    pub(super) budget: Arc<Budget>,
    pub(super) door: Rc<Door>,
    pub(super) quiet: Rc<Quiet>,
}

/// No stage can be served; this is why one of them cannot.
#[derive(Debug, thiserror::Error)]
#[error("stage {stage}")]
pub struct SharedError {
    /// Its name.
    pub stage: String,
    /// Why not.
    pub source: RootError,
}

impl Shared {
    /// Makes a worker's share, on the worker's own thread. Stages that `before` had and that have not changed are taken
    /// over, with their connections.
    #[must_use]
    pub fn new(sources: &Sources, budget: &Arc<Budget>, before: Option<&Self>) -> Rc<Self> {
        let known = |plan: &Arc<Plan>| {
            before.and_then(|before| before.stages.iter().find(|stage| Arc::ptr_eq(&stage.plan, plan)))
        };
        let stage = |plan| known(plan).cloned().unwrap_or_else(|| Rc::new(Stage::new(plan, sources)));
        let mut stages: Vec<_> = budget.plans.iter().map(stage).collect();
        stages.sort_by_key(|stage| std::cmp::Reverse(stage.mount.len()));
        let config = Arc::clone(&budget.config);
        let door = Door::new(&budget.places, config.limits.in_flight_wait);
        let token = config.guard.token.as_ref().map(|from| CallerToken::new(sources.token(from)));
        let quiet = Rc::new(Quiet::new(&config.log));
        Rc::new(Self { config, stages, token, budget: Arc::clone(budget), door, quiet })
    }

    /// The configuration that it was made for.
    #[must_use]
    pub const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Whether a request would be served.
    pub(super) fn readiness(&self) -> &Readiness {
        &self.budget.readiness
    }

    /// Closes the kept connections of stages that `next` has not taken over.
    pub(super) fn retire(&self, next: &Self) {
        for stage in &self.stages {
            if !next.stages.iter().any(|kept| Rc::ptr_eq(kept, stage)) {
                stage.pool.retire();
            }
        }
    }

    /// Closes connections that have been idle for too long.
    pub fn sweep(&self) {
        for stage in &self.stages {
            stage.pool.sweep();
        }
    }
}

/// What is required below a path.
pub(super) struct Rule {
    /// As it is written in the configuration.
    pub(super) path: Rc<str>,
    /// None is every method.
    methods: Box<[Method]>,
    pub(super) auth: Auth,
    /// Where its requests are counted.
    pub(super) series: Series,
    /// What is told of its requests.
    pub(super) label: Arc<exchange::Route>,
}

impl Rule {
    fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }
}

fn methods(route: &config::Route) -> Box<[Method]> {
    let known =
        |name: &String| Method::from_bytes(name.as_bytes()).expect("the configuration checks methods");
    route.methods.iter().map(known).collect()
}

/// A stage, ready to serve.
pub(super) struct Stage {
    pub(super) name: Rc<str>,
    plan: Arc<Plan>,
    pub(super) config: config::Stage,
    /// The mount's segments, percent-decoded.
    pub(super) mount: Vec<Vec<u8>>,
    /// What each rule asks for, and where its requests are counted.
    routes: Vec<(Pattern, Rule)>,
    otherwise: Rule,
    /// What is lent out, where that is not everything.
    pub(super) rules: Option<Rules>,
    /// How often, where that is limited.
    pub(super) rate: Option<Arc<Rate>>,
    pub(super) host: HeaderValue,
    pub(super) credentials: Arc<Current>,
    pub(super) api_key: Option<Arc<CurrentKey>>,
    pub(super) clock: Arc<Clock>,
    signed_with: RefCell<Option<Rc<SignedWith>>>,
    pub(super) signer: RefCell<Signer>,
    pub(super) dates: RefCell<DateCache>,
    pub(super) pool: Rc<Pool>,
}

impl Stage {
    fn new(plan: &Arc<Plan>, sources: &Sources) -> Self {
        let config = &plan.config;
        let tls = match &plan.tls {
            Ok(tls) => tls.clone(),
            // Never used, as such a stage is refused; and if it were, nobody would be trusted.
            Err(_) => Some(upstream::trusting_nobody()),
        };
        let scope = Scope { region: &config.region, service: &config.service };
        Self {
            plan: Arc::clone(plan),
            name: config.name.as_str().into(),
            mount: super::target::segments(&config.mount)
                .map(|segment| super::target::decode(segment.as_bytes()))
                .collect(),
            routes: config
                .routes
                .iter()
                .map(|route| {
                    let series = metrics::series(&config.name, Some(&route.path));
                    let label = label(config, Some(&route.path), route.auth);
                    let path = route.path.as_str().into();
                    let rule = Rule { path, methods: methods(route), auth: route.auth, series, label };
                    (Pattern::new(&route.path), rule)
                })
                .collect(),
            otherwise: Rule {
                path: DEFAULT_ROUTE.into(),
                methods: Box::default(),
                auth: config.default_auth(),
                series: metrics::series(&config.name, None),
                label: label(config, None, config.default_auth()),
            },
            signed_with: RefCell::default(),
            rules: Rules::new(config),
            rate: plan.rate.clone(),
            host: HeaderValue::from_str(config.url.authority.as_str())
                .expect("an authority has only characters that a header may hold"),
            credentials: if config.signs() {
                sources.current(&config.credentials)
            } else {
                Sources::nothing()
            },
            api_key: config.api_key.as_ref().map(|key| sources.api_key(key)),
            clock: sources.clock(&config.url),
            signer: RefCell::new(Signer::new(scope, config.signed_headers.clone())),
            dates: RefCell::default(),
            pool: Pool::new(config, tls),
            config: config.clone(),
        }
    }

    /// Why no request can be sent there, if none can.
    pub(super) fn unavailable(&self) -> Option<&RootError> {
        self.plan.tls.as_ref().err()
    }

    /// Has the credentials' source judge expiry by the gateway's time as well, if that is surely the gateway's.
    pub(super) fn tell_credentials(&self) {
        if self.config.url.tls {
            self.credentials.follow_clock(self.clock.offset());
        }
    }

    /// What the path below the mount requires: the first rule that matches, else IAM, with the API key if there is one.
    /// Also where such requests are counted.
    pub(super) fn rule(&self, method: &Method, path: &str) -> &Rule {
        let rule = self.routes.iter().find(|(pattern, rule)| pattern.matches(path) && rule.takes(method));
        rule.map_or(&self.otherwise, |(_, rule)| rule)
    }

    /// What is told of this identity; written out once for each.
    pub(super) fn signed_with(&self, identity: &Identity) -> Rc<SignedWith> {
        let mut known = self.signed_with.borrow_mut();
        match &*known {
            Some(known) if known.serial == identity.serial && known.expires == identity.expires => {
                Rc::clone(known)
            }
            _ => {
                let id = &identity.access_key_id;
                let told = Rc::new(SignedWith {
                    source: Arc::clone(&identity.source),
                    access_key: id.get(id.len().saturating_sub(4)..).unwrap_or_default().into(),
                    expires: identity.expires,
                    serial: identity.serial,
                });
                *known = Some(Rc::clone(&told));
                told
            }
        }
    }
}

fn label(config: &config::Stage, path: Option<&str>, auth: Auth) -> Arc<exchange::Route> {
    let scheme = if config.url.tls { "https" } else { "http" };
    Arc::new(exchange::Route {
        stage: config.name.as_str().into(),
        origin: format!("{scheme}://{}", config.url.authority).into(),
        region: config.region.as_str().into(),
        service: config.service.as_str().into(),
        path: path.map(Into::into),
        auth,
    })
}

/// What all workers share of a stage. While this is the same, a worker keeps what it has of the stage.
#[derive(Debug)]
struct Plan {
    config: config::Stage,
    rate: Option<Arc<Rate>>,
    /// `Ok(None)` where the stage does not speak TLS.
    tls: Result<Option<Arc<ClientConfig>>, RootError>,
    /// Which state of `ca_bundle` was read.
    bundle: u64,
}

impl Plan {
    /// What `before` has is taken over as far as it has not changed.
    fn new(config: &config::Stage, before: &[Arc<Self>], roots: &Roots) -> Arc<Self> {
        let before = before.iter().find(|plan| plan.config.name == config.name);
        // Looked at before it is read, so that no change in between is missed.
        let bundle = config.ca_bundle.as_deref().map_or(0, stamp);
        if let Some(same) = before.filter(|plan| plan.config == *config && plan.bundle == bundle) {
            return Arc::clone(same);
        }
        let rate = before.filter(|plan| plan.config.rate_limit == config.rate_limit);
        let rate = match rate {
            Some(plan) => plan.rate.clone(),
            None => config.rate_limit.map(|limit| Arc::new(Rate::new(limit))),
        };
        let mut tls = config.url.tls.then(|| roots.client_config(config.ca_bundle.as_deref())).transpose();
        if let Err(why) = &tls {
            let usable = before.filter(|plan| plan.config.ca_bundle == config.ca_bundle);
            match usable.and_then(|plan| plan.tls.as_ref().ok()?.clone()) {
                Some(read) => {
                    tracing::warn!(stage = config.name, "{why}; what was read of it before stays in use");
                    tls = Ok(Some(read));
                }
                None => tracing::error!(
                    stage = config.name,
                    "{why}; this stage answers 503 until that is mended, other stages are served"
                ),
            }
        }
        Arc::new(Self { config: config.clone(), rate, tls, bundle })
    }
}

/// What the requests of all workers share: room for bodies, places to be under way, and how often each stage is called.
/// With it comes what is prepared once for all workers.
#[derive(Debug)]
pub struct Budget {
    config: Arc<Config>,
    room: Arc<Semaphore>,
    bytes: usize,
    wait: Duration,
    places: Arc<Places>,
    readiness: Arc<Readiness>,
    /// A stage each, in the order of the configuration.
    plans: Vec<Arc<Plan>>,
}

/// A share of the room, given back when it is dropped.
pub(super) type Share = tokio::sync::OwnedSemaphorePermit;

impl Budget {
    /// `limits.max_buffered` bytes, for which a request waits up to `limits.buffer_wait`; `limits.max_in_flight` places;
    /// each stage's `rate_limit`, and whom it is trusted by. `readiness` is told to who asks `health_path`.
    ///
    /// # Errors
    /// [`SharedError`] when no stage can be served: each has an unusable `ca_bundle`, or the platform has no roots.
    /// While one can, the others answer 503.
    pub fn new(config: &Arc<Config>, readiness: &Arc<Readiness>) -> Result<Arc<Self>, SharedError> {
        let budget = Self::following(config, readiness, None);
        if budget.plans.iter().any(|plan| plan.tls.is_ok()) {
            return Ok(Arc::new(budget));
        }
        let first = budget.plans.into_iter().next().and_then(Arc::into_inner);
        let first = first.expect("a configuration has a stage, and nobody else holds what was just made");
        let Plan { config, tls: Err(source), .. } = first else { unreachable!("none can be served") };
        Err(SharedError { stage: config.name, source })
    }

    /// The same for a process in which nobody asks `health_path`: it is there for one request, or sends none.
    ///
    /// # Errors
    /// As [`Budget::new`].
    pub fn unprobed(config: &Arc<Config>) -> Result<Arc<Self>, SharedError> {
        Self::new(config, &Readiness::new(|| false))
    }

    /// After a reload. What the new configuration leaves as it was goes on with what is given out already; what it
    /// changes begins anew, so that requests under way are not counted against it.
    #[must_use]
    pub fn next(&self, config: &Arc<Config>) -> Arc<Self> {
        Arc::new(Self::following(config, &self.readiness, Some(self)))
    }

    fn following(config: &Arc<Config>, readiness: &Arc<Readiness>, before: Option<&Self>) -> Self {
        let limits = &config.limits;
        let bytes = usize::try_from(limits.max_buffered).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let roots = Roots::default();
        let plans = before.map_or(&[][..], |before| &before.plans);
        let plans = config.stages.iter().map(|stage| Plan::new(stage, plans, &roots)).collect();
        let room = before.filter(|before| before.bytes == bytes).map(|before| Arc::clone(&before.room));
        let places = before.filter(|before| before.config.limits.max_in_flight == limits.max_in_flight);
        Self {
            config: Arc::clone(config),
            room: room.unwrap_or_else(|| Arc::new(Semaphore::new(bytes))),
            bytes,
            wait: limits.buffer_wait,
            places: places
                .map_or_else(|| Places::new(limits.max_in_flight), |before| Arc::clone(&before.places)),
            readiness: Arc::clone(readiness),
            plans,
        }
    }

    /// The configuration that it was made for.
    #[must_use]
    pub const fn config(&self) -> &Arc<Config> {
        &self.config
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
