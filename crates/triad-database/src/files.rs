//! Files and directories with owners, written so that a reader sees all or nothing.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use crate::{DatabaseError, RunAs};

/// Replaces `path` by `text` in one rename; survives power loss in either form.
pub(crate) fn write_atomically(path: &Path, text: &str, mode: u32) -> Result<(), DatabaseError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    remove_if_there(new)?;
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(new).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(DatabaseError::file("write", new))?;
    rename(new, path)
}

/// Renames, and makes the new name durable.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), DatabaseError> {
    fs::rename(from, to).map_err(DatabaseError::file("rename to", to))?;
    let parent = to.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(DatabaseError::file("flush", parent))
}

/// Removes a file, if it is there.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), DatabaseError> {
    absent_is_none(fs::remove_file(path)).map(drop).map_err(DatabaseError::file("remove", path))
}

/// Removes a directory with all in it, if it is there.
pub(crate) fn remove_tree_if_there(path: &Path) -> Result<(), DatabaseError> {
    absent_is_none(fs::remove_dir_all(path)).map(drop).map_err(DatabaseError::file("remove", path))
}

/// A file that is not there is an answer, not an error.
pub(crate) fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a directory with this owner and mode; an existing one gets them.
pub(crate) fn directory(path: &Path, mode: u32, owner: RunAs) -> Result<(), DatabaseError> {
    let made = || {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        own(path, owner)
    };
    made().map_err(DatabaseError::file("create", path))
}

fn own(path: &Path, owner: RunAs) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if (metadata.uid(), metadata.gid()) == (owner.uid, owner.gid) {
        return Ok(());
    }
    chown(path, Some(owner.uid), Some(owner.gid))
}

/// Whether a directory is missing or has nothing in it.
pub(crate) fn is_empty(path: &Path) -> Result<bool, DatabaseError> {
    let entries = absent_is_none(fs::read_dir(path)).map_err(DatabaseError::file("read", path))?;
    Ok(entries.is_none_or(|mut entries| entries.next().is_none()))
}

/// Writes everything of the file system that holds `path` to the disk: MariaDB's tools do not flush what they unpack.
pub(crate) fn flush_file_system(path: &Path) -> Result<(), DatabaseError> {
    let flushed = File::open(path).and_then(|directory| Ok(nix::unistd::syncfs(&directory)?));
    flushed.map_err(DatabaseError::file("flush", path))
}
