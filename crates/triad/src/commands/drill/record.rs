//! The table of failovers in a document, with when and where it was measured: never typed by hand.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use triad_drill::Report;

/// What is between these lines is written here; all else in the document stays.
const BEGIN: &str = "<!-- measured by `triad drill`: begin -->";
const END: &str = "<!-- measured by `triad drill`: end -->";
/// How what was measured at one place and time begins.
const PLACE: &str = "Measured on ";

/// Writes the table of `reports` into the Markdown document at `path`, which need not be there yet. Other drills' rows stay,
/// under the place where they were measured. `failures` runs could not be made at all.
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

/// The document `old` with `measured`, and without what that measures again.
fn replaced(old: &str, measured: &str) -> String {
    let block = |kept: &str| format!("{BEGIN}\n{kept}{measured}{END}");
    let parts = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    match parts {
        Some((before, (then, after))) => format!("{before}{}{after}", block(&kept(then, measured))),
        None if old.is_empty() => format!("# Failovers, measured\n\n{}\n", block("")),
        None => format!("{}\n\n{}\n", old.trim_end(), block("")),
    }
}

/// What of `then` was not measured again: each place with its rows, a blank line after it.
fn kept(then: &str, measured: &str) -> String {
    let again: HashSet<&str> = measured.lines().filter_map(drill).collect();
    let places = then.trim().split(PLACE).skip(1);
    let rest = |place: &str| {
        let lines: Vec<&str> =
            place.lines().filter(|line| drill(line).is_none_or(|name| !again.contains(name))).collect();
        lines.iter().any(|line| drill(line).is_some()).then(|| format!("{PLACE}{}\n\n", lines.join("\n").trim_end()))
    };
    places.filter_map(rest).collect()
}

/// Which drill's row `line` is.
fn drill(line: &str) -> Option<&str> {
    let name = line.strip_prefix("| ")?.split(" |").next()?;
    (name != triad_drill::FAILOVERS_FIRST_HEADING).then_some(name)
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
        "{PLACE}{date} by `triad drill`, version {}{build}, in a lab on one machine: {processors} processors \
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

    fn measured(day: &str, rows: &[&str]) -> String {
        let rows: String = rows.iter().map(|row| format!("| {row} |\n")).collect();
        format!("Measured on {day} here.\n\n| drill | runs |\n|---|---:|\n{rows}")
    }

    #[test]
    fn only_what_is_measured_again_is_replaced() {
        let first = measured("Monday", &["kill | 1", "cut | 1"]);
        let document = replaced("", &first);
        assert_eq!(document, format!("# Failovers, measured\n\n{BEGIN}\n{first}{END}\n"));
        assert_eq!(replaced("# Title\n", &first), format!("# Title\n\n{BEGIN}\n{first}{END}\n"));

        let document = format!("{document}\nWords.\n");
        let second = measured("Tuesday", &["cut | 2"]);
        let monday = measured("Monday", &["kill | 1"]);
        let both = replaced(&document, &second);
        assert_eq!(both, format!("# Failovers, measured\n\n{BEGIN}\n{monday}\n{second}{END}\n\nWords.\n"));
        assert_eq!(replaced(&both, &second), both, "the same again");

        let third = measured("Friday", &["cut | 3", "kill | 3"]);
        let all = replaced(&both, &third);
        assert_eq!(all, format!("# Failovers, measured\n\n{BEGIN}\n{third}{END}\n\nWords.\n"));
    }
}
