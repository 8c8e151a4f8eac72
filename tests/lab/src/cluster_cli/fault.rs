//! What can be broken in a cluster that is up, and how it is mended.

use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// Something to break, or to mend.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The API server
    Api {
        /// What happens to it
        #[command(subcommand)]
        what: ApiFault,
    },
    /// A whole node: its machine goes off, on, or both
    Node {
        /// Which node: node1, node2, ...
        node: String,
        /// What happens to it
        what: Switch,
    },
    /// SIGKILL to a program of a node; it comes back by itself, as systemd or the kubelet would
    /// bring it back
    Kill {
        /// Which node: node1, node2, ...
        node: String,
        /// Which program
        program: Daemon,
        /// Keep it away until `fault start NODE PROGRAM`
        #[arg(long)]
        keep_down: bool,
    },
    /// Brings back a program that `fault kill --keep-down` ended
    Start {
        /// Which node: node1, node2, ...
        node: String,
        /// Which program
        program: Daemon,
    },
}

/// What can happen to the API server.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApiFault {
    /// Freezes it: connections stay open, nothing is answered; ends with `fault api cont`
    Stop,
    /// Lets a frozen one go on
    Cont,
    /// Ends it: connections are refused; ends with `fault api restart`
    Kill,
    /// Starts it again, after `kill` or in place of the running one
    Restart,
    /// Drops every packet between one node and the API server, without any error
    Blackhole {
        /// Which node: node1, node2, ...
        node: String,
        /// For how long; 0 ends one that is in force
        seconds: u32,
    },
}

/// What can happen to a node's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// Off and on again: processes, links, routes, BPF objects and /run are lost, disks are kept
    Reboot,
    /// Off, until `start`
    Stop,
    /// On again
    Start,
}

/// A program of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Daemon {
    /// Starts pods
    Kubelet,
    /// Runs containers
    Containerd,
    /// Translates Services
    KubeProxy,
    /// Connects pods between nodes: tartand, or flanneld
    Agent,
}

impl Daemon {
    /// As the command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Containerd => "containerd",
            Self::KubeProxy => "kube-proxy",
            Self::Agent => "agent",
        }
    }
}

impl Fault {
    /// The node that it is about.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Api { what: ApiFault::Blackhole { node, .. } }
            | Self::Node { node, .. }
            | Self::Kill { node, .. }
            | Self::Start { node, .. } => Some(node),
            Self::Api {
                what: ApiFault::Stop | ApiFault::Cont | ApiFault::Kill | ApiFault::Restart,
            } => None,
        }
    }

    /// The words after `fault` that end it, if it lasts.
    #[must_use]
    pub fn end(&self) -> Option<String> {
        match self {
            Self::Api { what: ApiFault::Stop } => Some("api cont".to_owned()),
            Self::Api { what: ApiFault::Kill } => Some("api restart".to_owned()),
            Self::Api { what: ApiFault::Blackhole { node, seconds: 1.. } } => {
                Some(format!("api blackhole {node} 0"))
            }
            Self::Node { node, what: Switch::Stop } => Some(format!("node {node} start")),
            Self::Kill { node, program, keep_down: true } => {
                Some(format!("start {node} {}", program.name()))
            }
            Self::Api {
                what: ApiFault::Cont | ApiFault::Restart | ApiFault::Blackhole { seconds: 0, .. },
            }
            | Self::Node { what: Switch::Reboot | Switch::Start, .. }
            | Self::Kill { keep_down: false, .. }
            | Self::Start { .. } => None,
        }
    }

    /// The words that give it again.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Api { what } => match what {
                ApiFault::Stop => "api stop".to_owned(),
                ApiFault::Cont => "api cont".to_owned(),
                ApiFault::Kill => "api kill".to_owned(),
                ApiFault::Restart => "api restart".to_owned(),
                ApiFault::Blackhole { node, seconds } => format!("api blackhole {node} {seconds}"),
            },
            Self::Node { node, what } => format!("node {node} {}", super::options::word(what)),
            Self::Kill { node, program, keep_down } => {
                let flag = if *keep_down { " --keep-down" } else { "" };
                format!("kill {node} {}{flag}", program.name())
            }
            Self::Start { node, program } => format!("start {node} {}", program.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        fault: Fault,
    }

    fn parsed(line: &str) -> Result<Fault, clap::Error> {
        let words = std::iter::once("fault").chain(line.split(' '));
        Line::try_parse_from(words).map(|line| line.fault)
    }

    #[test]
    fn every_fault_survives_its_own_words_and_the_socket() {
        for line in [
            "api stop",
            "api cont",
            "api kill",
            "api restart",
            "api blackhole node2 5",
            "node node3 reboot",
            "node node3 stop",
            "node node3 start",
            "kill node1 kubelet",
            "kill node1 agent --keep-down",
            "start node1 kube-proxy",
        ] {
            let fault = parsed(line).unwrap();
            assert_eq!(fault.words(), line);
            let sent = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&sent).unwrap(), fault);
        }
    }

    #[test]
    fn a_wrong_program_is_answered_with_the_right_ones() {
        let error = parsed("kill node1 etcd").unwrap_err().to_string();
        assert!(error.contains("kubelet, containerd, kube-proxy, agent"), "{error}");
    }

    #[test]
    fn a_fault_knows_its_node() {
        assert_eq!(parsed("api blackhole node2 5").unwrap().node(), Some("node2"));
        assert_eq!(parsed("api stop").unwrap().node(), None);
    }

    #[test]
    fn the_words_that_end_a_fault_are_a_fault_and_end_there() {
        for line in ["api stop", "api kill", "api blackhole node2 5", "node node3 stop"] {
            let end = parsed(line).unwrap().end().unwrap();
            assert_eq!(parsed(&end).unwrap().end(), None, "{end}");
        }
        assert_eq!(parsed("node node3 reboot").unwrap().end(), None);
    }
}
