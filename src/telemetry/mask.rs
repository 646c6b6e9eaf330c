//! Masks secrets that a stage repeats in its answer, as that passes; and in what is kept of a request.
//!
//! API Gateway's answer to a signature that does not match holds the canonical request, and with it the session token
//! and the API key in clear. Each secret is overwritten by as many stars, so that the length stays what it was said
//! to be; a secret that is split between two pieces of the answer is found as well.
//!
//! Found is a secret as it was sent, and as any JSON writer spells it (RFC 8259 section 7): `\/`, or `\u003d` for `=`.

use bytes::{Bytes, BytesMut};

use super::scrub::SHORTEST_HIDDEN;

/// Overwrites secrets in a stream of pieces.
pub struct Mask {
    secrets: Vec<Vec<u8>>,
    /// What may be the beginning of a secret, held back until more has come.
    held: BytesMut,
}

impl Mask {
    /// For these secrets. `None` when there is none; one under [`SHORTEST_HIDDEN`] bytes is none, for stars over it
    /// would be stars over common words.
    #[must_use]
    pub fn new<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let secrets: Vec<_> =
            secrets.filter(|secret| secret.len() >= SHORTEST_HIDDEN).map(<[u8]>::to_vec).collect();
        (!secrets.is_empty()).then(|| Self { secrets, held: BytesMut::new() })
    }

    /// What can be passed on now that `piece` has come.
    #[must_use]
    pub fn push(&mut self, piece: &[u8]) -> Bytes {
        self.held.extend_from_slice(piece);
        let done = self.cover(false);
        self.held.split_to(done).freeze()
    }

    /// What was held back, once nothing more comes.
    #[must_use]
    pub fn finish(&mut self) -> Bytes {
        self.cover(true);
        self.held.split().freeze()
    }

    /// Whether anything is held back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Overwrites what is found and returns how many bytes are done: up to what more bytes may make a secret. The
    /// search goes on behind each find, since stars may be a secret too.
    fn cover(&mut self, last: bool) -> usize {
        let mut at = 0;
        while at < self.held.len() {
            let text = &self.held[at..];
            let mut covered = 0;
            for secret in &self.secrets {
                for found in [begins(text, secret, plain), begins(text, secret, json)] {
                    match found {
                        Begins::Whole(length) => covered = covered.max(length),
                        Begins::Partly if !last => return at,
                        Begins::Partly | Begins::Not => {}
                    }
                }
            }
            self.held[at..at + covered].fill(b'*');
            at += covered.max(1);
        }
        at
    }
}

/// Overwrites secrets in a text that is whole, or that was cut off where `cut` says so: what may be the beginning of a
/// secret at its end goes too. Beside the spellings that [`Mask`] knows it finds them percent-encoded. `None` when there
/// is nothing to overwrite, which is the usual case and found out fast.
pub(super) fn cover(text: &[u8], secrets: &[&[u8]], cut: bool) -> Option<Vec<u8>> {
    let secrets: Vec<_> = secrets.iter().filter(|secret| secret.len() >= SHORTEST_HIDDEN).collect();
    let longest = secrets.iter().map(|secret| secret.len()).max()?;
    let readers = [Some(plain as Reader), has(text, b'\\', json), has(text, b'%', percent)];
    let holds_some = readers.iter().flatten().any(|next| {
        let read = read_whole(text, *next);
        secrets.iter().any(|secret| memchr::memmem::find(&read, secret).is_some())
    });
    // No spelling of a byte is longer than six.
    let mut at = match (holds_some, cut) {
        (true, _) => 0,
        (false, true) => text.len().saturating_sub(6 * longest),
        (false, false) => return None,
    };
    let mut text = text.to_vec();
    let mut changed = false;
    while at < text.len() {
        let rest = &text[at..];
        let mut covered = 0;
        for secret in &secrets {
            for next in readers.iter().flatten() {
                covered = covered.max(match begins(rest, secret, *next) {
                    Begins::Whole(length) => length,
                    Begins::Partly if cut => rest.len(),
                    Begins::Partly | Begins::Not => 0,
                });
            }
        }
        changed |= covered > 0;
        text[at..at + covered].fill(b'*');
        at += covered.max(1);
    }
    changed.then_some(text)
}

/// Reads the first character of a text, and says how many bytes spell it. `None` when the text ends within.
type Reader = fn(&[u8]) -> Option<(u8, usize)>;

/// The reader, where the text has the character without which it reads as [`plain`] does.
fn has(text: &[u8], mark: u8, reader: Reader) -> Option<Reader> {
    memchr::memchr(mark, text).map(|_| reader)
}

fn read_whole(text: &[u8], next: Reader) -> std::borrow::Cow<'_, [u8]> {
    if std::ptr::fn_addr_eq(next, plain as Reader) {
        return text.into();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some((byte, length)) = next(&text[at..]) {
        out.push(byte);
        at += length;
    }
    out.into()
}

/// The first character of what is percent-encoded (RFC 3986 section 2.1), however its digits are written.
fn percent(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [] | [b'%'] => None,
        [b'%', high] if high.is_ascii_hexdigit() => None,
        [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8;
            Some((digit(*high) * 16 + digit(*low), 3))
        }
        [byte, ..] => Some((*byte, 1)),
    }
}

/// How a text begins.
enum Begins {
    /// With the secret, in so many bytes.
    Whole(usize),
    /// With as much of the secret as there is text.
    Partly,
    /// With something else.
    Not,
}

