//! Masks secrets that a stage repeats in its answer.
//!
//! API Gateway's answer to a signature that does not match holds the canonical request, and with it the session token
//! and the API key in clear. Each secret is overwritten by as many stars, so that the length stays what it was said
//! to be; a secret that is split between two pieces of the answer is found as well.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// Overwrites secrets in a stream of pieces.
pub(super) struct Mask {
    secrets: Vec<Vec<u8>>,
    /// What may be the beginning of a secret, held back until more has come.
    held: BytesMut,
}

impl Mask {
    /// For these secrets, as sent and with `/` escaped as some JSON writers do. `None` when there is none.
    pub(super) fn new<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut spellings = Vec::new();
        for secret in secrets.filter(|secret| !secret.is_empty()) {
            if secret.contains(&b'/') {
                spellings.push(
                    secret
                        .iter()
                        .flat_map(|byte| if *byte == b'/' { &b"\\/"[..] } else { std::slice::from_ref(byte) })
                        .copied()
                        .collect(),
                );
            }
            spellings.push(secret.to_vec());
        }
        (!spellings.is_empty()).then(|| Self { secrets: spellings, held: BytesMut::new() })
    }

    /// What can be passed on now that `piece` has come.
    pub(super) fn push(&mut self, piece: &[u8]) -> Bytes {
        self.held.extend_from_slice(piece);
        self.cover();
        let keep = self.secrets.iter().map(|secret| partial_at_end(&self.held, secret)).max().unwrap_or(0);
        self.held.split_to(self.held.len() - keep).freeze()
    }

    /// What was held back, once nothing more comes.
    pub(super) fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Whether anything is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn cover(&mut self) {
        for secret in &self.secrets {
            while let Some(at) = memmem::find(&self.held, secret) {
                self.held[at..at + secret.len()].fill(b'*');
            }
        }
    }
}

/// How many of the last bytes of `text` begin `secret`.
fn partial_at_end(text: &[u8], secret: &[u8]) -> usize {
    let most = secret.len().saturating_sub(1).min(text.len());
    (1..=most).rev().find(|length| text[text.len() - length..] == secret[..*length]).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::Mask;

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
        let text = "x-api-key:KEYKEY1\\nx-amz-security-token:to/ken+==\\nKEYKEKEYKEY1 to\\/ken+==";
        let wanted = "x-api-key:*******\\nx-amz-security-token:*********\\nKEYKE******* **********";
        let secrets = ["KEYKEY1", "to/ken+=="];
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
        assert_eq!(masked(&["secret"], &["no", "thing", " secre"]), "nothing secre");
    }
}
