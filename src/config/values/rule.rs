//! What may be called: `GET|HEAD /orders/*`, a rule of `stage.allow` or `stage.deny`; the methods and paths of rules.

use std::{fmt, str::FromStr};

use http::Method;
use schemars::{Schema, json_schema};

use super::{Written, is_dot_segment, is_path};
use crate::config::{LendRule, error::Mistake};

impl FromStr for LendRule {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let text = text.trim();
        let wrong = |why: &str| Mistake::new(format!("{text:?} is not a rule: {why}"));
        let Some((methods, path)) = text.split_once(char::is_whitespace) else {
            return Err(match text.starts_with('/') {
                true => wrong("it names no method").fix(format!("write \"GET {text}\", or \"* {text}\"")),
                false if text.is_empty() => wrong("it is empty").fix("write a method and a path: \"GET /orders/*\""),
                false => wrong("it names no path").fix(
                    "write methods and a path, \"GET /orders/*\"; several methods with | between them, \"GET|HEAD /orders/*\"",
                ),
            });
        };
        let path = path.trim_start();
        if let Some(mistake) = wrong_pattern(path) {
            return Err(mistake);
        }
        let methods = methods_before(methods, path).map_err(|mistake| Mistake {
            what: format!("{text:?} is not a rule: {}", mistake.what),
            ..mistake
        })?;
        Ok(Self {
            methods: methods.into_iter().map(|MethodName(name)| name).collect(),
            path: path.to_owned(),
        })
    }
}

/// `GET|HEAD`, as it stands before a path; `*` is none, which is every one.
pub(in crate::config) fn methods_before(text: &str, path: &str) -> Result<Vec<MethodName>, Mistake> {
    if text == "*" {
        return Ok(Vec::new());
    }
    if text.contains(',') {
        let fix = format!("write \"{} {path}\"", text.replace(',', "|"));
        return Err(Mistake::new("methods stand with | between them").fix(fix));
    }
    let each = text.split('|').map(|method| match method {
        "*" => Err(Mistake::new("* is every method, so it stands alone").fix(format!("write \"* {path}\""))),
        name => name.parse(),
    });
    each.collect()
}

/// A method that can reach a stage, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodName(pub String);

impl FromStr for MethodName {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        if Method::from_bytes(text.as_bytes()).is_err() {
            return Err(Mistake::new(format!("{text:?} is not a method")).fix("write it as GET or POST"));
        }
        if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            let fix = format!("write {}", text.to_ascii_uppercase());
            return Err(Mistake::new(format!("methods are case-sensitive, and {text} is none")).fix(fix));
        }
        if matches!(text, "CONNECT" | "TRACE") {
            return Err(Mistake::new(format!("{text} is never passed on")).fix("leave it out"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Written for MethodName {
    const EXPECTED: &'static str = "a method such as \"GET\"";

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["GET", "POST"] })
    }
}

impl fmt::Display for LendRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.methods.as_slice() {
            [] => write!(f, "* {}", self.path),
            methods => write!(f, "{} {}", methods.join("|"), self.path),
        }
    }
}

impl Written for LendRule {
    const EXPECTED: &'static str = "a method and a path such as \"GET /orders/*\"";

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["GET /orders/*", "GET|HEAD /status", "* /health"] })
    }
}

/// Why a rule's path could never match.
pub(in crate::config) fn wrong_pattern(path: &str) -> Option<Mistake> {
    if !path.starts_with('/') {
        return Some(
            Mistake::new(format!("{path:?} does not start with /")).fix(format!("write \"/{path}\"")),
        );
    }
    if path.contains("//") {
        return Some(Mistake::new(format!(
            "{path:?} has an empty segment, and those are collapsed before matching"
        )));
    }
    if path.split('/').any(is_dot_segment) {
        return Some(Mistake::new(format!("{path:?} has a dot segment, and requests with one are refused")));
    }
    if !path.split('/').all(|segment| is_path(variable(segment).unwrap_or(segment))) {
        return Some(
            Mistake::new(format!("{path:?} has characters that a URL's path cannot have"))
                .fix("write the path alone, as requests write it"),
        );
    }
    None
}

/// The name in `{name}` or `{name+}`, as API Gateway's resources write a variable segment.
fn variable(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// Whether different servers read this path of an `allow` rule differently, so that nothing could ever match it under
/// every reading: see `src/proxy/readings.rs`.
pub(in crate::config) fn is_ambiguous(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let twice = lower.match_indices("%25").any(|(at, _)| {
        let rest = lower.as_bytes().get(at + 3..at + 5);
        rest.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    });
    twice || lower.contains(';') || ["%2f", "%5c", "%3b"].iter().any(|escape| lower.contains(escape))
}

#[cfg(test)]
mod tests {
    use super::is_ambiguous;
    use crate::config::LendRule;

    #[test]
    fn rules() {
        for (text, methods, path) in [
            ("GET /orders/*", &["GET"][..], "/orders/*"),
            ("* /health", &[], "/health"),
            ("  GET|HEAD \t /a/{id}/{rest+} ", &["GET", "HEAD"], "/a/{id}/{rest+}"),
            ("PROPFIND /", &["PROPFIND"], "/"),
            ("M-SEARCH /%20a", &["M-SEARCH"], "/%20a"),
        ] {
            let rule: LendRule = text.parse().unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"));
            assert_eq!(
                (rule.methods.iter().map(String::as_str).collect::<Vec<_>>(), rule.path.as_str()),
                (methods.to_vec(), path),
                "{text}"
            );
            assert_eq!(rule.to_string().parse(), Ok(rule), "{text}");
        }
        for (text, what, fix) in [
            ("", "empty", "GET /orders/*"),
            ("/orders", "no method", "\"GET /orders\""),
            ("GET", "no path", "GET|HEAD"),
            ("GET|HEAD", "no path", "GET|HEAD /orders/*"),
            ("get /orders", "case-sensitive", "GET"),
            ("Get|POST /orders", "case-sensitive", "GET"),
            ("GET,HEAD /orders", "with |", "\"GET|HEAD /orders\""),
            ("GET|* /orders", "stands alone", "\"* /orders\""),
            ("GET| /orders", "\"\" is not a method", "GET"),
            ("G@T /orders", "not a method", "GET"),
            ("TRACE /orders", "never passed on", "leave it out"),
            ("GET orders", "does not start with /", "/orders"),
            ("GET https://x/orders", "does not start with /", ""),
            ("GET /a//b", "empty segment", ""),
            ("GET /a/../b", "dot segment", ""),
            ("GET /a b", "characters", ""),
            ("GET /a?b=c", "characters", ""),
            ("GET /ü", "characters", ""),
        ] {
            let mistake = text.parse::<LendRule>().expect_err(text);
            assert!(mistake.what.contains(what), "{text}: {mistake:?}");
            assert!(mistake.fix.unwrap_or_default().contains(fix), "{text}: {fix}");
        }
    }

    #[test]
    fn ambiguous_paths() {
        for path in ["/a%2Fb", "/a%2fb", "/a%5Cb", "/a;v=1", "/a%3Bv", "/%2541", "/%252F"] {
            assert!(is_ambiguous(path), "{path}");
        }
        for path in ["/a", "/a%20b", "/100%25", "/100%25-", "/%25x1", "/a/*/{id}"] {
            assert!(!is_ambiguous(path), "{path}");
        }
    }
}
