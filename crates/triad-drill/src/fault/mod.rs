//! Breaking a lab, and putting it right.

mod burden;
mod certificate;
mod leader;
mod packets;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use triad_api::ApiError;
use triad_lab::{Lab, LinkState};
use triad_model::{BackendMode, BackendSetting, Design, ServerName, Switchover, SwitchoverRequest};

use crate::attack::Attack;
use crate::database;
use crate::record::Records;
use crate::scenario::{Fault, Place, Process, Quoted};
use packets::scripts;

/// Whatever is done inside a server takes no longer.
const SCRIPT_LIMIT: Duration = Duration::from_secs(5);
/// Pause between two kills of a process that is killed again and again.
const KILL_PAUSE: Duration = Duration::from_millis(200);

/// Faults that are under way in a lab.
pub(crate) struct Faults<'a> {
    lab: &'a Lab,
    /// As it was when the drill began.
    design: &'a Design,
    /// As it was when it was looked at last: who the primary is may change.
    now: Design,
    records: Records,
    executable: &'a Path,
    open: Vec<(Fault, Undo)>,
    note: Option<String>,
}

/// What ends a fault.
enum Undo {
    Script(ServerName, String),
    /// What a file was, and whose agent reads it again.
    Rewrite(ServerName, PathBuf, String),
    Start(ServerName),
    /// A backend of which the balancers were told something.
    MakeReady(ServerName),
    Plug(ServerName),
    /// A database that was told to be careless, and what takes that back.
    Tighten(ServerName, &'static str),
    StopKilling(JoinHandle<()>),
    StopAttack(Box<Attack>),
}

impl<'a> Faults<'a> {
    /// None yet; `executable` has [`crate::FLOOD_COMMAND`], and `records` say who the primary is.
    pub fn new(lab: &'a Lab, design: &'a Design, executable: &'a Path, records: Records) -> Self {
        Self { lab, design, now: design.clone(), records, executable, open: Vec::new(), note: None }
    }

    /// From now on, places are whoever they are now.
    pub fn look(&mut self) {
        self.now = self.records.applied_to(self.design);
    }

    /// Who is meant by the places of `fault` that may be another server at another time.
    pub fn meant_by(&self, fault: &Fault) -> Option<String> {
        let moving = |place: &&&Place| place.is_moving();
        let meant = |place: &&Place| Some(format!("{} is {}", place.word, self.server(place).ok()?));
        let all: Vec<String> = fault.places().iter().filter(moving).filter_map(meant).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// What is worth saying of the last thing that was done.
    pub fn take_note(&mut self) -> Option<String> {
        self.note.take()
    }

    /// Begins `fault`. If that fails halfway, what ends it is known nevertheless.
    pub async fn begin(&mut self, fault: &Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Kill(process) => signal(self.lab, &self.named(process)?, "KILL").await.map(drop),
            Fault::Restart(process) => signal(self.lab, &self.named(process)?, "TERM").await.map(drop),
            Fault::Pause(process) => self.pause(fault, self.named(process)?).await,
            Fault::PauseServer(place) => {
                let server = self.server(place)?;
                self.opened(fault, Undo::Script(server.clone(), signal_all("CONT")));
                run_script(self.lab, &server, &signal_all("STOP")).await
            }
            Fault::SwitchOver(to) => self.switch_over(to.as_ref()).await,
            Fault::MoveLeader(place) => leader::lead(self.lab, self.design, &self.server(place)?).await,
            Fault::HoldApplier(place) => self.hold_applier(fault, self.server(place)?).await,
            Fault::Saturate => self.saturate(fault).await,
            Fault::KeepKilling(process) => {
                let killer = tokio::spawn(keep_killing(self.lab.clone(), self.named(process)?));
                self.opened(fault, Undo::StopKilling(killer));
                Ok(())
            }
            Fault::KillServer(place) => {
                let server = self.server(place)?;
                self.opened(fault, Undo::Start(server.clone()));
                self.lab.kill(&server).await
            }
            Fault::Cut(place) => {
                let server = self.server(place)?;
                self.opened(fault, Undo::Plug(server.clone()));
                self.lab.link(&server, LinkState::Down).await
            }
            Fault::Lossy(place) => {
                let server = self.server(place)?;
                self.opened(fault, Undo::Tighten(server.clone(), DURABLE));
                database::sql(self.lab, &server, LOSSY).await.map(drop)
            }
            Fault::Asynchronous(place) => {
                let server = self.server(place)?;
                self.opened(fault, Undo::Tighten(server.clone(), WAIT_IF_PRIMARY));
                database::sql(self.lab, &server, WAIT_FOR_NOBODY).await.map(drop)
            }
            Fault::CutFrom { .. } | Fault::Slow { .. } | Fault::Port { .. } => {
                self.network(fault, self.server(fault.places()[0])?).await
            }
            Fault::Change { server, old, new } => self.change_file(fault, &self.server(server)?, old, new).await,
            Fault::SpoilCertificate(place) => {
                let server = self.server(place)?;
                let path = state_directory(self.lab, &server).join("secrets/site.pem");
                self.overwrite(fault, &server, path, |_| Ok("no certificate".to_owned())).await
            }
            Fault::SwapCertificate(place) => self.swap_certificate(&self.server(place)?).await,
            Fault::Upgrade(place) => self.upgrade(&self.server(place)?).await,
            Fault::SlowClients { .. } | Fault::Flood(_) => {
                let attack = Attack::start(fault, self.lab, self.design, self.executable).await?;
                self.opened(fault, Undo::StopAttack(Box::new(attack)));
                Ok(())
            }
            Fault::SetBackend { server, mode, weight } => {
                let backend = self.server(server)?;
                self.opened(fault, Undo::MakeReady(backend.clone()));
                self.tell_balancers(&backend, *mode, *weight).await
            }
            Fault::FillDisk(place) => self.fill_disk(fault, self.server(place)?).await,
            Fault::CutNetwork { server: Some(place), .. } => self.network(fault, self.server(place)?).await,
            Fault::CutNetwork { server: None, .. } => self.cut_all(fault).await,
        }
    }

