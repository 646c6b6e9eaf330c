//! The limit of open files, of which every connection is one. Shells set a low one (256 on macOS, 1024 on most Linux) for
//! the sake of old programs that use `select`; a server raises its own up to what the system allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside connections: the log, what is watched, what is read.
const BESIDE: u64 = 256;

/// Makes room for as many clients, and a connection to a stage for each, as far as the system allows.
pub(super) fn raise_limit(max_connections: usize) {
    let clients = u64::try_from(max_connections).unwrap_or(u64::MAX);
    let wanted = clients.saturating_mul(2).saturating_add(BESIDE);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // No number is no limit. Not more than is needed: commands that are started inherit it.
    let raised = maximum.map_or(wanted, |maximum| wanted.min(maximum));
    let has = match current {
        Some(current) if current < raised => {
            match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
                Ok(()) => raised,
                Err(_) => current,
            }
        }
        Some(current) => current,
        None => return,
    };
    if has < clients.saturating_add(BESIDE) {
        tracing::warn!(
            open_files = has,
            "limits.max_connections is {max_connections}, and this process may open only {has} files; raise the limit \
             (ulimit -n, LimitNOFILE=) or lower max_connections"
        );
    }
}
