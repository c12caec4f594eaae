//! Where streams wait for a task, and tasks for a stream.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The desk of one connection. All who come to it are tasks of one worker, so its lock is free.
pub(crate) struct Desk<T> {
    waiting: Mutex<Waiting<T>>,
    called: Notify,
}

struct Waiting<T> {
    /// Never more than there are tasks here.
    streams: VecDeque<T>,
    tasks: usize,
    /// Those of them that shall end.
    dismissed: usize,
    closed: bool,
}

impl<T> Desk<T> {
    /// Nobody is there.
    pub fn new() -> Self {
        let waiting = Waiting { streams: VecDeque::new(), tasks: 0, dismissed: 0, closed: false };
        Self { waiting: Mutex::new(waiting), called: Notify::new() }
    }

    /// Gives `stream` to a task that waits; back if there is none.
    pub fn hand_in(&self, stream: T) -> Option<T> {
        let mut waiting = self.lock();
        if waiting.streams.len() + waiting.dismissed >= waiting.tasks {
            return Some(stream);
        }
        waiting.streams.push_back(stream);
        drop(waiting);
        self.called.notify_one();
        None
    }

    /// Waits for a stream; `None`: the task is not needed any more.
    pub async fn next(&self) -> Option<T> {
        self.lock().tasks += 1;
        loop {
            let called = self.called.notified();
            if let Some(next) = self.lock().call() {
                return next;
            }
            called.await;
        }
    }

    /// Ends the tasks that have nothing to do now.
    pub fn dismiss(&self) {
        let mut waiting = self.lock();
        waiting.dismissed = waiting.tasks - waiting.streams.len();
        drop(waiting);
        self.called.notify_waiters();
    }

    /// Ends every task once it has nothing to do.
    pub fn close(&self) {
        self.lock().closed = true;
        self.called.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Waiting<T> {
    /// What a task is called for: a stream, or to end.
    fn call(&mut self) -> Option<Option<T>> {
        let called = match self.streams.pop_front() {
            Some(stream) => Some(stream),
            None if self.closed => None,
            None if self.dismissed > 0 => {
                self.dismissed -= 1;
                None
            }
            None => return None,
        };
        self.tasks -= 1;
        Some(called)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::{JoinHandle, yield_now};

    use super::Desk;

    /// A task that waits at `desk` for one stream.
    async fn task(desk: &Arc<Desk<u32>>) -> JoinHandle<Option<u32>> {
        let desk = desk.clone();
        let task = tokio::spawn(async move { desk.next().await });
        yield_now().await;
        task
    }

    #[tokio::test]
    async fn a_stream_goes_to_a_task_that_waits_or_back() {
        let desk = Arc::new(Desk::new());
        assert_eq!(desk.hand_in(1), Some(1), "nobody is there");
        let waiting = task(&desk).await;
        assert_eq!(desk.hand_in(2), None);
        assert_eq!(desk.hand_in(3), Some(3), "the one that is there has one to come");
        assert_eq!(waiting.await.expect("no panic"), Some(2));
        assert_eq!(desk.hand_in(4), Some(4), "it went");
    }

    #[tokio::test]
    async fn who_is_dismissed_ends_and_gets_nothing_more() {
        let desk = Arc::new(Desk::new());
        let [first, second, third] = [task(&desk).await, task(&desk).await, task(&desk).await];
        assert_eq!(desk.hand_in(1), None);
        desk.dismiss();
        assert_eq!(desk.hand_in(2), Some(2), "all others are about to end");
        let mut got = [first.await, second.await, third.await].map(|got| got.expect("no panic"));
        got.sort();
        assert_eq!(got, [None, None, Some(1)]);
        let later = task(&desk).await;
        assert_eq!(desk.hand_in(3), None, "who comes later was not meant");
        assert_eq!(later.await.expect("no panic"), Some(3));
    }

    #[tokio::test]
    async fn closing_ends_who_waits_and_who_comes() {
        let desk = Arc::new(Desk::new());
        let waiting = task(&desk).await;
        desk.close();
        assert_eq!(waiting.await.expect("no panic"), None);
        assert_eq!(desk.next().await, None);
    }
}
