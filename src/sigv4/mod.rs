//! Signature Version 4 in the standard's own words, pure: no I/O, no clock, no tokio.
//!
//! The steps are those of AWS's "Create a signed AWS API request" (IAM User Guide), a file each:
//!
//! | file | step |
//! |---|---|
//! | `encode` | the one percent-encoding that SigV4 knows |
//! | `query` | the query in the spelling on which all verifiers agree, and its canonical order |
//! | `path` | the canonical URI |
//! | `signed_headers` | which headers are signed, and their canonical form |
//! | `canonical` | the canonical request and the string to sign |
//! | `clock` | `x-amz-date` and the scope's day |
//! | `sign` | the signature and the `authorization` value |
//!
//! Key derivation and the HMAC itself are `aws_sigv4::sign::v4`'s. The canonical request is built here because
//! `aws_sigv4::http_request` does not give it out, and signing with a cached key costs a seventh of its `sign`.
//! That `sign` is the oracle of the tests instead.

mod canonical;
mod clock;
mod encode;
mod path;
mod query;
mod sign;
mod signed_headers;

pub(crate) use canonical::hex_into;
pub use canonical::{CanonicalRequest, Request, string_to_sign};
pub use clock::{AmzDate, DateCache, parse_amz_date};
pub use encode::encode_into;
pub(crate) use encode::percent_byte;
pub use path::PathRules;
pub use query::{NotUtf8, rewrite_query};
pub use sign::{Keys, Signer};
pub use signed_headers::{fold_white_space, is_signed};

/// The algorithm's name in `authorization` and in the string to sign.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// SHA-256 of nothing, in hexadecimal: the payload hash of a request without a body.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What a signature is valid for, beside its day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// `us-west-2`
    pub region: &'a str,
    /// `execute-api`
    pub service: &'a str,
}
