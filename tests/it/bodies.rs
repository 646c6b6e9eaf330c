//! Bodies on the way in: read whole and bounded before anything is forwarded, sent with an exact length, never changed.

use std::{
    sync::{Barrier, Mutex, mpsc},
    thread,
};

use crate::support::{
    client::{Ask, Client, Via},
    h2c,
    origin::{Then, answer},
    scene::{Scene, Setup, assert_refusal, assert_signed},
};

const MIB: usize = 1 << 20;

/// Sends these bytes on a connection of its own and reads the answer.
fn raw(scene: &Scene, bytes: &[u8], method: &str) -> crate::support::client::Answer {
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    client.send(bytes).unwrap();
    client.answer(method).unwrap()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn bodies_arrive_as_they_were_sent_with_their_length() {
    let scene = Setup::new().start_ok();
    let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0";
    for via in Via::ALL {
        for body in [&b""[..], b"x", b"{\"a\": 1}", &(0..=255).collect::<Vec<u8>>(), gzip, &noise(300_000)] {
            for method in ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS", "REPORT"] {
                let ask = Ask::new(method, "/a").header("content-encoding", "gzip").body(body);
                let request = scene.sent(via, &ask);
                assert_eq!(request.body, body, "{via:?} {method}");
                assert_eq!(request.head.one("content-encoding"), Some("gzip"));
                assert_eq!(request.head.one("transfer-encoding"), None);
                if !body.is_empty() {
                    assert_eq!(
                        request.head.one("content-length"),
                        Some(&*body.len().to_string()),
                        "{method}"
                    );
                }
            }
        }
    }
}

/// So many that they are hashed side by side where the processor can; who leaves halfway takes none of the others along.
#[test]
fn many_long_uploads_at_once_are_each_signed_for_what_they_are() {
    let scene = Setup::new().start_ok();
    let body = |n: usize| [n.to_string().into_bytes(), noise(300_000 + 12_345 * n)].concat();
    let (whole, cut): (Vec<usize>, Vec<usize>) = (0..40).partition(|n| n % 5 > 0);
    let half_is_sent = Barrier::new(whole.len() + cut.len());
    thread::scope(|scope| {
        for n in [&whole[..], &cut].concat() {
            let mut client = Client::connect(scene.proxy.address()).unwrap();
            let (cut, half_is_sent) = (&cut, &half_is_sent);
            scope.spawn(move || {
                let bytes = Ask::new("POST", &format!("/{n}")).body(body(n)).bytes();
                let (half, rest) = bytes.split_at(bytes.len() / 2);
                client.send(half).unwrap();
                half_is_sent.wait();
                if !cut.contains(&n) {
                    client.send(rest).unwrap();
                    assert_eq!(client.answer("POST").unwrap().status, 200, "{n}");
                }
            });
        }
    });
    let mut seen: Vec<usize> = Vec::new();
    for request in scene.origin.take() {
        assert_signed(&request);
        let n = std::str::from_utf8(request.target()).unwrap().trim_start_matches("/prod/").parse().unwrap();
        assert!(request.body == body(n), "{n}");
        seen.push(n);
    }
    seen.sort_unstable();
    assert_eq!(seen, whole);
    assert_eq!(scene.origin.failures(), [""; 0]);
}

#[test]
fn the_absence_of_a_body_is_said_where_it_means_something() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        for (method, length) in [
            ("POST", Some("0")),
            ("PUT", Some("0")),
            ("PATCH", Some("0")),
            ("GET", None),
            ("HEAD", None),
            ("DELETE", None),
            ("OPTIONS", None),
        ] {
            let request = scene.sent(via, &Ask::new(method, "/a"));
            assert_eq!(request.head.one("content-length"), length, "{via:?} {method}");
            assert_eq!(request.head.one("transfer-encoding"), None, "{via:?} {method}");
        }
    }
}

