//! Sixteen SHA-256 side by side, if the processor is made for that.

use super::{Block, State};

#[cfg(target_arch = "x86_64")]
mod avx512;

/// The most hashes that go side by side.
pub(super) const WIDTH: usize = 16;

/// What takes many hashes on at once.
#[derive(Clone, Copy)]
pub(super) struct Lanes {
    /// Takes each state past the blocks of its own. There are as many of the one as of the other, at least one and no more
    /// than [`WIDTH`], and as many blocks for each.
    pub(super) compress: fn(&mut [State], &[&[Block]]),
    /// From how many on that is quicker than one by one, a wait for each other included.
    pub(super) fewest: usize,
}

/// What this processor has for it, if anything.
#[cfg(not(test))]
pub(super) use of_the_processor as get;

pub(super) fn of_the_processor() -> Option<Lanes> {
    #[cfg(target_arch = "x86_64")]
    return avx512::get();
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// In tests every processor has something, and what it is asked is noted.
#[cfg(test)]
pub(super) use noted::get;

#[cfg(test)]
pub(super) mod noted {
    use super::{Block, Lanes, State, WIDTH, of_the_processor};
    use sha2::block_api::compress256;
    use std::cell::RefCell;

    thread_local! {
        static CALLS: RefCell<Vec<(usize, usize)>> = const { RefCell::new(Vec::new()) };
    }

    #[expect(clippy::unnecessary_wraps, reason = "as outside of tests")]
    pub(in super::super) fn get() -> Option<Lanes> {
        Some(Lanes { compress, fewest: of_the_processor().map_or(10, |lanes| lanes.fewest) })
    }

    /// For how many hashes it was called on this thread since this was asked last, and with how many blocks of each.
    pub(in super::super) fn calls() -> Vec<(usize, usize)> {
        CALLS.take()
    }

    fn compress(states: &mut [State], blocks: &[&[Block]]) {
        assert_eq!(states.len(), blocks.len());
        assert!(states.len() <= WIDTH && blocks.iter().all(|each| each.len() == blocks[0].len()));
        CALLS.with_borrow_mut(|calls| calls.push((states.len(), blocks[0].len())));
        match of_the_processor() {
            Some(lanes) => (lanes.compress)(states, blocks),
            None => states.iter_mut().zip(blocks).for_each(|(state, blocks)| compress256(state, blocks)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{WIDTH, get};
    use crate::sha256::{BLOCK, Block, State};
    use proptest::prelude::*;
    use sha2::block_api::compress256;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the states and blocks are, and however many lanes are used. On a processor that has no lanes this says
        /// nothing of them.
        #[test]
        fn each_lane_does_what_one_hash_does(
            states in prop::collection::vec(any::<State>(), 1..=WIDTH),
            bytes in prop::collection::vec(any::<u8>(), WIDTH * 5 * BLOCK),
            count in 0_usize..=5,
        ) {
            let blocks: Vec<&[Block]> =
                bytes.as_chunks().0.chunks(5).take(states.len()).map(|all| &all[..count]).collect();
            let alone = |(state, blocks): (&State, &&[Block])| {
                let mut state = *state;
                compress256(&mut state, blocks);
                state
            };
            let expected: Vec<State> = states.iter().zip(&blocks).map(alone).collect();
            let mut states = states;
            (get().unwrap().compress)(&mut states, &blocks);
            prop_assert_eq!(states, expected);
        }
    }
}
