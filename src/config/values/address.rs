//! Hosts, ports and sockets.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use schemars::{Schema, json_schema};

use super::Written;
use crate::config::{Listen, error::Mistake};

fn socket(text: &str) -> Result<SocketAddr, Mistake> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = Mistake::new(format!("{text:?} is not an address and a port"));
    if let Some((host, port)) = text.rsplit_once(':')
        && let Ok(port) = port.parse::<u16>()
    {
        return match host.parse::<IpAddr>() {
            _ if host.eq_ignore_ascii_case("localhost") => Ok((Ipv4Addr::LOCALHOST, port).into()),
            Ok(ip) => Err(wrong.fix(format!("write \"{}\"", SocketAddr::new(ip, port)))),
            Err(_) => Err(wrong.fix(format!("write an IP address: \"127.0.0.1:{port}\""))),
        };
    }
    let port = text.parse::<u16>().unwrap_or(8080);
    Err(wrong.fix(format!("write \"127.0.0.1:{port}\" or \"[::1]:{port}\"")))
}

/// The longest path that fits `sockaddr_un` on Linux, without the zero at its end.
const LONGEST_SOCKET_PATH: usize = 107;

impl FromStr for Listen {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let Some(path) = text.strip_prefix("unix:") else {
            if text.starts_with('/') {
                return Err(Mistake::new(format!("{text:?} is a path")).fix(format!("write \"unix:{text}\"")));
            }
            return socket(text).map(Self::Tcp);
        };
        if !Path::new(path).is_absolute() {
            return Err(Mistake::new(format!("the socket's path {path:?} is not absolute"))
                .fix("write \"unix:/run/user/1000/countersign.sock\""));
        }
        if path.len() > LONGEST_SOCKET_PATH || path.contains('\0') {
            return Err(Mistake::new(format!(
                "the socket's path has {} bytes; a Unix socket takes {LONGEST_SOCKET_PATH}",
                path.len()
            )));
        }
        Ok(Self::Unix(PathBuf::from(path)))
    }
}

impl Written for Listen {
    const EXPECTED: &'static str = "an address such as \"127.0.0.1:8080\"";
}

/// The mode of a Unix socket's file, written as `chmod` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketMode(pub u32);

impl FromStr for SocketMode {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let octal = (3..=4).contains(&text.len()).then(|| u32::from_str_radix(text, 8).ok()).flatten();
        match octal {
            // Without both the owner, this program's own user, could not connect.
            Some(mode) if mode <= 0o777 && mode & 0o600 == 0o600 => Ok(Self(mode)),
            _ => Err(Mistake::new(format!("{text:?} is not a socket's mode")).fix(
                "write \"0600\" (the owner alone), \"0660\" (the group as well) or \"0666\" (every user)",
            )),
        }
    }
}

impl Written for SocketMode {
    const EXPECTED: &'static str = "a mode such as \"0600\", in quotes";
}

/// A user's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uid(pub u32);

impl FromStr for Uid {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        text.parse().map(Self).map_err(|_| {
            Mistake::new(format!("{text:?} is not a user's number")).fix("`id -u NAME` prints it")
        })
    }
}

impl Written for Uid {
    const EXPECTED: &'static str = "a user's number";

    fn from_integer(n: i64) -> Result<Self, Mistake> {
        n.to_string().parse()
    }

    fn from_text(text: &str) -> Result<Self, Mistake> {
        let mistake = Mistake::new(format!("expected {}, found the string {text:?}", Self::EXPECTED));
        Err(match text.parse::<Self>() {
            Ok(_) => mistake.fix(format!("write {text} without quotes")),
            Err(_) => mistake.fix("`id -u NAME` prints it"),
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 0 })
    }
}

/// Where health is served; `None` is `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin(pub Option<SocketAddr>);

impl FromStr for Admin {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        match text {
            "off" => Ok(Self(None)),
            text => socket(text).map(|address| Self(Some(address))),
        }
    }
}

impl Written for Admin {
    const EXPECTED: &'static str = "an address such as \"127.0.0.1:8081\", or \"off\"";
}

/// A name that is accepted in `Host`: lower case, without a port, an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost(pub String);

impl FromStr for AllowedHost {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let wrong = || Mistake::new(format!("{text:?} is not a host name"));
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(IpAddr::V6(ip)) = bare.parse() {
            return Ok(Self(format!("[{ip}]")));
        }
        if let Some((name, _)) = text.split_once("://").map_or(text, |(_, rest)| rest).split_once([':', '/'])
        {
            return Err(wrong().fix(format!("write the name alone: {name:?}")));
        }
        if text.contains('*') {
            return Err(wrong().fix("name each host: there are no patterns here"));
        }
        if !is_host_name(text) {
            return Err(wrong().fix("write a name as it stands in a URL, such as \"devbox.example.com\""));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl Written for AllowedHost {
    const EXPECTED: &'static str = "a host name";
}

/// Letters, digits, `-`, `_` and dots between labels: what a URL's host may be without escapes.
pub(in crate::config) fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

/// A host and a port to dial. An IPv6 address is held without brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort(pub String, pub u16);

impl FromStr for HostPort {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let wrong = || Mistake::new(format!("{text:?} is not a host and a port"));
        let (host, port) =
            text.rsplit_once(':').ok_or_else(|| wrong().fix(format!("write \"{text}:443\"")))?;
        let port = port.parse().ok().filter(|&port: &u16| port != 0).ok_or_else(|| {
            wrong().fix(
                "write host and port alone, such as \"vpce-1.execute-api.us-west-2.vpce.amazonaws.com:443\"",
            )
        })?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(ip) => ip.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?.to_string(),
            None if is_host_name(host) => host.to_ascii_lowercase(),
            None => return Err(wrong().fix("write it like \"example.com:443\" or \"[::1]:443\"")),
        };
        Ok(Self(host, port))
    }
}

impl Written for HostPort {
    const EXPECTED: &'static str = "a host and a port such as \"example.com:443\"";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_path_that_just_fits() {
        let path = |length: usize| format!("unix:/{}", "x".repeat(length - 1));
        assert!(path(LONGEST_SOCKET_PATH).parse::<Listen>().is_ok());
        assert!(path(LONGEST_SOCKET_PATH + 1).parse::<Listen>().is_err());
    }

    #[test]
    fn hosts_are_held_as_a_host_header_names_them() {
        for (text, held) in [
            ("DevBox", "devbox"),
            ("10.0.0.1", "10.0.0.1"),
            ("FD00::1", "[fd00::1]"),
            ("[fd00::1]", "[fd00::1]"),
        ] {
            assert_eq!(text.parse(), Ok(AllowedHost(held.to_owned())), "{text}");
        }
        for text in ["", "a b", "a:80", "http://a", "*.a", "a..b", "ü.example"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
    }
}
