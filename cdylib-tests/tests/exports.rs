//! The library as a file: what it exports, what it needs, how big it is; and that each row of the
//! table of hooks has its program.

use daxshim_core::symbols::{HOOKS, QUESTIONS};
use daxshim_tests::{built, library, program};
use iced_x86::{Decoder, DecoderOptions, EncodingKind};
use object::elf::{DF_1_INITFIRST, DT_FLAGS_1, DT_NEEDED, FileHeader64, STT_FUNC, STT_GNU_IFUNC};
use object::read::elf::{Dyn, FileHeader, Sym};
use object::{Endianness, Object, ObjectSection};
use std::collections::BTreeSet;

type Elf = FileHeader64<Endianness>;

/// Names of the functions the library defines for others, and of the libraries it needs.
fn look() -> (BTreeSet<String>, BTreeSet<String>) {
    let bytes = std::fs::read(library()).expect("the library can be read");
    let header = Elf::parse(&*bytes).expect("the library is ELF");
    let endian = header.endian().expect("its byte order is known");
    let sections = header.sections(endian, &*bytes).expect("it has sections");
    let symbols = sections
        .symbols(endian, &*bytes, object::elf::SHT_DYNSYM)
        .expect("it has .dynsym");
    let exported = symbols
        .iter()
        .filter(|symbol| {
            !symbol.is_undefined(endian) && [STT_FUNC, STT_GNU_IFUNC].contains(&symbol.st_type())
        })
        .map(|symbol| symbols.symbol_name(endian, symbol).expect("it has a name"))
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    let (dynamic, link) = sections
        .dynamic(endian, &*bytes)
        .expect("it can be read")
        .expect("it is there");
    let strings = sections
        .strings(endian, &*bytes, link)
        .expect("it has .dynstr");
    let needed = dynamic
        .iter()
        .filter(|entry| entry.tag32(endian) == Some(DT_NEEDED))
        .map(|entry| entry.string(endian, strings).expect("it has a name"))
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    (exported, needed)
}

#[test]
fn every_row_has_its_program() {
    let without: Vec<_> = HOOKS
        .iter()
        // A row without a name is reached through libc's function, whose program covers it.
        .filter(|hook| !hook.symbols.is_empty())
        .map(|hook| hook.function)
        .filter(|row| !program(&format!("hooks/{row}")).exists())
        .collect();
    assert!(
        without.is_empty(),
        "rows without a program in cdylib-tests/programs/hooks: {without:?}"
    );
}

#[test]
fn every_name_of_every_row_is_exported() {
    let (exported, _) = look();
    let missing: Vec<_> = HOOKS
        .iter()
        .flat_map(|hook| hook.symbols)
        .chain(QUESTIONS)
        .filter(|&&name| !exported.contains(name))
        .collect();
    assert!(
        missing.is_empty(),
        "in the table, yet not exported: {missing:?}"
    );
}

#[test]
fn nothing_else_is_exported() {
    let (exported, _) = look();
    let rows: BTreeSet<&str> = HOOKS
        .iter()
        .flat_map(|hook| hook.symbols)
        .chain(QUESTIONS)
        .copied()
        .collect();
    let stray: Vec<_> = exported
        .iter()
        .filter(|name| !rows.contains(name.as_str()))
        .collect();
    assert!(
        stray.is_empty(),
        "exported, yet not in the table: {stray:?}"
    );
}

