//! Kept connections to one stage on one thread. The one used last is taken first, so that the others can age out.
//!
//! hyper-util's legacy client hashes a pool key and locks for each request, and sends twice on its own; here a stage
//! has its own list, and only `proxy::attempt` decides to send twice.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Poll, ready},
    time::{Duration, Instant, SystemTime},
};

use http::{Request, Response, StatusCode, header};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::task::AbortHandle;

use super::{
    body::{AnswerBody, Chunks},
    dial::Dialer,
    failure::{Failure, Sent},
    stream::Traffic,
};
use crate::{
    coarse,
    config::{Stage, Timeouts},
    telemetry::{
        Phase, Record,
        metrics::{self, Dial, StageIndex, UpstreamConnection},
    },
};

/// How long an idle connection is kept. API Gateway does not say how long it keeps its end; any pooled connection may
/// be dead, and `attempt` knows what to do then.
const KEEP: Duration = Duration::from_secs(55);
/// After so long at rest a connection is looked at before it is written to.
const REST: Duration = Duration::from_millis(100);
/// How long a kept connection may take to be ready; by then its task has surely had its turn.
const READY: Duration = Duration::from_millis(100);

/// The connections to one stage.
pub struct Pool {
    dialer: Dialer,
    timeouts: Timeouts,
    idle: RefCell<Vec<Idle>>,
    /// Whether connections are closed rather than kept: nothing more will be sent.
    retired: Cell<bool>,
    /// Where it is counted.
    stage: StageIndex,
}

struct Idle {
    connection: Connection,
    since: SystemTime,
    counted: UpstreamConnection,
}

/// How long a connection of `born` has been idle since `since`, if it may still be used: not for too long and not too
/// old. By the wall clock, since `Instant` stands still while a laptop sleeps; a clock that was set back ends it too.
fn rested(since: SystemTime, born: SystemTime, now: SystemTime, age: Duration) -> Option<Duration> {
    let idle = now.duration_since(since).ok().filter(|idle| *idle < KEEP)?;
    now.duration_since(born).is_ok_and(|old| old < age).then_some(idle)
}

/// A connection and the task that drives it.
struct Connection {
    sender: SendRequest<Chunks>,
    traffic: Rc<Traffic>,
    task: AbortHandle,
    born: SystemTime,
    _counted: UpstreamConnection,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // By itself the task would first end what it writes, and a stage that answered early may never read that.
        self.task.abort();
    }
}

/// A connection that is in use; dropped, it is closed.
pub(super) struct Lease {
    connection: Connection,
    pool: Weak<Pool>,
    /// How long it was idle before; nothing for a new one.
    rested: Option<Duration>,
}

/// An answer, and how it was had.
pub struct Answer {
    /// Its head, and its body as it comes.
    pub response: Response<AnswerBody>,
    /// Whether the connection came from the pool.
    pub reused: bool,
}

impl Answer {
    /// Whether this only says that no request came for too long, and crossed with the one that did. A client may repeat
    /// that over a new connection (RFC 9110, section 15.5.9). A stage's own 408 does not end its connection.
    #[must_use]
    pub fn gave_up_waiting(&self) -> bool {
        let closes = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"close");
        self.response.status() == StatusCode::REQUEST_TIMEOUT
            && self.reused
            && self.response.headers().get(header::CONNECTION).is_some_and(closes)
    }
}

impl Pool {
    /// An empty pool; `tls` is given exactly when the stage's url asks for it.
    #[must_use]
    pub fn new(stage: &Stage, tls: Option<Arc<ClientConfig>>) -> Rc<Self> {
        let dialer = Dialer::new(&stage.url, stage.connect_to.as_ref(), tls, stage.timeouts);
        let index = metrics::stage(&stage.name);
        Rc::new(Self {
            dialer,
            timeouts: stage.timeouts,
            idle: RefCell::default(),
            retired: Cell::new(false),
            stage: index,
        })
    }

