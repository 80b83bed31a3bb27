//! Which system calls the functions of a library reach, by its code alone: every function that has
//! unwind information is disassembled from end to end, so switches and cold parts are seen too.
//! A function whose address is taken counts as called. Calls through tables of pointers are not
//! followed: whoever uses this must look at every system call, not only at those that are reached.

use crate::{Failed, fail};
use daxshim_core::sites::{MOV, site_at};
use gimli::{BaseAddresses, CieOrFde, EhFrame, LittleEndian, UnwindSection};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory};
use iced_x86::{Mnemonic, OpAccess, OpKind, Register};
use object::elf::{FileHeader64, SHT_DYNSYM, STT_FUNC, STT_GNU_IFUNC};
use object::read::elf::{FileHeader, Sym};
use object::{Endianness, Object, ObjectSection};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A `syscall` instruction.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its address in the file.
    pub address: u64,
    /// The numbers it can be made with, as far as the code around it says; none: any.
    pub numbers: BTreeSet<u32>,
    /// Where its number is loaded, if `daxshim_core::sites` understands its form.
    pub begins: Option<u64>,
    /// Whether a jump leads in between there and itself, or into what is overwritten there.
    pub is_entered_late: bool,
}

/// A library's code.
#[derive(Debug)]
pub struct Library {
    /// As [`exports`].
    pub exports: BTreeMap<String, u64>,
    functions: Vec<Function>,
    /// Where the code begins in memory, less where in the file.
    bias: u64,
}

#[derive(Debug)]
struct Function {
    start: u64,
    end: u64,
    leads_to: BTreeSet<usize>,
    places: Vec<Place>,
}

impl Library {
    /// Reads and disassembles it.
    ///
    /// # Errors
    /// When it is not an ELF file for x86-64 with unwind information.
    pub fn read(path: &Path) -> Result<Library, Failed> {
        let bytes = std::fs::read(path)?;
        let file = object::File::parse(&*bytes)?;
        let section = |name: &str| {
            let section = file.section_by_name(name).ok_or(format!("no {name}"))?;
            let offset = section.file_range().map_or(0, |(offset, _)| offset);
            Ok::<_, Failed>((section.address(), section.data()?, offset))
        };
        let (text, code, file_offset) = section(".text")?;
        let (frames, unwind, _) = section(".eh_frame")?;
        let ranges = ranges(frames, unwind, text..text + code.len() as u64)?;
        let begins = |address: u64| {
            let site = site_at(code, (address - text) as usize)?;
            Some(text + site.offset as u64)
        };
        let slice = |start: u64, end: u64| &code[(start - text) as usize..(end - text) as usize];
        let starts: Vec<u64> = ranges.iter().map(|range| range.0).collect();
        let owner = |address: u64| {
            let index = starts
                .partition_point(|&start| start <= address)
                .checked_sub(1)?;
            (address < ranges[index].1).then_some(index)
        };
        let mut functions = Vec::new();
        let mut targets = BTreeSet::new();
        for &(start, end) in &ranges {
            let instructions: Vec<Instruction> =
                Decoder::with_ip(64, slice(start, end), start, DecoderOptions::NONE)
                    .into_iter()
                    .collect();
            let near: Vec<u64> = instructions.iter().filter_map(target).collect();
            targets.extend(near.iter().copied());
            let leads_to = near.into_iter().filter_map(owner).collect();
            let before = predecessors(&instructions);
            let places = (0..instructions.len())
                .filter(|&i| instructions[i].mnemonic() == Mnemonic::Syscall)
                .map(|i| Place {
                    address: instructions[i].ip(),
                    numbers: numbers(&instructions, &before, i),
                    begins: begins(instructions[i].ip()),
                    is_entered_late: false,
                })
                .collect();
            functions.push(Function {
                start,
                end,
                leads_to,
                places,
            });
        }
        for place in functions
            .iter_mut()
            .flat_map(|function| &mut function.places)
        {
            place.is_entered_late = place.begins.is_some_and(|begins| {
                let last = place.address.max(begins + MOV as u64 - 1);
                targets.range(begins + 1..=last).next().is_some()
            });
        }
        Ok(Library {
            exports: exported(&bytes)?,
            functions,
            bias: text - file_offset,
        })
    }

    /// Every system call in the code.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.functions.iter().flat_map(|function| &function.places)
    }

    /// Where a byte of the file's code is in memory.
    #[must_use]
    pub fn address(&self, offset: u64) -> Option<u64> {
        offset.checked_add(self.bias)
    }

    /// Those that a function makes itself.
    #[must_use]
    pub fn own(&self, address: u64) -> Vec<&Place> {
        let mine = self
            .functions
            .iter()
            .filter(|f| (f.start..f.end).contains(&address));
        mine.flat_map(|function| &function.places).collect()
    }

    /// Those that a function reaches: its own, and those of every function it calls or jumps to.
    #[must_use]
    pub fn reached(&self, address: u64) -> Vec<&Place> {
        let begins = |function: &Function| (function.start..function.end).contains(&address);
        let mut waiting: Vec<usize> = self.functions.iter().position(begins).into_iter().collect();
        let mut seen: BTreeSet<usize> = waiting.iter().copied().collect();
        while let Some(index) = waiting.pop() {
            let next = self.functions[index].leads_to.iter();
            waiting.extend(next.copied().filter(|&next| seen.insert(next)));
        }
        seen.iter()
            .flat_map(|&index| &self.functions[index].places)
            .collect()
    }
}

