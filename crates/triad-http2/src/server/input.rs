//! What arrived of a connection and is not a whole frame yet.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Size of a buffer: two frames.
const BYTES: usize = 32 * 1024 + 512;
/// Buffers that a thread keeps for the next use.
const KEPT_MAX: usize = 8;

thread_local! {
    static KEPT: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that were read and not taken yet. Without any it holds no memory: that belongs to the thread.
#[derive(Debug, Default)]
pub(super) struct Input {
    memory: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Input {
    /// What is there.
    pub fn bytes(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory[self.start..self.end])
    }

    /// Forgets the first `length` bytes.
    pub fn consume(&mut self, length: usize) {
        self.start += length;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads behind what is there, which is less than a frame. Ready with zero at the end.
    pub fn poll_fill<T: AsyncRead + Unpin>(
        &mut self,
        io: &mut T,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let kept = || KEPT.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; BYTES].into());
        let memory = self.memory.get_or_insert_with(kept);
        memory.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let mut room = ReadBuf::new(&mut memory[self.end..]);
        let read = Pin::new(io).poll_read(context, &mut room);
        let length = room.filled().len();
        if read.is_pending() {
            self.release();
        }
        ready!(read)?;
        self.end += length;
        Poll::Ready(Ok(length))
    }

    /// Gives the memory back if nothing is in it.
    fn release(&mut self) {
        if self.start == self.end
            && let Some(memory) = self.memory.take()
        {
            KEPT.with_borrow_mut(|kept| {
                if kept.len() < KEPT_MAX {
                    kept.push(memory)
                }
            });
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.start = self.end;
        self.release();
    }
}
