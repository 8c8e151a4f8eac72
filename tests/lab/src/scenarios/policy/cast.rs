//! The pods that a policy is about: a server, its client and its friend on the same node, and
//! another client and friend on the other node.

use anyhow::Result;

use super::flows::Way;
use crate::node::Node;
use crate::pod::Pod;
use crate::traffic::{self, EchoReport, Running};

pub(super) struct Cast {
    /// Whose nodes they run on.
    pub(super) name: &'static str,
    pub(super) server: Pod,
    pub(super) clients: [Pod; 2],
    pub(super) friends: [Pod; 2],
    _echo: Running<EchoReport>,
}

impl Cast {
    /// `add(0, NAME)` makes a pod on the server's node, `add(1, NAME)` on the other.
    pub(super) fn new(
        name: &'static str,
        mut add: impl FnMut(usize, &str) -> Result<Pod>,
    ) -> Result<Self> {
        let server = add(0, "server")?;
        let clients = [add(0, "client")?, add(1, "client")?];
        let friends = [add(0, "friend")?, add(1, "friend")?];
        let echo = traffic::echo(&server, None)?;
        Ok(Self { name, server, clients, friends, _echo: echo })
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = &Pod> {
        std::iter::once(&self.server).chain(&self.clients).chain(&self.friends)
    }

    pub(super) fn pods_of(&self, node: &Node) -> impl Iterator<Item = &Pod> {
        self.pods().filter(|pod| pod.node().name() == node.name())
    }

    /// The server's node, and the other one.
    pub(super) fn nodes(&self) -> [&Node; 2] {
        [self.server.node(), self.clients[1].node()]
    }

    /// From both clients to the server: what the policies of these scenarios deny.
    pub(super) fn denied_ways(&self) -> Vec<Way> {
        self.ways("client", &self.clients)
    }

    /// From both friends to the server: what they allow.
    pub(super) fn allowed_ways(&self) -> Vec<Way> {
        self.ways("friend", &self.friends)
    }

    fn ways(&self, who: &str, [local, remote]: &[Pod; 2]) -> Vec<Way> {
        let way =
            |place, from| Way::both(&format!("{} {place} {who}", self.name), from, &self.server);
        [way("local", local), way("remote", remote)].concat()
    }
}
