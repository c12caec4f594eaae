//! The home of what is agreed upon where there is nobody to agree with: one file of JSON, replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use super::{CALL_TIMEOUT, CoordinationError, Swap, Versioned};

/// Time between two tries to get the lock.
const LOCK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// A file that only one swap at a time changes: of any handle, of any process.
#[derive(Clone)]
pub struct FileHome {
    path: Arc<Path>,
    swaps: watch::Sender<u64>,
}

/// What the file holds.
#[derive(Default, Serialize, Deserialize)]
struct Content {
    /// The last revision that was given out.
    revision: u64,
    keys: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    revision: u64,
    value: String,
}

impl FileHome {
    /// What is kept in the file `path`; nothing, as long as it does not exist. Its folder must.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), swaps: watch::Sender::new(0) }
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Versioned>, CoordinationError> {
        let (path, key) = (self.path.clone(), key.to_owned());
        within_time(move || Ok(read(&path)?.standing(&key))).await
    }

    pub(super) async fn swap(&self, key: &str, expected: Option<u64>, value: &str) -> Result<Swap, CoordinationError> {
        let (path, key, value) = (self.path.clone(), key.to_owned(), value.to_owned());
        let swapped = within_time(move || swap(&path, key, expected, value)).await;
        self.swaps.send_modify(|swaps| *swaps += 1);
        swapped
    }

    /// Says when a handle to this one swapped.
    pub(super) async fn follow(&self, news: &Notify) {
        let mut swaps = self.swaps.subscribe();
        while swaps.changed().await.is_ok() {
            news.notify_one();
        }
    }
}

impl Content {
    fn standing(&self, key: &str) -> Option<Versioned> {
        self.keys.get(key).map(|entry| Versioned { value: entry.value.clone(), revision: entry.revision })
    }
}

/// Does what blocks on another thread.
async fn within_time<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CoordinationError> + Send + 'static,
) -> Result<T, CoordinationError> {
    match tokio::time::timeout(CALL_TIMEOUT, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => Err(CoordinationError::Unanswered(error.to_string())),
        Err(_) => Err(CoordinationError::Unanswered(format!("the disk took longer than {CALL_TIMEOUT:?}"))),
    }
}

fn swap(path: &Path, key: String, expected: Option<u64>, value: String) -> Result<Swap, CoordinationError> {
    let _lock = lock(path)?;
    let mut content = read(path)?;
    let standing = content.standing(&key);
    if standing.as_ref().map(|standing| standing.revision) != expected {
        return Ok(Swap::Lost(standing));
    }
    content.revision += 1;
    let revision = content.revision;
    content.keys.insert(key, Entry { revision, value });
    write(path, &content)?;
    Ok(Swap::Done { revision })
}

/// A lock on the file beside `path`, which ends with what is returned.
fn lock(path: &Path) -> Result<File, CoordinationError> {
    let path = beside(path, ".lock");
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let file = file.map_err(failed("open", &path))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
            Err(TryLockError::WouldBlock) if begun.elapsed() > CALL_TIMEOUT => {
                return Err(failed("lock", &path)(io::ErrorKind::TimedOut.into()));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_AGAIN_AFTER),
        }
    }
}

fn read(path: &Path) -> Result<Content, CoordinationError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| CoordinationError::Malformed {
            place: path.display().to_string(),
            reason: error.to_string(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Content::default()),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Replaces `path` in one rename; it is on the disk when this returns.
fn write(path: &Path, content: &Content) -> Result<(), CoordinationError> {
    let bytes = serde_json::to_vec_pretty(content).expect("text and numbers");
    let new = beside(path, ".new");
    let written = || {
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    written().map_err(failed("write", &new))?;
    fs::rename(&new, path).map_err(failed("replace", path))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("flush", folder))
}

/// The path of a file beside `path`, with `end` behind its name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CoordinationError {
    move |source| CoordinationError::File { what, path: path.to_owned(), source }
}
