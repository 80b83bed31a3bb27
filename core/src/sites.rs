//! Where a stretch of code makes system calls: `mov $NUMBER, %eax`, at most a few plain moves, and
//! `syscall`. That is how the C library's own calls look, those that no symbol leads to included.
//!
//! read(2) has the number 0: it is `xor %eax, %eax`, `syscall`, `cmp $-4096, %rax`, whose two first
//! are shorter than a jump. But the jump ends behind the prefix of the last, and what follows there
//! is `cmp $-4096, %eax`: for what read can return, the same.

/// Bytes of `mov $imm32, %eax`; a jump takes as many.
pub const MOV: usize = 5;
/// Bytes of `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// Most bytes between the two.
pub const MIDDLE: usize = 12;
/// How libc calls read(2).
const READ: [u8; 10] = [0x31, 0xc0, 0x0f, 0x05, 0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff];
/// Where its `syscall` begins.
const READ_SYSCALL: usize = 2;

/// A system call in a stretch of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where its `mov` (or `xor`) begins.
    pub offset: usize,
    /// The call's number.
    pub number: u32,
    /// Bytes between `mov` and `syscall`: whole instructions that can be run anywhere.
    pub middle: usize,
    /// Where the code goes on behind the call.
    pub behind: usize,
    /// Whether its `syscall` is still there once a jump is at `offset`.
    pub keeps_syscall: bool,
}

/// The site whose `syscall` begins at `at`, if it is of a form that is understood.
#[must_use]
pub fn site_at(code: &[u8], at: usize) -> Option<Site> {
    if code.get(at..at.checked_add(2)?)? != SYSCALL {
        return None;
    }
    if let Some(read) = read_at(code, at) {
        return Some(read);
    }
    (0..=MIDDLE).find_map(|middle| {
        let offset = at.checked_sub(middle + MOV)?;
        let [0xb8, number @ ..] = code.get(offset..offset + MOV)? else {
            return None;
        };
        // With REX.W before it, it is half of a longer instruction.
        let is_longer = offset
            .checked_sub(1)
            .and_then(|before| code.get(before))
            .is_some_and(|byte| (0x48..=0x4f).contains(byte));
        let number = u32::from_le_bytes(number.try_into().ok()?);
        let plain = is_plain(code.get(offset + MOV..at)?);
        (!is_longer && number < 0x1000 && plain).then_some(Site {
            offset,
            number,
            middle,
            behind: at + SYSCALL.len(),
            keeps_syscall: true,
        })
    })
}

fn read_at(code: &[u8], at: usize) -> Option<Site> {
    let offset = at.checked_sub(READ_SYSCALL)?;
    (code.get(offset..offset + READ.len())? == READ).then_some(Site {
        offset,
        number: 0,
        middle: 0,
        behind: offset + MOV,
        keeps_syscall: false,
    })
}

/// Every `syscall` of `code`, in order: its site where it is understood, its offset where not.
pub fn sites(code: &[u8]) -> impl Iterator<Item = Result<Site, usize>> + '_ {
    let mut from = 0;
    core::iter::from_fn(move || {
        let at = next_syscall(code, from)?;
        from = at + 2;
        Some(site_at(code, at).ok_or(at))
    })
}

/// Where the next `syscall` begins. All of libc is looked through at each start of a program, so
/// sixteen bytes at a time.
#[cfg(target_arch = "x86_64")]
fn next_syscall(code: &[u8], mut from: usize) -> Option<usize> {
    use core::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8,
    };
    let [first, second] = SYSCALL;
    while let Some(chunk) = code.get(from..from.checked_add(17)?) {
        let at: *const u8 = chunk.as_ptr();
        // SAFETY: 17 bytes are there, by the slice; SSE2 is part of x86-64.
        let hits = unsafe {
            let (here, behind) = (
                _mm_loadu_si128(at.cast::<__m128i>()),
                _mm_loadu_si128(at.add(1).cast::<__m128i>()),
            );
            _mm_movemask_epi8(_mm_and_si128(
                _mm_cmpeq_epi8(here, _mm_set1_epi8(first as i8)),
                _mm_cmpeq_epi8(behind, _mm_set1_epi8(second as i8)),
            ))
        };
        if hits != 0 {
            return Some(from + hits.trailing_zeros() as usize);
        }
        from += 16;
    }
    let tail = code.get(from..)?;
    Some(from + tail.windows(2).position(|pair| pair == SYSCALL)?)
}

/// Whether `code` is nothing but instructions that mean the same anywhere and leave eax, rsp and
/// control flow alone (Intel SDM vol. 2, chapter 2 and appendix A).
fn is_plain(mut code: &[u8]) -> bool {
    while !code.is_empty() {
        let Some(length) = plain_length(code) else {
            return false;
        };
        let Some(rest) = code.get(length..) else {
            return false;
        };
        code = rest;
    }
    true
}

