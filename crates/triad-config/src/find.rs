//! Which file to read.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

/// The file's name in a folder.
const FILE_NAME: &str = "triad.toml";
/// The variable that names the file.
const VARIABLE: &str = "TRIAD_CONFIG";
/// Where the file is when nothing names it, in the order of the search.
const PLACES: [&str; 2] = ["./triad.toml", "/etc/triad/triad.toml"];

/// No file was found.
#[derive(Debug, PartialEq, Eq)]
pub struct NotFound {
    /// The files that were looked for, with who named each: `-c`, `$TRIAD_CONFIG` or nobody.
    pub tried: Vec<(PathBuf, &'static str)>,
}

impl std::error::Error for NotFound {}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no file found; tried")?;
        for (index, (path, named_by)) in self.tried.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let by = if named_by.is_empty() { String::new() } else { format!(" (from {named_by})") };
            write!(f, "{comma} {}{by}", path.display())?;
        }
        write!(f, "; name one with -c FILE, or write one with `triad init`")
    }
}

/// The file to read: `explicit` if it is given, else `$TRIAD_CONFIG`, else `./triad.toml`, else
/// `/etc/triad/triad.toml`. A folder stands for the `triad.toml` in it. What is named and not there is an error;
/// the search does not go on.
///
/// # Errors
/// There is no such file: the error lists what was tried.
pub fn find_file(explicit: Option<&Path>) -> Result<PathBuf, NotFound> {
    let variable = env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    first_there(candidates(explicit, variable.as_deref()))
}

fn candidates(explicit: Option<&Path>, variable: Option<&Path>) -> Vec<(PathBuf, &'static str)> {
    match (explicit, variable) {
        (Some(path), _) => vec![(path.to_owned(), "-c")],
        (None, Some(path)) => vec![(path.to_owned(), "$TRIAD_CONFIG")],
        (None, None) => PLACES.iter().map(|place| (PathBuf::from(place), "")).collect(),
    }
}

fn first_there(candidates: Vec<(PathBuf, &'static str)>) -> Result<PathBuf, NotFound> {
    let mut tried = Vec::new();
    for (path, named_by) in candidates {
        let file = if path.is_dir() { path.join(FILE_NAME) } else { path };
        // Not `is_file`: /dev/stdin and process substitution are pipes.
        if file.exists() && !file.is_dir() {
            return Ok(file);
        }
        tried.push((file, named_by));
    }
    Err(NotFound { tried })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{candidates, first_there};

    #[test]
    fn what_is_named_is_the_only_candidate() {
        let (c, variable) = (Path::new("/c"), Path::new("/v"));
        assert_eq!(candidates(Some(c), Some(variable)), [(PathBuf::from("/c"), "-c")]);
        assert_eq!(candidates(None, Some(variable)), [(PathBuf::from("/v"), "$TRIAD_CONFIG")]);
        let places: Vec<_> = candidates(None, None).into_iter().map(|(path, _)| path).collect();
        assert_eq!(places, [Path::new("./triad.toml"), Path::new("/etc/triad/triad.toml")]);
    }

    #[test]
    fn a_folder_stands_for_the_file_in_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("triad.toml");
        let candidates = vec![(folder.path().join("absent"), ""), (folder.path().to_owned(), "")];
        let error = first_there(candidates.clone()).expect_err("nothing is there yet");
        assert_eq!(error.tried[1].0, file);
        fs::write(&file, "").expect("a file");
        assert_eq!(first_there(candidates), Ok(file));
    }

    #[test]
    fn the_error_lists_what_was_tried() {
        let error = first_there(vec![("/nowhere/triad.toml".into(), "-c")]).expect_err("it is not there");
        assert_eq!(
            error.to_string(),
            "no file found; tried /nowhere/triad.toml (from -c); name one with -c FILE, or write one with `triad init`"
        );
    }
}
