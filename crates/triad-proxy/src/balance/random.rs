//! Random of two choices: two backends are drawn by weight, and the less loaded of them is picked. Nearly as even as
//! least connections, and edges that do not know each other's loads do not all run to the same backend at once.

use super::Share;
use super::tier::{compare, tier, weight};

/// Picks the better of two draws.
#[derive(Clone, Debug)]
pub struct TwoChoices {
    shares: Vec<Share>,
}

impl TwoChoices {
    /// Over `shares`, whose positions it returns.
    pub fn new(shares: Vec<Share>) -> Self {
        Self { shares }
    }

    /// A position, passing over those that `excluded` names. `random` decides both draws, 32 bits each; `in_flight`
    /// says how many requests a backend has.
    pub fn pick(
        &self,
        random: u64,
        in_flight: impl Fn(usize) -> u64,
        excluded: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let load = |position: usize| (in_flight(position), weight(&self.shares[position]));
        let first = self.draw(random >> 32, &excluded, None)?;
        let second = self.draw(random & u64::from(u32::MAX), &excluded, Some(first));
        // Of equals the first: then the shares are those of the weights.
        Some(second.filter(|second| compare(load(*second), load(first)).is_lt()).unwrap_or(first))
    }

    /// Draws by weight, `random` being of 32 bits; not `drawn` again.
    fn draw(&self, random: u64, excluded: &impl Fn(usize) -> bool, drawn: Option<usize>) -> Option<usize> {
        let candidates = || tier(&self.shares, excluded).filter(|position| Some(*position) != drawn);
        let total: u64 = candidates().map(|position| weight(&self.shares[position])).sum();
        let mut rest = (random * total) >> 32;
        candidates().find(|position| {
            let weight = weight(&self.shares[*position]);
            let hit = rest < weight;
            rest = rest.saturating_sub(weight);
            hit
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tier::tests::{all_up, is_allowed, shares, up};
    use super::{TwoChoices, weight};

    const PICKS: usize = 20_000;

    /// Numbers that are as good as random: SplitMix64.
    fn numbers() -> impl Iterator<Item = u64> {
        (1u64..).map(|index| {
            let mut x = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        })
    }

    #[test]
    fn of_two_backends_the_less_loaded_is_always_picked() {
        let balance = TwoChoices::new(vec![up(1), up(256)]);
        for random in numbers().take(1_000) {
            assert_eq!(balance.pick(random, |position| [0, 1][position], |_| false), Some(0));
            assert_eq!(balance.pick(random, |position| [1, 255][position], |_| false), Some(1), "for its weight");
            assert_eq!(balance.pick(random, |_| 0, |position| position == 0), Some(1), "a retry goes elsewhere");
        }
        assert_eq!(TwoChoices::new(Vec::new()).pick(7, |_| 0, |_| false), None);
    }

    /// Requests that never end: the fullest backend is hardly fuller than the emptiest, which a single draw would not
    /// give (its spread would be about 90).
    #[test]
    fn two_choices_are_far_more_even_than_one() {
        let balance = TwoChoices::new(vec![up(1); 10]);
        let mut loads = [0u64; 10];
        for random in numbers().take(10_000) {
            loads[balance.pick(random, |position| loads[position], |_| false).expect("somebody is up")] += 1;
        }
        let spread = loads.iter().max().expect("ten") - loads.iter().min().expect("ten");
        assert!(spread <= 10, "{loads:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn only_who_may_be_picked_is(shares in shares(), loads in prop::array::uniform6(0u64..50), random: u64) {
            let pick = TwoChoices::new(shares.clone()).pick(random, |position| loads[position], |_| false);
            prop_assert!(is_allowed(&shares, pick));
        }

        /// With more than one, the most loaded is never picked while there is a less loaded one to be drawn with it.
        #[test]
        fn the_most_loaded_is_never_picked(shares in all_up(), random: u64, most in 0usize..6) {
            let most = most % shares.len();
            let pick = TwoChoices::new(shares.clone()).pick(random, |at| if at == most { 1_000_000 } else { 0 }, |_| false);
            prop_assert!(shares.len() == 1 || pick != Some(most));
        }

        #[test]
        fn an_idle_site_is_shared_by_weight_and_nobody_starves(shares in all_up()) {
            let balance = TwoChoices::new(shares.clone());
            let total: u64 = shares.iter().map(weight).sum();
            let mut got = vec![0u64; shares.len()];
            for random in numbers().take(PICKS) {
                got[balance.pick(random, |_| 0, |_| false).expect("somebody is up")] += 1;
            }
            for (got, share) in got.iter().zip(&shares) {
                let due = PICKS as u64 * weight(share) / total;
                prop_assert!(got.abs_diff(due) <= 5 * due.isqrt() + 10, "{} picks, {} are due", got, due);
            }
        }
    }
}
