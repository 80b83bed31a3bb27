//! Which programs ran, in a few lines however many they were.

use daxshim_core::host::report::{Program, Report};

use super::clean;
use crate::output::number;

/// Each program that touched a tagged file, with the processes that ran it; the others in a line.
pub fn programs(report: &Report) -> Vec<String> {
    let (idle, busy): (Vec<&Program>, Vec<&Program>) = report
        .programs
        .iter()
        .partition(|program| program.tally.is_empty());
    let mut lines: Vec<String> = names(&busy)
        .into_iter()
        .map(|name| with_pids(name, &busy))
        .collect();
    match idle.as_slice() {
        [] => {}
        [only] if busy.is_empty() => lines.push(with_pids(&only.program, &idle)),
        _ => {
            let names: Vec<String> = names(&idle).into_iter().map(file_name).collect();
            lines.push(format!("no tagged file used by {}", few(&names)));
        }
    }
    if report.programs.len() > 1 {
        let mut all = format!(
            "in all {}",
            plural(report.processes(), "process", "processes")
        );
        if report.forked() > 0 {
            all += &format!(
                ", {} started by one of them",
                number(report.forked() as u64)
            );
        }
        if report.executed() > 0 {
            all += &format!(", {}", plural(report.executed(), "exec", "execs"));
        }
        lines.push(all);
    }
    lines
}

fn names<'a>(programs: &[&'a Program]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for program in programs {
        if !names.contains(&program.program.as_str()) {
            names.push(&program.program);
        }
    }
    names
}

fn with_pids(name: &str, programs: &[&Program]) -> String {
    let mut pids: Vec<String> = Vec::new();
    for program in programs.iter().filter(|program| program.program == name) {
        let running = if program.running {
            " still running"
        } else {
            ""
        };
        pids.push(format!("{}{running}", program.pid));
    }
    pids.dedup();
    let word = if pids.len() == 1 { "pid" } else { "pids" };
    format!("{} ({word} {})", clean(name), few(&pids))
}

fn file_name(path: &str) -> String {
    clean(path.rsplit('/').next().unwrap_or(path))
}

/// The first of many.
fn few(words: &[String]) -> String {
    const SHOWN: usize = 8;
    let first: Vec<&str> = words.iter().take(SHOWN).map(String::as_str).collect();
    let more = words.len() - first.len();
    let more = match more {
        0 => String::new(),
        _ => format!(" and {} more", number(more as u64)),
    };
    first.join(", ") + &more
}

fn plural(count: usize, one: &str, many: &str) -> String {
    let count = count as u64;
    format!("{} {}", number(count), if count == 1 { one } else { many })
}
