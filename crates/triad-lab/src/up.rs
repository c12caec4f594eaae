//! Bringing a lab up.

use std::cell::RefCell;
use std::fs::{self, OpenOptions, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::stat::{Mode, umask};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use triad_model::Design;

use crate::copy::copy_design;
use crate::directory::make_directory;
use crate::down::kill;
use crate::files;
use crate::holder::{KEEP, READY};
use crate::lab::{Lab, LabName};
use crate::network::conflict;
use crate::preflight::{self, UNSHARE_FLAGS, is_rootless, search_path, user_flags};
use crate::record::Record;
use crate::status::ServerStatus;

/// Pause between two rounds of questions to the agents.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// An agent that was started again this often without ever answering will not answer.
const RESTARTS_MAX: u64 = 4;
/// Time a lab whose `up` failed has to be gone.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);
/// Last lines of a log that an error repeats, and the bytes they are looked for in.
const LOG_LINES_MAX: usize = 3;
const LOG_TAIL_BYTES: usize = 4096;

/// What [`Lab::up`] brings up.
pub struct UpOptions<'a> {
    /// The design in `file`.
    pub design: &'a Design,
    /// The design's file; relative paths in it are relative to its folder.
    pub file: &'a Path,
    /// The binary that has the hidden commands and `agent`; the lab runs a copy of it.
    pub executable: &'a Path,
    /// Megabytes of a disk in memory that each server's state has for itself; `None`: it is on the host's.
    pub disk_mb: Option<u32>,
    /// Puts what agents need before they start into `SERVERS/NAME/state` (certificates, passwords) and returns the
    /// authority's certificate, PEM. It is given the path of `SERVERS`.
    pub provision: &'a dyn Fn(&Design, &Path) -> anyhow::Result<String>,
    /// Is told how it goes.
    pub progress: &'a dyn Fn(Progress<'_>),
    /// Time for everything.
    pub limit: Duration,
}

/// How an `up` goes.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A step began.
    Begun(Step),
    /// A step is done.
    Done(&'a StepTime),
    /// What the present step waits for, when that changes: one clause for each server.
    Waiting(&'a [String]),
    /// Something the user should know.
    Note(&'a str),
}

/// A step of an `up`, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The design's files and the binary.
    Copy,
    /// Certificates, passwords, files under `/etc`.
    Provision,
    /// Namespaces, networks, services started.
    Namespaces,
    /// Every agent answers.
    Agents,
    /// Every agent says that all is well.
    Health,
}

impl Step {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Copy => "copy the design",
            Step::Provision => "make certificates and settings",
            Step::Namespaces => "make namespaces and networks",
            Step::Agents => "start the agents",
            Step::Health => "wait until all is healthy",
        }
    }
}

/// How long a step took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepTime {
    /// Which.
    pub step: Step,
    /// Milliseconds.
    pub took_ms: u64,
}

/// A lab that is up.
#[derive(Clone, Debug, Serialize)]
pub struct UpSummary {
    /// Its name.
    pub name: LabName,
    /// Where its files are.
    pub directory: PathBuf,
    /// It was up before; nothing was done.
    pub already_up: bool,
    /// Where the host reaches the site, over HTTP and HTTPS.
    pub entrance: Option<SocketAddr>,
    /// What was done.
    pub steps: Vec<StepTime>,
}

impl Lab {
    /// Brings the lab up and returns when every server is healthy. A lab that is up with the same file is left as it
    /// is. Remains of an earlier one are removed first.
    ///
    /// SIGINT, SIGTERM and SIGHUP remove everything again. tokio never gives a signal back: a process that goes on
    /// after this has to listen to them itself. The process's umask becomes 022.
    ///
    /// # Errors
    /// What the machine or the design lacks; or which servers are not healthy in time, with their logs: then
    /// everything is stopped, and the logs stay until the next `up` or `down`.
    pub async fn up(&self, options: UpOptions<'_>) -> anyhow::Result<UpSummary> {
        preflight::check()?;
        if let Some(conflict) = conflict(options.design) {
            bail!("{conflict}");
        }
        self.directory.check_length(options.design)?;
        // Service users have to read what is made here, and agents get systemd's mask. What is secret says so itself.
        umask(Mode::from_bits_truncate(0o022));
        let interrupted = interruption()?;
        let _lock = self.directory.make_and_lock()?;
        if let Some(summary) = self.found_up(options.file).await? {
            return Ok(summary);
        }
        kill(&self.directory).await?;
        self.directory.empty()?;
        let lease = RefCell::new(None);
        let outcome = tokio::select! {
            outcome = self.bring_up(&options, &lease) => outcome,
            () = interrupted => Err(anyhow::Error::new(Interrupted)),
        };
        if let Err(error) = outcome {
            self.release(lease.take()).await?;
            return Err(self.after_failure(error)?);
        }
        outcome
    }

