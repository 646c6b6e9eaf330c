//! Is the host that a request names a name of this machine?
//!
//! A page whose own name was made to point at a loopback address (DNS rebinding) sends its own name, which is none.
//! Names of this machine are:
//!
//! 1. `localhost` and names below it, which RFC 6761 section 6.3 keeps for this machine;
//! 2. literal addresses in `127.0.0.0/8`, and `[::1]` in whatever spelling of RFC 4291 section 2.2;
//! 3. the literal address that the client connected to, which is the `listen` address where that is one address: an
//!    address written out is looked up in no DNS that could be made to lie;
//! 4. what `guard.allowed_hosts` names.
//!
//! Letters count in either case, and the port is not looked at: behind a published port the client knows another one.
//!
//! Refused on purpose, since no honest tool needs them and each is somebody's way around a filter:
//!
//! | spelling | why |
//! |---|---|
//! | `localhost.`, `127.0.0.1.` | a second spelling, which resolvers and cookie jars take for another name |
//! | `127.0.0.1.nip.io`, `localhost.example.com`, `127.attacker.example` | names, whatever they start with |
//! | `0.0.0.0`, `[::]` | addresses to listen on, which browsers and firewalls treat unlike loopback |
//! | `[::ffff:127.0.0.1]`, `[::127.0.0.1]` | IPv4 in IPv6; only IPv6's own loopback is one |
//! | `127.1`, `0127.0.0.1`, `0x7f000001`, `2130706433` | numbers that only some parsers read as 127.0.0.1 |
//! | `[fe80::1%eth0]` | a zone means nothing to the other side (RFC 6874 section 1) |
//! | `user@localhost`, `localhost/x`, `localhost:`, `localhost:+80`, `::1` | not `host` or `host:port` of RFC 3986 |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderValue, header, uri::Authority};

use super::{Denied, shown};

/// The one host that the request names, if that and a `Host` beside it are names of this machine.
///
/// An absolute-form target or `:authority` wins over `Host` (RFC 9112 section 3.2.2, RFC 9113 section 8.3.1), but both
/// are looked at. `local` is the address that the client connected to; `allowed` is lower case and without ports.
///
/// # Errors
/// [`Denied`] when there is no host, more than one, or one that is not this machine's.
pub fn check(
    headers: &HeaderMap,
    authority: Option<&Authority>,
    local: Option<IpAddr>,
    allowed: &[String],
) -> Result<HeaderValue, Denied> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let field = hosts.next();
    if hosts.next().is_some() {
        return Err(Denied::SeveralHosts);
    }
    let named = match (authority, field) {
        (Some(authority), _) => HeaderValue::from_str(authority.as_str())
            .expect("an authority has only characters that a header may hold"),
        (None, Some(host)) => host.clone(),
        (None, None) => return Err(Denied::NoHost),
    };
    for host in [Some(&named), field.filter(|_| authority.is_some())].into_iter().flatten() {
        if !is_allowed(host.as_bytes(), local, allowed) {
            return Err(Denied::Host(shown(host.as_bytes())));
        }
    }
    Ok(named)
}

/// Whether this, with or without a port, is a name of this machine.
#[must_use]
pub fn is_allowed(host: &[u8], local: Option<IpAddr>, allowed: &[String]) -> bool {
    let Some((name, _)) = split_port(host) else { return false };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address = match name.strip_prefix('[').and_then(|inside| inside.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    let named = || allowed.iter().any(|one| one.eq_ignore_ascii_case(name));
    match address {
        Some(IpAddr::V4(address)) if address.is_loopback() => true,
        Some(IpAddr::V6(Ipv6Addr::LOCALHOST)) => true,
        // A client that connected to "every address" told nothing of its own.
        Some(address) => (Some(address) == local && !address.is_unspecified()) || named(),
        None => is_localhost_name(name) || named(),
    }
}

/// The host without its port, and the port; `None` for what is not `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(super) fn split_port(host: &[u8]) -> Option<(&str, Option<u16>)> {
    let host = std::str::from_utf8(host).ok()?;
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, rest)) => (&host[..inside.len() + 2], rest),
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(parse_port(digits)?),
        None if port.is_empty() => None,
        None => return None,
    };
    (!name.is_empty()).then_some((name, port))
}

