//! `daxshim check --watch`: files without a tag, elsewhere than on DAX, by a user without privilege, with little memory.
//! The programs of programs/check and programs/watch, each with its bug and without.

use daxshim_tests::{Failed, Outcome, built, fail, program};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Whose files the program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In memory.
    Tmpfs,
    /// Wherever the build is: ext4, mostly.
    Disk,
    /// In a mount namespace: an overlay, and 64 MiB of /dev/shm.
    Overlay,
}

const PLACES: [Place; 3] = [Place::Tmpfs, Place::Disk, Place::Overlay];

/// A program, `--watch` for it, and what is found in it with the bug and without.
struct Seeded(
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const SEEDED: &[Seeded] = &[
    Seeded("check/unmapped", "shared", &["DAX307"], &[]),
    Seeded("check/unmapped", "file", &["DAX001"], &[]),
    Seeded("check/unmapped_then_fsync", "file", &["DAX001"], &[]),
    Seeded("check/aio_fsync", "shared", &["DAX307"], &[]),
    Seeded("check/half_of_two", "file", &["DAX001"], &[]),
    Seeded("check/mapped_over", "file", &["DAX002"], &[]),
    Seeded("check/exited", "file", &["DAX003"], &[]),
    Seeded("check/child_unmapped", "file", &["DAX003"], &[]),
    Seeded("check/executed", "file", &["DAX004"], &[]),
    Seeded("check/killed", "file", &["DAX005"], &[]),
    Seeded("check/wrong_range", "shared", &["DAX006"], &[]),
    Seeded("check/wrong_file", "*", &["DAX007"], &[]),
    Seeded("check/acknowledged", "file", &["DAX008"], &[]),
    Seeded("check/acknowledged_by_write", "file", &["DAX008"], &[]),
    Seeded("check/beyond_end", "shared", &["DAX009"], &[]),
    Seeded("check/redundant", "shared", &["DAX101"], &[]),
    Seeded("check/amplified", "shared", &["DAX102"], &[]),
    Seeded("check/fsync_needed", "shared", &["DAX103"], &[]),
    Seeded("watch/async_only", "shared", &["DAX003", "DAX014"], &[]),
    Seeded("watch/nothing_synced", "shared", &["DAX307"], &[]),
    Seeded("watch/nothing_synced", "file", &["DAX001"], &[]),
    Seeded("watch/lock_file", "shared", &["DAX306"], &["DAX306"]),
    Seeded("watch/lock_file", "big", &["DAX003"], &["DAX003"]),
    Seeded("watch/run_again", "shared", &["DAX101", "DAX408"], &[]),
    Seeded("watch/grown", "shared", &["DAX001"], &[]),
    Seeded("watch/small_steps", "shared", &["DAX003"], &[]),
    Seeded("watch/shortened", "shared", &["DAX003"], &[]),
    Seeded("watch/written", "shared", &["DAX003"], &[]),
    Seeded("watch/written_through", "shared", &["DAX003"], &[]),
    Seeded("watch/renamed", "shared", &["DAX001"], &[]),
    Seeded("watch/range_only", "shared", &["DAX003"], &["DAX103"]),
    Seeded("watch/exceptions", "shared", &["DAX001"], &[]),
    Seeded("java", "file", &["DAX003"], &[]),
    Seeded("python", "shared", &["DAX001", "DAX006"], &[]),
    Seeded("memmap2", "shared", &["DAX001", "DAX014"], &[]),
];

type Test = (&'static str, fn() -> Outcome);

const TRIALS: &[Test] = &[
    ("pages", pages),
    ("nothing is refused", nothing_refused),
    ("what could be watched is named", not_asked),
    ("a pattern that names nothing", unmatched),
    ("a file that is elsewhere", elsewhere),
    ("databases as they are shipped", databases),
    ("sqlite", sqlite),
    ("a shadow goes where there is room", spilled),
    ("scratch", scratch),
    ("a root that is read-only", read_only),
    ("setup and restore", restored),
    ("suppressions that nothing needs", unused),
    ("where to look further", further),
    ("sarif as importers want it", imported),
    ("blame before the first sync", blamed),
    ("a file that was used before", used),
    ("a directory of PATH that may not be entered", unsearchable),
    ("crash", crash),
    ("crash of a file that grows", crash_grown),
];

fn main() {
    let mut trials = Vec::new();
    // One kernel and one page cache are enough, and the guest has neither Python nor namespaces to spare.
    if !daxshim_tests::scene::real() {
        for seeded in SEEDED {
            for place in PLACES {
                let Seeded(name, watch, wrong, right) = seeded;
                for (twin, expected) in [("wrong", wrong), ("right", right)] {
                    let title = format!("{name}/{watch}/{place:?}/{twin}");
                    trials.push(Trial::test(title, move || {
                        found(seeded, place, twin, expected)
                    }));
                }
            }
        }
        for &(name, test) in TRIALS {
            trials.push(Trial::test(name, test));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A directory with the files that the programs map, for everybody.
struct Files {
    directory: TempDir,
}

impl Files {
    fn in_place(place: Place) -> Result<Files, Failed> {
        let parent = match place {
            Place::Tmpfs => Path::new("/dev/shm"),
            _ => Path::new(env!("CARGO_TARGET_TMPDIR")),
        };
        let directory = tempfile::Builder::new()
            .prefix("daxshim-test-")
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(parent)?;
        for (name, size) in [("file", 4 * 4096), ("tail", 4196), ("big", 64 * 4096)] {
            let path = directory.path().join(name);
            std::fs::write(&path, vec![1; size])?;
            std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        }
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o777))?;
        Ok(Files { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether everybody gets to a file. A build in a directory of its maker's alone is run by that one.
fn is_for_everybody(path: &Path) -> bool {
    let is_open = |path: &Path| {
        let found = path.metadata();
        found.is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
    };
    path.ancestors().all(is_open)
}

/// `daxshim`, by a user that owns nothing and may do nothing.
fn unprivileged() -> Command {
    let daxshim = built("daxshim");
    if !is_root() || !is_for_everybody(&daxshim) {
        return Command::new(daxshim);
    }
    let mut command = Command::new("setpriv");
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let none = [
        "--inh-caps=-all",
        "--bounding-set=-all",
        "--no-new-privs",
        "--",
    ];
    command.args(user).args(none).arg(daxshim);
    command
}

/// As [`unprivileged`], in a mount namespace in which `script` is run first.
fn in_namespace(script: &str) -> Command {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.arg("-Ur");
    }
    let inner = unprivileged();
    let exec = "exec \"$@\"";
    command
        .args(["-m", "--propagation", "private", "sh", "-ec"])
        .arg(format!("{script}\n{exec}"))
        .arg("sh")
        .arg(inner.get_program())
        .args(inner.get_args());
    command
}

const SMALL_MEMORY: &str = "mount -t tmpfs -o size=64m,mode=1777 tmpfs /dev/shm";

/// The program to run, with its arguments.
fn words(name: &str, twin: &str, directory: &Path) -> Vec<PathBuf> {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
    let mut words = match name {
        "python" => vec!["python3".into(), programs.join("watch/python.py")],
        "java" => vec!["java".into(), programs.join("watch/Stores.java")],
        "memmap2" => vec![env!("CARGO_BIN_EXE_memmap2").into()],
        name => vec![program(name)],
    };
    words.extend([twin.into(), directory.to_owned()]);
    words
}

fn run(files: &Files, place: Place, options: &[&str], words: &[PathBuf]) -> Result<Output, Failed> {
    let directory = files.directory.path();
    let mut command = match place {
        Place::Overlay => {
            let at = directory.display();
            in_namespace(&format!(
                "{SMALL_MEMORY}\nmkdir -m 777 /dev/shm/upper /dev/shm/work\n\
                 mount -t overlay overlay \
                 -o lowerdir={at},upperdir=/dev/shm/upper,workdir=/dev/shm/work {at}"
            ))
        }
        _ => unprivileged(),
    };
    command.arg("check").args(options).arg("--").args(words);
    Ok(command.current_dir("/").output()?)
}

fn document(done: &Output) -> Result<Value, Failed> {
    let said = String::from_utf8_lossy(&done.stderr);
    let text = String::from_utf8_lossy(&done.stdout);
    // What the program says comes first.
    let start = text
        .find("{\n")
        .ok_or_else(|| format!("no document: {said}"))?;
    Ok(serde_json::from_str(&text[start..]).map_err(|error| format!("{error}: {text} {said}"))?)
}

fn findings(document: &Value) -> Vec<Value> {
    document["findings"].as_array().cloned().unwrap_or_default()
}

fn codes(document: &Value) -> Vec<String> {
    let findings = findings(document);
    let codes = findings
        .iter()
        .filter_map(|finding| finding["code"].as_str());
    let mut codes: Vec<String> = codes.map(str::to_owned).collect();
    // The programs' modules may have system calls of their own.
    codes.retain(|code| code != "DAX403");
    codes.sort();
    codes.dedup();
    codes
}

fn found(seeded: &Seeded, place: Place, twin: &str, expected: &[&str]) -> Outcome {
    let Seeded(name, watch, ..) = seeded;
    if *name == "java" && Command::new("java").arg("-version").output().is_err() {
        // What it does is seen in docs/guides/java.md where there is one.
        return Ok(());
    }
    let files = Files::in_place(place)?;
    let options = ["--watch", watch, "--exact", "--json", "-"];
    let words = words(name, twin, files.directory.path());
    let done = run(&files, place, &options, &words)?;
    let document = document(&done)?;
    if codes(&document) != expected {
        fail!(
            "found {:?} instead of {expected:?}: {document:#}",
            codes(&document)
        );
    }
    let is_grave = findings(&document)
        .iter()
        .any(|finding| finding["level"] != "note");
    let status = document["exit_status"].as_i64();
    let wanted = if is_grave { 1 } else { 0 };
    // What is killed stays so.
    let killed = *name == "check/killed" && twin == "right";
    if status != Some(wanted) && !killed {
        fail!("exit status {status:?}: {document:#}");
    }
    Ok(())
}

/// The unit is the page, and that is said; the bytes are those that were stored.
fn pages() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let words = words("check/exited", "wrong", files.directory.path());
    let done = run(
        &files,
        Place::Disk,
        &["--watch", "file", "--json", "-"],
        &words,
    )?;
    let document = document(&done)?;
    let finding = &document["findings"][0];
    let said = String::from_utf8_lossy(&done.stderr);
    let is_so = finding["unit"] == "page"
        && finding["lines"] == 1
        && finding["bytes"] == serde_json::json!([8256, 8384])
        && said.contains("1 page, which the kernel writes back at any time, or not at all");
    if !is_so {
        fail!("{said}{document:#}");
    }
    Ok(())
}

fn nothing_refused() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let file = files.path("file");
    let script = "import mmap, os, sys\n\
                  f = open(sys.argv[1], 'r+b')\n\
                  m = mmap.mmap(f.fileno(), 0)\n\
                  f.write(b'x'); f.flush()\n\
                  os.ftruncate(f.fileno(), 16384)\n\
                  os.chmod(sys.argv[1], 0o666) if os.geteuid() == os.stat(sys.argv[1]).st_uid else None\n\
                  os.fsync(f.fileno())\n\
                  os.link(sys.argv[1], sys.argv[1] + '.2') if os.geteuid() == 0 else None\n\
                  os.rename(sys.argv[1], sys.argv[1] + '.3')\n";
    let words = ["python3".into(), "-c".into(), script.into(), file];
    let done = run(
        &files,
        Place::Disk,
        &["--watch", "shared", "--json", "-"],
        &words,
    )?;
    let document = document(&done)?;
    if document["ended"]["exit_status"] != 0 || codes(&document) != [""; 0] {
        fail!("{}{document:#}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

fn not_asked() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let words = words("watch/nothing_synced", "wrong", files.directory.path());
    let done = run(&files, Place::Disk, &["--json", "-"], &words)?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let document = document(&done)?;
    let named = said.contains("/file was mapped shared and writable: --watch shared");
    if codes(&document) != ["DAX407"] || done.status.code() != Some(125) || !named {
        fail!("{said}{document:#}");
    }
    Ok(())
}

/// One of two files is watched, and the other was to be.
fn unmatched() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let words = words("check/unmapped", "right", files.directory.path());
    for (options, wanted) in [
        (&["--watch", "file"][..], 0),
        (&["--watch", "file", "--watch", "*.db"], 125),
        (
            &["--watch", "file", "--watch", "*.db", "--allow-nothing"],
            0,
        ),
    ] {
        let done = run(&files, Place::Disk, options, &words)?;
        let said = String::from_utf8_lossy(&done.stderr);
        let is_said = said.contains("--watch *.db has named no file that was watched");
        let is_why = said.contains("the exit status is 125 for that alone")
            && said.contains("--allow-nothing takes that for success");
        let is_right = is_said == (options.len() > 2) && is_why == (wanted == 125);
        if done.status.code() != Some(wanted) || !is_right {
            fail!("{options:?}: {}: {said}", done.status);
        }
    }
    Ok(())
}

fn elsewhere() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let words = words("watch/moved_away", "wrong", files.directory.path());
    let done = run(
        &files,
        Place::Disk,
        &["--watch", "shared", "--json", "-"],
        &words,
    )?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let document = document(&done)?;
    let gone = document["limits"]["files_gone"]
        .as_array()
        .map_or(0, Vec::len);
    if gone != 1 || !said.contains("/file was not compared, as it is not there any more") {
        fail!("{said}{document:#}");
    }
    Ok(())
}

/// Nothing but notes, on files without a tag: docs/programs.md says why they are there. With an msync left out, an error.
fn databases() -> Outcome {
    for (name, notes) in [
        ("lmdb", &["DAX102", "DAX306"][..]),
        ("tdb", &["DAX101", "DAX103"]),
        ("gdbm", &["DAX101"]),
    ] {
        for place in PLACES {
            let files = Files::in_place(place)?;
            let directory = files.directory.path();
            let words = |what: &str| {
                let program = program("crash").join(name);
                vec![program, what.into(), directory.to_owned()]
            };
            let made = run(&files, Place::Disk, &["--watch", "shared"], &words("make"))?;
            if !made.status.success() {
                fail!("{name}: {}", String::from_utf8_lossy(&made.stderr));
            }
            let options = ["--watch", "shared", "--exact", "--json", "-"];
            let done = run(&files, place, &options, &words("right"))?;
            let document = document(&done)?;
            if codes(&document) != notes || done.status.code() != Some(0) {
                fail!("{name}, {place:?}: {:?} {document:#}", codes(&document));
            }
        }
    }
    Ok(())
}

/// It maps its database to read, and writes to it by write(2): whether that is made durable is seen where the database
/// is named.
fn sqlite() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let script = "import os, sqlite3, sys\n\
                  journal, synchronous = sys.argv[2:]\n\
                  c = sqlite3.connect(sys.argv[1])\n\
                  c.execute('pragma mmap_size=268435456')\n\
                  c.execute('pragma journal_mode=' + journal)\n\
                  c.execute('pragma synchronous=' + synchronous)\n\
                  c.execute('create table t(a, b)')\n\
                  for i in range(100):\n    \
                  c.execute('insert into t values(?, ?)', (i, 'x' * 300)); c.commit()\n\
                  assert c.execute('select count(*) from t').fetchone() == (100,)\n\
                  c.close()\n";
    for (journal, synchronous, errors) in [
        ("wal", "full", false),
        ("delete", "full", false),
        ("delete", "off", true),
    ] {
        let database = files.path(&format!("{journal}-{synchronous}.db"));
        let words = [
            "python3".into(),
            "-c".into(),
            script.into(),
            database,
            journal.into(),
            synchronous.into(),
        ];
        let options = [
            "--watch", "*.db", "--watch", "shared", "--exact", "--json", "-",
        ];
        let done = run(&files, Place::Disk, &options, &words)?;
        let document = document(&done)?;
        let grave = findings(&document)
            .iter()
            .any(|finding| finding["level"] == "error");
        if grave != errors || document["ended"]["exit_status"] != 0 {
            fail!(
                "{journal} {synchronous}: {:?} {document:#}",
                codes(&document)
            );
        }
    }
    Ok(())
}

/// A file of which an eighth is more than /dev/shm has.
fn large(files: &Files) -> Result<PathBuf, Failed> {
    let path = files.path("large");
    std::fs::File::create(&path)?.set_len(600 << 20)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    Ok(path)
}

const STORE_TO_LARGE: &str = "import mmap, sys\n\
                              f = open(sys.argv[2], 'r+b')\n\
                              m = mmap.mmap(f.fileno(), 0)\n\
                              m[500 << 20] = 7\n\
                              m[4096] = 7\n\
                              m.flush(0, 8192) if sys.argv[1] == 'wrong' else m.flush()\n\
                              m.close()\n";

fn spilled() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let large = large(&files)?;
    let other = files.path("other");
    std::fs::create_dir(&other)?;
    std::fs::set_permissions(&other, Permissions::from_mode(0o777))?;
    for (twin, expected) in [("wrong", &["DAX001"][..]), ("right", &[])] {
        let mut command = in_namespace(SMALL_MEMORY);
        command.env("TMPDIR", &other);
        command.args(["check", "--exact", "--watch", "shared", "--json", "-", "--"]);
        command
            .args(["python3", "-c", STORE_TO_LARGE, twin])
            .arg(&large);
        let done = command.current_dir("/").output()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let document = document(&done)?;
        let mut codes = codes(&document);
        codes.retain(|code| code != "DAX102");
        if codes != expected || !said.contains("as there was no room in /dev/shm") {
            fail!("{twin}: {said}{document:#}");
        }
        if other.read_dir()?.count() != 0 {
            fail!("something is left in {}", other.display());
        }
        // As it was.
        std::fs::File::create(&large)?.set_len(600 << 20)?;
    }
    Ok(())
}

fn scratch() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let place = files.path("scratch");
    std::fs::create_dir(&place)?;
    std::fs::set_permissions(&place, Permissions::from_mode(0o777))?;
    let place = place.to_string_lossy().into_owned();
    // Full, but for what the shell needs.
    let mut command = in_namespace("mount -t tmpfs -o size=64k,mode=1777 tmpfs /dev/shm");
    command.args([
        "check",
        "--watch",
        "file",
        "--json",
        "-",
        "--scratch",
        &place,
        "--",
    ]);
    command.args(words("check/exited", "wrong", files.directory.path()));
    let done = command.current_dir("/").output()?;
    let document = document(&done)?;
    if codes(&document) != ["DAX003"] || Path::new(&place).read_dir()?.count() != 0 {
        fail!("{}{document:#}", String::from_utf8_lossy(&done.stderr));
    }
    // And where nothing is chosen, in TMPDIR, which is said.
    let mut command = in_namespace("mount -t tmpfs -o size=64k,mode=1777 tmpfs /dev/shm");
    command.args(["check", "--watch", "file", "--json", "-", "--"]);
    command.args(words("check/exited", "wrong", files.directory.path()));
    let done = command.env("TMPDIR", &place).current_dir("/").output()?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if !said.contains("/dev/shm is full: what is kept of the run goes to") {
        fail!("{said}");
    }
    Ok(())
}

fn read_only() -> Outcome {
    let files = Files::in_place(Place::Tmpfs)?;
    let mut command =
        in_namespace("mount --bind / /mnt 2>/dev/null || true\nmount -o remount,bind,ro /");
    command.args(["check", "--watch", "file", "--json", "-", "--"]);
    command.args(words("check/exited", "wrong", files.directory.path()));
    let done = command.current_dir("/").output()?;
    let document = document(&done)?;
    if codes(&document) != ["DAX003"] {
        fail!("{}{document:#}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

/// A second run finds what the first has found, and the file is as it was.
fn restored() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let file = files.path("file");
    let before = std::fs::read(&file)?;
    let script = "import mmap, sys\n\
                  f = open(sys.argv[1], 'r+b')\n\
                  m = mmap.mmap(f.fileno(), 0)\n\
                  m[5000] = 7\n";
    let words = ["python3".into(), "-c".into(), script.into(), file.clone()];
    let once = |options: &[&str]| -> Result<(Vec<String>, String), Failed> {
        let options = [&["--watch", "file", "--json", "-"], options].concat();
        let done = run(&files, Place::Disk, &options, &words)?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        Ok((codes(&document(&done)?), said))
    };
    for _ in 0..2 {
        let (codes, said) = once(&["--restore"])?;
        if codes != ["DAX003"] && codes != ["DAX001"] || std::fs::read(&file)? != before {
            fail!("{codes:?}: {said}");
        }
    }
    let setup = format!("head -c 16384 /dev/zero >{}", file.display());
    for _ in 0..2 {
        let (codes, said) = once(&["--setup", &setup])?;
        if codes != ["DAX003"] && codes != ["DAX001"] {
            fail!("{codes:?}: {said}");
        }
    }
    // Without either nothing can be seen.
    if !once(&[])?.0.is_empty() {
        fail!("a store of what is there was seen");
    }
    let (_, said) = (Vec::<String>::new(), {
        let failing = ["--watch", "file", "--setup", "echo no; exit 3"];
        let done = run(&files, Place::Disk, &failing, &words)?;
        if done.status.code() != Some(125) || !done.stdout.is_empty() {
            fail!("a setup that fails is ignored");
        }
        String::from_utf8_lossy(&done.stderr).into_owned()
    });
    if !said.contains("the setup command 'echo no; exit 3' failed; the program was not started") {
        fail!("{said}");
    }
    // The words name neither: the first is there before, the second is not.
    let script = "import mmap, os, sys\n\
                  f = open(sys.argv[1][1:], 'a+b')\n\
                  os.truncate(f.name, 16384)\n\
                  m = mmap.mmap(f.fileno(), 0)\n";
    for (name, why) in [
        (
            "file",
            "neither the command line nor a --watch pattern names its path",
        ),
        ("new", "it was not there before the run"),
    ] {
        let word = format!("-{}", files.path(name).display());
        let words = ["python3".into(), "-c".into(), script.into(), word.into()];
        let done = run(
            &files,
            Place::Disk,
            &["--watch", "shared", "--restore"],
            &words,
        )?;
        let said = String::from_utf8_lossy(&done.stderr);
        if !said.contains(&format!("/{name} was not restored\n  why: {why}\n")) {
            fail!("{name}: {said}");
        }
    }
    Ok(())
}

/// The store comes before what shows that the file is meant to be durable; and where nothing shows that.
fn blamed() -> Outcome {
    for (name, code) in [("memmap2", "DAX001"), ("watch/nothing_synced", "DAX307")] {
        for exact in [&[][..], &["--exact"]] {
            let files = Files::in_place(Place::Disk)?;
            let words = words(name, "wrong", files.directory.path());
            let options = [&["--watch", "shared", "--blame", "--json", "-"], exact].concat();
            let done = run(&files, Place::Disk, &options, &words)?;
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            let document = document(&done)?;
            let all = findings(&document);
            let found = all.iter().find(|finding| finding["code"] == code);
            let line = found.map(|finding| &finding["written_first"][0]["stack"][0]["address"]);
            if !line.is_some_and(Value::is_u64) || !said.contains("written first by") {
                fail!("{name}: {said}{document:#}");
            }
        }
    }
    Ok(())
}

/// Of a file that may hold these values from an earlier run, a sync is not called redundant without saying so.
fn used() -> Outcome {
    for (options, is_doubtful) in [
        (&[][..], true),
        (&["--restore"], false),
        (&["--setup", "true"], false),
    ] {
        let files = Files::in_place(Place::Disk)?;
        let words = words("watch/run_again", "wrong", files.directory.path());
        let options = [&["--watch", "shared", "--json", "-"], options].concat();
        let done = run(&files, Place::Disk, &options, &words)?;
        let document = document(&done)?;
        let all = findings(&document);
        let found = all.iter().find(|finding| finding["code"] == "DAX101");
        let help = found.map_or("", |found| found["help"].as_str().unwrap_or_default());
        let is_said = help.contains("from an earlier one: --setup") && help.contains("--restore");
        if help.is_empty() || is_said != is_doubtful {
            fail!("{options:?}: {document:#}");
        }
    }
    Ok(())
}

fn unsearchable() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let closed = files.path("closed");
    std::fs::create_dir(&closed)?;
    std::fs::set_permissions(&closed, Permissions::from_mode(0o000))?;
    let path = format!("{}:/usr/bin:/bin", closed.display());
    for words in [
        &["run", "--", "no-such-program"][..],
        &["crash", "--verify", "no-such-program {}", "--", "true"],
    ] {
        // setpriv and the library are found without it.
        let mut command = unprivileged();
        let done = command
            .args(words)
            .env("PATH", &path)
            .current_dir("/")
            .output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        let is_said = said.contains("cannot run no-such-program") && !said.contains("chmod");
        if done.status.code() != Some(127) || !is_said {
            fail!("{words:?}: {}: {said}", done.status);
        }
    }
    Ok(())
}

fn unused() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let known = files.path("known.toml");
    std::fs::write(
        &known,
        "[[suppress]]\ncode = \"DAX003\"\n[[suppress]]\ncode = \"DAX008\"\n",
    )?;
    std::fs::set_permissions(&known, Permissions::from_mode(0o644))?;
    let known = known.to_string_lossy().into_owned();
    let words = words("check/exited", "wrong", files.directory.path());
    let options = ["--watch", "file", "--suppressions", &known, "--json", "-"];
    let done = run(&files, Place::Disk, &options, &words)?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let document = document(&done)?;
    let expected = serde_json::json!(["the suppression of DAX008"]);
    if document["unused_suppressions"] != expected || done.status.code() != Some(0) {
        fail!("{said}{document:#}");
    }
    if !said.contains("nothing was found that the suppression of DAX008 suppresses") {
        fail!("{said}");
    }
    Ok(())
}

/// Where nothing is found, crash is named; where something is, that comes first.
fn further() -> Outcome {
    for (twin, is_named) in [("right", true), ("wrong", false)] {
        let files = Files::in_place(Place::Disk)?;
        let words = words("check/wrong_range", twin, files.directory.path());
        let done = run(&files, Place::Disk, &["--watch", "shared"], &words)?;
        let said = String::from_utf8_lossy(&done.stderr);
        let named = said.contains("daxshim crash --watch shared --verify 'CHECKER {}' -- ");
        if named != is_named {
            fail!("{twin}: {said}");
        }
    }
    Ok(())
}

/// What GitHub's importer asks for beyond the schema: a location with a file and a line for each result, relative
/// where it is below the sources, and a fingerprint that stays.
fn imported() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let root = env!("CARGO_MANIFEST_DIR");
    let options = ["--watch", "file", "--sarif", "-", "--source-root", root];
    let nowhere = ["--watch", "file", "--source-root", "/no/such/place"];
    let refused = run(&files, Place::Disk, &nowhere, &["true".into()])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    let is_said = said.contains("cannot use --source-root /no/such/place; nothing was run");
    if refused.status.code() != Some(125) || !is_said {
        fail!("{said}");
    }
    for (name, uri) in [
        ("check/unmapped", "programs/check/unmapped.c"),
        ("check/exited", "file"),
        ("memmap2", "src/bin/memmap2.rs"),
    ] {
        let words = words(name, "wrong", files.directory.path());
        let done = run(&files, Place::Disk, &options, &words)?;
        let document = document(&done)?;
        let run = &document["runs"][0];
        let results = run["results"].as_array().cloned().unwrap_or_default();
        if results.is_empty() {
            fail!("{name}: {document:#}");
        }
        let mut uris = Vec::new();
        for result in &results {
            let place = &result["locations"][0]["physicalLocation"];
            let here = place["artifactLocation"]["uri"]
                .as_str()
                .unwrap_or_default();
            let line = place["region"]["startLine"].as_u64().unwrap_or_default();
            let print = result["partialFingerprints"]["daxshim/v1"].as_str();
            let message = result["message"]["text"].as_str().unwrap_or_default();
            if here.is_empty() || line == 0 || print.is_none_or(str::is_empty) || message.is_empty()
            {
                fail!("{name}: {result:#}");
            }
            uris.push(here.to_owned());
        }
        if !uris
            .iter()
            .any(|found| found == uri || uri == "file" && found.ends_with("/file"))
        {
            fail!("{name}: {uris:?} instead of {uri}");
        }
        let there = run["invocations"][0]["workingDirectory"]["uri"].as_str();
        if there != Some("file:///") {
            fail!("{there:?}");
        }
    }
    Ok(())
}

