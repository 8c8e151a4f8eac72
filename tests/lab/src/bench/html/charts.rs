//! From the run's figures to pictures.

use super::svg::{Bar, Chart};
use crate::bench::Report;
use crate::bench::cni::CniAdd;
use crate::bench::contender::Name;
use crate::bench::metric::Metric;
use crate::bench::programs::{AtScale, Programs};
use crate::bench::results::Results;
use crate::bench::stats::Spread;
use crate::bench::table::shown;
use crate::tools::load::Load;

/// What a picture shows of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Figure,
    Processor,
}

/// Relative to the host's, or as measured if the host was not.
pub(super) fn of_metric(report: &Report, metric: Metric, side: Side) -> Chart {
    let names = report.names();
    let relative = names.contains(&Name::Host);
    let bars = names.iter().filter_map(|name| bar(&report.results, metric, side, *name, relative));
    let about = format!("{}, {}", metric.title(), side.about());
    Chart { about, bars: bars.collect(), mark: relative.then_some(1.0) }
}

impl Side {
    fn about(self) -> &'static str {
        match self {
            Self::Figure => "more is better",
            Self::Processor => "processor time per unit, less is better",
        }
    }
}

fn bar(results: &Results, metric: Metric, side: Side, name: Name, relative: bool) -> Option<Bar> {
    let (figures, ratio) = match side {
        Side::Figure => (results.figures(metric, name), results.ratio(metric, name, Name::Host)),
        Side::Processor => {
            let seconds = results.of(metric, name, |sample| sample.cpu_per_unit);
            let scaled = seconds.into_iter().map(|value| metric.cpu_figure(value)).collect();
            (scaled, results.cpu_ratio(metric, name, Name::Host))
        }
    };
    let absolute = Spread::of(figures)?;
    let value = if relative { ratio? } else { absolute };
    let middle = grouped(absolute.median);
    Some(Bar {
        label: name.text().to_owned(),
        class: name.colour(),
        value,
        title: format!(
            "{}: median {middle}, {} to {}; against the host {:.2}, {:.2} to {:.2}{}",
            name.text(),
            grouped(absolute.min),
            grouped(absolute.max),
            value.median,
            value.min,
            value.max,
            latency(results, metric, name)
        ),
        ratio: if relative { format!("{:.2}", value.median) } else { String::new() },
        text: middle,
    })
}

/// Of transactions.
fn latency(results: &Results, metric: Metric, name: Name) -> String {
    let p50 = results.median(metric, name, |sample| sample.p50_us).unwrap_or(0.0);
    let p99 = results.median(metric, name, |sample| sample.p99_us).unwrap_or(0.0);
    match metric.load() {
        Load::TcpRr | Load::UdpRr | Load::TcpCrr => {
            format!("; half within {p50:.1} \u{b5}s, 99 % within {p99:.1} \u{b5}s")
        }
        Load::TcpStream | Load::UdpFlood | Load::UdpRate => String::new(),
    }
}

/// Nanoseconds of each program.
pub(super) fn of_programs(programs: &Programs) -> Chart {
    let bars =
        programs.calls.iter().map(|call| nanoseconds(call.name, call.nanoseconds, call.title));
    let about = "nanoseconds per call of each program, less is better".to_owned();
    Chart { about, bars: bars.collect(), mark: None }
}

/// Nanoseconds with few and many peers.
pub(super) fn of_peers(programs: &Programs, what: fn(&AtScale) -> Spread) -> Chart {
    let bars = programs.at_scale.iter().map(|row| {
        let label = format!("{} peers", commas(row.peers.into()));
        nanoseconds(&label, what(row), "encapsulation")
    });
    let about = "nanoseconds per encapsulation by number of peers, less is better".to_owned();
    Chart { about, bars: bars.collect(), mark: None }
}

/// Milliseconds of CNI ADD.
pub(super) fn of_cni(cni: &CniAdd) -> Chart {
    let bars = cni.rows().into_iter().zip(["host", "flannel", "tartan", "second"]);
    let bars = bars.filter_map(|((label, value), class)| {
        let value = value?;
        let title =
            format!("{label}: {:.1} ms, {:.1} to {:.1}", value.median, value.min, value.max);
        let (label, text) = (label.to_owned(), format!("{:.1} ms", value.median));
        Some(Bar { label, class, value, ratio: String::new(), text, title })
    });
    let about = "milliseconds of CNI ADD, less is better".to_owned();
    Chart { about, bars: bars.collect(), mark: None }
}

fn nanoseconds(label: &str, value: Spread, title: &str) -> Bar {
    Bar {
        label: label.to_owned(),
        class: "tartan",
        value,
        ratio: String::new(),
        text: format!("{:.0} ns", value.median),
        title: format!("{title}: {:.0} ns, {:.0} to {:.0}", value.median, value.min, value.max),
    }
}

/// With commas between thousands; three digits or more.
pub(super) fn grouped(value: f64) -> String {
    if value < 1000.0 {
        return shown(value);
    }
    commas(value)
}

fn commas(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [12.0, 999.0, 1000.0, 1_234_567.0].map(grouped),
            ["12.00", "999", "1,000", "1,234,567"]
        );
    }
}
