//! What is written down about a run: one line a request, metrics, and diagnostics. A leaf: beside the settings and
//! the type of a secret it knows no other module's types.
//!
//! Can a secret escape? Four things stand against it: secrets have a type that does not print (`secret`), records hold
//! no header, body or query, crates that print what they handle are capped whatever the filter says (`log`), and
//! every diagnostic line, what a panic says too (`panics`), is searched for the secrets in use before it is written
//! (`scrub`).

mod access;
pub mod capture;
mod connection;
pub mod exchange;
mod log;
mod mask;
pub mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod panics;
mod phases;
mod pretty;
mod record;
mod request_id;
mod sample;
mod scrub;
mod show;
#[cfg_attr(not(feature = "otlp"), path = "trace_off.rs")]
mod trace;

pub use access::{ACCESS, flush, flush_when_due, lines_dropped};
#[cfg(test)]
pub(crate) use access::{taken, turn_on};
pub use capture::{Capture, Watchers};
pub use connection::{ConnectionEnd, connection_ended};
pub use log::{BadFilter, Logging, Terminal, start};
pub use mask::Mask;
#[cfg(feature = "otlp")]
pub use otlp::{Traces, TracesError, start_traces};
pub use panics::log_panics;
pub use phases::Phase;
pub use record::{Record, SignedWith};
pub use request_id::{REQUEST_ID, RequestId};
pub use sample::Lines;
#[cfg(test)]
pub use scrub::is_hidden;
pub use scrub::{SHORTEST_HIDDEN, hide};
pub use show::Blocks;
pub use trace::Trace;
#[cfg(not(feature = "otlp"))]
pub use trace::{Traces, TracesError, start_traces};
