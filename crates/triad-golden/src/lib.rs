//! Golden files, for tests: what is printed is compared whole with a file, or accepted as what the file says with
//! `TRIAD_GOLDEN=write`, which `cargo xtask golden` sets.
//!
//! Paths are relative to the crate under test: cargo runs its tests there.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// Between a case's input and its output where the input may have empty lines.
pub const LINE: &str = "----------\n";
/// The same where it has none.
pub const EMPTY_LINE: &str = "\n\n";

/// Compares `actual` with what the file at `path` says.
///
/// # Panics
/// If they differ; if the file cannot be written where it should be.
#[track_caller]
pub fn compare(path: impl AsRef<Path>, actual: &str) {
    let accept = std::env::var_os("TRIAD_GOLDEN").is_some_and(|value| value == "write");
    if let Err(difference) = compare_or_accept(path.as_ref(), actual, accept) {
        panic!("{difference}");
    }
}

fn compare_or_accept(path: &Path, actual: &str, accept: bool) -> Result<(), String> {
    if accept {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).expect("the folder can be made");
        fs::write(path, actual).expect("the golden can be written");
        return Ok(());
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if actual == expected {
        return Ok(());
    }
    let (path, how) = (path.display(), "TRIAD_GOLDEN=write accepts what is printed now");
    Err(format!("{path} differs; {how}\nexpected:\n{expected}\nactual:\n{actual}"))
}

/// A file with an input and the output it must have.
pub struct Case {
    /// The file.
    pub path: PathBuf,
    /// What stands before the divider, or all of it where there is no output yet.
    pub input: String,
    divider: &'static str,
}

/// The cases in `folder`, by name; input and output are divided by [`LINE`] or [`EMPTY_LINE`].
///
/// # Panics
/// If there is none, or one cannot be read.
#[track_caller]
pub fn cases(folder: &str, divider: &'static str) -> Vec<Case> {
    let entries = fs::read_dir(folder).expect("the folder of cases");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} holds no case");
    paths.into_iter().map(|path| Case::read(path, divider)).collect()
}

impl Case {
    fn read(path: PathBuf, divider: &'static str) -> Self {
        let text = fs::read_to_string(&path).expect("a readable case");
        let new = if divider == EMPTY_LINE { text.trim_end() } else { &text };
        let input = text.split_once(divider).map_or(new, |(input, _)| input).to_owned();
        Self { path, input, divider }
    }

    /// Compares `output` with what the case says.
    ///
    /// # Panics
    /// As [`compare`].
    #[track_caller]
    pub fn compare(&self, output: &str) {
        compare(&self.path, &format!("{}{}{output}", self.input, self.divider));
    }
}

#[cfg(test)]
mod tests {
    use super::{Case, EMPTY_LINE, LINE, compare_or_accept};

    #[test]
    fn what_differs_fails_until_it_is_accepted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/case.txt");
        assert!(compare_or_accept(&path, "printed", false).is_err(), "a golden that is not there");
        assert_eq!(compare_or_accept(&path, "printed", true), Ok(()));
        assert_eq!(compare_or_accept(&path, "printed", false), Ok(()));
        let difference = compare_or_accept(&path, "else", false).expect_err("another text");
        assert!(difference.ends_with("expected:\nprinted\nactual:\nelse"), "{difference}");
    }

    #[test]
    fn a_case_without_output_is_all_input() {
        let folder = tempfile::tempdir().expect("a folder");
        let input = |text: &str, divider| {
            let path = folder.path().join("case");
            std::fs::write(&path, text).expect("a file");
            Case::read(path, divider).input
        };
        assert_eq!(input("a\n\nb\n----------\nout\n", LINE), "a\n\nb\n");
        assert_eq!(input("a\n\nb\n", LINE), "a\n\nb\n");
        assert_eq!(input("GET /\n\n200\n\nbody", EMPTY_LINE), "GET /");
        assert_eq!(input("GET /\n", EMPTY_LINE), "GET /");
    }
}
