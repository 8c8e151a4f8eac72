//! What a node's programs must know about the node.

use super::Ipv6Config;
use super::layout::abi;
use crate::{Mac, NetAddr};

/// Slots of the `CONFIG` map: slot 0 is the [`ConfigSlot`], the others hold
/// one [`NodeConfig`] each. The agent writes the idle one and then flips the
/// slot number, a single aligned word: no packet sees half a configuration.
pub const CONFIG_SLOTS: u32 = 3;

/// Bytes of slot 0 behind the number.
pub const CONFIG_SLOT_PADDING: usize = 156;

/// When a flow may skip the host stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FastPath {
    /// Never.
    Off = 0,
    /// As soon as both ends are known to be untranslated pods.
    On = 1,
    /// Once the host stack accepted the flow in both directions.
    AfterAccept = 2,
}

impl FastPath {
    /// The mode with this number; anything unknown is [`FastPath::Off`].
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::On,
            2 => Self::AfterAccept,
            _ => Self::Off,
        }
    }

    /// The name that `net-conf.json` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::AfterAccept => "after-accept",
        }
    }
}

/// Which inner sources a known sender may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SourceCheck {
    /// Addresses of the sender's lease, and the sender's own.
    Strict = 0,
    /// Any.
    Sender = 1,
}

/// How far the XDP program on the uplink is trusted with the tunnel.
///
/// It changes one step at a time, so that no packet that one program left for the other is
/// misunderstood: `Off`, `On` once it is attached, `Leaving`, detached, `Off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum XdpStage {
    /// It decapsulates nothing, and nothing is taken for decapsulated by it.
    Off = 0,
    /// It decapsulates.
    On = 1,
    /// It decapsulates nothing any more; what it decapsulated is still under way.
    Leaving = 2,
}

abi! {
    /// The number of the slot in force, in slot 0 of the `CONFIG` map.
    ///
    /// It is as large as a [`NodeConfig`] because an array map has one value size.
    #[repr(C, align(4))]
    pub struct ConfigSlot {
        /// 1 or 2; 0 before the agent's first write.
        pub active: u32,
        /// Zero.
        pub unused: [u8; CONFIG_SLOT_PADDING],
    }
}

abi! {
    /// One node's configuration.
    #[repr(C)]
    pub struct NodeConfig {
        /// The address that tunnel packets to this node carry.
        pub node: NetAddr,
        /// The cluster's pod network.
        pub network: NetAddr,
        /// Mask of `network`.
        pub network_mask: NetAddr,
        /// The subnet that this node leases.
        pub subnet: NetAddr,
        /// Mask of every node's subnet.
        pub subnet_mask: NetAddr,
        /// Interface index of the overlay device; zero without one.
        pub overlay_ifindex: u32,
        /// VXLAN network identifier.
        pub vni: u32,
        /// [`FastPath`] as a number.
        pub fast_path: u32,
        /// [`SourceCheck`] as a number.
        pub source_check: u32,
        /// Entries of the flow map from another epoch count as absent.
        pub epoch: u32,
        /// Second of CLOCK_MONOTONIC at which the right to `on` ends; zero: it does not end.
        pub on_until: u32,
        /// First outer UDP source port.
        pub port_low: u32,
        /// Number of outer UDP source ports.
        pub port_span: u32,
        /// UDP destination port of the tunnel; zero without one.
        pub port: u16,
        /// MAC address of the overlay device, which peers write as inner destination.
        pub vtep_mac: Mac,
        /// Fingerprint of the netfilter rules that the mode rests on; the programs do not read it.
        pub rules: u32,
        /// [`XdpStage`] as a number.
        pub xdp: u32,
        /// Zero.
        pub reserved: u32,
        /// What belongs to IPv6 alone.
        pub ipv6: Ipv6Config,
    }
}

const _: () = assert!(size_of::<ConfigSlot>() == size_of::<NodeConfig>());

impl NodeConfig {
    /// The mode of the gate.
    #[inline(always)]
    #[must_use]
    pub const fn fast_path(&self) -> FastPath {
        FastPath::from_number(self.fast_path)
    }

    /// Whether there is a tunnel at all: no tunnel has UDP port zero.
    #[inline(always)]
    #[must_use]
    pub const fn has_tunnel(&self) -> bool {
        self.port != 0
    }

    /// Whether the XDP program decapsulates.
    #[inline(always)]
    #[must_use]
    pub const fn xdp_decapsulates(&self) -> bool {
        self.xdp == XdpStage::On as u32
    }

    /// Whether packets may arrive that the XDP program decapsulated.
    #[inline(always)]
    #[must_use]
    pub const fn xdp_is_trusted(&self) -> bool {
        self.xdp != XdpStage::Off as u32
    }

    /// Whether any inner source is accepted from a known sender.
    #[inline(always)]
    #[must_use]
    pub const fn accepts_any_source(&self) -> bool {
        self.source_check == SourceCheck::Sender as u32
    }
}
