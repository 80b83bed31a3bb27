//! What is known of a mapping besides where it is: the attributes of its region.

use crate::ground::files;
use daxshim_core::regions::Region;
use daxshim_core::report::Kind;

/// What a region's attributes say.
#[derive(Clone, Copy)]
pub struct Attributes(pub(super) usize);

impl Attributes {
    const KIND: usize = 0xff;
    /// Its protection allows no loads, and written back lines are read lines.
    pub(super) const UNREADABLE: usize = 1 << 8;
    pub(super) const NOT_INHERITED: usize = 1 << 9;
    const EADR: usize = 1 << 10;

    const FILE_READ_ONLY: usize = 1 << 11;
    pub(super) const HUGE: usize = 1 << 12;
    pub(super) const MAP_SYNC: usize = 1 << 13;
    /// It has a protection key that may deny access at any moment.
    pub(super) const KEY: usize = 1 << 14;
    /// There may be guard pages in it, which fault whoever touches them.
    pub(super) const GUARD: usize = 1 << 15;
    /// What keeps flushes off, each for a reason of its own.
    const SUSPENDED: usize =
        Attributes::UNREADABLE | Attributes::KEY | Attributes::GUARD | Attributes::ELSEWHERE;
    pub(super) const FILE_SHIFT: u32 = 16;
    /// What becomes of its pages is decided where it is not seen.
    pub(super) const ELSEWHERE: usize = 1 << 24;
    /// From here on: one more than the number of the shadow that `DAXSHIM_CHECK` holds it against.
    const WATCHED: u32 = 32;
    const WATCHED_BITS: usize = 0xffff;
    /// From here on: the program's protection of it, where pages may be read-only at its back
    /// ([`blame`](crate::check::blame)); 0 where not.
    pub(super) const OWN_PROTECTION: u32 = 48;

    /// Of a new mapping: what it is, whether write-back can be left out, whether the file was open
    /// for writing, whether pages of 2 MiB may be mapped in it, and the file.
    pub fn new(
        kind: Kind,
        eadr: bool,
        file_writable: bool,
        huge: bool,
        file: files::Index,
    ) -> Attributes {
        let huge = if huge { Attributes::HUGE } else { 0 };
        let eadr = if eadr { Attributes::EADR } else { 0 };
        let read_only = if file_writable {
            0
        } else {
            Attributes::FILE_READ_ONLY
        };
        Attributes(
            kind as usize | eadr | read_only | huge | file.number() << Attributes::FILE_SHIFT,
        )
    }

    /// Of a mapping that is held against a shadow.
    pub fn watched_by(self, shadow: Option<usize>) -> Attributes {
        let number = shadow.map_or(0, |shadow| shadow + 1);
        Attributes(self.0 | number << Attributes::WATCHED)
    }

    /// Of a mapping for which the program itself has asked for MAP_SYNC.
    pub fn asked_for_sync(self, asked: bool) -> Attributes {
        Attributes(self.0 | if asked { Attributes::MAP_SYNC } else { 0 })
    }

    /// Of a mapping that only the kernel syncs from now on.
    pub(super) fn never_flushed(bits: usize) -> usize {
        if Kind::from_u8((bits & Attributes::KIND) as u8).is_sync() {
            bits & !Attributes::KIND | Kind::Broken as usize | Attributes::MAP_SYNC
        } else {
            bits
        }
    }

    /// Of one from which flushes are kept for these reasons.
    pub fn suspended_for(self, reasons: Reasons) -> Attributes {
        Attributes(self.0 | reasons.0)
    }

    /// Whether stores to it are durable with their lines: the kernel granted MAP_SYNC, or it counts as
    /// if.
    pub fn is_map_sync(self) -> bool {
        self.kind().is_sync() || self.0 & Attributes::MAP_SYNC != 0
    }

    /// The shadow that it is held against.
    pub fn watched(self) -> Option<usize> {
        (self.0 >> Attributes::WATCHED & Attributes::WATCHED_BITS).checked_sub(1)
    }

    /// The program's protection, if pages may be read-only at its back.
    pub fn own_protection(self) -> Option<usize> {
        Some(self.0 >> Attributes::OWN_PROTECTION).filter(|&protection| protection != 0)
    }

    /// Of a region that was looked up.
    pub fn of(region: Region) -> Attributes {
        Attributes(region.attributes)
    }

    /// As a [`Region`] keeps them.
    pub fn bits(self) -> usize {
        self.0
    }

    /// Whether its lines may be written back, and need it: a sync mapping, not suspended, no eADR.
    pub fn is_plainly_flushable(self) -> bool {
        self.kind().is_sync() && !self.is_eadr()
    }

    /// What the mapping is now.
    pub fn kind(self) -> Kind {
        if self.0 & Attributes::SUSPENDED != 0 {
            Kind::Suspended
        } else {
            Kind::from_u8((self.0 & Attributes::KIND) as u8)
        }
    }

    /// Whether the file was open for writing when it was mapped.
    pub fn is_file_writable(self) -> bool {
        self.0 & Attributes::FILE_READ_ONLY == 0
    }

    /// Whether pages of 2 MiB may be mapped in it.
    pub fn is_huge(self) -> bool {
        self.0 & Attributes::HUGE != 0
    }

    /// Which file it is of.
    pub fn file(self) -> files::Index {
        files::Index::of(self.0 >> Attributes::FILE_SHIFT)
    }

    /// Whether write-back can be left out.
    pub fn is_eadr(self) -> bool {
        self.0 & Attributes::EADR != 0
    }
}

/// Why flushes are kept off a range: each reason is lifted by what caused it alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reasons(pub(super) usize);

impl Reasons {
    /// None.
    pub const NONE: Reasons = Reasons(0);
    /// The protection allows no loads.
    pub const UNREADABLE: Reasons = Reasons(Attributes::UNREADABLE);
    /// A protection key other than the default one.
    pub const KEY: Reasons = Reasons(Attributes::KEY);
    /// Guard pages, MADV_GUARD_INSTALL.
    pub const GUARD: Reasons = Reasons(Attributes::GUARD);
    /// What a load does there is decided elsewhere: by whoever handles its faults (userfaultfd(2)), or by what
    /// io_uring(7) is told. Never lifted.
    pub const ELSEWHERE: Reasons = Reasons(Attributes::ELSEWHERE);

    /// Both.
    pub const fn and(self, other: Reasons) -> Reasons {
        Reasons(self.0 | other.0)
    }

    /// This one if so.
    pub const fn only_if(self, is_so: bool) -> Reasons {
        if is_so { self } else { Reasons::NONE }
    }
}
