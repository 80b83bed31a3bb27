//! The device: what of it is durable, what waits for a fence, and what is in the cache only.

use std::collections::HashMap;

use crate::trace::{Content, Event, LINE, PAGE};

/// Processors that a trace may name.
const CPUS: usize = 16;

struct Waiting {
    line: u32,
    sequence: u64,
    content: Content,
}

/// The device at a moment of the run.
pub struct Device {
    durable: Vec<u8>,
    cached: Vec<u8>,
    /// What each processor has flushed and not fenced.
    lists: [Vec<Waiting>; CPUS],
    /// The flush that a line's durable content came by.
    came_by: HashMap<u32, u64>,
    /// Lines whose durable content may not be what the cache has.
    doubtful: Vec<u32>,
    is_doubtful: Vec<bool>,
}

/// A line of which the power cut decides what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// The line.
    pub line: u32,
    /// What is in the cache.
    pub cached: Content,
    /// What was flushed of it and not fenced, where that is neither durable nor in the cache.
    pub flushed: Vec<Content>,
}

/// Something durable is another now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its line.
    pub line: u32,
}

fn range(line: u32) -> std::ops::Range<usize> {
    let start = line as usize * LINE;
    start..start + LINE
}

impl Device {
    /// Of so many bytes, all zero.
    pub fn new(size: u64) -> Self {
        let size = size as usize;
        Self {
            durable: vec![0; size],
            cached: vec![0; size],
            lists: Default::default(),
            came_by: HashMap::new(),
            doubtful: Vec::new(),
            is_doubtful: vec![false; size / LINE],
        }
    }

    /// What is durable of it.
    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// What is durable of a line.
    pub fn durable_line(&self, line: u32) -> &[u8] {
        &self.durable[range(line)]
    }

    /// Takes note of an event; says which lines hold something else durably. An error: the trace is wrong.
    pub fn apply(&mut self, event: &Event<'_>, changes: &mut Vec<Change>) -> Result<(), String> {
        match *event {
            Event::Base { page, content } => {
                let start = page as usize * PAGE;
                self.durable[start..start + PAGE].copy_from_slice(content);
                self.cached[start..start + PAGE].copy_from_slice(content);
                let first = page * (PAGE / LINE) as u32;
                changes.extend((first..first + (PAGE / LINE) as u32).map(|line| Change { line }));
            }
            Event::Flushed {
                cpu,
                line,
                sequence,
                place,
                content,
            } => {
                let list = self.list(cpu)?;
                let waiting = Waiting {
                    line,
                    sequence,
                    content: *content,
                };
                match place {
                    place if place < list.len() => list[place] = waiting,
                    place if place == list.len() => list.push(waiting),
                    _ => {
                        return Err(format!(
                            "a flush is number {place} of a list of {}",
                            list.len()
                        ));
                    }
                }
                self.doubt(line);
            }
            Event::Fence { cpu, count } => {
                let list = std::mem::take(self.list(cpu)?);
                if list.len() as u64 != count {
                    return Err(format!(
                        "a fence makes {count} lines durable, of {}",
                        list.len()
                    ));
                }
                for waiting in &list {
                    self.make_durable(waiting.line, waiting.sequence, &waiting.content, changes);
                }
                // Its capacity.
                let mut list = list;
                list.clear();
                *self.list(cpu)? = list;
            }
            Event::Durable {
                line,
                sequence,
                content,
            } => {
                self.make_durable(line, sequence, content, changes);
            }
            Event::Stored { line, content } => {
                self.cached[range(line)].copy_from_slice(content);
                self.doubt(line);
            }
            _ => {}
        }
        Ok(())
    }

    fn list(&mut self, cpu: u8) -> Result<&mut Vec<Waiting>, String> {
        self.lists
            .get_mut(usize::from(cpu))
            .ok_or_else(|| format!("it has a record of processor {cpu}"))
    }

    fn doubt(&mut self, line: u32) {
        if !std::mem::replace(&mut self.is_doubtful[line as usize], true) {
            self.doubtful.push(line);
        }
    }

    /// What an earlier flush brings late, behind another processor's, is no news.
    fn make_durable(
        &mut self,
        line: u32,
        sequence: u64,
        content: &Content,
        changes: &mut Vec<Change>,
    ) {
        let came_by = self.came_by.entry(line).or_default();
        if sequence < *came_by {
            return;
        }
        *came_by = sequence;
        if self.durable[range(line)] != *content {
            self.durable[range(line)].copy_from_slice(content);
            changes.push(Change { line });
        }
        self.doubt(line);
    }

