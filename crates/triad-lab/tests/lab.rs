//! Labs for real, with this test as the binary: started as `agent` it stands in for one, started with a hidden
//! command it is that command. As root, every story is told twice, the second time by an ordinary user.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use triad_lab::{Lab, LabName, LinkState, Progress, UpOptions, client, entrance_main, holder_main, server_main};
use triad_model::{Design, ServerName, State};

/// For whatever a story waits for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Debian's `nobody`.
const NOBODY: &str = "65534";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag).unwrap_or_else(|| panic!("no {flag}"));
        arguments[at + 1].clone()
    };
    match arguments.get(1).map(String::as_str) {
        Some(triad_lab::HOLDER_COMMAND) => holder_main(Path::new(&value("--dir"))).expect("holder"),
        Some(triad_lab::SERVER_COMMAND) => {
            server_main(Path::new(&value("--dir")), &name(&value("--name"))).expect("init")
        }
        Some(triad_lab::ENTRANCE_COMMAND) => entrance_main(Path::new(&value("--dir"))).expect("entrance"),
        Some("agent") => agent(&value("--server"), &value("-c"), &value("--state"), &value("--run")),
        Some("fetch") => print!("{}", fetch(arguments[2].parse().expect("an address"), b"G")),
        Some("up") => return up_command(Path::new(&arguments[2])),
        other => return tell_stories(other.filter(|argument| !argument.starts_with('-'))),
    }
    ExitCode::SUCCESS
}

// ---- the stand-ins -------------------------------------------------------------------------------------------------

/// Answers on its socket like an agent and on the site's ports with its name. A design whose comment says `crash`,
/// `sick` or `stubborn` makes it so on srv2.
fn agent(server: &str, file: &str, state: &str, run: &str) {
    let design = fs::read_to_string(file).expect("the design");
    let afflicted = |how: &str| server == "srv2" && design.contains(how);
    if afflicted("crash") {
        eprintln!("this agent cannot start");
        std::process::exit(3);
    }
    if afflicted("stubborn") && std::env::var_os("STUBBORN").is_none() {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"trap "" TERM; exec "$@""#, "sh"]).arg(std::env::current_exe().expect("a path"));
        panic!("{}", shell.args(std::env::args().skip(1)).env("STUBBORN", "").exec());
    }
    let starts = Path::new(state).join("starts");
    fs::OpenOptions::new().create(true).append(true).open(starts).and_then(|mut f| f.write_all(b"x")).expect("state");
    for port in [80, 443] {
        let listener = TcpListener::bind(("::", port)).expect("bind");
        let answer = format!("{server} {port}");
        std::thread::spawn(move || serve(listener.incoming(), &answer));
    }
    let health = if afflicted("sick") { "degraded" } else { "healthy" };
    let report = format!(
        r#"{{"server":"{server}","state":"{health}","roles":[{{"role":"web","state":"{health}","detail":"so so"}}],
            "processes":[],"uptime_s":1}}"#
    );
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", report.len());
    let socket = Path::new(run).join("agent.sock");
    if socket.exists() {
        fs::remove_file(&socket).expect("a killed agent's socket");
    }
    let listener = UnixListener::bind(socket).expect("agent.sock");
    serve(listener.incoming(), &format!("{head}connection: close\r\n\r\n{report}"));
}

fn serve<S: Read + Write>(connections: impl Iterator<Item = std::io::Result<S>>, answer: &str) {
    for mut connection in connections.flatten() {
        // A client that went away is no concern of a stand-in.
        let _ = connection.read(&mut [0; 1024]);
        let _ = connection.write_all(answer.as_bytes());
    }
}

/// What `address` answers to `request`, or the kind of error.
fn fetch(address: SocketAddr, request: &[u8]) -> String {
    let fetched = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(700))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    fetched().unwrap_or_else(|error| error.kind().to_string())
}

