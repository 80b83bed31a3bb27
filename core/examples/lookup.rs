//! What a lookup in the interval map costs, of random addresses in 10,000 mappings: by one thread, and
//! by several at once. Prints nanoseconds a lookup; run by scripts/bench.
//!
//! No address comes twice, so no branch can be learnt. Lookups are timed in blocks short enough to end
//! between two interruptions, and the least of them counts: what other programs do to this one is not
//! the map's.

use daxshim_core::regions::{Region, Regions};
use std::hint::black_box;
use std::time::Instant;

const MAPPINGS: usize = 10_000;
const LENGTH: usize = 0x2000;
const BLOCK: usize = 4_000;
const BLOCKS: usize = 500;

fn main() {
    // SAFETY: all-zero is an empty map, as the module says.
    let map = unsafe { Box::<Regions>::new_zeroed().assume_init() };
    for i in 0..MAPPINGS {
        let start = 2 * i * LENGTH;
        let region = Region {
            start,
            end: start + LENGTH,
            data_end: start + LENGTH,
            attributes: 0,
            origin: start,
        };
        map.write().insert(region).expect("room for all");
    }
    // Always 0, which only the lookup knows.
    let lookup = |address| match map.at_or_after(address) {
        Ok(Some(region)) => region.attributes,
        _ => usize::MAX,
    };
    let beyond = black_box(usize::BITS - 1);
    let nothing = |address| address >> beyond;
    for threads in [1, 2] {
        let each = at_once(threads, || least::<false>(lookup) - least::<false>(nothing));
        let waiting = at_once(threads, || least::<true>(lookup) - least::<true>(nothing));
        println!(
            "{threads} threads, {MAPPINGS} mappings: {each:.1} ns a lookup, \
             {waiting:.1} ns where the next address depends on it"
        );
    }
}

/// The most that `measure` says in so many threads.
fn at_once(threads: usize, measure: impl Fn() -> f64 + Sync) -> f64 {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(&measure)).collect();
        let mine = measure();
        let theirs = others
            .into_iter()
            .map(|other| other.join().expect("no panic"));
        theirs.fold(mine, f64::max)
    })
}

/// Nanoseconds of a call of `lookup`, in the best block. If the next address `DEPENDS` on it, what it
/// returns is added to what that is made of.
fn least<const DEPENDS: bool>(lookup: impl Fn(usize) -> usize) -> f64 {
    let (mut random, mut sum) = (88_172_645_463_325_252_u64, 0);
    let mut block = || {
        let started = Instant::now();
        for _ in 0..BLOCK {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let found = lookup((random as usize % (2 * MAPPINGS * LENGTH)) & !LENGTH);
            if DEPENDS {
                random += found as u64;
            }
            sum += found;
        }
        started.elapsed().as_secs_f64() * 1e9 / BLOCK as f64
    };
    let least = (0..BLOCKS).map(|_| block()).fold(f64::INFINITY, f64::min);
    assert_eq!(sum, 0, "found none");
    least
}