/// Whether `text` begins with `secret`, spelt as `next` reads it.
fn begins(text: &[u8], secret: &[u8], next: Reader) -> Begins {
    let mut at = 0;
    for wanted in secret {
        match next(&text[at..]) {
            None => return Begins::Partly,
            Some((byte, length)) if byte == *wanted => at += length,
            Some(_) => return Begins::Not,
        }
    }
    Begins::Whole(at)
}

/// The first byte.
fn plain(text: &[u8]) -> Option<(u8, usize)> {
    text.first().map(|byte| (*byte, 1))
}

/// The first character of JSON's inside of a string, and the bytes of its spelling. `None` when the text ends within.
/// Secrets are ASCII: what is not, and what is no escape, is read as a NUL, which is in no header.
fn json(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [] | [b'\\'] => None,
        [b'\\', b'u', code @ ..] => {
            let digits = &code[..code.len().min(4)];
            let zeros = digits.iter().take(2).all(|digit| *digit == b'0');
            if !zeros || !digits.iter().all(u8::is_ascii_hexdigit) {
                return Some((0, 2));
            }
            let digits = std::str::from_utf8(digits.get(2..4)?).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, 6))
        }
        [b'\\', escaped @ (b'"' | b'\\' | b'/'), ..] => Some((*escaped, 2)),
        [b'\\', ..] => Some((0, 2)),
        [byte, ..] => Some((*byte, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Mask, cover};

    fn masked(secrets: &[&str], pieces: &[&str]) -> String {
        let mut mask = Mask::new(secrets.iter().map(|secret| secret.as_bytes())).unwrap();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&mask.push(piece.as_bytes()));
        }
        out.extend_from_slice(&mask.finish());
        assert!(mask.is_empty());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn secrets_are_covered_however_the_answer_is_cut() {
        let text = "x-api-key:KEYKEY12\\nx-amz-security-token:to/ken+==\\nKEYKEKEYKEY12 to\\/ken+==";
        let wanted = "x-api-key:********\\nx-amz-security-token:*********\\nKEYKE******** **********";
        let secrets = ["KEYKEY12", "to/ken+=="];
        assert_eq!(masked(&secrets, &[text]), wanted);
        for at in 0..text.len() {
            assert_eq!(masked(&secrets, &[&text[..at], &text[at..]]), wanted, "{at}");
        }
        let bytes: Vec<_> = text.split_inclusive(|_| true).collect();
        assert_eq!(masked(&secrets, &bytes), wanted);
    }

    #[test]
    fn nothing_to_mask() {
        assert!(Mask::new([&b""[..]].into_iter()).is_none());
        assert!(Mask::new([&b"invalid"[..]].into_iter()).is_none(), "too short to be told from a word");
        assert_eq!(masked(&["secret01"], &["no", "thing", " secret0"]), "nothing secret0");
    }

    #[test]
    fn json_escapes_hide_no_secret() {
        let secrets = ["to/ken+==", "quo\"te\\\\key"];
        for text in [
            r"to/ken+\u003d\u003d",
            r"to/ken+\u003D=",
            r"to/ken\u002b==",
            r"to\u002Fken\u002B\u003d\u003d",
            r"to\u002fken+==",
            r"\u0074o\/ken+==",
            r#"quo\"te\\\\key"#,
            r"quo\u0022te\u005c\u005Ckey",
            r#"quo"te\\key"#,
        ] {
            let wanted = format!("<{}>", "*".repeat(text.len()));
            let text = format!("<{text}>");
            assert_eq!(masked(&secrets, &[&text]), wanted);
            for at in 0..text.len() {
                assert_eq!(masked(&secrets, &[&text[..at], &text[at..]]), wanted, "{at}");
            }
        }
        for other in [r"to\u012fken+==", r"to\u00zzken+==", r"to\nken+==", r"to\u002"] {
            assert_eq!(masked(&secrets, &[other]), other);
        }
    }

    #[test]
    fn stars_and_secrets_in_secrets_end_too() {
        assert_eq!(masked(&["********"], &["a ********* b"]), "a ********* b");
        assert_eq!(masked(&["KEYKEY12", "KEYKEY1234"], &["KEYKEY1234 KEYKEY123"]), "********** ********3");
    }

    #[test]
    fn what_is_kept_is_covered_in_every_spelling_and_at_the_cut() {
        let secrets: [&[u8]; 2] = [b"to/ken+==", b"KEYKEY12"];
        let covered = |text: &str, cut| {
            cover(text.as_bytes(), &secrets, cut).map(|text| String::from_utf8(text).unwrap())
        };
        for (text, expected) in [
            ("a to/ken+== b", "a ********* b"),
            ("a to%2Fken%2b%3D= b", "a *************** b"),
            (r"a to\/ken\u002b== b", "a *************** b"),
            ("KEYKEY12KEYKEY12", "****************"),
        ] {
            assert_eq!(covered(text, false).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "nothing", "KEYKEY1", "to%2Fken", "%", r"\"] {
            assert_eq!(covered(text, false), None, "{text}");
        }
        assert_eq!(covered("a KEYKEY1", true).as_deref(), Some("a *******"));
        assert_eq!(covered("a to%2Fke%6", true).as_deref(), Some("a *********"));
        assert_eq!(covered("a nothing", true), None);
    }
}
