//! Programs whose loader can't load the library: they start as without it, by whomever and however they are
//! executed, and the report names them.

use daxshim_core::host::report::Report;
use daxshim_core::loader::NEEDED;
use daxshim_core::report::Unseen;
use daxshim_tests::{Outcome, Run, Scene, Shim, Tag, built, fail, library, program};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// This machine's loader.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

fn main() {
    let mut trials = Vec::new();
    for (name, make, reason) in [
        (
            "musl",
            musl as fn(&Path) -> Result<PathBuf, Failed>,
            Unseen::Loader,
        ),
        ("32 bits", narrow, Unseen::Machine),
        ("an older glibc", older, Unseen::Loader),
        ("a script", script, Unseen::Loader),
        ("a script of a script", script_of_script, Unseen::Loader),
    ] {
        trials.push(Trial::test(format!("{name}/routes"), move || {
            routes(make, reason)
        }));
        trials.push(Trial::test(format!("{name}/run"), move || by_command(make)));
    }
    trials.push(Trial::test("musl's loader itself", musl_loader));
    trials.push(Trial::test(
        "another copy of this glibc's loader",
        same_glibc,
    ));
    trials.push(Trial::test("others in LD_PRELOAD stay", others_stay));
    trials.push(Trial::test("a relative path, elsewhere", relative));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn musl(_: &Path) -> Result<PathBuf, Failed> {
    Ok(program("foreign/told-musl"))
}

fn narrow(_: &Path) -> Result<PathBuf, Failed> {
    Ok(program("foreign/told-32"))
}

/// An ordinary program with another loader: it was linked with a long name of one that is not there.
fn with_loader(directory: &Path, loader: &Path) -> Result<PathBuf, Failed> {
    let mut program = fs::read(program("foreign/told"))?;
    let name = loader.as_os_str().as_encoded_bytes();
    let Some(at) = find(&program, &[b'x'; 100]) else {
        fail!("the program names no loader");
    };
    let length = program[at..]
        .iter()
        .take_while(|&&byte| byte == b'x')
        .count();
    if name.len() > length {
        fail!("{} is longer than {length} bytes", loader.display());
    }
    // The loader's name ends at the first NUL.
    program[at..at + length].fill(0);
    program[at..at + name.len()].copy_from_slice(name);
    executable(&directory.join("program"), &program)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn executable(path: &Path, content: &[u8]) -> Result<PathBuf, Failed> {
    fs::write(path, content)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(path.to_owned())
}

/// A loader as of a glibc without the version that the library needs.
fn older(directory: &Path) -> Result<PathBuf, Failed> {
    let mut loader = fs::read(LOADER)?;
    let Some(at) = find(&loader, NEEDED) else {
        fail!("{LOADER} does not define {NEEDED:?}");
    };
    loader[at + NEEDED.len() - 1] = b'X';
    let loader = executable(&directory.join("ld"), &loader)?;
    with_loader(directory, &loader)
}

fn script(directory: &Path) -> Result<PathBuf, Failed> {
    let line = format!("#! {} -x\n", musl(directory)?.display());
    executable(&directory.join("script"), line.as_bytes())
}

fn script_of_script(directory: &Path) -> Result<PathBuf, Failed> {
    let line = format!("#!{}\n", script(directory)?.display());
    executable(&directory.join("outer"), line.as_bytes())
}

/// What `foreign_routes` says of a program.
fn run_routes(shim: &Shim, foreign: &Path) -> Result<String, Failed> {
    let run = Run::of(shim.command(program("exec/foreign_routes")).arg(foreign))?;
    if !run.status.success() {
        fail!("{}\n{}", run.status, run.output);
    }
    Ok(run.output)
}

fn routes(make: fn(&Path) -> Result<PathBuf, Failed>, reason: Unseen) -> Outcome {
    let scene = Scene::new(Tag::None)?;
    let foreign = make(scene.dir())?;
    let native = run_routes(&Shim::none(), &foreign)?;
    let with_report = Shim::new().with("DAXSHIM_REPORT", scene.report()?);
    for shim in [Shim::new(), with_report] {
        let output = run_routes(&shim, &foreign)?;
        if output != native {
            fail!("natively\n{native}under the library\n{output}");
        }
    }
    if native.lines().any(|line| !line.ends_with(": 0")) {
        fail!("it does not even start natively:\n{native}");
    }
    let report = Report::read(&scene.report()?, &BTreeSet::new())?;
    let unseen = report
        .total
        .unseen
        .iter()
        .filter(|unseen| unseen.reason == reason);
    let count: u64 = unseen.map(|unseen| unseen.count).sum();
    // Those within sh(1) are counted in its own page.
    let wanted = native.lines().count() as u64;
    if count != wanted {
        fail!(
            "{count} executions counted instead of {wanted}: {:?}",
            report.total.unseen
        );
    }
    Ok(())
}

/// `daxshim run` starts it, and says that it is not seen.
fn by_command(make: fn(&Path) -> Result<PathBuf, Failed>) -> Outcome {
    let scene = Scene::new(Tag::None)?;
    let foreign = make(scene.dir())?;
    for arguments in [&["run"][..], &["run", "--report", "-"], &["check"]] {
        let mut command = Shim::none().command(built("daxshim"));
        let run = Run::of(
            command
                .env("DAXSHIM_LIBRARY", library())
                .args(arguments)
                .arg("--")
                .arg(&foreign),
        )?;
        if run.status.code() != Some(0) && arguments != ["check"] {
            fail!("{arguments:?}: {}\n{}", run.status, run.output);
        }
        if !run.output.contains("will not see")
            || run.output.contains("LD_PRELOAD cannot be preloaded")
        {
            fail!("{arguments:?}: it is not named:\n{}", run.output);
        }
    }
    Ok(())
}

/// Called as a program, it would load what LD_PRELOAD says into what it is given.
fn musl_loader() -> Outcome {
    let loader = Path::new("/lib/ld-musl-x86_64.so.1");
    let command = format!(
        "{} {}",
        loader.display(),
        program("foreign/told-musl").display()
    );
    let run = Run::of(Shim::new().command("bash").args(["-c", &command]))?;
    ended_well(&run)
}

/// New enough by its own word, though not the file that loaded the program: it stays under the library.
fn same_glibc() -> Outcome {
    let scene = Scene::new(Tag::None)?;
    let loader = executable(&scene.path("ld"), &fs::read(LOADER)?)?;
    let seen = with_loader(scene.dir(), &loader)?;
    let run = Run::of(
        Shim::new()
            .command("bash")
            .args(["-c", &seen.display().to_string()]),
    )?;
    match run.status.code() {
        Some(3) => Ok(()),
        _ => fail!(
            "it is not under the library: {}\n{}",
            run.status,
            run.output
        ),
    }
}

/// Only the library is taken out of the list: musl, too, has libraries to preload.
fn others_stay() -> Outcome {
    let scene = Scene::new(Tag::None)?;
    for (list, expected) in [
        ("OURS:libm.so.6", "libm.so.6"),
        ("libm.so.6 OURS:libdl.so.2:OURS", "libm.so.6:libdl.so.2"),
    ] {
        let list = list.replace("OURS", &library().to_string_lossy());
        let shim = Shim::none().with("LD_PRELOAD", list);
        let command = format!("{} show", older(scene.dir())?.display());
        let run = Run::of(shim.command("bash").args(["-c", &command]))?;
        if run.output != format!("{expected}\n") {
            fail!("LD_PRELOAD is not {expected} but {}", run.output);
        }
    }
    Ok(())
}

/// `LD_PRELOAD` names the library from the working directory; where it is not, the loader would complain.
fn relative() -> Outcome {
    let scene = Scene::new(Tag::None)?;
    fs::copy(library(), scene.path("libdaxshim.so"))?;
    let shim = Shim::none().with("LD_PRELOAD", "./libdaxshim.so");
    let told = "cd sub && env | grep -c libdaxshim";
    let run = Run::of(
        shim.command("bash")
            .current_dir(scene.dir())
            .args(["-c", told]),
    )?;
    match run.output.as_str() {
        "0\n" => Ok(()),
        other => fail!("{other}"),
    }
}

fn ended_well(run: &Run) -> Outcome {
    if run.status.success() {
        return Ok(());
    }
    fail!("{}\n{}", run.status, run.output)
}
