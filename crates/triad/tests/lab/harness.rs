//! Labs as a test holds them: brought up by the binary, entered by `lab exec`, taken down when dropped.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use triad_lab::{Lab, LabName, LinkState};
use triad_model::ServerName;

/// The binary under test.
pub const TRIAD: &str = env!("CARGO_BIN_EXE_triad");
/// Pause between two looks at something that is awaited.
const POLL: Duration = Duration::from_millis(50);

/// Why a case failed.
#[derive(Clone, Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure(error.to_string())
    }
}

/// Fails a case with a formatted reason unless a condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err($crate::harness::Failure(format!($($reason)+)));
        }
    };
}

/// The folder of the example designs.
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// The folder that holds this run's labs.
pub fn labs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| PathBuf::from(format!("/var/tmp/triad-test-{}", std::process::id())))
}

/// The binary, with this run's labs.
pub fn triad() -> Command {
    let mut command = Command::new(TRIAD);
    command.env("TRIAD_LAB_DIR", labs()).env_remove("TRIAD_CONFIG").env("NO_COLOR", "1");
    command
}

/// Runs `command` and returns what it wrote to standard output; a failure carries everything it wrote.
pub fn succeed(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(Failure(format!("{command:?} failed, {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))))
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Looks at `probe` until it gives something, for at most `limit`; says how long it took.
pub fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, Failure>,
) -> Result<(T, Duration), Failure> {
    let began = Instant::now();
    loop {
        match probe() {
            Ok(value) => return Ok((value, began.elapsed())),
            Err(Failure(reason)) if began.elapsed() > limit => {
                return Err(Failure(format!("{what}: not within {} ms; at last: {reason}", limit.as_millis())));
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// A lab that is up.
pub struct LabUnderTest {
    name: String,
}

impl LabUnderTest {
    /// Brings up the example `design` under its own name.
    pub fn up(design: &str) -> Result<Self, Failure> {
        Self::up_as(design, design)
    }

    /// Brings up the example `design` as a lab called `name`.
    pub fn up_as(design: &str, name: &str) -> Result<Self, Failure> {
        Self::up_from(&examples().join(design), name)
    }

    /// Brings up the design in `folder` as a lab called `name`.
    pub fn up_from(folder: &Path, name: &str) -> Result<Self, Failure> {
        let lab = Self { name: name.to_owned() };
        succeed(triad().args(["lab", "up", "--yes", "--name", name]).arg(folder))?;
        Ok(lab)
    }

    /// Brings up what `change` makes of the example `design`'s file as a lab called `name`.
    pub fn up_changed(design: &str, name: &str, change: impl FnOnce(String) -> String) -> Result<Self, Failure> {
        let folder = labs().join(format!("design-of-{name}"));
        fs::create_dir_all(labs())?;
        succeed(Command::new("cp").arg("-r").arg(examples().join(design)).arg(&folder))?;
        let file = folder.join("triad.toml");
        // It is built as the example is, from elsewhere.
        let project = examples().join("..").canonicalize()?;
        let text = fs::read_to_string(&file)?
            .replace("cargo build", &format!("cargo build --manifest-path {}/Cargo.toml", project.display()))
            .replace("../../target", &format!("{}/target", project.display()));
        fs::write(&file, change(text))?;
        let lab = Self::up_from(&folder, name);
        fs::remove_dir_all(folder)?;
        lab
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its files are.
    pub fn directory(&self) -> PathBuf {
        labs().join(&self.name)
    }

    /// `triad lab exec NAME -- sh -c SCRIPT`.
    pub fn exec(&self, member: &str, script: &str) -> Result<Output, Failure> {
        Ok(triad().args(["lab", "exec", "--name", &self.name, member, "--", "sh", "-c", script]).output()?)
    }

    /// The same, for what must succeed: its standard output.
    pub fn run(&self, member: &str, script: &str) -> Result<String, Failure> {
        succeed(triad().args(["lab", "exec", "--name", &self.name, member, "--", "sh", "-c", script]))
    }

    /// What curl in the client writes for `arguments`; it fails on a status of 400 or more.
    pub fn curl(&self, arguments: &str) -> Result<String, Failure> {
        self.run("client", &format!("curl --silent --show-error --fail --max-time 5 {arguments}"))
    }

    /// `triad lab status --json`, whatever its exit code.
    pub fn status(&self) -> Result<serde_json::Value, Failure> {
        let output = triad().args(["lab", "status", "--json", "--name", &self.name]).output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// One server's report out of the status.
    pub fn report(&self, server: &str) -> Result<serde_json::Value, Failure> {
        let status = self.status()?;
        let servers = status["servers"].as_array().cloned().unwrap_or_default();
        let found = servers.into_iter().find(|status| status["name"] == server);
        found.map(|status| status["report"].clone()).ok_or_else(|| Failure(format!("no server {server}: {status}")))
    }

    /// Waits until `triad lab status` says that all is healthy.
    pub fn await_health(&self) -> Result<Duration, Failure> {
        let limit = Duration::from_secs(30);
        let probe = || succeed(triad().args(["lab", "status", "--name", &self.name]));
        eventually("all of the lab healthy", limit, probe).map(|(_, took)| took)
    }

    /// Process id, in the server's namespace, of a child of its agent.
    pub fn pid(&self, server: &str, process: &str) -> Result<u64, Failure> {
        let report = self.report(server)?;
        let processes = report["processes"].as_array().cloned().unwrap_or_default();
        let found = processes.iter().find(|candidate| candidate["name"] == process);
        found.and_then(|process| process["pid"].as_u64()).ok_or_else(|| Failure(format!("no {process}: {report}")))
    }

    /// Kills a child of a server's agent.
    pub fn kill_process(&self, server: &str, process: &str) -> Result<(), Failure> {
        let pid = self.pid(server, process)?;
        self.run(server, &format!("kill -9 {pid}")).map(drop)
    }

    /// Has `server`'s agent take the lab's file into use; what it says.
    pub fn apply(&self, server: &str) -> Result<String, Failure> {
        let run = self.directory().join("servers").join(server).join("run");
        succeed(triad().args(["apply", "--run"]).arg(run))
    }

    /// Takes `servers` off the power, or gives it back to them.
    pub fn power(&self, servers: &[&str], is_on: bool) -> Result<(), Failure> {
        self.handle(servers, async |lab, server| if is_on { lab.start(server).await } else { lab.kill(server).await })
    }

    /// Pulls or plugs `server`'s network cables.
    pub fn link(&self, server: &str, state: LinkState) -> Result<(), Failure> {
        self.handle(&[server], async |lab, server| lab.link(server, state).await)
    }

    fn handle<E: fmt::Display>(
        &self,
        servers: &[&str],
        act: impl AsyncFn(&Lab, &ServerName) -> Result<(), E>,
    ) -> Result<(), Failure> {
        let lab = Lab::under(labs(), LabName::new(self.name.clone())?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for server in servers {
            let server = ServerName::new(*server)?;
            runtime.block_on(act(&lab, &server)).map_err(|error| Failure(format!("{server}: {error:#}")))?;
        }
        Ok(())
    }

    /// Takes it down.
    pub fn down(&self) -> Result<(), Failure> {
        succeed(triad().args(["lab", "down", "--name", &self.name])).map(drop)
    }
}

impl Drop for LabUnderTest {
    fn drop(&mut self) {
        if let Err(failure) = self.down() {
            eprintln!("lab {} was not taken down: {failure}", self.name);
        }
    }
}
