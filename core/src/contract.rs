//! The contract as a table: [`Operation`] × [`Subject`] → [`Verdict`].
//!
//! Hooks name what is being attempted and on what; this module alone knows the answer. The rows
//! are those of the table in docs/semantics.md; the tests go through all of them.

/// Declares the operations once: the enum, its word in reports, and what a tagged file answers.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident $word:literal $answer:ident,)+) => {
        /// What a call attempts on a file, its data or its metadata.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Operation { $($(#[$doc])* $name,)+ }

        impl Operation {
            /// Every operation, in table order.
            pub const ALL: &'static [Operation] = &[$(Operation::$name),+];

            /// The word used in reports and documentation.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Operation::$name => $word,)+ }
            }

            /// What a tagged file answers.
            #[must_use]
            pub const fn on_tagged(self) -> Answer {
                match self { $(Operation::$name => Answer::$answer,)+ }
            }
        }
    };
}

/// What a tagged file answers to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Exactly as an untagged file.
    Same,
    /// EPERM, nothing changed.
    Eperm,
    /// EPERM; with `DAXSHIM_COMPAT=1`, success without the kernel where the call would change nothing.
    EpermUnlessIdle,
    /// EPERM; with `DAXSHIM_COMPAT=1`, as untagged where the call would change nothing but times: it
    /// wakes whoever watches the file.
    EpermUnlessTold,
    /// As untagged; EPERM with `DAXSHIM_READS=deny`.
    Reading,
}

impl Answer {
    /// Whether `DAXSHIM_COMPAT=1` makes a difference.
    #[must_use]
    pub const fn heeds_compat(self) -> bool {
        matches!(self, Answer::EpermUnlessIdle | Answer::EpermUnlessTold)
    }
}

operations! {
    /// open(2) with O_TRUNC, creat(2), by any route.
    Truncate "open with O_TRUNC" Eperm,
    /// write(2), pwrite(2), writev(2) and their kin.
    Write "write" Eperm,
    /// sendfile(2), splice(2), copy_file_range(2) with the file as target.
    CopyInto "copy into" Eperm,
    /// read(2) and its kin, sendfile(2) and splice(2) with the file as source.
    Read "read" Reading,
    /// truncate(2), ftruncate(2).
    Resize "truncate" EpermUnlessTold,
    /// fallocate(2) in every mode, posix_fallocate(3), the RESVSP ioctls.
    Allocate "fallocate" EpermUnlessIdle,
    /// madvise(2) with MADV_REMOVE.
    Punch "madvise MADV_REMOVE" Eperm,
    /// chmod(2) and its kin, ACLs.
    SetMode "chmod" EpermUnlessIdle,
    /// chown(2) and its kin.
    SetOwner "chown" EpermUnlessIdle,
    /// utimensat(2) and its kin, unless both times are UTIME_OMIT.
    SetTimes "set times" EpermUnlessIdle,
    /// setxattr(2) and its kin.
    SetXattr "setxattr" Eperm,
    /// removexattr(2) and its kin.
    RemoveXattr "removexattr" Eperm,
    /// link(2), linkat(2).
    Link "link" Eperm,
    /// rename(2) of the file, over it, or in exchange for it.
    Rename "rename" Eperm,
    /// unlink(2), unlinkat(2), remove(3).
    Unlink "unlink" Eperm,
    /// FICLONE, FICLONERANGE, FIDEDUPERANGE, in either role.
    ShareExtents "reflink or dedupe" Eperm,
    /// FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, file_setattr(2) and the like, where they change something.
    SetFlags "set inode flags" Eperm,
    /// LOOP_SET_FD, LOOP_CHANGE_FD, LOOP_CONFIGURE with the file as backing store.
    LoopAttach "loop attach" Eperm,
    /// open(2) without O_TRUNC, dup(2), close(2), locks, stat(2), lseek(2).
    Handle "open, dup, close" Same,
    /// mmap(2), munmap(2), mremap(2), mprotect(2), other advice.
    Map "mmap" Same,
    /// msync(2), fsync(2), fdatasync(2).
    Sync "sync" Same,
}

/// What an operation is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Not a regular file, or one without a tag that can be believed.
    Untagged,
    /// Carries a tag that names another inode or size: binds nobody.
    Stale,
    /// Carries a valid tag.
    Tagged,
    /// Carries its own tag, but the extents have moved since: EPERM stays in force.
    Broken,
}

/// `DAXSHIM_MODE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Refuse what the contract refuses.
    #[default]
    Enforce,
    /// Answer as untagged, record what would have been refused.
    Audit,
    /// Touch nothing.
    Off,
}

