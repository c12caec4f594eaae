//! The holder: process 1 of a lab.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal as Number, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};
use triad_model::ServerName;

use crate::directory::{Directory, members};
use crate::disk;
use crate::identity::Identity;
use crate::lab::client;
use crate::network::{self, Addresses};
use crate::preflight::{UNSHARE_FLAGS, said};
use crate::protocol::{
    HolderReply, HolderRequest, HolderStatus, InitReply, InitRequest, LinkState, MemberStatus, ask, receive, reply,
};
use crate::record::Record;
use crate::server::DRAIN_LIMIT;

/// An init gets ready within this.
const READY_TIMEOUT: Duration = Duration::from_secs(5);
/// A killed init is gone within this.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);
/// What the drained inits themselves need to end, beside their services.
const DRAIN_MARGIN: Duration = Duration::from_millis(300);
/// How often the holder looks whether the lab's directory is still there.
const DIRECTORY_INTERVAL: Duration = Duration::from_secs(1);

/// What the holder says to `up` when all members run; what `up` says, and hears again, when the lab is to stay.
pub(crate) const READY: &str = "ready\n";
pub(crate) const KEEP: &str = "keep\n";

/// Runs the lab in `directory` until it is told to end; everything in it ends with this process.
///
/// Expects to be process 1 of new namespaces, with the entrance's listening socket (or nothing) as standard input and
/// a Unix socket to [`crate::Lab::up`] as standard output. Must be called before any other thread or runtime starts.
///
/// # Errors
/// Whatever keeps the lab from coming up, or that `up` ended before it was done.
pub fn holder_main(directory: &Path) -> anyhow::Result<()> {
    let directory = Directory::new(directory.to_path_buf());
    let record = Record::read(&directory)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let lease = inherited_lease()?;
        if let Some(megabytes) = record.disk_mb {
            disk::give_each(&directory, &record.design, megabytes)?;
        }
        let mut holder = Holder::new(directory, record)?;
        holder.start(&members(&holder.record.design)).await?;
        holder.run(lease).await
    })
}

/// The socket to `up`: as long as it is open and `up` has not said [`KEEP`], the lab is not there to stay.
fn inherited_lease() -> anyhow::Result<UnixStream> {
    let socket = std::io::stdout().as_fd().try_clone_to_owned().context("no standard output")?;
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket).context("standard output is not the socket that `lab up` makes")
}

struct Holder {
    directory: Directory,
    record: Record,
    members: Vec<Member>,
    listener: UnixListener,
    child_ended: Signal,
    kept: bool,
}

struct Member {
    name: ServerName,
    addresses: Addresses,
    link: LinkState,
    running: Option<Running>,
}

#[derive(Clone, Copy)]
struct Running {
    /// The `unshare` that waits for the init; it ends when the init has.
    unshare: Pid,
    init: Identity,
}

enum Next {
    GoOn,
    End,
}

impl Holder {
    fn new(directory: Directory, record: Record) -> anyhow::Result<Self> {
        let child_ended = signal(SignalKind::child())?;
        let listener = listen(&directory.holder_socket())?;
        apply_settings(network::HOLDER_SETTINGS)?;
        run_ip(&network::bridges())?;
        let member = |name| {
            let addresses = Addresses::of(&record.design, &name);
            Member { name, addresses, link: LinkState::Up, running: None }
        };
        let members = members(&record.design).into_iter().map(member).collect();
        Ok(Self { directory, record, members, listener, child_ended, kept: false })
    }

