//! Random programs (`programs/fuzz/fuzz.c`), each run without the library and with it: all that can be seen of each
//! operation must be the same.
//!
//! A program follows from its seed: its settings here, its operations in fuzz.c. Where the contract refuses, the
//! native leg plays it (see there), so nothing is left to allow for.
//!
//! What a sync left dirty on a disk must not be more than natively: nothing. The kernel is asked for that, by
//! cachestat(2) on files of a filesystem without DAX ([`counts_dirty`]). On DAX nothing takes its place: the kernel
//! tells nobody which lines it would still write back, and cachestat there is an oops (fuzz.c). That what a sync
//! was given is written back on DAX is for tests/flush.rs, tests/check.rs and tests/crash.rs to see.
//!
//! Longer than other files: a program is made, run and shrunk by one state.

use crate::{Failed, Shim, fail, program, scene};
use daxshim_core::contract::{Effect, Mode, Operation, Policy, Subject, Verdict, verdict};
use daxshim_core::host::{PrepareOptions, TagOptions, prepare, tag};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::LazyLock;
use tempfile::TempDir;

/// Operations of a program.
pub const LENGTH: usize = 2000;

/// The threads of a program are at most so many (`THREADS` in fuzz.c).
const THREADS: usize = 4;
/// Bytes of a file of one thread's, and of the one they share (fuzz.c: `size_of`).
const FILE_SIZE: usize = 32 * 4096;
const SHARED_SIZE: usize = THREADS * 65 * 4096;

/// To be left out, the last of the bits: audit mode. The others are in fuzz.c.
const AUDIT: u64 = 512;

/// Which operations of a program are executed.
pub type Kept = Vec<usize>;

/// A program.
#[derive(Clone, Debug)]
pub struct Program {
    /// What all of it follows from.
    pub seed: u64,
    without: u64,
    library: bool,
    threads: usize,
    phase: usize,
    pestered: bool,
    policy: Policy,
    flush: &'static str,
}

/// A directory on a disk, whose dirty pages the kernel counts: `DAXSHIM_FUZZ_DISK`; on a machine without real fs-DAX
/// that of the build.
fn disk() -> Option<PathBuf> {
    let build = || (!scene::real()).then(|| env!("OUT_DIR").into());
    std::env::var_os("DAXSHIM_FUZZ_DISK").map_or_else(build, |path| Some(path.into()))
}