    async fn hold_applier(&mut self, fault: &Fault, server: ServerName) -> anyhow::Result<()> {
        let database = self.design.database.as_ref().context("the design has no database")?;
        let (begin, end) = burden::applier_scripts(&run_directory(self.lab, &server), &database.name);
        self.opened(fault, Undo::Script(server.clone(), end));
        run_script(self.lab, &server, &begin).await
    }

    async fn saturate(&mut self, fault: &Fault) -> anyhow::Result<()> {
        for server in &self.design.servers {
            let (begin, end) = burden::scripts(&state_directory(self.lab, &server.name));
            self.opened(fault, Undo::Script(server.name.clone(), end));
            run_script(self.lab, &server.name, &begin).await?;
        }
        Ok(())
    }

    async fn fill_disk(&mut self, fault: &Fault, server: ServerName) -> anyhow::Result<()> {
        let filler = state_directory(self.lab, &server).join("filler");
        let filler = filler.display();
        self.opened(fault, Undo::Script(server.clone(), format!("rm -f '{filler}'")));
        run_script(self.lab, &server, &fill(&filler.to_string())).await
    }

    async fn pause(&mut self, fault: &Fault, named: Named) -> anyhow::Result<()> {
        let pid = signal(self.lab, &named, "STOP").await?;
        // Whoever supervises it may have ended it meanwhile.
        self.opened(fault, Undo::Script(named.server, format!("kill -CONT {pid} || true")));
        Ok(())
    }

    async fn cut_all(&mut self, fault: &Fault) -> anyhow::Result<()> {
        for server in &self.design.servers {
            self.network(fault, server.name.clone()).await?;
        }
        Ok(())
    }

    /// Ends all faults that are the same as `fault`.
    pub async fn end(&mut self, fault: &Fault) -> anyhow::Result<()> {
        while let Some(index) = self.open.iter().rposition(|(other, _)| other.same(fault)) {
            let (_, undo) = self.open.remove(index);
            self.undo(undo).await?;
        }
        Ok(())
    }

    /// Ends all faults, the last first; goes on where one does not end, and says so.
    pub async fn end_all(&mut self) -> anyhow::Result<()> {
        let mut failures = Vec::new();
        while let Some((_, undo)) = self.open.pop() {
            failures.extend(self.undo(undo).await.err().map(|error| format!("{error:#}")));
        }
        if failures.is_empty() { Ok(()) } else { bail!("not everything was put right: {}", failures.join("; ")) }
    }

    async fn undo(&mut self, undo: Undo) -> anyhow::Result<()> {
        match undo {
            Undo::Script(server, script) => run_script(self.lab, &server, &script).await,
            Undo::Rewrite(server, path, text) => {
                std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
                self.reload(&server).await
            }
            Undo::Start(server) => self.lab.start(&server).await,
            Undo::MakeReady(server) => self.tell_balancers(&server, BackendMode::Ready, None).await,
            Undo::Plug(server) => self.lab.link(&server, LinkState::Up).await,
            Undo::Tighten(server, statements) => {
                // One that was ended is careful again when it is back, and it may not be back yet.
                let _ = database::sql(self.lab, &server, statements).await;
                Ok(())
            }
            Undo::StopKilling(killer) => {
                killer.abort();
                Ok(())
            }
            Undo::StopAttack(attack) => {
                self.note = Some(attack.stop(self.lab).await?);
                Ok(())
            }
        }
    }

