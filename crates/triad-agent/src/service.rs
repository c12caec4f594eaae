//! A child process of ours that works from a plan: the edge, the name server. It can be replaced by another one on the
//! same sockets while it serves; what is when is decided in `generations`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;
use triad_model::{Ban, DatabaseRoute, Noticed, ServerName, UsageNews};

use crate::binary::Binary;
use crate::child::HOLD_TIMEOUT;
use crate::child::control::{Channel, Notice, Order};
use crate::generations::{Act, Event, Generations, Number};
use crate::ledger::{Counted, Ledger, Life};
use crate::supervisor::{Attach, Launch, Process, Wish};

/// A running service: its processes, its plan, and what it reports.
pub struct Service<P, R> {
    inner: Rc<Inner<P, R>>,
    /// Its processes: the one that serves first, then those that finish what they had.
    pub processes: watch::Receiver<Vec<Process>>,
    /// What was reported last; `None` until it is.
    pub report: watch::Receiver<Option<R>>,
    /// Servers it is to leave out.
    pub left_out: watch::Sender<Vec<ServerName>>,
    /// Servers that live, and to which the way is cut.
    pub cut_off: watch::Sender<Vec<ServerName>>,
    /// Whom it is to let in no more.
    pub bans: watch::Sender<Vec<Ban>>,
    /// Where the database takes what, once somebody says so; each new process is told the last one.
    pub database: watch::Sender<Option<DatabaseRoute>>,
    /// What clients do at other front servers.
    pub news: broadcast::Sender<UsageNews>,
    /// What its processes noticed of clients.
    pub noticed: broadcast::Sender<Noticed>,
}

/// What the tasks of a service share.
struct Inner<P, R> {
    launch: Launch,
    /// What it is to work from: each new child gets it, and running ones when it changes.
    plan: watch::Sender<P>,
    left_out: watch::Sender<Vec<ServerName>>,
    cut_off: watch::Sender<Vec<ServerName>>,
    bans: watch::Sender<Vec<Ban>>,
    database: watch::Sender<Option<DatabaseRoute>>,
    news: broadcast::Sender<UsageNews>,
    noticed: broadcast::Sender<Noticed>,
    processes: watch::Sender<Vec<Process>>,
    report: watch::Sender<Option<R>>,
    state: RefCell<State<R>>,
}

struct State<R> {
    generations: Generations,
    members: BTreeMap<Number, Member>,
    ledger: Ledger<R>,
    upgrades: u64,
}

/// A process, and what the service says to it and hears from it beside plans and reports.
#[derive(Clone)]
struct Member {
    process: Process,
    retire: watch::Sender<bool>,
    /// What the child said of the last plan it was sent.
    answer: watch::Sender<Answer>,
}

/// What a child says of a plan; `None` until it does.
type Answer = Option<Result<(), String>>;

/// The processes before and after an upgrade.
pub struct Upgrade {
    /// The one that was replaced.
    pub old_pid: Option<u32>,
    /// The one that serves now.
    pub new_pid: Option<u32>,
}

/// Time a child has to work from a new plan. An edge lets new backends be checked first.
const CHANGE_LIMIT: Duration = Duration::from_secs(5);

/// Messages about clients that wait for a reader; whoever is slower loses the oldest.
const LATELY_MAX: usize = 8;

/// Time beyond its own bound that a replaced process has to end. It bounds itself; this is for one that hangs.
const OVERDUE_AFTER: Duration = HOLD_TIMEOUT.saturating_add(Duration::from_secs(15));

