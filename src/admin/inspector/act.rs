//! What a person has done with an exchange: sent again, changed and sent, copied as a command.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::timeout};

use super::{
    Inspector, bad_request, har, no_such,
    send::{NotSent, Outgoing, may_act},
};
use crate::{
    admin::answer::{Answer, explained, json as answer_json},
    curl,
    proxy::{Inside, Slot, is_probe},
    telemetry::{
        RequestId,
        exchange::{Detail, Exchange},
    },
};

/// How long a signature is waited for: a request that is only signed waits for credentials at most.
const SIGN_WAIT: Duration = Duration::from_secs(60);

/// The variable that a command takes the callers' token from.
const TOKEN_VARIABLE: &str = "COUNTERSIGN_TOKEN";

/// The answer in place of what was asked for; boxed, as it is large.
type Refused = Box<Answer>;

/// A body of `replay` and `signed-curl`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Confirmation {
    confirmed: bool,
}

/// A body of `send`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edited {
    method: String,
    target: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    body_base64: Option<String>,
    #[serde(default)]
    replay_of: Option<String>,
    #[serde(default)]
    confirmed: bool,
}

/// A body of `login` and `identity`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfStage {
    pub(super) stage: String,
}

impl Inspector {
    /// Sends an exchange's request again, as it came.
    pub(super) fn replay(&self, id: &str, confirmation: &Confirmation) -> Answer {
        let Some(exchange) = self.hub.find(id) else { return no_such("There is no such exchange.") };
        match repeated(&exchange) {
            Ok(outgoing) => self.dispatch(outgoing, Some(id.to_owned()), confirmation.confirmed),
            Err(refused) => *refused,
        }
    }

    /// Sends what a person has written, perhaps from an exchange.
    pub(super) fn send(&self, edited: Edited) -> Answer {
        let original = match &edited.replay_of {
            None => None,
            Some(id) => match self.hub.find(id) {
                Some(exchange) => Some(exchange),
                None => return no_such("The exchange that replay_of names is not there any more."),
            },
        };
        match restored(&edited, original.as_ref()) {
            Ok(outgoing) => self.dispatch(outgoing, edited.replay_of, edited.confirmed),
            Err(refused) => *refused,
        }
    }

    fn dispatch(&self, outgoing: Outgoing, replay_of: Option<String>, confirmed: bool) -> Answer {
        if may_act(&outgoing.method) && !confirmed {
            return confirm(&format!("{} may change something.", outgoing.method));
        }
        let id = RequestId::next();
        match self.hand_in(outgoing, Inside { id: id.clone(), replay_of, only_sign: None }, |_| {}) {
            Ok(()) => answer_json(StatusCode::ACCEPTED, json!({ "id": id.as_str() }).to_string()),
            Err(refused) => *refused,
        }
    }

    fn hand_in(
        &self,
        outgoing: Outgoing,
        inside: Inside,
        done: impl FnOnce(Vec<u8>) + 'static,
    ) -> Result<(), Refused> {
        if is_probe(&self.health.config(), &outgoing.method, outgoing.target.path()) {
            let what =
                "The proxy answers this path itself (health_path), and there is nothing to be seen of that.";
            return Err(bad_request(what).into());
        }
        // Where it is not known the proxy refuses the request, and says why.
        let token = self.health.token().and_then(|token| token.load().as_deref().cloned());
        let Some(reach) = self.reach.get() else {
            return Err(stopping("The proxy does not serve yet.").into());
        };
        self.sender.send(&reach.entry, outgoing, token.as_ref(), inside, done).map_err(|not| {
            Box::new(match not {
                NotSent::Malformed(what) => bad_request(&what),
                NotSent::Busy => explained(
                    StatusCode::TOO_MANY_REQUESTS,
                    "busy",
                    &not.to_string(),
                    "Wait for one of them to end.",
                ),
                NotSent::Closed(_) => stopping(&not.to_string()),
            })
        })
    }

