//! A child process of ours that works from a plan: the edge, the name server.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::timeout;
use triad_model::ServerName;

use crate::child::control::{Channel, Notice, Order};
use crate::supervisor::{Attach, Launch, Process};

/// A running service: its process, its plan, and what it reports.
pub struct Service<P, R> {
    /// The process.
    pub process: Process,
    /// What it reported last; `None` until it does.
    pub report: watch::Receiver<Option<R>>,
    /// What it is to work from: each new child gets it, and a running one when it changes.
    plan: watch::Sender<P>,
    /// What the child said of the last plan it was sent.
    answer: watch::Sender<Answer>,
    /// Servers it is to leave out.
    pub left_out: watch::Sender<Vec<ServerName>>,
}

/// What a child says of a plan; `None` until it does.
type Answer = Option<Result<(), String>>;

/// Time a child has to work from a new plan. An edge lets new backends be checked first.
const CHANGE_LIMIT: Duration = Duration::from_secs(5);

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
        let answer = watch::Sender::new(None);
        let answers = answer.clone();
        let attach: Attach = Box::new(move |process| {
            let (ours, theirs) = UnixStream::pair()?;
            let conversation = Conversation {
                process: process.clone(),
                plans: plans.clone(),
                leave_outs: leave_outs.clone(),
                reports: reports.clone(),
                answer: answers.clone(),
            };
            tokio::task::spawn_local(conversation.hold(Channel::new(ours)?));
            Ok(Stdio::from(OwnedFd::from(theirs)))
        });
        launch.attach = Some(attach);
        Self { process: Process::start(launch), report, plan, answer, left_out }
    }

    /// Makes the child work from `plan`. If it refuses, or does not answer in time, it is left with the plan it had.
    pub async fn change(&self, plan: P) -> anyhow::Result<()> {
        let mut answer = self.answer.subscribe();
        self.answer.send_replace(None);
        let before = self.plan.send_replace(plan);
        let answered = timeout(CHANGE_LIMIT, answer.wait_for(Option::is_some)).await;
        let outcome = match answered {
            Ok(Ok(answer)) => answer.clone().unwrap_or(Ok(())),
            Ok(Err(_)) | Err(_) => Err("it does not answer".to_owned()),
        };
        outcome.map_err(|why| {
            self.plan.send_replace(before);
            anyhow!("{} keeps to what it had: {why}", self.process.name())
        })
    }
}

/// The agent's side of one child's life.
struct Conversation<P, R> {
    process: Process,
    plans: watch::Receiver<P>,
    leave_outs: watch::Receiver<Vec<ServerName>>,
    reports: watch::Sender<Option<R>>,
    answer: watch::Sender<Answer>,
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
                Some(Notice::InForce) => {
                    self.process.mark_ready();
                    self.answer.send_replace(Some(Ok(())));
                }
                Some(Notice::Refused(reason)) => { self.answer.send_replace(Some(Err(reason))); }
                Some(Notice::Report(report)) => { self.reports.send_replace(Some(report)); }
            },
        }
        Ok(true)
    }
}
