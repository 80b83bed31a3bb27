//! Every row of the table of hooks, by its program: the guard alone, and with the library.

use super::*;

pub fn program(hook: &Hook) -> String {
    format!("hooks/{}", hook.function)
}

/// What the contract answers to the row's program.
pub fn expected(hook: &Hook, native: &Run) -> Result<String, Failed> {
    match expectation(&program(hook), "tagged") {
        Some(listed) => native.except(&listed),
        None => Ok(native.output.clone()),
    }
}

/// Without the library: what the contract refuses is refused, by EPERM or by the kernel's own reason
/// where that comes first; all else is as on an untagged file; nothing changes.
pub fn alone(hook: &Hook) -> Outcome {
    row(hook, &Shim::none(), |got, natively| {
        got == natively && natively.contains(" = -1 ")
    })
}

/// With the library on top: its answers.
pub fn with_library(hook: &Hook) -> Outcome {
    row(hook, &Shim::new(), |_, _| false)
}

pub fn row(hook: &Hook, shim: &Shim, is_own_reason: fn(&str, &str) -> bool) -> Outcome {
    let row = hook.function;
    let native = Run::natively(&program(hook), hook.symbols[0])?;
    let expected = expected(hook, &native)?;
    let held = Held::new()?;
    let before = held.scene.snapshot("file")?;
    let run = Run::program(shim, &program(hook), hook.symbols[0], &held.scene)?;
    let mut wrong = Vec::new();
    let lines = expected.lines().zip(native.output.lines());
    let mut answers = run.output.lines();
    for (wanted, natively) in lines {
        let got = answers.next().unwrap_or("(nothing)");
        if got != wanted && !is_own_reason(got, natively) && !is_known(row, wanted, got, natively) {
            wrong.push(format!(
                "expected {wanted}\n     got {got}\nnatively {natively}"
            ));
        }
    }
    wrong.extend(answers.map(|line| format!("nothing expected\n     got {line}")));
    if run.status != native.status {
        wrong.push(format!("it ends with {}", run.status));
    }
    if !wrong.is_empty() {
        fail!("{} lines differ\n{}", wrong.len(), wrong.join("\n"));
    }
    let after = held.scene.snapshot("file")?;
    let stores = |o: &Operation| matches!(o, Operation::Map | Operation::Sync);
    if row == "ioctl" {
        // XFS moves ctime when flags are set that are set already.
        return before.same_but_for_times(&after);
    }
    if hook.operations.iter().any(stores) {
        before.same_but_for_stores(&after)
    } else {
        before.same(&after)
    }
}

/// Where the kernel's own order shows: nothing is written by a vector of nothing; where there are two
/// reasons, the guard's may come first; and where extents can't be shared, the kernel copies.
pub fn is_known(row: &str, wanted: &str, got: &str, natively: &str) -> bool {
    let label = wanted.split(" = ").next().unwrap_or(wanted);
    let copies = !shares_extents();
    match row {
        "writev" | "pwritev" | "pwritev2"
            if label.starts_with("an empty vector element to ")
                || label.starts_with("no vector to ") =>
        {
            got == natively && got.ends_with(" = 0")
        }
        "pwritev2" if label == "an unknown flag" => got.ends_with(" = -1 EPERM"),
        "sendfile" if label == "plain to O_WRONLY|O_APPEND" => got.ends_with(" = -1 EPERM"),
        // Each destination has an answer of its own, in the argument.
        "ioctl" if label.starts_with("FIDEDUPERANGE ") || label.starts_with("FIDEDUPERANGE,") => {
            got == natively && got.ends_with(" = 0")
        }
        // The source's answer comes first.
        "copy_file_range" if label == "file to itself" => got.ends_with(" = -1 EXDEV"),
        "copy_file_range" | "syscall" if copies && wanted.ends_with(" = -1 EXDEV") => {
            got == natively
        }
        "copy_file_range" if copies && label.starts_with("where it got to in ") => got == natively,
        _ => false,
    }
}

/// Whether files can share extents: asked by making two do so.
pub fn shares_extents() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let make = || tempfile::tempfile_in(scene::root()).ok();
        let (Some(mut from), Some(to)) = (make(), make()) else {
            return false;
        };
        // SAFETY: FICLONE takes a descriptor.
        from.write_all(&[1; 4096]).is_ok()
            && unsafe { libc::ioctl(to.as_raw_fd(), FICLONE.into(), from.as_raw_fd()) } == 0
    })
}
