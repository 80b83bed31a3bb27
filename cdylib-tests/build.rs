//! Compiles every program of `programs/`, and the examples, into `OUT_DIR`, so that the tests need no compiler: they
//! also run in a virtual machine that has none.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::SystemTime;
use std::{env, fs};

/// Where the shared libraries are that programs load.
const MODULES: &str = "modules";
/// Folders whose programs are built in a way of their own, below.
const SPECIAL: [&str; 3] = ["early", "foreign", "guard"];

fn main() {
    println!("cargo:rerun-if-changed=programs");
    println!("cargo:rerun-if-changed=../examples");
    println!("cargo:rerun-if-changed=../include");
    println!("cargo:rerun-if-env-changed=CC");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("programs");
    let (mut sources, mut headers) = (Vec::new(), vec![PathBuf::from("../include/daxshim.h")]);
    walk(Path::new("programs"), &mut |path| match path
        .extension()
        .and_then(|extension| extension.to_str())
    {
        Some("c") if SPECIAL.iter().all(|special| kind(&path) != *special) => sources.push(path),
        Some("h") => headers.push(path),
        _ => {}
    });
    sources.sort();
    let programs: HashSet<PathBuf> = sources.iter().map(|source| program(source)).collect();
    assert_eq!(
        programs.len(),
        sources.len(),
        "two programs of one kind and name"
    );
    let newest_header = headers.iter().map(|header| changed(header)).max().flatten();
    for pair in sources.chunks(2) {
        let compilers: Vec<_> = pair
            .iter()
            .filter_map(|source| compile(source, &out, newest_header))
            .collect();
        for (source, mut compiler) in compilers {
            let status = compiler.wait().expect("the C compiler can be waited for");
            assert!(status.success(), "cc: {}: {status}", source.display());
        }
    }
    // As a program of somebody else's would be compiled: by any standard, without extensions.
    example(&out, "ask", &["-std=c99"]);
    example(&out, "ask_cpp", &["-x", "c++", "-std=c++98"]);
    exceptions(&out);
    foreign(&out);
    early(&out);
    raw(&out);
}

/// The one program in C++.
fn exceptions(out: &Path) {
    fs::create_dir_all(out.join("watch")).expect("OUT_DIR is ours");
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".into());
    let status = Command::new(compiler)
        .args([
            "-std=c++17",
            "-O1",
            "-g",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-pthread",
        ])
        .args(["programs/watch/exceptions.cpp", "-o"])
        .arg(out.join("watch/exceptions"))
        .status()
        .expect("a C++ compiler is installed (Debian: apt-get install g++)");
    assert!(
        status.success(),
        "c++: programs/watch/exceptions.cpp: {status}"
    );
}

/// A static program without libc, which no library can hold.
fn raw(out: &Path) {
    // Its calls are those of one processor, as the virtual machine's is.
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("x86_64") {
        return;
    }
    fs::create_dir_all(out.join("guard")).expect("OUT_DIR is ours");
    let status = Command::new(cc())
        .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror"])
        .args([
            "-static",
            "-nostdlib",
            "-ffreestanding",
            "-fno-pie",
            "-no-pie",
        ])
        .args(["-fno-stack-protector", "programs/guard/raw.c", "-o"])
        .arg(out.join("guard/raw"))
        .status()
        .expect("a C compiler is installed (Debian: apt-get install gcc libc6-dev)");
    assert!(status.success(), "cc: programs/guard/raw.c: {status}");
}

/// A program with a library whose constructor calls the table's functions, and the same with one that is
/// initialised before all others.
fn early(out: &Path) {
    let out = out.join("early");
    fs::create_dir_all(&out).expect("OUT_DIR is ours");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(cc());
        command
            .args(["-O1", "-D_GNU_SOURCE", "-L."])
            .args(arguments)
            .current_dir(&out);
        let status = command.status().expect("a C compiler is installed");
        assert!(status.success(), "{command:?}: {status}");
    };
    let source = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("programs/early")
            .join(name);
        path.to_str().expect("the path is UTF-8").to_owned()
    };
    let (constructor, filter, main) = (
        source("constructor.c"),
        source("filter.c"),
        source("main.c"),
    );
    for (name, library_source, flag) in [
        ("main", &constructor, "-Wl,-z,now"),
        ("first", &constructor, "-Wl,-z,initfirst"),
        ("filtered", &filter, "-Wl,-z,initfirst"),
    ] {
        let (library, link) = (format!("libearly-{name}.so"), format!("-learly-{name}"));
        run(&["-shared", "-fPIC", flag, library_source, "-o", &library]);
        run(&[&main, "-o", name, &link, "-Wl,-rpath,$ORIGIN"]);
    }
}

