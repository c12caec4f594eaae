//! `cargo xtask tidy`: the house rules that no compiler checks.
//!
//! Each check is a pure function from files or cargo's metadata to findings, so each is tested on a few lines of text.

mod architecture;
mod decisions;
mod functions;
mod layers;
mod licences;
mod links;
mod sources;
mod words;

use std::fmt;

use anyhow::{Context, bail};
use cargo_metadata::{Metadata, MetadataCommand};

use crate::workspace::root;
use sources::Source;

/// A broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the root.
    path: String,
    /// The line, from 1; 0 for the file as a whole.
    line: usize,
    /// What is wrong, and what to do.
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_string(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Checks everything and prints what is wrong.
pub fn run() -> anyhow::Result<()> {
    let sources = sources::read(&root())?;
    let mut findings = check(&sources, &metadata()?)?;
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} to tidy up", findings.len());
    }
    eprintln!("{} files are tidy", sources.len());
    Ok(())
}

fn check(sources: &[Source], metadata: &Metadata) -> anyhow::Result<Vec<Finding>> {
    let allowed = licences::allowed(sources::find(sources, licences::LIST)?)?;
    let mut findings = layers::check(sources, &layers::edges(metadata), layers::LAYERS);
    findings.extend(architecture::check(sources));
    findings.extend(functions::check(sources, functions::LONG));
    findings.extend(words::check(sources));
    findings.extend(links::check(sources, &root()));
    findings.extend(decisions::check(sources));
    findings.extend(licences::check(&licences::packages(metadata), &allowed));
    Ok(findings)
}

/// What cargo knows of the workspace and its dependencies, for the platform that Triad runs on.
fn metadata() -> anyhow::Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(String::from))
        .exec()
        .context("cargo metadata failed")
}
