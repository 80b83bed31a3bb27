//! `log`, written to `DAXSHIM_LOG_FILE`. Only the constructor logs: hooks count in the report page
//! instead, as formatting on the program's stack and writing files is not theirs to do. No file,
//! no log: the program's own descriptors are never written to unless one is named there.

use crate::ground::process;
use core::ffi::{CStr, c_char};
use core::fmt::Write;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use daxshim_core::line::Line;
use log::{LevelFilter, Log, Metadata, Record};
use rustix::fs::{CWD, OFlags, openat};

struct File;

static PATH: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// Starts logging to `path`, at levels up to `level` (1 error … 5 trace).
pub fn start(level: u8, path: Option<&'static CStr>) {
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        return;
    };
    PATH.store(path.as_ptr().cast_mut(), Ordering::Release);
    if log::set_logger(&File).is_ok() {
        let level = LevelFilter::iter().nth(usize::from(level));
        log::set_max_level(level.unwrap_or(LevelFilter::Warn));
    }
}

impl Log for File {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let path = PATH.load(Ordering::Acquire);
        if path.is_null() || !self.enabled(record.metadata()) {
            return;
        }
        let mut line = Line::<512>::new();
        let pid = process::pid();
        let level = record.level();
        // Cut where it does not fit.
        let _ = writeln!(line, "daxshim[{pid}] {level}: {}", record.args());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
        // SAFETY: `start` stored a C string that lives as long as the process.
        let path = unsafe { CStr::from_ptr(path) };
        if let Ok(file) = openat(CWD, path, flags, 0o600.into()) {
            let _ = rustix::io::write(&file, line.as_bytes());
        }
    }

    fn flush(&self) {}
}
