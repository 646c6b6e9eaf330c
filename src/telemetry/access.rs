//! One line a request, at a fraction of the cost of a general formatter: each thread writes into a buffer of its own,
//! and a thread of its own writes the buffers out. On a terminal each line is shown at once.
//!
//! Diagnostics take the same way, in order with their thread's lines, and are handed over at once. So no worker ever
//! waits for standard error: a pipe that nobody reads loses lines, not requests.

mod json;
mod text;

use std::{
    cell::{Cell, RefCell},
    io::{self, Write as _},
    rc::Rc,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{
    Notify,
    mpsc::{Receiver, Sender, channel, error::TrySendError},
};
use tracing::Level;

use super::Phase;
use crate::config::LogFormat;

/// The target of these lines, in the log's filter and in the lines themselves.
pub const ACCESS: &str = "countersign::access";

/// A buffer this full is handed over at once. With a last line of ordinary length it still fits into an empty pipe (64 KiB
/// on Linux).
const FULL: usize = 60 << 10;
/// How long a line may wait in a buffer that is not full.
const HELD: Duration = Duration::from_millis(100);
/// Buffers that may wait for the writer. When it cannot keep up, lines are dropped rather than requests held up.
const WAITING: usize = 16;
/// A thread whose buffer is this full while the writer takes no more drops what is in it.
const MOST: usize = 8 * FULL;
/// How long the end may wait for the last lines to be taken.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Emptied buffers on their way back to the threads that fill them: one lock for each buffer, not each line.
static EMPTIED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Whether anything is written of requests.
static ON: AtomicBool = AtomicBool::new(false);

/// Whether anything is written of requests. Decided before the first of them.
pub(super) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// For tests that look at the lines of their thread: nobody else takes them.
#[cfg(test)]
pub(crate) fn turn_on() {
    ON.store(true, Ordering::Relaxed);
}

/// The lines that this thread has written.
#[cfg(test)]
pub(crate) fn taken() -> String {
    String::from_utf8(HELD_HERE.with(|held| held.lines.take())).expect("lines are text")
}

/// Lines of log that were lost so far: standard error took them not at all, or not in time.
#[must_use]
pub fn lines_dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

fn drop_lines(lines: &[u8]) {
    DROPPED.fetch_add(memchr::memchr_iter(b'\n', lines).count() as u64, Ordering::Relaxed);
}

enum Message {
    Lines(Vec<u8>),
    End,
}

/// The thread that writes.
pub(super) struct Writer {
    sender: Sender<Message>,
    /// Nothing ever comes; it is closed when the thread ends.
    ended: mpsc::Receiver<()>,
}

impl Writer {
    pub(super) fn start() -> Self {
        // The standard library's channel wakes its receiver while it holds a lock that the receiver takes before it waits
        // again: where both share a core, that is two more switches for each buffer.
        let (sender, receiver) = channel(WAITING);
        let (ending, ended) = mpsc::channel();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(receiver, ending))
            .expect("a process that starts can have a thread");
        Self { sender, ended }
    }

    /// Where diagnostics go. Each write must hold whole lines.
    pub(super) fn lines(&self) -> Lines {
        Lines { sender: self.sender.clone() }
    }

    /// Waits until everything is written, unless nobody reads it: that must not keep the process.
    pub(super) fn finish(self) {
        let deadline = Instant::now() + LAST_WAIT;
        flush();
        while let Err(TrySendError::Full(_)) = self.sender.try_send(Message::End) {
            if Instant::now() >= deadline {
                return;
            }
            // Ends at once if the thread did; otherwise it may have taken something meanwhile.
            let _ = self.ended.recv_timeout(Duration::from_millis(5));
            flush();
        }
        let _ = self.ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

fn write_all(mut messages: Receiver<Message>, _ending: mpsc::Sender<()>) {
    let mut out = io::stderr();
    while let Some(Message::Lines(mut lines)) = messages.blocking_recv() {
        // A closed pipe or a full disk loses lines, never requests.
        let mut left = &lines[..];
        while !left.is_empty() {
            match out.write(left) {
                Ok(written) if written > 0 => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => {
                    drop_lines(left);
                    break;
                }
            }
        }
        lines.clear();
        let mut emptied = EMPTIED.lock().unwrap_or_else(PoisonError::into_inner);
        if emptied.len() < WAITING && lines.capacity() <= 2 * FULL {
            emptied.push(lines);
        }
    }
}

/// A buffer that is likely not to have to grow.
fn empty() -> Vec<u8> {
    let emptied = EMPTIED.lock().unwrap_or_else(PoisonError::into_inner).pop();
    emptied.unwrap_or_else(|| Vec::with_capacity(FULL + FULL / 8))
}

/// Writes into the thread's buffer, and hands that over.
#[derive(Clone)]
pub(super) struct Lines {
    sender: Sender<Message>,
}

impl io::Write for Lines {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        // A thread that is at its end has no buffer any more.
        let _ = HELD_HERE.try_with(|held| {
            held.sender.borrow_mut().get_or_insert_with(|| self.sender.clone());
            held.lines.borrow_mut().extend_from_slice(lines);
            held.flush();
        });
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Held {
    lines: RefCell<Vec<u8>>,
    sender: RefCell<Option<Sender<Message>>>,
    some: Rc<Notify>,
    second: Cell<u64>,
    /// The date and the time of day, to the second.
    time: RefCell<String>,
}

thread_local! {
    static HELD_HERE: Held = Held::default();
}

/// Hands this thread's lines to the thread that writes.
pub fn flush() {
    HELD_HERE.with(Held::flush);
}

/// Runs on each worker: hands lines over soon after they were written, and once more when it is dropped.
pub async fn flush_when_due() {
    struct Last;
    impl Drop for Last {
        fn drop(&mut self) {
            flush();
        }
    }
    let _last = Last;
    let some = HELD_HERE.with(|held| Rc::clone(&held.some));
    loop {
        some.notified().await;
        tokio::time::sleep(HELD).await;
        flush();
    }
}

/// How lines are written, decided before the first request. They are no events of `tracing`: passing thirty fields
/// through a subscriber by reference, each to be matched again there, is work that writing them does not need.
struct Form {
    sender: Sender<Message>,
    /// What is below this is not written.
    least: Level,
    format: LogFormat,
    /// Somebody is watching: each line is shown at once.
    watched: bool,
    colour: bool,
}

static FORM: OnceLock<Form> = OnceLock::new();

/// From now on requests are written down.
pub(super) fn start(writer: &Writer, least: Level, format: LogFormat, watched: bool, colour: bool) {
    let form = Form { sender: writer.sender.clone(), least, format, watched, colour };
    if FORM.set(form).is_ok() {
        ON.store(true, Ordering::Relaxed);
    }
}

/// What is said of a request.
pub(super) struct Line<'a> {
    pub(super) level: Level,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) stage: Option<&'a str>,
    pub(super) route: Option<&'a str>,
    pub(super) auth: Option<&'a str>,
    pub(super) status: u16,
    pub(super) refused: Option<&'a str>,
    pub(super) fault: Option<&'a str>,
    pub(super) cut: bool,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) attempts: u32,
    pub(super) micros: u64,
    /// How long each phase was.
    pub(super) phases: [Option<u64>; Phase::ALL.len()],
    pub(super) credentials: Option<&'a str>,
    pub(super) access_key: Option<&'a str>,
    pub(super) request_id: &'a str,
    pub(super) trace_id: Option<&'a str>,
    pub(super) gateway_request_id: Option<&'a str>,
}

