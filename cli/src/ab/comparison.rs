//! Everything there is to say about a comparison: the documented JSON (docs/json.md), and what
//! tables and plots are made from.

use std::collections::BTreeMap;

use daxshim_core::host::report::{Bar, Buckets, Clock, Latency, Report};
use daxshim_core::report::{SyncCall, Way};
use rand::Rng;
use serde::Serialize;

use super::doubts::{Doubt, doubts};
use super::load::Load;
use super::plan::{Leg, Settings};
use super::session::{Measured, Results, StopReason, enters_kernel};
use super::statistics::{Interval, Ratio, Ratios, mean, median, quantile, ratio};
use crate::ab::shown::words;
use crate::output;
use crate::run::conclusion::{Conclusion, Reason};
use crate::run::program::{Unseen, unseen};
use crate::run::text::settings;

/// Version of the JSON document.
const SCHEMA: u32 = 1;

/// A comparison, finished or not.
#[derive(Serialize)]
pub struct Comparison {
    /// Changes when a field changes its meaning or goes.
    pub schema: u32,
    /// Version of daxshim.
    pub version: &'static str,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What was asked for.
    pub settings: Settings,
    /// Why it ended early.
    pub stopped: Option<Stop>,
    /// What it comes down to.
    pub verdict: Verdict,
    /// Whether leg B was accelerated, and why not; `None` without a run of it.
    pub conclusion: Option<Conclusion>,
    /// B to A.
    pub ratio: Ratios,
    /// The control to A: what differs here is noise.
    pub control: Ratios,
    /// Sync calls that enter the kernel, per run, of A and not of B.
    pub kernel_entries_saved: Option<f64>,
    /// By leg.
    pub legs: Legs,
    /// What speaks against believing the figures.
    pub warnings: Vec<Doubt>,
    /// What else the machine did.
    pub load: Load,
    /// Programs that ran without the shim, in leg B or as far as known beforehand.
    pub unseen: Vec<Unseen>,
    /// In the order in which they were made.
    pub runs: Vec<Measured>,
}

/// Why a comparison ended early, for the document.
#[derive(Serialize)]
pub struct Stop {
    /// One word for it.
    pub reason: StopReason,
    /// A sentence.
    pub text: String,
    /// The exit status of `daxshim ab`.
    pub exit_status: u8,
}

/// What a comparison comes down to.
#[derive(Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// One word for it.
    pub result: Finding,
    /// A sentence.
    pub text: String,
    /// Whether B is slower than `--fail-if-slower` allows.
    pub failed: bool,
}

/// How B stands to A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Less wall time, beyond noise.
    Faster,
    /// More wall time, beyond noise.
    Slower,
    /// The interval includes 1, or lies within what A differs from itself by.
    NoDifference,
    /// Leg B had nothing to accelerate.
    NotAccelerated,
    /// Too few runs to tell.
    Unknown,
}

/// The legs.
#[derive(Serialize)]
pub struct Legs {
    /// Kernel sync.
    pub a: LegSummary,
    /// User flush.
    pub b: LegSummary,
    /// Kernel sync once more.
    pub control: LegSummary,
}

/// What the runs of a leg have in common.
#[derive(Serialize)]
pub struct LegSummary {
    /// How many there are.
    pub runs: usize,
    /// How its programs were set.
    pub settings: Vec<String>,
    /// Wall time, nanoseconds.
    pub wall_ns: Option<Spread>,
    /// User and system time, nanoseconds.
    pub cpu_ns: Option<Spread>,
    /// By call.
    pub syncs: Vec<Syncs>,
}

/// Where values lie.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Their median.
    pub median: f64,
    /// The 25th percentile.
    pub lower_quartile: f64,
    /// The 75th percentile.
    pub upper_quartile: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// Sync calls of all runs of a leg, however they were carried out.
#[derive(Clone, Serialize)]
pub struct Syncs {
    /// The system call.
    pub call: &'static str,
    /// How often.
    pub calls: u64,
    /// Bytes asked for; 0 for fsync and fdatasync.
    pub bytes: u64,
    /// Cache lines written back.
    pub lines: u64,
    /// Calls that returned an error.
    pub errors: u64,
    /// Calls that entered the kernel.
    pub kernel_entries: u64,
    /// From entry to return, nanoseconds.
    pub latency_ns: Option<Latency>,
    /// All of them together, nanoseconds, as exact as the histogram.
    pub total_ns: f64,
    /// The same, in full.
    pub histogram: Vec<Bar>,
    /// How they were carried out, and how often.
    pub ways: Vec<WayCount>,
}

