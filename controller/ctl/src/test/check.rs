//! One question to one probe, with the answer that it should give.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;

use super::ground::Probe;
use super::probe::wire::{Answer, Met, Question};

/// A question with its asker and the right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) from: Probe,
    /// What is asked, as people call it: `pod b-1 (node2)`.
    pub(crate) to: String,
    /// The node that it is on, if it is one.
    pub(crate) to_node: Option<String>,
    pub(crate) question: Question,
    pub(crate) wish: Wish,
}

/// What the answer should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Every attempt is answered, by one of these and by all of them.
    By(BTreeSet<String>),
    /// Every attempt is answered, by whomever.
    Answered,
    /// Every attempt is answered, and the server saw this address.
    From(IpAddr),
    /// Every attempt is answered, by this server, which saw this address.
    ByAndFrom(String, IpAddr),
    /// Everything arrives.
    Whole,
    /// The name leads to exactly these addresses.
    Leads(BTreeSet<IpAddr>),
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The node that it is about; of something lost, the one that it was lost from.
    pub(crate) node: String,
    /// The other node, where there is one; of something lost, the one that it was lost towards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to_node: Option<String>,
    pub(crate) text: String,
}

impl Finding {
    /// About one node.
    pub(crate) fn about(node: &str, text: impl Into<String>) -> Self {
        Self { node: node.to_owned(), to_node: None, text: text.into() }
    }
}

impl Check {
    /// What is wrong with an answer, if anything.
    pub(crate) fn judge(&self, answer: &Answer) -> Option<Finding> {
        let mut finding = self.finding(&self.wrong(answer)?);
        if let Some(to) = finding.to_node.as_mut().filter(|_| answer.is_lost_on_the_way_back()) {
            std::mem::swap(&mut finding.node, to);
        }
        Some(finding)
    }

    /// Something wrong about this check.
    pub(crate) fn finding(&self, wrong: &str) -> Finding {
        let Probe { name, node, .. } = &self.from;
        Finding {
            node: node.clone(),
            to_node: self.to_node.clone(),
            text: format!("{name} ({node}) -> {}: {wrong}", self.to),
        }
    }

    fn wrong(&self, answer: &Answer) -> Option<String> {
        match (answer, &self.wish) {
            (Answer::Failed { error, .. }, _) => Some(error.clone()),
            (Answer::Met(met), wish) => unanswered(met).or_else(|| met_wrong(met, wish)),
            (Answer::Sizes { wrong, mtu, .. }, Wish::Whole) => {
                (!wrong.is_empty()).then(|| format!("MTU {mtu}; {}", wrong.join("; ")))
            }
            (Answer::Transferred, Wish::Whole) => None,
            (Answer::Addresses { addresses }, Wish::Leads(wanted)) => (addresses != wanted)
                .then(|| format!("leads to {}, not {}", list(addresses), list(wanted))),
            (Answer::Sizes { .. } | Answer::Transferred | Answer::Addresses { .. }, _) => {
                Some("the probe answered another question".to_owned())
            }
        }
    }
}

fn unanswered(met: &Met) -> Option<String> {
    if met.errors.is_empty() && met.asked > 0 {
        return None;
    }
    let failed: u32 = met.errors.values().sum();
    let kinds: Vec<_> = met.errors.keys().map(String::as_str).collect();
    Some(format!("{failed} of {} failed ({})", met.asked, kinds.join(", ")))
}

fn met_wrong(met: &Met, wish: &Wish) -> Option<String> {
    match wish {
        Wish::Answered => None,
        Wish::By(wanted) => by_wrong(met, wanted),
        Wish::From(address) => from_wrong(met, *address),
        Wish::ByAndFrom(server, address) => {
            by_wrong(met, &[server.clone()].into()).or_else(|| from_wrong(met, *address))
        }
        Wish::Whole | Wish::Leads(_) => Some("the probe answered another question".to_owned()),
    }
}

