//! Files on disk: finding and reading them. Everything that blocks runs in Tokio's pool of blocking threads.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use http_body::{Body, Frame, SizeHint};
use nix::fcntl::OFlag;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::conditional::Validators;
use crate::target::Target;

/// Most bytes of a file in memory for one request; a file of this size or less is read when it is opened.
pub(crate) const CHUNK_BYTES: u64 = 64 * 1024;

/// What is at a target.
#[derive(Debug)]
pub(crate) enum Found {
    /// A regular file.
    File(OpenFile),
    /// A folder with an index, whose URL lacks its final slash.
    Folder,
    /// Nothing that we serve.
    Nothing,
}

/// A regular file at the moment it was opened.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// Its version.
    pub(crate) validators: Validators,
    /// Its length, in bytes.
    pub(crate) size_bytes: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Small(Bytes),
    Large(fs::File),
}

/// Looks for `target` below `root`. It blocks.
///
/// # Errors
/// The file is there and cannot be read for a reason that is ours: no descriptors left, a broken disk.
pub(crate) fn find(root: &Dir, target: &Target) -> io::Result<Found> {
    match open(root, &target.file()) {
        Ok(file) => examine(root, target, file),
        Err(error) if is_absence(&error) => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

/// Opens whatever `path` is. A named pipe without a writer would hold the thread for ever, hence the flag; it changes
/// nothing for regular files.
fn open(root: &Dir, path: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    root.open_with(path, &options).map(cap_std::fs::File::into_std)
}

fn examine(root: &Dir, target: &Target, file: fs::File) -> io::Result<Found> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        return OpenFile::new(file, &metadata).map(Found::File);
    }
    let has_index = metadata.is_dir() && target.index().is_some_and(|index| root.is_file(index));
    Ok(if has_index { Found::Folder } else { Found::Nothing })
}

/// Whether an error means that there is no file for this URL. A link that leads out of the root is a denied
/// permission, a pipe or socket without a peer has no device.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied | ErrorKind::InvalidFilename
    ) || matches!(error.raw_os_error(), Some(code) if code == nix::libc::ELOOP || code == nix::libc::ENXIO)
}

impl OpenFile {
    fn new(file: fs::File, metadata: &fs::Metadata) -> io::Result<Self> {
        let validators = validators(metadata);
        if metadata.len() > CHUNK_BYTES {
            return Ok(Self { validators, size_bytes: metadata.len(), content: Content::Large(file) });
        }
        let mut bytes = Vec::new();
        file.take(metadata.len()).read_to_end(&mut bytes)?;
        // Shorter than a moment ago if somebody is writing it: then this is its length.
        Ok(Self { validators, size_bytes: bytes.len() as u64, content: Content::Small(bytes.into()) })
    }

    /// The bytes `range`, which must lie in the file, as a body.
    pub(crate) fn body(self, range: Range<u64>) -> triad_http::Body {
        match self.content {
            Content::Small(bytes) => triad_http::body::full(bytes.slice(range.start as usize..range.end as usize)),
            Content::Large(file) => triad_http::body::stream(FileBody { file: Arc::new(file), range, reading: None }),
        }
    }
}

/// The tag is made of time and length, so it costs no read. It is as strong as the file system's clock is fine: a file
/// that is rewritten within one of its ticks, in place and at the same length, keeps it.
fn validators(metadata: &fs::Metadata) -> Validators {
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    let etag = format!("\"{seconds:x}.{nanoseconds:x}-{:x}\"", metadata.len());
    // A future date is no valid answer (RFC 9110 §8.8.2.1), and one before 1970 cannot be written.
    let modified = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Validators { etag, modified: modified.min(now_s()) }
}

fn now_s() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// A part of a file, read chunk by chunk as the client takes it.
#[derive(Debug)]
struct FileBody {
    file: Arc<fs::File>,
    /// What is still to be read.
    range: Range<u64>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    fn read_next(&self) -> JoinHandle<io::Result<Bytes>> {
        let (file, range) = (Arc::clone(&self.file), self.range.clone());
        spawn_blocking(move || read_chunk(&file, range))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.range.is_empty() {
            return Poll::Ready(None);
        }
        let mut reading = self.reading.take().unwrap_or_else(|| self.read_next());
        let Poll::Ready(read) = Pin::new(&mut reading).poll(context) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        let chunk = read.map_err(io::Error::other).flatten()?;
        self.range.start += chunk.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.range.end - self.range.start)
    }

    fn is_end_stream(&self) -> bool {
        self.range.is_empty()
    }
}

/// Reads the next bytes of `range`. A file that has become shorter is an error: its length is already promised.
fn read_chunk(file: &fs::File, range: Range<u64>) -> io::Result<Bytes> {
    let length = CHUNK_BYTES.min(range.end - range.start);
    let mut chunk = vec![0; length as usize];
    file.read_exact_at(&mut chunk, range.start)?;
    Ok(chunk.into())
}
