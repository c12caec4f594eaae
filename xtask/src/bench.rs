//! `cargo xtask bench`: measurements against the field's programs, in the same run on the same machine.

mod cpu;
mod edge;
mod load;
mod process;
mod subject;
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
    /// CPU per request of our edge against HAProxy, nginx, HAProxy in front of nginx, and a relay of bytes.
    Edge(edge::Args),
}

/// Measures, and prints the result to stdout.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Edge(args) => edge::run(args),
    }
}