/// Dirty pages of a file.
fn dirty_pages(file: &File) -> std::io::Result<u64> {
    const CACHESTAT: libc::c_long = 451;
    let (range, mut counts) = ([0_u64; 2], [0_u64; 5]);
    // SAFETY: both are as long as struct cachestat_range and struct cachestat.
    let result = unsafe {
        libc::syscall(
            CACHESTAT,
            file.as_raw_fd(),
            range.as_ptr(),
            counts.as_mut_ptr(),
            0,
        )
    };
    match result {
        0 => Ok(counts[1] + counts[2]),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Whether what a sync leaves dirty is seen: a page is dirty after a write, and after fsync(2) none.
///
/// # Errors
/// When there is no such directory, or it is not so there.
pub fn counts_dirty() -> Result<(), Failed> {
    let disk =
        disk().ok_or("DAXSHIM_FUZZ_DISK must name a directory on a filesystem without DAX")?;
    let mut file = tempfile::tempfile_in(&disk)?;
    file.write_all(&[1])?;
    let before = dirty_pages(&file)?;
    file.sync_all()?;
    let after = dirty_pages(&file)?;
    if (before, after) != (1, 0) {
        fail!(
            "{}: {before} pages are dirty after a write and {after} after fsync: it is on no disk that says so. \
             DAXSHIM_FUZZ_DISK may name a directory on another one.",
            disk.display()
        );
    }
    Ok(())
}

/// Whether this kernel counts them at all, cachestat(2): from Linux 6.5 on.
#[must_use]
pub fn knows_cachestat() -> bool {
    let unknown = |error: std::io::Error| error.raw_os_error() == Some(libc::ENOSYS);
    File::open("/dev/null").is_ok_and(|null| !dirty_pages(&null).is_err_and(unknown))
}

/// A result of an operation: `struct entry` of fuzz.c.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    result: i64,
    error: i32,
    signal: u16,
    done: bool,
    locks: u64,
    digest: u64,
    dirty: u32,
}

const ENTRY_SIZE: usize = 40;
/// And behind those of the operations, of what the handler or child of each did: so many.
const PARTS: usize = 8;

impl Entry {
    fn parse(bytes: &[u8]) -> Option<Entry> {
        let part = |at: usize, n: usize| -> Option<u64> {
            let mut value = [0; 8];
            value.get_mut(..n)?.copy_from_slice(bytes.get(at..at + n)?);
            Some(u64::from_le_bytes(value))
        };
        Some(Entry {
            result: part(0, 8)? as i64,
            error: part(8, 4)? as i32,
            signal: part(12, 2)? as u16,
            done: part(14, 2)? != 0,
            locks: part(16, 8)?,
            digest: part(24, 8)?,
            dirty: part(32, 4)? as u32,
        })
    }

    /// How the library's differs from this, the native one.
    fn difference(&self, other: &Entry) -> Option<String> {
        let mut text = String::new();
        let mut say = |what: &str, native: String, shimmed: String| {
            if native != shimmed {
                let _ = write!(
                    text,
                    "; {what} {native} natively, {shimmed} under the library"
                );
            }
        };
        say("done", self.done.to_string(), other.done.to_string());
        say("result", self.result.to_string(), other.result.to_string());
        say("errno", errno(self.error), errno(other.error));
        say("signal", signal(self.signal), signal(other.signal));
        say(
            "record locks",
            format!("{:x}", self.locks),
            format!("{:x}", other.locks),
        );
        say(
            "content",
            format!("{:x}", self.digest),
            format!("{:x}", other.digest),
        );
        if other.dirty > self.dirty {
            say(
                "dirty pages left",
                self.dirty.to_string(),
                other.dirty.to_string(),
            );
        }
        let text = text.trim_start_matches("; ");
        (!text.is_empty()).then(|| text.to_owned())
    }
}

fn errno(error: i32) -> String {
    match error {
        0 => "0".to_owned(),
        error => std::io::Error::from_raw_os_error(error).to_string(),
    }
}

fn signal(signal: u16) -> String {
    match (signal >> 8, signal) {
        (0, 0) => "none".to_owned(),
        (_, 0x7fff) => "not over".to_owned(),
        (11, _) => format!("SIGSEGV (code {})", signal & 0xff),
        (7, _) => format!("SIGBUS (code {})", signal & 0xff),
        _ => signal.to_string(),
    }
}

/// Where the two legs part.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The first operation that differs, if it is one.
    pub operation: Option<usize>,
    /// What differs.
    pub text: String,
}

/// What a leg came to.
struct Leg {
    /// The log.
    entries: Vec<u8>,
    status: ExitStatus,
    output: String,
    files: Vec<Content>,
}

/// What came of a file: its name, mode, and content.
type Content = (String, u32, Vec<u8>);

impl Leg {
    /// How the other leg's operation differs: the first of its parts that does, or the whole.
    fn difference(&self, other: &Leg, number: usize) -> Option<String> {
        let of = |index: usize| {
            let range = index * ENTRY_SIZE..(index + 1) * ENTRY_SIZE;
            let (a, b) = (self.entries.get(range.clone())?, other.entries.get(range)?);
            (a != b)
                .then(|| Entry::parse(a)?.difference(&Entry::parse(b)?))
                .flatten()
        };
        let part = |part: usize| {
            let text = of(LENGTH + number * PARTS + part)?;
            Some(format!("part {part} of its handler or child: {text}"))
        };
        (0..PARTS).find_map(part).or_else(|| of(number))
    }
}

