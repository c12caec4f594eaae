use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use triad_config::DesignKind;

use crate::print;

/// Write a commented triad.toml to begin with
///
/// It is one of the four designs that stand in the examples, to be changed at will. Nothing is overwritten.
#[derive(Args)]
pub struct Init {
    /// Which design
    #[arg(long, value_enum, default_value_t = Kind::Secured)]
    design: Kind,
    /// Folder to write it into
    #[arg(default_value = ".")]
    folder: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// One server that does everything
    Simple,
    /// A load balancer, two application servers, primary and replica
    Distributed,
    /// Three servers with firewalls, HTTPS and monitoring
    Secured,
    /// Two balancers, every component on its own servers
    Scaled,
}

impl Init {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let kind = match self.design {
            Kind::Simple => DesignKind::Simple,
            Kind::Distributed => DesignKind::Distributed,
            Kind::Secured => DesignKind::Secured,
            Kind::Scaled => DesignKind::Scaled,
        };
        let path = self.folder.join("triad.toml");
        fs::create_dir_all(self.folder.join("public")).context("cannot make the folder for static files")?;
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(triad_config::template(kind).as_bytes()))
            .with_context(|| format!("cannot write {}; a file that exists is never overwritten", path.display()))?;
        print::out(&format!(
            "wrote {}\n\nNext: put your domain, addresses and application into it, then\n  triad check {0}\n  triad lab up {}\n",
            path.display(),
            self.folder.display()
        ));
        Ok(ExitCode::SUCCESS)
    }
}
