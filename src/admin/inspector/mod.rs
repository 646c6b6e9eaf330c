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
//! | `curl` | a request as a command |

mod assets;
mod curl;
mod session;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;

pub use session::NoRandom;

use super::{
    Health,
    answer::{Answer, explained, not_found, whole},
    serve::Crowd,
};
use crate::{proxy::Entry, secret::Secret};
use session::{Session, is_by_the_page};

/// What the inspector is to show.
pub struct Inspected {}

/// The proxy as it serves.
pub struct Reach {
    /// Where a request is handed in.
    pub entry: Entry,
    /// The addresses that clients connect to.
    pub listen: Vec<String>,
}

/// The inspector of this run.
pub(super) struct Inspector {
    session: Session,
    address: SocketAddr,
    reach: OnceLock<Reach>,
}

/// Whether such a path is the inspector's.
pub(super) fn is_for(path: &str) -> bool {
    path == "/" || path.starts_with("/assets/") || path == "/api" || path.starts_with("/api/")
}

impl Inspector {
    pub(super) fn new(
        address: SocketAddr,
        _health: Arc<Health>,
        _inspected: Inspected,
    ) -> Result<Self, NoRandom> {
        Ok(Self { session: Session::new(address.port())?, address, reach: OnceLock::new() })
    }

    pub(super) fn link(&self) -> Secret {
        Secret::new(format!("http://{}/?token={}", self.address, self.session.token().expose()))
    }

    pub(super) fn reaches(&self, proxy: Reach) {
        let _ = self.reach.set(proxy);
    }

    pub(super) async fn answer(&self, request: Request<Incoming>, _crowd: &Crowd) -> Answer {
        let path = request.uri().path();
        if path == "/" {
            return self.page(&request);
        }
        if let Some(name) = path.strip_prefix("/assets/") {
            return match *request.method() {
                Method::GET | Method::HEAD => assets::asset(name).unwrap_or_else(|| not_found("/")),
                _ => wrong_method(),
            };
        }
        if !self.session.is_in_cookie(request.headers()) {
            return assets::secured(explained(
                StatusCode::UNAUTHORIZED,
                "inspector-token",
                "The inspector's data needs the cookie that its link sets.",
                "Open the link that the proxy printed when it started.",
            ));
        }
        if !is_by_the_page(request.method(), request.headers()) {
            return assets::secured(explained(
                StatusCode::FORBIDDEN,
                "inspector-header",
                "This does something, and nothing shows that the inspector's page asked for it.",
                "Send the header x-countersign-inspector: 1.",
            ));
        }
        assets::secured(not_found("/api/"))
    }

    /// The page itself, for whoever has the token.
    fn page(&self, request: &Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return wrong_method();
        }
        if self.session.is_in_link(request.uri().query()) {
            // To an address without it, so that the token does not stay in the address bar.
            let mut answer = assets::secured(whole(StatusCode::SEE_OTHER, "text/plain", ""));
            answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
            answer.headers_mut().insert(header::SET_COOKIE, self.session.set_cookie());
            return answer;
        }
        if self.session.is_in_cookie(request.headers()) { assets::page() } else { assets::locked() }
    }
}

fn wrong_method() -> Answer {
    explained(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "There is no such method here.",
        "See docs/inspector.md.",
    )
}
