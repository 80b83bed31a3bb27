//! Where a stretch of code makes system calls: `mov $NUMBER, %eax`, at most a few plain moves, and
//! `syscall`. That is how the C library's own calls look, those that no symbol leads to included.
//!
//! read(2) has the number 0: it is `xor %eax, %eax`, `syscall`, `cmp $-4096, %rax`, whose two first
//! are shorter than a jump. But the jump ends behind the prefix of the last, and what follows there
//! is `cmp $-4096, %eax`: for what read can return, the same.
//!
//! The forms are matched by hand, as a decoder (`iced-x86`) allocates, and is larger than the whole library; the tests
//! hold every site of libc against it (cdylib-tests/tests/libc.rs).

use core::arch::x86_64::{
    __m128i, _mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi16,
};

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

/// glibc's syscall(2), which is written in assembly (sysdeps/unix/sysv/linux/x86_64/syscall.S): moves its
/// arguments to where the kernel expects them, up to its `syscall`.
const BY_ARGUMENT: [u8; 23] = [
    0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca, 0x4d, 0x89, 0xc2, 0x4d,
    0x89, 0xc8, 0x4c, 0x8b, 0x4c, 0x24, 0x08,
];

/// Where glibc's syscall(2) begins, whose `syscall` is at `at`: a jump fits there, and then all of its
/// moves have to be made elsewhere.
#[must_use]
pub fn by_argument(code: &[u8], at: usize) -> Option<(usize, &'static [u8])> {
    let start = at.checked_sub(BY_ARGUMENT.len())?;
    (code.get(start..at)? == BY_ARGUMENT).then_some((start, &BY_ARGUMENT))
}

/// Whether the bytes of `syscall` at `at` are one, as far as can be told from what stands before them,
/// though of no form that is understood: its number comes from another register or from the stack, or is
/// one of `numbers` and loaded further before. Elsewhere the two bytes are half of an address or a distance.
#[must_use]
pub fn is_elsewise(code: &[u8], at: usize, numbers: &[u32]) -> bool {
    const FAR: usize = 48;
    let before = |length| code.get(at.saturating_sub(length)..at).unwrap_or(&[]);
    // Those are short: what follows are their upper bytes.
    let is_distance = matches!(code.get(at + SYSCALL.len()), None | Some(0 | 0xff));
    let is_number = |bytes: &[u8]| match bytes {
        [0xb8, number @ ..] => {
            let number = number.try_into().map(u32::from_le_bytes);
            number.is_ok_and(|number| numbers.contains(&number))
        }
        _ => false,
    };
    let code_at = |at: usize| code.get(at).copied();
    let is_loaded = |length: usize| {
        let code = before(length);
        // What follows such a prefix is the rest of another instruction.
        let prefix = at.checked_sub(length + 1).and_then(code_at);
        if matches!(prefix, Some(0x40..=0x4f)) {
            return false;
        }
        let loaded = to_eax(code).and_then(|length| code.get(length..));
        loaded.is_some_and(is_plain)
    };
    !is_distance && ((2..=MIDDLE).any(is_loaded) || before(FAR).windows(MOV).any(is_number))
}

/// The length of a `mov` from a register or the stack to eax, if that is what stands first.
fn to_eax(code: &[u8]) -> Option<usize> {
    let (rex, rest) = match code {
        [rex @ 0x40..=0x4f, rest @ ..] => (*rex, rest),
        _ => (0, code),
    };
    let [opcode, modrm, ..] = rest else {
        return None;
    };
    let (mode, reg, rm) = (modrm >> 6, (modrm >> 3) & 7, modrm & 7);
    let length = match (opcode, mode) {
        (0x89, 3) if rm == 0 && rex & 1 == 0 => 2,
        (0x8b, 3) if reg == 0 && rex & 4 == 0 => 2,
        (0x8b, 1) if reg == 0 && rex & 4 == 0 => 3 + usize::from(rm == 4),
        _ => return None,
    };
    Some(length + usize::from(rex != 0))
}

/// Where glibc, from 2.41 on, makes the system calls in which a thread can be cancelled. Their number is
/// an argument there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancellable {
    /// The function for threads that can be cancelled: `__syscall_cancel_arch`, which is written in
    /// assembly (sysdeps/unix/sysv/linux/x86_64/syscall_cancel.S).
    pub function: usize,
    /// Its caller's `call`; as long as [`MOV`].
    pub call: usize,
    /// For all others: `mov disp8(%rsp), %rax`, as long as [`MOV`], and `syscall` behind it.
    pub load: usize,
}

