//! A child process of ours that works from a plan: the edge, the name server.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use triad_model::ServerName;

use crate::child::control::{Channel, Notice, Order};
use crate::supervisor::{Attach, Launch, Process};

/// A running service: its process, its plan, and what it reports.
pub struct Service<P, R> {
    /// The process.
    pub process: Process,
    /// What it reported last; `None` until it does.
    pub report: watch::Receiver<Option<R>>,
    /// What it is to work from. Sending a new plan changes a running child; each new child gets the last one.
    pub plan: watch::Sender<P>,
    /// Servers it is to leave out.
    pub left_out: watch::Sender<Vec<ServerName>>,
}

impl<P, R> Service<P, R>
where
    P: Serialize + Clone + Send + Sync + 'static,
    R: DeserializeOwned + Send + Sync + 'static,
{
    /// Starts the process of `launch`, whose standard input becomes the control channel.
    pub fn start(mut launch: Launch, plan: P) -> Self {
        let (plan, plans) = watch::channel(plan);
        let (left_out, leave_outs) = watch::channel(Vec::new());
        let (reports, report) = watch::channel(None);
        let attach: Attach = Box::new(move |process| {
            let (ours, theirs) = UnixStream::pair()?;
            let conversation = Conversation {
                process: process.clone(),
                plans: plans.clone(),
                leave_outs: leave_outs.clone(),
                reports: reports.clone(),
            };
            tokio::task::spawn_local(conversation.hold(Channel::new(ours)?));
            Ok(Stdio::from(OwnedFd::from(theirs)))
        });
        launch.attach = Some(attach);
        Self { process: Process::start(launch), report, plan, left_out }
    }
}

/// The agent's side of one child's life.
struct Conversation<P, R> {
    process: Process,
    plans: watch::Receiver<P>,
    leave_outs: watch::Receiver<Vec<ServerName>>,
    reports: watch::Sender<Option<R>>,
}

impl<P: Serialize + Clone, R: DeserializeOwned> Conversation<P, R> {
    async fn hold(mut self, mut channel: Channel) {
        self.plans.mark_changed();
        self.leave_outs.mark_changed();
        while let Ok(true) = self.step(&mut channel).await {}
        self.reports.send_replace(None);
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
            notice = channel.receive() => match notice? {
                None => return Ok(false),
                Some(Notice::Ready) => self.process.mark_ready(),
                Some(Notice::Refused(reason)) => tracing::error!(reason, "a plan was refused; the one before stays"),
                Some(Notice::Report(report)) => { self.reports.send_replace(Some(report)); }
            },
        }
        Ok(true)
    }
}
