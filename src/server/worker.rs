//! A thread that serves connections with a runtime, pools and signers of its own.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::Sender,
    },
    thread,
    time::Duration,
};

use tokio::{
    io::DuplexStream,
    runtime::LocalOptions,
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::{JoinHandle, spawn_local},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Common, Setup, StartError,
    accept::{Handed, accept_all, permit, until_stopped},
    connection::serve,
    crowd::Crowd,
    listen::{Conn, Listener},
};
use crate::{
    coarse,
    proxy::{Inside, Live, Shared},
    telemetry,
};

/// How often idle connections to the stages are looked through.
const SWEEP: Duration = Duration::from_secs(5);

/// Where a worker's connections come from.
pub(super) enum Inbox {
    /// It is the only worker and accepts by itself.
    Listeners(Vec<Listener>),
    /// The acceptor hands them over.
    Sockets(mpsc::UnboundedReceiver<Handed>),
}

/// Connections from this process itself.
pub(super) type FromInside = mpsc::UnboundedReceiver<(DuplexStream, Arc<Inside>)>;

pub(super) fn spawn(
    index: usize,
    common: Common,
    inbox: Inbox,
    inside: Option<FromInside>,
    ready: Sender<Result<(), StartError>>,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        if let Some(metrics) = &common.metrics {
            metrics.enter(index);
        }
        common.watchers.enter(common.setup.borrow().budget.config());
        let served = run(index, common, inbox, inside, &ready);
        if let Err(error) = served {
            // Before it served, somebody waits for this; afterwards nothing fails.
            let _ = ready.send(Err(error));
        }
    })
}

/// What the connections of a worker hold of it.
struct Worker {
    common: Common,
    live: Rc<Live>,
    tls: RefCell<Option<TlsAcceptor>>,
    crowd: Rc<Crowd>,
}

fn run(
    index: usize,
    common: Common,
    inbox: Inbox,
    inside: Option<FromInside>,
    ready: &Sender<Result<(), StartError>>,
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Looking for events less often than the default 61 polls is what moves p99: see docs/performance.md.
        .event_interval(256)
        // Its tasks stay on this thread, as in a `LocalSet`, but in the runtime's own queue instead of one inside another.
        .build_local(LocalOptions::default())?;
    let result = runtime.block_on(async {
        let mut setups = common.setup.clone();
        let setup = Arc::clone(&setups.borrow_and_update());
        let worker = Rc::new(Worker {
            live: Live::new(Shared::new(&common.sources, &setup.budget, None)),
            tls: RefCell::new(setup.tls.clone()),
            crowd: Crowd::new(&setup.budget.config().limits),
            common,
        });
        drop(setup);
        let common = &worker.common;
        let background = [
            spawn_local(telemetry::flush_when_due()),
            spawn_local(sweep(Rc::clone(&worker.live))),
            spawn_local(answer_pulse(index, common.pulse.clone(), Arc::clone(&common.beats))),
            spawn_local(follow(index, Rc::clone(&worker), setups)),
        ];
        let make_room = {
            let worker = Rc::clone(&worker);
            spawn_local(async move { worker.crowd.make_room(&worker.common).await })
        };
        if let Some(inside) = inside {
            spawn_local(receive_inside(Rc::clone(&worker), inside));
        }
        match inbox {
            Inbox::Listeners(listeners) => accept_here(&worker, listeners, ready).await?,
            Inbox::Sockets(inbox) => receive(&worker, inbox, ready).await,
        }
        make_room.abort();
        let all = u32::try_from(common.config.limits.max_connections).unwrap_or(u32::MAX);
        let limit = worker.live.shared().config().limits.drain_timeout;
        let mut cutting = common.cutting.clone();
        let ended = coarse::timeout(limit, common.connections.acquire_many(all));
        match until_stopped(&mut cutting, ended).await {
            Some(Ok(_)) => {}
            Some(Err(coarse::Elapsed)) => {
                tracing::warn!("some requests did not end within limits.drain_timeout and are cut");
            }
            None => tracing::warn!("requests under way are cut"),
        }
        for task in background {
            task.abort();
        }
        Ok(())
    });
    // Cuts what is left, which writes its lines of log into this thread's buffer; then flushes that. A name that is being
    // looked up has a thread of its own, for which nobody waits.
    runtime.shutdown_background();
    telemetry::flush();
    result
}

