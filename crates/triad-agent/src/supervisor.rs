//! Child processes: started, watched, started again, ended, reaped.
//!
//! Each process has a task of its own. It starts the child, waits for its end, writes down why it ended, waits
//! ([`Backoff`]) and starts it again, until it is told to stop. A child never outlives the agent: the kernel kills it
//! when the agent's thread ends (see [`crate::child::confine`]), and the agent has only that one thread.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use triad_model::{ProcessReport, ProcessSpec, ProcessState};

use crate::backoff::Backoff;
use crate::binary::Binary;
use crate::logfile;
use crate::sockets::Named;
use crate::users::Ids;

/// Time between two looks whether a process that was killed is gone.
const REST_LOOK: Duration = Duration::from_millis(5);

/// First descriptor of inherited sockets, as sd_listen_fds(3) has it.
pub(crate) const LISTEN_FDS_START: i32 = 3;

/// Makes a child's standard input each time it starts; is given the process, to say when it is ready.
pub type Attach = Box<dyn FnMut(&Process) -> io::Result<Stdio>>;

/// How a process is run on this server.
#[derive(Clone)]
pub struct Launch {
    /// What the service wants.
    pub spec: ProcessSpec,
    /// Who it runs as.
    pub ids: Ids,
    /// Its log.
    pub log: PathBuf,
    /// Sockets it inherits.
    pub sockets: Arc<[Named]>,
    /// What runs it.
    pub binary: Binary,
}

/// What is wanted of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It runs; when it ends it is started again.
    Keep,
    /// It may run, and is not started again.
    Once,
    /// It does not run for now; if it does, it ends at once.
    Rest,
    /// The same, but it ends in its own time, though not beyond its stop time-out.
    RestGently,
    /// It ends in its own time, but not beyond its stop time-out.
    Stop,
    /// It ends now.
    Kill,
}

impl Wish {
    fn ends(self) -> bool {
        matches!(self, Self::Stop | Self::Kill)
    }

    fn rests(self) -> bool {
        matches!(self, Self::Rest | Self::RestGently)
    }
}

/// A supervised process.
#[derive(Clone)]
pub struct Process {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    wish: watch::Sender<Wish>,
    life: Mutex<Life>,
    /// Arguments beside those of its launch, for one that runs when told.
    args: Mutex<Vec<String>>,
}

/// What is known of a process now.
struct Life {
    state: ProcessState,
    pid: Option<u32>,
    since: Instant,
    starts: u64,
    last_exit: Option<String>,
    /// Since when it finishes what it has.
    draining: Option<Instant>,
    /// Upgrades that led to it.
    upgrades: u64,
}

impl Process {
    /// Starts `launch` and keeps it running. Must be called on the agent's runtime.
    pub fn start(launch: Launch) -> Self {
        Self::start_after(std::future::ready(()), launch)
    }

    /// The same, once `preparation` is done; it counts as starting until then.
    pub fn start_after(preparation: impl Future<Output = ()> + 'static, launch: Launch) -> Self {
        Self::supervise(preparation, launch, Wish::Keep, None)
    }

    /// Starts `launch` as `wish` says, with a standard input that `attach` makes.
    pub fn start_attached(launch: Launch, wish: Wish, attach: Attach) -> Self {
        Self::supervise(std::future::ready(()), launch, wish, Some(attach))
    }

    /// One that runs only when told, by [`Process::run`], and rests when it has ended.
    pub fn start_resting(launch: Launch) -> Self {
        Self::supervise(std::future::ready(()), launch, Wish::Rest, None)
    }

    /// Runs it once, with `args` beside those of its launch.
    pub fn run(&self, args: Vec<String>) {
        *self.shared.args.lock().unwrap_or_else(PoisonError::into_inner) = args;
        self.shared.wish.send_replace(Wish::Once);
    }

    /// Ends it at once, if it runs; it is not started again until told.
    pub fn rest(&self) {
        self.shared.wish.send_replace(Wish::Rest);
    }

    /// Ends it in its own time, if it runs; it is not started again until told.
    pub fn rest_gently(&self) {
        self.shared.wish.send_if_modified(|wish| {
            let runs = *wish == Wish::Once;
            if runs {
                *wish = Wish::RestGently;
            }
            runs
        });
    }

    /// Resolves when it does not run, and is not told to.
    pub async fn rested(&self) {
        let mut wishes = self.shared.wish.subscribe();
        // The sender is held here.
        let _ = wishes.wait_for(|wish| *wish == Wish::Rest).await;
        while self.report().pid.is_some() {
            tokio::time::sleep(REST_LOOK).await;
        }
    }

