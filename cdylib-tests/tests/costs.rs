//! What an untagged subject costs: no system call more than without the library, but for the
//! question whether there is a tag, and that is asked at most once in a descriptor's life.

use daxshim_tests::trace::{Event, trace};
use daxshim_tests::{Failed, Outcome, Scene, Shim, Tag, fail, program, scene};
use libtest_mimic::{Arguments, Trial};
use std::path::Path;

/// When a call asks for a tag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Never,
    /// At the first call that could modify through the descriptor.
    Once,
    /// Each time, for as many files: paths, and metadata of descriptors.
    Always(usize),
}

/// The case of `trace_untagged.c`, and when it asks.
const CASES: &[(&str, Asks)] = &[
    ("write", Asks::Once),
    ("pwrite", Asks::Once),
    ("writev", Asks::Once),
    ("write_null", Asks::Once),
    ("fflush", Asks::Once),
    ("ftruncate", Asks::Once),
    ("fallocate", Asks::Once),
    ("read", Asks::Never),
    ("lseek", Asks::Never),
    ("getfl", Asks::Never),
    ("dup", Asks::Never),
    ("close", Asks::Never),
    ("fsync", Asks::Never),
    ("fdatasync", Asks::Never),
    ("msync", Asks::Never),
    ("mprotect", Asks::Never),
    ("madvise", Asks::Never),
    ("mmap_anonymous", Asks::Never),
    ("mmap_private", Asks::Never),
    ("mmap_shared", Asks::Once),
    ("munmap", Asks::Never),
    ("open_read", Asks::Never),
    ("open_write", Asks::Never),
    ("open_truncate", Asks::Always(1)),
    ("fopen_read", Asks::Never),
    ("stat", Asks::Never),
    ("chmod", Asks::Always(1)),
    ("fchmod", Asks::Always(1)),
    ("chown", Asks::Always(1)),
    ("truncate", Asks::Always(1)),
    ("utimensat", Asks::Always(1)),
    ("setxattr", Asks::Always(1)),
    ("rename", Asks::Always(2)),
    ("link", Asks::Always(1)),
    ("unlink", Asks::Always(1)),
];

fn main() {
    let machine_has_dax = (0..64).any(|bus| exists(&format!("/sys/bus/nd/devices/ndbus{bus}")))
        || exists("/sys/module/nd_pmem/initstate")
        || exists("/sys/bus/virtio/drivers/virtiofs")
        || !exists("/sys/bus");
    // An emulated tag may stand in either of two attributes.
    let kinds = [
        ("tags of the kernel's", "0", usize::from(machine_has_dax)),
        ("emulated tags", "1", 2),
    ];
    // Where tags are real, emulated ones are another matter.
    let kinds = if scene::real() { &kinds[..1] } else { &kinds };
    let mut trials = Vec::new();
    for &(case, asks) in CASES {
        for &(kind, emulate, each) in kinds {
            trials.push(Trial::test(format!("{case}/{kind}"), move || {
                costs(case, asks, emulate, each)
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn exists(path: &str) -> bool {
    Path::new(path).exists()
}

fn costs(case: &str, asks: Asks, emulate: &str, each: usize) -> Outcome {
    let shim = Shim::new().with("DAXSHIM_EMULATE", emulate);
    for (warm_ups, questions) in [
        (
            "0",
            match asks {
                Asks::Never => 0,
                Asks::Once => 1,
                Asks::Always(files) => files,
            },
        ),
        (
            "1",
            match asks {
                Asks::Never | Asks::Once => 0,
                Asks::Always(files) => files,
            },
        ),
    ] {
        let (natively, shimmed) = (
            calls(&Shim::none(), case, warm_ups)?,
            calls(&shim, case, warm_ups)?,
        );
        let allowed = natively.len() + questions * each;
        if shimmed.len() > allowed {
            fail!(
                "after {warm_ups} calls, {} system calls where {allowed} are allowed: {shimmed:?}; natively {natively:?}",
                shimmed.len()
            );
        }
    }
    Ok(())
}

/// The numbers of the system calls that it makes.
fn calls(shim: &Shim, case: &str, warm_ups: &str) -> Result<Vec<u64>, Failed> {
    let scene = Scene::new(Tag::None)?;
    let mut command = shim.command(program("entry/trace_untagged"));
    let traced = trace(
        command
            .args([
                "write".as_ref(),
                scene.dir().as_os_str(),
                case.as_ref(),
                warm_ups.as_ref(),
            ])
            .current_dir(scene.dir()),
    )?;
    if traced.result.cast_signed() < 0 {
        fail!("{case} failed");
    }
    let number = |event: &Event| match event {
        // Whether the machine does DAX at all is looked up again after some time.
        Event::Call(number, ..) if *number == libc::SYS_access as u64 => None,
        Event::Call(number, ..) => Some(*number),
        _ => None,
    };
    Ok(traced.events.iter().filter_map(number).collect())
}
