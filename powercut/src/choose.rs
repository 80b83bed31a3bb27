//! What else a power cut leaves, beyond what is durable: caches write lines back whenever they like.

use fastrand::Rng;

use crate::durable::Undecided;
use crate::trace::{Content, PAGE_LINES};

/// Bytes that are written at once, whatever happens.
const WORD: usize = 8;

/// A line that the power cut left otherwise than it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The line.
    pub line: u32,
    /// What it holds.
    pub content: Content,
}

/// How a part is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pick {
    Nothing,
    Everything,
    /// Pieces of as many lines as the medium writes at once, or whole pages, each with this chance in a hundred.
    Pieces(u8),
    Pages(u8),
    /// As [`Pick::Pieces`], and some of those lines are torn, or hold what was flushed earlier.
    Torn(u8),
}

/// By the number of the image: the two ends first, then parts of all kinds, again and again.
fn pick(image: u64) -> Pick {
    const PARTS: [Pick; 8] = [
        Pick::Pieces(50),
        Pick::Torn(50),
        Pick::Pages(50),
        Pick::Pieces(10),
        Pick::Pieces(90),
        Pick::Torn(25),
        Pick::Pages(75),
        Pick::Pieces(2),
    ];
    match image {
        0 => Pick::Nothing,
        1 => Pick::Everything,
        _ => PARTS[((image - 2) % 8) as usize],
    }
}

/// Chooses, always the same for the same numbers. `atomic`: lines that the medium writes at once (1: a line, which may
/// even be torn).
pub fn choose(
    undecided: &[Undecided],
    durable: impl Fn(u32) -> Content,
    seed: u64,
    point: u64,
    image: u64,
    atomic: u64,
) -> Vec<Written> {
    let mut rng = Rng::with_seed(seed ^ point.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ image << 56);
    let pick = pick(image);
    let (piece, chance) = match pick {
        Pick::Nothing => return Vec::new(),
        Pick::Everything => (1, 100),
        Pick::Pieces(chance) | Pick::Torn(chance) => (atomic.max(1), chance),
        Pick::Pages(chance) => (PAGE_LINES.max(atomic), chance),
    };
    let mut written = Vec::new();
    let (mut last, mut is_in) = (u64::MAX, false);
    for one in undecided {
        let this = u64::from(one.line) / piece;
        if this != last {
            last = this;
            is_in = rng.u8(..100) < chance;
        }
        if !is_in {
            continue;
        }
        let mut content = one.cached;
        if matches!(pick, Pick::Torn(_)) && atomic <= 1 {
            content = tear(one, &durable(one.line), &mut rng);
        }
        written.push(Written {
            line: one.line,
            content,
        });
    }
    written
}

/// A line that holds, of each eight bytes, what is durable, what was flushed, or what is in the cache.
fn tear(one: &Undecided, durable: &Content, rng: &mut Rng) -> Content {
    // Half of them whole: what was flushed earlier, where there is such.
    if !one.flushed.is_empty() && rng.bool() {
        return one.flushed[rng.usize(..one.flushed.len())];
    }
    let mut content = *durable;
    for word in (0..content.len()).step_by(WORD) {
        if rng.bool() {
            content[word..word + WORD].copy_from_slice(&one.cached[word..word + WORD]);
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(numbers: &[u32]) -> Vec<Undecided> {
        numbers
            .iter()
            .map(|&line| Undecided {
                line,
                cached: [2; 64],
                flushed: Vec::new(),
            })
            .collect()
    }

    fn chosen(undecided: &[Undecided], point: u64, image: u64, atomic: u64) -> Vec<Written> {
        choose(undecided, |_| [1; 64], 7, point, image, atomic)
    }

    #[test]
    fn first_nothing_then_everything() {
        let lines = lines(&[1, 2, 70]);
        assert_eq!(chosen(&lines, 0, 0, 1), []);
        let all = chosen(&lines, 0, 1, 1);
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|written| written.content == [2; 64]));
    }

    #[test]
    fn the_same_numbers_choose_the_same() {
        let lines = lines(&(0..500).collect::<Vec<_>>());
        for image in 0..10 {
            assert_eq!(chosen(&lines, 3, image, 1), chosen(&lines, 3, image, 1));
        }
        assert_ne!(chosen(&lines, 3, 2, 1), chosen(&lines, 4, 2, 1));
        assert_ne!(chosen(&lines, 3, 2, 1), chosen(&lines, 3, 10, 1));
    }

    #[test]
    fn every_part_of_two_lines_comes_up() {
        let lines = lines(&[10, 20]);
        let mut seen = std::collections::HashSet::new();
        for point in 0..100 {
            let part = chosen(&lines, point, 2, 1);
            seen.insert(part.iter().map(|written| written.line).collect::<Vec<_>>());
        }
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn pages_are_there_or_not() {
        let lines = lines(&(0..256).collect::<Vec<_>>());
        for point in 0..50 {
            assert_eq!(chosen(&lines, point, 4, 1).len() % 64, 0);
        }
    }

    #[test]
    fn what_is_written_at_once_is_not_torn_apart() {
        let lines = lines(&(0..256).collect::<Vec<_>>());
        for point in 0..50 {
            for image in 2..10 {
                let part = chosen(&lines, point, image, 8);
                assert_eq!(part.len() % 8, 0);
                assert!(part.iter().all(|written| written.content == [2; 64]));
            }
        }
    }

    #[test]
    fn torn_lines_are_torn_at_eight_bytes() {
        let lines = lines(&[5]);
        let mut mixed = false;
        for point in 0..100 {
            for written in chosen(&lines, point, 3, 1) {
                let words: Vec<&[u8]> = written.content.chunks(8).collect();
                assert!(words.iter().all(|word| *word == [1; 8] || *word == [2; 8]));
                mixed |= words.contains(&[1; 8].as_slice()) && words.contains(&[2; 8].as_slice());
            }
        }
        assert!(mixed);
    }

    #[test]
    fn older_flushed_content_may_be_there() {
        let mut lines = lines(&[5]);
        lines[0].flushed.push([9; 64]);
        let found = (0..100).any(|point| {
            chosen(&lines, point, 3, 1)
                .iter()
                .any(|written| written.content == [9; 64])
        });
        assert!(found);
    }
}
