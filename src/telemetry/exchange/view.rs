//! All that may be seen of an exchange, made without its secrets: what the inspector's JSON is, and what `--show` and
//! `--log-failed` print.

use std::{collections::HashSet, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{
    Body, Exchange, Headers, Secrets, Shown, body::COMPRESSED, headers::shown, signing::SigningView,
};
use crate::{config::Auth, telemetry::capture};

/// One line of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Its place among all of this run.
    pub sequence: u64,
    /// The request's id.
    pub id: String,
    /// RFC 3339, with milliseconds.
    pub began: String,
    /// As it came.
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// The stage's name.
    pub stage: Option<String>,
    /// The rule's path.
    pub route: Option<String>,
    /// `iam+api-key`
    pub auth: Option<&'static str>,
    /// 0 when the client left before there was one.
    pub status: u16,
    /// The code of the proxy's refusal.
    pub refusal: Option<&'static str>,
    /// Whose answer it is: `stage` or `proxy`.
    pub origin: &'static str,
    /// From its head to its answer's last byte.
    pub micros: u64,
    /// Bytes of the answer's body.
    pub sent_bytes: u64,
    /// Bytes of the request's body.
    pub received_bytes: u64,
    /// How often it was sent to the stage.
    pub attempts: u32,
    /// The id of the request of which it is a repetition.
    pub replay_of: Option<String>,
    /// What was found out about a failure, in a few words; whoever does fills it in.
    pub diagnosis: Option<String>,
    /// Of the answer.
    pub content_type: Option<String>,
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub struct Detail {
    /// As in the list.
    pub summary: Summary,
    /// As it came.
    pub received: ReceivedView,
    /// As it was sent, the last time.
    pub sent: Option<SentView>,
    /// What the stage answered.
    pub answer: Option<AnswerView>,
    /// Why the proxy answered instead.
    pub refusal: Option<RefusalView>,
    /// Where its time went.
    pub phases: Vec<PhaseView>,
    /// What it was signed with.
    pub credentials: Option<CredentialsView>,
    /// The gateway's own id of it.
    pub gateway_request_id: Option<String>,
    /// Whether the answer broke off.
    pub cut: bool,
    /// What was found out about a failure; whoever does fills it in.
    pub diagnosis: Option<serde_json::Value>,
}

/// What became of a field on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It came, and was not sent.
    Removed,
    /// It was sent, and had not come.
    Added,
    /// Another value was sent than came.
    Replaced,
    /// The same value was sent, its white space in another form.
    Rewritten,
}

/// A field.
#[derive(Debug, Clone, Serialize)]
pub struct FieldView {
    /// In lower case.
    pub name: String,
    /// What may be seen of it.
    pub value: Shown,
    /// Whether that is not the value itself.
    pub hidden: bool,
    /// What became of it.
    pub change: Option<Change>,
}

/// A body.
#[derive(Debug, Clone, Serialize)]
pub struct BodyView {
    /// Bytes that passed.
    pub length: u64,
    /// Bytes that are kept.
    pub kept: usize,
    /// What is kept, if it is UTF-8.
    pub text: Option<String>,
    /// What is kept otherwise.
    pub base64: Option<String>,
    /// Why nothing of it is kept, where that is not a matter of settings.
    pub why_not: Option<&'static str>,
}

/// A request as it came.
#[derive(Debug, Clone, Serialize)]
pub struct ReceivedView {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// `HTTP/1.1`
    pub version: String,
    /// Its fields.
    pub headers: Vec<FieldView>,
    /// Its body.
    pub body: BodyView,
}

/// A request as it was sent.
#[derive(Debug, Clone, Serialize)]
pub struct SentView {
    /// Its method.
    pub method: String,
    /// With path and query.
    pub url: String,
    /// Its fields.
    pub headers: Vec<FieldView>,
    /// Its body, which is the one that came.
    pub body: BodyView,
    /// How it was signed.
    pub signing: Option<SigningView>,
}

/// What the stage answered.
#[derive(Debug, Clone, Serialize)]
pub struct AnswerView {
    /// Its status.
    pub status: u16,
    /// The status in words.
    pub reason: &'static str,
    /// Its fields as they came.
    pub headers: Vec<FieldView>,
    /// Its body.
    pub body: BodyView,
}

