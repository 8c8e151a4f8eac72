//! What the contenders stand on: the lab's wire, and a control plane while they are set up.

use std::cell::OnceCell;

use anyhow::{Result, anyhow};

use crate::control_plane::{ControlPlane, Options};
use crate::kube_proxy;
use crate::lab::Lab;
use crate::scenario::skip;
use crate::wire::Wire;

/// The lab, and a control plane that starts when it is first asked for.
pub(super) struct Ground {
    pub(super) lab: Lab,
    plane: OnceCell<Result<ControlPlane, String>>,
}

impl Ground {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { lab: Lab::new(Wire::Framed)?, plane: OnceCell::new() })
    }

    /// The control plane: etcd and an API server, without controllers.
    ///
    /// # Errors
    /// When a program is not built (a skip) or it does not start.
    pub(super) fn plane(&self) -> Result<&ControlPlane> {
        let started = self.plane.get_or_init(|| {
            let flags = ["--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000"];
            let options = Options {
                users: vec![kube_proxy::user()],
                api_server_flags: flags.map(str::to_owned).to_vec(),
                ..Options::without_controllers()
            };
            ControlPlane::start(&self.lab, &options).map_err(|error| format!("{error:#}"))
        });
        started.as_ref().map_err(|why| {
            if why.contains("is not built") { skip(why.clone()) } else { anyhow!("{why}") }
        })
    }

    /// Ends the control plane: what it and its clients do is in nobody's figures.
    pub(super) fn leave(self) -> Lab {
        self.lab
    }
}
