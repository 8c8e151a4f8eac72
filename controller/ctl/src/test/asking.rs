//! Asks the probes: one command per probe for many questions, several probes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::{Instant, sleep};

use super::check::{Check, Finding};
use super::cluster::{Cluster, Container, Output};
use super::outcome::Done;
use super::probe::wire::{Answer, Question};

/// Commands under way at once.
const AT_ONCE: usize = 16;
/// A command carries this many bytes of questions at most: they travel in the request's line.
const LONGEST: usize = 3_000;
/// Between two rounds of what has to settle.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks everything; what is wrong is asked again for as long as `settle` allows.
pub(crate) async fn checks(
    cluster: &impl Cluster,
    namespace: &str,
    all: &[Check],
    settle: Duration,
) -> Done {
    if all.is_empty() {
        return Done::skipped("there is nothing to ask: too few probes are Ready");
    }
    let start = Instant::now();
    let (mut open, mut heard) = (all.to_vec(), Heard::default());
    let mut rounds = 0;
    loop {
        rounds += 1;
        let (wrong, findings) = round(cluster, namespace, &open, &mut heard).await;
        if wrong.is_empty() || start.elapsed() >= settle {
            let settled = (rounds > 1 && wrong.is_empty()).then(|| start.elapsed());
            return Done::by(findings, heard.notes(all.len(), settled));
        }
        open = wrong;
        sleep(PAUSE).await;
    }
}

/// Asks once: what was not right, and why.
async fn round(
    cluster: &impl Cluster,
    namespace: &str,
    checks: &[Check],
    heard: &mut Heard,
) -> (Vec<Check>, Vec<Finding>) {
    let (mut wrong, mut findings) = (Vec::new(), Vec::new());
    for (check, answer) in answers(cluster, namespace, checks).await {
        heard.add(&answer);
        if let Some(finding) = check.judge(&answer) {
            findings.push(finding);
            wrong.push(check.clone());
        }
    }
    (wrong, findings)
}

/// Asks once, and gives each check with its answer.
pub(crate) async fn answers<'a>(
    cluster: &impl Cluster,
    namespace: &str,
    checks: &'a [Check],
) -> Vec<(&'a Check, Answer)> {
    let asked = stream::iter(batches(checks).into_iter().map(async |batch| {
        let answers = ask(cluster, namespace, &batch).await;
        batch.into_iter().zip(answers).collect::<Vec<_>>()
    }));
    let asked: Vec<_> = asked.buffered(AT_ONCE).collect().await;
    asked.into_iter().flatten().collect()
}

/// Questions of one probe that fit into one command.
fn batches(checks: &[Check]) -> Vec<Vec<&Check>> {
    let mut by_probe: BTreeMap<&str, Vec<Vec<&Check>>> = BTreeMap::new();
    let mut room = BTreeMap::new();
    for check in checks {
        let name = check.from.name.as_str();
        let length = length(&check.question);
        let left = room.entry(name).or_insert(0);
        let batches = by_probe.entry(name).or_default();
        match batches.last_mut() {
            Some(batch) if *left >= length => batch.push(check),
            _ => {
                *left = LONGEST;
                batches.push(vec![check]);
            }
        }
        *left = left.saturating_sub(length);
    }
    by_probe.into_values().flatten().collect()
}

fn length(question: &Question) -> usize {
    serde_json::to_string(question).map_or(LONGEST, |text| text.len() + 1)
}

/// One answer for each check of the batch.
async fn ask(cluster: &impl Cluster, namespace: &str, batch: &[&Check]) -> Vec<Answer> {
    let failed = |error: String| vec![Answer::failed(error); batch.len()];
    let Some(first) = batch.first() else { return Vec::new() };
    let at = container(namespace, &first.from.name);
    let questions: Vec<_> = batch.iter().map(|check| &check.question).collect();
    let questions = match serde_json::to_string(&questions) {
        Ok(text) => text,
        Err(error) => return failed(error.to_string()),
    };
    let command = ["/bin/tartanctl", "probe", "ask", &questions].map(str::to_owned);
    match cluster.exec(&at, &command).await {
        Ok(output) => read(&output, batch.len()).unwrap_or_else(failed),
        Err(error) => failed(error.to_string()),
    }
}

