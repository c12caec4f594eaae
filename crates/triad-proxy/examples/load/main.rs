//! Load for `cargo xtask bench edge` where wrk is not enough: TLS 1.3 only, full handshakes, a constant rate, idle
//! connections.
//!
//! It opens its connections and prints `ready connections=N`. Then each line on its input, a number of seconds, makes
//! it load for that long and print one line of figures, `requests=N seconds=S bytes=B`, at a rate also `p50_us=L
//! p99_us=L`. It ends with its input. Whatever goes wrong ends it with an error: what failed was not measured.

mod client;
mod http;
mod rate;
mod run;

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use client::Client;
use run::Figures;

/// Loads a proxy, and measures.
#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Requests on kept connections, each as soon as the last was answered.
    KeepAlive(Target),
    /// A connection with one request each time; with a certificate, a full handshake.
    Connect(Target),
    /// Requests on kept plain connections at a constant rate; latency counts from when a request was due.
    Rate {
        #[command(flatten)]
        target: Target,
        /// Requests a second.
        #[arg(long)]
        rate: f64,
    },
    /// Connections that had one request and then nothing. No more are opened after the first refusal.
    Idle(Target),
}

#[derive(Args)]
struct Target {
    /// Where the proxy listens.
    address: SocketAddr,
    /// What is asked for.
    #[arg(long, default_value = "/")]
    path: String,
    /// How many connections at one time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Speak TLS, and trust this certificate, a PEM file.
    #[arg(long)]
    certificate: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    match Command::parse().work {
        Work::KeepAlive(target) => {
            let client = Client::new(target.address, &target.path, target.certificate.as_deref())?;
            let mut open = client.open_all(target.connections)?;
            serve(open.len(), |time| run::keep_alive(&client, &mut open, time))
        }
        Work::Connect(target) => {
            let client = Client::new(target.address, &target.path, target.certificate.as_deref())?;
            serve(0, |time| run::connect(&client, target.connections, time))
        }
        Work::Rate { target, rate } => {
            let client = Client::new(target.address, &target.path, target.certificate.as_deref())?;
            let mut open = client.open_all(target.connections)?;
            serve(open.len(), |time| rate::run(&client, &mut open, rate, time))
        }
        Work::Idle(target) => {
            let client = Client::new(target.address, &target.path, target.certificate.as_deref())?;
            let open = client.open_until_refused(target.connections)?;
            let alive = open.iter().filter(|connection| connection.is_open()).count();
            serve(alive, |_| anyhow::bail!("idle connections carry no load"))
        }
    }
}

fn serve(open: usize, mut run: impl FnMut(Duration) -> anyhow::Result<Figures>) -> anyhow::Result<()> {
    say(&format!("ready connections={open}"))?;
    for line in io::stdin().lock().lines() {
        let seconds = line?.trim().parse().context("expected a number of seconds")?;
        say(&run(Duration::from_secs(seconds))?.to_string())?;
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}
