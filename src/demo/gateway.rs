//! A REST API of API Gateway on loopback: one stage with three routes, over TLS, which truly verifies.
//!
//! | path below the stage | asks for |
//! |---|---|
//! | `/auth/api-key` | `x-api-key` |
//! | `/auth/iam-sigv4` | a SigV4 signature |
//! | `/auth/iam-sigv4-and-api-key` | both |
//!
//! Each answers `GET` with `{"message": "success"}`, as a mock integration does. A request is judged in API Gateway's
//! order: body length, API and stage, path and method, IAM, API key. Empty segments of the path do not count: as with
//! the real one, `//prod/auth//api-key` is `/prod/auth/api-key`.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    header::{CONNECTION, CONTENT_TYPE, DATE, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use super::{
    canonical::{Field, Received},
    capture::{Head, Parts, Tap},
    clock::{Clock, http_date, seconds},
    refusal::Refusal,
    tls::{self, TlsError},
    verify::{Identity, Verifier},
};

mod settings;

use settings::Random;
pub use settings::{ApiKey, GatewaySettings, NoRandom};

/// The longest request body that API Gateway takes.
pub const MAX_BODY: usize = 10_485_760;
/// The service in the credential scope.
pub const SERVICE: &str = "execute-api";
/// What every route answers.
pub const SUCCESS: &str = r#"{"message": "success"}"#;

/// What a route asks its callers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The path below the stage.
    pub path: &'static str,
    /// A SigV4 signature.
    pub iam: bool,
    /// An API key.
    pub api_key: bool,
}

/// The three routes.
pub const ROUTES: [Route; 3] = [
    Route { path: "/auth/api-key", iam: false, api_key: true },
    Route { path: "/auth/iam-sigv4", iam: true, api_key: false },
    Route { path: "/auth/iam-sigv4-and-api-key", iam: true, api_key: true },
];

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port asked for.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// No certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The server; see [`Gateway::start`].
pub struct Gateway {
    host: String,
    stage: String,
    api_key: ApiKey,
    verifier: Verifier,
    clock: Clock,
    records: Records,
    random: Random,
}

/// A started gateway. It stops when it is dropped.
pub struct Running {
    /// Where it listens, on loopback.
    pub addr: SocketAddr,
    /// The root certificate that clients have to trust, in PEM.
    pub ca_pem: String,
    /// The API's host name, which the certificate and the signatures are for.
    pub host: String,
    /// `https://demo1234567.execute-api.us-east-1.amazonaws.com/prod`
    pub stage_url: String,
    /// What it was made from: region, stage, credentials, API key.
    pub settings: GatewaySettings,
    /// The gateway's clock: what dates are compared with, and what its answers' `Date` shows.
    pub clock: Clock,
    records: Records,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// One request as the gateway saw it, sent before it is answered. `Debug` shows no header: they hold credentials.
#[derive(Clone)]
pub struct Record {
    /// The answer's `x-amzn-requestid`.
    pub request_id: String,
    /// The whole head as it came, blank line included.
    pub head: Vec<u8>,
    /// `GET`
    pub method: String,
    /// The request target.
    pub target: Vec<u8>,
    /// Every header, in order, untouched.
    pub headers: Vec<Field>,
    /// The body; blank when it was too long.
    pub body: Bytes,
    /// Who was let in, or what was answered instead.
    pub verdict: Result<Passed, Refusal>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("request_id", &self.request_id)
            .field("method", &self.method)
            .field("target", &String::from_utf8_lossy(&self.target))
            .field("verdict", &self.verdict)
            .finish_non_exhaustive()
    }
}

/// What an accepted request showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Who signed it, on a route that asks for it.
    pub identity: Option<Identity>,
}

