//! Maintenance as the agent keeps it: a file among its state, so that users stay away through restarts and reboots until
//! an operator says otherwise.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use triad_model::{Design, Maintenance};

/// The file's name. It is there while maintenance is on.
const FILE: &str = "maintenance.json";

/// What was said last. A file that is there and cannot be read still means that somebody turned users away.
pub(crate) fn read(state: &Path) -> Option<Maintenance> {
    let path = state.join(FILE);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(unreadable(&path, &error)),
        Ok(text) => match serde_json::from_slice::<Maintenance>(&text) {
            Ok(order) => Some(order),
            Err(error) => Some(unreadable(&path, &error)),
        },
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Maintenance {
    let path = path.display();
    tracing::error!(%path, %error, "what was said of maintenance cannot be read; it stays on, without its message");
    Maintenance::default()
}

/// Keeps `order` in one step: after a loss of power it is there whole, or as it was before.
pub(crate) fn write(state: &Path, order: Option<&Maintenance>) -> io::Result<()> {
    let path = state.join(FILE);
    match order {
        Some(order) => {
            let new = path.with_extension("json.new");
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(order)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
        }
        None => match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        },
    }
    File::open(state)?.sync_all()
}

/// The text of the design's own page. The file was checked when the design was read; if it is gone since then, users get
/// our page rather than none.
pub(crate) fn page(design: &Design, folder: &Path) -> Option<String> {
    let path = folder.join(design.site.maintenance_page.as_ref()?);
    let text = read_page(&path);
    if let Err(error) = &text {
        tracing::warn!(path = %path.display(), %error, "the maintenance page cannot be read; users get ours");
    }
    text.ok()
}

fn read_page(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read_bytes = File::open(path)?.take(Maintenance::PAGE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read_bytes as u64 > Maintenance::PAGE_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use triad_model::Maintenance;

    use super::{FILE, page, read, read_page, write};

    #[test]
    fn what_was_said_is_there_after_a_restart() {
        let state = tempfile::tempdir().expect("a folder");
        assert_eq!(read(state.path()), None);
        let order = Maintenance::new(Some("until nine".to_owned())).expect("a message");
        for order in [order, Maintenance::default()] {
            write(state.path(), Some(&order)).expect("written");
            assert_eq!(read(state.path()), Some(order));
        }
        write(state.path(), None).expect("removed");
        write(state.path(), None).expect("removed already");
        assert_eq!(read(state.path()), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_keeps_users_away() {
        let state = tempfile::tempdir().expect("a folder");
        std::fs::write(state.path().join(FILE), "{\"message\"").expect("a file");
        assert_eq!(read(state.path()), Some(Maintenance::default()));
    }

    #[test]
    fn a_page_that_grew_too_long_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("page.html");
        let longest = "a".repeat(Maintenance::PAGE_BYTES_MAX as usize);
        std::fs::write(&path, &longest).expect("a file");
        assert_eq!(read_page(&path).expect("a page"), longest);
        std::fs::write(&path, longest + "a").expect("a file");
        assert!(read_page(&path).is_err());
        let mut design = crate::report::tests::design();
        design.site.maintenance_page = Some("gone.html".into());
        assert_eq!(page(&design, folder.path()), None);
    }
}
