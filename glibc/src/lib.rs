//! Links what depends on this crate so that it loads with every glibc from 2.17 on, whatever glibc the machine
//! has that builds it (tested: from 2.31 on). There is nothing in it but what its build script hands to the linker:
//!
//! - libraries without code ahead of the real ones, which have the names in the versions of an old glibc;
//! - `old.c`: functions that an old glibc has under other names, in another library, or not at all.
//!
//! A name that glibc got later may only be referred to weakly, as std does. A test reads what came of it.

#![no_std]