    /// The summary of a lab that is up already.
    async fn found_up(&self, file: &Path) -> anyhow::Result<Option<UpSummary>> {
        if !self.holder_status().await.is_ok_and(|status| status.kept) {
            return Ok(None);
        }
        let wanted = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        if fs::read(self.directory.design_file()).ok() != Some(wanted) {
            bail!("lab {} is up with another design; take it down first: triad lab down {}", self.name, self.name);
        }
        let record = Record::read(&self.directory)?;
        Ok(Some(self.summary(&record, Vec::new(), true)))
    }

    fn summary(&self, record: &Record, steps: Vec<StepTime>, already_up: bool) -> UpSummary {
        let directory = self.path().to_path_buf();
        UpSummary { name: self.name.clone(), directory, already_up, entrance: record.entrance, steps }
    }

    async fn bring_up(
        &self,
        options: &UpOptions<'_>,
        lease: &RefCell<Option<UnixStream>>,
    ) -> anyhow::Result<UpSummary> {
        let deadline = Instant::now() + options.limit;
        let mut steps = Steps { progress: options.progress, times: Vec::new() };
        if is_rootless() {
            (options.progress)(Progress::Note("in a user namespace all service users are the same one"));
        }
        steps.take(Step::Copy, async { self.copy(options) }).await?;
        steps.take(Step::Provision, async { self.provision(options) }).await?;
        let (record, entrance) = self.open_entrance(options)?;
        let mut socket = steps.take(Step::Namespaces, self.start_holder(entrance, deadline, lease)).await?;
        let answers = |server: &ServerStatus| server.report.is_some();
        steps.take(Step::Agents, self.wait_for(&answers, options, deadline)).await?;
        steps.take(Step::Health, self.wait_for(&ServerStatus::is_healthy, options, deadline)).await?;
        keep(&mut socket, deadline).await?;
        Ok(self.summary(&record, steps.times, false))
    }

