//! What is known of a client's connection while it lives: its phase, its streams, since when it rests, why it ends.
//!
//! Shared by `wire`, which sees the bytes, by the services that answer, and by the worker's `crowd`, which chooses who
//! makes room.

use std::{cell::Cell, rc::Rc, task::Waker};

use tokio::sync::Notify;

use super::crowd::Crowd;
use crate::telemetry::ConnectionEnd;

/// What a connection is at; `wire` moves it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Head,
    Busy,
    Tail,
}

/// Shared by the connection, the service that answers its requests, and its worker's [`Crowd`].
pub(super) struct Watch {
    pub(super) crowd: Rc<Crowd>,
    pub(super) phase: Cell<Phase>,
    /// Open streams of an HTTP/2 connection, whose phase is always `Busy`; `None` for HTTP/1.1.
    streams: Cell<Option<u32>>,
    /// Since when it has had no request, if it has none.
    resting_from: Cell<u64>,
    end: Cell<Option<ConnectionEnd>>,
    /// Tells an HTTP/2 connection to leave.
    leave: Notify,
    /// Wakes an HTTP/1.1 connection that waits for the rest of a head.
    in_head: Cell<Option<Waker>>,
    /// Whether that connection is to end, with an answer, to make room for another.
    gives_way: Cell<bool>,
    /// Whether a `#` came in a request line.
    pub(super) fragment: Cell<bool>,
    /// Whether the last request, or what came in place of one, was refused while more of it was still coming.
    pub(super) unread: Cell<bool>,
    /// The length of the last request's body; `None` for chunks.
    pub(super) body: Cell<Option<u64>>,
}

impl Watch {
    pub(super) fn new(crowd: &Rc<Crowd>) -> Rc<Self> {
        Rc::new(Self {
            crowd: Rc::clone(crowd),
            phase: Cell::new(Phase::Idle),
            streams: Cell::new(None),
            resting_from: Cell::new(crowd.moment()),
            end: Cell::new(None),
            leave: Notify::new(),
            in_head: Cell::new(None),
            gives_way: Cell::new(false),
            fragment: Cell::new(false),
            unread: Cell::new(false),
            body: Cell::new(None),
        })
    }

    pub(super) fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    /// Whether nothing is lost with the connection.
    pub(super) fn is_idle(&self) -> bool {
        self.phase.get() == Phase::Idle || self.streams.get() == Some(0)
    }

    /// Whether it is an HTTP/1.1 connection without a request; one over HTTP/2 is told before it ends.
    pub(super) fn is_idle_http1(&self) -> bool {
        self.phase.get() == Phase::Idle
    }

    /// Whether it is an HTTP/1.1 connection on which a request's head is coming.
    pub(super) fn is_in_head(&self) -> bool {
        self.phase.get() == Phase::Head
    }

    /// A moment of the crowd's.
    pub(super) fn resting_from(&self) -> u64 {
        self.resting_from.get()
    }

    pub(super) fn rest(&self) {
        self.resting_from.set(self.crowd.moment());
        self.crowd.rests();
    }

    /// The connection is HTTP/2: it is idle while it has no stream.
    pub(super) fn begin_http2(&self) {
        self.phase.set(Phase::Busy);
        self.streams.set(Some(0));
    }

    pub(super) fn is_http2(&self) -> bool {
        self.streams.get().is_some()
    }

    /// A stream of the HTTP/2 connection has a request.
    pub(super) fn begin_stream(&self) {
        self.streams.set(self.streams.get().map(|open| open + 1));
    }

    /// The stream is done. Whether it was the last one.
    pub(super) fn end_stream(&self) -> bool {
        let left = self.streams.get().map(|open| open.saturating_sub(1));
        self.streams.set(left);
        if left == Some(0) {
            self.rest();
        }
        left == Some(0)
    }

    /// Whether the connection is HTTP/2, and so is told to leave rather than dropped: the last answer is done when h2
    /// has it, but h2 may not have written it yet.
    pub(super) fn tell_to_leave(&self) -> bool {
        let http2 = self.streams.get().is_some();
        if http2 {
            self.leave.notify_one();
        }
        http2
    }

    /// The connection waits for the rest of a head.
    pub(super) fn waits_in_head(&self, waker: &Waker) {
        self.in_head.set(Some(waker.clone()));
    }

    /// Tells the HTTP/1.1 connection to end in place of waiting for the rest of a head.
    pub(super) fn give_way(&self) {
        self.gives_way.set(true);
        // One that does not wait is about to read.
        if let Some(waker) = self.in_head.take() {
            waker.wake();
        }
    }

    /// Whether it was told so.
    pub(super) fn gives_way(&self) -> bool {
        self.gives_way.get()
    }

    /// Until the connection is told to leave.
    pub(super) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Why the connection is about to end; the first reason counts.
    pub(super) fn ends_for(&self, cause: ConnectionEnd) {
        self.end.set(self.end.get().or(Some(cause)));
    }

    /// Why it ended.
    pub(super) fn cause_of_end(&self) -> ConnectionEnd {
        self.end.get().unwrap_or(ConnectionEnd::Closed)
    }

    /// The chain has a request with a body of this length; `None` for chunks. Says whether its target had a fragment,
    /// which hyper drops unseen.
    pub(super) fn begin(&self, body: Option<u64>) -> bool {
        self.phase.set(Phase::Busy);
        self.body.set(body);
        self.unread.set(false);
        self.fragment.replace(false)
    }

    /// The request is refused, and some of it may not have been read.
    pub(super) fn leave_unread(&self) {
        self.unread.set(true);
    }

    /// The answer has been handed over to hyper whole, or was given up.
    pub(super) fn end(&self) {
        self.phase.set(Phase::Tail);
    }
}
