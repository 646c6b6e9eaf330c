//! countersign: a local reverse proxy that adds the API key and the SigV4 signature that API Gateway asks for.
//!
//! This is the map; `ARCHITECTURE.md` says more. The library exists for the binary and its tests and promises no
//! stability.
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`] | the command line, one file a command |
//! | [`config`] | flags, environment and file become one valid configuration |
//! | [`secret`] | text that must never be seen |

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod secret;
