//! The real program against a real MariaDB in a temporary directory.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use tempfile::TempDir;

/// Time anything here has to happen.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

const ACCOUNTS: &str = "CREATE DATABASE IF NOT EXISTS guestbook;
CREATE USER IF NOT EXISTS 'guest'@'127.0.0.1' IDENTIFIED BY 'pass@word';
GRANT ALL ON guestbook.* TO 'guest'@'127.0.0.1';
";

/// A child that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Database {
    directory: TempDir,
    port: u16,
    process: Option<Process>,
}

impl Database {
    /// An empty database that does not run yet.
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let output = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--force", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--datadir={}", data(directory.path())))
            .arg(own_tmpdir(directory.path()))
            .args(as_root())
            .output()
            .expect("mariadb-install-db runs: install mariadb-server, or let `cargo xtask test` do it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::write(directory.path().join("init.sql"), ACCOUNTS).expect("init.sql");
        Self { directory, port: free_port(), process: None }
    }

    fn start(&mut self) {
        let path = self.directory.path();
        let log = fs::File::create(path.join("log")).expect("a log");
        let child = Command::new("mariadbd")
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=16M"])
            .arg(format!("--datadir={}", data(path)))
            .arg(own_tmpdir(path))
            .arg(format!("--socket={}", path.join("socket").display()))
            .arg(format!("--init-file={}", path.join("init.sql").display()))
            .arg(format!("--port={}", self.port))
            .args(as_root())
            .stderr(log)
            .spawn()
            .expect("mariadbd runs");
        self.process = Some(Process(child));
        wait_for(|| TcpStream::connect(("127.0.0.1", self.port)).is_ok(), "mariadbd listens");
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn root_executes(&self, statement: &str) {
        let status = Command::new("mariadb")
            .arg("--no-defaults")
            .arg(format!("--socket={}", self.directory.path().join("socket").display()))
            .args(["--user=root", "--execute", statement])
            .status()
            .expect("mariadb runs");
        assert!(status.success(), "{statement}");
    }
}

fn data(directory: &Path) -> String {
    directory.join("data").display().to_string()
}

/// A server that starts removes every `#sql…` file from its `tmpdir`, also those of another server that still needs
/// them: each has a `tmpdir` of its own.
fn own_tmpdir(directory: &Path) -> String {
    format!("--tmpdir={}", directory.display())
}

/// MariaDB refuses to run as root unless it is told to.
fn as_root() -> Option<&'static str> {
    Uid::effective().is_root().then_some("--user=root")
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn wait_for(mut condition: impl FnMut() -> bool, what: &str) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        std::thread::sleep(POLL);
    }
}

struct Guestbook {
    port: u16,
    process: Process,
}

impl Guestbook {
    fn start(database_port: u16) -> Self {
        let port = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_guestbook"))
            .env("PORT", port.to_string())
            .env("DATABASE_URL", format!("mysql://guest:pass%40word@127.0.0.1:{database_port}/guestbook"))
            .env("TRIAD_SERVER", "srv2")
            .env("TRIAD_INSTANCE", "3")
            .stdin(Stdio::null())
            .spawn()
            .expect("guestbook runs");
        let guestbook = Self { port, process: Process(child) };
        wait_for(|| TcpStream::connect(("127.0.0.1", port)).is_ok(), "guestbook listens");
        guestbook
    }

    fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    fn post(&self, form: &str) -> Answer {
        let length = form.len();
        self.send(&format!(
            "POST /entries HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{form}"
        ))
    }

    fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        stream.write_all(request.as_bytes()).expect("the request goes out");
        Answer::read(stream)
    }

    fn exit_status(mut self) -> ExitStatus {
        self.process.0.wait().expect("an exit status")
    }

    fn terminate(&self) {
        let pid = Pid::from_raw(self.process.0.id().try_into().expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("SIGTERM is sent");
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Self {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Self { status, head: head.to_ascii_lowercase(), body: body.to_string() }
    }

    fn entries(&self) -> Vec<(u64, String)> {
        let entries: Vec<serde_json::Value> = serde_json::from_str(&self.body).expect("a JSON array");
        let entry = |entry: &serde_json::Value| Some((entry["id"].as_u64()?, entry["text"].as_str()?.to_string()));
        entries.iter().map(|value| entry(value).expect("an id and a text")).collect()
    }
}

#[test]
fn entries_are_posted_and_listed() {
    let mut database = Database::new();
    database.start();
    let guestbook = Guestbook::start(database.port);

    let empty = guestbook.get("/");
    assert_eq!((empty.status, empty.body.contains("<li>")), (200, false), "{}", empty.body);

    for text in ["one", "%3Cb%3Etwo%3C%2Fb%3E", "three+%F0%9F%A6%80"] {
        let posted = guestbook.post(&format!("name=Ann&text={text}"));
        assert_eq!(posted.status, 303, "{}", posted.body);
        assert!(posted.head.contains("location: /"), "{}", posted.head);
    }

    let page = guestbook.get("/").body;
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in {page}"));
    assert!(at("three 🦀") < at("&lt;b&gt;two&lt;/b&gt;") && at("two") < at("one"), "{page}");
    at("served by srv2, instance 3");

    let all = guestbook.get("/entries.json").entries();
    assert_eq!(all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["one", "<b>two</b>", "three 🦀"]);
    let rest = guestbook.get(&format!("/entries.json?after={}&limit=1", all[0].0)).entries();
    assert_eq!(rest, all[1..2]);
}

#[test]
fn wrong_requests_are_told_what_is_wrong() {
    // None of these gets as far as the database.
    let guestbook = Guestbook::start(free_port());
    let cases = [
        (guestbook.post("name=Ann"), 400, "The field text is missing or empty."),
        (guestbook.post(&format!("name=Ann&text={}", "x".repeat(16 * 1024))), 400, "longer than 16384 bytes"),
        (guestbook.get("/entries.json?limit=1001"), 400, "limit is a number from 1 to 1000"),
        (guestbook.get("/nothing"), 404, "There is no such page here."),
        (guestbook.get("/entries"), 405, "other methods"),
    ];
    for (answer, status, text) in cases {
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body.contains(text), "{text:?} is not in {}", answer.body);
    }
}

