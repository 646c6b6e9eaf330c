//! Asks the rules that explain a gateway's refusal about an exchange. They are shown no more of it than a person is.
//!
//! Where it matters who was refused, STS is asked whose the credentials are, once something is opened that tells of it; the
//! list waits for nobody.

use std::sync::Arc;

use serde_json::Value;

use super::Inspector;
use crate::{
    config::Auth,
    diagnosis::{self, Api, Diagnosis, Ours, RouteAuth, Seen},
    telemetry::exchange::Exchange,
};

impl Inspector {
    /// In a few words, for the list.
    pub(super) fn title(&self, exchange: &Exchange) -> Value {
        self.diagnosed(exchange, None).map_or(Value::Null, |found| found.title.into())
    }

    /// All of it; nothing where there is nothing to explain.
    pub(super) async fn diagnosis(&self, exchange: &Exchange) -> Value {
        let mut found = self.diagnosed(exchange, None);
        if found.as_ref().is_some_and(Diagnosis::wants_identity)
            && let Some(arn) = self.signer(exchange).await
        {
            found = self.diagnosed(exchange, Some(&arn));
        }
        found.map_or(Value::Null, |found| serde_json::to_value(found).expect("texts are always JSON"))
    }

    /// Who signed it, if STS says so.
    async fn signer(&self, exchange: &Exchange) -> Option<Arc<str>> {
        let stage = &*exchange.route.as_ref()?.stage;
        let key = exchange.sent.as_ref()?.signing.as_ref()?.access_key_id();
        let config = self.health.config();
        let config = config.stages.iter().find(|config| config.name == *stage)?;
        self.sources.caller(&config.credentials, &config.region, key).await
    }

    fn diagnosed(&self, exchange: &Exchange, identity_arn: Option<&str>) -> Option<Diagnosis> {
        // Who made it is not known of an archive's, and a refusal of the proxy's explains itself.
        let status = exchange.answer.as_ref()?.status.as_u16();
        if status < 400 || exchange.refusal.is_some() || exchange.route.is_none() {
            return None;
        }
        let detail = exchange.detail();
        let (answer, sent) = (detail.answer?, detail.sent?);
        let headers: Vec<_> =
            answer.headers.iter().map(|field| (field.name.as_str(), field.value.text())).collect();
        let url = sent.url.split_once("://").map_or("", |(_, after)| after);
        let path = url.find('/').map_or("/", |at| &url[at..]).split('?').next().unwrap_or("/");
        let lines = |signing: &crate::telemetry::exchange::SigningView, to_sign: bool| {
            let lines = if to_sign { &signing.string_to_sign } else { &signing.canonical_request };
            lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
        };
        let canonical = sent.signing.as_ref().map(|signing| lines(signing, false));
        let to_sign = sent.signing.as_ref().map(|signing| lines(signing, true));
        let date = sent.headers.iter().find(|field| field.name == "x-amz-date");
        let ours = match (&sent.signing, &canonical, &to_sign) {
            (Some(signing), Some(canonical), Some(to_sign)) => Some(Ours {
                canonical_request: canonical.as_bytes(),
                string_to_sign: to_sign,
                region: &signing.scope.region,
                service: &signing.scope.service,
                date: date.map_or("", |field| field.value.text()),
                access_key_id: &signing.access_key_id,
            }),
            _ => None,
        };
        let route = exchange.route.as_deref();
        diagnosis::diagnose(&Seen {
            status,
            headers: &headers,
            body: answer.body.text.as_deref().unwrap_or_default().as_bytes(),
            api: Api::Unknown,
            method: &sent.method,
            path,
            route_auth: route.map(|route| asked_for(route.auth)),
            key_sent: sent.headers.iter().any(|field| field.name == "x-api-key"),
            signed: sent.signing.is_some(),
            ours,
            identity_arn,
            clock_offset: self.clock_offset(route.map_or("", |route| &route.stage)),
        })
    }

    /// By how much the stage's clock is known to differ.
    fn clock_offset(&self, stage: &str) -> i64 {
        let offsets = self.health.stages(|config, held| (config.name == stage).then(|| held.clock.offset()));
        offsets.into_iter().flatten().next().unwrap_or(0)
    }
}

fn asked_for(auth: Auth) -> RouteAuth {
    match auth {
        Auth::None => RouteAuth::None,
        Auth::ApiKey => RouteAuth::ApiKey,
        Auth::Iam => RouteAuth::Iam,
        Auth::IamAndApiKey => RouteAuth::IamAndApiKey,
    }
}
