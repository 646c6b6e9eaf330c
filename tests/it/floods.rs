//! HTTP/2 clients that abuse the protocol, frame by frame: each loses its connection or does no harm, and others are
//! served meanwhile.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
};

use crate::support::{
    PATIENCE, TempDir,
    client::{Ask, Via},
    origin::{Reply, Request, Then},
    scene::{Scene, Setup, ok},
};

/// Frame types (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// Flags.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// Error codes (RFC 9113 section 7).
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// `:scheme http`, `:path /`, `:authority localhost` as HPACK writes them, after a method of the static table.
fn head(method: u8) -> Vec<u8> {
    [&[method, 0x86, 0x84, 0x01, 9], &b"localhost"[..]].concat()
}
const GET: u8 = 0x82;
const POST: u8 = 0x83;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

struct Received {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Received {
    fn code(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

trait Stream: io::Read + io::Write + Send {}
impl<S: io::Read + io::Write + Send> Stream for S {}

/// A connection on which frames are written as they are.
struct Raw(Box<dyn Stream>);

impl Raw {
    fn connect(scene: &Scene, settings: &[u8]) -> Self {
        let stream = TcpStream::connect(scene.proxy.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::over(stream, settings)
    }

    fn over(stream: impl Stream + 'static, settings: &[u8]) -> Self {
        let mut raw = Self(Box::new(stream));
        raw.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, settings)].concat())
            .unwrap();
        raw
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Sends as far as the other side takes it: it may have hung up.
    fn pour(&mut self, frames: impl Iterator<Item = Vec<u8>>) {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend(frame);
            if bytes.len() > 1 << 14 && self.send(&std::mem::take(&mut bytes)).is_err() {
                return;
            }
        }
        let _ = self.send(&bytes);
    }

    fn next(&mut self) -> io::Result<Received> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap()) & 0x7fff_ffff;
        Ok(Received { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads until there is what is looked for; `None` when the connection ends without. What takes too long fails.
    fn find<T>(&mut self, mut find: impl FnMut(&Received) -> Option<T>) -> Option<T> {
        loop {
            match self.next() {
                Ok(frame) => {
                    if let Some(found) = find(&frame) {
                        return Some(found);
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("nothing came: {error}")
                }
                Err(_) => return None,
            }
        }
    }

    /// The code that the connection is ended with; `None` when it ends without one: what was sent too much may have
    /// reset it before.
    fn gone(&mut self) -> Option<u32> {
        self.find(|frame| (frame.kind == GOAWAY).then(|| frame.code(4)))
    }

    /// A request on this connection is answered.
    fn assert_serves(&mut self, stream: u32) {
        self.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &head(GET))).unwrap();
        let answered = self.find(|frame| {
            assert_ne!((frame.kind, frame.stream), (RST_STREAM, stream));
            assert_ne!(frame.kind, GOAWAY);
            (frame.kind == HEADERS && frame.stream == stream).then(|| frame.payload[0])
        });
        // `:status 200` in the static table.
        assert_eq!(answered, Some(0x88));
    }
}

const STALLING: &str = "[log]\nfilter = \"info,countersign=debug\"\n[limits]\nwrite_timeout = \"500ms\"";

fn scene() -> Scene {
    Setup::new().top(STALLING).start_ok()
}

fn ended(scene: &Scene, cause: &str) {
    let wanted = format!("\"cause\":\"{cause}\"");
    let found = scene.proxy.process().find(|line| line.contains(&wanted).then_some(()));
    assert!(found.is_some(), "{}", scene.proxy.process().output());
}

fn assert_serves_others(scene: &Scene) {
    for via in Via::ALL {
        assert_eq!(scene.ask(via, &Ask::new("GET", "/other")).status, 200);
    }
}

/// The odd numbers from one on: streams that a client opens.
fn streams() -> impl Iterator<Item = u32> {
    (0..).map(|number| 2 * number + 1)
}

#[test]
fn requests_that_are_reset_at_once_end_the_connection() {
    let scene = scene();
    let mut raw = Raw::connect(&scene, &[]);
    raw.pour(streams().take(20_000).map(|stream| {
        let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        [frame(HEADERS, END_STREAM | END_HEADERS, stream, &head(GET)), reset].concat()
    }));
    assert_serves_others(&scene);
    assert!(matches!(raw.gone(), Some(ENHANCE_YOUR_CALM) | None));
    ended(&scene, "flooded");
}

#[test]
fn mistakes_that_make_the_proxy_reset_streams_end_the_connection() {
    let scene = scene();
    let mut raw = Raw::connect(&scene, &[]);
    // A window's increment of nothing is a mistake on the stream (RFC 9113 section 6.9).
    raw.pour(streams().take(2_000).map(|stream| {
        let mistake = frame(WINDOW_UPDATE, 0, stream, &[0; 4]);
        [frame(HEADERS, END_HEADERS, stream, &head(POST)), mistake].concat()
    }));
    assert_serves_others(&scene);
    assert!(matches!(raw.gone(), Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR) | None));
    assert!(scene.origin.take().iter().all(|request| request.target() == b"/prod/other"));
}

