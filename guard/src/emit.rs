//! A small emitter of BPF instructions (Documentation/bpf/standardization/instruction-set.rst), with
//! labels.

use crate::Error;

/// A register. R0 is what a call and the program return, R1 to R5 what a call takes and loses, R6 to
/// R9 are kept, R10 is the end of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// The width of a load or store, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// A byte.
    B1,
    /// Two bytes.
    B2,
    /// Four bytes.
    B4,
    /// Eight bytes.
    B8,
}

impl Width {
    /// Of so many bytes.
    #[must_use]
    pub const fn of(bytes: u32) -> Option<Width> {
        match bytes {
            1 => Some(Width::B1),
            2 => Some(Width::B2),
            4 => Some(Width::B4),
            8 => Some(Width::B8),
            _ => None,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Width::B4 => 0x00,
            Width::B2 => 0x08,
            Width::B1 => 0x10,
            Width::B8 => 0x18,
        }
    }
}

/// What a jump asks of two values, without sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// They are equal.
    Equal,
    /// They are not.
    NotEqual,
    /// The first is greater.
    Greater,
    /// The first is greater, or equal.
    GreaterOrEqual,
    /// They have a bit in common.
    AnyBit,
}

impl Test {
    const fn bits(self) -> u8 {
        match self {
            Test::Equal => 0x10,
            Test::NotEqual => 0x50,
            Test::Greater => 0x20,
            Test::GreaterOrEqual => 0x30,
            Test::AnyBit => 0x40,
        }
    }
}

/// The functions of the kernel that programs here call (linux/bpf.h, `BPF_FUNC_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Helper {
    /// `bpf_map_lookup_elem`
    Lookup = 1,
    /// `bpf_map_update_elem`
    Update = 2,
    /// `bpf_map_delete_elem`
    Delete = 3,
    /// `bpf_get_current_pid_tgid`
    PidTgid = 14,
    /// `bpf_get_current_comm`
    Comm = 16,
    /// `bpf_probe_read_user`
    ReadUser = 112,
    /// `bpf_probe_read_kernel`
    ReadKernel = 113,
    /// `bpf_copy_from_user`
    CopyUser = 148,
    /// `bpf_get_current_task_btf`
    Task = 158,
    /// `bpf_task_pt_regs`
    TaskRegisters = 175,
}

/// A place in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

const LOAD_WIDE: u8 = 0x18;
const ALU: u8 = 0x04;
const ALU64: u8 = 0x07;
const JUMP: u8 = 0x05;
const JUMP32: u8 = 0x06;
const FROM_REGISTER: u8 = 0x08;
/// A map by its descriptor; a place in the value of one.
const PSEUDO_MAP: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
/// A call within the program.
const PSEUDO_CALL: u8 = 1;

/// A program being written.
#[derive(Debug, Default)]
pub struct Emitter {
    code: Vec<u64>,
    /// Where each label is.
    labels: Vec<Option<usize>>,
    /// Jumps to labels.
    jumps: Vec<(usize, Label)>,
    /// Calls of functions of the program's own.
    calls: Vec<(usize, Label)>,
}

impl Emitter {
    /// An empty program.
    #[must_use]
    pub fn new() -> Emitter {
        Emitter::default()
    }

    fn put(&mut self, code: u8, to: Register, from: u8, offset: i16, value: i32) -> &mut Emitter {
        let registers = u64::from(to as u8 | from << 4);
        self.code.push(
            u64::from(code)
                | registers << 8
                | u64::from(offset.cast_unsigned()) << 16
                | u64::from(value.cast_unsigned()) << 32,
        );
        self
    }