/// A program for other loaders than this machine's: musl's, that of 32-bit programs, and one with a long name, in
/// whose place a test puts another.
fn foreign(out: &Path) {
    fs::create_dir_all(out.join("foreign")).expect("OUT_DIR is ours");
    let named = format!("-Wl,--dynamic-linker={}", "x".repeat(200));
    for (compiler, option, program) in [
        ("musl-gcc", "-O1", "told-musl"),
        (&cc(), "-m32", "told-32"),
        (&cc(), &named, "told"),
    ] {
        let status = Command::new(compiler)
            .args([option, "programs/foreign/told.c", "-o"])
            .arg(out.join("foreign").join(program))
            .status();
        assert!(
            status.as_ref().is_ok_and(ExitStatus::success),
            "{compiler} {option}: {status:?} (Debian: apt-get install musl-tools gcc-multilib)"
        );
    }
}

fn example(out: &Path, name: &str, language: &[&str]) {
    let out = out.join("examples");
    fs::create_dir_all(&out).expect("OUT_DIR is ours");
    let status = Command::new(cc())
        .args(language)
        .args(["-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .args(["-I../include", "../examples/ask.c", "-o"])
        .arg(out.join(name))
        .status()
        .expect("a C and C++ compiler is installed (Debian: apt-get install g++)");
    assert!(
        status.success(),
        "cc {language:?}: examples/ask.c: {status}"
    );
}

fn cc() -> String {
    env::var("CC").unwrap_or_else(|_| "cc".into())
}

/// Hands on every file below a directory.
fn walk(directory: &Path, found: &mut impl FnMut(PathBuf)) {
    for entry in fs::read_dir(directory).expect("programs/ is beside build.rs") {
        let path = entry.expect("programs/ can be read").path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found(path);
        }
    }
}

/// The folder of programs/ that a source is in.
fn kind(source: &Path) -> &str {
    let parts: Vec<_> = source.iter().collect();
    match parts.as_slice() {
        [_, folder, .., _] => folder.to_str().expect("folders have plain names"),
        _ => panic!("{}: belongs in the folder of its kind", source.display()),
    }
}

/// What a source is compiled to, in `OUT_DIR`: its kind and name. Folders within a kind are for readers.
fn program(source: &Path) -> PathBuf {
    let name = Path::new(source.file_name().expect("a file has a name"));
    let extension = if kind(source) == MODULES { "so" } else { "" };
    Path::new(kind(source)).join(name.with_extension(extension))
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata()
        .and_then(|metadata| metadata.modified())
        .ok()
}

/// Starts the compiler, unless what it made last time is newer than the source and every header.
fn compile(
    source: &Path,
    out: &Path,
    newest_header: Option<SystemTime>,
) -> Option<(PathBuf, Child)> {
    let is_module = kind(source) == MODULES;
    let program = out.join(program(source));
    if changed(&program) > changed(source).max(newest_header) {
        return None;
    }
    let directory = program.parent().expect("it is in one");
    fs::create_dir_all(directory).expect("OUT_DIR is ours");
    let compiler = Command::new(cc())
        .args([
            "-O1",
            "-g",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-D_GNU_SOURCE",
            "-Iprograms/lib",
            "-I../include",
            "-pthread",
            "-o",
        ])
        .args([&program, source])
        .args(if is_module {
            &["-shared", "-fPIC"][..]
        } else {
            &[]
        })
        .args(libraries(source))
        .spawn()
        .expect("a C compiler is installed (Debian: apt-get install gcc libc6-dev)");
    Some((source.to_owned(), compiler))
}

/// Libraries of others, for the programs that use them: the headers they need are here (Debian: apt-get install
/// libpmem1 libpmem2 liblmdb0 libtdb1 libgdbm6).
fn libraries(source: &Path) -> &'static [&'static str] {
    let text = fs::read_to_string(source).unwrap_or_default();
    let uses = |function: &str| text.contains(function);
    if uses("mdb_env_open(") {
        &["-l:liblmdb.so.0"]
    } else if uses("tdb_open(") {
        &["-l:libtdb.so.1"]
    } else if uses("gdbm_open(") {
        &["-l:libgdbm.so.6"]
    } else if uses("libpmem.h\"") && !uses("dlopen(") {
        // The rows are called by the addresses of their symbols.
        &["-Wl,--no-as-needed", "-l:libpmem.so.1", "-l:libpmem2.so.1"]
    } else {
        &[]
    }
}
