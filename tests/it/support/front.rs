//! TLS in front of a server that speaks plain HTTP, under names of AWS: so that a stage's own URL is called as it is.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use tokio::{io::copy_bidirectional, net, sync::oneshot};
use tokio_rustls::TlsAcceptor;

use super::{
    TempDir,
    origin::{Validity, certify},
};

/// Takes TLS connections and passes on what is in them; ends when dropped.
pub struct Front {
    address: SocketAddr,
    files: TempDir,
    _end: oneshot::Sender<()>,
}

impl Front {
    /// Listens for connections to these names, of which one may begin with `*.`, and leads them to `behind`.
    pub fn start(names: &[&str], behind: SocketAddr) -> Self {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let (config, authority) = certify(names, false, Validity::Now);
        let files = TempDir::new();
        files.write("authority.pem", &authority);
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (end, ended) = oneshot::channel::<()>();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("the system gives a runtime");
            runtime.block_on(async {
                listener.set_nonblocking(true).expect("a socket can be so");
                let listener = net::TcpListener::from_std(listener).expect("the runtime takes it");
                tokio::select! {
                    () = accept(listener, TlsAcceptor::from(Arc::new(config)), behind) => {}
                    _ = ended => {}
                }
            });
        });
        Self { address, files, _end: end }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file with the authority that its certificate is of.
    pub fn authority(&self) -> String {
        self.files.path().join("authority.pem").display().to_string()
    }
}

async fn accept(listener: net::TcpListener, tls: TlsAcceptor, behind: SocketAddr) {
    while let Ok((connection, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            let Ok(mut inside) = tls.accept(connection).await else { return };
            let Ok(mut outside) = net::TcpStream::connect(behind).await else { return };
            // However it ends: both ends see it.
            let _ = copy_bidirectional(&mut inside, &mut outside).await;
        });
    }
}
