//! A stage's URL, taken apart and checked.
//!
//! `https` to anywhere, `http` only to this machine (emulators). User, query and fragment have no place in it. The
//! path's bytes stay as they are written, but for a slash at the end; dot segments are refused, because what a request
//! may reach is judged by this path.

use std::{net::IpAddr, str::FromStr};

use http::uri::Authority;
use rustls::pki_types::ServerName;

use super::{
    StageUrl,
    error::Mistake,
    values::{Written, is_dot_segment, is_host_name, is_path},
};

impl FromStr for StageUrl {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let Some((scheme, rest)) = text.split_once("://") else {
            let wrong = Mistake::new(format!("{:?} is not a URL", without_user(text)));
            return Err(match text.contains('.') && !text.contains('@') {
                true => wrong.fix(format!("write \"https://{text}\"")),
                false => wrong.fix("write the stage's URL as API Gateway shows it, with https:// before it"),
            });
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => {
                return Err(Mistake::new(format!("a stage is not called by {scheme}://"))
                    .fix(format!("write \"https://{}\"", without_user(rest))));
            }
        };
        let (before_query, query) = match rest.find(['?', '#']) {
            Some(at) => (&rest[..at], Some(&rest[at..])),
            None => (rest, None),
        };
        let (authority, path) = match before_query.find('/') {
            Some(at) => before_query.split_at(at),
            None => (before_query, ""),
        };
        // Before anything is repeated in an error: what stands before the @ may be a password.
        if authority.contains('@') {
            return Err(Mistake::new("the url has a user or password in it")
                .fix("leave them out; the API key and the credentials have settings of their own"));
        }
        if query.is_some() {
            return Err(Mistake::new("the url has a query or a fragment")
                .fix(format!("write \"{scheme}://{before_query}\"; each request brings its own query")));
        }
        let (host, port) = host_and_port(authority)?;
        let path = checked_path(path)?;
        if !tls && !is_local(&host) {
            return Err(Mistake::new(format!(
                "http:// to {host} would send the API key and credentials unprotected"
            ))
            .fix(format!("write \"https://{before_query}\"; http:// is for this machine and *.localhost")));
        }
        // What no certificate can be for: 10.0.0.256, -a.example.
        if tls && ServerName::try_from(host.as_str()).is_err() {
            return Err(Mistake::new(format!("{host:?} is not a host"))
                .fix("write the name as it stands in DNS, or an address"));
        }
        let default = if tls { 443 } else { 80 };
        let port = port.unwrap_or(default);
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let authority = if port == default { bracketed } else { format!("{bracketed}:{port}") };
        let authority =
            Authority::from_str(&authority).map_err(|_| Mistake::new(format!("{host:?} is not a host")))?;
        Ok(Self { tls, authority, host, port, path })
    }
}

impl Written for StageUrl {
    const EXPECTED: &'static str =
        "a URL such as \"https://abc123.execute-api.us-west-2.amazonaws.com/prod\"";

    fn schema() -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://" })
    }
}

fn without_user(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, rest)| rest)
}

