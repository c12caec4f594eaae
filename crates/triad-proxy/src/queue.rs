//! Who waits for a slot: first in, first out. Pure; what there is to be had, the caller says.
//!
//! Invariants: the queue never holds more than it may; who has waited longer is served before anybody with the same
//! needs; after [`Queue::serve`] nobody waits for what is to be had.

use std::collections::VecDeque;

/// Names a waiter for as long as it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The queue. Waiters with equal needs `N` can be served by the same.
#[derive(Debug)]
pub(crate) struct Queue<N, W> {
    /// By ticket.
    entries: VecDeque<Entry<N, W>>,
    next: u64,
}

#[derive(Debug)]
struct Entry<N, W> {
    ticket: Ticket,
    needs: N,
    waiter: W,
}

impl<N, W> Default for Queue<N, W> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), next: 0 }
    }
}

impl<N: PartialEq, W> Queue<N, W> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Goes to the end of the queue; `None` if `max` wait already.
    pub fn enter(&mut self, needs: N, waiter: W, max: usize) -> Option<Ticket> {
        if self.len() >= max {
            return None;
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.entries.push_back(Entry { ticket, needs, waiter });
        Some(ticket)
    }

    /// Waits no more, if it still does.
    pub fn leave(&mut self, ticket: Ticket) {
        if let Ok(index) = self.entries.binary_search_by_key(&ticket, |entry| entry.ticket) {
            self.entries.remove(index);
        }
    }

    /// Asks what each waiter gets, in order, and takes those out that get something. Who needs the same as somebody
    /// before who got nothing is not asked for.
    pub fn serve<G>(&mut self, mut give: impl FnMut(&N, &W) -> Option<G>) -> Vec<(W, G)> {
        let mut served = Vec::new();
        let mut refused: Vec<usize> = Vec::new();
        let mut index = 0;
        while let Some(Entry { needs, waiter, .. }) = self.entries.get(index) {
            if refused.iter().any(|before| self.entries[*before].needs == *needs) {
                index += 1;
            } else if let Some(gift) = give(needs, waiter) {
                served.extend(self.entries.remove(index).map(|entry| (entry.waiter, gift)));
            } else {
                refused.push(index);
                index += 1;
            }
        }
        served
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Queue, Ticket};

    const PLACES: usize = 3;
    const MAX: usize = 8;

    /// Needs are the places a waiter can use, as bits.
    #[derive(Clone, Debug)]
    enum Step {
        Enter(u8),
        /// One of those that ever entered: it may be gone.
        Leave(prop::sample::Index),
        Free(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1u8..1 << PLACES).prop_map(Step::Enter),
            1 => any::<prop::sample::Index>().prop_map(Step::Leave),
            3 => (0..PLACES).prop_map(Step::Free),
        ]
    }

    fn usable(needs: u8, free: &[u32; PLACES]) -> Option<usize> {
        (0..PLACES).find(|place| needs & 1 << place != 0 && free[*place] > 0)
    }

    /// A queue, the slots that are free, and a list of what should wait.
    #[derive(Default)]
    struct Model {
        queue: Queue<u8, usize>,
        free: [u32; PLACES],
        /// Number, needs and ticket of those that wait.
        waiting: Vec<(usize, u8, Ticket)>,
        entered: Vec<Ticket>,
    }

    impl Model {
        fn take(&mut self, step: Step) {
            match step {
                Step::Enter(needs) => {
                    let number = self.entered.len();
                    let ticket = self.queue.enter(needs, number, MAX);
                    assert_eq!(ticket.is_none(), self.waiting.len() == MAX);
                    self.entered.extend(ticket);
                    self.waiting.extend(ticket.map(|ticket| (number, needs, ticket)));
                }
                Step::Leave(which) if !self.entered.is_empty() => {
                    let ticket = *which.get(&self.entered);
                    self.queue.leave(ticket);
                    self.waiting.retain(|(.., waiting)| *waiting != ticket);
                }
                Step::Leave(_) => {}
                Step::Free(place) => self.free[place] += 1,
            }
            self.serve();
        }

        fn serve(&mut self) {
            let free = &mut self.free;
            let served = self.queue.serve(|needs, _| {
                let place = usable(*needs, free)?;
                free[place] -= 1;
                Some(place)
            });
            for (number, place) in served {
                let at = self.waiting.iter().position(|(waiting, ..)| *waiting == number).expect("it waited");
                let (_, needs, _) = self.waiting.remove(at);
                assert!(needs & 1 << place != 0, "it got what it can use");
                assert!(self.waiting[..at].iter().all(|(_, earlier, _)| *earlier != needs), "it overtook nobody");
            }
        }
    }

    proptest! {
        #[test]
        fn everybody_is_served_once_in_order_and_nobody_waits_for_what_is_free(
            steps in prop::collection::vec(step(), 0..80),
        ) {
            let mut model = Model::default();
            for step in steps {
                model.take(step);
                prop_assert_eq!(model.queue.len(), model.waiting.len());
                prop_assert!(model.queue.len() <= MAX);
                prop_assert!(model.waiting.iter().all(|(_, needs, _)| usable(*needs, &model.free).is_none()));
            }
        }

        #[test]
        fn with_equal_needs_it_is_a_queue(slots in prop::collection::vec(0usize..4, 1..20)) {
            let mut queue = Queue::default();
            (0..MAX).for_each(|number| assert!(queue.enter((), number, MAX).is_some()));
            let mut order = Vec::new();
            for mut free in slots.iter().copied() {
                let mut asked = 0;
                order.extend(queue.serve(|(), _| {
                    asked += 1;
                    free = free.checked_sub(1)?;
                    Some(())
                }));
                prop_assert!(asked <= MAX);
            }
            let served = slots.iter().sum::<usize>().min(MAX);
            prop_assert_eq!(order.iter().map(|(number, ())| *number).collect::<Vec<_>>(), (0..served).collect::<Vec<_>>());
        }
    }

    #[test]
    fn who_needs_the_same_in_vain_is_not_asked_for() {
        let mut queue = Queue::default();
        (0..100).for_each(|number| assert!(queue.enter(number % 2, number, 100).is_some()));
        let mut asked = 0;
        let served: Vec<(i32, ())> = queue.serve(|_, _| {
            asked += 1;
            None
        });
        assert_eq!((asked, served.len(), queue.len()), (2, 0, 100));
    }
}
