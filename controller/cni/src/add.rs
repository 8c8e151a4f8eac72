//! ADD: reserve, make, guard, connect; or leave no trace.

use serde_json::Value;

use crate::attempt::Attempt;
use crate::context::Context;
use crate::datapath::DatapathError;
use crate::environment::Invocation;
use crate::error::{CniError, Code};
use crate::netconf::NetConf;
use crate::netns::{Inside, NetNs};
use crate::plan::Plan;

/// Attaches a container and answers with the result in the configuration's version.
///
/// # Errors
///
/// The first failure, after everything was undone in reverse.
pub fn add(
    conf: &NetConf,
    call: &Invocation,
    context: &mut Context<'_>,
) -> Result<Value, CniError> {
    let netns = NetNs::open(&call.netns)?;
    refuse_chained(conf)?;
    let plan = Plan::new(conf, call, context.patience, &mut *context.datapath)?;
    let mut pod = netns.enter(&call.attachment.ifname)?;
    refuse_existing(&pod, call)?;
    await_datapath(context)?;

    let mut attempt = Attempt::new(conf, call, &plan, context)?;
    attempt.reserve()?;
    attempt.record()?;
    attempt.create_veth(&netns)?;
    attempt.allow_ipv6(&netns)?;
    attempt.register()?;
    attempt.connect_host()?;
    attempt.connect_pod(&mut pod.rtnl)?;
    attempt.await_carrier()?;
    attempt.route_host()?;
    Ok(attempt.finish()?.to_json(conf.version))
}

/// Earlier results would have to be carried over; flannel's plugin comes first as well.
fn refuse_chained(conf: &NetConf) -> Result<(), CniError> {
    if conf.prev_result()?.is_none() {
        return Ok(());
    }
    Err(CniError::new(Code::InvalidConfig, "this plugin must be the first of the list")
        .hint("move it to the front of `plugins` in the conflist"))
}

/// The agent pins before it writes `subnet.env`; another's file may be there sooner.
fn await_datapath(context: &mut Context<'_>) -> Result<(), CniError> {
    let datapath = &mut context.datapath;
    context.patience.wait_for(|| !matches!(datapath.ready(), Err(DatapathError::NotReady(_))));
    Ok(datapath.ready()?)
}

fn refuse_existing(pod: &Inside, call: &Invocation) -> Result<(), CniError> {
    if !pod.has_interface {
        return Ok(());
    }
    let ifname = &call.attachment.ifname;
    Err(CniError::new(
        Code::Netlink,
        format!("container veth name (\"{ifname}\") already exists in {}", call.netns.display()),
    )
    .hint("the runtime must DEL the attachment before it ADDs it again"))
}
