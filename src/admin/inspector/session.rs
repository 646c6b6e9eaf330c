//! Who may see the inspector: whoever has the token of this run.
//!
//! What the inspector shows and does is worth as much as the credentials, and any page or program on this machine can
//! reach a port of it. So a token is made at each start, random and kept nowhere but in a file that is the person's own.
//! The link that carries it sets a cookie, which browsers send with requests of the inspector's own pages alone
//! (`SameSite=Strict`, RFC 6265bis section 5.6.7.1) and show to no script (`HttpOnly`). Cookies know no ports (RFC 6265
//! section 8.5): the proxy, which is on the same host, does not pass this one on; the name holds the port, so that two
//! inspectors live side by side; and what acts needs a header too that no form can send.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;

use crate::{proxy::OWN_COOKIE, secret::Secret};

/// How long a ticket waits for the browser that was started with it.
const TICKET_LIFE: Duration = Duration::from_secs(60);

/// 256 bits.
const BYTES: usize = 32;

/// A form, an image or a link cannot send a header, and a script of another origin must ask first (Fetch, "CORS-safelisted
/// request-header").
const ACTS: HeaderName = HeaderName::from_static("x-countersign-inspector");

/// The system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers for the inspector's token")]
pub struct NoRandom;

/// The token of this run.
#[derive(Debug)]
pub(super) struct Session {
    token: Secret,
    cookie: String,
    /// Of one at a time: a person opens a page, and then another.
    ticket: Mutex<Option<(Secret, Instant)>>,
}

fn random() -> Result<Secret, NoRandom> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

impl Session {
    /// A new one, for the listener at this port.
    pub(super) fn new(port: u16) -> Result<Self, NoRandom> {
        Ok(Self { token: random()?, cookie: format!("{OWN_COOKIE}{port}"), ticket: Mutex::default() })
    }

    pub(super) const fn token(&self) -> &Secret {
        &self.token
    }

    /// Whether the query of a link has the token.
    pub(super) fn is_in_link(&self, query: Option<&str>) -> bool {
        let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        pairs.any(|(name, value)| name == "token" && self.is(value.as_bytes()))
    }

    /// What opens the page once, within a minute, in the token's place: for a command line, which others may see.
    pub(super) fn ticket(&self) -> Result<Secret, NoRandom> {
        let ticket = random()?;
        *self.held() = Some((ticket.clone(), Instant::now() + TICKET_LIFE));
        Ok(ticket)
    }

    /// Whether the query of a link has the ticket, which it has no more.
    pub(super) fn takes_ticket(&self, query: Option<&str>) -> bool {
        let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let Some((_, given)) = pairs.find(|(name, _)| *name == "ticket") else { return false };
        let mut held = self.held();
        let is_it = held.as_ref().is_some_and(|(ticket, until)| {
            bool::from(given.as_bytes().ct_eq(ticket.expose().as_bytes())) && Instant::now() < *until
        });
        if is_it {
            *held = None;
        }
        is_it
    }

    fn held(&self) -> MutexGuard<'_, Option<(Secret, Instant)>> {
        self.ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a cookie has it.
    pub(super) fn is_in_cookie(&self, headers: &HeaderMap) -> bool {
        let fields = headers.get_all(header::COOKIE).iter();
        let mut cookies = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
        cookies.any(|cookie| {
            let cookie = cookie.trim_ascii();
            let value = cookie.strip_prefix(self.cookie.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            value.is_some_and(|value| self.is(value))
        })
    }

    /// What has a browser send it from here on. It ends with the browser's session, and is worth nothing after this run.
    pub(super) fn set_cookie(&self) -> HeaderValue {
        let text = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie, self.token.expose());
        let mut value = HeaderValue::from_str(&text).expect("base64 and a number are visible ASCII");
        value.set_sensitive(true);
        value
    }

    /// As long for what is nearly right as for what is wrong from the start.
    fn is(&self, given: &[u8]) -> bool {
        given.ct_eq(self.token.expose().as_bytes()).into()
    }
}