    async fn run(&mut self, mut lease: UnixStream) -> anyhow::Result<()> {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut look = interval(DIRECTORY_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        lease.write_all(READY.as_bytes()).await.context("`lab up` ended")?;
        loop {
            tokio::select! {
                _ = self.child_ended.recv() => self.reap(),
                _ = terminated.recv() => break,
                word = hear_keep(&mut lease), if !self.kept => {
                    word?;
                    self.kept = true;
                    lease.write_all(KEEP.as_bytes()).await.context("`lab up` ended")?;
                }
                accepted = self.listener.accept() => if let Next::End = self.serve(accepted?.0).await { break },
                _ = look.tick() => if !self.directory.record().exists() {
                    bail!("the lab's directory was removed");
                },
            }
        }
        self.drain().await;
        Ok(())
    }

    async fn serve(&mut self, mut stream: UnixStream) -> Next {
        let Ok(request) = receive::<HolderRequest>(&mut stream).await else { return Next::GoOn };
        let next = if matches!(request, HolderRequest::Down) { Next::End } else { Next::GoOn };
        let answer =
            self.answer(request).await.unwrap_or_else(|error| HolderReply::Refused { why: format!("{error:#}") });
        reply(&mut stream, &answer).await;
        next
    }

    async fn answer(&mut self, request: HolderRequest) -> anyhow::Result<HolderReply> {
        self.reap();
        match request {
            HolderRequest::Status => return Ok(HolderReply::Status(self.status())),
            HolderRequest::Kill { member } => self.kill(&member).await?,
            HolderRequest::Start { member } => self.start(&[member]).await?,
            HolderRequest::Link { member, state } => self.link(&member, state)?,
            HolderRequest::Down => {}
        }
        Ok(HolderReply::Done)
    }

    fn status(&self) -> HolderStatus {
        let status = |member: &Member| MemberStatus {
            name: member.name.clone(),
            running: member.running.is_some(),
            link: member.link,
        };
        HolderStatus { kept: self.kept, members: self.members.iter().map(status).collect() }
    }

    /// Starts members side by side: their inits, then their cables, then their services.
    async fn start(&mut self, names: &[ServerName]) -> anyhow::Result<()> {
        let mut begun = BTreeMap::new();
        for name in names {
            let index = self.index(name)?;
            if self.members[index].running.is_some() {
                bail!("{name} runs already");
            }
            begun.insert(index, self.spawn_init(name)?);
        }
        let mut cables = String::new();
        for (index, init) in begun {
            let running = self.await_init(index, init).await?;
            let member = &mut self.members[index];
            cables += &network::cables(index, &member.addresses, running.init.pid, member.link);
            member.running = Some(running);
        }
        run_ip(&cables)?;
        for name in names {
            match ask(&self.directory.init_socket(name), &InitRequest::Start).await? {
                InitReply::Done => {}
                InitReply::Refused { why } => bail!("{name}: {why}"),
                InitReply::Status(_) => bail!("{name}: its init answered with its status"),
            }
        }
        Ok(())
    }

    fn spawn_init(&self, name: &ServerName) -> anyhow::Result<std::process::Child> {
        remove_stale(&self.directory.init_socket(name))?;
        // Only the client's init passes the entrance's socket on.
        let stdin = if *name == client() { Stdio::inherit() } else { Stdio::null() };
        Command::new("unshare")
            .args(UNSHARE_FLAGS)
            .arg("--")
            .arg(self.directory.executable())
            .args([crate::SERVER_COMMAND, "--name", name.as_str(), "--dir"])
            .arg(self.directory.path())
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run unshare")
    }

    async fn await_init(&self, index: usize, mut child: std::process::Child) -> anyhow::Result<Running> {
        let name = &self.members[index].name;
        let init = match hear_ready(&mut child).await {
            Ok(()) => Identity::listening_on(&self.directory.init_socket(name)).await,
            Err(_) => None,
        };
        let Some(init) = init else {
            // With it goes an init that hangs. If it has ended already, that is as good.
            let _ = child.kill();
            bail!("{name} did not start; see {}", self.directory.log().display());
        };
        Ok(Running { unshare: Pid::from_raw(child.id().cast_signed()), init })
    }

    async fn kill(&mut self, name: &ServerName) -> anyhow::Result<()> {
        let index = self.index(name)?;
        let Some(running) = self.members[index].running else { bail!("{name} does not run") };
        running.init.kill();
        let gone = async {
            while self.members[index].running.is_some() {
                self.child_ended.recv().await;
                self.reap();
            }
        };
        timeout(KILL_TIMEOUT, gone).await.with_context(|| format!("{name} was killed and does not end"))
    }

    fn link(&mut self, name: &ServerName, state: LinkState) -> anyhow::Result<()> {
        let index = self.index(name)?;
        let member = &mut self.members[index];
        if member.running.is_some() {
            run_ip(&network::link(index, &member.addresses, state))?;
        }
        member.link = state;
        Ok(())
    }

    fn index(&self, name: &ServerName) -> anyhow::Result<usize> {
        let position = self.members.iter().position(|member| member.name == *name);
        position.with_context(|| {
            let names: Vec<_> = self.members.iter().map(|member| member.name.as_str()).collect();
            format!("there is no {name}, only {}", names.join(", "))
        })
    }

    /// Takes note of all children that have ended.
    fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let (WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) = status else { break };
            let ended = |member: &Member| member.running.is_some_and(|running| running.unshare == pid);
            let Some(index) = self.members.iter().position(ended) else { continue };
            let member = &mut self.members[index];
            member.running = None;
            tracing::info!(member = %member.name, ?status, "a member of the lab ended");
            // Its namespace may not be gone yet; then its cables are, as soon as one end is.
            if let Err(error) = run_ip(&network::no_cables(index, &member.addresses)) {
                tracing::debug!(%error, "its cables were gone before");
            }
        }
    }

    /// Lets all services end in order; whatever is left then ends with this process.
    async fn drain(&mut self) {
        self.reap();
        for running in self.members.iter().filter_map(|member| member.running) {
            // One that has just ended needs no signal.
            let _ = kill(Pid::from_raw(running.init.pid), Number::SIGTERM);
        }
        let ended = async {
            while self.members.iter().any(|member| member.running.is_some()) {
                self.child_ended.recv().await;
                self.reap();
            }
        };
        if timeout(DRAIN_LIMIT + DRAIN_MARGIN, ended).await.is_err() {
            tracing::warn!("not everything ended in time; it is killed");
        }
    }
}