/// Calls carried out one way.
#[derive(Clone, Serialize)]
pub struct WayCount {
    /// The way.
    #[serde(serialize_with = "way_word")]
    pub way: Way,
    /// How often.
    pub calls: u64,
}

fn way_word<S: serde::Serializer>(way: &Way, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{way:?}").to_lowercase())
}

impl Comparison {
    /// What follows from the runs.
    pub fn new(
        command: Vec<String>,
        settings: Settings,
        results: Results,
        beforehand: Vec<Unseen>,
        rng: &mut impl Rng,
    ) -> Comparison {
        let Results {
            runs,
            reports: [a, b, control],
            load,
            stopped,
        } = results;
        let ratios = |leg, rng: &mut _| Ratios {
            wall: ratio(&pairs(&runs, leg, |run| run.wall_ns), rng),
            cpu: ratio(&pairs(&runs, leg, |run| run.cpu_ns), rng),
        };
        let (of_b, of_control) = (ratios(Leg::B, rng), ratios(Leg::Control, rng));
        let unseen = unseen(beforehand, &b.total.unseen);
        let has_b = runs.iter().any(|run| run.leg == Leg::B);
        let conclusion = has_b.then(|| Conclusion::of(&b, &unseen));
        let mut verdict = verdict(of_b.wall, of_control.wall, conclusion.as_ref());
        if verdict.result == Finding::NoDifference {
            verdict.text += &in_cpu_time(of_b.cpu, of_control.cpu);
        }
        if let (Some(percent), Some(ratio)) = (settings.fail_if_slower, of_b.wall) {
            judge(&mut verdict, percent, &ratio);
        }
        let warnings = doubts(&runs, &of_control, &load, [&a, &b], &settings);
        Comparison {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            command,
            settings,
            stopped: stopped.map(|stopped| Stop {
                reason: stopped.reason,
                text: stopped.failure.what,
                exit_status: stopped.failure.status,
            }),
            verdict,
            conclusion,
            ratio: of_b,
            control: of_control,
            kernel_entries_saved: saved(&runs),
            legs: Legs {
                a: LegSummary::new(&runs, Leg::A, &a),
                b: LegSummary::new(&runs, Leg::B, &b),
                control: LegSummary::new(&runs, Leg::Control, &control),
            },
            warnings,
            load,
            unseen,
            runs,
        }
    }

    /// The document.
    pub fn json(&self) -> String {
        output::document(self)
    }

    /// The paired ratios of a leg to A, in order of the pairs.
    pub fn paired(&self, leg: Leg) -> Vec<f64> {
        let pairs = pairs(&self.runs, leg, |run| run.wall_ns);
        pairs.into_iter().map(|(a, other)| other / a).collect()
    }
}

/// The runs of A and of another leg that belong together, by number.
fn pairs(runs: &[Measured], leg: Leg, value: impl Fn(&Measured) -> f64) -> Vec<(f64, f64)> {
    let by_pair = |leg| -> BTreeMap<usize, f64> {
        let of_leg = runs.iter().filter(|run| run.leg == leg);
        of_leg.map(|run| (run.pair, value(run))).collect()
    };
    let others = by_pair(leg);
    let pair = |(number, a)| Some((a, *others.get(&number)?));
    by_pair(Leg::A).into_iter().filter_map(pair).collect()
}

fn saved(runs: &[Measured]) -> Option<f64> {
    let per_run = |leg| {
        let of = runs.iter().filter(|run| run.leg == leg);
        let counts: Vec<f64> = of.map(|run| run.kernel_entries as f64).collect();
        mean(&counts)
    };
    Some(per_run(Leg::A)? - per_run(Leg::B)?)
}

