//! One ADD under way: each step remembers what must be undone if a later one fails.
//!
//! The order keeps a pod from ever sending a packet that no program sees: the
//! programs are attached while both ends are down, and the host's route, by
//! which packets reach the pod, comes last.

use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use netlink_packet_route::neighbour::NeighbourState;
use nix::errno::Errno;

use tartan_common::Mac;
use tartan_common::abi::PodEntry;

use crate::context::Context;
use crate::environment::Invocation;
use crate::error::{CniError, Code};
use crate::handover::Record;
use crate::identity::Identity;
use crate::ipam::{Locked, Range, reserve};
use crate::netconf::NetConf;
use crate::netlink::{
    LOOPBACK, Link, NetlinkError, Rtnl, VethPair, add_address, add_neighbour, add_route,
    create_veth, delete_link, host_net, link_up,
};
use crate::netns::NetNs;
use crate::plan::Plan;
use crate::result::{CniResult, Interface, IpConfig, Route};
use crate::sysctl;

/// How often the host's end is asked whether it transmits, and how long between.
const CARRIER_TRIES: u32 = 1000;
const CARRIER_PAUSE: Duration = Duration::from_millis(1);

/// Undoes in reverse what was done, unless [`Attempt::finish`] was reached.
pub(crate) struct Attempt<'a, 'c> {
    call: &'a Invocation,
    plan: &'a Plan,
    context: &'a mut Context<'c>,
    host: Rtnl,
    ipam_dir: PathBuf,
    scratch_file: PathBuf,
    identity: Identity,
    pod_mac: Mac,
    /// The addresses, IPv4 first, each with the pod's next hop.
    ips: Vec<(IpAddr, IpAddr)>,
    record: Option<Record>,
    veth: Option<Veth>,
    registered: bool,
}

/// A veth that exists.
struct Veth {
    host_name: String,
    host_index: u32,
    pod_index: u32,
}

impl<'a, 'c> Attempt<'a, 'c> {
    /// Prepares; nothing is touched yet.
    pub(crate) fn new(
        conf: &NetConf,
        call: &'a Invocation,
        plan: &'a Plan,
        context: &'a mut Context<'c>,
    ) -> Result<Self, CniError> {
        let identity = Identity::new(&conf.name, &call.attachment);
        Ok(Self {
            call,
            plan,
            context,
            host: host_socket()?,
            ipam_dir: conf.ipam_dir(),
            scratch_file: conf.scratch_file(&call.attachment.container_id),
            identity,
            pod_mac: plan.mac.unwrap_or(identity.pod_mac()),
            ips: Vec::new(),
            record: None,
            veth: None,
            registered: false,
        })
    }

    /// Takes an address.
    pub(crate) fn reserve(&mut self) -> Result<(), CniError> {
        let store = Locked::open(&self.ipam_dir)?;
        let Plan { ranges, requested, .. } = self.plan;
        let is_of = |range: &Range, ip: &IpAddr| range.gateway().is_ipv4() == ip.is_ipv4();
        let is_anyones = |ip: &IpAddr| ranges.iter().any(|range| is_of(range, ip));
        for (index, range) in ranges.iter().enumerate() {
            // What is of no family of the node's is for the first range to refuse.
            let asked = |ip: &&IpAddr| is_of(range, ip) || (index == 0 && !is_anyones(ip));
            let asked: Vec<IpAddr> = requested.iter().filter(asked).copied().collect();
            let ip = reserve(&store, *range, &self.call.attachment, &asked)?;
            self.ips.push((ip, range.gateway()));
        }
        Ok(())
    }

    /// Leaves what flannel's plugin needs to release the pod.
    pub(crate) fn record(&mut self) -> Result<(), CniError> {
        self.record = Some(Record::write(self.scratch_file.clone(), &self.plan.handover)?);
        Ok(())
    }

    /// Makes both ends, down, under the first name that is free on the host.
    pub(crate) fn create_veth(&mut self, netns: &NetNs) -> Result<(), CniError> {
        let (host_name, host) = self.create_under_free_name(netns)?;
        // From here on the link is undone, even if its other end cannot be found.
        let veth = Veth { host_name, host_index: host.index, pod_index: 0 };
        let veth = self.veth.insert(veth);
        veth.pod_index = host.peer.ok_or_else(|| vanished(&self.call.attachment.ifname))?;
        Ok(())
    }

