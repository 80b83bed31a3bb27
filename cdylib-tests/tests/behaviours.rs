//! Programs named for a behaviour rather than a hook: natively, untagged, tagged.

use daxshim_core::host::report::Report;
use daxshim_core::report::{SyncCall, Way};
use daxshim_core::symbols::HOOKS;
use daxshim_tests::{Outcome, Run, Scene, Shim, Tag, expectation, fail, scene};
use libtest_mimic::{Arguments, Trial};
use std::collections::BTreeSet;

/// The program, the symbol it looks up, and whether it stores through a mapping.
const BEHAVIOURS: &[(&str, &str, bool)] = &[
    ("aio_fsync", "aio_fsync", true),
    ("aio_write", "aio_write", false),
    ("calls_after_exit", "pwrite", true),
    ("calls_before_constructors", "pwrite", true),
    ("cancel_before_open", "open", false),
    ("cancel_blocked_fread", "getc", false),
    ("cancel_blocked_fwrite", "fwrite", false),
    ("cancel_blocked_lock", "fcntl", false),
    ("cancel_blocked_open", "open", false),
    ("cancel_blocked_write", "write", false),
    ("cancel_in_sync", "fsync", true),
    ("close_all_and_reuse", "close", true),
    ("close_all_descriptors", "close", true),
    ("deepbind", "write", true),
    ("descriptor_closed_in_fsync", "fsync", true),
    ("descriptor_reuse_after_close", "write", false),
    ("descriptor_reuse_by_duplicate", "write", false),
    ("descriptor_reuse_after_fclose", "write", false),
    ("descriptor_reuse_in_look", "write", false),
    ("dlsym_on_libc_handle", "write", false),
    ("dprintf", "dprintf", false),
    ("duplicates_under_filter", "dup", false),
    ("eacces_comes_first", "open", false),
    ("errno_unchanged_at_main", "open", false),
    ("exec_keeps_locks", "execve", false),
    ("exec_routes", "execve", false),
    ("execute_only_pages", "msync", true),
    ("failed_calls_change_no_mapping", "msync", true),
    ("exec_under_filter", "execve", false),
    ("faults_elsewhere", "msync", true),
    ("file_grows_behind_mapping", "msync", true),
    ("filter_of_vfork_child", "vfork", false),
    ("fopen_w", "fopen", false),
    ("fork_child_msync", "msync", true),
    ("fork_past_handlers", "fork", true),
    ("fork_storm", "fork", true),
    ("fread", "fread", false),
    ("freopen_in_place", "freopen", false),
    ("freopen_w", "freopen", false),
    ("high_addresses", "msync", true),
    ("io_submit_fsync", "io_submit", true),
    ("library_loaded_late", "dlopen", true),
    ("locks_and_watches", "chmod", false),
    ("longjmp_out_of_hook", "pwrite", true),
    ("many_mappings", "msync", true),
    ("maps_by_libc_handle", "munmap", true),
    ("map_fixed_over_sync_mapping", "msync", true),
    ("map_sync_no_longer_granted", "msync", true),
    ("mapped_again", "msync", true),
    ("mkstemp_untagged", "mkstemp", false),
    ("module_calls", "munmap", true),
    ("mprotect_keeps_guard", "msync", true),
    ("mprotect_keeps_key", "msync", true),
    ("mremap_moves_sync_mapping", "msync", true),
    ("mremap_with_hole", "mremap", true),
    ("msync_after_truncate", "msync", true),
    ("msync_beyond_eof", "msync", true),
    ("msync_mlocked", "msync", true),
    ("msync_over_hole", "msync", true),
    ("msync_partial_unmap", "msync", true),
    ("msync_prot_none", "msync", true),
    ("munmap_during_fork_storm", "munmap", true),
    ("munmap_races_msync", "msync", true),
    ("no_descriptor_held", "open", false),
    ("no_memory_left", "rename", false),
    ("posix_fallocate", "posix_fallocate", false),
    ("posix_madvise_remove", "posix_madvise", false),
    ("posix_spawn_file_actions", "posix_spawn", false),
    ("second_libc", "munmap", true),
    ("signal_handler_calls_write", "write", true),
    ("spawn_leaves_the_parent_alone", "posix_spawn", false),
    ("stdio_write_fails_at_flush", "fwrite", false),
    ("tiny_stack", "open", true),
    ("thread_with_own_descriptors", "unshare", false),
    ("truncate_wakes_watchers", "ftruncate", true),
    ("vfork_child_marks_nothing", "write", false),
    ("wide_registers", "write", true),
    ("write_on_passed_descriptors", "write", false),
];