    /// The command that sends the request once more, through the proxy: it holds no secret.
    pub(super) fn curl(&self, id: &str) -> Answer {
        let Some(exchange) = self.hub.find(id) else { return no_such("There is no such exchange.") };
        let (detail, config) = (exchange.detail(), self.health.config());
        let mut notes = Vec::new();
        let mut request = curl::Request {
            method: &detail.received.method,
            base: "http://localhost",
            target: detail.received.target.as_bytes(),
            headers: Vec::new(),
            body: exchange.received.body.exposed(),
            options: Vec::new(),
            from_variables: Vec::new(),
        };
        let listen = self.listen();
        let first = listen.first().map_or("http://localhost", String::as_str);
        match first.strip_prefix("unix:") {
            Some(path) => request.options.push(("--unix-socket", path)),
            None => request.base = first,
        }
        let own_host = request.base.split_once("://").map_or("", |(_, host)| host);
        for field in &detail.received.headers {
            let value = field.value.text();
            match field.name.as_str() {
                name if curl::is_framing(name) => {}
                "host" if value == own_host => {}
                name if field.hidden => notes.push(format!("without {name}, whose value is hidden")),
                name => request.headers.push((name, value.as_bytes())),
            }
        }
        if config.guard.token.is_some() {
            request.from_variables.push(("x-countersign-token", TOKEN_VARIABLE));
            notes.push(format!("set {TOKEN_VARIABLE} to the callers' token"));
        }
        if config.tls.is_some() && first.starts_with("https:") {
            notes.push("curl has to trust the proxy's certificate: --cacert FILE".to_owned());
        }
        let shown = detail.received.body.text.as_deref();
        if exchange.received.body.is_truncated() {
            notes.push("the body was not kept whole".to_owned());
        }
        if let Some(shown) = shown.filter(|shown| shown.as_bytes() != request.body) {
            notes.push("a secret in the body is left out".to_owned());
            request.body = shown.as_bytes();
        }
        answer_json(StatusCode::OK, json!({ "command": curl::command(&request), "notes": notes }).to_string())
    }

    /// The command that sends the request past the proxy, once: signed now, with all that this takes.
    pub(super) async fn signed_curl(&self, id: &str, confirmation: &Confirmation) -> Answer {
        let Some(exchange) = self.hub.find(id) else { return no_such("There is no such exchange.") };
        if !confirmation.confirmed {
            return confirm(
                "The command holds a signature, and the API key and session token if there are any.",
            );
        }
        let outgoing = match repeated(&exchange) {
            Ok(outgoing) => outgoing,
            Err(refused) => return *refused,
        };
        let slot = Arc::<Slot>::default();
        let inside = Inside {
            id: RequestId::next(),
            replay_of: Some(id.to_owned()),
            only_sign: Some(Arc::clone(&slot)),
        };
        let (done, ended) = oneshot::channel();
        let signed = move |answer: Vec<u8>| {
            // Who waits may have given up.
            let _ = done.send(answer);
        };
        if let Err(refused) = self.hand_in(outgoing, inside, signed) {
            return *refused;
        }
        let answer = timeout(SIGN_WAIT, ended).await;
        let Some(signed) = slot.take() else {
            // The proxy's own refusal says why.
            let refusal: Value = answer
                .ok()
                .and_then(Result::ok)
                .and_then(|answer| serde_json::from_slice(&answer).ok())
                .unwrap_or_default();
            let text = |name: &str, otherwise| refusal[name].as_str().unwrap_or(otherwise).to_owned();
            let message = text("message", "The proxy did not sign it.");
            let hint = text("hint", "Send the request, and see what it says.");
            return explained(StatusCode::CONFLICT, "not-signed", &message, &hint);
        };
        let command = signed.command(exchange.received.body.exposed());
        let notes = [
            "for one use: API Gateway takes the signature for five minutes",
            "it holds a signature, and the API key and session token if there are any: do not share it",
        ];
        answer_json(StatusCode::OK, json!({ "command": command, "notes": notes }).to_string())
    }
}

