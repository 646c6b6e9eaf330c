//! What a signature costs: ours with its cached key and buffers, beside `aws_sigv4::http_request::sign`.
//!
//! `cargo bench --bench sign`

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run says so by a panic")]

use std::{
    hint::black_box,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use countersign::sigv4::{AmzDate, EMPTY_SHA256, Keys, Request, Scope, Signer};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const PATH: &str = "/prod/auth/iam-sigv4-and-api-key";
const QUERY: &str = "b=2&a=1";
const HOST: &str = "abc123.execute-api.us-west-2.amazonaws.com";
const KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

/// As long as a real session token.
fn token() -> String {
    "IQoJb3JpZ2luX2VjE".repeat(60)
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn ours(c: &mut Criterion) {
    let date = AmzDate::new(now());
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static(HOST));
    headers.insert("x-api-key", HeaderValue::from_static(KEY));
    headers.insert("x-amz-date", HeaderValue::from_str(date.as_str()).unwrap());
    headers.insert("x-amz-security-token", HeaderValue::from_str(&token()).unwrap());
    for (name, value) in
        [("accept", "*/*"), ("user-agent", "bench"), ("cookie", "a=b"), ("cache-control", "no-cache")]
    {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let mut signer = Signer::new(Scope { region: "us-west-2", service: "execute-api" }, Vec::new());
    let request =
        Request { method: "GET", path: PATH, query: QUERY, headers: &headers, payload_hash: EMPTY_SHA256 };
    let keys = Keys { access_key_id: ID, secret: SECRET, serial: 1 };
    c.bench_function("sign/ours", |b| {
        b.iter(|| signer.authorization(black_box(&request), keys, &date));
    });
}

fn theirs(c: &mut Criterion) {
    let identity: Identity = Credentials::new(ID, SECRET, Some(token()), None, "bench").into();
    let uri = format!("https://{HOST}{PATH}?{QUERY}");
    c.bench_function("sign/aws_sigv4::http_request", |b| {
        b.iter(|| {
            let params: SigningParams<'_> = v4::SigningParams::builder()
                .identity(&identity)
                .region("us-west-2")
                .name("execute-api")
                .time(now())
                .settings(SigningSettings::default())
                .build()
                .unwrap()
                .into();
            let headers = [("host", HOST), ("x-api-key", KEY)].into_iter();
            let request = SignableRequest::new("GET", &uri, headers, SignableBody::Bytes(b"")).unwrap();
            sign(black_box(request), &params).unwrap()
        });
    });
}

criterion_group!(benches, ours, theirs);
criterion_main!(benches);
