//! What a lookup in the interval map costs, with 10,000 mappings: by one thread, and by several at
//! once. Prints nanoseconds a lookup; run by scripts/bench.

use daxshim_core::regions::{Region, Regions};
use std::hint::black_box;
use std::time::Instant;

const MAPPINGS: usize = 10_000;
const LOOKUPS: usize = 1_000_000;
const RUNS: usize = 5;

fn main() {
    // SAFETY: all-zero is an empty map, as the module says.
    let map = unsafe { Box::<Regions>::new_zeroed().assume_init() };
    for i in 0..MAPPINGS {
        let start = i * 0x4000;
        let region = Region {
            start,
            end: start + 0x2000,
            data_end: start + 0x2000,
            attributes: i,
            origin: start,
        };
        map.insert(region).expect("room for all");
    }
    for threads in [1, 2] {
        // The least of some runs: what other programs do to this one is not the map's.
        let least = (0..RUNS)
            .map(|_| run(&map, threads))
            .fold(f64::INFINITY, f64::min);
        println!("{threads} threads, {MAPPINGS} mappings: {least:.1} ns a lookup");
    }
}

fn run(map: &Regions, threads: u32) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let mut random = u64::from(thread) + 88_172_645_463_325_252;
                for _ in 0..LOOKUPS {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let address = random as usize % (MAPPINGS * 0x4000);
                    let _ = black_box(map.at_or_after(black_box(address)));
                }
            });
        }
    });
    started.elapsed().as_secs_f64() * 1e9 / LOOKUPS as f64
}
