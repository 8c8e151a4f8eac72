//! What every verb works with besides its request.

use crate::datapath::Datapath;
use crate::patience::Patience;

/// The data path, and lines for stderr.
pub struct Context<'a> {
    /// The node's eBPF data path.
    pub datapath: &'a mut dyn Datapath,
    /// What went wrong without failing the verb, one line each.
    pub notes: &'a mut Vec<String>,
    /// How long ADD may wait for the agent.
    pub patience: Patience,
}

impl Context<'_> {
    /// Remembers an error that must not fail the verb.
    pub fn note<E: std::fmt::Display>(&mut self, outcome: Result<(), E>) {
        if let Err(error) = outcome {
            self.notes.push(error.to_string());
        }
    }
}
