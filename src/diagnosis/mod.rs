//! Why a gateway refused, in plain words, and what to do: pure. It reads what was seen of one exchange and asks nobody.
//!
//! | file | what it is |
//! |---|---|
//! | `rules` | the one table: how each refusal is told, who says it, what it means, what to do |
//! | `facts` | what is read out of an answer: its text, its type, the gateway's clock, which kind of API it is |
//! | `particulars` | what a rule adds for this exchange: names, times, what can be ruled out |
//! | `denial` | who was denied what, and the policy that would allow it |
//! | `mismatch` | the canonical request that the gateway expected, line by line against ours |
//! | `reference` | `docs/diagnosis.md`, written from the table |
//!
//! Text goes before type: one cause comes under several types, and types carry suffixes. An API's owner can reword
//! almost every answer and give it another status, so both are matched leniently, and no status is asked for where a
//! text or type is known. Sources: "Troubleshoot HTTP 403 errors from API Gateway" (re:Post), "Gateway response types"
//! (API Gateway Developer Guide), and recorded answers.

mod denial;
mod facts;
mod mismatch;
mod particulars;
mod reference;
mod rules;

#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::Value;

pub use denial::literal;
pub use reference::reference;

/// Which kind of API answered. They refuse in different words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// A REST API, which says why.
    Rest,
    /// An HTTP API, whose every refusal is `Forbidden`.
    Http,
    /// Not known: the answer's headers are asked.
    Unknown,
}

/// What the proxy adds on the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteAuth {
    /// Nothing.
    None,
    /// The API key.
    ApiKey,
    /// A signature.
    Iam,
    /// Both.
    IamAndApiKey,
}

/// What was seen of one exchange.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The answer's status.
    pub status: u16,
    /// The answer's headers, names in any case.
    pub headers: &'a [(&'a str, &'a str)],
    /// The answer's body, or its beginning.
    pub body: &'a [u8],
    /// Which kind of API it is, if that is known otherwise.
    pub api: Api,
    /// The method that was sent.
    pub method: &'a str,
    /// The path that was sent, that of the stage included.
    pub path: &'a str,
    /// What the route asks for, where that is known.
    pub route_auth: Option<RouteAuth>,
    /// Whether an API key was sent.
    pub key_sent: bool,
    /// Whether the request was signed.
    pub signed: bool,
    /// What was signed.
    pub ours: Option<Ours<'a>>,
    /// Who signed, as STS says: `arn:aws:iam::111122223333:user/ann`.
    pub identity_arn: Option<&'a str>,
    /// Seconds that were added to this machine's time before signing.
    pub clock_offset: i64,
}

/// What was signed.
#[derive(Debug, Clone, Copy)]
pub struct Ours<'a> {
    /// The canonical request. The values of secret headers may be masked.
    pub canonical_request: &'a [u8],
    /// The string to sign.
    pub string_to_sign: &'a str,
    /// The region in the credential scope.
    pub region: &'a str,
    /// The service in the credential scope.
    pub service: &'a str,
    /// The value of `x-amz-date`.
    pub date: &'a str,
    /// The access key's id, or its end.
    pub access_key_id: &'a str,
}

/// Why the gateway refused.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The rule's id, a heading of `docs/diagnosis.md`.
    pub rule: &'static str,
    /// In a few words; of a denial, with whom it is about.
    pub title: String,
    /// In plain words, with what this answer tells.
    pub why: String,
    /// What to do, the likeliest first.
    pub steps: Vec<String>,
    /// The IAM policy that would allow the request.
    pub policy: Option<Value>,
    /// The canonical request (or the string to sign) that the gateway expected, against ours. Values of headers that hold
    /// secrets are masked, whatever was given.
    pub diff: Option<Vec<Line>>,
    /// What cannot be the cause.
    pub excluded: Vec<String>,
}

/// A line of a diff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Whose it is.
    pub kind: Side,
    /// Its text.
    pub line: String,
}

/// Whose line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Both have it.
    Same,
    /// Only what we signed has it.
    Ours,
    /// Only what the gateway expected has it.
    Theirs,
}

/// What the answer means, if it is one of the gateway's known refusals. `None` for every status below 400.
#[must_use]
pub fn diagnose(seen: &Seen<'_>) -> Option<Diagnosis> {
    let facts = facts::Facts::new(seen)?;
    let rule = rules::find(&facts)?;
    let mut diagnosis = Diagnosis {
        rule: rule.id,
        title: rule.title.to_owned(),
        why: rule.why.to_owned(),
        steps: rule.steps.iter().map(|step| (*step).to_owned()).collect(),
        policy: None,
        diff: None,
        excluded: rule.excluded.iter().map(|text| (*text).to_owned()).collect(),
    };
    (rule.particulars)(&facts, &mut diagnosis);
    Some(if diagnosis.policy.is_some() { diagnosis } else { diagnosis.without_policy() })
}

impl Diagnosis {
    /// Whether it says more when [`Seen::identity_arn`] is known.
    #[must_use]
    pub fn wants_identity(&self) -> bool {
        rules::RULES.iter().any(|rule| rule.id == self.rule && rule.is_about_somebody)
    }

    /// For where no policy is shown: no step speaks of one that is.
    #[must_use]
    pub fn without_policy(mut self) -> Self {
        self.policy = None;
        for step in &mut self.steps {
            if step == rules::ATTACH {
                rules::WRITE.clone_into(step);
            }
            *step = step.replace(" (the policy below)", "");
        }
        self.steps.retain(|step| !step.contains("the policy below"));
        self
    }
}
