//! The access log: one JSON object a line, written by a thread of its own.
//!
//! Invariants: a worker never waits for the disk (a line for which there is no room is dropped and counted); the log
//! never takes more than [`FILES_KEPT`] + 1 files of about [`FILE_BYTES_MAX`]; no value in a line is longer than
//! [`VALUE_CHARS_MAX`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use triad_http::{Fault, RequestId};
use triad_http1::write_number;
use triad_model::{AccessLog, LogField, LogFormat};

/// Bytes of lines that may wait for the disk, for each worker: about 3000 lines.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// How long lines gather before they are written: room for 150,000 requests a second and worker.
const GATHER_TIME: Duration = Duration::from_millis(20);
/// Size at which the file is put aside, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Files put aside: `access.log.1`, the newest, to `access.log.4`.
const FILES_KEPT: u32 = 4;
/// Longest value a line holds, in characters.
pub(crate) const VALUE_CHARS_MAX: usize = 512;

/// Lines of one worker that the thread has not taken yet.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// When each line's request ended, and the line's length.
    lines: Vec<(Instant, usize)>,
}

/// What workers and the writing thread share.
#[derive(Debug)]
struct Queue {
    /// One per worker, whose lock only the thread's short visits contend for.
    workers: Vec<Mutex<Waiting>>,
    ended: AtomicBool,
    /// Whether the thread sleeps until there is a line.
    idle: AtomicBool,
}

/// The log. Dropping it writes what waits and ends the thread.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    queue: Arc<Queue>,
    dropped: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Opens the file at `path` for appending and starts the thread; `dropped` counts lines that were lost.
    pub fn open(path: &Path, workers: usize, dropped: Arc<AtomicU64>) -> io::Result<Self> {
        let writer = Writer::open(path)?;
        let queue = Arc::new(Queue {
            workers: (0..workers).map(|_| Mutex::default()).collect(),
            ended: AtomicBool::new(false),
            idle: AtomicBool::new(false),
        });
        let (lines, lost) = (queue.clone(), dropped.clone());
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(writer, &lines, &lost))?;
        Ok(Self { path: path.to_owned(), queue, dropped, thread: Some(thread) })
    }

    /// Where it writes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Queues a line of a worker for a request that `ended`, or counts it as dropped. Never waits for the disk.
    pub fn write(&self, worker: usize, ended: Instant, front: &[u8], write_rest: impl FnOnce(&mut Vec<u8>)) {
        let Some(waiting) = self.queue.workers.get(worker) else { return };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes.len() >= WAITING_BYTES_MAX {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let before = waiting.bytes.len();
        waiting.bytes.extend_from_slice(front);
        write_rest(&mut waiting.bytes);
        let length = waiting.bytes.len() - before;
        waiting.lines.push((ended, length));
        drop(waiting);
        if self.queue.idle.load(Acquire) && self.queue.idle.swap(false, AcqRel) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.ended.store(true, Relaxed);
        self.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the access log's thread panicked");
        }
    }
}

/// The thread: takes what waits, writes it, lets more gather. Were it to wait for each line, every request would wake
/// it and cost a write of its own.
fn write_all(mut writer: Writer, queue: &Queue, dropped: &AtomicU64) {
    let mut taken: Vec<Waiting> = queue.workers.iter().map(|_| Waiting::default()).collect();
    let mut batch = Vec::new();
    let mut failing = false;
    loop {
        let ended = queue.ended.load(Relaxed);
        queue.take(&mut taken);
        let lines = merge(&mut taken, &mut batch);
        if lines > 0 {
            write_batch(&mut writer, &batch, lines, dropped, &mut failing);
        }
        if ended {
            return;
        }
        if lines > 0 {
            std::thread::sleep(GATHER_TIME);
        } else if queue.idle.swap(true, AcqRel) {
            std::thread::park();
        }
        // Else it looks once more: a line may have come before the flag was seen.
    }
}

impl Queue {
    /// Takes what waits, of all workers at one moment, so that no line is written before one that ended earlier.
    fn take(&self, taken: &mut [Waiting]) {
        let mut workers: Vec<_> =
            self.workers.iter().map(|worker| worker.lock().unwrap_or_else(PoisonError::into_inner)).collect();
        for (waiting, taken) in workers.iter_mut().zip(taken) {
            std::mem::swap(&mut **waiting, taken);
        }
    }
}

