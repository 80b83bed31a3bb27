//! The value of the tag's attribute: one line of ASCII, so that `getfattr` shows it plainly.
//!
//! `daxshim 1 ino=12 gen=3735928559 size=4096 extents=9e3779b97f4a7c15 flags=- sum=1b873593`
//!
//! Parsing and writing neither allocate nor panic: hooks do both.

use crate::line::Line;
use core::fmt::{self, Write};

/// A parsed tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// `st_ino` of the tagged file.
    pub inode: u64,
    /// Inode generation (FS_IOC_GETVERSION); `None` where the filesystem has none.
    pub generation: Option<u32>,
    /// `st_size` when tagged, bytes.
    pub size: u64,
    /// Fingerprint of the extent map; `None` where the filesystem cannot tell (tmpfs).
    pub extents: Option<u64>,
    /// An emulated tag in the `security.` namespace (tmpfs before Linux 6.6).
    pub emulated: bool,
    /// `tag` set FS_XFLAG_NODEFRAG, so `untag` takes it off again.
    pub nodefrag: bool,
    /// `tag` set FS_XFLAG_DAX, so `untag` takes it off again. In an emulated tag: a program set it
    /// together with the tag, so it is emulated too.
    pub dax: bool,
    /// The tag is being taken off: it still binds, but no mapping made now is flushed by lines.
    pub clearing: bool,
}

/// Why a value is not a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It does not begin with `daxshim `.
    Foreign,
    /// A version this build does not know.
    Version,
    /// A field is missing, misspelt, out of range, or there is more than there should be.
    Field,
    /// The checksum does not match: truncated or edited.
    Checksum,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Foreign => "it was not written by daxshim",
            Malformed::Version => "its version is unknown to this daxshim",
            Malformed::Field => "a field is missing or malformed",
            Malformed::Checksum => "its checksum does not match (truncated or edited)",
        })
    }
}

const MAGIC: &[u8] = b"daxshim ";
const VERSION: &[u8] = b"1";

/// A written record, on the stack.
pub type Text = Line<{ Record::MAX_LEN }>;

impl Record {
    /// Of no file: to be filled in.
    pub const EMPTY: Record = Record {
        inode: 0,
        generation: None,
        size: 0,
        extents: None,
        emulated: false,
        nodefrag: false,
        dax: false,
        clearing: false,
    };

    /// Shortest value, bytes.
    pub const MIN_LEN: usize = 59;
    /// Longest value that is read or written, bytes.
    pub const MAX_LEN: usize = 128;

    /// The attribute's value.
    #[must_use]
    pub fn to_text(&self) -> Text {
        let mut text = Text::new();
        // MAX_LEN holds the longest record (a test writes it), so this cannot come up short.
        let _ = self.write_to(&mut text);
        text
    }

    fn write_to(&self, text: &mut Text) -> fmt::Result {
        write!(text, "daxshim 1 ino={}", self.inode)?;
        match self.generation {
            Some(generation) => write!(text, " gen={generation}")?,
            None => write!(text, " gen=-")?,
        }
        write!(text, " size={}", self.size)?;
        match self.extents {
            Some(extents) => write!(text, " extents={extents:016x}")?,
            None => write!(text, " extents=-")?,
        }
        write!(text, " flags=")?;
        let flags = [self.emulated, self.nodefrag, self.dax, self.clearing];
        for (letter, _) in LETTERS.into_iter().zip(flags).filter(|(_, on)| *on) {
            text.write_char(char::from(letter))?;
        }
        if flags == [false; LETTERS.len()] {
            text.write_char('-')?;
        }
        let sum = checksum(text.as_bytes());
        write!(text, " sum={sum:08x}")
    }

    /// Reads an attribute's value. Anything but exactly what [`Record::to_text`] writes is refused.
    ///
    /// # Errors
    /// [`Malformed`] says what is wrong with it; such a file counts as not tagged.
    pub fn parse(value: &[u8]) -> Result<Record, Malformed> {
        let mut record = Record::EMPTY;
        record.read(value).map(|()| record)
    }

