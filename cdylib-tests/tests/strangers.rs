//! Programs that know nothing of all this, under the library: python3, fio, cp, dd.

use daxshim_tests::{Failed, Outcome, Run, Scene, Shim, Tag, fail, scene};
use libtest_mimic::{Arguments, Trial};
use std::process::Command;

type Test = (&'static str, fn() -> Outcome);

const TRIALS: &[Test] = &[
    (
        "python: mmap stores, flush, and what is refused",
        python_mmap,
    ),
    ("python: sqlite on an untagged file", python_sqlite),
    (
        "python: memoryview over mmap, page by page",
        python_memoryview,
    ),
    ("fio: mmap engine with verify", fio_mmap),
    ("fio: psync engine is refused", fio_psync),
    ("fio: libaio engine is refused", fio_libaio),
    ("cp: from a tagged file", cp_from),
    ("cp: over a tagged file", cp_over),
    ("dd conv=notrunc: refused", dd_notrunc),
    ("mv, rm, ln, chmod, touch -c: refused", coreutils),
    ("bash: redirection", bash_redirection),
    ("tar and cat: reading", readers),
];

fn main() {
    let mut trials: Vec<_> = TRIALS
        .iter()
        .map(|&(name, test)| Trial::test(name, test))
        .collect();
    trials.push(Trial::test("bash, sed: writing through stdio", stdio));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Runs it in the scene with a limit of time; it must be installed.
fn run(shim: &Shim, scene: &Scene, words: &[&str]) -> Result<Run, Failed> {
    let mut command: Command = shim.command("timeout");
    command
        .arg("120")
        .args(words)
        .current_dir(scene.dir())
        .env("LC_ALL", "C");
    let run = Run::of(&mut command)?;
    if run.status.code() == Some(127) {
        fail!("{} is not installed", words[0]);
    }
    Ok(run)
}

/// It must end with this status.
fn ends(run: &Run, code: i32) -> Outcome {
    if run.status.code() != Some(code) {
        fail!(
            "ended with {} instead of {code}:\n{}",
            run.status,
            run.output
        );
    }
    Ok(())
}

/// Runs it on a tagged file; the file must be as before, bit by bit, and the status this.
fn refused(words: &[&str], code: i32) -> Result<Run, Failed> {
    let scene = Scene::new(Tag::Valid)?;
    let before = scene.snapshot("file")?;
    let run = run(&Shim::new(), &scene, words)?;
    ends(&run, code)?;
    before.same(&scene.snapshot("file")?)?;
    Ok(run)
}

fn python_mmap() -> Outcome {
    const PROGRAM: &str = r#"
import errno, mmap, os

def refused(call):
    try:
        call()
    except PermissionError as error:
        assert error.errno == errno.EPERM, error
    else:
        raise AssertionError("it was not refused")

with open("file", "r+b", buffering=0) as file:
    with mmap.mmap(file.fileno(), 0) as memory:
        memory[100:106] = b"stored"
        memory.flush()
        memory[4096:4102] = b"second"
        memory.flush(4096, 4096)
        assert file.read(106)[100:] == b"stored"
    refused(lambda: file.write(b"written"))
    refused(lambda: os.pwrite(file.fileno(), b"written", 0))
    refused(lambda: file.truncate(10))
refused(lambda: os.truncate("file", 10))
refused(lambda: open("file", "wb", buffering=0))
refused(lambda: os.remove("file"))
refused(lambda: os.rename("file", "new"))
refused(lambda: os.link("file", "new"))
refused(lambda: os.chmod("file", 0o600))
refused(lambda: os.setxattr("file", "user.test", b"v"))
"#;
    let scene = Scene::new(Tag::Valid)?;
    let before = scene.snapshot("file")?;
    ends(&run(&Shim::new(), &scene, &["python3", "-c", PROGRAM])?, 0)?;
    let after = scene.snapshot("file")?;
    before.same_but_for_stores(&after)?;
    let mut wanted = before.content;
    wanted[100..106].copy_from_slice(b"stored");
    wanted[4096..4102].copy_from_slice(b"second");
    if after.content != wanted {
        fail!("the file does not hold exactly what was stored");
    }
    Ok(())
}

fn python_memoryview() -> Outcome {
    const PROGRAM: &str = r#"
import mmap
with open("file", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
    view = memoryview(memory)
    for i in range(0, len(view), 64):
        view[i] = 33
        memory.flush(i // 4096 * 4096, 4096)
    view.release()
"#;
    let scene = Scene::new(Tag::Valid)?;
    ends(&run(&Shim::new(), &scene, &["python3", "-c", PROGRAM])?, 0)?;
    if !scene
        .snapshot("file")?
        .content
        .iter()
        .step_by(64)
        .all(|&byte| byte == b'!')
    {
        fail!("a store is missing");
    }
    Ok(())
}

fn python_sqlite() -> Outcome {
    const PROGRAM: &str = r#"
import sqlite3
for journal in "delete", "truncate", "persist", "wal":
    database = sqlite3.connect("database-" + journal)
    print(database.execute("pragma journal_mode=" + journal).fetchall())
    database.execute("pragma mmap_size=1000000")
    database.execute("create table t(a integer primary key, b text)")
    with database:
        database.executemany("insert into t values(?, ?)", ((i, "x" * i) for i in range(500)))
    with database:
        database.execute("delete from t where a % 3 = 0")
    database.execute("vacuum")
    print(database.execute("select count(*), sum(length(b)) from t").fetchall())
    print(database.execute("pragma integrity_check").fetchall())
    database.close()
"#;
    let natively = run(
        &Shim::none(),
        &Scene::new(Tag::None)?,
        &["python3", "-c", PROGRAM],
    )?;
    ends(&natively, 0)?;
    let scene = Scene::new(Tag::Valid)?;
    run(&Shim::new(), &scene, &["python3", "-c", PROGRAM])?.expect(&natively.output, &natively)
}

/// A tagged file of a mebibyte, for fio.
fn for_fio() -> Result<Scene, Failed> {
    let scene = Scene::new(Tag::None)?;
    std::fs::write(scene.path("large"), scene::pattern(1 << 20))?;
    scene.tag("large", Tag::Valid)?;
    Ok(scene)
}

const FIO: [&str; 10] = [
    "fio",
    "--name=job",
    "--filename=large",
    "--size=1m",
    "--bs=4k",
    "--rw=randwrite",
    "--allow_file_create=0",
    "--overwrite=1",
    "--randrepeat=1",
    "--minimal",
];

fn fio_mmap() -> Outcome {
    for sync in [["--fsync=1"], ["--direct=1"]] {
        let scene = for_fio()?;
        let before = scene.snapshot("large")?;
        let words = [
            &FIO[..],
            &[
                "--ioengine=mmap",
                "--verify=crc32c",
                "--do_verify=1",
                "--verify_fatal=1",
            ],
            &sync,
        ];
        ends(&run(&Shim::new(), &scene, &words.concat())?, 0)?;
        let after = scene.snapshot("large")?;
        before.same_but_for_stores(&after)?;
        if before.content == after.content {
            fail!("fio wrote nothing");
        }
    }
    Ok(())
}

fn fio_psync() -> Outcome {
    let scene = for_fio()?;
    let before = scene.snapshot("large")?;
    let run = run(
        &Shim::new(),
        &scene,
        &[&FIO[..], &["--ioengine=psync"]].concat(),
    )?;
    if run.status.success() || !run.output.contains("not permitted") {
        fail!("fio was not refused: {}\n{}", run.status, run.output);
    }
    before.same(&scene.snapshot("large")?)
}

fn fio_libaio() -> Outcome {
    let words = [
        &FIO[..],
        &["--ioengine=libaio", "--iodepth=8", "--verify=crc32c"],
    ]
    .concat();
    let scene = for_fio()?;
    let before = scene.snapshot("large")?;
    let refused = run(&Shim::new(), &scene, &words)?;
    if refused.status.success() || !refused.output.contains("not permitted") {
        fail!(
            "fio was not refused: {}\n{}",
            refused.status,
            refused.output
        );
    }
    before.same(&scene.snapshot("large")?)?;
    let untagged = Scene::new(Tag::None)?;
    std::fs::write(untagged.path("large"), scene::pattern(1 << 20))?;
    ends(&run(&Shim::new(), &untagged, &words)?, 0)
}

fn cp_from() -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    let before = scene.snapshot("file")?;
    for (option, to) in [
        ("--reflink=auto", "copy"),
        ("--sparse=always", "sparse"),
        ("-p", "preserved"),
    ] {
        ends(&run(&Shim::new(), &scene, &["cp", option, "file", to])?, 0)?;
        if std::fs::read(scene.path(to))? != before.content {
            fail!("cp {option} made another file");
        }
        ends(
            &run(
                &Shim::new(),
                &scene,
                &["dd", "if=/dev/zero", &format!("of={to}"), "bs=1", "count=5"],
            )?,
            0,
        )?;
    }
    before.same(&scene.snapshot("file")?)
}

fn cp_over() -> Outcome {
    refused(&["cp", "plain", "file"], 1)?;
    refused(&["cp", "plain", "symlink"], 1)?;
    refused(&["cp", "--force", "plain", "file"], 1)?;
    refused(&["cp", "--remove-destination", "plain", "file"], 1).map(drop)
}

fn dd_notrunc() -> Outcome {
    for extra in ["conv=notrunc", "oflag=append", "conv=nocreat"] {
        let run = refused(&["dd", "if=plain", "of=file", "bs=10", "count=1", extra], 1)?;
        if !run.output.contains("Operation not permitted") {
            fail!("dd {extra} says something else:\n{}", run.output);
        }
    }
    Ok(())
}

fn coreutils() -> Outcome {
    for words in [
        &["mv", "file", "new"][..],
        &["mv", "-f", "plain", "file"],
        &["rm", "-f", "file"],
        &["ln", "file", "new"],
        &["ln", "-f", "plain", "file"],
        &["chmod", "600", "file"],
        &["chown", "1:2", "file"],
        &["truncate", "-s", "10", "file"],
        &["fallocate", "-p", "-o", "0", "-l", "4096", "file"],
    ] {
        refused(words, 1)?;
    }
    Ok(())
}

fn bash_redirection() -> Outcome {
    refused(&["bash", "-c", "echo text >file"], 1)?;
    let scene = Scene::new(Tag::Valid)?;
    let shim = Shim::new();
    ends(
        &run(
            &shim,
            &scene,
            &[
                "bash",
                "-c",
                "cat file >copy && cmp file copy && rm copy plain",
            ],
        )?,
        0,
    )
}

/// bash's echo writes through stdio, which reaches the kernel from inside libc: symbol interposition
/// does not see it. Ignored until the library hooks the entry of those functions.
fn stdio() -> Outcome {
    refused(&["bash", "-c", "echo text >>file"], 1)?;
    refused(&["bash", "-c", "exec 3<>file && echo text >&3"], 1)?;
    refused(&["sed", "-n", "w file", "plain"], 4).map(drop)
}

fn readers() -> Outcome {
    refused(
        &[
            "bash",
            "-c",
            "tar cf - file | tar xOf - | cmp - file && wc -c <file && stat file >/dev/null",
        ],
        0,
    )
    .map(drop)
}
