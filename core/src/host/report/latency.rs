//! From clock ticks to percentiles in nanoseconds.

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::report::{BUCKETS, bucket_floor, ticks};

/// Latencies of a call, nanoseconds, each within 7 % (the page's buckets are 12.5 % wide).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p99_9: u64,
    /// Longest.
    pub max: u64,
}

/// How many latencies fell into each bucket of the page's histogram.
#[derive(Clone, Debug)]
pub struct Buckets(Vec<u64>);

/// Latencies between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bar {
    /// The shortest, nanoseconds.
    pub from_ns: f64,
    /// What they stay below, nanoseconds.
    pub to_ns: f64,
    /// How many.
    pub calls: u64,
}

impl Default for Buckets {
    fn default() -> Buckets {
        Buckets(vec![0; BUCKETS])
    }
}

impl FromIterator<u64> for Buckets {
    fn from_iter<I: IntoIterator<Item = u64>>(counts: I) -> Buckets {
        Buckets(counts.into_iter().collect())
    }
}

impl Buckets {
    /// Adds the counts of others.
    pub fn add(&mut self, other: &Buckets) {
        for (sum, count) in self.0.iter_mut().zip(&other.0) {
            *sum = sum.saturating_add(*count);
        }
    }

    /// The buckets that are not empty, in order; none if the length of a tick is unknown.
    #[must_use]
    pub fn bars(&self, clock: &Clock) -> Vec<Bar> {
        let filled = self.0.iter().enumerate().filter(|(_, calls)| **calls > 0);
        let bar = |(index, &calls): (usize, &u64)| {
            let nanoseconds_per_tick = clock.nanoseconds_per_tick?;
            let bound = |ticks: u64| ticks as f64 * nanoseconds_per_tick;
            let floor = bucket_floor(index);
            let next = if index + 1 < BUCKETS {
                bucket_floor(index + 1)
            } else {
                u64::MAX
            };
            Some(Bar {
                from_ns: bound(floor),
                to_ns: bound(next),
                calls,
            })
        };
        filled.filter_map(bar).collect()
    }

    /// `None` if nothing was measured, or the length of a tick is unknown.
    #[must_use]
    pub fn latency(&self, clock: &Clock) -> Option<Latency> {
        // A page whose counts do not even add up is corrupt.
        let add = |sum: u64, count: &u64| sum.checked_add(*count);
        self.0.iter().try_fold(0, add)?;
        let mut histogram = Histogram::<u64>::new(3).ok()?;
        for (index, &count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            let nanoseconds = clock.nanoseconds(middle(index))?;
            histogram.record_n(nanoseconds, count).ok()?;
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        (!histogram.is_empty()).then(|| Latency {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: histogram.max(),
        })
    }
}

fn middle(index: usize) -> u64 {
    let floor = bucket_floor(index);
    let width = if index + 1 < BUCKETS {
        bucket_floor(index + 1) - floor
    } else {
        0
    };
    floor + width / 2
}

/// Ticks and CLOCK_MONOTONIC nanoseconds of one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) ticks: u64,
    pub(super) nanoseconds: u64,
}

impl Moment {
    fn now() -> Moment {
        let time = clock_gettime(ClockId::Monotonic);
        Moment {
            ticks: ticks(),
            nanoseconds: time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs(),
        }
    }
}

/// How long a tick is: the same for all processes of this boot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    nanoseconds_per_tick: Option<f64>,
}

impl Clock {
    /// From the earliest of some moments until now: the longer, the more exact.
    pub(super) fn since(moments: impl Iterator<Item = Moment>) -> Clock {
        let earliest = moments.min_by_key(|moment| moment.nanoseconds);
        Clock {
            nanoseconds_per_tick: earliest.and_then(|then| Clock::between(then, Moment::now())),
        }
    }

