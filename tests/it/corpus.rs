//! `tests/corpus`: raw bytes that must be refused or made harmless, sent to the real program over both protocols. What
//! comes back, how the connection ends and what reaches the stage, to the byte, is what each entry says.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use crate::support::{
    PATIENCE,
    client::{Ask, Via},
    corpus::{self, Case, Reached},
    frames::{self, Outcome},
    origin::Request,
    scene::{API_KEY, NAME, Scene, Setup, assert_refusal, assert_signed},
    wire::{Framing, Head},
};

/// The files of `tests/corpus` that hold bytes of HTTP/1.1.
pub const HTTP1: [&str; 4] = ["framing", "chunks", "fields", "request-line"];

/// What a client sends on behind each case. If the connection lives on, the first of these requests is served and ends
/// it; the others see to it that nothing is left waiting for more, whatever it takes them for: they are longer than
/// [`LIMITS`] lets a body be.
pub const TAIL: &str = "GET /tail HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Bodies of the cases are small.
pub const LIMITS: &str = "[limits]\nmax_body = \"1KiB\"";

/// A case and what follows it.
pub fn with_tail(sent: &[u8]) -> Vec<u8> {
    [sent, TAIL.repeat(32).as_bytes()].concat()
}

/// An answer as it came: status, code of a refusal, body.
pub struct Came {
    /// `200`, `400 bad-request`
    pub what: String,
    head: Head,
    body: Vec<u8>,
}

/// Sends these bytes over a connection of their own and reads all answers until the proxy ends it.
///
/// # Panics
/// When what comes is not well formed or the connection does not end.
pub fn exchange(address: SocketAddr, name: &str, bytes: &[u8], end: bool) -> Vec<Came> {
    let mut stream = TcpStream::connect(address).expect("the proxy listens");
    stream.set_nodelay(true).expect("a socket takes options");
    for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        set(&stream, Some(PATIENCE)).expect("a socket takes options");
    }
    // A proxy that refused may have ended the connection before it has all of this.
    let _ = stream.write_all(bytes);
    if end {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{name}: {error} after {}", all.escape_ascii()),
        }
    }
    let mut rest = all.as_slice();
    let mut answers = Vec::new();
    let mut bodiless = bytes.starts_with(b"HEAD ");
    while let Some(head) = Head::read(&mut rest).unwrap_or_else(|e| panic!("{name}: {e}")) {
        let status = std::str::from_utf8(&head.start[9..12]).expect("a status line").to_owned();
        if status == "100" {
            continue;
        }
        let mut framing = if bodiless { Framing::Done } else { head.framing(Framing::ToEnd).unwrap() };
        bodiless = false;
        let mut body = Vec::new();
        while let Some(piece) = framing.piece(&mut rest, &mut Vec::new()).unwrap() {
            body.extend_from_slice(&piece);
        }
        let code = head.one("x-countersign-error").map(|code| format!(" {code}")).unwrap_or_default();
        answers.push(Came { what: status + &code, head, body });
    }
    answers
}

/// What reached the stage, without what the proxy puts in, which must be there, once, and right.
fn reached(request: &Request) -> Reached {
    assert_eq!(request.broken, None);
    assert_signed(request);
    assert_eq!((request.head.one("host"), request.head.one("x-api-key")), (Some(NAME), Some(API_KEY)));
    let start = request.head.start.strip_suffix(b" HTTP/1.1").expect("HTTP/1.1 goes to the stage").to_vec();
    let ours = ["host", "x-api-key", "x-amz-date", "authorization", "x-request-id"];
    let id = request.head.one("x-request-id").expect("there is one");
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let mut lines: Vec<_> = request.head.raw.split(|byte| *byte == b'\n').skip(1).collect();
    assert_eq!(lines.pop(), Some(&b""[..]));
    assert_eq!(lines.pop(), Some(&b"\r"[..]));
    let mut fields = Vec::new();
    let mut found = 0;
    for line in lines {
        let line = line.strip_suffix(b"\r").expect("lines end in CRLF");
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if ours.iter().any(|one| one.as_bytes() == name) {
            found += 1;
        } else {
            fields.push(line.to_vec());
        }
    }
    assert_eq!(found, ours.len(), "{}", request.head.raw.escape_ascii());
    fields.sort();
    Reached { start, fields, body: request.body.clone() }
}

fn shown(reached: &[Reached]) -> String {
    let mut text = String::new();
    for one in reached {
        text.push_str(&format!("\n    {}", one.start.escape_ascii()));
        for field in &one.fields {
            text.push_str(&format!(" | {}", field.escape_ascii()));
        }
        text.push_str(&format!(" | {} bytes: {}", one.body.len(), one.body.escape_ascii()));
    }
    text
}

