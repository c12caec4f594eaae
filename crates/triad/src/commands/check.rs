use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use triad_config::{LoadError, Loaded};

use super::Unusable;
use crate::print;

/// Read the design and report every mistake in it
///
/// Exit code 0 where there is none, 2 where the file is unusable.
#[derive(Args)]
pub struct Check {
    /// The file, or the folder it is in; the same as -c
    #[arg(value_name = "FILE", conflicts_with = "file")]
    positional: Option<std::path::PathBuf>,
    #[command(flatten)]
    design: super::DesignFile,
    /// Print mistakes as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match super::read(self.positional.as_deref().or(self.design.file.as_deref())) {
            Ok(loaded) if self.json => print::json(&json!({ "file": loaded.file, "mistakes": [] }))?,
            Ok(loaded) => print::out(&summary(&loaded)),
            Err(unusable) => {
                if self.json {
                    print::json(&as_json(&unusable))?;
                } else {
                    eprint!("{}", unusable.text(print::color()));
                }
                return Ok(ExitCode::from(print::UNUSABLE));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn as_json(unusable: &Unusable) -> serde_json::Value {
    match unusable {
        Unusable::Refused(LoadError::Wrong { file, mistakes, .. }) => json!({ "file": file, "mistakes": mistakes }),
        other => json!({ "error": other.text(false).trim() }),
    }
}

/// One line that says what was read, then a line a server.
fn summary(loaded: &Loaded) -> String {
    let design = &loaded.design;
    let count = design.servers.len();
    let servers = if count == 1 { "1 server".to_owned() } else { format!("{count} servers") };
    let mut text = format!("{}: no mistakes; {} on {servers}\n", loaded.file.display(), design.site.domain);
    let rows: Vec<Vec<String>> = design
        .servers
        .iter()
        .map(|server| {
            let roles: Vec<&str> = design.roles(&server.name).into_iter().map(|role| role.as_str()).collect();
            vec![format!("  {}", server.name), roles.join(", ")]
        })
        .collect();
    text.push_str(&print::table(&rows));
    text
}
