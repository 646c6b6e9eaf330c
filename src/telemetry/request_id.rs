//! What a request is called: in its line of log, in the body of a refusal, and in `x-request-id`, to the stage and back.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The field that carries it. No standard names it; proxies and frameworks know it by custom.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest that is taken from a client.
const LONGEST: usize = 128;

/// Ids of a thread are cut from pieces of so many bytes, so that hardly any costs an allocation.
const PIECE: usize = 1024;

/// Names a request. Cloning counts a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The client's own, if it sent exactly one and that can be written anywhere: 1 to 128 letters, digits and
    /// `-_.~:/+=@|#`. Otherwise a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(REQUEST_ID).iter();
        match (sent.next(), sent.next()) {
            // Copied: the header is a slice of the buffer that the request was read into.
            (Some(id), None) if is_sane(id.as_bytes()) => Self(kept(id.as_bytes())),
            _ => Self::next(),
        }
    }

    /// Sixteen hexadecimal digits that this process has not given before and other processes hardly will.
    #[must_use]
    pub fn next() -> Self {
        thread_local! {
            static NEXT: Cell<u64> = Cell::new(first());
        }
        let number = NEXT.get();
        NEXT.set(number.wrapping_add(1));
        let mut text = [0; 16];
        for (index, slot) in text.iter_mut().enumerate() {
            *slot = b"0123456789abcdef"[(number >> (60 - 4 * index)) as usize & 15];
        }
        Self(kept(&text))
    }

    /// As text: visible ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("only visible ASCII is taken")
    }

    /// As a header's value.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~:/+=@|#".contains(byte))
}

fn kept(text: &[u8]) -> HeaderValue {
    thread_local! {
        static PIECE_HERE: RefCell<BytesMut> = RefCell::default();
    }
    PIECE_HERE.with_borrow_mut(|piece| {
        if piece.capacity() < text.len() {
            *piece = BytesMut::with_capacity(PIECE);
        }
        piece.extend_from_slice(text);
        HeaderValue::from_maybe_shared(piece.split().freeze()).expect("visible ASCII is a valid value")
    })
}

/// Where a thread starts to count: far from every other thread, and from this program's other runs.
fn first() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    let thread = THREADS.fetch_add(1, Ordering::Relaxed);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    since.rotate_left(20) ^ u64::from(std::process::id()).rotate_left(44) ^ (thread << 56)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::{HeaderMap, HeaderValue};

    use super::{REQUEST_ID, RequestId};

    #[test]
    fn ids_differ_within_and_across_threads() {
        let many = || (0..1000).map(|_| RequestId::next().as_str().to_owned()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(many)).collect();
        let ids: HashSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.len(), 4000);
        assert!(ids.iter().all(|id| id.len() == 16));
    }

    #[test]
    fn a_clients_own_is_taken_when_it_can_be_written_anywhere() {
        let of = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
            }
            RequestId::of(&headers).as_str().to_owned()
        };
        let longest = "x".repeat(128);
        for id in ["1", "5f0c-A_b.c~d", "Root=1-67891233-abcdef/a+b==", "a:b@c|d#e", longest.as_str()] {
            assert_eq!(of(&[id.as_bytes()]), id);
        }
        let too_long = "x".repeat(129);
        let bad =
            ["", " ", "a b", "a\"b", "a'b", "a,b", "a;b", "a\\b", "a<b", "a&b", "a%20b", "é", &too_long];
        for id in bad {
            let made = of(&[id.as_bytes()]);
            assert!(made != id && made.len() == 16, "{id}: {made}");
        }
        assert_eq!(of(&[b"one", b"two"]).len(), 16, "two are none");
        assert_eq!(of(&[]).len(), 16);
    }
}