    /// Whether it is told to run, or still does.
    pub fn is_up(&self) -> bool {
        *self.shared.wish.borrow() != Wish::Rest || self.report().pid.is_some()
    }

    fn supervise(
        preparation: impl Future<Output = ()> + 'static,
        launch: Launch,
        wish: Wish,
        attach: Option<Attach>,
    ) -> Self {
        let (wish, mut wishes) = watch::channel(wish);
        let shared = Arc::new(Shared {
            name: launch.spec.name.clone(),
            wish,
            life: Mutex::new(Life::new()),
            args: Mutex::default(),
        });
        let process = Self { shared: shared.clone() };
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = preparation => {}
                _ = wishes.wait_for(|wish| wish.ends()) => {}
            }
            keep_running(launch, attach, shared, wishes).await;
        });
        process
    }

    /// Its name, unique on a server.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Says that the child answers: from now on it counts as running.
    pub fn mark_ready(&self) {
        let mut life = self.shared.life();
        if life.state == ProcessState::Starting {
            life.state = ProcessState::Running;
        }
    }

    /// What it is doing.
    pub fn report(&self) -> ProcessReport {
        let life = self.shared.life();
        ProcessReport {
            name: self.shared.name.clone(),
            state: life.state,
            pid: life.pid,
            restarts: life.starts.saturating_sub(1),
            uptime_s: if life.pid.is_some() { life.since.elapsed().as_secs() } else { 0 },
            resident_bytes: life.pid.and_then(resident_bytes).unwrap_or(0),
            last_exit: life.last_exit.clone(),
            draining_s: life.draining.map(|since| since.elapsed().as_secs()),
            upgrades: life.upgrades,
        }
    }

    /// Keeps it running from now on, in place of another, after so many upgrades. False if it is gone already.
    pub fn take_over(&self, upgrades: u64) -> bool {
        self.shared.life().upgrades = upgrades;
        self.shared.wish.send(Wish::Keep).is_ok()
    }

    /// It finishes what it has, and is not started again.
    pub fn retire(&self) {
        self.shared.life().draining = Some(Instant::now());
        self.shared.wish.send_replace(Wish::Once);
    }

    /// Resolves when it is reaped and not started again.
    pub async fn ended(&self) {
        self.shared.wish.closed().await;
    }

    /// How it ended last.
    pub fn last_exit(&self) -> Option<String> {
        self.shared.life().last_exit.clone()
    }

    /// Ends it: SIGTERM, its stop time-out, SIGKILL; returns when it is reaped.
    pub async fn stop(&self) {
        self.shared.wish.send_replace(Wish::Stop);
        self.ended().await;
    }

    /// Ends it at once; returns when it is reaped.
    pub async fn kill(&self) {
        self.shared.wish.send_replace(Wish::Kill);
        self.ended().await;
    }
}

impl Life {
    fn new() -> Self {
        Self {
            state: ProcessState::Starting,
            pid: None,
            since: Instant::now(),
            starts: 0,
            last_exit: None,
            draining: None,
            upgrades: 0,
        }
    }
}

impl Shared {
    fn life(&self) -> std::sync::MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, state: ProcessState, pid: Option<u32>) {
        let mut life = self.life();
        life.state = state;
        life.pid = pid;
        life.since = Instant::now();
    }

    fn ended(&self, how: String) {
        let mut life = self.life();
        life.state = ProcessState::Waiting;
        life.pid = None;
        life.last_exit = Some(how);
    }
}

/// The life of one process. Holds the receiving end of `wish`, so that its end is seen by who waits.
async fn keep_running(
    launch: Launch,
    mut attach: Option<Attach>,
    shared: Arc<Shared>,
    mut wishes: watch::Receiver<Wish>,
) {
    let mut backoff = Backoff::default();
    let rests = *wishes.borrow() == Wish::Rest;
    loop {
        let wish = wishes.wait_for(|wish| *wish != Wish::Rest).await.map(|wish| *wish);
        if wish.is_err() || wish.is_ok_and(Wish::ends) {
            break;
        }
        let began = Instant::now();
        let how = match spawn(&launch, attach.as_mut(), &Process { shared: shared.clone() }) {
            Ok(child) => live(child, &launch.spec, &shared, &mut wishes).await,
            Err(error) => format!("could not be started: {error:#}"),
        };
        if rests && !wishes.borrow().ends() {
            tracing::warn!(process = shared.name, "{how}");
            shared.ended(how);
            shared.wish.send_if_modified(|wish| std::mem::replace(wish, Wish::Rest) != Wish::Rest);
            continue;
        }
        let delay = backoff.after(began.elapsed());
        if *wishes.borrow() != Wish::Keep {
            tracing::info!(process = shared.name, "{how}");
            shared.ended(how);
            break;
        }
        tracing::warn!(process = shared.name, delay_ms = delay.as_millis() as u64, "{how}; starting it again");
        shared.ended(how);
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = wishes.wait_for(|wish| *wish != Wish::Keep) => break,
        }
    }
    shared.change(ProcessState::Stopped, None);
}