/// Empties `taken` into `batch` in the order in which requests ended; returns the number of lines.
fn merge(taken: &mut [Waiting], batch: &mut Vec<u8>) -> u64 {
    batch.clear();
    let mut next = vec![(0, 0); taken.len()];
    let mut count = 0;
    let earliest = |next: &[(usize, usize)]| {
        let heads = taken.iter().zip(next).enumerate();
        heads.filter_map(|(worker, (waiting, (line, _)))| Some((waiting.lines.get(*line)?.0, worker))).min()
    };
    while let Some((_, worker)) = earliest(&next) {
        let (line, start) = next[worker];
        let end = start + taken[worker].lines[line].1;
        batch.extend_from_slice(&taken[worker].bytes[start..end]);
        next[worker] = (line + 1, end);
        count += 1;
    }
    for waiting in taken {
        waiting.bytes.clear();
        waiting.lines.clear();
    }
    count
}

fn write_batch(writer: &mut Writer, batch: &[u8], lines: u64, dropped: &AtomicU64, failing: &mut bool) {
    match writer.write(batch) {
        Ok(()) => *failing = false,
        Err(error) => {
            dropped.fetch_add(lines, Relaxed);
            if !std::mem::replace(failing, true) {
                tracing::error!(path = %writer.path.display(), %error, "the access log cannot be written");
            }
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
        // Somebody may have moved it away, as logrotate does.
        if !self.is_in_place()? {
            *self = Self::open(&self.path)?;
        }
        if self.size_bytes > 0 && self.size_bytes + batch.len() as u64 > FILE_BYTES_MAX {
            // While an edge replaces another, both write here; the other one may have put the file aside already.
            if self.is_in_place()? {
                rotate(&self.path)?;
            }
            *self = Self::open(&self.path)?;
        }
        self.file.write_all(batch)?;
        self.size_bytes += batch.len() as u64;
        Ok(())
    }

    /// Whether the file is still the one at its path.
    fn is_in_place(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
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

/// What is known of a request when its head was read.
pub(crate) struct Asked<'a> {
    pub at: SystemTime,
    pub id: &'a RequestId,
    pub trace_id: Option<&'a str>,
    pub client: &'a str,
    pub host: &'a [u8],
    pub method: &'a [u8],
    /// Without query, which may hold what nobody should read in a log.
    pub path: &'a [u8],
    pub protocol: &'static str,
    pub user_agent: Option<&'a [u8]>,
    pub referer: Option<&'a [u8]>,
}

/// What is known of a request when its answer has ended.
pub(crate) struct Answered<'a> {
    pub status: u16,
    pub bytes: u64,
    pub duration: Duration,
    /// Time it waited for a backend with room.
    pub queued: Duration,
    /// Time until a backend's answer began.
    pub first_byte: Option<Duration>,
    /// The pool that a route led to.
    pub pool: Option<&'a str>,
    pub backend: Option<&'a str>,
    pub attempts: u32,
    pub fault: Option<&'a Fault>,
}

/// How lines look.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LineShape {
    /// Objects with these.
    Json(Fields),
    /// As [`crate::combined`] says.
    Combined,
}

/// A set of fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields(u32);

impl LineShape {
    /// What `log` says.
    pub fn of(log: &AccessLog) -> Self {
        match log.format {
            LogFormat::Json => Self::Json(Fields::of(&log.fields)),
            LogFormat::Combined => Self::Combined,
        }
    }
}

impl Fields {
    fn of(fields: &[LogField]) -> Self {
        Self(fields.iter().fold(0, |all, field| all | 1 << *field as u32))
    }

    fn has(self, field: LogField) -> bool {
        self.0 & 1 << field as u32 != 0
    }
}

