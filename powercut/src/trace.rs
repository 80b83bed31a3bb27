//! The format of a trace: a head, then records, some with content behind (scripts/powercut.d/plugin/trace.h).
//!
//! Sizes are its own, too: what judges the library shares no code with it.
//!
//! Longer than other files: a reader that trusts nothing, and its tests on traces made by hand.

use std::path::Path;

use crate::error::Error;

/// Bytes of a cache line.
pub const LINE: usize = 64;
/// Lines of a page.
pub const PAGE_LINES: u64 = 64;
/// Bytes of a page.
pub const PAGE: usize = 4096;

const MAGIC: u64 = u64::from_le_bytes(*b"POWRCUT1");
const HEAD: usize = 32;
const RECORD: usize = 16;

/// What a line holds.
pub type Content = [u8; LINE];

/// What a trace begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the device.
    pub size: u64,
    /// Number of the run.
    pub run: u64,
    /// Of the choice of crash points.
    pub seed: u64,
}

/// When the power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// Just before a fence that makes lines durable.
    Fence,
    /// Right behind an acknowledgement.
    Ack,
    /// Behind a store.
    Store,
}

/// A step of the kernel's DAX write-back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Pages to be written back are tagged.
    Tags,
    /// An entry is locked, to be flushed.
    Locked,
    /// It is being flushed.
    Flushes,
    /// It is clean.
    Flushed,
    /// An entry is locked by somebody else.
    Meets,
    /// It was waited for.
    Waited,
    /// It was taken for gone, and skipped.
    Skipped,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The workload was done.
    Workload,
    /// There were as many crash points as wanted.
    Points,
    /// The trace had grown to its limit.
    Size,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A page is durable when the run begins; those not named are zero.
    Base { page: u32, content: &'a [u8; PAGE] },
    /// A line was written back: durable at the processor's next fence.
    Flushed {
        cpu: u8,
        line: u32,
        /// Of all flushes: what an earlier one brings late is no news.
        sequence: u64,
        /// Place among the lines that wait for this processor's fence. One that is there already is replaced.
        place: usize,
        content: &'a Content,
    },
    /// So many lines that waited for this processor's fence are durable.
    Fence { cpu: u8, count: u64 },
    /// A line is durable now.
    Durable {
        line: u32,
        sequence: u64,
        content: &'a Content,
    },
    /// What the cache has at the crash point that follows.
    Stored { line: u32, content: &'a Content },
    /// The power may be cut here.
    Point { cause: Cause },
    /// The writer takes its transaction for durable.
    Ack { writer: u32, number: u64 },
    /// It begins one.
    Transaction { writer: u32, number: u64, way: char },
    /// Where a part of the file lies.
    Extent {
        pages: u32,
        device_page: u32,
        file_page: u32,
    },
    /// A sync call of the writer.
    Call {
        writer: u32,
        number: u16,
        /// None: not of the file.
        first: Option<u32>,
        /// None: up to its end.
        pages: Option<u32>,
    },
    /// Lines that were flushed for the writer, by itself or by the kernel.
    Lines {
        writer: u32,
        by_kernel: bool,
        first: u32,
        last: u32,
    },
    /// A step of the kernel's, for a writer or somebody else.
    Kernel {
        writer: Option<u32>,
        step: Step,
        huge: bool,
        page: u32,
    },
    /// The last one.
    End { how: End, points: u64 },
}

/// A trace in memory.
pub struct Trace {
    data: Vec<u8>,
    head: Head,
}

impl Trace {
    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let data = std::fs::read(path).map_err(|error| {
            Error::new(
                format!("cannot read {}", path.display()),
                error,
                "Name a trace that scripts/powercut --keep has left.",
            )
        })?;
        Self::new(data).map_err(|why| {
            Error::new(
                format!("{} is no trace", path.display()),
                why,
                "Name a trace that scripts/powercut --keep has left.",
            )
        })
    }

    /// Takes the bytes of one.
    pub fn new(data: Vec<u8>) -> Result<Self, String> {
        let word = |at: usize| {
            data.get(at..at + 8)
                .and_then(|bytes| bytes.try_into().ok())
                .map(u64::from_le_bytes)
        };
        let (Some(magic), Some(size), Some(run), Some(seed)) =
            (word(0), word(8), word(16), word(24))
        else {
            return Err(format!("it has {} bytes, and not even a head", data.len()));
        };
        if magic != MAGIC {
            return Err("it does not begin as one".to_owned());
        }
        if size == 0 || size % PAGE as u64 != 0 || size / LINE as u64 > u64::from(u32::MAX) {
            return Err(format!("a device of {size} bytes is not possible"));
        }
        Ok(Self {
            head: Head { size, run, seed },
            data,
        })
    }

    /// Its head.
    pub fn head(&self) -> Head {
        self.head
    }

    /// What happened, in order. The last event is [`Event::End`], or an error: the trace is cut short.
    pub fn events(&self) -> Events<'_> {
        Events {
            trace: self,
            at: HEAD,
            ended: false,
        }
    }
}