/// Why the proxy answered.
#[derive(Debug, Clone, Serialize)]
pub struct RefusalView {
    /// `dot-segment`
    pub code: &'static str,
    /// `client`, `proxy` or `upstream`
    pub fault: &'static str,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// A phase.
#[derive(Debug, Clone, Serialize)]
pub struct PhaseView {
    /// As metrics call it.
    pub name: &'static str,
    /// How long it was.
    pub micros: u64,
}

/// What a request was signed with.
#[derive(Debug, Clone, Serialize)]
pub struct CredentialsView {
    /// `profile dev`
    pub source: String,
    /// `…WXYZ`
    pub access_key: String,
    /// RFC 3339.
    pub expires: Option<String>,
}

impl Exchange {
    /// What a list shows of it.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.summarise(&self.secrets())
    }

    fn summarise(&self, secrets: &Secrets) -> Summary {
        let route = self.route.as_deref();
        let content_type = self.answer.as_ref().and_then(|answer| answer.headers.get("content-type"));
        Summary {
            sequence: self.sequence,
            id: self.id.to_string(),
            began: humantime::format_rfc3339_millis(self.began).to_string(),
            method: secrets.cover_text(self.received.method.as_str()),
            target: secrets.cover_query(&self.received.target.0),
            stage: route.map(|route| route.stage.to_string()),
            route: route.and_then(|route| route.path.as_deref()).map(str::to_owned),
            auth: route.map(|route| name_of(route.auth)),
            status: self.status,
            refusal: self.refusal.as_ref().map(|refusal| refusal.code),
            origin: if self.answer.is_some() && self.refusal.is_none() { "stage" } else { "proxy" },
            micros: self.total.as_micros() as u64,
            sent_bytes: self.answered,
            received_bytes: self.received.body.len(),
            attempts: self.attempts,
            replay_of: self.replay_of.as_deref().map(str::to_owned),
            diagnosis: None,
            content_type: content_type.map(|value| shown("content-type", value, secrets).to_string()),
        }
    }

    /// All that may be seen of it.
    #[must_use]
    pub fn detail(&self) -> Detail {
        let secrets = &self.secrets();
        let received = &self.received;
        let sent = self.sent.as_ref();
        let summary = self.summarise(secrets);
        let received_view = ReceivedView {
            method: summary.method.clone(),
            target: summary.target.clone(),
            version: format!("{:?}", received.version),
            headers: fields(&received.headers, secrets, |name, value| {
                sent.and_then(|sent| change_of(name, value, &sent.headers, Change::Removed))
            }),
            body: body(&received.body, &received.headers, secrets),
        };
        let sent = sent.map(|sent| SentView {
            method: summary.method.clone(),
            url: format!(
                "{}{}",
                self.route.as_ref().map_or("", |route| &route.origin),
                secrets.cover_query(&sent.target.0)
            ),
            headers: fields(&sent.headers, secrets, |name, value| {
                change_of(name, value, &received.headers, Change::Added)
            }),
            body: received_view.body.clone(),
            signing: sent
                .signing
                .as_ref()
                .map(|signing| signing.view(sent.headers.get("authorization").unwrap_or_default(), secrets)),
        });
        let answer = self.answer.as_ref().map(|answer| AnswerView {
            status: answer.status.as_u16(),
            reason: answer.status.canonical_reason().unwrap_or_default(),
            headers: fields(&answer.headers, secrets, |_, _| None),
            body: body(&answer.body, &answer.headers, secrets),
        });
        Detail {
            received: received_view,
            sent,
            answer,
            refusal: self.refusal.as_ref().map(|refusal| RefusalView {
                code: refusal.code,
                fault: refusal.fault,
                message: secrets.cover_text(&refusal.message),
                hint: secrets.cover_text(&refusal.hint),
            }),
            phases: self
                .phases
                .iter()
                .map(|(phase, took)| PhaseView { name: phase.as_str(), micros: took.as_micros() as u64 })
                .collect(),
            credentials: self.credentials.as_ref().map(|credentials| CredentialsView {
                source: credentials.source.to_string(),
                access_key: format!("…{}", credentials.access_key),
                expires: credentials.expires.map(seconds),
            }),
            gateway_request_id: self.gateway_request_id.as_deref().map(|id| secrets.cover_text(id)),
            cut: self.cut,
            diagnosis: None,
            summary,
        }
    }

