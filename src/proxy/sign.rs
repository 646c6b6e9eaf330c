//! Puts `x-amz-date`, the session token and `authorization` on a request that is otherwise complete.
//!
//! The rules of what is signed are in `sigv4`; this step says with what: the stage's region and service, the current
//! credentials, and the time.

use std::time::SystemTime;

use http::{HeaderName, HeaderValue, header};

use super::{api_key::Keyed, stage::Stage};
use crate::{
    credentials::Identity,
    sigv4::{Keys, Request},
};

const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Signs `request` at `now`: its headers can be sent.
pub(super) fn sign(request: &mut Keyed, stage: &Stage, identity: &Identity, now: SystemTime) {
    let headers = &mut request.head.headers;
    let (date, value) = stage.dates.borrow_mut().at(now);
    headers.insert(AMZ_DATE, value);
    if let Some(token) = &identity.session_token {
        headers.insert(SECURITY_TOKEN, token.clone());
    }
    if wants_payload_hash(&stage.config.service) {
        let hash = HeaderValue::from_str(request.body.hash()).expect("hexadecimal is visible ASCII");
        headers.insert(CONTENT_SHA256, hash);
    }
    let keys = Keys {
        access_key_id: &identity.access_key_id,
        secret: identity.secret.expose(),
        serial: identity.serial,
    };
    let head = &request.head;
    let signed = Request {
        method: head.method.as_str(),
        path: head.target.path(),
        query: head.target.query().unwrap_or_default(),
        headers: &head.headers,
        payload_hash: request.body.hash(),
    };
    let authorization = stage.signer.borrow_mut().authorization(&signed, keys, &date);
    request.head.headers.insert(header::AUTHORIZATION, authorization);
}

/// S3 and OpenSearch Serverless ask for the payload hash as a header. API Gateway does not, and some verifiers trust
/// what stands there unread, so it is not sent there.
fn wants_payload_hash(service: &str) -> bool {
    matches!(service, "s3" | "s3express" | "aoss")
}