    /// At a crash point: the lines whose content the power cut decides, in order.
    pub fn undecided(&mut self) -> Vec<Undecided> {
        let mut flushed: HashMap<u32, Vec<Content>> = HashMap::new();
        for waiting in self.lists.iter().flatten() {
            let (durable, cached) = (
                &self.durable[range(waiting.line)],
                &self.cached[range(waiting.line)],
            );
            let is_old = self
                .came_by
                .get(&waiting.line)
                .is_some_and(|by| waiting.sequence < *by);
            if !is_old && durable != waiting.content && cached != waiting.content {
                flushed
                    .entry(waiting.line)
                    .or_default()
                    .push(waiting.content);
            }
        }
        let mut undecided = Vec::new();
        let mut doubtful = std::mem::take(&mut self.doubtful);
        doubtful.sort_unstable();
        doubtful.retain(|&line| {
            let flushed = flushed.remove(&line).unwrap_or_default();
            let cached = &self.cached[range(line)];
            let stays = self.durable[range(line)] != *cached || !flushed.is_empty();
            if stays && let Ok(cached) = Content::try_from(cached) {
                undecided.push(Undecided {
                    line,
                    cached,
                    flushed,
                });
            }
            self.is_doubtful[line as usize] = stays;
            stays
        });
        self.doubtful = doubtful;
        undecided
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::hand::Hand;

    /// The first byte that is durable of a line, and the bytes that a power cut chooses among with it.
    fn after(hand: Hand, line: u32) -> (u8, Vec<u8>) {
        let trace = hand.end();
        let mut device = Device::new(trace.head().size);
        for event in trace.events() {
            device
                .apply(&event.expect("event"), &mut Vec::new())
                .expect("a sound trace");
        }
        let mut others = Vec::new();
        for undecided in device.undecided() {
            if undecided.line == line {
                others = undecided.flushed.iter().map(|content| content[0]).collect();
                others.push(undecided.cached[0]);
            }
        }
        (device.durable_line(line)[0], others)
    }

    #[test]
    fn stored_and_not_flushed() {
        assert_eq!(after(Hand::new(1).base(0, 1).stored(3, 2), 3), (1, vec![2]));
    }

    #[test]
    fn flushed_waits_for_the_fence() {
        let flushed = || Hand::new(1).stored(3, 2).flushed(0, 3, 1, 0, 2);
        assert_eq!(after(flushed(), 3), (0, vec![2]));
        assert_eq!(after(flushed().fence(0, 1), 3), (2, vec![]));
    }

    #[test]
    fn a_fence_of_another_processor_is_none() {
        let flushed = Hand::new(1).stored(3, 2).flushed(0, 3, 1, 0, 2);
        assert_eq!(
            after(flushed.flushed(1, 4, 2, 0, 9).fence(1, 1), 3),
            (0, vec![2])
        );
    }

    #[test]
    fn another_processors_flush_and_fence_suffice() {
        let flushed = Hand::new(1)
            .stored(3, 2)
            .flushed(0, 3, 1, 0, 2)
            .flushed(1, 3, 2, 0, 2);
        assert_eq!(after(flushed.fence(1, 1), 3), (2, vec![]));
    }

    #[test]
    fn what_a_fence_brings_late_replaces_nothing_newer() {
        let trace = Hand::new(1)
            .flushed(0, 3, 1, 0, 1)
            .stored(3, 2)
            .flushed(1, 3, 2, 0, 2)
            .fence(1, 1)
            .fence(0, 1);
        assert_eq!(after(trace, 3), (2, vec![]));
    }

    #[test]
    fn what_was_flushed_may_be_there_though_the_cache_is_ahead() {
        let trace = Hand::new(1).base(0, 1).flushed(0, 3, 1, 0, 2).stored(3, 3);
        assert_eq!(after(trace, 3), (1, vec![2, 3]));
    }

    #[test]
    fn a_fence_makes_durable_what_was_flushed_and_not_what_was_stored_since() {
        let trace = Hand::new(1).flushed(0, 3, 1, 0, 2).fence(0, 1).stored(3, 3);
        assert_eq!(after(trace, 3), (2, vec![3]));
    }

    #[test]
    fn clflush_needs_no_fence() {
        assert_eq!(
            after(Hand::new(1).stored(3, 2).durable(3, 1, 2), 3),
            (2, vec![])
        );
    }

    #[test]
    fn a_store_around_the_cache_again_replaces_its_place_in_the_list() {
        let trace = Hand::new(1)
            .flushed(0, 3, 1, 0, 2)
            .flushed(0, 3, 2, 0, 4)
            .stored(3, 4)
            .fence(0, 1);
        assert_eq!(after(trace, 3), (4, vec![]));
    }

    #[test]
    fn a_fence_that_does_not_fit_its_list_is_an_error() {
        let mut device = Device::new(4096);
        assert!(
            device
                .apply(&Event::Fence { cpu: 0, count: 1 }, &mut Vec::new())
                .is_err()
        );
        assert!(
            device
                .apply(&Event::Fence { cpu: 99, count: 0 }, &mut Vec::new())
                .is_err()
        );
    }
}
