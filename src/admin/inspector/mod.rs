//! The inspector: a page that shows what the proxy made of each request, and can have it made again.
//!
//! | path | what it is | needs |
//! |---|---|---|
//! | `/` | the page; with `?token=` it sets the cookie | token or cookie |
//! | `/assets/` | its files | nothing: they are public |
//! | `/api/` | what it shows and does, in JSON | cookie; what acts, a header of the page too |
//!
//! The guard of the whole listener comes before all of this ([`super::guard`]), and over an address that other machines
//! reach the callers' token does as well. docs/inspector.md describes the API.
//!
//! | file | what it is |
//! |---|---|
//! | `session` | the token and the cookie |
//! | `assets` | the page's files |
//! | `query` | the query of a request to the API |
//! | `exchanges` | the list, and one exchange opened |
//! | `events` | what happens, as it happens |
//! | `state` | credentials, keys, stages; the login |
//! | `act` | sent again, changed and sent, copied as a command |
//! | `send` | how a request gets into the proxy |
//! | `har` | exchanges of and for other tools |
//! | `diagnosis` | why a gateway refused |

mod act;
mod assets;
mod diagnosis;
mod events;
mod exchanges;
mod har;
mod query;
mod send;
mod session;
mod state;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

pub use session::NoRandom;

use super::{
    Health,
    answer::{Answer, explained, json, not_found, whole},
    serve::Crowd,
};
use crate::{credentials::Sources, proxy::Entry, secret::Secret, telemetry::exchange::Hub};
use query::Query;
use send::Sender;
use session::{Session, is_by_the_page};

/// Bytes of a request to the API; an imported archive is the largest, and a body to send takes a third more in base64.
const MAX_BODY: usize = 32 << 20;
/// For the whole of it.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What the inspector is to show.
pub struct Inspected {
    /// Where exchanges are found.
    pub hub: Arc<Hub>,
    /// Who knows whose the credentials are.
    pub sources: Arc<Sources>,
}

/// The proxy as it serves.
pub struct Reach {
    /// Where a request is handed in.
    pub entry: Entry,
    /// The addresses that clients connect to: `http://127.0.0.1:8080`, `unix:/path`.
    pub listen: Vec<String>,
}

/// The inspector of this run.
pub(super) struct Inspector {
    session: Session,
    address: SocketAddr,
    health: Arc<Health>,
    hub: Arc<Hub>,
    sources: Arc<Sources>,
    sender: Sender,
    reach: OnceLock<Reach>,
}

/// Whether such a path is the inspector's.
pub(super) fn is_for(path: &str) -> bool {
    path == "/" || path.starts_with("/assets/") || path == "/api" || path.starts_with("/api/")
}

impl Inspector {
    pub(super) fn new(
        address: SocketAddr,
        health: Arc<Health>,
        inspected: Inspected,
    ) -> Result<Self, NoRandom> {
        let session = Session::new(address.port())?;
        let Inspected { hub, sources } = inspected;
        Ok(Self { session, address, health, hub, sources, sender: Sender::new(), reach: OnceLock::new() })
    }

    pub(super) fn link(&self) -> Secret {
        Secret::new(format!("http://{}/?token={}", self.address, self.session.token().expose()))
    }

    pub(super) fn reaches(&self, proxy: Reach) {
        // It serves once.
        let _ = self.reach.set(proxy);
    }

    fn listen(&self) -> &[String] {
        self.reach.get().map_or(&[], |reach| &reach.listen)
    }