/// SplitMix64: a number as good as random, for each number.
#[must_use]
pub fn mix(number: u64) -> u64 {
    let x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Program {
    /// The program of a seed. `without`: what to leave out, by bits (`enum family` in fuzz.c). No `library`: the
    /// second leg is native too, and what differs is the generator's fault.
    #[must_use]
    pub fn of(seed: u64, without: u64, library: bool) -> Program {
        let bits = mix(seed);
        let choice = |shift: u32, n: u64| ((bits >> shift) & 0xff) % n;
        Program {
            seed,
            without,
            library,
            threads: 2 + choice(0, 3) as usize,
            phase: [4, 16, 64, 256][choice(8, 4) as usize],
            pestered: choice(16, 2) == 0,
            policy: Policy {
                mode: if choice(24, 3) == 0 && without & AUDIT == 0 {
                    Mode::Audit
                } else {
                    Mode::Enforce
                },
                compat: choice(32, 3) == 0,
                deny_reads: false,
            },
            flush: ["user", "user", "auto", "kernel"][choice(40, 4) as usize],
        }
    }

    /// How it runs, in a line.
    #[must_use]
    pub fn settings(&self) -> String {
        format!(
            "{} threads, {} operations of each between barriers, signals {}, DAXSHIM_MODE={} DAXSHIM_COMPAT={} DAXSHIM_FLUSH={}",
            self.threads,
            self.phase,
            if self.pestered {
                "at any moment"
            } else {
                "by raise() alone"
            },
            self.mode(),
            u8::from(self.policy.compat),
            self.flush
        )
    }

    fn mode(&self) -> &'static str {
        match self.policy.mode {
            Mode::Enforce => "enforce",
            Mode::Audit => "audit",
            Mode::Off => "off",
        }
    }

    /// What the contract says of each operation on a tagged file: one that changes it, one that does not.
    fn verdicts(&self) -> String {
        let letter =
            |&operation, effect| match verdict(operation, Subject::Tagged, effect, self.policy) {
                Verdict::Allow | Verdict::Record | Verdict::LetThrough => 'A',
                Verdict::Refuse { .. } => 'R',
                Verdict::Pretend => 'P',
            };
        Operation::ALL
            .iter()
            .fold(String::from("verdicts="), |text, operation| {
                let [changes, idle] =
                    [Effect::Changes, Effect::Idle].map(|effect| letter(operation, effect));
                text + &format!(",{}:{changes}{idle}", operation.word())
            })
    }

    /// Runs both legs once.
    ///
    /// # Errors
    /// When a leg cannot be run, or the native one does not end well: that is the fuzzer's own fault.
    pub fn compare(&self, kept: Option<&Kept>) -> Result<Option<Difference>, Failed> {
        let native = self.run(false, kept, false)?;
        if !native.status.success() {
            fail!(
                "seed {}: natively {}\n{}",
                self.seed,
                native.status,
                native.output
            );
        }
        let shimmed = self.run(self.library, kept, false)?;
        for number in 0..LENGTH {
            if let Some(mut text) = native.difference(&shimmed, number) {
                if shimmed.status != native.status {
                    let _ = write!(text, "; it ends with {} {}", shimmed.status, shimmed.output);
                }
                let operation = Some(number);
                return Ok(Some(Difference { operation, text }));
            }
        }
        let text = if shimmed.status != native.status {
            format!("it ends with {}\n{}", shimmed.status, shimmed.output)
        } else if let Some((a, b)) = native
            .files
            .iter()
            .zip(&shimmed.files)
            .find(|(a, b)| a != b)
        {
            let text = |(_, mode, content): &Content| {
                let sum = content
                    .iter()
                    .fold(0, |sum, &byte| mix(sum ^ u64::from(byte)));
                format!("{mode:o}, {} bytes, {sum:016x}", content.len())
            };
            format!(
                "{} is {} natively, {} under the library",
                a.0,
                text(a),
                text(b)
            )
        } else {
            return Ok(None);
        };
        let operation = None;
        Ok(Some(Difference { operation, text }))
    }

    /// The operations in words, as they run natively.
    ///
    /// # Errors
    /// When they cannot be run.
    pub fn describe(&self, kept: &Kept) -> Result<String, Failed> {
        Ok(self.run(false, Some(kept), true)?.output)
    }

    fn run(&self, shim: bool, kept: Option<&Kept>, say: bool) -> Result<Leg, Failed> {
        let files = Files::new(self.threads, shim)?;
        let log = files.dir.path().join("log");
        File::create(&log)?.set_len((LENGTH * (1 + PARTS) * ENTRY_SIZE) as u64)?;
        let mut command = if shim { Shim::new() } else { Shim::none() }
            .with("DAXSHIM_MODE", self.mode())
            .with("DAXSHIM_COMPAT", if self.policy.compat { "1" } else { "0" })
            .with("DAXSHIM_FLUSH", self.flush)
            .command(program("fuzz").join("fuzz"));
        command
            .arg(format!("seed={}", self.seed))
            .arg(format!("count={LENGTH}"))
            .arg(format!("threads={}", self.threads))
            .arg(format!("phase={}", self.phase))
            .arg(format!("pester={}", u8::from(self.pestered)))
            .arg(format!(
                "pause={}",
                if scene::real() { 10_000 } else { 300 }
            ))
            .arg(format!("native={}", u8::from(!shim)))
            .arg(format!("without={}", self.without))
            .arg(format!("say={}", u8::from(say)))
            .arg(format!("dir={}", files.dir.path().display()))
            .arg(format!("disk={}", files.disk().display()))
            .arg(format!("log={}", log.display()))
            .arg(self.verdicts());
        if let Some(kept) = kept {
            let mut flags = vec![0_u8; LENGTH];
            for &number in kept {
                *flags.get_mut(number).ok_or("no such operation")? = 1;
            }
            let path = files.dir.path().join("keep");
            fs::write(&path, flags)?;
            command.arg(format!("keep={}", path.display()));
        }
        if shim && files.disk.is_some() {
            command.env("DAXSHIM_EMULATE", "1");
        }
        let done = command.output()?;
        let entries = fs::read(&log)?;
        Ok(Leg {
            entries,
            status: done.status,
            output: String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned(),
            files: files.contents()?,
        })
    }
}

