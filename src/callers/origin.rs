//! Could a page of another site have caused this request?
//!
//! Such a page cannot read an answer without leave, but a signed request has its effect unread, and a GET spends the
//! credentials as a POST does. Browsers say where a request comes from in two fields that no page can set (Fetch,
//! "forbidden request-header"): `Origin` (RFC 6454 section 7; with CORS, with forms and with WebSocket handshakes) and
//! `Sec-Fetch-Site` (Fetch Metadata section 2.3; with everything, images, scripts, frames and links too).
//!
//! | `Origin` | `Sec-Fetch-Site` | what it is | verdict |
//! |---|---|---|---|
//! | none | none | curl, an SDK, a service, an installed tool | passes |
//! | none | `none` | the address bar, a bookmark, a program that opened the browser | passes |
//! | none | `same-origin` | a page that was served through the proxy | passes |
//! | none | `same-site`, `cross-site` | an image, script, frame, form or link of another page | refused |
//! | the proxy's own | none, `none`, `same-origin` | a page that was served through the proxy | passes |
//! | the proxy's own | `same-site`, `cross-site` | a contradiction | refused |
//! | in `guard.allowed_origins` | none, or any of the four | a page that the user trusts | passes |
//! | another | any | a page of another site | refused |
//! | `null` | `same-origin` | a form of a page served through the proxy that sends no referrer | passes |
//! | `null` | any other, or none | a sandboxed frame, a local file, a redirect | refused |
//! | several, or malformed | any | no browser | refused |
//! | any | several, or another value | no browser that is known | refused |
//!
//! The proxy's own origin is its scheme and the host and port that the request names; that the host is this machine's
//! was checked before. `http://localhost:3000` is another origin than `http://localhost:8080`, though the same site,
//! and `http://127.0.0.1:8080` is another than both.
//!
//! `Referer` is not looked at. It could tell of pages in browsers from before 2023 that send no `Sec-Fetch-Site`, but
//! any page can leave it out (`Referrer-Policy: no-referrer`), so it would stop the careless alone; and tools send it
//! when they replay what a browser sent.
//!
//! Origins are equal when scheme, host and port are, letters in either case, with 80 and 443 as the ports of `http` and
//! `https` where none is written (RFC 6454 section 5).

use std::{fmt, net::Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Denied, host::split_port, shown};

/// Fetch Metadata section 2.3.
pub const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A page's origin that may call: scheme and host in lower case, no default port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// Reads `scheme://host[:port]` and nothing else; `None` for what is no origin.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Parts { scheme, host, port } = Parts::of(text.as_bytes())?;
        let host = address(host).map_or_else(|| host.to_ascii_lowercase(), |address| format!("[{address}]"));
        Some(Self { scheme: scheme.to_ascii_lowercase(), host, port })
    }

    fn parts(&self) -> Parts<'_> {
        Parts { scheme: &self.scheme, host: &self.host, port: self.port }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// An origin where it stands; the port of `http` and `https` is `None` when it is the scheme's own.
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = std::str::from_utf8(text).ok()?.split_once("://")?;
        let mut letters = scheme.bytes();
        let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        let (host, port) = split_port(rest.as_bytes())?;
        let is_host = address(host).is_some()
            || host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        (is_scheme && is_host).then(|| Self::new(scheme, host, port))
    }

    fn new(scheme: &'a str, host: &'a str, port: Option<u16>) -> Self {
        let default = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => Some(80),
            _ if scheme.eq_ignore_ascii_case("https") => Some(443),
            _ => None,
        };
        Self { scheme, host, port: port.filter(|_| port != default) }
    }

    fn is(&self, other: &Parts<'_>) -> bool {
        let same_host = self.host.eq_ignore_ascii_case(other.host)
            || matches!((address(self.host), address(other.host)), (Some(one), Some(two)) if one == two);
        same_host && self.port == other.port && self.scheme.eq_ignore_ascii_case(other.scheme)
    }
}

