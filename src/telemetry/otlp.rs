//! Exports spans by OTLP over HTTP, as protobuf: in batches, from a thread of the SDK's own, so that no request waits for
//! a collector. What cannot be delivered is dropped, and a line of log says so once.
//!
//! The SDK's own HTTP clients would bring a second HTTP stack; this one is hyper, as everywhere.

use std::{
    env, fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry::{InstrumentationScope, KeyValue, trace::TracerProvider as _};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{net::TcpStream, runtime::Runtime};
use tokio_rustls::TlsConnector;

use super::trace;
use crate::config::OtlpEndpoint;

/// For one batch, from the connection to the answer.
const LIMIT: Duration = Duration::from_secs(10);
/// What a collector may answer.
const LARGEST_ANSWER: usize = 64 << 10;
/// How long the end waits for the last batch.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Exports for as long as it lives.
pub struct Traces(SdkTracerProvider);

/// Traces cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("traces are not exported: {0}")]
pub struct TracesError(String);

/// Begins, if an endpoint is configured here or by the standard variables; `None` where none is.
///
/// # Errors
/// When the variables ask for what cannot be done.
pub fn start_traces(endpoint: Option<&OtlpEndpoint>) -> Result<Option<Traces>, TracesError> {
    let url = match endpoint {
        Some(OtlpEndpoint::Off) => return Ok(None),
        Some(OtlpEndpoint::At(base)) => Some(format!("{}/v1/traces", base.trim_end_matches('/'))),
        None if is_asked_for_by_variables()? => None,
        None => return Ok(None),
    };
    let wrong = |error: &dyn fmt::Display| TracesError(error.to_string());
    let client = Client::new().map_err(|error| wrong(&error))?;
    let exporter =
        SpanExporter::builder().with_http().with_http_client(client).with_protocol(Protocol::HttpBinary);
    let exporter = match url {
        Some(url) => exporter.with_endpoint(url),
        // The SDK reads the variables itself, as it does those for headers.
        None => exporter,
    };
    let exporter = exporter.build().map_err(|error| wrong(&error))?;
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
    let scope = InstrumentationScope::builder("countersign").with_version(env!("CARGO_PKG_VERSION")).build();
    trace::begin_with(provider.tracer_with_scope(scope));
    Ok(Some(Traces(provider)))
}

impl Traces {
    /// Sends what has not been sent yet, unless nobody takes it.
    pub fn finish(self) {
        if self.0.shutdown_with_timeout(LAST_WAIT).is_err() {
            tracing::warn!("the last traces could not be exported");
        }
    }
}

fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// OpenTelemetry's environment variable specification.
fn is_asked_for_by_variables() -> Result<bool, TracesError> {
    let off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    let endpoint = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
    if off || !endpoint.iter().any(|name| set(name).is_some()) {
        return Ok(false);
    }
    let protocol = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    match protocol.iter().find_map(|name| set(name)) {
        Some(protocol) if protocol != "http/protobuf" => Err(TracesError(format!(
            "OTEL_EXPORTER_OTLP_PROTOCOL asks for {protocol:?}, and only \"http/protobuf\" is spoken here"
        ))),
        _ => Ok(true),
    }
}

fn resource() -> Resource {
    let named = set("OTEL_SERVICE_NAME").is_some()
        || set("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|all| all.contains("service.name="));
    let resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if named { resource.build() } else { resource.with_service_name("countersign").build() }
}

/// Sends a batch, on the thread that asks for it.
struct Client {
    runtime: Runtime,
    tls: Arc<ClientConfig>,
    /// The last batch did not arrive, and that has been said.
    failing: AtomicBool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring offers the suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { runtime, tls: Arc::new(tls), failing: AtomicBool::new(false) })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri().clone();
        let host = uri.host().ok_or("the endpoint has no host")?;
        let tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let socket = TcpStream::connect((bare, port)).await?;
        if tls {
            let name = ServerName::try_from(bare.to_owned())?;
            let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, socket).await?;
            talk(TokioIo::new(stream), request, &uri).await
        } else {
            talk(TokioIo::new(socket), request, &uri).await
        }
    }

    /// Says when batches begin to be lost, and when they no longer are.
    fn note(&self, outcome: Result<(), &dyn fmt::Display>) {
        match outcome {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => {
                tracing::info!("traces are exported again")
            }
            Ok(()) => {}
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "traces cannot be exported, and are dropped until they can");
            }
            Err(_) => {}
        }
    }
}

async fn talk<S>(stream: S, request: Request<Bytes>, uri: &Uri) -> Result<Response<Bytes>, HttpError>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut parts, body) = request.into_parts();
    let authority = uri.authority().ok_or("the endpoint has no host")?;
    parts.headers.insert(header::HOST, HeaderValue::from_str(authority.as_str())?);
    parts.uri = uri.path_and_query().map_or("/", |target| target.as_str()).parse()?;
    let (mut sender, connection) = http1::handshake(stream).await?;
    let answered = async {
        let answer = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    };
    tokio::pin!(answered, connection);
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        ended = &mut connection => {
            ended?;
            // It may have ended with the answer's last byte.
            answered.await
        }
    }
}

impl HttpClient for Client {
    fn send_bytes<'here, 'all>(
        &'here self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'all>>
    where
        'here: 'all,
        Self: 'all,
    {
        Box::pin(async move {
            // The thread that exports has nothing else to do, and no runtime.
            let sent = self.runtime.block_on(async {
                tokio::time::timeout(LIMIT, self.exchange(request)).await.map_err(HttpError::from).flatten()
            });
            match &sent {
                Ok(answer) if answer.status().is_success() => self.note(Ok(())),
                Ok(answer) => self.note(Err(&format_args!("the collector answered {}", answer.status()))),
                Err(error) => self.note(Err(error)),
            }
            sent
        })
    }
}
