//! Unpacks a refusal that the stage compressed, so that it can be looked through for what it means and for secrets.
//!
//! A client that sends `accept-encoding` may be answered in a coding that it names. API Gateway knows `gzip` and
//! `deflate` for that, and so do we; what an integration behind it sends in others is not unpacked.
//!
//! It is unpacked as it comes, a little at a time: at no time is more held than [`PIECE`] bytes become.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status, write::MultiGzDecoder};
use http::{HeaderMap, header};

/// Packed bytes that are unpacked in one go. DEFLATE makes at most 1032 bytes of one.
const PIECE: usize = 256;
/// The most that [`whole`] gives.
const LONGEST: usize = 64 << 10;

/// The body is not what its `content-encoding` says.
#[derive(Debug)]
pub(super) struct NotPacked;

impl From<io::Error> for NotPacked {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// A body on its way out of its coding.
pub(super) struct Unpack {
    coding: Coding,
    /// Packed bytes whose turn has not come.
    left: Bytes,
    /// Whether anything has come.
    begun: bool,
}

enum Coding {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Deflate(Deflate),
}

impl Unpack {
    /// For what these headers say of the body; `None` where it is not compressed, or not in one coding that is known.
    pub(super) fn new(headers: &HeaderMap) -> Option<Self> {
        let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
        let (Some(coding), None) = (codings.next(), codings.next()) else { return None };
        let is = |name: &str| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        // RFC 9110 section 8.4.1: "x-gzip" is the same.
        let coding = if is("gzip") || is("x-gzip") {
            Coding::Gzip(MultiGzDecoder::new(Vec::new()))
        } else if is("deflate") {
            Coding::Deflate(Deflate::default())
        } else {
            return None;
        };
        Some(Self { coding, left: Bytes::new(), begun: false })
    }

    /// Takes in what has come, once [`Unpack::next`] has given all of what came before.
    pub(super) fn push(&mut self, packed: Bytes) {
        self.begun |= !packed.is_empty();
        self.left = packed;
    }

    /// A little more of what is inside; `None` when more must come first.
    pub(super) fn next(&mut self) -> Option<Result<Vec<u8>, NotPacked>> {
        if self.left.is_empty() {
            return None;
        }
        let piece = self.left.split_to(PIECE.min(self.left.len()));
        Some(self.unpacked(&piece))
    }

    fn unpacked(&mut self, piece: &[u8]) -> Result<Vec<u8>, NotPacked> {
        match &mut self.coding {
            Coding::Gzip(gzip) => {
                gzip.write_all(piece)?;
                gzip.flush()?;
                Ok(std::mem::take(gzip.get_mut()))
            }
            Coding::Deflate(deflate) => deflate.unpacked(piece),
        }
    }

    /// What was held back, now that nothing more comes.
    ///
    /// # Errors
    /// [`NotPacked`] when the end is missing.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, NotPacked> {
        match &mut self.coding {
            // An answer without a body may say how it would have been packed.
            _ if !self.begun => Ok(Vec::new()),
            Coding::Gzip(gzip) => {
                gzip.try_finish()?;
                Ok(std::mem::take(gzip.get_mut()))
            }
            Coding::Deflate(deflate) if deflate.ended => Ok(Vec::new()),
            Coding::Deflate(_) => Err(NotPacked),
        }
    }
}

/// The coding `deflate`: the zlib format, or DEFLATE without it, which some send in its place (RFC 9110 section
/// 8.4.1.2).
#[derive(Default)]
struct Deflate {
    /// The first bytes, until they tell the format.
    first: Vec<u8>,
    inner: Option<Decompress>,
    ended: bool,
}

impl Deflate {
    fn unpacked(&mut self, piece: &[u8]) -> Result<Vec<u8>, NotPacked> {
        if let Some(inner) = &mut self.inner {
            return inflate(inner, &mut self.ended, piece);
        }
        self.first.extend_from_slice(piece);
        let [method, flags, ..] = self.first[..] else { return Ok(Vec::new()) };
        // RFC 1950 section 2.2.
        let is_zlib = method & 0x0f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31);
        let inner = self.inner.insert(Decompress::new(is_zlib));
        inflate(inner, &mut self.ended, &std::mem::take(&mut self.first))
    }
}

fn inflate(inner: &mut Decompress, ended: &mut bool, piece: &[u8]) -> Result<Vec<u8>, NotPacked> {
    let mut rest = piece;
    let mut out = Vec::new();
    loop {
        if *ended {
            // Nothing may follow the end.
            return if rest.is_empty() { Ok(out) } else { Err(NotPacked) };
        }
        out.reserve(4 * PIECE);
        let (read, length) = (inner.total_in(), out.len());
        let status =
            inner.decompress_vec(rest, &mut out, FlushDecompress::None).map_err(|_wrong| NotPacked)?;
        let read = inner.total_in() - read;
        rest = &rest[usize::try_from(read).unwrap_or(rest.len())..];
        *ended = status == Status::StreamEnd;
        if !*ended && read == 0 && out.len() == length {
            return if rest.is_empty() { Ok(out) } else { Err(NotPacked) };
        }
    }
}

