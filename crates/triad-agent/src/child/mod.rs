//! The inside of child processes: what `triad edge`, `triad dns` and `triad run-child` do.

pub mod confine;
pub mod control;
mod dns;
mod edge;

pub use confine::run_child;
pub use dns::main as dns_main;
pub use edge::{DRAIN_TIMEOUT, HOLD_TIMEOUT, main as edge_main};

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::time::Duration;

use anyhow::{Context, bail};
use listenfd::ListenFd;
use nix::sys::prctl;
use tokio::signal::unix::{SignalKind, signal};
use triad_model::{Ban, DatabaseRoute, Noticed, ServerName, UsageNews};

use control::{Channel, Notice, Order};

/// How often a child tells the agent what it counted.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How often a child tells the agent what clients did: what they use at several servers adds up within this.
const NOTICE_EVERY: Duration = Duration::from_millis(250);

/// The inherited sockets by name, in order.
struct Inherited {
    sockets: ListenFd,
    names: BTreeMap<String, Vec<usize>>,
}

impl Inherited {
    fn take() -> anyhow::Result<Self> {
        let sockets = ListenFd::from_env();
        let names = std::env::var("LISTEN_FDNAMES").context("this command is started by the agent, with sockets")?;
        let mut by_name = BTreeMap::<String, Vec<usize>>::new();
        for (index, name) in names.split(':').enumerate() {
            by_name.entry(name.to_owned()).or_default().push(index);
        }
        if by_name.values().map(Vec::len).sum::<usize>() != sockets.len() {
            bail!("LISTEN_FDNAMES does not name {} sockets: {names}", sockets.len());
        }
        Ok(Self { sockets, names: by_name })
    }

    fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    fn tcp(&mut self, name: &str) -> anyhow::Result<Vec<std::net::TcpListener>> {
        let indices = self.names.get(name).cloned().unwrap_or_default();
        indices
            .into_iter()
            .map(|index| {
                let socket = self.sockets.take_tcp_listener(index)?.context("a socket was taken twice")?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .collect()
    }

    fn udp(&mut self, name: &str) -> anyhow::Result<Vec<std::net::UdpSocket>> {
        let indices = self.names.get(name).cloned().unwrap_or_default();
        indices
            .into_iter()
            .map(|index| {
                let socket = self.sockets.take_udp_socket(index)?.context("a socket was taken twice")?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .collect()
    }
}

/// A service as its own process holds it.
trait Served: Sized {
    type Plan: serde::de::DeserializeOwned;
    type Report: serde::Serialize;

    fn start(plan: Self::Plan, inherited: &mut Inherited) -> anyhow::Result<Self>;
    fn reload(&mut self, plan: Self::Plan) -> anyhow::Result<()>;
    fn leave_out(&mut self, servers: Vec<ServerName>);
    /// Takes note that the way to these servers is cut, and to no others.
    fn cut_off(&mut self, _servers: Vec<ServerName>) {}
    /// Lets these clients in no more, and all others.
    fn ban(&mut self, _bans: Vec<Ban>) {}
    /// Heeds what clients do at another front server.
    fn hear(&mut self, _news: UsageNews) {}
    /// Goes by this, where it relays to the database.
    fn route_database(&mut self, _route: DatabaseRoute) {}
    /// What clients did since this was asked last, if there is anything to say.
    fn noticed(&self) -> Option<Noticed> {
        None
    }
    fn report(&self) -> Self::Report;
    /// Takes nothing new, because another process serves the same sockets, and goes on with what runs.
    fn retire(&mut self);
    /// Whether nothing is left to do after that.
    fn is_done(&self) -> bool;
    /// Finishes what runs and takes nothing new.
    fn drain(self);
    /// Resolves when the service no longer serves though its process lives.
    async fn failed(&mut self);
}

/// The life of a service's process: the first plan, then orders and reports until SIGTERM or the agent's end, or, once
/// it was replaced, until nothing is left to do.
fn serve<S: Served>(name: &CStr) -> anyhow::Result<()> {
    prctl::set_name(name).context("cannot name this process")?;
    let mut inherited = Inherited::take()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut channel = Channel::from_stdin()?;
        let Some(Order::Plan(plan)) = channel.receive::<Order<S::Plan>>().await? else {
            bail!("the agent was gone before it gave a plan");
        };
        let served = start::<S>(plan, &mut inherited, &mut channel).await?;
        let served = work(served, &mut channel).await?;
        if let Some(served) = served {
            served.drain();
        }
        Ok(())
    })
}

/// Starts the service, and says to the agent that it serves, with a first report; or why it does not.
async fn start<S: Served>(plan: S::Plan, inherited: &mut Inherited, channel: &mut Channel) -> anyhow::Result<S> {
    match S::start(plan, inherited) {
        Ok(served) => {
            channel.send(&Notice::Report(served.report())).await?;
            channel.send(&Notice::<S::Report>::InForce).await?;
            Ok(served)
        }
        Err(error) => {
            channel.send(&Notice::<S::Report>::Refused(format!("{error:#}"))).await?;
            Err(error)
        }
    }
}

/// Does as the agent says until it is time to end; `None` when the agent is gone.
async fn work<S: Served>(mut served: S, channel: &mut Channel) -> anyhow::Result<Option<S>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut second = tokio::time::interval(REPORT_EVERY);
    let mut quarter = tokio::time::interval(NOTICE_EVERY);
    let mut retired = false;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            () = served.failed(), if !retired => bail!("a socket is no longer served"),
            _ = second.tick() => {
                // Asked first: then the report that follows is the last word.
                let done = retired && served.is_done();
                channel.send(&Notice::Report(served.report())).await?;
                if done {
                    break;
                }
            }
            _ = quarter.tick() => if let Some(noticed) = served.noticed() {
                channel.send(&Notice::<S::Report>::Noticed(noticed)).await?;
            },
            order = channel.receive() => match order? {
                None => return Ok(None),
                Some(Order::LeaveOut(servers)) => served.leave_out(servers),
                Some(Order::CutOff(servers)) => served.cut_off(servers),
                Some(Order::Ban(bans)) => served.ban(bans),
                Some(Order::Hear(news)) => served.hear(news),
                Some(Order::Database(route)) => served.route_database(route),
                Some(Order::Retire) => {
                    served.retire();
                    retired = true;
                }
                Some(Order::Plan(plan)) => channel.send(&taken_up(&mut served, plan)).await?,
            },
        }
    }
    Ok(Some(served))
}

fn taken_up<S: Served>(served: &mut S, plan: S::Plan) -> Notice<S::Report> {
    match served.reload(plan) {
        Ok(()) => Notice::InForce,
        Err(error) => Notice::Refused(format!("{error:#}")),
    }
}
