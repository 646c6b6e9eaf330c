//! The canonical request and the string to sign.
//!
//! Source: steps 1 and 3 of AWS's "Create a signed AWS API request".

use http::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};

use super::{ALGORITHM, AmzDate, PathRules, Scope, query::canonical_query_into, signed_headers};

/// What is signed of a request, as it is sent.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`
    pub method: &'a str,
    /// The path on the wire.
    pub path: &'a str,
    /// The query on the wire, in strict spelling; empty when there is none.
    pub query: &'a str,
    /// All headers that are sent, `host` and `x-amz-date` among them.
    pub headers: &'a HeaderMap,
    /// SHA-256 of the body in lower-case hexadecimal.
    pub payload_hash: &'a str,
}

/// A canonical request in a buffer that is used again for the next one.
#[derive(Debug, Default)]
pub struct CanonicalRequest {
    text: Vec<u8>,
    scratch: String,
    signed_headers: String,
}

impl CanonicalRequest {
    /// Builds the canonical request of `request`, signing the standard headers and `extra`.
    pub fn build(&mut self, request: &Request<'_>, rules: PathRules, extra: &[HeaderName]) {
        self.text.clear();
        self.scratch.clear();
        self.scratch.push_str(request.method);
        self.scratch.push('\n');
        rules.canonical_into(&mut self.scratch, request.path);
        self.scratch.push('\n');
        canonical_query_into(&mut self.scratch, request.query);
        self.scratch.push('\n');
        self.text.extend_from_slice(self.scratch.as_bytes());
        signed_headers::canonical_into(&mut self.text, &mut self.signed_headers, request.headers, extra);
        for part in ["\n", &self.signed_headers, "\n", request.payload_hash] {
            self.text.extend_from_slice(part.as_bytes());
        }
    }

    /// The canonical request. Header values may hold bytes that are not UTF-8.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The names that are signed: `host;x-amz-date`.
    #[must_use]
    pub fn signed_headers(&self) -> &str {
        &self.signed_headers
    }

    /// SHA-256 of the canonical request.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.text).into()
    }
}

/// Writes the string to sign over what `out` held.
pub fn string_to_sign(out: &mut String, date: &AmzDate, scope: Scope<'_>, canonical_hash: &[u8; 32]) {
    out.clear();
    for part in [ALGORITHM, "\n", date.as_str(), "\n"] {
        out.push_str(part);
    }
    credential_scope_into(out, date, scope);
    out.push('\n');
    hex_into(out, canonical_hash);
}

/// Appends `20150830/us-east-1/execute-api/aws4_request`.
pub(super) fn credential_scope_into(out: &mut String, date: &AmzDate, scope: Scope<'_>) {
    for part in [date.day(), "/", scope.region, "/", scope.service, "/aws4_request"] {
        out.push_str(part);
    }
}

/// Appends a digest in lower-case hexadecimal.
pub(crate) fn hex_into(out: &mut String, digest: &[u8; 32]) {
    let mut text = [[0; 2]; 32];
    for (pair, byte) in text.iter_mut().zip(digest) {
        *pair = HEXADECIMAL[usize::from(*byte)];
    }
    out.push_str(std::str::from_utf8(text.as_flattened()).expect("hexadecimal is ASCII"));
}

/// Two digits for each byte.
const HEXADECIMAL: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    table
};
