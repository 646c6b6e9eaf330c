//! HTTP/2 without TLS, with the client's frames written by hand: what no client library lets through. What comes back
//! is read by crate `h2`: its client makes a request for each stream that an answer is wanted of, and the bytes that it
//! would send are thrown away.

use std::{future::poll_fn, io, net::SocketAddr};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{PATIENCE, client::Answer, wire::Head};

/// What became of a stream.
#[derive(Debug)]
pub enum Outcome {
    /// It was answered.
    Answer(Answer),
    /// It was reset; the reason's name, `PROTOCOL_ERROR`.
    Reset(String),
    /// The connection was ended; the reason's name.
    Gone(String),
}

/// The client's preface and an empty SETTINGS frame.
pub fn preface() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, b"")].concat()
}

/// A frame of any type, with any flags and content.
pub fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("frames are small").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// A field for a header block: literal, not indexed, not Huffman-coded (RFC 7541 section 6.2.2).
pub fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        // A prefix of seven bits, then seven bits a byte (RFC 7541 section 5.1).
        if text.len() < 127 {
            out.push(text.len() as u8);
        } else {
            out.push(127);
            let mut left = text.len() - 127;
            while left >= 128 {
                out.push((left % 128 + 128) as u8);
                left /= 128;
            }
            out.push(left as u8);
        }
        out.extend_from_slice(text);
    }
    out
}

/// Sends these bytes over a connection of their own; what becomes of streams 1, 3, … `2 * streams - 1`, in order.
///
/// # Panics
/// When what comes back is not HTTP/2, or does not come.
pub fn exchange(address: SocketAddr, name: &str, bytes: &[u8], streams: usize) -> Vec<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let work = async {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut from, mut to) = stream.into_split();
        let (mut unsent, mut read) = tokio::io::split(theirs);
        tokio::spawn(async move { tokio::io::copy(&mut unsent, &mut tokio::io::sink()).await });
        let (requests, connection) = h2::client::handshake(ours).await.map_err(io::Error::other)?;
        tokio::spawn(async { drop(connection.await) });
        let mut answers = Vec::new();
        for _ in 0..streams {
            let mut requests = requests.clone().ready().await.map_err(io::Error::other)?;
            let request = http::Request::get("http://localhost/").body(()).expect("a valid request");
            answers.push(requests.send_request(request, true).map_err(io::Error::other)?.0);
        }
        // Only now may anything come back: the client must know of the streams.
        let bytes = bytes.to_vec();
        tokio::spawn(async move {
            // A proxy that ended the connection takes no more.
            let _ = to.write_all(&bytes).await;
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut piece).await {
                if read.write_all(&piece[..count]).await.is_err() {
                    break;
                }
            }
            let _ = read.shutdown().await;
            drop(to);
        });
        let mut outcomes = Vec::new();
        for answer in answers {
            outcomes.push(outcome(answer).await);
        }
        Ok::<_, io::Error>(outcomes)
    };
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, work).await.map_err(io::Error::other)? })
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

async fn outcome(answer: h2::client::ResponseFuture) -> Outcome {
    let read = async {
        let (parts, mut receiving) = answer.await?.into_parts();
        let mut body = Vec::new();
        while let Some(piece) = poll_fn(|cx| receiving.poll_data(cx)).await.transpose()? {
            let piece: Bytes = piece;
            body.extend_from_slice(&piece);
        }
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.as_str().to_owned(), value.as_bytes().to_vec())
        };
        let head = Head { fields: parts.headers.iter().map(field).collect(), ..Head::default() };
        Ok::<_, h2::Error>(Answer { status: parts.status.as_u16(), head, body, interim: Vec::new() })
    };
    match read.await {
        Ok(answer) => Outcome::Answer(answer),
        Err(error) => {
            let reason = error.reason().map_or_else(|| error.to_string(), |reason| format!("{reason:?}"));
            match error.is_reset() && error.is_remote() {
                true => Outcome::Reset(reason),
                false if error.is_go_away() && error.is_remote() => Outcome::Gone(reason),
                false => Outcome::Gone(format!("not in order: {error}")),
            }
        }
    }
}
