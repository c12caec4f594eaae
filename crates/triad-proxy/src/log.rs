//! The access log: one JSON object a line, written by a thread of its own.
//!
//! Invariants: a worker never waits for the disk (a line that does not fit the queue is dropped and counted); the log
//! never takes more than [`FILES_KEPT`] + 1 files of about [`FILE_BYTES_MAX`]; no value in a line is longer than
//! [`VALUE_CHARS_MAX`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, StatusCode, Uri, Version};
use serde::Serialize;
use triad_http::{Fault, RequestId};

/// Lines that may wait for the disk.
const QUEUE_LINES_MAX: usize = 8192;
/// Lines written with one call.
const BATCH_LINES_MAX: usize = 512;
/// How long lines gather before they are written; at 8192 waiting lines, room for 400,000 requests a second.
const GATHER_TIME: Duration = Duration::from_millis(20);
/// Size at which the file is put aside, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Files put aside: `access.log.1`, the newest, to `access.log.4`.
const FILES_KEPT: u32 = 4;
/// Longest value a line holds, in characters.
const VALUE_CHARS_MAX: usize = 512;

/// What is known of a request when its answer has ended. Cheap to make: the texts share the request's memory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub at: SystemTime,
    pub id: RequestId,
    pub client: IpAddr,
    pub host: Option<HeaderValue>,
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub status: StatusCode,
    pub bytes: u64,
    pub duration: Duration,
    pub backend: Option<Arc<str>>,
    pub attempts: u32,
    pub fault: Option<Fault>,
    pub user_agent: Option<HeaderValue>,
    pub referer: Option<HeaderValue>,
}

/// The queue to the writing thread. Dropping it writes what waits and ends the thread.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    queue: Option<SyncSender<Box<Entry>>>,
    dropped: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Opens the file at `path` for appending and starts the thread; `dropped` counts lines that were lost.
    pub fn open(path: &Path, dropped: Arc<AtomicU64>) -> io::Result<Self> {
        let writer = Writer::open(path)?;
        let (queue, lines) = sync_channel(QUEUE_LINES_MAX);
        let lost = dropped.clone();
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(writer, &lines, &lost))?;
        Ok(Self { path: path.to_owned(), queue: Some(queue), dropped, thread: Some(thread) })
    }

    /// Where it writes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Queues a line, or counts it as dropped. Never waits.
    pub fn write(&self, entry: Box<Entry>) {
        let queued = self.queue.as_ref().is_some_and(|queue| queue.try_send(entry).is_ok());
        if !queued {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the access log's thread panicked");
        }
    }
}

/// The thread: takes what waits, writes it with one call, lets more gather, until the queue's other end is gone. Were it
/// to wait for each line, every request would wake it and cost a write of its own.
fn write_all(mut writer: Writer, lines: &Receiver<Box<Entry>>, dropped: &AtomicU64) {
    let mut batch = Vec::new();
    let mut failing = false;
    while let Ok(first) = lines.recv() {
        batch.clear();
        let mut count = 0;
        for entry in std::iter::once(first).chain(lines.try_iter()).take(BATCH_LINES_MAX) {
            append_line(&mut batch, &entry);
            count += 1;
        }
        match writer.write(&batch) {
            Ok(()) => failing = false,
            Err(error) => {
                dropped.fetch_add(count, Relaxed);
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(path = %writer.path.display(), %error, "the access log cannot be written");
                }
            }
        }
        if count < BATCH_LINES_MAX as u64 {
            std::thread::sleep(GATHER_TIME);
        }
    }
}

/// The file, with its size known so that rotating needs no system call per batch.
struct Writer {
    path: PathBuf,
    file: File,
    size_bytes: u64,
}

impl Writer {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size_bytes })
    }

    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        if self.size_bytes > 0 && self.size_bytes + batch.len() as u64 > FILE_BYTES_MAX {
            rotate(&self.path)?;
            *self = Self::open(&self.path)?;
        }
        self.file.write_all(batch)?;
        self.size_bytes += batch.len() as u64;
        Ok(())
    }
}

/// Moves every file one number up; the oldest is overwritten.
fn rotate(path: &Path) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        PathBuf::from(name)
    };
    for number in (0..FILES_KEPT).rev() {
        match std::fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A line as it stands in the file; the order of the fields is the order in it.
#[derive(Serialize)]
struct Line<'a> {
    ts: String,
    request_id: &'a str,
    client: IpAddr,
    host: &'a str,
    method: &'a str,
    path: &'a str,
    protocol: String,
    status: u16,
    bytes: u64,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<&'a str>,
}