    /// Sends `request` on a kept connection, or on a new one (`fresh` asks for that), and waits for the head of the
    /// answer. `record` is told which of its phases begin.
    ///
    /// # Errors
    /// [`Failure`], which says how much of the request the stage can have seen.
    pub async fn send(
        self: &Rc<Self>,
        request: Request<Chunks>,
        fresh: bool,
        record: &Record,
    ) -> Result<Answer, Failure> {
        let asked = Instant::now();
        record.enter_at(Phase::Connect, asked);
        let (mut lease, had) = match if fresh { None } else { self.take(asked).await } {
            Some(kept) => kept,
            // Boxed because it is rare and large: every request would carry its room.
            None => (Box::pin(self.connect()).await?, Instant::now()),
        };
        let reused = lease.rested.is_some();
        let Connection { sender, traffic, .. } = &mut lease.connection;
        traffic.begin(had, lease.rested.is_some_and(|rested| rested >= REST));
        record.enter_at(Phase::FirstByte, had);
        metrics::sent(self.stage, reused);
        let sending = sender.try_send_request(request);
        let response = match within(self.timeouts.first_byte, traffic, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(mut error)) => {
                let sent = if error.take_message().is_some() || !traffic.is_begun() {
                    Sent::Nothing
                } else if reused && !traffic.is_answered() {
                    Sent::MaybeOnPooled
                } else {
                    Sent::Maybe
                };
                return Err(broken(error.into_error(), sent));
            }
            Err(coarse::Elapsed) => return Err(Failure::FirstByteTimeout),
        };
        record.enter(Phase::Answer);
        let response = response.map(|body| AnswerBody::new(body, lease, self.timeouts.idle));
        Ok(Answer { response, reused })
    }

    /// A kept connection and when it was had: at once, as `asked`, unless it had to be waited for.
    async fn take(self: &Rc<Self>, asked: Instant) -> Option<(Lease, Instant)> {
        let mut had = asked;
        loop {
            let Idle { mut connection, since, counted } = self.idle.borrow_mut().pop()?;
            drop(counted);
            let (born, age) = (connection.born, self.timeouts.connection_age);
            let Some(idle) = rested(since, born, SystemTime::now(), age) else { continue };
            // It may be a moment behind: the answer's last piece arrived, and its task has yet to see that.
            if !connection.sender.is_ready() {
                let ready = coarse::timeout(READY, connection.sender.ready()).await;
                had = Instant::now();
                match ready {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => continue,
                    // One such wait is enough for a request: it goes over a new connection.
                    Err(coarse::Elapsed) => return None,
                }
            }
            return Some((Lease { connection, pool: Rc::downgrade(self), rested: Some(idle) }, had));
        }
    }

    async fn connect(self: &Rc<Self>) -> Result<Lease, Failure> {
        let born = SystemTime::now();
        let stream = self.dialer.dial().await.inspect_err(|failure| self.failed(failure))?;
        let traffic = stream.traffic();
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(128 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| Failure::Broken { sent: Sent::Nothing, source })
            .inspect_err(|failure| self.failed(failure))?;
        metrics::dialled(self.stage, Dial::Connected);
        // The task notices by itself when the stage closes an idle connection.
        let task = tokio::task::spawn_local(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "a connection to the stage ended");
            }
        });
        let counted = UpstreamConnection::open(self.stage);
        let connection = Connection { sender, traffic, task: task.abort_handle(), born, _counted: counted };
        Ok(Lease { connection, pool: Rc::downgrade(self), rested: None })
    }

    fn failed(&self, failure: &Failure) {
        let outcome = match failure {
            Failure::Resolve { .. } => Dial::Name,
            Failure::Connect { .. } => Dial::Connect,
            Failure::Tls { .. } => Dial::Tls,
            Failure::ConnectTimeout { .. } | Failure::TlsTimeout { .. } => Dial::Timeout,
            Failure::FirstByteTimeout | Failure::Broken { .. } | Failure::Garbage { .. } => Dial::Broken,
        };
        metrics::dialled(self.stage, outcome);
    }

    /// Closes what is idle now, and from now on each connection when its answer has ended.
    pub fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
    }

    /// Closes what has been idle for too long, or is too old.
    pub fn sweep(&self) {
        let (now, age) = (SystemTime::now(), self.timeouts.connection_age);
        self.idle.borrow_mut().retain(|idle| {
            let Idle { connection, since, .. } = idle;
            !connection.sender.is_closed() && rested(*since, connection.born, now, age).is_some()
        });
    }
}

impl Lease {
    pub(super) fn give_back(self) {
        let Self { connection, pool, .. } = self;
        if let Some(pool) = pool.upgrade()
            && !pool.retired.get()
            && !connection.sender.is_closed()
            && !connection.traffic.is_unsent()
        {
            let counted = UpstreamConnection::idle(pool.stage);
            pool.idle.borrow_mut().push(Idle { connection, since: SystemTime::now(), counted });
        }
    }
}

/// Runs `sending` until nothing was written for `limit`: the time runs from the request's last byte, however long a
/// slow line takes for those before it.
async fn within<F: Future>(
    limit: Duration,
    traffic: &Traffic,
    sending: F,
) -> Result<F::Output, coarse::Elapsed> {
    let mut deadline = coarse::Deadline::at(traffic.last_written() + limit);
    let mut sending = std::pin::pin!(sending);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = sending.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        loop {
            ready!(Pin::new(&mut deadline).poll(cx));
            let left = limit.saturating_sub(traffic.last_written().elapsed());
            if left.is_zero() {
                return Poll::Ready(Err(coarse::Elapsed));
            }
            deadline.restart(left);
        }
    })
    .await
}

fn broken(source: hyper::Error, sent: Sent) -> Failure {
    if source.is_parse() || source.is_parse_too_large() || source.is_parse_status() {
        return Failure::Garbage { source };
    }
    Failure::Broken { sent, source }
}

#[cfg(test)]
mod tests {
    use super::{KEEP, rested};
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_connection_from_before_a_sleep_is_not_used() {
        let (second, age) = (Duration::from_secs(1), Duration::from_secs(300));
        let born = SystemTime::now();
        let since = born + 10 * second;
        assert_eq!(rested(since, born, since + 3 * second, age), Some(3 * second));
        // The wall clock went on while everything else stood still.
        assert_eq!(rested(since, born, since + 3600 * second, age), None);
        assert_eq!(rested(since, born, since + KEEP, age), None);
    }

    #[test]
    fn a_connection_ends_by_age_however_busy_it_is() {
        let (second, age) = (Duration::from_secs(1), Duration::from_secs(300));
        let born = SystemTime::now();
        let used = |now| rested(now, born, now, age);
        assert_eq!(used(born + age - second), Some(Duration::ZERO));
        assert_eq!(used(born + age), None);
    }

    #[test]
    fn a_clock_that_was_set_back_ends_connections_rather_than_keep_them_for_ever() {
        let (hour, age) = (Duration::from_secs(3600), Duration::from_secs(300));
        let since = SystemTime::now();
        assert_eq!(rested(since, since, since - hour, age), None);
        assert_eq!(rested(since - hour, since, since - hour, age), None);
    }
}
