//! A thread that serves connections with a runtime, pools and signers of its own.

use std::{io, rc::Rc, sync::mpsc::Sender, thread::JoinHandle, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::{LocalSet, spawn_local},
};

use super::{
    Common, StartError,
    accept::{Handed, accept_all},
    connection::serve,
    crowd::Crowd,
    listen::{Conn, Listener},
};
use crate::{coarse, proxy::Shared, telemetry};

/// How often idle connections to the stages are looked through.
const SWEEP: Duration = Duration::from_secs(5);

/// Where a worker's connections come from.
pub(super) enum Inbox {
    /// It is the only worker and accepts by itself.
    Listeners(Vec<Listener>),
    /// The acceptor hands them over.
    Sockets(mpsc::UnboundedReceiver<Handed>),
}

pub(super) fn spawn(
    index: usize,
    common: Common,
    inbox: Inbox,
    ready: Sender<Result<(), StartError>>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        if let Some(metrics) = &common.metrics {
            metrics.enter(index);
        }
        let served = run(common, inbox, &ready);
        if let Err(error) = served {
            // Before it served, somebody waits for this; afterwards nothing fails.
            let _ = ready.send(Err(error));
        }
    })
}

fn run(common: Common, inbox: Inbox, ready: &Sender<Result<(), StartError>>) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Looking for events less often than the default 61 polls is what moves p99: see docs/performance.md.
        .event_interval(256)
        .build()?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, async {
        let shared = Shared::new(&common.config, &common.sources, &common.roots, &common.budget)?;
        let flush = spawn_local(telemetry::flush_when_due());
        let sweep = spawn_local(sweep(Rc::clone(&shared)));
        let crowd = Crowd::new(&common.config.limits);
        let make_room = {
            let (common, crowd) = (common.clone(), Rc::clone(&crowd));
            spawn_local(async move { crowd.make_room(&common).await })
        };
        let end_idle = {
            let crowd = Rc::clone(&crowd);
            spawn_local(async move { crowd.end_idle().await })
        };
        match inbox {
            Inbox::Listeners(listeners) => accept_here(&common, &shared, &crowd, listeners, ready).await?,
            Inbox::Sockets(inbox) => receive(&common, &shared, &crowd, inbox, ready).await,
        }
        make_room.abort();
        end_idle.abort();
        let all = u32::try_from(common.config.limits.max_connections).unwrap_or(u32::MAX);
        let limit = common.config.limits.drain_timeout;
        if coarse::timeout(limit, common.connections.acquire_many(all)).await.is_err() {
            tracing::warn!("some requests did not end within limits.drain_timeout and are cut");
        }
        sweep.abort();
        flush.abort();
        Ok(())
    });
    // Cuts what is left, which writes its lines of log into this thread's buffer; then flushes that.
    drop(local);
    telemetry::flush();
    result
}

async fn accept_here(
    common: &Common,
    shared: &Rc<Shared>,
    crowd: &Rc<Crowd>,
    listeners: Vec<Listener>,
    ready: &Sender<Result<(), StartError>>,
) -> Result<(), StartError> {
    let listeners = listeners.into_iter().map(Listener::into_async).collect::<Result<Vec<_>, _>>()?;
    let _ = ready.send(Ok(()));
    let tasks: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let (common, shared, crowd) = (common.clone(), Rc::clone(shared), Rc::clone(crowd));
            spawn_local(async move {
                accept_all(&common, listener, |conn, permit| start(&common, &shared, &crowd, conn, permit))
                    .await;
            })
        })
        .collect();
    for task in tasks {
        let _ = task.await;
    }
    Ok(())
}

async fn receive(
    common: &Common,
    shared: &Rc<Shared>,
    crowd: &Rc<Crowd>,
    mut inbox: mpsc::UnboundedReceiver<Handed>,
    ready: &Sender<Result<(), StartError>>,
) {
    let _ = ready.send(Ok(()));
    // Ends when the acceptor does.
    while let Some((socket, permit)) = inbox.recv().await {
        match Conn::attach(socket) {
            Ok(conn) => start(common, shared, crowd, conn, permit),
            Err(error) => tracing::warn!(%error, "a connection is lost"),
        }
    }
}

fn start(common: &Common, shared: &Rc<Shared>, crowd: &Rc<Crowd>, conn: Conn, permit: OwnedSemaphorePermit) {
    let (shared, tls, stopping) = (Rc::clone(shared), common.tls.clone(), common.stopping.clone());
    crowd.enter(|watch, member| {
        spawn_local(async move {
            serve(conn, &shared, tls.as_ref(), &watch, stopping).await;
            drop(member);
            drop(permit);
        })
    });
}

async fn sweep(shared: Rc<Shared>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        shared.sweep();
    }
}
