//! countersign: a local reverse proxy that adds the API key and the SigV4 signature that API Gateway asks for.
//!
//! This is the map; `ARCHITECTURE.md` says more. The library exists for the binary and its tests and promises no
//! stability.
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`] | one file a command |
//! | [`config`] | flags, environment and file become one valid configuration |
//! | [`server`] | accept, serve, drain |
//! | [`proxy`] | the life of a request, a step a file |
//! | [`callers`] | which callers may borrow the credentials: pure |
//! | [`diagnosis`] | why a gateway refused, and what to do: pure |
//! | [`sigv4`] | canonical request, string to sign, signature: pure |
//! | [`credentials`] | where the identity and the API key come from, and how they stay fresh |
//! | [`aws`] | the control plane: stacks, APIs, keys, who is asking |
//! | [`upstream`] | the way to a stage: dialling, TLS, kept connections |
//! | [`admin`] | health and metrics on a listener of their own |
//! | [`telemetry`] | one line a request, metrics, and diagnostics without secrets |
//! | [`demo`] | a verifying gateway on loopback, for `demo` and the tests; imports nothing of ours |
//! | `fuzzing` | promises that hold for any input: behind the feature `fuzzing`, and in the tests |
//! | [`curl`] | a request as a command for a shell: pure |
//! | [`secret`] | text that must never be seen |
//! | [`sha256`] | SHA-256 of bodies, many side by side |
//! | [`coarse`] | deadlines that cost a request nothing |

pub mod admin;
pub mod aws;
pub mod callers;
pub mod cli;
pub mod coarse;
pub mod config;
pub mod credentials;
pub mod curl;
pub mod demo;
pub mod diagnosis;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod proxy;
pub mod secret;
pub mod server;
pub mod sha256;
pub mod sigv4;
pub mod telemetry;
pub mod upstream;
