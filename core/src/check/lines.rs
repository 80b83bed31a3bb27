//! Cache lines of what is live against the digests of what is durable.
//!
//! Of a durable line eight bytes are kept: enough to see that a line is another one, for an eighth
//! of the memory, and of the traffic, that a copy would take. Two lines have the same digest by
//! chance once in 2^64.
//!
//! The program may store while it is compared: a line is then equal or different, both of which are
//! true.

pub use crate::units::{LINE, PAGE};

/// Words of a line.
pub const WORDS: usize = LINE / size_of::<u64>();

/// A line's content.
pub type Words = [u64; WORDS];

/// What a line is known by: 0 of zeros.
pub type Digest = u64;

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

/// Bits of the fraction of pi: nothing that a program's data would have to do with.
const KEYS: Words = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6c,
    0xc0ac_29b7_c97c_50dd,
    0x3f84_d5b5_b547_0917,
];

/// Each bit of both moves half of the result's: the product, folded.
#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128) * (b as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline]
const fn mixed([a, b, c, d, e, f, g, h]: Words) -> u64 {
    let [i, j, k, l, m, n, o, p] = KEYS;
    fold(a ^ i, b ^ j)
        .wrapping_add(fold(c ^ k, d ^ l))
        .wrapping_add(fold(e ^ m, f ^ n))
        .wrapping_add(fold(g ^ o, h ^ p))
}

/// What a line of this content is known by.
#[inline]
#[must_use]
pub const fn digest(words: Words) -> Digest {
    const ZEROS: u64 = mixed([0; WORDS]);
    mixed(words).wrapping_sub(ZEROS)
}

/// The digests of the lines of a range, as if zeros followed.
pub fn digests(bytes: &[u8]) -> impl Iterator<Item = Digest> {
    let (lines, rest) = bytes.as_chunks::<LINE>();
    let mut last = [0; LINE];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let last = (!rest.is_empty()).then_some(last);
    let lines = lines.iter().copied().chain(last);
    lines.map(|line| digest(words(line)))
}

#[inline]
fn words(line: [u8; LINE]) -> Words {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(line.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    words
}

/// A line, each word of which is loaded once.
///
/// # Safety
/// It must be aligned to [`LINE`] and readable.
#[inline]
unsafe fn read(line: *const u8) -> Words {
    let from: *const u64 = line.cast();
    // SAFETY: eight words are a line, by the caller's promise. Volatile: others store to it.
    core::array::from_fn(|i| unsafe { from.add(i).read_volatile() })
}

/// As [`read`], but zeros from `length` on.
#[cold]
unsafe fn read_start(line: *const u8, length: usize) -> Words {
    let mut bytes = [0; LINE];
    for (i, byte) in bytes.iter_mut().take(length).enumerate() {
        // SAFETY: a byte of the line, as in `read`.
        *byte = unsafe { line.add(i).read_volatile() };
    }
    words(bytes)
}

#[inline]
fn prefetch(digest: *const Digest) {
    // SAFETY: a prefetch of any address faults nobody.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(digest.cast());
    }
    // Rust has no stable one elsewhere.
    #[cfg(not(target_arch = "x86_64"))]
    let _ = digest;
}

/// The digests of a page's lines: the program was just there, but not here. One wait for all of them.
#[inline]
fn prefetch_page(digests: *const Digest) {
    for lines in (0..PAGE / LINE).step_by(LINE / size_of::<Digest>()) {
        prefetch(digests.wrapping_add(lines));
    }
}

/// Calls `take` with offset, content and digest of each line of a range. What lies behind `length` in
/// the last one counts as zeros.
///
/// # Safety
/// `live` must be aligned to [`LINE`] and readable for `length` bytes.
#[inline]
pub unsafe fn for_each(live: *const u8, length: usize, mut take: impl FnMut(usize, Words, Digest)) {
    let (whole, rest) = (length / LINE * LINE, length % LINE);
    for at in (0..whole).step_by(LINE) {
        // SAFETY: inside, by the caller's promise.
        let words = unsafe { read(live.add(at)) };
        take(at, words, digest(words));
    }
    if rest > 0 {
        // SAFETY: as above.
        let words = unsafe { read_start(live.add(whole), rest) };
        take(whole, words, digest(words));
    }
}

/// As [`for_each`], for each line of `live` that is not as in `durable`.
///
/// # Safety
/// As for [`for_each`]; and `durable` must be readable for a digest of each line. `different` may
/// change both, but not unmap them.
#[inline]
pub unsafe fn for_each_different(
    live: *const u8,
    durable: *const Digest,
    length: usize,
    mut different: impl FnMut(usize, Words, Digest),
) {
    // SAFETY: the caller's promise, and inside what has as many digests.
    unsafe {
        for_each(live, length, |at, words, digest| {
            if at.is_multiple_of(PAGE) {
                prefetch_page(durable.wrapping_add(at / LINE));
            }
            if durable.add(at / LINE).read_volatile() != digest {
                different(at, words, digest);
            }
        });
    }
}

