//! The story told with a proxy made of AWS's own signer, with one that adds nothing, and with none.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{Outcome, Telling, Way, tell};
use crate::demo::{
    client::{self, ClientError},
    gateway::{ApiKey, Gateway, GatewaySettings, ROUTES, Running},
    page::WIDTH,
    verify::Account,
};

async fn gateway() -> Arc<Running> {
    let mut settings = GatewaySettings::random().expect("random bytes");
    settings.accounts = vec![Account {
        access_key_id: "ASIADEMODEMODEMODEMO".to_owned(),
        secret_access_key: "secret-of-the-story".to_owned(),
        session_token: Some("token-of-the-story".to_owned()),
        expires: None,
    }];
    settings.api_key = ApiKey("key1-of-the-story".to_owned());
    Arc::new(Gateway::start(settings).await.expect("a free port"))
}

/// The API key and AWS's own signature, where the route asks for them.
fn additions(gateway: &Running, account: &Account, path: &str) -> Vec<(String, String)> {
    let route = ROUTES.into_iter().find(|route| route.path == path).expect("one of the three");
    let mut added = Vec::new();
    if route.api_key {
        added.push(("x-api-key".to_owned(), gateway.settings.api_key.0.clone()));
    }
    if !route.iam {
        return added;
    }
    let token = account.session_token.clone();
    let identity =
        Credentials::new(&account.access_key_id, &account.secret_access_key, token, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&gateway.settings.region)
        .name("execute-api")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .expect("every parameter is set")
        .into();
    let signed = added.clone();
    let headers = signed.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let uri = format!("{}{path}", gateway.stage_url);
    let request = SignableRequest::new("GET", uri, headers, SignableBody::empty()).expect("legal");
    let (instructions, _) = sign(request, &params).expect("signed").into_parts();
    added.extend(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())));
    added
}

async fn forward(
    gateway: Arc<Running>,
    signer: Option<&Account>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let mut headers: Vec<(String, String)> = ["user-agent", "accept"]
        .iter()
        .map(|name| ((*name).to_owned(), request.headers()[*name].to_str().expect("text").to_owned()))
        .collect();
    if let Some(account) = signer {
        headers.extend(additions(&gateway, account, path));
    }
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let onward = client::get(&format!("/prod{path}"), &gateway.host, &headers);
    let answer =
        client::https(gateway.addr, &gateway.host, &gateway.ca_pem, onward).await.expect("an answer");
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

async fn proxy(gateway: &Arc<Running>, signer: Option<Account>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let gateway = Arc::clone(gateway);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (gateway, signer) = (Arc::clone(&gateway), signer.clone());
            let service = service_fn(move |request| {
                let (gateway, signer) = (Arc::clone(&gateway), signer.clone());
                async move { Ok::<_, std::convert::Infallible>(forward(gateway, signer.as_ref(), request).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    addr
}

async fn told(gateway: &Running, proxy: SocketAddr, colour: bool, keep: bool) -> (Outcome, String) {
    let mut out = Vec::new();
    let outcome = tell(gateway, proxy, Telling { colour, keep }, &mut out).await.expect("memory takes all");
    (outcome, String::from_utf8(out).expect("the page is text"))
}

/// What differs from run to run, by name.
fn settled(page: &str, gateway: &Running, proxy: SocketAddr) -> String {
    let mut page = page
        .replace(&proxy.to_string(), "PROXY")
        .replace(&gateway.addr.to_string(), "GATEWAY")
        .replace(&format!("localhost:{}", gateway.addr.port()), "localhost:PORT");
    for (before, length, name) in
        [("x-amz-date: ", 16, "DATE"), ("Signature=", 8, "SIGNATURE"), ("ASIADEMO…/", 8, "DAY")]
    {
        while let Some(at) = page
            .match_indices(before)
            .map(|found| found.0 + before.len())
            .find(|&at| !page[at..].starts_with(name))
        {
            page.replace_range(at..at + length, name);
        }
    }
    page
}

#[tokio::test]
async fn a_signing_proxy_makes_all_six_right() {
    let gateway = gateway().await;
    let proxy = proxy(&gateway, Some(gateway.settings.accounts[0].clone())).await;
    let (outcome, page) = told(&gateway, proxy, false, true).await;
    assert!(outcome.is_right(), "{page}");
    let settled = settled(&page, &gateway, proxy);
    assert_eq!(settled, include_str!("expected.txt"), "the page has changed:\n{settled}");
    assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
    for secret in ["secret-of-the-story", "token-of-the-story", "key1-of-the-story", "\x1b"] {
        assert!(!page.contains(secret), "{page}");
    }
}

#[tokio::test]
async fn colours_change_nothing_but_colours() {
    let gateway = gateway().await;
    let proxy = proxy(&gateway, Some(gateway.settings.accounts[0].clone())).await;
    let (_, coloured) = told(&gateway, proxy, true, true).await;
    let mut plain = coloured.clone();
    while let Some(start) = plain.find("\x1b[") {
        let end = plain[start..].find('m').expect("an escape ends in m");
        plain.replace_range(start..=start + end, "");
    }
    assert_ne!(plain, coloured);
    assert_eq!(settled(&plain, &gateway, proxy), include_str!("expected.txt"));
}

#[tokio::test]
async fn a_proxy_that_adds_nothing_is_shown_to_fail() {
    let gateway = gateway().await;
    let proxy = proxy(&gateway, None).await;
    let (outcome, page) = told(&gateway, proxy, false, false).await;
    assert!(!outcome.is_right());
    for step in &outcome.steps {
        assert_eq!(step.is_right(), step.way == Way::Direct, "{step:?}");
    }
    assert!(page.contains("3 of six did not come out as they should."), "{page}");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_a_failed_step() {
    let gateway = gateway().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nobody = listener.local_addr().expect("bound");
    drop(listener);
    let (outcome, page) = told(&gateway, nobody, false, false).await;
    assert!(!outcome.is_right());
    assert!(matches!(outcome.steps[1].answer, Err(ClientError::Connect { .. })));
    assert!(page.contains("nothing that reached the gateway"), "{page}");
}

/// The gateway's mismatch text repeats the session token and the API key: the page does not.
#[tokio::test]
async fn a_wrong_signature_shows_no_secret() {
    let gateway = gateway().await;
    let mut signer = gateway.settings.accounts[0].clone();
    signer.secret_access_key = "another".to_owned();
    let proxy = proxy(&gateway, Some(signer)).await;
    let (outcome, page) = told(&gateway, proxy, false, false).await;
    let answer = outcome.steps[5].answer.as_ref().expect("an answer");
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    for secret in ["token-of-the-story", "key1-of-the-story"] {
        assert!(body.contains(secret) && !page.contains(secret), "{page}");
    }
    assert!(!outcome.is_right());
}

#[tokio::test]
async fn a_success_that_another_gateway_gave_does_not_count() {
    let (judge, other) = (gateway().await, gateway().await);
    let proxy = proxy(&other, Some(other.settings.accounts[0].clone())).await;
    let (outcome, page) = told(&judge, proxy, false, false).await;
    for step in outcome.steps.iter().filter(|step| step.way == Way::Proxied) {
        assert_eq!(step.answer.as_ref().expect("an answer").status.as_u16(), 200, "{page}");
        assert!(!step.is_right());
    }
}
