//! Ratios of paired runs with a bootstrap confidence interval; outliers and drift.

use rand::{Rng, RngExt};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Confidence of the intervals.
pub const CONFIDENCE: f64 = 0.95;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 10_000;

/// Below this, an interval from resampled pairs is known to be too narrow.
pub const FEW: usize = 8;

/// A ratio and what is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Geometric mean of the paired ratios.
    pub ratio: f64,
    /// Its 95 % confidence interval; `None` with one pair.
    pub interval: Option<Interval>,
    /// Pairs.
    pub pairs: usize,
}

/// Ratios of one leg to A.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ratios {
    /// Of wall time.
    pub wall: Option<Ratio>,
    /// Of user and system time.
    pub cpu: Option<Ratio>,
}

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// Whether some value lies in both.
    pub fn overlaps(self, other: Interval) -> bool {
        self.low <= other.high && other.low <= self.high
    }

    /// The noise that the interval of a control tells: as far as it reaches from 1, in either
    /// direction.
    pub fn as_noise(self) -> Interval {
        let reach = self.low.ln().abs().max(self.high.ln().abs()).exp();
        Interval {
            low: 1.0 / reach,
            high: reach,
        }
    }

    /// Whether a value lies in it.
    pub fn contains(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The ratio of the second of each pair to the first; `None` without pairs, or if one of them is
/// not above zero (a clock too coarse).
pub fn ratio(pairs: &[(f64, f64)], rng: &mut impl Rng) -> Option<Ratio> {
    let usable = |&(a, b): &(f64, f64)| (a > 0.0 && b > 0.0).then(|| (b / a).ln());
    let logarithms: Vec<f64> = pairs.iter().map(usable).collect::<Option<_>>()?;
    let interval = bootstrap(&logarithms, RESAMPLES, rng);
    Some(Ratio {
        ratio: mean(&logarithms)?.exp(),
        interval: interval.map(|(low, high)| Interval {
            low: low.exp(),
            high: high.exp(),
        }),
        pairs: pairs.len(),
    })
}

/// A confidence interval of the mean; `None` for fewer than two values.
///
/// The expanded percentile interval of Hesterberg, "What Teachers Should Know About the Bootstrap"
/// (2015), section 5.1: the plain one is too narrow for small samples by sqrt(n/(n-1)) and by the
/// quantiles of the normal distribution in the place of Student's; taking quantiles further outside
/// makes up for both.
fn bootstrap(values: &[f64], resamples: usize, rng: &mut impl Rng) -> Option<(f64, f64)> {
    let count = values.len() as f64;
    if values.len() < 2 {
        return None;
    }
    let student = StudentsT::new(0.0, 1.0, count - 1.0).ok()?;
    let outside = student.inverse_cdf((1.0 - CONFIDENCE) / 2.0) * (count / (count - 1.0)).sqrt();
    let tail = Normal::standard().cdf(outside);
    let resample = |_| {
        let draw = |_| values.get(rng.random_range(0..values.len()));
        (0..values.len()).filter_map(draw).sum::<f64>() / count
    };
    let mut means: Vec<f64> = (0..resamples).map(resample).collect();
    means.sort_by(f64::total_cmp);
    Some((quantile(&means, tail)?, quantile(&means, 1.0 - tail)?))
}

/// A quantile of sorted values, interpolated.
pub fn quantile(sorted: &[f64], at: f64) -> Option<f64> {
    let position = at.clamp(0.0, 1.0) * (sorted.len().checked_sub(1)? as f64);
    let below = *sorted.get(position.floor() as usize)?;
    let above = *sorted.get(position.ceil() as usize)?;
    Some(below + (above - below) * position.fract())
}

/// The median; `None` without values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

/// The mean; `None` without values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// How many values are far from the others: a modified z-score above 3.5 (Iglewicz and Hoaglin,
/// "How to Detect and Handle Outliers", 1993). None if most values are the same, or if there are
/// fewer than five, of which one is always far.
pub fn outliers(values: &[f64]) -> usize {
    if values.len() < 5 {
        return 0;
    }
    let deviations = |centre: f64| -> Vec<f64> {
        let deviation = |value: &f64| (value - centre).abs();
        values.iter().map(deviation).collect()
    };
    let Some(centre) = median(values) else {
        return 0;
    };
    let deviations = deviations(centre);
    match median(&deviations) {
        Some(typical) if typical > 0.0 => {
            let far = |deviation: &&f64| 0.6745 * **deviation / typical > 3.5;
            deviations.iter().filter(far).count()
        }
        _ => 0,
    }
}

/// By how much the last third of a series differs from the first, as a ratio, if it has a trend: the
/// Mann-Kendall test at 1 %. Eight values at least.
pub fn drift(series: &[f64]) -> Option<f64> {
    let count = series.len();
    if count < 8 {
        return None;
    }
    let mut rises = 0i64;
    for (later, value) in series.iter().enumerate() {
        for earlier in series.iter().take(later) {
            rises += match value.total_cmp(earlier) {
                std::cmp::Ordering::Greater => 1,
                std::cmp::Ordering::Equal => 0,
                std::cmp::Ordering::Less => -1,
            };
        }
    }
    let n = count as f64;
    let deviation = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let score = (rises.unsigned_abs().saturating_sub(1)) as f64 / deviation;
    let chance = 2.0 * (1.0 - Normal::standard().cdf(score));
    let third = count / 3;
    let first = median(series.get(..third)?)?;
    let last = median(series.get(count - third..)?)?;
    (chance < 0.01 && first > 0.0).then(|| last / first)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;
    use statrs::distribution::Normal;

    use super::*;

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// Normally distributed, by the inverse of the distribution.
    fn normal(rng: &mut ChaCha8Rng, mean: f64, deviation: f64) -> f64 {
        let uniform: f64 = rng.random_range(1e-12..1.0);
        Normal::new(mean, deviation).unwrap().inverse_cdf(uniform)
    }

    /// How often the interval holds the true ratio, over many comparisons.
    fn coverage(pairs: usize, draw: impl Fn(&mut ChaCha8Rng) -> f64, truth: f64) -> f64 {
        const COMPARISONS: usize = 300;
        let mut rng = rng(42);
        let mut hits = 0;
        for _ in 0..COMPARISONS {
            let values: Vec<f64> = (0..pairs).map(|_| draw(&mut rng)).collect();
            let (low, high) = bootstrap(&values, 1_000, &mut rng).unwrap();
            hits += usize::from(low <= truth && truth <= high);
        }
        hits as f64 / COMPARISONS as f64
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_claims() {
        for pairs in [FEW, 20] {
            let found = coverage(pairs, |rng| normal(rng, -0.7, 0.1), -0.7);
            assert!((0.92..=0.985).contains(&found), "{pairs} pairs: {found}");
        }
    }

    #[test]
    fn the_interval_holds_the_truth_for_skewed_noise_too() {
        // Some runs are disturbed, and disturbances only ever add time: exponential, mean 0.1.
        let skewed = |rng: &mut ChaCha8Rng| -0.1 * rng.random_range(1e-12f64..1.0).ln();
        for pairs in [FEW, 20] {
            let found = coverage(pairs, skewed, 0.1);
            assert!((0.87..=0.985).contains(&found), "{pairs} pairs: {found}");
        }
    }

    #[test]
    fn a_ratio_is_of_pairs_and_not_of_means() {
        // The load doubles half-way: pairs don't care.
        let pairs = [(10.0, 5.0), (10.0, 5.0), (20.0, 10.0), (20.0, 10.0)];
        let ratio = ratio(&pairs, &mut rng(1)).unwrap();
        assert!((ratio.ratio - 0.5).abs() < 1e-12);
        let interval = ratio.interval.unwrap();
        assert!(interval.high - interval.low < 1e-12);
    }

    #[test]
    fn the_seed_decides_the_interval() {
        let pairs: Vec<(f64, f64)> = (1..20).map(|i| (10.0, 5.0 + f64::from(i % 7))).collect();
        let with = |seed| ratio(&pairs, &mut rng(seed)).unwrap();
        assert_eq!(with(1), with(1));
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn one_pair_has_no_interval_and_none_has_no_ratio() {
        let one = ratio(&[(4.0, 2.0)], &mut rng(1)).unwrap();
        assert_eq!((one.ratio.round(), one.interval), (1.0, None));
        assert_eq!(ratio(&[], &mut rng(1)), None);
        assert_eq!(ratio(&[(0.0, 1.0), (1.0, 1.0)], &mut rng(1)), None);
    }

    #[test]
    fn two_pairs_have_all_there_is_as_interval() {
        let two = ratio(&[(1.0, 2.0), (1.0, 8.0)], &mut rng(1)).unwrap();
        let interval = two.interval.unwrap();
        assert!((interval.low - 2.0).abs() < 1e-9 && (interval.high - 8.0).abs() < 1e-9);
    }

    #[test]
    fn outliers_are_found_and_ordinary_noise_is_none() {
        let mut values: Vec<f64> = (0..30).map(|i| 100.0 + f64::from(i * 7 % 11)).collect();
        assert_eq!(outliers(&values), 0);
        values.push(200.0);
        values.push(20.0);
        assert_eq!(outliers(&values), 2);
        assert_eq!(outliers(&[5.0; 9]), 0);
        assert_eq!(outliers(&[1.0, 1.1, 9.0]), 0);
        assert_eq!(outliers(&[]), 0);
    }

    #[test]
    fn drift_is_found_in_noise_and_noise_is_not_drift() {
        let mut rng = rng(3);
        let noise: Vec<f64> = (0..30).map(|_| normal(&mut rng, 100.0, 3.0)).collect();
        assert_eq!(drift(&noise), None);
        let rising = noise.iter().enumerate().map(|(i, value)| value + i as f64);
        let rising: Vec<f64> = rising.collect();
        let change = drift(&rising).unwrap();
        assert!((1.1..1.3).contains(&change), "{change}");
        let falling: Vec<f64> = rising.iter().rev().copied().collect();
        assert!(drift(&falling).unwrap() < 0.9);
        assert_eq!(drift(&rising[..7]), None);
    }

    #[test]
    fn noise_reaches_as_far_up_as_down() {
        for (low, high, reach) in [(0.5, 0.7, 2.0), (0.9, 2.0, 2.0), (1.5, 2.0, 2.0)] {
            let noise = Interval { low, high }.as_noise();
            assert!((noise.high - reach).abs() < 1e-9, "{noise:?}");
            assert!((noise.low - 1.0 / reach).abs() < 1e-9, "{noise:?}");
        }
    }

    #[test]
    fn quantiles_are_interpolated() {
        assert_eq!(median(&[3.0, 1.0]), Some(2.0));
        assert_eq!(median(&[]), None);
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 1.0), Some(3.0));
    }
}
