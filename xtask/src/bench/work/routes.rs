//! Many routes against one: what a proxy spends on finding the one a request takes.

use super::super::subject::{ROUTE_PATH, ROUTES_MAX, Site, Subject};
use super::super::table::{Bound, Column, Goal};
use super::{Bench, Spec, small};

/// As [`small::PLAIN`], through one route and through the last of a thousand, each for the start of a path.
pub const SPEC: Spec = Spec {
    title: "1,000 routes by path against 1, HTTP/1.1 keep-alive, 64 connections, 70-byte answer",
    columns: &[
        Column { title: "1000 to 1", digits: 2 },
        Column { title: "CPU µs at 1", digits: 2 },
        Column { title: "CPU µs at 1000", digits: 2 },
    ],
    subjects: &[Subject::Triad, Subject::Haproxy],
    goals: &[Goal { of: None, bound: Bound::AtMost(1.05) }],
    in_every_round: true,
};

/// Measures.
pub fn measure(bench: &Bench, subject: Subject) -> anyhow::Result<Vec<f64>> {
    let each_us = |routes| -> anyhow::Result<f64> {
        Ok(small::asked(bench, subject, &Site { routes, ..bench.site(false)? }, ROUTE_PATH)?[0])
    };
    let (one_us, many_us) = (each_us(1)?, each_us(ROUTES_MAX)?);
    Ok(vec![many_us / one_us, one_us, many_us])
}
