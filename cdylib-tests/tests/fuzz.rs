//! Random programs, natively and under the library: nothing may differ. See src/fuzz.rs.
//!
//! | environment | meaning |
//! |---|---|
//! | `DAXSHIM_FUZZ_OPERATIONS` | how many operations, half with a fixed seed and half with that of the day; default 40,000 |
//! | `DAXSHIM_FUZZ_SEED` | one program alone, to replay it |
//! | `DAXSHIM_FUZZ_KEEP` | and of it these operations alone, by comma |
//! | `DAXSHIM_FUZZ_WITHOUT` | bits of what to leave out: `enum family` in programs/fuzz/fuzz.c; default: `OPEN` |

use daxshim_tests::fuzz::{LENGTH, Program, mix, shrink};
use daxshim_tests::{Failed, Outcome};
use libtest_mimic::{Arguments, Trial};
use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// Programs at a time: they wait for the disk, and get in each other's way as programs do.
const AT_A_TIME: usize = 4;

/// What is known to differ. BY_INSTRUCTION: calls by system-call instructions in the program itself are not seen.
/// REMAP: remap_file_pages(2) is EINVAL natively too, where another thread changes its mapping between two looks of the
/// kernel's.
const OPEN: u64 = 256 | 1024;

fn main() {
    let trials = match number("DAXSHIM_FUZZ_SEED") {
        Some(seed) => vec![Trial::test("replay", move || replay(seed))],
        None => {
            let programs = number("DAXSHIM_FUZZ_OPERATIONS").unwrap_or(40_000) as usize / LENGTH;
            // Days since 1970, UTC.
            let today = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |time| time.as_secs() / 86_400);
            vec![
                Trial::test("fixed_seed", move || run(11, programs.div_ceil(2))),
                Trial::test("seed_of_the_day", move || run(today, programs / 2)),
            ]
        }
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

fn without() -> u64 {
    number("DAXSHIM_FUZZ_WITHOUT").unwrap_or(OPEN)
}

/// How often a program is run again that has differed.
const AGAIN: usize = 10;

/// As many differences may be seen once and never again, and are printed. One in some 200 programs is: of content, where
/// threads share it. Whether natively too is not established.
const ONCE: usize = 8;

/// Runs so many programs, up to the first that fails.
fn run(seed: u64, programs: usize) -> Outcome {
    let (next, stopped) = (AtomicUsize::new(0), Mutex::new(None));
    let once = AtomicUsize::new(0);
    let work = || {
        while stopped.lock().is_ok_and(|stopped| stopped.is_none()) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= programs {
                break;
            }
            let program = Program::of(mix(seed << 32 | number as u64), without());
            let outcome = match program.compare(None) {
                Ok(None) => continue,
                Ok(Some(difference)) => {
                    let is_same = || matches!(program.compare(None), Ok(None)).then_some(());
                    let is_passing = (0..AGAIN).try_for_each(|_| is_same()).is_some();
                    if is_passing && once.fetch_add(1, Ordering::Relaxed) < ONCE {
                        eprintln!(
                            "program {number} of seed {seed} differed once, and not in {AGAIN} more runs: \
                             DAXSHIM_FUZZ_SEED={}: {}",
                            program.seed, difference.text
                        );
                        continue;
                    }
                    Ok((program, number, difference))
                }
                Err(failed) => Err(failed),
            };
            if let Ok(mut stopped) = stopped.lock() {
                stopped.get_or_insert(outcome);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(work);
        }
    });
    match stopped.into_inner().map_err(|e| e.to_string())? {
        None => {
            println!(
                "seed {seed}: {} operations of {programs} programs, no difference",
                programs * LENGTH
            );
            Ok(())
        }
        Some(Err(failed)) => Err(failed),
        Some(Ok((program, number, difference))) => Err(failure(
            &program,
            &format!("program {number} of seed {seed}"),
            &difference,
            None,
        )?),
    }
}

fn replay(seed: u64) -> Outcome {
    let program = Program::of(seed, without());
    let kept = env::var("DAXSHIM_FUZZ_KEEP")
        .ok()
        .map(|text| text.split(',').filter_map(|n| n.parse().ok()).collect());
    match program.compare(kept.as_ref())? {
        None => Ok(()),
        Some(difference) => Err(failure(&program, "replayed", &difference, kept)?),
    }
}

/// What there is to say of a program that failed.
fn failure(
    program: &Program,
    which: &str,
    difference: &daxshim_tests::fuzz::Difference,
    kept: Option<Vec<usize>>,
) -> Result<Failed, Failed> {
    let at = |operation: Option<usize>| {
        operation.map_or("its end".to_owned(), |n| format!("operation {n}"))
    };
    // Shrinking takes a while.
    eprintln!(
        "{which}, of seed {}: {}: {}",
        program.seed,
        at(difference.operation),
        difference.text
    );
    let shrunk = shrink(program, difference, kept)?;
    let list: Vec<String> = shrunk.kept.iter().map(usize::to_string).collect();
    let calls = match shrunk.failed_again {
        0 => String::new(),
        _ => program.describe(&shrunk.kept)?,
    };
    Ok(format!(
        "{which}, of seed {} ({}), {}: {}\n\
         of 10 more runs {} failed; with {} operations {}: {}\n{calls}\n\
         again: DAXSHIM_FUZZ_WITHOUT={} DAXSHIM_FUZZ_SEED={} DAXSHIM_FUZZ_KEEP={} cargo test -p daxshim-tests --test fuzz",
        program.seed,
        program.settings(),
        at(difference.operation),
        difference.text,
        shrunk.failed_again,
        shrunk.kept.len(),
        at(shrunk.difference.operation),
        shrunk.difference.text,
        without(),
        program.seed,
        list.join(","),
    )
    .into())
}
