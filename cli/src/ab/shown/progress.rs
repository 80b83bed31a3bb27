//! The progress bar of `daxshim ab`: on standard error, and only if that is a terminal.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

/// A bar for so many runs; none where the programs' output is shown.
pub fn bar(runs: usize, show_output: bool) -> ProgressBar {
    if show_output {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(runs as u64);
    // Nothing is known of the time before the first run.
    let template = "run {pos} of {len} [{wide_bar}]{times}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        let style = style.with_key("times", |state: &ProgressState, to: &mut dyn Write| {
            if state.pos() > 0 {
                let _ = write!(
                    to,
                    " {} gone, {} left",
                    time(state.elapsed()),
                    time(state.eta())
                );
            }
        });
        bar.set_style(style.progress_chars("=> "));
    }
    // Drawn between runs only: no thread may exist when the next one is forked.
    bar.tick();
    bar
}

fn time(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        return "under 1s".into();
    }
    format!("{:#}", HumanDuration(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_0s() {
        assert_eq!(time(Duration::ZERO), "under 1s");
        assert_eq!(time(Duration::from_millis(2_400)), "2s");
    }
}
