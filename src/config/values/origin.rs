//! The origins of web pages that may call.

use std::str::FromStr;

use schemars::{Schema, json_schema};

use super::{Written, is_host_name};
use crate::{
    callers::Origin,
    config::error::{Mistake, nearest},
};

/// An origin that may call: `http://localhost:3000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin(pub Origin);

impl FromStr for AllowedOrigin {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let wrong = || Mistake::new(format!("{text:?} is not an origin"));
        if text == "*" {
            return Err(Mistake::new("\"*\" would let every page that is open in a browser call as you")
                .fix("name each origin: \"http://localhost:3000\""));
        }
        if text.eq_ignore_ascii_case("null") {
            return Err(Mistake::new(
                "\"null\" cannot be allowed: sandboxed frames of any site, local files and redirects all look alike",
            )
            .fix("serve the page from an address, and name that: \"http://localhost:3000\""));
        }
        // Before anything is repeated in an error: what stands before the @ may be a password.
        if text.contains('@') {
            return Err(
                Mistake::new("an origin has no user or password").fix("write scheme, host and port alone")
            );
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let host = text.split('/').next().unwrap_or_default();
            return Err(wrong().fix(match host.is_empty() {
                true => "write scheme, host and port: \"http://localhost:3000\"".to_owned(),
                false => format!("write its scheme as well: \"http://{host}\""),
            }));
        };
        let instead = match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => None,
            "ws" => Some("http".to_owned()),
            "wss" => Some("https".to_owned()),
            "file" | "data" | "blob" | "about" | "javascript" => {
                return Err(wrong().fix(format!(
                    "pages of {scheme}: have the origin \"null\", all alike; serve the page from an address"
                )));
            }
            other => nearest(other, ["http", "https"].into_iter()),
        };
        if let Some(instead) = instead {
            return Err(wrong().fix(format!("write \"{instead}://{rest}\": it is the page's own scheme")));
        }
        if rest.contains('*') {
            return Err(wrong().fix("name each origin: there are no patterns here"));
        }
        if let Some(at) = rest.find(['/', '?', '#']) {
            return Err(wrong().fix(format!("leave out the path: \"{scheme}://{}\"", &rest[..at])));
        }
        if !rest.is_ascii() {
            return Err(wrong().fix("write the name's xn-- form, as browsers send it"));
        }
        let host = match rest.strip_prefix('[') {
            Some(_) => None,
            None => rest.split(':').next(),
        };
        match Origin::parse(text) {
            Some(origin) if host.is_none_or(is_host_name) => Ok(Self(origin)),
            _ => Err(wrong().fix("write scheme, host and port: \"http://localhost:3000\"")),
        }
    }
}

impl Written for AllowedOrigin {
    const EXPECTED: &'static str = "an origin such as \"http://localhost:3000\"";

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9+.-]*://[^/?#@*]+$" })
    }
}

#[cfg(test)]
mod tests {
    use super::AllowedOrigin;

    #[test]
    fn what_is_taken() {
        for (text, held) in [
            ("http://localhost:3000", "http://localhost:3000"),
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
            ("tauri://localhost", "tauri://localhost"),
        ] {
            let origin: AllowedOrigin = text.parse().unwrap_or_else(|mistake| panic!("{text}: {mistake}"));
            assert_eq!(origin.0.to_string(), held, "{text}");
        }
    }

    #[test]
    fn what_is_refused_and_why() {
        for (text, part) in [
            ("*", "every page"),
            ("null", "alike"),
            ("NULL", "alike"),
            ("", "scheme, host and port"),
            ("localhost:3000", "http://localhost:3000"),
            ("localhost:3000/app", "\"http://localhost:3000\""),
            ("/app", "scheme, host and port"),
            ("http://localhost:3000/", "leave out the path: \"http://localhost:3000\""),
            ("http://localhost:3000/app", "leave out the path"),
            ("http://localhost:3000?x", "leave out the path"),
            ("http://*.example.com", "no patterns"),
            ("http://localhost:*", "no patterns"),
            ("ws://localhost:3000", "http://localhost:3000"),
            ("wss://a.example", "https://a.example"),
            ("htpp://localhost:3000", "http://localhost:3000"),
            ("file://", "null"),
            ("http://münchen.de", "xn--"),
            ("http://", "scheme, host and port"),
            ("http://localhost.", "scheme, host and port"),
            ("http://a..b", "scheme, host and port"),
            ("http://localhost:99999", "scheme, host and port"),
            ("http://localhost:", "scheme, host and port"),
            ("http://[::1", "scheme, host and port"),
            ("http://a b", "scheme, host and port"),
        ] {
            let mistake = text.parse::<AllowedOrigin>().expect_err(text);
            let told = format!("{mistake} {}", mistake.fix.as_deref().unwrap_or_default());
            assert!(told.contains(part), "{text}: {told}");
        }
        for text in ["http://user:hunter2@a.example", "user:hunter2@a.example", "ws://user:hunter2@a.example"]
        {
            let mistake = text.parse::<AllowedOrigin>().expect_err(text);
            assert!(!format!("{mistake:?}").contains("hunter2"), "{mistake:?}");
        }
    }
}
