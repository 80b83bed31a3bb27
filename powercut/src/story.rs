//! What happened before a crash point, event by event, for people.

use crate::trace::{Event, Step, Trace};

/// A line for each of the last events before a crash point that have to do with syncs, or with these lines of the device.
pub fn story(trace: &Trace, point: u64, lines: &[u64], most: usize) -> Vec<String> {
    let mut told = std::collections::VecDeque::new();
    let mut seen = 0;
    for event in trace.events().map_while(Result::ok) {
        if let Event::Point { .. } = event {
            if seen == point {
                break;
            }
            seen += 1;
        }
        if let Some(sentence) = sentence(&event, lines) {
            if told.len() == most {
                told.pop_front();
            }
            told.push_back(sentence);
        }
    }
    told.into()
}

fn call(number: u16) -> &'static str {
    match i64::from(number) {
        libc::SYS_msync => "msync",
        libc::SYS_fsync => "fsync",
        libc::SYS_fdatasync => "fdatasync",
        libc::SYS_sync_file_range => "sync_file_range",
        libc::SYS_syncfs => "syncfs",
        _ => "sync",
    }
}

fn first_word(content: &[u8]) -> u64 {
    let word = content.get(..8).and_then(|bytes| bytes.try_into().ok());
    word.map_or(0, u64::from_le_bytes)
}

fn sentence(event: &Event<'_>, lines: &[u64]) -> Option<String> {
    let concerns = |line: u32| lines.contains(&u64::from(line));
    Some(match *event {
        Event::Flushed {
            cpu, line, content, ..
        } if concerns(line) => {
            format!(
                "processor {cpu} flushed line {line}, which begins with {}",
                first_word(content)
            )
        }
        Event::Fence { cpu, count } => format!("processor {cpu} fences {count} lines"),
        Event::Stored { line, content } if concerns(line) => {
            format!(
                "in the cache only: line {line}, which begins with {}",
                first_word(content)
            )
        }
        Event::Point { .. } => "crash point".to_owned(),
        Event::Ack { writer, number } => format!("writer {writer} acknowledges {number}"),
        Event::Transaction {
            writer,
            number,
            way,
        } => format!("writer {writer} begins {number}, way {way}"),
        Event::Call {
            writer,
            number,
            first,
            pages,
        } => {
            let name = call(number);
            match (first, pages) {
                (None, _) => format!("writer {writer} calls {name}, not for the file"),
                (Some(first), Some(pages)) => {
                    format!("writer {writer} calls {name}, pages {first} + {pages}")
                }
                (Some(first), None) => {
                    format!("writer {writer} calls {name}, from page {first} on")
                }
            }
        }
        Event::Kernel {
            writer,
            step,
            huge,
            page,
        } => {
            let who = writer.map_or("somebody".to_owned(), |writer| format!("writer {writer}"));
            let size = if huge { " (2 MiB)" } else { "" };
            let what = match step {
                Step::Tags => return Some(format!("kernel for {who}: tags pages to write back")),
                Step::Locked => "locks",
                Step::Flushes => "flushes",
                Step::Flushed => "has flushed and unlocks",
                Step::Meets => "meets locked",
                Step::Waited => "has waited for",
                Step::Skipped => "takes for gone, and SKIPS",
            };
            format!("kernel for {who}: {what} the entry at page {page}{size}")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::hand::Hand;

    #[test]
    fn the_last_events_before_the_point() {
        let trace = Hand::new(8)
            .transaction(0, 1, 'p')
            .flushed(0, 9, 1, 0, 0)
            .flushed(0, 10, 2, 1, 0)
            .point(1)
            .call(0, 3, 1)
            .kernel(0, 7, 3)
            .ack(0, 1)
            .point(2)
            .ack(0, 2)
            .end();
        assert_eq!(story(&trace, 0, &[9], 10).len(), 2);
        assert_eq!(
            story(&trace, 1, &[], 3),
            [
                "writer 0 calls msync, pages 3 + 1",
                "kernel for writer 0: takes for gone, and SKIPS the entry at page 3",
                "writer 0 acknowledges 1"
            ]
        );
    }
}