    /// As [`Record::parse`], into a place that is there already, which is of no use where that fails.
    ///
    /// # Errors
    /// The errors of [`Record::parse`].
    #[inline(never)]
    pub fn read(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let rest = value.strip_prefix(MAGIC).ok_or(Malformed::Foreign)?;
        let mut fields = rest.split(|&b| b == b' ');
        if fields.next() != Some(VERSION) {
            return Err(Malformed::Version);
        }
        let mut field = |name: &[u8]| {
            fields
                .next()
                .and_then(|f| f.strip_prefix(name))
                .ok_or(Malformed::Field)
        };
        self.inode = decimal(field(b"ino=")?)?;
        self.generation = match field(b"gen=")? {
            b"-" => None,
            digits => Some(u32::try_from(decimal(digits)?).map_err(|_| Malformed::Field)?),
        };
        self.size = decimal(field(b"size=")?)?;
        self.extents = match field(b"extents=")? {
            b"-" => None,
            digits => Some(hexadecimal(digits, 16)?),
        };
        [self.emulated, self.nodefrag, self.dax, self.clearing] = letters(field(b"flags=")?)?;
        let sum = hexadecimal(field(b"sum=")?, 8)?;
        if fields.next().is_some() {
            return Err(Malformed::Field);
        }
        let body = value
            .len()
            .checked_sub(b" sum=00000000".len())
            .and_then(|end| value.get(..end))
            .ok_or(Malformed::Field)?;
        if u64::from(checksum(body)) != sum {
            return Err(Malformed::Checksum);
        }
        Ok(())
    }
}

/// FNV-1a, 32 bits (Fowler, Noll, Vo): tells damage, not malice.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

// One spelling per record: whatever else would mean the same was not written by us. So no signs, no
// leading zeros, no capitals. By hand, as this is looked at in each call on a tagged file: half as
// many instructions as by the standard library.

fn decimal(digits: &[u8]) -> Result<u64, Malformed> {
    if digits.is_empty() || (digits.len() > 1 && digits.first() == Some(&b'0')) {
        return Err(Malformed::Field);
    }
    digits
        .iter()
        .try_fold(0_u64, |number, &digit| {
            let digit = digit.wrapping_sub(b'0');
            (digit < 10)
                .then(|| number.checked_mul(10)?.checked_add(u64::from(digit)))
                .flatten()
        })
        .ok_or(Malformed::Field)
}

fn hexadecimal(digits: &[u8], len: usize) -> Result<u64, Malformed> {
    if digits.len() != len {
        return Err(Malformed::Field);
    }
    digits
        .iter()
        .try_fold(0_u64, |number, &digit| {
            let value = match digit {
                b'0'..=b'9' => digit.wrapping_sub(b'0'),
                b'a'..=b'f' => digit.wrapping_sub(b'a').wrapping_add(10),
                _ => return None,
            };
            Some(number << 4 | u64::from(value))
        })
        .ok_or(Malformed::Field)
}

/// Of the flags: emulated, nodefrag, dax, clearing.
const LETTERS: [u8; 4] = [b'e', b'n', b'x', b'u'];

