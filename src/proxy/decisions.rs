//! The decisions of the steps that need no connection, for `fuzzing` to hold against its own. Not in the program.

pub(crate) use super::{
    guard::overrides_method,
    hop_by_hop::remove_hop_by_hop,
    pattern::Pattern,
    route::below_mount,
    sanitize::{Present, clean_headers},
    target::{decode, has_dot_segment, segments},
    wire_target::forwarded_target,
};
