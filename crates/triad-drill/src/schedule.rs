//! When each request is due.

use crate::sample::Kind;
use crate::scenario::Rates;

/// A request that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// In microseconds since the load began.
    pub due_us: u64,
    pub kind: Kind,
    /// Among those of its kind, from 1.
    pub number: u32,
}

/// Every request of `duration_ms`, in the order of time: each kind evenly spaced, from half a space on.
pub(crate) fn arrivals(rates: Rates, duration_ms: u64) -> Vec<Arrival> {
    let mut arrivals: Vec<Arrival> =
        Kind::ALL.into_iter().flat_map(|kind| of_kind(kind, rates.of(kind), duration_ms)).collect();
    arrivals.sort_by_key(|arrival| (arrival.due_us, arrival.kind));
    arrivals
}

fn of_kind(kind: Kind, rate: u32, duration_ms: u64) -> impl Iterator<Item = Arrival> {
    let count = u32::try_from(u64::from(rate) * duration_ms / 1_000).unwrap_or(u32::MAX);
    let due_us = move |number: u32| (u64::from(number) * 2 - 1) * 500_000 / u64::from(rate.max(1));
    (1..=count).map(move |number| Arrival { due_us: due_us(number), kind, number })
}

#[cfg(test)]
mod tests {
    use super::arrivals;
    use crate::scenario::Rates;

    #[test]
    fn requests_are_evenly_spaced_and_none_is_due_after_the_end() {
        let rates = Rates { reads: 4, writes: 2, ..Rates::default() };
        let due: Vec<(u64, &str, u32)> =
            arrivals(rates, 1_000).into_iter().map(|a| (a.due_us / 1_000, a.kind.as_str(), a.number)).collect();
        assert_eq!(
            due,
            [
                (125, "reads", 1),
                (250, "writes", 1),
                (375, "reads", 2),
                (625, "reads", 3),
                (750, "writes", 2),
                (875, "reads", 4),
            ]
        );
        assert_eq!(arrivals(Rates::default(), 1_000), []);
    }
}
