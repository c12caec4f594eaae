//! Least connections: whoever has the fewest requests in flight for its weight. Among equals, weighted round robin
//! decides, so that on an idle site the shares are those of the weights and nobody starves.

use super::tier::{compare, tier, weight};
use super::{Rotation, Share};

/// Picks by load.
#[derive(Clone, Debug)]
pub struct LeastConnections {
    shares: Vec<Share>,
    rotation: Rotation,
}

impl LeastConnections {
    /// Over `shares`, whose positions it returns.
    pub fn new(shares: Vec<Share>) -> Self {
        Self { rotation: Rotation::new(&shares), shares }
    }

    /// The position for pick number `turn`, passing over those that `excluded` names; `in_flight` says how many
    /// requests a backend has.
    pub fn pick(
        &self,
        turn: usize,
        in_flight: impl Fn(usize) -> u64,
        excluded: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        // Read once: other workers change it meanwhile.
        let loads: Vec<(u64, u64)> =
            self.shares.iter().enumerate().map(|(position, share)| (in_flight(position), weight(share))).collect();
        let least = tier(&self.shares, &excluded).min_by(|a, b| compare(loads[*a], loads[*b]))?;
        self.rotation.pick(turn, |position| excluded(position) || compare(loads[position], loads[least]).is_ne())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tier::tests::{all_up, is_allowed, shares, up};
    use super::{LeastConnections, compare, weight};

    #[test]
    fn the_least_loaded_for_its_weight_is_next() {
        let balance = LeastConnections::new(vec![up(4), up(1)]);
        let pick = |loads: [u64; 2]| balance.pick(0, |position| loads[position], |_| false);
        assert_eq!(pick([3, 1]), Some(0), "3 of 4 is less than 1 of 1");
        assert_eq!(pick([5, 1]), Some(1));
        assert_eq!(balance.pick(0, |_| u64::MAX, |position| position == 0), Some(1), "a retry goes elsewhere");
    }

    proptest! {
        #[test]
        fn nobody_with_less_load_is_passed_over(
            shares in shares(), loads in prop::array::uniform6(0u64..50), turn: usize,
        ) {
            let pick = LeastConnections::new(shares.clone()).pick(turn, |position| loads[position], |_| false);
            prop_assert!(is_allowed(&shares, pick));
            let load = |position: usize| (loads[position], weight(&shares[position]));
            if let Some(pick) = pick {
                for other in (0..shares.len()).filter(|other| is_allowed(&shares, Some(*other))) {
                    prop_assert!(compare(load(pick), load(other)).is_le(), "{} before {}", pick, other);
                }
            }
        }

        #[test]
        fn an_idle_site_is_shared_exactly_by_weight(shares in all_up(), start in 0usize..10_000) {
            let balance = LeastConnections::new(shares.clone());
            let total: usize = shares.iter().map(|share| usize::from(share.weight)).sum();
            let mut got = vec![0; shares.len()];
            (start..start + total).filter_map(|turn| balance.pick(turn, |_| 0, |_| false)).for_each(|pick| got[pick] += 1);
            let due: Vec<usize> = shares.iter().map(|share| usize::from(share.weight)).collect();
            prop_assert_eq!(got, due);
        }

        /// Requests that never end fill the backends by weight.
        #[test]
        fn a_busy_site_is_shared_by_weight_to_within_one_request(shares in all_up(), requests in 1usize..400) {
            let balance = LeastConnections::new(shares.clone());
            let total: u64 = shares.iter().map(weight).sum();
            let mut loads = vec![0u64; shares.len()];
            for turn in 0..requests {
                let pick = balance.pick(turn, |position| loads[position], |_| false).expect("somebody is up");
                loads[pick] += 1;
            }
            for (load, share) in loads.iter().zip(&shares) {
                // Whoever was picked had no more than its part of what was there.
                prop_assert!((load - (*load).min(1)) * total <= requests as u64 * weight(share));
            }
        }

        /// A slow backend gets less: what it does not answer it keeps.
        #[test]
        fn nobody_starves_and_the_slow_gets_less(shares in prop::collection::vec(Just(up(1)), 2..5)) {
            let balance = LeastConnections::new(shares.clone());
            let mut loads = vec![0u64; shares.len()];
            let mut got = vec![0u64; shares.len()];
            for turn in 0..400 {
                let pick = balance.pick(turn, |position| loads[position], |_| false).expect("somebody is up");
                got[pick] += 1;
                loads[pick] += 1;
                // The first answers every tenth turn, the others at once.
                loads.iter_mut().skip(1).for_each(|load| *load = 0);
                loads[0] -= u64::from(turn % 10 == 9).min(loads[0]);
            }
            prop_assert!(got.iter().all(|got| *got > 0));
            prop_assert!(got.iter().skip(1).all(|other| *other > got[0]), "{:?}", got);
        }
    }
}
