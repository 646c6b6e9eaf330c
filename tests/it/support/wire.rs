//! HTTP/1.1 messages as they are on the wire, read strictly: what is not well formed is an error, never guessed at.

use std::io::{self, BufRead};

/// A start line and header fields, with the bytes they came as.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// Up to and with the empty line.
    pub raw: Vec<u8>,
    /// Request line or status line, without its CRLF.
    pub start: Vec<u8>,
    /// In wire order; names as written, values without the white space around them.
    pub fields: Vec<(String, Vec<u8>)>,
}

fn malformed(what: &str, bytes: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {}", bytes.escape_ascii()))
}

fn cut(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("connection ended {what}"))
}

/// One line with its CRLF; an end of stream before its first byte is `None`.
fn line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    match line.as_slice() {
        [] => Ok(None),
        [text @ .., b'\r', b'\n'] if !text.contains(&b'\r') => Ok(Some(line)),
        [.., b'\n'] => Err(malformed("line does not end in CRLF", &line)),
        _ => Err(cut("within a line")),
    }
}

fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

impl Head {
    /// Reads one; an end of stream before its first byte is `None`.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(first) = line(reader)? else { return Ok(None) };
        let mut head = Self { start: first[..first.len() - 2].to_vec(), raw: first, fields: Vec::new() };
        loop {
            let field = line(reader)?.ok_or_else(|| cut("within the head"))?;
            head.raw.extend_from_slice(&field);
            if field == b"\r\n" {
                return Ok(Some(head));
            }
            let colon = field.iter().position(|&b| b == b':').ok_or_else(|| malformed("no colon", &field))?;
            let (name, value) = (&field[..colon], &field[colon + 1..]);
            if !is_token(name) {
                return Err(malformed("not a field name", &field));
            }
            head.fields.push((String::from_utf8_lossy(name).into_owned(), value.trim_ascii().to_vec()));
        }
    }

    /// The values of all fields of this name, whatever its case, in order.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice()).collect()
    }

    /// The value of the only field of this name; `None` when it is not there.
    ///
    /// # Panics
    /// When it is there twice.
    pub fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there {} times", all.len());
        all.first().map(|value| std::str::from_utf8(value).expect("value is UTF-8"))
    }

    /// How the body is framed (RFC 9112, section 6.3); `default` is what holds without a framing field.
    pub fn framing(&self, default: Framing) -> io::Result<Framing> {
        match (self.all("transfer-encoding").as_slice(), self.all("content-length").as_slice()) {
            ([], []) => Ok(default),
            ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked { left: 0 }),
            ([], [length]) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
                let length = String::from_utf8_lossy(length).parse();
                length.map(Framing::Length).map_err(|_| malformed("content-length", &self.raw))
            }
            _ => Err(malformed("ambiguous framing", &self.raw)),
        }
    }
}

/// What is still to come of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks; `left` bytes of the present one.
    Chunked {
        /// Bytes of the present chunk that are still to come.
        left: u64,
    },
    /// All until the connection ends.
    ToEnd,
    /// Nothing.
    Done,
}

impl Framing {
    /// The next bytes of the body as soon as there are any; `None` at its proper end. What is read is also appended to
    /// `raw`, framing and all.
    pub fn piece(&mut self, reader: &mut impl BufRead, raw: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        let limit = match *self {
            Self::Done | Self::Length(0) => {
                *self = Self::Done;
                return Ok(None);
            }
            Self::ToEnd => u64::MAX,
            Self::Chunked { left: 0 } => match Self::chunk_size(reader, raw)? {
                0 => {
                    Self::trailers(reader, raw)?;
                    *self = Self::Done;
                    return Ok(None);
                }
                size => {
                    *self = Self::Chunked { left: size };
                    size
                }
            },
            Self::Length(left) | Self::Chunked { left } => left,
        };
        let buffered = reader.fill_buf()?;
        if buffered.is_empty() {
            return match *self {
                Self::ToEnd => {
                    *self = Self::Done;
                    Ok(None)
                }
                _ => Err(cut("within the body")),
            };
        }
        let taken = buffered.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        let piece = buffered[..taken].to_vec();
        reader.consume(taken);
        raw.extend_from_slice(&piece);
        match self {
            Self::Length(left) => *left -= taken as u64,
            Self::Chunked { left } => {
                *left -= taken as u64;
                if *left == 0 {
                    let end = line(reader)?.ok_or_else(|| cut("within a chunk"))?;
                    raw.extend_from_slice(&end);
                    if end != b"\r\n" {
                        return Err(malformed("chunk is longer than it says", &end));
                    }
                }
            }
            Self::ToEnd | Self::Done => {}
        }
        Ok(Some(piece))
    }

    fn chunk_size(reader: &mut impl BufRead, raw: &mut Vec<u8>) -> io::Result<u64> {
        let line = line(reader)?.ok_or_else(|| cut("before the last chunk"))?;
        raw.extend_from_slice(&line);
        let digits = line.split(|&b| b == b';' || b == b'\r').next().unwrap_or_default();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(malformed("chunk size", &line));
        }
        u64::from_str_radix(&String::from_utf8_lossy(digits), 16).map_err(|_| malformed("chunk size", &line))
    }

    fn trailers(reader: &mut impl BufRead, raw: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let line = line(reader)?.ok_or_else(|| cut("within the trailers"))?;
            raw.extend_from_slice(&line);
            if line == b"\r\n" {
                return Ok(());
            }
        }
    }
}
