//! A connection, a full handshake and one request each time: what a new visitor costs.

use super::super::load::{CONNECTIONS, Generator, Order};
use super::super::subject::Subject;
use super::super::table::{Bound, Column, Goal};
use super::{Bench, Spec, WARM_UP_S, busy_percent, spent_us};

/// TLS 1.3, nothing resumed; the proxy closes.
pub const SPEC: Spec = Spec {
    title: "TLS 1.3 full handshake (ECDSA P-256) and one request a connection, 64 at one time",
    columns: &[
        Column { title: "CPU µs/conn", digits: 1 },
        Column { title: "connections/s", digits: 0 },
        Column { title: "its CPU busy %", digits: 0 },
    ],
    subjects: &[Subject::Triad, Subject::Haproxy, Subject::Nginx],
    goals: &[Goal { of: Some(Subject::Haproxy), bound: Bound::AtMost(0.65) }],
    in_every_round: true,
};

/// Measures.
pub fn measure(bench: &Bench, subject: Subject) -> anyhow::Result<Vec<f64>> {
    let site = bench.site(true)?;
    let processes = subject.start(&site)?;
    let mut load = Generator::start(&Order {
        work: "connect",
        port: site.port,
        path: "/",
        connections: CONNECTIONS,
        certificate: site.certificate,
        rate: None,
    })?;
    load.run(WARM_UP_S)?;
    let (cpu_us, report) = spent_us(&processes, || load.run(bench.seconds))?;
    let [each_us, connections_per_s] = [cpu_us / report.requests, report.requests / report.seconds];
    Ok(vec![each_us, connections_per_s, busy_percent(each_us, connections_per_s)])
}
