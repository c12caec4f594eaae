//! Three voters on the loopback address, real ones: what is agreed upon when they die, stand still, and lose their data.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::sync::watch;
use triad_cluster::coordination::{Beginning, CALL_TIMEOUT, Seat};
use triad_cluster::{Coordination, CoordinationError, Etcd, Member, PRIMARY_KEY, Seen, Swap, Versioned, Voter};
use triad_model::ServerName;
use triad_tls::{Authority, mutual_client_config};

use super::soon;

const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A voter's etcd, which ends with it.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Voters {
    _folder: TempDir,
    seats: Vec<Seat>,
    running: Vec<Option<Running>>,
    tls: Arc<ClientConfig>,
}

impl Voters {
    fn founded() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::generate("test").expect("an authority");
        let names = ["srv1", "srv2", "srv3"].map(|name| ServerName::new(name).expect("a name"));
        let ports = free_ports();
        let voters: Vec<Voter> =
            names.iter().zip(ports).map(|(name, [client, peer])| voter(name, client, peer)).collect();
        let seats: Vec<Seat> = voters
            .iter()
            .map(|own| Seat {
                own: own.clone(),
                voters: voters.clone(),
                token: "test".to_owned(),
                folder: folder.path().join(own.server.as_str()),
            })
            .collect();
        let loopback = Some(Ipv4Addr::LOCALHOST.into());
        for seat in &seats {
            let identity = authority.identity_at(&seat.own.server, loopback).expect("an identity");
            fs::create_dir(&seat.folder).expect("a folder");
            fs::write(seat.authority_file(), &identity.authority_pem).expect("a file");
            fs::write(seat.certificate_file(), &identity.certificate_pem).expect("a file");
            fs::write(seat.key_file(), identity.key_pem.expose_secret()).expect("a file");
        }
        let identity = authority.identity(&names[0]).expect("an identity");
        let tls = mutual_client_config(&identity).expect("a configuration");
        let mut voters = Self { _folder: folder, seats, running: vec![None, None, None], tls };
        (0..3).for_each(|at| voters.start(at, &Beginning::Founding));
        voters
    }

    fn start(&mut self, at: usize, beginning: &Beginning) {
        let seat = &self.seats[at];
        fs::write(seat.config_file(), seat.config(beginning)).expect("a file");
        let log = fs::OpenOptions::new().create(true).append(true).open(seat.folder.join("log")).expect("a log");
        let spec = seat.process();
        let child = Command::new(spec.program).args(spec.args).stdin(Stdio::null()).stderr(log).spawn();
        self.running[at] = Some(Running(child.expect("etcd is installed")));
    }

    /// As by power failure.
    fn kill(&mut self, at: usize) {
        self.running[at] = None;
    }

    /// A client that asks the voter `at` first, then those behind it.
    fn client(&self, at: usize) -> Coordination {
        Coordination::Etcd(self.etcd(at))
    }

    fn etcd(&self, at: usize) -> Etcd {
        let mut voters: Vec<Voter> = self.seats.iter().map(|seat| seat.own.clone()).collect();
        voters.rotate_left(at);
        Etcd::new(&voters, &self.tls).expect("three voters")
    }
}

fn voter(name: &ServerName, client: u16, peer: u16) -> Voter {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Voter { server: name.clone(), client: address(client), peer: address(peer) }
}

fn free_ports() -> [[u16; 2]; 3] {
    let listeners = [(); 6].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    let ports = listeners.map(|listener| listener.local_addr().expect("an address").port());
    [[ports[0], ports[1]], [ports[2], ports[3]], [ports[4], ports[5]]]
}

/// Makes `value` stand, whatever stood there, however often it takes; under which revision.
async fn set(home: &Coordination, key: &str, value: &str) -> u64 {
    let set = async {
        loop {
            let Ok(standing) = home.get(key).await else {
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            };
            match standing {
                Some(standing) if standing.value == value => return standing.revision,
                standing => drop(home.swap(key, standing.map(|standing| standing.revision), value).await),
            }
        }
    };
    soon("a swap", set).await
}

/// What stands, however often it takes.
async fn read(home: &Coordination, key: &str) -> String {
    let read = async {
        loop {
            if let Ok(Some(standing)) = home.get(key).await {
                return standing.value;
            }
        }
    };
    soon("a read", read).await
}

