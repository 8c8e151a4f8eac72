//! What a kernel may lack: each feature was tried by the agent before it loaded the programs,
//! and every one has something that does its work where it is missing.

/// Something that kernels have or have not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Feature {
    /// Programs attached by links of their own (`BPF_TCX_INGRESS`, `BPF_TCX_EGRESS`).
    Tcx = 1,
    /// `bpf_skb_adjust_room` told which family is inside (`BPF_F_ADJ_ROOM_DECAP_L3_*`).
    DecapL3 = 1 << 1,
    /// `bpf_skb_adjust_room` told that a frame is inside (`BPF_F_ADJ_ROOM_ENCAP_L2_ETH`).
    EncapL2Eth = 1 << 2,
    /// `bpf_ktime_get_coarse_ns`.
    CoarseClock = 1 << 3,
    /// `bpf_redirect_neigh`.
    RedirectNeigh = 1 << 4,
    /// `bpf_redirect_peer`.
    RedirectPeer = 1 << 5,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Tcx,
        Self::DecapL3,
        Self::EncapL2Eth,
        Self::CoarseClock,
        Self::RedirectNeigh,
        Self::RedirectPeer,
    ];

    /// The word for metrics and for `TARTAN_FORCE`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::DecapL3 => "decap-l3",
            Self::EncapL2Eth => "encap-l2-eth",
            Self::CoarseClock => "coarse-clock",
            Self::RedirectNeigh => "redirect-neigh",
            Self::RedirectPeer => "redirect-peer",
        }
    }

    /// The first release of Linux that has it.
    #[must_use]
    pub const fn since(self) -> &'static str {
        match self {
            Self::Tcx => "6.6",
            Self::DecapL3 => "6.3",
            Self::EncapL2Eth => "5.13",
            Self::CoarseClock => "5.11",
            Self::RedirectNeigh | Self::RedirectPeer => "5.10",
        }
    }

    /// What is done in its place, and what that costs.
    #[must_use]
    pub const fn instead(self) -> &'static str {
        match self {
            Self::Tcx => {
                "programs are attached by clsact: whoever deletes that qdisc takes them off until \
                 tartand repairs it, and plugins that add an ingress qdisc to a pod's veth fail"
            }
            Self::DecapL3 => {
                "tunnel packets whose inner family is not the outer one are decapsulated by the \
                 kernel's device, which is slower"
            }
            Self::EncapL2Eth => {
                "the kernel is not told that the tunnel carries frames: a NIC does not segment \
                 what it cannot parse, the kernel does"
            }
            Self::CoarseClock => "the precise clock is read, which costs some nanoseconds a packet",
            Self::RedirectNeigh => {
                "every tunnel packet is encapsulated by the kernel's device, which is slower"
            }
            Self::RedirectPeer => {
                "no flow skips the host stack: the fast path is off, which is slower"
            }
        }
    }
}

/// Which features a kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// Every one of them.
    pub const ALL: Self = {
        let (mut bits, mut at) = (0, 0);
        while at < Feature::ALL.len() {
            bits |= Feature::ALL[at] as u32;
            at += 1;
        }
        Self(bits)
    };

    /// From the bits that [`Features::bits`] gave; unknown ones are dropped.
    #[must_use]
    #[inline(always)]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// One bit per feature.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether this one is there.
    #[must_use]
    #[inline(always)]
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & feature as u32 != 0
    }

    /// With this one as well.
    #[must_use]
    pub const fn with(self, feature: Feature) -> Self {
        Self(self.0 | feature as u32)
    }

    /// Without this one.
    #[must_use]
    pub const fn without(self, feature: Feature) -> Self {
        Self(self.0 & !(feature as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_a_bit_and_a_name_of_its_own() {
        let bits = Feature::ALL.iter().fold(0, |bits, feature| bits | *feature as u32);
        assert_eq!(bits.count_ones() as usize, Feature::ALL.len());
        for (i, one) in Feature::ALL.iter().enumerate() {
            assert!(Feature::ALL.iter().skip(i + 1).all(|other| other.name() != one.name()));
        }
    }

    #[test]
    fn a_set_gives_and_takes_single_features() {
        let set = Features::ALL.without(Feature::Tcx);
        assert!(!set.has(Feature::Tcx) && set.has(Feature::RedirectPeer));
        assert_eq!(set.with(Feature::Tcx), Features::ALL);
        assert_eq!(Features::from_bits(u32::MAX), Features::ALL);
        assert_eq!(Features::from_bits(set.bits()), set);
    }
}
