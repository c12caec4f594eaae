//! `cargo xtask test`: everything that has to pass, on a machine that may have nothing installed yet.

use crate::packages::{self, Program};
use crate::workspace::{cargo, run as run_program};

/// What tests look with, beside what a lab needs.
const TOOLS: &[Program] = &[
    Program { name: "bash", package: "bash" },
    Program { name: "etcdctl", package: "etcd-client" },
    Program { name: "pkill", package: "procps" },
    Program { name: "setpriv", package: "util-linux" },
];

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Install missing packages without asking.
    #[arg(long)]
    yes: bool,
}

/// Installs, builds, tests.
pub fn run(args: &Args) -> anyhow::Result<()> {
    packages::ensure(&[packages::LAB, packages::SLOW_CLIENTS, TOOLS].concat(), args.yes)?;
    // Tests of the lab start the binaries themselves, the example application's included.
    run_program(&mut cargo(&["build", "--workspace"]))?;
    run_program(&mut cargo(&["test", "--workspace"]))
}