fn by_wrong(met: &Met, wanted: &BTreeSet<String>) -> Option<String> {
    let strangers: Vec<_> = met.by.keys().filter(|name| !wanted.contains(*name)).collect();
    if !strangers.is_empty() {
        return Some(format!("answered by {}, not {}", list(strangers), list(wanted)));
    }
    let missed: Vec<_> = wanted.iter().filter(|name| !met.by.contains_key(*name)).collect();
    (!missed.is_empty()).then(|| format!("{} attempts never reached {}", met.asked, list(missed)))
}

fn from_wrong(met: &Met, address: IpAddr) -> Option<String> {
    (met.sources != [address].into())
        .then(|| format!("the server saw {}, not {address}", list(&met.sources)))
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::super::probe::wire::Way;
    use super::*;

    fn check(wish: Wish) -> Check {
        let from = Probe {
            name: "a-0".into(),
            node: "node1".into(),
            address: [10, 244, 0, 2].into(),
            port: 8080,
        };
        Check {
            from,
            to: "pod b-1 (node2)".into(),
            to_node: Some("node2".into()),
            question: Question::Tcp { to: String::new(), times: 3 },
            wish,
        }
    }

    fn met(by: &[(&str, u32)], source: u8) -> Answer {
        let by = by.iter().map(|(name, times)| ((*name).to_owned(), *times)).collect();
        let sources = [[10, 244, 0, source].into()].into();
        Answer::Met(Met { asked: 3, by, sources, ..Met::default() })
    }

    fn wrong(wish: Wish, answer: &Answer) -> Option<String> {
        check(wish).judge(answer).map(|finding| finding.text)
    }

    #[test]
    fn an_answer_by_the_right_server_is_right_and_by_another_is_not() {
        let wish = || Wish::By(["b-1".to_owned()].into());
        assert_eq!(wrong(wish(), &met(&[("b-1", 3)], 2)), None);
        let text = wrong(wish(), &met(&[("b-2", 3)], 2)).unwrap();
        assert_eq!(text, "a-0 (node1) -> pod b-1 (node2): answered by b-2, not b-1");
    }

    #[test]
    fn an_endpoint_that_is_never_reached_is_named() {
        let wish = Wish::By(["a-0".to_owned(), "b-1".to_owned()].into());
        let text = wrong(wish, &met(&[("a-0", 3)], 2)).unwrap();
        assert!(text.ends_with("3 attempts never reached b-1"), "{text}");
    }

    #[test]
    fn another_source_is_told() {
        let wish = || Wish::From([10, 244, 0, 2].into());
        assert_eq!(wrong(wish(), &met(&[("x", 3)], 2)), None);
        assert!(wrong(wish(), &met(&[("x", 3)], 9)).unwrap().contains("saw 10.244.0.9"));
    }

    #[test]
    fn one_failed_attempt_fails_every_wish_and_no_attempt_does_too() {
        let mut answer = Met { asked: 3, ..Met::default() };
        answer.by.insert("b-1".into(), 2);
        answer.errors.insert("no answer".into(), 1);
        let text = wrong(Wish::Answered, &Answer::Met(answer)).unwrap();
        assert!(text.ends_with("1 of 3 failed (no answer)"), "{text}");
        assert!(wrong(Wish::Answered, &Answer::Met(Met::default())).is_some());
    }

    #[test]
    fn what_was_lost_on_the_way_back_is_about_the_other_direction() {
        let answer = |way| Answer::Failed { error: "lost".into(), lost: Some(way) };
        let ends = |way| {
            let finding = check(Wish::Whole).judge(&answer(way)).unwrap();
            (finding.node, finding.to_node.unwrap())
        };
        assert_eq!(ends(Way::There), ("node1".to_owned(), "node2".to_owned()));
        assert_eq!(ends(Way::Back), ("node2".to_owned(), "node1".to_owned()));
    }

    #[test]
    fn an_answer_to_another_question_is_no_success() {
        assert!(wrong(Wish::Answered, &Answer::Transferred).is_some());
        assert!(wrong(Wish::Whole, &met(&[], 2)).is_some());
        assert_eq!(wrong(Wish::Whole, &Answer::Transferred), None);
    }
}
