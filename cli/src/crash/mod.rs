//! What `daxshim crash` is made of: reading journals while the program runs ([`follow`]), choosing
//! points ([`chain`]), choosing what a power cut there would leave ([`states`]), building it
//! ([`image`]), handing it to the checker ([`checker`], [`verify`]), and the report.

pub mod aside;
pub mod chain;
pub mod checker;
pub mod follow;
pub mod image;
pub mod outcome;
pub mod room;
pub mod states;
pub mod text;
pub mod verify;
