//! Cache lines of what is live against cache lines of what is durable.
//!
//! The program may store while it is compared: a line is then equal or different, both of which are
//! true. Loads are as wide as every CPU of an architecture has them.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

use arch::Part;

/// Bytes of a cache line.
pub const LINE: usize = 64;
/// How far ahead is prefetched, bytes.
const AHEAD: usize = 16 * LINE;
/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Different lines of a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Lines that differ.
    pub lines: u64,
    /// Pages with such a line.
    pub pages: u64,
    /// Offset of the first such line in the range, bytes; 0 if there is none.
    pub first: u64,
    /// Offset behind the last such line, bytes; 0 if there is none.
    pub end: u64,
}

impl Dirty {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// Both ranges as one; `other` is `distance` bytes behind the beginning of this one.
    #[must_use]
    pub fn with(self, other: Dirty, distance: u64) -> Dirty {
        let shifted = Dirty {
            first: other.first.saturating_add(distance),
            end: other.end.saturating_add(distance),
            ..other
        };
        match (self.is_empty(), other.is_empty()) {
            (_, true) => self,
            (true, false) => shifted,
            (false, false) => Dirty {
                lines: self.lines + other.lines,
                pages: self.pages + other.pages,
                first: self.first.min(shifted.first),
                end: self.end.max(shifted.end),
            },
        }
    }
}

type Parts = [Part; LINE / size_of::<Part>()];

/// # Safety
/// `line` must be aligned to [`LINE`] and readable.
#[inline]
unsafe fn load(line: *const u8) -> Parts {
    let part: *const Part = line.cast();
    // SAFETY: four parts are a line, by the caller's promise.
    unsafe {
        [
            arch::load(part),
            arch::load(part.add(1)),
            arch::load(part.add(2)),
            arch::load(part.add(3)),
        ]
    }
}

/// Compares `length` bytes, whole lines of them, and calls `different` for each line that is.
///
/// # Safety
/// Both must be aligned to [`LINE`] and readable for `length` bytes, which is a multiple of it.
#[inline]
unsafe fn each(
    live: *const u8,
    durable: *const u8,
    length: usize,
    mut different: impl FnMut(usize, Parts),
) -> Dirty {
    let mut dirty = Dirty::default();
    let mut page = usize::MAX;
    let mut at = 0;
    while at < length {
        // What is live was just stored to; what is durable is far away, and the CPU's own
        // prefetcher begins anew at each page.
        arch::prefetch(durable.wrapping_add(at + AHEAD));
        // SAFETY: inside both ranges, by the caller's promise.
        let (now, before) = unsafe { (load(live.add(at)), load(durable.add(at))) };
        if !arch::equal(now, before) {
            if dirty.lines == 0 {
                dirty.first = at as u64;
            }
            dirty.lines += 1;
            dirty.pages += u64::from(page != at / PAGE);
            page = at / PAGE;
            dirty.end = (at + LINE) as u64;
            different(at, now);
        }
        at += LINE;
    }
    dirty
}

/// The lines of `live` that are not as in `durable`.
///
/// # Safety
/// Both must be aligned to [`LINE`] and readable for `length` bytes, a multiple of it.
pub unsafe fn compare(live: *const u8, durable: *const u8, length: usize) -> Dirty {
    // SAFETY: the caller's promise.
    unsafe { each(live, durable, length, |_, _| {}) }
}

/// Calls `different` with the offset of each line of `live` that is not as in `durable`.
///
/// # Safety
/// As for [`compare`]; `different` may change both, but not unmap them.
pub unsafe fn for_each_different(
    live: *const u8,
    durable: *const u8,
    length: usize,
    mut different: impl FnMut(usize),
) {
    // SAFETY: the caller's promise.
    let _ = unsafe { each(live, durable, length, |at, _| different(at)) };
}