    /// Itself, or another one if it does not know.
    #[must_use]
    pub fn or(self, other: Clock) -> Clock {
        let nanoseconds_per_tick = self.nanoseconds_per_tick.or(other.nanoseconds_per_tick);
        Clock {
            nanoseconds_per_tick,
        }
    }

    fn between(then: Moment, now: Moment) -> Option<f64> {
        let nanoseconds = now.nanoseconds.checked_sub(then.nanoseconds)?;
        let ticks = now.ticks.checked_sub(then.ticks)?;
        (nanoseconds > 0 && ticks > 0).then(|| nanoseconds as f64 / ticks as f64)
    }

    fn nanoseconds(&self, ticks: u64) -> Option<u64> {
        // At least 1: a histogram has no 0. At most some 5 hours: so says a corrupt page.
        let nanoseconds = (ticks as f64 * self.nanoseconds_per_tick?).clamp(1.0, 2e13);
        Some(nanoseconds.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::bucket;

    fn clock(nanoseconds_per_tick: f64) -> Clock {
        Clock {
            nanoseconds_per_tick: Some(nanoseconds_per_tick),
        }
    }

    #[test]
    fn percentiles_are_within_seven_percent() {
        let mut counts = vec![0; BUCKETS];
        for value in 1..=10_000u64 {
            counts[bucket(value * 100)] += 1;
        }
        let latency = counts
            .into_iter()
            .collect::<Buckets>()
            .latency(&clock(0.5))
            .unwrap();
        for (found, expected) in [
            (latency.p50, 250_000.0),
            (latency.p90, 450_000.0),
            (latency.p99, 495_000.0),
            (latency.p99_9, 499_500.0),
            (latency.max, 500_000.0),
        ] {
            let error = (found as f64 - expected).abs() / expected;
            assert!(error < 0.07, "{found} for {expected}");
        }
    }

    #[test]
    fn bars_have_every_call_between_bounds_that_follow_each_other() {
        let mut counts = vec![0; BUCKETS];
        counts[bucket(100)] = 3;
        counts[bucket(100) + 1] = 4;
        counts[BUCKETS - 1] = 1;
        let bars = counts.into_iter().collect::<Buckets>().bars(&clock(0.5));
        let calls: Vec<u64> = bars.iter().map(|bar| bar.calls).collect();
        assert_eq!(calls, [3, 4, 1]);
        assert!(bars[0].from_ns <= 50.0 && 50.0 < bars[0].to_ns);
        assert_eq!(bars[0].to_ns, bars[1].from_ns);
        let one: Buckets = std::iter::once(1).collect();
        assert_eq!(one.bars(&Clock::default()), []);
    }

    #[test]
    fn without_calls_or_clock_there_is_no_latency() {
        assert_eq!(Buckets::default().latency(&clock(1.0)), None);
        let unknown = Clock::since(std::iter::empty());
        let one: Buckets = std::iter::once(1).collect();
        assert_eq!(one.latency(&unknown), None);
    }

    #[test]
    fn extreme_counts_and_values_do_not_panic() {
        let mut sum: Buckets = std::iter::repeat_n(u64::MAX, BUCKETS).collect();
        sum.add(&sum.clone());
        assert_eq!(sum.latency(&clock(1.0)), None);
        let all: Buckets = std::iter::repeat_n(1, BUCKETS).collect();
        let latency = all.latency(&clock(1e9)).unwrap();
        assert!(latency.p50 <= latency.max);
    }

    #[test]
    fn a_clock_that_stands_or_runs_backwards_is_none() {
        let at = |ticks, nanoseconds| Moment { ticks, nanoseconds };
        assert_eq!(Clock::between(at(5, 5), at(5, 9)), None);
        assert_eq!(Clock::between(at(5, 5), at(9, 5)), None);
        assert_eq!(Clock::between(at(5, 9), at(9, 5)), None);
        assert_eq!(Clock::between(at(0, 0), at(4, 2)), Some(0.5));
    }
}
