//! What else the machine is doing.

use serde::Serialize;

use super::statistics::median;

/// How busy the machine was with other things.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Load {
    /// CPUs that this process may use.
    pub cpus: usize,
    /// Load average of the minute before the comparison; `None` without /proc.
    pub before: Option<f64>,
    /// Median of the numbers of other threads that wanted to run, looked at before each run.
    pub others: Option<f64>,
}

/// Collects what [`Load`] says.
pub struct Observer {
    before: Option<f64>,
    others: Vec<f64>,
}

impl Observer {
    /// To be made before the first run.
    pub fn new() -> Observer {
        Observer {
            before: read().map(|(average, _)| average),
            others: Vec::new(),
        }
    }

    /// To be called while nothing of ours runs.
    pub fn look(&mut self) {
        self.others.extend(read().map(|(_, others)| others));
    }

    /// What it comes down to.
    pub fn load(&self) -> Load {
        Load {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            before: self.before,
            others: median(&self.others),
        }
    }
}

/// Load average and other runnable threads.
fn read() -> Option<(f64, f64)> {
    parse(&std::fs::read_to_string("/proc/loadavg").ok()?)
}

/// proc_loadavg(5): `0.20 0.18 0.12 1/80 11206`; the one that reads it is runnable too.
fn parse(line: &str) -> Option<(f64, f64)> {
    let mut fields = line.split_whitespace();
    let average = fields.next()?.parse().ok()?;
    let (runnable, _) = fields.nth(2)?.split_once('/')?;
    let runnable: f64 = runnable.parse().ok()?;
    Some((average, (runnable - 1.0).max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_itself_is_no_load() {
        assert_eq!(parse("0.20 0.18 0.12 1/80 11206\n"), Some((0.2, 0.0)));
        assert_eq!(parse("3.00 0.18 0.12 5/80 11206\n"), Some((3.0, 4.0)));
        assert_eq!(parse(""), None);
        assert_eq!(parse("0.20 0.18 0.12 x/80 11206"), None);
    }
}
