//! Empty: it lets other crates depend on this one, so that a change here
//! rebuilds what embeds the programs.
#![cfg_attr(target_arch = "bpf", no_std)]
