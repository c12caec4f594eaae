//! The lab's own copy of what a design's file names: the team's folder is never written to or served from.

use std::fs::{self, File, Metadata, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use triad_model::Design;

use crate::directory::{Directory, make_directory};

/// Most files and folders that are copied.
const ENTRIES_MAX: u64 = 200_000;
/// Most bytes that are copied.
const BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Copies `file` and the relative paths it names, which must be inside its folder. Absolute paths stay where they
/// are, for the lab sees the host's files.
pub(crate) fn copy_design(file: &Path, design: &Design, directory: &Directory) -> anyhow::Result<()> {
    let target = directory.design();
    make_directory(&target)?;
    let mut copier = Copier { entries: 0, bytes: 0 };
    copier.file(file, &directory.design_file(), 0o644)?;
    let folder = canonical(file)?.parent().map(Path::to_path_buf).unwrap_or_default();
    let lab = canonical(directory.path())?;
    for part in outermost(parts(design)) {
        let source = inside(&folder, &part.path)?;
        if lab.starts_with(&source) {
            bail!("the lab's directory {} is inside {}, which it copies", lab.display(), source.display());
        }
        copier.tree(&source, &place(&target, &part.path)?, part.secret)?;
    }
    Ok(())
}

/// Where the copy of `path` goes. What was copied before may hold links; nothing is written through one.
fn place(design: &Path, path: &Path) -> anyhow::Result<PathBuf> {
    let target = design.join(path);
    let parent = path.parent().unwrap_or(Path::new(""));
    make_directory(&design.join(parent))?;
    inside(&canonical(design)?, parent)?;
    if target.is_symlink() {
        fs::remove_file(&target).with_context(|| format!("cannot replace {}", target.display()))?;
    }
    Ok(target)
}

struct Part {
    path: PathBuf,
    secret: bool,
}

fn parts(design: &Design) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |path: &Path, secret| {
        if path.is_relative() {
            parts.push(Part { path: path.components().filter(|part| *part != Component::CurDir).collect(), secret });
        }
    };
    if let Some(root) = design.web.as_ref().and_then(|web| web.root.as_ref()) {
        add(root, false);
    }
    if let Some(page) = &design.site.maintenance_page {
        add(page, false);
    }
    if let Some(app) = &design.app {
        add(&app.directory, false);
    }
    if let Some(tls) = &design.tls {
        tls.public_files().for_each(|file| add(file, false));
        tls.key_files().for_each(|key| add(key, true));
    }
    parts
}

/// Without what another of them contains. Secrets stay, so that their copy is made last and private.
fn outermost(mut parts: Vec<Part>) -> Vec<Part> {
    parts.sort_by(|a, b| (a.secret, &a.path).cmp(&(b.secret, &b.path)));
    let mut kept: Vec<Part> = Vec::new();
    for part in parts {
        if part.secret || !kept.iter().any(|other| part.path.starts_with(&other.path)) {
            kept.push(part);
        }
    }
    kept
}

/// Where `path` really is; refused if that is not inside `folder`.
fn inside(folder: &Path, path: &Path) -> anyhow::Result<PathBuf> {
    let real = canonical(&folder.join(path))?;
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || !real.starts_with(folder) {
        bail!(
            "{} is outside the design's folder {}; a lab copies only what is inside",
            path.display(),
            folder.display()
        );
    }
    Ok(real)
}

fn canonical(path: &Path) -> anyhow::Result<PathBuf> {
    fs::canonicalize(path).with_context(|| format!("cannot find {}", path.display()))
}

struct Copier {
    entries: u64,
    bytes: u64,
}

impl Copier {
    /// Copies a file, or a folder with all that is in it. Links are copied as links, never followed.
    fn tree(&mut self, source: &Path, target: &Path, secret: bool) -> anyhow::Result<()> {
        let mut waiting = vec![(source.to_path_buf(), target.to_path_buf())];
        while let Some((from, to)) = waiting.pop() {
            let metadata = fs::symlink_metadata(&from).with_context(|| format!("cannot read {}", from.display()))?;
            self.count(&metadata, source)?;
            if metadata.is_dir() {
                make_directory(&to)?;
                for entry in fs::read_dir(&from).with_context(|| format!("cannot read {}", from.display()))? {
                    let name = entry.with_context(|| format!("cannot read {}", from.display()))?.file_name();
                    waiting.push((from.join(&name), to.join(&name)));
                }
            } else if metadata.is_symlink() {
                link(&from, &to)?;
            } else if metadata.is_file() {
                self.file(&from, &to, mode(&metadata, secret))?;
            }
        }
        Ok(())
    }

