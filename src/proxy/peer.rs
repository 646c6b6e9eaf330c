//! Whether the user at the other end of a Unix socket may connect.
//!
//! Asked per request and answered with 403, rather than by closing the connection: the caller is told why. The number
//! is the one that the kernel noted when the connection was made (`SO_PEERCRED`, unix(7)).

use super::{
    record::Caller,
    refusal::{Code, Refusal},
};

/// # Errors
/// A Unix socket's caller is not one of `allowed`, or the system does not say who it is.
pub(super) fn check(caller: &Caller, allowed: &[u32]) -> Result<(), Refusal> {
    if allowed.is_empty() || caller.local.is_some() {
        return Ok(());
    }
    match caller.uid {
        Some(uid) if allowed.contains(&uid) => Ok(()),
        Some(uid) => Err(Refusal::because(
            Code::PeerNotAllowed,
            format!("User {uid} is not one of guard.allowed_uids, who may use this socket."),
        )),
        None => Err(Code::PeerNotAllowed.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Caller, check};

    #[test]
    fn who_is_not_known_does_not_pass() {
        let socket = |uid| Caller { local: None, uid, tls: false, inside: None };
        for (allowed, uid, passes) in [
            (&[][..], None, true),
            (&[], Some(1), true),
            (&[1, 2], Some(2), true),
            (&[1, 2], Some(0), false),
            (&[0], None, false),
        ] {
            assert_eq!(check(&socket(uid), allowed).is_ok(), passes, "{allowed:?} {uid:?}");
        }
        let tcp = Caller { local: Some("127.0.0.1".parse().unwrap()), uid: None, tls: false, inside: None };
        assert!(check(&tcp, &[1]).is_ok());
    }
}
