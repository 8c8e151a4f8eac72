//! The wire between the nodes: a bridge, or a router, in the lab's own network namespace.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::Result;

use crate::process::Place;

/// The outside host: the lab's own address on the wire.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);

const BRIDGE: &str = "wire0";

/// What the wire does to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wire {
    /// veth as it comes: 64 KiB packets cross unsegmented, checksums are never written.
    #[default]
    Offloaded,
    /// Segmentation at both ends of each uplink: frames of at most the MTU, merged again by the
    /// receiving node's GRO.
    Framed,
    /// [`Wire::Framed`] with checksums computed in software as well.
    FramedNoChecksums,
    /// A router with this path MTU between the nodes, whose own links take 1500: a bigger outer
    /// packet is fragmented (or refused, when it forbids that).
    Routed {
        /// Greatest IPv4 packet between two nodes, in bytes.
        path_mtu: u16,
    },
}

/// The lab's own namespaces: the outside of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Outside;

impl Place for Outside {
    fn label(&self) -> String {
        "lab".to_owned()
    }

    fn command(&self, program: &str) -> Command {
        Command::new(program)
    }
}

impl Wire {
    /// Makes the bridge and gives it the outside host's address.
    pub(crate) fn set_up(self) -> Result<()> {
        keep_netfilter_off()?;
        if let Self::Routed { .. } = self {
            Outside.run(&format!("ip address add {GATEWAY}/32 dev lo"))?;
            return Outside.sysctl("net.ipv4.ip_forward", "1");
        }
        Outside.run(&format!("ip link add {BRIDGE} type bridge forward_delay 0"))?;
        // A bridge without a fixed address changes it with its ports.
        Outside.run(&format!("ip link set {BRIDGE} address 02:00:ac:1e:00:01 up"))?;
        Outside.run(&format!("ip address add {GATEWAY}/24 dev {BRIDGE}")).map(drop)
    }

    /// Plugs a host in: makes its `eth0` and the wire's end of it, `up-NAME`.
    pub(crate) fn plug(self, host: &dyn Place, pid: u32, address: Ipv4Addr) -> Result<()> {
        let up = format!("up-{}", host.label());
        let [_, _, _, last] = address.octets();
        Outside.run(&format!(
            "ip link add {up} mtu 1500 type veth peer name eth0 mtu 1500 \
             address 02:00:ac:1e:00:{last:02x} netns {pid}"
        ))?;
        if let Self::Routed { path_mtu } = self {
            route_to(&up, address, path_mtu)?;
        } else {
            Outside.run(&format!("ip link set {up} master {BRIDGE} up"))?;
        }
        host.run(&format!("ip address add {address}/24 dev eth0"))?;
        host.run("ip link set eth0 up")?;
        host.run(&format!("ip route add default via {GATEWAY} dev eth0"))?;
        self.offloads(host, &up)
    }

    fn offloads(self, host: &dyn Place, up: &str) -> Result<()> {
        let checksums = match self {
            Self::Offloaded => return Ok(()),
            Self::Framed | Self::Routed { .. } => "",
            Self::FramedNoChecksums => "tx off rx off",
        };
        // The wire itself must not merge what it carries.
        Outside.run(&format!("ethtool -K {up} tso off gso off gro off {checksums}"))?;
        host.run(&format!("ethtool -K eth0 tso off gso off gro on {checksums}")).map(drop)
    }
}

/// The router answers every ARP request itself, so the hosts keep their one subnet.
fn route_to(up: &str, address: Ipv4Addr, path_mtu: u16) -> Result<()> {
    Outside.run(&format!("ip link set {up} up"))?;
    Outside.sysctl(&format!("net.ipv4.conf.{up}.proxy_arp"), "1")?;
    Outside.sysctl(&format!("net.ipv4.neigh.{up}.proxy_delay"), "0")?;
    Outside.sysctl(&format!("net.ipv4.conf.{up}.send_redirects"), "0")?;
    let mtu = if path_mtu < 1500 { format!("mtu lock {path_mtu}") } else { String::new() };
    Outside.run(&format!("ip route add {address}/32 dev {up} src {GATEWAY} {mtu}")).map(drop)
}

/// Keeps the netfilter of the machine that plays the wire off it: no cable tracks connections.
fn keep_netfilter_off() -> Result<()> {
    if bridge_netfilter()? {
        for family in ["arp", "ip", "ip6"] {
            Outside.sysctl(&format!("net.bridge.bridge-nf-call-{family}tables"), "0")?;
        }
    }
    Ok(())
}

/// Whether bridges of this kernel show their packets to iptables, as Kubernetes asks for.
pub(crate) fn bridge_netfilter() -> Result<bool> {
    Ok(fs::exists("/proc/sys/net/bridge")?)
}
