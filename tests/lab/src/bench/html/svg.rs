//! Horizontal bars with their spread, as inline SVG. Columns have fixed places and texts a known
//! greatest length, so that nothing can overlap.

use std::fmt::Write as _;

use super::escaped;
use crate::bench::stats::Spread;

/// Places of the columns and the height of a row, in the picture's own units.
const BARS_AT: f64 = 116.0;
const BARS_END: f64 = 388.0;
const RATIO_AT: f64 = 398.0;
const TEXT_END: f64 = 520.0;
const WIDTH: f64 = 524.0;
const ROW: f64 = 24.0;
const BAR: f64 = 14.0;
const AXIS: f64 = 22.0;
/// More than any letter of the page's font takes at size 13, on average.
#[cfg(test)]
const LETTER: f64 = 7.6;
/// The longest label, ratio and figure, in letters.
const LABEL: usize = 14;
const RATIO: usize = 5;
const TEXT: usize = 10;
/// Most lines of a scale.
const TICKS: f64 = 6.0;

/// One bar.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    /// What it is for, beside it on the left.
    pub(super) label: String,
    /// How it is coloured.
    pub(super) class: &'static str,
    pub(super) value: Spread,
    /// On the right of it: against what it is compared with, and the figure itself.
    pub(super) ratio: String,
    pub(super) text: String,
    /// What a pointer that rests on it is told.
    pub(super) title: String,
}

/// A picture of bars on one scale from zero.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    /// For those who cannot see it.
    pub(super) about: String,
    pub(super) bars: Vec<Bar>,
    /// Where a line across all bars says what they are compared with.
    pub(super) mark: Option<f64>,
}

impl Chart {
    pub(super) fn svg(&self) -> String {
        let scale = Scale::of(self);
        let rows = self.bars.iter().fold(0.0, |sum, _| sum + ROW);
        let mut out = String::new();
        let about = escaped(&self.about);
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            r#"<svg viewBox="0 0 {WIDTH} {:.0}" role="img" aria-label="{about}">"#,
            rows + AXIS
        );
        scale.lines(&mut out, rows);
        let mut top = 0.0;
        for bar in &self.bars {
            bar.draw(&mut out, &scale, top);
            top += ROW;
        }
        if let Some(mark) = self.mark {
            let x = scale.x(mark);
            let _ = write!(
                out,
                r#"<line class="mark" x1="{x:.1}" x2="{x:.1}" y1="0" y2="{rows:.0}"/>"#
            );
        }
        out.push_str("</svg>");
        out
    }
}

impl Bar {
    fn draw(&self, out: &mut String, scale: &Scale, top: f64) {
        let (middle, end) = (top + ROW / 2.0, scale.x(self.value.median));
        let label = cut(&self.label, LABEL);
        let _ = write!(
            out,
            r#"<g><title>{}</title><text class="label" x="{:.0}" y="{:.1}">{}</text><rect class="{}" x="{BARS_AT}" y="{:.1}" width="{:.1}" height="{BAR}" rx="2"/>"#,
            escaped(&self.title),
            BARS_AT - 8.0,
            middle + 4.5,
            escaped(&label),
            self.class,
            middle - BAR / 2.0,
            (end - BARS_AT).max(1.0),
        );
        self.draw_spread(out, scale, middle);
        let (ratio, text) = (cut(&self.ratio, RATIO), cut(&self.text, TEXT));
        let _ = write!(
            out,
            r#"<text class="ratio" x="{RATIO_AT}" y="{:.1}">{}</text><text class="figure" x="{TEXT_END}" y="{:.1}">{}</text></g>"#,
            middle + 4.5,
            escaped(&ratio),
            middle + 4.5,
            escaped(&text)
        );
    }

    /// From the least to the greatest, if they differ visibly.
    fn draw_spread(&self, out: &mut String, scale: &Scale, middle: f64) {
        let (from, to) = (scale.x(self.value.min), scale.x(self.value.max));
        if to - from < 1.0 {
            return;
        }
        let (high, low) = (middle - 4.0, middle + 4.0);
        let _ = write!(
            out,
            r#"<path class="spread" d="M{from:.1} {high:.1}V{low:.1}M{from:.1} {middle:.1}H{to:.1}M{to:.1} {high:.1}V{low:.1}"/>"#
        );
    }
}

