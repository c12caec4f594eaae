//! Consistent hashing with bounded loads: the same key goes to the same backend, from every edge, as long as that one
//! has no more than its part of the load.
//!
//! Rendezvous hashing: every backend has a score for the key, and the highest wins. When a backend comes, goes or
//! changes its weight, only keys move that it wins or loses; a ring with weights to 256 would need tens of thousands
//! of points per backend for that. A pick costs one logarithm per backend.
//!
//! A key that is asked for very often would overload its backend; the bound sends what is too much to the next in the
//! key's own order (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016).

use super::Share;
use super::tier::{tier, weight};

/// The most a backend may have of all requests in flight, in per cent of its part by weight. The paper's trade: the
/// nearer to 100, the more even, and the more keys leave their backend.
const BOUND_PERCENT: u64 = 125;
/// A backend with fewer requests in flight is never passed over: a quarter of a few requests is none, and the requests
/// that one page makes at once are to stay together.
const BOUND_MIN: u64 = 16;

/// Picks by a key's hash.
#[derive(Clone, Debug)]
pub struct ConsistentHash {
    shares: Vec<Share>,
    /// What each backend is known by, spread over 64 bits.
    ids: Vec<u64>,
}

impl ConsistentHash {
    /// Over `backends`, whose positions it returns: each with a number that stays the same while it is the same
    /// backend, such as the hash of its name, and is no other's.
    pub fn new(backends: &[(u64, Share)]) -> Self {
        Self {
            shares: backends.iter().map(|(_, share)| *share).collect(),
            ids: backends.iter().map(|(id, _)| spread(*id)).collect(),
        }
    }

    /// The position for `key`, passing over those that `excluded` names; `in_flight` says how many requests a backend
    /// has.
    pub fn pick(&self, key: u64, in_flight: impl Fn(usize) -> u64, excluded: impl Fn(usize) -> bool) -> Option<usize> {
        // Loads are read once, since other workers change them meanwhile.
        let mut candidates: Vec<(usize, u64, f64)> = tier(&self.shares, excluded)
            .map(|position| (position, in_flight(position), self.score(position, key)))
            .collect();
        let with_this = 1 + candidates.iter().map(|(_, load, _)| load).sum::<u64>();
        let weights: u64 = candidates.iter().map(|(position, ..)| weight(&self.shares[*position])).sum();
        // The bounds add up to more than all requests, this one included: somebody is below.
        candidates.retain(|(position, load, _)| *load < bound(with_this, weight(&self.shares[*position]), weights));
        candidates.into_iter().max_by(|(.., a), (.., b)| a.total_cmp(b)).map(|(position, ..)| position)
    }

    /// The backend's score for `key`: exponentially distributed with its weight as rate, inverted.
    fn score(&self, position: usize, key: u64) -> f64 {
        let hash = spread(key ^ self.ids[position]);
        // In the middle of one of 2^53 equal parts of the space between 0 and 1.
        let fraction = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        weight(&self.shares[position]) as f64 / -fraction.ln()
    }
}

/// The most requests that a backend of `weight` may have of `all`.
fn bound(all: u64, weight: u64, weights: u64) -> u64 {
    let scaled = u128::from(all) * u128::from(weight) * u128::from(BOUND_PERCENT);
    u64::try_from(scaled.div_ceil(u128::from(weights) * 100)).unwrap_or(u64::MAX).max(BOUND_MIN)
}