/// Digits alone: the standard library would take a sign as well.
fn parse_port(digits: &str) -> Option<u16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// `a.localhost`, `a.b.localhost`.
fn is_localhost_name(name: &str) -> bool {
    let Some(at) = name.len().checked_sub(".localhost".len()) else { return false };
    name.is_char_boundary(at)
        && name[at..].eq_ignore_ascii_case(".localhost")
        && name[..at].split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// What to do about a host that is not allowed.
pub(super) fn hint(shown: &str) -> String {
    let name = split_port(shown.as_bytes()).map_or(shown, |(name, _)| name);
    let lower = name.to_ascii_lowercase();
    // What container engines and virtual machines call the machine that they run on.
    let of_a_container = ["host.", "gateway."].iter().any(|start| lower.starts_with(start));
    if of_a_container && lower.ends_with(".internal") {
        return format!(
            "From inside a container this is the machine around it. To let containers call, add \"{name}\" to \
             guard.allowed_hosts (--allowed-hosts={name}). See docs/containers.md."
        );
    }
    format!("Use localhost. If \"{name}\" is meant to reach this proxy, add it to guard.allowed_hosts.")
}

#[cfg(test)]
mod tests {
    use super::{hint, is_allowed};

    #[test]
    fn hosts() {
        let allowed = ["host.docker.internal".to_owned(), "10.1.2.3".to_owned(), "[fd00::7]".to_owned()];
        let local = Some("192.168.7.7".parse().unwrap());
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
            ("[fd00::7]:80", true),
            ("localhost.", false),
            ("localhost.:8080", false),
            ("a.localhost.", false),
            ("127.0.0.1.", false),
            ("host.docker.internal.", false),
            ("localhost.evil.com", false),
            ("127.0.0.1.nip.io", false),
            ("127-0-0-1.nip.io", false),
            ("localtest.me", false),
            ("127.attacker.example", false),
            ("127.1", false),
            ("0127.0.0.1", false),
            ("2130706433", false),
            ("0x7f000001", false),
            ("0x7f.0.0.1", false),
            ("0.0.0.0", false),
            ("0", false),
            ("[::ffff:127.0.0.1]", false),
            ("[::ffff:7f00:1]", false),
            ("[::127.0.0.1]", false),
            ("[::ffff:192.168.7.7]", false),
            ("[::]", false),
            ("[::1%lo]", false),
            ("[fe80::1%25eth0]", false),
            ("::1", false),
            ("[::1", false),
            ("[::1]x", false),
            ("[127.0.0.1]", false),
            ("[localhost]", false),
            ("192.168.7.8", false),
            (".localhost", false),
            ("a..localhost", false),
            ("a b.localhost", false),
            ("*.localhost", false),
            ("evil.com#.localhost", false),
            ("evil.com/.localhost", false),
            ("evil.com@.localhost", false),
            ("user@localhost", false),
            ("localhost@evil.com", false),
            ("localhost, evil.com", false),
            ("localhost:80:80", false),
            ("localhost:", false),
            ("localhost:x", false),
            ("localhost:+80", false),
            ("localhost:65536", false),
            ("ｌocalhost", false),
            ("", false),
            (":80", false),
        ] {
            assert_eq!(is_allowed(host.as_bytes(), local, &allowed), verdict, "{host}");
        }
        assert!(!is_allowed(b"localhost\xff", local, &allowed));
    }

    #[test]
    fn the_address_that_was_connected_to_is_one_of_this_machine() {
        for (local, host, verdict) in [
            (Some("192.168.7.7"), "192.168.7.7:8081", true),
            (Some("fd00::7"), "[fd00::7]:8081", true),
            (Some("fd00::7"), "[FD00:0::7]", true),
            (Some("192.168.7.7"), "192.168.7.8", false),
            (Some("192.168.7.7"), "192.168.7.7.nip.io", false),
            (Some("0.0.0.0"), "0.0.0.0", false),
            (Some("::"), "[::]", false),
            (Some("::"), "[0:0::0]:80", false),
            (None, "192.168.7.7", false),
        ] {
            let local = local.map(|local| local.parse().unwrap());
            assert_eq!(is_allowed(host.as_bytes(), local, &[]), verdict, "{host}");
        }
    }

    #[test]
    fn hints() {
        for (host, part) in [
            ("host.docker.internal:8080", "--allowed-hosts=host.docker.internal)"),
            ("Gateway.docker.internal", "--allowed-hosts=Gateway.docker.internal)"),
            ("host.containers.internal", "container"),
            ("evil.example:80", "Use localhost. If \"evil.example\""),
            ("host.evil.example", "Use localhost."),
        ] {
            let hint = hint(host);
            assert!(hint.contains(part) && hint.contains("guard.allowed_hosts"), "{hint}");
        }
    }
}
