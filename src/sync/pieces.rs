//! A file in pieces: where this process has it in sync mappings, wherever these are, and what is left.

use super::part::Flushable;
use super::plan::write_back;
use crate::ground::files;
use crate::mappings::{Attributes, Flush};
use daxshim_core::flush::lines_in;
use daxshim_core::regions::Region;
use libc::MS_SYNC;

/// Pieces that one sync looks for; each is looked for in all mappings.
const MOST: usize = 64;
/// How often one is looked for while others change mappings.
const TRIES: usize = 64;

/// A file's bytes from one page to another.
pub(super) struct Span {
    pub(super) file: files::Index,
    pub(super) first: usize,
    pub(super) last: usize,
}

/// A part of a [`Span`].
pub(super) enum Piece {
    /// It is in a sync mapping, which stays as it is until the next piece is looked for.
    Mapped(Flushable),
    /// As far as is known it is not, from offset to offset.
    Rest(usize, usize),
}

impl Span {
    /// The lines that need write-back of each mapping of it.
    fn lines_of_each<'a>(&'a self, flush: &'a Flush) -> impl Iterator<Item = u64> + 'a {
        let mut address = 0;
        let regions = core::iter::from_fn(move || {
            let region = flush.look_up(address).ok()??;
            address = region.end;
            Some(region)
        });
        regions.filter_map(|region| {
            let (first, end) = self.of_region(&region)?;
            let (first, end) = (first.max(self.first), end.min(self.last));
            let lines = match Attributes::of(region).is_eadr() {
                false => lines_in(first, end),
                true => 0,
            };
            (first < end).then_some(lines)
        })
    }

    /// Whether any of it is mapped.
    pub(super) fn is_mapped(&self, flush: &Flush) -> bool {
        self.lines_of_each(flush).next().is_some()
    }

    /// How many lines of it are mapped and need write-back, those twice that are mapped twice; `None`: nothing
    /// is mapped.
    pub(super) fn lines_owed(&self, flush: &Flush) -> Option<u64> {
        self.lines_of_each(flush).reduce(|sum, lines| sum + lines)
    }

    /// Calls `visit` with its pieces, in order.
    pub(super) fn each_piece(&self, flush: &Flush, mut visit: impl FnMut(Piece)) {
        let mut cursor = self.first;
        for _ in 0..MOST {
            if cursor >= self.last {
                return;
            }
            let piece = self.piece(flush, cursor);
            cursor = match &piece {
                Piece::Mapped(part) => cursor + (part.end - part.start),
                Piece::Rest(_, end) => *end,
            };
            visit(piece);
        }
        if cursor < self.last {
            visit(Piece::Rest(cursor, self.last));
        }
    }

    /// The piece at `cursor`.
    #[inline(never)]
    pub(super) fn piece(&self, flush: &Flush, cursor: usize) -> Piece {
        let found = (0..TRIES).find_map(|_| self.find_piece(flush, cursor));
        found.unwrap_or(Piece::Rest(cursor, self.last))
    }

    /// By the mapping that reaches farthest, or else up to the next mapping. `None`: that mapping changed
    /// meanwhile.
    fn find_piece(&self, flush: &Flush, cursor: usize) -> Option<Piece> {
        // Where that mapping is; and behind which byte of the file it ends.
        let (mut start, mut farthest) = (0, cursor);
        let mut next = self.last;
        let mut address = 0;
        loop {
            let region = match flush.look_up(address) {
                Ok(Some(region)) => region,
                Ok(None) => break,
                Err(_) => return Some(Piece::Rest(cursor, self.last)),
            };
            address = region.end;
            match self.of_region(&region) {
                Some((first, _)) if first > cursor => next = next.min(first),
                Some((_, end)) if end > farthest => (start, farthest) = (region.start, end),
                _ => {}
            }
        }
        if farthest == cursor {
            return Some(Piece::Rest(cursor, next));
        }
        // Held from now on.
        let region = flush.look_up(start).ok()??;
        let (first, end) = self.of_region(&region)?;
        if !(first..end).contains(&cursor) {
            return None;
        }
        Some(Piece::Mapped(Flushable {
            start: region.origin.wrapping_add(cursor),
            end: region.origin.wrapping_add(end.min(self.last)),
            how: write_back(region, MS_SYNC)?,
            region,
        }))
    }

    /// Which bytes of the file are in a mapping; `None`: it is of another, or none to be flushed.
    fn of_region(&self, region: &Region) -> Option<(usize, usize)> {
        let attributes = Attributes::of(*region);
        let end = region.end.min(region.data_end);
        let is_of_file = attributes.file() == self.file && attributes.kind().is_sync();
        (is_of_file && region.start < end).then(|| {
            let offset = |address: usize| address.wrapping_sub(region.origin);
            (offset(region.start), offset(end))
        })
    }
}
