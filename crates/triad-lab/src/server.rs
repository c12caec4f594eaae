//! The init of a member: process 1 of a server's (or the client's) PID namespace. It plays the part systemd has on a
//! real server: keeps the agent running and collects orphans.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal as Number, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use triad_model::ServerName;

use crate::directory::{Directory, make_directory};
use crate::files::{HOST_BUNDLE, SHOWN};
use crate::holder::{READY, apply_settings, listen, run_ip};
use crate::lab::client;
use crate::network::{self, MEMBER_SETTINGS};
use crate::protocol::{InitReply, InitRequest, ServiceStatus, receive, reply};
use crate::record::Record;

/// Time a service has to end after SIGTERM.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_millis(1900);
/// Pause before a service that ended is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// A log that is longer when the service starts is put aside, in place of the one put aside before.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Runs the member `name` of the lab in `directory` until SIGTERM; everything in it ends with this process.
///
/// Expects to be process 1 of new namespaces, started by [`crate::holder_main`]. Must be called before any other
/// thread or runtime starts.
///
/// # Errors
/// Whatever keeps the member from getting ready.
pub fn server_main(directory: &Path, name: &ServerName) -> anyhow::Result<()> {
    let directory = Directory::new(directory.to_path_buf());
    sethostname(name.as_str()).context("cannot set the host name")?;
    apply_settings(MEMBER_SETTINGS)?;
    show_files(&directory, name)?;
    empty_run(&directory, name)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = listen(&directory.init_socket(name))?;
        let init = Init { directory, name: name.clone(), service: Service::default(), draining_until: None };
        init.run(listener).await
    })
}

/// Puts the lab's files over the host's in this mount namespace. What the host does not have is not missed.
fn show_files(directory: &Directory, name: &ServerName) -> anyhow::Result<()> {
    let etc = directory.etc(name);
    for file in SHOWN {
        show(&etc.join(file), &Path::new("/etc").join(file))?;
    }
    show(&directory.bundle(), Path::new(HOST_BUNDLE))?;
    // The host's /sys shows the host's interfaces. Some containers forbid another; then the host's stays.
    if let Err(error) = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::MS_RDONLY, None::<&str>) {
        tracing::debug!(%error, "/sys stays the host's");
    }
    Ok(())
}

fn show(file: &Path, target: &Path) -> anyhow::Result<()> {
    // A bind mount must not go over a symbolic link, and /etc/resolv.conf often is one.
    let Ok(target) = fs::canonicalize(target) else { return Ok(()) };
    mount(Some(file), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot show {} as {}", file.display(), target.display()))
}

/// As after a boot.
fn empty_run(directory: &Directory, name: &ServerName) -> anyhow::Result<()> {
    let run = directory.run(name);
    if run.exists() {
        fs::remove_dir_all(&run).with_context(|| format!("cannot empty {}", run.display()))?;
    }
    make_directory(&run)
}

struct Init {
    directory: Directory,
    name: ServerName,
    service: Service,
    draining_until: Option<Instant>,
}

#[derive(Default)]
struct Service {
    status: ServiceStatus,
    starts_at: Option<Instant>,
}

impl Init {
    async fn run(mut self, listener: UnixListener) -> anyhow::Result<()> {
        let mut child_ended = signal(SignalKind::child())?;
        let mut terminated = signal(SignalKind::terminate())?;
        say_ready()?;
        while !self.is_over() {
            let wake = self.draining_until.or(self.service.starts_at);
            tokio::select! {
                _ = child_ended.recv() => self.reap(),
                _ = terminated.recv() => self.drain(),
                accepted = listener.accept() => self.serve(accepted?.0).await,
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.start_again(),
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.draining_until.is_some_and(|until| self.service.status.pid.is_none() || Instant::now() >= until)
    }

    async fn serve(&mut self, mut stream: UnixStream) {
        let Ok(request) = receive(&mut stream).await else { return };
        let answer = match request {
            InitRequest::Status => InitReply::Status(self.service.status.clone()),
            InitRequest::Start => match self.configure_and_start() {
                Ok(()) => InitReply::Done,
                Err(error) => InitReply::Refused { why: format!("{error:#}") },
            },
        };
        reply(&mut stream, &answer).await;
    }

    fn configure_and_start(&mut self) -> anyhow::Result<()> {
        let record = Record::read(&self.directory)?;
        run_ip(&network::interfaces(&record.design, &self.name))?;
        if self.name != client() || record.entrance.is_some() {
            self.start()?;
        }
        Ok(())
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let log = self.open_log()?;
        let mut command = self.command();
        command.current_dir(self.directory.design()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot run the agent")?;
        self.service.status.pid = Some(child.id().cast_signed());
        Ok(())
    }

    /// The agent, as its systemd unit starts it; the client has the entrance instead.
    fn command(&self) -> Command {
        let mut command = Command::new(self.directory.executable());
        if self.name == client() {
            command.args([crate::ENTRANCE_COMMAND, "--dir"]).arg(self.directory.path()).stdin(Stdio::inherit());
            return command;
        }
        command.args(["agent", "--server", self.name.as_str(), "-c"]).arg(self.directory.design_file());
        command.arg("--state").arg(self.directory.state(&self.name));
        command.arg("--run").arg(self.directory.run(&self.name));
        command.stdin(Stdio::null());
        command
    }

    fn open_log(&self) -> anyhow::Result<File> {
        let path = self.directory.agent_log(&self.name);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
            fs::rename(&path, path.with_extension("log.1")).context("cannot put the log aside")?;
        }
        let log = OpenOptions::new().create(true).append(true).open(&path);
        log.with_context(|| format!("cannot write {}", path.display()))
    }

    fn start_again(&mut self) {
        if self.service.starts_at.take().is_none() || self.draining_until.is_some() {
            return;
        }
        self.service.status.restarts += 1;
        if let Err(error) = self.start() {
            self.service.status.last_exit = Some(format!("{error:#}"));
            self.service.starts_at = Some(Instant::now() + RESTART_PAUSE);
        }
    }

    /// Takes note of all children that have ended: the service, and orphans, which come to process 1.
    fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let (pid, exit) = match status {
                WaitStatus::Exited(pid, code) => (pid, ExitStatus::from_raw((code & 0xff) << 8)),
                WaitStatus::Signaled(pid, number, _) => (pid, ExitStatus::from_raw(number as i32)),
                _ => break,
            };
            if self.service.status.pid == Some(pid.as_raw()) {
                tracing::warn!(member = %self.name, %exit, "the service ended");
                self.service.status.pid = None;
                self.service.status.last_exit = Some(exit.to_string());
                self.service.starts_at = Some(Instant::now() + RESTART_PAUSE);
            }
        }
    }

    fn drain(&mut self) {
        self.draining_until.get_or_insert_with(|| Instant::now() + DRAIN_LIMIT);
        if let Some(pid) = self.service.status.pid {
            // It has ended if it takes no signal.
            let _ = kill(Pid::from_raw(pid), Number::SIGTERM);
        }
    }
}

fn say_ready() -> anyhow::Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout();
    stdout.write_all(READY.as_bytes()).and_then(|()| stdout.flush()).context("the holder does not listen")
}