#[test]
fn an_instance_is_healthy_and_honest_while_its_database_is_away() {
    let mut database = Database::new();
    let guestbook = Guestbook::start(database.port);
    let unavailable = |answer: Answer| {
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    };

    unavailable(guestbook.get("/"));
    unavailable(guestbook.get("/entries.json"));
    unavailable(guestbook.post("name=Ann&text=lost"));
    assert_eq!(guestbook.get("/up").body, "ok\n");
    let pid = guestbook.process.0.id();
    assert_eq!(guestbook.get("/whoami").body, format!("{{\"server\":\"srv2\",\"instance\":\"3\",\"pid\":{pid}}}"));

    database.start();
    assert_eq!(guestbook.post("name=Ann&text=kept").status, 303);

    database.root_executes("SET GLOBAL read_only = 1");
    unavailable(guestbook.post("name=Ann&text=refused"));
    assert_eq!(guestbook.get("/entries.json").entries().len(), 1);

    database.kill();
    unavailable(guestbook.get("/"));
    database.start();
    assert_eq!(guestbook.post("name=Ann&text=again").status, 303);
    let texts: Vec<String> = guestbook.get("/entries.json").entries().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["kept", "again"]);
}

/// A way to a database that is cut in the middle of things: once, before the next command of the kind it is told.
struct Way {
    port: u16,
    cut_at: Arc<AtomicU8>,
}

/// Commands of MySQL's protocol (`COM_STMT_PREPARE`, `COM_STMT_EXECUTE`).
const PREPARE: u8 = 0x16;
const EXECUTE: u8 = 0x17;

impl Way {
    fn to(database_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let cut_at = Arc::new(AtomicU8::new(0));
        let told = cut_at.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let database = TcpStream::connect(("127.0.0.1", database_port)).expect("the database is there");
                let (mut from, mut to) = (database.try_clone().expect("a clone"), client.try_clone().expect("a clone"));
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let told = told.clone();
                std::thread::spawn(move || pass(client, database, &told));
            }
        });
        Self { port, cut_at }
    }

    /// Gives what `ask` does, in which the way is cut.
    fn cut<T>(&self, at: u8, ask: impl FnOnce() -> T) -> T {
        self.cut_at.store(at, SeqCst);
        let answer = ask();
        assert_eq!(self.cut_at.load(SeqCst), 0, "it was cut");
        answer
    }
}

fn pass(mut client: TcpStream, mut database: TcpStream, cut_at: &AtomicU8) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        // Length (3 bytes), number (0 in a command), command; a client sends one at a time.
        let is_command = length > 4 && buffer[3] == 0;
        if is_command && cut_at.compare_exchange(buffer[4], 0, SeqCst, SeqCst).is_ok() {
            break;
        }
        let Ok(()) = database.write_all(&buffer[..length]) else { break };
    }
    for stream in [client, database] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_cut_connection_costs_no_reader_anything_and_no_writer_twice() {
    let mut database = Database::new();
    database.start();
    let way = Way::to(database.port);
    let guestbook = Guestbook::start(way.port);
    assert_eq!(guestbook.post("name=Ann&text=one").status, 303);

    assert_eq!(way.cut(EXECUTE, || guestbook.get("/")).status, 200);
    let uncertain = way.cut(EXECUTE, || guestbook.post("name=Ann&text=perhaps"));
    assert_eq!(uncertain.status, 503);
    assert!(uncertain.body.contains("not certain") && uncertain.body.contains("try again"), "{}", uncertain.body);
    assert_eq!(way.cut(PREPARE, || guestbook.post("name=Ann&text=two")).status, 303, "nothing was sent that time");
    let texts: Vec<String> = guestbook.get("/entries.json").entries().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn a_request_under_way_is_finished_before_the_instance_stops() {
    let guestbook = Guestbook::start(free_port());
    let mut stream = TcpStream::connect(("127.0.0.1", guestbook.port)).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream
        .write_all(b"POST /entries HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n")
        .expect("sent");
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).expect("the interim answer, so the request is under way");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");

    guestbook.terminate();
    wait_for(|| TcpStream::connect(("127.0.0.1", guestbook.port)).is_err(), "the listener closes");
    stream.write_all(b"name=Ann").expect("the form goes out");
    assert_eq!(Answer::read(stream).status, 400);
    assert_eq!(guestbook.exit_status().code(), Some(0));
}