/// Hears [`KEEP`]; anything else, the end of `up` above all, is an error. Nothing is lost if it is dropped while it
/// waits.
async fn hear_keep(lease: &mut UnixStream) -> anyhow::Result<()> {
    let mut word = [0; KEEP.len()];
    loop {
        lease.readable().await?;
        match lease.try_read(&mut word) {
            Ok(length) if &word[..length] == KEEP.as_bytes() => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => bail!("`lab up` ended before the lab was up"),
        }
    }
}

/// Waits until an init that was just started says [`READY`].
async fn hear_ready(child: &mut std::process::Child) -> anyhow::Result<()> {
    let stdout = child.stdout.take().context("a child without its standard output")?;
    let mut said = BufReader::new(pipe::Receiver::from_owned_fd(stdout.into())?).take(READY.len() as u64);
    let mut word = String::new();
    timeout(READY_TIMEOUT, said.read_line(&mut word)).await??;
    if word == READY { Ok(()) } else { bail!("it ended before it was ready") }
}

/// Listens on `socket`, in place of whoever did before.
pub(crate) fn listen(socket: &Path) -> anyhow::Result<UnixListener> {
    remove_stale(socket)?;
    UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))
}

fn remove_stale(socket: &Path) -> anyhow::Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", socket.display()))
        }
        _ => Ok(()),
    }
}

/// Writes kernel settings of this network namespace; those of a kernel without IPv6 are skipped.
pub(crate) fn apply_settings(settings: &[(&str, &str)]) -> anyhow::Result<()> {
    for (name, value) in settings {
        let path = Path::new("/proc/sys/net").join(name);
        match fs::write(&path, value) {
            Err(error) if error.kind() == ErrorKind::NotFound && name.starts_with("ipv6/") => {}
            outcome => outcome.with_context(|| format!("cannot set {}", path.display()))?,
        }
    }
    Ok(())
}

/// Runs commands of ip(8) in this network namespace, up to the first that fails.
pub(crate) fn run_ip(batch: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ip")?;
    child.stdin.take().context("a child without its standard input")?.write_all(batch.as_bytes())?;
    let output = child.wait_with_output().context("cannot wait for ip")?;
    if !output.status.success() {
        bail!("ip failed: {}", said(&output.stderr));
    }
    Ok(())
}