/// Compares; what differs is told.
fn judge(case: &Case, came: &str, mut at_stage: Vec<Reached>, open: bool) -> Result<(), String> {
    let expected = case.answers.join(", ");
    if open && at_stage.last().is_some_and(|last| last.start == b"GET /prod/tail") {
        at_stage.pop();
    }
    if came == expected && at_stage == case.reached {
        return Ok(());
    }
    Err(format!(
        "{}\n  expected: {expected}{}\n  came:     {came}{}\n",
        case.name,
        shown(&case.reached),
        shown(&at_stage)
    ))
}

fn over_http1(scene: &Scene, case: &Case) -> Result<(), String> {
    let bytes = if case.ends { case.sent.clone() } else { with_tail(&case.sent) };
    let mut answers = exchange(scene.proxy.address(), &case.name, &bytes, case.ends);
    let at_stage: Vec<_> = scene.origin.take().iter().map(|request| reached(request)).collect();
    for answer in answers.iter().filter(|answer| answer.what != "200") {
        assert_answer(answer);
    }
    // The tail was served: the connection lived on.
    let open = at_stage.last().is_some_and(|last| last.start == b"GET /prod/tail");
    if open {
        assert_eq!(answers.pop().map(|last| last.what).as_deref(), Some("200"), "{}", case.name);
    }
    let came: Vec<_> = answers.iter().map(|answer| answer.what.as_str()).collect();
    let came = [&came[..], &[if open { "open" } else { "closed" }]].concat().join(", ");
    judge(case, &came, at_stage, open)
}

/// A refusal has the form that all have.
fn assert_answer(came: &Came) {
    let (status, code) = came.what.split_once(' ').unwrap_or_else(|| panic!("no code: {}", came.what));
    let answer = crate::support::client::Answer {
        status: status.parse().unwrap(),
        head: came.head.clone(),
        body: came.body.clone(),
        interim: Vec::new(),
    };
    assert_refusal(&answer, status.parse().unwrap(), code);
}

/// The same request, to be sent as frames.
pub fn translated(case: &Case) -> Ask {
    let head = memchr::memmem::find(&case.sent, b"\r\n\r\n").expect("what is translated has a head");
    let (head, body) = (&case.sent[..head], &case.sent[head + 4..]);
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let start = String::from_utf8(lines.next().unwrap().to_vec()).unwrap();
    let (method, target) = start.strip_suffix(" HTTP/1.1").unwrap().split_once(' ').unwrap();
    let mut ask = Ask::new(method, target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        let name = String::from_utf8(line[..colon].to_ascii_lowercase()).unwrap();
        ask = ask.header(&name, line[colon + 1..].trim_ascii());
    }
    if !body.is_empty() {
        ask = ask.body(body);
    }
    ask
}

/// The same request as frames.
fn over_h2c(scene: &Scene, case: &Case) -> Result<(), String> {
    let answer = scene.ask(Via::H2c, &translated(case));
    let mut came = answer.status.to_string();
    if let Some(code) = answer.head.one("x-countersign-error") {
        assert_refusal(&answer, answer.status, code);
        came = format!("{came} {code}");
    }
    let at_stage = scene.origin.take().iter().map(|request| reached(request)).collect();
    // How the connection ends is HTTP/1.1's affair: streams do not touch each other.
    let how = case.answers.last().expect("an entry says how its connection ends");
    judge(case, &format!("{came}, {how}"), at_stage, false).map_err(|error| format!("over h2c: {error}"))
}

