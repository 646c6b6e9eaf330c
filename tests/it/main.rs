//! Every integration test, one binary, a file a topic. They drive the real program over real sockets on loopback.
//!
//! | file | what it holds |
//! |---|---|
//! | `agreement` | whatever is forwarded, aws-sigv4, the demo's verifier and botocore accept; what they read differently is refused |
//! | `clients` | curl, httpx, requests, boto3, fetch and nghttp work unmodified, large bodies byte for byte |
//! | `architecture` | ARCHITECTURE.md tells the truth: arrows, steps, invariants; links lead somewhere |
//! | `building` | an optimised build is guided by the profile of its compiler, every other is left as it is |
//! | `container` | the Dockerfile copies what is there and calls the program as it wants to be called |
//! | `corpus` | raw requests of `tests/corpus` are refused or made harmless, over both protocols |
//! | `instruments` | the tests' own tools tell the truth: origin, clients, outside verifiers, third-party gateway |
//! | `keys` | an API key that AWS keeps: looked up at the start, again when the gateway refuses it, and what is said when it cannot be |
//! | `init` | a configuration file from what AWS knows of an API; it serves, and overwrites nothing unasked |
//! | `ministack` | a third-party gateway lets in whom it should through the proxy, and its refusals come back unchanged |
//! | `vectors` | AWS's published SigV4 test suite and our own vectors come out right at each stage |
//! | `headers` | request headers: hop by hop, owned, signed; none is invented |
//! | `target` | the request target: path, query, mounts, rules |
//! | `bodies` | request bodies: bounded, whole, with an exact length, never changed |
//! | `responses` | answers: as they are and as they come; cut ones, `Location`, echoed secrets |
//! | `healing` | expired sessions, unknown keys, wrong clocks, sources that are down: healed, or passed on as they are |
//! | `renewal` | what no single answer tells: clocks that only dates show, late sources, one login for several, whose keys |
//! | `smuggling` | two stages on different parsers see the same requests, of the corpus and of variations of it |
//! | `credentials` | which keys sign, and what happens without any |
//! | `pages` | what web pages can cause: refused by origin and site, on the admin listener too |
//! | `browser` | a real browser: pages of other sites and rebound names cause nothing, allowed and own pages work |
//! | `cors` | pages of allowed origins: preflights, readable answers and refusals |
//! | `cookies` | a stage's cookies are kept for the proxy |
//! | `guarding` | who may borrow the credentials: hosts, methods, addresses |
//! | `lending` | only what is configured is lent out: allow, deny, read-only, in every spelling |
//! | `rates` | how often and how many at once: turns and places, in order, given back |
//! | `tokens` | the callers' token: every way to send it, what is refused without it, and that it goes no further |
//! | `sockets` | Unix sockets: their mode, whose they are, who may connect |
//! | `secrets` | files that others may read, command lines, and memory that leaves no trace |
//! | `upstream` | TLS, kept connections, sending again, and no answer at all |
//! | `listening_tls` | TLS for clients: certificates, ALPN, plain HTTP that comes by mistake |
//! | `slow` | clients that send, read or do nothing: each ends, and locks nobody out |
//! | `floods` | HTTP/2 clients that abuse the protocol lose their connection, or do no harm |
//! | `faults` | the stage breaks off at each moment in each way: nothing is lost, nothing sent twice, the next is served |
//! | `reach` | names that move, addresses that swallow packets, certificates that do not hold |
//! | `reload` | a changed configuration is taken up without losing a request, a wrong one is not |
//! | `service` | the unit or agent that is written, and what the service manager is asked |
//! | `lifecycle` | start and end as others see them: startup, readiness, a health path, quitting by a request; `wait`, `shutdown` |
//! | `exec` | a proxy for one command: its streams, exit code and signals are its own |
//! | `monitoring` | the dashboard's and the alerts' queries find what they ask for in a real Prometheus; files of deploy/ |
//! | `draining` | the end in order: readiness, listeners, requests under way, streams; a second signal |
//! | `daemon` | systemd is told, sockets are handed over, SIGTERM as process 1 |
//! | `resources` | no more descriptors, a full disk, a log that nobody reads: it keeps serving |
//! | `soak` | many requests through everything that changes: none lost, none doubled, nothing grows |
//! | `process` | start, listeners, what is no request, health, drain and end |
//! | `canary` | no secret comes out in any spelling: logs at trace, answers, pages, help, refused configurations |
//! | `greeting` | what a person sees on a terminal: what it will do, and what will fail |
//! | `logs` | one line a request, and no secret at any level |
//! | `showing` | `--show` and `--log-failed`: readable, harmless, without secrets, and nothing is held up |
//! | `metrics` | every number is right after known traffic, and Prometheus' own parsers read it |
//! | `inspecting` | who may see the inspector, how `inspect` leads there, and that nobody keeps others out of its listener |
//! | `inspecting_api` | what the inspector shows and does: list, events, state, replay, send, commands, archives; no secret |
//! | `inspector_page` | the inspector's page in a real browser: what it shows and does, and that nothing captured runs in it |
//! | `tracing` | spans reach a collector, join the client's trace, and hold no secret |
//! | `demo` | it works with an empty environment, shows no secret and leaves nothing running |
//! | `explaining` | `explain` says what the proxy does: AWS's vectors, botocore and the proxy itself agree; what a refusal differs in |
//! | `request` | `request` sends one signed request and writes its answer, with curl's exit codes |
//! | `checking` | `check` finds what is there, what is not and what does not fit, and asks only what is harmless |
//! | `policy` | `policy` writes the least that IAM has to allow, and a third-party IAM lets in with it whom it should |
//! | `getting_started` | docs/getting-started.md: every command is run as it stands there |
//! | `stack` | `stack` makes, changes and deletes: outputs, failures, signals, roles, terminals; against another's CloudFormation |
//! | `outputs` | what every command says to people is kept, its help too, and read before it changes |
//! | `refusals` | every refusal is provoked, and documented |
//!
//! `support` is what they share: it starts programs, plays the stage and the client, and speaks with the verifiers.

#![forbid(unsafe_code)]
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
mod browser;
mod building;
mod canary;
mod checking;
mod clients;
mod container;
mod cookies;
mod corpus;
mod cors;
mod credentials;
mod daemon;
mod demo;
mod draining;
mod exec;
mod explaining;
mod faults;
mod floods;
mod getting_started;
mod greeting;
mod guarding;
mod headers;
mod healing;
mod init;
mod inspecting;
mod inspecting_api;
mod inspector_page;
mod instruments;
mod keys;
mod lending;
mod lifecycle;
mod listening_tls;
mod logs;
mod metrics;
mod ministack;
mod monitoring;
mod outputs;
mod pages;
mod policy;
mod process;
mod rates;
mod reach;
mod refusals;
mod reload;
mod renewal;
mod request;
mod resources;
mod responses;
mod secrets;
mod service;
mod showing;
mod slow;
mod smuggling;
mod soak;
mod sockets;
mod stack;
mod target;
mod tokens;
mod tracing;
mod upstream;
mod vectors;
