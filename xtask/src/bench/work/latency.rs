//! Latency at a constant rate, from when each request was due: a proxy that falls back cannot hide it.

use anyhow::Context;

use super::super::load::{self, CONNECTIONS, Generator, Order};
use super::super::subject::Subject;
use super::super::table::{Bound, Column, Goal};
use super::{Bench, Spec, WARM_UP_S};

/// Part of its own maximum that a proxy is asked for.
const SHARE: f64 = 0.70;

/// At 70 % of the most that the same proxy did when kept busy.
pub const SPEC: Spec = Spec {
    title: "latency at 70 % of one's own maximum, HTTP/1.1 keep-alive, 64 connections, 70-byte answer",
    columns: &[
        Column { title: "p99 µs", digits: 0 },
        Column { title: "median µs", digits: 0 },
        Column { title: "requests/s", digits: 0 },
    ],
    subjects: &[Subject::Triad, Subject::Haproxy, Subject::Nginx, Subject::Relay],
    goals: &[Goal { of: Some(Subject::Haproxy), bound: Bound::AtMost(1.0) }],
    in_every_round: true,
};

/// Measures.
pub fn measure(bench: &Bench, subject: Subject) -> anyhow::Result<Vec<f64>> {
    let site = bench.site(false)?;
    let _processes = subject.start(&site)?;
    let maximum = match bench.maxima.get(&subject) {
        Some(maximum) => *maximum,
        None => load::wrk(site.port, "/", bench.seconds)?.requests_per_s,
    };
    let mut load = Generator::start(&Order {
        work: "rate",
        port: site.port,
        path: "/",
        connections: CONNECTIONS,
        certificate: None,
        rate: Some(maximum * SHARE),
    })?;
    load.run(WARM_UP_S)?;
    let report = load.run(bench.seconds)?;
    let [median_us, p99_us] = report.latency_us.context("the load generator reported no latency")?;
    Ok(vec![p99_us, median_us, report.requests / report.seconds])
}
