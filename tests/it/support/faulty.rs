//! Plays a stage that breaks off: at a chosen moment of a connection's life, in order, by a reset, or without a word as
//! when the network goes. It counts how often each request reached it.

use std::{
    collections::HashMap,
    io::{self, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, SockRef, Socket, Type};

use super::{
    PATIENCE, TempDir,
    origin::{Transport, Validity, certify},
    wire::{Framing, Head},
};

/// The request header that names a request to [`Faulty`].
pub const ID: &str = "x-test-id";

/// A moment of a connection's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// TCP is connected, nothing was said.
    Accepted,
    /// The client began the TLS handshake.
    Handshake,
    /// A request's head is there.
    Head,
    /// Half of its body is there.
    MidBody,
    /// All of it is there.
    Request,
    /// Half of the answer's head is sent.
    MidHead,
    /// The answer's head is sent, and nothing of its body.
    AnswerHead,
    /// Half of the answer's body is sent.
    MidAnswer,
    /// Half of a chunk of it is sent.
    MidChunk,
    /// A whole answer is sent, and the next request has not come.
    Between,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// TCP's end, without TLS's farewell.
    Fin,
    /// TCP's reset.
    Reset,
    /// Packets are lost from here on, and nobody is told.
    #[cfg(target_os = "linux")]
    Silence,
}

/// A running stage that breaks off when told to.
pub struct Faulty {
    address: SocketAddr,
    ca: PathBuf,
    shared: Arc<Shared>,
    _directory: TempDir,
}

struct Shared {
    tls: Arc<ServerConfig>,
    ending: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    armed: Option<(Moment, End)>,
    struck: usize,
    seen: HashMap<String, usize>,
    #[cfg(target_os = "linux")]
    silent: Vec<TcpStream>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with this lock")
    }

    fn note_struck(&self) {
        self.state().struck += 1;
        self.changed.notify_all();
    }

    /// Ends the connection if this is the moment for it.
    fn strike(&self, moment: Moment, tcp: &TcpStream) -> io::Result<()> {
        let mut state = self.state();
        let Some((_, end)) = state.armed.take_if(|(armed, _)| *armed == moment) else { return Ok(()) };
        match end {
            End::Fin => {
                drop(state);
                tcp.shutdown(Shutdown::Write)?;
                self.note_struck();
                // To close with bytes unread would reset the connection.
                let mut tcp = tcp;
                while tcp.read(&mut [0; 8192]).is_ok_and(|read| read > 0) {}
            }
            End::Reset => SockRef::from(tcp).set_linger(Some(Duration::ZERO))?,
            #[cfg(target_os = "linux")]
            End::Silence => {
                lose_all(tcp);
                state.silent.push(tcp.try_clone()?);
            }
        }
        Err(io::Error::other(Struck(end)))
    }
}

/// The connection was ended on purpose.
#[derive(Debug, thiserror::Error)]
#[error("{0:?}")]
struct Struck(End);

impl Faulty {
    /// One that speaks TLS under this name, and keeps every connection until it is told otherwise.
    pub fn start(name: &str) -> Self {
        let directory = TempDir::new();
        let (tls, ca) = certify(vec![name.to_owned()], false, Validity::Now);
        let ca = directory.write("ca.pem", &ca);
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            tls: Arc::new(tls),
            ending: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.ending.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&accepting);
                thread::spawn(move || {
                    let served = serve(stream, &shared);
                    let struck = served.err().and_then(io::Error::into_inner);
                    // By now the connection is closed. What ended in order was told of already.
                    if struck
                        .and_then(|error| error.downcast().ok())
                        .is_some_and(|end: Box<Struck>| end.0 != End::Fin)
                    {
                        shared.note_struck();
                    }
                });
            }
        });
        Self { address, ca, shared, _directory: directory }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The root of its certificate, as a PEM file.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// Ends the next connection that comes to this moment; one, once.
    pub fn arm(&self, moment: Moment, end: End) {
        self.shared.state().armed = Some((moment, end));
    }

    /// Waits until so many connections were ended.
    ///
    /// # Panics
    /// When they are not.
    pub fn wait_struck(&self, times: usize) {
        let state = self.shared.state();
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| state.struck < times);
        let (state, _) = waited.expect("no thread panics with this lock");
        assert!(state.struck >= times, "{:?} did not come", state.armed);
    }

    /// How many connections were ended so far.
    pub fn struck(&self) -> usize {
        self.shared.state().struck
    }

    /// How often the head of the request with this [`ID`] arrived.
    pub fn seen(&self, id: &str) -> usize {
        self.shared.state().seen.get(id).copied().unwrap_or_default()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
    }
}

