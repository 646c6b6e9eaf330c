//! Every integration test, one binary, a file a topic. They drive the real program over real sockets on loopback.
//!
//! | file | what it holds |
//! |---|---|
//! | `architecture` | ARCHITECTURE.md tells the truth: arrows, steps, invariants; links lead somewhere |
//! | `container` | the Dockerfile copies what is there and calls the program as it wants to be called |
//! | `instruments` | the tests' own tools tell the truth: origin, clients, outside verifiers, third-party gateway |
//!
//! `support` is what they share: it starts programs, plays the stage and the client, and speaks with the verifiers.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "in a test a panic is how a failure is told, and what helps to understand it is printed"
)]

#[allow(dead_code, reason = "what starts and drives the proxy waits for the topics that do so")]
mod support;

mod architecture;
mod container;
mod instruments;
