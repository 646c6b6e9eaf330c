//! Long pieces of many bodies, hashed side by side: those that wait for that on one thread.
//!
//! The first that comes starts a task, which has its turn after all that can run before it; what comes meanwhile is hashed
//! with it. Nobody waits for a client: when what can run brings no more pieces, those that are there are hashed.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    marker::PhantomData,
    rc::Rc,
    task::Poll,
};

use bytes::Bytes;
use sha2::block_api::compress256;
use tokio::sync::oneshot;

use super::{
    Block, State,
    lanes::{self, Lanes, WIDTH},
};

thread_local! {
    static UNDER_WAY: Cell<usize> = const { Cell::new(0) };
    static WAITING: RefCell<Vec<Piece>> = const { RefCell::new(Vec::new()) };
}

/// One of the long bodies that are under way on this thread: best kept until its request is done, since the next
/// one then comes from the same client.
pub struct Long(PhantomData<Rc<()>>);

impl Default for Long {
    fn default() -> Self {
        UNDER_WAY.set(UNDER_WAY.get() + 1);
        Self(PhantomData)
    }
}

impl Drop for Long {
    fn drop(&mut self) {
        UNDER_WAY.set(UNDER_WAY.get() - 1);
    }
}

impl Long {
    /// Whether there are so many of them that a piece of one should wait for those of others.
    #[expect(clippy::unused_self, reason = "whoever asks is one of them")]
    pub(super) fn are_many(&self) -> bool {
        lanes::get().is_some_and(|lanes| UNDER_WAY.get() >= lanes.fewest)
    }
}

/// Whole blocks of a body that wait to be hashed.
struct Piece {
    state: State,
    blocks: Bytes,
    hashed: oneshot::Sender<State>,
}

/// The state after these blocks, which wait for others.
pub(super) async fn compress(mut state: State, blocks: Bytes) -> State {
    if how_many_wait() == 0 {
        tokio::task::spawn_local(hash_what_waits(End));
    }
    let (hashed, here) = oneshot::channel();
    WAITING.with_borrow_mut(|waiting| waiting.push(Piece { state, blocks: blocks.clone(), hashed }));
    if let Ok(state) = here.await {
        return state;
    }
    // The task is gone that should have done it: others' trouble is no reason to fail this request.
    compress256(&mut state, blocks.as_chunks().0);
    state
}

/// However the task ends, and if it never begins, nobody waits for it afterwards.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        // A thread that ends may have dropped the list already.
        let _ = WAITING.try_with(RefCell::take);
    }
}

/// Hashes until nothing waits, a group at a time.
async fn hash_what_waits(_end: End) {
    while how_many_wait() > 0 {
        await_the_others().await;
        let mut group: Vec<_> = WAITING.with_borrow_mut(|waiting| {
            // Whoever waited for these has left.
            waiting.retain(|piece| !piece.hashed.is_closed());
            let count = waiting.len().min(WIDTH);
            waiting.drain(..count).collect()
        });
        hash(&mut group, lanes::get());
        for Piece { state, hashed, .. } in group {
            // Nobody leaves in between.
            let _ = hashed.send(state);
        }
    }
}

/// Gives all else that can run its turn, and again as long as that brings more pieces and more can come.
async fn await_the_others() {
    loop {
        let before = how_many_wait();
        // First what has come from outside. Of those that yield, as every connection does that has read much, tokio wakes the
        // last one first: so once more behind them.
        tokio::task::yield_now().await;
        to_the_end_of_the_queue().await;
        let now = how_many_wait();
        if now <= before || now >= WIDTH.min(UNDER_WAY.get()) {
            return;
        }
    }
}

