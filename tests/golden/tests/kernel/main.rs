//! The table and the exhaustive headers in the kernel: every case through the
//! verified programs by `BPF_PROG_TEST_RUN`, byte-equal to the host's result.
//!
//! | Module | Holds |
//! |---|---|
//! | `support` | the programs in the kernel, their maps, the clock |
//! | `table` | the golden table and mutants of it |
//! | `stage` | a program in front that sets what a test run cannot: tags, VLAN tags, tunnel keys |
//! | `headers` | the sheets of `tartan_golden::headers` |

#![expect(clippy::unwrap_used, reason = "a test: a failure is a panic")]

mod headers;
mod stage;
mod support;
mod table;
