//! IPv6 on the lab's wire, beside IPv4 or alone: every host's address ends as its IPv4 address
//! does.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

use crate::pod::Pod;
use crate::process::Place;
use crate::wire::Outside;

/// The outside host: the lab's own address on the wire.
pub const GATEWAY6: Ipv6Addr = address6(Ipv4Addr::new(172, 30, 0, 1));

/// The IPv6 address on the wire of the host with this IPv4 address.
#[must_use]
pub const fn address6(address: Ipv4Addr) -> Ipv6Addr {
    let [_, _, _, last] = address.octets();
    Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, last as u16)
}

/// Gives a host of the wire its IPv6 address and a default route.
///
/// # Errors
/// When the kernel refuses.
pub fn plug6(host: &dyn Place, address: Ipv4Addr) -> Result<()> {
    host.run(&format!("ip -6 address add {}/64 dev eth0 nodad", address6(address)))?;
    host.run(&format!("ip -6 route replace default via {GATEWAY6} dev eth0")).map(drop)
}

/// Gives the wire its IPv6 address; it forwards nothing.
///
/// # Errors
/// When the kernel refuses.
pub fn plug_outside6() -> Result<()> {
    Outside.run(&format!("ip -6 address replace {GATEWAY6}/64 dev wire0 nodad")).map(drop)
}

/// Takes IPv4 off a host of the wire, which has [`plug6`].
///
/// # Errors
/// When the kernel refuses.
pub fn unplug4(host: &dyn Place) -> Result<()> {
    host.run("ip -4 address flush dev eth0").map(drop)
}

/// The global IPv6 address of a pod.
///
/// # Errors
/// When it has none.
pub fn pod_address6(pod: &Pod) -> Result<Ipv6Addr> {
    let shown = pod.run("ip -6 -o address show dev eth0 scope global")?;
    let address = shown.split_whitespace().skip_while(|word| *word != "inet6").nth(1);
    let address = address.and_then(|net| net.split('/').next());
    let address = address.with_context(|| format!("{} has no IPv6: {shown}", pod.label()))?;
    Ok(address.parse()?)
}