/// From values to places.
struct Scale {
    most: f64,
    step: f64,
}

impl Scale {
    fn of(chart: &Chart) -> Self {
        let values = chart.bars.iter().map(|bar| bar.value.max).chain(chart.mark);
        let most = values.fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        Self { most, step: step(most) }
    }

    fn x(&self, value: f64) -> f64 {
        let part = (value / self.most).clamp(0.0, 1.0);
        BARS_AT + part * (BARS_END - BARS_AT)
    }

    fn lines(&self, out: &mut String, rows: f64) {
        let mut value = 0.0;
        while value <= self.most * 1.001 {
            let (x, y) = (self.x(value), rows + 15.0);
            let number = number(value);
            let _ = write!(
                out,
                r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="0" y2="{rows:.0}"/><text class="tick" x="{x:.1}" y="{y:.0}">{number}</text>"#
            );
            value += self.step;
        }
    }
}

/// 1, 2 or 5 times a power of ten, so that there are few lines.
fn step(most: f64) -> f64 {
    let power = 10_f64.powf((most / TICKS).log10().floor());
    let fits = |factor: &f64| most / (power * factor) <= TICKS;
    [1.0, 2.0, 5.0].into_iter().find(fits).unwrap_or(10.0) * power
}

fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn cut(text: &str, letters: usize) -> String {
    text.chars().take(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[f64]) -> Chart {
        let bar = |value: &f64| Bar {
            label: "a very long label that has no room".to_owned(),
            class: "tartan",
            value: Spread { median: *value, min: value * 0.9, max: value * 1.1 },
            ratio: "1.23456789".to_owned(),
            text: "a very long text that has no room either".to_owned(),
            title: "<&>".to_owned(),
        };
        let bars = values.iter().map(bar).collect();
        Chart { about: "bars".to_owned(), bars, mark: Some(1.0) }
    }

    /// Every number of an attribute.
    fn attribute(svg: &str, name: &str) -> Vec<f64> {
        let start = format!(" {name}=\"");
        let parts = svg.split(&start).skip(1);
        parts.map(|part| part.split('"').next().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn columns_are_wide_enough_for_the_longest_texts() {
        let letters = |count: usize| f64::from(u32::try_from(count).unwrap()) * LETTER;
        assert!(BARS_AT - 8.0 >= letters(LABEL));
        const { assert!(BARS_END < RATIO_AT && TEXT_END <= WIDTH) };
        assert!(RATIO_AT + letters(RATIO) < TEXT_END - letters(TEXT));
    }

    #[test]
    fn rows_do_not_overlap_and_bars_stay_in_their_column() {
        let svg = chart(&[0.5, 1.0, 3.0]).svg();
        let tops: Vec<_> = attribute(&svg, "y").into_iter().collect();
        assert!(tops.iter().all(|top| (0.0..=3.0 * ROW + AXIS).contains(top)), "{tops:?}");
        let widths = attribute(&svg, "width");
        assert!(widths.iter().all(|width| *width <= BARS_END - BARS_AT), "{widths:?}");
        assert!(widths.is_sorted());
        const { assert!(ROW > BAR) };
    }

    #[test]
    fn what_comes_from_outside_is_escaped_and_cut() {
        let svg = chart(&[1.0]).svg();
        assert!(svg.contains("<title>&lt;&amp;&gt;</title>") && !svg.contains("no room"));
    }

    #[test]
    fn a_scale_has_few_and_round_lines() {
        for (most, wanted) in [(1.0, 0.2), (2.2, 0.5), (130.0, 50.0), (7.0, 2.0)] {
            assert!((step(most) - wanted).abs() < 1e-9, "{most}: {}", step(most));
        }
        assert_eq!([0.0, 0.5, 1.25, 100.0].map(number), ["0", "0.5", "1.25", "100"]);
    }
}
