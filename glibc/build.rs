//! Makes what the linker gets ahead of this machine's glibc: its libraries without code, with the names that an old
//! glibc has in the versions of that, and old.c.

use object::read::elf::{ElfFile64, FileHeader, Sym};
use object::{Endianness, elf};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The glibc whose versions are referred to: std wants no older one. What came later is referred to without a
/// version, weakly, so that nothing is refused for the lack of it.
const OLDEST: &[u32] = &[2, 17];
/// The first glibc with all libraries in one.
const MERGED: &[u32] = &[2, 34];
/// Of what moved into libc then, what can be looked for there: it was there before, or old.c looks elsewhere.
const IN_LIBC: &[&str] = &["__libc_start_main", "dladdr", "dlopen", "dlsym"];

/// GLIBC_2.2.5 is [2, 2, 5].
type Version = Vec<u32>;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/old.c");
    let target = |part: &str| env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    // On other processors glibc began with other versions.
    if target("ENV") != "gnu" || target("ARCH") != "x86_64" {
        return;
    }
    let directory = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rustc-link-search=native={}", directory.display());
    let (libc, libpthread) = split(look("libc.so.6"));
    let (libm, _) = split(look("libm.so.6"));
    let (loader, _) = split(look("ld-linux-x86-64.so.2"));
    for (soname, symbols) in [
        ("libpthread.so.0", libpthread),
        ("libm.so.6", libm),
        ("ld-linux-x86-64.so.2", loader),
        ("libc.so.6", libc),
    ] {
        let name = format!("daxshim-{}", soname.split('.').next().unwrap_or_default());
        stub(&directory, soname, &name, &symbols);
        println!("cargo:rustc-link-lib=dylib={name}");
    }
    functions(&directory);
    println!("cargo:rustc-link-lib=static:+whole-archive=daxshim-old");
}

/// A name of a library.
#[derive(Default)]
struct Symbol {
    is_data: bool,
    size: u64,
    /// Whether what is linked today can refer to it.
    is_current: bool,
    /// All that it has.
    versions: Vec<Version>,
}

impl Symbol {
    /// Its newest version that the oldest glibc has.
    fn old(&self) -> Option<&Version> {
        let versions = self.versions.iter();
        versions.filter(|version| &version[..] <= OLDEST).max()
    }

    fn newest(&self) -> &[u32] {
        self.versions.iter().max().map_or(&[], Vec::as_slice)
    }
}

type Symbols = BTreeMap<String, Symbol>;

/// What libc, or libm, has of its own in the oldest glibc; and what was in libpthread. What else moved has no version
/// that could be asked for, as what came later.
fn split(mut library: Symbols) -> (Symbols, Symbols) {
    let mut libpthread = Symbols::new();
    for (name, symbol) in &mut library {
        let is_changed = symbol.newest() > OLDEST && symbol.old().is_some();
        if is_changed && name.starts_with("pthread_") {
            libpthread.insert(name.clone(), std::mem::take(symbol));
        } else if symbol.newest() == MERGED && !IN_LIBC.contains(&name.as_str()) {
            symbol.versions.clear();
        }
    }
    library.retain(|name, _| !libpthread.contains_key(name));
    (library, libpthread)
}

