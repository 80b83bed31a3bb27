//! What a power cut may leave: what is durable, and any part of the rest, torn at 8 bytes.

use std::collections::HashSet;
use std::io;

use daxshim_core::check::journal::WORDS;
use daxshim_core::check::lines::LINE;
use daxshim_core::host::journal::Line;
use fastrand::Rng;
use serde::Serialize;

use super::chain::Point;
use super::image::Base;

/// When the power is cut: before a sync has done anything, or when it has done everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Nothing of the range is durable yet. What is no sync has this side only.
    Start,
    /// The range is durable.
    End,
}

/// A state to be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Of the file's, from 1 on.
    pub number: usize,
    /// Place of its point.
    pub point: usize,
    /// When.
    pub side: Side,
    /// 0: nothing that was not durable is there; 1: everything; else a part, at random.
    variant: u32,
}

/// A line that is written on what is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The line.
    pub line: Line,
    /// Which of its words, a bit each.
    pub words: u8,
}

const WHOLE: u8 = u8::MAX;

/// What a state has more than what was durable before its point.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Made durable by the sync.
    pub synced: Vec<Line>,
    /// Written back by chance.
    pub written: Vec<Written>,
    /// Lost.
    pub lost: Vec<u64>,
}

impl Overlay {
    /// Lines that were written in part.
    pub fn torn(&self) -> usize {
        let is_torn = |written: &&Written| written.words != WHOLE;
        self.written.iter().filter(is_torn).count()
    }

    fn all(&self) -> impl Iterator<Item = Written> {
        let synced = self
            .synced
            .iter()
            .map(|&line| Written { line, words: WHOLE });
        synced.chain(self.written.iter().copied())
    }

    /// Writes it on what is durable.
    pub fn write_to(&self, base: &Base) -> io::Result<()> {
        for Written { line, words } in self.all() {
            let line = match words {
                WHOLE => line,
                _ => (line.0, merged(base.line(line.0)?, line.1, words)),
            };
            base.write(line)?;
        }
        Ok(())
    }
}

fn merged(old: [u64; WORDS], new: [u64; WORDS], words: u8) -> [u64; WORDS] {
    let mut merged = old;
    for (i, (to, from)) in merged.iter_mut().zip(new).enumerate() {
        if words >> i & 1 == 1 {
            *to = from;
        }
    }
    merged
}

/// How states are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// What chance depends on.
    pub seed: u64,
    /// What is written whole or not at all, bytes: words, or a multiple of lines.
    pub atomic: u64,
}

/// What a state consists of: the same for the same seed.
pub fn overlay(point: &Point, state: &State, choice: Choice) -> Overlay {
    let mut overlay = Overlay::default();
    let mut open: Vec<Line> = Vec::new();
    match state.side {
        Side::Start => open.extend(&point.inside),
        Side::End => overlay.synced.extend(&point.inside),
    }
    open.extend(&point.outside);
    open.sort_unstable_by_key(|line| line.0);
    let mut rng = Rng::with_seed(
        choice.seed
            ^ point.number.rotate_left(32)
            ^ u64::from(state.variant) << 1
            ^ state.side as u64,
    );
    // Few, half, most: a bug may need one line among all that are lost, or one lost among all.
    let chance = *[1.0 / 16.0, 0.5, 15.0 / 16.0]
        .get(rng.usize(..3))
        .unwrap_or(&0.5);
    let tears = *[0.0, 0.5, 0.5].get(rng.usize(..3)).unwrap_or(&0.5);
    let (mut unit, mut words) = (None, 0);
    for line in open {
        if unit != Some(line.0 / choice.atomic) || choice.atomic < LINE as u64 {
            unit = Some(line.0 / choice.atomic);
            words = match state.variant {
                0 => 0,
                1 => WHOLE,
                _ if rng.f64() >= chance => 0,
                _ if choice.atomic < LINE as u64 && rng.f64() < tears => rng.u8(..),
                _ => WHOLE,
            };
        }
        match words {
            0 => overlay.lost.push(line.0),
            words => overlay.written.push(Written { line, words }),
        }
    }
    overlay
}

/// So many states in a row that have been had: there are no others, or hardly.
const PATIENCE: u32 = 200;