/// Waits for the child's end, or ends it when told to; says how it ended.
async fn live(mut child: Child, spec: &ProcessSpec, shared: &Shared, wishes: &mut watch::Receiver<Wish>) -> String {
    let pid = child.id();
    shared.change(ProcessState::Starting, pid);
    shared.life().starts += 1;
    tracing::info!(process = shared.name, pid, "started");
    let kill = tokio::select! {
        status = child.wait() => return describe(status),
        wish = wishes.wait_for(|wish| wish.ends() || wish.rests()) => {
            wish.is_ok_and(|wish| matches!(*wish, Wish::Kill | Wish::Rest))
        }
    };
    if kill {
        signal(pid, Signal::SIGKILL);
        return describe(child.wait().await);
    }
    signal(pid, Signal::SIGTERM);
    let grace = Duration::from_millis(spec.stop_timeout_ms);
    match tokio::time::timeout(grace, child.wait()).await {
        Ok(status) => describe(status),
        Err(_) => {
            signal(pid, Signal::SIGKILL);
            format!("did not end within {} ms; {}", spec.stop_timeout_ms, describe(child.wait().await))
        }
    }
}

fn spawn(launch: &Launch, attach: Option<&mut Attach>, process: &Process) -> anyhow::Result<Child> {
    let log = logfile::open(&launch.log)?;
    let mut command = std::process::Command::new(launch.binary.program());
    command.arg0("triad").arg("run-child").arg("--parent").arg(std::process::id().to_string());
    command.arg("--").arg(&launch.spec.program).args(&launch.spec.args);
    command.args(process.shared.args.lock().unwrap_or_else(PoisonError::into_inner).iter());
    command.env_clear().envs(environment(launch));
    command.current_dir(&launch.spec.directory);
    command.stdin(match attach {
        Some(attach) => attach(process)?,
        None => Stdio::null(),
    });
    command.stdout(log.try_clone()?).stderr(log);
    let current = Ids { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() };
    if launch.ids != current {
        command.uid(launch.ids.uid).gid(launch.ids.gid);
    }
    command.fd_mappings(mappings(&launch.sockets)?).map_err(|_| anyhow::anyhow!("two sockets on one descriptor"))?;
    // A group of its own, so that a signal reaches what a shell started as well.
    command.process_group(0);
    Ok(Command::from(command).kill_on_drop(true).spawn()?)
}

fn environment(launch: &Launch) -> Vec<(String, String)> {
    let mut environment: Vec<(String, String)> = ["PATH", "LANG", "TZ"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
        .collect();
    environment.push(("HOME".to_owned(), launch.spec.directory.display().to_string()));
    environment.extend(launch.spec.environment.iter().cloned());
    if !launch.sockets.is_empty() {
        let names: Vec<&str> = launch.sockets.iter().map(|named| named.name.as_str()).collect();
        environment.push(("LISTEN_FDS".to_owned(), names.len().to_string()));
        environment.push(("LISTEN_FDNAMES".to_owned(), names.join(":")));
    }
    environment
}

fn mappings(sockets: &[Named]) -> io::Result<Vec<FdMapping>> {
    let numbered = sockets.iter().zip(LISTEN_FDS_START..);
    numbered
        .map(|(named, child_fd)| Ok(FdMapping { parent_fd: OwnedFd::try_clone(&named.socket)?, child_fd }))
        .collect()
}

fn signal(pid: Option<u32>, signal: Signal) {
    if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended by itself meanwhile; it is reaped either way.
        let _ = killpg(Pid::from_raw(pid), signal);
    }
}

fn describe(status: io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, Some(number)) => match Signal::try_from(number) {
                Ok(signal) => format!("was ended by {signal}"),
                Err(_) => format!("was ended by signal {number}"),
            },
            (None, None) => "ended".to_owned(),
        },
        Err(error) => format!("cannot be waited for: {error}"),
    }
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * procfs::page_size())
}