    async fn network(&mut self, fault: &Fault, server: ServerName) -> anyhow::Result<()> {
        let from = match fault {
            Fault::CutFrom { from, .. } => addresses(self.design, &self.server(from)?),
            _ => Vec::new(),
        };
        let (begin, end) = scripts(fault, &server, &from);
        self.opened(fault, Undo::Script(server.clone(), end));
        run_script(self.lab, &server, &begin).await
    }

    async fn change_file(
        &mut self,
        fault: &Fault,
        server: &ServerName,
        old: &Quoted,
        new: &Quoted,
    ) -> anyhow::Result<()> {
        self.overwrite(fault, server, self.lab.path().join("design/triad.toml"), |text| {
            if text.matches(&old.text).count() != 1 {
                bail!("the lab's file does not have {:?} once", old.text);
            }
            Ok(text.replace(&old.text, &new.text))
        })
        .await
    }

    /// Writes what `change` makes of a lab's file, and has `server`'s agent read it.
    async fn overwrite(
        &mut self,
        fault: &Fault,
        server: &ServerName,
        path: PathBuf,
        change: impl FnOnce(&str) -> anyhow::Result<String>,
    ) -> anyhow::Result<()> {
        let before = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let after = change(&before)?;
        self.opened(fault, Undo::Rewrite(server.clone(), path.clone(), before));
        std::fs::write(&path, after).with_context(|| format!("cannot write {}", path.display()))?;
        self.reload(server).await
    }

    async fn tell_balancers(&self, backend: &ServerName, mode: BackendMode, weight: Option<u16>) -> anyhow::Result<()> {
        let balancer = self.design.balancer.as_ref().and_then(|balancer| balancer.servers.first());
        let door = run_directory(self.lab, balancer.context("the design has no balancer")?).join("agent.sock");
        let setting = BackendSetting { backend: backend.to_string(), mode, weight };
        let answers = triad_api::set_backend(&door, &setting).await?;
        match answers.into_iter().find_map(|answer| Some((answer.server, answer.error?))) {
            Some((server, error)) => bail!("{server}: {error}"),
            None => Ok(()),
        }
    }

    async fn swap_certificate(&self, server: &ServerName) -> anyhow::Result<()> {
        certificate::replace(self.lab, self.design, server)?;
        self.reload(server).await?;
        certificate::wait_until_shown(self.lab, self.design, server).await
    }

    async fn switch_over(&mut self, to: Option<&Place>) -> anyhow::Result<()> {
        let primary = &self.now.database.as_ref().context("the design has no database")?.primary;
        let to = to.map(|place| self.server(place)).transpose()?;
        let door = run_directory(self.lab, primary).join("agent.sock");
        let done = triad_api::switchover(&door, &SwitchoverRequest { to, dry_run: false }).await;
        // What becomes of it is the scenario's to say.
        self.note = Some(match done {
            Ok(Switchover { from, to, held_ms }) => {
                format!("{from} to {to}, writes held for {} ms", held_ms.unwrap_or_default())
            }
            Err(error) => error.to_string(),
        });
        Ok(())
    }

    async fn upgrade(&mut self, server: &ServerName) -> anyhow::Result<()> {
        let upgraded = triad_api::upgrade(&run_directory(self.lab, server).join("agent.sock")).await?;
        let pid = |pid: Option<u32>| pid.map_or("none".to_owned(), |pid| pid.to_string());
        self.note = Some(format!("pid {} by {}", pid(upgraded.old_pid), pid(upgraded.new_pid)));
        Ok(())
    }

