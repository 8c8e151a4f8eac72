//! What must be true before anything on the node is changed: a start that
//! fails leaves nothing behind.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context as _, Result, bail};
use tartan_datapath::rights::{Capabilities, Capability};

use crate::host::HostError;

/// Whether the process may do what it has to.
///
/// # Errors
/// The capability that is missing.
pub(crate) fn privileges() -> Result<()> {
    let held = Capabilities::effective().context("cannot tell what this process may do")?;
    let missing = if !held.allow(Capability::NetAdmin) {
        "CAP_NET_ADMIN"
    } else if !held.allow(Capability::Bpf) {
        "CAP_BPF"
    } else {
        return Ok(());
    };
    bail!("permission denied: {missing} is missing; run as root or with CAP_BPF and CAP_NET_ADMIN")
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
