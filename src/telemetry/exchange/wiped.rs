//! Bytes that are overwritten when they are dropped.

use std::ops::Deref;

/// As `zeroize` has it, which writes byte by byte and so takes microseconds for the heads of one request; here it is one
/// `memset`. That a compiler leaves it out is prevented as well as the standard library can, which is enough for what
/// elsewhere lies in header values that nobody wipes.
#[derive(Default)]
pub(super) struct Wiped(Vec<u8>);

impl Wiped {
    /// With room for so many bytes, which must do: grown, it would leave copies behind.
    pub(super) fn with_room(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// These pieces one after another.
    pub(super) fn of(pieces: &[&[u8]]) -> Self {
        let mut wiped = Self::with_room(pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            wiped.push(piece);
        }
        wiped
    }

    /// One piece more.
    pub(super) fn push(&mut self, piece: &[u8]) {
        debug_assert!(piece.len() <= self.0.capacity() - self.0.len(), "the room was counted");
        self.0.extend_from_slice(piece);
    }
}

impl Deref for Wiped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0);
    }
}
