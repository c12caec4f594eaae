use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use triad_check::draw::draw;

use super::{DesignFile, check};
use crate::print;

/// Draw the design as an SVG picture
///
/// Servers with their roles, addresses and firewalls, the traffic between them, and what `triad check` finds, numbered
/// where it belongs, for light and dark pages.
#[derive(Args)]
pub struct Draw {
    #[command(flatten)]
    design: DesignFile,
    /// Write the picture into this file; what is in it is replaced [default: standard output]
    #[arg(short, long, value_name = "FILE.svg")]
    output: Option<PathBuf>,
}

impl Draw {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = match self.design.load() {
            Ok(loaded) => loaded,
            Err(code) => return Ok(code),
        };
        let found = triad_check::findings(&loaded.design, &check::surroundings(&loaded));
        let picture = draw(&loaded.design, &found);
        match self.output {
            Some(path) => {
                fs::write(&path, picture).with_context(|| format!("cannot write {}", path.display()))?;
                eprintln!("wrote {}", path.display());
            }
            None => print::out(&picture),
        }
        Ok(ExitCode::SUCCESS)
    }
}