impl Asked<'_> {
    /// The line up to what the answer decides, and what follows that. Written out by hand: it is done for every
    /// request, and the fields are few.
    pub fn write(&self, fields: Fields, front: &mut Vec<u8>, back: &mut Vec<u8>) {
        if fields.has(LogField::Ts) {
            front.extend_from_slice(b",\"ts\":\"");
            write_time(front, self.at);
            front.push(b'"');
        }
        let has_trace = fields.has(LogField::TraceId);
        let texts: [(LogField, &str, Option<&[u8]>); 7] = [
            (LogField::RequestId, "request_id", Some(self.id.as_str().as_bytes())),
            (LogField::TraceId, "trace_id", self.trace_id.filter(|_| has_trace).map(str::as_bytes)),
            (LogField::Client, "client", Some(self.client.as_bytes())),
            (LogField::Host, "host", Some(self.host)),
            (LogField::Method, "method", Some(self.method)),
            (LogField::Path, "path", Some(self.path)),
            (LogField::Protocol, "protocol", Some(self.protocol.as_bytes())),
        ];
        for (field, name, value) in texts {
            if let Some(value) = value.filter(|_| fields.has(field)) {
                write_text(front, name, value);
            }
        }
        match front.first_mut() {
            Some(comma) => *comma = b'{',
            None => front.push(b'{'),
        }
        for (field, name, value) in
            [(LogField::UserAgent, "user_agent", self.user_agent), (LogField::Referer, "referer", self.referer)]
        {
            if let Some(value) = value.filter(|value| fields.has(field) && is_text(value)) {
                write_text(back, name, value);
            }
        }
    }
}

impl Answered<'_> {
    /// What stands between the two parts, and the end.
    pub fn write(&self, fields: Fields, line: &mut Vec<u8>, back: &[u8]) {
        let start = line.len();
        let numbers = [(LogField::Status, "status", u64::from(self.status)), (LogField::Bytes, "bytes", self.bytes)];
        for (field, name, number) in numbers {
            if fields.has(field) {
                write_count(line, name, number);
            }
        }
        let times = [
            (LogField::DurationMs, "duration_ms", Some(self.duration)),
            (LogField::FirstByteMs, "first_byte_ms", self.first_byte),
            (LogField::QueueMs, "queue_ms", Some(self.queued).filter(|queued| !queued.is_zero())),
        ];
        for (field, name, time) in times {
            if let Some(time) = time.filter(|_| fields.has(field)) {
                write_ms(line, name, time);
            }
        }
        if let Some(pool) = self.pool.filter(|_| fields.has(LogField::Pool)) {
            write_text(line, "pool", pool.as_bytes());
        }
        if let Some(backend) = self.backend.filter(|_| fields.has(LogField::Backend)) {
            write_text(line, "backend", backend.as_bytes());
        }
        if fields.has(LogField::Attempts) {
            write_count(line, "attempts", self.attempts.into());
        }
        if let Some(fault) = self.fault.filter(|_| fields.has(LogField::Fault)) {
            write_text(line, "fault", format!("{} ({})", fault.part, fault.whose.as_str()).as_bytes());
        }
        line.extend_from_slice(back);
        // Where nothing stands before it, there is no comma either.
        if line[..start].ends_with(b"{") && line.get(start) == Some(&b',') {
            line.remove(start);
        }
        line.extend_from_slice(b"}\n");
    }
}

/// Writes `,"name":` and the number.
fn write_count(line: &mut Vec<u8>, name: &str, number: u64) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
    write_number(line, number, 1);
}

/// A time as RFC 3339 writes it, to the millisecond. The text of a second is made once.
fn write_time(line: &mut Vec<u8>, at: SystemTime) {
    thread_local! {
        static SECOND: std::cell::RefCell<(u64, String)> = const { std::cell::RefCell::new((u64::MAX, String::new())) };
    }
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() {
            let whole = jiff::Timestamp::from_second(since.as_secs() as i64).unwrap_or_default();
            *text = whole.to_string().trim_end_matches('Z').to_owned();
            *second = since.as_secs();
        }
        line.extend_from_slice(text.as_bytes());
    });
    line.push(b'.');
    write_number(line, since.subsec_millis().into(), 3);
    line.push(b'Z');
}

