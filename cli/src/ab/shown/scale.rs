//! Logarithmic axes.

/// A logarithmic axis on the page.
#[derive(Clone, Copy)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// `low` (above 0) lies at `from`, `high` at `to`.
    pub fn new((low, high): (f64, f64), (from, to): (f64, f64)) -> Scale {
        let low = low.max(f64::MIN_POSITIVE);
        Scale {
            low: low.ln(),
            high: high.max(low * 1.000_001).ln(),
            from,
            to,
        }
    }

    /// Where a value lies; what is outside, at the end.
    pub fn at(self, value: f64) -> f64 {
        let value = value.max(f64::MIN_POSITIVE).ln();
        let share = (value - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Round values for ticks: powers of ten with, if these are few, their 2- and 5-fold; steps of
    /// one size where even those are few.
    pub fn ticks(self) -> Vec<f64> {
        let (low, high) = (self.low.exp(), self.high.exp());
        for factors in [&[1.0][..], &[1.0, 3.0], &[1.0, 2.0, 5.0]] {
            let ticks = powers(low, high, factors);
            if ticks.len() >= 4 {
                return ticks;
            }
        }
        steps(low, high)
    }
}

fn powers(low: f64, high: f64, factors: &[f64]) -> Vec<f64> {
    let exponents = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = exponents.flat_map(|exponent| {
        let power = 10f64.powi(exponent);
        factors.iter().map(move |factor| factor * power)
    });
    all.filter(|tick| (low..=high).contains(tick)).collect()
}

fn steps(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let step = factors
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_logarithmic_and_ends_at_its_ends() {
        let scale = Scale::new((1.0, 100.0), (0.0, 200.0));
        assert!((scale.at(10.0) - 100.0).abs() < 1e-9);
        assert_eq!(scale.at(0.0), 0.0);
        assert_eq!(scale.at(1e9), 200.0);
    }

    #[test]
    fn ticks_are_round_and_enough_for_any_range() {
        for (range, expected) in [
            ((1.0, 2e4), vec![1.0, 10.0, 100.0, 1e3, 1e4]),
            ((0.9, 110.0), vec![1.0, 3.0, 10.0, 30.0, 100.0]),
            ((0.95, 1.04), vec![0.96, 0.98, 1.0, 1.02, 1.04]),
        ] {
            let ticks = Scale::new(range, (0.0, 1.0)).ticks();
            assert_eq!(ticks.len(), expected.len(), "{ticks:?}");
            for (tick, expected) in ticks.iter().zip(expected) {
                assert!((tick - expected).abs() < 1e-9, "{ticks:?}");
            }
        }
        assert!(Scale::new((1.0, 1.0), (0.0, 1.0)).ticks().len() < 20);
    }
}
