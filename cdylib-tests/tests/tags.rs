//! Which tags are believed: whoever could forge one must gain nothing, whoever copies one must lose
//! nothing.

use daxshim_core::host::report::Report;
use daxshim_core::report::Way;
use daxshim_core::tag::Record;
use daxshim_tests::{Failed, Outcome, Run, Scene, Shim, Tag, expectation, fail, scene};
use libtest_mimic::{Arguments, Trial};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

type Test = (&'static str, fn() -> Outcome);

const TRIALS: &[Test] = &[
    ("a copy that carries the attribute is not bound", copied),
    ("a tag taken off binds no longer", taken_off),
    (
        "a file that is mapped while its tag comes off keeps it",
        mapped_while_taken_off,
    ),
    (
        "a tag that is being taken off binds, and nothing is flushed by lines",
        clearing,
    ),
    ("a tag set while the file is open binds", set_while_open),
    (
        "a user's tag means nothing without DAXSHIM_EMULATE",
        forged_by_user,
    ),
    ("a broken tag stays in force", broken),
    ("every byte of a record matters", every_byte),
    (
        "unknown environment values are the defaults",
        unknown_values,
    ),
    (
        "a library that cannot report still works",
        unwritable_report,
    ),
];

fn main() {
    let trials = TRIALS
        .iter()
        .map(|&(name, test)| Trial::test(name, test))
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn attribute() -> &'static str {
    if daxshim_tests::scene::real() {
        "security.dax_immutable"
    } else {
        "user.dax_immutable"
    }
}

/// `hooks/ftruncate.c` in the scene answers as on an untagged file, or as on a tagged one.
fn binds(scene: &Scene, shim: &Shim, bound: bool) -> Outcome {
    let native = Run::natively("hooks/ftruncate", "ftruncate")?;
    let expected = if bound {
        native.except(&expectation("hooks/ftruncate", "tagged").unwrap_or_default())?
    } else {
        native.output.clone()
    };
    Run::program(shim, "hooks/ftruncate", "ftruncate", scene)?.expect(&expected, &native)
}

/// As root's `cp --preserve=all` does: the attribute goes along, the inode does not.
fn copied() -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    let mut tag = vec![0u8; Record::MAX_LEN];
    let n = rustix::fs::getxattr(scene.path("file"), attribute(), &mut tag)?;
    let other = Scene::new(Tag::None)?;
    rustix::fs::setxattr(
        other.path("file"),
        attribute(),
        &tag[..n],
        rustix::fs::XattrFlags::empty(),
    )?;
    binds(&other, &Shim::new(), false)?;
    binds(&scene, &Shim::new(), true)
}

fn taken_off() -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    daxshim_tests::scene::daxshim(&["untag"], &scene.path("file"))?;
    binds(&scene, &Shim::new(), false)
}

fn clearing() -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    let path = scene.path("file");
    let mut tag = [0; Record::MAX_LEN];
    let length = rustix::fs::getxattr(&path, attribute(), &mut tag[..])?;
    let record = Record::parse(tag.get(..length).unwrap_or(&[])).map_err(|why| why.to_string())?;
    let record = Record {
        clearing: true,
        ..record
    };
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&path, attribute(), record.to_text().as_bytes(), flags)?;
    binds(&scene, &Shim::new(), true)?;
    let shim = Shim::new().with("DAXSHIM_REPORT", scene.report()?);
    Run::program(&shim, "behaviours/msync_mlocked", "msync", &scene)?;
    let report = Report::read(&scene.report()?, &BTreeSet::new())?;
    let by = |way| {
        report
            .total
            .syncs_of(|sync| sync.way == way, |sync| sync.calls)
    };
    if by(Way::User) != 0 || by(Way::Kernel) == 0 {
        fail!(
            "not the kernel's: {} by lines, {} by the kernel",
            by(Way::User),
            by(Way::Kernel)
        );
    }
    Ok(())
}

