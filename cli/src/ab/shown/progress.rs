//! The progress bar of `daxshim ab`: on standard error, and only if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for so many runs; none where the programs' output is shown.
pub fn bar(runs: usize, show_output: bool) -> ProgressBar {
    if show_output {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(runs as u64);
    let template = "run {pos} of {len} [{wide_bar}] {elapsed} gone, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    // Drawn between runs only: no thread may exist when the next one is forked.
    bar.tick();
    bar
}
