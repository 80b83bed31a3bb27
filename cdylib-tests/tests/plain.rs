//! The library's own memcpy and its like, which no program gets: here in the place of libc's.

#[path = "../../src/ground/plain.rs"]
mod plain;

use std::ffi::{c_int, c_void};

unsafe extern "C" {
    fn memcpy(to: *mut c_void, from: *const c_void, length: usize) -> *mut c_void;
    fn memmove(to: *mut c_void, from: *const c_void, length: usize) -> *mut c_void;
    fn memset(to: *mut c_void, byte: c_int, length: usize) -> *mut c_void;
    fn memcmp(one: *const c_void, other: *const c_void, length: usize) -> c_int;
    fn strlen(text: *const i8) -> usize;
}

const ROOM: usize = 512;

fn pattern() -> [u8; ROOM] {
    std::array::from_fn(|i| (i * 7 + i / 256) as u8)
}

#[test]
fn bytes_are_moved_whatever_overlaps() {
    for length in 0..150 {
        for from in [0, 1, 15, 16, 31, 64, 100, 200] {
            for to in [0, 1, 17, 32, 63, 99, 101, 130, 201, 300] {
                let mut expected = pattern();
                expected[to..to + length].copy_from_slice(&pattern()[from..from + length]);
                let mut bytes = pattern();
                let base = bytes.as_mut_ptr();
                // SAFETY: both ranges lie within the array.
                let result = unsafe { memmove(base.add(to).cast(), base.add(from).cast(), length) };
                assert_eq!(result, base.wrapping_add(to).cast());
                assert!(bytes == expected, "memmove {length} bytes {from} -> {to}");
                let (mut bytes, source) = (pattern(), pattern());
                // SAFETY: two arrays.
                unsafe {
                    memcpy(
                        bytes.as_mut_ptr().add(to).cast(),
                        source.as_ptr().add(from).cast(),
                        length,
                    )
                };
                assert!(bytes == expected, "memcpy {length} bytes {from} -> {to}");
            }
        }
    }
}

#[test]
fn bytes_are_set() {
    for length in 0..200 {
        for to in [0, 1, 7, 16, 33] {
            let mut expected = pattern();
            for byte in &mut expected.iter_mut().skip(to).take(length) {
                *byte = 0xa5;
            }
            let mut bytes = pattern();
            // SAFETY: within the array.
            unsafe { memset(bytes.as_mut_ptr().add(to).cast(), 0x7a5, length) };
            assert!(bytes == expected, "memset {length} bytes at {to}");
        }
    }
}

#[test]
fn bytes_are_compared_as_unsigned() {
    for length in 0..100 {
        let (one, mut other) = (pattern(), pattern());
        // SAFETY: two arrays.
        let compare =
            |other: &[u8]| unsafe { memcmp(one.as_ptr().cast(), other.as_ptr().cast(), length) };
        other[length] ^= 0xff;
        assert_eq!(compare(&other), 0, "{length} bytes");
        other[length] ^= 0xff;
        for at in 0..length {
            for value in [0, 0x7f, 0x80, 0xff] {
                let before = std::mem::replace(&mut other[at], value);
                let order = before.cmp(&value) as c_int;
                assert_eq!(compare(&other).signum(), order, "{at} of {length} bytes");
                other[at] = before;
            }
        }
    }
}

#[test]
fn the_end_of_a_text_is_found() {
    for start in 0..32 {
        for length in 0..100 {
            let mut text = [b'x'; ROOM];
            text[..start].fill(0);
            text[start + length] = 0;
            // SAFETY: it ends within the array.
            assert_eq!(unsafe { strlen(text.as_ptr().add(start).cast()) }, length);
        }
    }
}