    fn create_under_free_name(&mut self, netns: &NetNs) -> Result<(String, Link), CniError> {
        let mut last = None;
        for name in &self.plan.host_names {
            match self.host.create(create_veth(&self.pair(name, netns)), name) {
                Ok(link) => return Ok((name.clone(), link.ok_or_else(|| vanished(name))?)),
                Err(error) if error.is(Errno::EEXIST) => last = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.map_or_else(|| vanished(&self.call.attachment.ifname), |error| self.taken(error)))
    }

    fn taken(&self, error: NetlinkError) -> CniError {
        let names = self.plan.host_names.join(", ");
        CniError::from(error).hint(format!(
            "an interface called {names} is there already: another sandbox of the same pod, which \
             the runtime must DEL first, or a stranger's"
        ))
    }

    fn pair<'n>(&'n self, host_name: &'n str, netns: &NetNs) -> VethPair<'n> {
        VethPair {
            host_name,
            host_mac: self.identity.host_mac(),
            pod_name: &self.call.attachment.ifname,
            pod_mac: self.pod_mac,
            mtu: self.plan.mtu,
            netns: netns.as_raw_fd(),
        }
    }

    /// A runtime may have switched IPv6 off in a namespace that it made for both families, and
    /// the pod's only router is known: nobody has to advertise one.
    pub(crate) fn allow_ipv6(&self, netns: &NetNs) -> Result<(), CniError> {
        if !self.plan.has_ipv6() {
            return Ok(());
        }
        let conf = |key| format!("ipv6/conf/{}/{key}", self.call.attachment.ifname);
        netns.set(&[(conf("disable_ipv6"), "0"), (conf("accept_ra"), "0")])
    }

    /// Tells the programs about the pod and attaches them, while both ends are down.
    pub(crate) fn register(&mut self) -> Result<(), CniError> {
        let veth = made(self.veth.as_ref())?;
        let entry = PodEntry {
            ifindex: veth.host_index,
            flags: PodEntry::flags_of(self.plan.asks_for_stack, self.plan.will_be_shaped),
            pod_mac: self.pod_mac,
            host_mac: self.identity.host_mac(),
        };
        self.registered = true;
        let datapath = &mut self.context.datapath;
        for (ip, _) in &self.ips {
            datapath.insert_pod(*ip, entry)?;
        }
        let may_be_provisional = self.plan.qdisc_is_free;
        if !(may_be_provisional && datapath.attach_provisionally(&veth.host_name)?) {
            datapath.attach(&veth.host_name)?;
        }
        if self.plan.asks_for_stack {
            datapath.remember_wish(&veth.host_name)?;
        }
        Ok(())
    }

    /// Host's end: settings, up, and the pod's MAC address, which others may change later: the
    /// kernel uses it at once, and then asks whether it is still the right one.
    pub(crate) fn connect_host(&mut self) -> Result<(), CniError> {
        let veth = made(self.veth.as_ref())?;
        let accept_ra = format!("ipv6/conf/{}/accept_ra", veth.host_name);
        self.context.note(sysctl::ensure(&accept_ra, "0"));
        if self.plan.has_ipv6() {
            self.context.note(sysctl::ensure("ipv6/conf/all/forwarding", "1"));
        }
        self.context.note(sysctl::ensure("ipv4/ip_forward", "1"));
        if self.context.datapath.skips_conntrack() {
            // It sees not all of a flow. Where the agent may not write settings, we may.
            self.context.note(sysctl::ensure("netfilter/nf_conntrack_tcp_be_liberal", "1"));
        }
        let state = NeighbourState::Stale;
        let index = veth.host_index;
        // What is masqueraded towards the pod gets the link's address: the gateway's, as on a bridge.
        let mut batch = vec![link_up(index)];
        for (ip, gateway) in &self.ips {
            batch.push(add_address(index, *gateway));
            batch.push(add_neighbour(index, *ip, self.pod_mac, state));
        }
        self.host.run(batch)?;
        self.answer_for_pod_on_bridge();
        Ok(())
    }

    /// Pods of flannel's chain ask on their bridge who has this pod's address, because it lies in
    /// their subnet: the host answers for it, and at once.
    fn answer_for_pod_on_bridge(&mut self) {
        let bridge = &self.plan.bridge;
        for (setting, value) in [
            (format!("ipv4/conf/{bridge}/proxy_arp"), "1"),
            (format!("ipv4/neigh/{bridge}/proxy_delay"), "0"),
        ] {
            self.context.note(sysctl::ensure(&setting, value));
        }
    }

    /// Container's end: address, up, and the way to everything else.
    pub(crate) fn connect_pod(&mut self, pod: &mut Rtnl) -> Result<(), CniError> {
        let index = made(self.veth.as_ref())?.pod_index;
        let host_mac = self.identity.host_mac();
        let mut batch = vec![link_up(LOOPBACK)];
        batch.extend(self.ips.iter().map(|(ip, _)| add_address(index, *ip)));
        batch.push(link_up(index));
        for (_, gateway) in &self.ips {
            batch.push(add_route(index, &onto_link(*gateway), None));
            batch.push(add_neighbour(index, *gateway, host_mac, NeighbourState::Permanent));
        }
        batch.extend(self.plan.routes.iter().map(|route| add_route(index, route, None)));
        pod.run(batch)?;
        Ok(())
    }

    /// Waits until the host's end transmits: it came up before there was a carrier, and the kernel
    /// starts its queue a moment after the other end is up. Until then it drops what it is given.
    ///
    /// From Linux 6.8 on the question alone makes the kernel do it, so there is no wait.
    pub(crate) fn await_carrier(&mut self) -> Result<(), CniError> {
        let veth = made(self.veth.as_ref())?;
        for _ in 0..CARRIER_TRIES {
            let link = self.host.link(&veth.host_name)?;
            if link.ok_or_else(|| vanished(&veth.host_name))?.is_operational {
                return Ok(());
            }
            thread::sleep(CARRIER_PAUSE);
        }
        let name = &veth.host_name;
        Err(CniError::new(
            Code::Netlink,
            format!("{name} has no carrier after its pod's end is up"),
        )
        .hint("the node is overloaded or the pod went away; the runtime tries again"))
    }

    /// The host's way to the pod, from the gateway's address.
    pub(crate) fn route_host(&mut self) -> Result<(), CniError> {
        let index = made(self.veth.as_ref())?.host_index;
        let route = |(ip, gateway): &(IpAddr, IpAddr)| {
            add_route(index, &onto_link(*ip), Some(*gateway)).replacing()
        };
        Ok(self.host.run(self.ips.iter().map(route).collect())?)
    }

    /// The result; from here on nothing is undone.
    pub(crate) fn finish(mut self) -> Result<CniResult, CniError> {
        let veth = made(self.veth.as_ref())?;
        let interface = |name: &str, mac: Mac, sandbox: String| Interface {
            name: name.to_owned(),
            mac: mac.to_string(),
            mtu: Some(self.plan.mtu),
            sandbox,
        };
        let netns = self.call.netns.display().to_string();
        let result = CniResult {
            interfaces: vec![
                interface(&veth.host_name, self.identity.host_mac(), String::new()),
                interface(&self.call.attachment.ifname, self.pod_mac, netns),
            ],
            ips: self.ips.iter().map(|(ip, gateway)| address(*ip, *gateway)).collect(),
            routes: self.plan.routes.clone(),
            dns: self.plan.dns.clone(),
        };
        self.veth = None;
        self.record = None;
        self.ips.clear();
        Ok(result)
    }

    fn undo_veth(&mut self, veth: &Veth) {
        let gone = |error: &NetlinkError| error.is(Errno::ENODEV);
        let deleted = self.host.run(vec![delete_link(veth.host_index)]);
        self.context.note(deleted.or_else(|error| if gone(&error) { Ok(()) } else { Err(error) }));
        if self.registered {
            let detached = self.context.datapath.detach(&veth.host_name);
            self.context.note(detached);
        }
    }

    fn undo_address(&mut self, ip: IpAddr) {
        if self.registered {
            let removed = self.context.datapath.remove_pod(ip);
            self.context.note(removed);
        }
        let released = Locked::open(&self.ipam_dir).and_then(|store| store.release(ip));
        self.context.note(released);
    }
}

impl Drop for Attempt<'_, '_> {
    fn drop(&mut self) {
        if let Some(veth) = self.veth.take() {
            self.undo_veth(&veth);
        }
        if let Some(record) = self.record.take() {
            self.context.note(record.undo());
        }
        for (ip, _) in std::mem::take(&mut self.ips) {
            self.undo_address(ip);
        }
    }
}

/// A socket in the host's namespace.
pub(crate) fn host_socket() -> Result<Rtnl, CniError> {
    Rtnl::open().map_err(|error| {
        CniError::new(Code::Netlink, format!("open a netlink socket: {error}"))
            .hint("the plugin needs CAP_NET_ADMIN on the host")
    })
}

/// The neighbour itself, without a next hop.
fn onto_link(ip: IpAddr) -> Route {
    Route { gw: None, ..Route::via(host_net(ip), ip) }
}

/// An address of the container's interface, the second of the result's.
fn address(ip: IpAddr, gateway: IpAddr) -> IpConfig {
    IpConfig { address: host_net(ip), gateway: Some(gateway), interface: Some(1) }
}

fn made(veth: Option<&Veth>) -> Result<&Veth, CniError> {
    veth.ok_or_else(|| CniError::new(Code::Internal, "steps of ADD out of order"))
}

fn vanished(name: &str) -> CniError {
    CniError::new(Code::Netlink, format!("link {name} was removed while it was being set up"))
        .hint("another program on the node deletes interfaces; exclude veth* from it")
}

impl From<NetlinkError> for CniError {
    fn from(error: NetlinkError) -> Self {
        Self::new(Code::Netlink, error.to_string())
            .hint("the plugin needs CAP_NET_ADMIN on the host and a kernel with veth")
    }
}

/// Whether a link is the host's end that belongs to an identity.
pub(crate) fn is_own(link: &Link, identity: Identity) -> bool {
    link.is_veth && link.mac == Some(identity.host_mac())
}