/// What the environment says about enforcement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `DAXSHIM_MODE`.
    pub mode: Mode,
    /// `DAXSHIM_COMPAT`: let through what changes nothing.
    pub compat: bool,
    /// `DAXSHIM_READS=deny`: rule 3 of the proposal read literally.
    pub deny_reads: bool,
}

/// Whether a call, with its arguments, would change the file at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It would, or nobody looked.
    Changes,
    /// It would leave the file as it is (same size, same mode, blocks already there).
    Idle,
}

/// What the hook does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass the call on.
    Allow,
    /// Answer 0 without passing on (compat, and nothing to change).
    Pretend,
    /// Pass on, and count that enforcement would have refused (compat, and nothing to change but times).
    LetThrough,
    /// Answer EPERM; `compat_would_allow` goes into the report.
    Refuse {
        /// The call would have succeeded under `DAXSHIM_COMPAT=1`.
        compat_would_allow: bool,
    },
    /// Pass on, and record that enforce mode would have refused.
    Record,
}

/// The answer of the contract.
#[must_use]
pub fn verdict(operation: Operation, subject: Subject, effect: Effect, policy: Policy) -> Verdict {
    if policy.mode == Mode::Off || matches!(subject, Subject::Untagged | Subject::Stale) {
        return Verdict::Allow;
    }
    let idle = effect == Effect::Idle;
    let compat_would_allow = match operation.on_tagged() {
        Answer::Same => return Verdict::Allow,
        Answer::Reading if !policy.deny_reads => return Verdict::Allow,
        Answer::EpermUnlessIdle | Answer::EpermUnlessTold => idle,
        Answer::Eperm | Answer::Reading => false,
    };
    match policy.mode {
        Mode::Audit => Verdict::Record,
        _ if compat_would_allow && policy.compat => match operation.on_tagged() {
            Answer::EpermUnlessTold => Verdict::LetThrough,
            _ => Verdict::Pretend,
        },
        _ => Verdict::Refuse { compat_would_allow },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECTS: [Subject; 4] = [
        Subject::Untagged,
        Subject::Stale,
        Subject::Tagged,
        Subject::Broken,
    ];

    /// The contract's table written out by hand: which operations a tagged file refuses.
    const REFUSED: &[Operation] = &[
        Operation::Truncate,
        Operation::Write,
        Operation::CopyInto,
        Operation::Resize,
        Operation::Allocate,
        Operation::Punch,
        Operation::SetMode,
        Operation::SetOwner,
        Operation::SetTimes,
        Operation::SetXattr,
        Operation::RemoveXattr,
        Operation::Link,
        Operation::Rename,
        Operation::Unlink,
        Operation::ShareExtents,
        Operation::SetFlags,
        Operation::LoopAttach,
    ];

    /// Those that compat lets through where they change nothing.
    const HABITS: &[Operation] = &[
        Operation::Resize,
        Operation::Allocate,
        Operation::SetMode,
        Operation::SetOwner,
        Operation::SetTimes,
    ];

    fn policies() -> impl Iterator<Item = Policy> {
        [Mode::Enforce, Mode::Audit, Mode::Off]
            .into_iter()
            .flat_map(|mode| {
                [false, true].into_iter().flat_map(move |compat| {
                    [false, true].into_iter().map(move |deny_reads| Policy {
                        mode,
                        compat,
                        deny_reads,
                    })
                })
            })
    }

    #[test]
    fn every_row_answers_as_the_contract_says() {
        for &operation in Operation::ALL {
            for subject in SUBJECTS {
                for policy in policies() {
                    for effect in [Effect::Changes, Effect::Idle] {
                        let refused = REFUSED.contains(&operation)
                            || (operation == Operation::Read && policy.deny_reads);
                        let bound = matches!(subject, Subject::Tagged | Subject::Broken);
                        let habit = HABITS.contains(&operation) && effect == Effect::Idle;
                        let expected = match policy.mode {
                            _ if !refused || !bound => Verdict::Allow,
                            Mode::Off => Verdict::Allow,
                            Mode::Audit => Verdict::Record,
                            Mode::Enforce if habit && policy.compat => {
                                if operation == Operation::Resize {
                                    Verdict::LetThrough
                                } else {
                                    Verdict::Pretend
                                }
                            }
                            Mode::Enforce => Verdict::Refuse {
                                compat_would_allow: habit,
                            },
                        };
                        assert_eq!(
                            verdict(operation, subject, effect, policy),
                            expected,
                            "{operation:?} on {subject:?}, {effect:?}, {policy:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn words_are_distinct() {
        for (i, a) in Operation::ALL.iter().enumerate() {
            assert_eq!(*a as usize, i);
            assert!(Operation::ALL[i + 1..].iter().all(|b| a.word() != b.word()));
        }
    }
}
