//! Why a packet was dropped.
//!
//! Numbers are never reused; a retired reason keeps its number and its line.

crate::table::counted! {
    /// Why a packet was dropped. Each has its own counter.
    pub enum Reason (caption, remedy) {
        SpoofedSource = 1: "spoofed-source",
            "a pod sent a packet from an address that is not its own",
            "find the pod behind the veth; a workload that needs further addresses cannot use them through the pod network";
        PodSpeaksTunnel = 2: "pod-speaks-tunnel",
            "a pod sent UDP to a node's tunnel port",
            "nothing to fix in the network: only nodes may speak the tunnel; look at what that pod is doing";
        UnknownSender = 3: "unknown-sender",
            "a tunnel packet came from an address that no lease names",
            "compare `tartanctl peers` with the sender's address; a node behind NAT needs public-ip-overwrite, an outsider must be kept off the tunnel port";
        ForeignSource = 4: "foreign-source",
            "the inner source lies outside the subnet leased to the sender",
            "for a gateway that forwards other networks set Backend.SourceCheck to \"sender\"; otherwise the sending node is misconfigured or forging";
        WrongVni = 5: "wrong-vni",
            "a tunnel packet carries another VXLAN network identifier",
            "give every node the same Backend.VNI";
        WrongVxlanFlags = 6: "wrong-vxlan-flags",
            "a tunnel packet's VXLAN flags or reserved bits are not those of RFC 7348",
            "switch off VXLAN extensions (GBP, GPE) at the sender";
        Truncated = 7: "truncated",
            "a tunnel packet ends before its headers do",
            "look for a broken link or a forged packet";
        BadLength = 8: "bad-length",
            "the lengths in a tunnel packet's headers contradict each other",
            "look for a broken link, a broken offload (try ethtool -K NIC gro off) or a forged packet";
        OuterOptions = 9: "outer-options",
            "a tunnel packet's outer IP header carries options",
            "nodes never send them: look for what adds them on the way, or for a forged packet";
        OuterFragment = 10: "outer-fragment",
            "the first fragment of a tunnel packet does not hold an acceptable tunnel header",
            "look for a forged packet; fragments of real tunnel packets are reassembled by the kernel";
        WrongVtepMac = 11: "wrong-vtep-mac",
            "a tunnel packet's inner frame is addressed to another VTEP",
            "the sender has an old lease of this node: check that it follows the lease store";
        InnerDestination = 12: "inner-destination",
            "a tunnel packet is for an address outside this node's pod subnet",
            "the sender believes that this node holds another subnet: check for overlapping leases with `tartanctl peers`";
        InnerProtocol = 13: "inner-protocol",
            "a tunnel packet's inner frame is of another protocol than pods speak through this tunnel",
            "IPv4 pods are reached over IPv4; IPv6 pods over IPv6, or over IPv4 where one of the two nodes has no IPv6 address; anything else is not pod traffic";
        InnerMalformed = 14: "inner-malformed",
            "a tunnel packet's inner IP header is malformed",
            "look for a forged packet or a broken link";
        EcnCorrupted = 15: "ecn-corrupted",
            "congestion was signalled to a flow that does not speak ECN",
            "a device on the way marks packets that it must not mark (RFC 6040 figure 4)";
        NoPeer = 16: "no-peer",
            "no node leases the subnet that the packet is for",
            "check that the pod's node is in `tartanctl peers` and that its agent runs";
        NotForThisNode = 17: "not-for-this-node",
            "a tunnel packet was addressed to another of this host's addresses",
            "peers must use the address that this node publishes: see `tartanctl status`";
        NoTunnelKey = 18: "no-tunnel-key",
            "something put a packet on the overlay device that came through no tunnel",
            "look for a program or a bridge that injects packets into the overlay device";
        StackedTags = 19: "stacked-tags",
            "a pod sent a frame with a VLAN tag inside another, which would hide the packet from the source check",
            "nothing to fix in the network: pods have no VLANs; look at what that pod is doing";
        OffLinkSource = 20: "off-link-source",
            "a packet arrived without a tunnel from a pod address that belongs to no node on this link",
            "compare the source with `tartanctl peers`: only nodes whose next hop is the node itself may send without a tunnel; anything else is forged or takes a wrong route";
        RogueRouter = 21: "rogue-router",
            "a pod sent an IPv6 router advertisement or a redirect",
            "nothing to fix in the network: only routers may say such things; look at what that pod is doing";
        NoOuterChecksum = 22: "no-outer-checksum",
            "a tunnel packet over IPv6 carries no UDP checksum",
            "let the sender compute it (no udp6zerocsumtx on its device): RFC 8200 section 8.1 asks for it, and kernels refuse such packets, too";
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_are_dense_and_texts_are_unique() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(usize::from(reason.number()), index + 1, "{reason:?}");
            assert_eq!(Reason::from_name(reason.name()), Some(*reason));
        }
        for text in [Reason::name, Reason::caption, Reason::remedy] {
            let unique: BTreeSet<_> = Reason::ALL.iter().map(|r| text(*r)).collect();
            assert_eq!(unique.len(), Reason::ALL.len());
        }
    }
}
