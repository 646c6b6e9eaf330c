//! SHA-256 (FIPS 180-4) of bodies as they come, and of many side by side.
//!
//! A hash is a chain: each step waits for the one before, and most of a core stands idle meanwhile. Where a thread has
//! many long bodies under way, it hashes their pieces side by side (`together`), if the processor is made for that
//! (`lanes`). Few bodies, and short pieces, are hashed as they come, by `sha2`.

mod lanes;
mod together;

pub use together::Long;

use bytes::Bytes;
use sha2::block_api::compress256;

/// What SHA-256 takes at once.
type Block = [u8; BLOCK];
const BLOCK: usize = 64;
/// A hash so far.
type State = [u32; 8];

/// The hash of nothing so far (section 5.3.3).
const START: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// A shorter piece is hashed as it comes: to wait for others costs more than it could gain. Longer than what TLS and HTTP/2
/// hand over at once (16 KiB), so only plain HTTP/1.1, which is read up to 128 KiB at a time, brings longer ones.
const LONG: usize = 32 << 10;

/// The hash of a body that comes in pieces.
pub struct Hash {
    state: State,
    /// The block that is begun, as far as `bytes` is past whole blocks.
    begun: Block,
    bytes: u64,
    /// Since its first long piece.
    long: Option<Long>,
}

impl Default for Hash {
    fn default() -> Self {
        Self { state: START, begun: [0; BLOCK], bytes: 0, long: None }
    }
}

impl Hash {
    /// Takes in the next piece. A long one may wait until what else can run has had its turn, to be hashed with others'.
    ///
    /// If this is dropped before it is done, the hash is of no more use.
    pub async fn update(&mut self, piece: &Bytes) {
        let mut taken = 0;
        let begun = self.begun();
        self.bytes += piece.len() as u64;
        if begun > 0 {
            taken = piece.len().min(BLOCK - begun);
            self.begun[begun..begun + taken].copy_from_slice(&piece[..taken]);
            if begun + taken < BLOCK {
                return;
            }
            compress256(&mut self.state, &[self.begun]);
        }
        let (blocks, rest) = piece[taken..].as_chunks();
        if piece.len() >= LONG && self.long.get_or_insert_default().are_many() {
            let blocks = piece.slice(taken..piece.len() - rest.len());
            self.state = together::compress(self.state, blocks).await;
        } else {
            compress256(&mut self.state, blocks);
        }
        self.begun[..rest.len()].copy_from_slice(rest);
    }

    /// The hash of all that came; and that it is long, if so.
    #[must_use]
    pub fn finish(mut self) -> ([u8; 32], Option<Long>) {
        // Section 5.1.1: a bit, zeros, and the length in bits as the last 8 bytes of a block.
        const LENGTH: usize = BLOCK - 8;
        let begun = self.begun();
        self.begun[begun..].fill(0);
        self.begun[begun] = 0x80;
        if begun >= LENGTH {
            compress256(&mut self.state, &[self.begun]);
            self.begun.fill(0);
        }
        self.begun[LENGTH..].copy_from_slice(&(self.bytes * 8).to_be_bytes());
        compress256(&mut self.state, &[self.begun]);
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        (digest, self.long)
    }

    /// How many bytes of a block are begun.
    const fn begun(&self) -> usize {
        (self.bytes % BLOCK as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Hash, LONG};
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::{
        runtime::{Builder, LocalOptions},
        time::timeout,
    };

    /// The reference is another implementation than the one beneath.
    fn reference(body: &[u8]) -> Vec<u8> {
        ring::digest::digest(&ring::digest::SHA256, body).as_ref().to_vec()
    }

    fn noise(length: usize, seed: u32) -> Vec<u8> {
        let mut x = seed | 1;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x as u8
        };
        (0..length).map(|_| next()).collect()
    }

    async fn hash(body: &[u8], cuts: &[usize]) -> [u8; 32] {
        let mut hash = Hash::default();
        let mut body = Bytes::copy_from_slice(body);
        for cut in cuts {
            hash.update(&body.split_to(*cut.min(&body.len()))).await;
            // As if the next piece had yet to come.
            tokio::task::yield_now().await;
        }
        hash.update(&body).await;
        hash.finish().0
    }

    /// On a runtime like a worker's.
    pub(super) fn here<F: Future>(test: F) -> F::Output {
        let runtime =
            Builder::new_current_thread().enable_time().build_local(LocalOptions::default()).unwrap();
        runtime
            .block_on(async { timeout(Duration::from_secs(60), test).await })
            .expect("nobody waits for ever")
    }

    #[test]
    fn every_length_around_a_block_is_hashed_right_wherever_it_is_cut() {
        here(async {
            for length in 0..=3 * BLOCK {
                let body = noise(length, length as u32);
                for cut in 0..=length {
                    assert_eq!(hash(&body, &[cut]).await[..], reference(&body), "{length} cut at {cut}");
                }
            }
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        /// Side by side, of lengths that do not agree.
        #[test]
        fn many_long_bodies_at_once_each_have_their_own_hash(
            bodies in prop::collection::vec((0..9 * LONG, prop::collection::vec(0..5 * LONG, 0..5)), 1..40),
        ) {
            let wrong = here(async {
                let tasks: Vec<_> = bodies.into_iter().enumerate().map(|(seed, (length, cuts))| {
                    tokio::task::spawn_local(async move {
                        let body = noise(length, seed as u32);
                        hash(&body, &cuts).await[..] != reference(&body)
                    })
                }).collect();
                let mut wrong = 0;
                for task in tasks {
                    wrong += usize::from(task.await.unwrap());
                }
                wrong
            });
            prop_assert_eq!(wrong, 0);
        }
    }
}
