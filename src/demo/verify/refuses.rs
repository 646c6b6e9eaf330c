//! One test for each refusal: status, `x-amzn-errortype` and body, to the letter.

use std::time::{Duration, SystemTime};

use super::{Account, Identity, Verifier};
use crate::demo::{
    canonical::{Field, Received},
    clock::{amz_date, parse_amz_date},
    refusal::Refusal,
};

const NOW: &str = "20261124T120000Z";
const TOKEN: &str = "throwaway-token";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(parse_amz_date(NOW).expect("a date").unsigned_abs())
}

fn verifier() -> Verifier {
    let session = Account {
        access_key_id: "ASIASESSION".to_owned(),
        secret_access_key: "session-secret".to_owned(),
        session_token: Some(TOKEN.to_owned()),
        expires: Some(now() + Duration::from_secs(60)),
    };
    let user = Account {
        access_key_id: "AKIAUSER".to_owned(),
        secret_access_key: "user-secret".to_owned(),
        session_token: None,
        expires: None,
    };
    Verifier {
        region: "us-west-2".to_owned(),
        service: "execute-api".to_owned(),
        accounts: vec![session, user],
    }
}

/// A request whose parts a test can spoil before it is signed, or after.
#[derive(Clone)]
struct Sent {
    fields: Vec<(String, String)>,
    credential: String,
    signed_headers: String,
    body: &'static str,
    target: &'static str,
}

impl Sent {
    fn new() -> Self {
        let fields =
            [("Host", "api.test"), ("X-Amz-Date", NOW), ("X-Amz-Security-Token", TOKEN), ("Accept", "*/*")];
        Self {
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            credential: "ASIASESSION/20261124/us-west-2/execute-api/aws4_request".to_owned(),
            signed_headers: "host;x-amz-date;x-amz-security-token".to_owned(),
            body: "",
            target: "/prod/auth/iam-sigv4?b=2&a=1",
        }
    }

    fn user() -> Self {
        let mut sent = Self::new().without("X-Amz-Security-Token");
        sent.credential = sent.credential.replace("ASIASESSION", "AKIAUSER");
        sent.signed_headers = "host;x-amz-date".to_owned();
        sent
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|field| field.0 != name);
        self
    }

    fn replacing(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    fn headers(&self) -> Vec<Field> {
        self.fields.iter().map(|(name, value)| (name.clone(), value.as_bytes().to_vec())).collect()
    }

    fn judge(&self) -> Result<Identity, Refusal> {
        let headers = self.headers();
        verifier().verify(&self.received(&headers), now())
    }

    fn received<'a>(&'a self, headers: &'a [Field]) -> Received<'a> {
        Received { method: "GET", target: self.target.as_bytes(), headers, body: self.body.as_bytes() }
    }

    fn authorization(&self, signature: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential={}, SignedHeaders={}, Signature={signature}",
            self.credential, self.signed_headers
        )
    }

    /// Adds the signature that belongs to the request, or a blank one where an earlier check refuses it.
    fn signed(self) -> Self {
        let zeros = self.clone().with("Authorization", &self.authorization(&"0".repeat(64)));
        let headers = zeros.headers();
        let signature = verifier()
            .intermediates(&zeros.received(&headers), now())
            .map_or_else(|_| "0".repeat(64), |stages| stages.signature);
        let authorization = self.authorization(&signature);
        self.with("Authorization", &authorization)
    }
}

/// The request is refused with 403, this type, and this message.
#[track_caller]
fn refused(sent: &Sent, kind: &str, message: &str) {
    let refusal = sent.judge().expect_err("it ought to be refused");
    assert_eq!(refusal.body(), serde_json::json!({ "message": message }).to_string());
    assert_eq!(refusal.error_type(), Some(kind));
    assert_eq!((refusal.status(), refusal.content_type()), (403, "application/json"));
}