/// The frames that a case's lines tell, and the tail on the stream behind the last that is answered.
fn frames_of(case: &Case, tail: u32) -> Vec<u8> {
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    let mut bytes = frames::preface();
    let mut lines = case.sent.split(|byte| *byte == b'\x1e').filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let kind = words.next().unwrap_or_default();
        let number = |word: Option<&[u8]>| -> u32 {
            word.and_then(|word| std::str::from_utf8(word).ok()?.parse().ok())
                .unwrap_or_else(|| panic!("{}: {}", case.name, line.escape_ascii()))
        };
        let stream = number(words.next());
        let rest = words.next().unwrap_or_default();
        match kind {
            b"HEADERS" | b"CONTINUATION" => {
                let has = |flag: &[u8]| rest.split(|byte| *byte == b' ').any(|word| word == flag);
                let end = if has(b"END_STREAM") { END_STREAM } else { 0 };
                let whole = if has(b"MORE") { 0 } else { END_HEADERS };
                let mut block = Vec::new();
                while let Some(line) = lines.next_if(|line| line.starts_with(b"  ")) {
                    let mut parts = line[2..].splitn(2, |byte| *byte == b' ');
                    let (name, value) = (parts.next().unwrap(), parts.next().unwrap_or_default());
                    block.extend(frames::field(name, value));
                }
                let kind = if kind == b"HEADERS" { 1 } else { 9 };
                bytes.extend(frames::frame(kind, end | whole, stream, &block));
            }
            b"DATA" => match rest.strip_prefix(b"END_STREAM ") {
                Some(data) => bytes.extend(frames::frame(0, END_STREAM, stream, data)),
                None => bytes.extend(frames::frame(0, 0, stream, rest)),
            },
            b"FRAME" => {
                let mut words = rest.splitn(3, |byte| *byte == b' ');
                let (flags, on) = (number(words.next()), number(words.next()));
                let content = words.next().unwrap_or_default();
                bytes.extend(frames::frame(stream as u8, flags as u8, on, content));
            }
            _ => panic!("{}: {}", case.name, line.escape_ascii()),
        }
    }
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/tail"), (":authority", "localhost")];
    let block: Vec<_> = fields.iter().flat_map(|(n, v)| frames::field(n.as_bytes(), v.as_bytes())).collect();
    bytes.extend(frames::frame(1, END_STREAM | END_HEADERS, tail, &block));
    bytes
}

fn as_frames(scene: &Scene, case: &Case) -> Result<(), String> {
    // Each answer but the last, which is the connection's, is of a stream; behind them comes the tail's.
    let streams = case.answers.len();
    let tail = u32::try_from(streams).unwrap() * 2 - 1;
    let bytes = frames_of(case, tail);
    let mut came = Vec::new();
    for (index, outcome) in
        frames::exchange(scene.proxy.address(), &case.name, &bytes, streams).into_iter().enumerate()
    {
        let what = match outcome {
            Outcome::Answer(answer) => {
                if let Some(code) = answer.head.one("x-countersign-error") {
                    assert_refusal(&answer, answer.status, code);
                    format!("{} {code}", answer.status)
                } else {
                    answer.status.to_string()
                }
            }
            Outcome::Reset(reason) => reason,
            Outcome::Gone(reason) => format!("gone {reason}"),
        };
        match index + 1 < streams {
            // Whatever came of it: it may or may not have been answered before the connection ended.
            true if case.answers[index].ends_with(" *") => came.push(case.answers[index].clone()),
            true => came.push(format!("{} {what}", index * 2 + 1)),
            false if what == "200" => came.push("open".to_owned()),
            false => came.push(what),
        }
    }
    let open = came.last().is_some_and(|last| last == "open");
    let mut at_stage: Vec<_> = scene.origin.take().iter().map(|request| reached(request)).collect();
    // Streams race to the stage.
    at_stage.sort_by_key(|one| one.start == b"GET /prod/tail");
    judge(case, &came.join(", "), at_stage, open)
}

fn all_hold(results: impl Iterator<Item = Result<(), String>>, least: usize) {
    let results: Vec<_> = results.collect();
    assert!(results.len() >= least, "only {} cases were found", results.len());
    let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} do not hold:\n{}", failed.len(), failed.join(""));
}

#[test]
fn every_raw_request_is_refused_or_made_harmless() {
    let scene = Setup::new().api_key().top(LIMITS).start_ok();
    let cases: Vec<_> = HTTP1.into_iter().flat_map(corpus::read).collect();
    all_hold(cases.iter().map(|case| over_http1(&scene, case)), 300);
    assert_eq!(scene.origin.failures(), Vec::<String>::new());
}

#[test]
fn what_means_the_same_over_http2_has_the_same_verdict() {
    let scene = Setup::new().api_key().top(LIMITS).start_ok();
    let cases: Vec<_> = HTTP1.into_iter().flat_map(corpus::read).filter(|case| case.over_h2c).collect();
    all_hold(cases.iter().map(|case| over_h2c(&scene, case)), 50);
    assert_eq!(scene.origin.failures(), Vec::<String>::new());
}

#[test]
fn frames_that_no_client_sends_are_refused_or_made_harmless() {
    let scene = Setup::new().api_key().top(LIMITS).start_ok();
    let cases = corpus::read("h2c");
    all_hold(cases.iter().map(|case| as_frames(&scene, case)), 90);
    assert_eq!(scene.origin.failures(), Vec::<String>::new());
}
