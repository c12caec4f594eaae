//! The page that users get during maintenance. That it is on is one of the [`orders`](crate::orders).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use triad_model::{Design, Maintenance};

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

    use super::{page, read_page};

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
