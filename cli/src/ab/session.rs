//! Makes the runs, one after the other, and keeps what each of them left.

use std::fs::File;

use daxshim_core::host::report::{Report, Sync, Tally};
use daxshim_core::report::Way;
use nix::sys::signal::Signal;
use serde::Serialize;
use similar::TextDiff;

use super::child::{Ending, Output, Usage, Watch, kept};
use super::load::{Load, Observer};
use super::plan::{Leg, Turn};
use crate::run::directory::ReportDirectory;
use crate::run::launch::Image;
use crate::run::outcome::Ended;
use crate::run::program::{Inspection, cannot_run};
use crate::run::{FAILED, Failure};

/// Lines of a difference that are shown.
const DIFFERENCE: usize = 40;

/// What is run, and how.
pub struct Session {
    /// The program in leg A.
    pub kernel: Image,
    /// The program in leg B.
    pub user: Image,
    /// Why it might not be executable.
    pub inspection: Inspection,
    /// Run before each run.
    pub setup: Option<Image>,
    /// Run after each run.
    pub verify: Option<Image>,
    /// Where the processes report.
    pub directory: ReportDirectory,
    /// Whether the programs' output is the command's.
    pub show_output: bool,
    /// Ends programs when the user wants that.
    pub watch: Watch,
}

/// What a run took, in nanoseconds, and did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Number of the pair, from 1 on.
    pub pair: usize,
    /// Its leg.
    pub leg: Leg,
    /// From just before fork to the end.
    pub wall_ns: f64,
    /// User and system time of the program and the children it waited for.
    pub cpu_ns: f64,
    /// Of that, in user mode.
    pub user_ns: f64,
    /// Of that, in the kernel.
    pub system_ns: f64,
    /// Sync calls on tagged files.
    pub sync_calls: u64,
    /// Of these, how many entered the kernel.
    pub kernel_entries: u64,
}

/// What a session comes to.
pub struct Results {
    /// In the order in which they were made.
    pub runs: Vec<Measured>,
    /// By leg, in the order of [`Leg::ALL`].
    pub reports: [Report; 3],
    /// What else the machine did.
    pub load: Load,
    /// Why it ended early.
    pub stopped: Option<Stopped>,
}

/// Why a comparison ended early.
#[derive(Debug)]
pub struct Stopped {
    /// One word for it.
    pub reason: StopReason,
    /// To be shown; has the exit status.
    pub failure: Failure,
}

/// One word for why a comparison ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The program could not be run, or failed.
    ProgramFailed,
    /// `--setup` failed.
    SetupFailed,
    /// `--verify` failed, or its output differed.
    VerifyFailed,
    /// By a signal.
    Interrupted,
    /// daxshim failed.
    Failed,
}

/// Whether such calls enter the kernel; `mixed` ones may do it more than once and count once.
pub fn enters_kernel(sync: &Sync) -> bool {
    !matches!(sync.way, Way::User | Way::Skipped)
}

/// Sync calls that entered the kernel.
pub fn kernel_entries(tally: &Tally) -> u64 {
    tally.syncs_of(enters_kernel, |sync| sync.calls)
}

impl Session {
    /// Warms up, then makes the runs. `progress` is told how many have been made.
    pub fn run(&self, warmup: usize, turns: &[Turn], mut progress: impl FnMut(usize)) -> Results {
        let mut state = State {
            session: self,
            observer: Observer::new(),
            reference: None,
            made: 0,
        };
        let mut runs = Vec::with_capacity(turns.len());
        let mut reports: [Report; 3] = Default::default();
        let warm = (0..warmup).flat_map(|_| [Leg::A, Leg::B]);
        let mut stopped = None;
        let all = warm.map(|leg| (None, leg));
        for (pair, leg) in all.chain(turns.iter().map(|turn| (Some(turn.pair), turn.leg))) {
            match state.once(leg) {
                Err(why) => {
                    stopped = Some(why);
                    break;
                }
                Ok((usage, report)) => {
                    if let Some(pair) = pair {
                        runs.push(measured(pair, leg, &usage, &report.total));
                        if let Some(sum) = reports.get_mut(leg as usize) {
                            sum.add(report);
                        }
                    }
                }
            }
            progress(state.made);
        }
        Results {
            runs,
            reports,
            load: state.observer.load(),
            stopped,
        }
    }
}