/// The files of a leg; gone when dropped.
struct Files {
    dir: TempDir,
    /// On a disk, whose dirty pages the kernel counts.
    disk: Option<TempDir>,
    names: Vec<PathBuf>,
}

impl Files {
    fn new(threads: usize, tagged: bool) -> Result<Files, Failed> {
        let make = |root: &Path| {
            tempfile::Builder::new()
                .prefix("daxshim-fuzz-")
                .tempdir_in(root)
        };
        let disk = disk().map(|root| make(&root)).transpose()?;
        let mut files = Files {
            dir: make(&scene::root())?,
            disk,
            names: Vec::new(),
        };
        let (dir, disk) = (files.dir.path().to_owned(), files.disk().to_owned());
        files.add(dir.join("S0"), SHARED_SIZE, true, tagged)?;
        for thread in 0..threads {
            for (folder, name, takes_tag) in [
                (&dir, "T", true),
                (&dir, "U", false),
                (&disk, "D", false),
                (&disk, "E", true),
            ] {
                files.add(
                    folder.join(format!("{name}{thread}")),
                    FILE_SIZE,
                    takes_tag,
                    tagged,
                )?;
            }
            for folder in [&dir, &disk] {
                fs::write(folder.join(format!("copy{thread}")), vec![0; FILE_SIZE])?;
            }
        }
        Ok(files)
    }

    fn disk(&self) -> &Path {
        self.disk.as_ref().unwrap_or(&self.dir).path()
    }

