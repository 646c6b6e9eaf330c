//! Listening sockets that were made before this program started: socket activation, as systemd does it (sd_listen_fds(3):
//! `LISTEN_FDS` sockets from descriptor 3 on, meant for the process `LISTEN_PID`).
//!
//! They take the place of `listen`. A port below 1024 then needs no privilege, and no connection is refused while the
//! program is started anew. An address that other machines reach has to be configured as one all the same: who made the
//! socket may not know what that takes.

use std::{io, net::SocketAddr};

use listenfd::ListenFd;

use super::{
    BindError,
    listen::{Bound, Listener},
};
use crate::config::Config;

/// A socket that was handed over cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    /// It is no listening TCP or Unix socket.
    #[error("socket {index} of LISTEN_FDS cannot be listened on")]
    Unusable {
        /// From 0.
        index: usize,
        /// What the system said.
        source: io::Error,
    },
    /// Other machines reach it, and the configuration does not say that they may.
    #[error(
        "the socket for {0} that was handed over (LISTEN_FDS) is reached by other machines; write the address into \
         listen as well, with the settings that it needs there"
    )]
    Remote(SocketAddr),
}

/// What was handed over; empty for most.
#[derive(Default)]
pub struct Inherited(Vec<Listener>);

impl Inherited {
    /// Takes what the environment names, and takes that out of the environment, so that nobody who is started later
    /// claims it. To be called before there are other threads.
    ///
    /// # Errors
    /// [`InheritedError::Unusable`].
    pub fn take() -> Result<Self, InheritedError> {
        let mut passed = ListenFd::from_env();
        let listeners = (0..passed.len()).map(|index| {
            listener(&mut passed, index).map_err(|source| InheritedError::Unusable { index, source })
        });
        Ok(Self(listeners.collect::<Result<_, _>>()?))
    }

    /// These, or those of the configuration.
    pub(super) fn or_bind(self, config: &Config) -> Result<Vec<Listener>, super::StartError> {
        if self.0.is_empty() {
            let bound = config.listen.iter().map(|address| Listener::bind(address, config.unix_mode));
            return Ok(bound.collect::<Result<Vec<_>, BindError>>()?);
        }
        let may_be_remote = config.remote().any(|(setting, _)| setting == "listen");
        for listener in &self.0 {
            if let Bound::Tcp(address) | Bound::Tls(address) = listener.bound(false)
                && !address.ip().to_canonical().is_loopback()
                && !may_be_remote
            {
                return Err(InheritedError::Remote(address).into());
            }
        }
        tracing::info!(
            sockets = self.0.len(),
            "sockets were handed over (LISTEN_FDS) and take the place of listen"
        );
        Ok(self.0)
    }
}

fn listener(passed: &mut ListenFd, index: usize) -> io::Result<Listener> {
    // Which of the two it is shows by which of them takes it; the other leaves it where it is.
    if let Ok(Some(unix)) = passed.take_unix_listener(index) {
        unix.set_nonblocking(true)?;
        let address = unix.local_addr()?;
        let path = address.as_pathname().ok_or_else(|| io::Error::other("a Unix socket without a file"))?;
        return Ok(Listener::Unix(path.to_owned(), None, unix));
    }
    let tcp = passed.take_tcp_listener(index)?.ok_or_else(|| io::Error::other("it is gone"))?;
    tcp.set_nonblocking(true)?;
    let address = tcp.local_addr()?;
    Ok(Listener::Tcp(tcp, address))
}