/// The request of an exchange, as it came.
fn repeated(exchange: &Exchange) -> Result<Outgoing, Refused> {
    let received = &exchange.received;
    if har::is_imported(&exchange.id) {
        return Err(Box::new(explained(
            StatusCode::CONFLICT,
            "imported",
            "It was imported: it was never sent by this proxy, and what was secret in it is gone.",
            "Edit it and send it.",
        )));
    }
    if received.body.is_truncated() {
        return Err(Box::new(explained(
            StatusCode::CONFLICT,
            "body-not-kept",
            "The request's body was not kept, or not all of it.",
            "Set inspector.bodies, and inspector.max_body to more, and have the request sent again by its client.",
        )));
    }
    let headers = received.headers.exposed();
    let fields = headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    let body = Bytes::copy_from_slice(received.body.exposed());
    Outgoing::new(received.method.as_str(), received.exposed_target(), fields, body)
        .map_err(|error| Box::new(bad_request(&error.to_string())))
}

/// What a person has written. What they left as it was shown is sent as it was: a hidden value is one they could not see.
fn restored(edited: &Edited, original: Option<&Exchange>) -> Result<Outgoing, Refused> {
    let shown = original.map(|exchange| (exchange, exchange.detail()));
    let fields: Vec<_> = edited
        .headers
        .iter()
        .map(|(name, value)| {
            let hidden =
                shown.as_ref().and_then(|(exchange, detail)| unhidden(exchange, detail, name, value));
            (name.clone(), hidden.unwrap_or_else(|| value.clone().into_bytes()))
        })
        .collect();
    let target = match &shown {
        Some((exchange, detail)) if detail.received.target == edited.target => {
            exchange.received.exposed_target()
        }
        _ => &edited.target,
    };
    let body = match (&edited.body, &edited.body_base64) {
        (Some(_), Some(_)) => return Err(Box::new(bad_request("either body or body_base64 is given"))),
        (None, None) => Bytes::new(),
        (None, Some(text)) => match STANDARD.decode(text) {
            Ok(bytes) => bytes.into(),
            Err(_) => return Err(Box::new(bad_request("body_base64 is no base64 (RFC 4648 section 4)"))),
        },
        (Some(text), None) => match &shown {
            Some((exchange, detail))
                if detail.received.body.text.as_ref() == Some(text)
                    && !exchange.received.body.is_truncated() =>
            {
                Bytes::copy_from_slice(exchange.received.body.exposed())
            }
            _ => text.clone().into_bytes().into(),
        },
    };
    Outgoing::new(&edited.method, target, fields, body)
        .map_err(|error| Box::new(bad_request(&error.to_string())))
}

/// The value that stands behind what was shown of a header.
fn unhidden(exchange: &Exchange, detail: &Detail, name: &str, value: &str) -> Option<Vec<u8>> {
    let name = name.to_ascii_lowercase();
    let headers = exchange.received.headers.exposed();
    let values = headers.get_all(&name).iter().map(HeaderValue::as_bytes);
    let fields = detail.received.headers.iter().filter(|field| field.name == name);
    let mut pairs = fields.zip(values);
    pairs.find(|(field, _)| field.hidden && field.value.text() == value).map(|(_, bytes)| bytes.to_vec())
}

fn confirm(what: &str) -> Answer {
    let body = json!({
        "error": "confirm",
        "message": what,
        "hint": "Ask the person, and send it with \"confirmed\": true.",
        "needs": "confirmed",
    });
    crate::admin::answer::error(StatusCode::CONFLICT, "confirm", body.to_string())
}

fn stopping(why: &str) -> Answer {
    explained(StatusCode::SERVICE_UNAVAILABLE, "stopping", why, "Try again in a moment.")
}