/// As [`compare`]; `durable` then has these lines as they were found.
///
/// # Safety
/// As for [`compare`]; and `durable` must be writable, by nobody else at the same time.
pub unsafe fn take_over(live: *const u8, durable: *mut u8, length: usize) -> Dirty {
    // SAFETY: the caller's promise; a line that is found different is inside the range.
    unsafe {
        each(live, durable, length, |at, now| {
            let to: *mut Part = durable.add(at).cast();
            for (i, part) in now.into_iter().enumerate() {
                arch::store(to.add(i), part);
            }
        })
    }
}

/// `durable` then has the lines of `live`, whatever it had: half of the memory traffic of
/// [`take_over`], and what was dirty stays unknown.
///
/// # Safety
/// As for [`take_over`].
pub unsafe fn copy(live: *const u8, durable: *mut u8, length: usize) {
    for at in (0..length).step_by(LINE) {
        // SAFETY: inside both ranges, by the caller's promise.
        unsafe {
            let to: *mut Part = durable.add(at).cast();
            for (i, part) in load(live.add(at)).into_iter().enumerate() {
                arch::store_past_caches(to.add(i), part);
            }
        }
    }
    arch::stored();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    struct Memory([u8; 4 * PAGE]);

    fn pair() -> (Box<Memory>, Box<Memory>) {
        let both = || Box::new(Memory([7; 4 * PAGE]));
        (both(), both())
    }

    fn compared(live: &Memory, durable: &Memory) -> Dirty {
        // SAFETY: aligned, and as long as both.
        unsafe { compare(live.0.as_ptr(), durable.0.as_ptr(), live.0.len()) }
    }

    #[test]
    fn each_byte_of_a_line_counts() {
        for byte in 0..2 * LINE {
            let (mut live, durable) = pair();
            assert_eq!(compared(&live, &durable), Dirty::default());
            live.0[byte] = 8;
            let first = (byte / LINE * LINE) as u64;
            let expected = Dirty {
                lines: 1,
                pages: 1,
                first,
                end: first + LINE as u64,
            };
            assert_eq!(compared(&live, &durable), expected);
        }
    }

    #[test]
    fn what_is_taken_over_is_durable() {
        let (mut live, mut durable) = pair();
        for byte in [0, 63, 64, PAGE, 3 * PAGE + 1] {
            live.0[byte] = 9;
        }
        let before = compared(&live, &durable);
        assert_eq!((before.lines, before.pages), (4, 3));
        assert_eq!(before.end, (3 * PAGE + LINE) as u64);
        let length = PAGE;
        // SAFETY: aligned, and inside both.
        let taken = unsafe { take_over(live.0.as_ptr(), durable.0.as_mut_ptr(), length) };
        assert_eq!((taken.lines, taken.first, taken.end), (2, 0, 128));
        let after = compared(&live, &durable);
        assert_eq!((after.lines, after.first), (2, PAGE as u64));
        assert_eq!(durable.0[..PAGE], live.0[..PAGE]);
    }

    #[test]
    fn what_is_copied_is_durable() {
        let (mut live, mut durable) = pair();
        for byte in [0, 63, PAGE - 1, PAGE] {
            live.0[byte] = 9;
        }
        // SAFETY: aligned, and inside both.
        unsafe { copy(live.0.as_ptr(), durable.0.as_mut_ptr(), PAGE) };
        assert_eq!(durable.0[..PAGE], live.0[..PAGE]);
        assert_eq!(durable.0[PAGE], 7);
    }

    #[test]
    fn ranges_add_up() {
        let one = Dirty {
            lines: 1,
            pages: 1,
            first: 64,
            end: 128,
        };
        let none = Dirty::default();
        assert_eq!(none.with(none, 9), none);
        assert_eq!(one.with(none, 9), one);
        assert_eq!(none.with(one, 4096).first, 4160);
        let both = one.with(one, 4096);
        assert_eq!((both.lines, both.first, both.end), (2, 64, 4224));
    }
}
