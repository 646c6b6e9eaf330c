//! `Set-Cookie` of a stage, so that a browser keeps it for the proxy: a cookie for `abc123.execute-api…` under `/prod`
//! means nothing to a page on `http://localhost:8080`.
//!
//! | attribute | becomes | why |
//! |---|---|---|
//! | `Domain` of the stage's host, or a parent of it | nothing | it must match the host that answers (RFC 6265 section 5.3) |
//! | `Path` below the stage's path | the same below the mount | `/prod/a` is `/orders/a` here |
//! | `Path` above the stage's path | the mount | what is for the whole stage is not for another stage beside it |
//! | `Secure` | nothing | the local side is plain HTTP; with `tls` it stays, and the next two with it |
//! | `SameSite=None` | `SameSite=Lax` | `None` asks for `Secure`; other ports of `localhost` are the same site |
//! | `Partitioned` | nothing | it asks for `Secure` as well |
//!
//! Chrome and Firefox would keep a `Secure` cookie on `http://localhost`, but not on another name; Safari, curl and
//! HTTP libraries would not anywhere. So it goes, except where the cookie could not live without it:
//!
//! 1. names that begin with `__Secure-` or `__Http-` promise it: they stay for the browsers that allow it. `__Host-`
//!    promises `Path=/` and no `Domain` as well, so such a cookie is let be altogether;
//! 2. a page of another site than the proxy (`Sec-Fetch-Site: cross-site`, so an allowed origin) gets its cookies back
//!    only with `SameSite=None; Secure`.
//!
//! Names and values stay byte for byte, as do attributes that are none of these, and cookies for other hosts.

use http::{HeaderMap, HeaderValue, header};

/// What a stage's cookies are rewritten from and to.
pub(super) struct Places<'a> {
    /// The stage's host, lower case, without a port.
    pub(super) host: &'a str,
    /// `""` or `/prod`.
    pub(super) path: &'a str,
    /// `/`, or `/orders` without a slash at its end.
    pub(super) mount: &'a str,
    /// `Secure` is left as it is: the local side is TLS, or the answer goes to a page of another site.
    pub(super) keeps_secure: bool,
}

/// Rewrites each `Set-Cookie` for which there is something to do.
pub(super) fn bring_home(headers: &mut HeaderMap, places: &Places<'_>) {
    // First, because asking for an entry makes room for one.
    if !headers.contains_key(header::SET_COOKIE) {
        return;
    }
    let header::Entry::Occupied(mut cookies) = headers.entry(header::SET_COOKIE) else { return };
    for value in cookies.iter_mut() {
        if let Some(rewritten) = rewritten(value.as_bytes(), places) {
            *value = HeaderValue::from_bytes(&rewritten).expect("parts of valid values are a valid value");
        }
    }
}

