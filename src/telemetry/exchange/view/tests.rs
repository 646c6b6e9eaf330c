//! What may be seen of an exchange: everything that the inspector's page needs, and no secret.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use serde_json::json;

use super::{
    super::{Answer, Credentials, Exchange, Headers, Received, Refusal, Route, Sent, Signing, Tape},
    Auth, Body, text_of,
};
use crate::{
    secret::Secret,
    telemetry::{Phase, hide},
};

fn headers(fields: &[(&'static str, &'static str)]) -> Headers {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Headers::of(&headers)
}

fn kept(bytes: &[u8], most: usize) -> Body {
    let mut body = Body::keeping(most);
    body.push(bytes);
    body
}

/// One with a secret in each place that can hold one.
fn exchange() -> Exchange {
    hide(&Secret::new("canary-of-the-process"));
    let mut received = Received::new(
        Method::POST,
        "/a?x=1&k=canary-of-the-process&X-Amz-Security-Token=canary-presigned",
        Version::HTTP_11,
        headers(&[
            ("host", "localhost:8080"),
            ("x-own", "a  b"),
            ("accept", "*/*"),
            ("te", "trailers"),
            ("authorization", "Bearer canary-authorization"),
            ("cookie", "a=canary-cookie"),
        ]),
    );
    received.body = kept(b"{\"key\":\"canary-of-the-process\"}", 100);
    let mut exchange = Exchange::new("0123456789abcdef", received);
    exchange.sequence = 7;
    exchange.route = Some(Arc::new(Route {
        stage: "orders".into(),
        origin: "https://api.example".into(),
        region: "us-west-2".into(),
        service: "execute-api".into(),
        path: Some("/a".into()),
        auth: Auth::IamAndApiKey,
    }));
    let canonical = "POST\n/prod/a\nx=1&k=canary-of-the-process\nhost:api.example\n\
                     x-amz-security-token:canary-token\nx-api-key:canary-of-the-process\n\nhost;x-api-key\nhash";
    let to_sign = "AWS4-HMAC-SHA256\n20261125T030405Z\n20261125/us-west-2/execute-api/aws4_request\nabcd";
    exchange.sent = Some(Sent::new(
        "/prod/a?x=1&k=canary-of-the-process",
        headers(&[
            ("host", "api.example"),
            ("x-own", "a b"),
            ("accept", "*/*"),
            ("cookie", "a=canary-cookie"),
            ("x-amz-security-token", "canary-token"),
            ("x-api-key", "canary-of-the-process"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIAABCDEFGHIJKLWXYZ/20261125/us-west-2/execute-api/aws4_request, \
                 SignedHeaders=host;x-api-key, \
                 Signature=cafecafecafecafecafecafecafecafecafecafecafecafecafecafecafecafe",
            ),
        ]),
        Some(Signing::of(canonical.as_bytes(), to_sign, "AKIAABCDEFGHIJKLWXYZ")),
    ));
    exchange.answer = Some(Answer {
        status: StatusCode::FORBIDDEN,
        headers: headers(&[
            ("content-type", "application/json"),
            ("set-cookie", "s=canary-session"),
            ("x-echo", "canary-token canary-authorization"),
        ]),
        body: kept(
            br#"{"message":"x-api-key:canary-of-the-process canary\u002dtoken canary-session canary-cookie"}"#,
            1000,
        ),
    });
    exchange.status = 403;
    exchange.attempts = 1;
    exchange.total = Duration::from_micros(12_345);
    exchange.phases = vec![(Phase::Receive, Duration::from_micros(1))];
    exchange.credentials =
        Some(Credentials { source: "environment".into(), access_key: "WXYZ".into(), expires: None });
    exchange
}