impl Cancellable {
    /// Its beginning up to a jump's distance, and the rest behind that. Bit 3 of what rdi points to
    /// says that the thread was cancelled.
    const FUNCTION: [&[u8]; 2] = [
        &[0x8b, 0x07, 0xf6, 0x07, 0x08, 0x0f, 0x85],
        &[
            0x49, 0x89, 0xfb, 0x48, 0x89, 0xf0, 0x48, 0x89, 0xd7, 0x48, 0x89, 0xce, 0x4c, 0x89,
            0xc2, 0x4d, 0x89, 0xca, 0x4c, 0x8b, 0x44, 0x24, 0x08, 0x4c, 0x8b, 0x4c, 0x24, 0x10,
            0x4c, 0x89, 0x5c, 0x24, 0x08, 0x0f, 0x05, 0xc3,
        ],
    ];
    /// Bytes from the function's beginning to its `syscall`.
    const TO_SYSCALL: usize = 44;
    /// Bytes of its caller that are looked at, each side of its own `syscall`.
    const CALLER: usize = 128;

    /// Finds all three.
    #[must_use]
    pub fn find(code: &[u8]) -> Option<Cancellable> {
        let unknown = || sites(code).filter_map(Result::err);
        let function = unknown().find_map(|at| Cancellable::function_at(code, at))?;
        let mut callers = unknown().filter_map(|at| Cancellable::caller_at(code, at, function));
        callers.next()
    }

    /// The function whose `syscall` is at `at`.
    fn function_at(code: &[u8], at: usize) -> Option<usize> {
        let [first, second] = Cancellable::FUNCTION;
        let function = at.checked_sub(Cancellable::TO_SYSCALL)?;
        let rest = code.get(function..)?.strip_prefix(first)?.get(4..)?;
        rest.starts_with(second).then_some(function)
    }

    /// The caller whose own `syscall` is at `at`.
    fn caller_at(code: &[u8], at: usize, function: usize) -> Option<Cancellable> {
        let load = at.checked_sub(MOV)?;
        let [0x48, 0x8b, 0x44, 0x24, _] = code.get(load..at)? else {
            return None;
        };
        let first = at.saturating_sub(Cancellable::CALLER);
        let last = at.saturating_add(Cancellable::CALLER).min(code.len());
        let call = (first..last).find(|&call| calls(code, call) == Some(function))?;
        Some(Cancellable {
            function,
            call,
            load,
        })
    }
}

/// Where a `call` at `at` leads.
fn calls(code: &[u8], at: usize) -> Option<usize> {
    let [0xe8, distance @ ..] = code.get(at..at + MOV)? else {
        return None;
    };
    let distance = i32::from_le_bytes(distance.try_into().ok()?);
    (at + MOV).checked_add_signed(distance as isize)
}

/// Whether a function pushes `number` in its first bytes, as glibc's cancellable functions do: it is
/// the seventh argument of what they call.
#[must_use]
pub fn pushes(function: &[u8], number: u32) -> bool {
    const FIRST: usize = 48;
    let [short, ..] = number.to_le_bytes();
    let is_push = |at: usize| match function.get(at) {
        Some(0x6a) => number < 0x80 && function.get(at + 1) == Some(&short),
        Some(0x68) => function.get(at + 1..at + MOV) == Some(&number.to_le_bytes()),
        _ => false,
    };
    (0..FIRST).any(is_push)
}

/// Where the next `syscall` begins. All of libc is looked through at each start of a program, so by blocks of
/// 64 bytes, in few of which there is one.
fn next_syscall(code: &[u8], mut from: usize) -> Option<usize> {
    const BLOCK: usize = 64;
    const PART: usize = 16;
    let behind = |from: usize, length: usize| code.get(from..from.checked_add(length)?);
    // With the byte behind it, as a pair may lie across the end.
    while let Some(block) = behind(from, BLOCK + 1) {
        let parts = [0, PART, 2 * PART, 3 * PART].map(|part| {
            // SAFETY: 16 bytes from `part` and from the next byte on are in the block.
            unsafe { pairs(block.as_ptr().add(part)) }
        });
        let [a, b, c, d] = parts;
        // SAFETY: SSE2 is part of x86-64.
        if unsafe { _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))) } != 0 {
            // SAFETY: as above.
            let is_hit = |part: &__m128i| unsafe { _mm_movemask_epi8(*part) } != 0;
            from += PART * parts.iter().position(is_hit).unwrap_or(0);
            break;
        }
        from += BLOCK;
    }
    let rest = code.get(from..)?;
    Some(from + rest.windows(2).position(|pair| pair == SYSCALL)?)
}

