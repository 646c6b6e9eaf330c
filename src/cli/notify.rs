//! What the service manager is told, if there is one: systemd's protocol (sd_notify(3)), to the socket that
//! `NOTIFY_SOCKET` names. Without it nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// Requests are taken, or again after a reload.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins; [`ready`] ends it, whether it was taken up or not. The time tells systemd to which of its own requests
/// to reload that belongs (`Type=notify-reload`, systemd.service(5)).
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the system has no monotonic clock"),
    }
}

/// The end has begun.
pub(super) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// All workers answer.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`alive`] is to be said: twice in the time after which systemd takes the program for stuck (`WatchdogSec=`),
/// as sd_watchdog_enabled(3) advises.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|pause| !pause.is_zero())
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
