//! What a gateway's refusal means, told from its text and its type. Pure: no request, no clock, nothing is sent.
//!
//! Texts and types are API Gateway's for REST APIs, from its documentation ("Troubleshoot HTTP 403 errors", "Gateway
//! response types") and from recorded answers. Text goes before type: the same cause comes under several types, types
//! carry suffixes (`…Exception:http://…`), and an API's owner can reword what the gateway says. Matching is lenient, and
//! the phrase that comes first decides, for what follows may repeat what the client sent.

use std::time::SystemTime;

use serde_json::Value;

use crate::sigv4::parse_amz_date;

/// What the gateway says is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// No signature where one is asked for, or no such route.
    NotSigned,
    /// The authorization is not SigV4, or lacks parts.
    Incomplete,
    /// Another signature was expected.
    Mismatch,
    /// Something about the signature, by the type alone: its date, its scope, or the signature itself.
    Signature,
    /// The signature's date is too far from the gateway's clock, which shows this time.
    Skewed(Option<SystemTime>),
    /// Signed for another region or service.
    WrongScope,
    /// The access key is not known, or its session token is not the right one.
    UnknownKey,
    /// The session is over.
    ExpiredToken,
    /// Known, and not permitted.
    Denied,
    /// No more is said: the API key, the stage, a firewall; with an HTTP API any cause at all.
    Forbidden,
    /// Too many requests, or too many this month.
    Throttled,
    /// None of these.
    Unclear,
}

/// Phrases of texts, in lower case.
const TEXTS: [(&str, Meaning); 13] = [
    ("missing authentication token", Meaning::NotSigned),
    ("invalid key=value pair", Meaning::Incomplete),
    ("authorization header requires", Meaning::Incomplete),
    ("request signature we calculated does not match", Meaning::Mismatch),
    ("signature expired", Meaning::Skewed(None)),
    ("signature not yet current", Meaning::Skewed(None)),
    ("credential should be scoped", Meaning::WrongScope),
    ("security token included in the request is expired", Meaning::ExpiredToken),
    ("security token included in the request is invalid", Meaning::UnknownKey),
    ("is not authorized to perform", Meaning::Denied),
    ("with an explicit deny", Meaning::Denied),
    ("too many requests", Meaning::Throttled),
    ("limit exceeded", Meaning::Throttled),
];

/// Types, in lower case, without `Exception` and what follows.
const TYPES: [(&str, Meaning); 15] = [
    ("missingauthenticationtoken", Meaning::NotSigned),
    ("incompletesignature", Meaning::Incomplete),
    ("invalidsignature", Meaning::Signature),
    ("signaturedoesnotmatch", Meaning::Signature),
    ("requestexpired", Meaning::Skewed(None)),
    ("requesttimetooskewed", Meaning::Skewed(None)),
    ("unrecognizedclient", Meaning::UnknownKey),
    ("invalidclienttokenid", Meaning::UnknownKey),
    ("expiredtoken", Meaning::ExpiredToken),
    ("accessdenied", Meaning::Denied),
    ("forbidden", Meaning::Forbidden),
    ("toomanyrequests", Meaning::Throttled),
    ("limitexceeded", Meaning::Throttled),
    ("throttling", Meaning::Throttled),
    ("throttled", Meaning::Throttled),
];

/// What a refusal with this `x-amzn-errortype` and this body means.
pub(super) fn meaning(kind: Option<&str>, body: &[u8]) -> Meaning {
    let text = message(body);
    let lower = text.to_ascii_lowercase();
    let first = TEXTS
        .iter()
        .filter_map(|(phrase, meaning)| Some((lower.find(phrase)?, *meaning)))
        .min_by_key(|(at, _)| *at);
    match first {
        Some((at, Meaning::Skewed(_))) => Meaning::Skewed(gateways_time(&text[at..])),
        Some((_, meaning)) => meaning,
        None => match kind.map(by_type) {
            Some(Meaning::Unclear) | None if lower.trim() == "forbidden" => Meaning::Forbidden,
            Some(meaning) => meaning,
            None => Meaning::Unclear,
        },
    }
}

fn by_type(kind: &str) -> Meaning {
    let name = kind.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
    let name = name.rsplit('#').next().unwrap_or_default();
    let name = name.strip_suffix("exception").unwrap_or(name);
    TYPES.iter().find(|(known, _)| *known == name).map_or(Meaning::Unclear, |(_, meaning)| *meaning)
}

/// `{"message": …}`, also with a capital (denials have one); what is not that is a text itself.
fn message(body: &[u8]) -> String {
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
        return String::from_utf8_lossy(body).into_owned();
    };
    let named = object.iter().find(|(name, value)| name.eq_ignore_ascii_case("message") && value.is_string());
    match named {
        Some((_, Value::String(text))) => text.clone(),
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}

