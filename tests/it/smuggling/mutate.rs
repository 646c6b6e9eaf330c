//! Makes variations of raw requests, each from a number: framing fields spliced in, line ends exchanged, requests
//! joined, bytes added and dropped.

/// A generator of numbers that are always the same for a seed (SplitMix64).
pub struct Numbers(u64);

impl Numbers {
    /// Starts it.
    pub const fn from(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// One of these.
    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const FIELDS: &[&[u8]] = &[
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"content-length: 6",
    b"Content-Length: 44",
    b"Content-Length: 005",
    b"Content-Length: 5, 5",
    b"Content-Length: +5",
    b"Content-Length : 5",
    b"Content-Length:\t5",
    b"Content_Length: 5",
    b" Content-Length: 5",
    b"X: y\nContent-Length: 5",
    b"X: y\rContent-Length: 5",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:chunked",
    b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: chunked\t",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer_Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"Connection: transfer-encoding",
    b"Connection: content-length, close",
    b"Connection: keep-alive",
    b"Expect: 100-continue",
    b"Trailer: x",
    b"Upgrade: h2c",
    b"Host: localhost",
];

const LINE_ENDS: &[&[u8]] = &[
    b"\n",
    b"\r",
    b"\n\r",
    b"\r\r\n",
    b"\r\n ",
    b"\r\n\t",
    b"\0\r\n",
    b" \r\n",
    b"\r\n\r\n",
    b"",
    b"\x0b\r\n",
];

const PIECES: &[&[u8]] = &[
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"2d\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n0\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n0\r\nx: y\r\n\r\n",
    b"hello",
    b"\r\n",
    b"\n",
];

const BYTES: &[u8] = b"\0\t\n\x0b\x0c\r \"#%,;:\\_=0aA\x7f\x80\xff";

/// A variation of one of these requests.
pub fn mutated(from: &[&[u8]], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = numbers.pick(from).to_vec();
    for _ in 0..=numbers.below(2) {
        let ends: Vec<_> = memchr::memmem::find_iter(&bytes, b"\r\n").collect();
        let end = if ends.is_empty() { None } else { Some(ends[numbers.below(ends.len())]) };
        match (numbers.below(8), end) {
            (0..=2, Some(_)) => {
                // Among the fields of the first request, more often than not.
                let within = 1 + ends.windows(2).take_while(|pair| pair[1] != pair[0] + 2).count();
                let at = ends[numbers.below(within.min(ends.len()))];
                let field = [&b"\r\n"[..], numbers.pick(FIELDS)].concat();
                bytes.splice(at..at, field);
            }
            (3 | 4, Some(at)) => {
                bytes.splice(at..at + 2, numbers.pick(LINE_ENDS).iter().copied());
            }
            (5, _) => bytes.extend_from_slice(numbers.pick(PIECES)),
            (6, _) => bytes.extend_from_slice(numbers.pick(from)),
            (_, _) if bytes.is_empty() => {}
            (_, _) => {
                let at = numbers.below(bytes.len());
                let put = BYTES[numbers.below(BYTES.len())];
                match numbers.below(3) {
                    0 => bytes.insert(at, put),
                    1 => bytes[at] = put,
                    _ => drop(bytes.remove(at)),
                }
            }
        }
    }
    bytes
}
