//! Plays the stage: a server on loopback, with TLS or without, that keeps every request byte for byte and answers with
//! whatever bytes a closure writes, whenever it writes them.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ProtocolVersion, ServerConfig, ServerConnection, StreamOwned, pki_types::PrivatePkcs8KeyDer};

use super::{
    PATIENCE, TempDir,
    wire::{Framing, Head},
};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which connection it came on, from 0 in the order of arrival.
    pub connection: usize,
    /// The TLS session it came in.
    pub tls: Option<Session>,
    /// Request line and fields.
    pub head: Head,
    /// The body as it was framed.
    pub wire_body: Vec<u8>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Why the body was not read to its end, if it was not.
    pub broken: Option<String>,
}

/// What was agreed on in the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The name asked for (SNI).
    pub name: Option<String>,
    /// TLS 1.2 or 1.3.
    pub version: Option<ProtocolVersion>,
    /// The protocol agreed on by ALPN.
    pub protocol: Option<Vec<u8>>,
}

impl Request {
    fn start(&self) -> [&[u8]; 3] {
        let mut parts = self.head.start.splitn(3, |&b| b == b' ');
        [(); 3].map(|()| parts.next().expect("a request line has three parts"))
    }

    /// `GET`
    pub fn method(&self) -> &str {
        std::str::from_utf8(self.start()[0]).expect("a method is ASCII")
    }

    /// The request target, as sent.
    pub fn target(&self) -> &[u8] {
        self.start()[1]
    }
}

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It waits for the next request.
    Keep,
    /// It ends in order, with TLS's farewell.
    Close,
    /// It ends without TLS's farewell.
    Cut,
    /// It is reset.
    Reset,
}

/// Where a handler writes its answer.
pub struct Reply<'a>(&'a mut Transport);

impl Reply<'_> {
    /// Sends these bytes now.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.write_all(bytes.as_ref())?;
        self.0.flush()
    }
}

/// A whole answer with `content-length`.
pub fn answer(status: &str, fields: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in fields {
        bytes.extend([name, ": ", value, "\r\n"]);
    }
    bytes.extend(["content-length: ", &body.as_ref().len().to_string(), "\r\n\r\n"]);
    [bytes.as_bytes(), body.as_ref()].concat()
}

type Handler = dyn Fn(&Request, &mut Reply<'_>) -> io::Result<Then> + Send + Sync;

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Validity {
    /// Now.
    #[default]
    Now,
    /// Not any more.
    Over,
    /// Not yet.
    ToCome,
}

/// How an origin differs from a plain one that reads each request whole.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Names and addresses in its certificate; without any it speaks plain HTTP.
    pub names: Vec<String>,
    /// Offer TLS 1.2 alone.
    pub tls12_only: bool,
    /// When its certificate is valid.
    pub validity: Validity,
    /// Where it listens; by itself at a free port of 127.0.0.1.
    pub listen: Option<SocketAddr>,
    /// Answer when the head is there; the body is read afterwards, if the connection is kept, and is not captured.
    pub answer_at_head: bool,
}

/// A running origin; it ends when dropped.
pub struct Origin {
    address: SocketAddr,
    ca: Option<PathBuf>,
    shared: Arc<Shared>,
    _directory: TempDir,
}

struct Shared {
    handler: Box<Handler>,
    tls: Option<Arc<ServerConfig>>,
    answer_at_head: bool,
    ending: AtomicBool,
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    requests: VecDeque<Arc<Request>>,
    connections: usize,
    open: HashMap<usize, TcpStream>,
    failures: Vec<String>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no thread panics with this lock")
    }
}

