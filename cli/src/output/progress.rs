//! The progress bar of `daxshim prepare`: on standard error, and only if that is a terminal.

use std::cell::OnceCell;
use std::path::Path;

use daxshim_core::host::{Progress, shown};
use indicatif::{ProgressBar, ProgressStyle};

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
