//! The gateway over its own sockets: every refusal that is not the verifier's, and what is accepted when AWS's own
//! signer has signed it.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Gateway, GatewaySettings, MAX_BODY, ROUTES, Running, SUCCESS};
use crate::demo::{
    client::{self, Answer},
    refusal::Refusal,
    tls,
};

async fn gateway() -> Running {
    Gateway::start(GatewaySettings::random().expect("random bytes")).await.expect("a free port")
}

async fn send(gateway: &Running, request: hyper::Request<Full<Bytes>>) -> Answer {
    client::https(gateway.addr, &gateway.host, &gateway.ca_pem, request).await.expect("an answer")
}

async fn get(gateway: &Running, target: &str, headers: &[(&str, &str)]) -> Answer {
    send(gateway, client::get(target, &gateway.host, headers)).await
}

/// The headers that AWS's own signer adds to a `GET` with the gateway's API key.
fn signed(gateway: &Running, target: &str, now: SystemTime) -> Vec<(String, String)> {
    let account = &gateway.settings.accounts[0];
    let identity = Credentials::new(
        &account.access_key_id,
        &account.secret_access_key,
        account.session_token.clone(),
        None,
        "test",
    )
    .into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&gateway.settings.region)
        .name("execute-api")
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .expect("every parameter is set")
        .into();
    let key = ("x-api-key", gateway.settings.api_key.0.as_str());
    let uri = format!("https://{}{target}", gateway.host);
    let request = SignableRequest::new("GET", uri, [key].into_iter(), SignableBody::empty()).expect("legal");
    let (instructions, _) = sign(request, &params).expect("signed").into_parts();
    let added = instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
    added.chain([(key.0.to_owned(), key.1.to_owned())]).collect()
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[track_caller]
fn refused(answer: &Answer, refusal: &Refusal) {
    assert_eq!(answer.status.as_u16(), refusal.status());
    assert_eq!(answer.header("x-amzn-errortype"), refusal.error_type());
    assert_eq!(answer.body, refusal.body());
    assert_eq!(answer.header("content-type"), Some(refusal.content_type()));
}

#[tokio::test]
async fn every_route_refuses_what_is_plain_and_accepts_what_is_signed() {
    let gateway = gateway().await;
    for route in ROUTES {
        let target = format!("/prod{}", route.path);
        let refusal = if route.iam { Refusal::MissingAuthenticationToken } else { Refusal::Forbidden };
        refused(&get(&gateway, &target, &[]).await, &refusal);

        let answer = get(&gateway, &target, &borrowed(&signed(&gateway, &target, SystemTime::now()))).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, SUCCESS.as_bytes()), "{target}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        for name in ["x-amzn-requestid", "x-amz-apigw-id", "date"] {
            assert!(answer.header(name).is_some(), "{name}");
        }
    }
    gateway.shutdown().await;
}

#[tokio::test]
async fn iam_is_asked_for_before_the_api_key() {
    let gateway = gateway().await;
    let target = "/prod/auth/iam-sigv4-and-api-key";
    let mut headers = signed(&gateway, target, SystemTime::now());
    let (_, key) = headers.pop().expect("the key is last");
    refused(&get(&gateway, target, &[("x-api-key", &key)]).await, &Refusal::MissingAuthenticationToken);
    // Signed with a key that is not sent: the signature is looked at first.
    let answer = get(&gateway, target, &borrowed(&headers)).await;
    assert_eq!(answer.header("x-amzn-errortype"), Some("InvalidSignatureException"));
    for key in ["", "wrong"] {
        refused(&get(&gateway, "/prod/auth/api-key", &[("x-api-key", key)]).await, &Refusal::Forbidden);
    }
}

#[tokio::test]
async fn paths_methods_stages_and_hosts_that_are_not_there() {
    let gateway = gateway().await;
    let key = gateway.settings.api_key.0.clone();
    let key = [("x-api-key", key.as_str())];
    for target in ["/prod", "/prod/", "/prod/auth", "/prod/auth/api-key/more", "/prod/auth/../auth/api-key"] {
        refused(&get(&gateway, target, &key).await, &Refusal::MissingAuthenticationToken);
    }
    for target in ["/", "/dev/auth/api-key", "/auth/api-key"] {
        refused(&get(&gateway, target, &key).await, &Refusal::Forbidden);
    }
    let answer = get(&gateway, "/prod/nothing", &[("authorization", "Bearer x")]).await;
    assert_eq!(answer.header("x-amzn-errortype"), Some("IncompleteSignatureException"));

    let elsewhere = client::get("/prod/auth/api-key", "other.execute-api.us-east-1.amazonaws.com", &key);
    refused(&send(&gateway, elsewhere).await, &Refusal::Forbidden);
    let by_hand = client::get("/prod/auth/api-key", &format!("localhost:{}", gateway.addr.port()), &key);
    assert_eq!(send(&gateway, by_hand).await.status.as_u16(), 200);
}