/// As by a process that goes by the look it took before.
fn mapped_while_taken_off() -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    let path = scene.path("file");
    let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
    let value = || -> Result<Vec<u8>, Failed> {
        let mut tag = vec![0; Record::MAX_LEN];
        let length = rustix::fs::fgetxattr(&file, attribute(), &mut tag[..])?;
        tag.truncate(length);
        Ok(tag)
    };
    let before = value()?;
    let (came_off, untagged) = std::thread::scope(|scope| {
        let untag = scope.spawn(|| daxshim_tests::scene::daxshim(&["untag"], &path).is_ok());
        while value()? == before && !untag.is_finished() {
            std::thread::yield_now();
        }
        let came_off = value()? != before;
        let protection = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
        let shared = rustix::mm::MapFlags::SHARED;
        // SAFETY: a new mapping, which nobody touches.
        let mapped =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), 4096, protection, shared, &file, 0) };
        let untagged = untag.join();
        // SAFETY: made just before.
        unsafe { rustix::mm::munmap(mapped?, 4096)? };
        Ok::<_, Failed>((came_off, untagged.map_err(|_| "untag panicked")?))
    })?;
    if untagged {
        fail!("the tag of a mapped file came off");
    }
    // Elsewhere somebody may hide from /proc, who might have the file mapped.
    if scene::real() && !came_off {
        fail!("the file was refused at once");
    }
    if value()? != before {
        fail!("the tag is not what it was");
    }
    drop(file);
    binds(&scene, &Shim::new(), true)
}

/// The descriptor is older than the tag: `dd` holds it as its standard output.
fn set_while_open() -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    let before = scene.snapshot("file")?;
    let output = fs::OpenOptions::new()
        .write(true)
        .open(scene.path("file"))?;
    let mut command = Shim::new().command("dd");
    command
        .args(["if=plain", "conv=notrunc", "status=none"])
        .current_dir(scene.dir())
        .stdout(output);
    let status = command.stderr(std::process::Stdio::null()).status()?;
    if status.code() != Some(1) {
        fail!("dd ended with {status}");
    }
    before.same(&scene.snapshot("file")?)
}

fn forged_by_user() -> Outcome {
    let scene = Scene::new(Tag::Emulated)?;
    binds(&scene, &Shim::new().with("DAXSHIM_EMULATE", "0"), false)
}

/// The extents are not those of the tag: EPERM all the same (and sync is the kernel's: `flush.rs`).
fn broken() -> Outcome {
    binds(&Scene::new(Tag::Broken)?, &Shim::new(), true)
}

fn every_byte() -> Outcome {
    let scene = Scene::new(Tag::None)?;
    let meta = fs::metadata(scene.path("file"))?;
    let record = Record {
        inode: meta.ino(),
        generation: None,
        size: meta.len(),
        extents: None,
        emulated: false,
        nodefrag: false,
        dax: false,
        clearing: false,
    };
    let text = record.to_text();
    for at in 0..text.as_bytes().len() {
        let mut value = text.as_bytes().to_vec();
        value[at] ^= 1;
        rustix::fs::setxattr(
            scene.path("file"),
            attribute(),
            &value,
            rustix::fs::XattrFlags::empty(),
        )?;
        let mut command = Shim::new().command("dd");
        command
            .args(["if=plain", "of=file", "conv=notrunc", "status=none"])
            .current_dir(scene.dir());
        if !command.status()?.success() {
            fail!("with byte {at} changed it still binds");
        }
    }
    Ok(())
}

/// One warning each at most, never on the program's own streams, and the default.
fn unknown_values() -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    let mut shim = Shim::new();
    for name in [
        "DAXSHIM_MODE",
        "DAXSHIM_FLUSH",
        "DAXSHIM_COMPAT",
        "DAXSHIM_READS",
        "DAXSHIM_DEEP",
        "DAXSHIM_LOG",
    ] {
        shim = shim.with(name, "no such value");
    }
    binds(&scene, &shim, true)
}

fn unwritable_report() -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    binds(
        &scene,
        &Shim::new().with("DAXSHIM_REPORT", "/proc/nowhere"),
        true,
    )
}
