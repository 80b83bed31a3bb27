//! `daxshim run --strict`: the tagged files are held by the kernel while the program runs.

use std::collections::HashMap;
use std::path::PathBuf;

use daxshim_core::contract::Operation;
use daxshim_core::host::report::Report;
use daxshim_core::host::{dax_mounts, shown};
use daxshim_core::symbols::HOOKS;
use daxshim_guard::Error;
use daxshim_guard::guard::{self, Attached, Options, Pinned, State};
use daxshim_guard::hold::{self, Holding};
use daxshim_guard::runs::Run;
use daxshim_guard::scan;
use daxshim_guard::set::{Entry, Maps, flag};
use serde::Serialize;

use super::environment::Environment;
use super::{FAILED, Failure};
use crate::output::guard::{Places, ShownRefusal};

/// A guard for the length of a run.
pub struct Strict {
    guard: Guard,
    held: usize,
    /// Refusals before it.
    from: u64,
    run: Run,
}

enum Guard {
    /// One that was there.
    Pinned(Box<Pinned>),
    /// One of this run's own, which ends with it.
    Own(Attached),
}

/// What a guard saw of a run.
#[derive(Serialize)]
pub struct Guarded {
    /// `pinned`: one that was there; `own`: of this run alone.
    pub guard: &'static str,
    /// Tagged files that it held.
    pub files: usize,
    /// Calls of this run's processes that reached the kernel on them, past the shim.
    pub refusals: Vec<ShownRefusal>,
    /// More refusals, of this run or others, which the ring had no room for.
    pub lost: u64,
}

impl Strict {
    /// Sees to it that every tagged file on a filesystem with DAX is held.
    ///
    /// # Errors
    /// Not all of them can be: then nothing should run.
    pub fn begin(environment: &Environment) -> Result<Strict, Failure> {
        let chosen = chosen(environment)?;
        let tagged = tagged()?;
        let guard = match guard::state().map_err(failure)? {
            State::On(pinned) => held_by(pinned.whole().map_err(failure)?, &tagged, chosen),
            State::Off | State::Half(_) => of_own(&tagged, chosen),
        };
        guard
            .and_then(|guard| Strict::of(guard, tagged.len()))
            .map_err(failure)
    }

    fn of(guard: Guard, held: usize) -> Result<Strict, Error> {
        let maps = guard.maps();
        Ok(Strict {
            held,
            from: maps.count().map_err(unreadable)?,
            run: Run::begin(maps)?,
            guard,
        })
    }

    /// What it saw until now, but for what the shim reports itself.
    pub fn seen(&self, report: &Report) -> Guarded {
        // A guard that somebody takes down meanwhile keeps its maps for who has them open.
        let maps = self.guard.maps();
        let (refusals, lost) = maps.refusals_since(self.from).unwrap_or_default();
        let mut places = Places::default();
        let run = u64::from(self.run.number());
        let own = refusals.iter().filter(|refusal| refusal.run == run);
        let mut audited = Audited::of(report);
        Guarded {
            guard: match self.guard {
                Guard::Pinned(_) => "pinned",
                Guard::Own(_) => "own",
            },
            files: self.held,
            refusals: own
                .map(|refusal| ShownRefusal::of(refusal, &mut places))
                .filter(|refusal| !(refusal.audited && audited.has(refusal)))
                .collect(),
            lost,
        }
    }
}

