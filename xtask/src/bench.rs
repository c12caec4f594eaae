//! `cargo xtask bench`: measurements against the field's programs, in the same run on the same machine.

mod commits;
mod cpu;
mod edge;
mod load;
mod memory;
mod process;
mod relay;
mod subject;
mod table;
mod work;

use clap::Subcommand;

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// CPU, latency and memory of our edge against HAProxy, nginx, HAProxy in front of nginx, and a raw TCP relay.
    Edge(edge::Args),
    /// What the database relay adds to a statement, against a bare connection and a raw TCP relay.
    Relay(relay::Args),
    /// What failing over by itself costs while nothing fails: commits a second, against plain semi-sync.
    Commits(commits::Args),
}

/// Measures, and prints the result to stdout.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Edge(args) => edge::run(args),
        What::Relay(args) => relay::run(args),
        What::Commits(args) => commits::run(args),
    }
}
