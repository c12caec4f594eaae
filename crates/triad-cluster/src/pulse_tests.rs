use std::time::Duration;

use aws_lc_rs::hmac::{HMAC_SHA256, Key};
use triad_model::{HEARTBEAT_MS, HEARTBEAT_NOTICED_MS, ServerName};

use super::{Pulse, Refusal, View};
use crate::beat::{Datagram, HeardList, ServerId};
use crate::detector::Presence;
use crate::session::{self, Session};

const NAMES: [&str; 3] = ["srv1", "srv2", "srv3"];

fn name(text: &str) -> ServerName {
    ServerName::new(text).expect("a name")
}

fn root(of: u8) -> Key {
    Key::new(HMAC_SHA256, &[of; 32])
}

/// The pulse of the server at `position`, in its run `boot`, that has nobody's key yet.
fn pulse(position: usize, boot: u64) -> Pulse {
    let others: Vec<ServerName> = NAMES.iter().filter(|it| **it != NAMES[position]).map(|it| name(it)).collect();
    Pulse::new(&name(NAMES[position]), boot, &root(boot as u8), &others)
}

/// What `sender`, in its run `boot`, tells the server at `receiver`.
fn session(boot: u64, sequence: u64, receiver: usize) -> Session {
    let key = session::to_hex(&session::bytes(&root(boot as u8), &name(NAMES[receiver])));
    Session { boot, sequence, key }
}