/// Brings up the lab in `folder`, saying `waiting` when it waits: for stories in which this is killed.
fn up_command(folder: &Path) -> ExitCode {
    let site = Site { folder: folder.to_path_buf() };
    let progress = |progress: Progress<'_>| {
        if let Progress::Waiting(clauses) = progress {
            println!("waiting {clauses:?}");
        }
    };
    match run(site.up_with(&site.lab("lab"), &progress)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

// ---- the stories ---------------------------------------------------------------------------------------------------

type Story = (&'static str, fn(&Site));

const STORIES: &[Story] = &[
    ("up, used, up again, down", up_used_up_again_down),
    ("two labs side by side", two_labs_side_by_side),
    ("a server is killed, started, unplugged", a_server_is_killed_started_unplugged),
    ("a killed agent is started again", a_killed_agent_is_started_again),
    ("an agent that does not end is killed", an_agent_that_does_not_end_is_killed),
    ("nothing outlives the holder", nothing_outlives_the_holder),
    ("nothing outlives its directory", nothing_outlives_its_directory),
    ("an agent that cannot start is named", an_agent_that_cannot_start_is_named),
    ("a killed up leaves no process", a_killed_up_leaves_no_process),
    ("an interrupted up leaves nothing", an_interrupted_up_leaves_nothing),
];

fn tell_stories(only: Option<&str>) -> ExitCode {
    let user = if is_root() { "root" } else { "an ordinary user" };
    let mut failed = false;
    for (title, story) in STORIES.iter().filter(|(title, _)| only.is_none_or(|part| title.contains(part))) {
        let folder = tempfile::tempdir().expect("tempdir");
        let site = Site::new(&folder);
        let begun = Instant::now();
        let told = std::panic::catch_unwind(|| story(&site)).is_ok();
        println!("{} {title}, as {user} ({} ms)", if told { "ok    " } else { "FAILED" }, begun.elapsed().as_millis());
        if !told {
            print_logs(folder.path());
        }
        for lab in ["lab", "other"] {
            let _ = run(site.lab(lab).down());
        }
        failed |= !told;
    }
    if is_root() {
        failed |= !tell_stories_as_nobody(only);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn tell_stories_as_nobody(only: Option<&str>) -> bool {
    let folder = tempfile::tempdir().expect("tempdir");
    let myself = folder.path().join("lab-test");
    fs::copy("/proc/self/exe", &myself).expect("copied");
    for path in [folder.path(), &myself] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
    }
    let mut command = Command::new("setpriv");
    // Root's own folders would turn "not found" into "not allowed".
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"]).arg(&myself).args(only);
    command.current_dir("/").status().expect("setpriv").success()
}

fn up_used_up_again_down(site: &Site) {
    let lab = site.lab("lab");
    let summary = run(site.up(&lab)).expect("up");
    assert!(!summary.already_up && summary.steps.len() == 5, "{summary:?}");
    assert!(run(site.up(&lab)).expect("up again").already_up);

    let status = run(lab.status()).expect("status").expect("a lab");
    assert!(status.state() == State::Healthy && status.client_running && status.servers.len() == 3);
    assert_eq!(status.rootless, !is_root());
    let listed = run(Lab::list_under(&site.labs())).expect("list");
    assert_eq!(listed.iter().map(|entry| (entry.name.as_str(), entry.running)).collect::<Vec<_>>(), [("lab", true)]);

    members_see_the_lab(site, &lab);
    let entrance = summary.entrance.expect("an entrance");
    assert_eq!(fetch(entrance, b"GET / HTTP/1.1\r\n\r\n"), "srv1 80");
    assert_eq!(fetch(entrance, &[22, 3, 1]), "srv1 443");

    site.write("# another design");
    let refused = run(site.up(&lab)).expect_err("another design").to_string();
    assert_eq!(refused, "lab lab is up with another design; take it down first: triad lab down lab");

    assert!(run(lab.down()).expect("down").ran);
    site.assert_no_processes();
    assert!(!lab.path().exists());
    let again = run(lab.down()).expect("down again");
    assert!(!again.ran && !again.existed);
}

fn members_see_the_lab(site: &Site, lab: &Lab) {
    let out = |member: &str, argv: &[&str]| {
        let output = run(lab.exec_output(&name(member), argv)).expect("exec");
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (
            output.status.code(),
            if said.is_empty() { String::from_utf8_lossy(&output.stderr).into_owned() } else { said },
        )
    };
    let fetched = |member: &str, address: &str| {
        out(member, &[&lab.path().join("triad").display().to_string(), "fetch", address]).1
    };
    assert_eq!(fetched("client", "203.0.113.11:80"), "srv1 80");
    assert_eq!(fetched("client", "[2001:db8:1::11]:80"), "srv1 80");
    assert_eq!(fetched("srv2", "10.77.0.13:80"), "srv3 80");
    assert_eq!(fetched("srv3", "10.77.0.11:443"), "srv1 443");
    assert_ne!(fetched("srv3", "203.0.113.11:80"), "srv1 80", "srv3 has no public network");
    assert_ne!(fetched("client", "10.77.0.11:80"), "srv1 80", "the client has no private network");

    assert_eq!(out("srv2", &["sh", "-c", "exit 42"]).0, Some(42));
    assert_eq!(out("srv2", &["no-such-program"]).0, Some(127));
    assert_eq!(out("srv2", &["hostname"]).1, "srv2");
    assert_eq!(out("srv2", &["id", "-u"]).1, "0");
    assert_eq!(
        out("client", &["cat", "/etc/resolv.conf"]).1,
        "options timeout:1 attempts:2\nnameserver 203.0.113.11\nnameserver 2001:db8:1::11"
    );
    assert_eq!(out("client", &["tail", "-n1", "/etc/ssl/certs/ca-certificates.crt"]).1, "the authority");
    assert_eq!(out("client", &["sh", "-c", "tail -n1 $SSL_CERT_FILE"]).1, "the authority");
    let interfaces = out("srv3", &["ls", "/sys/class/net"]).1;
    assert!(interfaces.split_whitespace().eq(["lo", "private"]), "{interfaces}");
    assert_eq!(fs::read_to_string(site.state("srv1")).expect("state"), "x");

    // An orphan comes to the init, which collects it.
    out("srv1", &["sh", "-c", "(sleep 0.05 &)"]);
    eventually("no zombie", || !out("srv1", &["sh", "-c", "cat /proc/[0-9]*/stat"]).1.contains(") Z "));
    let unknown = run(lab.exec_output(&name("srv9"), &["true"])).expect_err("no such server").to_string();
    assert_eq!(unknown, "lab lab has no srv9, only srv1, srv2, srv3, client");
}

fn two_labs_side_by_side(site: &Site) {
    let (one, other) = (site.lab("lab"), site.lab("other"));
    let entrances = [run(site.up(&one)).expect("one").entrance, run(site.up(&other)).expect("other").entrance];
    assert_ne!(entrances[0], entrances[1]);
    assert!(run(one.down()).expect("down").ran);
    assert_eq!(fetch(entrances[1].expect("an entrance"), b"G"), "srv1 80");
    assert_eq!(run(other.status()).expect("status").expect("a lab").state(), State::Healthy);
    assert!(run(other.down()).expect("down").ran);
    site.assert_no_processes();
}

fn a_server_is_killed_started_unplugged(site: &Site) {
    let lab = site.lab("lab");
    let entrance = run(site.up(&lab)).expect("up").entrance.expect("an entrance");
    let (first, second) = (name("srv1"), name("srv2"));
    run(lab.kill(&first)).expect("kill");
    assert_eq!(fetch(entrance, b"G"), "srv2 80", "the other front");
    let status = run(lab.status()).expect("status").expect("a lab");
    assert_eq!(status.state(), State::Degraded);
    assert_eq!(status.servers[0].problem.as_deref(), Some("it is not running"));
    assert_eq!(run(lab.kill(&first)).expect_err("dead").to_string(), "lab lab: srv1 does not run");

    run(lab.link(&second, LinkState::Down)).expect("pull");
    assert_eq!(fetch(entrance, b"G"), "connection reset", "no front is left, so the entrance hangs up");
    run(lab.start(&first)).expect("start");
    eventually("srv1 serves", || fetch(entrance, b"G") == "srv1 80");
    assert_eq!(fs::read_to_string(site.state("srv1")).expect("state"), "xx", "its state stayed");
    run(lab.link(&second, LinkState::Up)).expect("plug");
    run(lab.kill(&first)).expect("kill");
    eventually("srv2 serves", || fetch(entrance, b"G") == "srv2 80");

    let members = run(lab.holder_status()).expect("status").members;
    let running: Vec<bool> = members.iter().map(|member| member.running).collect();
    assert_eq!(running, [false, true, true, true]);
    run(lab.kill(&client())).expect("kill the client");
    run(lab.start(&client())).expect("start the client");
    eventually("the entrance is back", || fetch(entrance, b"G") == "srv2 80");
    run(lab.down()).expect("down");
    site.assert_no_processes();
}

fn a_killed_agent_is_started_again(site: &Site) {
    let lab = site.lab("lab");
    run(site.up(&lab)).expect("up");
    signal(Signal::SIGKILL, site.process("/triad agent --server srv1 ").0);
    let srv1 = || run(lab.status()).expect("status").expect("a lab").servers.remove(0);
    eventually("srv1 is healthy again", || srv1().agent.restarts == 1 && srv1().is_healthy());
    assert_eq!(srv1().agent.last_exit.as_deref(), Some("signal: 9 (SIGKILL)"));

    signal(Signal::SIGKILL, site.process("--name srv1 ").0);
    eventually("srv1 is off", || !srv1().running);
    run(lab.start(&name("srv1"))).expect("start");
    eventually("srv1 is healthy", || srv1().is_healthy());
    run(lab.down()).expect("down");
}

fn an_agent_that_does_not_end_is_killed(site: &Site) {
    let lab = site.lab("lab");
    site.write("# stubborn");
    run(site.up(&lab)).expect("up");
    assert!(run(lab.down()).expect("down").ran);
    site.assert_no_processes();
    assert!(!lab.path().exists());
}

fn nothing_outlives_the_holder(site: &Site) {
    let lab = site.lab("lab");
    let links = host_links();
    run(site.up(&lab)).expect("up");
    assert!(site.processes().len() >= 10, "{:?}", site.processes());
    signal(Signal::SIGKILL, site.process(&format!("/triad {}", triad_lab::HOLDER_COMMAND)).0);
    site.assert_no_processes();
    assert_eq!(host_links(), links);
    let status = run(lab.status()).expect("status").expect("its files");
    assert!(!status.running && status.state() == State::Down);
    let unreachable = run(lab.exec_output(&client(), &["true"])).expect_err("dead").to_string();
    assert_eq!(unreachable, "lab lab does not run; `triad lab up` starts it");
    assert!(!run(site.up(&lab)).expect("up again").already_up);

    signal(Signal::SIGKILL, outermost(site));
    site.assert_no_processes();
    let down = run(lab.down()).expect("down");
    assert!(!down.ran && down.existed && !lab.path().exists());
}

fn nothing_outlives_its_directory(site: &Site) {
    let lab = site.lab("lab");
    run(site.up(&lab)).expect("up");
    fs::remove_dir_all(lab.path()).expect("removed");
    site.assert_no_processes();
}

fn an_agent_that_cannot_start_is_named(site: &Site) {
    let lab = site.lab("lab");
    site.write("# crash");
    let error = run(site.up(&lab)).expect_err("srv2 crashes").to_string();
    let log = lab.path().join("servers/srv2/agent.log");
    for part in [
        "lab lab did not become healthy",
        "srv2: its agent ended (exit status: 3) and was started again 4 times",
        &format!("its log, {}, ends: this agent cannot start", log.display()),
        "everything was stopped; its logs stay in",
    ] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    assert!(!error.contains("srv1"), "{error}");
    site.assert_no_processes();
    assert!(log.exists());
    site.write("# fine");
    run(site.up(&lab)).expect("up");
    run(lab.down()).expect("down");
}

fn a_killed_up_leaves_no_process(site: &Site) {
    let mut up = site.up_that_waits();
    assert!(site.processes().len() >= 10);
    up.kill().expect("killed");
    up.wait().expect("ended");
    site.assert_no_processes();
    let lab = site.lab("lab");
    assert!(run(lab.down()).expect("down").existed && !lab.path().exists());
}

fn an_interrupted_up_leaves_nothing(site: &Site) {
    let mut up = site.up_that_waits();
    let lab = site.lab("lab");
    let refused = run(site.up(&lab)).expect_err("a second up").to_string();
    assert!(refused.starts_with("another command is bringing the lab in "), "{refused}");
    signal(Signal::SIGINT, up.id());
    let mut said = String::new();
    up.stdout.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert!(said.trim_end().ends_with("interrupted; everything was removed"), "{said}");
    assert_eq!(up.wait().expect("ended").code(), Some(1));
    site.assert_no_processes();
    assert!(!lab.path().exists());
}

// ---- their means ---------------------------------------------------------------------------------------------------

/// A design's folder, and its labs beside it.
struct Site {
    folder: PathBuf,
}

impl Site {
    fn new(parent: &TempDir) -> Self {
        let site = Self { folder: parent.path().join("site") };
        fs::create_dir_all(site.folder.join("public")).expect("made");
        fs::create_dir(site.labs()).expect("made");
        fs::write(site.folder.join("public/index.html"), "hello").expect("written");
        site.write("# fine");
        site
    }

    fn write(&self, text: &str) {
        fs::write(self.folder.join("triad.toml"), text).expect("written");
    }

    fn labs(&self) -> PathBuf {
        self.folder.with_file_name("labs")
    }

    fn lab(&self, name: &str) -> Lab {
        Lab::under(&self.labs(), LabName::new(name).expect("a name"))
    }

    fn state(&self, server: &str) -> PathBuf {
        self.labs().join("lab/servers").join(server).join("state/starts")
    }

    async fn up(&self, lab: &Lab) -> anyhow::Result<triad_lab::UpSummary> {
        self.up_with(lab, &|_| {}).await
    }

    async fn up_with(&self, lab: &Lab, progress: &dyn Fn(Progress<'_>)) -> anyhow::Result<triad_lab::UpSummary> {
        let options = UpOptions {
            design: &design(),
            file: &self.folder.join("triad.toml"),
            executable: Path::new("/proc/self/exe"),
            provision: &|_, _| Ok("the authority\n".to_owned()),
            progress,
            disk_mb: None,
            limit: PATIENCE,
        };
        lab.up(options).await
    }

    /// An `up` in a process of its own, that waits for a server that will not become healthy.
    fn up_that_waits(&self) -> Child {
        self.write("# sick");
        let mut command = Command::new("/proc/self/exe");
        let mut up = command.arg("up").arg(&self.folder).stdout(Stdio::piped()).spawn().expect("up");
        let mut seen = String::new();
        while !seen.contains("web is degraded: so so") {
            let mut byte = [0];
            up.stdout.as_mut().expect("a pipe").read_exact(&mut byte).unwrap_or_else(|_| panic!("it said {seen}"));
            seen.push(char::from(byte[0]));
        }
        up
    }

    /// Process numbers and command lines of all processes of this site's labs.
    fn processes(&self) -> Vec<(u32, String)> {
        let mark = self.labs().join("").display().to_string();
        let folders = fs::read_dir("/proc").expect("proc").flatten();
        let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
        let lines = pids.filter_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some((pid, String::from_utf8_lossy(&line).replace('\0', " ")))
        });
        lines.filter(|(_, line)| line.contains(&mark)).collect()
    }

    /// The one process whose command line holds `part`, other than an `unshare` around it.
    fn process(&self, part: &str) -> (u32, String) {
        let found = |(_, line): &(u32, String)| line.contains(part) && !line.starts_with("unshare");
        self.processes().into_iter().find(found).unwrap_or_else(|| panic!("no process {part}"))
    }

    fn assert_no_processes(&self) {
        eventually("all processes are gone", || self.processes().is_empty());
    }
}

/// The `unshare` around the holder.
fn outermost(site: &Site) -> u32 {
    let command = format!("/triad {}", triad_lab::HOLDER_COMMAND);
    let mut found =
        site.processes().into_iter().filter(|(_, line)| line.contains(&command) && line.starts_with("unshare"));
    found.next().expect("an unshare").0
}

fn design() -> Design {
    let text = r#"{
        "site": { "domain": "foobar.com", "hosts": ["www.foobar.com"] },
        "servers": [
            { "name": "srv1", "public": ["203.0.113.11", "2001:db8:1::11"], "private": "10.77.0.11" },
            { "name": "srv2", "public": ["203.0.113.12"], "private": "10.77.0.12" },
            { "name": "srv3", "public": [], "private": "10.77.0.13" }
        ],
        "dns": { "servers": ["srv1"], "ttl_s": 30 },
        "web": { "servers": ["srv1", "srv2"], "root": "public" }
    }"#;
    serde_json::from_str(text).expect("a design")
}

fn name(text: &str) -> ServerName {
    ServerName::new(text).expect("a name")
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(number: Signal, pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), number).expect("a process");
}

fn host_links() -> String {
    fs::read_to_string("/proc/net/dev")
        .expect("proc")
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.to_owned() + "\n")
        .collect()
}

fn print_logs(folder: &Path) {
    let logs = Command::new("sh")
        .args(["-c", "tail -n 20 labs/*/lab.log labs/*/servers/*/agent.log"])
        .current_dir(folder)
        .output();
    println!("{}", String::from_utf8_lossy(&logs.expect("tail").stdout));
}