fn plain_length(code: &[u8]) -> Option<usize> {
    let (rex, opcode_at) = match code.first()? {
        rex @ 0x40..=0x4f => (*rex, 1),
        _ => (0, 0),
    };
    let opcode = *code.get(opcode_at)?;
    let (wide, reg_high, rm_high) = (rex & 8 != 0, rex & 4 != 0, rex & 1 != 0);
    let is_kept = |register: u8, high: bool| !high && matches!(register, 0 | 4);
    match opcode {
        // mov $imm32, %r32
        0xb9..=0xbf if !wide && opcode != 0xbc => Some(opcode_at + 5),
        0xb8..=0xbf if !wide && rm_high => Some(opcode_at + 5),
        // mov %r, %r/m; xor; mov %r/m, %r; add and the like with an 8-bit immediate
        0x89 | 0x31 | 0x8b | 0x33 | 0x83 => {
            let modrm = *code.get(opcode_at + 1)?;
            let (mode, reg, rm) = (modrm >> 6, (modrm >> 3) & 7, modrm & 7);
            let to_register = matches!(opcode, 0x8b | 0x33);
            let (target, target_high) = if to_register {
                (reg, reg_high)
            } else {
                (rm, rm_high)
            };
            if is_kept(target, target_high) {
                return None;
            }
            match (mode, opcode) {
                (3, 0x83) => Some(opcode_at + 3),
                (3, _) => Some(opcode_at + 2),
                // disp8(%rsp), disp8(%rbp)
                (1, 0x8b) if rm == 4 && code.get(opcode_at + 2) == Some(&0x24) => {
                    Some(opcode_at + 4)
                }
                (1, 0x8b) if rm == 5 && !rm_high => Some(opcode_at + 3),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(code: &[u8]) -> Option<Site> {
        let found: Vec<_> = sites(code).collect();
        assert_eq!(found.len(), 1);
        found[0].ok()
    }

    #[test]
    fn a_call_right_behind_its_number_is_found() {
        let site = only(b"\x90\xb8\x01\x00\x00\x00\x0f\x05\xc3").unwrap();
        assert_eq!((site.offset, site.number, site.middle), (1, 1, 0));
        assert_eq!((site.behind, site.keeps_syscall), (8, true));
    }

    #[test]
    fn a_read_is_found_by_what_is_behind_it() {
        let code = b"\x90\x31\xc0\x0f\x05\x48\x3d\x00\xf0\xff\xff\x77\x5b\xc3";
        let site = only(code).unwrap();
        assert_eq!((site.offset, site.number, site.middle), (1, 0, 0));
        assert_eq!((site.behind, site.keeps_syscall), (6, false));
        // There: cmp $-4096, %eax.
        assert_eq!(&code[site.behind..site.behind + 5], b"\x3d\x00\xf0\xff\xff");
        for end in 5..11 {
            assert_eq!(only(&code[..end]), None);
        }
    }

    #[test]
    fn plain_moves_in_between_are_understood() {
        for (middle, bytes) in [
            (8, &b"\x48\x89\xfe\xbf\x9c\xff\xff\xff"[..]),
            (5, b"\x48\x89\xf2\x31\xf6"),
            (9, b"\x48\x8b\x74\x24\x10\x8b\x7c\x24\x08"),
            (3, b"\x8b\x7d\xa0"),
            (3, b"\x83\xc2\x01"),
        ] {
            let code = [b"\xb8\x01\x01\x00\x00", bytes, b"\x0f\x05"].concat();
            let site = only(&code).unwrap();
            assert_eq!((site.offset, site.number, site.middle), (0, 257, middle));
        }
    }

    #[test]
    fn anything_else_in_between_is_not() {
        for bytes in [
            &b"\x89\xc8"[..],                // writes eax
            b"\x48\x8b\x05\x00\x00\x00\x00", // relative to rip
            b"\x74\x00",                     // a jump
            b"\x48\x89\xe4",                 // writes rsp
            b"\xe8\x00\x00\x00\x00",         // a call
            b"\x8b\x44\x24\x08",             // loads eax
            b"\x48\x89",                     // cut off
        ] {
            let code = [b"\xb8\x01\x00\x00\x00", bytes, b"\x0f\x05"].concat();
            assert_eq!(only(&code), None, "{bytes:x?}");
        }
    }

    #[test]
    fn every_place_is_looked_at() {
        for at in 0..80 {
            let mut code = vec![0x90; 82];
            code[at..at + 2].copy_from_slice(&SYSCALL);
            assert_eq!(next_syscall(&code, 0), Some(at));
            assert_eq!(next_syscall(&code, at), Some(at));
            assert_eq!(next_syscall(&code, at + 1), None);
        }
    }

    #[test]
    fn half_of_a_longer_instruction_is_left_alone() {
        assert_eq!(only(b"\x48\xb8\x01\x00\x00\x00\x0f\x05\x00\x00"), None);
        assert_eq!(only(b"\x0f\x05"), None);
        assert_eq!(only(b"\x00\x00\x00\x0f\x05"), None);
    }
}
