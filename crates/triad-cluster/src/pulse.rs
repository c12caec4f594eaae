//! All that one server knows of the others' beats, and what it says to them. Pure: datagrams and times come in.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac::Key;
use triad_model::ServerName;

use crate::beat::{Beat, Datagram, HeardList, PAYLOAD_BYTES_MAX, ServerId, Unverified};
use crate::detector::{Detector, Presence};
use crate::session::{self, InvalidKey, Session};

/// Why a datagram changed nothing but a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no beat.
    Malformed,
    /// Its sender is no other server of the design.
    Stranger,
    /// There is no key yet for this run of its sender's agent.
    NoKey,
    /// It was not made with the sender's key.
    Forged,
    /// It is no newer than the last one: replayed, or overtaken on its way.
    Old,
}

impl Refusal {
    /// Each of them.
    pub const ALL: [Refusal; 5] =
        [Refusal::Malformed, Refusal::Stranger, Refusal::NoKey, Refusal::Forged, Refusal::Old];

    /// As metrics call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::Stranger => "stranger",
            Refusal::NoKey => "no_key",
            Refusal::Forged => "forged",
            Refusal::Old => "old",
        }
    }
}

/// One server's beats, coming and going.
#[derive(Debug)]
pub struct Pulse {
    own: ServerId,
    boot: u64,
    peers: Vec<Peer>,
    /// What this server has to say.
    says: Vec<u8>,
    refused: [u64; Refusal::ALL.len()],
    late_max: Duration,
    /// Something is other than it was when somebody asked, apart from counts.
    news: bool,
}

#[derive(Debug)]
struct Peer {
    name: ServerName,
    id: ServerId,
    /// For beats to it.
    key: Key,
    /// For beats from it, in one run of its agent.
    from: Option<From>,
    detector: Detector,
    /// Whom it said it hears.
    hears: HeardList,
    /// What else it said.
    said: Arc<[u8]>,
    received: u64,
    lost: u64,
    /// Its beats come and cannot be believed, for want of a key.
    wants_key: bool,
}

#[derive(Debug)]
struct From {
    boot: u64,
    key: Key,
    /// The last that was believed.
    sequence: u64,
}

impl Pulse {
    /// Of the server `own`, in the run `boot` of its agent, whose keys follow from `root`.
    pub fn new(own: &ServerName, boot: u64, root: &Key, peers: &[ServerName]) -> Self {
        let peer = |name: &ServerName| Peer {
            name: name.clone(),
            id: ServerId::of(name),
            key: session::key(&session::bytes(root, name)),
            from: None,
            detector: Detector::default(),
            hears: HeardList::new(),
            said: Arc::default(),
            received: 0,
            lost: 0,
            // Asked for before the first beat, which then counts.
            wants_key: true,
        };
        let peers = peers.iter().map(peer).collect();
        let (refused, late_max) = ([0; Refusal::ALL.len()], Duration::ZERO);
        Self { own: ServerId::of(own), boot, peers, says: Vec::new(), refused, late_max, news: true }
    }

