//! Small answers over kept connections: what a proxy spends on a request.

use super::super::load::{self, Load};
use super::super::subject::{Site, Subject};
use super::super::table::{Bound, Column, Goal};
use super::{Bench, Spec, WARM_UP_S, busy_percent, spent_us};

/// What a request costs, and how many there were.
pub const COLUMNS: &[Column] = &[
    Column { title: "CPU µs/request", digits: 2 },
    Column { title: "requests/s", digits: 0 },
    Column { title: "its CPU busy %", digits: 0 },
];

/// The column with the most that a proxy does.
pub const RATE_COLUMN: usize = 1;

/// Over plain HTTP/1.1, with wrk.
pub const PLAIN: Spec = Spec {
    title: "HTTP/1.1 keep-alive, 64 connections, 70-byte answer",
    columns: COLUMNS,
    subjects: &Subject::ALL,
    goals: &[
        Goal { of: Some(Subject::Haproxy), bound: Bound::AtMost(0.80) },
        Goal { of: Some(Subject::Chain), bound: Bound::AtMost(0.40) },
    ],
    in_every_round: true,
};

/// Over TLS 1.3, with our own generator: wrk cannot be told the version.
pub const TLS: Spec = Spec {
    title: "TLS 1.3 keep-alive, 64 connections, 70-byte answer",
    columns: COLUMNS,
    subjects: &[Subject::Triad, Subject::Haproxy, Subject::Nginx],
    goals: &[Goal { of: Some(Subject::Haproxy), bound: Bound::AtMost(0.75) }],
    in_every_round: true,
};

/// Plain, in front of so many backends.
pub fn plain(bench: &Bench, subject: Subject, backends: u8) -> anyhow::Result<Vec<f64>> {
    asked(bench, subject, &Site { backends, ..bench.site(false)? }, "/")
}

/// Requests for `path` of `site`.
pub fn asked(bench: &Bench, subject: Subject, site: &Site, path: &str) -> anyhow::Result<Vec<f64>> {
    let processes = subject.start(site)?;
    let wrk = |seconds| load::wrk(site.port, path, seconds);
    wrk(WARM_UP_S)?;
    let (cpu_us, Load { requests, requests_per_s }) = spent_us(&processes, || wrk(bench.seconds))?;
    let each_us = cpu_us / requests as f64;
    Ok(vec![each_us, requests_per_s, busy_percent(each_us, requests_per_s)])
}
