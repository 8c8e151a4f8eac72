//! The result for people who look at a terminal.

use super::Report;
use super::cni::CniAdd;
use super::contender::Name;
use super::metric::Metric;
use super::programs::Programs;
use super::results::Results;
use super::stats::Spread;

/// Those that ratios are taken to, as far as they were measured.
const REFERENCES: [Name; 3] = [Name::Host, Name::KernelVxlan, Name::Flannel];

pub(super) fn print(report: &Report) {
    let names = report.names();
    for metric in report.results.metrics() {
        print_metric(&report.results, metric, &names);
    }
    print_processor(&report.results, &names);
    report.programs.iter().for_each(print_programs);
    report.cni.iter().for_each(print_cni);
    print_premises(report);
    print_goals(report);
    for skipped in &report.skipped {
        println!("\nSKIPPED {}: {}", skipped.what, skipped.why);
    }
}

fn references(names: &[Name]) -> Vec<Name> {
    REFERENCES.into_iter().filter(|name| names.contains(name)).collect()
}

fn print_metric(results: &Results, metric: Metric, names: &[Name]) {
    let references = references(names);
    let heads: Vec<_> = references.iter().map(|name| format!("/ {}", name.text())).collect();
    println!("\n{} ({})", metric.title(), metric.wire().name());
    println!("  {:14}{:>8} {:>11}  {}", "", "median", metric.cpu_unit(), columns(&heads));
    for name in names {
        let figure = Spread::of(results.figures(metric, *name));
        let cpu = results.median(metric, *name, |sample| sample.cpu_per_unit);
        let ratios: Vec<_> =
            references.iter().map(|to| ratio(results.ratio(metric, *name, *to))).collect();
        println!(
            "  {:14}{:>8} {:>11}  {}",
            name.text(),
            figure.map_or_else(String::new, |spread| shown(spread.median)),
            cpu.map_or_else(String::new, |cpu| shown(metric.cpu_figure(cpu))),
            columns(&ratios)
        );
    }
}

fn print_processor(results: &Results, names: &[Name]) {
    let references = references(names);
    let heads: Vec<_> = references.iter().map(|name| format!("/ {}", name.text())).collect();
    println!("\nProcessor time of all CPUs per unit, Tartan fast (less is better)");
    println!("  {:24}{}", "", columns(&heads));
    for metric in results.metrics() {
        let to = |name: &Name| ratio(results.cpu_ratio(metric, Name::TartanFast, *name));
        let ratios: Vec<_> = references.iter().map(to).collect();
        println!("  {:24}{}", metric.name(), columns(&ratios));
    }
}

fn print_programs(programs: &Programs) {
    println!(
        "\nPrograms by themselves, ns per call (reading the clock, {:.0} ns, is taken off)",
        programs.clock
    );
    for call in &programs.calls {
        println!("  {:16} {}", ratio(Some(call.nanoseconds)), call.title);
    }
    for row in &programs.in_traffic {
        println!(
            "  {:<16.0} {} on Tartan's nodes under round trips, {} calls",
            row.nanoseconds, row.program, row.calls
        );
    }
    println!(
        "Encapsulation by number of peers, ns per call: one flow; each packet to another peer"
    );
    for row in &programs.at_scale {
        let (one, each) = (row.one_flow.spread, row.each_another.spread);
        println!("  {:>6} peers     {:18}{}", row.peers, ratio(Some(one)), ratio(Some(each)));
    }
}

fn print_cni(cni: &CniAdd) {
    println!("\nCNI ADD, ms, through cnitool and without it");
    for (name, spread) in cni.rows() {
        println!("  {name:16} {}", ratio(spread));
    }
}

fn print_premises(report: &Report) {
    println!("\nPremises: what must hold for the figures to mean what they say");
    for premise in &report.premises.0 {
        let mark = if premise.holds { "ok " } else { "!! " };
        println!("  {mark} {}: {}", premise.what, premise.found);
    }
    let broken = report.premises.broken().count();
    if broken > 0 {
        println!("  DO NOT HOLD (!!): {broken}. The figures that these are about are doubtful.");
    }
}

fn print_goals(report: &Report) {
    println!("\nGoals (medians of the rounds' ratios, least and greatest round)");
    println!("  {:52}{:>9}  got", "", "goal");
    for verdict in report.verdicts.iter().filter(|verdict| verdict.got.is_some()) {
        println!(
            "  {:52}{:>9}  {:18} {}",
            verdict.what,
            verdict.goal.text(),
            ratio(verdict.got),
            verdict.word()
        );
    }
    let left = report.verdicts.iter().filter(|verdict| verdict.got.is_none()).count();
    if left > 0 {
        println!("  not measured in this run: {left} more");
    }
}

fn columns(cells: &[String]) -> String {
    let all: Vec<_> = cells.iter().map(|cell| format!("{cell:17}")).collect();
    all.join(" ").trim_end().to_owned()
}

/// The median, and the least and greatest of any round.
pub(super) fn ratio(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |Spread { median, min, max }| match median {
        median if median >= 100.0 => format!("{median:.0} ({min:.0}-{max:.0})"),
        median => format!("{median:.2} ({min:.2}-{max:.2})"),
    })
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
    fn a_ratio_is_shown_with_its_ends() {
        let spread = Spread { median: 1.0, min: 0.9, max: 1.1 };
        assert_eq!(ratio(Some(spread)), "1.00 (0.90-1.10)");
        assert_eq!(ratio(None), "");
    }
}