/// Names and versions of this machine's library, without those that glibc keeps to itself.
fn look(name: &str) -> Symbols {
    let found = compiler().arg(format!("-print-file-name={name}")).output();
    let found = found.unwrap_or_else(|error| panic!("cannot run the C compiler: {error}"));
    let path = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    println!("cargo:rerun-if-changed={path}");
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    read(&bytes).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

fn read(bytes: &[u8]) -> object::Result<Symbols> {
    let header = elf::FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let file = ElfFile64::<Endianness>::parse(bytes)?;
    let table = file.elf_dynamic_symbol_table();
    let versions = file.elf_section_table().versions(endian, bytes)?;
    let mut symbols = Symbols::new();
    for (index, symbol) in table.enumerate() {
        let kind = symbol.st_type();
        let is_data = kind == elf::STT_OBJECT;
        let is_code = matches!(kind, elf::STT_FUNC | elf::STT_GNU_IFUNC);
        // The versions themselves are symbols, too.
        let is_version = symbol.st_shndx(endian) == elf::SHN_ABS;
        if symbol.is_undefined(endian) || is_version || !(is_data || is_code) {
            continue;
        }
        let Some(versions) = &versions else { continue };
        let version = versions.version(versions.version_index(endian, index))?;
        let is_hidden = versions.version_index(endian, index).is_hidden();
        let Some(version) = version.and_then(|version| parse(version.name())) else {
            continue;
        };
        let name = String::from_utf8_lossy(table.symbol_name(endian, symbol)?).into_owned();
        let known = symbols.entry(name).or_default();
        known.is_data = is_data;
        known.size = symbol.st_size(endian);
        known.is_current |= !is_hidden;
        known.versions.push(version);
    }
    symbols.retain(|_, symbol| symbol.is_current);
    Ok(symbols)
}

fn parse(version: &[u8]) -> Option<Version> {
    let version = std::str::from_utf8(version).ok()?;
    let parts = version.strip_prefix("GLIBC_")?.split('.');
    parts.map(|part| part.parse().ok()).collect()
}

fn stub(directory: &Path, soname: &str, name: &str, symbols: &Symbols) {
    let mut code = String::from(".section .note.GNU-stack,\"\",@progbits\n");
    let mut versions: BTreeMap<&Version, Vec<&str>> = BTreeMap::new();
    for (symbol, Symbol { is_data, size, .. }) in symbols {
        let (section, kind) = match is_data {
            true => (".data", "@object"),
            false => (".text", "@function"),
        };
        code += &format!("{section}\n.globl {symbol}\n.type {symbol}, {kind}\n");
        code += &format!(".size {symbol}, {size}\n{symbol}: .skip {size}\n");
    }
    for (name, symbol) in symbols {
        if let Some(version) = symbol.old() {
            versions.entry(version).or_default().push(name);
        }
    }
    let mut script = String::new();
    for (version, names) in versions {
        let version: Vec<_> = version.iter().map(u32::to_string).collect();
        let [version, names] = [version.join("."), names.join("; ")];
        script += &format!("GLIBC_{version} {{ global: {names}; }};\n");
    }
    let [code_file, script_file] = [".s", ".map"].map(|end| directory.join(format!("{name}{end}")));
    write(&code_file, &code);
    write(&script_file, &script);
    run(compiler()
        .args(["-shared", "-nostdlib", "-o"])
        .arg(directory.join(format!("lib{name}.so")))
        .arg(format!("-Wl,-soname,{soname}"))
        .arg(format!("-Wl,--version-script,{}", script_file.display()))
        .arg(&code_file));
}

/// What old.c has, as an archive.
fn functions(directory: &Path) {
    let [object, archive] = ["old.o", "libdaxshim-old.a"].map(|name| directory.join(name));
    run(compiler()
        .args(["-c", "-O2", "-fPIC", "-std=gnu11", "-Wall", "-Werror"])
        .args(["-ffunction-sections", "-fno-lto", "-o"])
        .arg(&object)
        .arg("src/old.c"));
    // It would keep what is no longer in it.
    let _ = fs::remove_file(&archive);
    run(Command::new("ar").arg("crsD").arg(&archive).arg(&object));
}

/// The compiler that rustc links with, too.
fn compiler() -> Command {
    Command::new(env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into()))
}

fn write(path: &Path, text: &str) {
    if let Err(error) = fs::write(path, text) {
        panic!("cannot write {}: {error}", path.display());
    }
}

fn run(command: &mut Command) {
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{command:?}: {status}"),
        Err(error) => panic!("cannot run {command:?}: {error}: install a C compiler and binutils"),
    }
}