/// The lower-case name, or the address without brackets, and the port if one is written.
fn host_and_port(authority: &str) -> Result<(String, Option<u16>), Mistake> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest
                .split_once(']')
                .ok_or_else(|| Mistake::new("the url's address lacks its closing bracket"))?;
            let ip: std::net::Ipv6Addr =
                ip.parse().map_err(|_| Mistake::new(format!("{ip:?} is not an IPv6 address")))?;
            (ip.to_string(), port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            if host.is_empty() {
                return Err(Mistake::new("the url has no host"));
            }
            if !host.is_ascii() {
                return Err(Mistake::new(format!("{host:?} is not spelt in ASCII"))
                    .fix("write the name's xn-- form, as it stands in DNS"));
            }
            if !is_host_name(host) {
                return Err(Mistake::new(format!("{host:?} is not a host")));
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    match port {
        "" | ":" => Ok((host, None)),
        port => match port.strip_prefix(':').and_then(|digits| digits.parse().ok()) {
            Some(port) if port != 0 => Ok((host, Some(port))),
            _ => Err(Mistake::new(format!("{:?} is not a port", port.trim_start_matches(':')))),
        },
    }
}

fn checked_path(path: &str) -> Result<String, Mistake> {
    if path.split('/').any(is_dot_segment) {
        return Err(
            Mistake::new(format!("the url's path {path:?} has a dot segment")).fix("write the path it means")
        );
    }
    if !is_path(path) {
        return Err(Mistake::new(format!("the url's path {path:?} has characters that a URL cannot have"))
            .fix("write them percent-encoded, as %20"));
    }
    Ok(path.trim_end_matches('/').to_owned())
}

/// Whether a host is this machine whatever DNS says: a loopback address, `localhost` or below it (RFC 6761, 6.3).
pub(super) fn is_local(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken() {
        for (text, tls, authority, host, port, path) in [
            ("https://a.example.com", true, "a.example.com", "a.example.com", 443, ""),
            ("https://a.example.com/", true, "a.example.com", "a.example.com", 443, ""),
            ("HTTPS://A.Example.COM:443/Prod/", true, "a.example.com", "a.example.com", 443, "/Prod"),
            ("https://a.example.com:8443/p%2fq", true, "a.example.com:8443", "a.example.com", 8443, "/p%2fq"),
            ("http://localhost:4566/x//y", false, "localhost:4566", "localhost", 4566, "/x//y"),
            (
                "http://id.execute-api.localhost:80",
                false,
                "id.execute-api.localhost",
                "id.execute-api.localhost",
                80,
                "",
            ),
            ("http://127.9.9.9", false, "127.9.9.9", "127.9.9.9", 80, ""),
            ("http://[::1]:9/", false, "[::1]:9", "::1", 9, ""),
            ("https://[2001:DB8::1]", true, "[2001:db8::1]", "2001:db8::1", 443, ""),
        ] {
            let url: StageUrl = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            let expected = StageUrl {
                tls,
                authority: Authority::from_static(authority),
                host: host.to_owned(),
                port,
                path: path.to_owned(),
            };
            assert_eq!(url, expected, "{text}");
        }
    }

    #[test]
    fn what_is_refused_and_why() {
        for (text, part) in [
            ("runn", "not a URL"),
            ("a.example.com/prod", "https://a.example.com/prod"),
            ("ftp://a.example.com", "ftp"),
            ("http://a.example.com/prod", "https://a.example.com/prod"),
            ("http://10.0.0.1", "unprotected"),
            ("http://localhost.example.com", "unprotected"),
            ("http://notlocalhost", "unprotected"),
            ("https://", "no host"),
            ("https:///prod", "no host"),
            ("https://a..b/", "not a host"),
            ("https://a%41/", "not a host"),
            ("https://10.0.0.256/", "not a host"),
            ("https://1.2.3.4.5/", "not a host"),
            ("https://-a.example/", "not a host"),
            ("https://a-.example/", "not a host"),
            ("https://x.123/", "not a host"),
            ("https://münchen.de/", "xn--"),
            ("https://a.example.com:0/", "port"),
            ("https://a.example.com:99999/", "port"),
            ("https://a.example.com:443:1/", "port"),
            ("https://[::1/", "bracket"),
            ("https://[zz]/", "IPv6"),
            ("https://a.example.com/prod?x=1", "query"),
            ("https://a.example.com#x", "fragment"),
            ("https://a.example.com/a/../b", "dot segment"),
            ("https://a.example.com/a/%2E%2e", "dot segment"),
            ("https://a.example.com/a b", "percent-encoded"),
            ("https://a.example.com/%zz", "percent-encoded"),
            ("https://a.example.com/ü", "percent-encoded"),
        ] {
            let mistake =
                text.parse::<StageUrl>().map(|url| panic!("{text} was taken as {url:?}")).unwrap_err();
            let all = format!("{mistake:?}");
            assert!(all.contains(part), "{text}: {all}");
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        for text in [
            "https://user:hunter2@a.example.com/prod",
            "user:hunter2@a.example.com",
            "ftp://user:hunter2@a.example.com",
            "http://user:hunter2@a.example.com?x#y",
        ] {
            let mistake = text.parse::<StageUrl>().expect_err("a user in a url");
            assert!(!format!("{mistake:?} {mistake}").contains("hunter2"), "{mistake:?}");
        }
    }
}