/// See [`Trace::events`].
pub struct Events<'a> {
    trace: &'a Trace,
    at: usize,
    ended: bool,
}

impl<'a> Events<'a> {
    /// Where in the trace the next event is.
    pub fn position(&self) -> usize {
        self.at
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let data = &self.trace.data;
        let taken = data.get(self.at..self.at + length).ok_or_else(|| {
            format!(
                "it is cut short: it ends at byte {} without its last record",
                data.len()
            )
        })?;
        self.at += length;
        Ok(taken)
    }

    fn line(&self, line: u32) -> Result<u32, String> {
        if u64::from(line) * (LINE as u64) < self.trace.head.size {
            Ok(line)
        } else {
            Err(format!(
                "the record before byte {} names line {line}, which the device has not",
                self.at
            ))
        }
    }

    fn content(&mut self) -> Result<&'a Content, String> {
        let taken = self.take(LINE)?;
        taken.try_into().map_err(|_| "no line".to_owned())
    }

    fn read(&mut self) -> Result<Event<'a>, String> {
        let record = self.take(RECORD)?;
        let (kind, cpu) = (record[0], record[1]);
        let detail = u16::from_le_bytes([record[2], record[3]]);
        let a = u32::from_le_bytes([record[4], record[5], record[6], record[7]]);
        let (low, high) = (
            u32::from_le_bytes([record[8], record[9], record[10], record[11]]),
            u32::from_le_bytes([record[12], record[13], record[14], record[15]]),
        );
        let b = u64::from(high) << 32 | u64::from(low);
        let unknown =
            |what: &str| Err(format!("it has a record with an unknown {what} ({detail})"));
        Ok(match kind {
            1 => {
                let content = self.take(PAGE)?;
                self.line(a.saturating_mul(PAGE_LINES as u32))?;
                Event::Base {
                    page: a,
                    content: content.try_into().map_err(|_| "no page".to_owned())?,
                }
            }
            2 => Event::Flushed {
                cpu,
                line: self.line(a)?,
                sequence: b >> 24,
                place: (b & 0xff_ffff) as usize,
                content: self.content()?,
            },
            3 => Event::Fence { cpu, count: b },
            4 => Event::Durable {
                line: self.line(a)?,
                sequence: b,
                content: self.content()?,
            },
            5 => Event::Stored {
                line: self.line(a)?,
                content: self.content()?,
            },
            6 => Event::Point {
                cause: match detail {
                    1 => Cause::Fence,
                    2 => Cause::Ack,
                    3 => Cause::Store,
                    _ => return unknown("cause"),
                },
            },
            7 => Event::Ack {
                writer: a,
                number: b,
            },
            8 => Event::Transaction {
                writer: a,
                number: b,
                way: char::from((detail & 0x7f) as u8),
            },
            9 => {
                // All of the file is on the device, so it is no larger.
                let device_pages = self.trace.head.size / PAGE as u64;
                let fits = |first: u32| u64::from(first) + u64::from(a) <= device_pages;
                if a == 0 || !fits(high) || !fits(low) {
                    return Err(format!(
                        "it has an extent of {a} pages at page {high}, for page {low} of the file, and the device has {device_pages}"
                    ));
                }
                Event::Extent {
                    pages: a,
                    device_page: high,
                    file_page: low,
                }
            }
            10 => Event::Call {
                writer: a,
                number: detail,
                first: (high != u32::MAX).then_some(high),
                pages: (low != u32::MAX).then_some(low),
            },
            11 => Event::Lines {
                writer: a,
                by_kernel: detail != 0,
                first: self.line(high)?,
                last: self.line(low)?,
            },
            12 => Event::Kernel {
                writer: (a != u32::MAX).then_some(a),
                step: match detail & 0xff {
                    1 => Step::Tags,
                    2 => Step::Locked,
                    3 => Step::Flushes,
                    4 => Step::Flushed,
                    5 => Step::Meets,
                    6 => Step::Waited,
                    7 => Step::Skipped,
                    _ => return unknown("step"),
                },
                huge: detail & 0x100 != 0,
                page: low,
            },
            13 => Event::End {
                how: match detail {
                    0 => End::Workload,
                    1 => End::Points,
                    2 => End::Size,
                    _ => return unknown("end"),
                },
                points: b,
            },
            _ => {
                return Err(format!(
                    "it has a record of kind {kind} at byte {}",
                    self.at - RECORD
                ));
            }
        })
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = Result<Event<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let event = self.read();
        self.ended = matches!(event, Ok(Event::End { .. }) | Err(_));
        Some(event)
    }
}

/// Traces made by hand.
#[cfg(test)]
pub mod hand {
    use super::*;

    /// Writes a trace, record by record.
    pub struct Hand(Vec<u8>);