/// Who is listed, however often it takes.
async fn members(home: &Coordination) -> Vec<Member> {
    let listed = async {
        loop {
            match home.members().await {
                Ok(members) => return members,
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    };
    soon("members", listed).await
}

async fn shows(seen: &mut watch::Receiver<Seen>, value: &str) {
    let is_shown = |seen: &Seen| seen.value.as_ref().is_some_and(|shown| shown.value == value);
    drop(soon("a watch", seen.wait_for(is_shown)).await.expect("it goes on"));
}

#[tokio::test]
async fn swaps_and_watches_go_on_when_any_voter_dies() {
    let mut voters = Voters::founded();
    let homes = [0, 1, 2].map(|at| voters.client(at));
    let mut watches = [0, 1, 2].map(|at| homes[at].watch("k"));
    let mut before = set(&homes[0], "k", "first").await;
    let lost = soon("an answer", async {
        loop {
            if let Ok(swap) = homes[1].swap("k", None, "x").await {
                return swap;
            }
        }
    });
    assert_eq!(lost.await, Swap::Lost(Some(Versioned { value: "first".to_owned(), revision: before })));
    // One of them leads, and leads until it dies.
    for (at, home) in homes.iter().enumerate() {
        voters.kill(at);
        let value = format!("without {at}");
        let revision = set(home, "k", &value).await;
        assert!(revision > before, "{revision}");
        before = revision;
        for seen in &mut watches {
            shows(seen, &value).await;
        }
        voters.start(at, &Beginning::Founding);
        let back = format!("with {at}");
        set(&voters.client((at + 1) % 3), "k", &back).await;
        assert_eq!(members(home).await.len(), 3);
    }
    set(&homes[0], PRIMARY_KEY, "srv1").await;
    let copied = async {
        loop {
            if let Ok(copy) = homes[1].snapshot().await {
                return copy;
            }
        }
    };
    assert_eq!(soon("a copy", copied).await, BTreeMap::from([(PRIMARY_KEY.to_owned(), "srv1".to_owned())]));
}

/// A change is shown before any read can have found it: the last read was begun before the swap.
#[tokio::test]
async fn a_watch_hears_of_changes_between_its_reads() {
    let voters = Voters::founded();
    let (ours, theirs) = (voters.client(0), voters.client(1));
    let mut seen = ours.watch("k");
    set(&theirs, "k", "first").await;
    let heard = async {
        for number in 0.. {
            let value = number.to_string();
            let Ok(standing) = theirs.get("k").await else { continue };
            let begun = Instant::now();
            let expected = standing.map(|standing| standing.revision);
            let Ok(Swap::Done { .. }) = theirs.swap("k", expected, &value).await else { continue };
            shows(&mut seen, &value).await;
            if seen.borrow().confirmed.is_some_and(|confirmed| confirmed < begun) {
                return;
            }
        }
    };
    soon("news between reads", heard).await;
}

/// Each client adds one, again and again; nothing is lost, and nothing done twice. On a busy machine some of it is not
/// known, which may have been done or not.
#[tokio::test]
async fn of_many_swaps_of_one_revision_one_wins() {
    const CLIENTS: u64 = 6;
    const EACH: usize = 20;
    let voters = Voters::founded();
    set(&voters.client(0), "n", "0").await;
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let home = voters.client(client as usize % 3);
        tasks.spawn(async move {
            let (mut revisions, mut unknown) = (Vec::new(), 0);
            while revisions.len() < EACH {
                let Ok(Some(standing)) = home.get("n").await else { continue };
                let next = standing.value.parse::<u64>().expect("a number") + 1;
                match home.swap("n", Some(standing.revision), &next.to_string()).await {
                    Ok(Swap::Done { revision }) => revisions.push(revision),
                    Ok(Swap::Lost(_)) => {}
                    Err(_) => unknown += 1,
                }
            }
            (revisions, unknown)
        });
    }
    let (revisions, unknown): (Vec<Vec<u64>>, Vec<u64>) = soon("swaps", tasks.join_all()).await.into_iter().unzip();
    let (revisions, unknown) = (revisions.concat(), unknown.iter().sum::<u64>());
    let done = revisions.len() as u64;
    let distinct = revisions.into_iter().collect::<std::collections::BTreeSet<_>>().len() as u64;
    assert_eq!(distinct, done, "a revision is one swap's");
    let standing: u64 = read(&voters.client(0), "n").await.parse().expect("a number");
    assert!((done..=done + unknown).contains(&standing), "{standing} after {done}, and {unknown} not known");
}

#[tokio::test]
async fn without_a_majority_nothing_is_confirmed_and_everything_ends_in_time() {
    let mut voters = Voters::founded();
    let home = voters.client(0);
    let mut seen = home.watch("k");
    let revision = set(&home, "k", "before").await;
    shows(&mut seen, "before").await;
    soon("a read", seen.wait_for(|seen| seen.confirmed.is_some())).await.expect("it goes on");
    voters.kill(1);
    voters.kill(2);
    // What was on its way has come, or never does.
    while home.get("k").await.is_ok() {}
    let begun = Instant::now();
    let confirmed = seen.borrow().confirmed.expect("it was read");
    home.swap("k", Some(revision), "after").await.expect_err("no majority");
    assert!(begun.elapsed() >= CALL_TIMEOUT && seen.borrow().confirmed == Some(confirmed), "a read was confirmed");
    assert_eq!(seen.borrow().value.as_ref().map(|value| value.value.as_str()), Some("before"));
    voters.start(1, &Beginning::Founding);
    let is_confirmed = |seen: &Seen| seen.confirmed > Some(confirmed);
    soon("a majority", seen.wait_for(is_confirmed)).await.expect("it goes on");
}

/// It accepts connections and answers nothing: what a stopped process, or a host behind a broken network, does.
#[tokio::test]
async fn a_nearest_voter_that_stands_still_is_passed_by() {
    let voters = Voters::founded();
    let home = voters.client(0);
    let mut seen = home.watch("k");
    set(&home, "k", "before").await;
    shows(&mut seen, "before").await;
    voters.running[0].as_ref().expect("it runs").signal(Signal::STOP);
    set(&voters.client(1), "k", "behind its back").await;
    shows(&mut seen, "behind its back").await;
    let answered = async {
        while home.get("k").await.is_err() {
            tokio::time::sleep(AGAIN_AFTER).await
        }
    };
    soon("an answer", answered).await;
    voters.running[0].as_ref().expect("it runs").signal(Signal::CONT);
    set(&home, "k", "with it again").await;
    shows(&mut seen, "with it again").await;
}

/// The first voter takes it and stands still; to the second one it is too late, or is it the first one's?
#[tokio::test]
async fn a_swap_that_was_sent_twice_and_lost_is_not_known() {
    let voters = Voters::founded();
    let (nearest, theirs) = (voters.etcd(0), voters.client(1));
    let ours = Coordination::Etcd(nearest.clone());
    let revision = set(&ours, "k", "before").await;
    let agrees = async { while !nearest.nearest_agrees().await {} };
    soon("a connection that can be used again", agrees).await;
    voters.running[0].as_ref().expect("it runs").signal(Signal::STOP);
    set(&theirs, "k", "theirs").await;
    let error = ours.swap("k", Some(revision), "ours").await.expect_err("it was sent to the first voter");
    assert!(matches!(error, CoordinationError::Unknown(_)), "{error}");
    voters.running[0].as_ref().expect("it runs").signal(Signal::CONT);
    let agrees = async { while !nearest.nearest_agrees().await {} };
    soon("the first voter", agrees).await;
    assert_eq!(read(&ours, "k").await, "theirs", "what was sent late changed something");
}

#[tokio::test]
async fn a_voter_that_lost_its_data_votes_again_as_another() {
    let mut voters = Voters::founded();
    let home = voters.client(0);
    set(&home, "k", "before").await;
    let listed = |members: Vec<Member>| members.into_iter().map(|member| member.id).collect::<Vec<_>>();
    let before = listed(members(&home).await);
    voters.kill(2);
    assert!(voters.seats[2].has_data());
    voters.seats[2].clear().expect("its data is gone");
    assert!(!voters.seats[2].has_data());
    let (etcd, own) = (voters.etcd(0), voters.seats[2].own.clone());
    let admitted = async {
        loop {
            match etcd.admit(&own).await {
                Ok(members) => return members,
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    };
    let admitted = soon("to be admitted", admitted).await;
    assert_eq!(admitted.len(), 3);
    voters.start(2, &Beginning::Joining(admitted));
    let is_back = async {
        while !home.members().await.is_ok_and(|members| members.iter().all(|member| !member.client_urls.is_empty())) {
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    };
    soon("its start", is_back).await;
    let after = listed(members(&home).await);
    assert_eq!(after.iter().filter(|id| before.contains(id)).count(), 2, "{before:?} {after:?}");
    voters.kill(0);
    set(&voters.client(1), "k", "after").await;
}