/// Which ways the report of a program must tell of, all of which it takes.
const WAYS: &[(&str, &[(SyncCall, Way)])] = &[
    (
        "aio_fsync",
        &[
            (SyncCall::Fsync, Way::Kernel),
            (SyncCall::Fdatasync, Way::Kernel),
        ],
    ),
    (
        "descriptor_closed_in_fsync",
        &[(SyncCall::Fsync, Way::User)],
    ),
    (
        "file_grows_behind_mapping",
        &[
            (SyncCall::Msync, Way::User),
            (SyncCall::Msync, Way::Kernel),
            (SyncCall::Fdatasync, Way::Range),
            (SyncCall::SyncFileRange, Way::Range),
        ],
    ),
    (
        "io_submit_fsync",
        &[
            (SyncCall::Fsync, Way::Kernel),
            (SyncCall::Fdatasync, Way::Kernel),
        ],
    ),
    // The kernel's is what reaches behind the end of the other file.
    (
        "mapped_again",
        &[(SyncCall::Msync, Way::User), (SyncCall::Msync, Way::Kernel)],
    ),
    (
        "msync_beyond_eof",
        &[(SyncCall::Msync, Way::User), (SyncCall::Msync, Way::Kernel)],
    ),
    ("msync_mlocked", &[(SyncCall::Msync, Way::User)]),
    (
        "msync_over_hole",
        &[(SyncCall::Msync, Way::User), (SyncCall::Msync, Way::Kernel)],
    ),
    (
        "msync_prot_none",
        &[(SyncCall::Msync, Way::User), (SyncCall::Msync, Way::Kernel)],
    ),
];

/// The same, where the kernel is asked for MAP_SYNC.
const WAYS_ON_DAX: &[(&str, &[(SyncCall, Way)])] = &[(
    "map_sync_no_longer_granted",
    &[(SyncCall::Msync, Way::User), (SyncCall::Msync, Way::Kernel)],
)];

/// Those that are run otherwise too: which, the list of what is then not "=", and how. Audit changes the file.
#[allow(clippy::type_complexity, reason = "read once, where it is written")]
const VARIANTS: &[(&[&str], &str, fn() -> Shim)] = &[
    (&["cancel_blocked_fread", "fread"], "deny", || {
        Shim::new().with("DAXSHIM_READS", "deny")
    }),
    (&["truncate_wakes_watchers"], "compat", || {
        Shim::new().with("DAXSHIM_COMPAT", "1")
    }),
    (&["msync_after_truncate"], "audit", || {
        Shim::new().with("DAXSHIM_MODE", "audit")
    }),
];

/// Whether the machine has something.
type IsThere = fn() -> bool;

/// Those that need something of the machine.
const NEEDING: &[(&str, IsThere)] = &[
    ("mprotect_keeps_guard", guards_files),
    ("mprotect_keeps_key", has_protection_keys),
];

