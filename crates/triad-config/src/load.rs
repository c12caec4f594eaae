//! From the text, or the file, to the design.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use triad_model::Design;

use crate::file::File;
use crate::mistake::{Mistake, Mistakes};
use crate::paths::{self, Claim};
use crate::place::Places;
use crate::reader::Reader;
use crate::table::Table;
use crate::{resolve, rules, syntax};

/// The longest file read, in bytes.
pub const FILE_BYTES_MAX: u64 = 256 * 1024;

/// A file without mistakes.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The design it describes.
    pub design: Design,
    /// The file, as it was named.
    pub file: PathBuf,
    /// The folder the file is in, absolute and without symbolic links: relative paths of the design start here.
    pub folder: PathBuf,
    /// What is in the file.
    pub text: String,
    /// Where its keys stand.
    pub(crate) places: Places,
}

/// Why a file gave no design.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("cannot read {}: {source}; name a file that can be read with -c FILE", file.display())]
    Unreadable {
        /// The file, as it was named.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is longer than [`FILE_BYTES_MAX`].
    #[error("{} is longer than {FILE_BYTES_MAX} bytes: is it the right file?", file.display())]
    TooLong {
        /// The file, as it was named.
        file: PathBuf,
    },
    /// It was read and is wrong; [`crate::render`] prints the mistakes.
    #[error("{} has mistakes: {}; correct them all and run again", file.display(), mistakes.len())]
    Wrong {
        /// The file, as it was named.
        file: PathBuf,
        /// What is in the file.
        text: String,
        /// The mistakes, at least one, in the order of the file.
        mistakes: Vec<Mistake>,
    },
}

/// Reads the design in the file at `path` and checks that the paths it names are there.
///
/// # Errors
/// The file cannot be read, or it has mistakes: then all of them.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let unreadable = |source| LoadError::Unreadable { file: path.to_owned(), source };
    let text = read_text(path).map_err(unreadable)?.ok_or_else(|| LoadError::TooLong { file: path.to_owned() })?;
    let folder = folder_of(path).map_err(unreadable)?;
    match read(&text, |claims, mistakes| paths::check(claims, &folder, mistakes)) {
        Ok((design, places)) => Ok(Loaded { design, file: path.to_owned(), folder, text, places }),
        Err(mistakes) => Err(LoadError::Wrong { file: path.to_owned(), text, mistakes }),
    }
}

/// Reads the design in `text`. Whether the paths it names are there is not looked at.
///
/// # Errors
/// All mistakes, in the order of the text.
pub fn parse(text: &str) -> Result<Design, Vec<Mistake>> {
    read(text, |_, _| {}).map(|(design, _)| design)
}

/// What is in the file; `None` if it is too long.
fn read_text(path: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    let read_bytes = fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok((read_bytes as u64 <= FILE_BYTES_MAX).then_some(text))
}

fn folder_of(path: &Path) -> io::Result<PathBuf> {
    let mut folder = path.canonicalize()?;
    folder.pop();
    Ok(folder)
}

pub(crate) fn read(
    text: &str,
    check_paths: impl FnOnce(&[Claim], &mut Mistakes<'_>),
) -> Result<(Design, Places), Vec<Mistake>> {
    let mut mistakes = Mistakes::new(text);
    let (table, complete) = syntax::read(text, &mut mistakes);
    let (table, errors) = (table.get_ref(), mistakes.len());
    let mut reader = Reader::new(&mut mistakes, complete);
    if !reader.is_of_this_schema(table) {
        return Err(mistakes.into_sorted());
    }
    reader.root(table);
    if !complete {
        mistakes.leave_out_followers(errors);
        return Err(mistakes.into_sorted());
    }
    let file = File::read(&Table::root(table));
    rules::check(&file, &mut mistakes);
    check_paths(&paths::claims(&file), &mut mistakes);
    if !mistakes.is_empty() {
        return Err(mistakes.into_sorted());
    }
    let design = resolve::resolve(&file).expect("a file without mistakes resolves");
    Ok((design, Places::of(table)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{FILE_BYTES_MAX, LoadError, load};

    #[test]
    fn a_file_that_cannot_be_read_is_no_design() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("triad.toml");
        assert!(matches!(load(&file), Err(LoadError::Unreadable { .. })));
        fs::write(&file, [0xff]).expect("a file");
        assert!(matches!(load(&file), Err(LoadError::Unreadable { .. })));
    }

    #[test]
    fn a_file_can_be_too_long() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("triad.toml");
        let longest = " ".repeat(FILE_BYTES_MAX as usize);
        fs::write(&file, &longest).expect("a file");
        assert!(matches!(load(&file), Err(LoadError::Wrong { .. })));
        fs::write(&file, longest + " ").expect("a file");
        assert!(matches!(load(&file), Err(LoadError::TooLong { .. })));
    }

    /// Relative paths start where the file really is, not where a link to it is.
    #[test]
    fn the_folder_is_the_files_own() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (real, links) = (folder.path().join("real"), folder.path().join("links"));
        fs::create_dir_all(real.join("public")).expect("a folder");
        fs::create_dir(&links).expect("a folder");
        fs::write(real.join("triad.toml"), crate::template(crate::DesignKind::Simple)).expect("a file");
        std::os::unix::fs::symlink(real.join("triad.toml"), links.join("triad.toml")).expect("a link");
        let loaded = load(&links.join("triad.toml")).expect("a design");
        assert_eq!(loaded.folder, real.canonicalize().expect("it is there"));
        assert_eq!(loaded.file, links.join("triad.toml"));
    }
}
