//! Says what a sync was worth, by what was dirty in its range.

use super::compare::{compare, locked, readable, timed};
use super::note::note;
use super::shadows::{Stretch, each_stretch};
use super::{blame, log, stacks};
use crate::ground::memory::{self, PAGE};
use daxshim_core::check::Code;
use daxshim_core::check::lines::{self, Dirty, LINE};
use daxshim_core::check::log::Finding;
use daxshim_core::report::{Kind, PATH_LEN};

/// From so many pages on, a sync of mostly clean ones is worth a note.
const AMPLIFIED_PAGES: u64 = 16;
/// And so many pages asked for each that is dirty.
const AMPLIFIED_TIMES: u64 = 8;

/// What a sync found in the files of its range.
#[derive(Default)]
pub(super) struct Found {
    /// The first file, and where it is mapped.
    pub(super) first: Option<Stretch>,
    /// Bytes asked for.
    pub(super) asked: u64,
    /// Dirty lines; offsets are those of the first file.
    pub(super) dirty: Dirty,
    /// Not all was compared: nothing can be concluded.
    pub(super) uncertain: bool,
}

impl Found {
    pub(super) fn add(&mut self, stretch: &Stretch, dirty: Option<Dirty>) {
        if self.first.is_none() {
            self.first = Some(*stretch);
        }
        // What reaches behind the end of the file asks for nothing.
        let behind = stretch.shadow.size().next_multiple_of(PAGE);
        let asked = behind.saturating_sub(stretch.offset).min(stretch.length);
        self.asked += asked as u64;
        match dirty {
            Some(dirty) => self.dirty = self.dirty.with(dirty, stretch.offset as u64),
            None => self.uncertain = true,
        }
    }

    /// As a finding; `lines` is what is dirty.
    pub(super) fn report(&self, code: Code, dirty: Dirty) {
        let Some(stretch) = self.first else { return };
        let range = match dirty.is_empty() {
            true => (stretch.offset as u64, stretch.offset as u64 + self.asked),
            false => (dirty.first, dirty.end),
        };
        report(code, &stretch, range, self.asked, dirty);
    }
}

/// Notes a finding about a stretch of a file.
pub fn report(code: Code, stretch: &Stretch, range: (u64, u64), asked: u64, dirty: Dirty) {
    stacks::spacious(|| report_here(code, stretch, range, asked, dirty));
}

fn report_here(code: Code, stretch: &Stretch, range: (u64, u64), asked: u64, dirty: Dirty) {
    let mut path = [0; PATH_LEN];
    let len = stretch.shadow.path(&mut path);
    let (device, inode) = stretch.shadow.identity();
    // Of what the kernel writes back by pages, these are counted.
    let dirty = match stretch.shadow.is_paged() {
        true => Dirty {
            lines: dirty.pages,
            ..dirty
        },
        false => dirty,
    };
    note(&Finding {
        code,
        detail: 0,
        device,
        inode,
        path: path.get(..len).unwrap_or(&[]),
        address: stretch.address as u64,
        range,
        asked,
        dirty,
    });
}

/// Stores between the end of the file and the end of its last page.
#[inline(never)]
pub fn beyond_end(stretch: &Stretch) {
    let size = stretch.shadow.size();
    if size.is_multiple_of(PAGE) || stretch.end() <= size || stretch.kind == Kind::Suspended {
        return;
    }
    let from = size.max(stretch.offset);
    let length = stretch
        .end()
        .min(size.next_multiple_of(PAGE))
        .saturating_sub(from);
    let live = stretch.address + (from - stretch.offset);
    if stretch.kind == Kind::Untagged && memory::is_bad(live, 1) {
        return;
    }
    let Some(tail) = stretch.shadow.tail() else {
        return;
    };
    let known = tail.wrapping_add(from % PAGE);
    let (mut first, mut last) = (None, 0);
    for i in 0..length {
        // SAFETY: the file's last page, mapped and readable; and as many bytes that are known.
        let (now, before) = unsafe {
            (
                (live as *const u8).add(i).read_volatile(),
                known.add(i).read_volatile(),
            )
        };
        if now != before {
            // SAFETY: as above.
            unsafe { known.add(i).write_volatile(now) };
            first = first.or(Some(i));
            last = i;
        }
    }
    if let Some(first) = first {
        let range = ((from + first) as u64, (from + last + 1) as u64);
        let dirty = Dirty {
            lines: ((last / LINE) - (first / LINE) + 1) as u64,
            pages: 1,
            first: range.0,
            end: range.1,
        };
        report(
            Code::BeyondEnd,
            stretch,
            range,
            (last + 1 - first) as u64,
            dirty,
        );
    }
}