#[tokio::test]
async fn empty_segments_and_the_method_override_count_as_in_api_gateway() {
    let gateway = gateway().await;
    let key = gateway.settings.api_key.0.clone();
    for target in ["//prod/auth/api-key", "/prod//auth//api-key", "/prod/auth/api-key/?q=1"] {
        assert_eq!(get(&gateway, target, &[("x-api-key", &key)]).await.status.as_u16(), 200, "{target}");
    }
    let headers = [("x-api-key", key.as_str()), ("x-http-method-override", "DELETE")];
    let answer = get(&gateway, "/prod/auth/api-key", &headers).await;
    refused(&answer, &Refusal::MissingAuthenticationToken);
}

#[tokio::test]
async fn a_body_longer_than_ten_mebibytes_is_refused_and_one_of_ten_is_read() {
    let gateway = gateway().await;
    let mut records = gateway.subscribe();
    for length in [MAX_BODY, MAX_BODY + 1] {
        let mut request = client::get("/prod/auth/api-key", &gateway.host, &[]);
        *request.body_mut() = Full::from(vec![b'x'; length]);
        let answer = send(&gateway, request).await;
        let record = records.recv().await.expect("a record");
        if length == MAX_BODY {
            refused(&answer, &Refusal::Forbidden);
            assert_eq!(record.body.len(), MAX_BODY);
        } else {
            refused(&answer, &Refusal::TooLarge);
            assert_eq!(record.verdict, Err(Refusal::TooLarge));
        }
    }
}

#[tokio::test]
async fn the_clock_judges_dates_and_is_shown() {
    let gateway = gateway().await;
    gateway.clock.set_offset(-3600);
    let target = "/prod/auth/iam-sigv4";
    let early = get(&gateway, target, &borrowed(&signed(&gateway, target, SystemTime::now()))).await;
    let text = String::from_utf8_lossy(&early.body).into_owned();
    assert!(text.starts_with(r#"{"message":"Signature not yet current: "#), "{text}");

    gateway.clock.set_offset(10_000_000_000);
    let headers = signed(&gateway, target, gateway.clock.now());
    let right = get(&gateway, target, &borrowed(&headers)).await;
    assert_eq!(right.status.as_u16(), 200);
    let year = &right.header("date").expect("a date")[12..16];
    assert!(year.parse::<u32>().expect("a year") > 2300, "{year}");
}

/// Two requests on one connection, in spellings that an HTTP library would tidy up.
#[tokio::test]
async fn records_hold_what_the_wire_held() {
    let gateway = gateway().await;
    let mut records = gateway.subscribe();
    let tls = tokio_rustls::TlsConnector::from(tls::trusting(&gateway.ca_pem).expect("a root"));
    let stream = tokio::net::TcpStream::connect(gateway.addr).await.expect("connected");
    let name = "localhost".to_owned().try_into().expect("a name");
    let mut stream = tls.connect(name, stream).await.expect("trusted");

    let head = format!(
        "POST /prod/%2f+?b=%zz&a#c HTTP/1.1\r\nHOST:  localhost\t\r\nX-Api-KEY:{}\r\nTransfer-Encoding: chunked\r\n\r\n",
        gateway.settings.api_key.0
    );
    let mut buffer = vec![0; 65_536];
    for _ in 0..2 {
        stream.write_all(format!("{head}2\r\nhi\r\n0\r\n\r\n").as_bytes()).await.expect("sent");
        let record = records.recv().await.expect("a record");
        assert_eq!(record.head, head.as_bytes());
        assert_eq!(record.method, "POST");
        assert_eq!(record.target, b"/prod/%2f+?b=%zz&a#c");
        assert_eq!(record.headers[0], ("HOST".to_owned(), b"  localhost\t".to_vec()));
        assert_eq!(record.body, "hi");
        assert_eq!(record.verdict, Err(Refusal::MissingAuthenticationToken));
        let mut answer = String::new();
        while !answer.ends_with('}') {
            let read = stream.read(&mut buffer).await.expect("answered");
            answer += &String::from_utf8_lossy(&buffer[..read]);
        }
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains(&record.request_id), "{answer}");
    }

    // The second of two at once has no head of its own: it is not judged by the first's.
    stream
        .write_all([head.as_bytes(), b"0\r\n\r\n", head.as_bytes(), b"0\r\n\r\n"].concat().as_slice())
        .await
        .expect("sent");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(rest.contains("HTTP/1.1 403 ") && rest.contains("HTTP/1.1 400 "), "{rest}");
}

#[tokio::test]
async fn only_its_own_root_is_trusted_and_shutdown_ends_everything() {
    let (one, other) = (gateway().await, gateway().await);
    let request = client::get("/prod", &one.host, &[]);
    let error =
        client::https(one.addr, &one.host, &other.ca_pem, request.clone()).await.expect_err("untrusted");
    assert!(matches!(error, client::ClientError::Connect { .. }), "{error}");
    let error =
        client::https(one.addr, "example.com", &one.ca_pem, request.clone()).await.expect_err("other name");
    assert!(matches!(error, client::ClientError::Connect { .. }), "{error}");

    let (addr, host, root) = (one.addr, one.host.clone(), one.ca_pem.clone());
    one.shutdown().await;
    client::https(addr, &host, &root, request).await.expect_err("nobody listens");
    assert_ne!(other.settings.api_key, GatewaySettings::random().expect("random bytes").api_key);
}
