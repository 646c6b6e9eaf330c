//! Only what is configured is lent out: the stage's `allow`, `deny` and `read_only` are asked for the very path that is
//! forwarded. A stage without rules costs one branch.
//!
//! Refused (403) are, on a stage with rules:
//!
//! 1. what the rules do not lend: see `rules.rs`;
//! 2. a request with `X-HTTP-Method`, `X-Method-Override`, `X-Original-URL` or `X-Rewrite-URL`. API Gateway obeys only `X-HTTP-Method-Override`, which the
//!    guard refuses everywhere; these are obeyed by frameworks and servers that may stand behind it (the last two name
//!    another path). A `_method` in a query or a
//!    form is the backend's own affair: it changes nothing for API Gateway or IAM, and is not looked for.

use http::{HeaderMap, HeaderName};

use super::{
    refusal::{Code, Refusal},
    route::Routed,
    step::Step,
};

/// A request that its stage lends the credentials to.
pub struct Lent(pub(super) Routed);

/// The step.
#[derive(Clone)]
pub(super) struct Lend;

impl Step for Lend {
    type In = Routed;
    type Out = Lent;

    fn apply(&self, routed: Routed) -> Result<Lent, Refusal> {
        let Some(rules) = &routed.stage.rules else { return Ok(Lent(routed)) };
        let parts = &routed.received.parts;
        if let Some(name) = overriding(&parts.headers) {
            let detail = format!(
                "{name} could change method or path behind the gateway, after they were checked here."
            );
            return Err(Refusal::because(Code::MethodOverride, detail)
                .with_hint("Send the request with the method and the path that are meant."));
        }
        let path = &parts.uri.path()[routed.below..];
        match rules.judge(&parts.method, path) {
            Ok(()) => Ok(Lent(routed)),
            Err(reason) => {
                let shown: String = path.chars().take(200).collect();
                let shown = if shown.is_empty() { "/" } else { &shown };
                let detail = format!(
                    "{} {shown} is not lent out by the stage {}: {reason}.",
                    parts.method, routed.stage.name
                );
                Err(Refusal::because(Code::NotLent, detail).with_hint(reason.hint()))
            }
        }
    }
}

/// A header that changes method or path, in any spelling that a server may read as the same: some take `_` for `-`.
fn overriding(headers: &HeaderMap) -> Option<&HeaderName> {
    headers.keys().find(|name| {
        let name = name.as_str();
        matches!(name.len(), 13 | 14 | 17)
            && name.starts_with('x')
            && matches!(
                &*name.replace('_', "-"),
                "x-http-method" | "x-method-override" | "x-original-url" | "x-rewrite-url"
            )
    })
}

#[cfg(test)]
mod tests {
    use super::overriding;
    use http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn other_overrides_of_method_and_path() {
        for (name, is) in [
            ("x-http-method", true),
            ("X-HTTP_Method", true),
            ("x_method_override", true),
            ("x-method-override", true),
            ("x-original-url", true),
            ("X_Rewrite-URL", true),
            ("x-original-uri", false),
            ("x-method-overrides", false),
            ("x-http-methods", false),
            ("x-methodoverride", false),
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("DELETE"))]);
            assert_eq!(overriding(&headers).is_some(), is, "{name}");
        }
    }
}
