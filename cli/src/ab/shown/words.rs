//! Figures in words.

use crate::ab::plan::Leg;
use crate::ab::statistics::{Interval, Ratio};
use crate::output::number;

/// A leg in headings; `flush` is that of leg B.
pub fn leg(leg: Leg, flush: &str) -> String {
    match (leg, flush) {
        (Leg::A, _) => "A: kernel sync".into(),
        (Leg::Control, _) => "control: kernel sync".into(),
        (Leg::B, "none") => "B: no flush".into(),
        (Leg::B, "kernel") => "B: kernel sync".into(),
        (Leg::B, _) => format!("B: user flush ({flush})"),
    }
}

/// `0.301 to 0.330`.
pub fn interval(interval: Interval) -> String {
    format!("{:.3} to {:.3}", interval.low, interval.high)
}

/// `0.312`; a dash for what is not known.
pub fn ratio(ratio: Option<Ratio>) -> String {
    ratio.map_or("–".into(), |ratio| format!("{:.3}", ratio.ratio))
}

/// The interval of a ratio; a dash for what is not known.
pub fn interval_of(ratio: Option<Ratio>) -> String {
    let found = ratio.and_then(|ratio| ratio.interval);
    found.map_or("–".into(), interval)
}

/// What a ratio of times means.
pub fn speed(ratio: f64) -> String {
    let percent = (ratio - 1.0).abs() * 100.0;
    match ratio {
        ..0.667 => format!("B is {:.1} times as fast", 1.0 / ratio),
        ..1.0 => format!("B takes {percent:.1} % less time"),
        ..1.5 => format!("B takes {percent:.1} % more time"),
        _ => format!("B takes {ratio:.1} times as long"),
    }
}

/// `12.3 ms`: three digits.
pub fn time(nanoseconds: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
    let fits = |(length, _): &(f64, &str)| nanoseconds >= *length * 0.9995;
    let (length, unit) = units.into_iter().find(fits).unwrap_or((1.0, "ns"));
    let value = nanoseconds / length;
    let digits = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// `1,234`, or `0.5` where it is no whole number.
pub fn per_run(count: f64) -> String {
    if count < 0.0 {
        return format!("-{}", per_run(-count));
    }
    if (count - count.round()).abs() < 0.05 || count >= 1e6 {
        number(count.round() as u64)
    } else {
        format!(
            "{}.{:.0}",
            number(count as u64),
            (count.fract() * 10.0).round().min(9.0)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        for (nanoseconds, text) in [
            (1.0, "1.00 ns"),
            (999.9, "1.00 µs"),
            (12_345.0, "12.3 µs"),
            (99_960.0, "100 µs"),
            (1.5e6, "1.50 ms"),
            (61e9, "61.0 s"),
            (0.0, "0.00 ns"),
        ] {
            assert_eq!(time(nanoseconds), text);
        }
    }

    #[test]
    fn speeds_are_said_as_people_say_them() {
        for (ratio, text) in [
            (0.25, "B is 4.0 times as fast"),
            (0.95, "B takes 5.0 % less time"),
            (1.2, "B takes 20.0 % more time"),
            (2.5, "B takes 2.5 times as long"),
        ] {
            assert_eq!(speed(ratio), text);
        }
    }

    #[test]
    fn counts_per_run_are_whole_where_they_are() {
        for (count, text) in [
            (1000.0, "1,000"),
            (0.5, "0.5"),
            (1234.97, "1,235"),
            (1.94, "1.9"),
            (-3.0, "-3"),
        ] {
            assert_eq!(per_run(count), text);
        }
    }
}
