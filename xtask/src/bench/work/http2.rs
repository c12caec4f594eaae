//! Small answers over HTTP/2: many requests at one time share a connection.

use super::super::load::{self, Load};
use super::super::subject::{Site, Subject};
use super::super::table::{Bound, Goal};
use super::small::COLUMNS;
use super::{Bench, Spec, WARM_UP_S, busy_percent, spent_us};

/// With h2load. Its one handshake is part of the measurement.
pub const SPEC: Spec = Spec {
    title: "HTTP/2 over TLS 1.3, one connection with 100 streams, 70-byte answer",
    columns: COLUMNS,
    subjects: &[Subject::Triad, Subject::Haproxy, Subject::Nginx],
    goals: &[Goal { of: Some(Subject::Haproxy), bound: Bound::AtMost(0.80) }],
    in_every_round: true,
};

/// Measures.
pub fn measure(bench: &Bench, subject: Subject) -> anyhow::Result<Vec<f64>> {
    let site = Site { http2: true, ..bench.site(true)? };
    let processes = subject.start(&site)?;
    load::h2load(site.port, WARM_UP_S)?;
    let (cpu_us, Load { requests, requests_per_s }) = spent_us(&processes, || load::h2load(site.port, bench.seconds))?;
    let each_us = cpu_us / requests as f64;
    Ok(vec![each_us, requests_per_s, busy_percent(each_us, requests_per_s)])
}
