//! Programs under measurement: pinned to a CPU, and gone with all their children when dropped.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
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

/// `command` on one CPU. `taskset` becomes the program, so the process id is the program's.
pub fn pin(cpu: u32, command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["--cpu-list", &cpu.to_string()]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => pinned.env(name, value),
            None => pinned.env_remove(name),
        };
    }
    pinned
}

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}