    impl Hand {
        /// Of a device of some pages.
        pub fn new(pages: u64) -> Self {
            let mut data = Vec::new();
            for word in [MAGIC, pages * PAGE as u64, 1, 7] {
                data.extend_from_slice(&word.to_le_bytes());
            }
            Self(data)
        }

        /// Any record.
        pub fn record(
            mut self,
            kind: u8,
            cpu: u8,
            detail: u16,
            a: u32,
            b: u64,
            content: &[u8],
        ) -> Self {
            self.0.extend_from_slice(&[kind, cpu]);
            self.0.extend_from_slice(&detail.to_le_bytes());
            self.0.extend_from_slice(&a.to_le_bytes());
            self.0.extend_from_slice(&b.to_le_bytes());
            self.0.extend_from_slice(content);
            self
        }

        pub fn base(self, page: u32, byte: u8) -> Self {
            self.record(1, 0, 0, page, 0, &[byte; PAGE])
        }

        pub fn flushed(self, cpu: u8, line: u32, sequence: u64, place: u64, byte: u8) -> Self {
            self.record(2, cpu, 0, line, sequence << 24 | place, &[byte; LINE])
        }

        pub fn fence(self, cpu: u8, count: u64) -> Self {
            self.record(3, cpu, 0, 0, count, &[])
        }

        pub fn durable(self, line: u32, sequence: u64, byte: u8) -> Self {
            self.record(4, 0, 0, line, sequence, &[byte; LINE])
        }

        pub fn stored(self, line: u32, byte: u8) -> Self {
            self.record(5, 0, 0, line, 0, &[byte; LINE])
        }

        pub fn stored_content(self, line: u32, content: &[u8]) -> Self {
            self.record(5, 0, 0, line, 0, content)
        }

        pub fn point(self, cause: u16) -> Self {
            self.record(6, 0, cause, 0, 0, &[])
        }

        pub fn ack(self, writer: u32, number: u64) -> Self {
            self.record(7, 0, 0, writer, number, &[])
        }

        pub fn transaction(self, writer: u32, number: u64, way: char) -> Self {
            self.record(8, 0, way as u16, writer, number, &[])
        }

        pub fn extent(self, pages: u32, device_page: u64, file_page: u64) -> Self {
            self.record(9, 0, 0, pages, device_page << 32 | file_page, &[])
        }

        pub fn kernel(self, writer: u32, step: u16, page: u64) -> Self {
            self.record(12, 0, step, writer, page, &[])
        }

        pub fn call(self, writer: u32, first: u64, pages: u64) -> Self {
            self.record(
                10,
                0,
                libc::SYS_msync as u16,
                writer,
                first << 32 | pages,
                &[],
            )
        }

        pub fn lines(self, writer: u32, by_kernel: bool, first: u64, last: u64) -> Self {
            self.record(11, 0, by_kernel.into(), writer, first << 32 | last, &[])
        }

        /// With its end.
        pub fn end(self) -> Trace {
            let ended = self.record(13, 0, 0, 0, 0, &[]);
            Trace::new(ended.0).expect("a trace")
        }

        /// As it is.
        pub fn bytes(self) -> Vec<u8> {
            self.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::hand::Hand;
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let trace = Hand::new(2)
            .base(1, 5)
            .flushed(1, 70, 9, 3, 8)
            .fence(1, 4)
            .kernel(u32::MAX, 0x107, 12)
            .end();
        let events: Vec<_> = trace.events().collect::<Result<_, _>>().expect("events");
        assert_eq!(trace.head().size, 8192);
        assert_eq!(
            events[0],
            Event::Base {
                page: 1,
                content: &[5; PAGE]
            }
        );
        assert_eq!(
            events[1],
            Event::Flushed {
                cpu: 1,
                line: 70,
                sequence: 9,
                place: 3,
                content: &[8; LINE]
            }
        );
        assert_eq!(events[2], Event::Fence { cpu: 1, count: 4 });
        assert_eq!(
            events[3],
            Event::Kernel {
                writer: None,
                step: Step::Skipped,
                huge: true,
                page: 12
            }
        );
        assert_eq!(
            events[4],
            Event::End {
                how: End::Workload,
                points: 0
            }
        );
        assert_eq!(events.len(), 5);
    }

    #[test]
    fn a_trace_cut_short_anywhere_is_an_error_and_no_panic() {
        let whole = Hand::new(1)
            .base(0, 1)
            .flushed(0, 1, 1, 0, 2)
            .fence(0, 1)
            .bytes();
        for length in 0..=whole.len() {
            match Trace::new(whole[..length].to_vec()) {
                Err(why) => assert!(length < HEAD, "{why}"),
                Ok(trace) => {
                    let last = trace.events().last().expect("an event");
                    assert!(last.expect_err("cut short").contains("cut short"));
                }
            }
        }
    }

    #[test]
    fn lines_that_the_device_has_not_are_refused() {
        let trace = Hand::new(1).stored(64, 1).end();
        let last = trace.events().last().expect("an event");
        assert!(last.expect_err("no such line").contains("line 64"));
    }
}
