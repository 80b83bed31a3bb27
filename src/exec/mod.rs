//! What a program that is executed is given.

pub mod environment;
pub mod scratch;
pub mod unseen;
