//! The parts of `tartanctl` that other programs look at: its documents are made from them.

pub mod output;
pub mod test;
