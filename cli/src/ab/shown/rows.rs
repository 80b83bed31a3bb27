//! The cells of the tables, the same everywhere.

use super::words;
use crate::ab::comparison::{Comparison, LegSummary, Spread, Syncs};
use crate::ab::plan::Leg;
use crate::output::{bytes, counted, number};
use crate::run::text::tables::duration;

/// A table; columns from the second on are figures.
pub struct Rows {
    /// The first row.
    pub header: Vec<String>,
    /// The others.
    pub rows: Vec<Vec<String>>,
}

/// Times of a run and their ratios.
pub fn times(comparison: &Comparison) -> Rows {
    let flush = &comparison.settings.flush;
    let legs = &comparison.legs;
    let (of_b, control) = (&comparison.ratio, &comparison.control);
    let row = |name: &str, a, b, ratio, control| {
        vec![
            name.to_owned(),
            spread(a),
            spread(b),
            words::ratio(ratio),
            words::interval_of(ratio),
            words::interval_of(control),
        ]
    };
    Rows {
        header: vec![
            "time of a run".into(),
            words::leg(Leg::A, flush),
            words::leg(Leg::B, flush),
            "B/A".into(),
            "95 % interval".into(),
            "noise (control/A)".into(),
        ],
        rows: vec![
            row(
                "wall",
                legs.a.wall_ns,
                legs.b.wall_ns,
                of_b.wall,
                control.wall,
            ),
            row(
                "user+system",
                legs.a.cpu_ns,
                legs.b.cpu_ns,
                of_b.cpu,
                control.cpu,
            ),
        ],
    }
}

/// Median and quartiles.
fn spread(spread: Option<Spread>) -> String {
    let Some(spread) = spread else {
        return "–".into();
    };
    let [median, lower, upper] =
        [spread.median, spread.lower_quartile, spread.upper_quartile].map(words::time);
    format!("{median} ({lower} – {upper})")
}

/// Sync calls; `None` if there were none.
pub fn syncs(comparison: &Comparison) -> Option<Rows> {
    let legs = [("A", &comparison.legs.a), ("B", &comparison.legs.b)];
    let mut rows = Vec::new();
    for call in calls(comparison) {
        for (name, leg) in legs {
            if let Some(sync) = leg.syncs.iter().find(|sync| sync.call == call) {
                rows.push(row(call, name, leg, sync));
            }
        }
    }
    let header = [
        "per run",
        "leg",
        "calls",
        "bytes",
        "lines",
        "kernel calls",
        "failed",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
    ];
    (!rows.is_empty()).then(|| Rows {
        header: header.map(str::to_owned).to_vec(),
        rows,
    })
}

/// The calls that either leg made, in table order.
pub fn calls(comparison: &Comparison) -> Vec<&'static str> {
    let made = |call: &&'static str| {
        let legs = [&comparison.legs.a, &comparison.legs.b];
        legs.iter()
            .any(|leg| leg.syncs.iter().any(|sync| sync.call == *call))
    };
    let all = daxshim_core::report::SyncCall::ALL.map(|call| call.word());
    all.into_iter().filter(made).collect()
}

fn row(call: &str, name: &str, leg: &LegSummary, sync: &Syncs) -> Vec<String> {
    let per_run = |count: u64| words::per_run(count as f64 / leg.runs.max(1) as f64);
    let mut row = vec![
        call.to_owned(),
        name.to_owned(),
        per_run(sync.calls),
        // A descriptor has no range.
        if sync.bytes > 0 {
            bytes(sync.bytes / leg.runs.max(1) as u64)
        } else {
            "–".into()
        },
        per_run(sync.lines),
        per_run(sync.kernel_entries),
        number(sync.errors),
    ];
    row.extend(match sync.latency_ns {
        Some(latency) => [
            latency.p50,
            latency.p90,
            latency.p99,
            latency.p99_9,
            latency.max,
        ]
        .map(duration),
        None => std::array::from_fn(|_| "–".into()),
    });
    row
}

/// What sync calls cost a run, and what is saved; `None` if there were none.
pub fn saved(comparison: &Comparison) -> Option<String> {
    let saved = comparison.kernel_entries_saved?;
    let legs = [&comparison.legs.a, &comparison.legs.b];
    if legs.iter().all(|leg| leg.syncs.is_empty()) {
        return None;
    }
    let per_run = |leg: &LegSummary, of: fn(&Syncs) -> f64| {
        leg.syncs.iter().map(of).sum::<f64>() / leg.runs.max(1) as f64
    };
    let [a, b] = legs.map(|leg| per_run(leg, |syncs| syncs.kernel_entries as f64));
    let [time_a, time_b] = legs.map(|leg| per_run(leg, |syncs| syncs.total_ns));
    let share =
        |leg: &LegSummary, time: f64| leg.wall_ns.map_or(0.0, |wall| time / wall.mean * 100.0);
    Some(format!(
        "Of a run's sync calls {} enter the kernel with A and {} with B: {} saved. They \
         take {} ({:.1} % of its wall time) with A and {} ({:.1} %) with B.",
        words::per_run(a),
        words::per_run(b),
        words::per_run(saved),
        words::time(time_a),
        share(&comparison.legs.a, time_a),
        words::time(time_b),
        share(&comparison.legs.b, time_b),
    ))
}

/// What was done, in a line.
pub fn design(comparison: &Comparison) -> String {
    let settings = &comparison.settings;
    let made = comparison.ratio.wall.map_or(0, |ratio| ratio.pairs);
    let pairs = if made == settings.runs {
        counted(made as u64, "pair")
    } else {
        format!("{made} of {}", counted(settings.runs as u64, "pair"))
    };
    format!(
        "{pairs} of A and B, as many of A and its control, in mirrored random order (seed \
         {}), {}",
        settings.seed,
        match settings.warmup {
            0 => "without warm-up".into(),
            1 => "after a warm-up of A and of B".into(),
            many => format!("after {many} warm-ups of A and of B"),
        }
    )
}