    fn copy(&self, options: &UpOptions<'_>) -> anyhow::Result<()> {
        copy_design(options.file, options.design, &self.directory)?;
        let executable = self.directory.executable();
        fs::copy(options.executable, &executable)
            .and_then(|_| fs::set_permissions(&executable, Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot copy {} to {}", options.executable.display(), executable.display()))
    }

    fn provision(&self, options: &UpOptions<'_>) -> anyhow::Result<()> {
        for server in &options.design.servers {
            make_directory(&self.directory.state(&server.name))?;
            make_directory(&self.directory.run(&server.name))?;
        }
        let authority = (options.provision)(options.design, &self.directory.servers())?;
        files::write(&self.directory, options.design, &authority)
    }

    /// Listens for the host's own connections, before the lab has its network namespace.
    fn open_entrance(&self, options: &UpOptions<'_>) -> anyhow::Result<(Record, Option<TcpListener>)> {
        let UpOptions { design, disk_mb, .. } = *options;
        let reachable = !files::public_addresses(design, &design.fronts()).is_empty();
        let listener = reachable.then(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).transpose();
        let listener = listener.context("cannot listen on 127.0.0.1")?;
        let entrance = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let record = Record { design: design.clone(), entrance, rootless: is_rootless(), disk_mb };
        record.write(&self.directory)?;
        Ok((record, listener))
    }

    /// Starts the holder and waits until all members run. `lease` gets an end of the socket that keeps it alive, at
    /// once, so that whatever happens next the caller can wait for its end.
    async fn start_holder(
        &self,
        entrance: Option<TcpListener>,
        deadline: Instant,
        lease: &RefCell<Option<UnixStream>>,
    ) -> anyhow::Result<UnixStream> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().context("cannot make a pair of sockets")?;
        ours.set_nonblocking(true)?;
        lease.replace(Some(UnixStream::from_std(ours.try_clone()?)?));
        let mut ours = UnixStream::from_std(ours)?;
        self.spawn_holder(entrance, theirs.into()).await?;
        let word = timeout_at(deadline, hear(&mut ours)).await;
        if matches!(&word, Ok(Ok(word)) if word == READY) {
            return Ok(ours);
        }
        let log = self.directory.log();
        bail!("the namespaces did not come up: {}\n  its log is {}", last_lines(&log), log.display())
    }

    /// Starts the holder in a session of its own, so that neither this process nor its terminal has a hold on it.
    async fn spawn_holder(&self, entrance: Option<TcpListener>, lease: OwnedFd) -> anyhow::Result<()> {
        let log =
            OpenOptions::new().create(true).append(true).open(self.directory.log()).context("cannot write the log")?;
        let output = tokio::process::Command::new("setsid")
            .args(["--fork", "unshare"])
            .args(user_flags(is_rootless()))
            .args(UNSHARE_FLAGS)
            .arg("--")
            .arg(self.directory.executable())
            .args([crate::HOLDER_COMMAND, "--dir"])
            .arg(self.path())
            .env("PATH", search_path())
            .current_dir("/")
            .stdin(entrance.map_or_else(Stdio::null, |listener| OwnedFd::from(listener).into()))
            .stdout(Stdio::from(lease))
            .stderr(log)
            .status()
            .await
            .context("cannot run setsid")?;
        if !output.success() {
            bail!("cannot start the lab's first process: setsid ended with {output}");
        }
        Ok(())
    }

    /// Waits until `good` holds for every server.
    async fn wait_for(
        &self,
        good: &dyn Fn(&ServerStatus) -> bool,
        options: &UpOptions<'_>,
        deadline: Instant,
    ) -> anyhow::Result<()> {
        let mut told = Vec::new();
        loop {
            let status = self.status().await?.context("the lab's directory was removed")?;
            let waiting: Vec<&ServerStatus> = status.servers.iter().filter(|server| !good(server)).collect();
            if waiting.is_empty() {
                return Ok(());
            }
            let hopeless = |server: &&ServerStatus| server.report.is_none() && server.agent.restarts >= RESTARTS_MAX;
            if !status.running || Instant::now() >= deadline || waiting.iter().any(hopeless) {
                bail!("{}", explain(&self.name, &waiting));
            }
            let clauses: Vec<String> = waiting.iter().map(|server| clause(server)).collect();
            if clauses != told {
                (options.progress)(Progress::Waiting(&clauses));
                told = clauses;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Lets go of a lab that did not come up and waits until nothing of it runs. The kernel closes the holder's end
    /// of the socket when the last of its processes has ended.
    async fn release(&self, lease: Option<UnixStream>) -> anyhow::Result<()> {
        let Some(mut lease) = lease else { return Ok(()) };
        let _ = lease.shutdown().await;
        let gone = async {
            loop {
                kill(&self.directory).await?;
                if timeout(POLL_INTERVAL, drained(&mut lease)).await.is_ok() {
                    return anyhow::Ok(());
                }
            }
        };
        timeout(RELEASE_LIMIT, gone).await.context("what was started of the lab does not end")?
    }

    /// What is said, and kept, of a lab that did not come up.
    fn after_failure(&self, error: anyhow::Error) -> anyhow::Result<anyhow::Error> {
        if error.is::<Interrupted>() || !self.directory.log().exists() {
            self.remove()?;
            return Ok(error);
        }
        let kept =
            format!("everything was stopped; its logs stay in {} until the next up or down", self.path().display());
        Ok(anyhow::anyhow!("{error:#}\n  {kept}"))
    }
}

/// A signal told us to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; everything was removed")]
struct Interrupted;

/// Ends when a signal says so. Signals are caught from now on, not from the first poll.
fn interruption() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

struct Steps<'a> {
    progress: &'a dyn Fn(Progress<'_>),
    times: Vec<StepTime>,
}

impl Steps<'_> {
    async fn take<T>(&mut self, step: Step, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        (self.progress)(Progress::Begun(step));
        let begun = Instant::now();
        let result = work.await?;
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let time = StepTime { step, took_ms };
        (self.progress)(Progress::Done(&time));
        self.times.push(time);
        Ok(result)
    }
}

/// Tells the holder that the lab is to stay, and makes sure that it heard.
async fn keep(socket: &mut UnixStream, deadline: Instant) -> anyhow::Result<()> {
    let agreed = async {
        socket.write_all(KEEP.as_bytes()).await?;
        hear(socket).await
    };
    match timeout_at(deadline, agreed).await {
        Ok(Ok(word)) if word == KEEP => Ok(()),
        _ => bail!("the lab's first process ended at the last moment"),
    }
}

async fn hear(socket: &mut UnixStream) -> std::io::Result<String> {
    let mut word = String::new();
    BufReader::new(socket.take(READY.len().max(KEEP.len()) as u64)).read_line(&mut word).await?;
    Ok(word)
}

/// Reads, and forgets, until the other side's last holder is gone.
async fn drained(lease: &mut UnixStream) {
    let mut rest = [0; 64];
    while lease.read(&mut rest).await.is_ok_and(|length| length > 0) {}
}

fn clause(server: &ServerStatus) -> String {
    format!("{}: {}", server.name, server.problem.as_deref().unwrap_or("its agent has not answered yet"))
}

fn explain(lab: &LabName, waiting: &[&ServerStatus]) -> String {
    waiting.iter().fold(format!("lab {lab} did not become healthy"), |text, server| {
        let (clause, log, last) = (clause(server), server.log.display(), last_lines(&server.log));
        text + &format!("\n  {clause}\n    its log, {log}, ends: {last}")
    })
}

/// The end of a log, on one line.
fn last_lines(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join(" | ")
}
