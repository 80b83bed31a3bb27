//! A line in NEON registers, which every aarch64 CPU with Linux has.

use core::arch::aarch64::{uint8x16_t, vandq_u8, vceqq_u8, vld1q_u8, vminvq_u8, vst1q_u8};

/// A register's part of a line.
pub type Part = uint8x16_t;

#[inline]
pub unsafe fn load(part: *const Part) -> Part {
    // SAFETY: readable, by the caller's promise.
    unsafe { vld1q_u8(part.cast()) }
}

#[inline]
pub unsafe fn store(part: *mut Part, value: Part) {
    // SAFETY: writable, by the caller's promise.
    unsafe { vst1q_u8(part.cast(), value) }
}

#[inline]
pub fn equal([a, b, c, d]: [Part; 4], [e, f, g, h]: [Part; 4]) -> bool {
    // SAFETY: NEON.
    unsafe {
        let low = vandq_u8(vceqq_u8(a, e), vceqq_u8(b, f));
        let high = vandq_u8(vceqq_u8(c, g), vceqq_u8(d, h));
        vminvq_u8(vandq_u8(low, high)) == u8::MAX
    }
}

/// Nothing: Rust has no stable prefetch here.
#[inline]
pub fn prefetch(_line: *const u8) {}

/// As [`store`]: Rust has no stable one past the caches here.
#[inline]
pub unsafe fn store_past_caches(part: *mut Part, value: Part) {
    // SAFETY: the caller's promise.
    unsafe { store(part, value) }
}

/// Nothing: what [`store`] does is ordered by whoever gives it away.
#[inline]
pub fn stored() {}
