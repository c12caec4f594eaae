//! A connection's one timer. Setting it anew for every request would cost more than parsing one, so it stays armed for
//! an earlier time than anybody needs, and looks again when it rings.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How often a connection that waits for a backend looks whether that is still up.
pub(crate) const TICK: Duration = Duration::from_millis(200);

/// The timer.
#[derive(Debug)]
pub(crate) struct Clock {
    sleep: Pin<Box<Sleep>>,
    armed_for: Instant,
    /// Whether it will wake the task, which is always the same: asking again would change nothing.
    listens: bool,
}

impl Clock {
    /// Armed for `first`.
    pub fn new(first: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(first)), armed_for: first, listens: false }
    }

    /// Whether `due` has passed; if not, the task is woken then or before.
    pub fn poll_passed(&mut self, context: &mut Context<'_>, due: Instant) -> bool {
        if self.armed_for > due {
            self.arm(due);
        }
        if self.listens && !self.sleep.is_elapsed() {
            return false;
        }
        while self.sleep.as_mut().poll(context).is_ready() {
            if Instant::now() >= due {
                return true;
            }
            self.arm(due);
        }
        self.listens = true;
        false
    }

    fn arm(&mut self, at: Instant) {
        self.sleep.as_mut().reset(at);
        (self.armed_for, self.listens) = (at, false);
    }
}

/// Tells slow from stuck: nothing moved for a time, at the latest after twice that.
#[derive(Debug)]
pub(crate) struct Stall {
    limit: Duration,
    look_at: Instant,
    moves_then: u64,
}

impl Stall {
    /// From `now` on.
    pub fn new(now: Instant, limit: Duration) -> Self {
        Self { limit, look_at: now + limit, moves_then: 0 }
    }

    /// Whether it is stuck at `now`; `moves` grows with whatever counts as progress.
    pub fn is_stuck(&mut self, now: Instant, moves: u64) -> bool {
        if now < self.look_at {
            return false;
        }
        let moved = self.moves_then != moves;
        (self.moves_then, self.look_at) = (moves, now + self.limit);
        !moved
    }

    /// Whether it is stuck; if not, the task is woken when it might be.
    pub fn poll_stuck(&mut self, clock: &mut Clock, context: &mut Context<'_>, moves: u64) -> bool {
        while clock.poll_passed(context, self.look_at) {
            if self.is_stuck(Instant::now(), moves) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::{Clock, Stall};

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn the_clock_rings_for_the_time_that_is_asked_for_last() {
        let start = Instant::now();
        let mut clock = Clock::new(start + Duration::from_secs(60));
        for seconds in [10, 5, 90] {
            let due = start + Duration::from_secs(seconds);
            let from = Instant::now();
            let ring = |context: &mut std::task::Context<'_>| match clock.poll_passed(context, due) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            };
            poll_fn(ring).await;
            assert_eq!(Instant::now(), due.max(from));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_is_not_stuck() {
        let start = Instant::now();
        let mut clock = Clock::new(start + LIMIT);
        let mut stall = Stall::new(start, LIMIT);
        let (mut half, mut moves) = (Box::pin(sleep(LIMIT / 2)), 0);
        poll_fn(|context| {
            if moves == 0 && half.as_mut().poll(context).is_ready() {
                moves += 1;
            }
            if stall.poll_stuck(&mut clock, context, moves) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert_eq!(start.elapsed(), 2 * LIMIT);
    }
}