impl Origin {
    /// One that speaks TLS under these names and takes requests at a free port.
    pub fn tls(
        names: &[&str],
        handler: impl Fn(&Request, &mut Reply<'_>) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Self::with(Options { names, ..Options::default() }, handler)
    }

    /// One that speaks plain HTTP.
    pub fn plain(
        handler: impl Fn(&Request, &mut Reply<'_>) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        Self::with(Options::default(), handler)
    }

    /// Any.
    pub fn with(
        options: Options,
        handler: impl Fn(&Request, &mut Reply<'_>) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        let directory = TempDir::new();
        let (tls, ca) = if options.names.is_empty() {
            (None, None)
        } else {
            let (config, ca) = certify(options.names, options.tls12_only, options.validity);
            (Some(Arc::new(config)), Some(directory.write("ca.pem", &ca)))
        };
        let listen = options.listen.unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
        let listener = TcpListener::bind(listen).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            tls,
            answer_at_head: options.answer_at_head,
            ending: AtomicBool::new(false),
            seen: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, ca, shared, _directory: directory }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root that signed its certificate, as a PEM file.
    ///
    /// # Panics
    /// When it speaks plain HTTP.
    pub fn ca(&self) -> &Path {
        self.ca.as_deref().expect("this origin speaks TLS")
    }

    /// The next request that was not taken yet.
    ///
    /// # Panics
    /// When none comes.
    pub fn next(&self) -> Arc<Request> {
        self.wait(|seen| seen.requests.pop_front())
    }

    /// The first handshake that failed or request that was not well formed.
    ///
    /// # Panics
    /// When there is none.
    pub fn failure(&self) -> String {
        self.wait(|seen| seen.failures.first().cloned())
    }

    fn wait<T>(&self, mut find: impl FnMut(&mut Seen) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.shared.seen();
        loop {
            if let Some(found) = find(&mut seen) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let failures = seen.failures.clone();
                drop(seen);
                panic!("what is waited for did not come; failures: {failures:?}");
            }
            seen = self.shared.changed.wait_timeout(seen, left).expect("no thread panics with this lock").0;
        }
    }

    /// All requests that were not taken yet: none, when nothing was sent.
    pub fn take(&self) -> Vec<Arc<Request>> {
        self.shared.seen().requests.drain(..).collect()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.seen().connections
    }

    /// How many of them are open.
    pub fn open(&self) -> usize {
        self.shared.seen().open.len()
    }

    /// Handshakes that failed and requests that were not well formed, so far.
    pub fn failures(&self) -> Vec<String> {
        self.shared.seen().failures.clone()
    }

    /// Loses every packet that comes on an open connection from here on: to the other side it is as if the network had
    /// gone. Nothing tells it, nothing answers.
    #[cfg(target_os = "linux")]
    pub fn silence(&self) {
        for stream in self.shared.seen().open.values() {
            super::faulty::lose_all(stream);
        }
    }

    /// Ends every open connection, as a server does that tires of idle ones.
    pub fn hang_up(&self) {
        for stream in self.shared.seen().open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.hang_up();
        // Wakes the thread that accepts, which then ends and frees the port.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
    }
}

pub(super) fn certify(names: Vec<String>, tls12_only: bool, validity: Validity) -> (ServerConfig, String) {
    let mut authority = CertificateParams::new(Vec::<String>::new()).expect("no name is no mistake");
    // Another name than the leaf's: OpenSSL takes a certificate whose issuer is called as itself for self-signed.
    authority.distinguished_name.push(DnType::CommonName, "the authority of countersign's tests");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("the system has randomness");
    let root = authority.self_signed(&authority_key).expect("the key signs");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("the system has randomness");
    let mut leaf = CertificateParams::new(names).expect("names are DNS names or addresses");
    match validity {
        Validity::Now => {}
        Validity::Over => leaf.not_after = rcgen::date_time_ymd(2001, 1, 1),
        Validity::ToCome => leaf.not_before = rcgen::date_time_ymd(2999, 1, 1),
    }
    let leaf = leaf.signed_by(&key, &issuer).expect("the key signs");

    let versions: &[&rustls::SupportedProtocolVersion] =
        if tls12_only { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("ring has suites for both versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .expect("certificate and key belong together");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (config, root.pem())
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ending.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let mut seen = shared.seen();
        let number = seen.connections;
        seen.connections += 1;
        if let Ok(stream) = stream.try_clone() {
            seen.open.insert(number, stream);
        }
        drop(seen);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let served = serve(number, stream, &shared);
            let mut seen = shared.seen();
            seen.open.remove(&number);
            if let Err(error) = served {
                seen.failures.push(error.to_string());
            }
            shared.changed.notify_all();
        });
    }
}

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Transport {
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref(),
        }
    }
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// One connection from its handshake to its end. Errors are the other side's: what it sent was not well formed.
fn serve(number: usize, mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (transport, session) = match &shared.tls {
        None => (Transport::Plain(stream), None),
        Some(config) => {
            let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
            while connection.is_handshaking() {
                connection.complete_io(&mut stream)?;
            }
            let session = Session {
                name: connection.server_name().map(str::to_owned),
                version: connection.protocol_version(),
                protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
            };
            (Transport::Tls(Box::new(StreamOwned::new(connection, stream))), Some(session))
        }
    };
    let mut reader = BufReader::new(transport);
    loop {
        let head = match Head::read(&mut reader) {
            Ok(Some(head)) => head,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
            // Idle connections may end in any way: by a reset, or without TLS's farewell.
            Ok(None) | Err(_) => return Ok(()),
        };
        let mut framing = head.framing(Framing::Done)?;
        let mut request = Request {
            connection: number,
            tls: session.clone(),
            head,
            wire_body: Vec::new(),
            body: Vec::new(),
            broken: None,
        };
        if !shared.answer_at_head {
            request.broken = read_body(&mut framing, &mut reader, &mut request).err().map(|e| e.to_string());
        }
        let request = Arc::new(request);
        shared.seen().requests.push_back(Arc::clone(&request));
        shared.changed.notify_all();
        if request.broken.is_some() {
            return Ok(());
        }
        // A handler's error is that of a client which no longer listens; tests of that look at the client.
        let then = (shared.handler)(&request, &mut Reply(reader.get_mut())).unwrap_or(Then::Cut);
        match then {
            Then::Keep => while framing.piece(&mut reader, &mut Vec::new())?.is_some() {},
            Then::Close => {
                if let Transport::Tls(stream) = reader.get_mut() {
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
                let _ = reader.get_ref().tcp().shutdown(Shutdown::Both);
                return Ok(());
            }
            Then::Cut => {
                let _ = reader.get_ref().tcp().shutdown(Shutdown::Both);
                return Ok(());
            }
            Then::Reset => {
                // The kernel resets when the last descriptor closes: let go of the one kept to hang up with.
                socket2::SockRef::from(reader.get_ref().tcp()).set_linger(Some(std::time::Duration::ZERO))?;
                shared.seen().open.remove(&number);
                return Ok(());
            }
        }
    }
}

fn read_body(
    framing: &mut Framing,
    reader: &mut BufReader<Transport>,
    request: &mut Request,
) -> io::Result<()> {
    while let Some(piece) = framing.piece(reader, &mut request.wire_body)? {
        request.body.extend_from_slice(&piece);
    }
    Ok(())
}