/// Pages are lost or written whole, unless the medium is said to tear them.
fn crash() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/log.py");
    let example = example.canonicalize()?.to_string_lossy().into_owned();
    let log = files.path("log");
    std::fs::write(&log, [0; 8192])?;
    std::fs::set_permissions(&log, Permissions::from_mode(0o666))?;
    let images = files.path("images").to_string_lossy().into_owned();
    let verify = format!("python3 {example} check {{}}");
    let once = |options: &[&str]| -> Result<(Value, i32), Failed> {
        let mut command = in_namespace(SMALL_MEMORY);
        command.args(["crash", "--restore", "--watch", "log", "--images", &images]);
        command
            .args(["--verify", &verify, "--json", "-"])
            .args(options);
        command.args(["--", "python3", &example, "wrong"]).arg(&log);
        let done = command.current_dir("/").output()?;
        let document = document(&done)?;
        Ok((document, done.status.code().unwrap_or(-1)))
    };
    // The count and the record are in one page.
    let (whole, status) = once(&[])?;
    if status != 0 || whole["files"][0]["atomic"] != 4096 || whole["verified"] == 0 {
        fail!("{status}: {whole:#}");
    }
    let (torn, status) = once(&["--atomic", "8"])?;
    if status != 1 || torn["files"][0]["atomic"] != 8 {
        fail!("{status}: {torn:#}");
    }
    Ok(())
}

