//! Stores, and makes the stores durable.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::map::{Map, PAGE};

const ROUNDS: usize = 64;

pub fn run(path: &Path) -> io::Result<u8> {
    let map = Map::of(path)?;
    match map.file.write_at(b"by write", 0) {
        Ok(_) => println!("write(): accepted"),
        Err(error) => println!("write(): {error}"),
    }
    let (mut best, mut syncs) = (f64::INFINITY, 0);
    for round in 0..ROUNDS {
        let start = Instant::now();
        for page in (0..crate::SIZE).step_by(PAGE) {
            map.store(page, &round.to_le_bytes());
            map.sync(page)?;
            syncs += 1;
        }
        let each = start.elapsed().as_nanos() as f64 / (crate::SIZE / PAGE) as f64;
        best = best.min(each);
    }
    println!("{syncs} stores, each with its msync(): {best:.0} ns each");
    Ok(0)
}
