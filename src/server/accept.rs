//! Takes connections from every listener, as many at once as `limits.max_connections` allows. One more takes the place
//! of the one that has been idle longest; when none is idle it waits, and what comes after it in the system's queue.

use std::{future::Future, io, sync::Arc, thread::JoinHandle, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    Common,
    listen::{AsyncListener, Conn, Detached, Listener},
};

/// How long to wait after the system gave no socket (out of file descriptors, say) before asking again.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection on its way to a worker.
pub(super) type Handed = (Detached, OwnedSemaphorePermit);

/// Accepts on one listener until the server stops.
pub(super) async fn accept_all(
    common: &Common,
    listener: AsyncListener,
    mut hand_over: impl FnMut(Conn, OwnedSemaphorePermit),
) {
    let mut stopping = common.stopping.clone();
    let mut failing = false;
    loop {
        let Some(accepted) = until_stopped(&mut stopping, listener.accept()).await else { return };
        match accepted {
            Ok(conn) => {
                failing = false;
                let Some(permit) = until_stopped(&mut stopping, permit(common)).await else { return };
                hand_over(conn, permit);
            }
            // The client left while it waited.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "connections cannot be accepted for now");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Leave to serve a connection more.
pub(super) async fn permit(common: &Common) -> OwnedSemaphorePermit {
    let connections = || Arc::clone(&common.connections);
    if let Ok(permit) = connections().try_acquire_owned() {
        return permit;
    }
    common.room.notify_one();
    connections().acquire_owned().await.expect("the semaphore is never closed")
}

/// What `future` gives, or `None` when the server stops first.
pub(super) async fn until_stopped<F: Future>(
    stopping: &mut tokio::sync::watch::Receiver<bool>,
    future: F,
) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        // The sender is gone only when the server is.
        _ = stopping.wait_for(|stop| *stop) => None,
    }
}

/// The acceptor of several workers: a thread of its own that hands sockets over round robin.
pub(super) fn spawn(
    common: Common,
    listeners: Vec<Listener>,
    workers: Vec<mpsc::UnboundedSender<Handed>>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("acceptor".into()).spawn(move || {
        let local = tokio::task::LocalSet::new();
        let next = std::rc::Rc::new(std::cell::Cell::new(0));
        let workers = std::rc::Rc::new(workers);
        local.block_on(&runtime, async move {
            let mut tasks = Vec::new();
            for listener in listeners {
                let (common, next, workers) = (common.clone(), next.clone(), workers.clone());
                tasks.push(tokio::task::spawn_local(async move {
                    let listener = match listener.into_async() {
                        Ok(listener) => listener,
                        Err(error) => return tracing::error!(%error, "a listener cannot be used"),
                    };
                    accept_all(&common, listener, |conn, permit| {
                        let index = next.replace((next.get() + 1) % workers.len());
                        match conn.detach() {
                            // A worker that is gone has ended the server.
                            Ok(socket) => drop(workers[index].send((socket, permit))),
                            Err(error) => tracing::warn!(%error, "a connection is lost"),
                        }
                    })
                    .await;
                }));
            }
            for task in tasks {
                let _ = task.await;
            }
        });
    })
}
