//! What servers agree on, as far as it is the agent's business: where it is kept, and this server's etcd, if it votes.
//!
//! Voters keep it ([`Design::voters`]). Where there are none there is nothing to agree on: a database without replicas is
//! the primary, and with two servers nobody can decide alone.
//!
//! A voter without data has to know which of three it is: one of a cluster that begins, one that lost its disk, or one
//! that comes to a running cluster. Whoever lost its data forgot how it voted, and may not go on as the one it was. So
//! a cluster begins only when all voters say that they never voted, and whoever ever voted is listed anew by the others.
//! That they voted is remembered in a file beside the data ([`Voting`]).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustls::ClientConfig;
use tokio::sync::watch;
use triad_api::{Peer, Voting};
use triad_cluster::coordination::{Beginning, ETCD as ETCD_PROGRAM, Seat};
use triad_cluster::{Coordination, Etcd, PRIMARY_KEY, Seen, Voter};
use triad_model::{Design, ETCD, ETCD_PEER, ProcessState, ServerName, ServiceUser, State};
use triad_tls::Identity;

use crate::applied::{Age, Designs};
use crate::files::{read_if_there, replace};
use crate::setup::Setup;
use crate::supervisor::Process;
use crate::users::Ids;

/// Time between two tries to get this server's etcd started.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Time between two looks whether it answers.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Without a majority's word for so long, it is said that there is none: an election takes a second.
const STALE_AFTER: Duration = Duration::from_millis(1_500);

/// What a voter keeps, under the agent's state.
pub(crate) const FOLDER: &str = "etcd";
/// The file that remembers [`Voting`].
const VOTING_FILE: &str = "voting";

/// What servers agree on, seen from one of them; nothing of it where they do not.
#[derive(Default)]
pub struct CoordinationService {
    /// Where it is kept.
    coordination: Option<Coordination>,
    /// This server's etcd, if it votes.
    pub process: Option<Process>,
    /// How all of it is.
    pub standing: Option<Standing>,
}

/// How agreeing goes.
#[derive(Clone)]
pub struct Standing {
    voters: Vec<ServerName>,
    /// The record of which database is the primary.
    pub primary: watch::Receiver<Seen>,
    /// Whether this server votes.
    pub voting: watch::Receiver<Voting>,
    /// What its etcd waits for, before it starts.
    waits: watch::Receiver<Option<String>>,
    designs: Designs,
}

impl CoordinationService {
    /// Brings it up in the background.
    pub fn start(setup: &Setup) -> anyhow::Result<Self> {
        let Some(etcd) = etcd(setup)? else { return Ok(Self::default()) };
        let coordination = Coordination::Etcd(etcd.clone());
        let (voting, waits) = (watch::Sender::new(Voting::Never), watch::Sender::new(None));
        let standing = Standing {
            voters: setup.design.voters().into_iter().cloned().collect(),
            primary: coordination.watch(PRIMARY_KEY),
            voting: voting.subscribe(),
            waits: waits.subscribe(),
            designs: Designs::start(coordination.clone(), setup.server.name.clone(), setup.digest.clone()),
        };
        let seat = seat(setup)?.map(|seat| VotersEtcd::new(setup, seat, etcd, voting, waits)).transpose()?;
        let process = seat.map(|seat| seat.start(setup)).transpose()?;
        Ok(Self { coordination: Some(coordination), process, standing: Some(standing) })
    }

    /// Generations of the design.
    pub fn designs(&self) -> Option<&Designs> {
        Some(&self.standing.as_ref()?.designs)
    }

    /// Where what is agreed upon is kept, if anywhere.
    pub fn home(&self) -> Option<Coordination> {
        self.coordination.clone()
    }

    /// What whoever goes by the record of the primary needs; one watch of it is enough.
    pub fn agreed(&self) -> Option<(Coordination, watch::Receiver<Seen>)> {
        Some((self.coordination.clone()?, self.standing.as_ref()?.primary.clone()))
    }
}

/// The addresses of `design`'s voters.
fn voters(design: &Design) -> Vec<Voter> {
    let voter = |name: &ServerName| {
        let private = design.server(name)?.private?;
        let at = |port| SocketAddr::new(private, port);
        Some(Voter { server: name.clone(), client: at(ETCD), peer: at(ETCD_PEER) })
    };
    design.voters().into_iter().filter_map(voter).collect()
}

/// A client of the voters, this server's own first.
fn etcd(setup: &Setup) -> anyhow::Result<Option<Etcd>> {
    let mut voters = voters(&setup.design);
    voters.sort_by_key(|voter| voter.server != setup.server.name);
    Ok(Etcd::new(&voters, &client_config(setup)?))
}

fn client_config(setup: &Setup) -> anyhow::Result<Arc<ClientConfig>> {
    Ok(triad_tls::mutual_client_config(&setup.secrets.identity)?)
}

