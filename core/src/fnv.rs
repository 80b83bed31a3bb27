//! FNV-1a, 64 bits (Fowler, Noll, Vo): tells that something has changed, not who changed it.
//!
//! Not the crate `fnv`, as tags keep the value for years: `std::hash::Hasher` promises no stable one.

/// A hash in the making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv64(u64);

impl Fnv64 {
    /// Of nothing.
    pub const EMPTY: Fnv64 = Fnv64(0xcbf2_9ce4_8422_2325);

    /// Takes in bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Fnv64 {
        let mut hash = Fnv64::EMPTY;
        hash.add(bytes);
        hash
    }

    /// The hash.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}
