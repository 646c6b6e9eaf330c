//! A listener of its own for whoever watches over the proxy: `/healthz`, `/readyz`, `/startupz`, `/quitquitquit`,
//! `/metrics`, and the inspector's page.
//!
//! It runs on a thread of its own and holds up no request. `/healthz` says that the process answers, `/readyz` that a
//! request would be served, or why not; `lifecycle` has the start and the end; `/metrics` says what has happened so far.
//! `inspector` is a page for people, and needs a token of its own.
//!
//! It has the same guard as the proxy, see [`crate::callers`]: `Host` must be a name of this machine, such as the address
//! that a load balancer or kubelet connects to, and no page of another site may ask. `guard.allowed_origins` lets pages
//! call stages; here it lets in nobody. Over an address that other machines reach, `/metrics`, the inspector and the
//! reasons of `/readyz` need the callers' token, if there is one; whether all is well needs none.

mod answer;
mod health;
mod inspector;
mod lifecycle;
mod metrics;
mod serve;

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    thread::JoinHandle,
};

use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use tokio::{sync::oneshot, task::LocalSet};

pub use health::Health;
pub use inspector::{Inspected, NoRandom, Reach};
pub use metrics::exposer;

use answer::{Answer, error, explained, json, not_found};
use inspector::Inspector;
use serve::Crowd;

use crate::{
    callers::{Denied, host, origin},
    proxy::{CallerToken, Refusal},
    secret::Secret,
    telemetry::metrics::Exposer,
};

/// The admin listener at work.
pub struct Admin {
    address: SocketAddr,
    inspector: Option<Arc<Inspector>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Admin {
    /// Binds and serves. Without `exposer` there is no `/metrics`, and without `inspected` no inspector.
    ///
    /// # Errors
    /// When the address cannot be bound, or the system gives no thread or no random numbers.
    pub fn start(
        address: SocketAddr,
        health: Arc<Health>,
        exposer: Option<Exposer>,
        inspected: Option<Inspected>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let inspector = inspected.map(|inspected| Inspector::new(address, Arc::clone(&health), inspected));
        let inspector = inspector.transpose().map_err(io::Error::other)?.map(Arc::new);
        let watched = Watched { health, exposer, inspector: inspector.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    served = serve(listener, watched) => {
                        if let Err(error) = served {
                            tracing::error!(%error, "the admin listener ended");
                        }
                    }
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, inspector, stop, thread })
    }

    /// The address as it is bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The link that opens the inspector, if there is one: a secret, since it carries the token.
    #[must_use]
    pub fn link(&self) -> Option<Secret> {
        self.inspector.as_ref().map(|inspector| inspector.link())
    }

    /// The proxy serves: from here on the inspector can send requests through it.
    pub fn reaches(&self, proxy: Reach) {
        if let Some(inspector) = &self.inspector {
            inspector.reaches(proxy);
        }
    }

    /// Closes the listener and its connections.
    pub fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// What there is to be seen.
struct Watched {
    health: Arc<Health>,
    exposer: Option<Exposer>,
    inspector: Option<Arc<Inspector>>,
}

async fn serve(listener: TcpListener, watched: Watched) -> io::Result<()> {
    let watched = Rc::new(watched);
    serve::serve(listener, move |request, local, crowd| {
        let watched = Rc::clone(&watched);
        async move { watched.answer(request, local, &crowd).await }
    })
    .await
}

/// The same decisions as the proxy's; there is nothing here that a page of another origin may have.
fn guard(request: &Request<Incoming>, local: Option<IpAddr>, allowed_hosts: &[String]) -> Result<(), Denied> {
    let host = host::check(request.headers(), request.uri().authority(), local, allowed_hosts)?;
    origin::check(request.headers(), "http", host.as_bytes(), &[])
}

fn refuse(denied: &Denied) -> Answer {
    // No setting lets a page in, so none is named.
    let hint = match denied.status() {
        StatusCode::FORBIDDEN => {
            "Type the address into the address bar of a browser, or ask with another program.".to_owned()
        }
        _ => denied.hint(),
    };
    explained(denied.status(), denied.code(), &denied.to_string(), &hint)
}

impl Watched {
    async fn answer(&self, request: Request<Incoming>, local: Option<IpAddr>, crowd: &Crowd) -> Answer {
        let guarded = self.health.with_allowed_hosts(|hosts| guard(&request, local, hosts));
        if let Err(denied) = guarded {
            return once(refuse(&denied));
        }
        let seen = self.may_see(&request, local);
        if let Some(inspector) = self.inspector.as_ref().filter(|_| inspector::is_for(request.uri().path())) {
            return match seen {
                Ok(()) => inspector.answer(request, local, crowd).await,
                Err(refusal) => once(refused(&refusal)),
            };
        }
        once(self.watch(&request, local, seen))
    }

    /// Whether this one may see more than whether all is well: who came over an address that other machines reach needs
    /// the callers' token, if there is one.
    fn may_see(&self, request: &Request<Incoming>, local: Option<IpAddr>) -> Result<(), Refusal> {
        if is_local(local) {
            return Ok(());
        }
        let Some(token) = self.health.token() else { return Ok(()) };
        CallerToken::new(token).admit(&mut request.headers().clone())
    }

    /// Health, start and end, and metrics.
    fn watch(&self, request: &Request<Incoming>, local: Option<IpAddr>, seen: Result<(), Refusal>) -> Answer {
        if let Some(answer) = lifecycle::answer(request, local, &self.health, &seen) {
            return answer;
        }
        if let (&Method::GET | &Method::HEAD, "/metrics", Some(exposer)) =
            (request.method(), request.uri().path(), &self.exposer)
        {
            return match seen {
                Ok(()) => metrics::answer(request.headers(), exposer),
                Err(refusal) => refused(&refusal),
            };
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/healthz") => {
                json(StatusCode::OK, r#"{"status":"ok"}"#.to_owned())
            }
            (&Method::GET | &Method::HEAD, "/readyz") => {
                let (status, body) = self.health.readiness();
                let bare =
                    if status.is_success() { r#"{"status":"ready"}"# } else { r#"{"status":"not ready"}"# };
                json(status, if seen.is_ok() { body } else { bare.to_owned() })
            }
            (&Method::GET | &Method::HEAD, "/metrics") => not_found("metrics = false"),
            (_, "/healthz" | "/readyz" | "/metrics") => error(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                r#"{"error":"method-not-allowed"}"#.to_owned(),
            ),
            _ => not_found("/healthz, /readyz, /startupz, /metrics, POST /quitquitquit"),
        }
    }
}

/// Whether a request came over an address that only this machine reaches.
fn is_local(local: Option<IpAddr>) -> bool {
    local.is_some_and(|address| address.to_canonical().is_loopback())
}

/// A refusal of the proxy's, as it words it. A browser asks its user for the token then.
fn refused(refusal: &Refusal) -> Answer {
    let body = String::from_utf8_lossy(&refusal.body("")).trim_end().to_owned();
    let mut answer = error(refusal.code.status(), refusal.code.as_str(), body);
    if answer.status() == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static(r#"Basic realm="countersign", charset="UTF-8""#);
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    answer
}

/// The connection ends with it: a watcher asks seldom, and would only hold a place until the next time.
fn once(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}
