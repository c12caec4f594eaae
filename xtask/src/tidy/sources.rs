//! The repository's text files.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// What holds no sources: of git (a file in a worktree), of the build, and of what examples build for the lab.
const SKIPPED: &[&str] = &[".git", "target", "app"];

/// A text file.
pub struct Source {
    /// Its path relative to the root, with slashes.
    pub path: String,
    /// What it holds.
    pub text: String,
}

impl Source {
    /// The file's lines, counted from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Whether the file's name ends in `.extension`.
    pub fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }

    /// The first line with `needle` in it, or 0.
    pub fn line_of(&self, needle: &str) -> usize {
        self.lines().find(|(_, line)| line.contains(needle)).map_or(0, |(number, _)| number)
    }
}

/// All text files under `root`, in the order of their paths.
pub fn read(root: &Path) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    read_folder(root, "", &mut sources)?;
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// The file at `path`, which has to be there.
pub fn find<'a>(sources: &'a [Source], path: &str) -> anyhow::Result<&'a Source> {
    sources.iter().find(|source| source.path == path).with_context(|| format!("{path} is missing"))
}

/// Names of the folders in `crates/`, sorted.
pub fn crates(sources: &[Source]) -> Vec<&str> {
    let name = |source: &'_ Source| source.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml").map(str::len);
    sources.iter().filter_map(|source| name(source).map(|length| &source.path["crates/".len()..][..length])).collect()
}

fn read_folder(folder: &Path, prefix: &str, sources: &mut Vec<Source>) -> anyhow::Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            read_folder(&entry.path(), &format!("{path}/"), sources)?;
        } else if kind.is_file()
            && let Ok(text) = String::from_utf8(fs::read(entry.path())?)
        {
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::{Source, crates};

    /// A file for the tests of checks.
    pub fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_string(), text: text.to_string() }
    }

    #[test]
    fn crates_are_folders_with_a_manifest() {
        let sources = ["crates/a/Cargo.toml", "crates/a/src/lib.rs", "crates/b/Cargo.toml", "Cargo.toml"];
        assert_eq!(crates(&sources.map(|path| source(path, ""))), ["a", "b"]);
    }
}