fn address(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// What `Sec-Fetch-Site` says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Site {
    /// The field is not there.
    Unsaid,
    /// The user, no page.
    User,
    SameOrigin,
    /// `same-site` or `cross-site`.
    Other(&'static str),
}

impl Site {
    fn of(headers: &HeaderMap) -> Result<Self, Denied> {
        let mut fields = headers.get_all(SEC_FETCH_SITE).iter();
        match (fields.next().map(HeaderValue::as_bytes), fields.next()) {
            (None, _) => Ok(Self::Unsaid),
            (Some(b"none"), None) => Ok(Self::User),
            (Some(b"same-origin"), None) => Ok(Self::SameOrigin),
            (Some(b"same-site"), None) => Ok(Self::Other("same-site")),
            (Some(b"cross-site"), None) => Ok(Self::Other("cross-site")),
            (Some(_), Some(_)) => Err(Denied::BadSite("several".to_owned())),
            (Some(value), None) => Err(Denied::BadSite(shown(value))),
        }
    }
}

/// Passes what no page of another site can have caused; see the table above.
///
/// `scheme` and `host` are the proxy's own, the latter as the request names it, with its port.
///
/// # Errors
/// [`Denied`] with what the browser said.
pub fn check(headers: &HeaderMap, scheme: &str, host: &[u8], allowed: &[Origin]) -> Result<(), Denied> {
    let site = Site::of(headers)?;
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = origins.next().map(HeaderValue::as_bytes);
    if origins.next().is_some() {
        return Err(Denied::SeveralOrigins);
    }
    match (origin, site) {
        (None, Site::Other(said)) => Err(Denied::Site(said)),
        (None, Site::Unsaid | Site::User | Site::SameOrigin) => Ok(()),
        (Some(b"null"), Site::SameOrigin) => Ok(()),
        (Some(b"null"), _) => Err(Denied::NullOrigin),
        (Some(origin), site) => {
            let Some(parts) = Parts::of(origin) else { return Err(Denied::BadOrigin(shown(origin))) };
            let is_own =
                || split_port(host).is_some_and(|(name, port)| parts.is(&Parts::new(scheme, name, port)));
            match site {
                _ if is_among(&parts, allowed) => Ok(()),
                Site::Other(said) if is_own() => Err(Denied::Site(said)),
                Site::Unsaid | Site::User | Site::SameOrigin if is_own() => Ok(()),
                _ => Err(Denied::Origin(shown(origin))),
            }
        }
    }
}

/// The request's `Origin`, if it is one that is allowed to call from elsewhere.
#[must_use]
pub fn allowed<'a>(headers: &'a HeaderMap, allowed: &[Origin]) -> Option<&'a HeaderValue> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (origin, None) = (origins.next()?, origins.next()) else { return None };
    Parts::of(origin.as_bytes()).filter(|parts| is_among(parts, allowed)).map(|_| origin)
}

fn is_among(parts: &Parts<'_>, allowed: &[Origin]) -> bool {
    allowed.iter().any(|one| parts.is(&one.parts()))
}

#[cfg(test)]
mod tests {
    use super::{Denied, HeaderMap, Origin, SEC_FETCH_SITE, check, header};

    fn verdict(origin: Option<&str>, site: Option<&str>) -> Result<(), Denied> {
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        if let Some(site) = site {
            headers.insert(SEC_FETCH_SITE, site.parse().unwrap());
        }
        let allowed =
            ["http://localhost:3000", "https://app.example", "chrome-extension://abc", "http://[fd00::1]:9"]
                .map(|text| Origin::parse(text).unwrap());
        check(&headers, "http", b"localhost:8080", &allowed)
    }

    #[test]
    fn the_table_of_verdicts() {
        let own = Some("http://localhost:8080");
        let trusted = Some("http://localhost:3000");
        let other = Some("https://evil.example");
        let null = Some("null");
        for (origin, passing) in [
            (None, &[None, Some("none"), Some("same-origin")][..]),
            (own, &[None, Some("none"), Some("same-origin")]),
            (trusted, &[None, Some("none"), Some("same-origin"), Some("same-site"), Some("cross-site")]),
            (other, &[]),
            (null, &[Some("same-origin")]),
        ] {
            let sites =
                ["none", "same-origin", "same-site", "cross-site", "", "None", "same-origin ", "future"];
            for site in std::iter::once(None).chain(sites.map(Some)) {
                let found = verdict(origin, site);
                assert_eq!(found.is_ok(), passing.contains(&site), "{origin:?} {site:?} {found:?}");
            }
        }
        assert_eq!(verdict(None, Some("cross-site")), Err(Denied::Site("cross-site")));
        assert_eq!(verdict(own, Some("same-site")), Err(Denied::Site("same-site")));
        assert_eq!(verdict(null, None), Err(Denied::NullOrigin));
        assert_eq!(verdict(other, None), Err(Denied::Origin("https://evil.example".to_owned())));
    }