/// A whole body unpacked, if it is packed and not long.
pub(super) fn whole(headers: &HeaderMap, packed: &Bytes) -> Option<Vec<u8>> {
    let mut unpack = Unpack::new(headers)?;
    unpack.push(packed.clone());
    let mut out = Vec::new();
    while let Some(piece) = unpack.next() {
        out.extend(piece.ok()?);
        if out.len() > LONGEST {
            return None;
        }
    }
    out.extend(unpack.finish().ok()?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use bytes::Bytes;
    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };
    use http::{HeaderMap, HeaderValue, header};

    use super::{LONGEST, NotPacked, PIECE, Unpack, whole};

    fn headers(codings: &[&'static str]) -> HeaderMap {
        let named = |coding: &&'static str| (header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        codings.iter().map(named).collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    fn deflate(text: &[u8]) -> Vec<u8> {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::default());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    fn unpacked(coding: &'static str, pieces: &[&[u8]]) -> Result<Vec<u8>, NotPacked> {
        let mut unpack = Unpack::new(&headers(&[coding])).unwrap();
        let mut out = Vec::new();
        for piece in pieces {
            unpack.push(Bytes::copy_from_slice(piece));
            while let Some(piece) = unpack.next() {
                out.extend(piece?);
            }
        }
        out.extend(unpack.finish()?);
        Ok(out)
    }

    /// Every coding with a text in it.
    fn all(text: &[u8]) -> [(&'static str, Vec<u8>); 5] {
        let (first, last) = text.split_at(text.len() / 3);
        [
            ("gzip", gzip(text)),
            ("X-GZip ", gzip(text)),
            ("gzip", [gzip(first), gzip(last)].concat()),
            ("deflate", zlib(text)),
            ("deflate", deflate(text)),
        ]
    }

    #[test]
    fn each_coding_however_it_is_cut() {
        let long: Vec<u8> = (0..20_000u32).flat_map(u32::to_be_bytes).collect();
        for text in [&b"x"[..], b"{\"message\":\"The request signature ...\"}", &long] {
            for (coding, packed) in all(text) {
                assert_eq!(unpacked(coding, &[&packed]).unwrap(), text, "{coding}");
                let bytes: Vec<_> = packed.chunks(1).collect();
                assert_eq!(unpacked(coding, &bytes).unwrap(), text, "{coding}");
            }
        }
    }

    #[test]
    fn what_is_cut_short_or_is_no_such_thing_is_told() {
        for (coding, packed) in all(b"a text that is long enough to be packed, long enough to be packed") {
            let flipped: Vec<u8> = packed.iter().map(|byte| byte ^ 0xff).collect();
            assert!(unpacked(coding, &[&flipped]).is_err(), "{coding}");
            assert!(unpacked(coding, &[&packed, b"more"]).is_err(), "{coding}");
            for length in 1..packed.len() {
                // Where one member of gzip ends, the whole may end.
                let is_member = packed[length..].starts_with(b"\x1f\x8b");
                assert_eq!(unpacked(coding, &[&packed[..length]]).is_ok(), is_member, "{coding} {length}");
            }
            assert_eq!(unpacked(coding, &[]).unwrap(), b"", "{coding}");
        }
        assert!(unpacked("gzip", &[b"{\"message\":\"not packed at all\"}"]).is_err());
    }

    #[test]
    fn a_little_packed_text_that_becomes_much_comes_in_pieces() {
        let text = vec![b'*'; 10 << 20];
        for (coding, packed) in all(&text) {
            let mut unpack = Unpack::new(&headers(&[coding])).unwrap();
            unpack.push(packed.into());
            let mut most = 0;
            while let Some(piece) = unpack.next() {
                most = most.max(piece.unwrap().len());
            }
            assert!(most <= 2 * 1032 * PIECE, "{coding}: {most}");
        }
        assert_eq!(whole(&headers(&["gzip"]), &gzip(&text).into()), None);
        assert_eq!(whole(&headers(&["gzip"]), &gzip(&text[..LONGEST]).into()).unwrap(), &text[..LONGEST]);
    }

    #[test]
    fn codings_that_are_not_unpacked() {
        for codings in [&[][..], &["br"], &["zstd"], &["identity"], &["gzip, gzip"], &["gzip", "gzip"], &[""]]
        {
            assert!(Unpack::new(&headers(codings)).is_none(), "{codings:?}");
        }
    }
}
