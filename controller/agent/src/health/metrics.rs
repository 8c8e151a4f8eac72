//! `/metrics`: the agent's figures in Prometheus' text format, version 0.0.4.

use tartan_datapath::{Feature, Features};

/// A metric: its name, its type, and what it means.
pub type Metric = (&'static str, &'static str, &'static str);

/// Every metric, in the order of the page.
pub const METRICS: [Metric; 1] = [KERNEL_FEATURE];

const KERNEL_FEATURE: Metric = (
    "tartan_kernel_feature",
    "gauge",
    "Whether the programs use a feature of the kernel; where 0, something slower stands in for it.",
);

/// The page; without a word of features before they are known.
pub(super) fn page(features: Option<Features>) -> String {
    let (name, kind, help) = KERNEL_FEATURE;
    let Some(features) = features else { return String::new() };
    let line = |feature: Feature| {
        format!("{name}{{feature=\"{}\"}} {}\n", feature.name(), u8::from(features.has(feature)))
    };
    let lines: String = Feature::ALL.into_iter().map(line).collect();
    format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_a_line() {
        let page = page(Some(Features::ALL.without(Feature::Tcx)));
        assert!(page.contains("\ntartan_kernel_feature{feature=\"tcx\"} 0\n"), "{page}");
        assert!(page.contains("\ntartan_kernel_feature{feature=\"redirect-peer\"} 1\n"), "{page}");
        assert_eq!(page.lines().count(), 2 + Feature::ALL.len());
    }

    #[test]
    fn nothing_is_told_before_it_is_known() {
        assert_eq!(page(None), "");
    }
}
