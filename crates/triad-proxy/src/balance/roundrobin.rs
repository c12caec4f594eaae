//! Which backend is next: smooth weighted round robin, worked out ahead as a cycle.
//!
//! Because the cycle is fixed, all that workers share is one number that counts up, and the shares are exact over any
//! full cycle of consecutive picks no matter which worker picked: weights 5 and 1 share any six picks 5 to 1.

/// A backend as the rotation sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Picks per cycle relative to the others; below one counts as one.
    pub weight: u16,
    /// Passive: picked only while no active backend can be.
    pub backup: bool,
    /// Whether it may be picked at all.
    pub up: bool,
}

/// The order of picks for one set of verdicts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Positions of backends, one cycle of the active ones that are up.
    active: Vec<u16>,
    /// The same of the passive ones that are up.
    reserve: Vec<u16>,
}

impl Rotation {
    /// The rotation over `shares`, whose positions it returns.
    pub fn new(shares: &[Share]) -> Self {
        let of = |backup| {
            let members = shares.iter().enumerate().filter(|(_, share)| share.up && share.backup == backup);
            cycle(members.map(|(position, share)| (position as u16, share.weight.max(1).into())).collect())
        };
        Self { active: of(false), reserve: of(true) }
    }

    /// The position for pick number `turn`, passing over those that `excluded` names. A backup comes only when no
    /// active one is left.
    pub fn pick(&self, turn: usize, excluded: impl Fn(usize) -> bool) -> Option<usize> {
        let from = |cycle: &[u16]| {
            let start = turn.checked_rem(cycle.len())?;
            let (before, after) = cycle.split_at(start);
            after.iter().chain(before).map(|position| usize::from(*position)).find(|position| !excluded(*position))
        };
        from(&self.active).or_else(|| from(&self.reserve))
    }
}

/// One cycle of nginx's smooth weighted round robin: each turn everyone earns its weight, the richest is picked and
/// pays the sum of all weights.
fn cycle(members: Vec<(u16, i64)>) -> Vec<u16> {
    let divisor = members.iter().fold(0, |divisor, (_, weight)| gcd(divisor, *weight)).max(1);
    let total: i64 = members.iter().map(|(_, weight)| weight / divisor).sum();
    let mut credit = vec![0; members.len()];
    (0..total)
        .filter_map(|_| {
            for (credit, (_, weight)) in credit.iter_mut().zip(&members) {
                *credit += weight / divisor;
            }
            // `max_by_key` takes the last of equals; reversed, the first in the order of the file.
            let richest = (0..members.len()).rev().max_by_key(|member| credit[*member])?;
            credit[richest] -= total;
            Some(members[richest].0)
        })
        .collect()
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Rotation, Share};

    fn up(weight: u16) -> Share {
        Share { weight, backup: false, up: true }
    }

    fn picks(shares: &[Share], turns: std::ops::Range<usize>) -> Vec<usize> {
        let rotation = Rotation::new(shares);
        turns.filter_map(|turn| rotation.pick(turn, |_| false)).collect()
    }

    #[test]
    fn weights_five_and_one_share_six_picks() {
        assert_eq!(picks(&[up(5), up(1)], 0..6), [0, 0, 0, 1, 0, 0]);
        assert_eq!(picks(&[up(250), up(50)], 0..6), [0, 0, 0, 1, 0, 0], "only the ratio counts");
    }

    #[test]
    fn the_burst_is_spread() {
        assert_eq!(picks(&[up(5), up(1), up(1)], 0..7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_retry_goes_elsewhere_and_to_the_backup_last() {
        let rotation = Rotation::new(&[up(5), up(1), Share { weight: 1, backup: true, up: true }]);
        assert_eq!(rotation.pick(0, |position| position == 0), Some(1));
        assert_eq!(rotation.pick(0, |position| position < 2), Some(2));
        assert_eq!(rotation.pick(0, |_| true), None);
        assert_eq!(Rotation::new(&[]).pick(7, |_| false), None);
    }

    fn shares() -> impl Strategy<Value = Vec<Share>> {
        let share = (1u16..=256, any::<bool>(), any::<bool>());
        prop::collection::vec(share.prop_map(|(weight, backup, up)| Share { weight, backup, up }), 0..6)
    }

    fn weights() -> impl Strategy<Value = Vec<u16>> {
        prop::collection::vec(1u16..=40, 1..5)
    }

    proptest! {
        #[test]
        fn any_full_cycle_of_consecutive_picks_is_exact(weights in weights(), start in 0usize..10_000) {
            let shares: Vec<Share> = weights.iter().map(|weight| up(*weight)).collect();
            let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
            let picked = picks(&shares, start..start + total);
            for (position, weight) in weights.iter().enumerate() {
                let got = picked.iter().filter(|pick| **pick == position).count();
                prop_assert_eq!(got, usize::from(*weight));
            }
        }

        #[test]
        fn nobody_runs_ahead_of_its_share_by_more_than_one(weights in weights()) {
            let shares: Vec<Share> = weights.iter().map(|weight| up(*weight)).collect();
            let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
            let mut got = vec![0; weights.len()];
            for (index, pick) in picks(&shares, 0..total).into_iter().enumerate() {
                got[pick] += 1;
                let due = (index + 1) * usize::from(weights[pick]);
                prop_assert!(got[pick] * total <= due + total, "{} picks of {} after {}", got[pick], pick, index + 1);
            }
        }

        #[test]
        fn only_those_that_are_up_are_picked_and_backups_only_without_an_active_one(shares in shares(), turn: usize) {
            let pick = Rotation::new(&shares).pick(turn, |_| false);
            let active_is_up = shares.iter().any(|share| share.up && !share.backup);
            match pick {
                Some(position) => {
                    prop_assert!(shares[position].up);
                    prop_assert_eq!(shares[position].backup, !active_is_up);
                }
                None => prop_assert!(shares.iter().all(|share| !share.up)),
            }
        }
    }
}
