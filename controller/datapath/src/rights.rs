//! What this process may do, by its effective capabilities.

use std::{fs, io};

/// A capability, by its number in `include/uapi/linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// `CAP_NET_ADMIN`: links, routes, and attaching programs.
    NetAdmin = 12,
    /// `CAP_SYS_ADMIN`: among much else, what the two below allow.
    SysAdmin = 21,
    /// `CAP_PERFMON`: before Linux 6.17 the verifier refuses the programs without it.
    Perfmon = 38,
    /// `CAP_BPF`: loading programs and opening maps.
    Bpf = 39,
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The effective set of the calling thread (`CapEff`, `proc_pid_status(5)`).
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn effective() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/thread-self/status")?;
        Self::read(&status).ok_or_else(|| {
            let message = "/proc/thread-self/status has no CapEff: is /proc mounted?";
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }

    /// Whether the set allows what `capability` does.
    #[must_use]
    pub const fn allow(self, capability: Capability) -> bool {
        let one = 1 << capability as u64;
        let instead = match capability {
            Capability::Perfmon | Capability::Bpf => 1 << Capability::SysAdmin as u64,
            Capability::NetAdmin | Capability::SysAdmin => 0,
        };
        self.0 & (one | instead) != 0
    }

    fn read(status: &str) -> Option<Self> {
        let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?.trim();
        u64::from_str_radix(digits, 16).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_is_read_and_root_may_everything() {
        let set = Capabilities::read("Name:\tx\nCapEff:\t0000008000001000\n").unwrap();
        assert!(set.allow(Capability::NetAdmin) && set.allow(Capability::Bpf));
        assert!(!set.allow(Capability::Perfmon) && !set.allow(Capability::SysAdmin));
        let old = Capabilities(1 << 21);
        assert!(old.allow(Capability::Perfmon) && old.allow(Capability::Bpf));
        assert!(!old.allow(Capability::NetAdmin));
        assert_eq!(Capabilities::read("Name:\tx\n"), None);
    }
}
