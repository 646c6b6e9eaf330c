//! One line a request, at a fraction of the cost of a general formatter: each thread writes into a buffer of its own,
//! and a thread of its own writes the buffers out. On a terminal each line is shown at once.
//!
//! Diagnostics take the same way, in order with their thread's lines, and are handed over at once. So no worker ever
//! waits for standard error: a pipe that nobody reads loses lines, not requests.

use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{self, Write as _},
    rc::Rc,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Notify;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::record::ACCESS;
use crate::config::LogFormat;

/// A buffer this full is handed over at once.
const FULL: usize = 32 << 10;
/// How long a line may wait in a buffer that is not full.
const HELD: Duration = Duration::from_millis(100);
/// Buffers that may wait for the writer. When it cannot keep up, lines are dropped rather than requests held up.
const WAITING: usize = 16;
/// A thread whose buffer is this full while the writer takes no more drops what is in it.
const MOST: usize = 8 * FULL;
/// How long the end may wait for the last lines to be taken.
const LAST_WAIT: Duration = Duration::from_secs(1);

static DROPPED: AtomicU64 = AtomicU64::new(0);

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
    sender: SyncSender<Message>,
    /// Nothing ever comes; it is closed when the thread ends.
    ended: Receiver<()>,
}

impl Writer {
    pub(super) fn start() -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        let (ending, ended) = channel();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_all(&receiver, ending))
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

fn write_all(messages: &Receiver<Message>, _ending: Sender<()>) {
    let mut out = io::stderr();
    while let Ok(Message::Lines(lines)) = messages.recv() {
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
    }
}

/// Writes into the thread's buffer, and hands that over.
#[derive(Clone)]
pub(super) struct Lines {
    sender: SyncSender<Message>,
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
    sender: RefCell<Option<SyncSender<Message>>>,
    some: Rc<Notify>,
    second: Cell<u64>,
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

/// Formats the events of the target [`ACCESS`].
pub(super) struct AccessLayer {
    sender: SyncSender<Message>,
    format: LogFormat,
    /// Somebody is watching: each line is shown at once.
    watched: bool,
    colour: bool,
}

impl AccessLayer {
    pub(super) fn new(writer: &Writer, format: LogFormat, watched: bool, colour: bool) -> Self {
        Self { sender: writer.sender.clone(), format, watched, colour }
    }
}

impl<S: Subscriber> Layer<S> for AccessLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != ACCESS {
            return;
        }
        HELD_HERE.with(|held| {
            held.sender.borrow_mut().get_or_insert_with(|| self.sender.clone());
            held.see_time();
            let mut lines = held.lines.borrow_mut();
            let first = lines.is_empty();
            let time = held.time.borrow();
            match self.format {
                LogFormat::Json => {
                    let mut line = JsonLine { out: &mut lines };
                    line.start(&time);
                    event.record(&mut line);
                    line.end();
                }
                LogFormat::Text => {
                    let mut line = TextLine::default();
                    event.record(&mut line);
                    line.write(&mut lines, &time, self.colour);
                }
            }
            let full = lines.len() >= FULL || self.watched;
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
        let lines = self.lines.take();
        let (false, Some(sender)) = (lines.is_empty(), &*self.sender.borrow()) else { return };
        // A burst waits for its turn; what nobody takes for long is dropped.
        match sender.try_send(Message::Lines(lines)) {
            Err(TrySendError::Full(Message::Lines(lines))) if lines.len() < MOST => {
                self.lines.replace(lines);
                self.some.notify_one();
            }
            Err(
                TrySendError::Full(Message::Lines(lines)) | TrySendError::Disconnected(Message::Lines(lines)),
            ) => {
                drop_lines(&lines);
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Formats the time once a second.
    fn see_time(&self) {
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.second.replace(second) != second || self.time.borrow().is_empty() {
            *self.time.borrow_mut() = humantime::format_rfc3339_seconds(now).to_string();
        }
    }
}

/// What time it is, as lines about requests say it.
pub(super) fn time() -> String {
    HELD_HERE.with(|held| {
        held.see_time();
        held.time.borrow().clone()
    })
}

struct JsonLine<'a> {
    out: &'a mut Vec<u8>,
}

impl JsonLine<'_> {
    fn start(&mut self, time: &str) {
        self.out.extend_from_slice(br#"{"timestamp":""#);
        self.out.extend_from_slice(time.as_bytes());
        self.out.extend_from_slice(br#"","level":"INFO","target":"countersign::access""#);
    }

    fn key(&mut self, field: &Field) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(field.name().as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn end(&mut self) {
        self.out.extend_from_slice(b"}\n");
    }
}

impl Visit for JsonLine<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.key(field);
        if value.bytes().all(|byte| (b' '..0x7F).contains(&byte) && !matches!(byte, b'"' | b'\\')) {
            self.out.push(b'"');
            self.out.extend_from_slice(value.as_bytes());
            self.out.push(b'"');
        } else {
            let _ = serde_json::to_writer(&mut *self.out, value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.key(field);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if value {
            self.key(field);
            self.out.extend_from_slice(b"true");
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// What a person reads of a request.
#[derive(Default)]
struct TextLine {
    method: String,
    path: String,
    status: u64,
    micros: u64,
    rest: String,
}

impl Visit for TextLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "method" => value.clone_into(&mut self.method),
            // A path may hold any Unicode; a terminal must not obey it.
            "path" => self.path.extend(value.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c })),
            "fault" | "request_id" | "gateway_request_id" => {}
            "stage" => self.push(value),
            name => self.push(&format!("{name}={value}")),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "status" => self.status = value,
            "micros" => self.micros = value,
            "attempts" if value > 1 => self.push(&format!("attempts={value}")),
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if value {
            self.push(field.name());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

impl TextLine {
    fn push(&mut self, text: &str) {
        self.rest.push(' ');
        self.rest.push_str(text);
    }

    fn write(&self, out: &mut Vec<u8>, time: &str, colour: bool) {
        let code = match self.status {
            200..300 => "32",
            300..400 => "36",
            400..500 => "33",
            _ => "31",
        };
        let (start, end) = if colour { (format!("\x1b[{code}m"), "\x1b[0m") } else { (String::new(), "") };
        let status = if self.status == 0 { "gone".to_owned() } else { self.status.to_string() };
        let clock = time.get(11..19).unwrap_or(time);
        let millis = self.micros as f64 / 1000.0;
        let _ = writeln!(
            out,
            "{clock} {start}{status:>4}{end} {:<7} {:<40} {millis:>8.1} ms{}",
            self.method, self.path, self.rest
        );
    }
}