#[test]
fn unspoilt_requests_are_accepted() {
    let session = Sent::new().signed();
    assert_eq!(session.judge(), Ok(Identity { access_key_id: "ASIASESSION".to_owned() }));
    assert_eq!(Sent::user().signed().judge(), Ok(Identity { access_key_id: "AKIAUSER".to_owned() }));
}

#[test]
fn the_parts_of_authorization_come_in_any_order_and_spacing() {
    let mut sent = Sent::new().signed();
    let value = sent.fields.pop().expect("the signature is last").1;
    let mut parts: Vec<&str> = value["AWS4-HMAC-SHA256 ".len()..].split(", ").collect();
    parts.reverse();
    for separator in [", ", ",", " ", " ,\t "] {
        let value = format!("AWS4-HMAC-SHA256   {},", parts.join(separator));
        assert!(sent.clone().with("authorization", &value).judge().is_ok(), "{value}");
    }
}

#[test]
fn no_authorization() {
    refused(&Sent::new(), "MissingAuthenticationTokenException", "Missing Authentication Token");
}

#[test]
fn a_presigned_query_is_no_authorization() {
    let mut sent = Sent::new();
    sent.target = "/prod/auth/iam-sigv4?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00";
    refused(&sent, "MissingAuthenticationTokenException", "Missing Authentication Token");
}

#[test]
fn authorization_of_another_scheme() {
    for value in ["Bearer abc", "Basic dXNlcjpwYXNz", "abc"] {
        let hash = super::base64(ring::digest::digest(&ring::digest::SHA256, value.as_bytes()).as_ref());
        refused(
            &Sent::new().with("Authorization", value),
            "IncompleteSignatureException",
            &format!(
                "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and \
                 encoded with Base64): '{hash}'."
            ),
        );
    }
}

#[test]
fn the_hash_of_a_foreign_authorization_is_that_of_its_whole_value() {
    let refusal = Sent::new().with("Authorization", "Bearer abc").judge();
    // printf 'Bearer abc' | openssl dgst -sha256 -binary | base64
    assert_eq!(refusal, Err(Refusal::NotKeyValue("w1Xc6WwWEogNEZQP/dkBTThsJT4MNlKmzQanIm970rY=".to_owned())));
}

#[test]
fn two_authorizations_or_two_signatures_are_none() {
    let signed = Sent::new().signed();
    let value = signed.fields.last().expect("the signature").1.clone();
    let twice = signed.clone().with("Authorization", &value);
    assert!(matches!(twice.judge(), Err(Refusal::NotKeyValue(_))));
    let doubled = signed.replacing("Authorization", &format!("{value}, Signature=00"));
    assert!(matches!(doubled.judge(), Err(Refusal::NotKeyValue(_))));
}

#[test]
fn another_algorithm() {
    refused(
        &Sent::new().with("Authorization", "AWS4-HMAC-SHA512 Credential=a, SignedHeaders=host, Signature=0"),
        "IncompleteSignatureException",
        "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512' (only AWS4-HMAC-SHA256 for now). ",
    );
}

#[test]
fn missing_parts_are_all_named() {
    let value = "AWS4-HMAC-SHA256 Credential=a/b/c/d/e";
    let hash = super::base64(ring::digest::digest(&ring::digest::SHA256, value.as_bytes()).as_ref());
    refused(
        &Sent::new().without("X-Amz-Date").with("Authorization", value),
        "IncompleteSignatureException",
        &format!(
            "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' \
             parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. (Hashed \
             with SHA-256 and encoded with Base64) Authorization={hash}"
        ),
    );
}

#[test]
fn a_date_that_is_none() {
    refused(
        &Sent::new().replacing("X-Amz-Date", "2026-11-24").signed(),
        "IncompleteSignatureException",
        "Date must be in ISO-8601 'basic format'. Got '2026-11-24'. See http://en.wikipedia.org/wiki/ISO_8601",
    );
}