#[test]
fn a_chunked_upload_leaves_with_a_length() {
    let scene = Setup::new().start_ok();
    let answer = raw(
        &scene,
        b"PUT /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
          3;ext=1\r\nabc\r\n0a\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\n",
        "PUT",
    );
    assert_eq!(answer.status, 200);
    let request = scene.origin.next();
    assert_signed(&request);
    assert_eq!(request.body, b"abc0123456789");
    assert_eq!(request.head.one("content-length"), Some("13"));
    for gone in ["transfer-encoding", "trailer", "x-sum"] {
        assert_eq!(request.head.one(gone), None);
    }

    // Without a length over HTTP/2, in three pieces.
    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let mut stream = client.begin(&Ask::new("PUT", "/a"), false).unwrap();
    stream.send(b"abc", false).unwrap();
    stream.send(b"0123456789", false).unwrap();
    stream.send(b"", true).unwrap();
    assert_eq!(stream.head().unwrap().0, 200);
    let request = scene.origin.next();
    assert_signed(&request);
    assert_eq!(request.body, b"abc0123456789");
    assert_eq!(request.head.one("content-length"), Some("13"));
    assert_eq!(request.head.one("transfer-encoding"), None);
}

#[test]
fn a_chunked_upload_of_nothing_is_an_empty_body() {
    let scene = Setup::new().start_ok();
    for method in ["POST", "GET"] {
        let head =
            format!("{method} /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
        assert_eq!(raw(&scene, head.as_bytes(), method).status, 200);
        let request = scene.origin.next();
        assert_signed(&request);
        assert_eq!(
            (request.head.one("content-length"), request.head.one("transfer-encoding")),
            (Some("0"), None)
        );
    }
}

#[test]
fn ambiguous_framing_is_refused() {
    let scene = Setup::new().start_ok();
    for fields in [
        "content-length: 3\r\ncontent-length: 4",
        "content-length: -3",
        "content-length: +3",
        "content-length: 3x",
        "content-length: 99999999999999999999",
        "transfer-encoding: gzip",
        "transfer-encoding: chunked\r\ntransfer-encoding: gzip",
        "transfer-encoding: xchunked",
    ] {
        let answer = raw(
            &scene,
            format!("PUT /a HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n\r\nabc").as_bytes(),
            "PUT",
        );
        assert_refusal(&answer_without_id(answer), 400, "bad-request");
        assert_eq!(scene.origin.take().len(), 0, "{fields}");
    }
    // Chunks win over a length (RFC 9112, section 6.3), and the length that leaves is the true one.
    let answer = raw(
        &scene,
        b"PUT /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n\
          3\r\nabc\r\n0\r\n\r\n",
        "PUT",
    );
    if answer.status == 200 {
        let request = scene.origin.next();
        assert_eq!((request.body.as_slice(), request.head.one("content-length")), (&b"abc"[..], Some("3")));
    } else {
        assert_refusal(&answer_without_id(answer), 400, "bad-request");
        assert_eq!(scene.origin.take().len(), 0);
    }
}

/// What the proxy answers before there is a request has no request's id.
fn answer_without_id(answer: crate::support::client::Answer) -> crate::support::client::Answer {
    assert_eq!(answer.json()["request_id"], "");
    answer
}

#[test]
fn the_limit_is_ten_mebibytes_to_the_byte() {
    let scene = Setup::new().start_ok();
    let body = noise(10 * MIB + 1);
    for via in Via::ALL {
        let request = scene.sent(via, &Ask::new("PUT", "/a").body(&body[1..]));
        assert!(request.body == body[1..], "{via:?}: {} bytes arrived", request.body.len());
        let answer = scene.refused(via, &Ask::new("PUT", "/a").body(&*body), 413, "body-too-large");
        assert!(answer.json()["message"].as_str().unwrap().contains("10485760"), "{}", answer.text());
    }
}

#[test]
fn what_is_announced_too_large_is_refused_before_it_is_read() {
    let scene = Setup::new().top("[limits]\nmax_body = \"8B\"").start_ok();
    // Nothing of the body is ever sent, and nobody asks for it.
    for expect in ["", "expect: 100-continue\r\n"] {
        let head = format!("PUT /a HTTP/1.1\r\nhost: localhost\r\n{expect}content-length: 9\r\n\r\n");
        let answer = raw(&scene, head.as_bytes(), "PUT");
        assert_refusal(&answer, 413, "body-too-large");
        assert!(answer.interim.is_empty(), "{:?}", answer.interim);
    }
    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let mut stream = client.begin(&Ask::new("PUT", "/a").header("content-length", "9"), false).unwrap();
    let (status, head) = stream.head().unwrap();
    assert_eq!((status, head.one("x-countersign-error")), (413, Some("body-too-large")));
    assert_eq!(scene.origin.take().len(), 0);
}

#[test]
fn what_grows_past_the_limit_is_refused_as_soon_as_it_does() {
    let scene = Setup::new().top("[limits]\nmax_body = \"8B\"").start_ok();
    // The ninth byte comes, the end of the body never does.
    let head = b"PUT /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n5\r\nefghi\r\n";
    assert_refusal(&raw(&scene, head, "PUT"), 413, "body-too-large");
    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let mut stream = client.begin(&Ask::new("PUT", "/a"), false).unwrap();
    stream.send(b"abcdefghi", false).unwrap();
    let (status, head) = stream.head().unwrap();
    assert_eq!((status, head.one("x-countersign-error")), (413, Some("body-too-large")));
    assert_eq!(scene.origin.take().len(), 0);
    for via in Via::ALL {
        assert_eq!(scene.sent(via, &Ask::new("PUT", "/a").body("abcdefgh")).body, b"abcdefgh");
    }
}

#[test]
fn expect_100_continue_is_answered_here() {
    let scene = Setup::new().start_ok();
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    for value in ["100-continue", "100-Continue"] {
        let head =
            format!("PUT /a HTTP/1.1\r\nhost: localhost\r\nexpect: {value}\r\ncontent-length: 4\r\n\r\n");
        client.send(head.as_bytes()).unwrap();
        // As curl does: the body is sent only once it is asked for.
        assert_eq!(client.head("PUT").unwrap().0, 100);
        assert_eq!(scene.origin.take().len(), 0);
        client.send(b"body").unwrap();
        assert_eq!(client.answer("PUT").unwrap().status, 200);
        let request = scene.origin.next();
        assert_eq!((request.body.as_slice(), request.head.one("expect")), (&b"body"[..], None));
    }
    for via in Via::ALL {
        let request = scene.sent(via, &Ask::new("PUT", "/a").header("expect", "100-continue").body("body"));
        assert_eq!((request.body.as_slice(), request.head.one("expect")), (&b"body"[..], None));
    }
}

#[test]
fn a_refused_request_is_not_asked_for_its_body() {
    let scene = Setup::new().start_ok();
    for (target, fields, status, code) in [
        ("/a/../b", "", 400, "dot-segment"),
        ("/a?%FF", "", 400, "query-not-utf8"),
        ("/a", "x-http-method-override: GET\r\n", 403, "method-override"),
        ("/a", "content-encoding: aws-chunked\r\n", 415, "chunked-signing"),
    ] {
        let head = format!(
            "PUT {target} HTTP/1.1\r\nhost: localhost\r\n{fields}expect: 100-continue\r\ncontent-length: 4\r\n\r\n"
        );
        let answer = raw(&scene, head.as_bytes(), "PUT");
        assert_refusal(&answer, status, code);
        assert!(answer.interim.is_empty());
    }
}

#[test]
fn other_expectations_are_not_met() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        for value in ["200-ok", "100-continue, 200-ok", "", "100-continued"] {
            scene.refused(via, &Ask::new("PUT", "/a").header("expect", value), 417, "expectation-failed");
        }
    }
}

