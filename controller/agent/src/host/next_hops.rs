//! How the other nodes are reached, by the kernel's word, for thousands of them.
//!
//! The kernel is asked once for each node; its answer is kept until something
//! changes that it may depend on, as [`Events`](super::Events) tell, or until it
//! is old: what the kernel does not tell must not last for ever.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's messages are an open set: what is not known may change everything"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use tartan_core::desired::NextHop;

use super::{Host, HostError};

/// Requests under way at once: their answers must fit the socket's receive buffer.
const AT_ONCE: usize = 64;
/// How long an answer is believed without an event.
const BELIEVED: Duration = Duration::from_mins(5);

/// The kernel's answers for one family.
#[derive(Clone, Debug)]
pub(super) struct KnownHops<A = Ipv4Addr>(Arc<Mutex<Known<A>>>);

type Hops<A> = BTreeMap<A, Option<NextHop<A>>>;

#[derive(Debug)]
struct Known<A> {
    /// Nodes without a route are known as such.
    hops: Hops<A>,
    since: Option<Instant>,
    /// Counts what was forgotten: an answer to a question that is older is not kept.
    generation: u64,
}

impl Host {
    /// How the kernel would send to these nodes; those without a route are missing.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn next_hops(
        &self,
        nodes: &[Ipv4Addr],
    ) -> Result<BTreeMap<Ipv4Addr, NextHop>, HostError> {
        self.hops.of(nodes, async |node| self.next_hop(node).await).await
    }

    /// The same for nodes' IPv6 addresses.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn next_hops6(
        &self,
        nodes: &[Ipv6Addr],
    ) -> Result<BTreeMap<Ipv6Addr, NextHop<Ipv6Addr>>, HostError> {
        self.hops6.of(nodes, async |node| self.next_hop6(node).await).await
    }

    /// Asks the kernel anew about every node.
    ///
    /// [`Events`](super::Events) that listen for this host forget by themselves what a change
    /// can have touched.
    pub fn forget_next_hops(&self) {
        self.hops.forget(|_, _| false);
        self.hops6.forget(|_, _| false);
    }
}

impl<A> Default for KnownHops<A> {
    fn default() -> Self {
        let known = Known { hops: BTreeMap::new(), since: None, generation: 0 };
        Self(Arc::new(Mutex::new(known)))
    }
}

impl<A: Ord + Copy + Into<IpAddr>> KnownHops<A> {
    /// What is known of these nodes, and what `ask` says of the others.
    async fn of(
        &self,
        nodes: &[A],
        ask: impl AsyncFn(A) -> Result<Option<NextHop<A>>, HostError>,
    ) -> Result<BTreeMap<A, NextHop<A>>, HostError> {
        let (generation, mut hops) = self.known(nodes);
        let unknown: Vec<A> =
            nodes.iter().filter(|node| !hops.contains_key(node)).copied().collect();
        let answers: Vec<_> = stream::iter(unknown)
            .map(async |node| Ok::<_, HostError>((node, ask(node).await?)))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        hops.extend(answers);
        self.keep(generation, &hops);
        Ok(hops.into_iter().filter_map(|(node, hop)| Some((node, hop?))).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Known<A>> {
        // No panic leaves the table half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, nodes: &[A]) -> (u64, Hops<A>) {
        let mut known = self.lock();
        if known.since.is_none_or(|since| since.elapsed() > BELIEVED) {
            known.hops.clear();
            known.since = Some(Instant::now());
        }
        let hops = nodes.iter().filter_map(|node| Some((*node, *known.hops.get(node)?))).collect();
        (known.generation, hops)
    }

    fn keep(&self, generation: u64, hops: &Hops<A>) {
        let mut known = self.lock();
        if known.generation == generation {
            known.hops.clone_from(hops);
        }
    }

    /// Forgets what `keep` does not hold on to.
    fn forget(&self, keep: impl Fn(A, Option<NextHop<A>>) -> bool) {
        let mut known = self.lock();
        known.generation += 1;
        known.hops.retain(|node, hop| keep(*node, *hop));
    }

    /// Forgets what an event can have changed.
    pub(super) fn note(&self, payload: &NetlinkPayload<RouteNetlinkMessage>) {
        let NetlinkPayload::InnerMessage(message) = payload else {
            // An overrun: events were lost.
            return self.forget(|_, _| false);
        };
        match message {
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                let prefix = destination(route);
                self.forget(|node, _| !prefix.contains(&node.into()));
            }
            // The ends of pods' links come and go all the time and lead to no node.
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link)
                if is_veth(link) =>
            {
                let index = link.header.index;
                self.forget(|_, hop| hop.is_some_and(|hop| hop.ifindex != index));
            }
            // The routes that belong to it have events of their own.
            RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_) => {}
            _ => self.forget(|_, _| false),
        }
    }
}

