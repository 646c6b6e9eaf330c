//! What the process gives up at its start, so that its memory, which holds secrets, stays its own.
//!
//! - No core dump: the size limit is 0 (setrlimit(2)), and on Linux the process is not dumpable (PR_SET_DUMPABLE,
//!   prctl(2)), because a core that the kernel pipes to a handler such as systemd-coredump takes no heed of the limit
//!   (core(5)).
//! - Not dumpable also means that other processes of the same user can neither attach to it (ptrace(2)) nor read its
//!   memory and environment below `/proc` (proc(5)); the administrator still can. What it asks of `/proc/self` itself
//!   is not affected, nor are the files that monitoring reads (`stat`, `status`, `cmdline`).
//!
//! Programs that it starts inherit the limit; they are dumpable as they would be otherwise (execve(2)).

use rustix::process::{Resource, Rlimit, setrlimit};

/// Gives it up, as far as the system allows: a system that refuses is no reason not to serve.
pub(super) fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}
