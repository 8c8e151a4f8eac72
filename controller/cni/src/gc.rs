//! GC: free what no valid attachment owns.

use std::collections::BTreeSet;

use crate::context::Context;
use crate::del;
use crate::environment::{Attachment, is_identifier};
use crate::error::{CniError, Code};
use crate::handover;
use crate::ipam::{Locked, Owner, Reservation, Reservations};
use crate::netconf::NetConf;

/// Removes every reservation of the network that is not listed, with its veth and map entry.
///
/// # Errors
///
/// All failures joined, after everything was tried.
pub fn gc(conf: &NetConf, context: &mut Context<'_>) -> Result<(), CniError> {
    let Some(valid) = conf.valid_attachments()? else {
        context.notes.push(
            "GC without cni.dev/valid-attachments frees nothing; an empty list frees all".into(),
        );
        return Ok(());
    };
    let is_stale = |reservation: &Reservation| !valid.iter().any(|a| reservation.owner.is(a));
    let taken = Reservations::read(&conf.ipam_dir())?;
    let failures: Vec<String> = taken
        .iter()
        .filter(is_stale)
        .filter_map(|reservation| {
            forget(conf, &reservation.owner, &valid, context);
            free(conf, &reservation, context).err()
        })
        .map(|error| error.to_string())
        .collect();
    if failures.is_empty() {
        return Ok(());
    }
    Err(CniError::new(Code::Internal, failures.join("; ")).hint("the next GC tries again"))
}

/// Removes the file kept for flannel's plugin, unless another attachment of the container lives.
fn forget(conf: &NetConf, owner: &Owner, valid: &[Attachment], context: &mut Context<'_>) {
    let id = match owner {
        Owner::Attachment(attachment) => &attachment.container_id,
        Owner::Container(id) => id,
    };
    // What is no container's id names no file of a container either.
    if is_identifier(id) && valid.iter().all(|attachment| attachment.container_id != *id) {
        context.note(handover::remove(&conf.scratch_file(id)));
    }
}

fn free(
    conf: &NetConf,
    reservation: &Reservation,
    context: &mut Context<'_>,
) -> Result<(), CniError> {
    match &reservation.owner {
        Owner::Attachment(attachment) => {
            let ips = BTreeSet::from([reservation.ip]);
            del::remove(conf, attachment, "", ips, context).map(|_| ())
        }
        // Only plugins before ours wrote no interface: there is no veth or entry of ours.
        Owner::Container(_) => Ok(Locked::open(&conf.ipam_dir())?.release(reservation.ip)?),
    }
}
