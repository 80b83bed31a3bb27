//! SVG plots, laid out by hand: their colours are the page's style sheet's, for light and for dark.

use maud::{Markup, html};

use super::scale::Scale;
use super::words;
use crate::ab::comparison::{Comparison, Syncs};
use crate::ab::plan::Leg;
use crate::ab::statistics::{Interval, Ratio};
use crate::output::number;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 72.0;

/// The paired ratios, in the order of the pairs; `None` without a pair.
pub fn ratios(comparison: &Comparison) -> Option<Markup> {
    const RIGHT: f64 = WIDTH - 150.0;
    const TOP: f64 = 16.0;
    const BOTTOM: f64 = 270.0;
    let of_b = comparison.paired(Leg::B);
    let of_control = comparison.paired(Leg::Control);
    let (b, control) = (comparison.ratio.wall?, comparison.control.wall);
    let y = Scale::new(
        extent(&of_b, &of_control, [Some(b), control]),
        (BOTTOM, TOP),
    );
    let pairs = of_b.len().max(of_control.len());
    let step = (RIGHT - LEFT) / pairs as f64;
    let x = |index: usize| LEFT + (index as f64 + 0.5) * step;
    let radius = (step * 0.3).clamp(1.2, 4.5);
    let every = pairs.div_ceil(12);
    let description = format!(
        "Ratio of wall time of {pairs} pairs of runs. B to A: {}, 95 % interval {}. Control to A: \
         {}, 95 % interval {}.",
        words::ratio(Some(b)),
        words::interval_of(Some(b)),
        words::ratio(control),
        words::interval_of(control)
    );
    let labels = apart(y.at(b.ratio), control.map(|control| y.at(control.ratio)));
    Some(html! {
        svg viewBox={ "0 0 " (WIDTH) " 320" } role="img" aria-labelledby="ratio-title ratio-desc" {
            title id="ratio-title" { "Ratio of each pair of runs" }
            desc id="ratio-desc" { (description) }
            (hatch("ratio-hatch", "noise-hatch"))
            @for tick in y.ticks() {
                @let at = round(y.at(tick));
                line .grid x1=(LEFT) x2=(RIGHT) y1=(at) y2=(at) {}
                text .tick x=(LEFT - 8.0) y=(at + 4.0) text-anchor="end" { (short(tick)) }
            }
            @if let Some(control) = control { (band(control.interval.map(Interval::as_noise), y, (LEFT, RIGHT), "noise", "url(#ratio-hatch)")) }
            (band(b.interval, y, (LEFT, RIGHT), "b-band", ""))
            line .one x1=(LEFT) x2=(RIGHT) y1=(round(y.at(1.0))) y2=(round(y.at(1.0))) {}
            line .b-line x1=(LEFT) x2=(RIGHT) y1=(round(y.at(b.ratio))) y2=(round(y.at(b.ratio))) {}
            g .control-points {
                @for (index, ratio) in of_control.iter().enumerate() {
                    rect .control-point x=(round(x(index) - radius)) y=(round(y.at(*ratio) - radius))
                        width=(round(radius * 2.0)) height=(round(radius * 2.0)) {
                        title { "pair " (index + 1) ": control/A " (format!("{ratio:.3}")) }
                    }
                }
            }
            g .b-points {
                @for (index, ratio) in of_b.iter().enumerate() {
                    circle .b-point cx=(round(x(index))) cy=(round(y.at(*ratio))) r=(round(radius)) {
                        title { "pair " (index + 1) ": B/A " (format!("{ratio:.3}")) }
                    }
                }
            }
            @for index in (0..pairs).step_by(every) {
                text .tick x=(round(x(index))) y=(BOTTOM + 20.0) text-anchor="middle" { (index + 1) }
            }
            text .axis x=((LEFT + RIGHT) / 2.0) y="312" text-anchor="middle" { "pair of runs" }
            text .axis x="14" y=((TOP + BOTTOM) / 2.0) text-anchor="middle"
                transform={ "rotate(-90 14 " ((TOP + BOTTOM) / 2.0) ")" } { "time relative to A" }
            circle .b-point cx=(RIGHT + 14.0) cy=(round(labels.0)) r="4.5" {}
            text .label x=(RIGHT + 26.0) y=(round(labels.0 + 4.0)) { "B/A " (words::ratio(Some(b))) }
            @if control.is_some() {
                rect .control-point x=(RIGHT + 9.5) y=(round(labels.1 - 4.5)) width="9" height="9" {}
                text .label x=(RIGHT + 26.0) y=(round(labels.1 + 4.0)) { "control/A " (words::ratio(control)) }
            }
        }
    })
}

