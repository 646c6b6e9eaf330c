//! What CloudFormation's states mean ("Stack status codes" and "Resource status codes" of its user guide).

/// Whether something is being done.
pub(super) fn moves(status: &str) -> bool {
    status.ends_with("_IN_PROGRESS") && status != "REVIEW_IN_PROGRESS"
}

/// Whether an update is taken no more, so that the stack can only be deleted.
pub(super) fn only_deletes(status: &str) -> bool {
    matches!(status, "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "CREATE_FAILED" | "DELETE_FAILED")
}

/// Whether it is as the template says.
pub(super) fn is_right(status: &str) -> bool {
    matches!(status, "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE")
}

/// Whether there is nothing of it.
pub(super) fn is_gone(status: &str) -> bool {
    status == "DELETE_COMPLETE"
}

/// Whether something failed.
pub(super) fn failed(status: &str) -> bool {
    status.ends_with("_FAILED")
}

/// The state in a person's words, for what moves.
pub(super) fn doing(status: &str) -> &'static str {
    match status {
        _ if status.contains("ROLLBACK") => "rolling back",
        _ if status.contains("CLEANUP") => "cleaning up",
        _ if status.starts_with("DELETE") => "deleting",
        _ if status.starts_with("UPDATE") => "updating",
        _ => "creating",
    }
}

#[cfg(test)]
mod tests {
    use super::{failed, is_right, moves, only_deletes};

    #[test]
    fn each_state_has_one_meaning() {
        for status in ["CREATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"] {
            assert!(moves(status) && !is_right(status) && !only_deletes(status), "{status}");
        }
        for status in ["CREATE_COMPLETE", "UPDATE_COMPLETE"] {
            assert!(is_right(status) && !moves(status) && !only_deletes(status), "{status}");
        }
        // These take an update; they are only not what was last asked for.
        for status in ["UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED", "REVIEW_IN_PROGRESS"] {
            assert!(!is_right(status) && !moves(status) && !only_deletes(status), "{status}");
        }
        assert!(only_deletes("ROLLBACK_COMPLETE") && failed("CREATE_FAILED"));
    }
}