fn measured(pair: usize, leg: Leg, usage: &Usage, total: &Tally) -> Measured {
    let [wall_ns, user_ns, system_ns] =
        [usage.wall, usage.user, usage.system].map(|time| time.as_secs_f64() * 1e9);
    Measured {
        pair,
        leg,
        wall_ns,
        cpu_ns: user_ns + system_ns,
        user_ns,
        system_ns,
        sync_calls: total.syncs_of(|_| true, |sync| sync.calls),
        kernel_entries: kernel_entries(total),
    }
}

/// A session under way.
struct State<'a> {
    session: &'a Session,
    observer: Observer,
    /// What `--verify` said first, and of which run.
    reference: Option<(String, Vec<u8>)>,
    /// Runs, warm-up included.
    made: usize,
}

impl State<'_> {
    fn once(&mut self, leg: Leg) -> Result<(Usage, Report), Stopped> {
        let session = self.session;
        self.made += 1;
        let run = format!("run {} (leg {})", self.made, leg.word());
        if let Some(setup) = &session.setup {
            self.setup(setup, &run)?;
        }
        self.observer.look();
        let image = match leg {
            Leg::B => &session.user,
            Leg::A | Leg::Control => &session.kernel,
        };
        let usage = self.program(image, &run)?;
        let report = session.directory.take().map_err(|error| {
            let what = "cannot read what the processes reported".into();
            let help = "did something remove the report directory while the program ran?";
            own(Failure::own(what, error, help))
        })?;
        if let Some(verify) = &session.verify {
            self.verify(verify, run)?;
        }
        Ok((usage, report))
    }

    fn output(&self) -> Output<'static> {
        if self.session.show_output {
            Output::Shown
        } else {
            Output::Null
        }
    }

    fn program(&self, image: &Image, run: &str) -> Result<Usage, Stopped> {
        let ended = self.session.watch.run(image, self.output());
        let ended = ended.map_err(|error| Stopped {
            reason: StopReason::ProgramFailed,
            failure: cannot_run(image.file(), &error, &self.session.inspection),
        })?;
        match ended {
            Ending::Itself(status, usage) if status.success() => Ok(usage),
            Ending::Itself(status, _) => {
                let ended = Ended::from(status);
                Err(Stopped {
                    reason: StopReason::ProgramFailed,
                    failure: Failure {
                        status: ended.exit_status,
                        what: format!("the program failed in {run}: {ended}"),
                        why: "what a failed run took says nothing, so the comparison stopped"
                            .into(),
                        help: self.help_on_failure().into(),
                    },
                })
            }
            ending => Err(not_ended(&ending, "the program", run)),
        }
    }

    fn help_on_failure(&self) -> &'static str {
        if self.session.show_output {
            "daxshim run --report - says what was refused; --setup restores what a run uses up"
        } else {
            "--show-output shows what it says; --setup restores what a run uses up"
        }
    }

    fn setup(&self, setup: &Image, run: &str) -> Result<(), Stopped> {
        let failed = |why: String| Stopped {
            reason: StopReason::SetupFailed,
            failure: Failure::own(
                format!("the setup command failed before {run}: {why}"),
                "without it the runs would not begin alike",
                "--show-output shows what it says; it is given to sh -c, without the shim",
            ),
        };
        let output = self.output();
        match self.session.watch.run(setup, output) {
            Err(error) => Err(failed(error.to_string())),
            Ok(Ending::Itself(status, _)) if status.success() => Ok(()),
            Ok(Ending::Itself(status, _)) => Err(failed(Ended::from(status).to_string())),
            Ok(ending) => Err(not_ended(&ending, "the setup command", run)),
        }
    }

    fn verify(&mut self, verify: &Image, run: String) -> Result<(), Stopped> {
        let failed = |why: String| Stopped {
            reason: StopReason::VerifyFailed,
            failure: Failure::own(
                format!("the verify command failed after {run}: {why}"),
                "what the run left is not what it should be, or the command cannot tell",
                "run it by hand; it is given to sh -c, without the shim",
            ),
        };
        let ended = tempfile::tempfile().and_then(|file: File| {
            let ending = self.session.watch.run(verify, Output::Kept(&file))?;
            Ok((ending, kept(file)?))
        });
        let said = match ended {
            Err(error) => return Err(failed(error.to_string())),
            Ok((Ending::Itself(status, _), said)) if status.success() => said,
            Ok((Ending::Itself(status, _), _)) => {
                return Err(failed(Ended::from(status).to_string()));
            }
            Ok((ending, _)) => return Err(not_ended(&ending, "the verify command", &run)),
        };
        match &self.reference {
            None => self.reference = Some((run, said)),
            Some((first, expected)) if *expected != said => {
                return Err(Stopped {
                    reason: StopReason::VerifyFailed,
                    failure: Failure::own(
                        format!("{run} left something else than {first}"),
                        format!(
                            "the outputs of the verify command differ:\n{}",
                            difference(first, expected, &run, &said)
                        ),
                        "if the program's results are the same each time it is run without the \
                         shim, and are restored by --setup, this is a fault of daxshim: keep the \
                         file and report it",
                    ),
                });
            }
            Some(_) => {}
        }
        Ok(())
    }
}

