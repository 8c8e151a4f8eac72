//! nf_tables against the real kernel, observed by `nft` and `iptables-nft`, which share no line
//! with us. Needs root; says so where it is not.

mod foreign;
mod generated;
mod support;
mod unseen;
mod watching;
mod writing;
