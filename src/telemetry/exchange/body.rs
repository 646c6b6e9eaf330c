//! A body as far as it is kept.

use super::secrets::Secrets;

/// Why nothing is kept of a body that is compressed.
pub(super) const COMPRESSED: &str = "it is compressed, so that secrets in it could not be covered";

/// What is kept of a body: none of it, its beginning, or all. Neither `Debug` nor serialisation shows it.
#[derive(Clone, Default)]
pub struct Body {
    bytes: Vec<u8>,
    length: u64,
    most: usize,
    /// Why nothing of it is kept, where that is not a matter of settings.
    why_not: Option<&'static str>,
}

impl Body {
    /// One of which at most so many bytes are kept.
    #[must_use]
    pub const fn keeping(most: usize) -> Self {
        Self { bytes: Vec::new(), length: 0, most, why_not: None }
    }

    /// One of which nothing is kept, as it is compressed.
    #[must_use]
    pub const fn compressed() -> Self {
        Self { bytes: Vec::new(), length: 0, most: 0, why_not: Some(COMPRESSED) }
    }

    /// One that was kept before: so much of it, of so many bytes.
    pub(super) fn restored(bytes: &[u8], length: u64, withheld: bool) -> Self {
        let why_not = withheld.then_some(COMPRESSED);
        Self { bytes: bytes.to_vec(), length, most: bytes.len(), why_not }
    }

    /// More of it has passed.
    pub fn push(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        let room = self.most - self.bytes.len();
        if room > 0 {
            self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        }
    }

    /// Nothing of it is kept any more.
    pub(in crate::telemetry) fn forget(&mut self) {
        self.bytes = Vec::new();
        self.most = 0;
    }

    /// Bytes that passed.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.length
    }

    /// Whether none passed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes that are kept.
    #[must_use]
    pub const fn kept(&self) -> usize {
        self.bytes.len()
    }

    /// Whether more passed than is kept.
    #[must_use]
    pub const fn is_truncated(&self) -> bool {
        self.length > self.bytes.len() as u64
    }

    /// Why nothing is kept although bodies are.
    #[must_use]
    pub const fn why_not(&self) -> Option<&'static str> {
        self.why_not
    }

    /// What is kept, with every secret, to send it again.
    #[must_use]
    pub fn exposed(&self) -> &[u8] {
        &self.bytes
    }

    /// What may be seen of what is kept.
    pub(super) fn shown(&self, secrets: &Secrets) -> Vec<u8> {
        let cut = self.is_truncated();
        secrets.cover(&self.bytes, cut).unwrap_or_else(|| self.bytes.clone())
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("length", &self.length)
            .field("kept", &self.bytes.len())
            .field("why_not", &self.why_not)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, COMPRESSED, Secrets};

    #[test]
    fn it_is_kept_up_to_its_limit() {
        let mut body = Body::keeping(5);
        for piece in ["abc", "", "defg", "h"] {
            body.push(piece.as_bytes());
        }
        assert_eq!((body.exposed(), body.len(), body.kept()), (&b"abcde"[..], 8, 5));
        assert!(body.is_truncated());
        let mut whole = Body::keeping(5);
        whole.push(b"abcde");
        assert!(!whole.is_truncated() && !whole.is_empty());
        let mut none = Body::compressed();
        none.push(b"abc");
        assert_eq!((none.kept(), none.len(), none.why_not()), (0, 3, Some(COMPRESSED)));
        assert!(Body::default().is_empty());
    }

    #[test]
    fn a_secret_is_covered_and_so_is_the_beginning_of_one_at_the_cut() {
        let secrets = Secrets::of([b"canary-secret".to_vec()]);
        let mut body = Body::keeping(20);
        body.push(b"a canary-secret bcanary-secret");
        assert_eq!(body.shown(&secrets), b"a ************* b***");
        assert!(!format!("{body:?}").contains("canary"));
    }
}
