//! The progress bars of `daxshim prepare` and `daxshim crash`: on standard error, and only if that is a
//! terminal.

use std::cell::OnceCell;
use std::fmt::Write;
use std::path::Path;

use daxshim_core::host::{Progress, shown};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// A bar that appears with the first byte to write.
pub struct Bar {
    name: String,
    bar: OnceCell<ProgressBar>,
}

impl Bar {
    /// For a file.
    pub fn new(path: &Path) -> Bar {
        Bar {
            name: shown(Path::new(path.file_name().unwrap_or(path.as_os_str()))),
            bar: OnceCell::new(),
        }
    }

    /// Shows how far the work is.
    pub fn show(&self, progress: Progress) {
        let bar = self.bar.get_or_init(|| self.started(progress.total));
        bar.set_position(progress.done);
    }

    /// Leaves nothing on the terminal.
    pub fn finish(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }

    fn started(&self, total: u64) -> ProgressBar {
        let bar = ProgressBar::new(total);
        let template = "{prefix:20!} [{wide_bar}] {binary_bytes} of {binary_total_bytes}, \
                        {binary_bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(self.name.clone());
        bar
    }
}

/// A bar that counts states.
pub struct Count(ProgressBar);

impl Count {
    /// Of so many.
    pub fn new(total: usize) -> Count {
        let bar = ProgressBar::new(total as u64);
        let template = "verifying [{wide_bar}] {human_pos} of {human_len} states, {rate}/s, \
                        {msg} failed, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            let style = style.with_key("rate", |state: &ProgressState, to: &mut dyn Write| {
                let _ = write!(to, "{:.0}", state.per_sec());
            });
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message("0");
        Count(bar)
    }

    /// Shows how many are done, and how many of them failed.
    pub fn show(&self, done: usize, failed: usize) {
        self.0.set_message(failed.to_string());
        self.0.set_position(done as u64);
    }

    /// Leaves nothing on the terminal.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