/// The range of an axis that shows everything, 1 among it, and is not all noise.
fn extent(b: &[f64], control: &[f64], ratios: [Option<Ratio>; 2]) -> (f64, f64) {
    let intervals = ratios
        .into_iter()
        .flatten()
        .filter_map(|ratio| ratio.interval);
    let bounds = intervals.flat_map(|interval| [interval.low, interval.high]);
    let all = b.iter().chain(control).copied().chain(bounds);
    let usable = all.filter(|ratio| ratio.is_finite() && *ratio > 0.0);
    let (low, high) = usable.fold((0.95f64, 1.05f64), |(low, high), ratio| {
        (low.min(ratio), high.max(ratio))
    });
    (low / 1.04, high * 1.04)
}

/// Heights of two labels that don't overlap.
fn apart(b: f64, control: Option<f64>) -> (f64, f64) {
    const LINE: f64 = 18.0;
    let control = control.unwrap_or(b);
    let missing = LINE - (b - control).abs();
    let shift = missing.max(0.0) / 2.0;
    if b < control {
        (b - shift, control + shift)
    } else {
        (b + shift, control - shift)
    }
}

fn band(
    interval: Option<Interval>,
    y: Scale,
    (left, right): (f64, f64),
    class: &str,
    fill: &str,
) -> Markup {
    html! {
        @if let Some(interval) = interval {
            @let (top, bottom) = (y.at(interval.high), y.at(interval.low));
            rect class=(class) fill=[(!fill.is_empty()).then_some(fill)] x=(left) width=(right - left)
                y=(round(top)) height=(round((bottom - top).max(1.0))) {
                title { (words::interval(interval)) }
            }
        }
    }
}

/// How long a call took, A above the line, B below; `None` if no latency is known.
pub fn latencies(call: &str, a: Option<&Syncs>, b: Option<&Syncs>, flush: &str) -> Option<Markup> {
    const RIGHT: f64 = WIDTH - 16.0;
    const MIDDLE: f64 = 148.0;
    const REACH: f64 = 108.0;
    const AXIS: f64 = MIDDLE + REACH + 30.0;
    let bars = |syncs: Option<&Syncs>| syncs.map_or(Vec::new(), |syncs| syncs.histogram.clone());
    let (above, below) = (bars(a), bars(b));
    let both = || above.iter().chain(&below);
    let low = both().map(|bar| bar.from_ns).reduce(f64::min)?.max(1.0);
    let high = both().map(|bar| bar.to_ns).reduce(f64::max)?;
    let x = Scale::new((low / 1.3, high * 1.3), (LEFT, RIGHT));
    let shares = |bars: &[daxshim_core::host::report::Bar]| -> Vec<(f64, f64, f64)> {
        let all: u64 = bars.iter().map(|bar| bar.calls).sum();
        let share = |calls: u64| calls as f64 / all.max(1) as f64;
        let placed = bars
            .iter()
            .map(|bar| (x.at(bar.from_ns), x.at(bar.to_ns), share(bar.calls)));
        placed.collect()
    };
    let (above, below) = (shares(&above), shares(&below));
    let both = above.iter().chain(&below);
    let least = both.map(|(_, _, share)| *share).fold(1.0, f64::min);
    // Logarithmic, so that the rare long ones show.
    let height = Scale::new((least / 2.0, 1.0), (0.0, REACH));
    let id = |part: &str| format!("{call}-{part}");
    let said = |leg, syncs| format!("{}. {}", words::leg(leg, flush), figures(syncs));
    Some(html! {
        svg viewBox={ "0 0 " (WIDTH) " " (AXIS + 46.0) } role="img"
            aria-labelledby={ (id("title")) " " (id("desc")) } {
            title id=(id("title")) { "Latencies of " (call) }
            desc id=(id("desc")) { (said(Leg::A, a)) " " (said(Leg::B, b)) }
            (hatch(&id("hatch"), "a-hatch"))
            @for tick in x.ticks() {
                @let at = round(x.at(tick));
                line .grid x1=(at) x2=(at) y1=(MIDDLE - REACH) y2=(AXIS - 22.0) {}
                text .tick x=(at) y=(AXIS) text-anchor="middle" { (round_time(tick)) }
            }
            @for (share, name) in percents(least) {
                @for at in [MIDDLE - height.at(share), MIDDLE + height.at(share)] {
                    line .grid x1=(LEFT) x2=(RIGHT) y1=(round(at)) y2=(round(at)) {}
                    text .tick x=(LEFT - 8.0) y=(round(at + 4.0)) text-anchor="end" { (name) }
                }
            }
            path .a-area fill={ "url(#" (id("hatch")) ")" } d=(area(&above, MIDDLE, |share| -height.at(share))) {}
            path .b-area d=(area(&below, MIDDLE, |share| height.at(share))) {}
            line .base x1=(LEFT) x2=(RIGHT) y1=(MIDDLE) y2=(MIDDLE) {}
            (median(a, x, "a-median", (MIDDLE, MIDDLE - REACH)))
            (median(b, x, "b-median", (MIDDLE, MIDDLE + REACH)))
            text .label x=(LEFT) y="20" { tspan .strong { (words::leg(Leg::A, flush)) } "  " (figures(a)) }
            text .label x=(LEFT) y=(AXIS + 38.0) { tspan .strong { (words::leg(Leg::B, flush)) } "  " (figures(b)) }
            text .axis x="14" y=(MIDDLE) text-anchor="middle" transform={ "rotate(-90 14 " (MIDDLE) ")" } {
                "share of calls"
            }
        }
    })
}

