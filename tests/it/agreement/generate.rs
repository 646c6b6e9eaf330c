//! Random requests, each from a number of its own: the same number gives the same request, on every machine.

use crate::support::client::{Ask, Via};

/// Stands in every header and parameter that the client sends and the proxy owns: nothing of it may reach the stage.
pub const OWNED: &str = "client-owned";
/// Headers that the proxy is told to sign as well.
pub const EXTRA: [&str; 2] = ["x-tenant", "if-match"];
/// Where the second stage is mounted.
pub const BARE: &str = "/bare";

/// `SplitMix64`: small, and the same everywhere.
pub struct Random(u64);

impl Random {
    /// For this number.
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed);
        // Neighbouring numbers would give neighbouring states.
        random.0 = random.next();
        random
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(length);
        bytes
    }
}

/// A request as a client sends it.
pub struct Case {
    /// What it was made from.
    pub seed: u64,
    /// The protocol it takes to the proxy.
    pub via: Via,
    /// Whether it is for the stage below [`BARE`], which has neither API key nor session token nor path.
    pub bare: bool,
    /// All but the body; over HTTP/1.1 with the body's framing field if that is not `content-length`.
    pub ask: Ask,
    /// The pieces in which the body is sent, when its length is not announced.
    pub chunks: Option<Vec<Vec<u8>>>,
}

impl Case {
    /// The request for a number.
    pub fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let via = if random.percent(30) { Via::H2c } else { Via::Http1 };
        let bare = random.percent(25);
        let mut target = String::from(if bare { BARE } else { "" });
        if !bare || random.percent(95) {
            path(random, &mut target);
        }
        query(random, &mut target);
        let mut ask = Ask::new(method(random), &target);
        headers(random, via, &mut ask);
        let chunks = body(random, &mut ask);
        if chunks.is_some() && via == Via::Http1 {
            ask = ask.header("transfer-encoding", "chunked");
        }
        Self { seed, via, bare, ask, chunks }
    }

    /// The whole body.
    pub fn body(&self) -> Vec<u8> {
        self.chunks
            .as_ref()
            .map_or_else(|| self.ask.body.clone().unwrap_or_default(), |chunks| chunks.concat())
    }

    /// What is written to an HTTP/1.1 connection.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.ask.bytes();
        if let Some(chunks) = &self.chunks {
            for chunk in chunks {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        bytes
    }
}

