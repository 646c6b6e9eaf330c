//! Kept connections to one stage on one thread. The one used last is taken first, so that the others can age out.
//!
//! hyper-util's legacy client hashes a pool key and locks for each request, and sends twice on its own; here a stage
//! has its own list, and only `proxy::attempt` decides to send twice.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Poll, ready},
    time::{Duration, Instant},
};

use http::{Request, Response};
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
/// How long a kept connection may take to be ready. One that is not by then is still being written to: the stage
/// answered before it had read the request.
const READY: Duration = Duration::from_millis(100);

/// The connections to one stage.
pub struct Pool {
    dialer: Dialer,
    timeouts: Timeouts,
    idle: RefCell<Vec<Idle>>,
    /// Where it is counted.
    stage: StageIndex,
}

struct Idle {
    connection: Connection,
    since: Instant,
    counted: UpstreamConnection,
}

/// A connection and the task that drives it.
struct Connection {
    sender: SendRequest<Chunks>,
    traffic: Rc<Traffic>,
    task: AbortHandle,
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
    reused: bool,
}

/// An answer, and how it was had.
pub struct Answer {
    /// Its head, and its body as it comes.
    pub response: Response<AnswerBody>,
    /// Whether the connection came from the pool.
    pub reused: bool,
}

impl Pool {
    /// An empty pool; `tls` is given exactly when the stage's url asks for it.
    #[must_use]
    pub fn new(stage: &Stage, tls: Option<Arc<ClientConfig>>) -> Rc<Self> {
        let dialer = Dialer::new(&stage.url, stage.connect_to.as_ref(), tls, stage.timeouts.connect);
        let index = metrics::stage(&stage.name);
        Rc::new(Self { dialer, timeouts: stage.timeouts, idle: RefCell::default(), stage: index })
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
        let kept = if fresh { None } else { self.take().await };
        let mut lease = match kept {
            Some(lease) => lease,
            // Boxed because it is rare and large: every request would carry its room.
            None => Box::pin(self.connect()).await?,
        };
        let Connection { sender, traffic, .. } = &mut lease.connection;
        record.enter_at(Phase::FirstByte, traffic.begin());
        metrics::sent(self.stage, lease.reused);
        let sending = sender.try_send_request(request);
        let response = match within(self.timeouts.first_byte, traffic, sending).await {
            Ok(Ok(response)) => response,
            Ok(Err(mut error)) => {
                let unsent = error.take_message().is_some();
                let maybe_stale = lease.reused && !traffic.is_answered();
                return Err(broken(error.into_error(), unsent, maybe_stale));
            }
            Err(coarse::Elapsed) => return Err(Failure::FirstByteTimeout),
        };
        record.enter(Phase::Answer);
        let reused = lease.reused;
        let response = response.map(|body| AnswerBody::new(body, lease, self.timeouts.idle));
        Ok(Answer { response, reused })
    }

    async fn take(self: &Rc<Self>) -> Option<Lease> {
        loop {
            let Idle { mut connection, since, counted } = self.idle.borrow_mut().pop()?;
            drop(counted);
            if since.elapsed() >= KEEP {
                continue;
            }
            // It may be a moment behind: the answer's last piece arrived, and its task has yet to see that.
            if !connection.sender.is_ready() {
                match coarse::timeout(READY, connection.sender.ready()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => continue,
                    // One such wait is enough for a request: it goes over a new connection.
                    Err(coarse::Elapsed) => return None,
                }
            }
            return Some(Lease { connection, pool: Rc::downgrade(self), reused: true });
        }
    }

    async fn connect(self: &Rc<Self>) -> Result<Lease, Failure> {
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
        let connection = Connection { sender, traffic, task: task.abort_handle(), _counted: counted };
        Ok(Lease { connection, pool: Rc::downgrade(self), reused: false })
    }

    fn failed(&self, failure: &Failure) {
        let outcome = match failure {
            Failure::Resolve { .. } => Dial::Name,
            Failure::Connect { .. } => Dial::Connect,
            Failure::Tls { .. } => Dial::Tls,
            Failure::ConnectTimeout { .. } => Dial::Timeout,
            Failure::FirstByteTimeout | Failure::Broken { .. } | Failure::Garbage { .. } => Dial::Broken,
        };
        metrics::dialled(self.stage, outcome);
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self) {
        self.idle
            .borrow_mut()
            .retain(|idle| !idle.connection.sender.is_closed() && idle.since.elapsed() < KEEP);
    }
}

impl Lease {
    pub(super) fn give_back(self) {
        let Self { connection, pool, .. } = self;
        if let Some(pool) = pool.upgrade()
            && !connection.sender.is_closed()
        {
            let counted = UpstreamConnection::idle(pool.stage);
            pool.idle.borrow_mut().push(Idle { connection, since: Instant::now(), counted });
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
    let mut deadline = coarse::Deadline::after(limit);
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

fn broken(source: hyper::Error, unsent: bool, maybe_stale: bool) -> Failure {
    if source.is_parse() || source.is_parse_too_large() || source.is_parse_status() {
        return Failure::Garbage { source };
    }
    let sent = match (unsent, maybe_stale) {
        (true, _) => Sent::Nothing,
        (false, true) => Sent::MaybeOnPooled,
        (false, false) => Sent::Maybe,
    };
    Failure::Broken { sent, source }
}
