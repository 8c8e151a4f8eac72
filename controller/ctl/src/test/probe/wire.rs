//! What the self-test and its probes say to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One thing that a probe is asked to do. `to` is an address or a name, with a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Question {
    /// Opens this many connections, one after the other; each asks who is there.
    Tcp {
        /// The server.
        to: String,
        /// How many.
        times: u32,
    },
    /// Sends this many datagrams, each from a socket of its own; each asks who is there.
    Udp {
        /// The server.
        to: String,
        /// How many.
        times: u32,
        /// Whether one server alone is behind `to`. Then it is asked, by TCP, whether a question
        /// arrived that nobody answers: so it is known which way is broken.
        direct: bool,
    },
    /// Sends what just fits into one packet, or what does not.
    Sizes {
        /// The server.
        to: String,
        /// Which sizes.
        range: Range,
    },
    /// Sends so many bytes, receives as many, and compares each of them.
    Transfer {
        /// The server.
        to: String,
        /// How many bytes each way.
        bytes: u64,
    },
    /// Asks the resolver.
    Resolve {
        /// The name.
        name: String,
    },
}

/// Which sizes to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Range {
    /// Datagrams that may not be fragmented, up to the MTU, and TCP around the segment size.
    WithinMtu,
    /// Datagrams that have to be fragmented, up to 60 000 bytes.
    Fragmented,
}

/// What came of a question, in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// Of connections or datagrams.
    Met(Met),
    /// Of sizes.
    Sizes {
        /// The MTU of the way, in bytes.
        mtu: u32,
        /// How many sizes came back whole.
        right: u32,
        /// What became of each other one.
        wrong: Vec<String>,
        /// Where they were lost, as far as that is known.
        lost: BTreeSet<Way>,
    },
    /// Every byte was right, both ways.
    Transferred,
    /// Of a name.
    Addresses {
        /// All of them.
        addresses: BTreeSet<IpAddr>,
    },
    /// It could not be done.
    Failed {
        /// Why.
        error: String,
        /// Where it was lost, if that is known.
        lost: Option<Way>,
    },
}

impl Answer {
    /// It could not be done, for a reason that tells no way.
    pub(crate) fn failed(error: impl Into<String>) -> Self {
        Self::Failed { error: error.into(), lost: None }
    }

    /// Whether everything that was lost was lost on the way back.
    pub(crate) fn is_lost_on_the_way_back(&self) -> bool {
        let back = [Way::Back].into();
        match self {
            Self::Met(met) => met.lost == back,
            Self::Sizes { lost, .. } => *lost == back,
            Self::Failed { lost, .. } => *lost == Some(Way::Back),
            Self::Transferred | Self::Addresses { .. } => false,
        }
    }
}

/// A direction, as the one who asks sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// To the server.
    There,
    /// From the server.
    Back,
}

/// Whom a number of connections or datagrams met.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Met {
    /// How many were tried. After three errors in a row it is left at that.
    pub(crate) asked: u32,
    /// How often each server answered, by the name that it calls itself.
    pub(crate) by: BTreeMap<String, u32>,
    /// Where the servers saw us come from.
    pub(crate) sources: BTreeSet<IpAddr>,
    /// How often each error occurred.
    pub(crate) errors: BTreeMap<String, u32>,
    /// Where datagrams were lost, as far as that is known.
    pub(crate) lost: BTreeSet<Way>,
    /// How many datagrams had to be sent twice.
    pub(crate) repeated: u32,
}

/// What a server says of itself and of whom it sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Presence {
    /// The server's name.
    pub(crate) name: String,
    /// The client's address, as the server sees it.
    pub(crate) peer: IpAddr,
    /// Whether what the client sent arrived, and as it was.
    pub(crate) intact: bool,
}
