//! Heartbeats, as far as they are the agent's business: where the others are, what their keys are, what is said of those
//! that fall silent, and who is told.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use triad_api::{HeartbeatKey, Peer};
use triad_cluster::{Heart, Presence, Session, View, ViewOfPeer};
use triad_model::{HEARTBEAT, HeartbeatReport, PeerPresence, PeerReport, Server, ServerName};

use crate::setup::Setup;
use crate::sockets;

/// Least time between two questions for a server's key.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// The socket of heartbeats, opened before anything is changed; `None` where there is no other server.
pub(crate) fn open(setup: &Setup) -> anyhow::Result<Option<UdpSocket>> {
    match (setup.server.private, setup.design.servers.len()) {
        (Some(private), 2..) => Ok(sockets::udp(SocketAddr::new(private, HEARTBEAT))?.pop()),
        _ => Ok(None),
    }
}

/// Starts to beat, and to ask the others for their keys. Must be called on a [`tokio::task::LocalSet`].
pub(crate) fn start(setup: &Setup, socket: UdpSocket) -> anyhow::Result<Arc<Heart>> {
    let own = &setup.server.name;
    let others: Vec<&Server> = setup.design.servers.iter().filter(|server| server.name != *own).collect();
    let address = |server: &&Server| Some((server.name.clone(), SocketAddr::new(server.private?, HEARTBEAT)));
    let addresses: Vec<(ServerName, SocketAddr)> = others.iter().filter_map(address).collect();
    let heart = Arc::new(Heart::start(own, &addresses, socket).context("there are no heartbeats")?);
    let tls = triad_tls::mutual_client_config(&setup.secrets.identity)?;
    for server in others {
        if let Some(peer) = Peer::of(server, tls.clone()) {
            tokio::task::spawn_local(ask_for_keys(heart.clone(), server.name.clone(), peer));
        }
    }
    Ok(heart)
}

/// Asks `server` for the key of its beats, each time they cannot be believed for want of it.
async fn ask_for_keys(heart: Arc<Heart>, server: ServerName, peer: Peer) {
    let mut view = heart.view.clone();
    let is_wanted = |view: &View| view.peers.iter().any(|peer| peer.server == server && peer.wants_key);
    while view.wait_for(is_wanted).await.is_ok() {
        match peer.heartbeat_key().await {
            Ok(HeartbeatKey { boot, sequence, key }) => heart.learn(&server, Session { boot, sequence, key }),
            Err(error) => tracing::debug!(server = server.as_str(), %error, "no key for its heartbeats yet"),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// What `receiver` must know to believe the beats of `heart`.
pub(crate) fn key_for(heart: &Heart, receiver: &ServerName) -> HeartbeatKey {
    let Session { boot, sequence, key } = heart.session(receiver);
    HeartbeatKey { boot, sequence, key }
}

/// What the edge is told of other servers.
pub(crate) struct Told {
    /// Those whose requests others should have.
    pub absent: watch::Sender<Vec<ServerName>>,
    /// Those that live, and to which the way is cut.
    pub cut_off: watch::Sender<Vec<ServerName>>,
}

/// Says in the log who falls silent and who returns, and tells the edge, if there is one. Runs as long as the agent.
pub(crate) async fn heed(heart: Arc<Heart>, edge: Option<Told>) {
    let mut views = heart.view.clone();
    let mut before = View::default();
    while views.changed().await.is_ok() {
        let view = views.borrow_and_update().clone();
        for (peer, presence_before) in changed(&before, &view) {
            announce(peer, presence_before, heart.now());
        }
        if let Some(Told { absent, cut_off }) = &edge {
            tell(absent, view.absent());
            tell(cut_off, view.cut_off());
        }
        before = view;
    }
}

fn tell(edge: &watch::Sender<Vec<ServerName>>, servers: Vec<ServerName>) {
    edge.send_if_modified(|told| {
        let is_news = *told != servers;
        *told = servers;
        is_news
    });
}

/// Those that are other than they were.
fn changed<'v>(before: &View, view: &'v View) -> Vec<(&'v ViewOfPeer, Presence)> {
    let presence_before = |server: &ServerName| {
        before.peers.iter().find(|peer| peer.server == *server).map_or(Presence::Unknown, |peer| peer.presence)
    };
    let peers = view.peers.iter().map(|peer| (peer, presence_before(&peer.server)));
    peers.filter(|(peer, before)| peer.presence != *before).collect()
}

fn announce(peer: &ViewOfPeer, before: Presence, now: Duration) {
    let server = peer.server.as_str();
    match (before, peer.presence) {
        (Presence::Silent { since }, Presence::Alive) => {
            let silent_s = now.saturating_sub(since).as_secs_f64();
            tracing::info!(server, silent_s, "a server is heard again");
        }
        (_, Presence::Silent { .. }) => tracing::warn!(server, "a server is silent: its heartbeats do not arrive"),
        (_, Presence::Alive) => tracing::info!(server, "a server is heard"),
        (_, Presence::Unknown) => {}
    }
}

/// As status and metrics show it.
pub(crate) fn report(heart: &Heart) -> HeartbeatReport {
    report_of(&heart.view.borrow(), heart.now())
}

fn report_of(view: &View, now: Duration) -> HeartbeatReport {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let peer = |peer: &ViewOfPeer| PeerReport {
        server: peer.server.clone(),
        presence: match peer.presence {
            Presence::Unknown => PeerPresence::Unknown,
            Presence::Alive => PeerPresence::Alive,
            Presence::Silent { .. } => PeerPresence::Silent,
        },
        heard_ms_ago: peer.heard_at.map(|at| ms(now.saturating_sub(at))),
        received: peer.received,
        lost: peer.lost,
        hears: peer.hears.clone(),
    };
    HeartbeatReport {
        peers: view.peers.iter().map(peer).collect(),
        refused: view.refused.iter().map(|(why, count)| (why.as_str().to_owned(), *count)).collect(),
        late_ms_max: ms(view.late_max),
    }
}
