//! A record at the end of one page, and a sync of another.

use std::io;
use std::path::Path;

use crate::map::{Map, PAGE};

const BALANCE: usize = PAGE + 904;

#[inline(never)]
pub fn run(path: &Path) -> io::Result<u8> {
    let map = Map::of(path)?;
    deposit(&map, 100)?;
    Ok(0)
}

#[inline(never)]
fn deposit(map: &Map, amount: u64) -> io::Result<()> {
    map.store(BALANCE, &amount.to_le_bytes());
    map.sync(0) // the balance lies in the second page
}