#[test]
fn the_header_declares_every_question_and_nothing_else() {
    let header = concat!(env!("CARGO_MANIFEST_DIR"), "/../include/daxshim.h");
    let header = std::fs::read_to_string(header).expect("the header can be read");
    let declared: Vec<_> = header
        .split("DAXSHIM_WEAK(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(declared, QUESTIONS);
}

#[test]
fn it_needs_only_libc_and_libgcc() {
    let (_, needed) = look();
    let allowed = [
        "libc.so.6",
        "libgcc_s.so.1",
        "ld-linux-x86-64.so.2",
        "ld-linux-aarch64.so.1",
    ];
    let others: Vec<_> = needed
        .iter()
        .filter(|name| !allowed.contains(&name.as_str()))
        .collect();
    assert!(others.is_empty(), "it needs {others:?} too");
}

#[test]
fn it_is_initialised_first() {
    let bytes = std::fs::read(library()).expect("the library can be read");
    let header = Elf::parse(&*bytes).expect("the library is ELF");
    let endian = header.endian().expect("its byte order is known");
    let sections = header.sections(endian, &*bytes).expect("it has sections");
    let (dynamic, _) = sections
        .dynamic(endian, &*bytes)
        .expect("it can be read")
        .expect("it is there");
    let is_first = dynamic.iter().any(|entry| {
        entry.tag32(endian) == Some(DT_FLAGS_1)
            && entry.d_val(endian) & u64::from(DF_1_INITFIRST) != 0
    });
    assert!(is_first, "it was linked without -z initfirst");
}

/// What the library and the command refer to is in glibc 2.28, and in each since; docs/install.md says so. That they
/// refer to nothing newer than 2.17 is what `daxshim_core::loader` relies on.
#[test]
fn they_need_no_newer_glibc_than_is_said() {
    for file in [library(), built("daxshim")] {
        let bytes = std::fs::read(&file).expect("it can be read");
        let header = Elf::parse(&*bytes).expect("it is ELF");
        let endian = header.endian().expect("its byte order is known");
        let sections = header.sections(endian, &*bytes).expect("it has sections");
        let symbols = sections
            .symbols(endian, &*bytes, object::elf::SHT_DYNSYM)
            .expect("it has .dynsym");
        let versions = sections
            .versions(endian, &*bytes)
            .expect("they can be read")
            .expect("it has versions");
        for (index, symbol) in symbols.enumerate().skip(1) {
            if !symbol.is_undefined(endian) {
                continue;
            }
            let name = symbol.name(endian, symbols.strings());
            let name = String::from_utf8_lossy(name.expect("it has a name"));
            let version = versions.version(versions.version_index(endian, index));
            match version.expect("its version is there") {
                Some(version) => {
                    let version = String::from_utf8_lossy(version.name());
                    let minor = version.strip_prefix("GLIBC_2.").map(|rest| {
                        let minor = rest.split('.').next().unwrap_or_default();
                        minor.parse::<u32>().expect("a number")
                    });
                    assert!(
                        minor <= Some(17) && !version.ends_with("PRIVATE"),
                        "{}: {name}@{version}",
                        file.display()
                    );
                }
                None => assert!(
                    symbol.st_bind() == object::elf::STB_WEAK,
                    "{}: {name} has no version, and is not weak: an older glibc may not have it",
                    file.display()
                ),
            }
        }
    }
}

#[test]
fn stripped_it_is_under_a_mebibyte() {
    let bytes = std::fs::read(library()).expect("the library can be read");
    let file = object::File::parse(&*bytes).expect("the library is ELF");
    let debug = [".symtab", ".strtab"];
    let stripped: u64 = file
        .sections()
        .filter(|s| {
            s.name()
                .is_ok_and(|name| !name.starts_with(".debug") && !debug.contains(&name))
        })
        .map(|s| s.file_range().map_or(0, |(_, size)| size))
        .sum();
    let optimised = std::env::var_os("DAXSHIM_TEST_DEV_BUILD").is_none();
    assert!(!optimised || stripped < 1 << 20, "{stripped} bytes");
}

/// A place that was turned in libc stands for the kernel's `syscall`, which preserves ymm, zmm and k registers.
#[test]
fn it_leaves_wide_registers_alone() {
    let bytes = std::fs::read(library()).expect("the library can be read");
    let file = object::File::parse(&*bytes).expect("the library is ELF");
    let text = file.section_by_name(".text").expect("it has code");
    let code = text.data().expect("its code can be read");
    let wide: Vec<_> = Decoder::with_ip(64, code, text.address(), DecoderOptions::NONE)
        .into_iter()
        .filter(|instruction| {
            !matches!(
                instruction.encoding(),
                EncodingKind::Legacy | EncodingKind::D3NOW
            )
        })
        .map(|instruction| format!("{:x}: {instruction:?}", instruction.ip()))
        .collect();
    assert!(wide.is_empty(), "VEX and EVEX encoded: {wide:#?}");
    let imported: Vec<_> = file
        .imports()
        .expect("it has imports")
        .iter()
        .map(|import| String::from_utf8_lossy(import.name()).into_owned())
        .filter(|name| {
            let beginnings = ["mem", "str", "stp", "bcmp", "bcopy", "bzero", "wcs", "wmem"];
            beginnings
                .iter()
                .any(|beginning| name.starts_with(beginning))
        })
        .collect();
    assert!(
        imported.is_empty(),
        "libc's, which use what the CPU has: {imported:?}"
    );
}
