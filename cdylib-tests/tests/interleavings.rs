//! Two threads at one mapping of a tagged file: wherever the first is amid its call when the second makes its own,
//! what the second has changed is the kernel's from then on, and no line of it is written back.

use daxshim_tests::interleave::interleave;
use daxshim_tests::{Outcome, Scene, Shim, Tag, fail, program, scene};
use libtest_mimic::{Arguments, Trial};

/// What the first does, of `two_threads.c`.
const FIRST: &[&str] = &[
    "mprotect",
    "mprotect none",
    "munmap first",
    "munmap last",
    "mmap over",
    "mmap another",
    "mremap shrinks",
    "mremap moves",
    "madvise",
    "pkey_mprotect",
];

/// What the second does to a page, and how msync of it then ends.
const SECOND: &[(&str, i32)] = &[
    ("plain over", 0),
    ("nothing over", 0),
    ("segment over", 0),
    ("unmap", libc::ENOMEM),
    ("hide", 0),
    ("move", libc::ENOMEM),
    ("move over", 0),
    ("fork", 0),
    ("_Fork", 0),
    ("raw fork", 0),
];

fn main() {
    let mut trials = Vec::new();
    for (i, &first) in FIRST.iter().enumerate() {
        for (j, &(second, error)) in SECOND.iter().enumerate() {
            // Each pair with another stride: together they stop at all places of what they share.
            let stride = [17, 23, 29, 31][(i + j) % 4] * if scene::real() { 8 } else { 1 };
            let name = format!("{first}, {second}");
            let test = move || apart(&Shim::new(), first, second, error, stride);
            trials.push(Trial::test(name, test));
        }
        let test = move || apart(&Shim::none(), first, "plain over", 0, 1);
        trials.push(Trial::test(format!("{first}, plain over (natively)"), test));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn apart(shim: &Shim, first: &str, second: &str, error: i32, stride: usize) -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    std::fs::write(scene.path("plain"), vec![b'p'; 8 * 4096])?;
    let mut command = shim.command(program("sync/two_threads"));
    command.arg("msync").arg(scene.dir()).args([first, second]);
    command.current_dir(scene.dir());
    let mut wrong = Vec::new();
    let rounds = interleave(&mut command, stride, |amid, shown| {
        if shown != [1, i64::from(error), 1] {
            wrong.push((amid, shown));
        }
        Ok(())
    })?;
    let [(amid, [needs, ended, rest]), ..] = wrong.as_slice() else {
        return Ok(());
    };
    fail!(
        "{} of {rounds} rounds, the first after {amid} instructions: needs msync {needs} instead of 1, \
         msync error {ended} instead of {error}, of the rest or in the child {rest} instead of 1",
        wrong.len()
    );
}
