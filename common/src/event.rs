//! What happened besides a packet's way: the gate's changes, and helper calls
//! that failed. A fallback that nobody counts is a fallback that nobody fixes.

crate::table::counted! {
    /// Something that happened while a packet was handled.
    pub enum Event (caption) {
        GateOpened = 0: "gate-opened",
            "a flow became direct";
        GateRevoked = 1: "gate-revoked",
            "a direct flow's tuple came through the host stack translated: its entry was deleted";
        GateFull = 2: "gate-full",
            "the flow map took no entry: the flow stays on the host stack";
        EncapRoomFailed = 3: "encap-room-failed",
            "bpf_skb_adjust_room refused to make room: the kernel's device encapsulates";
        DecapRoomFailed = 4: "decap-room-failed",
            "bpf_skb_adjust_room refused to remove the outer headers: the kernel's device decapsulates";
        PullFailed = 5: "pull-failed",
            "bpf_skb_pull_data could not make the headers linear: the host stack handles the packet";
        TunnelKeyFailed = 6: "tunnel-key-failed",
            "bpf_skb_set_tunnel_key failed: the packet is lost";
        WindowLost = 7: "window-lost",
            "the headers were gone after making room: the packet is lost";
        NotConfigured = 8: "not-configured",
            "the agent has not written this node's configuration yet: the host stack handles the packet";
        CsumLevelFailed = 9: "csum-level-failed",
            "bpf_csum_level failed after decapsulation: the pod verifies the checksum itself";
        XdpDecapsulated = 10: "xdp-decapsulated",
            "a frame was decapsulated by the XDP program, before GRO";
        XdpDisowned = 11: "xdp-disowned",
            "a frame from the wire carried this node's VTEP MAC as its Ethernet source: it lost it";
    }
}
