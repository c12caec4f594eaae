//! Idle connections: what a proxy's own memory grows by for each.

use std::thread;
use std::time::Duration;

use super::super::load::{CONNECTIONS, Generator, Order};
use super::super::memory::{self, Memory};
use super::super::process::Process;
use super::super::subject::Subject;
use super::super::table::{Bound, Column, Goal};
use super::{Bench, Spec, WARM_UP_S};

/// Connections that are opened, if all proxies may hold so many and the proxy takes them.
const IDLE_CONNECTIONS: u64 = 10_000;
/// Time for a proxy to give back what a load before needed.
const SETTLE: Duration = Duration::from_millis(500);
/// A kilobyte, in bytes.
const KB: f64 = 1000.0;

const COLUMNS: &[Column] = &[
    Column { title: "RSS KB/conn", digits: 2 },
    Column { title: "PSS KB/conn", digits: 2 },
    Column { title: "connections", digits: 0 },
];
const SUBJECTS: &[Subject] = &[Subject::Triad, Subject::Haproxy, Subject::Nginx];

/// Over plain HTTP/1.1.
pub const PLAIN: Spec = Spec {
    title: "up to 10,000 idle connections after one request each, HTTP/1.1: growth of user memory (one round)",
    columns: COLUMNS,
    subjects: SUBJECTS,
    goals: &[Goal { of: None, bound: Bound::AtMost(8.0) }],
    in_every_round: false,
};

/// Over TLS 1.3.
pub const TLS: Spec = Spec {
    title: "up to 10,000 idle connections after one request each, TLS 1.3: growth of user memory (one round)",
    columns: COLUMNS,
    subjects: SUBJECTS,
    goals: &[Goal { of: None, bound: Bound::AtMost(25.0) }],
    in_every_round: false,
};

/// Measures.
pub fn measure(bench: &Bench, subject: Subject, tls: bool) -> anyhow::Result<Vec<f64>> {
    let site = bench.site(tls)?;
    let processes = subject.start(&site)?;
    let order = |work, connections| Order {
        work,
        port: site.port,
        path: "/",
        connections,
        certificate: site.certificate,
        rate: None,
    };
    // What is needed once, not for each connection.
    Generator::start(&order("keep-alive", CONNECTIONS))?.run(WARM_UP_S)?;
    thread::sleep(SETTLE);
    let before = memory(&processes)?;
    let wanted = IDLE_CONNECTIONS.min(site.connections_max());
    let load = Generator::start(&order("idle", u32::try_from(wanted)?))?;
    let grown = memory(&processes)? - before;
    let each_kb = |bytes: i64| bytes as f64 / load.connections as f64 / KB;
    Ok(vec![each_kb(grown.rss), each_kb(grown.pss), load.connections as f64])
}

fn memory(processes: &[Process]) -> anyhow::Result<Memory> {
    let mut sum = Memory::default();
    for process in processes {
        let Memory { rss, pss } = memory::tree(process.id())?;
        sum = Memory { rss: sum.rss + rss, pss: sum.pss + pss };
    }
    Ok(sum)
}