    /// Believes beats of `sender` that are made with the key of `session` from now on.
    pub fn learn(&mut self, sender: &ServerName, session: &Session) -> Result<(), InvalidKey> {
        let key = session::from_hex(&session.key)?;
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.name == *sender) {
            let before = peer.from.as_ref().filter(|from| from.boot == session.boot).map_or(0, |from| from.sequence);
            peer.from = Some(From { boot: session.boot, key, sequence: session.sequence.max(before) });
            peer.wants_key = false;
            self.news = true;
        }
        Ok(())
    }

    /// Takes a datagram that arrived.
    pub fn take(&mut self, datagram: &[u8], now: Duration) -> Result<(), Refusal> {
        let taken = self.try_to_take(datagram, now);
        if let Err(refusal) = taken {
            self.refused[refusal as usize] += 1;
        }
        taken
    }

    fn try_to_take(&mut self, datagram: &[u8], now: Duration) -> Result<(), Refusal> {
        let unverified = Unverified::read(datagram).map_err(|_| Refusal::Malformed)?;
        let peer = self.peers.iter_mut().find(|peer| peer.id == unverified.sender()).ok_or(Refusal::Stranger)?;
        let Some(from) = peer.from.as_mut().filter(|from| from.boot == unverified.boot()) else {
            self.news |= !peer.wants_key;
            peer.wants_key = true;
            return Err(Refusal::NoKey);
        };
        let beat = unverified.verify(&from.key).ok_or(Refusal::Forged)?;
        if beat.sequence <= from.sequence {
            return Err(Refusal::Old);
        }
        if peer.detector.heard_at().is_some() {
            peer.lost += beat.sequence - from.sequence - 1;
        }
        from.sequence = beat.sequence;
        peer.received += 1;
        self.news |= peer.detector.presence() != Presence::Alive || peer.hears.as_heard() != beat.heard;
        peer.hears.set(beat.heard);
        if *peer.said != *beat.payload {
            (peer.said, self.news) = (beat.payload.into(), true);
        }
        peer.detector.heard(now);
        Ok(())
    }

    /// Says `payload` with each beat from now on. What is longer than [`PAYLOAD_BYTES_MAX`] is not said, nor is anything
    /// else then.
    pub fn say(&mut self, payload: &[u8]) {
        self.says.clear();
        if payload.len() <= PAYLOAD_BYTES_MAX {
            self.says.extend_from_slice(payload);
        }
    }

    /// Looks at the clock, after everything that has arrived was taken; `late` is how much later than it was meant to.
    pub fn look(&mut self, now: Duration, late: Duration) {
        self.late_max = self.late_max.max(late);
        for peer in &mut self.peers {
            let before = peer.detector.presence();
            peer.detector.look(now);
            self.news |= peer.detector.presence() != before;
        }
    }

    /// Whether somebody fell silent, returned, said something new of whom it hears, or needs its key asked for, since
    /// this was asked last.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Whom it hears, as a beat says it.
    pub fn heard(&self) -> HeardList {
        let mut heard = HeardList::new();
        let alive = self.peers.iter().filter(|peer| peer.detector.presence() == Presence::Alive);
        alive.for_each(|peer| heard.push(peer.id));
        heard
    }

    /// Has `send` send the beat `sequence`, signed for each other server, to the position of that one.
    pub fn beat(&self, sequence: u64, now: Duration, datagram: &mut Datagram, mut send: impl FnMut(usize, &[u8])) {
        let heard = self.heard();
        let sent_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let (sender, boot) = (self.own, self.boot);
        let beat = Beat { sender, boot, sequence, sent_us, heard: heard.as_heard(), payload: &self.says };
        for (position, peer) in self.peers.iter().enumerate() {
            send(position, datagram.write(&beat, &peer.key));
        }
    }

    /// Everything, for who shows it and who acts by it.
    pub fn view(&self) -> View {
        let named = |id| self.peers.iter().find(|peer| peer.id == id).map(|peer| peer.name.clone());
        let peer = |peer: &Peer| ViewOfPeer {
            server: peer.name.clone(),
            presence: peer.detector.presence(),
            heard_at: peer.detector.heard_at(),
            hears: peer.hears.as_heard().iter().filter_map(named).collect(),
            said: peer.said.clone(),
            hears_us: peer.hears.as_heard().iter().any(|id| id == self.own),
            received: peer.received,
            lost: peer.lost,
            wants_key: peer.wants_key,
        };
        View {
            peers: self.peers.iter().map(peer).collect(),
            refused: Refusal::ALL.into_iter().zip(self.refused).collect(),
            late_max: self.late_max,
        }
    }
}

/// What one server knows of the others at one moment. Times are since its heart began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The others, in the order of the file.
    pub peers: Vec<ViewOfPeer>,
    /// Datagrams that changed nothing.
    pub refused: Vec<(Refusal, u64)>,
    /// The longest that this host kept its own heart waiting.
    pub late_max: Duration,
}

/// What one server knows of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewOfPeer {
    /// The other one.
    pub server: ServerName,
    /// Whether it is heard.
    pub presence: Presence,
    /// When it was heard last.
    pub heard_at: Option<Duration>,
    /// Whom else it said it hears when it was.
    pub hears: Vec<ServerName>,
    /// What else it said, as its agent wrote it.
    pub said: Arc<[u8]>,
    /// Whether it said that it hears this one.
    pub hears_us: bool,
    /// Its beats that were believed.
    pub received: u64,
    /// Those that never arrived.
    pub lost: u64,
    /// Its key is to be asked for.
    pub wants_key: bool,
}

impl View {
    /// Servers that are silent, and that nobody who is not says to hear. If somebody does, they live, and only the way
    /// there is cut; what to make of that is for others to find out.
    pub fn absent(&self) -> Vec<ServerName> {
        let absent = self.peers.iter().filter(|peer| peer.presence.is_silent() && !self.is_witnessed(peer));
        absent.map(|peer| peer.server.clone()).collect()
    }

    /// Servers that live, and to or from which the way is cut: they are silent, and somebody says to hear them, or they say
    /// not to hear this one.
    pub fn cut_off(&self) -> Vec<ServerName> {
        let cut_off = self.peers.iter().filter(|peer| match peer.presence {
            Presence::Unknown => false,
            Presence::Alive => !peer.hears_us,
            Presence::Silent { .. } => self.is_witnessed(peer),
        });
        cut_off.map(|peer| peer.server.clone()).collect()
    }

    fn is_witnessed(&self, peer: &ViewOfPeer) -> bool {
        let mut alive = self.peers.iter().filter(|peer| peer.presence == Presence::Alive);
        alive.any(|witness| witness.hears.contains(&peer.server))
    }
}

#[cfg(test)]
#[path = "pulse_tests.rs"]
mod tests;
