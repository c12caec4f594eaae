//! `cargo xtask ci`: the merge gate's own script, so that nobody has to remember where it is.

use std::process::Command;

use crate::workspace::{root, run as run_program};

/// Runs `.ci/run`.
pub fn run() -> anyhow::Result<()> {
    run_program(&mut Command::new(root().join(".ci/run")))
}
