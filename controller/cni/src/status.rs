//! STATUS: could an ADD be served now?

use crate::context::Context;
use crate::error::{CniError, Code};
use crate::ipam::{Range, Reservations};
use crate::netconf::NetConf;
use crate::subnet::SubnetEnv;

/// Looks at the node's lease, the data path and the free addresses; changes nothing.
///
/// # Errors
///
/// Code 50 with the reason.
pub fn status(conf: &NetConf, context: &mut Context<'_>) -> Result<(), CniError> {
    servable(conf, context).map_err(|error| CniError { code: Code::NotAvailable, ..error })
}

fn servable(conf: &NetConf, context: &mut Context<'_>) -> Result<(), CniError> {
    conf.delegate()?;
    conf.routes()?;
    let range = Range::new(SubnetEnv::load(&conf.subnet_file()?)?.subnet.into())?;
    context.datapath.ready()?;
    range.find_free(&Reservations::read(&conf.ipam_dir())?)?;
    Ok(())
}
