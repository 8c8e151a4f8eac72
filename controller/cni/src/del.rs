//! DEL: remove what is left, whatever that is.
//!
//! Everything is found from the attachment itself: its reservations, and its
//! host veth and pins by name. Neither `subnet.env` nor the namespace nor
//! `prevResult` nor the agent is needed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use nix::errno::Errno;

use crate::attempt::{host_socket, is_own};
use crate::context::Context;
use crate::environment::{Attachment, Invocation};
use crate::error::CniError;
use crate::handover;
use crate::identity::Identity;
use crate::ipam::{Locked, Reservations};
use crate::naming::possible_names;
use crate::netconf::NetConf;
use crate::netlink::{Rtnl, delete_link};
use crate::netns::NetNs;

/// Detaches a container.
///
/// # Errors
///
/// Only what a later try may cure: a link the kernel would not delete, an
/// address that could not be released. What is gone is no error.
pub fn del(conf: &NetConf, call: &Invocation, context: &mut Context<'_>) -> Result<(), CniError> {
    let found_veth = remove(conf, &call.attachment, &call.args, remembered_ips(conf), context)?;
    let scratch = conf.scratch_file(&call.attachment.container_id);
    if !found_veth {
        context.note(remove_foreign_veth(call));
        tell_of_masquerade(&scratch, call, context);
    }
    context.note(handover::remove(&scratch));
    Ok(())
}

/// Where flannel's agent did not masquerade, the bridge plugin made a chain for each pod. This
/// plugin starts no programs, so the chain stays: it matches an address that nobody has any more.
fn tell_of_masquerade(scratch: &Path, call: &Invocation, context: &mut Context<'_>) {
    if handover::pod_was_masqueraded(scratch) {
        let id = &call.attachment.container_id;
        context.notes.push(format!(
            "the bridge plugin's masquerade rules of {id} are left; a restart of the node drops \
             them, or delete what `iptables-save -t nat | grep {id}` lists"
        ));
    }
}

/// Removes veth, pins, map entries and reservations of an attachment; says if there was a veth.
pub(crate) fn remove(
    conf: &NetConf,
    attachment: &Attachment,
    cni_args: &str,
    mut ips: BTreeSet<IpAddr>,
    context: &mut Context<'_>,
) -> Result<bool, CniError> {
    let identity = Identity::new(&conf.name, attachment);
    let found_veth = remove_veths(identity, &possible_names(conf, identity, cni_args), context)?;
    let dir = conf.ipam_dir();
    ips.extend(Reservations::read(&dir)?.of(attachment));
    for ip in &ips {
        remove_entry(*ip, identity, context);
    }
    if dir.is_dir() {
        Locked::open(&dir)?.release_all(attachment)?;
    }
    Ok(found_veth)
}

/// Addresses that only the earlier result still knows.
fn remembered_ips(conf: &NetConf) -> BTreeSet<IpAddr> {
    let prev = conf.prev_result().ok().flatten().unwrap_or_default();
    prev.ips.iter().map(|ip| ip.address.addr()).collect()
}

/// The programs go with the link, so no packet passes unseen; the pins are taken away after it.
fn remove_veths(
    identity: Identity,
    names: &[String],
    context: &mut Context<'_>,
) -> Result<bool, CniError> {
    let mut host = host_socket()?;
    let mut found = false;
    for name in names {
        match host.link(name)? {
            Some(link) if !is_own(&link, identity) => continue,
            Some(link) => {
                delete(&mut host, link.index)?;
                found = true;
            }
            None => {}
        }
        let detached = context.datapath.detach(name);
        context.note(detached);
    }
    Ok(found || remove_renamed(&mut host, identity, context)?)
}

/// A veth of a name that cannot be told from what the runtime says now, for instance from a GC.
fn remove_renamed(
    host: &mut Rtnl,
    identity: Identity,
    context: &mut Context<'_>,
) -> Result<bool, CniError> {
    let Some((name, link)) = host.veth_with(identity.host_mac())? else { return Ok(false) };
    delete(host, link.index)?;
    let detached = context.datapath.detach(&name);
    context.note(detached);
    Ok(true)
}

fn delete(rtnl: &mut Rtnl, index: u32) -> Result<(), CniError> {
    match rtnl.run(vec![delete_link(index)]) {
        Err(error) if !error.is(Errno::ENODEV) => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a map entry that still belongs to the attachment; a failure only leaves a dead entry.
fn remove_entry(ip: IpAddr, identity: Identity, context: &mut Context<'_>) {
    let host_mac = identity.host_mac();
    let outcome = match context.datapath.pod(ip) {
        Ok(Some(entry)) if entry.host_mac == host_mac => context.datapath.remove_pod(ip),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    context.note(outcome);
}

/// A pod that another plugin wired before this one took over loses its veth as well.
fn remove_foreign_veth(call: &Invocation) -> Result<(), CniError> {
    // A path that is gone, no namespace any more, or our own has nothing to remove.
    let Ok(netns) = NetNs::open(&call.netns) else { return Ok(()) };
    let Ok(mut pod) = netns.rtnl() else { return Ok(()) };
    match pod.link(&call.attachment.ifname)?.filter(|link| link.is_veth) {
        Some(link) => delete(&mut pod, link.index),
        None => Ok(()),
    }
}
