//! A server's own database under the record: looked at, and changed step by step as decided. Each step can be repeated,
//! and fails rather than waits long.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{sleep, timeout};
use triad_api::Peer;
use triad_database::{Control, DatabasePlan, Duty, Member, Passwords, Recovery, Standing};
use triad_failover::{Database, Degrading, Invitation, Position, Record, Restoring};
use triad_model::ServerName;

use super::memory::{Memory, Primary, Replica, must_acknowledge};
use crate::backoff::Backoff;
use crate::supervisor::Process;

/// Time in which a database that runs answers; one that does not hangs, and is ended.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// Time between two tries to apply again, after what passes by itself.
const APPLIES_EVERY: Duration = Duration::from_secs(2);
/// Time between two tries to follow: who cannot must not try as fast as it fails.
const FOLLOWS_EVERY: Duration = Duration::from_millis(500);
/// Time in which nothing is logged before it is looked whether commits wait because an acknowledgement was lost; and
/// between two such looks.
const QUIET_FOR: Duration = Duration::from_millis(200);
/// How often it is looked whether transactions are open, before writes are refused all the same.
const FINISH_LOOKS: u32 = 3;
/// Time between two such looks: they are counted no more often.
const FINISH_LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time for what was received to be applied, in one go.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// The database.
pub(crate) struct Node {
    pub plan: DatabasePlan,
    /// The other databases.
    pub members: Vec<Member>,
    /// Agents of their servers.
    pub peers: BTreeMap<ServerName, Peer>,
    pub process: Process,
    pub memory: Memory,
    /// How it answered last; `None` if it does not.
    pub standing: Option<Standing>,
    control: Control,
    /// What it was started for.
    started: Option<Recovery>,
    /// When it may be started again.
    backoff: Backoff,
    start_at: Duration,
    started_at: Duration,
    /// Whether connections to the primary are refused here.
    fenced: bool,
    /// The end of its log, and since when, or when it was looked whether commits wait.
    quiet: (Position, Duration),
    /// Whether replicas have accounts here, all locked.
    has_accounts: bool,
    followed_at: Duration,
    applies_at: Duration,
}

impl Node {
    pub fn new(
        plan: DatabasePlan,
        members: Vec<Member>,
        peers: BTreeMap<ServerName, Peer>,
        passwords: Passwords,
        process: Process,
    ) -> Self {
        let control = Control::new(plan.clone(), passwords);
        Self {
            plan,
            members,
            peers,
            process,
            control,
            memory: Memory::Stopped,
            standing: None,
            started: None,
            backoff: Backoff::default(),
            start_at: Duration::ZERO,
            started_at: Duration::ZERO,
            fenced: true,
            quiet: (0, Duration::ZERO),
            has_accounts: false,
            followed_at: Duration::ZERO,
            applies_at: Duration::ZERO,
        }
    }

    /// Why no first record may be made, if so: another database has one to go by, and perhaps all the data.
    pub async fn others_remember(&self) -> Option<String> {
        for (server, peer) in &self.peers {
            match peer.remembered_record().await {
                Ok(None) => {}
                Ok(Some(_)) => {
                    return Some(format!(
                        "the voters have no record, and {server} remembers one: `triad voters restore`"
                    ));
                }
                Err(error) => return Some(format!("whether there was ever a record is not known: {error}")),
            }
        }
        None
    }

    /// What the others are told of it.
    pub fn said(&self) -> Database {
        self.memory.said(self.standing.as_ref())
    }

