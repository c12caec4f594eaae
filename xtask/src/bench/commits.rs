//! What failing over by itself costs while nothing fails: commits a second in a lab of `secured`, against the same two
//! MariaDB as plain semi-sync.
//!
//! Three ways in turn: through the relay, straight to the primary, and straight to it while everything of Triad's and etcd
//! on all servers is stopped (SIGSTOP), which leaves what a MariaDB primary and its semi-sync replica are by themselves, with
//! the same settings and data. All servers of a lab share this machine's CPUs and disk, three etcd among them: on servers of
//! their own it costs less.

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, bail};

use super::process::output_within;
use super::table::middle;
use crate::packages::{self, Program};
use crate::workspace::{cargo, root, run as run_program};

const PROGRAMS: &[Program] = &[
    Program { name: "mariadbd", package: "mariadb-server" },
    Program { name: "mariadb-slap", package: "mariadb-client" },
    Program { name: "pkill", package: "procps" },
];
const DESIGN: &str = "examples/secured";
const LAB: &str = "bench-commits";
const SERVERS: [&str; 3] = ["srv1", "srv2", "srv3"];
/// Where the application runs that writes, and the primary with its address.
const WRITER: &str = "srv2";
const PRIMARY: &str = "10.77.0.13";
const RELAY: &str = "127.0.0.1";
/// Longer than any measurement.
const DEADLINE: Duration = Duration::from_secs(120);
/// Time in which those that were stopped find each other again.
const SETTLE: Duration = Duration::from_secs(3);
/// What part of the plain rate is to be left.
const LEFT_MIN: f64 = 0.97;
/// What is stopped for the plain rate, by the names of processes.
const STOPPED: &str = "triad|etcd";

/// Options of `cargo xtask bench commits`.
#[derive(clap::Args)]
pub struct Args {
    /// How often each way is measured; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Connections that write at one time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=64))]
    writers: u32,
    /// Rows of one measurement, all writers together.
    #[arg(long, default_value_t = 16_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    rows: u32,
    /// Install missing packages without asking.
    #[arg(long)]
    yes: bool,
}

/// A lab that is taken down in the end.
struct Lab {
    triad: PathBuf,
}

impl Lab {
    fn up() -> anyhow::Result<Self> {
        let lab = Self { triad: root().join("target/release/triad") };
        lab.triad(&["lab", "up", DESIGN, "--name", LAB])?;
        Ok(lab)
    }

    fn triad(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.triad);
        command.args(words).current_dir(root());
        output_within(command, DEADLINE)
    }

    fn exec(&self, server: &str, script: &str) -> anyhow::Result<String> {
        self.triad(&["lab", "exec", "--name", LAB, server, "--", "sh", "-c", script])
    }

    /// Commits a second of all writers, at the database that `address` leads to.
    fn commits(&self, args: &Args, address: &str) -> anyhow::Result<f64> {
        let list = self.triad(&["lab", "list"])?;
        let folder = list.lines().find(|line| line.starts_with(LAB)).and_then(|line| line.split_whitespace().last());
        let folder = folder.with_context(|| format!("where is the lab? {list}"))?;
        let Args { rows, writers, .. } = args;
        let script = format!(
            "MYSQL_PWD=$(cat {folder}/servers/{WRITER}/state/secrets/database-app.password) mariadb-slap --no-defaults \
             --host={address} --user=foobar --create-schema=foobar --no-drop --concurrency={writers} --iterations=1 \
             --number-of-queries={rows} --query=\"INSERT INTO entries (name, text) VALUES ('a', 'b')\" 2>&1"
        );
        let said = self.exec(WRITER, &script)?;
        let line = said.lines().find(|line| line.contains("Average number of seconds"));
        let seconds = line.and_then(|line| line.split_whitespace().find_map(|word| word.parse::<f64>().ok()));
        Ok(f64::from(*rows) / seconds.with_context(|| format!("mariadb-slap said: {said}"))?)
    }

    fn signal(&self, signal: &str) -> anyhow::Result<()> {
        SERVERS.iter().try_for_each(|server| self.exec(server, &format!("pkill -{signal} '{STOPPED}'")).map(drop))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.triad(&["lab", "down", "--name", LAB]) {
            eprintln!("the lab {LAB} stays: {error:#}");
        }
    }
}

/// Measures, and prints a table.
pub fn run(args: &Args) -> anyhow::Result<()> {
    packages::ensure(PROGRAMS, args.yes)?;
    run_program(&mut cargo(&["build", "--quiet", "--release", "--package", "triad"]))?;
    let lab = Lab::up()?;
    // The guestbook makes its table with the first entry.
    let sign = "curl --silent --fail --insecure --output /dev/null --data-urlencode name=a --data-urlencode text=b \
                https://www.foobar.com/entries";
    lab.exec("client", sign)?;
    let mut rates = [const { Vec::new() }; 3];
    for round in 1..=args.rounds {
        let relay = lab.commits(args, RELAY)?;
        let direct = lab.commits(args, PRIMARY)?;
        lab.signal("STOP")?;
        let plain = lab.commits(args, PRIMARY);
        lab.signal("CONT")?;
        let measured = [relay, direct, plain?];
        sleep(SETTLE);
        eprintln!("round {round} of {}: relay, direct, plain: {measured:.0?} commits/s", args.rounds);
        rates.iter_mut().zip(measured).for_each(|(rates, rate)| rates.push(rate));
    }
    let status = lab.triad(&["status", "database", "--lab", LAB])?;
    if !status.contains("epoch 1,") {
        bail!("somebody took over meanwhile, so this measured something else:\n{status}");
    }
    println!("{} writers, median of {} x {} rows", args.writers, args.rounds, args.rows);
    print!("{}", table(rates.map(middle)));
    Ok(())
}

fn table([relay, direct, plain]: [f64; 3]) -> String {
    let mut text = format!("{:<40}{:>10}{:>10}\n", "way", "commits/s", "of plain");
    for (way, rate) in [("plain semi-sync", plain), ("straight to the primary", direct), ("through the relay", relay)] {
        text += &format!("{way:<40}{rate:>10.0}{:>10.2}\n", rate / plain);
    }
    let verdict = if direct / plain >= LEFT_MIN { "met" } else { "missed" };
    text += &format!("goal, the relay measured apart: at least {LEFT_MIN}: {:.2}: {verdict}\n", direct / plain);
    text
}

#[cfg(test)]
mod tests {
    use super::{middle, table};

    #[test]
    fn what_is_left_is_judged_by_medians() {
        let text = table([vec![80.0, 90.0, 10.0], vec![96.0, 1.0, 97.0], vec![100.0; 3]].map(middle));
        let expected = "\
way                                      commits/s  of plain
plain semi-sync                                100      1.00
straight to the primary                         96      0.96
through the relay                               80      0.80
goal, the relay measured apart: at least 0.97: 0.96: missed
";
        assert_eq!(text, expected);
    }
}
