//! What goes wrong with a control plane.

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use super::{API_PORT, ControlPlane, Program};
use crate::process::Place;

/// nftables table of a black hole.
const TABLE: &str = "lab_black_hole";

impl ControlPlane {
    /// Freezes an API server: it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// When there is none of this index.
    pub fn freeze(&self, index: usize) -> Result<()> {
        self.api_server(index)?.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen API server go on.
    ///
    /// # Errors
    /// When there is none of this index.
    pub fn thaw(&self, index: usize) -> Result<()> {
        self.api_server(index)?.signal(Signal::SIGCONT)
    }

    /// Kills an API server: connections are refused until [`ControlPlane::restart`].
    ///
    /// # Errors
    /// When there is none of this index.
    pub fn kill(&mut self, index: usize) -> Result<()> {
        self.api_server_mut(index)?.kill()
    }

    /// Starts an API server again, after a kill or in place of a running one, and waits until all
    /// of them are ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn restart(&mut self, index: usize) -> Result<()> {
        self.api_server_mut(index)?.restart()?;
        self.wait_ready()
    }

    /// The process id of an API server.
    ///
    /// # Errors
    /// When there is none of this index.
    pub fn api_server_pid(&self, index: usize) -> Result<u32> {
        self.api_server(index).map(Program::pid)
    }

    /// Ends the controller manager; nodes get no podCIDR from then on.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop_controllers(&mut self) -> Result<()> {
        self.controller_manager.take().map_or(Ok(()), |mut program| program.kill())
    }

    fn api_server(&self, index: usize) -> Result<&Program> {
        self.api_servers.get(index).with_context(|| format!("no API server {index}"))
    }

    fn api_server_mut(&mut self, index: usize) -> Result<&mut Program> {
        self.api_servers.get_mut(index).with_context(|| format!("no API server {index}"))
    }
}

/// A place whose packets to and from every API server vanish: no reset, no ICMP error. It ends
/// when dropped.
#[derive(Debug)]
pub struct BlackHole<'a, P: Place + ?Sized> {
    place: &'a P,
}

impl<'a, P: Place + ?Sized> BlackHole<'a, P> {
    /// Opens it around `place`, for instance a node.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn around(place: &'a P) -> Result<Self> {
        let ports = format!("{{ {API_PORT}, {} }}", API_PORT + 1);
        let chain = |hook: &str, port: &str| {
            format!(
                "add chain ip {TABLE} {hook} {{ type filter hook {hook} priority -300; }}\n\
                 add rule ip {TABLE} {hook} tcp {port} {ports} drop\n"
            )
        };
        let (input, output) = (chain("input", "sport"), chain("output", "dport"));
        place.shell(&format!("nft -f - <<'END'\nadd table ip {TABLE}\n{input}{output}END"))?;
        Ok(Self { place })
    }

    /// Ends it.
    ///
    /// # Errors
    /// When nftables refuses.
    pub fn close(self) -> Result<()> {
        self.end()
    }

    fn end(&self) -> Result<()> {
        self.place.run(&format!("nft delete table ip {TABLE}")).map(drop)
    }
}

impl<P: Place + ?Sized> Drop for BlackHole<'_, P> {
    fn drop(&mut self) {
        // The place may be gone already.
        let _ = self.end();
    }
}
