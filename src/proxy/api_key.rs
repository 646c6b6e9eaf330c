//! Puts `x-api-key` in, before signing, so that it is among the signed headers.
//!
//! Refused (503) when the route needs the key and there is none.

use http::HeaderName;

use super::{
    admit::Admitted,
    body::{Body, Buffered},
    refusal::{Code, Refusal},
    sanitize::Head,
    step::Step,
};

pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A request that lacks nothing but its signature: what `attempt` takes.
pub struct Keyed {
    pub(super) head: Box<Head>,
    pub(super) body: Body,
}

/// The step.
#[derive(Clone)]
pub(super) struct PutApiKey;

impl Step for PutApiKey {
    type In = Admitted;
    type Out = Keyed;

    fn apply(&self, Admitted(Buffered { mut head, body }): Admitted) -> Result<Keyed, Refusal> {
        if head.auth.keyed() {
            let Some(source) = &head.stage.api_key else { return Err(Code::NoApiKey.into()) };
            let key = source.load();
            let Some(key) = &*key else {
                let problem = source.problem();
                let refusal = problem.map_or_else(
                    || Refusal::from(Code::NoApiKey),
                    |problem| {
                        Refusal::because(Code::NoApiKey, problem.message().to_owned())
                            .with_hint(problem.hint().to_owned())
                    },
                );
                return Err(refusal);
            };
            head.headers.insert(API_KEY, (**key).clone());
        }
        Ok(Keyed { head, body })
    }
}