/// The third time in `Signature expired: T is now earlier than T2 (NOW - 5 min.)`, that in parentheses.
fn gateways_time(text: &str) -> Option<SystemTime> {
    let (_, after) = text.split_once('(')?;
    parse_amz_date(after.get(..16)?)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{Meaning, meaning};

    fn at(seconds: u64) -> Meaning {
        Meaning::Skewed(Some(UNIX_EPOCH + Duration::from_secs(seconds)))
    }

    /// Every refusal of a REST API that is documented or was recorded, as it comes.
    #[test]
    fn recorded_answers() {
        let mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";
        let echo = "\\n\\nThe Canonical String for this request should have been\\n'GET\\n/prod/a\\nq=The security token \
                    included in the request is expired'";
        let denied = "User: arn:aws:iam::111122223333:user/ann is not authorized to perform: execute-api:Invoke on \
                      resource: arn:aws:execute-api:us-east-1:********3333:abc/prod/GET/a";
        for (kind, text, means) in [
            ("MissingAuthenticationTokenException", "Missing Authentication Token", Meaning::NotSigned),
            (
                "IncompleteSignatureException",
                "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded \
                 with Base64): 'x='.",
                Meaning::Incomplete,
            ),
            (
                "IncompleteSignatureException",
                "Authorization header requires 'Signature' parameter. ",
                Meaning::Incomplete,
            ),
            ("InvalidSignatureException", mismatch, Meaning::Mismatch),
            ("InvalidSignatureException", &format!("{mismatch}{echo}"), Meaning::Mismatch),
            (
                "InvalidSignatureException",
                "Signature expired: 20150830T123000Z is now earlier than 20150830T123100Z (20150830T123600Z - 5 min.)",
                at(1_440_938_160),
            ),
            (
                "InvalidSignatureException",
                "Signature not yet current: 20150830T124500Z is still later than 20150830T124100Z (20150830T123600Z + 5 \
                 min.)",
                at(1_440_938_160),
            ),
            (
                "InvalidSignatureException",
                "Credential should be scoped to a valid region, not 'us-east-1'. ",
                Meaning::WrongScope,
            ),
            (
                "InvalidSignatureException",
                "Credential should be scoped to correct service: 'execute-api'. ",
                Meaning::WrongScope,
            ),
            (
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
                Meaning::UnknownKey,
            ),
            (
                "AccessDeniedException",
                "The security token included in the request is invalid.",
                Meaning::UnknownKey,
            ),
            (
                "UnrecognizedClientException",
                "The security token included in the request is invalid",
                Meaning::UnknownKey,
            ),
            (
                "ExpiredTokenException",
                "The security token included in the request is expired",
                Meaning::ExpiredToken,
            ),
            ("AccessDeniedException", denied, Meaning::Denied),
            (
                "AccessDeniedException",
                &format!("{denied} because no identity-based policy allows the execute-api:Invoke action"),
                Meaning::Denied,
            ),
            (
                "AccessDeniedException",
                &format!("{denied} with an explicit deny in a resource-based policy"),
                Meaning::Denied,
            ),
            (
                "AccessDeniedException",
                "User: anonymous is not authorized to perform: execute-api:Invoke on resource: arn:x with an explicit \
                 deny",
                Meaning::Denied,
            ),
            ("ForbiddenException", "Forbidden", Meaning::Forbidden),
            ("TooManyRequestsException", "Too Many Requests", Meaning::Throttled),
            ("LimitExceededException", "Limit Exceeded", Meaning::Throttled),
            ("InternalServerErrorException", "Endpoint request timed out", Meaning::Unclear),
        ] {
            for key in ["message", "Message"] {
                let body = format!("{{\"{key}\":\"{text}\"}}");
                assert_eq!(meaning(Some(kind), body.as_bytes()), means, "{kind} {body}");
                let suffixed = format!("{kind}:http://internal.amazon.com/coral/com.amazon.coral.service/");
                assert_eq!(meaning(Some(&suffixed), body.as_bytes()), means, "{suffixed} {body}");
            }
        }
        let too_large = b"HTTP content length exceeded 10485760 bytes.";
        assert_eq!(meaning(None, too_large), Meaning::Unclear);
        // A third party's denial, with its type in the body.
        let other = format!("{{\"__type\":\"AccessDeniedException\",\"message\":\"{denied}\"}}");
        assert_eq!(meaning(None, other.as_bytes()), Meaning::Denied);
    }

    /// An HTTP API gives no cause, and an owner may give another text, or nothing but the type.
    #[test]
    fn text_goes_before_type_and_a_bare_forbidden_tells_nothing() {
        for (kind, body, means) in [
            (None, r#"{"message":"Forbidden"}"#, Meaning::Forbidden),
            (None, r#"{"message":"Not Found"}"#, Meaning::Unclear),
            (None, "", Meaning::Unclear),
            (Some("ExpiredTokenException"), r#"{"message":"Forbidden"}"#, Meaning::ExpiredToken),
            (Some("ExpiredTokenException"), "", Meaning::ExpiredToken),
            (Some("UnrecognizedClientException:"), "no", Meaning::UnknownKey),
            (Some("com.amazon.coral#ExpiredToken"), r#"{"error":1}"#, Meaning::ExpiredToken),
            (Some("InvalidSignatureException"), "", Meaning::Signature),
            (
                Some("InvalidSignatureException"),
                r#"{"message":"Signature expired: x"}"#,
                Meaning::Skewed(None),
            ),
            (
                Some("X"),
                r#"{"error":"The security token included in the request is expired"}"#,
                Meaning::ExpiredToken,
            ),
            (None, "<m>THE SECURITY TOKEN INCLUDED IN THE REQUEST IS INVALID</m>", Meaning::UnknownKey),
            (
                None,
                r#"{"message":"Signature expired: a is now earlier than b (99990230T000000Z - 5 min.)"}"#,
                Meaning::Skewed(None),
            ),
        ] {
            assert_eq!(meaning(kind, body.as_bytes()), means, "{kind:?} {body}");
        }
    }
}
