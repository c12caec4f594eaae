//! A folder to serve, and secrets beside it and in it.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;
use triad_http::Body;
use triad_web::StaticFiles;

/// What no answer may contain.
pub const SECRET: &str = "SECRET";
/// Length of `big.bin`: several chunks and a rest.
pub const BIG_BYTES: usize = 200_001;
/// Modification time of every file: 2024-01-02 03:04:05.678 UTC.
const MODIFIED: Duration = Duration::from_millis(1_704_164_645_678);

/// The folder, deleted when it is dropped, and what serves it.
pub struct Site {
    pub folder: TempDir,
    pub files: StaticFiles,
}

impl Site {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("root");
        write(&folder.path().join("secret.txt"), SECRET.as_bytes());
        for (path, text) in FILES {
            write(&root.join(path), text.as_bytes());
        }
        write(&root.join("big.bin"), &big());
        File::options()
            .write(true)
            .open(root.join("ancient.txt"))
            .and_then(|file| file.set_modified(UNIX_EPOCH - Duration::from_secs(1)))
            .expect("to set a time");
        mkfifo(&root.join("pipe"), Mode::S_IRUSR).expect("a pipe");
        for (link, to) in LINKS {
            symlink(to, root.join(link)).expect("a link");
        }
        symlink(folder.path().join("secret.txt"), root.join("absolute.txt")).expect("a link");
        let files = StaticFiles::open(&root).expect("the root");
        Self { folder, files }
    }

    pub async fn get(&self, path: &str) -> Option<Response<Body>> {
        self.files.respond(&request("GET", path, &[])?).await
    }
}

const FILES: &[(&str, &str)] = &[
    ("index.html", "<h1>home</h1>\n"),
    ("hello.txt", "Hello, world!\n"),
    ("ancient.txt", "old\n"),
    ("empty.txt", ""),
    ("app.js", "let a;\n"),
    ("style.css", "a {}\n"),
    ("logo.svg", "<svg/>\n"),
    ("data.json", "{}\n"),
    ("no_extension", "?\n"),
    ("sp ace.txt", "space\n"),
    ("ümlaut.txt", "umlaut\n"),
    ("100%.txt", "percent\n"),
    ("docs/index.html", "<h1>docs</h1>\n"),
    ("docs/page.html", "<h1>page</h1>\n"),
    ("bare/file.txt", "file\n"),
    ("odd/index.html/file.txt", "file\n"),
    (".well-known/security.txt", "Contact\n"),
    (".git/config", SECRET),
    (".env", SECRET),
    ("docs/.hidden", SECRET),
];

const LINKS: &[(&str, &str)] = &[
    ("inside.txt", "docs/../hello.txt"),
    ("outside.txt", "../secret.txt"),
    ("outside", ".."),
    ("loop.txt", "loop.txt"),
    ("dangling.txt", "nowhere.txt"),
];

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("to make a folder");
    fs::write(path, content).expect("to write a file");
    let file = File::options().write(true).open(path).expect("to open it again");
    file.set_modified(UNIX_EPOCH + MODIFIED).expect("to set a time");
}

/// The content of `big.bin`: no two chunks are alike.
pub fn big() -> Vec<u8> {
    (0..BIG_BYTES).map(|at| (at / 7 + at % 251) as u8).collect()
}

/// A request; `None` if HTTP cannot express it.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Option<Parts> {
    let builder = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(builder, |request, (name, value)| request.header(*name, *value)).body(());
    request.ok().map(|request| request.into_parts().0)
}

pub async fn bytes(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.expect("a whole body").to_bytes().to_vec()
}