fn figures(syncs: Option<&Syncs>) -> String {
    let Some((syncs, latency)) = syncs.and_then(|syncs| Some((syncs, syncs.latency_ns?))) else {
        return "no calls".into();
    };
    format!(
        "{} calls, median {}, 99th percentile {}",
        number(syncs.calls),
        words::time(latency.p50 as f64),
        words::time(latency.p99 as f64)
    )
}

fn median(syncs: Option<&Syncs>, x: Scale, class: &str, (from, to): (f64, f64)) -> Markup {
    let latency = syncs.and_then(|syncs| syncs.latency_ns);
    html! {
        @if let Some(latency) = latency {
            @let at = round(x.at(latency.p50 as f64));
            line class=(class) x1=(at) x2=(at) y1=(from) y2=(to) {
                title { "median " (words::time(latency.p50 as f64)) }
            }
        }
    }
}

/// Shares for the ticks of an axis that begins with the least one.
fn percents(least: f64) -> impl Iterator<Item = (f64, &'static str)> {
    let shares = [
        (1.0, "100 %"),
        (1e-2, "1 %"),
        (1e-4, "0.01 %"),
        (1e-6, "1 ppm"),
        (1e-8, "10 ppb"),
    ];
    shares.into_iter().filter(move |(share, _)| *share >= least)
}

/// The outline of bars `(from, to, share)` on a base line.
fn area(bars: &[(f64, f64, f64)], base: f64, height: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut end = None;
    for (from, to, share) in bars {
        if end != Some(*from) {
            if end.is_some() {
                path += &format!("V{base}Z");
            }
            path += &format!("M{} {base}", round(*from));
        }
        path += &format!("V{}H{}", round(base + height(*share)), round(*to));
        end = Some(*to);
    }
    if end.is_some() {
        path += &format!("V{base}Z");
    }
    path
}

/// A fill that does not depend on telling colours.
fn hatch(id: &str, class: &str) -> Markup {
    html! {
        defs {
            pattern id=(id) width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                rect class={ (class) "-ground" } width="6" height="6" {}
                line class=(class) x1="0" x2="0" y1="0" y2="6" {}
            }
        }
    }
}

/// Tenths of a pixel are enough.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn short(tick: f64) -> String {
    let text = format!("{tick:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `100 ns`, `10 µs`: ticks are round.
fn round_time(nanoseconds: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    let fits = |(length, _): &(f64, &str)| nanoseconds >= *length * 0.9995;
    let (length, unit) = units.into_iter().find(fits).unwrap_or((1.0, "ns"));
    format!("{} {unit}", short(nanoseconds / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_is_closed_and_has_gaps_where_no_call_was() {
        let bars = [(0.0, 10.0, 0.5), (10.0, 20.0, 0.25), (40.0, 50.0, 0.125)];
        assert_eq!(
            area(&bars, 100.0, |share| -100.0 * share),
            "M0 100V50H10V75H20V100ZM40 100V87.5H50V100Z"
        );
        assert_eq!(area(&[], 100.0, |share| share), "");
    }

    #[test]
    fn shares_have_ticks_down_to_the_least() {
        let ticks = |least| percents(least).count();
        assert_eq!((ticks(1.0), ticks(0.5), ticks(1e-5)), (1, 1, 3));
    }

    #[test]
    fn labels_do_not_overlap() {
        for (b, control) in [(10.0, 10.0), (10.0, 20.0), (20.0, 10.0), (10.0, 90.0)] {
            let (first, second) = apart(b, Some(control));
            assert!((first - second).abs() >= 18.0, "{first} {second}");
        }
    }

    #[test]
    fn ticks_are_short() {
        assert_eq!((short(1.0), short(0.25)), ("1".into(), "0.25".into()));
        assert_eq!(round_time(10_000.0), "10 µs");
        assert_eq!(round_time(300.0), "300 ns");
    }
}
