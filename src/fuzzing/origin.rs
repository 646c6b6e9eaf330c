//! Which pages may have caused a request.

use http::{HeaderMap, HeaderValue};

use super::plain::LONGEST;
use crate::callers::{
    Denied, Origin,
    origin::{allowed, check},
};

/// `input` has four lines: the host as the client names it, the origins that are allowed with commas between them, and
/// what the request has of `Origin` and of `Sec-Fetch-Site`, several values with commas between them.
///
/// # Panics
/// When the verdict is not that of a reader who compares written origins, or when it depends on what it must not.
pub fn origin(input: &[u8]) {
    if input.len() > LONGEST {
        return;
    }
    let mut lines = input.splitn(4, |byte| *byte == b'\n');
    let mut line = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (host, listed, origins, sites) = (line(), line(), line(), line());
    let listed: Vec<Origin> = listed.split(',').filter_map(Origin::parse).collect();
    let mut headers = HeaderMap::new();
    let mut sent = |name: &'static str, all: &str| {
        let values = all.split(',').filter(|_| !all.is_empty());
        let values: Vec<_> = values.filter_map(|value| HeaderValue::from_str(value).ok()).collect();
        for value in &values {
            headers.append(name, value.clone());
        }
        values.iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>()
    };
    let (origins, sites) = (sent("origin", &origins), sent("sec-fetch-site", &sites));

    for scheme in ["http", "https"] {
        let own = format!("{scheme}://{host}");
        let passes = check(&headers, scheme, host.as_bytes(), &listed).is_ok();
        let expected = may_pass(&own, &listed, &origins, &sites);
        assert_eq!(passes, expected, "{own} {listed:?} {headers:?}");
        // Naming more pages never shuts one out, and naming none lets in only what is the proxy's own.
        if check(&headers, scheme, host.as_bytes(), &[]).is_ok() {
            assert!(passes, "{own} {listed:?} {headers:?}");
        }
    }
    // What CORS answers for is what passes by being named, and it is said back as it came.
    if let Some(named) = allowed(&headers, &listed) {
        assert_eq!(origins, [named.as_bytes()]);
        let here = check(&headers, "http", b"localhost:8080", &listed);
        assert!(matches!(here, Ok(()) | Err(Denied::BadSite(_))), "{here:?}");
    }
}

fn may_pass(own: &str, listed: &[Origin], origins: &[Vec<u8>], sites: &[Vec<u8>]) -> bool {
    let site = match sites {
        [] => "",
        [site] => match std::str::from_utf8(site) {
            Ok(site @ ("none" | "same-origin" | "same-site" | "cross-site")) => site,
            _ => return false,
        },
        _ => return false,
    };
    let from_elsewhere = site.ends_with("-site");
    match origins {
        [] => !from_elsewhere,
        [origin] if origin == b"null" => site == "same-origin",
        [origin] => {
            let Some(origin) = written(&String::from_utf8_lossy(origin)) else { return false };
            let is_listed = listed.iter().any(|one| written(&one.to_string()).as_ref() == Some(&origin));
            is_listed || (!from_elsewhere && written(own) == Some(origin))
        }
        _ => false,
    }
}

/// An origin in one spelling, for those that are one (RFC 6454 section 4 and 6.2).
fn written(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let at = text.find("://")?;
    let (scheme, rest) = (&text[..at], &text[at + 3..]);
    let good = scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !good || !scheme.starts_with(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    let digits = rest.chars().rev().take_while(char::is_ascii_digit).count();
    let (before, port) = rest.split_at(rest.len() - digits);
    let (host, port) = match before.strip_suffix(':') {
        Some(host) if !host.contains(':') || host.ends_with(']') => (host, Some(port.parse::<u16>().ok()?)),
        _ => (rest, None),
    };
    let host = match host.strip_prefix('[') {
        Some(inside) => {
            format!("{:?}", inside.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok()?.octets())
        }
        None => {
            let name = host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            (name && !host.is_empty()).then(|| host.to_owned())?
        }
    };
    let port = match (scheme, port) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => String::new(),
        (_, Some(port)) => format!(":{port}"),
    };
    Some(format!("{scheme}://{host}{port}"))
}