/// Calls that a shim in audit mode let through and recorded: the guard, which watches too, sees them
/// once more.
struct Audited(HashMap<(u32, &'static str), u64>);

impl Audited {
    fn of(report: &Report) -> Audited {
        let mut audited = HashMap::new();
        for program in &report.programs {
            for refusal in &program.tally.refusals {
                *audited
                    .entry((program.pid, refusal.operation.word()))
                    .or_default() += refusal.recorded;
            }
        }
        Audited(audited)
    }

    /// Whether it is one of them, which is then taken out. The shim names some calls otherwise, by what
    /// they are for: fallocate(2) is a write to the kernel.
    fn has(&mut self, refusal: &ShownRefusal) -> bool {
        let call = refusal.call.map(|call| format!("SYS_{call}"));
        let hooks = HOOKS
            .iter()
            .filter(|hook| Some(hook.syscall) == call.as_deref());
        let words = hooks
            .flat_map(|hook| hook.operations)
            .map(|&operation| Operation::word(operation))
            .chain(refusal.operation);
        for word in words {
            if let Some(count @ 1..) = self.0.get_mut(&(refusal.pid, word)) {
                *count -= 1;
                return true;
            }
        }
        false
    }
}

/// A guard that was there, if it holds all of them.
fn held_by(pinned: Pinned, tagged: &[PathBuf], chosen: u32) -> Result<Guard, Error> {
    // One that only watches is no guard, unless the shim only watches too.
    let holds = |entry: &Entry| entry.flags & flag::AUDIT == 0 || chosen & flag::AUDIT != 0;
    let mut missing = Vec::new();
    for path in tagged {
        let key = hold::key(path)?;
        if !pinned
            .maps
            .entry(&key)
            .map_err(unreadable)?
            .as_ref()
            .is_some_and(holds)
        {
            missing.push(shown(path));
        }
    }
    if !missing.is_empty() {
        let first: Vec<String> = missing.iter().take(3).cloned().collect();
        return Err(Error::new(
            "cannot hold the tagged files (--strict)",
            format!(
                "the guard does not hold {} of them, or only watches: {}",
                missing.len(),
                first.join(", ")
            ),
            "daxshim guard add --all --mode enforce, as root",
        ));
    }
    Ok(Guard::Pinned(Box::new(pinned)))
}

/// A guard that ends with the run.
fn of_own(tagged: &[PathBuf], chosen: u32) -> Result<Guard, Error> {
    let attached = Attached::new(&Options {
        flags: chosen,
        ..Options::default()
    })?;
    let mut holding = Holding::new(&attached.maps, &[]);
    for path in tagged {
        holding.hold(path, chosen)?;
    }
    Ok(Guard::Own(attached))
}

impl Guard {
    fn maps(&self) -> &Maps {
        match self {
            Guard::Pinned(pinned) => &pinned.maps,
            Guard::Own(attached) => &attached.maps,
        }
    }
}

/// The settings of the shim that the guard has too.
fn chosen(environment: &Environment) -> Result<u32, Failure> {
    let is = |name: &str, value: &str| environment.get(name).is_some_and(|set| set == value);
    let conflict = |why: &str| {
        Failure::own(
            "cannot hold the tagged files (--strict)".into(),
            why,
            "leave one of the two out",
        )
    };
    if is("DAXSHIM_MODE", "off") {
        return Err(conflict("mode off touches nothing"));
    }
    if is("DAXSHIM_EMULATE", "1") {
        return Err(conflict("emulated tags are nothing to the kernel"));
    }
    let bits = [
        (is("DAXSHIM_MODE", "audit"), flag::AUDIT),
        (is("DAXSHIM_COMPAT", "1"), flag::COMPAT),
        (is("DAXSHIM_READS", "deny"), flag::DENY_READS),
    ];
    Ok(bits
        .iter()
        .filter(|(set, _)| *set)
        .fold(0, |flags, (_, bit)| flags | bit))
}

/// Every tagged file with DAX: which of them the program will open nobody can know.
fn tagged() -> Result<Vec<PathBuf>, Failure> {
    let what = || "cannot hold the tagged files (--strict)".to_owned();
    let mut paths = Vec::new();
    let mut seen = Vec::new();
    for mount in dax_mounts() {
        if seen.contains(&mount.device) {
            continue;
        }
        let (found, unread) = scan::tagged_below(&mount.point).map_err(|error| {
            Failure::own(
                what(),
                format!("{}: {error}", shown(&mount.point)),
                "run as root",
            )
        })?;
        if let Some(directory) = unread.first() {
            return Err(Failure::own(
                what(),
                format!("{} cannot be read, and there may be some", shown(directory)),
                "run as root, or let root start a guard: daxshim guard start --all",
            ));
        }
        seen.push(mount.device);
        paths.extend(found);
    }
    if paths.is_empty() {
        return Err(Failure::own(
            what(),
            "there are none with DAX",
            "daxshim tag FILE first; without DAX the kernel can't hold any: leave --strict out",
        ));
    }
    Ok(paths)
}

fn failure(error: Error) -> Failure {
    Failure {
        status: FAILED,
        what: error.what,
        why: error.why,
        help: error.help,
    }
}

fn unreadable(errno: rustix::io::Errno) -> Error {
    Error::system("cannot read the guard's maps", errno, "run as root")
}

/// Lines for the report.
pub fn text(guarded: &Guarded) -> String {
    let files = crate::output::counted(guarded.files as u64, "file");
    let whose = match guarded.guard {
        "own" => "for this run",
        _ => "all the time",
    };
    let mut text = format!("the kernel held {files} {whose}");
    if guarded.refusals.is_empty() && guarded.lost == 0 {
        return text + ": nothing got past the shim";
    }
    text += "; past the shim it refused\n";
    text += &crate::output::guard::refusals(&guarded.refusals);
    if guarded.lost > 0 {
        text += &format!(
            "\n and {} more, which are not kept",
            crate::output::number(guarded.lost)
        );
    }
    text
}
