//! What a lease on a freshly opened file proves about everybody else (fcntl(2), F_SETLEASE).

use rustix::io::Errno;

use crate::filesystem::Filesystem;

/// `<asm-generic/fcntl.h>`: which signal says that somebody wants to open the file. SIGURG, which is
/// ignored by default, where SIGIO would end the program.
pub const F_SETSIG: i32 = 10;

/// What a lease proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nobody else has the file open or mapped.
    Alone,
    /// Others have it, none of them for writing.
    NoWriters,
    /// Others have it, perhaps for writing.
    Shared,
    /// The filesystem's leases prove nothing, or we may not take one.
    Unknown,
}

impl Hold {
    /// Takes the strongest lease that is granted; `set` is F_SETLEASE with this argument. It holds
    /// off new opens until it is given back or the file is closed.
    pub fn take(filesystem: Filesystem, set: impl Fn(i32) -> Result<(), Errno>) -> Hold {
        let hold = match set(libc::F_WRLCK) {
            Ok(()) => Hold::Alone,
            Err(Errno::AGAIN | Errno::BUSY) => match set(libc::F_RDLCK) {
                Ok(()) => Hold::NoWriters,
                Err(_) => Hold::Shared,
            },
            Err(_) => Hold::Unknown,
        };
        if filesystem.proves_leases() || hold == Hold::Shared {
            hold
        } else {
            Hold::Unknown
        }
    }
}
