//! What `daxshim check` is made of: findings from what the library left, their stacks with names,
//! suppressions, and the ways they are shown.

pub mod assemble;
pub mod finding;
mod letting_go;
pub mod policy;
pub mod sarif;
pub mod suppress;
pub mod symbols;
pub mod text;
