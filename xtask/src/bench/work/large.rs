//! Large bodies: what a proxy spends on bytes.

use super::super::subject::{LARGE_PATH, Subject};
use super::super::table::{Bound, Column, Goal};
use super::{Bench, Demand, Spec, loaded};

/// Enough to keep both sides busy while buffers still fit the processor's cache.
const CONNECTIONS: u32 = 16;

const COLUMNS: &[Column] = &[Column { title: "MB/CPU second", digits: 0 }, Column { title: "MB/s", digits: 0 }];
const GOALS: &[Goal] = &[Goal { of: Some(Subject::Haproxy), bound: Bound::AtLeast(1.0) }];

/// Over plain HTTP/1.1.
pub const PLAIN: Spec = Spec {
    title: "answers of 1 MB, HTTP/1.1, 16 connections",
    columns: COLUMNS,
    subjects: &[Subject::Triad, Subject::Haproxy, Subject::Nginx, Subject::Relay],
    goals: GOALS,
    in_every_round: true,
};

/// Over TLS 1.3.
pub const TLS: Spec = Spec {
    title: "answers of 1 MB, TLS 1.3, 16 connections",
    columns: COLUMNS,
    subjects: &[Subject::Triad, Subject::Haproxy, Subject::Nginx],
    goals: GOALS,
    in_every_round: true,
};

/// Measures.
pub fn measure(bench: &Bench, subject: Subject, tls: bool) -> anyhow::Result<Vec<f64>> {
    let demand = Demand { work: "keep-alive", path: LARGE_PATH, connections: CONNECTIONS, tls };
    let (cpu_us, report) = loaded(bench, subject, &demand)?;
    // Bytes a microsecond are megabytes a second.
    Ok(vec![report.bytes / cpu_us, report.bytes / report.seconds / 1e6])
}