/// Where the functions of `text` begin and end, in order, as the unwind information has them.
fn ranges(
    address: u64,
    unwind: &[u8],
    text: std::ops::Range<u64>,
) -> Result<Vec<(u64, u64)>, Failed> {
    let frames = EhFrame::new(unwind, LittleEndian);
    let bases = BaseAddresses::default()
        .set_eh_frame(address)
        .set_text(text.start);
    let mut entries = frames.entries(&bases);
    let mut found = BTreeMap::new();
    while let Some(entry) = entries.next()? {
        if let CieOrFde::Fde(partial) = entry {
            let fde = partial.parse(EhFrame::cie_from_offset)?;
            let end = fde.initial_address() + fde.len();
            // That of a signal's return begins a byte early, so that unwinding finds it.
            let start = fde.initial_address() + u64::from(fde.is_signal_trampoline());
            if text.contains(&start) {
                found.insert(start, end);
            }
        }
    }
    if found.is_empty() {
        fail!("no function has unwind information");
    }
    Ok(found.into_iter().collect())
}

/// The functions of a library that a program can link to, GLIBC_PRIVATE left out, and where they
/// begin; of several versions each, with `@` behind the name.
///
/// # Errors
/// When it is not an ELF file for x86-64.
pub fn exports(path: &Path) -> Result<BTreeMap<String, u64>, Failed> {
    exported(&std::fs::read(path)?)
}

fn exported(bytes: &[u8]) -> Result<BTreeMap<String, u64>, Failed> {
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let symbols = sections.symbols(endian, bytes, SHT_DYNSYM)?;
    let versions = sections.versions(endian, bytes)?;
    let mut found = BTreeMap::new();
    for (index, symbol) in symbols.enumerate() {
        let is_function = [STT_FUNC, STT_GNU_IFUNC].contains(&symbol.st_type());
        if symbol.is_undefined(endian) || !is_function {
            continue;
        }
        let version = versions
            .as_ref()
            .map(|versions| versions.version(versions.version_index(endian, index)))
            .transpose()?
            .flatten();
        if version.is_some_and(|version| version.name() == b"GLIBC_PRIVATE") {
            continue;
        }
        let mut name = String::from_utf8_lossy(symbols.symbol_name(endian, symbol)?).into_owned();
        while found
            .get(&name)
            .is_some_and(|&other| other != symbol.st_value(endian))
        {
            name.push('@');
        }
        found.insert(name, symbol.st_value(endian));
    }
    Ok(found)
}

/// Where a call or jump leads, or a pointer to code points, if the code says.
fn target(instruction: &Instruction) -> Option<u64> {
    match (instruction.flow_control(), instruction.op0_kind()) {
        (_, OpKind::NearBranch64) => Some(instruction.near_branch_target()),
        _ if instruction.mnemonic() == Mnemonic::Lea && instruction.is_ip_rel_memory_operand() => {
            Some(instruction.ip_rel_memory_address())
        }
        _ => None,
    }
}

/// What may be in eax at the system call `at`: every constant that reaches it, by whatever way
/// through the function. Nothing where something else than a constant does.
fn numbers(instructions: &[Instruction], before: &[Vec<usize>], at: usize) -> BTreeSet<u32> {
    let mut info = InstructionInfoFactory::new();
    let mut found = BTreeSet::new();
    let mut waiting = vec![(at, Register::RAX)];
    let mut seen = BTreeSet::new();
    while let Some((at, register)) = waiting.pop() {
        for &index in &before[at] {
            if !seen.insert((index, register)) {
                continue;
            }
            let instruction = &instructions[index];
            let writes = info.info(instruction).used_registers().iter().any(|used| {
                let reads_only = matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
                used.register().full_register() == register && !reads_only
            });
            let is_copy = instruction.mnemonic() == Mnemonic::Mov
                && instruction.op1_kind() == OpKind::Register;
            match constant(instruction) {
                _ if !writes => waiting.push((index, register)),
                Some(constant) => drop(found.insert(constant)),
                None if is_copy => {
                    waiting.push((index, instruction.op1_register().full_register()));
                }
                None => return BTreeSet::new(),
            }
        }
    }
    found
}

/// For each instruction those that may run right before it.
fn predecessors(instructions: &[Instruction]) -> Vec<Vec<usize>> {
    let mut before = vec![Vec::new(); instructions.len()];
    for (index, instruction) in instructions.iter().enumerate() {
        let flow = instruction.flow_control();
        let falls_through = matches!(
            flow,
            FlowControl::Next | FlowControl::ConditionalBranch | FlowControl::Call
        );
        if falls_through && index + 1 < instructions.len() {
            before[index + 1].push(index);
        }
        let jumps = matches!(
            flow,
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
        );
        if let Some(target) = target(instruction).filter(|_| jumps)
            && let Ok(to) = instructions.binary_search_by_key(&target, Instruction::ip)
        {
            before[to].push(index);
        }
    }
    before
}

/// The constant that an instruction puts into its first operand.
fn constant(instruction: &Instruction) -> Option<u32> {
    match (instruction.mnemonic(), instruction.op1_kind()) {
        (Mnemonic::Mov, OpKind::Immediate32 | OpKind::Immediate32to64) => {
            Some(instruction.immediate32())
        }
        (Mnemonic::Xor, OpKind::Register)
            if instruction.op0_register() == instruction.op1_register() =>
        {
            Some(0)
        }
        _ => None,
    }
}
