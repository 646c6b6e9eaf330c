//! What is written of an answer: as it comes, byte for byte, or as one JSON document at its end.

use std::{
    fs::File,
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
use crate::{diagnosis::Diagnosis, proxy::Came};

/// Bytes of a refusal's body that the diagnosis reads: a gateway's are shorter.
const MOST: usize = 64 << 10;

/// An answer on its way out.
pub(super) struct Written {
    out: Box<dyn Write>,
    /// Its name, if it is a file.
    path: Option<PathBuf>,
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

impl Written {
    pub(super) fn new(wanted: &Wanted) -> Result<Self, RequestError> {
        let path = wanted.output.clone().filter(|path| path.as_os_str() != "-");
        let out: Box<dyn Write> = match &path {
            Some(path) => Box::new(
                File::create(path).map_err(|source| RequestError::Write { path: path.clone(), source })?,
            ),
            None => Box::new(io::stdout()),
        };
        Ok(Self {
            out,
            path,
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
            let mut text = serde_json::to_vec_pretty(&document).map_err(io::Error::from)?;
            text.push(b'\n');
            self.write(&text)?;
        }
        let flushed = self.out.flush();
        self.done(flushed)?;
        Ok(status.as_u16())
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

    fn write(&mut self, bytes: &[u8]) -> Result<(), RequestError> {
        let written = self.out.write_all(bytes);
        self.done(written)
    }

    fn done(&mut self, written: io::Result<()>) -> Result<(), RequestError> {
        match (written, &self.path) {
            (Ok(()), _) => Ok(()),
            // A reader that has seen enough is no failure.
            (Err(error), None) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            (Err(source), Some(path)) => Err(RequestError::Write { path: path.clone(), source }),
            (Err(error), None) => Err(error.into()),
        }
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
