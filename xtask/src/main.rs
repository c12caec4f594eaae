//! `cargo xtask`: the chores of this repository, one file a command.

#![forbid(unsafe_code)]

mod bench;
mod ci;
mod deny;
mod drill;
mod golden;
#[path = "../../crates/triad/src/packages.rs"]
mod packages;
mod test;
mod tidy;
mod workspace;

use clap::Parser;

/// The chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Chore {
    /// Install what the tests need, build everything, run all tests.
    Test(test::Args),
    /// Check what no compiler checks: layers, function lengths, documents, licences.
    Tidy,
    /// Rewrite the golden files from what the code prints now, and show what changed.
    Golden,
    /// Measure.
    Bench(bench::Args),
    /// Break labs under load and check what that costs: the standard set of drills.
    Drill(drill::Args),
    /// Check licences, advisories, duplicates and sources of dependencies with cargo-deny.
    Deny,
    /// What the merge gate runs: formatting, clippy, tidy, tests.
    Ci,
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Test(args) => test::run(&args),
        Chore::Tidy => tidy::run(),
        Chore::Golden => golden::run(),
        Chore::Bench(args) => bench::run(&args),
        Chore::Drill(args) => drill::run(&args),
        Chore::Deny => deny::run(),
        Chore::Ci => ci::run(),
    }
}
