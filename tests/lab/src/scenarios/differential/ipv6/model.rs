//! What Tartan says about an IPv6 packet, as [`model`](super::super::model) does for IPv4.

use std::net::Ipv6Addr;

use anyhow::Result;
use tartan_common::abi::{FastPath, Ipv6Config, NodeConfig, NodeEntry6, Peer6, PeerMode, PodEntry};
use tartan_common::reason::Reason;
use tartan_common::{Mac, NetAddr6};
use tartan_golden::fixture::{self, Memory};
use tartan_golden::{Hook, Verdict, meta, run};

use super::super::generate::{Generated, Way};
use super::generate::DESTINATION;
use super::ground::Side;
use crate::frames::{MacBytes, UDP, mac};
use crate::frames6::ethernet6;

/// One node, one pod on it, one peer.
pub(super) struct Model6 {
    config: NodeConfig,
    memory: Memory,
    vtep: MacBytes,
}

fn addr(address: Ipv6Addr) -> NetAddr6 {
    NetAddr6::from_octets(address.octets())
}

impl Model6 {
    pub(super) fn new(own: &Side, peer: &Side) -> Result<Self> {
        let vtep = mac(&own.vtep)?;
        let mask = NetAddr6::mask(own.subnet.prefix_len());
        let ipv6 = Ipv6Config {
            node: addr(own.node),
            network: addr("fd00:10:244::".parse()?),
            network_mask: NetAddr6::mask(56),
            subnet: addr(own.subnet.network()),
            subnet_mask: mask,
            vtep_mac: Mac(vtep),
            unused: [0; 2],
        };
        let fast_path = FastPath::Off as u32;
        let config = NodeConfig { ipv6, fast_path, ..fixture::config() };
        let mut memory = Memory::new();
        let entry = PodEntry {
            ifindex: fixture::POD_IFINDEX,
            flags: 0,
            pod_mac: fixture::POD_MAC,
            host_mac: fixture::HOST_MAC,
        };
        memory.pods6 = [(addr(own.pod), entry)].into();
        let subnet = addr(peer.subnet.network());
        memory.nodes6 = [(addr(peer.node), NodeEntry6 { subnet, mask })].into();
        let row = Peer6 {
            node: addr(peer.node),
            mtu: fixture::MTU - 20,
            vtep_mac: Mac(mac(&peer.vtep)?),
            hop_limit: 64,
            mode: PeerMode::Tunnel as u8,
            link_ifindex: 1,
        };
        memory.peers6 = [(subnet, row)].into();
        Ok(Self { config, memory, vtep })
    }

    /// The reason for which the packet is dropped at one of our hooks, if it is.
    pub(super) fn reason(&self, case: &Generated) -> Option<Reason> {
        match case.way {
            // What the uplink's hook leaves to the kernel's device is judged behind it, by the
            // same rule: as if the extension header were not there.
            Way::In => self.ask(Hook::UplinkIngress, &without_extension(&case.bytes)),
            Way::Out => {
                let frame = ethernet6(self.vtep, [2, 0, 0, 0, 0, 1], &case.bytes);
                let sent = self.ask(Hook::PodEgress, &frame);
                sent.or_else(|| self.ask(Hook::OverlayEgress, &frame))
            }
        }
    }

    fn ask(&self, hook: Hook, frame: &[u8]) -> Option<Reason> {
        self.memory.flows6.borrow_mut().clear();
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

/// The frame without an outer extension header of eight bytes, if it has one.
fn without_extension(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if frame.get(20) == Some(&DESTINATION) && frame.get(54) == Some(&UDP) {
        let length = u16::from_be_bytes([frame[18], frame[19]]).saturating_sub(8);
        frame[18..20].copy_from_slice(&length.to_be_bytes());
        frame[20] = UDP;
        frame.drain(54..62);
    }
    frame
}
