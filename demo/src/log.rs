//! A log: the first bytes count the records, and each record has a line of its own.

use std::io;
use std::path::Path;

use crate::map::{Map, PAGE};

const RECORD: usize = 64;
const RECORDS: u32 = 19;

#[derive(PartialEq, Eq)]
pub enum Order {
    /// The record is durable before it is counted.
    Right,
    /// Both by one sync: a power cut may keep the count and lose the record.
    Wrong,
}

fn text(number: u32) -> [u8; 9] {
    let mut text = *b"record 00";
    let digits = format!("{number:02}");
    for (place, digit) in text.iter_mut().skip(7).zip(digits.bytes()) {
        *place = digit;
    }
    text
}

fn place(number: u32) -> usize {
    number as usize * RECORD
}

pub fn write(path: &Path, order: Order) -> io::Result<u8> {
    const { assert!((RECORDS as usize + 1) * RECORD <= PAGE) };
    let map = Map::of(path)?;
    for number in 1..=RECORDS {
        map.store(place(number), &text(number));
        if order == Order::Right {
            map.sync(0)?;
        }
        map.store(0, &number.to_le_bytes());
        map.sync(0)?;
    }
    Ok(0)
}

pub fn check(path: &Path) -> io::Result<u8> {
    let map = Map::of(path)?;
    let count = u32::from_le_bytes(map.load(0));
    for number in 1..=count.min(RECORDS) {
        if map.load(place(number)) != text(number) {
            println!("the log counts {count} records; record {number} is not there");
            return Ok(1);
        }
    }
    Ok(0)
}
