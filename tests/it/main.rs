//! Every integration test, one binary, a file a topic. They drive the real program over real sockets on loopback.
//!
//! | file | what it holds |
//! |---|---|
//! | `instruments` | the tests' own tools tell the truth: origin, clients, outside verifiers, third-party gateway |
//! | `headers` | request headers: hop by hop, owned, signed; none is invented |
//! | `target` | the request target: path, query, mounts, rules |
//! | `bodies` | request bodies: bounded, whole, with an exact length, never changed |
//! | `responses` | answers: as they are and as they come; cut ones, `Location`, echoed secrets |
//! | `credentials` | which keys sign, and what happens without any |
//! | `guarding` | who may borrow the credentials: hosts, methods, addresses |
//! | `upstream` | TLS, kept connections, sending again, and no answer at all |
//! | `process` | start, listeners, what is no request, health, drain and end |
//! | `logs` | one line a request, and no secret at any level |
//! | `refusals` | every refusal is provoked, and documented |
//!
//! `support` is what they share: it starts programs, plays the stage and the client, and speaks with the verifiers.

#[allow(dead_code, reason = "what starts and drives the proxy waits for the topics that do so")]
mod support;

mod bodies;
mod credentials;
mod guarding;
mod headers;
mod instruments;
mod logs;
mod process;
mod refusals;
mod responses;
mod target;
mod upstream;