/// What a route is for. Without a destination it is all of its family.
fn destination(route: &RouteMessage) -> IpNet {
    let len = route.header.destination_prefix_length;
    let net = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(ip)) => IpNet::new((*ip).into(), len).ok(),
        RouteAttribute::Destination(RouteAddress::Inet6(ip)) => IpNet::new((*ip).into(), len).ok(),
        _ => None,
    });
    net.unwrap_or(match route.header.address_family {
        AddressFamily::Inet6 => Ipv6Net::default().into(),
        _ => Ipv4Net::default().into(),
    })
}

fn is_veth(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::Veth)),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::RouteMessageBuilder;

    const NEAR: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 12);
    const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
    const NOWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

    fn filled() -> KnownHops {
        let known = KnownHops::<Ipv4Addr>::default();
        let (generation, _) = known.known(&[]);
        let hop = |ifindex| Some(NextHop { via: NEAR, ifindex });
        known.keep(generation, &[(NEAR, hop(2)), (FAR, hop(3)), (NOWHERE, None)].into());
        known
    }

    fn left(known: &KnownHops) -> Vec<Ipv4Addr> {
        known.known(&[NEAR, FAR, NOWHERE]).1.into_keys().collect()
    }

    fn note(known: &KnownHops, message: RouteNetlinkMessage) -> Vec<Ipv4Addr> {
        known.note(&NetlinkPayload::InnerMessage(message));
        left(known)
    }

    fn route(destination: [u8; 4], length: u8) -> RouteNetlinkMessage {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(destination.into(), length)
            .build();
        RouteNetlinkMessage::NewRoute(route)
    }

    #[test]
    fn a_pods_route_makes_nothing_forgotten() {
        assert_eq!(note(&filled(), route([10, 244, 1, 5], 32)), [NEAR, FAR, NOWHERE]);
    }

    #[test]
    fn a_route_to_some_nodes_makes_them_forgotten() {
        assert_eq!(note(&filled(), route([172, 30, 0, 0], 24)), [FAR, NOWHERE]);
        assert!(note(&filled(), route([0, 0, 0, 0], 0)).is_empty());
    }

    #[test]
    fn each_family_forgets_by_its_own_routes() {
        let known = KnownHops::<Ipv6Addr>::default();
        let (near, far) = ("fd30::12".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let (generation, _) = known.known(&[]);
        known.keep(generation, &[(near, None), (far, None)].into());
        let left = |known: &KnownHops<Ipv6Addr>| known.known(&[near, far]).1.len();
        let tell = |route: RouteNetlinkMessage| known.note(&NetlinkPayload::InnerMessage(route));
        tell(route([0, 0, 0, 0], 0));
        assert_eq!(left(&known), 2);
        let prefix = |address, length| {
            let route = RouteMessageBuilder::<Ipv6Addr>::new();
            route.destination_prefix(address, length).build()
        };
        tell(RouteNetlinkMessage::DelRoute(prefix("fd30::".parse().unwrap(), 64)));
        assert_eq!(left(&known), 1);
        let default = prefix(Ipv6Addr::UNSPECIFIED, 0);
        assert_eq!(note(&filled(), RouteNetlinkMessage::NewRoute(default.clone())).len(), 3);
        tell(RouteNetlinkMessage::NewRoute(default));
        assert_eq!(left(&known), 0);
    }

    #[test]
    fn a_veth_makes_forgotten_what_goes_through_it() {
        let mut link = LinkMessage::default();
        link.header.index = 3;
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]));
        assert_eq!(note(&filled(), RouteNetlinkMessage::NewLink(link)), [NEAR]);
    }

    #[test]
    fn another_link_or_lost_events_make_everything_forgotten() {
        let known = filled();
        assert!(note(&known, RouteNetlinkMessage::NewLink(LinkMessage::default())).is_empty());
        let known = filled();
        known.note(&NetlinkPayload::Overrun(Vec::new()));
        assert!(left(&known).is_empty());
    }

    #[test]
    fn an_answer_older_than_a_change_is_not_kept() {
        let known = filled();
        let (generation, hops) = known.known(&[NEAR]);
        known.forget(|_, _| false);
        known.keep(generation, &hops);
        assert!(left(&known).is_empty());
    }
}
