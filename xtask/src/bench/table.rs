//! One table a work: medians, the ratio to HAProxy's, and the goals.

use std::collections::BTreeMap;

use super::subject::Subject;

/// A figure that a work measures.
#[derive(Clone, Copy)]
pub struct Column {
    /// What it is, with its unit.
    pub title: &'static str,
    /// Digits after the point.
    pub digits: usize,
}

/// What our first figure is to reach.
#[derive(Clone, Copy)]
pub struct Goal {
    /// Whose figure ours is divided by; `None`: it is taken as it is.
    pub of: Option<Subject>,
    /// The bound.
    pub bound: Bound,
}

/// The good side of a figure.
#[derive(Clone, Copy)]
pub enum Bound {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
}

impl Bound {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtMost(bound) => format!("at most {bound:.2}"),
            Self::AtLeast(bound) => format!("at least {bound:.2}"),
        }
    }
}

/// The figures of each round, in the order of the columns.
pub type Samples = BTreeMap<Subject, Vec<Vec<f64>>>;

/// `samples` as text.
pub fn table(columns: &[Column], goals: &[Goal], samples: &Samples) -> String {
    let medians: BTreeMap<Subject, Vec<f64>> =
        samples.iter().map(|(subject, rounds)| (*subject, medians(rounds, columns.len()))).collect();
    let first = |subject| medians.get(&subject).and_then(|figures| figures.first()).copied();
    let mut text = format!("{:<17}", "proxy");
    columns.iter().for_each(|column| text += &format!("  {:>14}", column.title));
    text += &format!("{:>10}\n", "ratio");
    for (subject, figures) in &medians {
        text += &format!("{:<17}", subject.to_string());
        for (Column { title, digits }, figure) in columns.iter().zip(figures) {
            text += &format!("  {figure:>0$.digits$}", title.chars().count().max(14));
        }
        let ratio = first(Subject::Haproxy).map(|haproxy| format!("{:.2}", figures[0] / haproxy));
        text += &format!("{:>10}\n", ratio.unwrap_or_else(|| "-".to_owned()));
    }
    for goal in goals {
        let Some(ours) = first(Subject::Triad) else { continue };
        let (value, whose) = match goal.of.map(|subject| (subject, first(subject))) {
            None => (ours, String::new()),
            Some((subject, Some(theirs))) => (ours / theirs, format!(" of {subject}")),
            Some((_, None)) => continue,
        };
        let verdict = if goal.bound.is_met_by(value) { "met" } else { "missed" };
        let Column { title, .. } = columns[0];
        text += &format!("goal: {title} {}{whose}; triad {value:.2}: {verdict}\n", goal.bound.words());
    }
    text
}

/// The median of each column: the middle value, or the mean of the two in the middle. There is at least one round.
fn medians(rounds: &[Vec<f64>], columns: usize) -> Vec<f64> {
    (0..columns).map(|column| middle(rounds.iter().map(|figures| figures[column]).collect())).collect()
}

/// The median of `values`, of which there is at least one.
pub fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// The median of one figure of `subject`, if it was measured.
pub fn median(samples: &Samples, subject: Subject, column: usize) -> Option<f64> {
    medians(samples.get(&subject)?, column + 1).pop()
}

#[cfg(test)]
mod tests {
    use super::{Bound, Column, Goal, Samples, Subject, median, table};

    const COLUMNS: &[Column] =
        &[Column { title: "CPU µs/request", digits: 2 }, Column { title: "requests/s", digits: 0 }];
    const GOALS: &[Goal] = &[
        Goal { of: Some(Subject::Haproxy), bound: Bound::AtMost(0.80) },
        Goal { of: None, bound: Bound::AtLeast(10.0) },
    ];

    fn samples(values: &[f64]) -> Vec<Vec<f64>> {
        values.iter().map(|us| vec![*us, 1e6 / us]).collect()
    }

    #[test]
    fn the_table_shows_medians_and_ratios() {
        let mut all = Samples::from([(Subject::Nginx, samples(&[10.0, 99.0, 12.0, 14.0]))]);
        assert_eq!(
            table(COLUMNS, GOALS, &all),
            "proxy              CPU µs/request      requests/s     ratio\n\
             nginx                       13.00           77381         -\n"
        );
        all.insert(Subject::Haproxy, samples(&[20.0, 26.0, 1.0]));
        assert_eq!(
            table(COLUMNS, GOALS, &all),
            "proxy              CPU µs/request      requests/s     ratio\n\
             haproxy                     20.00           50000      1.00\n\
             nginx                       13.00           77381      0.65\n"
        );
    }

    #[test]
    fn goals_stand_below_ours() {
        let mut all = Samples::from([(Subject::Triad, samples(&[18.0]))]);
        let text = table(COLUMNS, GOALS, &all);
        assert!(text.ends_with("\ngoal: CPU µs/request at least 10.00; triad 18.00: met\n"), "{text}");
        assert!(!text.contains("haproxy"), "{text}");
        all.insert(Subject::Haproxy, samples(&[20.0]));
        let text = table(COLUMNS, GOALS, &all);
        assert!(text.contains("\ngoal: CPU µs/request at most 0.80 of haproxy; triad 0.90: missed\n"), "{text}");
    }

    #[test]
    fn one_median_is_the_tables() {
        let all = Samples::from([(Subject::Triad, samples(&[10.0, 20.0, 40.0]))]);
        assert_eq!(median(&all, Subject::Triad, 1), Some(50_000.0));
        assert_eq!(median(&all, Subject::Nginx, 1), None);
    }
}
