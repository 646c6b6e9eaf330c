//! The longest mount picks the stage, and the first rule that matches says what is required.
//!
//! Refused are:
//!
//! 1. a target that is no path (`OPTIONS *`) or had a fragment (400), except where `http` and `h2` cut it off unseen:
//!    over h2c, and in a pipelined HTTP/1.1 request after the first. There the fragment is dropped, and never leaves;
//! 2. a path with a dot segment in any spelling (400): no request leaves its stage;
//! 3. a path below no mount (404);
//! 4. a path below the mount of a stage that could not be prepared, whose `ca_bundle` is missing, say (503): other
//!    stages are served.
//!
//! Rules are matched on the very path that is forwarded, with empty segments dropped and escapes decoded as the
//! gateway does, so that neither `//` nor `%61` dodges one.

use std::rc::Rc;

use http::HeaderValue;

use super::{
    guard::Guarded,
    record::Received,
    refusal::{Code, Refusal},
    stage::{Shared, Stage},
    step::Step,
    target::{decode, has_dot_segment, segments},
};
use crate::config::Auth;

/// A request whose stage is known.
pub struct Routed {
    pub(super) received: Received,
    pub(super) local_host: HeaderValue,
    pub(super) stage: Rc<Stage>,
    pub(super) auth: Auth,
    /// Where the path below the mount begins in the request's path.
    pub(super) below: usize,
}

/// The step.
#[derive(Clone)]
pub(super) struct Route {
    shared: Rc<Shared>,
}

impl Route {
    pub(super) fn new(shared: &Rc<Shared>) -> Self {
        Self { shared: Rc::clone(shared) }
    }
}

impl Step for Route {
    type In = Guarded;
    type Out = Routed;

    fn apply(&self, Guarded { received, local_host }: Guarded) -> Result<Routed, Refusal> {
        let path = received.parts.uri.path();
        if received.fragment || !path.starts_with('/') {
            return Err(Code::BadTarget.into());
        }
        if has_dot_segment(path) {
            return Err(Code::DotSegment.into());
        }
        let mounted =
            |stage: &Rc<Stage>| below_mount(path, &stage.mount).map(|below| (Rc::clone(stage), below));
        let Some((stage, below)) = self.shared.stages.iter().find_map(mounted) else {
            return Err(Code::NoStage.into());
        };
        // The record is new and the stage is set here only.
        let _ = received.record.stage.set(Rc::clone(&stage.name));
        let rule = stage.rule(&received.parts.method, &path[below..]);
        let (auth, record) = (rule.auth, &received.record);
        record.series.set(rule.series);
        if record.is_logged() {
            let _ = record.route.set((Rc::clone(&rule.path), auth));
        }
        if let Some(capture) = &record.capture {
            capture.route(&rule.label);
        }
        if let Some(why) = stage.unavailable() {
            return Err(Refusal::because(
                Code::StageUnavailable,
                format!("This stage cannot be served: {why}."),
            ));
        }
        Ok(Routed { received, local_host, stage, auth, below })
    }
}

/// Where the part of `path` below the mount begins, if it is below it.
pub(crate) fn below_mount(path: &str, mount: &[Vec<u8>]) -> Option<usize> {
    let mut at = 0;
    let mut found = segments(path);
    for expected in mount {
        let segment = found.next()?;
        if decode(segment.as_bytes()) != *expected {
            return None;
        }
        at = segment.as_ptr().addr() - path.as_ptr().addr() + segment.len();
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::below_mount;

    #[test]
    fn mounts() {
        let orders = [b"shop".to_vec(), b"orders".to_vec()];
        for (path, mount, below) in [
            ("/x/y", &[][..], Some("/x/y")),
            ("//x", &[], Some("//x")),
            ("/shop/orders", &orders[..], Some("")),
            ("/shop/orders/", &orders, Some("/")),
            ("/shop//orders//1", &orders, Some("//1")),
            ("//shop/%6frders/1", &orders, Some("/1")),
            ("/shop/orders2", &orders, None),
            ("/shop", &orders, None),
            ("/shop%2Forders", &orders, None),
        ] {
            assert_eq!(below_mount(path, mount).map(|at| &path[at..]), below, "{path}");
        }
    }
}