#[test]
fn endless_headers_end_the_connection() {
    for payload in [&b""[..], &b"\x00\x01a\x01b"[..], &[0; 16 << 10][..]] {
        let scene = scene();
        let mut raw = Raw::connect(&scene, &[]);
        raw.send(&frame(HEADERS, END_STREAM, 1, &head(GET))).unwrap();
        raw.pour((0..100_000).map(|_| frame(CONTINUATION, 0, 1, payload)).take(20_000));
        assert_serves_others(&scene);
        let code = raw.gone();
        assert!(!matches!(code, Some(NO_ERROR)), "{code:?}");
    }
}

#[test]
fn headers_that_stop_in_the_middle_hold_nobody_up() {
    let scene = Setup::new().top("[limits]\nidle_timeout = \"300ms\"").start_ok();
    let mut raw = Raw::connect(&scene, &[]);
    raw.send(&frame(HEADERS, END_STREAM, 1, &head(GET))).unwrap();
    assert_serves_others(&scene);
    // No stream has begun, so it counts as idle.
    assert!(matches!(raw.gone(), Some(NO_ERROR)));
}

#[test]
fn pings_and_settings_whose_answers_are_not_read_end_in_a_stall() {
    for flood in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])] {
        // The buffers of a Unix socket are small.
        let directory = TempDir::new();
        let path = directory.path().join("s");
        let listen = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]", path.display());
        let scene = Setup::new().top(&format!("{listen}\n{STALLING}")).start_ok();
        scene.proxy.process().find(|line| line.contains("unix:").then_some(())).expect("it listens");
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Raw::over(stream, &[]);
        let many = flood.repeat(10_000);
        // The answers fill every buffer on the way; from then on nothing more is read, and the rest stays here.
        let pouring = std::thread::spawn(move || (0..1_000).all(|_| raw.send(&many).is_ok()));
        assert_serves_others(&scene);
        ended(&scene, "write-stalled");
        assert!(!pouring.join().unwrap(), "all of it was taken");
    }
}

#[test]
fn pings_and_settings_whose_answers_are_read_do_no_harm() {
    let scene = scene();
    let mut raw = Raw::connect(&scene, &[]);
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, &[][..])] {
        let flood = frame(kind, 0, 0, payload).repeat(100);
        for _ in 0..100 {
            raw.send(&flood).unwrap();
            let mut left = 100;
            raw.find(|frame| {
                left -= usize::from(frame.kind == kind && frame.flags & ACK != 0);
                (left == 0).then_some(())
            })
            .expect("each is answered");
        }
    }
    assert_serves_others(&scene);
    raw.assert_serves(1);
}

#[test]
fn empty_data_frames_end_the_connection() {
    let scene = scene();
    let mut raw = Raw::connect(&scene, &[]);
    raw.send(&frame(HEADERS, END_HEADERS, 1, &head(POST))).unwrap();
    raw.pour((0..200_000).map(|_| frame(DATA, 0, 1, &[])));
    assert_serves_others(&scene);
    assert!(matches!(raw.gone(), Some(ENHANCE_YOUR_CALM) | None));
    ended(&scene, "flooded");
    assert!(scene.origin.take().iter().all(|request| request.target() == b"/prod/other"));
}

