//! Which way a packet took.

crate::table::counted! {
    /// Which way a packet took. Each has its own counter.
    pub enum Path (caption) {
        PodLocalFast = 0: "pod-local-fast",
            "from a pod straight into another pod of this node";
        PodRemoteFast = 1: "pod-remote-fast",
            "from a pod encapsulated straight onto the uplink";
        PodToStack = 2: "pod-to-stack",
            "from a pod into the host stack, bound for another pod";
        PodElsewhere = 3: "pod-elsewhere",
            "from a pod into the host stack, bound for anything but a pod";
        OverlayEncap = 4: "overlay-encap",
            "routed to the overlay device by the host stack and encapsulated by the program";
        OverlayDevice = 5: "overlay-device",
            "routed to the overlay device by the host stack and encapsulated by the kernel's device";
        UplinkPodFast = 6: "uplink-pod-fast",
            "from the tunnel straight into a pod";
        UplinkToStack = 7: "uplink-to-stack",
            "from the tunnel decapsulated by the program into the host stack";
        UplinkToDevice = 8: "uplink-to-device",
            "from the tunnel left to the kernel's device: outer fragments and what the program cannot decapsulate";
        OverlayAccepted = 9: "overlay-accepted",
            "decapsulated by the kernel's device and accepted";
        PodDelivered = 10: "pod-delivered",
            "from the host stack into a pod";
        PodDirectFast = 11: "pod-direct-fast",
            "from a pod straight onto the uplink as it is, to a node on the same link";
        LinkPodFast = 12: "link-pod-fast",
            "from a node on the same link, without a tunnel, straight into a pod";
        LinkToStack = 13: "link-to-stack",
            "from a node on the same link, without a tunnel, into the host stack";
        StackToLink = 14: "stack-to-link",
            "from the host stack as it is to a pod of another node on the same link";
    }
}
