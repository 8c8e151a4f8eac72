//! Which kernels, and what of them a guest needs.

/// A kernel of the Debian archive.
pub(super) struct Kernel {
    /// Its release line, by which it is asked for and shown.
    pub(super) line: &'static str,
    /// The suite that has it; `security` stands for the security archive.
    pub(super) suite: Suite,
    /// Names of its packages begin with one of these and end with [`FLAVOUR`]; what is between is
    /// the release.
    pub(super) packages: &'static [&'static str],
    /// What the release begins with.
    pub(super) release: &'static str,
    /// Whether Tartan supports it. One that is too old is expected to be refused, and then to
    /// work where it is let in.
    pub(super) supported: bool,
}

/// A part of the archive.
#[derive(Clone, Copy)]
pub(super) enum Suite {
    Main(&'static str),
    Security(&'static str),
}

/// The smallest flavour: a third of the size, and all that is needed.
pub(super) const FLAVOUR: &str = "-cloud-amd64";

/// From the oldest to the newest. No suite carries 5.15 or 6.6: 5.10 and 6.1 enclose the floor,
/// 6.1 and 6.12 the step to TCX.
pub(super) const KERNELS: [Kernel; 5] = [
    Kernel {
        line: "5.10",
        suite: Suite::Security("bullseye-security"),
        packages: &["linux-image-"],
        release: "5.10.",
        supported: false,
    },
    Kernel {
        line: "6.1",
        suite: Suite::Security("bookworm-security"),
        packages: &["linux-image-"],
        release: "6.1.",
        supported: true,
    },
    Kernel {
        line: "6.12",
        suite: Suite::Security("trixie-security"),
        packages: &["linux-image-"],
        release: "6.12.",
        supported: true,
    },
    Kernel {
        line: "6.18",
        suite: Suite::Main("trixie-backports"),
        packages: &["linux-image-"],
        release: "6.18.",
        supported: true,
    },
    // From here on the kernel and its modules are two packages.
    Kernel {
        line: "7",
        suite: Suite::Main("trixie-backports"),
        packages: &["linux-binary-", "linux-modules-"],
        release: "7.",
        supported: true,
    },
];

/// Modules that the lab's scenarios ask for; each brings those that it depends on.
pub(super) const MODULES: [&str; 23] = [
    "veth",
    "vxlan",
    "bridge",
    "br_netfilter",
    "dummy",
    "overlay",
    "sch_ingress",
    "cls_bpf",
    "nf_tables",
    "nf_conntrack",
    "nf_nat",
    "nft_counter",
    "nft_ct",
    "nft_masq",
    "nft_chain_nat",
    "nft_fib_inet",
    "nft_limit",
    "nft_compat",
    "nft_reject_inet",
    "af_packet_diag",
    "xt_conntrack",
    "bonding",
    "8021q",
];

/// The lab's scenarios, by words of their names: pods of two nodes and of one that runs the kernel's
/// vxlan all talk to each other, spoofers do not, and without a program nobody does.
pub(super) const SCENARIOS: [&str; 8] = [
    "kernel_reach::an_old_kernel_is_refused",
    "kernel_reach::as_it_is",
    "kernel_reach::without_a_program_no_packet_passes",
    "kernel_reach::clsact_is_shared_with_strangers",
    "cni_lifecycle::add_check_del",
    "least_privilege",
    "uplinks::a_bond_loses_a_link",
    "uplinks::a_vlan",
];

/// Programs of the system that the lab runs; the rest is busybox.
pub(super) const PROGRAMS: [&str; 8] =
    ["ip", "tc", "bridge", "bpftool", "ethtool", "ping", "setpriv", "nft"];