    /// Looks how it is; one that hangs is ended.
    pub async fn look(&mut self, primary: Option<&Database>, now: Duration) {
        if !self.process.is_up() {
            if self.started.take().is_some() {
                self.start_at = now + self.backoff.after(now.saturating_sub(self.started_at));
            }
            (self.memory, self.standing) = (Memory::Stopped, None);
            self.unfence().await;
            return;
        }
        self.standing = match timeout(ANSWERS_WITHIN, self.control.standing()).await {
            Ok(Ok(standing)) => Some(standing),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the database does not answer");
                None
            }
            Err(_) if self.memory == Memory::Stopped => None,
            Err(_) => {
                tracing::warn!(limit_ms = ANSWERS_WITHIN.as_millis() as u64, "the database hangs: ending it");
                self.process.rest();
                self.memory = Memory::Stopped;
                None
            }
        };
        if self.standing.is_some() {
            self.process.mark_ready();
        }
        if let (Memory::Replica(replica), Some(standing)) = (&mut self.memory, &self.standing) {
            replica.learn(standing, primary, now);
            if standing.may_apply_again() && now > self.applies_at + APPLIES_EVERY {
                self.applies_at = now;
                if let Err(error) = self.control.apply_again().await {
                    tracing::warn!(%error, "the replica does not apply");
                }
            }
        }
    }

    /// Commits that wait for what a replica has, as it says, are acknowledged with the next one; where none comes, this
    /// makes one.
    pub async fn nudge(&mut self, replicas_have: Option<Position>, now: Duration) -> anyhow::Result<()> {
        let (Memory::Primary(_), Some(standing)) = (&self.memory, &self.standing) else { return Ok(()) };
        let logged = standing.logged;
        if !standing.waits || self.quiet.0 != logged {
            self.quiet = (logged, now);
        }
        let is_quiet = now > self.quiet.1 + QUIET_FOR && replicas_have.is_some_and(|received| received >= logged);
        if is_quiet {
            self.quiet.1 = now;
            if self.control.waiting().await? > 0 {
                tracing::info!("an acknowledgement was lost: asking for another");
                self.control.nudge().await?;
            }
        }
        Ok(())
    }

    /// A replica acknowledges by what `record` says.
    pub async fn obey(&mut self, record: &Record, primary: Option<&Database>) -> anyhow::Result<()> {
        let (Memory::Replica(replica), Some(standing)) = (&mut self.memory, &mut self.standing) else { return Ok(()) };
        let wanted = must_acknowledge(record, &self.plan.server, primary);
        if standing.acknowledges != wanted {
            self.control.set_acknowledges(wanted, standing.is_receiving()).await?;
            standing.acknowledges = wanted;
        }
        replica.obeys = record.version;
        Ok(())
    }

    /// Brings mariadbd up for `recovery`; whether it answers. It is to be asked again until then.
    fn start(&mut self, recovery: Recovery, now: Duration) -> anyhow::Result<bool> {
        if triad_database::is_without_data(&self.plan)? {
            bail!("{} is empty", self.plan.data_directory().display());
        }
        if self.process.is_up() {
            if self.started != Some(recovery) {
                self.process.rest();
            }
            return Ok(self.started == Some(recovery) && self.standing.is_some());
        }
        if now >= self.start_at {
            // After a boot its folder for sockets is new, and not its own yet.
            triad_database::prepare_folders(&self.plan)?;
            (self.started, self.started_at, self.has_accounts) = (Some(recovery), now, false);
            self.process.run(triad_database::recovery_args(recovery));
        }
        Ok(false)
    }

    /// Starts it as a replica of nobody yet; whether it is one.
    pub fn rejoin(&mut self, now: Duration) -> anyhow::Result<bool> {
        let runs = self.start(Recovery::TakeBack, now)?;
        if runs {
            self.memory = Memory::Replica(Replica::default());
        }
        Ok(runs)
    }

    /// Ends it at once.
    pub fn demote(&mut self) {
        self.process.rest();
        self.memory = Memory::Stopped;
    }

    /// Ends it in its own time, if it is a replica: it is started again as one.
    pub fn restart(&self) -> Result<(), String> {
        match self.memory {
            Memory::Replica(_) => {
                self.process.rest_gently();
                Ok(())
            }
            Memory::Primary(_) => Err("it is the primary: hand that over first, with `triad switchover`".to_owned()),
            Memory::Stopped => Err("it does not run".to_owned()),
        }
    }

    /// Is a replica of nobody yet, if it refuses writes already, and runs on.
    pub fn step_down(&mut self) {
        match &self.standing {
            Some(standing) if standing.read_only => self.memory = Memory::Replica(Replica::default()),
            _ => self.demote(),
        }
    }

    /// Puts its data aside, once it does not run.
    pub async fn put_aside(&mut self) -> anyhow::Result<()> {
        self.demote();
        self.process.rested().await;
        if !triad_database::is_without_data(&self.plan)? {
            let aside = triad_database::put_aside(&self.plan)?;
            tracing::warn!(folder = %aside.display(), "the database's data is put aside: it is no copy of the primary's");
        }
        Ok(())
    }

    /// Stops receiving, for `version`; from a silent `primary` at once.
    pub async fn stop(&mut self, version: u64, primary: &ServerName, silent: bool) -> anyhow::Result<()> {
        if silent && let Ok(address) = self.reach(primary) {
            // Told to stop, MariaDB first asks the primary to end its side; where nobody answers, that takes it a second,
            // its shortest time-out.
            self.fenced = true;
            if let Err(error) = triad_firewall::refuse_database(Some(address)).await {
                tracing::warn!(%error, "stopping to receive takes a second longer");
            }
        }
        self.control.stop_receiving().await?;
        if let Memory::Replica(replica) = &mut self.memory {
            replica.stopped_for = Some(version);
        }
        Ok(())
    }

    /// Applies what it has.
    pub async fn drain(&mut self) -> anyhow::Result<()> {
        self.control.drain(DRAIN_LIMIT).await?;
        Ok(())
    }

    /// Receives from the primary of `record`. Whether that was tried; not again and again.
    pub async fn follow(&mut self, record: &Record, primary: Option<&Database>, now: Duration) -> anyhow::Result<bool> {
        let member = self.member(&record.primary)?.clone();
        if now < self.followed_at + FOLLOWS_EVERY {
            return Ok(false);
        }
        self.followed_at = now;
        self.unfence().await;
        let acknowledges = must_acknowledge(record, &self.plan.server, primary);
        let seeded = triad_database::seed_position(&self.plan)?;
        let (Memory::Replica(replica), Some(standing)) = (&mut self.memory, &self.standing) else { return Ok(false) };
        if let Some(position) = seeded {
            self.control.follow_from(&position, record.epoch, &member, acknowledges).await?;
            triad_database::forget_seed_position(&self.plan)?;
        } else if replica.epoch == record.epoch && standing.may_receive_again(&member) {
            self.control.receive_again(acknowledges).await?;
        } else {
            // What was received and not applied goes with the relay log (MDEV-4698).
            self.control.stop_receiving().await?;
            replica.whole &= self.control.drain(DRAIN_LIMIT).await?;
            self.control.follow(record.epoch, &member, acknowledges).await?;
        }
        replica.follows(record.epoch);
        if !self.has_accounts {
            // Here, and not when it takes over: then users wait.
            self.control.keep_accounts(&self.members).await?;
            self.has_accounts = true;
        }
        Ok(true)
    }

    /// Refuses no connection to another database any more.
    async fn unfence(&mut self) {
        if std::mem::take(&mut self.fenced)
            && let Err(error) = triad_firewall::refuse_database(None).await
        {
            tracing::warn!(%error, "connections to a database that was dead may be refused still");
            self.fenced = true;
        }
    }

    /// Takes writes by `record`, once it runs. Whether it does.
    pub async fn open(&mut self, record: &Record, now: Duration) -> anyhow::Result<bool> {
        let is_replica = matches!(self.memory, Memory::Replica(_)) && self.standing.is_some();
        if !is_replica && !self.start(Recovery::Commit, now)? {
            return Ok(false);
        }
        if !self.has_accounts {
            self.control.keep_accounts(&self.members).await?;
        }
        let (replicas, barred): (Vec<_>, Vec<_>) =
            self.members.iter().partition(|member| record.in_sync.contains(&member.name));
        // They are other than kept from here on.
        self.has_accounts = false;
        self.control.open(record.in_sync.len() > 1, &replicas).await?;
        let barred = barred.into_iter().map(|member| (member.name.clone(), 0));
        let primary = Primary { epoch: record.epoch, barred: barred.collect(), invited: None };
        self.memory = Memory::Primary(primary);
        self.unfence().await;
        Ok(true)
    }

    /// A step of a primary to a smaller in-sync set, beside the record's own change.
    pub async fn degrade(&mut self, step: Degrading) -> anyhow::Result<()> {
        match step {
            Degrading::Bar(replica) => {
                let mark = self.control.bar(self.reach(&replica)?).await?;
                self.as_primary(|primary| _ = primary.barred.insert(replica, mark));
            }
            Degrading::Shrink(_) => self.as_primary(|primary| primary.invited = None),
            Degrading::StopWaiting => self.control.stop_waiting().await?,
        }
        Ok(())
    }

    /// A step of a primary to a larger one.
    pub async fn restore(&mut self, step: Restoring) -> anyhow::Result<()> {
        match step {
            Restoring::Admit(replica) => {
                self.control.admit(self.reach(&replica)?).await?;
                self.as_primary(|primary| _ = primary.barred.remove(&replica));
            }
            Restoring::Invite(replica, version) => {
                let mark = self.standing.as_ref().map_or(0, |standing| standing.logged);
                self.as_primary(|primary| primary.invited = Some(Invitation { replica, version, mark }));
            }
            Restoring::WaitFor(_) => {
                let mark = self.control.wait().await?;
                self.as_primary(|primary| primary.invited.iter_mut().for_each(|invited| invited.mark = mark));
            }
            Restoring::Grow(_) => {}
        }
        Ok(())
    }

    /// Waits, not for long, until no transaction is open: no new one begins while connections are held.
    pub async fn finish(&mut self) -> anyhow::Result<()> {
        for _ in 0..FINISH_LOOKS {
            if self.control.transactions().await? == 0 {
                break;
            }
            sleep(FINISH_LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Refuses writes.
    pub async fn close(&mut self) -> anyhow::Result<()> {
        self.control.close().await?;
        Ok(())
    }

    /// Takes writes again.
    pub async fn reopen(&mut self) -> anyhow::Result<()> {
        self.control.reopen().await?;
        Ok(())
    }

    /// What it is now, to a server that follows `primary`.
    pub fn duty(&self, primary: &ServerName) -> Option<Duty> {
        match self.memory {
            Memory::Stopped => None,
            Memory::Primary(_) => Some(Duty::Primary { replicas: self.members.clone() }),
            Memory::Replica(_) => Some(Duty::Replica { primary: self.member(primary).ok()?.clone() }),
        }
    }

    fn as_primary(&mut self, change: impl FnOnce(&mut Primary)) {
        if let Memory::Primary(primary) = &mut self.memory {
            change(primary);
        }
    }

    /// The database of another server.
    fn member(&self, name: &ServerName) -> anyhow::Result<&Member> {
        let member = self.members.iter().find(|member| member.name == *name);
        member.with_context(|| format!("{name} has no database in the file"))
    }

    fn reach(&self, name: &ServerName) -> anyhow::Result<IpAddr> {
        Ok(self.member(name)?.address.ip())
    }
}