impl Gateway {
    /// Listens on 127.0.0.1 and serves on the current tokio runtime.
    ///
    /// # Errors
    /// When the port is taken or TLS cannot be set up.
    pub async fn start(settings: GatewaySettings) -> Result<Running, StartError> {
        let port = settings.port;
        let listen = |source| StartError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;

        let host = format!("{}.execute-api.{}.amazonaws.com", settings.api_id, settings.region);
        let names = ["localhost", "127.0.0.1", &format!("*.execute-api.{}.amazonaws.com", settings.region)];
        let material = tls::make(names.map(str::to_owned).to_vec())?;

        let gateway = Arc::new(Self {
            host: host.clone(),
            stage: settings.stage.clone(),
            api_key: settings.api_key.clone(),
            verifier: Verifier {
                region: settings.region.clone(),
                service: SERVICE.to_owned(),
                accounts: settings.accounts.clone(),
            },
            clock: Clock::default(),
            records: Records::default(),
            random: Random::new(),
        });
        let (clock, records) = (gateway.clock.clone(), gateway.records.clone());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(material.server), gateway, stopped));
        Ok(Running {
            addr,
            ca_pem: material.ca_pem,
            stage_url: format!("https://{host}/{}", settings.stage),
            host,
            settings,
            clock,
            records,
            stop: Some(stop),
            task,
        })
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        head: &Head,
    ) -> Result<Response<Full<Bytes>>, ReadError> {
        let (Ok(request_id), Ok(apigw_id)) = (self.random.request_id(), self.random.apigw_id()) else {
            return Ok(plain(500, "the system's random generator failed"));
        };
        let Some(raw) = head.take() else {
            return Ok(plain(400, "only one request at a time can be judged on a connection"));
        };
        let Some(parts) = Parts::parse(&raw) else {
            return Ok(plain(400, "the request's head is malformed"));
        };
        let body = read_body(request.into_body()).await?;
        head.reset();

        let verdict = match &body {
            Some(body) => self.judge(&Received {
                method: &parts.method,
                target: &parts.target,
                headers: &parts.headers,
                body,
            }),
            None => Err(Refusal::TooLarge),
        };
        let mut answer = match &verdict {
            Ok(_) => json(200, SUCCESS.to_owned()),
            Err(refusal) => refuse(refusal),
        };
        let headers = answer.headers_mut();
        headers.insert(DATE, text(&http_date(seconds(self.clock.now()))));
        headers.insert(HeaderName::from_static("x-amzn-requestid"), text(&request_id));
        headers.insert(HeaderName::from_static("x-amz-apigw-id"), text(&apigw_id));
        let Parts { method, target, headers } = parts;
        let body = body.unwrap_or_default();
        self.records.send(&Record { request_id, head: raw, method, target, headers, body, verdict });
        Ok(answer)
    }

    fn judge(&self, request: &Received<'_>) -> Result<Passed, Refusal> {
        if !self.is_ours(request) {
            return Err(Refusal::Forbidden);
        }
        let path = request.path_and_query().0;
        let mut segments = path.split(|&byte| byte == b'/').filter(|segment| !segment.is_empty());
        if segments.next() != Some(self.stage.as_bytes()) {
            return Err(Refusal::Forbidden);
        }
        let path: Vec<u8> = segments.flat_map(|segment| [b"/", segment].concat()).collect();
        let found = ROUTES.iter().find(|route| route.path.as_bytes() == path);
        let Some(route) = found.filter(|_| method(request) == b"GET") else {
            // What is no SigV4 is told so even where there is nothing to call.
            let verdict = self.verifier.verify(request, self.clock.now());
            return Err(match verdict {
                Err(refusal @ Refusal::NotKeyValue(_)) => refusal,
                _ => Refusal::MissingAuthenticationToken,
            });
        };

        let identity = if route.iam { Some(self.verifier.verify(request, self.clock.now())?) } else { None };
        let mut keys = request.values("x-api-key");
        let key = keys.next().map(<[u8]>::trim_ascii);
        if route.api_key && (key != Some(self.api_key.0.as_bytes()) || keys.next().is_some()) {
            return Err(Refusal::Forbidden);
        }
        Ok(Passed { identity })
    }

    /// API Gateway finds the API by `Host`; loopback names stand for it too, so that it can be called by hand.
    fn is_ours(&self, request: &Received<'_>) -> bool {
        let mut hosts = request.values("host");
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let host = host.trim_ascii();
        let name = match host.iter().rposition(|&byte| byte == b':') {
            Some(colon) => &host[..colon],
            None => host,
        };
        [self.host.as_bytes(), b"localhost", b"127.0.0.1"].iter().any(|ours| name.eq_ignore_ascii_case(ours))
    }
}

impl Running {
    /// Every request from now on, each before it is answered. What nobody takes is kept until the receiver goes.
    #[must_use]
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Record> {
        self.records.subscribe()
    }

    /// Closes the listener and every connection, and waits until that is done.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            // An error says that the task has ended already.
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    gateway: Arc<Gateway>,
    mut stopped: oneshot::Receiver<()>,
) {
    // Dropping the set, at the end, cuts every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, tls.clone(), Arc::clone(&gateway)));
                }
                // Out of file descriptors, most likely: a connection that ends frees one.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
        }
    }
}

/// One connection. Its failures (a client that distrusts the certificate, a cut) are the client's to report.
async fn serve(stream: TcpStream, tls: TlsAcceptor, gateway: Arc<Gateway>) {
    // Without it, an answer in two small writes waits for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tls.accept(stream).await else { return };
    let (stream, head) = Tap::new(stream);
    let service = service_fn(|request| {
        let (gateway, head) = (Arc::clone(&gateway), head.clone());
        async move { gateway.answer(request, &head).await }
    });
    let _ =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// The client went away in the middle of its body, or broke the framing.
#[derive(Debug, thiserror::Error)]
#[error("the request's body could not be read")]
struct ReadError;

/// The body, or `None` when it is longer than [`MAX_BODY`].
async fn read_body(body: Incoming) -> Result<Option<Bytes>, ReadError> {
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Ok(None);
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(whole) => Ok(Some(whole.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Ok(None),
        Err(_) => Err(ReadError),
    }
}

/// The method that counts: API Gateway obeys `X-HTTP-Method-Override`.
fn method<'a>(request: &Received<'a>) -> &'a [u8] {
    request.values("x-http-method-override").next().map_or(request.method.as_bytes(), <[u8]>::trim_ascii)
}

fn refuse(refusal: &Refusal) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(refusal.body()));
    *answer.status_mut() = status(refusal.status());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(refusal.content_type()));
    if let Some(kind) = refusal.error_type() {
        headers.insert(HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static(kind));
    }
    if matches!(refusal, Refusal::TooLarge) {
        // The rest of the body is not read.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

fn json(code: u16, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status(code);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn plain(code: u16, body: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status(code);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn status(code: u16) -> hyper::StatusCode {
    hyper::StatusCode::from_u16(code).expect("only three-digit codes are answered")
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("dates and random ids are visible ASCII")
}

/// Those who want to see each request.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<mpsc::UnboundedSender<Record>>>>);

impl Records {
    fn subscribe(&self) -> mpsc::UnboundedReceiver<Record> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    fn send(&self, record: &Record) {
        let mut senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        senders.retain(|sender| sender.send(record.clone()).is_ok());
    }
}

#[cfg(test)]
mod tests;
