//! The policy against a model of the kernel, by the instructions that were measured on ext4-dax and
//! by nanoseconds of a machine whose dirty lines cost more than clean ones.
//!
//! Longer than other files: the model of the kernel is part of it.

use super::*;
use std::collections::HashMap;

/// What things cost in a model.
#[derive(Clone, Copy)]
struct Machine {
    /// A thousandth: of writing back a clean line, and of a dirty one.
    clean: u64,
    dirty: u64,
    /// msync and sync_file_range with nothing to do.
    msync: u64,
    range: u64,
    /// Cleaning a tag's page, and the fault that follows.
    page: u64,
    fault: u64,
    /// Pages of 4 KiB in one.
    unit: usize,
}

const EXT4: Machine = Machine {
    clean: 1_030,
    dirty: 1_030,
    msync: 2_360,
    range: 1_480,
    page: 4_060,
    fault: 6_100,
    unit: 1,
};
const EXT4_2M: Machine = Machine {
    page: 136_000,
    fault: 7_000,
    unit: 512,
    ..EXT4
};
const NATIVE: Machine = Machine {
    clean: 800,
    dirty: 2_400,
    msync: 700,
    range: 450,
    page: 450,
    fault: 1_800,
    unit: 1,
};

/// The tags of a mapping. A page is tagged from the fault of a store to the kernel's sync.
struct Mapping {
    machine: Machine,
    tagged: Pages,
    dirty: Pages,
    faults: u64,
    spent: u64,
}

impl Mapping {
    fn new(machine: Machine) -> Mapping {
        Mapping {
            machine,
            tagged: Pages::default(),
            dirty: Pages::default(),
            faults: 0,
            spent: 0,
        }
    }

    fn store(&mut self, page: usize) {
        self.dirty.insert(page);
        if self.tagged.insert(page / self.machine.unit) {
            self.faults += 1;
            self.spent += self.machine.fault;
        }
    }

    fn lines(&mut self, first: usize, end: usize) -> u64 {
        let dirty = self.dirty.take(first, end);
        let extra = 2 * dirty * (self.machine.dirty - self.machine.clean);
        let cost = 40 + (64 * (end - first) as u64 * self.machine.clean + extra) / 1_000;
        self.spent += cost;
        cost
    }

    fn kernel(&mut self, first: usize, end: usize, call: u64) -> u64 {
        let unit = self.machine.unit;
        let cleaned = self.tagged.take(first / unit, end.div_ceil(unit));
        self.dirty.take(first, end);
        let cost = call + cleaned * self.machine.page;
        self.spent += cost;
        cost
    }
}

/// A set of pages: a bit for each.
#[derive(Default)]
struct Pages(Vec<u64>);

impl Pages {
    /// Whether it is new.
    fn insert(&mut self, page: usize) -> bool {
        if self.0.len() <= page / 64 {
            self.0.resize(page / 64 + 1, 0);
        }
        let before = self.0[page / 64];
        self.0[page / 64] |= 1 << (page % 64);
        before != self.0[page / 64]
    }

