//! Servers, what connects them, and what befalls them.

use std::collections::{BTreeMap, BTreeSet};

use triad_failover::{
    Database, Decided, Decision, Degrading, Invitation, Member, Promotion, Record, Restoring, Said, View, Yielding,
};
use triad_model::ServerName;

use crate::chance::Chance;
use crate::database::{Node, Replica, Role};
use crate::store::Store;

/// What decides.
pub type Rule = fn(&View<'_>) -> Decided;

/// Time in which faults begin, in ticks; a tick is about 50 ms.
const FAULTS_END: u64 = 400;
/// Time after that in which all must be well again.
const CALM: u64 = 600;
/// Time in which it is well again after the last that happened by chance.
const RECOVERS_WITHIN: u64 = 100;
/// Time without a heartbeat after which a server is silent.
const SILENT_AFTER: u64 = 6;
/// Time for which what was read of the record is gone by.
const RECORD_VALID: u64 = 40;
/// Time after which a replica that lives and receives nothing is said to be stalled.
const STALLED_AFTER: u64 = 15;
/// Longest time a write to the store arrives late.
const LATE_MAX: u64 = 40;

/// What histories had.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub acknowledged: usize,
    pub failovers: usize,
    pub faults: usize,
    pub degraded: usize,
    pub reseeded: usize,
    pub truncated: usize,
    pub handed_over: usize,
}

impl Counts {
    /// Both.
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.failovers += other.failovers;
        self.faults += other.faults;
        self.degraded += other.degraded;
        self.reseeded += other.reseeded;
        self.truncated += other.truncated;
        self.handed_over += other.handed_over;
    }
}

struct Agent {
    up: bool,
    heard: BTreeMap<usize, (u64, Option<Said>)>,
    record: Option<Record>,
    read_at: u64,
    made: Option<u64>,
    /// To whom it is to hand over, until when.
    wish: Option<(ServerName, u64)>,
    stopped_for: Option<u64>,
    /// What is being done, by which record, until when.
    busy: Option<(u64, Record, Decision)>,
}

impl Agent {
    fn started(now: u64, servers: usize) -> Self {
        Self {
            up: true,
            heard: (0..servers).map(|server| (server, (now, None))).collect(),
            record: None,
            read_at: now,
            made: None,
            wish: None,
            stopped_for: None,
            busy: None,
        }
    }
}

struct Server {
    name: ServerName,
    up: bool,
    paused: bool,
    slow: bool,
    /// Since when its database receives nothing, though it lives.
    stuck: Option<u64>,
    agent: Agent,
    node: Option<Node>,
}

impl Server {
    fn runs(&self) -> bool {
        self.up && !self.paused
    }
}

/// The end of a fault.
enum End {
    Start(usize),
    StartAgent(usize),
    Resume(usize),
    ResumeNode(usize),
    Join(usize, usize),
    Quicken(usize),
    Unstick(usize),
}

/// All of it.
pub struct World {
    now: u64,
    chance: Chance,
    rule: Rule,
    servers: Vec<Server>,
    /// Whether what the first sends reaches the second.
    hears: Vec<Vec<bool>>,
    messages: Vec<(u64, usize, usize, Said)>,
    ends: Vec<(u64, End)>,
    store: Store,
    next_write: u32,
    acknowledged: BTreeSet<u32>,
    /// Who acknowledged last, in which epoch.
    last: (u64, usize),
    pub counts: Counts,
    failure: Option<String>,
    /// Whether faults come by chance.
    hazards: bool,
    story: Option<String>,
}

impl World {
    /// A history of `seed`: `databases` of which the first is the primary, and `witnesses`.
    pub fn new(seed: u64, databases: usize, witnesses: usize, rule: Rule) -> Self {
        let names = ["a", "b", "c", "d", "e"].map(|name| ServerName::new(name).expect("a name"));
        let count = databases + witnesses;
        let server = |index: usize| Server {
            name: names[index].clone(),
            up: true,
            paused: false,
            slow: false,
            stuck: None,
            agent: Agent::started(0, count),
            node: (index < databases).then(Node::new),
        };
        let in_sync = names[..databases].iter().cloned().collect();
        let record = Record { version: 1, epoch: 1, primary: names[0].clone(), in_sync };
        Self {
            now: 0,
            chance: Chance::new(seed),
            rule,
            servers: (0..count).map(server).collect(),
            hears: vec![vec![true; count]; count],
            messages: Vec::new(),
            ends: Vec::new(),
            store: Store::new(record),
            next_write: 1,
            acknowledged: BTreeSet::new(),
            last: (0, 0),
            counts: Counts::default(),
            failure: None,
            hazards: true,
            story: None,
        }
    }

