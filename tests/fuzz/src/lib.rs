//! The decisions about packets under bytes that nobody thought of.
//!
//! `cargo xtask fuzz` builds this crate with the compiler's own instrumentation
//! (LLVM's SanitizerCoverage, which stable Rust can ask for): every edge of the
//! code counts, every comparison tells its operands, and inputs that reach
//! something new are kept. Without instrumentation the same inputs are replayed:
//! the committed corpus is a test.
//!
//! | Module | Holds |
//! |---|---|
//! | `coverage` | what the instrumentation tells |
//! | `mutator` | from inputs that are known to inputs that are not |
//! | `corpus` | inputs in files, one a line |
//! | `input` | how an input becomes a packet and its circumstances |
//! | `targets` | what is fuzzed |
//! | `hooks` | one packet at one hook, and what must hold of it |
//! | `naive` | the rule of acceptance once more, in other words |
//! | `sequence` | many packets of a few flows, and what must hold of the gate |
//! | `search` | the loop |

pub mod corpus;
pub mod coverage;
mod hooks;
mod input;
mod mutator;
mod naive;
pub mod search;
mod sequence;
pub mod targets;