    /// Removes what lies in `first..end`; how many they were.
    fn take(&mut self, first: usize, end: usize) -> u64 {
        let mut taken = 0;
        let mut i = first / 64;
        while i < self.0.len() && i * 64 < end {
            let mut mask = u64::MAX;
            if i == first / 64 {
                mask <<= first % 64;
            }
            if end < (i + 1) * 64 {
                mask &= (1 << (end % 64)) - 1;
            }
            taken += u64::from((self.0[i] & mask).count_ones());
            self.0[i] &= !mask;
            i += 1;
        }
        taken
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// Stores to these pages, then a sync of `first..end`.
struct Step {
    stores: Vec<usize>,
    first: usize,
    end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Policy {
    Learnt,
    Blind,
    Lines,
    Msync,
    Range,
}

struct Run {
    mapping: Mapping,
    policy: Policy,
    prices: Prices,
    learners: HashMap<u32, Learner>,
    flushed: u64,
    /// So many calls of so many pages go to the kernel unmeasured, until one takes longer than that.
    passes: (u32, usize, u64),
    /// Whether what these take is not looked at.
    blind: bool,
    /// Pages of 4 KiB in the largest page that the learner is told of.
    unit: usize,
}

impl Run {
    fn new(machine: Machine, policy: Policy) -> Run {
        let prices = Prices::new();
        prices.calibrate(
            512,
            512 * machine.clean / 1_000,
            machine.msync,
            machine.range,
        );
        Run {
            mapping: Mapping::new(machine),
            policy,
            prices,
            learners: HashMap::new(),
            flushed: 0,
            passes: (0, 0, 0),
            blind: policy == Policy::Blind,
            unit: machine.unit,
        }
    }

    fn step(&mut self, step: &Step) {
        for &page in &step.stores {
            self.mapping.store(page);
        }
        let (first, end) = (step.first, step.end);
        let machine = self.mapping.machine;
        match self.policy {
            Policy::Lines => self.mapping.lines(first, end),
            Policy::Msync => self.mapping.kernel(first, end, machine.msync),
            Policy::Range => self.mapping.kernel(first, end, machine.range),
            // As the library: short ranges are not learnt about.
            Policy::Learnt | Policy::Blind if end - first <= 8 => {
                self.flushed += (end - first) as u64;
                self.mapping.lines(first, end)
            }
            Policy::Learnt | Policy::Blind => self.learnt(first, end, machine.range),
        };
    }

    fn learnt(&mut self, first: usize, end: usize, call: u64) -> u64 {
        let (left, pages, most) = self.passes;
        if left > 0 && pages == end - first {
            let took = self.mapping.kernel(first, end, call);
            let left = if took > most { 0 } else { left - 1 };
            self.passes = (left, pages, most);
            return took;
        }
        let class = (end - first).ilog2() / 2;
        let learner = self.learners.entry(class).or_default();
        let range = Range {
            start: first * PAGE,
            end: end * PAGE,
            lines_in_page: 64,
            patience: 1,
            unit: self.unit * PAGE,
        };
        let choice = learner.choose(&self.prices, &range, self.flushed);
        let mut cost = Cost::default();
        let slice = match choice {
            Choice::Lines => None,
            Choice::Kernel => Some((first, end)),
            Choice::Sweep(slice) => {
                assert!(slice.start >= range.start && slice.end <= range.end);
                assert!(slice.start < slice.end);
                Some((slice.start / PAGE, slice.end / PAGE))
            }
        };
        if let Some((first, end)) = slice {
            if choice == Choice::Kernel && learner.wants_faults() {
                cost.faults = Some(self.mapping.faults);
            }
            cost.kernel = self.mapping.kernel(first, end, call);
        }
        let (from, to) = slice.unwrap_or((first, first));
        for (first, end) in [(first, from), (to, end)] {
            if first < end {
                cost.lines += self.mapping.lines(first, end);
                self.flushed += (end - first) as u64;
            }
        }
        learner.learn(&self.prices, &range, choice, cost, self.flushed);
        self.passes = if self.blind {
            (learner.blind_passes(), end - first, u64::MAX)
        } else {
            let most = learner.pass_ticks(&self.prices);
            (learner.passes(), end - first, most)
        };
        cost.kernel + cost.lines
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Runs `pattern` for `warm_up` and then `steps` steps under each policy. Returns the cost of those
/// `steps` against that of the best pure policy.
fn ratio(
    machine: Machine,
    warm_up: usize,
    steps: usize,
    pattern: impl Fn(usize, &mut Random) -> Step,
) -> f64 {
    let spent = |policy| {
        let mut run = Run::new(machine, policy);
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut before = 0;
        for i in 0..warm_up + steps {
            if i == warm_up {
                before = run.mapping.spent;
            }
            run.step(&pattern(i, &mut random));
        }
        run.mapping.spent - before
    };
    let best = [Policy::Lines, Policy::Msync, Policy::Range]
        .map(spent)
        .into_iter()
        .min()
        .unwrap();
    let learnt = spent(Policy::Learnt).max(spent(Policy::Blind));
    learnt as f64 / best as f64
}

/// `dirty` random pages of `first..end`, then a sync of it.
fn random_pages(dirty: usize, first: usize, end: usize, random: &mut Random) -> Step {
    Step {
        stores: (0..dirty)
            .map(|_| first + random.below(end - first))
            .collect(),
        first,
        end,
    }
}

fn machines() -> [(&'static str, Machine); 3] {
    [("ext4", EXT4), ("ext4, 2 MiB", EXT4_2M), ("native", NATIVE)]
}

/// Collects what is too dear, to show it all at once.
#[derive(Default)]
struct TooDear(Vec<String>);

impl TooDear {
    fn check(&mut self, what: String, ratio: f64) {
        // A margin, a share, and what it takes to count faults.
        if ratio > 1.05 {
            self.0.push(format!("{what}: {ratio:.3}"));
        }
    }

    fn none(self) {
        assert!(self.0.is_empty(), "{:#?}", self.0);
    }
}

/// Each cell of the matrix: range sizes by dirty pages.
#[test]
fn every_density_at_every_size_costs_what_the_best_policy_costs() {
    let mut too_dear = TooDear::default();
    for (name, machine) in machines() {
        for (pages, warm_up) in [(16, 1_200), (64, 1_200), (2_048, 150)] {
            let mut dirty = 1;
            while dirty <= pages {
                let found = ratio(machine, warm_up, 400, |_, random| {
                    random_pages(dirty, 0, pages, random)
                });
                too_dear.check(format!("{name}: {dirty} of {pages} pages"), found);
                dirty *= 4;
            }
            let clean = ratio(machine, warm_up, 400, |_, random| {
                random_pages(0, 0, pages, random)
            });
            too_dear.check(format!("{name}: {pages} clean pages"), clean);
        }
    }
    too_dear.none();
}

/// Calls that follow a fixed pattern: both kinds of step are of one size class.
#[test]
fn patterns_that_mix_cost_what_the_best_policy_costs() {
    let mut too_dear = TooDear::default();
    for (name, machine) in machines() {
        for (what, sparse, dense) in [("few", 1, 200), ("many", 8, 2_048), ("some", 1, 16)] {
            let alternating = ratio(machine, 400, 1_500, |i, random| {
                random_pages(if i % 2 == 0 { sparse } else { dense }, 0, 2_048, random)
            });
            too_dear.check(format!("{name}: alternating, {what}"), alternating);
            let at_random = ratio(machine, 400, 1_500, |_, random| {
                let dirty = if random.below(4) == 0 { dense } else { sparse };
                random_pages(dirty, 0, 2_048, random)
            });
            too_dear.check(format!("{name}: at random, {what}"), at_random);
        }
        for dirty in [1, 32, 256] {
            // Windows of 1 MiB through 64 MiB, in turn.
            let windows = ratio(machine, 1_000, 3_000, |i, random| {
                let first = i % 64 * 256;
                random_pages(dirty, first, first + 256, random)
            });
            too_dear.check(format!("{name}: windows with {dirty} dirty"), windows);
            // A hot place in a range that is otherwise clean.
            let hot = ratio(machine, 400, 2_000, |_, random| Step {
                first: 0,
                end: 4_096,
                ..random_pages(dirty, 1_000, 1_256, random)
            });
            too_dear.check(format!("{name}: {dirty} pages in a hot place"), hot);
        }
        for (small, rounds) in [(1, 1_100), (30, 1_100), (1_000, 110)] {
            // Pages synced one by one, then all of it.
            let mixed = ratio(
                machine,
                140 * (small + 1),
                rounds * (small + 1),
                |i, random| {
                    if i % (small + 1) == small {
                        random_pages(0, 0, 4_096, random)
                    } else {
                        let page = random.below(4_096);
                        random_pages(1, page, page + 1, random)
                    }
                },
            );
            too_dear.check(format!("{name}: {small} pages, then all"), mixed);
        }
    }
    too_dear.none();
}

/// A pattern that slowly becomes another.
#[test]
fn growing_and_shrinking_costs_what_the_best_policy_costs() {
    let mut too_dear = TooDear::default();
    let steps = 2_000;
    for (name, machine) in machines() {
        let growing = ratio(machine, 100, steps, |i, random| {
            random_pages(1 + i * 300 / steps, 0, 2_048, random)
        });
        too_dear.check(format!("{name}: growing"), growing);
        let shrinking = ratio(machine, 100, steps, |i, random| {
            random_pages(301 - (i * 300 / steps).min(300), 0, 2_048, random)
        });
        too_dear.check(format!("{name}: shrinking"), shrinking);
    }
    too_dear.none();
}

/// What the module says of changes: each loses no more than it takes to notice, [`SHARE`] times the
/// slices that a judgement rests on; and no kernel sync beside a flush takes much longer than that.
#[test]
fn a_sudden_change_is_noticed_at_a_bounded_price() {
    for (name, machine) in machines() {
        let pages = 2_048;
        let pattern = |i: usize, random: &mut Random| {
            let dirty = if i < 400 { pages } else { 0 };
            random_pages(dirty, 0, pages, random)
        };
        let mut run = Run::new(machine, Policy::Learnt);
        let mut random = Random(1);
        let mut since = 0;
        let mut last = 0;
        for i in 0..40_000 {
            if i == 400 {
                since = run.mapping.spent;
            }
            let before = run.mapping.spent;
            run.step(&pattern(i, &mut random));
            last = run.mapping.spent - before;
        }
        let page = (machine.page + machine.fault) / machine.unit as u64;
        let all = pages as u64 * page;
        assert_eq!(last, machine.range, "{name}: back to the kernel's price");
        let lost = run.mapping.spent - since - 40_000 * machine.range;
        let bound = SHARE * 2 * all;
        assert!(lost < bound, "{name}: lost {lost}, not below {bound}");
    }
}

/// It pays for tags that were set before anybody counted.
#[test]
fn the_kernel_s_first_sync_is_no_sample_of_its_price() {
    let prices = Prices::new();
    prices.calibrate(512, 512, 2_000, 1_500);
    let range = Range {
        start: 0,
        end: 2_048 * PAGE,
        lines_in_page: 64,
        patience: 1,
        unit: PAGE,
    };
    let learner = Learner::new();
    let sync = |took| {
        let cost = Cost {
            kernel: took,
            ..Cost::default()
        };
        learner.learn(&prices, &range, Choice::Kernel, cost, 0);
    };
    sync(10_000_000);
    for _ in 0..20 {
        assert_eq!(learner.choose(&prices, &range, 0), Choice::Kernel);
        sync(1_500);
    }
}

/// Where the kernel's way is less sure, lines are taken that cost at most twice as much.
#[test]
fn patience_takes_lines_at_twice_the_price() {
    for (took, patience, takes_lines) in [
        (60_000, 1, false),
        (60_000, PATIENCE, true),
        (40_000, PATIENCE, false),
    ] {
        let prices = Prices::new();
        prices.calibrate(512, 512, 2_000, 1_500);
        let range = Range {
            start: 0,
            end: 100_000 / 64 * PAGE,
            lines_in_page: 64,
            unit: PAGE,
            patience,
        };
        let learner = Learner::new();
        let mut choice = Choice::Kernel;
        for _ in 0..8 {
            choice = learner.choose(&prices, &range, 0);
            if choice != Choice::Kernel {
                break;
            }
            let cost = Cost {
                kernel: took,
                ..Cost::default()
            };
            learner.learn(&prices, &range, choice, cost, 0);
        }
        assert_eq!(choice != Choice::Kernel, takes_lines, "{took} {patience}");
    }
}

/// An adversary that sees which side the learner stands on and does what is worst there: the
/// longest single call is bounded all the same.
#[test]
fn no_call_pays_for_much_more_than_a_flush_of_its_lines() {
    for (name, machine) in machines() {
        let pages = 2_048;
        let mut run = Run::new(machine, Policy::Learnt);
        let mut random = Random(7);
        let lines = 64 * pages as u64 * machine.dirty / 1_000;
        for i in 0..10_000 {
            // Everything is tagged by pages that are synced alone, then a sync of it all.
            if i % 500 == 499 {
                let before = run.mapping.spent;
                run.step(&random_pages(0, 0, pages, &mut random));
                let took = run.mapping.spent - before;
                let most = (CAP + 1) * lines + 4 * machine.page + machine.msync;
                assert!(took <= most, "{name}, step {i}: {took} of at most {most}");
            } else {
                let page = random.below(pages);
                run.step(&random_pages(1, page, page + 1, &mut random));
            }
        }
    }
}

/// An adversary that sees which side the learner stands on: many pages dirty before it comes by the
/// kernel, none before it comes by lines. What the kernel alone would cost is not much less.
#[test]
fn a_pattern_that_follows_the_learner_gains_a_bounded_share() {
    for (name, machine) in machines() {
        for many in [32, 256, 2_048] {
            let mut run = Run::new(machine, Policy::Learnt);
            let mut kernel = Run::new(machine, Policy::Range);
            let mut random = Random(11);
            for _ in 0..6_000 {
                let learner = run.learners.values().next();
                let side = learner.map_or(KERNEL, |learner| learner.side.load(Ordering::Relaxed));
                let dirty = if side == KERNEL { many } else { 0 };
                let step = random_pages(dirty, 0, 2_048, &mut random);
                run.step(&step);
                kernel.step(&step);
            }
            let found = run.mapping.spent as f64 / kernel.mapping.spent as f64;
            assert!(found < 1.75, "{name}: {many} pages: {found:.3}");
        }
    }
}

/// The library knows only where pages of 2 MiB may be, and that many pages were flushed, not which.
#[test]
fn small_pages_in_a_mapping_for_large_ones_and_many_flushes_of_few_pages_cost_little() {
    let mut too_dear = TooDear::default();
    for pages in [2_048, 4_096, 8_192] {
        for dirty in [0, 1] {
            let mut run = Run::new(EXT4, Policy::Learnt);
            run.unit = 512;
            run.flushed = 1_000_000;
            let mut random = Random(3);
            let mut before = 0;
            for i in 0..200 {
                if i == 100 {
                    before = run.mapping.spent;
                }
                run.step(&random_pages(dirty, 0, pages, &mut random));
            }
            let found = (run.mapping.spent - before) / 100;
            let page = EXT4.page + EXT4.fault;
            let best = (EXT4.range + dirty as u64 * page).min(66 * pages as u64);
            too_dear.check(format!("{dirty} of {pages}"), found as f64 / best as f64);
        }
    }
    too_dear.none();
}

/// As `bench/sync.c` has it: sizes in turn, each with ever more pages dirty, and behind the shim's
/// back a clean start for each. Ranges of two sizes share a learner, and all the counter of flushes.
#[test]
fn after_a_few_calls_no_phase_costs_more_than_the_kernel() {
    let mut too_dear = TooDear::default();
    for (name, machine) in machines() {
        for order in [[64, 1_024, 2_048, 512], [2_048, 1_024, 512, 64]] {
            let mut run = Run::new(machine, Policy::Learnt);
            let mut random = Random(5);
            for pages in order {
                for dirty in [0, 1, 16, pages / 8, pages, 0, 1] {
                    let fixed = random_pages(dirty, 0, pages, &mut random);
                    let mut kernel = Run::new(machine, Policy::Msync);
                    let mut before = [0, 0];
                    // As long as lines may have been right before.
                    let warm_up = if dirty <= 1 { 400 } else { 80 };
                    for i in 0..warm_up + 24 {
                        if i == warm_up {
                            before = [run.mapping.spent, kernel.mapping.spent];
                        }
                        run.step(&fixed);
                        kernel.step(&fixed);
                    }
                    let found = (run.mapping.spent - before[0]) as f64
                        / (kernel.mapping.spent - before[1]) as f64;
                    too_dear.check(format!("{name}: {dirty} of {pages}"), found);
                    run.mapping.tagged.clear();
                    run.mapping.dirty.clear();
                }
            }
        }
    }
    too_dear.none();
}