fn serve(mut tcp: TcpStream, shared: &Shared) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    shared.strike(Moment::Accepted, &tcp)?;
    tcp.peek(&mut [0])?;
    shared.strike(Moment::Handshake, &tcp)?;
    let mut connection = ServerConnection::new(Arc::clone(&shared.tls)).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp)?;
    }
    let mut reader = BufReader::new(Transport::Tls(Box::new(StreamOwned::new(connection, tcp))));
    while let Some(head) = Head::read(&mut reader)? {
        let strike = |moment, reader: &BufReader<Transport>| shared.strike(moment, reader.get_ref().tcp());
        if let Some(id) = head.one(ID) {
            *shared.state().seen.entry(id.to_owned()).or_default() += 1;
        }
        strike(Moment::Head, &reader)?;
        let mut framing = head.framing(Framing::Done)?;
        let half = match framing {
            Framing::Length(length) => length / 2,
            _ => 0,
        };
        let mut read = 0;
        while let Some(piece) = framing.piece(&mut reader, &mut Vec::new())? {
            read += piece.len() as u64;
            if read >= half {
                strike(Moment::MidBody, &reader)?;
            }
        }
        strike(Moment::Request, &reader)?;
        let chunked = head.start.windows(8).any(|part| part == b"/chunked");
        let parts: &[(&str, Moment)] = if chunked {
            &[
                ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n01234", Moment::MidChunk),
                ("56789\r\n0\r\n\r\n", Moment::Between),
            ]
        } else {
            &[
                ("HTTP/1.1 200 OK\r\ncontent-le", Moment::MidHead),
                ("ngth: 10\r\n\r\n", Moment::AnswerHead),
                ("01234", Moment::MidAnswer),
                ("56789", Moment::Between),
            ]
        };
        for (part, moment) in parts {
            reader.get_mut().write_all(part.as_bytes())?;
            reader.get_mut().flush()?;
            strike(*moment, &reader)?;
        }
    }
    Ok(())
}

/// Loses every packet that comes for this socket, before TCP sees it: nothing is acknowledged.
#[cfg(target_os = "linux")]
pub fn lose_all(tcp: &TcpStream) {
    // BPF_RET | BPF_K: of each packet, so many bytes are let through.
    let nothing = socket2::SockFilter::new(0x06, 0, 0, 0);
    SockRef::from(tcp).attach_filter(&[nothing]).expect("any process may filter what it receives");
}

/// An address at which packets that ask for a connection are lost: its queue of connections is full, and nobody takes
/// any.
pub struct Deaf {
    address: SocketAddr,
    _listener: Socket,
    _queue: Vec<TcpStream>,
}

impl Deaf {
    /// At this address; port 0 is a free one.
    pub fn at(address: SocketAddr) -> Self {
        let listener =
            Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket is made");
        listener.bind(&address.into()).expect("the address is free");
        listener.listen(0).expect("a bound socket listens");
        let address = listener.local_addr().ok().and_then(|address| address.as_socket());
        let address = address.expect("it is bound to a socket address");
        let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queue = std::iter::from_fn(knock).collect();
        Self { address, _listener: listener, _queue: queue }
    }

    /// Where.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