    #[test]
    fn which_origins_are_equal() {
        for (origin, passes) in [
            ("http://localhost:8080", true),
            ("HTTP://LocalHost:8080", true),
            ("http://LOCALHOST:3000", true),
            ("https://app.example", true),
            ("https://app.example:443", true),
            ("https://APP.example:0443", true),
            ("chrome-extension://abc", true),
            ("http://[fd00:0::1]:9", true),
            ("https://localhost:8080", false),
            ("http://localhost", false),
            ("http://localhost:80", false),
            ("http://localhost:8081", false),
            ("http://localhost:30000", false),
            ("http://localhost.:8080", false),
            ("http://a.localhost:8080", false),
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:8080", false),
            ("http://app.example", false),
            ("https://app.example:80", false),
            ("https://app.example:8443", false),
            ("https://x.app.example", false),
            ("https://app.example.evil", false),
            ("chrome-extension://abd", false),
            ("moz-extension://abc", false),
        ] {
            assert_eq!(verdict(Some(origin), None).is_ok(), passes, "{origin}");
        }
    }

    #[test]
    fn what_is_no_origin() {
        for text in [
            "",
            "localhost:8080",
            "//localhost:8080",
            "http:localhost:8080",
            "http:/localhost:8080",
            "http://",
            "http://:8080",
            "://localhost:8080",
            "1http://localhost:8080",
            "http://localhost:8080/",
            "http://localhost:8080/x",
            "http://localhost:8080?x",
            "http://localhost:8080#x",
            "http://localhost:8080\\x",
            "http://localhost:",
            "http://localhost:+8080",
            "http://localhost:80800",
            "http://user@localhost:8080",
            "http://localhost:8080 http://localhost:3000",
            "http://localhost:8080, http://localhost:3000",
            "http://localhost:8080@evil.example",
            "http://[::1",
            "http://[::g]",
            "http://*.example",
            "Null",
            "*",
        ] {
            let found = verdict(Some(text), None);
            assert!(matches!(found, Err(Denied::BadOrigin(_))), "{text:?} {found:?}");
            assert_eq!(Origin::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_schemes_port_is_none() {
        let mut headers = HeaderMap::new();
        for (host, origin, passes) in [
            ("localhost", "http://localhost", true),
            ("localhost:80", "http://localhost", true),
            ("localhost", "http://localhost:80", true),
            ("localhost", "http://localhost:8080", false),
            ("localhost:443", "http://localhost", false),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("[0:0:0::1]:8080", "http://[::1]:8080", true),
        ] {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            assert_eq!(check(&headers, "http", host.as_bytes(), &[]).is_ok(), passes, "{host} {origin}");
        }
    }

    #[test]
    fn one_of_each_at_most() {
        let mut headers = HeaderMap::new();
        for value in ["http://localhost:8080", "http://localhost:8080"] {
            headers.append(header::ORIGIN, value.parse().unwrap());
        }
        assert_eq!(check(&headers, "http", b"localhost:8080", &[]), Err(Denied::SeveralOrigins));
        let mut headers = HeaderMap::new();
        for value in ["none", "none"] {
            headers.append(SEC_FETCH_SITE, value.parse().unwrap());
        }
        assert!(matches!(check(&headers, "http", b"localhost:8080", &[]), Err(Denied::BadSite(_))));
    }

    #[test]
    fn origins_are_shown_as_browsers_send_them() {
        for (text, shown) in [
            ("HTTP://LocalHost:3000", "http://localhost:3000"),
            ("https://a.example:443", "https://a.example"),
            ("http://[FD00:0::1]", "http://[fd00::1]"),
            ("chrome-extension://abc", "chrome-extension://abc"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().to_string(), shown);
        }
    }
}