/// As [`for_each_different`], counted, and without the content. By pages: the digests of what is live
/// are all made before the first is compared, and in that time those of what is durable arrive.
#[inline]
unsafe fn counted(
    live: *const u8,
    durable: *const Digest,
    length: usize,
    mut different: impl FnMut(usize, Digest),
) -> Dirty {
    let mut dirty = Dirty::default();
    for page in (0..length).step_by(PAGE) {
        let length = PAGE.min(length - page);
        let durable = durable.wrapping_add(page / LINE);
        prefetch_page(durable);
        let mut digests = [0; PAGE / LINE];
        // SAFETY: inside, by the caller's promise.
        unsafe {
            for_each(live.add(page), length, |at, _, digest| {
                if let Some(place) = digests.get_mut(at / LINE) {
                    *place = digest;
                }
            });
        }
        let before = dirty.lines;
        for (line, &digest) in digests.iter().take(length.div_ceil(LINE)).enumerate() {
            // SAFETY: one digest for each line, by the caller's promise.
            if unsafe { durable.add(line).read_volatile() } == digest {
                continue;
            }
            let at = page + line * LINE;
            if dirty.lines == 0 {
                dirty.first = at as u64;
            }
            dirty.lines += 1;
            dirty.end = (at + LINE) as u64;
            different(at, digest);
        }
        dirty.pages += u64::from(dirty.lines > before);
    }
    dirty
}

/// The lines of `live` that are not as in `durable`.
///
/// # Safety
/// As for [`for_each_different`].
pub unsafe fn compare(live: *const u8, durable: *const Digest, length: usize) -> Dirty {
    // SAFETY: the caller's promise.
    unsafe { counted(live, durable, length, |_, _| {}) }
}

/// As [`compare`]; `durable` then has these lines as they were found.
///
/// # Safety
/// As for [`for_each_different`]; and `durable` must be writable, by nobody else at the same time.
pub unsafe fn refresh(live: *const u8, durable: *mut Digest, length: usize) -> Dirty {
    // SAFETY: the caller's promise; a line that is found different is inside the range.
    unsafe {
        counted(live, durable, length, |at, digest| {
            durable.add(at / LINE).write_volatile(digest);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: usize = 4 * PAGE;

    #[repr(align(64))]
    struct Memory([u8; LENGTH]);

    fn pair() -> (Box<Memory>, Vec<Digest>) {
        let live = Box::new(Memory([7; LENGTH]));
        let durable = digests(&live.0).collect();
        (live, durable)
    }

    fn compared(live: &Memory, durable: &[Digest], length: usize) -> Dirty {
        assert!(durable.len() * LINE >= length);
        // SAFETY: aligned, and as long as both.
        unsafe { compare(live.0.as_ptr(), durable.as_ptr(), length) }
    }

    #[test]
    fn each_bit_of_a_line_counts() {
        for bit in 0..2 * LINE * 8 {
            let (mut live, durable) = pair();
            assert_eq!(compared(&live, &durable, LENGTH), Dirty::default());
            live.0[bit / 8] ^= 1 << (bit % 8);
            let first = (bit / 8 / LINE * LINE) as u64;
            let expected = Dirty {
                lines: 1,
                pages: 1,
                first,
                end: first + LINE as u64,
            };
            assert_eq!(compared(&live, &durable, LENGTH), expected);
        }
    }

    #[test]
    fn digests_of_lines_that_are_alike_differ() {
        // A bit or two in any places; a small number in any two words; words that change places.
        let mut lines = std::collections::HashSet::new();
        for a in 0..LINE * 8 {
            for b in a..LINE * 8 {
                let mut words = [0; WORDS];
                words[a / 64] |= 1 << (a % 64);
                words[b / 64] |= 1 << (b % 64);
                lines.insert(words);
            }
        }
        for (i, j) in (0..WORDS).flat_map(|i| (0..WORDS).map(move |j| (i, j))) {
            for (a, b) in (0..100).flat_map(|a| (0..100).map(move |b| (a, b))) {
                let mut words = [0; WORDS];
                (words[i], words[j]) = (a, b);
                lines.insert(words);
            }
        }
        let digests: std::collections::HashSet<u64> = lines.iter().copied().map(digest).collect();
        assert!(lines.len() > 300_000);
        assert_eq!(digests.len(), lines.len());
    }

    #[test]
    fn zeros_have_the_digest_of_a_hole() {
        assert_eq!(digest([0; WORDS]), 0);
        assert_ne!(digest([1, 0, 0, 0, 0, 0, 0, 0]), 0);
    }

    #[test]
    fn what_is_taken_over_is_durable() {
        let (mut live, mut durable) = pair();
        for byte in [0, 63, 64, PAGE, 3 * PAGE + 1] {
            live.0[byte] = 9;
        }
        let before = compared(&live, &durable, LENGTH);
        assert_eq!((before.lines, before.pages), (4, 3));
        assert_eq!(before.end, (3 * PAGE + LINE) as u64);
        // SAFETY: aligned, and inside both.
        let taken = unsafe { refresh(live.0.as_ptr(), durable.as_mut_ptr(), PAGE) };
        assert_eq!((taken.lines, taken.first, taken.end), (2, 0, 128));
        let after = compared(&live, &durable, LENGTH);
        assert_eq!((after.lines, after.first), (2, PAGE as u64));
    }

    #[test]
    fn what_is_behind_the_end_does_not_count() {
        for length in [1, 8, 63, 65, 100, LENGTH - 1] {
            let (mut live, mut durable) = pair();
            // SAFETY: aligned, and inside both.
            unsafe { refresh(live.0.as_ptr(), durable.as_mut_ptr(), length) };
            let last = (length - 1) / LINE;
            assert!(digests(&live.0[..length]).eq(durable[..=last].iter().copied()));
            live.0[length..].fill(8);
            assert!(compared(&live, &durable, length).is_empty(), "{length}");
            live.0[length - 1] = 8;
            assert_eq!(compared(&live, &durable, length).lines, 1, "{length}");
        }
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
