//! `cargo xtask golden`: accepts what the code prints now as what the golden files say.

use std::process::Command;

use crate::workspace::{cargo, root, run as run_program};

/// Rewrites, then shows what there is to review.
pub fn run() -> anyhow::Result<()> {
    run_program(cargo(&["test", "--workspace", "--quiet"]).env("TRIAD_GOLDEN", "write"))?;
    run_program(Command::new("git").args(["diff", "--stat"]).current_dir(root()))
}