#[test]
fn bodies_signed_piece_by_piece_are_refused() {
    let scene = Setup::new().start_ok();
    for via in Via::ALL {
        for (name, value) in [
            ("content-encoding", "aws-chunked"),
            ("content-encoding", "gzip, AWS-Chunked"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ] {
            for body in [Some("5;chunk-signature=0\r\nhello\r\n0;chunk-signature=0\r\n\r\n"), None] {
                let mut ask = Ask::new("PUT", "/a").header(name, value);
                ask.body = body.map(|body| body.as_bytes().to_vec());
                scene.refused(via, &ask, 415, "chunked-signing");
            }
        }
        // The hash of a whole body is only replaced.
        scene.sent(via, &Ask::new("PUT", "/a").header("x-amz-content-sha256", "UNSIGNED-PAYLOAD").body("x"));
    }
}

#[test]
fn what_the_client_cuts_short_is_never_forwarded() {
    let scene = Setup::new().start_ok();
    for body in [
        "content-length: 9\r\n\r\nshort",
        "transfer-encoding: chunked\r\n\r\n9\r\nshort",
        "transfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ] {
        let mut client = Client::connect(scene.proxy.address()).unwrap();
        client.send(format!("PUT /a HTTP/1.1\r\nhost: localhost\r\n{body}").as_bytes()).unwrap();
        client.end_writing().unwrap();
        assert_refusal(&client.answer("PUT").unwrap(), 400, "body-cut");
    }
    // Chunks that are none.
    let chunks = b"PUT /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nshort\r\n";
    assert_refusal(&raw(&scene, chunks, "PUT"), 400, "bad-request");

    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let mut stream = client.begin(&Ask::new("PUT", "/a"), false).unwrap();
    stream.send(b"short", false).unwrap();
    stream.reset();
    // A request on the same connection comes after the reset, so the cut one is done with.
    assert_eq!(client.exchange(&Ask::new("GET", "/after")).unwrap().status, 200);
    let seen = scene.origin.take();
    assert_eq!(seen.iter().map(|request| request.target()).collect::<Vec<_>>(), [b"/prod/after"]);
}

#[test]
fn a_length_over_http2_that_is_wrong_is_never_forwarded() {
    let scene = Setup::new().start_ok();
    for (length, body) in [("9", "short"), ("3", "short")] {
        let client = h2c::Client::connect(scene.proxy.address()).unwrap();
        let mut stream =
            client.begin(&Ask::new("PUT", "/a").header("content-length", length), false).unwrap();
        // h2 resets the stream, so that either call may be the one that fails.
        let refused =
            stream.send(body.as_bytes(), true).and_then(|()| stream.head()).map(|(status, _)| status);
        assert!(refused.as_ref().map_or(true, |status| *status == 400), "{refused:?}");
        // A request on the same connection comes after it, so the wrong one is done with.
        assert_eq!(client.exchange(&Ask::new("GET", "/after")).unwrap().status, 200);
        let seen = scene.origin.take();
        assert_eq!(seen.iter().map(|request| request.target()).collect::<Vec<_>>(), [b"/prod/after"]);
    }
}

#[test]
fn a_body_that_stalls_ends_in_a_timeout() {
    let scene = Setup::new().top("[limits]\nbody_timeout = \"200ms\"").start_ok();
    for body in [
        "content-length: 9\r\n\r\nshort",
        "content-length: 9\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ] {
        let answer = raw(&scene, format!("PUT /a HTTP/1.1\r\nhost: localhost\r\n{body}").as_bytes(), "PUT");
        assert_refusal(&answer, 408, "body-timeout");
    }
    let client = h2c::Client::connect(scene.proxy.address()).unwrap();
    let mut stream = client.begin(&Ask::new("PUT", "/a"), false).unwrap();
    stream.send(b"short", false).unwrap();
    let (status, head) = stream.head().unwrap();
    assert_eq!((status, head.one("x-countersign-error")), (408, Some("body-timeout")));
    assert_eq!(scene.origin.take().len(), 0);
}

#[test]
fn one_byte_chunks_are_taken_in_any_number() {
    const COUNT: usize = 100_000;
    let scene = Setup::new().top("[limits]\nmax_body = \"200kB\"\nmax_buffered = \"200kB\"").start_ok();
    let mut bytes = b"PUT /a HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for number in 0..COUNT {
        bytes.extend_from_slice(&[b'1', b'\r', b'\n', b'a' + (number % 26) as u8, b'\r', b'\n']);
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(raw(&scene, &bytes, "PUT").status, 200);
    let request = scene.origin.next();
    assert_signed(&request);
    assert!(request.body.iter().enumerate().all(|(number, byte)| *byte == b'a' + (number % 26) as u8));
    assert_eq!(request.body.len(), COUNT);
}

#[test]
fn bodies_share_one_budget() {
    let limits = "[limits]\nmax_body = \"100000B\"\nmax_buffered = \"100000B\"\nbuffer_wait = \"200ms\"";
    let (answer_now, may_answer) = mpsc::channel::<()>();
    let may_answer = Mutex::new(may_answer);
    let scene = Setup::new().top(limits).start(move |request, reply| {
        if request.target() == b"/prod/slow" {
            may_answer.lock().unwrap().recv().unwrap();
        }
        reply.send(answer("200 OK", &[], "ok"))?;
        Ok(Then::Keep)
    });
    // What is announced takes no room before it comes.
    let announce =
        b"PUT /slow HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 100000\r\n\r\n";
    let mut idlers: Vec<_> = (0..20).map(|_| Client::connect(scene.proxy.address()).unwrap()).collect();
    for idler in &mut idlers {
        idler.send(announce).unwrap();
        assert_eq!(idler.head("PUT").unwrap().0, 100);
    }
    for via in Via::ALL {
        scene.sent(via, &Ask::new("PUT", "/a").body("x"));
    }
    let mut holder = idlers.swap_remove(0);
    for mut idler in idlers {
        idler.end_writing().unwrap();
        assert_refusal(&idler.answer("PUT").unwrap(), 400, "body-cut");
    }

    // Until its answer is there the body may be needed again, and keeps its room.
    holder.send(&vec![b'x'; 100_000]).unwrap();
    assert_eq!(scene.origin.next().body.len(), 100_000);
    for via in Via::ALL {
        let refused = scene.refused(via, &Ask::new("PUT", "/a").body("x"), 503, "busy");
        assert_eq!(refused.head.one("retry-after"), Some("1"));
        assert_eq!(
            scene.sent(via, &Ask::new("GET", "/a")).target(),
            b"/prod/a",
            "who needs no room is served"
        );
    }
    answer_now.send(()).unwrap();
    assert_eq!(holder.answer("PUT").unwrap().status, 200);
    for via in Via::ALL {
        scene.sent(via, &Ask::new("PUT", "/a").body("x"));
    }

    // Who leaves gives its room back.
    let mut leaver = Client::connect(scene.proxy.address()).unwrap();
    leaver.send(b"PUT /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n").unwrap();
    leaver.send(&vec![b'x'; 99_999]).unwrap();
    leaver.end_writing().unwrap();
    assert_refusal(&leaver.answer("PUT").unwrap(), 400, "body-cut");
    scene.sent(Via::Http1, &Ask::new("PUT", "/a").body("x"));
}

#[test]
fn bodies_that_all_wait_for_more_room_do_not_wait_for_ever() {
    let limits = "[limits]\nmax_body = \"100000B\"\nmax_buffered = \"100000B\"\nbuffer_wait = \"200ms\"";
    let scene = Setup::new().top(limits).start_ok();
    let mut clients = [0, 1].map(|_| Client::connect(scene.proxy.address()).unwrap());
    for client in &mut clients {
        client.send(b"PUT /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n").unwrap();
        // More than half of the room.
        client.send(&vec![b'x'; 60_000]).unwrap();
    }
    let [mut first, mut second] = clients;
    let (mut refused, mut served) = loop {
        if first.is_answered_within(std::time::Duration::from_millis(10)).unwrap() {
            break (first, second);
        }
        if second.is_answered_within(std::time::Duration::from_millis(10)).unwrap() {
            break (second, first);
        }
    };
    assert_refusal(&refused.answer("PUT").unwrap(), 503, "busy");
    served.send(&vec![b'x'; 40_000]).unwrap();
    assert_eq!(served.answer("PUT").unwrap().status, 200);
    assert_eq!(scene.origin.next().body.len(), 100_000);
}

#[test]
fn a_request_waits_for_room() {
    let (answer_now, may_answer) = mpsc::channel::<()>();
    let may_answer = Mutex::new(may_answer);
    let limits = "[limits]\nmax_body = \"100000B\"\nmax_buffered = \"100000B\"\nbuffer_wait = \"1m\"";
    let scene = Setup::new().top(limits).start(move |request, reply| {
        if request.target() == b"/prod/first" {
            may_answer.lock().unwrap().recv().unwrap();
        }
        reply.send(answer("200 OK", &[], "ok"))?;
        Ok(Then::Keep)
    });
    let mut holder = Client::connect(scene.proxy.address()).unwrap();
    holder.send(&Ask::new("PUT", "/first").body(vec![b'x'; 100_000]).bytes()).unwrap();
    assert_eq!(scene.origin.next().target(), b"/prod/first");
    // All room is taken until the first is answered.
    let mut waiter = Client::connect(scene.proxy.address()).unwrap();
    waiter.send(&Ask::new("PUT", "/second").body("x").bytes()).unwrap();
    assert_eq!(scene.sent(Via::Http1, &Ask::new("GET", "/a")).target(), b"/prod/a");
    answer_now.send(()).unwrap();
    assert_eq!(holder.answer("PUT").unwrap().status, 200);
    assert_eq!(waiter.answer("PUT").unwrap().status, 200);
    assert_eq!(scene.origin.next().target(), b"/prod/second");
}

#[test]
fn a_connection_serves_on_after_each_body() {
    let scene = Setup::new().start_ok();
    let mut client = Client::connect(scene.proxy.address()).unwrap();
    for body in ["", "x", "a longer one"] {
        let answer = client.exchange(&Ask::new("POST", "/a").body(body)).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(scene.origin.next().body, body.as_bytes());
    }
    assert_eq!(scene.origin.connections(), 1);
}
