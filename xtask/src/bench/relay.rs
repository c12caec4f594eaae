//! What the database relay adds to a statement, measured against a bare connection and a raw TCP relay.
//!
//! All three lead to the same MariaDB. The relay has CPU 0 for itself; database and client share CPU 1, so that the bare
//! connection is spared what waking another CPU takes, and a relay pays it twice (`--one-cpu` spares it too). One connection
//! asks `SELECT 1` over and over, each time after the answer: the shortest statement, so nothing hides what is added.

mod client;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::process::{Process, free_port, pin};
use super::subject::{PROXY_CPU, SIDE_CPU};
use super::table::middle;
use super::work::spent_us;
use crate::packages::{self, Program};
use crate::workspace::{cargo, root, run as run_program};
use client::Client;

const PROGRAMS: &[Program] = &[
    Program { name: "mariadbd", package: "mariadb-server" },
    Program { name: "setpriv", package: "util-linux" },
    Program { name: "taskset", package: "util-linux" },
];

/// Queries before the measured ones.
const WARM_UP_QUERIES: usize = 2_000;
/// What the relay may add to the median, in microseconds.
const ADDED_US_MAX: f64 = 50.0;
/// CPU time that it may use, as a multiple of the raw relay's.
const CPU_RATIO_MAX: f64 = 1.3;

/// Options of `cargo xtask bench relay`.
#[derive(clap::Args)]
pub struct Args {
    /// How often each way is measured; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Queries of one measurement. CPU time is counted in ticks of 10 ms, so few are coarse.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    queries: u32,
    /// Have relay, database and client on one CPU: without the time that this machine takes to wake another one.
    #[arg(long)]
    one_cpu: bool,
    /// Install missing packages without asking.
    #[arg(long)]
    yes: bool,
}

/// A way to the database.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Bare,
    Raw,
    Triad,
}

impl Way {
    const ALL: [Way; 3] = [Self::Bare, Self::Raw, Self::Triad];

    /// Where it begins, and what runs for it.
    fn open(self, cpu: u32, scratch: &Path, database_port: u16) -> anyhow::Result<(u16, Vec<Process>)> {
        if self == Self::Bare {
            return Ok((database_port, Vec::new()));
        }
        let port = free_port()?;
        let [from, to] = [port, database_port].map(|port| format!("127.0.0.1:{port}"));
        let mut command = Command::new(examples().join(if self == Self::Raw { "relay" } else { "edge" }));
        match self {
            Self::Raw => command.args([from, to]),
            _ => command.arg(from).arg(scratch.join("access.log")).args([&to, "--database"]),
        };
        Ok((port, vec![Process::start(pin(cpu, &command), &scratch.join("relay.out"), port)?]))
    }
}

/// What one measurement gave, or the medians of several.
#[derive(Clone, Copy, Debug)]
struct Figures {
    median_us: f64,
    cpu_us: f64,
}

/// Measures, and prints a table.
pub fn run(args: &Args) -> anyhow::Result<()> {
    packages::ensure(PROGRAMS, args.yes)?;
    if std::thread::available_parallelism()?.get() < 2 {
        bail!("two CPUs are needed: one for the relay, one for the database and its client");
    }
    let build = ["build", "--profile", "dist", "--package", "triad-proxy", "--example", "edge", "--example", "relay"];
    run_program(&mut cargo(&build))?;
    let scratch = TempDir::new()?;
    let database_port = free_port()?;
    let _database = start_database(scratch.path(), database_port)?;
    let cpu = if args.one_cpu { SIDE_CPU } else { PROXY_CPU };
    let mut rounds = [const { Vec::new() }; Way::ALL.len()];
    for round in 1..=args.rounds {
        for (way, figures) in Way::ALL.into_iter().zip(&mut rounds) {
            let measured = measure(way, cpu, scratch.path(), database_port, args.queries as usize)?;
            eprintln!("round {round} of {}: {way:?}: {measured:.1?}", args.rounds);
            figures.push(measured);
        }
    }
    println!("relay on CPU {cpu}, database and client on CPU {SIDE_CPU}; one connection, SELECT 1");
    println!("median of {} x {} queries", args.rounds, args.queries);
    print!("{}", table(&rounds.map(|figures| medians(&figures))));
    Ok(())
}

