//! Points of a run: a random choice of all, each with what is durable there.
//!
//! What is durable at a point is what was durable at the point before, and some lines more. Where a
//! point is left out, its lines go to the next. So a long run takes no more room than the points
//! that are kept, and which those are depends on the seed and on what the program did, but not on
//! time.

use std::collections::BTreeMap;

use daxshim_core::check::journal::{Moment, WORDS};
use daxshim_core::host::journal::{Line, Record};
use fastrand::Rng;

/// Lines that became durable, by offset.
pub type Delta = BTreeMap<u64, [u64; WORDS]>;

/// Lines that all points of a file may hold together: some 400 MiB.
const ROOM: usize = 4 << 20;

/// A moment at which the power may be cut.
#[derive(Debug)]
pub struct Point {
    /// Of the run's, from 1 on.
    pub number: u64,
    /// What happened.
    pub moment: Moment,
    /// Process ID.
    pub pid: u32,
    /// What a sync makes durable, bytes.
    pub range: (u64, u64),
    /// Return addresses, innermost first.
    pub stack: Vec<u64>,
    /// What became durable since the point before, to the beginning of this one.
    pub before: Delta,
    /// What this one makes durable.
    pub inside: Vec<Line>,
    /// Other lines that were not durable.
    pub outside: Vec<Line>,
    /// And so many more.
    pub left_out: u64,
}

impl Point {
    fn lines(&self) -> usize {
        self.before.len() + self.inside.len() + self.outside.len()
    }
}

/// A uniform choice of as many points of a kind as there is capacity (Vitter's algorithm R).
#[derive(Debug)]
struct Reservoir {
    capacity: usize,
    seen: u64,
    numbers: Vec<u64>,
}

impl Reservoir {
    fn new(capacity: usize) -> Reservoir {
        Reservoir {
            capacity: capacity.max(1),
            seen: 0,
            numbers: Vec::new(),
        }
    }

    /// Whether a point is taken; and which goes instead.
    fn offer(&mut self, number: u64, rng: &mut Rng) -> (bool, Option<u64>) {
        self.seen += 1;
        if self.numbers.len() < self.capacity {
            self.numbers.push(number);
            return (true, None);
        }
        let place = rng.u64(0..self.seen);
        let place = usize::try_from(place).ok();
        match place.and_then(|place| self.numbers.get_mut(place)) {
            Some(place) => (true, Some(std::mem::replace(place, number))),
            None => (false, None),
        }
    }

    /// Half the capacity; those that go.
    fn halve(&mut self, rng: &mut Rng) -> Vec<u64> {
        self.capacity = (self.capacity / 2).max(1);
        let mut gone = Vec::new();
        while self.numbers.len() > self.capacity {
            gone.push(self.numbers.swap_remove(rng.usize(..self.numbers.len())));
        }
        gone
    }
}

/// See the module.
#[derive(Debug)]
pub struct Chain {
    points: Vec<Point>,
    /// What became durable since the last of them.
    since: Delta,
    rng: Rng,
    /// Syncs, answers, ends: none must crowd out the others.
    reservoirs: [Reservoir; 3],
    /// Lines held.
    lines: usize,
    room: usize,
    seen: u64,
}

impl Chain {
    /// An empty one, of points enough for a number of states.
    pub fn new(states: usize, seed: u64) -> Chain {
        Chain {
            points: Vec::new(),
            since: Delta::new(),
            rng: Rng::with_seed(seed),
            // A sync has two sides, and each side some states.
            reservoirs: [states / 4, states / 8, states / 16].map(Reservoir::new),
            lines: 0,
            room: ROOM,
            seen: 0,
        }
    }

    /// Points that there were.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The next point.
    pub fn add(&mut self, record: Record) {
        self.seen += 1;
        let (start, end) = record.range;
        let (inside, outside) = record
            .lines
            .into_iter()
            .partition(|(at, _)| (start..end).contains(at));
        let point = Point {
            number: self.seen,
            moment: record.moment,
            pid: record.pid,
            range: record.range,
            stack: record.stack,
            before: Delta::new(),
            inside,
            outside,
            left_out: record.left_out,
        };
        let [syncs, answers, ends] = &mut self.reservoirs;
        let reservoir = match point.moment {
            Moment::Acknowledged => answers,
            Moment::Ended => ends,
            _ => syncs,
        };
        let (taken, instead_of) = reservoir.offer(point.number, &mut self.rng);
        if let Some(number) = instead_of {
            self.remove(number);
        }
        if taken {
            let before = std::mem::take(&mut self.since);
            let point = Point { before, ..point };
            self.lines += point.inside.len() + point.outside.len();
            self.points.push(point);
        } else {
            let durable = self.since.len();
            self.since.extend(point.inside);
            self.lines += self.since.len() - durable;
        }
        while self.lines > self.room && self.points.len() > self.reservoirs.len() {
            let rng = &mut self.rng;
            let gone = self.reservoirs.iter_mut();
            let gone: Vec<u64> = gone.flat_map(|reservoir| reservoir.halve(rng)).collect();
            gone.into_iter().for_each(|number| self.remove(number));
        }
    }

