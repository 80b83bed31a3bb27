//! Random programs, natively and under the library: nothing may differ. See src/fuzz.rs.
//!
//! | environment | meaning |
//! |---|---|
//! | `DAXSHIM_FUZZ_OPERATIONS` | how many operations, half with a fixed seed and half with that of the day; default 40,000 |
//! | `DAXSHIM_FUZZ_SEED` | one program alone, to replay it |
//! | `DAXSHIM_FUZZ_KEEP` | and of it these operations alone, by comma |
//! | `DAXSHIM_FUZZ_WITHOUT` | bits of what to leave out: `enum family` in programs/fuzz/fuzz.c; default: `OPEN` |
//! | `DAXSHIM_FUZZ_DISK` | a directory on a filesystem without DAX, where what a sync leaves dirty is counted; default: that of the build, but not where `DAXSHIM_TEST_DIR` is set |
//! | `DAXSHIM_FUZZ_SAY` | 1: what is replayed is printed first, as it runs natively |
//! | `DAXSHIM_FUZZ_LIBRARY` | 0: natively and natively again, which shows what the generator itself leaves to chance |

use daxshim_tests::fuzz::{LENGTH, Program, counts_dirty, knows_cachestat, mix, shrink};
use daxshim_tests::{Failed, Outcome, scene};
use libtest_mimic::{Arguments, Trial};
use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// Programs at a time: they wait for the disk, and get in each other's way as programs do. An emulated machine has
/// enough to do with the threads of one.
fn at_a_time() -> usize {
    if scene::real() { 1 } else { 4 }
}

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
                Trial::test("dirty_pages_are_counted", counts_dirty)
                    .with_ignored_flag(!knows_cachestat()),
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

fn library() -> bool {
    number("DAXSHIM_FUZZ_LIBRARY") != Some(0)
}

/// Runs so many programs, up to the first that fails.
fn run(seed: u64, programs: usize) -> Outcome {
    let (next, stopped) = (AtomicUsize::new(0), Mutex::new(None));
    let work = || {
        while stopped.lock().is_ok_and(|stopped| stopped.is_none()) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= programs {
                break;
            }
            let program = Program::of(mix(seed << 32 | number as u64), without(), library());
            let outcome = match program.compare(None) {
                Ok(None) => continue,
                Ok(Some(difference)) => Ok((program, number, difference)),
                Err(failed) => Err(failed),
            };
            if let Ok(mut stopped) = stopped.lock() {
                stopped.get_or_insert(outcome);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_a_time() {
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
    let program = Program::of(seed, without(), library());
    let kept = env::var("DAXSHIM_FUZZ_KEEP")
        .ok()
        .map(|text| text.split(',').filter_map(|n| n.parse().ok()).collect());
    if number("DAXSHIM_FUZZ_SAY") == Some(1) {
        let all = (0..LENGTH).collect();
        print!("{}", program.describe(kept.as_ref().unwrap_or(&all))?);
    }
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
    let again = match env::current_exe() {
        Ok(binary) if scene::real() => format!(
            "scripts/vm --fs ext4|xfs -- scripts/test.d/in-vm all {}",
            binary.display()
        ),
        _ => "cargo test -p daxshim-tests --test fuzz".to_owned(),
    };
    let list: Vec<String> = shrunk.kept.iter().map(usize::to_string).collect();
    let calls = match shrunk.failed_again {
        0 => String::new(),
        _ => program.describe(&shrunk.kept)?,
    };
    Ok(format!(
        "{which}, of seed {} ({}), {}: {}\n\
         of 10 more runs {} failed; with {} operations {}: {}\n{calls}\n\
         again: DAXSHIM_FUZZ_WITHOUT={} DAXSHIM_FUZZ_SEED={} DAXSHIM_FUZZ_KEEP={} {}",
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
        again,
    )
    .into())
}
