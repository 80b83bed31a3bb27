//! How a call of the program's comes to a hook, and goes on.

pub mod modules;
pub mod resolve;
pub mod shortcut;
pub mod site;
pub mod slot;
pub mod stubs;
pub mod trampoline;
pub mod turn;
pub mod vfork;
pub mod wide;
