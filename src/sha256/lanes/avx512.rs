//! The steps of SHA-256 (FIPS 180-4, section 6.2) in the lanes of AVX-512: each word of a register belongs to another hash,
//! so what is written here once happens sixteen times.

use std::{
    arch::{
        is_x86_feature_detected,
        x86_64::{
            __m512i, _mm_extract_epi32, _mm_set_epi8, _mm512_add_epi32, _mm512_broadcast_i32x4,
            _mm512_extracti32x4_epi32, _mm512_ror_epi32, _mm512_set_epi32, _mm512_set_epi64,
            _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4,
            _mm512_srli_epi32, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
            _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
        },
    },
    array,
};

use super::{Block, Lanes, State, WIDTH};

/// A word of each of the sixteen hashes.
type Words = __m512i;

/// The constants of the 64 steps (section 4.2.2).
#[rustfmt::skip]
const K: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// What this processor can. However few of the lanes are used, they take the time of eight hashes one after the other with
/// the processor's SHA instructions, and of two without them (docs/performance.md); the wait comes on top.
pub(super) fn get() -> Option<Lanes> {
    let can = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    can.then(|| Lanes { compress, fewest: if is_x86_feature_detected!("sha") { 10 } else { 3 } })
}

/// Only [`get`] hands this out, and only where the processor can.
#[expect(unsafe_code, reason = "calls what is compiled for a processor that may not be there")]
fn compress(states: &mut [State], blocks: &[&[Block]]) {
    // SAFETY: `get` found the features that `compress_all` is compiled for, and nothing else has this function.
    unsafe { compress_all(states, blocks) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn compress_all(states: &mut [State], blocks: &[&[Block]]) {
    let count = states.len();
    // A lane that nobody uses does what the first one does.
    let lane = |n: usize| if n < count { n } else { 0 };
    let mut all: [Words; 8] = array::from_fn(|word| words(array::from_fn(|n| states[lane(n)][word])));
    let blocks: [&[Block]; WIDTH] = array::from_fn(|n| blocks[lane(n)]);
    for at in 0..blocks[0].len() {
        let mut rows = [_mm512_setzero_si512(); WIDTH];
        for (words, blocks) in rows.iter_mut().zip(&blocks) {
            *words = row(&blocks[at]);
        }
        compress_one(&mut all, transposed(&rows));
    }
    for (word, all) in all.into_iter().enumerate() {
        for (state, value) in states.iter_mut().zip(each(all)) {
            state[word] = value;
        }
    }
}

/// One block of each hash (section 6.2.2).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
#[expect(clippy::many_single_char_names, reason = "they are the standard's")]
fn compress_one(state: &mut [Words; 8], mut w: [Words; 16]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    // Sixteen steps at a time are unrolled, so that all of `w` is in registers.
    for (sixteen, k) in K.as_chunks::<16>().0.iter().enumerate() {
        for t in 0..16 {
            if sixteen > 0 {
                w[t] = add(
                    add(w[t], sigma::<7, 18, 3>(w[(t + 1) % 16])),
                    add(w[(t + 9) % 16], sigma::<17, 19, 10>(w[(t + 14) % 16])),
                );
            }
            let k = _mm512_set1_epi32(k[t].cast_signed());
            let t1 = add(add(add(h, k), w[t]), add(rotations::<6, 11, 25>(e), choice(e, f, g)));
            let t2 = add(rotations::<2, 13, 22>(a), majority(a, b, c));
            (h, g, f, e, d, c, b, a) = (g, f, e, add(d, t1), c, b, a, add(t1, t2));
        }
    }
    for (before, after) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *before = add(*before, after);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(x: Words, y: Words) -> Words {
    _mm512_add_epi32(x, y)
}

/// Of three bits the outcome that stands in `TABLE` at their place.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn of_three<const TABLE: i32>(x: Words, y: Words, z: Words) -> Words {
    _mm512_ternarylogic_epi32::<TABLE>(x, y, z)
}

/// `Ch` (4.2).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn choice(x: Words, y: Words, z: Words) -> Words {
    of_three::<0b1100_1010>(x, y, z)
}

/// `Maj` (4.3).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn majority(x: Words, y: Words, z: Words) -> Words {
    of_three::<0b1110_1000>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn parity(x: Words, y: Words, z: Words) -> Words {
    of_three::<0b1001_0110>(x, y, z)
}

/// The large sigmas (4.4, 4.5).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rotations<const A: i32, const B: i32, const C: i32>(x: Words) -> Words {
    parity(_mm512_ror_epi32::<A>(x), _mm512_ror_epi32::<B>(x), _mm512_ror_epi32::<C>(x))
}

