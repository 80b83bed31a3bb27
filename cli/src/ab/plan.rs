//! What was asked for, and the order of the runs: blocks that any steady drift of the machine hits alike.

use rand::Rng;
use rand::seq::SliceRandom;
use serde::Serialize;

/// What was asked for.
#[derive(Clone, Serialize)]
pub struct Settings {
    /// Runs of each leg.
    pub runs: usize,
    /// Runs of A and of B before them.
    pub warmup: usize,
    /// `DAXSHIM_FLUSH` of leg B.
    pub flush: String,
    /// What order and resampling follow from.
    pub seed: u64,
    /// The shell command before each run.
    pub setup: Option<String>,
    /// The shell command after each run.
    pub verify: Option<String>,
    /// Percent by which B may be slower.
    pub fail_if_slower: Option<f64>,
}

/// Which treatment a run gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Leg {
    /// Kernel sync.
    A,
    /// User flush.
    B,
    /// Kernel sync once more: what it differs from A by is noise.
    Control,
}

impl Leg {
    /// All of them, in table order.
    pub const ALL: [Leg; 3] = [Leg::A, Leg::B, Leg::Control];

    /// Its name in tables and messages.
    pub fn word(self) -> &'static str {
        match self {
            Leg::A => "A",
            Leg::B => "B",
            Leg::Control => "control",
        }
    }
}

/// A run to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which of the runs of its leg, from 1 on: runs of the same number are paired.
    pub pair: usize,
    /// Its leg.
    pub leg: Leg,
}

const ORDERS: [[Leg; 3]; 6] = {
    use Leg::{A, B, Control as C};
    [
        [A, B, C],
        [A, C, B],
        [B, A, C],
        [B, C, A],
        [C, A, B],
        [C, B, A],
    ]
};

/// `pairs` runs of each leg.
///
/// A block is an order of the legs and its mirror image (ABBA with the control among them), so that
/// within a block each leg's mean position is the same and a linear drift cancels. The six orders
/// are dealt like shuffled cards. An odd number of pairs ends with half a block.
pub fn plan(pairs: usize, rng: &mut impl Rng) -> Vec<Turn> {
    let mut turns = Vec::with_capacity(pairs.saturating_mul(3));
    let mut deck: Vec<[Leg; 3]> = Vec::new();
    for first in (1..=pairs).step_by(2) {
        if deck.is_empty() {
            deck.extend(ORDERS);
            deck.shuffle(rng);
        }
        let order = deck.pop().unwrap_or(Leg::ALL);
        let turn = |pair| move |leg| Turn { pair, leg };
        turns.extend(order.into_iter().map(turn(first)));
        if first < pairs {
            turns.extend(order.into_iter().rev().map(turn(first + 1)));
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    fn planned(pairs: usize, seed: u64) -> Vec<Turn> {
        plan(pairs, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    fn positions(turns: &[Turn], leg: Leg) -> Vec<usize> {
        let of = turns.iter().enumerate().filter(|(_, turn)| turn.leg == leg);
        of.map(|(position, _)| position).collect()
    }

    #[test]
    fn each_block_is_mirrored_so_that_drift_hits_the_legs_alike() {
        for seed in 0..20 {
            let turns = planned(12, seed);
            assert_eq!(turns.len(), 36);
            for block in turns.chunks(6) {
                for leg in Leg::ALL {
                    assert_eq!(positions(block, leg).iter().sum::<usize>(), 5);
                }
            }
        }
    }

    #[test]
    fn a_and_b_alone_are_abba_and_baab_equally_often() {
        for seed in 0..20 {
            let turns = planned(24, seed);
            let begin_with_a = turns.chunks(6).filter(|block| {
                let first = block.iter().find(|turn| turn.leg != Leg::Control);
                first.unwrap().leg == Leg::A
            });
            assert_eq!(begin_with_a.count(), 6);
        }
    }

    #[test]
    fn each_pair_has_each_leg_once_whatever_their_number() {
        for pairs in 1..15 {
            let turns = planned(pairs, 7);
            for pair in 1..=pairs {
                for leg in Leg::ALL {
                    let same = turns.iter().filter(|turn| **turn == Turn { pair, leg });
                    assert_eq!(same.count(), 1, "{pairs} {pair} {leg:?}");
                }
            }
            assert_eq!(turns.len(), 3 * pairs);
        }
    }

    #[test]
    fn the_seed_decides_the_order() {
        assert_eq!(planned(30, 1), planned(30, 1));
        assert_ne!(planned(30, 1), planned(30, 2));
    }
}