impl Line<'_> {
    /// Writes it, unless it is not wanted.
    pub(super) fn write(&self) {
        let form = FORM.get();
        // A level is less than another one that says more.
        if form.is_some_and(|form| self.level > form.least) {
            return;
        }
        HELD_HERE.with(|held| {
            if let Some(form) = form {
                held.sender.borrow_mut().get_or_insert_with(|| form.sender.clone());
            }
            let millis = held.see_time();
            let mut lines = held.lines.borrow_mut();
            let first = lines.is_empty();
            let time = held.time.borrow();
            match form {
                Some(Form { format: LogFormat::Text, colour, .. }) => {
                    text::write(&mut lines, self, &time, millis, *colour);
                }
                _ => json::write(&mut lines, self, &time, millis),
            }
            let full = lines.len() >= FULL || form.is_some_and(|form| form.watched);
            drop(lines);
            if full {
                flush();
            } else if first {
                held.some.notify_one();
            }
        });
    }
}

impl Held {
    fn flush(&self) {
        let (false, Some(sender)) = (self.lines.borrow().is_empty(), &*self.sender.borrow()) else { return };
        let lines = self.lines.replace(empty());
        // A burst waits for its turn; what nobody takes for long is dropped.
        match sender.try_send(Message::Lines(lines)) {
            Err(TrySendError::Full(Message::Lines(lines))) if lines.len() < MOST => {
                self.lines.replace(lines);
                self.some.notify_one();
            }
            Err(TrySendError::Full(Message::Lines(lines)) | TrySendError::Closed(Message::Lines(lines))) => {
                drop_lines(&lines);
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Formats the time once a second; the milliseconds are for the caller.
    fn see_time(&self) -> u32 {
        let now = SystemTime::now();
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = since.as_secs();
        if self.second.replace(second) != second || self.time.borrow().is_empty() {
            let mut time = humantime::format_rfc3339_seconds(now).to_string();
            time.pop();
            *self.time.borrow_mut() = time;
        }
        since.subsec_millis()
    }
}

/// What time it is, as lines about requests say it.
pub(super) fn time() -> String {
    HELD_HERE.with(|held| {
        let millis = held.see_time();
        format!("{}.{millis:03}Z", held.time.borrow())
    })
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::Line;

    pub(super) fn line() -> Line<'static> {
        Line {
            level: Level::INFO,
            method: "GET",
            path: "/orders/1",
            stage: Some("orders"),
            route: Some("/orders/*"),
            auth: Some("iam"),
            status: 200,
            refused: None,
            fault: None,
            cut: false,
            received: 0,
            sent: 1234,
            attempts: 1,
            micros: 12_345,
            phases: [Some(100), None, None, None, Some(12_000), None],
            credentials: Some("environment"),
            access_key: Some("WXYZ"),
            request_id: "0123456789abcdef",
            trace_id: None,
            gateway_request_id: Some("3f2a-1"),
        }
    }
}