/// This server's seat, if it votes.
fn seat(setup: &Setup) -> anyhow::Result<Option<Seat>> {
    let voters = voters(&setup.design);
    let Some(own) = voters.iter().find(|voter| voter.server == setup.server.name).cloned() else { return Ok(None) };
    let folder = setup.folder_of(ServiceUser::Etcd, setup.state.join(FOLDER), 0o700)?;
    Ok(Some(Seat { own, voters, token: setup.design.site.domain.clone(), folder }))
}

/// This server's etcd, on its way up.
struct VotersEtcd {
    seat: Seat,
    etcd: Etcd,
    ids: Ids,
    identity: Identity,
    others: Vec<(ServerName, Peer)>,
    voting: watch::Sender<Voting>,
    waits: watch::Sender<Option<String>>,
}

impl VotersEtcd {
    fn new(
        setup: &Setup,
        seat: Seat,
        etcd: Etcd,
        voting: watch::Sender<Voting>,
        waits: watch::Sender<Option<String>>,
    ) -> anyhow::Result<Self> {
        let tls = client_config(setup)?;
        let others = seat.voters.iter().filter(|voter| voter.server != seat.own.server);
        let peer =
            |voter: &Voter| Some((voter.server.clone(), Peer::of(setup.design.server(&voter.server)?, tls.clone())?));
        let others = others.filter_map(peer).collect();
        voting.send_replace(read_voting(&seat.folder)?);
        let (ids, identity) = (setup.users.ids(ServiceUser::Etcd)?, setup.secrets.identity.clone());
        Ok(Self { seat, etcd, ids, identity, others, voting, waits })
    }

    fn start(self, setup: &Setup) -> anyhow::Result<Process> {
        let launch = setup.launch(self.seat.process(), Vec::new())?;
        let this = Arc::new(self);
        let prepared = this.clone();
        let process = Process::start_after(async move { prepared.prepare().await }, launch);
        tokio::task::spawn_local(look_after(this, process.clone()));
        Ok(process)
    }

