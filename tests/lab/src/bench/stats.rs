//! What several rounds say together.

use serde::Serialize;

/// The middle and the ends of a figure over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// `None` of no values.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted.get(sorted.len() / 2)?;
        let lower = sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(*lower, *upper), min, max })
    }

    /// Of the ratios of each round: what the rounds have in common cancels out.
    pub(super) fn of_ratios(values: &[f64], to: &[f64]) -> Option<Self> {
        Self::of(values.iter().zip(to).filter(|(_, to)| **to > 0.0).map(|(value, to)| value / to))
    }
}

/// The mean of what nothing came between: without the highest twentieth.
#[expect(clippy::cast_precision_loss, reason = "a number of values")]
pub(super) fn undisturbed(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.truncate(values.len() - values.len() / 20);
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_and_both_ends() {
        let spread = Spread { median: 2.5, min: 1.0, max: 9.0 };
        assert_eq!(Spread::of([9.0, 2.0, 1.0, 3.0]), Some(spread));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let ratios = Spread::of_ratios(&[2.0, 30.0], &[1.0, 10.0]);
        assert_eq!(ratios, Some(Spread { median: 2.5, min: 2.0, max: 3.0 }));
    }

    #[test]
    fn one_disturbed_value_in_twenty_is_left_out() {
        let mut values = vec![2.0; 19];
        values.push(9000.0);
        assert_eq!(undisturbed(values), Some(2.0));
        assert_eq!(undisturbed(Vec::new()), None);
    }
}
