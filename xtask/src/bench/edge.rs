//! CPU per request of proxies: HTTP/1.1 with kept connections and a small answer, or what `--work` says.
//!
//! All proxies stand before the same origin and are measured in turn, several rounds, so that what drifts on the
//! machine drifts for all. A proxy has CPU 0 for itself; load and origin share CPU 1. Each proxy writes its access log.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use anyhow::bail;

use super::load;
use super::process::{Process, free_port};
use super::subject::{self, PROXY_CPU, SIDE_CPU, Site, Subject};
use super::work::{self, Work};
use crate::packages::{self, Program};
use crate::workspace::{cargo, run as run_program};

const PROGRAMS: &[Program] = &[
    Program { name: "haproxy", package: "haproxy" },
    Program { name: "nginx", package: "nginx-light" },
    Program { name: "wrk", package: "wrk" },
    Program { name: "openssl", package: "openssl" },
    Program { name: "taskset", package: "util-linux" },
];

/// Options of `cargo xtask bench edge`.
#[derive(clap::Args)]
pub struct Args {
    /// How often each proxy is measured; the median counts.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of one measurement. CPU time is counted in ticks of 10 ms, so shorter ones are coarse.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(5..=600))]
    seconds: u32,
    /// What to ask of them.
    #[arg(long, value_enum, default_value_t = Work::Plain)]
    work: Work,
    /// Measure only these.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Subject::ALL)]
    only: Vec<Subject>,
    /// Install missing packages without asking.
    #[arg(long)]
    yes: bool,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Sample {
    cpu_us_per_request: f64,
    requests_per_s: f64,
}

/// Measures and prints a table.
pub fn run(args: &Args) -> anyhow::Result<()> {
    packages::ensure(PROGRAMS, args.yes)?;
    if thread::available_parallelism()?.get() < 2 {
        bail!("two CPUs are needed: one for the proxy, one for the load and the origin");
    }
    for (subject, example) in [(Subject::Triad, "edge"), (Subject::Floor, "floor")] {
        if args.only.contains(&subject) {
            run_program(&mut cargo(&["build", "--profile", "dist", "--package", "triad-proxy", "--example", example]))?;
        }
    }
    let samples = measure_all(args)?;
    println!("{}, {} connections, access logs on;", args.work, args.work.connections());
    println!(
        "proxy on CPU {PROXY_CPU}, load and origin on CPU {SIDE_CPU}; median of {} x {} s",
        args.rounds, args.seconds
    );
    print!("\n{}", table(&samples));
    Ok(())
}

fn measure_all(args: &Args) -> anyhow::Result<BTreeMap<Subject, Vec<Sample>>> {
    let directory = tempfile::tempdir()?;
    // The origin's workers drop root's rights and must still find the large answer.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
    let origin_port = free_port()?;
    let pem = if args.work.is_encrypted() { Some(work::certificate(directory.path())?) } else { None };
    // A relay of bytes ends no TLS.
    let subjects: Vec<Subject> = args.only.iter().copied().filter(|s| pem.is_none() || *s != Subject::Floor).collect();
    let _origin = subject::start_origin(directory.path(), origin_port)?;
    let mut samples: BTreeMap<Subject, Vec<Sample>> = BTreeMap::new();
    for round in 1..=args.rounds {
        for subject in &subjects {
            let site = Site { directory: directory.path(), port: free_port()?, origin_port, pem: pem.as_deref() };
            let sample = measure(*subject, &site, args)?;
            let Sample { cpu_us_per_request, requests_per_s } = sample;
            eprintln!("round {round}: {subject:<16} {cpu_us_per_request:6.2} µs, {requests_per_s:.0} requests/s");
            samples.entry(*subject).or_default().push(sample);
        }
    }
    Ok(samples)
}

/// Starts `subject` afresh, warms it up, and measures it.
fn measure(subject: Subject, site: &Site, args: &Args) -> anyhow::Result<Sample> {
    let processes = subject.start(site)?;
    load::run(SIDE_CPU, args.work, site.port, 1)?;
    let before_us = cpu_us(&processes)?;
    let load = load::run(SIDE_CPU, args.work, site.port, args.seconds)?;
    let spent_us = cpu_us(&processes)? - before_us;
    Ok(Sample { cpu_us_per_request: spent_us as f64 / load.requests as f64, requests_per_s: load.requests_per_s })
}

fn cpu_us(processes: &[Process]) -> anyhow::Result<u64> {
    processes.iter().map(|process| super::cpu::tree_us(process.id())).sum()
}

/// Medians, and the ratio to HAProxy's where it was measured.
fn table(samples: &BTreeMap<Subject, Vec<Sample>>) -> String {
    let haproxy = samples.get(&Subject::Haproxy).map(|samples| median(samples, |sample| sample.cpu_us_per_request));
    let mut text = format!("{:<17}{:>16}{:>9}{:>13}\n", "proxy", "CPU µs/request", "ratio", "requests/s");
    for (subject, samples) in samples {
        let cpu = median(samples, |sample| sample.cpu_us_per_request);
        let ratio = haproxy.map_or_else(|| "-".to_string(), |haproxy| format!("{:.2}", cpu / haproxy));
        let rate = median(samples, |sample| sample.requests_per_s);
        text += &format!("{:<17}{cpu:>16.2}{ratio:>9}{rate:>13.0}\n", subject.to_string());
    }
    text
}

/// The middle value, or the mean of the two in the middle. There is at least one sample.
fn median(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Sample, table};
    use crate::bench::subject::Subject;

    fn samples(values: &[f64]) -> Vec<Sample> {
        values.iter().map(|us| Sample { cpu_us_per_request: *us, requests_per_s: 1e6 / us }).collect()
    }

    #[test]
    fn the_table_shows_medians_and_ratios() {
        let mut all = BTreeMap::from([(Subject::Nginx, samples(&[10.0, 99.0, 12.0, 14.0]))]);
        assert_eq!(
            table(&all),
            "proxy              CPU µs/request    ratio   requests/s\n\
             nginx                       13.00        -        77381\n"
        );
        all.insert(Subject::Haproxy, samples(&[20.0, 26.0, 1.0]));
        assert_eq!(
            table(&all),
            "proxy              CPU µs/request    ratio   requests/s\n\
             haproxy                     20.00     1.00        50000\n\
             nginx                       13.00     0.65        77381\n"
        );
    }
}
