//! What must be true before anything on the node is changed: a start that
//! fails leaves nothing behind.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context as _, Result, bail};

use crate::host::HostError;

/// Numbers of `include/uapi/linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_BPF: u32 = 39;

/// Whether the process may do what it has to.
///
/// # Errors
/// The capability that is missing.
pub(crate) fn privileges() -> Result<()> {
    let held = effective_capabilities()?;
    let has = |capability: u32| held & (1 << capability) != 0;
    let missing = if !has(CAP_NET_ADMIN) {
        "CAP_NET_ADMIN"
    } else if !has(CAP_BPF) && !has(CAP_SYS_ADMIN) {
        "CAP_BPF"
    } else {
        return Ok(());
    };
    bail!("permission denied: {missing} is missing; run as root or with CAP_BPF and CAP_NET_ADMIN")
}

fn effective_capabilities() -> Result<u64> {
    let status =
        fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let digits = line.context("/proc/self/status has no CapEff: is /proc mounted?")?.trim();
    u64::from_str_radix(digits, 16).with_context(|| format!("CapEff {digits} is no number"))
}

/// Whether the tunnel's port can be had.
///
/// # Errors
/// [`HostError::PortTaken`] when somebody else has it.
pub(crate) fn port_is_free(port: u16) -> Result<(), HostError> {
    match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(HostError::PortTaken { port }),
        // Any other trouble is told when the device opens its own socket.
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_told() {
        let owner = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = owner.local_addr().unwrap().port();
        assert!(port_is_free(port).is_err());
        drop(owner);
        assert!(port_is_free(port).is_ok());
    }
}
