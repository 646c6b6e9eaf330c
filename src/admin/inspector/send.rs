//! Sends a request through the proxy's whole chain, as one more client on this machine.
//!
//! It goes over a connection in memory, so that it does not matter whether clients come by TLS or a Unix socket; guard,
//! rules and limits decide as for any other. Nobody waits for its answer here: like every exchange it appears in the
//! list once it has ended.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{sync::Semaphore, task::spawn_local, time::timeout};

use crate::proxy::{Closed, Entry, Inside};

/// Bytes that the connection holds on its way.
const PIPE: usize = 64 << 10;
/// Sent at a time: each click is one.
const MOST: usize = 16;
/// Bytes of an answer that are kept for who waits for it: a refusal of the proxy's is shorter.
const BEGINNING: usize = 16 << 10;
/// For the whole of it; longer than any answer of a gateway takes (15 minutes of streaming).
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// What frames a message or is for one hop alone, and is made anew (RFC 9110 sections 7.6.1 and 8.6).
const NOT_SENT: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A request as it is to be sent.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) target: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why it is not.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSent {
    /// Something of it is not HTTP.
    #[error("{0}")]
    Malformed(String),
    /// Too many are under way.
    #[error("{MOST} requests are under way already")]
    Busy,
    /// The proxy serves no more, or not yet.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl Outgoing {
    /// Reads what the page gave.
    pub(super) fn new(
        method: &str,
        target: &str,
        fields: impl IntoIterator<Item = (String, Vec<u8>)>,
        body: Bytes,
    ) -> Result<Self, NotSent> {
        let wrong = |what: String| NotSent::Malformed(what);
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| wrong(format!("{method:?} is no method (RFC 9110 section 9.1)")))?;
        if target.contains('#') {
            return Err(wrong("a target has no fragment (\"#\")".to_owned()));
        }
        let uri: Uri = target.parse().map_err(|_| wrong(format!("{target:?} is no request target")))?;
        if !(target.starts_with('/')
            || uri.scheme().is_some()
            || (target == "*" && method == Method::OPTIONS))
        {
            return Err(wrong("a target begins with \"/\"".to_owned()));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let shown = &name;
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| wrong(format!("{shown:?} is no header's name")))?;
            let mut value = HeaderValue::from_bytes(&value)
                .map_err(|_| wrong(format!("the value of {name} cannot stand in a header")))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(Self { method, target: uri, headers, body })
    }

    /// As a client on this machine frames it, with the callers' token.
    fn into_request(self, token: Option<&HeaderValue>) -> Request<Full<Bytes>> {
        let Self { method, target, mut headers, body } = self;
        for name in NOT_SENT {
            headers.remove(name);
        }
        if !headers.contains_key(header::HOST) {
            let host =
                target.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
            headers.insert(header::HOST, host.unwrap_or_else(|| HeaderValue::from_static("localhost")));
        }
        if let Some(token) = token {
            headers.insert(HeaderName::from_static("x-countersign-token"), token.clone());
        }
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, target, headers);
        request
    }
}

/// Sends, a bounded number at a time.
pub(super) struct Sender(Arc<Semaphore>);

impl Sender {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }

    /// Hands the request in; `done` is called once its answer has ended, or has been given up, with the body's beginning.
    pub(super) fn send(
        &self,
        entry: &Entry,
        outgoing: Outgoing,
        token: Option<&HeaderValue>,
        inside: Inside,
        done: impl FnOnce(Vec<u8>) + 'static,
    ) -> Result<(), NotSent> {
        let permit = Arc::clone(&self.0).try_acquire_owned().map_err(|_| NotSent::Busy)?;
        let request = outgoing.into_request(token);
        let (near, far) = tokio::io::duplex(PIPE);
        entry(far, Arc::new(inside))?;
        spawn_local(async move {
            let mut begun = Vec::new();
            let exchange = async {
                let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await?;
                let connection = spawn_local(connection);
                let answer = sender.send_request(request).await?;
                let mut body = answer.into_body();
                // Read to its end, so that the exchange is whole; the proxy keeps what is to be kept of it.
                while let Some(frame) = body.frame().await {
                    let frame = frame?;
                    if let Some(piece) = frame.data_ref() {
                        let room = BEGINNING - begun.len();
                        begun.extend_from_slice(&piece[..piece.len().min(room)]);
                    }
                }
                connection.abort();
                Ok::<_, hyper::Error>(())
            };
            match timeout(LIMIT, exchange).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a request of the inspector's ended with an error"),
                Err(_) => tracing::debug!("a request of the inspector's took too long and is cut"),
            }
            drop(permit);
            done(begun);
        });
        Ok(())
    }
}

/// Whether such a request may change something (RFC 9110 section 9.2.1), so that a person is asked first.
pub(super) fn may_act(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderValue, Method};

    use super::{Outgoing, may_act};

    fn outgoing(method: &str, target: &str, fields: &[(&str, &str)]) -> Result<Outgoing, String> {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        Outgoing::new(method, target, fields, Bytes::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (method, target, fields) in [
            ("GE T", "/", &[][..]),
            ("GET\r\nx: y", "/", &[]),
            ("", "/", &[]),
            ("GET", "", &[]),
            ("GET", "a", &[]),
            ("GET", "/a#b", &[]),
            ("GET", "/a b", &[]),
            ("GET", "/a\r\nx: y", &[]),
            ("GET", "*", &[]),
            ("GET", "/", &[("a b", "c")]),
            ("GET", "/", &[("a", "b\r\nc: d")]),
            ("GET", "/", &[("a", "b\0")]),
        ] {
            assert!(outgoing(method, target, fields).is_err(), "{method} {target} {fields:?}");
        }
        for (method, target) in
            [("GET", "/a?b=%20'"), ("OPTIONS", "*"), ("PURGE", "/"), ("GET", "http://localhost/a")]
        {
            assert!(outgoing(method, target, &[]).is_ok(), "{method} {target}");
        }
    }

    #[test]
    fn framing_is_made_anew_and_the_token_is_ours() {
        let fields = [
            ("host", "devbox.example"),
            ("Content-Length", "7"),
            ("transfer-encoding", "chunked"),
            ("connection", "x-a"),
            ("x-countersign-token", "theirs"),
            ("x-a", "1"),
            ("x-a", "2"),
        ];
        let token = HeaderValue::from_static("ours");
        let request = outgoing("POST", "/a", &fields).unwrap().into_request(Some(&token));
        let mut names: Vec<_> = request.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["host", "x-a", "x-countersign-token"]);
        assert_eq!(request.headers()["x-countersign-token"], "ours");
        assert_eq!(request.headers()["host"], "devbox.example");
        let request = outgoing("POST", "/a", &[]).unwrap().into_request(None);
        assert_eq!(request.headers()["host"], "localhost");
    }

    #[test]
    fn what_may_act() {
        for (method, acts) in
            [("GET", false), ("HEAD", false), ("OPTIONS", false), ("POST", true), ("get", true), ("X", true)]
        {
            assert_eq!(may_act(&Method::from_bytes(method.as_bytes()).unwrap()), acts, "{method}");
        }
    }
}
