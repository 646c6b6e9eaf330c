//! The connections of one worker. Those that are idle for `limits.idle_timeout` end; and when `limits.max_connections` is
//! reached, the one that has been idle longest makes room for a new one, or the one whose request's head has been coming
//! longest: whoever holds connections without a request, however many, locks nobody out.
//!
//! A request costs a number here: when its connection began to rest, told by counting and not by a clock. Who asks since
//! when a connection rests looks through all of them, which happens seldom.

use std::{
    cell::{Cell, Ref, RefCell},
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinHandle},
};

use super::{Common, http2::FLUSH, phase::Watch};
use crate::{
    coarse,
    config::Limits,
    telemetry::{ConnectionEnd, connection_ended},
};

/// How often within `limits.idle_timeout` is looked for connections whose time is up: they end that much late at most.
const LOOKS: u32 = 16;

/// Those of one worker.
pub(super) struct Crowd {
    limits: RefCell<Limits>,
    members: RefCell<HashMap<u64, (Rc<Watch>, AbortHandle)>>,
    /// Counts events, so that without a clock it is known what came before what.
    moments: Cell<u64>,
    /// Whether somebody waits for a connection to become idle.
    wanted: Cell<bool>,
    became_idle: Notify,
}

/// A connection as long as it lives. Says how it ended.
pub(super) struct Member {
    watch: Rc<Watch>,
    number: u64,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.watch.crowd().members.borrow_mut().remove(&self.number);
        let cause =
            if std::thread::panicking() { ConnectionEnd::Panicked } else { self.watch.cause_of_end() };
        connection_ended(cause);
    }
}

impl Crowd {
    pub(super) fn new(limits: &Limits) -> Rc<Self> {
        Rc::new(Self {
            limits: RefCell::new(limits.clone()),
            members: RefCell::default(),
            moments: Cell::new(0),
            wanted: Cell::new(false),
            became_idle: Notify::new(),
        })
    }

    /// The bounds that hold now; a reload may have changed them since a connection began.
    pub(super) fn limits(&self) -> Ref<'_, Limits> {
        self.limits.borrow()
    }

    /// From now on these hold. [`Crowd::end_idle`] is to be started anew.
    pub(super) fn set_limits(&self, limits: &Limits) {
        self.limits.replace(limits.clone());
    }

    /// Later than all moments before.
    pub(super) fn moment(&self) -> u64 {
        let moment = self.moments.get() + 1;
        self.moments.set(moment);
        moment
    }

    /// A connection has become idle.
    pub(super) fn rests(&self) {
        if self.wanted.get() {
            self.became_idle.notify_one();
        }
    }

    /// Takes a connection in; `spawn` starts its task, which holds the [`Member`].
    pub(super) fn enter(self: &Rc<Self>, spawn: impl FnOnce(Rc<Watch>, Member) -> JoinHandle<()>) {
        let number = self.moment();
        let watch = Watch::new(self);
        let task = spawn(Rc::clone(&watch), Member { watch: Rc::clone(&watch), number });
        self.members.borrow_mut().insert(number, (watch, task.abort_handle()));
        self.rests();
    }

    /// The connection that has been idle longest; where none is, the one that has been without a request longest while
    /// its head is coming: heads that never end would keep everybody out for `limits.header_timeout`.
    fn longest_idle(&self) -> Option<u64> {
        let members = self.members.borrow();
        let without_request = members.iter().filter(|(_, (watch, _))| watch.is_idle() || watch.is_in_head());
        without_request
            .min_by_key(|(_, (watch, _))| (!watch.is_idle(), watch.resting_from()))
            .map(|(number, _)| *number)
    }

    /// Ends the connection that has been idle longest; whether there was one.
    fn end_longest_idle(&self) -> bool {
        let longest = self.longest_idle();
        longest.inspect(|number| self.end(*number, ConnectionEnd::MadeRoom)).is_some()
    }

    fn end(&self, number: u64, cause: ConnectionEnd) {
        // Gone from the list at once: its task ends a little later, and is not to be chosen again until then.
        let member = self.members.borrow_mut().remove(&number);
        if let Some((watch, task)) = member {
            watch.ends_for(cause);
            if watch.is_in_head() {
                watch.give_way();
                // That is done at once; here is what holds if it were not.
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(FLUSH).await;
                    task.abort();
                });
            } else if !watch.tell_to_leave() {
                task.abort();
            }
        }
    }

    /// Ends HTTP/1.1 connections that have been idle for `limits.idle_timeout`.
    pub(super) async fn end_idle(&self) {
        let idle_timeout = self.limits().idle_timeout;
        let pause = (idle_timeout / LOOKS).max(coarse::TICK);
        let looks = idle_timeout.as_nanos().div_ceil(pause.as_nanos()) as usize;
        let mut moments = VecDeque::with_capacity(looks + 1);
        loop {
            moments.push_back(self.moments.get());
            if moments.len() > looks
                && let Some(then) = moments.pop_front()
            {
                let members = self.members.borrow();
                let late = members
                    .iter()
                    .filter(|(_, (watch, _))| watch.is_idle_http1() && watch.resting_from() <= then);
                let late: Vec<u64> = late.map(|(number, _)| *number).collect();
                drop(members);
                for number in late {
                    self.end(number, ConnectionEnd::Idle);
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until a connection is idle.
    async fn somebody_idle(&self) {
        while self.longest_idle().is_none() {
            self.wanted.set(true);
            self.became_idle.notified().await;
        }
        self.wanted.set(false);
    }

    /// Ends an idle connection whenever one more than `limits.max_connections` is there. Of several workers, who has
    /// waited longest with idle connections gives one up.
    pub(super) async fn make_room(&self, common: &Common) {
        loop {
            self.somebody_idle().await;
            common.room.notified().await;
            // Another connection may have ended since.
            if common.connections.available_permits() == 0 && !self.end_longest_idle() {
                common.room.notify_one();
            }
        }
    }
}