    /// Answers what [`is_for`] names.
    pub(super) async fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        local: Option<IpAddr>,
        crowd: &Crowd,
    ) -> Answer {
        let path = request.uri().path();
        if path == "/" {
            return self.page(&request);
        }
        if let Some(name) = path.strip_prefix("/assets/") {
            return match *request.method() {
                Method::GET | Method::HEAD => assets::asset(name).unwrap_or_else(|| not_found("/")),
                _ => wrong_method("GET"),
            };
        }
        // Before anything of a body is read, and whether there is such a path or not.
        let answer = if !self.session.is_in_cookie(request.headers()) {
            explained(
                StatusCode::UNAUTHORIZED,
                "inspector-token",
                "The inspector's data needs the cookie that its link sets.",
                "Open the link that the proxy printed when it started; `countersign inspect` prints it too.",
            )
        } else if !is_by_the_page(request.method(), request.headers()) {
            explained(
                StatusCode::FORBIDDEN,
                "inspector-header",
                "This does something, and nothing shows that the inspector's page asked for it.",
                "Send the header x-countersign-inspector: 1.",
            )
        } else {
            self.hub.want();
            self.api(request, local, crowd).await
        };
        assets::secured(answer)
    }

    /// The page itself, for whoever has the token.
    fn page(&self, request: &Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return wrong_method("GET");
        }
        let query = request.uri().query();
        if self.session.is_in_link(query) || self.session.takes_ticket(query) {
            self.hub.want();
            // To an address without it, so that the token does not stay in the address bar.
            let mut answer = assets::secured(whole(StatusCode::SEE_OTHER, "text/plain", ""));
            answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
            answer.headers_mut().insert(header::SET_COOKIE, self.session.set_cookie());
            return answer;
        }
        if self.session.is_in_cookie(request.headers()) { assets::page() } else { assets::locked() }
    }

    /// Whoever comes here has a session.
    async fn api(
        self: &Arc<Self>,
        request: Request<Incoming>,
        local: Option<IpAddr>,
        crowd: &Crowd,
    ) -> Answer {
        let (parts, body) = request.into_parts();
        let Parts { method, uri, headers, .. } = parts;
        let query = Query::of(uri.query());
        let path = uri.path().strip_prefix("/api").unwrap_or_default();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match (&method, segments.as_slice()) {
            (&Method::GET, ["exchanges"]) => self.list(&query).await,
            (&Method::DELETE, ["exchanges"]) => {
                self.hub.clear();
                json(StatusCode::OK, "{}".to_owned())
            }
            (_, ["exchanges"]) => wrong_method("GET, DELETE"),
            (&Method::GET, ["exchanges", id]) => self.detail(id).await,
            (_, ["exchanges", _]) => wrong_method("GET"),
            (&Method::GET, ["exchanges", id, "curl"]) => self.curl(id),
            (_, ["exchanges", _, "curl"]) => wrong_method("GET"),
            (&Method::POST, ["exchanges", id, "signed-curl"]) => match read(body).await {
                Ok(confirmation) => self.signed_curl(id, &confirmation).await,
                Err(refused) => refused,
            },
            (&Method::POST, ["exchanges", id, "replay"]) => match read(body).await {
                Ok(confirmation) => self.replay(id, &confirmation),
                Err(refused) => refused,
            },
            (_, ["exchanges", _, "replay" | "signed-curl"]) => wrong_method("POST"),
            (&Method::GET, ["events"]) => self.events(&headers, &query, crowd),
            (_, ["events"]) => wrong_method("GET"),
            (&Method::POST, ["send"]) => match read(body).await {
                Ok(edited) => self.send(edited),
                Err(refused) => refused,
            },
            (_, ["send"]) => wrong_method("POST"),
            (&Method::GET, ["har"]) => self.export(&query).await,
            (&Method::POST, ["har"]) => match bytes(body).await {
                Ok(archive) => self.import(&archive),
                Err(refused) => refused,
            },
            (_, ["har"]) => wrong_method("GET, POST"),
            (&Method::GET, ["state"]) => json(StatusCode::OK, self.state().to_string()),
            (_, ["state"]) => wrong_method("GET"),
            (&Method::POST, ["ticket"]) => match self.session.ticket() {
                Ok(ticket) => {
                    json(StatusCode::CREATED, serde_json::json!({ "ticket": ticket.expose() }).to_string())
                }
                Err(NoRandom) => explained(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "no-random",
                    &NoRandom.to_string(),
                    "Open the link of `countersign inspect`.",
                ),
            },
            (_, ["ticket"]) => wrong_method("POST"),
            (&Method::POST, ["login"]) => match read(body).await {
                Ok(act::OfStage { stage }) => self.log_in(&stage, local),
                Err(refused) => refused,
            },
            (_, ["login"]) => wrong_method("POST"),
            (&Method::POST, ["identity"]) => match read(body).await {
                Ok(act::OfStage { stage }) => self.identify(&stage).await,
                Err(refused) => refused,
            },
            (_, ["identity"]) => wrong_method("POST"),
            _ => no_such("The inspector's API has no such path."),
        }
    }
}

/// A body in JSON; none is read as `{}`.
async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, Answer> {
    let bytes = bytes(body).await?;
    let text = if bytes.is_empty() { b"{}" } else { &bytes[..] };
    serde_json::from_slice(text)
        .map_err(|error| bad_request(&format!("the body is not what is asked for: {error}")))
}

async fn bytes(body: Incoming) -> Result<Bytes, Answer> {
    let too_large = || {
        explained(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "The body is larger than 32 MiB, or broke off.",
            "Send less at once.",
        )
    };
    // Before it is read, where its length tells.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(explained(
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            "The body did not come in time.",
            "Send it without long pauses.",
        )),
    }
}

fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = explained(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "There is no such method here.",
        "docs/inspector.md lists what there is.",
    );
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn bad_request(what: &str) -> Answer {
    explained(StatusCode::BAD_REQUEST, "bad-request", what, "docs/inspector.md says what is asked for.")
}

fn no_such(what: &str) -> Answer {
    explained(StatusCode::NOT_FOUND, "not-found", what, "docs/inspector.md lists what there is.")
}