/// The small sigmas (4.6, 4.7).
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sigma<const A: i32, const B: i32, const SHIFT: u32>(x: Words) -> Words {
    parity(_mm512_ror_epi32::<A>(x), _mm512_ror_epi32::<B>(x), _mm512_srli_epi32::<SHIFT>(x))
}

/// The sixteen words of one block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn row(block: &Block) -> Words {
    let eight: [i64; 8] = array::from_fn(|n| i64::from_le_bytes(block.as_chunks().0[n]));
    let bytes =
        _mm512_set_epi64(eight[7], eight[6], eight[5], eight[4], eight[3], eight[2], eight[1], eight[0]);
    // Words are big-endian in a block.
    let order = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(order))
}

/// Which quarters of two registers.
const EVEN: i32 = 0b10_00_10_00;
const ODD: i32 = 0b11_01_11_01;

/// Two quarters of each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn quarters<const WHICH: i32>(x: Words, y: Words) -> Words {
    _mm512_shuffle_i32x4::<WHICH>(x, y)
}

/// Rows become columns: the first words of all blocks come first, and so on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transposed(rows: &[Words; 16]) -> [Words; 16] {
    let mut pairs = *rows;
    for n in (0..16).step_by(2) {
        pairs[n] = _mm512_unpacklo_epi32(rows[n], rows[n + 1]);
        pairs[n + 1] = _mm512_unpackhi_epi32(rows[n], rows[n + 1]);
    }
    // Of four rows, in each quarter of a register, the same column.
    let mut fours = *rows;
    for n in (0..16).step_by(4) {
        let [a, b, c, d] = [pairs[n], pairs[n + 1], pairs[n + 2], pairs[n + 3]];
        fours[n] = _mm512_unpacklo_epi64(a, c);
        fours[n + 1] = _mm512_unpackhi_epi64(a, c);
        fours[n + 2] = _mm512_unpacklo_epi64(b, d);
        fours[n + 3] = _mm512_unpackhi_epi64(b, d);
    }
    let mut columns = *rows;
    for n in 0..4 {
        let [a, b, c, d] = [fours[n], fours[4 + n], fours[8 + n], fours[12 + n]];
        let (ab, cd) = (quarters::<EVEN>(a, b), quarters::<EVEN>(c, d));
        columns[n] = quarters::<EVEN>(ab, cd);
        columns[8 + n] = quarters::<ODD>(ab, cd);
        let (ab, cd) = (quarters::<ODD>(a, b), quarters::<ODD>(c, d));
        columns[4 + n] = quarters::<EVEN>(ab, cd);
        columns[12 + n] = quarters::<ODD>(ab, cd);
    }
    columns
}

/// The words, one by one.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn each(words: Words) -> [u32; 16] {
    let quarters = [
        _mm512_extracti32x4_epi32::<0>(words),
        _mm512_extracti32x4_epi32::<1>(words),
        _mm512_extracti32x4_epi32::<2>(words),
        _mm512_extracti32x4_epi32::<3>(words),
    ];
    let mut each = [0; 16];
    for (four, quarter) in each.as_chunks_mut::<4>().0.iter_mut().zip(quarters) {
        *four = [
            _mm_extract_epi32::<0>(quarter),
            _mm_extract_epi32::<1>(quarter),
            _mm_extract_epi32::<2>(quarter),
            _mm_extract_epi32::<3>(quarter),
        ]
        .map(i32::cast_unsigned);
    }
    each
}

/// A word of each hash.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn words(each: [u32; 16]) -> Words {
    let w = each.map(u32::cast_signed);
    _mm512_set_epi32(
        w[15], w[14], w[13], w[12], w[11], w[10], w[9], w[8], w[7], w[6], w[5], w[4], w[3], w[2], w[1], w[0],
    )
}
