//! Only what is configured is lent out: the stage's `allow`, `deny` and `read_only` are asked for the very path that is
//! forwarded. A stage without rules costs one branch.
//!
//! Refused (403) are, on a stage with rules:
//!
//! 1. what the rules do not lend: see `rules.rs`;
//! 2. a request with `X-HTTP-Method` or `X-Method-Override`. API Gateway obeys only `X-HTTP-Method-Override`, which the
//!    guard refuses everywhere; these are obeyed by frameworks that may stand behind it. A `_method` in a query or a
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
        if overrides_method(&parts.headers) {
            return Err(Refusal::because(
                Code::MethodOverride,
                "X-HTTP-Method and X-Method-Override could change the method behind the gateway, after it was checked here.",
            ));
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

/// In any spelling that a server may read as the same: some take `_` for `-`.
fn overrides_method(headers: &HeaderMap) -> bool {
    headers.keys().map(HeaderName::as_str).any(|name| {
        matches!(name.len(), 13 | 17)
            && name.starts_with('x')
            && matches!(&*name.replace('_', "-"), "x-http-method" | "x-method-override")
    })
}

#[cfg(test)]
mod tests {
    use super::overrides_method;
    use http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn other_overrides_of_the_method() {
        for (name, is) in [
            ("x-http-method", true),
            ("X-HTTP_Method", true),
            ("x_method_override", true),
            ("x-method-override", true),
            ("x-method-overrides", false),
            ("x-http-methods", false),
            ("x-methodoverride", false),
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("DELETE"))]);
            assert_eq!(overrides_method(&headers), is, "{name}");
        }
    }
}
