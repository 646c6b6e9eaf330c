//! The way to a stage: name, TCP, TLS, a pool of kept connections, and what an exchange on one of them may end in.
//!
//! | file | what it does |
//! |---|---|
//! | `dial` | host and port become a connection: addresses tried side by side, `connect_to` |
//! | `tls` | trusted roots and the handshake |
//! | `stream` | plain or TLS, as one type |
//! | `pool` | per thread and stage: takes the connection that was used last, puts it back after the answer |
//! | `body` | request bodies that can be sent again, answer bodies that give their connection back |
//! | `look` | its addresses and its certificate, for `check` |
//! | `failure` | what went wrong, and whether the request was provably not processed |

mod body;
mod dial;
mod failure;
mod look;
mod pool;
mod stream;
mod tls;

pub use body::{AnswerBody, Chunks, Cut};
pub use failure::{Failure, Sent};
pub use look::{LookError, MOST_DAYS, Seen, addresses, look};
pub use pool::{Answer, Pool};
pub use tls::{RootError, Roots, trusting_nobody};
