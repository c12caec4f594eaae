//! Logs of child processes: plain files that cannot grow without bound.
//!
//! The child writes to the file itself, so that neither a busy nor a dead agent ever blocks it. The agent looks at the
//! size from time to time, copies what is there to `NAME.log.1` and empties the file; because it is open for
//! appending, the child goes on at the new end. Lines written between copy and emptying are lost.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Size at which a log is put aside.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How far back a log is searched, and how many lines are found at most.
const SEARCHED_BYTES_MAX: u64 = 4 * 1024 * 1024;
const FOUND_MAX: usize = 8;

/// Opens a log for a child to append to; readable by its server's administrators.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// Puts every log in `folder` aside that has grown too long.
pub fn rotate_all(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            rotate(&path, LOG_BYTES_MAX)?;
        }
    }
    Ok(())
}

/// The last lines of the log `path` that hold `word`, which stands in few of them.
pub fn lines_with(path: &Path, word: &str) -> Vec<String> {
    let Ok(mut file) = File::open(path) else { return Vec::new() };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut tail = Vec::new();
    let read = file
        .seek(SeekFrom::Start(length.saturating_sub(SEARCHED_BYTES_MAX)))
        .and_then(|_| file.take(SEARCHED_BYTES_MAX).read_to_end(&mut tail));
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&tail);
    let mut lines: Vec<String> =
        text.lines().rev().filter(|line| line.contains(word)).take(FOUND_MAX).map(str::to_owned).collect();
    lines.reverse();
    lines
}

fn rotate(path: &Path, bytes_max: u64) -> io::Result<()> {
    if std::fs::metadata(path)?.len() <= bytes_max {
        return Ok(());
    }
    std::fs::copy(path, path.with_extension("log.1"))?;
    OpenOptions::new().write(true).open(path)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    #[test]
    fn the_last_lines_with_a_word_are_found() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(super::lines_with(file.path(), "id-7").is_empty());
        let lines: String = (0..20).map(|n| format!("{n} id-{}\n", if n % 2 == 0 { 7 } else { 8 })).collect();
        std::fs::write(file.path(), lines).expect("written");
        let found = super::lines_with(file.path(), "id-7");
        assert_eq!((found.len(), found[0].as_str(), found[7].as_str()), (8, "4 id-7", "18 id-7"));
        assert!(super::lines_with(std::path::Path::new("/nowhere"), "x").is_empty());
    }

    #[test]
    fn a_long_log_is_put_aside_and_its_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app-1.log");
        let mut log = super::open(&path).unwrap();
        log.write_all(b"first line\n").unwrap();
        super::rotate(&path, 100).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first line\n", "still short enough");
        super::rotate(&path, 5).unwrap();
        log.write_all(b"second\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(std::fs::read_to_string(folder.path().join("app-1.log.1")).unwrap(), "first line\n");
    }
}