    fn remove(&mut self, number: u64) {
        let Ok(place) = self
            .points
            .binary_search_by_key(&number, |point| point.number)
        else {
            return;
        };
        let point = self.points.remove(place);
        self.lines -= point.lines();
        let next = match self.points.get_mut(place) {
            Some(next) => &mut next.before,
            None => &mut self.since,
        };
        self.lines -= next.len();
        let mut durable = point.before;
        durable.extend(point.inside);
        // What is newer stays.
        durable.append(next);
        *next = durable;
        self.lines += next.len();
    }

    /// The points, in order.
    pub fn into_points(self) -> Vec<Point> {
        self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sync number `n` makes two lines durable that say so, of ten.
    fn sync(n: u64) -> Record {
        let line = |k: u64| ((n + k) % 10 * 64, [n; WORDS]);
        Record {
            moment: Moment::Msync,
            pid: 1,
            range: (0, 640),
            stack: vec![n],
            lines: vec![line(0), line(1)],
            left_out: 0,
        }
    }

    fn chain(syncs: u64, states: usize, seed: u64, room: usize) -> Chain {
        let mut chain = Chain::new(states, seed);
        chain.room = room;
        for n in 1..=syncs {
            chain.add(sync(n));
            let held: usize = chain.points.iter().map(Point::lines).sum();
            assert_eq!(chain.lines, held + chain.since.len());
        }
        chain
    }

    /// Durable at each kept point is what all syncs before it made so, kept or not.
    fn is_true(points: &[Point]) {
        let mut durable = Delta::new();
        for point in points {
            durable.extend(point.before.clone());
            let mut expected = Delta::new();
            for n in 1..point.number {
                expected.extend(sync(n).lines);
            }
            assert_eq!(durable, expected, "at {}", point.number);
            durable.extend(point.inside.iter().copied());
        }
    }

    #[test]
    fn what_is_durable_does_not_depend_on_what_is_kept() {
        for (syncs, states) in [(5, 100), (100, 4), (1000, 40)] {
            let points = chain(syncs, states, 7, ROOM).into_points();
            assert_eq!(points.len(), (states / 4).min(syncs as usize));
            is_true(&points);
        }
    }

    #[test]
    fn points_are_spread_over_the_run() {
        let mut early = 0;
        for seed in 0..50 {
            let points = chain(1000, 40, seed, ROOM).into_points();
            early += points.iter().filter(|point| point.number <= 500).count();
        }
        assert!((200..300).contains(&early), "{early} of 500");
    }

    #[test]
    fn the_seed_decides() {
        let numbers = |seed| -> Vec<u64> {
            let points = chain(1000, 40, seed, ROOM).into_points();
            points.iter().map(|point| point.number).collect()
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }

    #[test]
    fn room_is_kept_and_nothing_becomes_untrue() {
        let chain = chain(1000, 400, 3, 60);
        assert!(chain.lines <= 60, "{}", chain.lines);
        let points = chain.into_points();
        assert!(points.len() >= 3);
        is_true(&points);
    }

    #[test]
    fn answers_and_ends_are_not_crowded_out() {
        let mut chain = Chain::new(16, 1);
        for n in 1..=1000 {
            chain.add(sync(n));
            if n == 10 {
                for moment in [Moment::Acknowledged, Moment::Ended] {
                    let range = (0, 0);
                    chain.add(Record {
                        moment,
                        range,
                        ..sync(n)
                    });
                }
            }
        }
        let kept = |moment| move |point: &&Point| point.moment == moment;
        let points = chain.into_points();
        for (moment, count) in [
            (Moment::Msync, 4),
            (Moment::Acknowledged, 1),
            (Moment::Ended, 1),
        ] {
            assert_eq!(points.iter().filter(kept(moment)).count(), count);
        }
    }
}