    /// The same, and what happens in it is told.
    pub fn told(self) -> Self {
        Self { story: Some(String::new()), ..self }
    }

    /// What happened.
    pub fn story(&self) -> &str {
        self.story.as_deref().unwrap_or_default()
    }

    /// What happens when the server at `index` dies and is back `after` ticks later, and nothing else.
    pub fn run_without(&mut self, index: usize, after: u64) -> Result<(), String> {
        self.hazards = false;
        self.pass(60)?;
        self.kill_server(index, self.now + after);
        self.pass(after + 60)?;
        self.is_well()
    }

    /// Lets it happen; an error says what must not be.
    pub fn run(&mut self) -> Result<(), String> {
        self.pass(FAULTS_END + CALM)?;
        // Beats are lost in calm times too: who was taken for dead a moment ago is soon back.
        for _ in 0..RECOVERS_WITHIN {
            if self.is_well().is_ok() {
                return Ok(());
            }
            self.pass(1)?;
        }
        self.is_well()
    }

    fn pass(&mut self, ticks: u64) -> Result<(), String> {
        for _ in 0..ticks {
            self.now += 1;
            self.fault();
            self.store.tick(self.now);
            self.deliver();
            (0..self.servers.len()).for_each(|index| self.act(index));
            self.replicate();
            self.write();
            if let Some(failure) = self.failure.take() {
                return Err(format!("at {}: {failure}", self.now));
            }
        }
        self.counts.acknowledged = self.acknowledged.len();
        Ok(())
    }

    fn say(&mut self, index: usize, what: impl std::fmt::Display) {
        if let Some(story) = &mut self.story {
            *story += &format!("{:4} {}: {what}\n", self.now, self.servers[index].name);
        }
    }

    fn is_well(&self) -> Result<(), String> {
        let record = &self.store.record;
        let primary = self.index(&record.primary);
        let node = self.servers[primary].node.as_ref().expect("a primary has a database");
        let databases = self.servers.iter().filter(|server| server.node.is_some()).count();
        let open = matches!(&node.role, Role::Primary { epoch, .. } if *epoch == record.epoch);
        let recent = self.next_write.saturating_sub(node.log.len() as u32);
        match open && record.in_sync.len() == databases && self.last.1 == primary {
            true if node.applied + 20 > node.log.len() => Ok(()),
            _ => Err(format!("not well again: {record:?}, {:?}, {recent}", node.role)),
        }
    }

    fn index(&self, name: &ServerName) -> usize {
        self.servers.iter().position(|server| server.name == *name).expect("a server of this world")
    }

    fn fault(&mut self) {
        let now = self.now;
        let calm = now >= FAULTS_END;
        let (due, later) = std::mem::take(&mut self.ends).into_iter().partition(|(at, _)| *at <= now || calm);
        self.ends = later;
        let due: Vec<(u64, End)> = due;
        due.into_iter().for_each(|(_, end)| self.end(end));
        if calm || !self.hazards || now < 20 || !self.chance.percent(4) {
            return;
        }
        self.counts.faults += 1;
        let count = self.servers.len() as u64;
        let (one, other) = (self.chance.below(count) as usize, self.chance.below(count) as usize);
        let until = now + 3 + self.chance.below(60);
        match self.chance.below(13) {
            0 | 1 => self.kill_database(one),
            2 => self.pause_database(one, until),
            3 => self.kill_server(one, until),
            4 => {
                self.say(one, "agent killed");
                self.servers[one].agent.up = false;
                self.ends.push((now + 1 + self.chance.below(20), End::StartAgent(one)));
            }
            5 => {
                self.say(one, "server paused");
                self.servers[one].paused = true;
                self.ends.push((until, End::Resume(one)));
            }
            6 => self.cut(one, other, until),
            7 => {
                self.say(one, "isolated");
                for other in 0..self.servers.len() {
                    self.cut(one, other, until);
                    self.cut(other, one, until);
                }
            }
            8 => {
                self.cut(one, other, until);
                self.cut(other, one, until);
            }
            9 | 10 => {
                let to = self.servers[other].name.clone();
                self.say(one, format_args!("is to hand over to {to}"));
                self.servers[one].agent.wish = Some((to, until));
            }
            11 => {
                self.say(one, "receives nothing");
                self.servers[one].stuck.get_or_insert(now);
                self.ends.push((until, End::Unstick(one)));
            }
            _ => {
                self.servers[one].slow = true;
                self.ends.push((until, End::Quicken(one)));
            }
        }
    }

