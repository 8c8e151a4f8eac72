//! CHECK: everything ADD made is still there. Additions by others are fine.

use std::net::IpAddr;

use ipnet::IpNet;

use tartan_common::abi::PodEntry;

use crate::attempt::{host_socket, is_own};
use crate::context::Context;
use crate::environment::Invocation;
use crate::error::{CniError, Code};
use crate::identity::Identity;
use crate::ipam::Reservations;
use crate::naming::possible_names;
use crate::netconf::NetConf;
use crate::netlink::{Link, Rtnl};
use crate::netns::NetNs;
use crate::result::{CniResult, Interface};

/// Compares an attachment with its final result and with this plugin's own records.
///
/// # Errors
///
/// The first difference.
pub fn check(conf: &NetConf, call: &Invocation, context: &mut Context<'_>) -> Result<(), CniError> {
    let netns = NetNs::open(&call.netns)?;
    let prev = conf
        .prev_result()?
        .ok_or_else(|| CniError::new(Code::InvalidConfig, "Required prevResult missing"))?;
    let interface = own_interface(&prev, call)?;
    check_reservation(conf, call)?;
    check_pod(&mut netns.rtnl()?, interface, &prev, call)?;
    let ips = own_ips(&prev, call);
    let identity = Identity::new(&conf.name, &call.attachment);
    let names = possible_names(conf, identity, &call.args);
    let host_link = check_host(identity, &names, &ips, context)?;
    check_programs(&ips, &host_link, context)
}

fn own_interface<'a>(prev: &'a CniResult, call: &Invocation) -> Result<&'a Interface, CniError> {
    let ifname = &call.attachment.ifname;
    let inside = prev.interfaces.iter().find(|i| i.name == *ifname && !i.sandbox.is_empty());
    let interface = inside
        .ok_or_else(|| wrong(format!("interface {ifname} not in prevResult's interfaces")))?;
    let netns = call.netns.display().to_string();
    if interface.sandbox == netns {
        return Ok(interface);
    }
    let Interface { sandbox, .. } = interface;
    Err(wrong(format!("Sandbox in prevResult {sandbox} doesn't match configured netns: {netns}")))
}

/// The addresses tied to the container's interface, or to none.
fn own_ips(prev: &CniResult, call: &Invocation) -> Vec<IpNet> {
    let is_own = |index: u32| {
        let interface = prev.interfaces.get(index as usize);
        interface.is_some_and(|i| i.name == call.attachment.ifname && !i.sandbox.is_empty())
    };
    let ours = prev.ips.iter().filter(|ip| ip.interface.is_none_or(is_own));
    ours.map(|ip| ip.address).collect()
}

fn check_reservation(conf: &NetConf, call: &Invocation) -> Result<(), CniError> {
    let taken = Reservations::read(&conf.ipam_dir())?;
    if taken.of(&call.attachment).next().is_some() {
        return Ok(());
    }
    let id = &call.attachment.container_id;
    Err(wrong(format!("host-local: Failed to find address added by container {id}")))
}

fn check_pod(
    pod: &mut Rtnl,
    interface: &Interface,
    prev: &CniResult,
    call: &Invocation,
) -> Result<(), CniError> {
    let link = pod.link(&interface.name)?;
    let link = link.ok_or_else(|| wrong(format!("interface {} is missing", interface.name)))?;
    check_link(&link, interface)?;
    let addresses = pod.addresses(link.index)?;
    if let Some(ip) = own_ips(prev, call).iter().find(|ip| !addresses.contains(ip)) {
        return Err(wrong(format!("Failed to match addr {ip} on interface {}", interface.name)));
    }
    check_routes(pod, prev)
}

fn check_link(link: &Link, interface: &Interface) -> Result<(), CniError> {
    let Interface { name, mac, .. } = interface;
    if !link.is_veth {
        return Err(wrong(format!("interface {name} is not a veth")));
    }
    if !link.is_up {
        return Err(wrong(format!("interface {name} is down")));
    }
    let actual = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
    if !mac.is_empty() && !mac.eq_ignore_ascii_case(&actual) {
        return Err(wrong(format!("interface {name} has MAC {actual}, prevResult says {mac}")));
    }
    Ok(())
}

fn check_routes(pod: &mut Rtnl, prev: &CniResult) -> Result<(), CniError> {
    let actual = pod.routes()?;
    let in_main_table = prev.routes.iter().filter(|route| route.table.is_none());
    for expected in in_main_table {
        let fits = |gw: IpAddr| expected.gw.is_none_or(|wanted| wanted == gw);
        let present = actual.iter().any(|r| r.dst == expected.dst && r.gw.is_none_or(fits));
        if !present {
            return Err(wrong(format!(
                "Expected Route {} not found in routing table",
                expected.dst
            )));
        }
    }
    Ok(())
}

/// The host's end and its routes to the pod.
fn check_host(
    identity: Identity,
    names: &[String],
    ips: &[IpNet],
    context: &mut Context<'_>,
) -> Result<HostLink, CniError> {
    let mut host = host_socket()?;
    let mut found = None;
    for name in names {
        let link = host.link(name)?.filter(|link| is_own(link, identity) && link.is_up);
        found = found.or(link.map(|link| HostLink { name: name.clone(), index: link.index }));
    }
    let link = found.ok_or_else(|| wrong("the host's end of the veth is missing or down"))?;
    let routes = host.routes()?;
    for ip in ips {
        let to_pod = |route: &&crate::netlink::RouteEntry| {
            route.dst.addr() == ip.addr() && route.link == Some(link.index)
        };
        routes.iter().find(to_pod).ok_or_else(|| {
            wrong(format!("the host's route to {} over {} is missing", ip.addr(), link.name))
        })?;
    }
    if !context.datapath.attached(&link.name)? {
        return Err(wrong(format!("a program at {} is missing", link.name)));
    }
    Ok(link)
}

/// The host's end.
struct HostLink {
    name: String,
    index: u32,
}

/// What the programs know about the pod agrees with what is there.
fn check_programs(
    ips: &[IpNet],
    host: &HostLink,
    context: &mut Context<'_>,
) -> Result<(), CniError> {
    for ip in ips.iter().map(IpNet::addr) {
        let entry = context.datapath.pod(ip)?;
        // Its MAC address may be another one by now: `tuning` changes it, and nothing depends on it.
        let PodEntry { ifindex, .. } =
            entry.ok_or_else(|| wrong(format!("pod {ip} is not in the pods' map")))?;
        if ifindex != host.index {
            return Err(wrong(format!("the pods' map has another link for {ip}")));
        }
    }
    Ok(())
}

fn wrong(msg: impl Into<String>) -> CniError {
    CniError::new(Code::Internal, msg).hint("recreate the pod; see `tartanctl status`")
}
