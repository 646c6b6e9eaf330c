//! Every integration test, one binary, a file a topic. They drive the real program over real sockets on loopback.
//!
//! | file | what it holds |
//! |---|---|
//! | `agreement` | whatever is forwarded, aws-sigv4, the demo's verifier and botocore accept; what they read differently is refused |
//! | `clients` | curl, httpx, requests, boto3, fetch and nghttp work unmodified, large bodies byte for byte |
//! | `architecture` | ARCHITECTURE.md tells the truth: arrows, steps, invariants; links lead somewhere |
//! | `container` | the Dockerfile copies what is there and calls the program as it wants to be called |
//! | `instruments` | the tests' own tools tell the truth: origin, clients, outside verifiers, third-party gateway |
//! | `ministack` | a third-party gateway lets in whom it should through the proxy, and its refusals come back unchanged |
//! | `vectors` | AWS's published SigV4 test suite and our own vectors come out right at each stage |
//! | `headers` | request headers: hop by hop, owned, signed; none is invented |
//! | `target` | the request target: path, query, mounts, rules |
//! | `bodies` | request bodies: bounded, whole, with an exact length, never changed |
//! | `responses` | answers: as they are and as they come; cut ones, `Location`, echoed secrets |
//! | `healing` | expired sessions, unknown keys, wrong clocks, sources that are down: healed, or passed on as they are |
//! | `credentials` | which keys sign, and what happens without any |
//! | `pages` | what web pages can cause: refused by origin and site, on the admin listener too |
//! | `cors` | pages of allowed origins: preflights, readable answers and refusals |
//! | `cookies` | a stage's cookies are kept for the proxy |
//! | `guarding` | who may borrow the credentials: hosts, methods, addresses |
//! | `upstream` | TLS, kept connections, sending again, and no answer at all |
//! | `process` | start, listeners, what is no request, health, drain and end |
//! | `logs` | one line a request, and no secret at any level |
//! | `demo` | it works with an empty environment, shows no secret and leaves nothing running |
//! | `refusals` | every refusal is provoked, and documented |
//!
//! `support` is what they share: it starts programs, plays the stage and the client, and speaks with the verifiers.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "in a test a panic is how a failure is told, and what helps to understand it is printed"
)]

mod support;

mod agreement;
mod architecture;
mod bodies;
mod clients;
mod container;
mod cookies;
mod cors;
mod credentials;
mod demo;
mod guarding;
mod headers;
mod healing;
mod instruments;
mod logs;
mod ministack;
mod pages;
mod process;
mod refusals;
mod responses;
mod target;
mod upstream;
mod vectors;