    fn cut(&mut self, from: usize, to: usize, until: u64) {
        if from != to {
            self.hears[from][to] = false;
            self.ends.push((until, End::Join(from, to)));
        }
    }

    fn kill_database(&mut self, index: usize) {
        self.say(index, "database killed");
        self.servers[index].node.iter_mut().for_each(Node::kill);
    }

    fn pause_database(&mut self, index: usize, until: u64) {
        self.say(index, "database paused");
        self.servers[index].node.iter_mut().for_each(|node| node.paused = true);
        self.ends.push((until, End::ResumeNode(index)));
    }

    fn kill_server(&mut self, index: usize, until: u64) {
        self.kill_database(index);
        self.say(index, "server killed");
        self.servers[index].up = false;
        self.servers[index].agent.up = false;
        self.ends.push((until, End::Start(index)));
    }

    fn end(&mut self, end: End) {
        let count = self.servers.len();
        match end {
            End::Start(index) => {
                self.servers[index].up = true;
                self.servers[index].agent = Agent::started(self.now, count);
            }
            End::StartAgent(index) => self.servers[index].agent = Agent::started(self.now, count),
            End::Resume(index) => self.servers[index].paused = false,
            End::ResumeNode(index) => self.servers[index].node.iter_mut().for_each(|node| node.paused = false),
            End::Join(from, to) => self.hears[from][to] = true,
            End::Quicken(index) => self.servers[index].slow = false,
            End::Unstick(index) => self.servers[index].stuck = None,
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.messages).into_iter().partition(|(at, ..)| *at <= now);
        self.messages = later;
        let due: Vec<(u64, usize, usize, Said)> = due;
        for (_, from, to, report) in due {
            self.servers[to].agent.heard.insert(from, (now, Some(report)));
        }
    }

    /// Whether a majority of all servers is in reach.
    fn reaches_store(&self, index: usize) -> bool {
        let meets = |other: &usize| self.hears[index][*other] && self.hears[*other][index];
        let reached = (0..self.servers.len()).filter(|other| self.servers[*other].runs() && meets(other));
        reached.count() > self.servers.len() / 2
    }

    fn act(&mut self, index: usize) {
        if !self.servers[index].runs() || !self.servers[index].agent.up {
            return;
        }
        self.read(index);
        self.obey(index);
        let Some((due, record, decision)) = self.servers[index].agent.busy.take() else { return self.choose(index) };
        match due <= self.now {
            true => self.execute(index, &record, decision),
            false => self.servers[index].agent.busy = Some((due, record, decision)),
        }
    }

    fn read(&mut self, index: usize) {
        let now = self.now;
        if self.reaches_store(index) && self.chance.percent(70) {
            let record = self.store.record.clone();
            let agent = &mut self.servers[index].agent;
            (agent.record, agent.read_at) = (Some(record), now);
        } else if self.servers[index].agent.read_at + RECORD_VALID < now {
            self.servers[index].agent.record = None;
        }
    }

    /// A replica acknowledges if the record says so, or a primary that is alone by this very record.
    fn obey(&mut self, index: usize) {
        let Some(record) = self.servers[index].agent.record.clone() else { return };
        if record.primary == self.servers[index].name || !self.chance.percent(60) {
            return;
        }
        let primary = self.index(&record.primary);
        let Server { name, agent, node, .. } = &mut self.servers[index];
        let said = agent.heard.get(&primary).and_then(|(_, report)| report.as_ref()?.database.as_ref());
        let invited = match said {
            Some(Database::Primary { epoch, invited: Some(Invitation { replica, version, .. }), .. }) => {
                *epoch == record.epoch && replica == name && *version == record.version
            }
            _ => false,
        };
        if let Some(Node { role: Role::Replica(replica), paused: false, .. }) = node {
            replica.obeys = record.version;
            replica.acknowledges = invited || record.in_sync.contains(name);
        }
    }

