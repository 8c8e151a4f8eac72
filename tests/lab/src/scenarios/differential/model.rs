//! What Tartan says about a packet: the decision functions, built for the host, with the node's
//! true addresses.

use std::net::Ipv4Addr;

use anyhow::Result;
use tartan_common::abi::{FastPath, NodeConfig, NodeEntry, Peer, PeerMode, PeerSpec, PodEntry};
use tartan_common::reason::Reason;
use tartan_common::{Mac, NetAddr, Vni};
use tartan_golden::fixture::{self, Memory};
use tartan_golden::{Hook, Verdict, meta, run};

use super::generate::{Generated, Way};
use crate::frames::{MacBytes, ethernet, mac};
use crate::lease::Lease;

/// One node, one pod on it, one peer.
pub(super) struct Model {
    config: NodeConfig,
    memory: Memory,
    vtep: MacBytes,
}

fn addr(address: Ipv4Addr) -> NetAddr {
    NetAddr::from_octets(address.octets())
}

impl Model {
    pub(super) fn new(own: &Lease, peer: &Lease, pod: Ipv4Addr) -> Result<Self> {
        let vtep = mac(&own.vtep)?;
        let config = NodeConfig {
            node: addr(own.node),
            subnet: addr(own.subnet.network()),
            subnet_mask: NetAddr::mask(own.subnet.prefix_len()),
            vtep_mac: Mac(vtep),
            fast_path: FastPath::Off as u32,
            ..fixture::config()
        };
        let mut memory = Memory::new();
        let subnet = addr(peer.subnet.network());
        let entry = PodEntry {
            ifindex: fixture::POD_IFINDEX,
            flags: 0,
            pod_mac: fixture::POD_MAC,
            host_mac: fixture::HOST_MAC,
        };
        memory.pods = [(addr(pod), entry)].into();
        let mask = NetAddr::mask(peer.subnet.prefix_len());
        memory.nodes = [(addr(peer.node), NodeEntry { subnet, mask })].into();
        memory.peers = [(subnet, spec(own, peer, Mac(vtep))?)].into();
        Ok(Self { config, memory, vtep })
    }

    /// The reason for which the packet is dropped at one of our hooks, if it is.
    pub(super) fn reason(&self, case: &Generated) -> Option<Reason> {
        match case.way {
            Way::In => self.ask(Hook::UplinkIngress, &case.bytes),
            Way::Out => {
                let frame = ethernet(self.vtep, [2, 0, 0, 0, 0, 1], &case.bytes);
                let sent = self.ask(Hook::PodEgress, &frame);
                // What the pod's hook leaves to the stack comes by the overlay device.
                sent.or_else(|| self.ask(Hook::OverlayEgress, &frame))
            }
        }
    }

    fn ask(&self, hook: Hook, frame: &[u8]) -> Option<Reason> {
        self.memory.flows.borrow_mut().clear();
        let plain = meta(frame, 0);
        let mut frame = frame.to_vec();
        match run(hook, &mut frame, &plain, &self.config, &self.memory, 0) {
            Verdict::Drop(reason) => Some(reason),
            Verdict::Next
            | Verdict::ToDevice(_)
            | Verdict::ToPod
            | Verdict::ToWire
            | Verdict::ToLink
            | Verdict::ToTunnel
            | Verdict::ToStack => None,
        }
    }
}

fn spec(own: &Lease, peer: &Lease, local_mac: Mac) -> Result<Peer> {
    Ok(Peer::new(&PeerSpec {
        local: addr(own.node),
        remote: addr(peer.node),
        local_mac,
        remote_mac: Mac(mac(&peer.vtep)?),
        vni: Vni::new(1)?,
        port: fixture::PORT,
        ttl: 64,
        next_hop: addr(peer.node),
        uplink_ifindex: 1,
        mtu: fixture::MTU,
        mode: PeerMode::Tunnel,
    }))
}