    fn add(
        &mut self,
        path: PathBuf,
        size: usize,
        takes_tag: bool,
        tagged: bool,
    ) -> Result<(), Failed> {
        static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| scene::pattern(SHARED_SIZE));
        fs::write(&path, PATTERN.get(..size).ok_or("a file is too large")?)?;
        let real = scene::real() && path.starts_with(scene::root());
        if takes_tag && real {
            let options = PrepareOptions::default();
            prepare(&path, &options, &mut |_| ControlFlow::Continue(()))
                .map_err(|e| e.to_string())?;
        }
        if takes_tag && tagged {
            let options = TagOptions {
                emulate: !real,
                set_dax: false,
            };
            tag(&path, &options).map_err(|e| e.to_string())?;
        }
        // As tagging does: on ext4 the pages of a large folio that was clean and is then changed and cut short count as
        // dirty after fdatasync(2) too (Linux 6.18).
        fs::File::open(&path)?.sync_all()?;
        self.names.push(path);
        Ok(())
    }

    /// What came of each file.
    fn contents(&self) -> Result<Vec<Content>, Failed> {
        let one = |path: &PathBuf| -> Result<Content, Failed> {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            Ok((
                name.into_owned(),
                fs::metadata(path)?.mode(),
                fs::read(path)?,
            ))
        };
        self.names.iter().map(one).collect()
    }
}

/// A failing program's fewest operations, as far as they are found by leaving out.
#[derive(Debug)]
pub struct Shrunk {
    /// The operations.
    pub kept: Kept,
    /// What differs with them.
    pub difference: Difference,
    /// Of ten runs of the whole program, those that failed again.
    pub failed_again: usize,
}

/// Runs spent on making a failing program smaller.
const SHRINKING: usize = 120;
/// Runs that say how often it fails.
const AGAIN: usize = 10;

/// Leaves out what is not needed to fail: ddmin (Zeller), with as many tries each as its rarity asks for.
///
/// # Errors
/// When it cannot be run.
pub fn shrink(program: &Program, found: &Difference, kept: Option<Kept>) -> Result<Shrunk, Failed> {
    let last = found.operation.map_or(LENGTH, |operation| operation + 1);
    let all: Kept = kept.unwrap_or_else(|| (0..LENGTH).collect());
    let mut failed_again = 0;
    for _ in 0..AGAIN {
        failed_again += usize::from(program.compare(Some(&all))?.is_some());
    }
    let mut shrunk = Shrunk {
        kept: all,
        difference: found.clone(),
        failed_again,
    };
    let tries = AGAIN
        .checked_div(failed_again)
        .map_or(0, |tries| 2 * tries - 1);
    let mut runs = 0;
    let mut fails = |kept: &Kept| -> Result<Option<Difference>, Failed> {
        for _ in 0..tries {
            if runs >= SHRINKING {
                break;
            }
            runs += 1;
            if let Some(difference) = program.compare(Some(kept))? {
                return Ok(Some(difference));
            }
        }
        Ok(None)
    };
    let first: Kept = shrunk.kept.iter().copied().filter(|&n| n < last).collect();
    if let Some(difference) = fails(&first)? {
        (shrunk.kept, shrunk.difference) = (first, difference);
    }
    let mut parts = 2;
    while shrunk.kept.len() > 1 {
        let size = shrunk.kept.len().div_ceil(parts);
        let mut smaller = None;
        for at in (0..shrunk.kept.len()).step_by(size) {
            let outside = |&(n, _): &(usize, &usize)| n < at || n >= at + size;
            let rest: Kept = shrunk
                .kept
                .iter()
                .enumerate()
                .filter(outside)
                .map(|(_, &n)| n)
                .collect();
            if let Some(difference) = fails(&rest)? {
                smaller = Some((rest, difference));
                break;
            }
        }
        match smaller {
            Some(less) => {
                (shrunk.kept, shrunk.difference) = less;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (2 * parts).min(shrunk.kept.len()),
        }
    }
    Ok(shrunk)
}