/// Whether the page itself sent this, where it does more than to look.
pub(super) fn is_by_the_page(method: &Method, headers: &HeaderMap) -> bool {
    matches!(*method, Method::GET | Method::HEAD) || headers.get(ACTS).is_some_and(|value| value == "1")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, header};

    use super::{Session, is_by_the_page};

    #[test]
    fn every_run_has_another_token() {
        let tokens: Vec<_> = (0..8).map(|_| Session::new(1).unwrap().token.expose().to_owned()).collect();
        for (at, token) in tokens.iter().enumerate() {
            assert_eq!(token.len(), 43);
            assert!(!tokens[..at].contains(token));
        }
    }

    #[test]
    fn the_whole_token_and_nothing_else_passes() {
        let session = Session::new(8081).unwrap();
        let token = session.token.expose().to_owned();
        let short = &token[..42];
        let upper = token.to_uppercase();
        for (query, passes) in [
            (format!("token={token}"), true),
            (format!("a=b&token={token}"), true),
            (format!("token=x&token={token}"), true),
            (format!("token={short}"), false),
            (format!("token={token}x"), false),
            (format!("token={upper}"), upper == token),
            (format!("Token={token}"), false),
            (token.clone(), false),
            ("token=".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(session.is_in_link(Some(&query)), passes, "{query}");
        }
        assert!(!session.is_in_link(None));
        for (cookie, passes) in [
            (format!("countersign-inspector-8081={token}"), true),
            (format!("a=b; countersign-inspector-8081={token};c=d"), true),
            (format!("countersign-inspector-8081=x; countersign-inspector-8081={token}"), true),
            (format!("countersign-inspector-8082={token}"), false),
            (format!("countersign-inspector-80811={token}"), false),
            (format!("xcountersign-inspector-8081={token}"), false),
            (format!("countersign-inspector-8081={short}"), false),
            ("countersign-inspector-8081=".to_owned(), false),
            ("countersign-inspector-8081".to_owned(), false),
        ] {
            let value = HeaderValue::from_str(&cookie).unwrap();
            let headers = HeaderMap::from_iter([(header::COOKIE, value)]);
            assert_eq!(session.is_in_cookie(&headers), passes, "{cookie}");
        }
        assert!(!session.is_in_cookie(&HeaderMap::new()));
    }

    #[test]
    fn a_ticket_opens_once_and_a_newer_one_takes_its_place() {
        let session = Session::new(1).unwrap();
        let query = |ticket: &crate::secret::Secret| format!("ticket={}", ticket.expose());
        assert!(!session.takes_ticket(Some("ticket=")) && !session.takes_ticket(None));
        let (first, second) = (session.ticket().unwrap(), session.ticket().unwrap());
        assert_ne!(first.expose(), session.token.expose());
        assert!(!session.takes_ticket(Some(&query(&first))), "there is a newer one");
        assert!(!session.takes_ticket(Some("ticket=x")) && !session.is_in_link(Some(&query(&second))));
        assert!(session.takes_ticket(Some(&query(&second))));
        assert!(!session.takes_ticket(Some(&query(&second))), "once");
        let late = session.ticket().unwrap();
        if let Some((_, until)) = &mut *session.held() {
            *until = std::time::Instant::now();
        }
        assert!(!session.takes_ticket(Some(&query(&late))));
        assert!(!format!("{session:?}").contains(late.expose()));
    }

    #[test]
    fn debug_shows_no_token() {
        let session = Session::new(1).unwrap();
        assert!(!format!("{session:?} {:?}", session.set_cookie()).contains(session.token.expose()));
    }

    #[test]
    fn what_acts_needs_the_header() {
        let none = HeaderMap::new();
        let mut with = HeaderMap::new();
        with.insert("x-countersign-inspector", HeaderValue::from_static("1"));
        assert!(is_by_the_page(&Method::GET, &none));
        assert!(!is_by_the_page(&Method::POST, &none) && !is_by_the_page(&Method::DELETE, &none));
        assert!(is_by_the_page(&Method::POST, &with));
    }
}
