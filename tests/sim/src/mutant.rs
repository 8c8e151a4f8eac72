//! [`Mutant`]: faults that are built in on purpose, to see that the invariants notice.

/// One fault of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// `DELETED` events are lost.
    DropDeletions,
    /// A list is taken whatever its version.
    AcceptStaleLists,
    /// A list adds and changes, but removes nothing.
    MergeLists,
    /// After a 410 the watch goes on at the newest revision, without a list.
    SkipAheadAfterGone,
    /// Each event counts as newer than those before it.
    TrustTheOrder,
    /// Of two claims, the younger one holds.
    YoungestClaimWins,
    /// The own subnet is not compared with the others'.
    ForgetOwnSubnet,
    /// Entries that are there are never changed, as flannel does with a changed podCIDR.
    KeepOldAddresses,
    /// Entries that are there are never removed.
    NeverRemove,
    /// Without a connection the tables are emptied.
    FlushWithoutConnection,
    /// What was published once is not looked at again.
    PublishOnce,
    /// Patches touch the operator's annotations.
    TouchUserKeys,
    /// Patches go to another Node.
    PatchAnotherNode,
    /// Without its Node, a node gives up what it holds.
    LetGoWithoutNode,
    /// While the store objects, a memory that is due is not written and stays due.
    HoldTheMemoryBack,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::DropDeletions,
        Self::AcceptStaleLists,
        Self::MergeLists,
        Self::SkipAheadAfterGone,
        Self::TrustTheOrder,
        Self::YoungestClaimWins,
        Self::ForgetOwnSubnet,
        Self::KeepOldAddresses,
        Self::NeverRemove,
        Self::FlushWithoutConnection,
        Self::PublishOnce,
        Self::TouchUserKeys,
        Self::PatchAnotherNode,
        Self::LetGoWithoutNode,
        Self::HoldTheMemoryBack,
    ];
}
