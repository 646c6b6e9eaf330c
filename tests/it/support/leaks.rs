//! Finds secrets in what a program says, however they are spelt: percent-encoded, in base64 or hexadecimal, escaped as
//! in JSON, listed byte by byte, in other case, reversed, or in part.

use std::collections::HashMap;

/// Characters of a secret in a row that give it away.
const ENOUGH: usize = 12;

/// Secrets that must not be found.
pub struct Leaks {
    /// Each piece of a secret, forwards and backwards, in lower case, and which secret it is of.
    pieces: HashMap<Vec<u8>, String>,
}

impl Leaks {
    /// Of these secrets.
    pub fn of<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        secrets
            .into_iter()
            .fold(Self { pieces: HashMap::new() }, |leaks, secret| leaks.and(secret, secret.as_bytes()))
    }

    /// And of this one, which is no text and has a name.
    pub fn and(mut self, name: &str, secret: &[u8]) -> Self {
        let forwards = secret.to_ascii_lowercase();
        assert!(forwards.len() >= ENOUGH, "{name} is too short to be told from chance");
        let backwards: Vec<u8> = forwards.iter().rev().copied().collect();
        for text in [forwards, backwards] {
            self.pieces.extend(text.windows(ENOUGH).map(|piece| (piece.to_vec(), name.to_owned())));
        }
        self
    }

    /// The first secret of which a piece stands in `text`, with what stands around it.
    pub fn find(&self, text: &[u8]) -> Option<(&str, String)> {
        views(text).into_iter().find_map(|view| {
            let lower = view.to_ascii_lowercase();
            lower.windows(ENOUGH).enumerate().find_map(|(at, window)| {
                let secret = self.pieces.get(window)?;
                let around = &view[at.saturating_sub(200)..(at + 200).min(view.len())];
                Some((secret.as_str(), around.escape_ascii().to_string()))
            })
        })
    }

    /// Fails when a secret is found in what `what` said.
    pub fn assert_none(&self, what: &str, text: &[u8]) {
        if let Some((secret, around)) = self.find(text) {
            panic!("{secret} is in {what}:\n...{around}...");
        }
    }
}

/// A text as it is, and as each usual way of decoding reads it.
fn views(text: &[u8]) -> Vec<Vec<u8>> {
    let unescaped = unescaped(text);
    let once = percent_decoded(text);
    let twice = percent_decoded(&once);
    let of_unescaped = percent_decoded(&unescaped);
    let mut views = vec![text.to_vec(), bytes_listed(text), once, twice, of_unescaped];
    for text in [text, &unescaped] {
        for skip in 0..2 {
            views.push(runs(text, 2 * ENOUGH, u8::is_ascii_hexdigit, |run| hex(&run[skip..])));
        }
        let of_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
        for skip in 0..4 {
            views.push(runs(text, 4 + ENOUGH, of_base64, |run| base64(&run[skip..])));
        }
    }
    views.push(unescaped);
    views
}

/// What each run of such bytes decodes to, with something between them that is in no secret.
fn runs(
    text: &[u8],
    shortest: usize,
    is_part: impl Fn(&u8) -> bool,
    decode: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let mut out = Vec::new();
    for run in text.split(|byte| !is_part(byte)).filter(|run| run.len() >= shortest) {
        out.extend(decode(run));
        out.push(0);
    }
    out
}

fn digit(byte: u8) -> u8 {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
        .expect("it is a hexadecimal digit")
}

fn hex(run: &[u8]) -> Vec<u8> {
    run.chunks_exact(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}

fn base64(run: &[u8]) -> Vec<u8> {
    let value = |byte: &u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' | b'-' => 62,
        _ => 63,
    };
    let groups = run.chunks_exact(4).map(|four| four.iter().fold(0, |bits, byte| bits << 6 | value(byte)));
    groups.flat_map(|bits: u32| bits.to_be_bytes().into_iter().skip(1)).collect()
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match after {
            [high, low, after @ ..]
                if *first == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(digit(*high) * 16 + digit(*low));
                rest = after;
            }
            _ => out.push(*first),
        }
    }
    out
}

/// Without the backslashes of JSON and of Rust's `Debug`; `\u0041` and `\x41` are read.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'\\', [b'u', b'0', b'0', high, low, after @ ..] | [b'x', high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                out.push(digit(*high) * 16 + digit(*low));
                rest = after;
            }
            (b'\\', [escaped, after @ ..]) => {
                out.push(*escaped);
                rest = after;
            }
            _ => out.push(*first),
        }
    }
    out
}

/// `[99, 97, 110]`, as Rust's `Debug` shows bytes.
fn bytes_listed(text: &[u8]) -> Vec<u8> {
    runs(
        text,
        3 * ENOUGH,
        |byte| byte.is_ascii_digit() || b", \n".contains(byte),
        |run| {
            let numbers = run.split(|byte| !byte.is_ascii_digit()).filter(|number| !number.is_empty());
            numbers.map(|number| String::from_utf8_lossy(number).parse().unwrap_or(0)).collect()
        },
    )
}

mod tests {
    use super::Leaks;
    use countersign::demo::encoding;

    const SECRET: &str = "q7/Ww+canary\"Zt=0vN4xK";

    #[test]
    fn a_secret_is_found_in_every_spelling() {
        let leaks = Leaks::of([SECRET]);
        let bytes = SECRET.as_bytes();
        let hex = encoding::hex(bytes);
        let mut percent = String::new();
        encoding::percent_encode_into(&mut percent, bytes);
        let every_byte: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
        let json = serde_json::to_string(SECRET).unwrap();
        let unicode: String = bytes.iter().map(|byte| format!("\\u{byte:04x}")).collect();
        let reversed: String = SECRET.chars().rev().collect();
        for spelt in [
            SECRET.to_owned(),
            SECRET.to_uppercase(),
            SECRET[3..15].to_owned(),
            reversed[5..17].to_owned(),
            percent.replace('%', "%25"),
            percent,
            every_byte,
            json.replace('/', "\\/"),
            serde_json::to_string(&json).unwrap(),
            unicode,
            hex.to_uppercase(),
            format!("a{hex}"),
            hex,
            encoding::base64(bytes),
            encoding::base64(&[b"a", bytes].concat()),
            encoding::base64(&[b"ab", bytes].concat()).replace('+', "-").replace('/', "_"),
            format!("{bytes:?}"),
            format!("{bytes:#?}"),
        ] {
            let text = format!("level=INFO a=\"{spelt}\", b");
            assert_eq!(leaks.find(text.as_bytes()).map(|(secret, _)| secret), Some(SECRET), "{text}");
        }
        assert!(leaks.find(&SECRET.as_bytes()[..11]).is_none());
        assert!(leaks.find("level=INFO nothing to see here".repeat(50).as_bytes()).is_none());
    }
}