/// Not zero where one of the 16 pairs of bytes that begin there is `syscall`.
///
/// # Safety
/// 17 bytes must be readable there.
unsafe fn pairs(at: *const u8) -> __m128i {
    // SAFETY: by the caller's promise; SSE2 is part of x86-64.
    unsafe {
        let syscall = _mm_set1_epi16(i16::from_le_bytes(SYSCALL));
        let even = _mm_loadu_si128(at.cast::<__m128i>());
        let odd = _mm_loadu_si128(at.add(1).cast::<__m128i>());
        _mm_or_si128(
            _mm_cmpeq_epi16(even, syscall),
            _mm_cmpeq_epi16(odd, syscall),
        )
    }
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
    fn syscall_is_found_by_its_moves() {
        let code = [
            &[0x90, 0x90],
            &BY_ARGUMENT[..],
            &SYSCALL,
            b"\x48\x3d\x01\xf0\xff\xff",
        ]
        .concat();
        assert_eq!(by_argument(&code, 25), Some((2, &BY_ARGUMENT[..])));
        for at in 2..25 {
            let mut other = code.clone();
            other[at] ^= 1;
            assert_eq!(by_argument(&other, 25), None, "byte {at}");
        }
        assert_eq!(by_argument(&code[3..], 22), None);
    }

    #[test]
    fn calls_of_another_form_are_told_from_halves_of_addresses() {
        let is = |before: &[u8], behind: &[u8]| {
            let code = [before, &SYSCALL, behind].concat();
            is_elsewise(&code, before.len(), &[11])
        };
        assert!(is(b"\x44\x89\xc8", b"\x48\x3d\x00\xf0\xff\xff"));
        assert!(is(b"\x48\x89\xd0", b"\x48\x8b"));
        assert!(is(b"\x48\x8b\x44\x24\x08", b"\x48\x3d"));
        assert!(is(b"\x44\x89\xc0\xbf\x01\x00\x00\x00", b"\x89\xc1"));
        assert!(is(b"\xb8\x0b\x00\x00\x00\x48\x0f\xaf\xf2", b"\x89\xc1"));
        assert!(!is(b"\xb8\x0c\x00\x00\x00\x48\x0f\xaf\xf2", b"\x89\xc1"));
        // To r8.
        assert!(!is(b"\x49\x89\xc0", b"\x89\xc1"));
        assert!(!is(b"\x4d\x8b\x40\x27\x46\x8b\x5c", b"\x4d\x8b\x70"));
        assert!(!is(b"\x89\xd0\x48\x8d\x35", b"\x00\x01"));
        assert!(!is(b"\x89\xd0\xe8", b"\xff\xff"));
        assert!(!is(b"\x48\x8d\x0d\x03\x05", b"\xaa\x00"));
        assert!(!is(b"\x89\xd0", b""));
    }

    /// As glibc 2.41 of Debian 13 has it, but nearer together.
    fn cancellable() -> Vec<u8> {
        let mut code = vec![0xcc; 16];
        code.extend(b"\x8b\x07\xf6\x07\x08\x0f\x85\xd5\x4b\xff\xff\x49\x89\xfb\x48\x89\xf0");
        code.extend(b"\x48\x89\xd7\x48\x89\xce\x4c\x89\xc2\x4d\x89\xca\x4c\x8b\x44\x24\x08");
        code.extend(b"\x4c\x8b\x4c\x24\x10\x4c\x89\x5c\x24\x08\x0f\x05\xc3");
        code.extend(b"\x0f\x05\x53\xe8");
        let behind = code.len() as i32 + 4;
        code.extend((16 - behind).to_le_bytes());
        code.extend(b"\x5b\xc3\x48\x8b\x44\x24\x10\x0f\x05\x5b\xc3");
        code
    }

    #[test]
    fn cancellable_calls_are_found_by_their_function_and_its_caller() {
        let code = cancellable();
        let found = Cancellable::find(&code).unwrap();
        assert_eq!((found.function, found.call, found.load), (16, 66, 73));
        assert_eq!(code[found.call], 0xe8);
        assert_eq!(code[found.load + MOV..][..2], SYSCALL);
    }

    #[test]
    fn cancellable_calls_of_another_form_are_not() {
        for at in [16, 20, 27, 59, 60, 61, 66, 67, 73, 76] {
            let mut code = cancellable();
            code[at] ^= 1;
            assert_eq!(Cancellable::find(&code), None, "byte {at}");
        }
        assert_eq!(Cancellable::find(&cancellable()[..78]), None);
    }

    #[test]
    fn a_pushed_number_is_seen() {
        assert!(pushes(b"\x48\x83\xec\x10\x6a\x01\x31\xc9\xe8", 1));
        assert!(pushes(b"\x48\x83\xec\x10\x68\x1d\x01\x00\x00\xe8", 0x11d));
        assert!(!pushes(b"\x48\x83\xec\x10\x6a\x01\x31\xc9\xe8", 0x101));
        assert!(!pushes(b"\x48\x83\xec\x10\x68\x1d\x01", 0x11d));
        assert!(!pushes(b"", 0));
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
