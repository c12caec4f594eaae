//! `cargo xtask deny`: cargo-deny with `deny.toml`. It takes minutes to build and asks the network for advisories, so
//! it is no part of the tests; `cargo xtask tidy` checks licences by the same list without it.

use anyhow::bail;

use crate::workspace::{cargo, run as run_program};

/// Runs cargo-deny where it is installed.
pub fn run() -> anyhow::Result<()> {
    let installed = cargo(&["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if !installed {
        bail!("cargo-deny is not installed; install it and try again:\n    cargo install --locked cargo-deny");
    }
    run_program(&mut cargo(&["deny", "check", "licenses", "advisories", "bans", "sources"]))
}
