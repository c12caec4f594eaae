//! `triad`: one binary and one file for the infrastructure behind a website.
//!
//! [`commands`] has one file a verb. Nothing is decided here: every command reads its input, calls the crate that
//! knows, prints, and returns an exit code.

#![forbid(unsafe_code)]

mod commands;
mod packages;
mod print;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    commands::run(commands::Cli::parse())
}