    /// As an operator would. Whether the file is refused is the scenario's to see.
    async fn reload(&self, server: &ServerName) -> anyhow::Result<()> {
        match triad_api::apply(&run_directory(self.lab, server).join("agent.sock")).await {
            Ok(_) | Err(ApiError::Refused { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn opened(&mut self, fault: &Fault, undo: Undo) {
        self.open.push((fault.clone(), undo));
    }

    fn server(&self, place: &Place) -> anyhow::Result<ServerName> {
        let design = if place.is_old() { self.design } else { &self.now };
        place.resolve(design).with_context(|| format!("the design has no {}", place.word))
    }

    fn named(&self, process: &Process) -> anyhow::Result<Named> {
        Ok(Named { name: process.name.clone(), server: self.server(&process.server)? })
    }
}

/// Commits are no longer written before they are confirmed, but when an hour is over or a page has to go: what a
/// killed database then lacks is known to have been acknowledged.
const LOSSY: &str = "SET GLOBAL innodb_flush_log_at_timeout = 2700; SET GLOBAL innodb_flush_log_at_trx_commit = 0; \
                     SET GLOBAL sync_binlog = 0";
const DURABLE: &str = "SET GLOBAL innodb_flush_log_at_timeout = 1; SET GLOBAL innodb_flush_log_at_trx_commit = 1; \
                       SET GLOBAL sync_binlog = 1";

/// Commits wait for no replica any more. The agent does not look after what it set itself.
const WAIT_FOR_NOBODY: &str = "SET GLOBAL rpl_semi_sync_master_enabled = 0";
/// On a replica it must not be set: its applier would wait.
const WAIT_IF_PRIMARY: &str = "SET GLOBAL rpl_semi_sync_master_enabled = 1 - @@GLOBAL.read_only";

/// A process on a server of the design.
#[derive(Clone)]
struct Named {
    name: String,
    server: ServerName,
}

async fn keep_killing(lab: Lab, process: Named) {
    loop {
        // While it is dead there is nothing to kill.
        let _ = signal(&lab, &process, "KILL").await;
        sleep(KILL_PAUSE).await;
    }
}

/// Sends a signal; the process's id inside its server.
async fn signal(lab: &Lab, process: &Named, signal: &str) -> anyhow::Result<u32> {
    let pid = pid(lab, process).await?;
    run_script(lab, &process.server, &format!("kill -{signal} {pid}")).await?;
    Ok(pid)
}

async fn pid(lab: &Lab, process: &Named) -> anyhow::Result<u32> {
    let Named { name, server } = process;
    if name == "agent" {
        let status = lab.status().await?.context("the lab is gone")?;
        let agent = status.servers.iter().find(|status| status.name == *server).and_then(|status| status.agent.pid);
        return agent.and_then(|pid| u32::try_from(pid).ok()).with_context(|| format!("no agent runs on {server}"));
    }
    // There is one of these, which is found without its agent: that may hang.
    if ["mariadbd", "etcd"].contains(&name.as_str()) {
        let output = timeout(SCRIPT_LIMIT, lab.exec_output(server, &["pidof", "-s", name])).await;
        let output = output.with_context(|| format!("{server} does not say whether {name} runs"))??;
        let pid = String::from_utf8_lossy(&output.stdout).trim().parse();
        return pid.ok().with_context(|| format!("{name} does not run on {server}"));
    }
    let report = triad_api::local_report(&run_directory(lab, server).join("agent.sock")).await?;
    let process = report.processes.iter().find(|process| process.name == *name);
    process.and_then(|process| process.pid).with_context(|| format!("{name} does not run on {server}"))
}

/// Where the agent of `server` has its sockets.
pub(crate) fn run_directory(lab: &Lab, server: &ServerName) -> PathBuf {
    lab.path().join("servers").join(server.as_str()).join("run")
}

/// What must last on `server`.
pub(crate) fn state_directory(lab: &Lab, server: &ServerName) -> PathBuf {
    lab.path().join("servers").join(server.as_str()).join("state")
}

fn addresses(design: &Design, server: &ServerName) -> Vec<std::net::IpAddr> {
    design
        .server(server)
        .map(|server| server.public.iter().copied().chain(server.private).collect())
        .unwrap_or_default()
}

pub(crate) async fn run_script(lab: &Lab, server: &ServerName, script: &str) -> anyhow::Result<()> {
    let output = timeout(SCRIPT_LIMIT, lab.exec_output(server, &["sh", "-c", script])).await;
    let output = output.with_context(|| format!("on {server} did not end in time: {script}"))??;
    if !output.status.success() {
        bail!("on {server} failed: {script}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Sends `signal` to everything that a server runs: not to its init, nor to what came in from outside, whose parent
/// is no process of the server.
fn signal_all(signal: &str) -> String {
    format!(
        "kill -s {signal} $(awk '/^Pid:/ {{ pid = $2 }} /^PPid:/ {{ if ($2 > 0 && pid > 1) print pid }}' \
             /proc/[0-9]*/status 2>/dev/null) 2>/dev/null || true"
    )
}

/// Writes until there is no room; never on a disk that others use too.
fn fill(filler: &str) -> String {
    format!(
        "folder=$(dirname '{filler}')
         [ \"$(stat --file-system --format=%T \"$folder\")\" = tmpfs ] || {{
             echo 'this lab has no disks of its own; bring it up with --disk-mb' >&2; exit 1; }}
         cat /dev/zero > '{filler}' 2>/dev/null; true"
    )
}
