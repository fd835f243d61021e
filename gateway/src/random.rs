//! Random numbers for choices and identifiers. Seeded by the operating system, different in each
//! thread and process; not for secrets.

use std::{
    cell::Cell,
    hash::{BuildHasher, Hasher, RandomState},
};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
}

/// 64 random bits (the SplitMix64 generator).
pub(crate) fn bits() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// A number below `bound`, which is not 0. The tiny bias is of no matter for choices.
pub(crate) fn below(bound: usize) -> usize {
    let wide = u128::from(bits()) * (bound as u128);
    (wide >> 64) as usize
}
