//! The panic threshold: when so few backends are up that the checks are more likely wrong than the backends, requests
//! go to all of them. Envoy's rule of that name.

use super::Share;

/// A backend before it is decided whether to believe the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// As it is while they are believed.
    pub share: Share,
    /// Whether an operator wants it to have requests.
    pub wanted: bool,
    /// What its checks say; one that was never checked is not healthy.
    pub healthy: bool,
}

/// What each backend gets, and whether that is panic: fewer than `percent` of the active ones that are wanted are
/// healthy. Then all of these are up. Passive ones neither count nor change.
pub fn shares(percent: u8, backends: &[Condition]) -> (Vec<Share>, bool) {
    let counts = |it: &&Condition| it.wanted && !it.share.backup;
    let wanted = backends.iter().filter(counts).count();
    let healthy = backends.iter().filter(counts).filter(|it| it.healthy).count();
    let panic = healthy * 100 < wanted * usize::from(percent);
    let share = |it: &Condition| Share { up: it.share.up || (panic && counts(&it)), ..it.share };
    (backends.iter().map(share).collect(), panic)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Share;
    use super::{Condition, shares};

    fn condition() -> impl Strategy<Value = Condition> {
        any::<(bool, bool, bool, bool)>().prop_map(|(wanted, healthy, backup, left_out)| {
            let up = wanted && healthy && !left_out;
            Condition { share: Share { weight: 1, backup, up }, wanted, healthy }
        })
    }

    fn backends() -> impl Strategy<Value = Vec<Condition>> {
        prop::collection::vec(condition(), 0..6)
    }

    fn active(healthy: bool) -> Condition {
        Condition { share: Share { weight: 1, backup: false, up: healthy }, wanted: true, healthy }
    }

    #[test]
    fn fewer_than_the_threshold_is_panic_and_as_many_is_not() {
        let backends = [true, true, false, false].map(active);
        assert!(!shares(50, &backends).1);
        let (all, panic) = shares(51, &backends);
        assert!(panic && all.iter().all(|share| share.up));
        assert!(!shares(100, &[true, true].map(active)).1);
        assert!(shares(1, &[active(false)]).1, "none is up");
        assert!(!shares(100, &[]).1);
    }

    proptest! {
        #[test]
        fn without_a_threshold_checks_are_believed(backends in backends()) {
            let (shares, panic) = shares(0, &backends);
            prop_assert!(!panic);
            prop_assert_eq!(shares, backends.iter().map(|it| it.share).collect::<Vec<_>>());
        }

        #[test]
        fn panic_sends_to_all_that_are_wanted_and_to_nobody_else(backends in backends(), percent in 0u8..=100) {
            let (shares, panic) = shares(percent, &backends);
            for (share, it) in shares.iter().zip(&backends) {
                let up = if panic && !it.share.backup { it.wanted } else { it.share.up };
                prop_assert_eq!(*share, Share { up, ..it.share });
            }
        }

        #[test]
        fn one_more_that_is_healthy_never_brings_panic(
            backends in backends(), percent in 0u8..=100, which in any::<prop::sample::Index>(),
        ) {
            prop_assume!(!backends.is_empty());
            let (_, before) = shares(percent, &backends);
            let mut better = backends.clone();
            better[which.index(backends.len())].healthy = true;
            prop_assert!(before || !shares(percent, &better).1);
        }

        #[test]
        fn nobody_wanted_or_everybody_healthy_is_never_panic(backends in backends(), percent in 0u8..=100) {
            let all = |wanted: bool, healthy: bool| -> Vec<Condition> {
                backends.iter().map(|it| Condition { wanted: it.wanted && wanted, healthy: it.healthy || healthy, ..*it })
                    .collect()
            };
            prop_assert!(!shares(percent, &all(false, false)).1);
            prop_assert!(!shares(percent, &all(true, true)).1);
        }
    }
}