/// Takes up what a reload brings.
async fn follow(index: usize, worker: Rc<Worker>, mut setups: watch::Receiver<Arc<Setup>>) {
    let end_idle = || {
        let crowd = Rc::clone(&worker.crowd);
        AbortOnDrop(spawn_local(async move { crowd.end_idle().await }))
    };
    let mut ending = end_idle();
    while setups.changed().await.is_ok() {
        let setup = Arc::clone(&setups.borrow_and_update());
        if let Some(metrics) = &worker.common.metrics {
            metrics.enter(index);
        }
        worker.common.watchers.enter(setup.budget.config());
        let before = worker.live.shared();
        worker.live.replace(Shared::new(&worker.common.sources, &setup.budget, Some(&before)));
        worker.tls.replace(setup.tls.clone());
        let limits = &setup.budget.config().limits;
        let was = worker.crowd.limits().idle_timeout;
        worker.crowd.set_limits(limits);
        if limits.idle_timeout != was {
            ending = end_idle();
        }
        if let Some(swapped) = &setup.swapped {
            // Whoever asked may have given up.
            let _ = swapped.send(());
        }
    }
    drop(ending);
}

/// A task that ends with its owner.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Shows that this thread is not stuck.
async fn answer_pulse(index: usize, mut pulse: watch::Receiver<u64>, beats: Arc<[AtomicU64]>) {
    while pulse.changed().await.is_ok() {
        beats[index].store(*pulse.borrow_and_update(), Ordering::Relaxed);
    }
}

async fn accept_here(
    worker: &Rc<Worker>,
    listeners: Vec<Listener>,
    ready: &Sender<Result<(), StartError>>,
) -> Result<(), StartError> {
    let listeners = listeners.into_iter().map(Listener::into_async).collect::<Result<Vec<_>, _>>()?;
    let _ = ready.send(Ok(()));
    let tasks: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let worker = Rc::clone(worker);
            spawn_local(async move {
                accept_all(&worker.common, listener, |conn, permit| start(&worker, conn, permit)).await;
            })
        })
        .collect();
    for task in tasks {
        let _ = task.await;
    }
    Ok(())
}

async fn receive(
    worker: &Rc<Worker>,
    mut inbox: mpsc::UnboundedReceiver<Handed>,
    ready: &Sender<Result<(), StartError>>,
) {
    let _ = ready.send(Ok(()));
    // Ends when the acceptor does.
    while let Some((socket, permit)) = inbox.recv().await {
        match Conn::attach(socket) {
            Ok(conn) => start(worker, conn, permit),
            Err(error) => tracing::warn!(%error, "a connection is lost"),
        }
    }
}

/// Takes connections from this process itself, as one of many.
async fn receive_inside(worker: Rc<Worker>, mut inside: FromInside) {
    let mut stopping = worker.common.stopping.clone();
    let next = async {
        while let Some((stream, about)) = inside.recv().await {
            let permit = permit(&worker.common).await;
            start(&worker, Conn::Inside(stream, about), permit);
        }
    };
    let _ = until_stopped(&mut stopping, next).await;
}

fn start(worker: &Worker, conn: Conn, permit: OwnedSemaphorePermit) {
    let (live, stopping) = (Rc::clone(&worker.live), worker.common.stopping.clone());
    let tls = worker.tls.borrow().clone();
    worker.crowd.enter(|watch, member| {
        spawn_local(async move {
            serve(conn, &live, tls.as_ref(), &watch, stopping).await;
            drop(member);
            drop(permit);
        })
    });
}

async fn sweep(live: Rc<Live>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        live.shared().sweep();
    }
}
