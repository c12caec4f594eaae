//! What an operator wishes of the primary: that another server becomes it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use triad_failover::{Database, View, obstacle_to};
use triad_model::{ServerName, Switchover, SwitchoverRequest};

/// Time in which the successor must have taken over; then the old primary goes on.
const SWITCHOVER_LIMIT: Duration = Duration::from_secs(10);
/// Wishes that wait.
pub(crate) const WISHES_MAX: usize = 4;

/// One of them, and who waits for what comes of it.
pub(crate) enum Wish {
    /// Another server becomes the primary.
    Switchover { request: SwitchoverRequest, answer: oneshot::Sender<Result<Switchover, String>> },
    /// This server's database is started anew, if it is a replica.
    Restart { answer: oneshot::Sender<Result<(), String>> },
}

/// At most one is being fulfilled.
pub(crate) struct Wishes {
    pub received: mpsc::Receiver<Wish>,
    current: Option<Current>,
}

struct Current {
    to: ServerName,
    epoch: u64,
    since: Duration,
    held_since: Option<Duration>,
    answer: oneshot::Sender<Result<Switchover, String>>,
}

impl Wishes {
    pub fn new(received: mpsc::Receiver<Wish>) -> Self {
        Self { received, current: None }
    }

    /// To whom this server is to hand over.
    pub fn successor(&self) -> Option<&ServerName> {
        self.current.as_ref().map(|current| &current.to)
    }

    /// Writes are held since `now`.
    pub fn held(&mut self, now: Duration) {
        if let Some(current) = &mut self.current {
            current.held_since.get_or_insert(now);
        }
    }

    /// Takes up a wish for another primary, or says what keeps it from being fulfilled.
    pub fn take(
        &mut self,
        request: SwitchoverRequest,
        answer: oneshot::Sender<Result<Switchover, String>>,
        view: &View<'_>,
        now: Duration,
    ) {
        let chosen = match &self.current {
            Some(current) => Err(format!("{} is about to take over already", current.to)),
            None => choose(request.to, view),
        };
        let (to, epoch) = match (chosen, view.record) {
            (Ok(to), Some(record)) if !request.dry_run => (to, record.epoch),
            (chosen, _) => {
                let told = chosen.map(|to| Switchover { from: view.me.clone(), to, held_ms: None });
                // Who asked may be gone.
                let _ = answer.send(told);
                return;
            }
        };
        tracing::info!(to = to.as_str(), "is to hand over");
        self.current = Some(Current { to, epoch, since: now, held_since: None, answer });
    }

    /// Answers when the successor takes writes, or when it takes too long.
    pub fn look(&mut self, view: &View<'_>, now: Duration) {
        let Some(current) = &self.current else { return };
        let is_open = |it: &Database| matches!(it, Database::Primary { epoch, .. } if *epoch > current.epoch);
        let successor = view.others.get(&current.to).and_then(|member| member.said.database.as_ref());
        let is_done = successor.is_some_and(is_open);
        if !is_done && now < current.since + SWITCHOVER_LIMIT {
            return;
        }
        let Some(Current { to, held_since, answer, .. }) = self.current.take() else { return };
        let ms = |since: Duration| u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(u64::MAX);
        let limit_s = SWITCHOVER_LIMIT.as_secs();
        let told = match view.record {
            _ if is_done => Ok(Switchover { from: view.me.clone(), to, held_ms: held_since.map(ms) }),
            None => Err(format!("whether {to} takes over is not known after {limit_s} s: no majority can be asked")),
            Some(record) if record.primary == to => Err(format!(
                "{to} is the primary, and does not take writes after {limit_s} s: `triad status database` says why"
            )),
            Some(_) => Err(format!("{to} did not take over within {limit_s} s; {} goes on", view.me)),
        };
        let _ = answer.send(told);
    }
}

/// The successor: the one that is asked for, or the first that can.
fn choose(to: Option<ServerName>, view: &View<'_>) -> Result<ServerName, String> {
    if let Some(to) = to {
        return obstacle_to(view, &to).map_or(Ok(to), Err);
    }
    let mut others = view.others.iter().filter(|(_, member)| member.said.database.is_some()).map(|(name, _)| name);
    let mut why = "there is no other server with a database that is heard".to_owned();
    let can = |name: &&ServerName| match obstacle_to(view, name) {
        Some(obstacle) => {
            why = obstacle;
            false
        }
        None => true,
    };
    others.find(can).cloned().ok_or(why)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use tokio::sync::{mpsc, oneshot};
    use triad_failover::{Database, Member, Record, Said, View};
    use triad_model::{ServerName, Switchover};

    use super::{Current, SWITCHOVER_LIMIT, Wishes};

    fn name(text: &str) -> ServerName {
        ServerName::new(text).expect("a name")
    }

    /// What srv3, asked to hand over to srv2 in epoch 1, answers when the time for it is up.
    fn answer(record: Option<Record>, srv2: Database) -> Result<Switchover, String> {
        let (answer, mut answered) = oneshot::channel();
        let mut wishes = Wishes::new(mpsc::channel(1).1);
        let since = Duration::ZERO;
        wishes.current = Some(Current { to: name("srv2"), epoch: 1, since, held_since: Some(since), answer });
        let said = Said { database: Some(srv2), ..Said::default() };
        let others = BTreeMap::from([(name("srv2"), Member { silent: false, stalled: false, said })]);
        let (me, record) = (name("srv3"), record.as_ref());
        let view = View { me: &me, record, made: None, database: &Database::Stopped, yields_to: None, others: &others };
        wishes.look(&view, SWITCHOVER_LIMIT);
        assert!(wishes.successor().is_none(), "the wish is over");
        answered.try_recv().expect("an answer")
    }

    fn record(epoch: u64, primary: &str) -> Option<Record> {
        Some(Record { version: epoch, epoch, primary: name(primary), in_sync: [name(primary)].into() })
    }

    #[test]
    fn whoever_asked_is_told_what_became_of_it() {
        let open = |epoch| Database::Primary {
            epoch,
            written: 1,
            waits: false,
            closed: false,
            barred: BTreeMap::new(),
            invited: None,
        };
        let done = Switchover { from: name("srv3"), to: name("srv2"), held_ms: Some(10_000) };
        assert_eq!(answer(record(2, "srv2"), open(2)), Ok(done.clone()));
        assert_eq!(answer(None, open(2)), Ok(done), "it says so itself");
        let told = |record| answer(record, Database::Stopped).expect_err("not done");
        assert_eq!(told(record(1, "srv3")), "srv2 did not take over within 10 s; srv3 goes on");
        assert_eq!(
            told(record(2, "srv2")),
            "srv2 is the primary, and does not take writes after 10 s: `triad status database` says why"
        );
        assert_eq!(told(None), "whether srv2 takes over is not known after 10 s: no majority can be asked");
    }
}
