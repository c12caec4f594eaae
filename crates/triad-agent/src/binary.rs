//! The binary that a child runs: the agent's own, or one that was installed since the agent started.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use crate::child::confine::OWN_PROGRAM;
use crate::supervisor::LISTEN_FDS_START;

/// What runs a child. A file that was once opened stays the same, whatever is installed at its path later, so that what
/// is started again after a death is what was tried.
#[derive(Clone)]
pub enum Binary {
    /// The agent's own.
    Own,
    /// An open file.
    Opened(Arc<OwnedFd>),
}

impl Binary {
    /// The file that is at `path` now, for children with `sockets` inherited sockets.
    pub fn open(path: &Path, sockets: usize) -> anyhow::Result<Self> {
        let wrong = || format!("cannot open {}, where this agent was started from", path.display());
        let file = File::open(path).with_context(wrong)?;
        anyhow::ensure!(file.metadata().with_context(wrong)?.is_file(), "{} is no file", path.display());
        let first_free = LISTEN_FDS_START + i32::try_from(sockets)?;
        Ok(Self::Opened(Arc::new(at_least(file.into(), first_free).with_context(wrong)?)))
    }

    /// By which a child of the agent can run it: a service's user may not be able to reach it by its path.
    pub fn program(&self) -> PathBuf {
        match self {
            Self::Own => OWN_PROGRAM.into(),
            Self::Opened(file) => format!("/proc/self/fd/{}", file.as_raw_fd()).into(),
        }
    }
}

/// `file` under a number from `first` on: below are the sockets that a child inherits, put there before it runs the file.
fn at_least(file: OwnedFd, first: i32) -> io::Result<OwnedFd> {
    let mut below = vec![file];
    // Each copy gets the lowest number that is free, so this ends after `first` of them.
    while let Some(last) = below.pop_if(|last| last.as_raw_fd() < first) {
        let copy = last.try_clone()?;
        below.extend([last, copy]);
    }
    below.pop().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Where this process's binary was when it was started; the system's own word for it changes when it is replaced.
pub(crate) fn own_path() -> io::Result<PathBuf> {
    std::env::current_exe()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::process::Command;

    use super::{Binary, at_least};

    #[test]
    fn a_file_stays_the_same_when_another_is_put_in_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("binary");
        std::fs::copy("/bin/true", &path).expect("copied");
        let binary = Binary::open(&path, 40).expect("it is there");
        std::fs::copy("/bin/false", folder.path().join("next")).expect("copied");
        std::fs::rename(folder.path().join("next"), &path).expect("replaced");
        assert!(Command::new(binary.program()).status().expect("it runs").success());
        let next = Binary::open(&path, 0).expect("it is there");
        assert!(!Command::new(next.program()).status().expect("it runs").success());
    }

    #[test]
    fn what_is_not_there_or_no_file_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = |path: &std::path::Path| Binary::open(path, 0).err().expect("an error").to_string();
        assert!(error(&folder.path().join("gone")).contains("where this agent was started from"));
        assert!(error(folder.path()).ends_with("is no file"));
    }

    #[test]
    fn a_number_is_beyond_those_of_the_sockets() {
        for first in [0, 60] {
            let file = std::fs::File::open("/dev/null").expect("opened").into();
            assert!(at_least(file, first).expect("a copy").as_raw_fd() >= first);
        }
    }
}