async fn to_the_end_of_the_queue() {
    let mut is_there = false;
    poll_fn(|cx| {
        if is_there {
            return Poll::Ready(());
        }
        is_there = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

fn how_many_wait() -> usize {
    WAITING.with_borrow(Vec::len)
}

/// Side by side for as long as there are enough of them, then one by one.
fn hash(group: &mut [Piece], lanes: Option<Lanes>) {
    let mut left: Vec<(&mut State, &[Block])> =
        group.iter_mut().map(|piece| (&mut piece.state, piece.blocks.as_chunks().0)).collect();
    if let Some(Lanes { compress, fewest }) = lanes {
        while left.len() >= fewest {
            let count = left.iter().map(|(_, blocks)| blocks.len()).min().unwrap_or_default();
            let mut states: Vec<_> = left.iter().map(|(state, _)| **state).collect();
            let blocks: Vec<_> = left.iter().map(|(_, blocks)| &blocks[..count]).collect();
            compress(&mut states, &blocks);
            for ((state, blocks), after) in left.iter_mut().zip(states) {
                **state = after;
                *blocks = &blocks[count..];
            }
            left.retain(|(_, blocks)| !blocks.is_empty());
        }
    }
    for (state, blocks) in left {
        compress256(state, blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::{Lanes, Long, Piece, UNDER_WAY, WIDTH, await_the_others, compress, hash, how_many_wait};
    use crate::sha256::{
        BLOCK, Hash, LONG, START, State,
        lanes::{self, noted::calls},
        tests::here,
    };
    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use sha2::block_api::compress256;
    use std::pin::pin;
    use tokio::{
        sync::oneshot,
        task::{JoinHandle, spawn_local, yield_now},
    };

    fn blocks(count: usize, seed: usize) -> Bytes {
        (0..count * BLOCK).map(|at| (at * (2 * seed + 1) / 7) as u8).collect()
    }

    fn alone(blocks: &Bytes) -> State {
        let mut state = START;
        compress256(&mut state, blocks.as_chunks().0);
        state
    }

    fn fewest() -> usize {
        lanes::get().unwrap().fewest
    }

    /// So many bodies that each hand in a piece, and whether they get its hash.
    fn hand_in(count: usize) -> Vec<JoinHandle<bool>> {
        let one = |n: usize| async move {
            let _counted = Long::default();
            // The others are under way before the first hands in anything.
            yield_now().await;
            let blocks = blocks(3, n);
            compress(START, blocks.clone()).await == alone(&blocks)
        };
        (0..count).map(|n| spawn_local(one(n))).collect()
    }

    async fn all_are_hashed(tasks: Vec<JoinHandle<bool>>) {
        for (n, task) in tasks.into_iter().enumerate() {
            assert!(task.await.unwrap(), "{n}");
        }
        assert_eq!((how_many_wait(), UNDER_WAY.get()), (0, 0));
    }

    #[test]
    fn pieces_of_any_length_go_side_by_side_for_as_long_as_there_are_enough() {
        let counts = [7, 3, 7, 12, 1, 9];
        let mut group: Vec<_> = (0..)
            .zip(counts)
            .map(|(n, count)| Piece { state: START, blocks: blocks(count, n), hashed: oneshot::channel().0 })
            .collect();
        let lanes = lanes::get().map(|lanes| Lanes { fewest: 3, ..lanes });
        hash(&mut group, lanes);
        assert_eq!(calls(), [(6, 1), (5, 2), (4, 4)], "then two are left, with 2 and 5 blocks");
        for (n, piece) in group.iter().enumerate() {
            assert_eq!(piece.state, alone(&piece.blocks), "{n}");
        }
    }

    #[test]
    fn what_comes_in_one_turn_is_hashed_together() {
        here(async {
            for count in [fewest(), WIDTH] {
                all_are_hashed(hand_in(count)).await;
                assert_eq!(calls(), [(count, 3)]);
            }
            all_are_hashed(hand_in(2 * WIDTH + fewest())).await;
            assert_eq!(calls(), [(WIDTH, 3), (WIDTH, 3), (fewest(), 3)]);
            all_are_hashed(hand_in(fewest() - 1)).await;
            assert_eq!(calls(), [], "so few go one by one");
        });
    }

    #[test]
    fn who_comes_a_turn_later_is_hashed_with_those_before() {
        here(async {
            let first = spawn_local(async { compress(START, blocks(3, 0)).await == alone(&blocks(3, 0)) });
            let mut tasks = hand_in(WIDTH - 1);
            tasks.push(first);
            all_are_hashed(tasks).await;
            assert_eq!(calls(), [(WIDTH, 3)]);
        });
    }

    #[test]
    fn nobody_waits_for_those_who_bring_nothing() {
        here(async {
            let idle: Vec<_> = (0..2 * WIDTH).map(|_| Long::default()).collect();
            for task in hand_in(fewest()) {
                assert!(task.await.unwrap());
            }
            assert_eq!(calls(), [(fewest(), 3)]);
            drop(idle);
        });
    }

    #[test]
    fn as_long_as_more_come_they_are_awaited() {
        here(async {
            let counted: Vec<_> = (0..WIDTH - 1).map(|_| Long::default()).collect();
            let mut pieces = Vec::new();
            let mut bring = |count: usize| {
                for n in 0..count {
                    let mut piece = Box::pin(compress(START, blocks(3, n)));
                    assert!(piece.as_mut().now_or_never().is_none());
                    pieces.push(piece);
                }
            };
            // A turn is to the network, and then to the end of the queue.
            let mut awaiting = pin!(await_the_others());
            let mut ends = |after: usize| (0..after).any(|_| awaiting.as_mut().now_or_never().is_some());
            assert!(!ends(2), "it begins, and yields");
            bring(1);
            assert!(!ends(2), "this turn brought one");
            assert!(ends(1), "this one none");

            let mut awaiting = pin!(await_the_others());
            let mut ends = |after: usize| (0..after).any(|_| awaiting.as_mut().now_or_never().is_some());
            assert!(!ends(2));
            bring(WIDTH - 2);
            assert!(ends(1), "all who are under way wait");
            drop(counted);
        });
    }

    #[test]
    fn who_leaves_is_not_hashed_and_holds_nobody_up() {
        here(async {
            let piece = |n| Box::pin(compress(START, blocks(3, n)));
            let mut pieces: Vec<_> = (0..WIDTH).map(piece).collect();
            for piece in &mut pieces {
                assert!(piece.as_mut().now_or_never().is_none());
            }
            assert_eq!(how_many_wait(), WIDTH);
            drop(pieces.remove(7));
            drop(pieces.remove(0));
            for piece in pieces {
                piece.await;
            }
            assert_eq!((calls(), how_many_wait()), (vec![(WIDTH - 2, 3)], 0));
            // Whoever is left alone leaves nothing behind that would keep the next from being hashed.
            assert!(piece(1).as_mut().now_or_never().is_none());
            assert_eq!(piece(2).await, alone(&blocks(3, 2)));
        });
    }

    #[test]
    fn what_waits_is_hashed_even_if_the_task_for_it_is_gone() {
        let blocks = blocks(3, 1);
        let mut waits = Box::pin(compress(START, blocks.clone()));
        here(async { assert!(waits.as_mut().now_or_never().is_none()) });
        // Its runtime has ended, and the task with it.
        assert_eq!(waits.now_or_never(), Some(alone(&blocks)));
        here(async { all_are_hashed(hand_in(fewest())).await });
    }

    #[test]
    fn few_bodies_and_short_pieces_wait_for_nobody() {
        let long = Bytes::from(vec![b'x'; LONG]);
        let others = |count| (0..count).map(|_| Long::default()).collect::<Vec<_>>();
        let few = others(fewest() - 2);
        assert!(Hash::default().update(&long).now_or_never().is_some());
        let many = others(1);
        assert!(Hash::default().update(&long.slice(1..)).now_or_never().is_some());
        let mut waits = Hash::default();
        here(async {
            assert!(waits.update(&long).now_or_never().is_none());
            assert_eq!(UNDER_WAY.get(), fewest());
        });
        drop((few, many, waits));
        assert_eq!((how_many_wait(), UNDER_WAY.get()), (0, 0));
    }

    #[test]
    fn a_long_body_counts_from_its_first_long_piece_until_it_is_dropped() {
        let mut hash = Hash::default();
        hash.update(&Bytes::from_static(b"short")).now_or_never().unwrap();
        assert_eq!(UNDER_WAY.get(), 0);
        for _ in 0..2 {
            hash.update(&Bytes::from(vec![b'x'; LONG])).now_or_never().unwrap();
            assert_eq!(UNDER_WAY.get(), 1);
        }
        let (_, long) = hash.finish();
        assert_eq!(UNDER_WAY.get(), 1);
        drop(long);
        assert_eq!(UNDER_WAY.get(), 0);
    }
}
