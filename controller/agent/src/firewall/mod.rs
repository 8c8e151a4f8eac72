//! The host's packet filter: our rules in it, and what the others mean for pods.
//!
//! Our rules are one table of nf_tables per family, or chains of our own where the kernel has
//! only xtables. They are compared with what they shall be whenever somebody changes anything,
//! and written only where they differ. Nobody else's rule is changed; what flannel left behind is
//! taken away once ours are there.

mod events;
mod plan;

use anyhow::{Context as _, Result};
use tartan_core::netfilter::leftovers;
use tartan_core::netfilter::model::{Engine, Table};
use tartan_core::netfilter::wanted::TABLE;
use tartan_netfilter::nft::Nft;
use tartan_netfilter::{NetfilterError, Survey, remove, xtables};
use tracing::{info, warn};

pub use self::events::FirewallEvents;
use self::events::Known;
use self::plan::Plan;
pub use self::plan::Request;

/// After each write the result is read; somebody who undoes it at once gets this many tries.
const TRIES: u32 = 3;

/// The packet filter of the host.
#[derive(Debug)]
pub struct Firewall {
    /// `None` where the kernel has no nf_tables.
    nft: Option<Nft>,
    survey: Survey,
    /// What the listener compares with.
    known: Known,
    /// Why the rules in force are not known.
    trouble: Option<String>,
    /// Ours were in place once: if they are not, somebody removed them.
    was_in_place: bool,
    /// Why flannel's rules could not be removed: ours work beside them.
    leftovers: Option<String>,
}

impl Firewall {
    /// The packet filter of this namespace; nothing is read yet.
    #[must_use]
    pub fn open() -> Self {
        let nft = match Nft::open() {
            Ok(nft) => Some(nft),
            Err(problem) => {
                info!(%problem, "rules go to xtables");
                None
            }
        };
        Self {
            nft,
            survey: Survey::default(),
            known: Known::default(),
            trouble: None,
            was_in_place: false,
            leftovers: None,
        }
    }

    /// Reads the rules again if they changed.
    pub fn look(&mut self) {
        let outcome = self.survey.refresh(self.nft.as_mut(), TABLE);
        self.trouble = outcome.err().map(|problem| problem.to_string());
        self.known.set(self.survey.seen());
    }

    /// Starts listening for changes.
    #[must_use]
    pub fn events(&self) -> FirewallEvents {
        FirewallEvents::listen(self.known.clone())
    }

    /// The rules that were read last, or why they are not known.
    ///
    /// # Errors
    /// What kept them from being read.
    pub fn tables(&self) -> Result<&[Table], String> {
        self.trouble.clone().map_or_else(|| Ok(self.survey.tables()), Err)
    }

    /// Another number after each change of rules by anybody.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        self.survey.fingerprint()
    }

    /// Whether anybody else has rules.
    #[must_use]
    pub fn has_strangers(&self) -> bool {
        self.survey.tables().iter().any(|table| table.name != TABLE)
    }

    /// Where our own rules live.
    #[must_use]
    pub fn engine(&self) -> Engine {
        if self.nft.is_some() { Engine::NfTables } else { Engine::Xtables }
    }

    /// Puts our rules in place, then takes away what flannel left.
    ///
    /// # Errors
    /// When the rules cannot be read or written; each engine's change happened whole or not at all.
    pub fn establish(&mut self, request: &Request) -> Result<()> {
        for _ in 0..TRIES {
            let tables =
                self.tables().map_err(anyhow::Error::msg).context("cannot read the rules")?;
            let plan = Plan::new(tables, request, self.engine());
            if plan.is_empty() {
                self.was_in_place = true;
                self.remove_leftovers();
                return Ok(());
            }
            self.carry_out(&plan).context("cannot write the rules")?;
        }
        anyhow::bail!("somebody removes our rules as fast as they are written: see `nft monitor`")
    }

    fn carry_out(&mut self, plan: &Plan) -> Result<(), NetfilterError> {
        for what in &plan.told {
            if self.was_in_place {
                warn!("rules: {what}");
            } else {
                info!("rules: {what}");
            }
        }
        self.change(|nft| {
            if let Some(nft) = nft.filter(|_| !plan.nft.is_empty()) {
                nft.apply(&plan.nft)?;
            }
            for ((family, table), edits) in &plan.xtables {
                xtables::edit(*family, table, edits)?;
            }
            Ok(())
        })
    }

    /// What is not as it should be, though our own rules are in place.
    #[must_use]
    pub fn leftovers_trouble(&self) -> Vec<String> {
        self.leftovers.clone().into_iter().collect()
    }

    fn remove_leftovers(&mut self) {
        let removals = leftovers::flannel(self.survey.tables());
        if removals.is_empty() {
            self.leftovers = None;
            return;
        }
        match self.change(|nft| remove(nft, &removals)) {
            Ok(()) => {
                let removed = removals.len();
                info!(removed, "removed the rules that flannel left: ours are in place");
                self.leftovers = None;
            }
            Err(problem) => {
                self.leftovers = Some(format!(
                    "cannot remove the rules that flannel left, they do no harm: {problem}"
                ));
            }
        }
    }

    /// Changes rules and reads them again.
    fn change(
        &mut self,
        work: impl FnOnce(Option<&mut Nft>) -> Result<(), NetfilterError>,
    ) -> Result<(), NetfilterError> {
        let outcome = work(self.nft.as_mut());
        self.survey.forget_xtables();
        self.look();
        outcome
    }
}
