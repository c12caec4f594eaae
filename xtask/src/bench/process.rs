//! Programs under measurement: pinned to a CPU, and gone with all their children when dropped.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cpu;

/// Time a program has to listen on its port.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// Time it has to end by itself.
const STOP_DEADLINE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// A running program.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`, both of its outputs to the file `output`; returns once it listens on 127.0.0.1:`port`.
    pub fn start(mut command: Command, output: &Path, port: u16) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(output)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let mut process = Self { child };
        process.wait_for(port, output.to_path_buf())?;
        Ok(process)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn wait_for(&mut self, port: u16, output: PathBuf) -> anyhow::Result<()> {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let said = || std::fs::read_to_string(&output).unwrap_or_default();
            if let Some(status) = self.child.try_wait()? {
                bail!("a program ended before it listened on port {port} ({status}):\n{}", said());
            }
            if started.elapsed() > START_DEADLINE {
                bail!("a program does not listen on port {port} after {START_DEADLINE:?}:\n{}", said());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A master ends its workers itself, and collects them; what then is left of the tree is killed.
        let tree = cpu::tree(self.id()).unwrap_or_else(|_| vec![self.id()]);
        let _ = kill(pid(self.id()), Signal::SIGTERM);
        let started = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if started.elapsed() > STOP_DEADLINE {
                for id in &tree {
                    let _ = kill(pid(*id), Signal::SIGKILL);
                }
            }
            thread::sleep(POLL);
        }
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed())
}

/// `command` on one CPU, ended by the kernel if we end first, however we do. Both helpers become the program they are
/// given, so the process id is the program's.
pub fn pin(cpu: u32, command: &Command) -> Command {
    let mut pinned = Command::new("setpriv");
    pinned.args(["--pdeathsig", "TERM", "taskset", "--cpu-list", &cpu.to_string()]);
    pinned.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => pinned.env(name, value),
            None => pinned.env_remove(name),
        };
    }
    pinned
}

/// What `command` wrote to its standard output. It fails if that takes longer than `deadline`, or the command fails.
pub fn output_within(mut command: Command, deadline: Duration) -> anyhow::Result<String> {
    let name = format!("{:?}", command.get_program());
    let run = || format!("cannot run {name}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(run)?;
    let id = child.id();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(deadline) else {
        let _ = kill(pid(id), Signal::SIGKILL);
        bail!("{name} took longer than {deadline:?}");
    };
    let output = output?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{name} failed ({}): {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

/// Lets this process and its children open as many files as the system permits; returns how many.
pub fn raise_open_files() -> anyhow::Result<u64> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(most)
}

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::output_within;

    fn shell(script: &str, deadline: Duration) -> Result<String, String> {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        output_within(shell, deadline).map_err(|error| error.to_string())
    }

    #[test]
    fn output_comes_in_time_or_not_at_all() {
        let long = Duration::from_secs(60);
        assert_eq!(shell("echo said; echo hidden >&2", long).as_deref(), Ok("said\n"));
        let error = shell("echo said; echo why >&2; exit 3", long).expect_err("a failure");
        assert!(error.contains("exit status: 3") && error.ends_with("said\nwhy\n"), "{error}");
        let error = shell("exec sleep 60", Duration::from_millis(50)).expect_err("too slow");
        assert!(error.contains("took longer than 50ms"), "{error}");
    }
}
