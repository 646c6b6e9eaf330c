//! One request of this process's own through the whole chain: up to its sending, which does not happen, for `explain`,
//! and to its answer's end for `request` and `check`. So what these show is what the proxy does, and no second account of it.
//!
//! The request comes over a connection in memory, as from a caller on this machine, so that it is read as any other.

use std::{cell::RefCell, net::Ipv4Addr, rc::Rc, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming as HyperBody, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use tower::Service as _;

use super::{
    chain,
    inside::{Inside, Signed, Slot},
    record::{Caller, Incoming},
    refusal::Code,
    refuse::ERROR_HEADER,
    stage::Shared,
};
use crate::telemetry::RequestId;

/// Bytes that the connection in memory holds at a time.
const BUFFER: usize = 64 << 10;

/// What became of a request that was not to be sent.
#[derive(Debug)]
pub enum Prepared {
    /// It would have been sent like this.
    Ready(Box<Signed>),
    /// It would not have been sent.
    Refused(Refused),
}

/// The proxy's own answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Refused {
    /// `not-lent`
    #[serde(rename(deserialize = "error"))]
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Has `request` go through every step but the last. It is signed for `at`, or for now.
///
/// # Errors
/// It is no request that HTTP/1.1 can carry.
pub async fn prepare(
    shared: &Rc<Shared>,
    request: Request<Bytes>,
    at: Option<SystemTime>,
) -> Result<Prepared, hyper::Error> {
    let slot = Arc::new(Slot::at(at));
    let inside = Inside { id: RequestId::next(), replay_of: None, only_sign: Some(Arc::clone(&slot)) };
    let whole = async |answer: Response<HyperBody>| {
        let (head, body) = answer.into_parts();
        Ok::<_, hyper::Error>(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    let answer = through(shared, request, inside, whole).await;
    match slot.take() {
        Some(signed) => Ok(Prepared::Ready(Box::new(signed))),
        None => Ok(Prepared::Refused(refused(&answer.flatten()?))),
    }
}

/// What became of a request that was sent.
#[derive(Debug)]
pub enum Came {
    /// The stage answered. The body comes as it is read, and ends with an error when it broke off.
    Answer(Response<HyperBody>),
    /// The proxy did: the request was refused, or there was no answer.
    Refused(Refused),
}

/// Has `request` go through every step, and `take` take what comes, as it comes. Has to be awaited within a
/// [`LocalSet`](tokio::task::LocalSet), where the connections to the stage live on for the next one.
///
/// # Errors
/// It is no request that HTTP/1.1 can carry.
pub async fn send<T>(
    shared: &Rc<Shared>,
    request: Request<Bytes>,
    take: impl AsyncFnOnce(Came) -> T,
) -> Result<T, hyper::Error> {
    let inside = Inside { id: RequestId::next(), replay_of: None, only_sign: None };
    let told = async |answer: Response<HyperBody>| {
        // No answer of a stage has it: it is taken out of those.
        if !answer.headers().contains_key(ERROR_HEADER) {
            return Ok(take(Came::Answer(answer)).await);
        }
        let (head, body) = answer.into_parts();
        let answer = Response::from_parts(head, body.collect().await?.to_bytes());
        Ok(take(Came::Refused(refused(&answer))).await)
    };
    through(shared, request, inside, told).await.flatten()
}

/// Over a connection of its own.
async fn through<T>(
    shared: &Rc<Shared>,
    request: Request<Bytes>,
    inside: Inside,
    take: impl AsyncFnOnce(Response<HyperBody>) -> T,
) -> Result<T, hyper::Error> {
    let local = Some(Ipv4Addr::LOCALHOST.into());
    let caller = Rc::new(Caller { local, uid: None, tls: false, inside: Some(Arc::new(inside)) });
    let (near, far) = tokio::io::duplex(BUFFER);
    let steps = RefCell::new(chain(shared));
    let service = service_fn(move |request| {
        let incoming = Incoming { request, caller: Rc::clone(&caller), fragment: false };
        steps.borrow_mut().call(incoming)
    });
    let served = server::conn::http1::Builder::new()
        // So that a date is the stage's own.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(far), service);
    let asked = async {
        let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(near)).await?;
        // The connection ends when the sender is dropped, after the answer.
        let answer = async move {
            let answer = sender.send_request(request.map(Full::new)).await?;
            Ok::<_, hyper::Error>(take(answer).await)
        };
        let (_, answer) = tokio::join!(connection, answer);
        answer
    };
    let (_, answer) = tokio::join!(served, asked);
    answer
}

fn refused(answer: &Response<Bytes>) -> Refused {
    serde_json::from_slice(answer.body()).unwrap_or_else(|_| {
        // An answer to HEAD has no body, and one of hyper's own no code.
        let code = answer.headers().get(ERROR_HEADER).and_then(|code| code.to_str().ok());
        let known = Code::ALL.iter().find(|known| Some(known.as_str()) == code).unwrap_or(&Code::BadRequest);
        Refused { code: known.as_str().into(), message: known.means().into(), hint: known.hint().into() }
    })
}
