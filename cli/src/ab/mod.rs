//! What `daxshim ab` is made of: the order of the runs, running them, and what follows from them.

pub mod child;
pub mod comparison;
pub mod doubts;
pub mod load;
pub mod plan;
pub mod session;
pub mod shown;
pub mod statistics;
