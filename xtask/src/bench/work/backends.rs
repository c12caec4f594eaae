//! Many backends against one: what a proxy spends on choosing.

use super::super::subject::{BACKENDS_MAX, Subject};
use super::super::table::{Bound, Column, Goal};
use super::{Bench, Spec, small};

/// As [`small::PLAIN`], in front of one address of the origin and of a hundred.
pub const SPEC: Spec = Spec {
    title: "100 backends against 1, HTTP/1.1 keep-alive, 64 connections, 70-byte answer",
    columns: &[
        Column { title: "100 to 1", digits: 2 },
        Column { title: "CPU µs at 1", digits: 2 },
        Column { title: "CPU µs at 100", digits: 2 },
    ],
    subjects: &[Subject::Triad, Subject::Haproxy],
    goals: &[Goal { of: None, bound: Bound::AtMost(1.05) }],
    in_every_round: true,
};

/// Measures.
pub fn measure(bench: &Bench, subject: Subject) -> anyhow::Result<Vec<f64>> {
    let one_us = small::plain(bench, subject, 1)?[0];
    let many_us = small::plain(bench, subject, BACKENDS_MAX)?[0];
    Ok(vec![many_us / one_us, one_us, many_us])
}