/// What `from` sends to the other at `position` of its list.
fn beat(from: &Pulse, sequence: u64, to: usize) -> Vec<u8> {
    let mut sent = Vec::new();
    from.beat(sequence, Duration::ZERO, &mut Datagram::new(), |position, bytes| {
        if position == to {
            sent = bytes.to_vec();
        }
    });
    sent
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn state(view: &View, server: &str) -> Presence {
    view.peers.iter().find(|peer| peer.server.as_str() == server).expect("a peer").presence
}

#[test]
fn a_beat_counts_once_and_only_with_the_senders_key() {
    let (mut srv1, srv2) = (pulse(0, 10), pulse(1, 20));
    let first = beat(&srv2, 6, 0);
    assert_eq!(srv1.take(&first, ms(1)), Err(Refusal::NoKey));
    assert!(srv1.view().peers[0].wants_key);
    srv1.learn(&name("srv2"), &session(20, 5, 0)).expect("a key");
    assert!(!srv1.view().peers[0].wants_key);
    assert_eq!(srv1.take(&beat(&srv2, 5, 0), ms(1)), Err(Refusal::Old), "recorded before it asked");
    assert_eq!(srv1.take(&first, ms(1)), Ok(()));
    assert_eq!(srv1.take(&first, ms(2)), Err(Refusal::Old), "replayed");
    assert_eq!(srv1.take(&beat(&srv2, 9, 1), ms(2)), Err(Refusal::Forged), "what srv3 got, and could send on");
    assert_eq!(srv1.take(&first[1..], ms(2)), Err(Refusal::Malformed));
    assert_eq!(srv1.take(&[], ms(2)), Err(Refusal::Malformed));
    assert_eq!(srv1.take(&beat(&srv1, 1, 0), ms(2)), Err(Refusal::Stranger), "its own, sent back");
    assert_eq!(srv1.take(&beat(&srv2, 9, 0), ms(3)), Ok(()));
    let view = srv1.view();
    assert_eq!((view.peers[0].received, view.peers[0].lost), (2, 2));
    assert_eq!(view.peers[0].heard_at, Some(ms(3)), "what is refused is no sign of life");
    let refused: Vec<String> = view.refused.iter().map(|(why, count)| format!("{} {count}", why.as_str())).collect();
    assert_eq!(refused, ["malformed 2", "stranger 1", "no_key 1", "forged 1", "old 2"]);
}

#[test]
fn a_new_run_needs_its_own_key_and_the_old_one_stays_refused() {
    let mut srv1 = pulse(0, 10);
    srv1.learn(&name("srv2"), &session(20, 0, 0)).expect("a key");
    assert_eq!(srv1.take(&beat(&pulse(1, 20), 1, 0), ms(1)), Ok(()));
    let again = pulse(1, 21);
    assert_eq!(srv1.take(&beat(&again, 1, 0), ms(2)), Err(Refusal::NoKey));
    srv1.learn(&name("srv2"), &session(21, 0, 0)).expect("a key");
    assert_eq!(srv1.take(&beat(&again, 1, 0), ms(3)), Ok(()));
    assert_eq!(srv1.take(&beat(&pulse(1, 20), 2, 0), ms(4)), Err(Refusal::NoKey));
    srv1.learn(&name("srv2"), &session(21, 0, 0)).expect("a key");
    assert_eq!(srv1.take(&beat(&again, 1, 0), ms(5)), Err(Refusal::Old), "asking again forgets nothing");
}

#[test]
fn a_beat_names_whom_its_sender_hears() {
    let (mut srv1, mut srv2) = (pulse(0, 10), pulse(1, 20));
    srv2.learn(&name("srv3"), &session(30, 0, 1)).expect("a key");
    srv2.learn(&name("srv1"), &session(10, 0, 1)).expect("a key");
    srv2.take(&beat(&pulse(2, 30), 1, 1), ms(1)).expect("its key");
    srv2.take(&beat(&srv1, 1, 0), ms(1)).expect("its key");
    srv1.learn(&name("srv2"), &session(20, 0, 0)).expect("a key");
    srv1.take(&beat(&srv2, 1, 0), ms(2)).expect("its key");
    let view = srv1.view();
    assert_eq!((view.peers[0].hears.as_slice(), view.peers[0].hears_us), (&[name("srv3")][..], true));
}

/// Absent is who is silent, unless somebody who is not says to hear it.
#[test]
fn a_witness_that_lives_is_believed() {
    let (mut srv1, mut srv2) = (pulse(0, 10), pulse(1, 20));
    srv1.learn(&name("srv2"), &session(20, 0, 0)).expect("a key");
    srv1.learn(&name("srv3"), &session(30, 0, 0)).expect("a key");
    srv2.learn(&name("srv3"), &session(30, 0, 1)).expect("a key");
    srv2.take(&beat(&pulse(2, 30), 1, 1), ms(0)).expect("its key");
    srv1.take(&beat(&pulse(2, 30), 1, 0), ms(0)).expect("its key");
    for (sequence, now) in (100..=1_000).step_by(100).enumerate() {
        srv1.take(&beat(&srv2, sequence as u64 + 1, 0), ms(now)).expect("its key");
        srv1.look(ms(now), Duration::ZERO);
    }
    assert!(state(&srv1.view(), "srv3").is_silent());
    assert_eq!(
        (srv1.view().absent(), srv1.view().cut_off()),
        (vec![], vec![name("srv2"), name("srv3")]),
        "srv2 hears it"
    );
    (0..=1_000).step_by(100).for_each(|now| srv2.look(ms(now), Duration::ZERO));
    srv1.take(&beat(&srv2, 99, 0), ms(1_010)).expect("its key");
    assert_eq!(srv1.view().absent(), [name("srv3")], "srv2 no longer does either");
    (1_020..=2_000).step_by(20).for_each(|now| srv1.look(ms(now), Duration::ZERO));
    assert_eq!(srv1.view().absent(), [name("srv2"), name("srv3")], "nobody is left to say anything");
}

#[test]
fn only_what_can_be_acted_upon_is_news() {
    let (mut srv1, srv2) = (pulse(0, 10), pulse(1, 20));
    assert!(srv1.take_news() && !srv1.take_news());
    srv1.learn(&name("srv2"), &session(20, 0, 0)).expect("a key");
    assert!(srv1.take_news(), "a key");
    srv1.take(&beat(&srv2, 1, 0), ms(0)).expect("its key");
    assert!(srv1.take_news(), "it lives");
    srv1.take(&beat(&srv2, 2, 0), ms(100)).expect("its key");
    srv1.look(ms(110), Duration::ZERO);
    assert!(!srv1.take_news());
    (120..=700).step_by(20).for_each(|now| srv1.look(ms(now), Duration::ZERO));
    assert!(srv1.take_news(), "it is silent");
}

/// Three servers in one clock of milliseconds, with a network that delays and loses, and hosts that keep theirs waiting.
struct Simulation {
    random: u64,
    now: u64,
    pulses: Vec<Pulse>,
    said: Vec<HeardList>,
    sequences: [u64; 3],
    /// When each wakes next, and beats next; never, where it is dead.
    wakes: [u64; 3],
    beats: [u64; 3],
    /// Arrival, receiver, datagram.
    under_way: Vec<(u64, usize, Vec<u8>)>,
    loss_percent: u64,
    delay_max: u64,
    /// The longest that a host keeps its own heart waiting, once in a hundred times.
    starved_max: u64,
}

impl Simulation {
    fn new(seed: u64, loss_percent: u64, delay_max: u64, starved_max: u64) -> Self {
        let mut pulses: Vec<Pulse> = (0..3).map(|at| pulse(at, 10 + at as u64)).collect();
        for (receiver, pulse) in pulses.iter_mut().enumerate() {
            for sender in (0..3).filter(|sender| *sender != receiver) {
                pulse.learn(&name(NAMES[sender]), &session(10 + sender as u64, 0, receiver)).expect("a key");
            }
        }
        let said = vec![HeardList::new(); 3];
        let (sequences, wakes, beats) = ([0; 3], [0, 7, 13], [0; 3]);
        let under_way = Vec::new();
        Self {
            random: seed,
            now: 0,
            pulses,
            said,
            sequences,
            wakes,
            beats,
            under_way,
            loss_percent,
            delay_max,
            starved_max,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % end.max(1)
    }

    /// One millisecond; what [`crate::Heart`] does, without its thread.
    fn step(&mut self) {
        self.now += 1;
        for at in 0..3 {
            if self.now < self.wakes[at] {
                continue;
            }
            let late = ms(self.now - self.wakes[at]);
            let (now, pulse) = (self.now, &mut self.pulses[at]);
            self.under_way.retain(|(arrival, receiver, bytes)| {
                let is_here = *receiver == at && *arrival <= now;
                if is_here {
                    let _ = pulse.take(bytes, ms(now));
                }
                !is_here
            });
            pulse.look(ms(now), late);
            let heard = pulse.heard();
            if now >= self.beats[at] || heard.as_heard() != self.said[at].as_heard() {
                self.said[at] = heard;
                self.beat(at);
            }
            let starved = if self.below(100) == 0 { self.below(self.starved_max) } else { 0 };
            self.wakes[at] = self.now + 25 + starved;
        }
    }

    fn beat(&mut self, at: usize) {
        if self.now >= self.beats[at] {
            self.beats[at] = self.now + HEARTBEAT_MS;
        }
        self.sequences[at] += 1;
        let mut sent = Vec::new();
        self.pulses[at].beat(self.sequences[at], ms(self.now), &mut Datagram::new(), |position, bytes| {
            sent.push((position, bytes.to_vec()));
        });
        for (position, bytes) in sent {
            let receiver = (0..3).filter(|other| *other != at).nth(position).expect("another");
            if self.below(100) >= self.loss_percent {
                let arrival = self.now + self.below(self.delay_max);
                self.under_way.push((arrival, receiver, bytes));
            }
        }
    }

    fn is_quiet_about(&self, at: usize) -> bool {
        let server = ServerId::of(&name(NAMES[at]));
        let pulses = self.pulses.iter().filter(|pulse| pulse.own != server);
        pulses.into_iter().all(|pulse| !pulse.view().absent().contains(&name(NAMES[at])))
    }
}

#[test]
fn no_false_silence_on_a_network_that_loses_and_hosts_that_are_starved() {
    for seed in 1..=3 {
        let mut simulation = Simulation::new(seed, 2, 40, 250);
        for _ in 0..30_000 {
            simulation.step();
            assert!((0..3).all(|at| simulation.is_quiet_about(at)), "seed {seed}, {} ms", simulation.now);
        }
        assert!(simulation.pulses.iter().all(|pulse| pulse.view().peers.iter().all(|peer| peer.received > 200)));
    }
}

#[test]
fn a_dead_server_is_absent_for_all_within_the_bound() {
    for seed in 1..=20 {
        let mut simulation = Simulation::new(seed, 0, 5, 10);
        let death = 1_000 + simulation.below(300);
        (0..death).for_each(|_| simulation.step());
        simulation.wakes[2] = u64::MAX;
        let bound = death + HEARTBEAT_NOTICED_MS - 5 * HEARTBEAT_MS;
        while simulation.now < bound {
            assert!(simulation.now > death + 350 || simulation.is_quiet_about(2), "seed {seed}: too soon");
            simulation.step();
        }
        for pulse in &simulation.pulses[..2] {
            assert_eq!(pulse.view().absent(), [name("srv3")], "seed {seed}, died at {death} ms");
        }
    }
}

/// The listener itself stands still for long, again and again: nobody else is silent for that.
#[test]
fn a_listener_that_is_paused_blames_nobody() {
    let mut simulation = Simulation::new(3, 0, 5, 0);
    for _ in 0..20 {
        (0..1_000).for_each(|_| simulation.step());
        simulation.wakes[0] = simulation.now + 10_000;
        (0..10_000).for_each(|_| simulation.step());
        simulation.under_way.retain(|(_, receiver, _)| *receiver != 0);
        (0..50).for_each(|_| simulation.step());
        assert_eq!(simulation.pulses[0].view().absent(), [], "{} ms", simulation.now);
    }
}