impl<P, R> Service<P, R>
where
    P: Serialize + Clone + Send + Sync + 'static,
    R: Counted + DeserializeOwned + Send + Sync + 'static,
{
    /// Starts the process of `launch`, whose standard input becomes the control channel.
    pub fn start(launch: Launch, plan: P) -> Self {
        let (left_out, cut_off) = (watch::Sender::new(Vec::new()), watch::Sender::new(Vec::new()));
        let bans = watch::Sender::new(Vec::new());
        let database = watch::Sender::new(None);
        let (news, noticed) = (broadcast::Sender::new(LATELY_MAX), broadcast::Sender::new(LATELY_MAX));
        let state =
            State { generations: Generations::new(), members: BTreeMap::new(), ledger: Ledger::new(), upgrades: 0 };
        let inner = Rc::new(Inner {
            plan: watch::Sender::new(plan),
            left_out: left_out.clone(),
            cut_off: cut_off.clone(),
            bans: bans.clone(),
            database: database.clone(),
            news: news.clone(),
            noticed: noticed.clone(),
            processes: watch::Sender::new(Vec::new()),
            report: watch::Sender::new(None),
            state: RefCell::new(state),
            launch,
        });
        let current = inner.state.borrow().generations.current();
        inner.run(current, inner.launch.clone(), Wish::Keep);
        inner.show_processes();
        let (processes, report) = (inner.processes.subscribe(), inner.report.subscribe());
        Self { processes, report, left_out, cut_off, bans, database, news, noticed, inner }
    }

    /// Makes the child work from `plan`. If it refuses, or does not answer in time, it is left with the plan it had.
    /// Those that finish what they had work from it too, as far as they can.
    pub async fn change(&self, plan: P) -> anyhow::Result<()> {
        let Some(current) = self.inner.current() else { bail!("it does not run") };
        let mut answer = current.answer.subscribe();
        current.answer.send_replace(None);
        let before = self.inner.plan.send_replace(plan);
        let answered = timeout(CHANGE_LIMIT, answer.wait_for(Option::is_some)).await;
        let outcome = match answered {
            Ok(Ok(answer)) => answer.clone().unwrap_or(Ok(())),
            Ok(Err(_)) | Err(_) => Err("it does not answer".to_owned()),
        };
        outcome.map_err(|why| {
            self.inner.plan.send_replace(before);
            anyhow!("{} keeps to what it had: {why}", current.process.name())
        })
    }

    /// What is installed at `path`, to replace the process that serves.
    pub fn binary(&self, path: &Path) -> anyhow::Result<Binary> {
        Binary::open(path, self.inner.launch.sockets.len())
    }

    /// Replaces the process that serves by one that runs `binary`, once that serves as well. If it does not, nothing is
    /// changed, and the error says why.
    pub async fn upgrade(&self, binary: Binary) -> anyhow::Result<Upgrade> {
        let number = self.inner.state.borrow_mut().generations.begin()?;
        let launch = Launch { binary, ..self.inner.launch.clone() };
        let tried = self.inner.run(number, launch, Wish::Once);
        let name = tried.process.name();
        match self.inner.try_out(number, &tried).await {
            Ok(upgrade) => {
                tracing::info!(process = name, old_pid = upgrade.old_pid, new_pid = upgrade.new_pid, "replaced");
                Ok(upgrade)
            }
            Err(why) => {
                tracing::error!(process = name, "the new one does not serve, the old one stays: {why}");
                self.inner.reject(number, &tried).await;
                let log = self.inner.launch.log.display();
                bail!("the new {name} {why}; the old one goes on serving, nothing is changed ({log} may say more)")
            }
        }
    }

    /// Ends all its processes; returns when they are reaped.
    pub async fn stop(&self) {
        let members: Vec<Member> = self.inner.state.borrow().members.values().cloned().collect();
        futures_util::future::join_all(members.iter().map(|member| member.process.stop())).await;
    }
}