/// Each size that it is mapped in is a file of its own: no state has a length that the file had no more.
fn crash_grown() -> Outcome {
    let files = Files::in_place(Place::Disk)?;
    let script = "import mmap, sys\n\
                  file = open(sys.argv[1], 'r+b')\n\
                  for size in (4096, 8192):\n    \
                  file.truncate(size)\n    \
                  memory = mmap.mmap(file.fileno(), size)\n    \
                  memory[size - 96] = 7\n    \
                  memory.flush()\n    \
                  memory[0] = size >> 12\n    \
                  memory.flush()\n    \
                  memory.close()\n";
    // As long as the first byte says.
    let verify = "python3 -c 'import sys; b = open(sys.argv[1], \"rb\").read(); \
                  sys.exit(b[0] not in (0, len(b) >> 12, len(b) >> 13))' {}";
    let grown = files.path("grown");
    std::fs::write(&grown, "")?;
    std::fs::set_permissions(&grown, Permissions::from_mode(0o666))?;
    let mut command = unprivileged();
    command.args([
        "crash", "--watch", "grown", "--verify", verify, "--json", "-", "--images",
    ]);
    command
        .arg(files.path("images"))
        .args(["--", "python3", "-c", script])
        .arg(&grown);
    let done = command.current_dir("/").output()?;
    let document = document(&done)?;
    let recorded = document["files"].as_array().cloned().unwrap_or_default();
    let sizes: Vec<_> = recorded.iter().map(|file| file["size"].as_u64()).collect();
    let early = recorded.iter().any(|file| file["ended_early"] == true);
    if sizes != [Some(4096), Some(8192)] || early || done.status.code() != Some(0) {
        fail!("{}{document:#}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}