    fn choose(&mut self, index: usize) {
        let now = self.now;
        let server = &self.servers[index];
        let stuck = server.stuck.is_some();
        let database = server.node.as_ref().map(|node| node.said(server.agent.stopped_for, stuck));
        let others = server.agent.heard.iter().filter(|(other, _)| **other != index);
        let others = others.map(|(other, (at, report))| {
            let Server { name, stuck, .. } = &self.servers[*other];
            let silent = at + SILENT_AFTER < now;
            let stalled = !silent && stuck.is_some_and(|since| since + STALLED_AFTER < now);
            (name.clone(), Member { silent, stalled, said: report.clone().unwrap_or_default() })
        });
        let others: BTreeMap<ServerName, Member> = others.collect();
        let own = database.clone().unwrap_or(Database::Stopped);
        let record = server.agent.record.as_ref();
        let yields_to = server.agent.wish.as_ref().filter(|(_, until)| now < *until).map(|(to, _)| to);
        let made = server.agent.made;
        let view = View { me: &server.name, record, made, database: &own, yields_to, others: &others };
        let report = Said { suspects: view.suspects(), database: database.clone(), holds: false };
        let decided = database.is_some().then(|| (self.rule)(&view));
        let record = record.cloned();
        self.tell(index, &report);
        let (Some(Decided { decision, why }), Some(record)) = (decided, record) else { return };
        if decision != Decision::Hold {
            self.say(index, format_args!("{}: {why}", name(&decision)));
            let due = now + 1 + self.chance.below(3);
            self.servers[index].agent.busy = Some((due, record, decision));
        }
    }

    fn tell(&mut self, from: usize, report: &Said) {
        for to in 0..self.servers.len() {
            let there = self.hears[from][to] && self.servers[to].runs();
            if to != from && there && self.chance.percent(95) {
                let at = self.now + 1 + self.chance.below(3);
                self.messages.push((at, from, to, report.clone()));
            }
        }
    }

    fn execute(&mut self, index: usize, record: &Record, decision: Decision) {
        match decision {
            Decision::Hold => {}
            Decision::Follow => self.follow(index, record),
            Decision::Promote(step) => self.promote(index, record, step),
            Decision::Degrade(step) => self.degrade(index, step),
            Decision::Restore(step) => self.restore(index, step),
            Decision::Yield(step) => self.hand_over(index, &step),
            Decision::Demote => self.servers[index].node.iter_mut().for_each(Node::kill),
            Decision::Rejoin => {
                let node = self.servers[index].node.as_mut().filter(|node| node.role == Role::Stopped);
                self.counts.truncated += node.map_or(0, Node::rejoin);
            }
            Decision::Reseed => self.reseed(index, record),
        }
    }

    /// Its database, if it answers.
    fn node(&mut self, index: usize) -> Option<&mut Node> {
        self.servers[index].node.as_mut().filter(|node| !node.paused)
    }

    fn follow(&mut self, index: usize, record: &Record) {
        let Some(Node { role: Role::Replica(replica), .. }) = self.node(index) else { return };
        *replica =
            Replica { epoch: record.epoch, source: Some(record.primary.clone()), must_have: None, ..replica.clone() };
        self.servers[index].agent.stopped_for = None;
    }

    fn promote(&mut self, index: usize, record: &Record, step: Promotion) {
        match step {
            Promotion::Stop(version) => {
                let Some(Node { role: Role::Replica(replica), .. }) = self.node(index) else { return };
                replica.source = None;
                self.servers[index].agent.stopped_for = Some(version);
            }
            Promotion::Drain => {
                let Some(node) = self.node(index) else { return };
                node.applied = node.log.len();
            }
            Promotion::Claim(next) => _ = self.swap(index, &next),
            Promotion::Release(next) => {
                if self.swap(index, &next) {
                    self.follow(index, &next);
                }
            }
            Promotion::Open => self.open(index, record),
        }
    }

