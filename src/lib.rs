//! countersign: a local reverse proxy that adds the API key and the SigV4 signature that API Gateway asks for.
//!
//! This is the map; `ARCHITECTURE.md` says more. The library exists for the binary and its tests and promises no
//! stability.
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | flags, environment and file become one valid configuration |
//! | [`secret`] | text that must never be seen |
//! | [`sigv4`] | canonical request, string to sign, signature: pure |

#![forbid(unsafe_code)]

pub mod admin;
pub mod cli;
pub mod coarse;
pub mod config;
pub mod credentials;
pub mod proxy;
pub mod secret;
pub mod server;
pub mod sigv4;
pub mod telemetry;
pub mod upstream;
