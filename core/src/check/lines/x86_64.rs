//! A line in SSE2 registers, which every x86-64 CPU has.

use core::arch::x86_64::{
    __m128i, _MM_HINT_T0, _mm_and_si128, _mm_cmpeq_epi8, _mm_load_si128, _mm_movemask_epi8,
    _mm_prefetch, _mm_sfence, _mm_store_si128, _mm_stream_si128,
};

/// A register's part of a line.
pub type Part = __m128i;

#[inline]
pub unsafe fn load(part: *const Part) -> Part {
    // SAFETY: aligned and readable, by the caller's promise.
    unsafe { _mm_load_si128(part) }
}

#[inline]
pub unsafe fn store(part: *mut Part, value: Part) {
    // SAFETY: aligned and writable, by the caller's promise.
    unsafe { _mm_store_si128(part, value) }
}

#[inline]
pub fn equal([a, b, c, d]: [Part; 4], [e, f, g, h]: [Part; 4]) -> bool {
    // SAFETY: SSE2.
    unsafe {
        let low = _mm_and_si128(_mm_cmpeq_epi8(a, e), _mm_cmpeq_epi8(b, f));
        let high = _mm_and_si128(_mm_cmpeq_epi8(c, g), _mm_cmpeq_epi8(d, h));
        _mm_movemask_epi8(_mm_and_si128(low, high)) == 0xffff
    }
}

#[inline]
pub fn prefetch(line: *const u8) {
    // SAFETY: a prefetch of any address faults nobody.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
}

/// As [`store`], past the caches: what is stored so is not read soon. [`stored`] ends it.
#[inline]
pub unsafe fn store_past_caches(part: *mut Part, value: Part) {
    // SAFETY: aligned and writable, by the caller's promise.
    unsafe { _mm_stream_si128(part, value) }
}

/// Whoever sees what is stored from now on sees what was stored past the caches before.
#[inline]
pub fn stored() {
    // SAFETY: SSE.
    unsafe { _mm_sfence() }
}
