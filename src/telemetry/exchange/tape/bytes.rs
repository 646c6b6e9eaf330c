//! The bytes of a tape, in buffers that are used again.

use std::{
    cell::RefCell,
    time::{SystemTime, UNIX_EPOCH},
};

/// Buffers that a thread keeps, and the largest that it does.
const SPARE: usize = 64;
const SPARE_BYTES: usize = 16 << 10;

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// The bytes of a tape. Their buffer is used again, and so written over; one that is not is wiped. What a buffer leaves
/// behind as it grows is not: a few times for each thread, as it begins.
pub(in crate::telemetry::exchange) struct TapeBytes(Vec<u8>);

impl TapeBytes {
    /// None so far.
    pub(super) fn empty() -> Self {
        Self(SPARES.with_borrow_mut(Vec::pop).unwrap_or_default())
    }

    /// A copy.
    pub(in crate::telemetry::exchange) fn of(pieces: [&[u8]; 2]) -> Self {
        Self(pieces.concat())
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn raw<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.extend_from_slice(&bytes);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.raw(number.to_ne_bytes());
    }

    /// Nanoseconds since the Unix epoch.
    pub(super) fn time(&mut self, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.number(since.as_nanos() as u64);
    }

    /// Its length before it.
    pub(super) fn text(&mut self, text: &[u8]) {
        // Heads and what is kept of bodies are far below 4 GiB.
        self.raw((text.len() as u32).to_ne_bytes());
        self.slice(text);
    }

    /// Nothing before it.
    pub(super) fn slice(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Writes over what was written there.
    pub(super) fn again<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        self.0[at..at + N].copy_from_slice(&bytes);
    }
}

impl std::ops::Deref for TapeBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for TapeBytes {
    fn drop(&mut self) {
        if (1..=SPARE_BYTES).contains(&self.0.capacity()) {
            let is_kept = SPARES.try_with(|spares| {
                let mut spares = spares.borrow_mut();
                let has_room = spares.len() < SPARE;
                if has_room {
                    self.0.clear();
                    spares.push(std::mem::take(&mut self.0));
                }
                has_room
            });
            if is_kept == Ok(true) {
                return;
            }
        }
        self.0.fill(0);
        std::hint::black_box(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{SPARE, SPARES, TapeBytes};

    fn written() -> TapeBytes {
        let mut bytes = TapeBytes::empty();
        bytes.text(b"canary");
        bytes
    }

    #[test]
    fn a_buffer_is_used_again() {
        std::thread::spawn(|| {
            drop(written());
            let capacity = SPARES.with_borrow(|spares| {
                assert_eq!(spares.len(), 1);
                spares[0].capacity()
            });
            let again = TapeBytes::empty();
            assert!(again.is_empty());
            assert_eq!((SPARES.with_borrow(Vec::len), again.0.capacity()), (0, capacity));
            drop((0..2 * SPARE).map(|_| written()).collect::<Vec<_>>());
            assert_eq!(SPARES.with_borrow(Vec::len), SPARE);
        })
        .join()
        .unwrap();
    }
}
