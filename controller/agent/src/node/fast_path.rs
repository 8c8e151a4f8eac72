//! Which flows may skip the host stack, and for how long that is certain.
//!
//! With `FastPath: auto` the rules of the packet filter decide. `on` is then a right that this
//! agent renews: when it dies, nobody reads the rules any more, and the programs fall back to
//! `after-accept` by themselves.

use nix::time::{ClockId, clock_gettime};
use tartan_common::abi;
use tartan_core::FastPath;
use tartan_core::netfilter::assess::Verdict;
use tartan_core::state::Choice;

/// How long the right to `on` outlives the agent, in seconds.
const RIGHT: u32 = 30;
/// Renewed when less than this is left, in seconds: several looks may fail.
const RENEW_BELOW: u32 = 25;

/// What the gate is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gate {
    pub(super) mode: abi::FastPath,
    /// Second of CLOCK_MONOTONIC at which the right to `on` ends; zero: it does not end.
    pub(super) on_until: u32,
    /// With it a flow's right ends: in `after-accept` each change of rules counts, elsewhere none.
    pub(super) rules: u32,
    pub(super) choice: Choice,
}

impl Gate {
    /// Decides. `verdict` is what the rules mean for pods, or why that does not matter,
    /// `fingerprint` what they are; `before` is the end of the right given last.
    pub(super) fn decide(
        configured: FastPath,
        verdict: Result<Verdict, String>,
        fingerprint: u32,
        now: u32,
        before: u32,
    ) -> Self {
        let told = "net-conf says so".to_owned();
        let (mode, why) = match (configured, verdict) {
            (FastPath::On, _) => (abi::FastPath::On, told),
            (FastPath::AfterAccept, _) => (abi::FastPath::AfterAccept, told),
            (FastPath::Off, _) => (abi::FastPath::Off, told),
            (FastPath::Auto, Ok(Verdict::Clear)) => (
                abi::FastPath::On,
                "every rule of the packet filter is known to leave traffic between pods alone"
                    .to_owned(),
            ),
            (FastPath::Auto, Ok(Verdict::Stranger(stranger))) => (
                abi::FastPath::AfterAccept,
                format!("the packet filter has a say in traffic between pods: {stranger}"),
            ),
            (FastPath::Auto, Err(why)) => (abi::FastPath::AfterAccept, why),
        };
        let is_right = (configured, mode) == (FastPath::Auto, abi::FastPath::On);
        let on_until = if is_right { renewed(now, before) } else { 0 };
        let choice =
            Choice { configured: configured.to_string(), effective: mode.name().to_owned(), why };
        let rules = if mode == abi::FastPath::AfterAccept { fingerprint } else { 0 };
        Self { mode, on_until, rules, choice }
    }
}

impl Gate {
    /// Off, whatever was decided.
    pub(super) fn without_fast_path(self, why: &str) -> Self {
        let mode = abi::FastPath::Off;
        let effective = mode.name().to_owned();
        let choice = Choice { effective, why: why.to_owned(), ..self.choice };
        Self { mode, on_until: 0, rules: 0, choice }
    }
}

fn renewed(now: u32, before: u32) -> u32 {
    let left = before.saturating_sub(now);
    if (RENEW_BELOW..=RIGHT).contains(&left) { before } else { now.saturating_add(RIGHT) }
}

/// Seconds of the clock that the programs read; zero, and no right with it, if there is none.
pub(super) fn now() -> u32 {
    let seconds = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.tv_sec());
    u32::try_from(seconds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tartan_core::netfilter::assess::Stranger;

    fn auto(verdict: Result<Verdict, String>) -> Gate {
        Gate::decide(FastPath::Auto, verdict, 77, 1000, 0)
    }

    fn stranger() -> Verdict {
        Verdict::Stranger(Stranger {
            place: "table ip filter, chain FORWARD, rule 1".to_owned(),
            what: "-j KUBE-ROUTER-FORWARD".to_owned(),
        })
    }

    #[test]
    fn auto_is_on_for_thirty_seconds_while_all_rules_are_known() {
        let gate = auto(Ok(Verdict::Clear));
        assert_eq!((gate.mode, gate.on_until, gate.rules), (abi::FastPath::On, 1030, 0));
    }

    #[test]
    fn auto_lets_the_stack_accept_first_beside_a_stranger_and_names_it() {
        let gate = auto(Ok(stranger()));
        assert_eq!((gate.mode, gate.on_until, gate.rules), (abi::FastPath::AfterAccept, 0, 77));
        assert!(gate.choice.why.contains("KUBE-ROUTER-FORWARD"), "{}", gate.choice.why);
    }

    #[test]
    fn rules_that_cannot_be_read_are_no_permission() {
        let gate = auto(Err("not permitted".to_owned()));
        assert_eq!((gate.mode, gate.on_until), (abi::FastPath::AfterAccept, 0));
    }

    #[test]
    fn what_net_conf_says_needs_no_right_and_ends_with_nothing() {
        let gate = Gate::decide(FastPath::On, Ok(stranger()), 77, 1000, 0);
        assert_eq!((gate.mode, gate.on_until), (abi::FastPath::On, 0));
    }

    #[test]
    fn a_kernel_that_cannot_deliver_has_no_fast_path() {
        let gate = auto(Ok(Verdict::Clear)).without_fast_path("no helper");
        assert_eq!((gate.mode, gate.on_until), (abi::FastPath::Off, 0));
        assert_eq!((&*gate.choice.configured, &*gate.choice.effective), ("auto", "off"));
        assert_eq!(gate.choice.why, "no helper");
    }

    #[test]
    fn a_right_is_renewed_before_it_runs_out_and_not_in_each_pass() {
        assert_eq!(renewed(1000, 0), 1030);
        assert_eq!(renewed(1005, 1030), 1030);
        assert_eq!(renewed(1006, 1030), 1036);
        assert_eq!(renewed(2000, 1030), 2030);
        // A clock that jumped back, as after a restart of the machine.
        assert_eq!(renewed(5, 1030), 35);
    }
}
