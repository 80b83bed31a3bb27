//! Sizes that are defined once.

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Bytes of a huge page: what one entry of the page table's middle directory maps.
pub const HUGE: usize = 2 << 20;
/// Bytes of a cache line. CPUID can say otherwise; no x86-64 CPU does, nor a 64-bit ARM server's.
pub const LINE: usize = 64;