#[test]
fn no_secret_is_in_what_is_seen_of_it() {
    let mut exchange = exchange();
    exchange.refusal = Some(Refusal {
        code: "code",
        fault: "proxy",
        message: "about canary-of-the-process".into(),
        hint: "canary-token".into(),
    });
    exchange.gateway_request_id = Some("canary-token".into());
    let detail = exchange.detail();
    let all = [
        serde_json::to_string(&detail).unwrap(),
        serde_json::to_string(&exchange.summary()).unwrap(),
        format!("{exchange:?} {detail:?}"),
    ]
    .concat();
    for secret in ["canary", "002dtoken", "cafecafecafe", "AKIAABCD"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
    for text in ["canary-of-the", "CANARY", "bearer canary"] {
        assert!(!exchange.contains(text), "nor can it be asked for");
    }
    for text in ["localhost:8080", "bearer ••••", "*/*", "X-ECHO", "message", "about"] {
        assert!(exchange.contains(text), "{text}");
    }
    assert!(exchange.received.headers.exposed()["cookie"] == "a=canary-cookie", "to send it again");
    assert!(exchange.received.exposed_target().contains("canary-presigned"));
}

#[test]
fn it_serialises_as_the_inspector_reads_it() {
    let exchange = exchange();
    let mut value = serde_json::to_value(exchange.detail()).unwrap();
    let began = value["summary"]["began"].take();
    assert!(began.as_str().unwrap().ends_with('Z') && began.as_str().unwrap().len() == 24, "{began}");
    assert_eq!(
        value["summary"],
        json!({"sequence": 7, "id": "0123456789abcdef", "began": null, "method": "POST",
            "target": "/a?x=1&k=*********************&X-Amz-Security-Token=••••", "stage": "orders",
            "route": "/a", "auth": "iam+api-key", "status": 403, "refusal": null, "origin": "stage",
            "micros": 12345, "sent_bytes": 0, "received_bytes": 31, "attempts": 1, "replay_of": null,
            "diagnosis": null, "content_type": "application/json"})
    );
    assert_eq!(
        value["received"]["headers"],
        json!([
            {"name": "host", "value": "localhost:8080", "hidden": false, "change": "replaced"},
            {"name": "x-own", "value": "a  b", "hidden": false, "change": "rewritten"},
            {"name": "accept", "value": "*/*", "hidden": false, "change": null},
            {"name": "te", "value": "trailers", "hidden": false, "change": "removed"},
            {"name": "authorization", "value": "Bearer •••• (20 characters)", "hidden": true, "change": "replaced"},
            {"name": "cookie", "value": "•••• (15 characters)", "hidden": true, "change": null},
        ])
    );
    assert_eq!(
        value["received"]["body"],
        json!({"length": 31, "kept": 31, "text": "{\"key\":\"*********************\"}", "base64": null,
            "why_not": null})
    );
    assert_eq!(value["sent"]["url"], "https://api.example/prod/a?x=1&k=*********************");
    let changes: Vec<_> =
        value["sent"]["headers"].as_array().unwrap().iter().map(|field| &field["change"]).collect();
    assert_eq!(json!(changes), json!(["replaced", "rewritten", null, null, "added", "added", "replaced"]));
    let signing = &value["sent"]["signing"];
    assert_eq!(
        signing["canonical_request"][0],
        json!({"text": "POST", "part": "method", "from": "request method"})
    );
    assert_eq!(signing["scope"]["terminator"], "aws4_request");
    assert_eq!(signing["derivation"][0]["step"], "kDate");
    assert_eq!(
        (&signing["signature"], &signing["access_key_id"]),
        (&json!("cafecafe…"), &json!("AKIA…WXYZ"))
    );
    assert_eq!((&value["answer"]["status"], &value["answer"]["reason"]), (&json!(403), &json!("Forbidden")));
    assert_eq!(value["phases"], json!([{"name": "receive", "micros": 1}]));
    assert_eq!(
        value["credentials"],
        json!({"source": "environment", "access_key": "…WXYZ", "expires": null})
    );
    assert_eq!((&value["refusal"], &value["diagnosis"]), (&json!(null), &json!(null)));
}

#[test]
fn bodies_that_are_no_text_are_base64_and_forgotten_ones_are_nothing() {
    let mut exchange = exchange();
    exchange.received.body = kept(b"\xff\xfe", 9);
    let view = exchange.detail().received.body;
    assert_eq!((view.text, view.base64.as_deref()), (None, Some("//4=")));
    exchange.received.body.forget();
    assert!(exchange.detail().answer.unwrap().body.text.is_some());
    exchange.answer.as_mut().unwrap().body.forget();
    let detail = exchange.detail();
    let bodies = [detail.received.body, detail.answer.unwrap().body];
    assert!(bodies.iter().all(|body| body.kept == 0 && body.length > 0 && body.text.is_none()), "{bodies:?}");
    assert_eq!(text_of("ä".as_bytes()[..1].to_vec(), true).unwrap(), "");
    text_of("ä".as_bytes()[..1].to_vec(), false).unwrap_err();
    text_of(b"\xffab".to_vec(), true).unwrap_err();
}

#[test]
fn what_is_read_back_is_what_was_written() {
    let mut whole = exchange();
    whole.replay_of = Some("fedcba9876543210".into());
    whole.phases.extend(Phase::ALL.map(|phase| (phase, Duration::from_micros(phase as u64 + 1))));
    let mut read = Tape::of(&whole).read();
    assert_eq!(read.sequence, 0, "the hub gives it");
    read.sequence = whole.sequence;
    let seen = |exchange: &Exchange| serde_json::to_string(&exchange.detail()).unwrap();
    assert_eq!(seen(&read), seen(&whole));
    // And what is not seen.
    assert_eq!(read.received.headers.exposed(), whole.received.headers.exposed());
    assert_eq!(read.received.exposed_target(), whole.received.exposed_target());
    assert_eq!(read.received.body.exposed(), whole.received.body.exposed());
    let (read, whole) = (read.sent.unwrap(), whole.sent.unwrap());
    assert_eq!(read.headers.exposed(), whole.headers.exposed());
    let (read, whole) = (read.signing.unwrap(), whole.signing.unwrap());
    assert_eq!(read.exposed(), whole.exposed());
    assert_eq!(read.access_key_id(), whole.access_key_id());
}
