//! What speaks against believing the figures.

use daxshim_core::host::report::Report;
use serde::Serialize;

use super::load::Load;
use super::plan::{Leg, Settings};
use super::session::Measured;
use super::statistics::{FEW, Ratios, drift, median, outliers};
use crate::ab::shown::words;
use crate::output::{counted, number};

/// Below this, a run is mostly the start of a process, nanoseconds.
const SHORT: f64 = 5e6;

/// A warning.
#[derive(Debug, Serialize)]
pub struct Doubt {
    /// One word for it.
    pub warning: Kind,
    /// What is wrong, and what to do.
    pub text: String,
}

/// One word for a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An interval from so few pairs is too narrow.
    FewRuns,
    /// Runs far from the others.
    Outliers,
    /// Later runs take longer, or shorter.
    Drift,
    /// Other programs wanted the CPUs.
    Load,
    /// Runs that are over too soon.
    TooShort,
    /// The control differs from A.
    Control,
    /// Calls of the program were refused.
    Refused,
    /// Something that the library reported.
    Event,
    /// Reports that could not be read.
    Unreadable,
}

/// Everything that is to be said.
pub fn doubts(
    runs: &[Measured],
    control: &Ratios,
    load: &Load,
    reports: [&Report; 2],
    settings: &Settings,
) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    let mut doubt = |warning, text: Option<String>| {
        doubts.extend(text.map(|text| Doubt { warning, text }));
    };
    doubt(Kind::FewRuns, few(control));
    doubt(Kind::TooShort, short(runs));
    doubt(Kind::Outliers, far(runs));
    doubt(Kind::Drift, trend(runs, settings));
    doubt(Kind::Load, busy(load));
    doubt(Kind::Control, uneven(control));
    for (leg, report) in [Leg::A, Leg::B].into_iter().zip(reports) {
        doubt(Kind::Refused, refused(leg, report));
        for found in &report.total.events {
            let text = format!("{} ×  {}", number(found.count), found.event.words());
            doubt(Kind::Event, Some(format!("leg {}: {text}", leg.word())));
        }
        let unreadable = report.unreadable.first().map(|file| {
            format!(
                "leg {}: {} could not be read, the first as {}",
                leg.word(),
                counted(report.unreadable.len() as u64, "report"),
                file.reason
            )
        });
        doubt(Kind::Unreadable, unreadable);
    }
    doubts
}

fn of(runs: &[Measured], leg: Leg) -> Vec<f64> {
    let of_leg = runs.iter().filter(|run| run.leg == leg);
    of_leg.map(|run| run.wall_ns).collect()
}

fn few(control: &Ratios) -> Option<String> {
    let pairs = control.wall?.pairs;
    match pairs {
        1 => Some("one pair of runs has no confidence interval (--runs 10)".into()),
        _ if pairs < FEW => Some(format!(
            "an interval from {pairs} pairs is too narrow (--runs 10)"
        )),
        _ => None,
    }
}

fn short(runs: &[Measured]) -> Option<String> {
    let typical = median(&of(runs, Leg::A))?;
    (typical < SHORT).then(|| {
        format!(
            "a run takes {}: most of that is the start of a process; let the program do more",
            words::time(typical)
        )
    })
}

fn far(runs: &[Measured]) -> Option<String> {
    let found: Vec<String> = Leg::ALL
        .into_iter()
        .map(|leg| (leg, outliers(&of(runs, leg))))
        .filter(|(_, count)| *count > 0)
        .map(|(leg, count)| format!("{count} of {}", leg.word()))
        .collect();
    (!found.is_empty()).then(|| {
        format!(
            "runs far from the others of their leg: {}; is the machine quiet, and does each run \
             begin alike (--setup, --warmup)?",
            found.join(", ")
        )
    })
}

fn trend(runs: &[Measured], settings: &Settings) -> Option<String> {
    let typical = |leg| median(&of(runs, leg));
    let relative = |run: &Measured| Some(run.wall_ns / typical(run.leg)?);
    let series: Vec<f64> = runs.iter().filter_map(relative).collect();
    let change = drift(&series)?;
    let direction = if change > 1.0 { "more" } else { "less" };
    let help = if settings.setup.is_none() {
        "--setup can have each run begin alike"
    } else {
        "--warmup can be raised"
    };
    Some(format!(
        "runs drift: the last third takes {:.1} % {direction} time than the first; the order of \
         the legs makes up for a steady drift; {help}",
        (change - 1.0).abs() * 100.0
    ))
}

