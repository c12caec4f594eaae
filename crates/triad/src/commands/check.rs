use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use triad_check::survival::{self, Prediction};
use triad_check::{Reported, Surroundings};
use triad_config::{LoadError, Loaded};
use triad_model::{Severity, Tls};

use super::Unusable;
use crate::print;

/// Read the design and report every mistake in it, or else what is weak in it and what it survives
///
/// Exit code 0 where nothing is found, 1 with findings at or above --fail-on, 2 where the file is unusable.
#[derive(Args)]
pub struct Check {
    /// The file, or the folder it is in; the same as -c
    #[arg(value_name = "FILE", conflicts_with = "file")]
    positional: Option<PathBuf>,
    #[command(flatten)]
    design: super::DesignFile,
    /// Print mistakes, findings and predictions as JSON
    #[arg(long)]
    json: bool,
    /// The least severe finding that makes the exit code 1
    #[arg(long, value_enum, default_value_t = FailOn::Error, value_name = "SEVERITY")]
    fail_on: FailOn,
}

#[derive(Clone, Copy, ValueEnum)]
enum FailOn {
    /// Strangers can do harm today
    Error,
    /// One death or one mistake away from downtime or loss
    Warning,
}

impl Check {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let read = super::read(self.positional.as_deref().or(self.design.file.as_deref()));
        let loaded = match read.and_then(with_good_certificates) {
            Ok(loaded) => loaded,
            Err(unusable) => {
                if self.json {
                    print::json(&as_json(&unusable))?;
                } else {
                    eprint!("{}", unusable.text(print::color()));
                }
                return Ok(ExitCode::from(print::UNUSABLE));
            }
        };
        let found = triad_check::findings(&loaded.design, &surroundings(&loaded));
        let predictions = survival::survival(&loaded.design);
        if self.json {
            print::json(&whole(&loaded, &found, &predictions))?;
        } else {
            print::out(&text(&loaded, &found, &predictions, print::color_out()));
        }
        Ok(ExitCode::from(if self.fails(&found) { print::FAILED } else { print::DONE }))
    }

    fn fails(&self, found: &[Reported]) -> bool {
        let least = match self.fail_on {
            FailOn::Error => Severity::Error,
            FailOn::Warning => Severity::Warning,
        };
        found.iter().any(|it| it.allowed.is_none() && it.finding.severity >= least)
    }
}

/// Whether the certificates that the file names are what it says they are.
fn with_good_certificates(loaded: Loaded) -> Result<Loaded, Unusable> {
    let mistakes = triad_agent::secrets::mistakes(&loaded.design, &loaded.folder);
    if mistakes.is_empty() { Ok(loaded) } else { Err(Unusable::Refused(loaded.refused(mistakes))) }
}

/// What the design's files show beside what is in them. `explain` and `draw` report the same findings.
pub fn surroundings(loaded: &Loaded) -> Surroundings {
    let keys = loaded.design.tls.iter().flat_map(Tls::key_files);
    let open = |key: &&PathBuf| {
        let metadata = loaded.folder.join(key).metadata();
        metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    };
    Surroundings { readable_by_others: keys.filter(open).cloned().collect() }
}

fn as_json(unusable: &Unusable) -> serde_json::Value {
    match unusable {
        Unusable::Refused(LoadError::Wrong { file, mistakes, .. }) => json!({ "file": file, "mistakes": mistakes }),
        other => json!({ "error": other.text(false).trim() }),
    }
}

/// A finding with its place in the file; both numbers count from 1.
#[derive(Serialize)]
struct Placed<'f> {
    line: Option<usize>,
    column: Option<usize>,
    #[serde(flatten)]
    reported: &'f Reported,
}

fn whole(loaded: &Loaded, found: &[Reported], predictions: &[Prediction]) -> serde_json::Value {
    let placed: Vec<Placed<'_>> = found
        .iter()
        .map(|reported| {
            let (line, column) = loaded.place(&reported.finding.place).unzip();
            Placed { line, column, reported }
        })
        .collect();
    json!({ "file": loaded.file, "mistakes": [], "findings": placed, "survival": predictions })
}

fn text(loaded: &Loaded, found: &[Reported], predictions: &[Prediction], color: bool) -> String {
    let (allowed, counted): (Vec<&Reported>, Vec<&Reported>) = found.iter().partition(|it| it.allowed.is_some());
    let mut text = summary(loaded) + "\n";
    for reported in &counted {
        text.push_str(&loaded.show(&reported.finding, color));
        text.push('\n');
    }
    for reported in &allowed {
        let reason = reported.allowed.as_deref().unwrap_or_default();
        text.push_str(&format!(
            "allowed[{}]: {}\n  because: {reason}\n\n",
            reported.finding.code, reported.finding.title
        ));
    }
    text.push_str(&survival::render(predictions));
    text.push_str(&format!("\n{}: {}\n", loaded.file.display(), counts(&counted, allowed.len())));
    text
}

/// `1 error, 3 warnings, 2 notes; 1 allowed`.
fn counts(counted: &[&Reported], allowed: usize) -> String {
    let severities = [Severity::Error, Severity::Warning, Severity::Note];
    let parts: Vec<String> = severities
        .into_iter()
        .map(|severity| (severity, counted.iter().filter(|it| it.finding.severity == severity).count()))
        .filter(|(_, number)| *number > 0)
        .map(|(severity, number)| format!("{number} {}{}", severity.as_str(), if number == 1 { "" } else { "s" }))
        .collect();
    let found = if parts.is_empty() { "no findings".to_owned() } else { parts.join(", ") };
    if allowed > 0 { format!("{found}; {allowed} allowed") } else { found }
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
