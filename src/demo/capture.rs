//! Keeps the head of a request as it came over the wire, which the HTTP library has parsed away by the time that a
//! request is handled: the target's spelling, the names' case, the white space in values, the order of it all.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::canonical::Field;

/// Heads beyond this length are not kept. API Gateway takes 10,240 bytes of headers.
const MAX_HEAD: usize = 65_536;

/// The head of the request that a connection is at.
#[derive(Clone, Default)]
pub struct Head(Arc<Mutex<State>>);

enum State {
    /// Bytes are kept until a blank line.
    Open(Vec<u8>),
    /// The blank line was seen; what follows is the body.
    Whole(Vec<u8>),
    /// Taken, or too long.
    Gone,
}

impl Default for State {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

impl Head {
    /// The head, blank line included; only once for each request.
    #[must_use]
    pub fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Gone) {
            State::Whole(head) => Some(head),
            State::Open(_) | State::Gone => None,
        }
    }

    /// Starts on the next request: to be called between the end of a body and the answer to it.
    ///
    /// A client that sends its next request before the answer (pipelining) has no head to be judged by.
    pub fn reset(&self) {
        *self.lock() = State::default();
    }

    fn keep(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let State::Open(head) = &mut *state else { return };
        for &byte in bytes {
            // RFC 9112 section 2.2: blank lines before a request line do not count.
            if head.is_empty() && b"\r\n".contains(&byte) {
                continue;
            }
            head.push(byte);
            if head.ends_with(b"\r\n\r\n") {
                *state = State::Whole(std::mem::take(head));
                return;
            }
        }
        if head.len() > MAX_HEAD {
            *state = State::Gone;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A head taken apart, with nothing decoded, trimmed or put in order.
#[derive(Clone, PartialEq, Eq)]
pub struct Parts {
    /// `GET`
    pub method: String,
    /// The request target.
    pub target: Vec<u8>,
    /// Every header line, split at its colon.
    pub headers: Vec<Field>,
}

impl Parts {
    /// Takes a head apart. `None` when it is not text of the form that RFC 9112 section 3 and 5 demand.
    #[must_use]
    pub fn parse(head: &[u8]) -> Option<Self> {
        let text = head.strip_suffix(b"\r\n\r\n")?;
        let mut lines =
            text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut words = lines.next()?.splitn(3, |&byte| byte == b' ');
        let method = String::from_utf8(words.next()?.to_vec()).ok()?;
        let target = words.next()?.to_vec();
        words.next()?;
        let headers = lines.map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            Some((String::from_utf8(line[..colon].to_vec()).ok()?, line[colon + 1..].to_vec()))
        });
        Some(Self { method, target, headers: headers.collect::<Option<_>>()? })
    }
}

/// A connection whose incoming bytes pass through a [`Head`].
pub struct Tap<S> {
    inner: S,
    head: Head,
}

impl<S> Tap<S> {
    /// Listens in on a connection; the second part is where the heads appear.
    #[must_use]
    pub fn new(inner: S) -> (Self, Head) {
        let head = Head::default();
        (Self { inner, head: head.clone() }, head)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.head.keep(&buf.filled()[before..]);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::{Parts, Tap};

    #[tokio::test]
    async fn heads_are_kept_as_sent_and_bodies_are_not() {
        let (mut client, server) = tokio::io::duplex(7);
        let (mut server, head) = Tap::new(server);
        let first = b"\r\nPOST /a//b?x=%2f HTTP/1.1\r\nHoSt: \th \r\nX-A:1\r\n\r\n";
        let writer = tokio::spawn(async move {
            client.write_all(first).await.unwrap();
            client.write_all(b"body\r\n\r\n").await.unwrap();
            client
        });
        let mut read = vec![0; first.len() + 8];
        server.read_exact(&mut read).await.unwrap();
        let _client = writer.await.unwrap();

        let kept = head.take().unwrap();
        assert_eq!(kept, first[2..]);
        assert_eq!(head.take(), None, "only once");
        let parts = Parts::parse(&kept).unwrap();
        assert_eq!((parts.method.as_str(), &*parts.target), ("POST", &b"/a//b?x=%2f"[..]));
        assert_eq!(
            parts.headers,
            [("HoSt".to_owned(), b" \th ".to_vec()), ("X-A".to_owned(), b"1".to_vec())]
        );
    }

    #[test]
    fn what_is_no_head_is_not_parsed() {
        for wrong in
            ["", "GET / HTTP/1.1", "GET\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n"]
        {
            assert!(Parts::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