/// Spreads what is close together over 64 bits (SplitMix64's finalizer): numbers that differ stay different.
pub fn spread(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tier::tests::{all_up, is_allowed, shares, up};
    use super::{BOUND_MIN, ConsistentHash, Share, bound, weight};

    const KEYS: u64 = 4_000;

    fn numbered(shares: &[Share]) -> Vec<(u64, Share)> {
        (1..).zip(shares.iter().copied()).collect()
    }

    /// Ids of whom each key goes to on an idle site.
    fn owners(backends: &[(u64, Share)]) -> Vec<u64> {
        let balance = ConsistentHash::new(backends);
        (0..KEYS).map(|key| backends[balance.pick(key, |_| 0, |_| false).expect("somebody is up")].0).collect()
    }

    fn moved(before: &[u64], after: &[u64]) -> Vec<(u64, u64)> {
        before.iter().copied().zip(after.iter().copied()).filter(|(before, after)| before != after).collect()
    }

    /// All requests for one key: its backend takes its bound, the rest goes on to others.
    #[test]
    fn a_key_that_everybody_asks_for_is_shared() {
        let balance = ConsistentHash::new(&numbered(&[up(1); 4]));
        let mut loads = [0u64; 4];
        for _ in 0..1_000 {
            loads[balance.pick(7, |position| loads[position], |_| false).expect("somebody is up")] += 1;
        }
        assert!(loads.iter().all(|load| *load <= 313), "{loads:?}");
        assert_eq!(loads.iter().sum::<u64>(), 1_000);
    }

    #[test]
    fn a_few_requests_at_once_stay_together() {
        let balance = ConsistentHash::new(&numbered(&[up(1); 4]));
        let mut loads = [0u64; 4];
        for _ in 0..BOUND_MIN {
            loads[balance.pick(7, |position| loads[position], |_| false).expect("somebody is up")] += 1;
        }
        assert_eq!(loads.iter().max(), Some(&BOUND_MIN), "{loads:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn only_who_may_be_picked_is(shares in shares(), loads in prop::array::uniform6(0u64..50), key: u64) {
            let pick = ConsistentHash::new(&numbered(&shares)).pick(key, |position| loads[position], |_| false);
            prop_assert!(is_allowed(&shares, pick));
        }

        #[test]
        fn nobody_gets_more_than_its_bound(
            shares in all_up(), loads in prop::array::uniform6(0u64..50), key: u64,
        ) {
            let pick = ConsistentHash::new(&numbered(&shares)).pick(key, |position| loads[position], |_| false);
            let pick = pick.expect("somebody is below the bound");
            let all = 1 + loads[..shares.len()].iter().sum::<u64>();
            prop_assert!(loads[pick] < bound(all, weight(&shares[pick]), shares.iter().map(weight).sum()));
        }

        #[test]
        fn keys_are_shared_by_weight(shares in all_up()) {
            let owners = owners(&numbered(&shares));
            let total: u64 = shares.iter().map(weight).sum();
            for (id, share) in numbered(&shares) {
                let got = owners.iter().filter(|owner| **owner == id).count() as u64;
                let due = KEYS * weight(&share) / total;
                prop_assert!(got.abs_diff(due) <= 5 * due.isqrt() + 10, "{} keys, {} are due", got, due);
            }
        }

        #[test]
        fn when_one_goes_only_its_keys_move_and_they_come_back_with_it(
            shares in prop::collection::vec((1u16..=40).prop_map(up), 2..6), gone in any::<prop::sample::Index>(),
        ) {
            let before = numbered(&shares);
            let mut after = before.clone();
            let (id, _) = after.remove(gone.index(shares.len()));
            for (old, _) in moved(&owners(&before), &owners(&after)) {
                prop_assert_eq!(old, id);
            }
            // Down is the same as gone, and the order of the file does not matter.
            let mut down = before.clone();
            down[gone.index(shares.len())].1.up = false;
            down.reverse();
            prop_assert_eq!(owners(&down), owners(&after));
        }

        #[test]
        fn a_greater_weight_takes_keys_from_others_and_moves_no_other(
            shares in prop::collection::vec((1u16..=40).prop_map(up), 2..6),
            heavier in any::<prop::sample::Index>(),
            more in 1u16..40,
        ) {
            let before = numbered(&shares);
            let mut after = before.clone();
            after[heavier.index(shares.len())].1.weight += more;
            let id = before[heavier.index(shares.len())].0;
            for (_, new) in moved(&owners(&before), &owners(&after)) {
                prop_assert_eq!(new, id);
            }
        }
    }
}
