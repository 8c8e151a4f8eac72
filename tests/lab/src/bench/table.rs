//! The result for people, within 80 columns.

use super::contender::Name;
use super::figures;
use super::metric::Metric;
use super::results::Results;
use super::stats::Spread;

pub(super) fn print(results: &Results, contenders: &[Name]) {
    for metric in results.metrics() {
        println!("\n{} ({})", metric.title(), metric.wire().name());
        println!(
            "  {:12} {:>9} {:>11}   {:18} / kernel vxlan",
            "",
            "median",
            metric.cpu_unit(),
            "/ host"
        );
        for name in contenders {
            println!("{}", row(results, metric, *name).trim_end());
        }
    }
    print_cpu(results);
}

fn row(results: &Results, metric: Metric, name: Name) -> String {
    let figure = Spread::of(results.figures(metric, name));
    let cpu = Spread::of(results.of(metric, name, |sample| sample.cpu_per_unit));
    format!(
        "  {:12} {:>9} {:>11}   {:18} {}",
        name.text(),
        figure.map_or_else(String::new, |spread| shown(spread.median)),
        cpu.map_or_else(String::new, |spread| shown(metric.cpu_figure(spread.median))),
        ratio(results.ratio(metric, name, Name::Host), name == Name::Host),
        ratio(results.ratio(metric, name, Name::KernelVxlan), name == Name::KernelVxlan),
    )
}

fn print_cpu(results: &Results) {
    println!("\nProcessor time of all CPUs per unit, Tartan fast (less is better)");
    println!("  {:20} {:18} / kernel vxlan", "", "/ host");
    for metric in results.metrics() {
        let to = |name| ratio(results.cpu_ratio(metric, Name::TartanFast, name), false);
        println!("  {:20} {:18} {}", metric.name(), to(Name::Host), to(Name::KernelVxlan));
    }
}

/// One line for each figure that the fast path has to reach.
pub(super) fn print_verdicts(results: &Results) {
    let verdicts = figures::verdicts(results);
    if verdicts.is_empty() {
        return;
    }
    println!("\nFigures to reach, Tartan fast (medians of the rounds' ratios)");
    for verdict in verdicts {
        println!("  {}", verdict.line());
    }
}

/// The median, and the least and greatest of any round.
fn ratio(spread: Option<Spread>, is_itself: bool) -> String {
    match spread {
        Some(Spread { median, min, max }) if !is_itself => {
            format!("{median:.2} ({min:.2}-{max:.2})")
        }
        Some(_) | None => String::new(),
    }
}

/// Three digits or more.
pub(super) fn shown(value: f64) -> String {
    match value {
        value if value < 100.0 => format!("{value:.2}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_or_more() {
        assert_eq!([5.123, 99.0, 123.4, 98_765.4].map(shown), ["5.12", "99.00", "123", "98765"]);
    }

    #[test]
    fn nothing_is_compared_with_itself() {
        let spread = Spread { median: 1.0, min: 0.9, max: 1.1 };
        assert_eq!(ratio(Some(spread), false), "1.00 (0.90-1.10)");
        assert_eq!(ratio(Some(spread), true), "");
    }
}