impl<P, R> Inner<P, R>
where
    P: Serialize + Clone + Send + Sync + 'static,
    R: Counted + DeserializeOwned + Send + Sync + 'static,
{
    /// Starts the process `number`.
    fn run(self: &Rc<Self>, number: Number, launch: Launch, wish: Wish) -> Member {
        let (retire, answer) = (watch::Sender::new(false), watch::Sender::new(None));
        let attach = self.clone().attach(number, retire.clone(), answer.clone());
        let process = Process::start_attached(launch, wish, attach);
        let member = Member { process, retire, answer };
        self.state.borrow_mut().members.insert(number, member.clone());
        member
    }

    /// Makes the control channel of each start of the process `number`.
    fn attach(self: Rc<Self>, number: Number, retire: watch::Sender<bool>, answer: watch::Sender<Answer>) -> Attach {
        let mut starts = 0;
        Box::new(move |process| {
            let (ours, theirs) = UnixStream::pair()?;
            starts += 1;
            let conversation = Conversation {
                service: self.clone(),
                life: (number, starts),
                process: process.clone(),
                plans: self.plan.subscribe(),
                leave_outs: self.left_out.subscribe(),
                cut_offs: self.cut_off.subscribe(),
                bans: self.bans.subscribe(),
                routes: self.database.subscribe(),
                news: self.news.subscribe(),
                retire: retire.subscribe(),
                answer: answer.clone(),
            };
            tokio::task::spawn_local(conversation.hold(Channel::new(ours)?));
            Ok(Stdio::from(OwnedFd::from(theirs)))
        })
    }

    fn current(&self) -> Option<Member> {
        let state = self.state.borrow();
        state.members.get(&state.generations.current()).cloned()
    }

    /// Waits until the process `number` serves, then puts it in the place of the one that does; or says why not.
    async fn try_out(self: &Rc<Self>, number: Number, tried: &Member) -> Result<Upgrade, String> {
        let mut answer = tried.answer.subscribe();
        let answered = tokio::select! {
            answered = timeout(CHANGE_LIMIT, answer.wait_for(Option::is_some)) => match answered {
                Ok(Ok(answer)) => answer.clone().unwrap_or(Ok(())),
                Ok(Err(_)) | Err(_) => Err(format!("did not serve within {} s", CHANGE_LIMIT.as_secs())),
            },
            () = tried.process.ended() => Err(tried.process.last_exit().unwrap_or_else(|| "ended".to_owned())),
        };
        answered.map_err(|why| why.replace('\n', "; "))?;
        let upgrades = self.state.borrow().upgrades + 1;
        if !tried.process.take_over(upgrades) {
            return Err("ended as soon as it served".to_owned());
        }
        let act = self.state.borrow_mut().generations.on(Event::InForce(number));
        let Some(Act::Replace { old, by: _ }) = act else { return Err("was overtaken".to_owned()) };
        self.state.borrow_mut().upgrades = upgrades;
        let old_pid = self.retire(old);
        Ok(Upgrade { old_pid, new_pid: tried.process.report().pid })
    }

    /// Tells the process `number` to finish what it has, and sees to its end; gives its process id.
    fn retire(self: &Rc<Self>, number: Number) -> Option<u32> {
        let old = self.state.borrow().members.get(&number).cloned()?;
        let pid = old.process.report().pid;
        old.process.retire();
        old.retire.send_replace(true);
        self.show_processes();
        let service = self.clone();
        tokio::task::spawn_local(async move {
            if timeout(OVERDUE_AFTER, old.process.ended()).await.is_err()
                && let Some(Act::Kill(_)) = service.take_in(Event::Overdue(number))
            {
                old.process.kill().await;
            }
            service.forget(number);
        });
        pid
    }

    /// Ends the process `number`, which did not become the one that serves.
    async fn reject(&self, number: Number, tried: &Member) {
        if let Some(Act::Kill(_)) = self.take_in(Event::Failed(number)) {
            tried.process.kill().await;
        }
        self.forget(number);
    }

    fn take_in(&self, event: Event) -> Option<Act> {
        self.state.borrow_mut().generations.on(event)
    }

    /// The process `number` is reaped.
    fn forget(&self, number: Number) {
        self.take_in(Event::Ended(number));
        self.state.borrow_mut().members.remove(&number);
        self.show_processes();
    }

    /// Those that serve or drain. One that is tried is nobody's business yet.
    fn show_processes(&self) {
        let state = self.state.borrow();
        let numbers = std::iter::once(state.generations.current()).chain(state.generations.leaving().iter().copied());
        let members = numbers.filter_map(|number| state.members.get(&number));
        self.processes.send_replace(members.map(|member| member.process.clone()).collect());
    }

    fn show_report(&self) {
        let state = self.state.borrow();
        self.report.send_replace(state.ledger.total(state.generations.current()));
    }
}