    fn open(&mut self, index: usize, record: &Record) {
        let outside = self.servers.iter().map(|server| &server.name).filter(|name| !record.in_sync.contains(*name));
        let barred = outside.map(|name| (name.clone(), 0)).collect();
        let Some(node) = self.node(index) else { return };
        node.open(record.epoch, record.in_sync.len() > 1, barred);
        let has: BTreeSet<u32> = node.log.iter().copied().collect();
        // One that was paused while it opened finds out later; nobody acknowledges for it.
        if record.epoch < self.store.record.epoch {
            return;
        }
        self.counts.failovers += usize::from(record.epoch > 1);
        if let Some(lost) = self.acknowledged.iter().find(|write| !has.contains(write)) {
            let name = &self.servers[index].name;
            self.failure = Some(format!("{name} opens in epoch {} without write {lost}", record.epoch));
        }
    }

    fn degrade(&mut self, index: usize, step: Degrading) {
        self.counts.degraded += 1;
        if let Degrading::Shrink(next) = &step
            && !self.swap(index, next)
        {
            return;
        }
        let Some(Node { role: Role::Primary { waits, barred, invited, .. }, log, .. }) = self.node(index) else {
            return;
        };
        match step {
            Degrading::Bar(replica) => _ = barred.insert(replica, log.len() as u64),
            Degrading::Shrink(_) => *invited = None,
            Degrading::StopWaiting => *waits = false,
        }
    }

    fn restore(&mut self, index: usize, step: Restoring) {
        if let Restoring::Grow(next) = &step {
            self.swap(index, next);
        }
        let Some(Node { role: Role::Primary { waits, barred, invited, .. }, log, .. }) = self.node(index) else {
            return;
        };
        match step {
            Restoring::Admit(replica) => _ = barred.remove(&replica),
            Restoring::Invite(replica, version) => {
                *invited = Some(Invitation { replica, version, mark: log.len() as u64 });
            }
            Restoring::WaitFor(_) => {
                *waits = true;
                invited.iter_mut().for_each(|invited| invited.mark = log.len() as u64);
            }
            Restoring::Grow(_) => {}
        }
    }

    fn hand_over(&mut self, index: usize, step: &Yielding) {
        if let Yielding::Hand(next) = step {
            self.counts.handed_over += usize::from(self.swap(index, next));
            return;
        }
        if let Some(Node { role: Role::Primary { closed, .. }, .. }) = self.node(index) {
            *closed = *step == Yielding::Close;
        }
    }

    fn reseed(&mut self, index: usize, record: &Record) {
        let primary = self.index(&record.primary);
        let source = self.servers[primary].node.as_ref();
        let source = source.filter(|node| matches!(&node.role, Role::Primary { epoch, .. } if *epoch == record.epoch));
        let Some(log) = source.map(|node| node.log[..node.applied].to_vec()) else { return };
        let applied = log.len();
        let role = Role::Replica(Replica { whole: true, ..Replica::default() });
        self.servers[index].node = Some(Node { log, applied, role, paused: false });
        self.counts.reseeded += 1;
    }

    /// Writes `next`; whether the agent hears that it is written.
    fn swap(&mut self, index: usize, next: &Record) -> bool {
        self.servers[index].agent.made = None;
        if !self.reaches_store(index) || self.chance.percent(10) {
            if self.chance.percent(50) {
                let at = self.now + 1 + self.chance.below(LATE_MAX);
                self.store.swap_late(next.clone(), at);
            }
            return false;
        }
        let written = self.store.swap(next);
        if written {
            let Record { version, epoch, primary, in_sync } = next;
            let in_sync = in_sync.iter().map(ServerName::as_str).collect::<Vec<_>>().join(" ");
            self.say(index, format_args!("wrote {version}: epoch {epoch}, primary {primary}, in sync {in_sync}"));
        }
        if !written || self.chance.percent(5) {
            return false;
        }
        let agent = &mut self.servers[index].agent;
        agent.made = Some(next.version);
        agent.record = Some(next.clone());
        true
    }