#[test]
fn a_body_that_is_written_byte_by_byte_is_no_flood() {
    let scene = scene();
    let mut raw = Raw::connect(&scene, &[]);
    raw.send(&frame(HEADERS, END_HEADERS, 1, &head(POST))).unwrap();
    // As much as may come before anybody has read anything, in as few writes as the system takes it.
    let bytes: Vec<_> = (0..65_535).flat_map(|_| frame(DATA, 0, 1, b"x")).collect();
    raw.send(&bytes).unwrap();
    raw.send(&frame(DATA, END_STREAM, 1, b"")).unwrap();
    let ended = raw.find(|frame| (frame.stream == 1 && frame.flags & END_STREAM != 0).then_some(frame.kind));
    assert_eq!(ended, Some(DATA));
    assert_eq!(scene.origin.next().body.len(), 65_535);
    raw.assert_serves(3);
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let scene = scene();
    let mut raw = Raw::connect(&scene, &[]);
    // The number is among the proxy's settings, which come first (RFC 9113 section 6.5.2).
    let allowed = raw.find(|frame| {
        let mut settings = frame.payload.chunks_exact(6);
        let found = settings.find(|setting| frame.kind == SETTINGS && setting[..2] == [0, 3]);
        found.map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    });
    let allowed = allowed.expect("a number of streams is set") as usize;
    assert!((100..=250).contains(&allowed), "{allowed}");
    // None of these ends: their bodies are still to come.
    let open = |stream| frame(HEADERS, END_HEADERS, stream, &head(POST));
    raw.pour(streams().take(allowed + 1).map(open));
    let last = streams().nth(allowed).unwrap();
    let refused = raw.find(|frame| (frame.kind == RST_STREAM).then(|| (frame.stream, frame.code(0))));
    assert_eq!(refused, Some((last, REFUSED_STREAM)));
    assert_serves_others(&scene);
    // One that ends makes room for one more.
    raw.send(&frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes())).unwrap();
    raw.assert_serves(last + 2);
}

#[test]
fn a_window_of_nothing_holds_nothing_for_long() {
    let large = |request: &Request, reply: &mut Reply<'_>| {
        if request.target() == b"/prod/other" {
            return ok(request, reply);
        }
        reply.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
        reply.send(vec![b'x'; 1_000_000])?;
        Ok(Then::Keep)
    };
    for window in [0_u32, 1] {
        let top = "[log]\nfilter = \"info,countersign=debug\"\n[limits]\nwrite_timeout = \"500ms\"\nidle_timeout = \"1s\"";
        let scene = Setup::new().top(top).start(large);
        // SETTINGS_INITIAL_WINDOW_SIZE is 4.
        let mut raw = Raw::connect(&scene, &[&[0, 4][..], &window.to_be_bytes()].concat());
        for stream in streams().take(20) {
            raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &head(GET))).unwrap();
        }
        // Each is reset; then the connection, which has no stream any more, is ended.
        let mut reset = 0;
        let code = raw.find(|frame| {
            reset += usize::from(frame.kind == RST_STREAM);
            (frame.kind == GOAWAY).then(|| frame.code(4))
        });
        assert_eq!((code, reset), (Some(NO_ERROR), 20), "window {window}");
        assert_serves_others(&scene);
        ended(&scene, "idle");
    }
}

#[test]
fn windows_that_overflow_end_the_connection() {
    let scene = scene();
    let mut raw = Raw::connect(&scene, &[]);
    let most = 0x7fff_ffff_u32.to_be_bytes();
    raw.pour((0..10).map(|_| frame(WINDOW_UPDATE, 0, 0, &most)));
    assert_eq!(raw.gone(), Some(FLOW_CONTROL_ERROR));
    ended(&scene, "protocol-error");
    assert_serves_others(&scene);
}

#[test]
fn a_body_that_nobody_reads_yet_stays_with_the_client() {
    // The second request waits for its turn, and its body is not read until then.
    let scene = Setup::new().stage("rate_limit = { rate = \"1/h\", burst = 1, wait = \"24h\" }").start_ok();
    scene.sent(Via::Http1, &Ask::new("GET", "/a"));
    // More than 65,535 bytes of one stream, or more than 262,144 of several.
    for (streams, frames, ends) in [(1, 7, RST_STREAM), (8, 32, GOAWAY)] {
        let mut raw = Raw::connect(&scene, &[]);
        raw.pour((0..streams).map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &head(POST))));
        raw.pour((0..frames).map(|n| frame(DATA, 0, 2 * (n % streams) + 1, &[b'x'; 8_190])));
        raw.pour((0..3).map(|_| frame(DATA, 0, 1, &[b'x'; 8_190])));
        let ended = raw.find(|frame| match frame.kind {
            RST_STREAM => Some((RST_STREAM, frame.code(0))),
            GOAWAY => Some((GOAWAY, frame.code(4))),
            _ => None,
        });
        assert_eq!(ended, Some((ends, FLOW_CONTROL_ERROR)));
    }
}

#[test]
fn priorities_and_unknown_frames_do_no_harm() {
    let scene = scene();
    let mut raw = Raw::connect(&scene, &[]);
    raw.pour((0..50_000).map(|_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 0])));
    raw.pour((0..50_000).map(|_| frame(0xfa, 0xff, 0, &[1; 10])));
    assert_serves_others(&scene);
    raw.assert_serves(3);
}