/// Whether MADV_GUARD_INSTALL takes mappings of files (Linux 6.15).
fn guards_files() -> bool {
    const GUARD_INSTALL: i32 = 102;
    // SAFETY: a mapping of our own, which nobody touches.
    unsafe {
        let file = libc::memfd_create(c"guarded".as_ptr(), libc::MFD_CLOEXEC);
        let flags = libc::MAP_SHARED;
        let page = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, file, 0);
        let guarded = libc::madvise(page, 4096, GUARD_INSTALL) == 0;
        libc::munmap(page, 4096);
        libc::close(file);
        guarded
    }
}

/// Whether the processor has them, and the kernel.
fn has_protection_keys() -> bool {
    // SAFETY: takes and frees a key that nothing is under.
    unsafe {
        let key = libc::syscall(libc::SYS_pkey_alloc, 0, 0);
        key >= 0 && libc::syscall(libc::SYS_pkey_free, key) == 0
    }
}

fn main() {
    let mut trials = Vec::new();
    for &(name, symbol, stores) in BEHAVIOURS {
        let needed = NEEDING.iter().find(|(program, _)| *program == name);
        let missing = needed.is_some_and(|(_, is_there)| !is_there());
        let mut add = |how: &str, list: &'static str, tag, shim: fn() -> Shim| {
            let report = how == "report";
            let test = move || run(&shim(), list, name, symbol, tag, stores, report);
            trials.push(Trial::test(format!("{name}/{how}"), test).with_ignored_flag(missing));
        };
        add("untagged", "tagged", Tag::None, Shim::new);
        add("tagged", "tagged", Tag::Valid, Shim::new);
        add("report", "tagged", Tag::Valid, Shim::new);
        for (names, list, shim) in VARIANTS {
            if names.contains(&name) {
                add(list, list, Tag::Valid, *shim);
                add(&format!("{list}, untagged"), list, Tag::None, *shim);
            }
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A row's own program shows a behaviour too.
fn program(name: &str) -> String {
    let is_row = HOOKS.iter().any(|hook| hook.function == name);
    let kind = if is_row { "hooks" } else { "behaviours" };
    format!("{kind}/{name}")
}

fn run(
    shim: &Shim,
    list: &str,
    name: &str,
    symbol: &str,
    tag: Tag,
    stores: bool,
    report: bool,
) -> Outcome {
    let program = program(name);
    let native = Run::natively(&program, symbol)?;
    let scene = Scene::new(tag)?;
    let before = scene.snapshot("file")?;
    let mut shim = shim.clone();
    if report {
        shim = shim.with("DAXSHIM_REPORT", scene.report()?);
    }
    let run = Run::program(&shim, &program, symbol, &scene)?;
    if tag == Tag::None {
        return run.expect(&native.output, &native);
    }
    // Without a text of its own, everything is "=".
    let expected = match expectation(&program, list) {
        Some(listed) => native.except(&listed)?,
        None => native.output.clone(),
    };
    run.expect(&expected, &native)?;
    if report {
        tells_of_ways(name, &scene)?;
    }
    if list == "audit" {
        return Ok(());
    }
    let after = scene.snapshot("file")?;
    if stores {
        before.same_but_for_stores(&after)
    } else {
        before.same(&after)
    }
}

fn tells_of_ways(name: &str, scene: &Scene) -> Outcome {
    let on_dax: &[_] = if scene::real() { WAYS_ON_DAX } else { &[] };
    let wanted = WAYS
        .iter()
        .chain(on_dax)
        .filter(|(program, _)| *program == name);
    let report = Report::read(&scene.report()?, &BTreeSet::new())?;
    for &(call, way) in wanted.flat_map(|(_, ways)| *ways) {
        if report.total.syncs_of(
            |sync| sync.call == call && sync.way == way,
            |sync| sync.calls,
        ) == 0
        {
            let there = report.total.syncs.iter();
            let there: Vec<_> = there
                .map(|sync| format!("{} {} by {}", sync.calls, sync.call.word(), sync.way.word()))
                .collect();
            fail!(
                "{} by {} is not in the report: {there:?}",
                call.word(),
                way.word()
            );
        }
    }
    Ok(())
}
