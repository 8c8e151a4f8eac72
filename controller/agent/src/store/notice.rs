//! What an operator should hear of, beyond the log.

/// Something that happened to the node, for a Kubernetes Event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notice {
    /// What kind of thing it is.
    pub kind: NoticeKind,
    /// One sentence, ending with what to do.
    pub text: String,
}

/// The reasons of our Events; `docs/surface/events-kubernetes.txt` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeKind {
    /// The node has no podCIDR.
    PodCidrMissing,
    /// The node's podCIDR cannot be used.
    PodCidrUnusable,
    /// Another node claims addresses that are not its own to have.
    LeaseRefused,
    /// Another node published something that cannot be read.
    LeaseUnreadable,
    /// The node's own subnet is another one now.
    SubnetChanged,
    /// The kernel lacks something, and something slower stands in for it.
    KernelLacks,
    /// The node is in service.
    Ready,
}

impl NoticeKind {
    /// Every kind, in the order of the documents.
    pub const ALL: [Self; 7] = [
        Self::PodCidrMissing,
        Self::PodCidrUnusable,
        Self::LeaseRefused,
        Self::LeaseUnreadable,
        Self::SubnetChanged,
        Self::KernelLacks,
        Self::Ready,
    ];

    /// The Event's `reason`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::PodCidrMissing => "PodCIDRMissing",
            Self::PodCidrUnusable => "PodCIDRUnusable",
            Self::LeaseRefused => "LeaseRefused",
            Self::LeaseUnreadable => "LeaseUnreadable",
            Self::SubnetChanged => "SubnetChanged",
            Self::KernelLacks => "KernelLacksFeature",
            Self::Ready => "PodNetworkReady",
        }
    }

    /// Whether it is a `Warning` or `Normal`.
    #[must_use]
    pub fn is_warning(self) -> bool {
        match self {
            Self::PodCidrMissing
            | Self::PodCidrUnusable
            | Self::LeaseRefused
            | Self::LeaseUnreadable
            | Self::KernelLacks => true,
            Self::SubnetChanged | Self::Ready => false,
        }
    }
}
