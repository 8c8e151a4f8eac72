//! Which node most findings have in common: there it is worth looking first.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Finding;

/// One sentence, if the findings point anywhere.
pub(crate) fn sentence(findings: &[Finding], nodes: usize) -> Option<String> {
    let pairs: BTreeSet<_> = findings.iter().filter_map(pair).collect();
    let (from, to) = pairs.first()?;
    let all_from = pairs.iter().all(|pair| pair.0 == *from);
    let all_to = pairs.iter().all(|pair| pair.1 == *to);
    match (all_from, all_to) {
        (true, true) if from == to => Some(format!("it fails within {from} only")),
        (true, true) => Some(format!("it fails from {from} to {to} only")),
        (true, false) => Some(format!("all of it fails from {from}")),
        (false, true) => Some(format!("all of it fails towards {to}")),
        (false, false) => common(&pairs)
            .map(|node| format!("all of it concerns {node}, {nodes} nodes are tested")),
    }
}

fn pair(finding: &Finding) -> Option<(&str, &str)> {
    Some((finding.node.as_str(), finding.to_node.as_deref()?))
}

/// A node that is in every pair.
fn common<'a>(pairs: &BTreeSet<(&'a str, &'a str)>) -> Option<&'a str> {
    let mut counts = BTreeMap::new();
    for (from, to) in pairs {
        let ends: BTreeSet<_> = [*from, *to].into();
        for node in ends {
            *counts.entry(node).or_insert(0) += 1;
        }
    }
    counts.into_iter().find(|(_, count)| *count == pairs.len()).map(|(node, _)| node)
}

/// Every node that a finding is about.
pub(crate) fn nodes(findings: &[Finding]) -> BTreeSet<&str> {
    let ends = findings.iter().flat_map(|one| [Some(one.node.as_str()), one.to_node.as_deref()]);
    ends.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> Option<String> {
        let finding = |(from, to): &(&str, &str)| Finding {
            node: (*from).to_owned(),
            to_node: Some((*to).to_owned()),
            text: String::new(),
        };
        sentence(&pairs.iter().map(finding).collect::<Vec<_>>(), 3)
    }

    #[test]
    fn what_all_findings_have_in_common_is_said() {
        assert_eq!(said(&[("a", "b"), ("a", "b")]).unwrap(), "it fails from a to b only");
        assert_eq!(said(&[("a", "a")]).unwrap(), "it fails within a only");
        assert_eq!(said(&[("a", "b"), ("a", "c")]).unwrap(), "all of it fails from a");
        assert_eq!(said(&[("a", "c"), ("b", "c")]).unwrap(), "all of it fails towards c");
        let around = said(&[("a", "c"), ("c", "b")]).unwrap();
        assert!(around.starts_with("all of it concerns c"), "{around}");
    }

    #[test]
    fn findings_all_over_point_nowhere() {
        assert_eq!(said(&[("a", "b"), ("b", "c"), ("c", "a")]), None);
        assert_eq!(said(&[]), None);
    }
}
