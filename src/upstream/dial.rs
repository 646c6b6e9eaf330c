//! Host and port become a connection.

use std::{sync::Arc, time::Duration};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio_rustls::TlsConnector;
use tower::Service as _;

use super::{failure::Failure, stream::Stream};
use crate::{coarse, config::StageUrl};

/// Where to dial, and how.
pub(super) struct Dialer {
    connector: HttpConnector,
    target: Uri,
    display: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    limit: Duration,
}

impl Dialer {
    /// Dials `url`, or `connect_to` with the name of `url`. `tls` is given exactly when the url asks for it.
    pub(super) fn new(
        url: &StageUrl,
        connect_to: Option<&(String, u16)>,
        tls: Option<Arc<ClientConfig>>,
        limit: Duration,
    ) -> Self {
        let (host, port) = connect_to.map_or((url.host.as_str(), url.port), |(host, port)| (host, *port));
        let display = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        // Every name below localhost is this machine (RFC 6761, 6.3), and few resolvers know.
        let dialled =
            if host.ends_with(".localhost") { format!("localhost:{port}") } else { display.clone() };
        let target = Uri::builder().scheme("http").authority(dialled).path_and_query("/").build();
        let tls = tls.map(|config| {
            let name = ServerName::try_from(url.host.clone()).expect("the configuration checked the host");
            (TlsConnector::from(config), name)
        });
        // Addresses of both families side by side (RFC 8305), one after another within a family.
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_keepalive(Some(Duration::from_secs(60)));
        Self {
            connector,
            target: target.expect("the configuration checked host and port"),
            display,
            tls,
            limit,
        }
    }

    /// A new connection, TLS included.
    pub(super) async fn dial(&self) -> Result<Stream, Failure> {
        coarse::timeout(self.limit, self.connect())
            .await
            .unwrap_or_else(|_| Err(Failure::ConnectTimeout { target: self.display.clone() }))
    }

    async fn connect(&self) -> Result<Stream, Failure> {
        let mut connector = self.connector.clone();
        let tcp = connector.call(self.target.clone()).await.map_err(|error| self.connect_failure(error))?;
        let tcp = tcp.into_inner();
        let Some((connector, name)) = &self.tls else { return Ok(Stream::plain(tcp)) };
        let host = || name.to_str().into_owned();
        match connector.connect(name.clone(), tcp).await {
            Ok(stream) => Ok(Stream::tls(stream)),
            Err(source) => Err(Failure::Tls { host: host(), source }),
        }
    }

    fn connect_failure(&self, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
        // hyper-util tells the two apart only by its text.
        if error.to_string().starts_with("dns error") {
            let host = self.target.host().unwrap_or_default().to_owned();
            return Failure::Resolve { host, source: Box::new(error) };
        }
        Failure::Connect { target: self.display.clone(), source: Box::new(error) }
    }
}