/// The cookie as it is sent here, if that differs.
fn rewritten(cookie: &[u8], places: &Places<'_>) -> Option<Vec<u8>> {
    let mut parts = cookie.split(|byte| *byte == b';');
    let pair = parts.next().unwrap_or_default();
    let starts = |prefix: &[u8]| {
        pair.trim_ascii_start().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if starts(b"__Host-") {
        return None;
    }
    let keeps_secure = places.keeps_secure || starts(b"__Secure-") || starts(b"__Http-");
    let mut out = pair.to_vec();
    let mut changed = false;
    for part in parts {
        let (name, value) = match part.iter().position(|byte| *byte == b'=') {
            Some(at) => (part[..at].trim_ascii(), part[at + 1..].trim_ascii()),
            None => (part.trim_ascii(), &b""[..]),
        };
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let instead = if is(b"domain") {
            is_for(value, places.host).then(Vec::new)
        } else if is(b"path") {
            here(value, places).filter(|path| path != value).map(|path| [b"; Path=", &*path].concat())
        } else if keeps_secure {
            None
        } else if is(b"secure") || is(b"partitioned") {
            Some(Vec::new())
        } else if is(b"samesite") && value.eq_ignore_ascii_case(b"none") {
            Some(b"; SameSite=Lax".to_vec())
        } else {
            None
        };
        match instead {
            Some(text) => {
                changed = true;
                out.extend(text);
            }
            None => {
                out.push(b';');
                out.extend(part);
            }
        }
    }
    changed.then_some(out)
}

/// Whether a cookie with this `Domain` is one that this host may set (RFC 6265 section 5.1.3).
fn is_for(domain: &[u8], host: &str) -> bool {
    let Ok(domain) = std::str::from_utf8(domain) else { return false };
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let above = || !is_address && host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'));
    !domain.is_empty() && (host == domain || above())
}

/// The path that means here what this one means at the stage; `None` for one that the stage is not below or above.
fn here(path: &[u8], places: &Places<'_>) -> Option<Vec<u8>> {
    let (stage, mount) = (places.path.as_bytes(), places.mount.trim_end_matches('/').as_bytes());
    let below = |path: &[u8], above: &[u8]| -> Option<Vec<u8>> {
        let rest = path.strip_prefix(above)?;
        (rest.is_empty() || rest[0] == b'/').then(|| rest.to_vec())
    };
    let or_root = |path: Vec<u8>| if path.is_empty() { b"/".to_vec() } else { path };
    if !path.starts_with(b"/") {
        return None;
    }
    if let Some(rest) = below(path, stage) {
        // "/" below a mount would leave out the mount itself.
        let rest = if rest == b"/" && stage.is_empty() { Vec::new() } else { rest };
        return Some(or_root([mount, &*rest].concat()));
    }
    let covers = path == b"/" || below(stage, path.strip_suffix(b"/").unwrap_or(path)).is_some();
    covers.then(|| or_root(mount.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::{Places, bring_home};
    use http::{HeaderMap, HeaderValue, header};

    const PLACES: Places<'static> = Places {
        host: "abc123.execute-api.us-west-2.amazonaws.com",
        path: "/prod",
        mount: "/orders",
        keeps_secure: false,
    };

    fn sent(cookie: &str, places: &Places<'_>) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        bring_home(&mut headers, places);
        headers[header::SET_COOKIE].to_str().unwrap().to_owned()
    }

    #[test]
    fn attributes() {
        for (cookie, expected) in [
            ("a=1", "a=1"),
            ("a=1;  HttpOnly ;Max-Age=5", "a=1;  HttpOnly ;Max-Age=5"),
            (
                "a=\"x, y\"; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
                "a=\"x, y\"; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
            ),
            ("a=1; Domain=abc123.execute-api.us-west-2.amazonaws.com; HttpOnly", "a=1; HttpOnly"),
            ("a=1; domain = .Execute-API.us-west-2.amazonaws.com", "a=1"),
            ("a=1; Domain=amazonaws.com", "a=1"),
            ("a=1; Domain=zonaws.com", "a=1; Domain=zonaws.com"),
            (
                "a=1; Domain=x.abc123.execute-api.us-west-2.amazonaws.com",
                "a=1; Domain=x.abc123.execute-api.us-west-2.amazonaws.com",
            ),
            ("a=1; Domain=example.com", "a=1; Domain=example.com"),
            ("a=1; Domain=", "a=1; Domain="),
            ("a=1; Secure; HttpOnly", "a=1; HttpOnly"),
            ("a=1;secure", "a=1"),
            ("a=Secure; b=Secure", "a=Secure; b=Secure"),
            ("a=1; SameSite=None; Secure", "a=1; SameSite=Lax"),
            ("a=1; SameSite=Strict; Secure", "a=1; SameSite=Strict"),
            ("a=1; Secure; Partitioned; SameSite=none", "a=1; SameSite=Lax"),
            (
                "__Secure-a=1; Secure; SameSite=None; Path=/prod",
                "__Secure-a=1; Secure; SameSite=None; Path=/orders",
            ),
            ("__Http-a=1; Secure; HttpOnly", "__Http-a=1; Secure; HttpOnly"),
            ("__Host-a=1; Secure; Path=/", "__Host-a=1; Secure; Path=/"),
            ("__HOST-a=1; Secure; Path=/", "__HOST-a=1; Secure; Path=/"),
        ] {
            assert_eq!(sent(cookie, &PLACES), expected, "{cookie}");
        }
    }

    #[test]
    fn paths() {
        for (stage, mount, path, expected) in [
            ("/prod", "/orders", "/prod", "/orders"),
            ("/prod", "/orders", "/prod/", "/orders/"),
            ("/prod", "/orders", "/prod/a", "/orders/a"),
            ("/prod", "/orders", "/", "/orders"),
            ("/prod", "/orders", "/production", "/production"),
            ("/prod", "/orders", "/other", "/other"),
            ("/prod", "/orders", "prod", "prod"),
            ("/prod", "/", "/prod", "/"),
            ("/prod", "/", "/prod/", "/"),
            ("/prod", "/", "/prod/a", "/a"),
            ("/prod", "/", "/", "/"),
            ("/a/b", "/m", "/a", "/m"),
            ("/a/b", "/m", "/a/", "/m"),
            ("/a/b", "/m", "/a/b/c", "/m/c"),
            ("", "/m", "/", "/m"),
            ("", "/m", "/a", "/m/a"),
            ("", "/", "/a", "/a"),
        ] {
            let places = Places { host: "h.example", path: stage, mount, keeps_secure: false };
            let found = sent(&format!("a=1; Path={path}; HttpOnly"), &places);
            assert_eq!(found, format!("a=1; Path={expected}; HttpOnly"), "{stage} {mount} {path}");
        }
    }

    #[test]
    fn a_page_of_another_site_needs_what_it_was_given() {
        let places = Places { keeps_secure: true, ..PLACES };
        let cookie = "a=1; Domain=amazonaws.com; Path=/prod; Secure; SameSite=None; Partitioned";
        assert_eq!(sent(cookie, &places), "a=1; Path=/orders; Secure; SameSite=None; Partitioned");
    }

    #[test]
    fn an_address_has_no_parents() {
        let places = Places { host: "127.0.0.1", ..PLACES };
        assert_eq!(sent("a=1; Domain=127.0.0.1", &places), "a=1");
        assert_eq!(sent("a=1; Domain=0.0.1", &places), "a=1; Domain=0.0.1");
    }

    #[test]
    fn each_cookie_by_itself_and_bytes_as_they_are() {
        let mut headers = HeaderMap::new();
        for value in [&b"a=\xff; Secure"[..], b"b=2", b"c=3; Path=/prod/c"] {
            headers.append(header::SET_COOKIE, HeaderValue::from_bytes(value).unwrap());
        }
        bring_home(&mut headers, &PLACES);
        let found: Vec<_> = headers.get_all(header::SET_COOKIE).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(found, [&b"a=\xff"[..], b"b=2", b"c=3; Path=/orders/c"]);
    }
}
