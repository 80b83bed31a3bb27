//! The guard in the kernel, on real fs-DAX, as root: every row of the table of hooks by the same
//! programs, without the library and with it; and the guard's own life. Elsewhere there is nothing to
//! test.

use daxshim_core::contract::Operation;
use daxshim_core::requests::FICLONE;
use daxshim_core::symbols::{HOOKS, Hook};
use daxshim_guard::guard::{DIRECTORY, State, state};
use daxshim_guard::kind::Kind;
use daxshim_guard::set::{CAPACITY, Entry, Key, Maps};
use daxshim_tests::{Failed, Outcome, Run, Scene, Shim, Tag, built, expectation, fail, scene};
use libtest_mimic::{Arguments, Trial};
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

mod life;
mod raw;
mod rows;
mod shared;
mod strict;
use life::*;
use raw::*;
use rows::*;
use shared::*;
use strict::*;

fn main() {
    let mut arguments = Arguments::from_args();
    // There is one guard.
    arguments.test_threads = Some(1);
    if !scene::real() || !rustix::process::geteuid().is_root() {
        eprintln!("nothing is looked at here: it takes root and a real fs-DAX, as in scripts/vm");
        libtest_mimic::run(&arguments, Vec::new()).exit();
    }
    if !arguments.list
        && let Err(why) = prepare_kernel()
    {
        eprintln!("{}", why.message().unwrap_or_default());
        std::process::exit(1);
    }
    let mut trials = Vec::new();
    // Only such a kernel shows it.
    let inactive = Some(("life/bpf is not active", bpf_is_not_active as Test));
    let inactive = inactive.filter(|_| Kind::here() == Kind::ModifyReturn);
    for &(name, test) in LIFE.iter().chain(&inactive) {
        trials.push(Trial::test(name, move || {
            let outcome = stopped().and_then(|()| test());
            outcome.and(stopped())
        }));
    }
    for hook in HOOKS
        .iter()
        .filter(|hook| !hook.symbols.is_empty() && hook.is_of_libc())
    {
        let mut add = |name: &str, test: fn(&Hook) -> Outcome| {
            let name = format!("{}/{name}", hook.function);
            trials.push(Trial::test(name, move || {
                started().and_then(|()| test(hook))
            }));
        };
        add("guard alone", alone);
        add("guard and library", with_library);
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let _ = stopped();
    conclusion.exit();
}
