//! The lab's directory: where everything is, how it is locked, made and removed.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use triad_model::{Design, ServerName};

use crate::identity::Identity;
use crate::lab::client;

/// Longest path of a Unix socket: `sun_path` holds 108 bytes with its final zero (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Room for the names of the sockets that an agent makes in its run directory.
const SOCKET_NAME_BYTES_MAX: usize = 20;
/// What tells a lab's directory from one that happens to have its name.
const MARK: &str = ".triad-lab";
/// Times the directory may be replaced under us while we try to lock it.
pub(crate) const LOCK_ATTEMPTS_MAX: usize = 16;

/// Paths of a lab's files; absolute.
#[derive(Clone, Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What the holder and the inits are told: see [`crate::record::Record`].
    pub fn record(&self) -> PathBuf {
        self.0.join("lab.json")
    }

    pub fn holder_socket(&self) -> PathBuf {
        self.0.join("holder.sock")
    }

    /// What the holder and the inits write, `ip`'s complaints among it.
    pub fn log(&self) -> PathBuf {
        self.0.join("lab.log")
    }

    /// The lab's own copy of the binary: it stays the same while the lab runs, and unprivileged users can reach it.
    pub fn executable(&self) -> PathBuf {
        self.0.join("triad")
    }

    pub fn design(&self) -> PathBuf {
        self.0.join("design")
    }

    pub fn design_file(&self) -> PathBuf {
        self.design().join("triad.toml")
    }

    pub fn authority(&self) -> PathBuf {
        self.0.join("authority.pem")
    }

    /// The host's trusted authorities and the lab's.
    pub fn bundle(&self) -> PathBuf {
        self.0.join("ca-certificates.crt")
    }

    pub fn servers(&self) -> PathBuf {
        self.0.join("servers")
    }

    pub fn member(&self, member: &ServerName) -> PathBuf {
        self.servers().join(member.as_str())
    }

    pub fn state(&self, member: &ServerName) -> PathBuf {
        self.member(member).join("state")
    }

    pub fn run(&self, member: &ServerName) -> PathBuf {
        self.member(member).join("run")
    }

    /// Files that its mount namespace shows under `/etc`.
    pub fn etc(&self, member: &ServerName) -> PathBuf {
        self.member(member).join("etc")
    }

    pub fn init_socket(&self, member: &ServerName) -> PathBuf {
        self.member(member).join("init.sock")
    }

    pub fn agent_socket(&self, member: &ServerName) -> PathBuf {
        self.run(member).join("agent.sock")
    }

    /// What its agent (the client's entrance) writes.
    pub fn agent_log(&self, member: &ServerName) -> PathBuf {
        self.member(member).join("agent.log")
    }

    /// The holder, if the lab runs.
    pub async fn holder(&self) -> Option<Identity> {
        Identity::listening_on(&self.holder_socket()).await
    }

    /// Whether every Unix socket of a lab of `design` has a path the kernel accepts.
    pub fn check_length(&self, design: &Design) -> anyhow::Result<()> {
        let longest =
            members(design).into_iter().map(|member| self.run(&member)).max_by_key(|run| run.as_os_str().len());
        let bytes = longest.as_ref().map_or(0, |run| run.as_os_str().len()) + 1 + SOCKET_NAME_BYTES_MAX;
        if bytes > SOCKET_PATH_BYTES_MAX {
            bail!(
                "{} is too long a path for the lab: Unix sockets in it would need {bytes} bytes, and the kernel takes \
                 {SOCKET_PATH_BYTES_MAX}; give the lab a shorter name, or set TRIAD_LAB_DIR to a shorter folder",
                self.0.display()
            );
        }
        Ok(())
    }

    /// Makes the directory if needed and locks it, as long as the returned file stays open, against other commands
    /// that bring this lab up or down.
    pub fn make_and_lock(&self) -> anyhow::Result<File> {
        for _ in 0..LOCK_ATTEMPTS_MAX {
            make_directory(&self.0)?;
            if let Some(lock) = self.lock()? {
                fs::write(self.mark(), "").with_context(|| format!("cannot write {}", self.mark().display()))?;
                return Ok(lock);
            }
        }
        bail!("{} is removed again and again by somebody else", self.0.display())
    }

    /// Locks the directory; `None` if it does not exist.
    pub fn lock(&self) -> anyhow::Result<Option<File>> {
        let busy = || {
            let place = self.0.display();
            format!("another command is bringing the lab in {place} up or down; wait for it, or end it first")
        };
        let Some(file) = lock(&self.0, busy)? else { return Ok(None) };
        let place = || format!("cannot look into {}", self.0.display());
        if !self.is_a_labs() && fs::read_dir(&self.0).with_context(place)?.next().is_some() {
            bail!("{} is in the lab's place and was not made by a lab; nothing in it was touched", self.0.display());
        }
        Ok(Some(file))
    }

    /// Whether a lab made it.
    pub fn is_a_labs(&self) -> bool {
        self.mark().exists()
    }

    /// What a lab's directory is known by. It is there from the first command to the last.
    pub fn mark(&self) -> PathBuf {
        self.0.join(MARK)
    }

    /// Removes what is in the directory, but not the directory, which is locked, nor its mark.
    pub fn empty(&self) -> anyhow::Result<()> {
        let place = || format!("cannot empty {}", self.0.display());
        for entry in fs::read_dir(&self.0).with_context(place)? {
            let entry = entry.with_context(place)?;
            let path = entry.path();
            if path == self.mark() {
                continue;
            }
            let removed = match entry.file_type().with_context(place)?.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    /// Removes everything, the mark last: whoever is killed here leaves what the next can go on with.
    pub fn remove(&self) -> anyhow::Result<()> {
        self.empty()?;
        let place = || format!("cannot remove {}", self.0.display());
        if self.is_a_labs() {
            fs::remove_file(self.mark()).with_context(place)?;
        }
        fs::remove_dir(&self.0).with_context(place)
    }
}

/// Locks what is at `path`; `None` if nothing is. If somebody else holds the lock, that is an error that says `busy`.
pub(crate) fn lock(path: &Path, busy: impl Fn() -> String) -> anyhow::Result<Option<File>> {
    let place = || format!("cannot lock {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(place),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(busy()),
        Err(TryLockError::Error(error)) => return Err(error).with_context(place),
    }
    // The lock may be on something that its former owner has removed meanwhile.
    let locked = file.metadata().with_context(place)?;
    let current = fs::metadata(path).ok().filter(|now| (now.dev(), now.ino()) == (locked.dev(), locked.ino()));
    Ok(current.map(|_| file))
}

/// The design's servers in order, then the client.
pub(crate) fn members(design: &Design) -> Vec<ServerName> {
    design.servers.iter().map(|server| server.name.clone()).chain([client()]).collect()
}

/// Makes `path` and its parents, which everybody may enter: service users have to reach what is inside.
pub(crate) fn make_directory(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .with_context(|| format!("cannot make the directory {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use triad_model::Design;

    use super::Directory;

    fn design(server: &str) -> Design {
        let text = format!(
            r#"{{"site": {{"domain": "foobar.com", "hosts": []}},
                 "servers": [{{"name": "{server}", "public": [], "private": null}}]}}"#
        );
        serde_json::from_str(&text).expect("a design")
    }

    #[test]
    fn a_path_too_long_for_sockets_is_refused_before_anything_starts() {
        let fits = Directory::new("/var/lib/triad-lab/secured".into());
        assert_eq!(fits.check_length(&design("srv1")).map_err(|error| error.to_string()), Ok(()));
        let long = Directory::new(format!("/{}", "x".repeat(70)).into());
        let error = long.check_length(&design("srv1")).expect_err("too long").to_string();
        assert!(error.contains("would need 111 bytes"), "{error}");
    }

    #[test]
    fn one_lock_at_a_time_and_never_on_a_removed_directory() {
        let parent = tempfile::tempdir().expect("tempdir");
        let directory = Directory::new(parent.path().join("lab"));
        assert!(directory.lock().expect("no error").is_none());
        let first = directory.make_and_lock().expect("locked");
        let refused = directory.make_and_lock().expect_err("held").to_string();
        assert!(refused.contains("another command"), "{refused}");
        fs::write(directory.log(), "x").expect("write");
        directory.empty().expect("emptied");
        assert!(!directory.log().exists());
        directory.remove().expect("removed");
        directory.make_and_lock().expect("a new directory, though the old one's lock is held");
        drop(first);
    }

    #[test]
    fn a_directory_that_no_lab_made_is_not_touched() {
        let parent = tempfile::tempdir().expect("tempdir");
        let directory = Directory::new(parent.path().join("documents"));
        fs::create_dir(directory.path()).expect("made");
        fs::write(directory.path().join("letter"), "x").expect("written");
        for refused in [directory.lock().map(|_| ()), directory.make_and_lock().map(|_| ())] {
            assert!(refused.expect_err("not ours").to_string().ends_with("nothing in it was touched"));
        }
    }
}