fn append_line(batch: &mut Vec<u8>, entry: &Entry) {
    let at = jiff::Timestamp::try_from(entry.at).unwrap_or_default();
    let line = Line {
        ts: format!("{at:.3}"),
        request_id: entry.id.as_str(),
        client: entry.client,
        host: text(&entry.host).unwrap_or_default(),
        method: bounded(entry.method.as_str()),
        path: bounded(entry.uri.path()),
        protocol: format!("{:?}", entry.version),
        status: entry.status.as_u16(),
        bytes: entry.bytes,
        duration_ms: entry.duration.as_micros() as f64 / 1000.0,
        backend: entry.backend.as_deref(),
        attempts: entry.attempts,
        fault: entry.fault.as_ref().map(|fault| format!("{} ({})", fault.part, fault.whose.as_str())),
        user_agent: text(&entry.user_agent),
        referer: text(&entry.referer),
    };
    serde_json::to_writer(&mut *batch, &line).expect("a line of texts and numbers is JSON");
    batch.push(b'\n');
}

fn text(value: &Option<HeaderValue>) -> Option<&str> {
    Some(bounded(value.as_ref()?.to_str().ok()?))
}

/// The first [`VALUE_CHARS_MAX`] characters.
fn bounded(text: &str) -> &str {
    text.char_indices().nth(VALUE_CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    use http::{HeaderValue, Method, StatusCode, Uri, Version};
    use triad_http::{Fault, RequestId, Whose};

    use super::{Entry, FILE_BYTES_MAX, FILES_KEPT, VALUE_CHARS_MAX, Writer, append_line};

    fn entry() -> Entry {
        let id = HeaderValue::from_static("0123456789abcdef0123456789abcdef");
        Entry {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            id: RequestId::parse(&id).expect("an id"),
            client: "2001:db8::7".parse().expect("an address"),
            host: Some(HeaderValue::from_static("www.foobar.com")),
            method: Method::GET,
            uri: Uri::from_static("/entries.json?after=7"),
            version: Version::HTTP_11,
            status: StatusCode::BAD_GATEWAY,
            bytes: 512,
            duration: Duration::from_micros(12_345),
            backend: Some("srv2".into()),
            attempts: 2,
            fault: Some(Fault::new(502, Whose::Upstream, "backend srv2")),
            user_agent: Some(HeaderValue::from_static("curl/8 \"quoted\"")),
            referer: None,
        }
    }

    fn line(entry: &Entry) -> String {
        let mut batch = Vec::new();
        append_line(&mut batch, entry);
        String::from_utf8(batch).expect("text")
    }

    #[test]
    fn a_line_is_one_json_object() {
        assert_eq!(
            line(&entry()),
            "{\"ts\":\"2023-11-14T22:13:20.123Z\",\"request_id\":\"0123456789abcdef0123456789abcdef\",\
             \"client\":\"2001:db8::7\",\"host\":\"www.foobar.com\",\"method\":\"GET\",\"path\":\"/entries.json\",\
             \"protocol\":\"HTTP/1.1\",\"status\":502,\"bytes\":512,\"duration_ms\":12.345,\"backend\":\"srv2\",\
             \"attempts\":2,\"fault\":\"backend srv2 (upstream)\",\"user_agent\":\"curl/8 \\\"quoted\\\"\"}\n"
        );
    }

    #[test]
    fn long_values_are_cut() {
        let long = Entry { user_agent: HeaderValue::try_from("a".repeat(4000)).ok(), ..entry() };
        let line = line(&long);
        assert!(line.contains(&format!("\"{}\"", "a".repeat(VALUE_CHARS_MAX))), "{line}");
    }

    #[test]
    fn the_log_is_rotated_and_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = Writer::open(&folder.path().join("access.log")).expect("a file");
        let batch = vec![b'x'; FILE_BYTES_MAX as usize / 2 + 1];
        for _ in 0..FILES_KEPT + 3 {
            writer.write(&batch).expect("written");
        }
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder.path()).expect("a folder").map(|file| file.expect("a file").path()).collect();
        files.sort();
        let names: Vec<_> = files.iter().map(|path| path.file_name().expect("a name").to_string_lossy()).collect();
        assert_eq!(names, ["access.log", "access.log.1", "access.log.2", "access.log.3", "access.log.4"]);
    }
}
