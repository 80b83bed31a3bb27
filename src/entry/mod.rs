//! How a call of the program's comes to a hook, and goes on.

pub mod modules;
pub mod trampoline;
pub mod turn;
pub mod vfork;
