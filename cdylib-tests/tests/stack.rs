//! How much of the program's stack the library takes: what a call writes below its caller, under the library
//! and without. For every row of the table, under each of its names and by its number, and for what libc
//! calls itself.
//!
//! The programs are those of the rows, which paint the stack before each of their steps (`programs/lib/depth.h`).

use daxshim_core::symbols::{HOOKS, Hook};
use daxshim_tests::{Failed, Outcome, Run, Scene, Shim, Tag, fail};
use libtest_mimic::{Arguments, Trial};
use std::collections::HashMap;
use std::fs;

/// Bytes that a step may take more than without the library: the contract's 1 KiB.
const LIMIT: u64 = 1 << 10;

/// The same where libc makes the call itself: there its vector registers are kept, 16 of 16 bytes, which the
/// contract leaves out of account. Its red zone, 128 bytes, is not.
const LIMIT_INSIDE_LIBC: u64 = LIMIT + 256;

/// An unoptimised build keeps every temporary in its frame: it is held to what keeps a thread of
/// PTHREAD_STACK_MIN going.
const LIMIT_OF_DEV_BUILD: u64 = 16 << 10;

/// Programs in which libc makes the calls itself, and the symbol that they look up.
const INSIDE_LIBC: &[(&str, &str)] = &[
    ("dprintf", "dprintf"),
    ("exec_routes", "execve"),
    ("fopen_w", "fopen"),
    ("freopen_w", "freopen"),
    ("mkstemp_untagged", "mkstemp"),
    ("posix_fallocate", "posix_fallocate"),
    ("posix_spawn_file_actions", "posix_spawn"),
    ("stdio_write_fails_at_flush", "fwrite"),
];

/// The program for rows without a name, whose steps are called like them.
const NAMELESS: &str = "arguments/stack_by_number";

macro_rules! numbers {
    ($($family:ident::$function:ident [$($symbol:ident)*] $syscall:ident => [$($operation:ident)+];)+) => {
        /// The system call of each row.
        const NUMBERS: &[(&str, i64)] = &[$((stringify!($function), numbers::$syscall)),+];
    };
}
daxshim_core::for_each_hook!(numbers);

/// The numbers that the table names.
mod numbers {
    pub use libc::*;

    pub const NONE: i64 = -1;
    pub const ELSEWHERE: i64 = -1;
    pub const ITS_ARGUMENT: i64 = -1;
    // libc has no names for these yet.
    pub const SYS_SETXATTRAT: i64 = 463;
    pub const SYS_REMOVEXATTRAT: i64 = 466;
    pub const SYS_FILE_GETATTR: i64 = 468;
    pub const SYS_FILE_SETATTR: i64 = 469;
}

fn main() {
    let mut trials = Vec::new();
    for hook in HOOKS.iter().filter(|hook| !hook.symbols.is_empty()) {
        let row = hook.function;
        for &symbol in hook.symbols {
            let measured = move || fits(&Way::of(format!("hooks/{row}"), symbol), |_| true);
            trials.push(Trial::test(format!("{row}/{symbol}"), measured));
        }
        if let Some(way) = Way::by_number(hook) {
            let measured = move || fits(&way, |_| true);
            trials.push(Trial::test(format!("{row}/by number"), measured));
        }
    }
    for hook in HOOKS.iter().filter(|hook| hook.symbols.is_empty()) {
        let row = hook.function;
        let is_of_row = |label: &str| label.split(' ').next() == Some(row);
        let measured = move || fits(&Way::of(NAMELESS, "syscall"), is_of_row);
        trials.push(Trial::test(row, measured));
    }
    for &(program, symbol) in INSIDE_LIBC {
        let measured = move || fits(&Way::of(format!("behaviours/{program}"), symbol), |_| true);
        trials.push(Trial::test(format!("inside libc: {program}"), measured));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A program of the rows, and how it reaches the function.
struct Way {
    program: String,
    symbol: &'static str,
    number: Option<i64>,
}

impl Way {
    fn of(program: impl Into<String>, symbol: &'static str) -> Way {
        Way {
            program: program.into(),
            symbol,
            number: None,
        }
    }

    fn by_number(hook: &Hook) -> Option<Way> {
        let (_, number) = NUMBERS.iter().find(|(row, _)| *row == hook.function)?;
        // A child of vfork(2) may not return from the function that called it.
        let can_be = *number >= 0 && *number != libc::SYS_vfork;
        can_be.then(|| Way {
            program: format!("hooks/{}", hook.function),
            symbol: hook.symbols[0],
            number: Some(*number),
        })
    }

    /// Bytes by the label of the step.
    fn measure(&self, shim: &Shim, tag: Tag, report: bool) -> Result<HashMap<String, u64>, Failed> {
        let scene = Scene::new(tag)?;
        let depths = scene.dir().with_file_name("depths");
        // Finding a function when it is first called takes more stack than most of them.
        let mut shim = shim
            .clone()
            .with("LD_BIND_NOW", "1")
            .with("DEPTHS", &depths);
        if let Some(number) = self.number {
            shim = shim.with("BY_NUMBER", number.to_string());
        }
        if report {
            shim = shim.with("DAXSHIM_REPORT", scene.report()?);
        }
        let run = Run::program(&shim, &self.program, self.symbol, &scene)?;
        let mut deepest = HashMap::new();
        for line in fs::read_to_string(&depths)
            .map_err(|error| {
                format!(
                    "{}: nothing was measured: {error}\n{}",
                    self.program, run.output
                )
            })?
            .lines()
        {
            let (bytes, label) = line.split_once(' ').unwrap_or((line, ""));
            let deep = deepest.entry(label.to_owned()).or_insert(0);
            *deep = bytes.parse::<u64>()?.max(*deep);
        }
        Ok(deepest)
    }
}

/// Whether every step that is looked at takes little more than without the library.
fn fits(way: &Way, is_looked_at: impl Fn(&str) -> bool) -> Outcome {
    let limit = match std::env::var_os("DAXSHIM_TEST_DEV_BUILD") {
        Some(_) => LIMIT_OF_DEV_BUILD,
        None if way.number.is_some() => LIMIT,
        None => LIMIT_INSIDE_LIBC,
    };
    let native = way.measure(&Shim::none(), Tag::None, false)?;
    for (how, tag, report) in [
        ("untagged", Tag::None, false),
        ("tagged", Tag::Valid, false),
        ("report", Tag::Valid, true),
    ] {
        let with_it = way.measure(&Shim::new(), tag, report)?;
        let more = |label: &String, bytes: u64| Some(bytes.saturating_sub(*native.get(label)?));
        let measured = with_it
            .iter()
            .filter(|(label, _)| is_looked_at(label))
            .filter_map(|(label, &bytes)| Some((more(label, bytes)?, label)));
        let Some((bytes, label)) = measured.max() else {
            fail!("{}, {how}: no step was measured both ways", way.program);
        };
        if std::env::var_os("SHOW_DEPTHS").is_some() {
            println!(
                "{bytes} {} {} {:?} {how}: {label}",
                way.program, way.symbol, way.number
            );
        }
        if bytes > limit {
            fail!(
                "{}, {how}: {label:?} takes {bytes} bytes of stack",
                way.program
            );
        }
    }
    Ok(())
}