#[test]
fn signed_more_than_five_minutes_ago() {
    let middle = parse_amz_date(NOW).expect("a date");
    assert!(Sent::new().replacing("X-Amz-Date", &amz_date(middle - 300)).signed().judge().is_ok());
    refused(
        &Sent::new().replacing("X-Amz-Date", &amz_date(middle - 301)).signed(),
        "InvalidSignatureException",
        "Signature expired: 20261124T115459Z is now earlier than 20261124T115500Z (20261124T120000Z - 5 min.)",
    );
}

#[test]
fn signed_for_more_than_five_minutes_from_now() {
    let middle = parse_amz_date(NOW).expect("a date");
    assert!(Sent::new().replacing("X-Amz-Date", &amz_date(middle + 300)).signed().judge().is_ok());
    refused(
        &Sent::new().replacing("X-Amz-Date", &amz_date(middle + 301)).signed(),
        "InvalidSignatureException",
        "Signature not yet current: 20261124T120501Z is still later than 20261124T120500Z (20261124T120000Z + 5 min.)",
    );
}

#[test]
fn signed_headers_that_are_not_canonical() {
    for names in ["x-amz-date;host", "Host;x-amz-date", "host;host;x-amz-date", "host;;x-amz-date", ";"] {
        let mut sent = Sent::user();
        sent.signed_headers = names.to_owned();
        let message = format!("SignedHeaders is not canonicalized: '{names}'");
        refused(&sent.signed(), "InvalidSignatureException", &message);
    }
}

#[test]
fn host_outside_the_signature() {
    let mut sent = Sent::new();
    sent.signed_headers = "x-amz-date;x-amz-security-token".to_owned();
    refused(
        &sent.signed(),
        "InvalidSignatureException",
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
    );
}

#[test]
fn an_amz_header_outside_the_signature() {
    refused(
        &Sent::new().with("X-Amz-Meta", "1").signed(),
        "InvalidSignatureException",
        "'x-amz-meta' must be a 'SignedHeader' in the AWS Authorization.",
    );
    assert!(Sent::new().with("X-Amzn-Trace-Id", "1").signed().judge().is_ok());
}

#[test]
fn a_credential_that_is_none() {
    let mut sent = Sent::new();
    sent.credential = "ASIASESSION/20261124/us-west-2/aws4_request".to_owned();
    refused(
        &sent.signed(),
        "IncompleteSignatureException",
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
         'ASIASESSION/20261124/us-west-2/aws4_request'",
    );
}

#[test]
fn a_scope_for_another_place() {
    let region = "Credential should be scoped to a valid region, not 'us-east-1'. ";
    let service = "Credential should be scoped to correct service: 'execute-api'. ";
    let terminator =
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. ";
    let day = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261123' \
               != '20261124', from '20261124T120000Z'. ";
    let cases = [
        ("20261124/us-east-1/execute-api/aws4_request", region.to_owned()),
        ("20261124/us-west-2/lambda/aws4_request", service.to_owned()),
        ("20261124/us-east-1/lambda/aws4_request", format!("{region}{service}")),
        ("20261124/us-west-2/execute-api/aws5_request", terminator.to_owned()),
        ("20261123/us-west-2/execute-api/aws4_request", day.to_owned()),
    ];
    for (scope, message) in cases {
        let mut sent = Sent::new();
        sent.credential = format!("ASIASESSION/{scope}");
        refused(&sent.signed(), "InvalidSignatureException", &message);
    }
}

#[test]
fn an_unknown_key() {
    let mut sent = Sent::new();
    sent.credential = sent.credential.replace("ASIASESSION", "ASIAUNKNOWN");
    let message = "The security token included in the request is invalid.";
    refused(&sent.signed(), "UnrecognizedClientException", message);
}

#[test]
fn a_session_key_without_its_token() {
    let mut sent = Sent::new().without("X-Amz-Security-Token");
    sent.signed_headers = "host;x-amz-date".to_owned();
    let message = "The security token included in the request is invalid.";
    refused(&sent.signed(), "UnrecognizedClientException", message);
}

