//! What the file says is on disk, and whether it is there. The only checks that read the file system.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use triad_model::Maintenance;

use crate::file::{File, Tls};
use crate::mistake::Mistakes;

/// A path of the file that must be there.
pub(crate) struct Claim {
    key: &'static str,
    path: PathBuf,
    span: Range<usize>,
    kind: ClaimKind,
}

impl Claim {
    fn new(key: &'static str, path: Option<&Spanned<PathBuf>>, kind: ClaimKind) -> Option<Self> {
        path.map(|path| Self { key, path: path.get_ref().clone(), span: path.span(), kind })
    }
}

#[derive(Clone, Copy)]
enum ClaimKind {
    Folder,
    File,
    /// A text file of a bounded length.
    Page,
}

impl ClaimKind {
    fn as_str(self) -> &'static str {
        match self {
            ClaimKind::Folder => "folder",
            ClaimKind::File | ClaimKind::Page => "file",
        }
    }
}

/// What `file` says is on disk.
pub(crate) fn claims(file: &File) -> Vec<Claim> {
    let root = file.web.as_ref().and_then(|web| web.root.given());
    // A build makes the application's folder, so it need not be there yet.
    let directory = file.app.as_ref().filter(|app| app.build.is_absent()).and_then(|app| app.directory.given());
    let page = file.site.as_ref().and_then(|site| site.maintenance_page.given());
    let claims = [
        Claim::new("site.maintenance_page", page, ClaimKind::Page),
        Claim::new("web.root", root, ClaimKind::Folder),
        Claim::new("app.directory", directory, ClaimKind::Folder),
    ];
    claims.into_iter().flatten().chain(file.tls.iter().flat_map(certificate_files)).collect()
}

fn certificate_files(tls: &Tls) -> Vec<Claim> {
    let has_files = tls.certificate.value().is_some_and(|it| it == "files");
    let main = [
        ("tls.certificate_file", &tls.certificate_file, has_files),
        ("tls.key_file", &tls.key_file, has_files),
        ("tls.ocsp_file", &tls.ocsp_file, has_files),
        ("tls.client_ca_file", &tls.client_ca_file, tls.asks_clients().is_some()),
        ("tls.client_crl_file", &tls.client_crl_file, tls.asks_clients().is_some()),
    ];
    let named = tls.certificates.iter().flat_map(|named| {
        [
            ("tls.certificates.certificate_file", &named.certificate_file, true),
            ("tls.certificates.key_file", &named.key_file, true),
            ("tls.certificates.ocsp_file", &named.ocsp_file, true),
        ]
    });
    let is_read = main.into_iter().chain(named).filter(|(_, _, is_read)| *is_read);
    is_read.filter_map(|(key, path, _)| Claim::new(key, path.given(), ClaimKind::File)).collect()
}

/// Reports which `claims` do not hold in `folder`.
pub(crate) fn check(claims: &[Claim], folder: &Path, mistakes: &mut Mistakes<'_>) {
    for claim in claims {
        if let Err(error) = probe(&folder.join(&claim.path), claim.kind) {
            let what = format!("{:?} {}", claim.path.display(), clause(&error, claim.kind));
            mistakes.add(claim.span.clone(), claim.key, what, help(claim, &error));
        }
    }
}

/// Opens what is at `path`. The kind is looked at first, because opening a named pipe can wait for ever.
fn probe(path: &Path, kind: ClaimKind) -> io::Result<()> {
    let metadata = path.metadata()?;
    match kind {
        ClaimKind::Folder => path.read_dir().map(|_| ()),
        ClaimKind::Page if metadata.is_file() && metadata.len() > Maintenance::PAGE_BYTES_MAX => {
            Err(io::ErrorKind::FileTooLarge.into())
        }
        ClaimKind::Page if metadata.is_file() => std::fs::read_to_string(path).map(|_| ()),
        ClaimKind::File if metadata.is_file() => std::fs::File::open(path).map(|_| ()),
        _ if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn clause(error: &io::Error, kind: ClaimKind) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "is not there".to_owned(),
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => {
            format!("is not a {}", kind.as_str())
        }
        io::ErrorKind::FileTooLarge => format!("is longer than {} KiB", Maintenance::PAGE_BYTES_MAX >> 10),
        io::ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

fn help(claim: &Claim, error: &io::Error) -> String {
    match (claim.key, error.kind()) {
        (_, io::ErrorKind::PermissionDenied) => {
            format!("give the account that runs triad the right to read {:?}", claim.path.display())
        }
        (_, io::ErrorKind::FileTooLarge) => {
            "write a page without pictures in it; link to them on another host".to_owned()
        }
        (_, io::ErrorKind::InvalidData) => "write a page of HTML in UTF-8".to_owned(),
        ("app.directory", _) => "write the folder of the code, or a build command that makes it".to_owned(),
        _ => format!("write a {} that is there; the path is relative to the folder of this file", claim.kind.as_str()),
    }
}
