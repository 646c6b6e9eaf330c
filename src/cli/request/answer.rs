//! What is written of an answer: as it comes, byte for byte, or as one JSON document at its end.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, Response, StatusCode, response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::{Refusal, RequestError, Wanted};
use crate::{cli::output, diagnosis::Diagnosis, proxy::Came};

/// Bytes of a refusal's body that the diagnosis reads: a gateway's are shorter.
const MOST: usize = 64 << 10;

/// An answer on its way out.
pub(super) struct Written {
    out: Out,
    include: bool,
    json: bool,
    began: Instant,
    head: Option<response::Parts>,
    /// All of the body for JSON, the beginning of a refusal's otherwise.
    kept: Vec<u8>,
    length: u64,
    micros: u128,
    /// Nobody reads any more.
    closed: bool,
}

/// Where it goes.
enum Out {
    Standard(io::Stdout),
    File(Target),
}

/// A file that is left as it is until there is something to be written: opened before anything is sent, since a request
/// may act and its answer must have a place.
struct Target {
    file: File,
    path: PathBuf,
    /// It was not there before.
    is_new: bool,
    is_begun: bool,
}

impl Target {
    fn open(path: PathBuf) -> Result<Self, RequestError> {
        let new = OpenOptions::new().write(true).create_new(true).open(&path);
        let (opened, is_new) = match new {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // `create`: a link may lead to what is not there yet.
                (OpenOptions::new().write(true).create(true).truncate(false).open(&path), false)
            }
            new => (new, true),
        };
        match opened {
            Ok(file) => Ok(Self { file, path, is_new, is_begun: false }),
            Err(source) => Err(RequestError::Write { path, source }),
        }
    }

    /// What was there goes.
    fn begin(&mut self) -> io::Result<()> {
        // A pipe or a device has nothing to be cut off.
        if !self.is_begun && self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.is_begun = true;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.is_new && !self.is_begun {
            // It is empty, and nobody asked for an empty one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Written {
    pub(super) fn new(wanted: &Wanted) -> Result<Self, RequestError> {
        let path = wanted.output.clone().filter(|path| path.as_os_str() != "-");
        let out = match path {
            Some(path) => Out::File(Target::open(path)?),
            None => Out::Standard(io::stdout()),
        };
        Ok(Self {
            out,
            include: wanted.include,
            json: wanted.json,
            began: Instant::now(),
            head: None,
            kept: Vec::new(),
            length: 0,
            micros: 0,
            closed: false,
        })
    }

    /// Writes what comes; the proxy's own refusal is an error.
    pub(super) async fn take(&mut self, came: Came) -> Result<(), RequestError> {
        let answer = match came {
            Came::Refused(refused) => return Err(RequestError::Refused(refused)),
            Came::Answer(answer) => answer,
        };
        let (head, mut body) = answer.into_parts();
        if !self.json {
            self.begin()?;
        }
        if self.include {
            let text = head_text(&head);
            self.write(&text)?;
        }
        let keeps = if self.json {
            usize::MAX
        } else if head.status.as_u16() >= 400 {
            MOST
        } else {
            0
        };
        self.head = Some(head);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| RequestError::Cut(self.length))?;
            let Some(piece) = frame.data_ref() else { continue };
            self.length += piece.len() as u64;
            let room = keeps.saturating_sub(self.kept.len()).min(piece.len());
            self.kept.extend_from_slice(&piece[..room]);
            if !self.json {
                self.write(piece)?;
                if self.closed {
                    break;
                }
            }
        }
        self.micros = self.began.elapsed().as_micros();
        Ok(())
    }

    /// The answer, if it is one that a gateway may have given instead of the API.
    pub(super) fn refusal(&self) -> Option<Refusal<'_>> {
        let head = self.head.as_ref().filter(|head| head.status.as_u16() >= 400)?;
        Some(Refusal { status: head.status.as_u16(), headers: texts(&head.headers), body: &self.kept })
    }

    /// Writes what is left, and gives the status.
    pub(super) fn end(mut self, diagnosis: Option<&Diagnosis>) -> Result<u16, RequestError> {
        let head = self.head.take().expect("an answer without a head is an error before");
        let status = head.status;
        if self.json {
            let document = self.document(&head, diagnosis);
            self.write_document(&document)?;
        }
        self.flush()?;
        Ok(status.as_u16())
    }

    /// There is no whole answer: as JSON that is told too, where the answer would have been.
    pub(super) fn failed(mut self, error: &RequestError) -> Result<(), RequestError> {
        if self.json && !matches!(error, RequestError::Write { .. } | RequestError::System(_)) {
            self.write_document(&output::failure(error))?;
            self.flush()?;
        }
        Ok(())
    }

    fn write_document(&mut self, document: &Value) -> Result<(), RequestError> {
        let mut text = serde_json::to_vec_pretty(document).map_err(io::Error::from)?;
        text.push(b'\n');
        self.begin()?;
        self.write(&text)
    }

    fn document(&self, head: &response::Parts, diagnosis: Option<&Diagnosis>) -> Value {
        let text = std::str::from_utf8(&self.kept).ok();
        let headers: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
            .collect();
        json!({
            "status": head.status.as_u16(),
            "reason": reason(head.status),
            "headers": headers,
            "body": text,
            "body_base64": text.is_none().then(|| STANDARD.encode(&self.kept)),
            "micros": u64::try_from(self.micros).unwrap_or(u64::MAX),
            "diagnosis": diagnosis,
        })
    }

    fn begin(&mut self) -> Result<(), RequestError> {
        let begun = match &mut self.out {
            Out::Standard(_) => Ok(()),
            Out::File(target) => target.begin(),
        };
        self.done(begun)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        let written = match &mut self.out {
            Out::Standard(out) => out.write_all(bytes),
            Out::File(target) => target.file.write_all(bytes),
        };
        self.done(written)
    }

    fn flush(&mut self) -> Result<(), RequestError> {
        let flushed = match &mut self.out {
            Out::Standard(out) => out.flush(),
            Out::File(target) => target.file.flush(),
        };
        self.done(flushed)
    }

    fn done(&mut self, written: io::Result<()>) -> Result<(), RequestError> {
        match (written, &self.out) {
            (Ok(()), _) => Ok(()),
            // A reader that has seen enough is no failure.
            (Err(error), Out::Standard(_)) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            (Err(source), Out::File(target)) => {
                Err(RequestError::Write { path: target.path.clone(), source })
            }
            (Err(error), Out::Standard(_)) => Err(error.into()),
        }
    }
}

/// Tells scripts of a failure before anything was sent: where the answer would have been, or on standard output where
/// that cannot be written. People are told by the error itself.
pub(super) fn untold(wanted: &Wanted, document: &Value) {
    if !wanted.json {
        return;
    }
    let told = Written::new(wanted).and_then(|mut written| {
        written.write_document(document)?;
        written.flush()
    });
    if told.is_err() {
        // Who does not read it goes by the exit code.
        let _ = output::json(document);
    }
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}

fn head_text(head: &response::Parts) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {} {}\r\n", head.status.as_u16(), reason(head.status)).into_bytes();
    for (name, value) in &head.headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// Those that are text.
pub(in crate::cli) fn texts(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect()
}

/// A whole answer whose body matters only in its beginning.
pub(in crate::cli) async fn beginning(answer: Response<Incoming>) -> Result<Response<Vec<u8>>, hyper::Error> {
    let (head, mut body) = answer.into_parts();
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        if let Some(piece) = frame.data_ref() {
            let room = MOST.saturating_sub(kept.len()).min(piece.len());
            kept.extend_from_slice(&piece[..room]);
        }
    }
    Ok(Response::from_parts(head, kept))
}
