//! The XDP program on the uplink, where `--xdp-iface` names it.
//!
//! It and the program behind it trust each other by a stage in the configuration, which changes
//! one step at a time: no packet is misunderstood on the way between them.

use std::time::{Duration, Instant};

use tartan_common::abi::XdpStage;
use tartan_datapath::{Features, XdpState, attach_xdp, detach_xdp, xdp_state};
use tracing::{info, warn};

/// How long a driver that refused is left alone.
const RETRY: Duration = Duration::from_mins(1);

/// What is known about the program on the uplink.
#[derive(Debug, Default)]
pub(super) struct UplinkXdp {
    /// The uplink that this agent put its own build on.
    renewed: Option<u32>,
    /// What was refused, where, and when.
    refusal: Option<(u32, Instant, String)>,
}

impl UplinkXdp {
    /// The stage that fits what is attached. `wanted` is the uplink, if it shall have the program.
    pub(super) fn stage(wanted: Option<u32>) -> anyhow::Result<XdpStage> {
        Ok(match (xdp_state()?, wanted) {
            (XdpState::Absent, _) => XdpStage::Off,
            (XdpState::On(there), Some(uplink)) if there == uplink => XdpStage::On,
            (XdpState::On(_), _) => XdpStage::Leaving,
        })
    }

    /// One step closer, after the programs were given `stage`. Says whether the stage changed.
    pub(super) fn settle(
        &mut self,
        stage: XdpStage,
        wanted: Option<u32>,
        features: Features,
    ) -> anyhow::Result<bool> {
        match (stage, wanted) {
            (XdpStage::Leaving, _) => {
                detach_xdp()?;
                info!("took the XDP program off: it is not wanted there any more");
                Ok(true)
            }
            (XdpStage::Off, Some(uplink)) => Ok(self.attach(uplink, features)),
            // Another build may have put it there.
            (XdpStage::On, Some(uplink)) if self.renewed != Some(uplink) => {
                self.attach(uplink, features);
                Ok(false)
            }
            (XdpStage::On, _) => Ok(false),
            (XdpStage::Off, None) => {
                self.refusal = None;
                Ok(false)
            }
        }
    }

    /// Why the program is not where it is wanted.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.refusal.as_ref().map(|(_, _, why)| why.as_str())
    }

    fn attach(&mut self, uplink: u32, features: Features) -> bool {
        let is_too_early = self
            .refusal
            .as_ref()
            .is_some_and(|(where_, when, _)| *where_ == uplink && when.elapsed() < RETRY);
        if is_too_early {
            return false;
        }
        match attach_xdp(uplink, features) {
            Ok(()) => {
                info!(ifindex = uplink, "attached the XDP program in the uplink's driver");
                (self.renewed, self.refusal) = (Some(uplink), None);
                true
            }
            Err(error) => {
                warn!(%error, "the uplink goes without XDP: tunnel packets are decapsulated at tc");
                self.refusal = Some((uplink, Instant::now(), error.to_string()));
                false
            }
        }
    }
}