    fn replicate(&mut self) {
        for index in 0..self.servers.len() {
            let Server { slow, stuck, .. } = self.servers[index];
            let runs = self.servers[index].runs();
            let step = if slow { 0 } else { self.chance.below(4) as usize };
            let Some(node) = self.servers[index].node.as_mut().filter(|node| runs && !node.paused) else { continue };
            let Role::Replica(Replica { epoch, source, .. }) = &node.role else { continue };
            node.applied = (node.applied + step).min(node.log.len());
            if let Some(source) = source.clone()
                && stuck.is_none()
            {
                let epoch = *epoch;
                self.receive(index, &source, epoch);
            }
        }
    }

    fn receive(&mut self, index: usize, source: &ServerName, epoch: u64) {
        let from = self.index(source);
        let joined = self.servers[from].runs() && self.hears[from][index] && self.hears[index][from];
        let (some, acknowledged) = (self.chance.below(5) as usize, self.chance.percent(80));
        let Some(Node { role: Role::Primary { epoch: of, waits, barred, .. }, paused: false, log, .. }) =
            self.servers[from].node.as_ref().filter(|_| joined)
        else {
            return;
        };
        if *of != epoch || barred.contains_key(&self.servers[index].name) {
            return;
        }
        let (log, waits) = (log.clone(), *waits);
        let Some(Node { log: received, role: Role::Replica(replica), .. }) = &mut self.servers[index].node else {
            return;
        };
        if !log.starts_with(received) {
            (replica.diverged, replica.source) = (true, None);
            return;
        }
        let must_have = *replica.must_have.get_or_insert(log.len());
        let until = (received.len() + some).min(log.len());
        received.extend_from_slice(&log[received.len()..until]);
        replica.whole |= until >= must_have;
        if replica.acknowledges && acknowledged && waits {
            self.acknowledge(from, epoch, until);
        }
    }

    fn write(&mut self) {
        for index in 0..self.servers.len() {
            let (runs, writes) = (self.servers[index].runs(), self.chance.percent(60));
            let next_write = self.next_write;
            let Some(Node { role: Role::Primary { epoch, waits, closed, .. }, paused: false, log, .. }) =
                self.servers[index].node.as_mut().filter(|_| runs)
            else {
                continue;
            };
            let (epoch, waits) = (*epoch, *waits);
            if writes && !*closed {
                log.push(next_write);
                self.next_write += 1;
            }
            if !waits {
                self.acknowledge(index, epoch, usize::MAX);
            }
        }
    }

    /// The database at `index` tells its clients that all up to `until` is written.
    fn acknowledge(&mut self, index: usize, epoch: u64, until: usize) {
        let Some(node) = self.servers[index].node.as_mut() else { return };
        let until = until.min(node.log.len());
        if until <= node.applied {
            return;
        }
        self.acknowledged.extend(&node.log[node.applied..until]);
        node.applied = until;
        if epoch != self.last.0 {
            self.say(index, format_args!("acknowledges its first write in epoch {epoch}"));
        }
        let (last_epoch, last) = self.last;
        if epoch < last_epoch || (epoch == last_epoch && index != last) {
            let [name, other] = [index, last].map(|index| &self.servers[index].name);
            self.failure =
                Some(format!("{name} acknowledges in epoch {epoch}, after {other} did in epoch {last_epoch}"));
        }
        self.last = (epoch, index);
    }
}

/// A decision in few words: who writes what is said when it is written.
fn name(decision: &Decision) -> String {
    match decision {
        Decision::Promote(Promotion::Claim(_)) => "Claim".to_owned(),
        Decision::Promote(Promotion::Release(_)) => "Release".to_owned(),
        Decision::Promote(step) => format!("{step:?}"),
        Decision::Degrade(Degrading::Shrink(_)) => "Shrink".to_owned(),
        Decision::Degrade(Degrading::Bar(replica)) => format!("Bar {replica}"),
        Decision::Degrade(step) => format!("{step:?}"),
        Decision::Restore(Restoring::Grow(_)) => "Grow".to_owned(),
        Decision::Restore(Restoring::Admit(replica)) => format!("Admit {replica}"),
        Decision::Restore(Restoring::Invite(replica, version)) => format!("Invite {replica} by version {version}"),
        Decision::Restore(Restoring::WaitFor(replica)) => format!("Wait for {replica}"),
        Decision::Yield(Yielding::Hand(_)) => "Hand over".to_owned(),
        Decision::Yield(step) => format!("{step:?}"),
        decision => format!("{decision:?}"),
    }
}