    /// A label that is placed later.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label is here.
    pub fn place(&mut self, label: Label) -> &mut Emitter {
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(self.code.len());
        }
        self
    }

    /// `to = from`
    pub fn copy(&mut self, to: Register, from: Register) -> &mut Emitter {
        self.put(ALU64 | 0xb0 | FROM_REGISTER, to, from as u8, 0, 0)
    }

    /// `to = value`
    pub fn set(&mut self, to: Register, value: i32) -> &mut Emitter {
        self.put(ALU64 | 0xb0, to, 0, 0, value)
    }

    /// `to += value`
    pub fn add(&mut self, to: Register, value: i32) -> &mut Emitter {
        self.put(ALU64, to, 0, 0, value)
    }

    /// `to += from`
    pub fn add_register(&mut self, to: Register, from: Register) -> &mut Emitter {
        self.put(ALU64 | FROM_REGISTER, to, from as u8, 0, 0)
    }

    /// `to &= value`, as 32 bits: the upper half becomes 0.
    pub fn and(&mut self, to: Register, value: i32) -> &mut Emitter {
        self.put(ALU | 0x50, to, 0, 0, value)
    }

    /// The lower half stays, the upper becomes 0.
    pub fn low_half(&mut self, to: Register) -> &mut Emitter {
        self.put(ALU | 0xb0 | FROM_REGISTER, to, to as u8, 0, 0)
    }

    /// `to <<= bits`
    pub fn shift_left(&mut self, to: Register, bits: i32) -> &mut Emitter {
        self.put(ALU64 | 0x60, to, 0, 0, bits)
    }

    /// `to >>= bits`, without sign
    pub fn shift_right(&mut self, to: Register, bits: i32) -> &mut Emitter {
        self.put(ALU64 | 0x70, to, 0, 0, bits)
    }

    /// `to = *(from + offset)`
    pub fn load(
        &mut self,
        width: Width,
        to: Register,
        from: Register,
        offset: i16,
    ) -> &mut Emitter {
        self.put(0x61 | width.bits(), to, from as u8, offset, 0)
    }

    /// `*(to + offset) = from`
    pub fn store(
        &mut self,
        width: Width,
        to: Register,
        offset: i16,
        from: Register,
    ) -> &mut Emitter {
        self.put(0x63 | width.bits(), to, from as u8, offset, 0)
    }

    /// `*(to + offset) = value`
    pub fn store_value(
        &mut self,
        width: Width,
        to: Register,
        offset: i16,
        value: i32,
    ) -> &mut Emitter {
        self.put(0x62 | width.bits(), to, 0, offset, value)
    }

    /// `*(to + offset) += from` of eight bytes, in one step for all processors.
    pub fn count(&mut self, to: Register, offset: i16, from: Register) -> &mut Emitter {
        self.put(0xc3 | Width::B8.bits(), to, from as u8, offset, 0)
    }

    /// The same; `from` then holds what was there before.
    pub fn fetch_and_add(&mut self, to: Register, offset: i16, from: Register) -> &mut Emitter {
        self.put(0xc3 | Width::B8.bits(), to, from as u8, offset, 1)
    }

    /// `to = ` the map with this descriptor
    pub fn map(&mut self, to: Register, map: i32) -> &mut Emitter {
        self.put(LOAD_WIDE, to, PSEUDO_MAP, 0, map)
            .put(0, Register::R0, 0, 0, 0)
    }

    /// `to = ` where the value of the map with this descriptor lies, an array of one element
    pub fn map_value(&mut self, to: Register, map: i32) -> &mut Emitter {
        self.put(LOAD_WIDE, to, PSEUDO_MAP_VALUE, 0, map)
            .put(0, Register::R0, 0, 0, 0)
    }

    /// Jumps if `a` compares so with `value`, as 64 bits (`value` is extended by its sign).
    pub fn jump_if(&mut self, a: Register, test: Test, value: i32, to: Label) -> &mut Emitter {
        self.jumps.push((self.code.len(), to));
        self.put(JUMP | test.bits(), a, 0, 0, value)
    }

    /// The same by the lower halves.
    pub fn jump_if_low(&mut self, a: Register, test: Test, value: u32, to: Label) -> &mut Emitter {
        self.jumps.push((self.code.len(), to));
        self.put(JUMP32 | test.bits(), a, 0, 0, value.cast_signed())
    }

    /// Jumps if `a` compares so with `b`, as 64 bits.
    pub fn jump_if_register(
        &mut self,
        a: Register,
        test: Test,
        b: Register,
        to: Label,
    ) -> &mut Emitter {
        self.jumps.push((self.code.len(), to));
        self.put(JUMP | test.bits() | FROM_REGISTER, a, b as u8, 0, 0)
    }

    /// Jumps.
    pub fn jump(&mut self, to: Label) -> &mut Emitter {
        self.jumps.push((self.code.len(), to));
        self.put(JUMP, Register::R0, 0, 0, 0)
    }

    /// Calls a function of the kernel.
    pub fn call(&mut self, helper: Helper) -> &mut Emitter {
        self.put(JUMP | 0x80, Register::R0, 0, 0, helper as i32)
    }

    /// Calls a function of the program's own, which begins at the label: with R1 to R5, and registers
    /// and a stack of its own.
    pub fn call_own(&mut self, function: Label) -> &mut Emitter {
        self.calls.push((self.code.len(), function));
        self.put(JUMP | 0x80, Register::R0, PSEUDO_CALL, 0, 0)
    }

    /// Returns R0.
    pub fn exit(&mut self) -> &mut Emitter {
        self.put(JUMP | 0x90, Register::R0, 0, 0, 0)
    }

    /// The program, its jumps resolved.
    ///
    /// # Errors
    /// A label was never placed, or lies too far away: a fault of daxshim.
    pub fn finish(mut self) -> Result<Vec<u64>, Error> {
        let fault = || {
            Error::new(
                "cannot make the guard's programs",
                "a jump has no place to go to",
                "this is a fault of daxshim; please report it",
            )
        };
        let labels = std::mem::take(&mut self.labels);
        let distance = |at: usize, label: Label| {
            let place = labels.get(label.0).copied().flatten()?;
            i16::try_from(place as i64 - at as i64 - 1).ok()
        };
        for (at, label) in std::mem::take(&mut self.jumps) {
            let distance = distance(at, label).ok_or_else(fault)?;
            let word = self.code.get_mut(at).ok_or_else(fault)?;
            *word |= u64::from(distance.cast_unsigned()) << 16;
        }
        for (at, label) in std::mem::take(&mut self.calls) {
            let distance = i32::from(distance(at, label).ok_or_else(fault)?);
            let word = self.code.get_mut(at).ok_or_else(fault)?;
            *word |= u64::from(distance.cast_unsigned()) << 32;
        }
        Ok(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Register::{R0, R1, R2, R6, R10};

    #[test]
    fn instructions_have_the_kernel_s_encoding() {
        let mut e = Emitter::new();
        e.copy(R6, R1)
            .load(Width::B8, R1, R6, 16)
            .load(Width::B4, R2, R1, -4)
            .store(Width::B2, R10, -8, R2)
            .set(R0, -1)
            .map(R1, 7)
            .call(Helper::Lookup)
            .fetch_and_add(R0, 8, R1)
            .exit();
        assert_eq!(
            e.finish().unwrap(),
            [
                0x0000_0000_0000_16bf,
                0x0000_0000_0010_6179,
                0x0000_0000_fffc_1261,
                0x0000_0000_fff8_2a6b,
                0xffff_ffff_0000_00b7,
                0x0000_0007_0000_1118,
                0,
                0x0000_0001_0000_0085,
                0x0000_0001_0008_10db,
                0x0000_0000_0000_0095,
            ]
        );
    }

    #[test]
    fn jumps_count_from_the_next_instruction() {
        let mut e = Emitter::new();
        let (end, top) = (e.label(), e.label());
        e.place(top)
            .jump_if_low(R1, Test::AnyBit, 0x8000_0000, end)
            .jump(top)
            .place(end)
            .exit();
        let code = e.finish().unwrap();
        assert_eq!(code[0], 0x8000_0000_0001_0146);
        assert_eq!(code[1], 0x0000_0000_fffe_0005);
    }

    #[test]
    fn own_functions_are_called_by_distance() {
        let mut e = Emitter::new();
        let function = e.label();
        e.call_own(function).exit().place(function).exit();
        assert_eq!(e.finish().unwrap()[0], 0x0000_0001_0000_1085);
    }

    #[test]
    fn a_label_that_was_never_placed_is_an_error() {
        let mut e = Emitter::new();
        let nowhere = e.label();
        e.jump(nowhere);
        assert!(e.finish().is_err());
    }
}
