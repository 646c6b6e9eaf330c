//! Host and port become a connection.

use std::{error::Error, io, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio_rustls::TlsConnector;
use tower::Service as _;

use super::{
    failure::Failure,
    stream::{Stream, Wire},
};
use crate::{
    coarse,
    config::{StageUrl, Timeouts},
};

/// After so long without a byte from the stage the kernel asks whether it is still there, and every [`PROBE`] again.
const QUIET: Duration = Duration::from_secs(10);
const PROBE: Duration = Duration::from_secs(5);
const PROBES: u32 = 2;
/// How long bytes may be on their way to the stage without a word that they arrived. A connection from before the
/// network went, or the machine slept, ends so; without this the kernel would go on for a quarter of an hour. It bounds
/// as well how long a stage may refuse to take more of an upload. (Linux: `TCP_USER_TIMEOUT`, RFC 5482)
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNHEARD: Duration = Duration::from_secs(15);
/// How much of an upload is encrypted before it is written. rustls has 64 KiB, and most writes wake somebody, which costs
/// more than to encrypt that. A little over 512 KiB, or the end of a body of 1 MiB would be a write of its own.
const ENCRYPTED: usize = (512 << 10) + (16 << 10);

/// Where to dial, and how.
pub(super) struct Dialer {
    connector: HttpConnector,
    target: Uri,
    display: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeouts: Timeouts,
}

impl Dialer {
    /// Dials `url`, or `connect_to` with the name of `url`. `tls` is given exactly when the url asks for it.
    pub(super) fn new(
        url: &StageUrl,
        connect_to: Option<&(String, u16)>,
        tls: Option<Arc<ClientConfig>>,
        timeouts: Timeouts,
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
        // Addresses of both families side by side: the second family begins 300 ms after the first (RFC 8305). Within a
        // family they are tried one after another, so each gets its share of the time.
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeouts.connect));
        connector.set_keepalive(Some(QUIET));
        connector.set_keepalive_interval(Some(PROBE));
        connector.set_keepalive_retries(Some(PROBES));
        #[cfg(any(target_os = "android", target_os = "linux"))]
        connector.set_tcp_user_timeout(Some(UNHEARD));
        Self {
            connector,
            target: target.expect("the configuration checked host and port"),
            display,
            tls,
            timeouts,
        }
    }

    /// A new connection, TLS included.
    pub(super) async fn dial(&self) -> Result<Stream, Failure> {
        let connecting = self.connector.clone().call(self.target.clone());
        let tcp = coarse::timeout(self.timeouts.connect, connecting)
            .await
            .map_err(|_| self.connect_timeout())?
            .map_err(|error| self.connect_failure(error))?;
        let wire = Wire::new(tcp.into_inner());
        let Some((connector, name)) = &self.tls else { return Ok(Stream::plain(wire)) };
        let host = || name.to_str().into_owned();
        match coarse::timeout(self.timeouts.tls, connector.connect(name.clone(), wire)).await {
            Ok(Ok(mut stream)) => {
                stream.get_mut().1.set_buffer_limit(Some(ENCRYPTED));
                Ok(Stream::tls(stream))
            }
            Ok(Err(source)) => Err(Failure::Tls { host: host(), source }),
            Err(coarse::Elapsed) => Err(Failure::TlsTimeout { host: host() }),
        }
    }

    fn connect_timeout(&self) -> Failure {
        Failure::ConnectTimeout { target: self.display.clone() }
    }

    fn connect_failure(&self, error: impl Error + Send + Sync + 'static) -> Failure {
        // hyper-util tells the two apart only by its text.
        if error.to_string().starts_with("dns error") {
            let host = self.target.host().unwrap_or_default().to_owned();
            return Failure::Resolve { host, source: Box::new(error) };
        }
        // The connector keeps the same limit, and may be first to notice.
        let mut cause = error.source();
        while let Some(error) = cause {
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
            {
                return self.connect_timeout();
            }
            cause = error.source();
        }
        Failure::Connect { target: self.display.clone(), source: Box::new(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialer, ENCRYPTED};
    use crate::config::Timeouts;
    use rustls::{
        ClientConfig, RootCertStore, ServerConfig, ServerConnection,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    };
    use std::{
        future::poll_fn,
        io::Read as _,
        net::{TcpListener, TcpStream},
        pin::Pin,
        sync::Arc,
        task::Poll,
        thread,
        time::Duration,
    };
    use tokio::{
        io::AsyncWrite as _,
        runtime::{Builder, LocalOptions},
    };

    /// TLS settings of a stage, and of whoever trusts it.
    fn settings() -> (ServerConfig, ClientConfig) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let made = rcgen::generate_simple_self_signed(["stage.localhost".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let stage = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let ours = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (stage, ours)
    }

    /// A stage that answers the handshake and then reads nothing.
    fn silent(listener: TcpListener, settings: ServerConfig) -> TcpStream {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(Arc::new(settings)).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).unwrap();
        }
        tcp
    }

    #[test]
    fn an_upload_is_encrypted_so_far_ahead_and_no_further() {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(upload());
    }

    async fn upload() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url =
            format!("https://stage.localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let (stage, ours) = settings();
        let limit = Duration::from_secs(30);
        let timeouts =
            Timeouts { connect: limit, tls: limit, first_byte: limit, idle: limit, connection_age: limit };
        let stage = thread::spawn(move || silent(listener, stage));
        let mut stream = Dialer::new(&url, None, Some(Arc::new(ours)), timeouts).dial().await.unwrap();
        let mut stage = stage.join().unwrap();

        // Until neither the kernel nor TLS takes any more.
        let piece = vec![b'x'; 128 << 10];
        let mut taken = 0;
        while let Some(more) = poll_fn(|cx| match Pin::new(&mut stream).poll_write(cx, &piece) {
            Poll::Ready(written) => Poll::Ready(Some(written.unwrap())),
            Poll::Pending => Poll::Ready(None),
        })
        .await
        {
            taken += more;
        }
        let flushed = poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_flush(cx).is_ready())).await;
        assert!(!flushed && stream.traffic().is_unsent(), "{taken}");

        // What the stage can read by now is what left; TLS adds 22 bytes to 16 KiB.
        stage.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut left = 0;
        let mut buffer = vec![0; 1 << 20];
        while let Ok(length) = stage.read(&mut buffer) {
            left += length;
        }
        let ahead = taken - (left - left / (16 << 10) * 22);
        assert!((ENCRYPTED / 2..=ENCRYPTED + (16 << 10)).contains(&ahead), "{taken} taken, {left} left");

        let reading = thread::spawn(move || while stage.read(&mut buffer).is_ok_and(|length| length > 0) {});
        poll_fn(|cx| Pin::new(&mut stream).poll_flush(cx)).await.unwrap();
        assert!(!stream.traffic().is_unsent());
        drop(stream);
        reading.join().unwrap();
    }
}
