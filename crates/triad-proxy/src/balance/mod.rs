//! Which backend is next: one algorithm a file, each a pure state machine. Loads, random numbers and whom to pass over
//! are arguments; nothing here counts, waits or draws. [`Chooser`] is whichever the design names.
//!
//! Invariants: only backends that are up are picked, and backups only while no active one can be.

mod first;
mod hash;
mod key;
mod leastconn;
pub mod panic;
mod random;
mod roundrobin;
mod tier;

pub use hash::spread;
pub use key::{HashOn, cookie, fingerprint};
pub use roundrobin::{Rotation, Share};
pub use tier::tier;

use first::First;
use hash::ConsistentHash;
use leastconn::LeastConnections;
use random::TwoChoices;
use triad_model::Algorithm;

/// The algorithm of a pool, for one set of verdicts and weights.
#[derive(Clone, Debug)]
pub enum Chooser {
    /// Weighted round robin.
    Rotation(Rotation),
    /// Least connections.
    Least(LeastConnections),
    /// Random of two choices.
    Random(TwoChoices),
    /// Consistent hash.
    Hash(ConsistentHash),
    /// First.
    First(First),
}

/// What a pick may go by.
#[derive(Clone, Copy, Debug)]
pub struct Pick {
    /// How many picks there were before it.
    pub turn: usize,
    /// A random number.
    pub random: u64,
    /// The hash of what the design names; requests without it are spread by `random`.
    pub key: Option<u64>,
}

impl Chooser {
    /// `algorithm` over `backends`: each with its [`fingerprint`] and its share.
    pub fn new(algorithm: Algorithm, backends: &[(u64, Share)]) -> Self {
        let shares = || backends.iter().map(|(_, share)| *share).collect::<Vec<_>>();
        match algorithm {
            Algorithm::RoundRobin => Self::Rotation(Rotation::new(&shares())),
            Algorithm::LeastConn => Self::Least(LeastConnections::new(shares())),
            Algorithm::Random => Self::Random(TwoChoices::new(shares())),
            Algorithm::Source | Algorithm::Uri | Algorithm::Header | Algorithm::Cookie => {
                Self::Hash(ConsistentHash::new(backends))
            }
            Algorithm::First => Self::First(First::new(shares())),
        }
    }

    /// The position of the next backend, passing over those that `excluded` names; `in_flight` says how many requests
    /// a backend has.
    pub fn pick(
        &self,
        pick: Pick,
        in_flight: impl Fn(usize) -> u64,
        excluded: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        match self {
            Self::Rotation(rotation) => rotation.pick(pick.turn, excluded),
            Self::Least(least) => least.pick(pick.turn, in_flight, excluded),
            Self::Random(random) => random.pick(pick.random, in_flight, excluded),
            Self::Hash(hash) => hash.pick(pick.key.unwrap_or(pick.random), in_flight, excluded),
            Self::First(first) => first.pick(excluded),
        }
    }
}

impl Default for Chooser {
    fn default() -> Self {
        Self::Rotation(Rotation::default())
    }
}

#[cfg(test)]
mod tests {
    use triad_model::Algorithm;

    use super::{Chooser, Pick, Share, fingerprint};

    #[test]
    fn each_algorithm_picks_in_its_way() {
        let share = Share { weight: 1, backup: false, up: true };
        let backends = ["srv2", "srv3", "srv4"].map(|name| (fingerprint(name.as_bytes()), share));
        let picks = |algorithm, key: Option<u64>| -> Vec<usize> {
            let chooser = Chooser::new(algorithm, &backends);
            let pick = |turn: usize| {
                let random = (turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                chooser.pick(Pick { turn, random, key }, |position| if position == 0 { 5 } else { 0 }, |_| false)
            };
            (0..12).filter_map(pick).collect()
        };
        assert_eq!(picks(Algorithm::RoundRobin, None)[..6], [0, 1, 2, 0, 1, 2]);
        assert!(picks(Algorithm::LeastConn, None).iter().all(|position| *position != 0), "it has five requests");
        assert!(picks(Algorithm::Random, None).iter().any(|position| *position != 0));
        assert!(picks(Algorithm::First, None).iter().all(|position| *position == 0));
        let keyed = picks(Algorithm::Source, Some(7));
        assert!(keyed.iter().all(|position| *position == keyed[0]), "one client, one backend: {keyed:?}");
        let spread = picks(Algorithm::Cookie, None);
        assert!(spread.iter().any(|position| *position != spread[0]), "without a cookie, anywhere: {spread:?}");
    }
}