    fn count(&mut self, metadata: &Metadata, source: &Path) -> anyhow::Result<()> {
        self.entries += 1;
        self.bytes += if metadata.is_file() { metadata.len() } else { 0 };
        if self.entries > ENTRIES_MAX || self.bytes > BYTES_MAX {
            bail!(
                "{} is too large to copy into a lab: more than {ENTRIES_MAX} files or {} GiB in all",
                source.display(),
                BYTES_MAX >> 30
            );
        }
        Ok(())
    }

    /// Copies one file, with its time, because validators of HTTP are made from it.
    fn file(&mut self, source: &Path, target: &Path, mode: u32) -> anyhow::Result<()> {
        let copied = || -> std::io::Result<()> {
            fs::copy(source, target)?;
            fs::set_permissions(target, Permissions::from_mode(mode))?;
            File::open(target)?.set_modified(fs::metadata(source)?.modified()?)
        };
        copied().with_context(|| format!("cannot copy {} to {}", source.display(), target.display()))
    }
}

fn link(source: &Path, target: &Path) -> anyhow::Result<()> {
    let place = || format!("cannot copy the link {}", source.display());
    let aim = fs::read_link(source).with_context(place)?;
    symlink(&aim, target).with_context(place)
}

/// World-readable, because services run under their own users; a key is for root alone.
fn mode(metadata: &Metadata, secret: bool) -> u32 {
    match (secret, metadata.permissions().mode() & 0o111) {
        (true, _) => 0o600,
        (false, 0) => 0o644,
        (false, _) => 0o755,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use triad_model::Design;

    use super::copy_design;
    use crate::directory::Directory;

    fn design(root: &str, app: &str) -> Design {
        let text = format!(
            r#"{{"site": {{"domain": "foobar.com", "hosts": []}}, "servers": [],
                 "web": {{"servers": [], "root": "{root}"}},
                 "app": {{"servers": [], "build": null, "directory": "{app}", "command": "x", "instances": 1,
                          "health": "/", "environment": {{}}}},
                 "tls": {{"certificate": {{"files": {{"certificate": "tls/site.pem", "key": "tls/site.key"}}}},
                          "http2": true}}}}"#
        );
        serde_json::from_str(&text).expect("a design")
    }

    /// A design's folder, and what of it arrives in a lab: `path mode` lines, or the error.
    fn copied(root: &str, app: &str) -> String {
        let parent = tempfile::tempdir().expect("tempdir");
        let folder = parent.path().join("site");
        for (path, mode) in [
            ("triad.toml", 0o600),
            ("public/index.html", 0o640),
            ("app/run", 0o700),
            ("tls/site.pem", 0o600),
            ("tls/site.key", 0o644),
            ("private/notes", 0o644),
        ] {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(&path, "x").expect("written");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
        }
        symlink("index.html", folder.join("public/home.html")).expect("link");
        symlink("/etc", folder.join("outside")).expect("link");
        let directory = Directory::new(parent.path().join("lab"));
        fs::create_dir(directory.path()).expect("made");
        match copy_design(&folder.join("triad.toml"), &design(root, app), &directory) {
            Ok(()) => listing(&directory.design(), ""),
            Err(error) => error.to_string().replace(&parent.path().display().to_string(), "TMP"),
        }
    }

    fn listing(folder: &Path, prefix: &str) -> String {
        let mut names: Vec<_> = fs::read_dir(folder).expect("there").map(|e| e.expect("entry").path()).collect();
        names.sort();
        names.iter().fold(String::new(), |text, path| {
            let name = format!("{prefix}{}", path.file_name().expect("a name").display());
            let metadata = fs::symlink_metadata(path).expect("there");
            let mode = metadata.permissions().mode() & 0o7777;
            if metadata.is_dir() {
                text + &listing(path, &format!("{name}/"))
            } else if metadata.is_symlink() {
                text + &format!("{name} -> {}\n", fs::read_link(path).expect("a link").display())
            } else {
                text + &format!("{name} {mode:o}\n")
            }
        })
    }

    #[test]
    fn only_what_the_design_names_is_copied() {
        let expected = "app/run 755\npublic/home.html -> index.html\npublic/index.html 644\ntls/site.key 600\n\
                        tls/site.pem 644\ntriad.toml 644\n";
        assert_eq!(copied("public", "./app"), expected);
        assert_eq!(copied("app", "app").lines().count(), 4);
        let whole = copied("public", ".");
        assert!(whole.contains("private/notes") && whole.contains("site.key 600"), "{whole}");
    }

    #[test]
    fn nothing_outside_the_folder_is_copied() {
        for root in ["../site", "outside", "outside/ssl"] {
            assert!(copied(root, "app").contains("outside the design's folder TMP/site"), "{}", copied(root, "app"));
        }
        assert_eq!(copied("missing", "app"), "cannot find TMP/site/missing");
    }
}
