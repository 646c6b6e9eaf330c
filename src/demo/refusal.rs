//! What API Gateway (REST) says when it refuses: status, `x-amzn-errortype` and body.
//!
//! The texts are those that AWS documents or that were seen in its answers. Where neither is known (a header that
//! ought to be signed, a malformed credential) they follow the sentences of AWS's other SigV4 services.

use std::fmt;

/// A refused request. `Display` is the text of the answer's `message`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No `Authorization` where IAM asks for one, or no such path or method.
    #[error("Missing Authentication Token")]
    MissingAuthenticationToken,
    /// An `Authorization` that is not SigV4's list of `key=value`. Holds the Base64 of its SHA-256.
    #[error(
        "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with \
         Base64): '{0}'."
    )]
    NotKeyValue(String),
    /// An algorithm of the AWS4 family that is not `AWS4-HMAC-SHA256`.
    #[error("Unsupported AWS 'algorithm': '{0}' (only AWS4-HMAC-SHA256 for now). ")]
    UnsupportedAlgorithm(String),
    /// `Authorization` lacks parts, or the date is missing.
    #[error("{}(Hashed with SHA-256 and encoded with Base64) Authorization={hash}", missing_text(.missing))]
    MissingParts {
        /// What is not there, in the order in which AWS names it.
        missing: Vec<Part>,
        /// The Base64 of the SHA-256 of the `Authorization` value.
        hash: String,
    },
    /// `x-amz-date` is not a date in ISO 8601 basic format.
    #[error("Date must be in ISO-8601 'basic format'. Got '{0}'. See http://en.wikipedia.org/wiki/ISO_8601")]
    BadDate(String),
    /// `Credential` is not `key/date/region/service/aws4_request`.
    #[error(
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{0}'"
    )]
    BadCredential(String),
    /// Signed more than five minutes ago.
    #[error("Signature expired: {signed} is now earlier than {bound} ({now} - 5 min.)")]
    Expired {
        /// The request's date.
        signed: String,
        /// The earliest date that is accepted.
        bound: String,
        /// What the gateway's clock shows.
        now: String,
    },
    /// Signed for more than five minutes from now.
    #[error("Signature not yet current: {signed} is still later than {bound} ({now} + 5 min.)")]
    NotYetCurrent {
        /// The request's date.
        signed: String,
        /// The latest date that is accepted.
        bound: String,
        /// What the gateway's clock shows.
        now: String,
    },
    /// `SignedHeaders` is not sorted, not lower case, or repeats a name.
    #[error("SignedHeaders is not canonicalized: '{0}'")]
    SignedHeadersNotCanonical(String),
    /// A header that has to be signed is not.
    #[error("{0} must be a 'SignedHeader' in the AWS Authorization.")]
    Unsigned(String),
    /// Region, service, terminator or day in the credential scope: every sentence that applies, one after another.
    #[error("{0}")]
    WrongScope(String),
    /// The access key is unknown, or it is a session's and no session token came with it.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The session token is not the one that belongs to the access key.
    #[error("The security token included in the request is invalid")]
    WrongToken,
    /// The session is over.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// The signature is another than the one computed here.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details.\n\nThe Canonical String for this \
         request should have been\n'{}'\n\nThe String-to-Sign should have been\n'{}'\n",
        .0.canonical_request, .0.string_to_sign
    )]
    Mismatch(Echo),
    /// No or a wrong API key, or no such stage.
    #[error("Forbidden")]
    Forbidden,
    /// The body is longer than API Gateway's 10 MiB.
    #[error("HTTP content length exceeded 10485760 bytes.")]
    TooLarge,
}

/// What the mismatch text repeats to its caller: every signed header's value, secret or not.
#[derive(Clone, PartialEq, Eq)]
pub struct Echo {
    /// The canonical request, computed here.
    pub canonical_request: String,
    /// The string to sign, computed here.
    pub string_to_sign: String,
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Echo").field("string_to_sign", &self.string_to_sign).finish_non_exhaustive()
    }
}

/// A part of a header-signed request that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `Credential=`
    Credential,
    /// `Signature=`
    Signature,
    /// `SignedHeaders=`
    SignedHeaders,
    /// `x-amz-date`
    Date,
}

fn missing_text(missing: &[Part]) -> String {
    missing
        .iter()
        .map(|part| match part {
            Part::Credential => "Authorization header requires 'Credential' parameter. ",
            Part::Signature => "Authorization header requires 'Signature' parameter. ",
            Part::SignedHeaders => "Authorization header requires 'SignedHeaders' parameter. ",
            Part::Date => {
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
            }
        })
        .collect()
}

impl Refusal {
    /// The answer's status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        if matches!(self, Self::TooLarge) { 413 } else { 403 }
    }

    /// The answer's `x-amzn-errortype`; a body that is too long has none.
    #[must_use]
    pub const fn error_type(&self) -> Option<&'static str> {
        Some(match self {
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::NotKeyValue(_)
            | Self::UnsupportedAlgorithm(_)
            | Self::MissingParts { .. }
            | Self::BadDate(_)
            | Self::BadCredential(_) => "IncompleteSignatureException",
            Self::Expired { .. }
            | Self::NotYetCurrent { .. }
            | Self::SignedHeadersNotCanonical(_)
            | Self::Unsigned(_)
            | Self::WrongScope(_)
            | Self::Mismatch(_) => "InvalidSignatureException",
            Self::UnknownKey | Self::WrongToken => "UnrecognizedClientException",
            Self::ExpiredToken => "ExpiredTokenException",
            Self::Forbidden => "ForbiddenException",
            Self::TooLarge => return None,
        })
    }

    /// The answer's `content-type`.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        if matches!(self, Self::TooLarge) { "text/plain" } else { "application/json" }
    }

    /// The answer's body.
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::TooLarge => self.to_string(),
            _ => serde_json::json!({ "message": self.to_string() }).to_string(),
        }
    }
}
