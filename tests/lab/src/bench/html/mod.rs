//! The result as a page that can be shown: one file, no script, nothing from elsewhere.

mod charts;
mod style;
mod svg;
mod tables;

use std::fmt::Write as _;
use std::fs::File;

use anyhow::Result;

use self::charts::{Side, of_cni, of_metric, of_peers, of_programs};
use self::style::STYLE;
use self::svg::Chart;
use super::Report;
use super::cni::CniAdd;
use super::contender::Name;
use super::metric::Metric;
use super::programs::Programs;

/// Writes the page.
pub(super) fn write(file: &mut File, report: &Report) -> Result<()> {
    super::replace(file, &page(report))
}

fn page(report: &Report) -> String {
    let body = [
        head(report),
        alarm(report),
        tiles(report),
        figures(report),
        processor(report),
        report.programs.as_ref().map(programs).unwrap_or_default(),
        report.cni.as_ref().map(pods).unwrap_or_default(),
        goals(report),
        premises(report),
        about(report),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Tartan: how fast it is</title><style>{STYLE}</style></head>\
         <body><main>{}</main></body></html>\n",
        body.concat()
    )
}

fn head(report: &Report) -> String {
    let machine = &report.machine;
    format!(
        "<header><h1>Tartan: how fast it is</h1><p class=\"soft\">{}, Linux {}, {} CPUs. \
         Rounds: {}, of {} s per figure, contenders in rotated order, each on its own pair of \
         nodes in namespaces of one machine: ratios count, not figures.</p></header>",
        escaped(&machine.date),
        escaped(&machine.kernel),
        machine.cpus,
        report.args.rounds(),
        report.args.seconds(),
    )
}

/// Said before any figure.
fn alarm(report: &Report) -> String {
    let broken: Vec<_> = report.premises.broken().map(|premise| escaped(&premise.what)).collect();
    let skipped = report.skipped.iter().map(|skipped| {
        format!(
            "<p class=\"soft\">Not measured here: {}: {}</p>",
            escaped(&skipped.what),
            escaped(&skipped.why)
        )
    });
    let skipped: String = skipped.collect();
    if broken.is_empty() {
        return skipped;
    }
    format!(
        "<div class=\"alarm\">{} of the premises do not hold, and the figures that they are about \
         are doubtful: {}.</div>{skipped}",
        broken.len(),
        broken.join("; ")
    )
}

/// What most readers came for.
fn tiles(report: &Report) -> String {
    let mut out = String::from("<div class=\"tiles\">");
    let measured = report.verdicts.iter().filter(|verdict| verdict.reached.is_some()).count();
    let reached = report.verdicts.iter().filter(|verdict| verdict.reached == Some(true)).count();
    let mut tile = |number: String, text: &str| {
        // Writing to a string cannot fail.
        let _ = write!(out, "<div class=\"tile\"><b>{number}</b><span>{text}</span></div>");
    };
    for (metric, to, text) in [
        (Metric::TcpRr, Name::Flannel, "TCP round trips, against flannel"),
        (Metric::TcpRr, Name::Host, "TCP round trips, against the host's own network"),
        (Metric::TcpCrrServices, Name::Flannel, "connections with 1,000 Services, against flannel"),
        (Metric::StreamFramed, Name::Host, "one stream in frames of 1500 bytes, against the host"),
    ] {
        if let Some(ratio) = report.results.ratio(metric, Name::TartanFast, to) {
            tile(format!("{:.2}\u{d7}", ratio.median), text);
        }
    }
    if measured > 0 {
        tile(format!("{reached} of {measured}"), "goals reached in this run");
    }
    out + "</div>"
}

fn card(title: &str, note: &str, chart: &Chart) -> String {
    let (title, note) = (escaped(title), escaped(note));
    format!(
        "<section class=\"card\"><h3>{title}</h3><p class=\"soft\">{note}</p>{}</section>",
        chart.svg()
    )
}

fn cards(report: &Report, side: Side, note: impl Fn(Metric) -> String) -> String {
    let metrics = report.results.metrics().into_iter();
    metrics.map(|m| card(m.title(), &note(m), &of_metric(report, m, side))).collect()
}

fn figures(report: &Report) -> String {
    format!(
        "<h2>Figures</h2><p class=\"soft\">Bars are medians of each round's ratio to host \
         networking, which is the dashed line; the thin line through a bar's end goes from the \
         least to the greatest round. Beside it the ratio and the figure itself. Longer is \
         better.</p><div class=\"grid\">{}</div>",
        cards(report, Side::Figure, |metric| metric.wire().name().to_owned())
    )
}

fn processor(report: &Report) -> String {
    format!(
        "<h2>Processor time</h2><p class=\"soft\">Of all CPUs, both nodes, sockets and programs \
         included, per unit of work, against the host's. Shorter is better. This is what carries \
         over to other machines.</p><div class=\"grid\">{}</div>",
        cards(report, Side::Processor, |metric| format!(
            "{}, {}",
            metric.cpu_unit().replace(" us/", " \u{b5}s/"),
            metric.wire().name()
        ))
    )
}

fn programs(programs: &Programs) -> String {
    format!(
        "<h2>The programs by themselves</h2><p class=\"soft\">By the kernel's test run of a \
         program, on the packets of the golden table; {:.0} ns for reading the clock are taken \
         off. {}</p><div class=\"grid\">{}{}{}</div>",
        programs.clock,
        in_traffic(programs),
        card("Nanoseconds per call", "shorter is better", &of_programs(programs)),
        card(
            "Encapsulation by number of peers, one flow",
            "nanoseconds per call",
            &of_peers(programs, |row| row.one_flow.spread)
        ),
        card(
            "Encapsulation by number of peers, all in turn",
            "each packet goes to another peer: no cache helps; nanoseconds per call",
            &of_peers(programs, |row| row.each_another.spread)
        )
    )
}

fn in_traffic(programs: &Programs) -> String {
    let rows = programs.in_traffic.iter();
    let rows: Vec<_> =
        rows.map(|row| format!("{} {:.0} ns", row.program, row.nanoseconds)).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("On the nodes under round trips, by the kernel's own count: {}.", rows.join(", "))
}

fn pods(cni: &CniAdd) -> String {
    format!(
        "<h2>A pod gets its network</h2><p class=\"soft\">CNI ADD from the call to its answer, in \
         turn: flannel's chain and Tartan's plugin, each through cnitool (which takes its own time, \
         the first bar), and the plugin as a container runtime starts it.</p><div class=\"grid\">{}</div>",
        card("CNI ADD, milliseconds", "shorter is better", &of_cni(cni))
    )
}

fn goals(report: &Report) -> String {
    format!(
        "<h2>Goals</h2><p class=\"soft\">A goal counts as reached by the median of the rounds. \
         Figures of two contenders are ratios of the same round.</p>{}",
        tables::goals(report)
    )
}

fn premises(report: &Report) -> String {
    format!(
        "<h2>Premises</h2><p class=\"soft\">What must hold for the figures to mean what they say, \
         found in the same run.</p>{}",
        tables::premises(report)
    )
}

fn about(report: &Report) -> String {
    let facts = report.machine.facts().into_iter();
    let facts = tables::pairs(facts.map(|(name, value)| (name.to_owned(), value)));
    let names = report.names().into_iter();
    let names = tables::pairs(names.map(|name| (name.text().to_owned(), name.about().to_owned())));
    format!("<h2>Contenders</h2>{names}<h2>Machine</h2>{facts}")
}

/// As text of HTML and of an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests;
