//! The table of failovers in a document, with when and where it was measured: never typed by hand.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use triad_drill::Report;

/// What is between these lines is replaced; all else in the document stays.
const BEGIN: &str = "<!-- measured by `triad drill`: begin -->";
const END: &str = "<!-- measured by `triad drill`: end -->";

/// Writes the table of `reports` into the Markdown document at `path`, which need not be there yet. `failures` runs could
/// not be made at all.
///
/// # Errors
/// If the document cannot be read or written.
pub(super) fn write(path: &Path, reports: &[Report], failures: usize) -> anyhow::Result<()> {
    let old = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let broken = match failures {
        0 => String::new(),
        count => format!("\n{count} runs could not be made, and are not counted.\n"),
    };
    let measured = format!("{}\n\n{}{broken}", place(), triad_drill::failovers_markdown(reports));
    fs::write(path, replaced(&old, &measured)).with_context(|| format!("cannot write {}", path.display()))
}

fn replaced(old: &str, measured: &str) -> String {
    let block = format!("{BEGIN}\n{measured}{END}");
    let parts = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    match parts {
        Some((before, after)) => format!("{before}{block}{after}"),
        None if old.is_empty() => format!("# Failovers, measured\n\n{block}\n"),
        None => format!("{}\n\n{block}\n", old.trim_end()),
    }
}

/// `Measured on 2026-05-01 …`
fn place() -> String {
    let date = jiff::Timestamp::now().to_string();
    let date = date.split('T').next().unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown model", |(_, model)| model.trim());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let build = if cfg!(debug_assertions) { ", a build for debugging" } else { "" };
    format!(
        "Measured on {date} by `triad drill`, version {}{build}, in a lab on one machine: {processors} processors \
         ({model}), Linux {}, load average {load} at the end; {}; {}. \"In sync\" counts from when the old primary could \
         start again.",
        env!("CARGO_PKG_VERSION"),
        kernel.trim(),
        version("mariadbd"),
        version("etcd"),
    )
}

/// The first line of what `program --version` says.
fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    said.lines().next().map_or_else(|| format!("{program} of unknown version"), |line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, replaced};

    #[test]
    fn only_what_was_measured_is_replaced() {
        let first = replaced("", "one\n");
        assert_eq!(first, format!("# Failovers, measured\n\n{BEGIN}\none\n{END}\n"));
        let text = format!("{first}\nWords.\n");
        assert_eq!(replaced(&text, "two\n"), text.replace("one", "two"));
        assert_eq!(replaced("# Title\n", "one\n"), format!("# Title\n\n{BEGIN}\none\n{END}\n"));
    }
}