fn own(failure: Failure) -> Stopped {
    Stopped {
        reason: StopReason::Failed,
        failure,
    }
}

fn not_ended(ending: &Ending, who: &str, run: &str) -> Stopped {
    let interrupted = |number: Signal| Failure {
        status: 128u8.saturating_add(u8::try_from(number as i32).unwrap_or(FAILED)),
        what: format!("interrupted by {number} in {run}"),
        why: format!("{who} was ended, with all processes of its group"),
        help: "what was measured until then is reported".into(),
    };
    match ending {
        Ending::Interrupted(number) => Stopped {
            reason: StopReason::Interrupted,
            failure: interrupted(*number),
        },
        Ending::WantedTerminal | Ending::Itself(..) => own(Failure::own(
            format!("{who} wanted the terminal in {run}"),
            "it runs in the background, with empty standard input, so it would have waited for ever",
            "give it what it asks for by arguments or files",
        )),
    }
}

/// The beginning of a unified diff, without control characters.
fn difference(first: &str, expected: &[u8], run: &str, said: &[u8]) -> String {
    let (expected, said) = (
        String::from_utf8_lossy(expected),
        String::from_utf8_lossy(said),
    );
    let diff = TextDiff::from_lines(&*expected, &*said);
    let mut unified = diff.unified_diff();
    let text = unified.header(first, run).to_string();
    let clean = |line: &str| -> String {
        let shown = |c: char| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        };
        line.chars().take(200).map(shown).collect()
    };
    let mut lines: Vec<String> = text.lines().take(DIFFERENCE).map(clean).collect();
    let more = text.lines().count().saturating_sub(DIFFERENCE);
    if more > 0 {
        lines.push(format!("… and {more} lines more"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_short_and_harmless() {
        let text = difference("run 1", b"a\nb\n", "run 2", b"a\n\x1b[31mc\n");
        assert!(
            text.contains("-b") && text.contains("+\u{fffd}[31mc"),
            "{text}"
        );
        assert!(text.starts_with("--- run 1\n+++ run 2\n"), "{text}");
        let many: String = (0..500).map(|i| format!("{i}\n")).collect();
        let text = difference("run 1", many.as_bytes(), "run 2", b"");
        assert_eq!(text.lines().count(), DIFFERENCE + 1);
    }
}