/// Every character of a method but `#`, with which the proxy takes the request line for one with a fragment.
fn method(random: &mut Random) -> &'static str {
    match random.below(100) {
        0..40 => "GET",
        40..60 => "POST",
        60..90 => random.pick(&["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
        90..99 => random.pick(&["PURGE", "M-SEARCH", "PROPFIND", "QUERY", "A1!$%&'*+-.^_`|~"]),
        _ => random.pick(&["get", "Post"]),
    }
}

const ALPHANUMERIC: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const CHARACTERS: [&str; 10] =
    ["é", "ß", "ü", "漢", "字", "😀", "\u{300}", "\u{200b}", "\u{7ff}", "\u{10ffff}"];

fn alphanumeric(random: &mut Random) -> char {
    char::from(ALPHANUMERIC.as_bytes()[random.below(ALPHANUMERIC.len())])
}

fn escape(random: &mut Random, byte: u8, out: &mut String) {
    const UPPER: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    for digit in [byte >> 4, byte & 15] {
        let digit = char::from(UPPER[usize::from(digit)]);
        out.push(if random.percent(50) { digit } else { digit.to_ascii_lowercase() });
    }
}

/// Every byte of `pchar`, every escape, and what hyper takes beyond RFC 3986.
fn path(random: &mut Random, out: &mut String) {
    let segments = random.below(6);
    if segments == 0 || random.percent(90) {
        out.push('/');
    } else {
        out.push_str("//");
    }
    for index in 0..segments {
        if index > 0 {
            out.push('/');
        }
        // No length: an empty segment, at the end a trailing slash.
        for _ in 0..random.below(9) {
            match random.below(200) {
                0..80 => out.push(alphanumeric(random)),
                80..92 => out.push_str(random.pick(&["-", "_", "~", "a.b", "...", ".a", "z.."])),
                92..124 => out.push_str(
                    random.pick(&["!", "$", "&", "'", "(", ")", "*", "+", ",", ";", "=", ":", "@"]),
                ),
                124..160 => {
                    let byte = random.byte();
                    escape(random, byte, out);
                }
                160..170 => {
                    out.push_str(random.pick(&["%2F", "%5c", "%25", "%252F", "%2B", "%20", "%3f", "%00"]))
                }
                170..180 => out.push_str(random.pick(&CHARACTERS)),
                180..186 => out.push_str(random.pick(&["%", "%g", "%4", "%%"])),
                186..199 => out.push_str(random.pick(&["|", "\"", "{", "}", "^", "[", "]", "\\"])),
                _ => out.push_str(random.pick(&[".", "%2e", "%252E", "./", "/.."])),
            }
        }
    }
}

fn query(random: &mut Random, out: &mut String) {
    if random.percent(30) {
        return;
    }
    out.push('?');
    for index in 0..random.below(7) {
        if index > 0 {
            out.push('&');
        }
        match random.below(100) {
            // A blank piece.
            0..5 => {}
            5..30 => out.push_str(random.pick(&["a", "b", "tag", "tag[]", "A"])),
            30..33 => {
                out.push_str(random.pick(&[
                    "X-Amz-Signature",
                    "x-amz-credential",
                    "X%2DAmz-Date",
                    "X-Amz-Expires",
                ]));
                out.push('=');
                out.push_str(OWNED);
                continue;
            }
            _ => query_text(random, out),
        }
        if random.percent(80) {
            out.push('=');
            query_text(random, out);
        }
    }
}

fn query_text(random: &mut Random, out: &mut String) {
    for _ in 0..random.below(9) {
        match random.below(400) {
            0..150 => out.push(alphanumeric(random)),
            150..170 => out.push_str(random.pick(&["-", "_", ".", "~"])),
            170..200 => out.push_str(random.pick(&["+", "%2B", "%2b", "%20"])),
            200..240 => out.push_str(random.pick(&[
                "[", "]", "%5B", "%5d", ";", "=", "/", "?", ":", "@", "!", "$", "'", "(", ")", "*", ",",
            ])),
            240..270 => {
                let byte = random.byte() & 0x7f;
                escape(random, byte, out);
            }
            270..300 => out.push_str(random.pick(&CHARACTERS)),
            300..330 => {
                for byte in random.pick(&CHARACTERS).bytes() {
                    escape(random, byte, out);
                }
            }
            330..355 => out.push_str(random.pick(&["%", "%g", "%zz", "%%", "%4g", "%25", "%2541"])),
            355..399 => {
                out.push_str(random.pick(&["|", "{", "}", "^", "`", "\\", "%26", "%3D", "%23", "%22"]))
            }
            // No UTF-8, unless a neighbour makes it so.
            _ => {
                let byte = random.byte() | 0x80;
                escape(random, byte, out);
            }
        }
    }
}

fn headers(random: &mut Random, via: Via, ask: &mut Ask) {
    let add = |ask: &mut Ask, name: &str, value: Vec<u8>, random: &mut Random| {
        // Names have no case in HTTP/1.1, and only the lower one in HTTP/2.
        let upper = via == Via::Http1 && random.percent(30);
        ask.headers.push((if upper { name.to_ascii_uppercase() } else { name.to_owned() }, value));
    };
    for _ in 0..random.below(7) {
        match random.below(100) {
            0..45 => {
                let name = random.pick(&[
                    "content-type",
                    "x-amz-meta-a",
                    "x-amz-meta-b",
                    "x-amz-meta-a",
                    "x-amz-target",
                    "x-amz-signature",
                    "x-amz-x",
                    "x-amz-x_!#$%&'*+.^`|~",
                    EXTRA[0],
                    EXTRA[1],
                ]);
                let value = value(random, false);
                add(ask, name, value, random);
            }
            45..80 => {
                let name = random.pick(&[
                    "accept",
                    "user-agent",
                    "x-amzn-trace-id",
                    "x-other",
                    "x-other",
                    "referer",
                    "x_tenant",
                    "x-api-keys",
                    "accept-encoding",
                    "content-encoding",
                    "traceparent",
                    "x-amz",
                    "a!#$%&'*+-.^_`|~",
                ]);
                let value = value(random, true);
                add(ask, name, value, random);
            }
            80..95 => {
                let name = random.pick(&[
                    "authorization",
                    "x-api-key",
                    "x-amz-date",
                    "x-amz-security-token",
                    "x-amz-content-sha256",
                    "x_api_key",
                    "x-amz_date",
                    "x_amz_security_token",
                ]);
                let mut owned = OWNED.as_bytes().to_vec();
                owned.extend(value(random, true));
                add(ask, name, owned, random);
            }
            _ if via == Via::Http1 => {
                let named =
                    random.pick(&["keep-alive", "x-hop, Keep-Alive", "x-api-key,x-hop, host, x-amz-date"]);
                add(ask, "connection", named.as_bytes().to_vec(), random);
                if named.contains("x-hop") {
                    add(ask, "x-hop", OWNED.as_bytes().to_vec(), random);
                }
            }
            _ => {}
        }
    }
}

/// A header's value; `any` when it will not be signed and so may hold any byte that HTTP takes.
fn value(random: &mut Random, any: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..random.below(10) {
        match random.below(if any { 1010 } else { 1000 }) {
            0..600 => out.push(b'!' + random.byte() % 94),
            600..760 => out.resize(out.len() + 1 + random.below(3), b' '),
            760..840 => out.extend_from_slice(random.pick(&["\t", " \t ", "\t\t"]).as_bytes()),
            840..996 => out.extend_from_slice(random.pick(&CHARACTERS).as_bytes()),
            996..998 => {
                out.extend_from_slice(random.pick(&["\u{a0}", "\u{85}", "\u{2003}", "\u{3000}"]).as_bytes())
            }
            _ => out.push(random.byte() | 0x80),
        }
    }
    out
}

fn body(random: &mut Random, ask: &mut Ask) -> Option<Vec<Vec<u8>>> {
    let length = match random.below(300) {
        0..120 => return None,
        120..150 => 0,
        150..298 => random.below(400),
        _ => 100 << 10,
    };
    let whole = if random.percent(50) {
        random.bytes(length)
    } else {
        let text = r#"{"name": "Jürgen", "tags": ["a", "b"]}"#.as_bytes();
        text.iter().copied().cycle().take(length).collect()
    };
    if random.percent(60) {
        ask.body = Some(whole);
        return None;
    }
    // A chunk of no length would be the last, and a server ends an HTTP/2 connection that floods it with tiny frames.
    let size = 1 + length / 1000 + random.below(length.max(1));
    Some(whole.chunks(size).map(<[u8]>::to_vec).collect())
}
