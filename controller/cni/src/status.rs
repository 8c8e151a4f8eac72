//! STATUS: could an ADD be served now?

use crate::context::Context;
use crate::error::{CniError, Code};
use crate::ipam::Reservations;
use crate::netconf::NetConf;
use crate::plan::ranges;
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
    let ranges = ranges(&SubnetEnv::load(&conf.subnet_file()?)?)?;
    context.datapath.ready()?;
    let taken = Reservations::read(&conf.ipam_dir())?;
    for range in ranges {
        range.find_free(&taken)?;
    }
    Ok(())
}