#[test]
fn a_token_that_is_not_the_keys() {
    let message = "The security token included in the request is invalid";
    let sent = Sent::new().replacing("X-Amz-Security-Token", "another").signed();
    refused(&sent, "UnrecognizedClientException", message);
    let mut user = Sent::user().with("X-Amz-Security-Token", TOKEN);
    user.signed_headers = "host;x-amz-date;x-amz-security-token".to_owned();
    refused(&user.signed(), "UnrecognizedClientException", message);
}

#[test]
fn a_session_that_is_over() {
    let sent = Sent::new().signed();
    let headers = sent.headers();
    let later = now() + Duration::from_secs(60);
    let refusal = verifier().verify(&sent.received(&headers), later).expect_err("the session is over");
    assert_eq!(refusal.body(), r#"{"message":"The security token included in the request is expired"}"#);
    assert_eq!(refusal.error_type(), Some("ExpiredTokenException"));
}

#[test]
fn a_wrong_signature_is_answered_with_what_should_have_been_signed() {
    let mut sent = Sent::user();
    sent.body = "hello";
    let sent = sent.clone().with("Authorization", &sent.authorization(&"0".repeat(64)));
    refused(
        &sent,
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details.\n\
         \n\
         The Canonical String for this request should have been\n\
         'GET\n\
         /prod/auth/iam-sigv4\n\
         a=1&b=2\n\
         host:api.test\n\
         x-amz-date:20261124T120000Z\n\
         \n\
         host;x-amz-date\n\
         2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'\n\
         \n\
         The String-to-Sign should have been\n\
         'AWS4-HMAC-SHA256\n\
         20261124T120000Z\n\
         20261124/us-west-2/execute-api/aws4_request\n\
         75d501ddc94845ba5e423e8211395e188e19a93605e6af85c8e5da623a9601c9'\n",
    );
}

#[track_caller]
fn mismatched(sent: &Sent) {
    assert!(matches!(sent.judge(), Err(Refusal::Mismatch(_))), "{:?}", sent.judge());
}

#[test]
fn signatures_in_another_spelling_do_not_match() {
    let sent = Sent::new().signed();
    let value = sent.fields.last().expect("the signature").1.clone();
    let (start, signature) = value.split_once("Signature=").expect("it has one");
    let cut = &signature[..62];
    for wrong in [&signature.to_uppercase(), cut, "zz", &format!("{signature}00")] {
        mismatched(&sent.clone().replacing("Authorization", &format!("{start}Signature={wrong}")));
    }
}

#[test]
fn a_signed_header_that_was_not_sent_does_not_match() {
    let mut sent = Sent::user();
    sent.signed_headers = "host;x-absent;x-amz-date".to_owned();
    // The signature is right for a blank value, and still there is no such header.
    mismatched(&sent.signed());
}

#[test]
fn a_content_hash_is_not_trusted() {
    let mut sent = Sent::user();
    sent.body = "hello";
    sent.signed_headers = "host;x-amz-content-sha256;x-amz-date".to_owned();
    let hash = super::sha256_hex(b"hello");
    assert!(sent.clone().with("X-Amz-Content-Sha256", &hash).signed().judge().is_ok());
    for claimed in ["UNSIGNED-PAYLOAD", &super::sha256_hex(b"")] {
        mismatched(&sent.clone().with("X-Amz-Content-Sha256", claimed).signed());
    }
}

#[test]
fn no_secret_is_printed() {
    let refusal =
        Sent::new().with("Authorization", &Sent::new().authorization("00")).judge().expect_err("wrong");
    assert!(refusal.body().contains(TOKEN), "the gateway's own answer does show it");
    let printed = format!("{refusal:?} {:?}", verifier());
    for secret in [TOKEN, "session-secret", "user-secret"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
