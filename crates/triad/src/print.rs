//! How commands print: data to standard output, everything else to standard error.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use triad_api::SettingAnswer;

const SPINNER_TICK: Duration = Duration::from_millis(100);

/// The command did what it was to do.
pub const DONE: u8 = 0;
/// It could not.
pub const FAILED: u8 = 1;
/// Its input is unusable; nothing was started.
pub const UNUSABLE: u8 = 2;
/// What was asked about does not run.
pub const NOT_RUNNING: u8 = 3;

/// Writes `text` to standard output; a reader that has gone away (`| head`) is no error.
pub fn out(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes `value` as JSON to standard output.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    out(&format!("{}\n", serde_json::to_string_pretty(value)?));
    Ok(())
}

/// Whether standard error takes colours: a terminal, and `NO_COLOR` unset (no-color.org).
pub fn color() -> bool {
    std::io::stderr().is_terminal() && wants_color()
}

/// Whether standard output takes colours, by the same rule.
pub fn color_out() -> bool {
    std::io::stdout().is_terminal() && wants_color()
}

fn wants_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A spinner on standard error with a message beside it; shows nothing where that is no terminal.
pub fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let spinner = ProgressBar::new_spinner().with_style(style);
    spinner.enable_steady_tick(SPINNER_TICK);
    spinner
}

/// Prints why a command failed; every cause on a line of its own.
pub fn failure(error: &anyhow::Error) -> ExitCode {
    eprintln!("triad: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    ExitCode::from(FAILED)
}

/// What became of what was said to front servers, `now` where it holds; the exit code.
pub fn answers(answers: &[SettingAnswer], now: &str) -> ExitCode {
    for SettingAnswer { server, error } in answers {
        match error {
            None => out(&format!("{server}: {now}\n")),
            Some(error) => eprintln!("{server}: {error}"),
        }
    }
    let failed = answers.iter().filter(|answer| answer.error.is_some()).count();
    match failed {
        0 => {}
        _ if failed == answers.len() => eprintln!("triad: it holds nowhere; say it again when they answer"),
        _ => eprintln!("triad: not so on every server; one that is down hears of it from the others when it is back"),
    }
    ExitCode::from(if failed == 0 { DONE } else { FAILED })
}

/// Rows of cells with each column as wide as its longest cell; the last column is left as it is.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [vec!["a".to_owned(), "bb".to_owned()], vec!["ccc".to_owned(), String::new()]];
        assert_eq!(super::table(&rows), "a    bb\nccc\n");
    }
}
