//! What proxies spend on the edge's work, measured beside each other.
//!
//! All proxies stand before the same origin and are measured in turn, several rounds, so that what drifts on the
//! machine drifts for all. A proxy has CPU 0 for itself; load and origin share CPU 1. Each proxy writes its access log.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use super::process::{free_port, output_within, raise_open_files};
use super::subject::{self, BACKENDS_MAX, PROXY_CPU, SIDE_CPU, Site, Subject};
use super::table::{self, Samples};
use super::work::{Bench, RATE_COLUMN, Work};
use crate::packages::{self, Program};
use crate::workspace::{cargo, root, run as run_program};

const PROGRAMS: &[Program] = &[
    Program { name: "h2load", package: "nghttp2-client" },
    Program { name: "haproxy", package: "haproxy" },
    Program { name: "nginx", package: "nginx-light" },
    Program { name: "openssl", package: "openssl" },
    Program { name: "setpriv", package: "util-linux" },
    Program { name: "taskset", package: "util-linux" },
    Program { name: "wrk", package: "wrk" },
];

/// Time a program has that only makes or says something.
const SHORT_DEADLINE: Duration = Duration::from_secs(20);
/// Load, as the system counts it over a minute, above which figures are no more than provisional.
const QUIET_LOAD_MAX: f64 = 0.5;

/// Options of `cargo xtask bench edge`.
#[derive(clap::Args)]
pub struct Args {
    /// How often each proxy is measured; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of one measurement. CPU time is counted in ticks of 10 ms, so shorter ones are coarse.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=600))]
    seconds: u32,
    /// Measure only these proxies.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Subject::ALL)]
    only: Vec<Subject>,
    /// Measure only this work.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Work::ALL)]
    work: Vec<Work>,
    /// Install missing packages without asking.
    #[arg(long)]
    yes: bool,
}

/// Measures, and prints a table for each work as soon as it is done.
pub fn run(args: &Args) -> anyhow::Result<()> {
    packages::ensure(PROGRAMS, args.yes)?;
    if thread::available_parallelism()?.get() < 2 {
        bail!("two CPUs are needed: one for the proxy, one for the load and the origin");
    }
    let examples = ["--example", "edge", "--example", "relay", "--example", "load"];
    run_program(cargo(&["build", "--profile", "dist", "--package", "triad-proxy"]).args(examples))?;
    let scratch = Scratch::new()?;
    let mut bench = Bench {
        directory: scratch.0.clone(),
        origin_port: free_port()?,
        certificate: make_certificate(&scratch.0)?,
        seconds: args.seconds,
        open_files: raise_open_files()?,
        maxima: Default::default(),
    };
    let _origin = subject::start_origin(&Site { backends: BACKENDS_MAX, ..bench.site(false)? })?;
    print_conditions(args)?;
    let mut failures = 0;
    for work in Work::ALL.into_iter().filter(|work| args.work.contains(work)) {
        // Minutes of other measurements are not lost to one that fails.
        let samples = measure(work, args, &bench).unwrap_or_else(|error| {
            eprintln!("not measured: {error:#}");
            failures += 1;
            Samples::new()
        });
        let spec = work.spec();
        if !samples.is_empty() {
            print!("\n{}\n{}", spec.title, table::table(spec.columns, spec.goals, &samples));
        }
        if work == Work::KeepAlive {
            let maximum = |subject| Some((subject, table::median(&samples, subject, RATE_COLUMN)?));
            bench.maxima = Subject::ALL.into_iter().filter_map(maximum).collect();
        }
    }
    if failures > 0 {
        bail!("{failures} of the tables could not be measured, see above");
    }
    Ok(())
}

fn print_conditions(args: &Args) -> anyhow::Result<()> {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    if load.split(' ').next().and_then(|load| load.parse().ok()).is_some_and(|load: f64| load > QUIET_LOAD_MAX) {
        eprintln!("other programs are at work here (load {}): figures are provisional", load.trim());
    }
    let mut haproxy = Command::new("haproxy");
    haproxy.arg("-v");
    let version = output_within(haproxy, SHORT_DEADLINE)?;
    println!("{}", version.lines().next().unwrap_or_default());
    println!("proxy on CPU {PROXY_CPU}, load and origin on CPU {SIDE_CPU}; access logs on; ratios are to haproxy's");
    println!("median of {} x {} s", args.rounds, args.seconds);
    Ok(())
}

/// All rounds of one work.
fn measure(work: Work, args: &Args, bench: &Bench) -> anyhow::Result<Samples> {
    let spec = work.spec();
    let rounds = if spec.in_every_round { args.rounds } else { 1 };
    let mut samples = Samples::new();
    for round in 1..=rounds {
        for subject in spec.subjects.iter().filter(|subject| args.only.contains(subject)) {
            let figures = work.measure(bench, *subject).with_context(|| format!("{}: {subject}", spec.title))?;
            let said: Vec<String> =
                spec.columns.iter().zip(&figures).map(|(c, f)| format!("{} {f:.2}", c.title)).collect();
            eprintln!("{work:?}, round {round} of {rounds}: {subject}: {}", said.join(", "));
            samples.entry(*subject).or_default().push(figures);
        }
    }
    Ok(samples)
}

/// A folder that goes with us. Its place is always the same, so that what an interrupted run left goes with the next.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = root().join("target/bench-edge");
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An ECDSA P-256 certificate for 127.0.0.1 that is its own authority, with its key in the same file.
fn make_certificate(directory: &Path) -> anyhow::Result<PathBuf> {
    let [certificate, key, both] = ["certificate.pem", "key.pem", "site.pem"].map(|name| directory.join(name));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-days", "1", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1"]);
    // Clients that trust a server's certificate itself want it not to be an authority's.
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    output_within(openssl, SHORT_DEADLINE)?;
    let write = || format!("cannot write {}", both.display());
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&both).with_context(write)?;
    file.write_all(&fs::read(&certificate)?)?;
    file.write_all(&fs::read(&key)?)?;
    Ok(both)
}