/// The flags, in this order, or `-` where there is none.
fn letters(mut flags: &[u8]) -> Result<[bool; LETTERS.len()], Malformed> {
    if flags == b"-" {
        return Ok([false; LETTERS.len()]);
    }
    let is_empty = flags.is_empty();
    let set = LETTERS.map(|letter| match flags.split_first() {
        Some((&first, rest)) if first == letter => {
            flags = rest;
            true
        }
        _ => false,
    });
    if is_empty || !flags.is_empty() {
        return Err(Malformed::Field);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records() -> impl Strategy<Value = Record> {
        (
            any::<(u64, Option<u32>, u64, Option<u64>)>(),
            any::<(bool, bool, bool, bool)>(),
        )
            .prop_map(
                |((inode, generation, size, extents), (emulated, nodefrag, dax, clearing))| {
                    Record {
                        inode,
                        generation,
                        size,
                        extents,
                        emulated,
                        nodefrag,
                        dax,
                        clearing,
                    }
                },
            )
    }

    #[test]
    fn the_longest_record_fits() {
        let longest = Record {
            inode: u64::MAX,
            generation: Some(u32::MAX),
            size: u64::MAX,
            extents: Some(u64::MAX),
            emulated: true,
            nodefrag: true,
            dax: true,
            clearing: true,
        };
        assert_eq!(Record::parse(longest.to_text().as_bytes()), Ok(longest));
        assert!(longest.to_text().as_bytes().len() <= Record::MAX_LEN);
    }

    #[test]
    fn the_shortest_record_has_the_length_it_says() {
        let shortest = Record {
            inode: 0,
            generation: None,
            size: 0,
            extents: None,
            emulated: false,
            nodefrag: false,
            dax: false,
            clearing: false,
        };
        assert_eq!(shortest.to_text().as_bytes().len(), Record::MIN_LEN);
    }

    #[test]
    fn foreign_and_future_values_are_told_apart() {
        assert_eq!(Record::parse(b""), Err(Malformed::Foreign));
        assert_eq!(Record::parse(b"1"), Err(Malformed::Foreign));
        assert_eq!(Record::parse(b"daxshim 2 x=y"), Err(Malformed::Version));
        assert_eq!(Record::parse(b"daxshim 1"), Err(Malformed::Field));
    }

    /// With a checksum that is right, so that the spelling alone decides.
    #[test]
    fn a_record_has_one_spelling() {
        let summed = |body: &str| format!("{body} sum={:08x}", checksum(body.as_bytes()));
        let good = "daxshim 1 ino=12 gen=7 size=4096 extents=9e3779b97f4a7c15 flags=nx";
        assert!(Record::parse(summed(good).as_bytes()).is_ok());
        for (right, wrong) in [
            ("ino=12", "ino=012"),
            ("ino=12", "ino=+12"),
            ("ino=12", "ino="),
            ("gen=7", "gen=4294967296"),
            ("gen=7", "gen=--"),
            ("size=4096", "size=18446744073709551616"),
            ("size=4096", "size=40a6"),
            ("extents=9e", "extents=9E"),
            ("extents=9e", "extents=+e"),
            ("extents=9e", "extents=9e0"),
            ("flags=nx", "flags=xn"),
            ("flags=nx", "flags=nn"),
            ("flags=nx", "flags="),
            ("flags=nx", "flags=n-"),
            ("flags=nx", "flags=nx "),
            ("flags=nx", "flags=nx more=1"),
            ("ino=12 ", "ino=12  "),
        ] {
            let bad = summed(&good.replace(right, wrong));
            assert!(Record::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let more = format!("{} more", summed(good));
        assert!(Record::parse(more.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn parsing_is_strict(record in records(), at in 0usize..192, to in any::<u8>()) {
            // Whatever is read is what would be written, with a checksum that always fits.
            let text = record.to_text();
            let mut body = text.as_bytes()[..text.as_bytes().len() - 13].to_vec();
            let at = at % body.len();
            body[at] = to;
            let sum = checksum(&body);
            body.extend(format!(" sum={sum:08x}").bytes());
            if let Ok(read) = Record::parse(&body) {
                let again = read.to_text();
                prop_assert_eq!(again.as_bytes(), &body[..]);
            }
        }

        #[test]
        fn what_is_written_is_read(record in records()) {
            prop_assert_eq!(Record::parse(record.to_text().as_bytes()), Ok(record));
        }

        #[test]
        fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Record::parse(&bytes).is_err());
        }

        #[test]
        fn a_cut_record_is_refused(record in records(), keep in 0usize..192) {
            let text = record.to_text();
            let bytes = text.as_bytes();
            if keep < bytes.len() {
                prop_assert!(Record::parse(&bytes[..keep]).is_err());
            }
        }

        #[test]
        fn a_changed_byte_is_refused(record in records(), at in 0usize..192, to in any::<u8>()) {
            let mut bytes = record.to_text().as_bytes().to_vec();
            let at = at % bytes.len();
            if bytes[at] != to {
                bytes[at] = to;
                prop_assert!(Record::parse(&bytes).is_err());
            }
        }

        #[test]
        fn anything_after_the_magic_is_survived(tail in "[ -~]{0,120}") {
            let value = format!("daxshim 1 {tail}");
            prop_assert!(Record::parse(value.as_bytes()).is_err());
        }
    }
}