    /// Whether what may be seen of it holds this text: its target, its fields, its bodies as far as they are kept, or
    /// what a refusal says. Capitals make no difference in ASCII.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        let wanted = text.to_ascii_lowercase();
        let wanted = wanted.as_bytes();
        let holds = |text: &[u8]| memchr::memmem::find(&text.to_ascii_lowercase(), wanted).is_some();
        let secrets = &self.secrets();
        let heads = [
            Some(&self.received.headers),
            self.sent.as_ref().map(|sent| &sent.headers),
            self.answer.as_ref().map(|answer| &answer.headers),
        ];
        let in_heads = heads.into_iter().flatten().any(|head| {
            head.iter().any(|(name, value)| {
                holds(name.as_bytes()) || holds(shown(name, value, secrets).text().as_bytes())
            })
        });
        let targets = [Some(&self.received.target), self.sent.as_ref().map(|sent| &sent.target)];
        let answer = self.answer.as_ref().map(|answer| (&answer.body, &answer.headers));
        let bodies = [Some((&self.received.body, &self.received.headers)), answer];
        in_heads
            || targets.into_iter().flatten().any(|target| holds(secrets.cover_query(&target.0).as_bytes()))
            || bodies
                .into_iter()
                .flatten()
                .any(|(body, headers)| !is_coded(headers) && holds(&body.shown(secrets)))
            || self.refusal.as_ref().is_some_and(|refusal| {
                [refusal.code, &refusal.message, &refusal.hint]
                    .into_iter()
                    .any(|text| holds(secrets.cover_text(text).as_bytes()))
            })
            || holds(self.id.as_bytes())
    }
}

/// As it is written in the configuration.
const fn name_of(auth: Auth) -> &'static str {
    match auth {
        Auth::None => "none",
        Auth::ApiKey => "api-key",
        Auth::Iam => "iam",
        Auth::IamAndApiKey => "iam+api-key",
    }
}

fn seconds(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

fn fields(
    headers: &Headers,
    secrets: &Secrets,
    change: impl Fn(&str, &[u8]) -> Option<Change>,
) -> Vec<FieldView> {
    let view = |(name, value): (&str, &[u8])| {
        let change = change(name, value);
        let value = shown(name, value, secrets);
        FieldView { name: secrets.cover_text(name), hidden: value.is_hidden(), value, change }
    };
    headers.iter().map(view).collect()
}

/// What became of a field, by what stands in the other head; `absent` when there it is not.
fn change_of(name: &str, value: &[u8], other: &Headers, absent: Change) -> Option<Change> {
    let others: HashSet<&[u8]> =
        other.iter().filter(|(other, _)| *other == name).map(|(_, value)| value).collect();
    if others.contains(value) {
        return None;
    }
    let words = |text: &'_ [u8]| -> Vec<u8> {
        text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(&b' ')
    };
    if others.is_empty() {
        Some(absent)
    } else if others.iter().any(|other| words(other) == words(value)) {
        Some(Change::Rewritten)
    } else {
        Some(Change::Replaced)
    }
}

fn body(body: &Body, headers: &Headers, secrets: &Secrets) -> BodyView {
    let (length, kept) = (body.len(), body.kept());
    // Of a request it may be kept, to be sent again.
    if is_coded(headers) && kept > 0 {
        return BodyView { length, kept: 0, text: None, base64: None, why_not: Some(COMPRESSED) };
    }
    let why_not = body.why_not();
    let shown = body.shown(secrets);
    let (text, base64) = if kept == 0 {
        (None, None)
    } else {
        match text_of(shown, body.is_truncated()) {
            Ok(text) => (Some(text), None),
            Err(bytes) => (None, Some(STANDARD.encode(bytes))),
        }
    };
    BodyView { length, kept, text, base64, why_not }
}

/// Whether a body has a coding under which nobody finds a secret.
fn is_coded(headers: &Headers) -> bool {
    headers.get("content-encoding").is_some_and(capture::is_coded)
}

/// The text that it is. One that is cut off may end within a character, which is left out.
fn text_of(bytes: Vec<u8>, cut: bool) -> Result<String, Vec<u8>> {
    String::from_utf8(bytes).or_else(|error| {
        let problem = error.utf8_error();
        let mut bytes = error.into_bytes();
        if cut && problem.error_len().is_none() {
            bytes.truncate(problem.valid_up_to());
            return Ok(String::from_utf8(bytes).expect("it was valid up to there"));
        }
        Err(bytes)
    })
}

#[cfg(test)]
mod tests;