fn examples() -> PathBuf {
    root().join("target/dist/examples")
}

/// A database that lets everybody in and keeps nothing.
fn start_database(scratch: &Path, port: u16) -> anyhow::Result<Process> {
    let data = scratch.join("data");
    fs::create_dir(&data).context("cannot make a folder")?;
    let mut command = Command::new("mariadbd");
    command.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-grant-tables", "--innodb-buffer-pool-size=16M"]);
    command.arg(format!("--datadir={}", data.display()));
    // Whoever starts removes others' temporary tables where those are in the same folder.
    command.arg(format!("--tmpdir={}", scratch.display()));
    command.arg(format!("--socket={}", scratch.join("socket").display()));
    command.arg(format!("--port={port}"));
    if nix::unistd::geteuid().is_root() {
        command.arg("--user=root");
    }
    Process::start(pin(SIDE_CPU, &command), &scratch.join("database.out"), port)
}

fn measure(way: Way, cpu: u32, scratch: &Path, database_port: u16, queries: usize) -> anyhow::Result<Figures> {
    let (port, processes) = way.open(cpu, scratch, database_port)?;
    let mut client = Client::connect(port).with_context(|| format!("{way:?}: cannot reach the database"))?;
    client.run(WARM_UP_QUERIES)?;
    let (cpu_us, mut times) = spent_us(&processes, || client.run(queries))?;
    Ok(Figures { median_us: us(median(&mut times)), cpu_us: cpu_us / queries as f64 })
}

fn us(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

fn median(times: &mut [Duration]) -> Duration {
    let middle = times.len() / 2;
    *times.select_nth_unstable(middle).1
}

/// There is at least one round.
fn medians(rounds: &[Figures]) -> Figures {
    let median = |of: fn(&Figures) -> f64| middle(rounds.iter().map(of).collect());
    Figures { median_us: median(|it| it.median_us), cpu_us: median(|it| it.cpu_us) }
}

/// The medians of all ways as text, with what they are to be.
fn table(figures: &[Figures; 3]) -> String {
    let [bare, raw, triad] = *figures;
    let mut text = format!("{:<17}{:>12}{:>12}{:>15}\n", "way", "median µs", "added µs", "CPU µs/query");
    for (way, it) in ["bare connection", "raw TCP relay", "triad"].into_iter().zip(figures) {
        let added = it.median_us - bare.median_us;
        text += &format!("{way:<17}{:>12.1}{added:>12.1}{:>15.2}\n", it.median_us, it.cpu_us);
    }
    let verdict = |is_met| if is_met { "met" } else { "missed" };
    let added = triad.median_us - bare.median_us;
    text += &format!("goal: at most {ADDED_US_MAX:.0} µs added; {added:.1}: {}\n", verdict(added <= ADDED_US_MAX));
    let ratio = triad.cpu_us / raw.cpu_us;
    text += &format!("goal: CPU at most {CPU_RATIO_MAX} of raw; {ratio:.2}: {}\n", verdict(ratio <= CPU_RATIO_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::{Figures, medians, table};

    #[test]
    fn goals_are_judged_by_medians() {
        let figures = |median_us, cpu_us| Figures { median_us, cpu_us };
        let triad = medians(&[figures(90.0, 9.0), figures(130.0, 13.0), figures(131.0, 90.0)]);
        let text = table(&[figures(75.0, 0.0), figures(120.0, 12.0), triad]);
        let expected = "\
way                 median µs    added µs   CPU µs/query
bare connection          75.0         0.0           0.00
raw TCP relay           120.0        45.0          12.00
triad                   130.0        55.0          13.00
goal: at most 50 µs added; 55.0: missed
goal: CPU at most 1.3 of raw; 1.08: met
";
        assert_eq!(text, expected);
    }
}