/// The container of a probe.
pub(crate) fn container(namespace: &str, pod: &str) -> Container {
    Container { namespace: namespace.to_owned(), pod: pod.to_owned(), name: "probe".to_owned() }
}

fn read(output: &Output, expected: usize) -> Result<Vec<Answer>, String> {
    if !output.success {
        return Err(format!("the probe ended early: {}", output.stderr.trim()));
    }
    match serde_json::from_str::<Vec<Answer>>(&output.stdout) {
        Ok(answers) if answers.len() == expected => Ok(answers),
        Ok(answers) => Err(format!("{} answers to {expected} questions", answers.len())),
        Err(error) => Err(format!(
            "the probe's answer cannot be read ({error}): use a tartanctl of the image's version"
        )),
    }
}

/// What the answers say beside right and wrong.
#[derive(Debug, Default)]
struct Heard {
    repeated: u32,
    mtus: BTreeSet<u32>,
}

impl Heard {
    fn add(&mut self, answer: &Answer) {
        match answer {
            Answer::Met(met) => self.repeated += met.repeated,
            Answer::Sizes { mtu, .. } => drop(self.mtus.insert(*mtu)),
            Answer::Transferred | Answer::Addresses { .. } | Answer::Failed { .. } => {}
        }
    }

    fn notes(&self, checks: usize, settled: Option<Duration>) -> Vec<String> {
        // Writing to a string cannot fail.
        let mut line = format!("{checks} checks");
        if let Some(after) = settled {
            let _ = write!(line, ", all right after {:.1} s", after.as_secs_f32());
        }
        let mtus: Vec<_> = self.mtus.iter().map(ToString::to_string).collect();
        if !mtus.is_empty() {
            let _ = write!(line, ", MTU {}", mtus.join(" and "));
        }
        let mut notes = vec![line];
        if self.repeated > 0 {
            notes.push(format!("{} datagrams were lost and sent again", self.repeated));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::check::Wish;
    use crate::test::ground::Probe;

    fn check(from: &str, to: &str) -> Check {
        let address = [10, 0, 0, 1].into();
        let from = Probe { name: from.to_owned(), node: "n".into(), address, port: 1 };
        let question = Question::Tcp { to: to.to_owned(), times: 1 };
        Check { from, to: to.to_owned(), to_node: None, question, wish: Wish::Answered }
    }

    #[test]
    fn each_probe_gets_its_questions_in_commands_that_are_not_too_long() {
        let mut checks = vec![check("b-0", "x")];
        checks.extend((0..200).map(|index| check("a-0", &format!("10.244.0.{index}:8080"))));
        let batches = batches(&checks);
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 201);
        for batch in &batches {
            assert!(batch.iter().all(|check| check.from.name == batch[0].from.name));
            let questions: Vec<_> = batch.iter().map(|check| &check.question).collect();
            assert!(serde_json::to_string(&questions).unwrap().len() <= LONGEST + 2);
        }
        assert!(batches.len() > 3);
    }

    #[test]
    fn an_answer_of_another_version_says_so() {
        let output = |text: &str, success| Output {
            stdout: text.to_owned(),
            stderr: "gone\n".to_owned(),
            success,
        };
        assert!(read(&output("[{\"is\":\"new\"}]", true), 1).unwrap_err().contains("version"));
        assert_eq!(read(&output("", false), 1).unwrap_err(), "the probe ended early: gone");
        assert!(read(&output("[]", true), 1).is_err());
        assert_eq!(
            read(&output("[{\"is\":\"transferred\"}]", true), 1),
            Ok(vec![Answer::Transferred])
        );
    }
}
