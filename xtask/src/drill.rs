//! `cargo xtask drill`: the standard set of drills, against a release build.

use crate::workspace::{cargo, root, run as run_program};

/// Where the page goes, under the root.
const REPORT: &str = "target/drill.html";

/// What is saturated.
const SATURATED: &str = "--design=examples/secured";

/// Options of `cargo xtask drill`.
#[derive(clap::Args)]
pub struct Args {
    /// Scenario files, or words of their names, instead of the standard set in `drills/`.
    scenarios: Vec<String>,
    /// Run each that often, and print a table of all runs.
    #[arg(long)]
    runs: Option<u32>,
    /// Write the table of failovers into this Markdown document, for instance docs/failover.md.
    #[arg(long)]
    record: Option<String>,
    /// Saturate the example `secured` for so many minutes instead, in which nobody may take over.
    #[arg(long)]
    saturation: Option<u64>,
    /// Install missing packages without asking.
    #[arg(long)]
    yes: bool,
}

/// Builds and drills; fails where a promise does not hold or a control is not caught.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let report = root().join(REPORT).display().to_string();
    let mut drill = cargo(&["run", "--quiet", "--release", "--package", "triad", "--", "drill", "--report", &report]);
    drill.args(args.runs.map(|runs| format!("--runs={runs}")));
    drill.args(args.record.as_ref().map(|path| format!("--record={path}")));
    drill.args(args.saturation.iter().flat_map(|minutes| [format!("--saturation={minutes}"), SATURATED.to_owned()]));
    drill.args(args.yes.then_some("--yes")).args(&args.scenarios);
    run_program(&mut drill)
}