/// A walk along the points of a file, to choose states. Two states with the same content are one.
pub struct Planner<'a> {
    points: &'a [Point],
    base: Base,
    choice: Choice,
    /// Sum of what the words of the base come to.
    sum: u64,
    known: HashSet<u64>,
}

impl<'a> Planner<'a> {
    /// `base` is what was durable before the first point; it is changed.
    pub fn new(points: &'a [Point], base: Base, choice: Choice) -> Planner<'a> {
        Planner {
            points,
            base,
            choice,
            sum: 0,
            known: HashSet::new(),
        }
    }

    /// At most as many states as are wanted, in order of points.
    pub fn plan(mut self, wanted: usize) -> io::Result<Vec<State>> {
        let mut states = Vec::new();
        for (place, point) in self.points.iter().enumerate() {
            for (&at, &words) in &point.before {
                self.apply((at, words))?;
            }
            let left = self.points.len() - place;
            let quota = (wanted - states.len()).div_ceil(left);
            self.of_point(place, point, quota, &mut states)?;
            for &line in &point.inside {
                self.apply(line)?;
            }
        }
        for (i, state) in states.iter_mut().enumerate() {
            state.number = i + 1;
        }
        Ok(states)
    }

    fn of_point(
        &mut self,
        place: usize,
        point: &Point,
        quota: usize,
        states: &mut Vec<State>,
    ) -> io::Result<()> {
        let both = [Side::Start, Side::End];
        let (mut taken, mut known) = (0, 0);
        // Without and with everything of both sides, and then at random.
        for round in 0.. {
            // Where all is durable at the end, there is one such state.
            let has_end = point.moment.is_sync() && (round == 0 || !point.outside.is_empty());
            for &side in both.get(..1 + usize::from(has_end)).unwrap_or(&both) {
                if taken == quota || known == PATIENCE {
                    return Ok(());
                }
                let state = State {
                    number: 0,
                    point: place,
                    side,
                    variant: round,
                };
                if self.known.insert(self.sum_of(point, &state)?) {
                    states.push(state);
                    (taken, known) = (taken + 1, 0);
                } else {
                    known += 1;
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, line: Line) -> io::Result<()> {
        self.sum = self.sum.wrapping_add(self.change(line, WHOLE)?);
        self.base.write(line)
    }

    fn sum_of(&self, point: &Point, state: &State) -> io::Result<u64> {
        let mut sum = self.sum;
        for Written { line, words } in overlay(point, state, self.choice).all() {
            sum = sum.wrapping_add(self.change(line, words)?);
        }
        Ok(sum)
    }

    /// By how much writing some words of a line changes the sum.
    fn change(&self, (at, new): Line, words: u8) -> io::Result<u64> {
        let old = self.base.line(at)?;
        let mut change = 0u64;
        for (i, (old, new)) in old.into_iter().zip(new).enumerate() {
            if words >> i & 1 == 1 && old != new {
                let place = at + (i * size_of::<u64>()) as u64;
                change = change
                    .wrapping_add(mix(place, new))
                    .wrapping_sub(mix(place, old));
            }
        }
        Ok(change)
    }
}

fn mix(place: u64, word: u64) -> u64 {
    Rng::with_seed(place ^ Rng::with_seed(word).u64(..)).u64(..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxshim_core::check::journal::Moment;

    fn point(inside: &[u64], outside: &[u64]) -> Point {
        let lines = |numbers: &[u64]| numbers.iter().map(|&n| (n * 64, [n + 1; WORDS])).collect();
        Point {
            number: 1,
            moment: Moment::Msync,
            pid: 1,
            range: (0, 4096),
            stack: Vec::new(),
            before: Default::default(),
            inside: lines(inside),
            outside: lines(outside),
            left_out: 0,
        }
    }

    fn words(seed: u64) -> Choice {
        Choice { seed, atomic: 8 }
    }

    fn planned(points: &[Point], wanted: usize, seed: u64) -> Vec<State> {
        let directory = tempfile::tempdir().unwrap();
        let base = Base::create(&directory.path().join("base"), 1 << 20).unwrap();
        Planner::new(points, base, words(seed))
            .plan(wanted)
            .unwrap()
    }

    #[test]
    fn without_and_with_everything_come_first() {
        let states = planned(&[point(&[0], &[70, 71])], 4, 0);
        let sides: Vec<(Side, u32)> = states.iter().map(|s| (s.side, s.variant)).collect();
        let expected = [
            (Side::Start, 0),
            (Side::End, 0),
            (Side::Start, 1),
            (Side::Start, 2),
        ];
        // The end with everything is the start with everything.
        assert_eq!(sides[..3], expected[..3]);
        assert!(sides[3].1 >= 2);
    }

    #[test]
    fn states_of_the_same_content_are_one() {
        // One line of eight equal words: 2^8 states, however many are wanted.
        let states = planned(&[point(&[0], &[])], 100_000, 0);
        assert!((200..=256).contains(&states.len()), "{}", states.len());
        let again = [point(&[0], &[]), point(&[0], &[])];
        assert_eq!(planned(&again[..1], 4, 0).len(), 4);
        // Nothing dirty: what is durable, and no more.
        assert_eq!(planned(&[point(&[], &[])], 100, 0).len(), 1);
    }

    #[test]
    fn states_are_shared_out_among_points() {
        let mut points: Vec<Point> = (0..10).map(|n| point(&[n, n + 10, n + 20], &[])).collect();
        for (i, point) in points.iter_mut().enumerate() {
            point.number = i as u64 + 1;
        }
        let states = planned(&points, 50, 0);
        assert_eq!(states.len(), 50);
        for place in 0..10 {
            assert_eq!(states.iter().filter(|s| s.point == place).count(), 5);
        }
        let numbers: Vec<usize> = states.iter().map(|state| state.number).collect();
        assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
    }

    #[test]
    fn an_overlay_is_what_was_not_durable_and_no_more() {
        let point = point(&[0, 1, 2], &[70, 71]);
        let mut torn = 0;
        for variant in 0..200 {
            for side in [Side::Start, Side::End] {
                let state = State {
                    number: 0,
                    point: 0,
                    side,
                    variant,
                };
                let overlay = overlay(&point, &state, words(5));
                let synced = if side == Side::End { 3 } else { 0 };
                assert_eq!(overlay.synced.len(), synced);
                assert_eq!(overlay.written.len() + overlay.lost.len(), 5 - synced);
                assert_eq!(overlay, super::overlay(&point, &state, words(5)));
                torn += overlay.torn();
                match variant {
                    0 => assert!(overlay.written.is_empty()),
                    1 => assert!(overlay.lost.is_empty() && overlay.torn() == 0),
                    _ => {}
                }
            }
        }
        assert!(torn > 20, "{torn}");
    }

    #[test]
    fn the_seed_decides() {
        let points = [point(&(0..60).collect::<Vec<_>>(), &[])];
        let overlays = |seed| -> Vec<Overlay> {
            let states = planned(&points, 40, seed);
            let of = |state| overlay(&points[0], state, words(seed));
            states.iter().map(of).collect()
        };
        assert_eq!(overlays(1), overlays(1));
        assert_ne!(overlays(1), overlays(2));
    }

    #[test]
    fn what_is_atomic_is_there_whole_or_not_at_all() {
        // Lines of three pages; those of the sync lie among the others.
        let point = point(&[1, 3, 65, 130], &[0, 2, 64, 66, 128]);
        for variant in 2..100 {
            let state = State {
                number: 0,
                point: 0,
                side: Side::Start,
                variant,
            };
            let choice = Choice {
                seed: 1,
                atomic: 4096,
            };
            let overlay = overlay(&point, &state, choice);
            assert_eq!(overlay.torn(), 0);
            let pages = |lines: Vec<u64>| lines.into_iter().map(|at| at / 4096).collect();
            let written: HashSet<u64> = pages(overlay.written.iter().map(|w| w.line.0).collect());
            let lost: HashSet<u64> = pages(overlay.lost);
            assert!(written.is_disjoint(&lost), "{written:?} {lost:?}");
        }
    }

    #[test]
    fn a_torn_line_has_old_and_new_words() {
        let directory = tempfile::tempdir().unwrap();
        let base = Base::create(&directory.path().join("base"), 4096).unwrap();
        base.write((64, [1; WORDS])).unwrap();
        let overlay = Overlay {
            written: vec![Written {
                line: (64, [2; WORDS]),
                words: 0b1000_0101,
            }],
            ..Overlay::default()
        };
        overlay.write_to(&base).unwrap();
        assert_eq!(base.line(64).unwrap(), [2, 1, 2, 1, 1, 1, 1, 2]);
    }
}
