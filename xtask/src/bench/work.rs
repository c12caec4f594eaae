//! What is measured: one file for each kind of work, one value of [`Work`] for each table.

mod backends;
mod handshake;
mod http2;
mod idle;
mod large;
mod latency;
mod routes;
mod small;

pub use small::RATE_COLUMN;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;

use super::cpu;
use super::load::{CONNECTIONS, Generator, Order, Report};
use super::process::{Process, free_port};
use super::subject::{Site, Subject};
use super::table::{Column, Goal};

/// Length of the load before each measurement, in seconds: connections open, pools fill.
const WARM_UP_S: u32 = 1;

/// One table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Small answers over kept connections, plain HTTP/1.1.
    KeepAlive,
    /// The same over TLS 1.3.
    TlsKeepAlive,
    /// A connection, a full TLS 1.3 handshake and one request each time.
    TlsHandshake,
    /// Small answers over HTTP/2.
    Http2,
    /// Answers of 1 MB, plain HTTP/1.1.
    Large,
    /// The same over TLS 1.3.
    TlsLarge,
    /// Latency at 70 % of what the same proxy can do, plain HTTP/1.1.
    Latency,
    /// Memory of idle connections, plain HTTP/1.1.
    Idle,
    /// The same with TLS 1.3.
    TlsIdle,
    /// A hundred backends against one.
    Backends,
    /// A thousand routes against one.
    Routes,
}

/// How a work is shown, and who does it.
pub struct Spec {
    /// The heading.
    pub title: &'static str,
    /// The figures. The first one is what ratios and goals are about.
    pub columns: &'static [Column],
    /// Who is measured.
    pub subjects: &'static [Subject],
    /// What is to be reached.
    pub goals: &'static [Goal],
    /// Measured in every round, not in the first alone: memory is the same each time, CPU time is not.
    pub in_every_round: bool,
}

impl Work {
    /// All of them, in the order of the output.
    pub const ALL: [Self; 11] = [
        Self::KeepAlive,
        Self::TlsKeepAlive,
        Self::TlsHandshake,
        Self::Http2,
        Self::Large,
        Self::TlsLarge,
        Self::Latency,
        Self::Idle,
        Self::TlsIdle,
        Self::Backends,
        Self::Routes,
    ];

    /// How it is shown, and who does it.
    pub fn spec(self) -> Spec {
        match self {
            Self::KeepAlive => small::PLAIN,
            Self::TlsKeepAlive => small::TLS,
            Self::TlsHandshake => handshake::SPEC,
            Self::Http2 => http2::SPEC,
            Self::Large => large::PLAIN,
            Self::TlsLarge => large::TLS,
            Self::Latency => latency::SPEC,
            Self::Idle => idle::PLAIN,
            Self::TlsIdle => idle::TLS,
            Self::Backends => backends::SPEC,
            Self::Routes => routes::SPEC,
        }
    }

    /// Starts `subject` afresh, warms it up, and measures it once: a figure for each column.
    pub fn measure(self, bench: &Bench, subject: Subject) -> anyhow::Result<Vec<f64>> {
        match self {
            Self::KeepAlive => small::plain(bench, subject, 1),
            Self::TlsKeepAlive => small_over_tls(bench, subject, "keep-alive"),
            Self::TlsHandshake => small_over_tls(bench, subject, "connect"),
            Self::Http2 => http2::measure(bench, subject),
            Self::Large => large::measure(bench, subject, false),
            Self::TlsLarge => large::measure(bench, subject, true),
            Self::Latency => latency::measure(bench, subject),
            Self::Idle => idle::measure(bench, subject, false),
            Self::TlsIdle => idle::measure(bench, subject, true),
            Self::Backends => backends::measure(bench, subject),
            Self::Routes => routes::measure(bench, subject),
        }
    }
}

/// What all measurements of a run share.
pub struct Bench {
    /// For configurations and logs.
    pub directory: PathBuf,
    /// Where the origin listens.
    pub origin_port: u16,
    /// Certificate and key of 127.0.0.1, for all who speak TLS.
    pub certificate: PathBuf,
    /// Length of a measurement.
    pub seconds: u32,
    /// Open files that a process may have.
    pub open_files: u64,
    /// Requests a second that each did when kept busy, from the table of [`Work::KeepAlive`] if it was measured.
    pub maxima: BTreeMap<Subject, f64>,
}

impl Bench {
    /// Where a proxy with one backend works, on a port of its own.
    pub fn site(&self, tls: bool) -> anyhow::Result<Site<'_>> {
        Ok(Site {
            directory: &self.directory,
            port: free_port()?,
            origin_port: self.origin_port,
            backends: 1,
            routes: 0,
            certificate: tls.then_some(&self.certificate),
            http2: false,
            open_files: self.open_files,
        })
    }
}

/// What our generator does to a proxy.
struct Demand {
    /// The generator's name for it.
    work: &'static str,
    path: &'static str,
    connections: u32,
    tls: bool,
}

/// Starts `subject` afresh, warms it up, and lets the generator do what `demand` says: CPU time in microseconds, and
/// what the generator saw. Its connections are open before the measurement starts.
fn loaded(bench: &Bench, subject: Subject, demand: &Demand) -> anyhow::Result<(f64, Report)> {
    let site = bench.site(demand.tls)?;
    let processes = subject.start(&site)?;
    let mut load = Generator::start(&Order {
        work: demand.work,
        port: site.port,
        path: demand.path,
        connections: demand.connections,
        certificate: site.certificate,
        rate: None,
    })?;
    load.run(WARM_UP_S)?;
    spent_us(&processes, || load.run(bench.seconds))
}

/// Small answers over TLS: CPU time for each, how many a second, and how busy the proxy was.
fn small_over_tls(bench: &Bench, subject: Subject, work: &'static str) -> anyhow::Result<Vec<f64>> {
    let demand = Demand { work, path: "/", connections: CONNECTIONS, tls: true };
    let (cpu_us, report) = loaded(bench, subject, &demand)?;
    let [each_us, per_s] = [cpu_us / report.requests, report.requests / report.seconds];
    Ok(vec![each_us, per_s, busy_percent(each_us, per_s)])
}

/// CPU time that `processes` use while `work` runs, in microseconds, and what came of it.
pub fn spent_us<T>(processes: &[Process], work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(f64, T)> {
    let used_us = || processes.iter().map(|process| cpu::tree_us(process.id())).sum::<anyhow::Result<u64>>();
    let before_us = used_us()?;
    let done = work()?;
    Ok(((used_us()? - before_us) as f64, done))
}

/// How busy a proxy's CPU is with so many things a second. Well below 100, it is load and origin that bound the rate:
/// CPU time for each is right all the same, the rate is not the proxy's own maximum.
fn busy_percent(each_us: f64, per_s: f64) -> f64 {
    each_us * per_s / 1e6 * 100.0
}

#[cfg(test)]
mod tests {
    use super::Work;
    use crate::bench::subject::Subject;

    #[test]
    fn every_work_can_be_compared() {
        for work in Work::ALL {
            let spec = work.spec();
            assert!(spec.subjects.contains(&Subject::Triad) && spec.subjects.contains(&Subject::Haproxy), "{work:?}");
            assert!(!spec.columns.is_empty() && !spec.goals.is_empty(), "{work:?}");
            assert!(spec.goals.iter().all(|goal| goal.of.is_none_or(|of| spec.subjects.contains(&of))), "{work:?}");
        }
    }
}
