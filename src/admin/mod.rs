//! A listener of its own for whoever watches over the proxy: `/healthz`, `/readyz`, `/startupz`, `/quitquitquit` and
//! `/metrics`.
//!
//! It runs on a thread of its own and holds up no request. `/healthz` says that the process answers, `/readyz` that a
//! request would be served, or why not; [`lifecycle`] has the start and the end; `/metrics` says what has happened so far.
//!
//! It has the same guard as the proxy, see [`crate::callers`]: `Host` must be a name of this machine, such as the address
//! that a load balancer or kubelet connects to, and no page of another site may ask. `guard.allowed_origins` lets pages
//! call stages; here it lets in nobody. Over an address that other machines reach, `/metrics` and the reasons of `/readyz`
//! need the callers' token, if there is one; whether all is well needs none.

mod health;
mod lifecycle;
mod metrics;

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

pub use health::Health;
pub use metrics::exposer;

use crate::{
    proxy::{CallerToken, Refusal},
    telemetry::metrics::Exposer,
};

use crate::callers::{Denied, host, origin};
use lifecycle::Quit;

/// Connections at a time: this is for a few watchers, not for traffic.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// For a connection from its first byte to its last. It has one request, so whoever holds connections that do nothing, or
/// reads nothing of its answer, keeps others out for no longer than this.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The admin listener at work.
pub struct Admin {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Admin {
    /// Binds and serves. Without `exposer` there is no `/metrics`.
    ///
    /// # Errors
    /// When the address cannot be bound, or the system gives no thread.
    pub fn start(address: SocketAddr, health: Arc<Health>, exposer: Option<Exposer>) -> io::Result<Self> {
        let watched = Watched { health, exposer };
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            runtime.block_on(async {
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
        Ok(Self { address, stop, thread })
    }

    /// The address as it is bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
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
}

async fn serve(listener: TcpListener, watched: Watched) -> io::Result<()> {
    let watched = Arc::new(watched);
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "the admin listener accepted nothing");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let watched = Arc::clone(&watched);
        let local = stream.local_addr().ok().map(|address| address.ip());
        tokio::spawn(async move {
            let quitting = AtomicBool::new(false);
            let answer = service_fn(|request: Request<Incoming>| {
                let response = match watched.health.with_allowed_hosts(|hosts| guard(&request, local, hosts))
                {
                    Ok(()) => answer(&request, local, &watched),
                    Err(denied) => refuse(&denied),
                };
                quitting.store(response.extensions().get::<Quit>().is_some(), Ordering::Relaxed);
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                // Says `connection: close`: a watcher asks seldom, and a kept connection would take one of a few places.
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            match tokio::time::timeout(TOTAL_TIMEOUT, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "an admin connection ended"),
                Err(_) => tracing::debug!("an admin connection took too long and is cut"),
            }
            if quitting.into_inner() {
                Quit::now(&watched.health);
            }
            drop(permit);
        });
    }
}

/// The same decisions as the proxy's; there is nothing here that a page of another origin may have.
fn guard(request: &Request<Incoming>, local: Option<IpAddr>, allowed_hosts: &[String]) -> Result<(), Denied> {
    let host = host::check(request.headers(), request.uri().authority(), local, allowed_hosts)?;
    origin::check(request.headers(), "http", host.as_bytes(), &[])
}

fn refuse(denied: &Denied) -> Response<Full<Bytes>> {
    // No setting lets a page in, so none is named.
    let hint = match denied.status() {
        StatusCode::FORBIDDEN => {
            "Type the address into the address bar of a browser, or ask with another program.".to_owned()
        }
        _ => denied.hint(),
    };
    let body = serde_json::json!({
        "error": denied.code(),
        "message": denied.to_string(),
        "hint": hint,
    });
    error(denied.status(), denied.code(), body.to_string())
}

/// Whether this one may see more than whether all is well: who came over an address that other machines reach needs the
/// callers' token, if there is one.
fn may_see<B>(request: &Request<B>, local: Option<IpAddr>, health: &Health) -> Result<(), Refusal> {
    if is_local(local) {
        return Ok(());
    }
    let Some(token) = health.token() else { return Ok(()) };
    CallerToken::new(token).admit(&mut request.headers().clone())
}

/// Whether a request came over an address that only this machine reaches.
fn is_local(local: Option<IpAddr>) -> bool {
    local.is_some_and(|address| address.to_canonical().is_loopback())
}

fn answer(request: &Request<Incoming>, local: Option<IpAddr>, watched: &Watched) -> Response<Full<Bytes>> {
    let health = &watched.health;
    if let Some(answer) = lifecycle::answer(request, local, health) {
        return answer;
    }
    let seen = may_see(request, local, health);
    if let (&Method::GET | &Method::HEAD, "/metrics", Some(exposer)) =
        (request.method(), request.uri().path(), &watched.exposer)
    {
        return match seen {
            Ok(()) => metrics::answer(request.headers(), exposer),
            Err(refusal) => lifecycle::refused(&refusal),
        };
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => json(StatusCode::OK, r#"{"status":"ok"}"#.to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => {
            let (status, body) = health.readiness();
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

fn not_found(hint: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "error": "not-found", "hint": hint });
    error(StatusCode::NOT_FOUND, "not-found", body.to_string())
}

/// With the code where the proxy has it too.
fn error(status: StatusCode, code: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = json(status, body);
    response.headers_mut().insert("x-countersign-error", HeaderValue::from_static(code));
    response
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body + "\n"));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