fn busy(load: &Load) -> Option<String> {
    let cpus = load.cpus as f64;
    let before = load.before.filter(|average| *average > cpus * 0.5);
    let others = load.others.filter(|others| *others >= cpus * 0.5);
    let found = match (before, others) {
        (_, Some(others)) => format!("{others:.0} other threads wanted to run between the runs"),
        (Some(average), None) => format!("the load average was {average:.2} before the first run"),
        (None, None) => return None,
    };
    Some(format!(
        "the machine is busy: {found}, on {} CPUs",
        load.cpus
    ))
}

fn uneven(control: &Ratios) -> Option<String> {
    let ratio = control.wall?;
    let interval = ratio.interval.filter(|interval| !interval.contains(1.0))?;
    Some(format!(
        "A differs from itself: control/A is {:.3}, {}; smaller differences mean nothing \
         (--runs can be raised)",
        ratio.ratio,
        words::interval(interval)
    ))
}

fn refused(leg: Leg, report: &Report) -> Option<String> {
    let refusals = &report.total.refusals;
    let count: u64 = refusals.iter().map(|refusal| refusal.refused).sum();
    let words: Vec<&str> = refusals
        .iter()
        .filter(|refusal| refusal.refused > 0)
        .map(|refusal| refusal.operation.word())
        .collect();
    (count > 0).then(|| {
        format!(
            "leg {}: {} refused ({}): did the program do its work? (daxshim run \
             --report - says more; --compat lets through what changes nothing)",
            leg.word(),
            counted(count, "call"),
            words.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ab::statistics::{Interval, Ratio};

    fn settings() -> Settings {
        Settings {
            runs: 0,
            warmup: 0,
            flush: "auto".into(),
            seed: 1,
            setup: None,
            verify: None,
            fail_if_slower: None,
        }
    }

    fn run(pair: usize, leg: Leg, wall_ns: f64) -> Measured {
        Measured {
            pair,
            leg,
            wall_ns,
            cpu_ns: wall_ns,
            user_ns: wall_ns,
            system_ns: 0.0,
            sync_calls: 0,
            kernel_entries: 0,
        }
    }

    fn runs(wall_ns: impl Fn(usize) -> f64) -> Vec<Measured> {
        let made = |i: usize| run(i / 3, Leg::ALL[i % 3], wall_ns(i));
        (0..30).map(made).collect()
    }

    fn found(runs: &[Measured], control: Ratios, load: Load) -> Vec<Kind> {
        let report = Report::default();
        let doubts = doubts(runs, &control, &load, [&report, &report], &settings());
        doubts.into_iter().map(|doubt| doubt.warning).collect()
    }

    const QUIET: Load = Load {
        cpus: 2,
        before: Some(0.1),
        others: Some(0.0),
    };

    fn control(low: f64, high: f64, pairs: usize) -> Ratios {
        let interval = (pairs > 1).then_some(Interval { low, high });
        let wall = Some(Ratio {
            ratio: 1.0,
            interval,
            pairs,
        });
        Ratios { wall, cpu: wall }
    }

    #[test]
    fn quiet_runs_raise_no_doubt() {
        let runs = runs(|i| 1e8 + (i * 7 % 11) as f64 * 1e5);
        assert_eq!(found(&runs, control(0.9, 1.1, 10), QUIET), []);
    }

    #[test]
    fn each_doubt_has_its_cause() {
        let noise = |i: usize| 1e8 + (i * 7 % 11) as f64 * 1e5;
        let even = control(0.9, 1.1, 10);
        let outlier = runs(|i| if i == 12 { 3e8 } else { noise(i) });
        assert_eq!(found(&outlier, even, QUIET), [Kind::Outliers]);
        let drifting = runs(|i| noise(i) + i as f64 * 1e6);
        assert_eq!(found(&drifting, even, QUIET), [Kind::Drift]);
        let short = runs(|i| noise(i) / 100.0);
        assert_eq!(found(&short, even, QUIET), [Kind::TooShort]);
        let quiet = runs(noise);
        assert_eq!(found(&quiet, control(1.1, 1.2, 10), QUIET), [Kind::Control]);
        assert_eq!(found(&quiet, control(0.9, 1.1, 5), QUIET), [Kind::FewRuns]);
        assert_eq!(found(&quiet, control(0.9, 1.1, 1), QUIET), [Kind::FewRuns]);
        let before = Load {
            before: Some(1.5),
            ..QUIET
        };
        assert_eq!(found(&quiet, even, before), [Kind::Load]);
        let others = Load {
            others: Some(1.0),
            ..QUIET
        };
        assert_eq!(found(&quiet, even, others), [Kind::Load]);
    }

    #[test]
    fn no_runs_are_no_reason_to_warn() {
        let none = Ratios {
            wall: None,
            cpu: None,
        };
        assert_eq!(found(&[], none, QUIET), []);
    }
}