/// The agent's side of one start of one process.
struct Conversation<P, R> {
    service: Rc<Inner<P, R>>,
    life: Life,
    process: Process,
    plans: watch::Receiver<P>,
    leave_outs: watch::Receiver<Vec<ServerName>>,
    cut_offs: watch::Receiver<Vec<ServerName>>,
    bans: watch::Receiver<Vec<Ban>>,
    routes: watch::Receiver<Option<DatabaseRoute>>,
    news: broadcast::Receiver<UsageNews>,
    retire: watch::Receiver<bool>,
    answer: watch::Sender<Answer>,
}

impl<P, R> Conversation<P, R>
where
    P: Serialize + Clone + Send + Sync + 'static,
    R: Counted + DeserializeOwned + Send + Sync + 'static,
{
    async fn hold(mut self, mut channel: Channel) {
        self.plans.mark_changed();
        self.leave_outs.mark_changed();
        if !self.cut_offs.borrow().is_empty() {
            self.cut_offs.mark_changed();
        }
        // Nobody is banned at a child that was not told.
        if !self.bans.borrow().is_empty() {
            self.bans.mark_changed();
        }
        if self.routes.borrow().is_some() {
            self.routes.mark_changed();
        }
        while let Ok(true) = self.step(&mut channel).await {}
        self.service.state.borrow_mut().ledger.end(self.life);
        self.service.show_report();
    }

    /// Hears or says one thing; false when the child is gone.
    async fn step(&mut self, channel: &mut Channel) -> anyhow::Result<bool> {
        tokio::select! {
            biased;
            changed = self.plans.changed() => {
                changed?;
                let plan = self.plans.borrow_and_update().clone();
                channel.send(&Order::Plan(plan)).await?;
            }
            changed = self.leave_outs.changed() => {
                changed?;
                let servers = self.leave_outs.borrow_and_update().clone();
                channel.send(&Order::<P>::LeaveOut(servers)).await?;
            }
            changed = self.cut_offs.changed() => {
                changed?;
                let servers = self.cut_offs.borrow_and_update().clone();
                channel.send(&Order::<P>::CutOff(servers)).await?;
            }
            changed = self.bans.changed() => {
                changed?;
                let bans = self.bans.borrow_and_update().clone();
                channel.send(&Order::<P>::Ban(bans)).await?;
            }
            changed = self.routes.changed() => {
                changed?;
                let route = self.routes.borrow_and_update().clone();
                if let Some(route) = route {
                    channel.send(&Order::<P>::Database(route)).await?;
                }
            }
            news = self.news.recv() => match news {
                Ok(news) => channel.send(&Order::<P>::Hear(news)).await?,
                // A child that is slow to listen is spared what is old.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Ok(false),
            },
            changed = self.retire.changed() => {
                changed?;
                channel.send(&Order::<P>::Retire).await?;
            }
            notice = channel.receive() => match notice? {
                None => return Ok(false),
                Some(Notice::InForce) => {
                    self.process.mark_ready();
                    self.answer.send_replace(Some(Ok(())));
                }
                Some(Notice::Refused(reason)) => { self.answer.send_replace(Some(Err(reason))); }
                // Nobody has to listen.
                Some(Notice::Noticed(noticed)) => _ = self.service.noticed.send(noticed),
                Some(Notice::Report(report)) => {
                    self.service.state.borrow_mut().ledger.take(self.life, report);
                    self.service.show_report();
                }
            },
        }
        Ok(true)
    }
}
