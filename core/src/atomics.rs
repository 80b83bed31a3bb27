//! Atomics, or in a model of them loom's: what a record of mappings is made of.
//!
//! loom's can't be made in a constant, and there can't be many: so what is built of them says
//! `const_unless_model!` and `array!`.

#[cfg(not(feature = "model"))]
pub use core::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};
#[cfg(feature = "model")]
pub use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

/// An array of such, as long as its type says.
macro_rules! array {
    ($each:expr) => {{
        #[cfg(not(feature = "model"))]
        let all = [const { $each }; _];
        #[cfg(feature = "model")]
        let all = core::array::from_fn(|_| $each);
        all
    }};
}
pub(crate) use array;

/// A function that is `const`, but in a model.
macro_rules! const_unless_model {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident() -> $type:ty $body:block) => {
        #[cfg(not(feature = "model"))]
        $(#[$meta])*
        $visibility const fn $name() -> $type $body

        #[cfg(feature = "model")]
        $(#[$meta])*
        $visibility fn $name() -> $type $body
    };
}
pub(crate) use const_unless_model;
