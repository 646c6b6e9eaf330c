//! An HTTP client for the SDK that notes the `Date` of each answer.
//!
//! Credentials that have just been made, and yet seem to have expired, show that this machine's clock is ahead. Nothing
//! is signed with them, so that no gateway's refusal would ever tell; whoever made them tells the time as well. That is
//! believed as far as their expiry is: both come by the same way.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};

use super::clock::Witness;

/// `inner`, with its answers' dates told to `witness`.
pub(super) fn client(inner: SharedHttpClient, witness: Arc<Witness>) -> SharedHttpClient {
    SharedHttpClient::new(Dated { inner, witness })
}

#[derive(Debug)]
struct Dated<T> {
    inner: T,
    witness: Arc<Witness>,
}

impl HttpClient for Dated<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Dated { inner, witness: Arc::clone(&self.witness) })
    }
}

impl HttpConnector for Dated<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (answering, witness) = (self.inner.call(request), Arc::clone(&self.witness));
        HttpConnectorFuture::new(async move {
            let answer = answering.await?;
            let date = answer.headers().get("date").and_then(|date| httpdate::parse_http_date(date).ok());
            if let Some(date) = date {
                witness.saw(date, SystemTime::now(), Instant::now());
            }
            Ok(answer)
        })
    }
}