/// A private mapping is synced: if it was stored to, somebody expects that to reach the file.
#[inline(never)]
pub(super) fn private(stretch: &Stretch) {
    if let Some(dirty) = compare(stretch).filter(|dirty| !dirty.is_empty()) {
        let range = (
            stretch.offset as u64 + dirty.first,
            stretch.offset as u64 + dirty.end,
        );
        report(Code::Private, stretch, range, stretch.length as u64, dirty);
    }
}

/// A sync was compared; `idle` is what it is called if nothing was dirty anywhere.
#[inline(never)]
pub(super) fn judge(found: &Found, idle: Code) {
    let Some(stretch) = found.first.filter(|_| !found.uncertain) else {
        return;
    };
    if found.dirty.is_empty() {
        nothing_dirty(found, &stretch, idle);
        return;
    }
    let pages = found.asked.div_ceil(PAGE as u64);
    let amplified = pages >= AMPLIFIED_PAGES && pages >= AMPLIFIED_TIMES * found.dirty.pages;
    // A file's sync has no range that could be smaller.
    if amplified && idle == Code::Redundant {
        found.report(Code::Amplified, found.dirty);
    }
}

/// Nothing dirty where it was synced: is it elsewhere?
#[inline(never)]
fn nothing_dirty(found: &Found, synced: &Stretch, idle: Code) {
    let (mut here, mut there) = (None::<(Stretch, Dirty)>, None::<(Stretch, Dirty)>);
    let mut certain = each_stretch(0, usize::MAX, |stretch| {
        if !stretch.is_meant() {
            return;
        }
        let place = match core::ptr::eq(stretch.shadow, synced.shadow) {
            true => &mut here,
            false => &mut there,
        };
        if let Some(dirty) = compare(&stretch).filter(|dirty| !dirty.is_empty()) {
            let (first, sum) = place.unwrap_or((stretch, Dirty::default()));
            *place = Some((first, sum.with(dirty, stretch.offset as u64)));
        }
    });
    certain &= log::log().is_some();
    match (here, there) {
        _ if !certain => {}
        (Some((stretch, dirty)), _) => {
            report(
                Code::WrongRange,
                &stretch,
                (dirty.first, dirty.end),
                found.asked,
                dirty,
            );
        }
        (None, Some((stretch, dirty))) => {
            report(
                Code::WrongFile,
                &stretch,
                (dirty.first, dirty.end),
                found.asked,
                dirty,
            );
        }
        (None, None) => found.report(idle, Dirty::default()),
    }
}

/// A sync of a stretch begins: what is dirty in it counts as durable. The dirty lines, if known.
pub fn count_as_durable(stretch: &Stretch) -> Option<Dirty> {
    let header = stretch.shadow.header()?;
    let (start, end) = (stretch.offset as u64, stretch.end() as u64);
    blame::cleaned(stretch);
    beyond_end(stretch);
    if header.is_uncertain(start, end) && !header.resolves(start, end) {
        header.skip(start, end);
        return None;
    }
    let uncertain = header.is_uncertain(start, end);
    let dirty = readable(stretch).and_then(|(live, durable, length)| {
        locked(stretch.shadow, || {
            // SAFETY: as in `compare`; the digests are locked.
            timed(length, || unsafe { lines::refresh(live, durable, length) })
        })
    });
    match dirty {
        Some(_) => header.compared(start, end),
        None => header.skip(start, end),
    }
    dirty.filter(|_| !uncertain)
}
