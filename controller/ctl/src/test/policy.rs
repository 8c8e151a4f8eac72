//! The scenario `network-policy`: denies everything to one probe, and allows it again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::asking::answers;
use super::check::{Check, Finding};
use super::cluster::{Cluster, ClusterError, Collection};
use super::ground::{Ground, Probe};
use super::objects::{DENY, Kit};
use super::outcome::Done;
use super::plan;
use super::probe::wire::Answer;

/// How long an engine may take to follow a change.
const FOLLOWS: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);

/// What a probe gets of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Answered,
    Denied,
    /// The probe could not be asked.
    Unknown,
}

/// Runs the scenario.
pub(crate) async fn run(cluster: &impl Cluster, kit: &Kit, ground: &Ground) -> Done {
    let Some(victim) = ground.members.first().map(|member| &member.pair[1]) else {
        return Done::skipped("there is nothing to ask: too few probes are Ready");
    };
    let trial = Trial { cluster, kit, checks: plan::towards(ground, victim) };
    if trial.look().await.iter().any(|(_, seen)| *seen != Seen::Answered) {
        return Done::skipped(format!("{} is not reached without a policy either", victim.name));
    }
    trial.denied(victim).await.unwrap_or_else(|error| {
        Done::by(vec![Finding::about(&victim.node, error.to_string())], Vec::new())
    })
}

struct Trial<'a, C> {
    cluster: &'a C,
    kit: &'a Kit,
    checks: Vec<Check>,
}

impl<C: Cluster> Trial<'_, C> {
    async fn denied(&self, victim: &Probe) -> Result<Done, ClusterError> {
        let place = Collection::NetworkPolicies(self.kit.namespace.clone());
        self.cluster.create(&place, &self.kit.deny(&victim.name)).await?;
        let (denied_after, open) = self.until(Seen::Denied).await;
        self.cluster.delete(&place, DENY).await?;
        if open.len() == self.checks.len() {
            return Ok(Done::skipped("no policy engine enforces NetworkPolicy in this cluster"));
        }
        if !open.is_empty() {
            let wrong = "not denied within 10 s, though others are";
            return Ok(Done::by(open.iter().map(|check| check.finding(wrong)).collect(), vec![]));
        }
        let (allowed_after, closed) = self.until(Seen::Answered).await;
        let wrong = "still denied 10 s after the policy was deleted";
        let findings = closed.iter().map(|check| check.finding(wrong)).collect();
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f32());
        let note = format!(
            "denied after {}, allowed after {}",
            seconds(denied_after),
            seconds(allowed_after)
        );
        Ok(Done::by(findings, vec![note]))
    }

    /// Waits until everything is seen so; what is not, when the time is over.
    async fn until(&self, wanted: Seen) -> (Duration, Vec<&Check>) {
        let start = Instant::now();
        loop {
            let looked = self.look().await;
            let others = looked.into_iter().filter(|(_, seen)| *seen != wanted);
            let others: Vec<_> = others.map(|(check, _)| check).collect();
            if others.is_empty() || start.elapsed() >= FOLLOWS {
                return (start.elapsed(), others);
            }
            sleep(PAUSE).await;
        }
    }

    async fn look(&self) -> Vec<(&Check, Seen)> {
        let answers = answers(self.cluster, &self.kit.namespace, &self.checks).await;
        answers.into_iter().map(|(check, answer)| (check, seen(&answer))).collect()
    }
}

fn seen(answer: &Answer) -> Seen {
    match answer {
        Answer::Met(met) if met.errors.is_empty() => Seen::Answered,
        Answer::Met(met) if met.by.is_empty() => Seen::Denied,
        Answer::Met(_)
        | Answer::Sizes { .. }
        | Answer::Transferred
        | Answer::Addresses { .. }
        | Answer::Failed { .. } => Seen::Unknown,
    }
}
