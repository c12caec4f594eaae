//! A lab's name, and the handle its commands work with.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;
use triad_model::{Design, ServerName};

use crate::directory::Directory;
use crate::protocol::{HolderReply, HolderRequest, HolderStatus, LinkState, ask};
use crate::record::Record;

/// The namespace that plays the part of users: on the public network only, beside the design's servers.
pub fn client() -> ServerName {
    ServerName::new("client").expect("a valid name")
}

/// A lab's name: labs with different names run side by side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LabName(String);

/// Why a text is no lab's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a lab's name is 1 to 32 lower-case letters, digits and hyphens, starting with a letter or digit")]
pub struct InvalidLabName;

impl LabName {
    /// Longest name, in bytes: it is part of the path of every Unix socket in the lab.
    pub const LENGTH_MAX: usize = 32;

    /// Checks `text` and wraps it.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidLabName> {
        let text = text.into();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let well_formed =
            text.len() <= Self::LENGTH_MAX && text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '-');
        if well_formed { Ok(Self(text)) } else { Err(InvalidLabName) }
    }

    /// The name a lab gets by default: that of the design's folder, with hyphens for what a name may not hold.
    pub fn of_folder(folder: &Path) -> Result<Self, InvalidLabName> {
        let folder = folder.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let mapped: String = folder.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        Self::new(mapped.trim_matches('-').chars().take(Self::LENGTH_MAX).collect::<String>())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One lab, running or not.
#[derive(Clone, Debug)]
pub struct Lab {
    pub(crate) name: LabName,
    pub(crate) directory: Directory,
}

/// A line of [`Lab::list`].
#[derive(Clone, Debug, Serialize)]
pub struct LabEntry {
    /// Its name.
    pub name: LabName,
    /// Where its files are.
    pub directory: PathBuf,
    /// Whether its processes run; if not, its directory is what a failed or killed lab left.
    pub running: bool,
}

impl Lab {
    /// The lab called `name`, in `$TRIAD_LAB_DIR`, else `/var/lib/triad-lab` for root, else
    /// `$XDG_STATE_HOME/triad-lab`, else `~/.local/state/triad-lab`.
    pub fn named(name: LabName) -> anyhow::Result<Self> {
        Ok(Self::under(&parent_directory()?, name))
    }

    /// The lab called `name` in the folder `parent`.
    pub fn under(parent: &Path, name: LabName) -> Self {
        let directory = Directory::new(parent.join(name.as_str()));
        Self { name, directory }
    }

    /// Its name.
    pub fn name(&self) -> &LabName {
        &self.name
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The folder of `member`'s state, which a real server has in `/var/lib/triad`; the path is the same within the lab.
    pub fn state(&self, member: &ServerName) -> PathBuf {
        self.directory.state(member)
    }

    /// The design that it runs, or ran.
    ///
    /// # Errors
    /// If there is no such lab, or another version made it.
    pub fn design(&self) -> anyhow::Result<Design> {
        Ok(Record::read(&self.directory)?.design)
    }

    /// Whether its processes run.
    pub async fn is_running(&self) -> bool {
        self.directory.holder().await.is_some()
    }

    /// Every lab of this user, by name.
    pub async fn list() -> anyhow::Result<Vec<LabEntry>> {
        Self::list_under(&parent_directory()?).await
    }

    /// Every lab in the folder `parent`, by name; an absent folder holds none.
    pub async fn list_under(parent: &Path) -> anyhow::Result<Vec<LabEntry>> {
        let mut entries = Vec::new();
        let Ok(folders) = std::fs::read_dir(parent) else { return Ok(entries) };
        for folder in folders {
            let folder = folder.with_context(|| format!("cannot read {}", parent.display()))?;
            let Ok(name) = LabName::new(folder.file_name().to_string_lossy()) else { continue };
            let lab = Self::under(parent, name);
            if !lab.directory.is_a_labs() {
                continue;
            }
            let running = lab.directory.holder().await.is_some();
            entries.push(LabEntry { name: lab.name, directory: folder.path(), running });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Kills `member` whole, as a power cut would: its init dies, so everything in its PID namespace does. Returns
    /// when it is gone. It stays off until [`Lab::start`].
    pub async fn kill(&self, member: &ServerName) -> anyhow::Result<()> {
        self.command_holder(HolderRequest::Kill { member: member.clone() }).await
    }

    /// Starts `member` again after [`Lab::kill`], with the state it had.
    pub async fn start(&self, member: &ServerName) -> anyhow::Result<()> {
        self.command_holder(HolderRequest::Start { member: member.clone() }).await
    }

    /// Pulls or plugs both of `member`'s network cables.
    pub async fn link(&self, member: &ServerName, state: LinkState) -> anyhow::Result<()> {
        self.command_holder(HolderRequest::Link { member: member.clone(), state }).await
    }

    /// What the holder knows of the lab's members.
    pub async fn holder_status(&self) -> anyhow::Result<HolderStatus> {
        match self.ask_holder(&HolderRequest::Status).await? {
            HolderReply::Status(status) => Ok(status),
            other => bail!("the holder of lab {} answered {other:?} instead of its status", self.name),
        }
    }

    async fn command_holder(&self, request: HolderRequest) -> anyhow::Result<()> {
        match self.ask_holder(&request).await? {
            HolderReply::Done => Ok(()),
            HolderReply::Refused { why } => bail!("lab {}: {why}", self.name),
            HolderReply::Status(_) => bail!("the holder of lab {} answered with its status to {request:?}", self.name),
        }
    }

    async fn ask_holder(&self, request: &HolderRequest) -> anyhow::Result<HolderReply> {
        ask(&self.directory.holder_socket(), request)
            .await
            .with_context(|| format!("lab {} does not run; `triad lab up` starts it", self.name))
    }
}

/// The folder labs are in unless `$TRIAD_LAB_DIR` names another.
pub(crate) fn default_parent_directory() -> anyhow::Result<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/triad-lab"));
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("triad-lab"))
        .context("no place for the lab's files: set HOME, XDG_STATE_HOME or TRIAD_LAB_DIR to a folder you may write to")
}

fn parent_directory() -> anyhow::Result<PathBuf> {
    match std::env::var_os("TRIAD_LAB_DIR").filter(|path| !path.is_empty()) {
        Some(path) => std::path::absolute(&path).with_context(|| format!("$TRIAD_LAB_DIR is {}", path.display())),
        None => default_parent_directory(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::LabName;

    #[test]
    fn a_folders_name_becomes_the_labs() {
        let cases = [
            ("examples/secured", Some("secured")),
            ("/srv/My Site_2", Some("my-site-2")),
            ("/srv/.hidden", Some("hidden")),
            ("/srv/a-very-long-name-of-a-folder-with-more", Some("a-very-long-name-of-a-folder-wit")),
            ("/", None),
            ("/srv/日本", None),
        ];
        for (folder, expected) in cases {
            let name = LabName::of_folder(Path::new(folder)).ok();
            assert_eq!(name.as_ref().map(LabName::as_str), expected, "{folder}");
        }
    }
}
