//! A small API Gateway on loopback that verifies every request as AWS does, and the demo that is told with it.
//!
//! `countersign demo` and the integration tests put it behind the real proxy. It is the judge of the proxy's
//! signatures, so it shares nothing with the signer: it imports nothing from the rest of this crate, canonicalises
//! with its own code, and takes HMAC and SHA-256 from `ring`, where the signer takes them from other crates.
//!
//! | to learn | read |
//! |---|---|
//! | how a request becomes the text that is signed | [`canonical`] |
//! | which checks a signature has to pass, in which order | [`verify`] |
//! | what API Gateway says when it refuses | [`refusal`] |
//! | how the three routes are served | [`gateway`], [`tls`], [`capture`] |
//! | what `countersign demo` shows | [`story`], with [`page`] and [`client`] |
//!
//! It is a judge for REST APIs with IAM and API key authorization. It does not read presigned URLs, HTTP/2,
//! pipelined requests or the `Date` header in place of `x-amz-date`: such requests are refused, never let through.

pub mod canonical;
pub mod capture;
pub mod client;
pub mod clock;
pub mod encoding;
pub mod gateway;
pub mod page;
pub mod refusal;
pub mod story;
pub mod tls;
pub mod verify;
