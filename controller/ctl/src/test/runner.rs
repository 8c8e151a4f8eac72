//! The flow of a test: look, make, ask, take away, whatever happens in between.

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

use super::agents::Agents;
use super::cleaning;
use super::cluster::Cluster;
use super::ground::Ground;
use super::interrupts::Interrupts;
use super::narrator::Narrator;
use super::objects::Kit;
use super::options::Options;
use super::outcome::{Cut, Done, Outcome, Report, Row};
use super::scenario::{Need, Scenario, Work};
use super::stage::{Made, Stage};
use super::survey::{self, Survey};
use super::{asking, policy};

/// Pods outlive the longest test by this much, should nobody delete them.
const GRACE: u64 = 600;

/// Runs a test. What it makes is gone afterwards, also after an error or an interruption, unless
/// the options say otherwise.
///
/// # Errors
/// When the test cannot begin; scenarios that fail are no error.
pub(crate) async fn run(
    cluster: &impl Cluster,
    options: &Options,
    narrator: &mut Narrator<impl Write>,
    interrupts: &mut impl Interrupts,
) -> Result<Report> {
    let survey = tokio::select! {
        survey = survey::survey(cluster, &options.nodes) => survey?,
        () = interrupts.next() => bail!("interrupted before anything was made"),
    };
    let test = Test::new(options, survey)?;
    test.announce(narrator)?;
    let start = Instant::now();
    let mut rows = Vec::new();
    let ended = tokio::select! {
        ended = test.scenarios(cluster, narrator, &mut rows) => ended.map(|()| None),
        () = interrupts.next() => Ok(Some(Cut::Interrupted)),
        () = sleep(options.limit()) => Ok(Some(Cut::TimedOut)),
    };
    let took = start.elapsed();
    test.leave(cluster, options.keep, narrator, interrupts).await;
    Ok(test.report(rows, ended?, took))
}

/// A test under way.
struct Test {
    survey: Survey,
    stage: Stage,
    selected: Vec<&'static Scenario>,
}

impl Test {
    fn new(options: &Options, survey: Survey) -> Result<Self> {
        let image = survey.image(options.image.as_deref())?;
        let lifetime = u64::from(options.timeout) + GRACE;
        let selected = options.selected();
        let with_hosts = selected.iter().any(|one| one.needs.contains(&Need::HostNetwork));
        let stage = Stage {
            kit: Kit::new(&options.namespace_prefix, &image, lifetime),
            nodes: survey.nodes.clone(),
            with_hosts,
        };
        Ok(Self { survey, stage, selected })
    }

    fn announce(&self, narrator: &mut Narrator<impl Write>) -> Result<()> {
        let Kit { namespace, image, .. } = &self.stage.kit;
        let nodes = &self.survey.nodes;
        narrator.say(&format!("{} nodes: {}", nodes.len(), nodes.join(" ")))?;
        if !self.survey.left_out.is_empty() {
            narrator.say(&format!("left out: {}", self.survey.left_out.join(", ")))?;
        }
        for left in &self.survey.leftovers {
            narrator.say(&format!(
                "namespace {left} is of an earlier test, or of one that still runs; {}",
                cleaning::by_hand(left)
            ))?;
        }
        narrator.say(&format!("namespace {namespace}, image {image}"))?;
        Ok(())
    }

    async fn scenarios(
        &self,
        cluster: &impl Cluster,
        narrator: &mut Narrator<impl Write>,
        rows: &mut Vec<Row>,
    ) -> Result<()> {
        let mut agents = Agents::new(cluster, self.survey.tartan.clone(), &self.survey.nodes).await;
        let mut dropped = Vec::new();
        let mut play = None;
        for scenario in &self.selected {
            narrator.begin(scenario)?;
            let start = Instant::now();
            let mut done = match (scenario.work, &play) {
                (Work::PodsReady, _) | (_, None) => {
                    let (done, made, ground) = self.begin(cluster).await?;
                    play = Some((made, ground));
                    done
                }
                (_, Some((made, ground))) if let Some(why) = self.lacks(scenario, made, ground) => {
                    Done::skipped(why)
                }
                (Work::Checks { plan, settle }, Some((_, ground))) => {
                    asking::checks(cluster, &ground.namespace, &plan(ground), settle).await
                }
                (Work::Policy, Some((_, ground))) => {
                    policy::run(cluster, &self.stage.kit, ground).await
                }
                (Work::Agents, Some(_)) => {
                    dropped.extend(agents.dropped(cluster).await.unwrap_or_default());
                    agents.run(cluster, &dropped).await
                }
            };
            if matches!(done.outcome, Outcome::Failed(_)) {
                let more = agents.dropped(cluster).await;
                done.notes.extend(blame(more.as_deref()));
                dropped.extend(more.unwrap_or_default());
            }
            let row = Row { scenario, done, took: start.elapsed() };
            narrator.end(&row)?;
            rows.push(row);
        }
        Ok(())
    }

    /// Makes everything and waits for the probes.
    async fn begin(&self, cluster: &impl Cluster) -> Result<(Done, Made, Ground)> {
        self.stage.namespace(cluster).await?;
        let made = self.stage.fill(cluster).await?;
        let (done, ground) = self.stage.ready(cluster, &made).await;
        Ok((done, made, ground))
    }

    /// What a scenario cannot do without and does not have.
    fn lacks(&self, scenario: &Scenario, made: &Made, ground: &Ground) -> Option<String> {
        scenario.needs.iter().find_map(|need| match need {
            Need::SeveralNodes => (ground.members.len() < 2)
                .then(|| "it needs two nodes whose probes are Ready".to_owned()),
            Need::HostNetwork => made.no_hosts.clone(),
            Need::Dns => (!self.survey.has_dns).then(|| {
                "no Service in kube-system is labelled k8s-app=kube-dns: no DNS".to_owned()
            }),
        })
    }

    async fn leave(
        &self,
        cluster: &impl Cluster,
        keep: bool,
        narrator: &mut Narrator<impl Write>,
        interrupts: &mut impl Interrupts,
    ) {
        let namespace = &self.stage.kit.namespace;
        if keep {
            let kept = format!("kept namespace {namespace}; {}", cleaning::by_hand(namespace));
            // As in `remove`: there may be no reader.
            let _ = narrator.say(&kept);
        } else {
            cleaning::remove(cluster, namespace, narrator, interrupts).await;
        }
    }

    fn report(self, rows: Vec<Row>, cut: Option<Cut>, took: Duration) -> Report {
        let Kit { namespace, image, .. } = self.stage.kit;
        Report { namespace, image, nodes: self.survey.nodes, rows, cut, took }
    }
}

/// What Tartan's own counters say about a failure.
fn blame(dropped: Option<&[String]>) -> Vec<String> {
    match dropped {
        None => Vec::new(),
        Some([]) => vec!["Tartan dropped nothing meanwhile: look outside of it".to_owned()],
        Some(lines) => lines.iter().map(|line| format!("Tartan dropped: {line}")).collect(),
    }
}