fn verdict(b: Option<Ratio>, control: Option<Ratio>, conclusion: Option<&Conclusion>) -> Verdict {
    let done = |result, text: String| Verdict {
        result,
        text,
        failed: false,
    };
    let Some((ratio, conclusion)) = b.zip(conclusion) else {
        let text = "No pair of runs was completed: there is nothing to compare.";
        return done(Finding::Unknown, text.into());
    };
    if !conclusion.accelerated && conclusion.reason != Reason::Skipped {
        let text = format!(
            "{}\nSo A and B did the same, and B/A = {:.3} is noise.",
            conclusion.text, ratio.ratio
        );
        return done(Finding::NotAccelerated, text);
    }
    let Some(interval) = ratio.interval else {
        let text = format!(
            "B takes {:.3} of A's wall time in the only pair; one pair has no confidence interval.",
            ratio.ratio
        );
        return done(Finding::Unknown, text);
    };
    let noise = control
        .and_then(|control| control.interval)
        .map(Interval::as_noise);
    let figures = format!(
        "B takes {:.3} of A's wall time (95 % interval {})",
        ratio.ratio,
        words::interval(interval)
    );
    if interval.contains(1.0) {
        let text = format!("No difference beyond noise: {figures}.");
        return done(Finding::NoDifference, text);
    }
    if let Some(noise) = noise.filter(|noise| noise.overlaps(interval)) {
        let text = format!(
            "No difference beyond noise: {figures}, and A differs from itself by as much ({}).",
            words::interval(noise)
        );
        return done(Finding::NoDifference, text);
    }
    let result = if ratio.ratio < 1.0 {
        Finding::Faster
    } else {
        Finding::Slower
    };
    done(result, format!("{}: {figures}.", words::speed(ratio.ratio)))
}

/// On a busy machine, time on the CPU may show what wall time can't.
fn in_cpu_time(b: Option<Ratio>, control: Option<Ratio>) -> String {
    let interval = |ratio: Option<Ratio>| ratio.and_then(|ratio| ratio.interval);
    match (b, interval(b), interval(control)) {
        (Some(ratio), Some(found), Some(noise)) if !found.overlaps(noise.as_noise()) => {
            format!(
                "\nOf user and system time, B takes {:.3} ({}), beyond noise.",
                ratio.ratio,
                words::interval(found)
            )
        }
        _ => String::new(),
    }
}

/// Applies `--fail-if-slower`.
fn judge(verdict: &mut Verdict, percent: f64, ratio: &Ratio) {
    let limit = 1.0 + percent / 100.0;
    verdict.failed = ratio.interval.is_some_and(|interval| interval.low > limit);
    if verdict.failed {
        verdict.text += &format!(
            "\nFailed: all of the interval is above {limit}, that is, B is more than {percent} % \
             slower."
        );
    }
}

impl LegSummary {
    fn new(runs: &[Measured], leg: Leg, report: &Report) -> LegSummary {
        let of = |value: fn(&Measured) -> f64| -> Vec<f64> {
            let of_leg = runs.iter().filter(|run| run.leg == leg);
            of_leg.map(value).collect()
        };
        let walls = of(|run| run.wall_ns);
        LegSummary {
            runs: walls.len(),
            settings: settings(&report.programs),
            wall_ns: Spread::of(&walls),
            cpu_ns: Spread::of(&of(|run| run.cpu_ns)),
            syncs: SyncCall::ALL
                .into_iter()
                .filter_map(|call| Syncs::of(report, call, &report.clock))
                .collect(),
        }
    }
}

impl Spread {
    fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Spread {
            mean: mean(values)?,
            median: median(values)?,
            lower_quartile: quantile(&sorted, 0.25)?,
            upper_quartile: quantile(&sorted, 0.75)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
        })
    }
}

impl Syncs {
    /// `None` if there were none.
    fn of(report: &Report, call: SyncCall, clock: &Clock) -> Option<Syncs> {
        let mut buckets = Buckets::default();
        let mut sum = Syncs {
            call: call.word(),
            calls: 0,
            bytes: 0,
            lines: 0,
            errors: 0,
            kernel_entries: 0,
            latency_ns: None,
            total_ns: 0.0,
            histogram: Vec::new(),
            ways: Vec::new(),
        };
        for sync in report.total.syncs.iter().filter(|sync| sync.call == call) {
            let add = |sum: &mut u64, value| *sum = sum.saturating_add(value);
            add(&mut sum.calls, sync.calls);
            add(&mut sum.bytes, sync.bytes);
            add(&mut sum.lines, sync.lines);
            add(&mut sum.errors, sync.errors);
            if enters_kernel(sync) {
                add(&mut sum.kernel_entries, sync.calls);
            }
            buckets.add(&sync.buckets);
            sum.ways.push(WayCount {
                way: sync.way,
                calls: sync.calls,
            });
        }
        sum.latency_ns = buckets.latency(clock);
        sum.histogram = buckets.bars(clock);
        let bars = sum.histogram.iter();
        sum.total_ns = bars
            .map(|bar| (bar.from_ns + bar.to_ns) / 2.0 * bar.calls as f64)
            .sum();
        (sum.calls > 0).then_some(sum)
    }
}

#[cfg(test)]
mod tests;