/// Writes `,"name":` and so many milliseconds, to the microsecond.
fn write_ms(line: &mut Vec<u8>, name: &str, duration: Duration) {
    let micros = duration.as_micros() as u64;
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
    write_number(line, micros / 1000, 1);
    line.push(b'.');
    write_number(line, micros % 1000, 3);
}

/// Whether a value can stand in a line: visible ASCII and blanks.
fn is_text(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t'))
}

/// Writes `,"name":"value"` with the first [`VALUE_CHARS_MAX`] characters; what is no text becomes empty.
#[inline]
fn write_text(line: &mut Vec<u8>, name: &str, value: &[u8]) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":\"");
    write_value(line, value);
}

fn write_value(line: &mut Vec<u8>, value: &[u8]) {
    // Nearly all are plain; that is found out without a branch for each byte.
    let is_plain = |byte: u8| ((b' '..=b'~').contains(&byte)) & (byte != b'"') & (byte != b'\\');
    if value.len() <= VALUE_CHARS_MAX && value.iter().fold(0, |odd, byte| odd | u8::from(!is_plain(*byte))) == 0 {
        line.extend_from_slice(value);
        return line.push(b'"');
    }
    let value = if is_text(value) { &value[..value.len().min(VALUE_CHARS_MAX)] } else { b"" };
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | b'\t')) {
        line.extend_from_slice(&rest[..at]);
        line.extend_from_slice(if rest[at] == b'\t' { b"\\t" } else { b"\\" });
        if rest[at] != b'\t' {
            line.push(rest[at]);
        }
        rest = &rest[at + 1..];
    }
    line.extend_from_slice(rest);
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::time::{Duration, Instant, SystemTime};

    use triad_http::{Fault, RequestId, Whose};
    use triad_model::LogField;

    use super::{Answered, Asked, FILE_BYTES_MAX, FILES_KEPT, Fields, Log, VALUE_CHARS_MAX, WAITING_BYTES_MAX, Writer};

    fn line(user_agent: &str) -> String {
        line_with(LogField::ALL, user_agent)
    }

    fn line_with(fields: &[LogField], user_agent: &str) -> String {
        let fields = Fields::of(fields);
        let id = RequestId::parse(b"0123456789abcdef0123456789abcdef").expect("an id");
        let asked = Asked {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            id: &id,
            trace_id: None,
            client: "2001:db8::7",
            host: b"www.foobar.com",
            method: b"GET",
            path: b"/entries.json",
            protocol: "HTTP/1.1",
            user_agent: Some(user_agent.as_bytes()),
            referer: None,
        };
        let answered = Answered {
            status: 502,
            bytes: 512,
            duration: Duration::from_micros(12_045),
            queued: Duration::from_micros(1_500),
            first_byte: Some(Duration::from_millis(11)),
            pool: Some("api"),
            backend: Some("srv2"),
            attempts: 2,
            fault: Some(&Fault::new(502, Whose::Upstream, "backend srv2")),
        };
        let (mut line, mut back) = (Vec::new(), Vec::new());
        asked.write(fields, &mut line, &mut back);
        answered.write(fields, &mut line, &back);
        String::from_utf8(line).expect("text")
    }

    #[test]
    fn a_line_is_one_json_object() {
        assert_eq!(
            line("curl/8 \"quoted\""),
            "{\"ts\":\"2023-11-14T22:13:20.123Z\",\"request_id\":\"0123456789abcdef0123456789abcdef\",\
             \"client\":\"2001:db8::7\",\"host\":\"www.foobar.com\",\"method\":\"GET\",\"path\":\"/entries.json\",\
             \"protocol\":\"HTTP/1.1\",\"status\":502,\"bytes\":512,\"duration_ms\":12.045,\
             \"first_byte_ms\":11.000,\"queue_ms\":1.500,\"pool\":\"api\",\"backend\":\"srv2\",\"attempts\":2,\"fault\":\"backend srv2 (upstream)\",\"user_agent\":\"curl/8 \\\"quoted\\\"\"}\n"
        );
    }

    /// Any choice of fields is an object with these and no others, in the order of a line.
    #[test]
    fn only_the_chosen_fields_are_written() {
        assert_eq!(line_with(&[LogField::TraceId], "curl/8"), "{}\n", "what is not known is left out");
        assert_eq!(line_with(&[LogField::Attempts, LogField::Status], "curl/8"), "{\"status\":502,\"attempts\":2}\n");
        assert_eq!(line_with(&[LogField::UserAgent], "curl/8"), "{\"user_agent\":\"curl/8\"}\n");
        for index in 0..LogField::ALL.len() {
            for other in 0..LogField::ALL.len() {
                let line = line_with(&[LogField::ALL[index], LogField::ALL[other]], "curl/8");
                let object: serde_json::Value = serde_json::from_str(&line).expect("an object");
                let names: Vec<_> = object.as_object().expect("an object").keys().cloned().collect();
                let wanted = [LogField::NAMES[index], LogField::NAMES[other]];
                assert!(names.iter().all(|name| wanted.contains(&name.as_str())), "{line}");
            }
        }
    }

    #[test]
    fn a_log_that_is_moved_away_goes_on_where_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        let mut writer = Writer::open(&path).expect("a writer");
        writer.write(b"one\n").expect("written");
        std::fs::rename(&path, folder.path().join("mine")).expect("moved");
        writer.write(b"two\n").expect("written");
        std::fs::remove_file(&path).expect("removed");
        writer.write(b"three\n").expect("written");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("a file");
        assert_eq!((read("mine").as_str(), read("access.log").as_str()), ("one\n", "three\n"));
    }

    #[test]
    fn what_a_client_sends_cannot_break_a_line() {
        let agent = "a\"b\\c\td";
        let value: serde_json::Value = serde_json::from_str(&line(agent)).expect("an object");
        assert_eq!(value["user_agent"], agent);
        assert!(!line("\u{e4}").contains("user_agent"), "no text, no field");
    }

    #[test]
    fn long_values_are_cut() {
        let line = line(&"a".repeat(4000));
        assert!(line.contains(&format!("\"{}\"", "a".repeat(VALUE_CHARS_MAX))), "{line}");
    }

    #[test]
    fn lines_are_written_in_order_and_dropped_beyond_the_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        let dropped = Arc::new(AtomicU64::new(0));
        let log = Log::open(&path, 2, dropped.clone()).expect("a log");
        for number in 0..1000 {
            log.write(number % 2, Instant::now(), b"", |line| line.extend(format!("{number}\n").bytes()));
        }
        log.write(0, Instant::now(), &vec![b'x'; WAITING_BYTES_MAX], |line| line.push(b'\n'));
        log.write(0, Instant::now(), b"", |line| line.push(b'\n'));
        drop(log);
        let text = std::fs::read_to_string(&path).expect("a log");
        assert!(text.lines().take(1000).enumerate().all(|(number, line)| line == number.to_string()));
        assert_eq!(text.lines().count() as u64 + dropped.load(Relaxed), 1002);
    }

    #[test]
    fn two_edges_write_whole_lines_to_one_file_and_put_it_aside_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        let logs = ["old", "new"].map(|name| (name, Log::open(&path, 1, Arc::default()).expect("a log")));
        std::thread::scope(|scope| {
            for (name, log) in &logs {
                scope.spawn(move || {
                    for number in 0..2000 {
                        log.write(0, Instant::now(), b"", |line| line.extend(format!("{name} {number}\n").bytes()));
                    }
                });
            }
        });
        drop(logs);
        let text = std::fs::read_to_string(&path).expect("a log");
        for name in ["old ", "new "] {
            let numbers = text.lines().filter_map(|line| line.strip_prefix(name));
            assert!(numbers.eq((0..2000).map(|number| number.to_string())), "{name}has lost or broken lines");
        }
        assert_eq!(text.lines().count(), 4000);

        let [mut old, mut new] = [Writer::open(&path), Writer::open(&path)].map(|writer| writer.expect("a writer"));
        for (writer, word) in [(&mut new, "new"), (&mut old, "old")] {
            writer.size_bytes = FILE_BYTES_MAX;
            writer.write(format!("{word}\n").as_bytes()).expect("written");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("a log"), "new\nold\n");
        assert_eq!(std::fs::read_to_string(folder.path().join("access.log.1")).expect("put aside"), text);
        assert!(!folder.path().join("access.log.2").exists());
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