    /// Makes ready what etcd starts from; tries until it can be done, for others may come up after us.
    async fn prepare(&self) {
        while let Err(error) = self.try_to_prepare().await {
            let reason = format!("{error:#}");
            if self.waits.send_replace(Some(reason.clone())).as_ref() != Some(&reason) {
                tracing::warn!("etcd is not ready to start: {reason}");
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        self.waits.send_replace(None);
    }

    async fn try_to_prepare(&self) -> anyhow::Result<()> {
        if !Path::new(ETCD_PROGRAM).is_file() {
            bail!("{ETCD_PROGRAM} is not installed: apt-get install etcd-server");
        }
        let private = self.seat.own.peer.ip();
        if !triad_tls::is_for_address(&self.identity.certificate_pem, private) {
            bail!("this server's certificate does not name {private}: make new secrets with `triad secrets`");
        }
        self.write(&self.seat.authority_file(), &self.identity.authority_pem)?;
        self.write(&self.seat.certificate_file(), &self.identity.certificate_pem)?;
        self.write(&self.seat.key_file(), self.identity.key_pem.expose_secret())?;
        let beginning = self.beginning().await?;
        self.write(&self.seat.config_file(), &self.seat.config(&beginning))
    }

    /// Whom etcd begins with, if it has no data; what is left of others is removed then.
    async fn beginning(&self) -> anyhow::Result<Beginning> {
        if self.seat.has_data() {
            return Ok(Beginning::Founding);
        }
        self.seat.clear().context("cannot remove what is left of etcd's data")?;
        if !self.is_member().await? {
            self.remember(Voting::Founding)?;
            return Ok(Beginning::Founding);
        }
        self.remember(Voting::Member)?;
        tracing::warn!("etcd's data is not here, and its cluster is: this server votes anew");
        let members = self.etcd.admit(&self.seat.own).await.context("the other voters do not list this one yet")?;
        Ok(Beginning::Joining(members))
    }

    /// Whether there is a cluster already, by what this server and all others remember.
    async fn is_member(&self) -> anyhow::Result<bool> {
        if *self.voting.borrow() == Voting::Member {
            return Ok(true);
        }
        let mut unknown = None;
        for (server, peer) in &self.others {
            match peer.voting().await {
                Ok(Voting::Member) => return Ok(true),
                Ok(Voting::Never | Voting::Founding) => {}
                Err(error) => unknown = Some((server, error)),
            }
        }
        match unknown {
            None => Ok(false),
            Some((server, error)) => {
                tracing::debug!(server = server.as_str(), %error, "not known whether it votes");
                bail!("a first vote needs all voters, and {server} does not answer")
            }
        }
    }

    fn remember(&self, voting: Voting) -> anyhow::Result<()> {
        if *self.voting.borrow() != voting {
            let text = serde_json::to_string(&voting)?;
            replace(&self.seat.folder.join(VOTING_FILE), text.as_bytes(), None)
                .context("cannot remember that it votes")?;
            self.voting.send_replace(voting);
        }
        Ok(())
    }

    /// A file for etcd to read.
    fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        replace(path, text.as_bytes(), Some(self.ids)).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn read_voting(folder: &Path) -> anyhow::Result<Voting> {
    let path = folder.join(VOTING_FILE);
    let text = read_if_there(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let Some(text) = text else { return Ok(Voting::Never) };
    serde_json::from_slice(&text)
        .with_context(|| format!("{} says nothing of whether this server voted", path.display()))
}

/// Sees that this server's etcd answers with a majority behind it, for as long as the agent runs.
async fn look_after(this: Arc<VotersEtcd>, process: Process) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let is_known = process.report().state == ProcessState::Running && *this.voting.borrow() == Voting::Member;
        if is_known || process.report().pid.is_none() || !this.etcd.nearest_agrees().await {
            continue;
        }
        process.mark_ready();
        if let Err(error) = this.remember(Voting::Member) {
            tracing::warn!("{error:#}");
        }
    }
}

impl Standing {
    /// As status shows it.
    pub fn report(&self) -> (State, String) {
        let confirmed = self.primary.borrow().confirmed;
        let age = confirmed.map(|at| Instant::now().duration_since(at));
        with_design(told(&self.voters, age, self.waits.borrow().as_deref()), &self.designs.age())
    }
}

/// The same, with what the file of this server is among the generations of the design.
fn with_design((state, said): (State, String), age: &Age) -> (State, String) {
    match age {
        Age::New => (state, said),
        Age::Current(generation) => (state, format!("{said}; the file is generation {generation}")),
        Age::Stale { own, current, server } => {
            let stale = format!(
                "the file here is generation {own}, replaced by {current}, which {server} has: copy it from there"
            );
            (state.max(State::Degraded), format!("{said}; {stale}"))
        }
    }
}

fn told(voters: &[ServerName], confirmed: Option<Duration>, waits: Option<&str>) -> (State, String) {
    let names: Vec<&str> = voters.iter().map(ServerName::as_str).collect();
    let names = names.join(", ");
    match (confirmed, waits) {
        (Some(age), None) if age < STALE_AFTER => (State::Healthy, format!("a majority of {names} agrees")),
        (Some(age), Some(waits)) if age < STALE_AFTER => {
            (State::Degraded, format!("a majority of {names} agrees; etcd here does not run: {waits}"))
        }
        (Some(age), _) => {
            let age_s = age.as_secs_f64();
            (State::Degraded, format!("no majority of {names} for {age_s:.1} s: nothing can be decided"))
        }
        (None, None) => (State::Starting, format!("no majority of {names} yet")),
        (None, Some(waits)) => (State::Starting, format!("no majority of {names} yet: {waits}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use triad_api::Voting;
    use triad_model::{ServerName, State};

    use super::{VOTING_FILE, read_voting, told};
    use crate::files::replace;

    #[test]
    fn how_agreeing_goes_in_words() {
        let voters = ["srv2", "srv3", "srv1"].map(|name| ServerName::new(name).expect("a name"));
        let told = |confirmed_ms: Option<u64>, waits| told(&voters, confirmed_ms.map(Duration::from_millis), waits);
        let waits = Some("a first vote needs all voters, and srv3 does not answer");
        assert_eq!(told(Some(240), None), (State::Healthy, "a majority of srv2, srv3, srv1 agrees".to_owned()));
        let (state, detail) = told(Some(12_300), None);
        assert_eq!(state, State::Degraded);
        assert_eq!(detail, "no majority of srv2, srv3, srv1 for 12.3 s: nothing can be decided");
        let (state, detail) = told(None, waits);
        assert_eq!(state, State::Starting);
        let yet = "no majority of srv2, srv3, srv1 yet";
        assert_eq!(detail, format!("{yet}: a first vote needs all voters, and srv3 does not answer"));
        assert_eq!(told(None, None), (State::Starting, yet.to_owned()));
        assert_eq!(told(Some(240), Some("its data is lost")).0, State::Degraded);
    }

    #[test]
    fn that_a_server_voted_is_remembered_and_never_guessed() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read_voting(folder.path()).expect("nothing"), Voting::Never);
        let file = folder.path().join(VOTING_FILE);
        for voting in [Voting::Founding, Voting::Member] {
            replace(&file, &serde_json::to_vec(&voting).expect("JSON"), None).expect("a file");
            assert_eq!(read_voting(folder.path()).expect("what was written"), voting);
        }
        std::fs::write(&file, "\"mem").expect("a file");
        read_voting(folder.path()).expect_err("half a word");
    }
}
