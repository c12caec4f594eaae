//! Certificates that somebody renews: noticed without being told, because tools that renew forget to tell, or tell the
//! server that they were made for.
//!
//! What the file says is not read again; only a signal does that. The certificates are, when their files have changed
//! and then stayed the same for a look: whoever writes them writes several, one after the other.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

/// How often the files are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What changes with a file: where it is on disk, when it was changed, its length. Links are followed.
type Stamp = Option<(u64, i64, i64, u64)>;

/// How files look at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamps(Vec<Stamp>);

impl Stamps {
    /// Looks at `files`.
    pub fn of(files: &[PathBuf]) -> Self {
        let stamp = |file: &PathBuf| {
            let found = file.metadata().ok()?;
            Some((found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
        };
        Self(files.iter().map(stamp).collect())
    }
}

/// When to read certificates again.
#[derive(Debug)]
pub(crate) struct Renewal {
    /// How the files looked when they were read, well or not.
    read: Stamps,
    /// How they looked last.
    seen: Stamps,
}

impl Renewal {
    /// They were read when they looked like `read`.
    pub fn new(read: Stamps) -> Self {
        Self { seen: read.clone(), read }
    }

    /// Whether to read them, which look like `now`. It counts as read then, so that what cannot be used is tried once.
    pub fn is_due(&mut self, now: Stamps) -> bool {
        let is_settled = now == self.seen;
        let is_due = is_settled && now != self.read;
        if is_due {
            self.read = now.clone();
        }
        self.seen = now;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{Renewal, Stamps};

    #[test]
    fn files_are_read_once_after_they_changed_and_settled() {
        let looks = |number: u64| Stamps(vec![Some((number, 0, 0, 0))]);
        let mut renewal = Renewal::new(looks(1));
        assert!(!renewal.is_due(looks(1)));
        assert!(!renewal.is_due(looks(2)), "it may still be written");
        assert!(!renewal.is_due(looks(3)), "it was");
        assert!(renewal.is_due(looks(3)));
        assert!(!renewal.is_due(looks(3)), "only once, whatever came of it");
        assert!(!renewal.is_due(looks(1)));
        assert!(renewal.is_due(looks(1)), "put back");
    }

    #[test]
    fn a_link_that_leads_elsewhere_a_new_file_and_one_that_is_gone_are_changes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("cert1"), "1").expect("a file");
        fs::write(path("cert2"), "2").expect("a file");
        std::os::unix::fs::symlink("cert1", path("live")).expect("a link");
        let files: Vec<PathBuf> = vec![path("live")];
        let before = Stamps::of(&files);
        assert_eq!(Stamps::of(&files), before);
        fs::remove_file(path("live")).expect("removed");
        assert_ne!(Stamps::of(&files), before);
        std::os::unix::fs::symlink("cert2", path("live")).expect("a link");
        assert_ne!(Stamps::of(&files), before);
    }
}
