use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::DesignFile;
use crate::print;

/// Make the keys and passwords of the design, a folder for each server
///
/// DIR gets a folder for each server, to be copied to /var/lib/triad/secrets there, and `authority`, the design's
/// certificate authority: keep that one off the servers. Nothing is overwritten. A design of one server needs no
/// such step: its agent makes its own.
#[derive(Args)]
pub struct Secrets {
    #[command(flatten)]
    design: DesignFile,
    /// Folder to make
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Secrets {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = match self.design.load() {
            Ok(loaded) => loaded,
            Err(code) => return Ok(code),
        };
        let folder = self.folder;
        triad_agent::secrets::provision(&loaded.design, &folder.join("authority"), |server| {
            folder.join(server.as_str())
        })?;
        for server in &loaded.design.servers {
            print::out(&format!(
                "{}: copy to {}:/var/lib/triad/secrets\n",
                folder.join(server.name.as_str()).display(),
                server.name
            ));
        }
        print::out(&format!("{}: keep it off the servers\n", folder.join("authority").display()));
        Ok(ExitCode::SUCCESS)
    }
}
