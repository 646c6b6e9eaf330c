//! May this caller borrow the credentials?
//!
//! A request passes when all of this holds:
//!
//! 1. Its method is not CONNECT or TRACE (405), and it carries no `X-HTTP-Method-Override`, which would change the
//!    method inside API Gateway after it was checked here (403; API Gateway Developer Guide, "important notes").
//! 2. It names exactly one host (400; RFC 9112 section 3.2), in `Host`, `:authority` or an absolute-form target.
//! 3. That host is a name of this machine: `localhost`, `*.localhost`, an address in `127.0.0.0/8`, `[::1]`, the
//!    address that the client connected to, or one of `guard.allowed_hosts` (421). A page whose own name was rebound
//!    to a loopback address (DNS rebinding) sends its own name, and so ends here.
//!
//! `localhost.`, `0.0.0.0` and IPv4-mapped addresses are refused on purpose: no honest tool needs a second spelling.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    rc::Rc,
};

use http::{HeaderMap, HeaderValue, Method, header, uri::Authority};

use super::{
    record::{Caller, Received},
    refusal::{Code, Refusal},
    stage::Shared,
    step::Step,
};

/// A request whose caller may borrow the credentials.
pub struct Guarded {
    pub(super) received: Received,
    /// The host as the client named it, to point `Location` back at.
    pub(super) local_host: HeaderValue,
}

/// The step.
#[derive(Clone)]
pub(super) struct Guard {
    shared: Rc<Shared>,
}

impl Guard {
    pub(super) fn new(shared: &Rc<Shared>) -> Self {
        Self { shared: Rc::clone(shared) }
    }
}

impl Step for Guard {
    type In = Received;
    type Out = Guarded;

    fn apply(&self, received: Received) -> Result<Guarded, Refusal> {
        let parts = &received.parts;
        if matches!(parts.method, Method::CONNECT | Method::TRACE) {
            return Err(Code::MethodNotAllowed.into());
        }
        if overrides_method(&parts.headers) {
            return Err(Code::MethodOverride.into());
        }
        let local_host = named_host(&parts.headers, parts.uri.authority())?;
        let allowed = &self.shared.config.guard.allowed_hosts;
        for host in [Some(&local_host), parts.headers.get(header::HOST)].into_iter().flatten() {
            if !is_allowed(host.as_bytes(), &received.caller, allowed) {
                return Err(refuse_host(host));
            }
        }
        Ok(Guarded { received, local_host })
    }
}

/// In any spelling that a server may read as the same: some take `_` for `-`.
pub(crate) fn overrides_method(headers: &HeaderMap) -> bool {
    const NAME: &[u8] = b"x-http-method-override";
    let same = |(a, b): (&u8, &u8)| a == b || (*a, *b) == (b'_', b'-');
    headers
        .keys()
        .map(|name| name.as_str().as_bytes())
        .any(|name| name.len() == NAME.len() && name[0] == b'x' && name.iter().zip(NAME).all(same))
}

/// The one host that the request names. An absolute-form target or `:authority` wins over `Host` (RFC 9112 section
/// 3.2.2, RFC 9113 section 8.3.1), but both are checked.
fn named_host(headers: &HeaderMap, authority: Option<&Authority>) -> Result<HeaderValue, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::because(Code::BadRequest, "The request has more than one Host header."));
    }
    match (authority, host) {
        (Some(authority), _) => Ok(HeaderValue::from_str(authority.as_str())
            .expect("an authority has only characters that a header may hold")),
        (None, Some(host)) => Ok(host.clone()),
        (None, None) => Err(Refusal::because(Code::BadRequest, "The request has no Host header.")),
    }
}

fn refuse_host(host: &HeaderValue) -> Refusal {
    let shown: String = String::from_utf8_lossy(host.as_bytes()).chars().take(100).collect();
    let name = split_port(host.as_bytes()).map_or(shown.as_str(), |name| name);
    let hint = format!(
        "Use localhost. If \"{name}\" is meant to reach this proxy (a container's host.docker.internal, say), add it \
         to guard.allowed_hosts."
    );
    Refusal::because(Code::HostNotAllowed, format!("The Host \"{shown}\" is not a name of this machine."))
        .with_hint(hint)
}

/// The host without its port; `None` for what is not `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(host: &[u8]) -> Option<&str> {
    let host = std::str::from_utf8(host).ok()?;
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, rest)) => (&host[..inside.len() + 2], rest),
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    // RFC 3986, 3.2.3: digits. The parser takes a sign before them as well.
    let is_port = |port: &str| port.starts_with(|c: char| c.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let valid = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    (valid && !name.is_empty()).then_some(name)
}

pub(crate) fn is_allowed(host: &[u8], caller: &Caller, allowed: &[String]) -> bool {
    let Some(name) = split_port(host) else { return false };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address = match name.strip_prefix('[').and_then(|inside| inside.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    match address {
        Some(IpAddr::V4(address)) if address.is_loopback() => true,
        Some(IpAddr::V6(Ipv6Addr::LOCALHOST)) => true,
        Some(address) => {
            Some(address) == caller.local || allowed.iter().any(|one| one.eq_ignore_ascii_case(name))
        }
        None => is_localhost_name(name) || allowed.iter().any(|one| one.eq_ignore_ascii_case(name)),
    }
}

/// `a.localhost`, `a.b.localhost`: names that RFC 6761 section 6.3 keeps for this machine.
fn is_localhost_name(name: &str) -> bool {
    let Some(at) = name.len().checked_sub(".localhost".len()) else { return false };
    name.is_char_boundary(at)
        && name[at..].eq_ignore_ascii_case(".localhost")
        && name[..at].split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

#[cfg(test)]
mod tests {
    use super::{Caller, is_allowed};

    #[test]
    fn hosts() {
        let allowed = ["host.docker.internal".to_owned(), "10.1.2.3".to_owned()];
        let caller = Caller { local: Some("192.168.7.7".parse().unwrap()) };
        for (host, verdict) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("abc.execute-api.localhost:4566", true),
            ("127.0.0.1", true),
            ("127.1.2.3:80", true),
            ("[::1]", true),
            ("[::1]:8080", true),
            ("[0:0:0:0:0:0:0:1]:1", true),
            ("host.docker.internal:8080", true),
            ("Host.Docker.Internal", true),
            ("192.168.7.7:8080", true),
            ("10.1.2.3", true),
            ("localhost.", false),
            ("localhost.evil.com", false),
            ("127.0.0.1.nip.io", false),
            ("127.attacker.example", false),
            ("127.1", false),
            ("0127.0.0.1", false),
            ("2130706433", false),
            ("0x7f000001", false),
            ("0.0.0.0", false),
            ("[::ffff:127.0.0.1]", false),
            ("[::]", false),
            ("::1", false),
            ("[::1", false),
            ("[::1]x", false),
            ("192.168.7.8", false),
            (".localhost", false),
            ("a..localhost", false),
            ("a b.localhost", false),
            ("evil.com#.localhost", false),
            ("evil.com/.localhost", false),
            ("user@localhost", false),
            ("localhost:80:80", false),
            ("localhost:", false),
            ("localhost:x", false),
            ("localhost:65536", false),
            ("localhost:+80", false),
            ("", false),
            (":80", false),
        ] {
            assert_eq!(is_allowed(host.as_bytes(), &caller, &allowed), verdict, "{host}");
        }
        assert!(!is_allowed(b"localhost\xff", &caller, &allowed));
    }
}
