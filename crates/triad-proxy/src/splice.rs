//! Bodies between two plain connections that nobody copies: the kernel moves them through a pipe (`splice(2)`).
//!
//! A pipe is lent while something is in it, so a download whose next bytes have not come holds none. A worker lends up to
//! [`PIPES_MAX`]; who gets none copies, as who has a session of TLS on either side does.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// What a pipe is asked to hold. It counts pages, of which a network card's packets fill less than half.
const PIPE_BYTES: usize = 256 * 1024;
/// Pipes that a worker lends or keeps for the next loan. Each costs two open files.
const PIPES_MAX: usize = 32;

thread_local! {
    static KEPT: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
    static LENT: Cell<usize> = const { Cell::new(0) };
}

/// Where it is read from, and written to.
type Ends = (OwnedFd, OwnedFd);

/// A pipe on loan.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// There until it is dropped.
    ends: Option<Ends>,
    /// Bytes in it.
    held: usize,
}

impl Pipe {
    /// An empty one; `None`: all are lent, or the system gives no more.
    pub fn lend() -> Option<Self> {
        if LENT.get() >= PIPES_MAX {
            return None;
        }
        let ends = KEPT.with_borrow_mut(Vec::pop).or_else(|| make().ok())?;
        LENT.set(LENT.get() + 1);
        Some(Self { ends: Some(ends), held: 0 })
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes what `from` has, up to `limit` bytes, while it is empty. Ready with zero at the end of the stream.
    pub fn poll_fill(&mut self, context: &mut Context<'_>, from: &TcpStream, limit: u64) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_empty());
        let Some((_, end)) = &self.ends else { return Poll::Ready(Ok(0)) };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(PIPE_BYTES);
        loop {
            let moved = from.try_io(Interest::READABLE, || Ok(splice(from, None, end, None, limit, flags())?));
            if !is_too_early(&moved) {
                self.held = *moved.as_ref().unwrap_or(&0);
                return Poll::Ready(moved);
            }
            ready!(from.poll_read_ready(context))?;
        }
    }

    /// Gives `to` as much of what it holds as it takes.
    pub fn poll_drain(&mut self, context: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<usize>> {
        let Some((end, _)) = &self.ends else { return Poll::Ready(Ok(0)) };
        loop {
            let moved = to.try_io(Interest::WRITABLE, || Ok(splice(end, None, to, None, self.held, flags())?));
            if !is_too_early(&moved) {
                self.held -= moved.as_ref().unwrap_or(&0);
                return Poll::Ready(moved);
            }
            ready!(to.poll_write_ready(context))?;
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        LENT.set(LENT.get() - 1);
        // What is in it belongs to nobody else.
        if let Some(ends) = self.ends.take().filter(|_| self.held == 0) {
            KEPT.with_borrow_mut(|kept| kept.push(ends));
        }
    }
}

fn make() -> io::Result<Ends> {
    let ends = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // Refused where this user has many pipes, and smaller ones are not worth it.
    fcntl_setpipe_size(&ends.1, PIPE_BYTES)?;
    Ok(ends)
}

fn flags() -> SpliceFlags {
    SpliceFlags::NONBLOCK | SpliceFlags::MOVE
}

fn is_too_early(moved: &io::Result<usize>) -> bool {
    moved.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::task::{Context, Poll, Waker};

    use tokio::net::TcpStream;

    use super::{LENT, PIPES_MAX, Pipe};

    /// One of ours, and who it is connected to.
    async fn pair() -> (TcpStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let ours = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        (ours, listener.accept().expect("accepted").0)
    }

    #[tokio::test]
    async fn what_comes_in_goes_out_in_order_whatever_stands_in_the_way() {
        let ((from, mut sender), (to, mut reader)) = (pair().await, pair().await);
        let sent: Vec<u8> = (0..5_000_000_u32).map(|byte| (byte % 251) as u8).collect();
        let copy = sent.clone();
        let sender = std::thread::spawn(move || sender.write_all(&copy).expect("sent"));
        let reader = std::thread::spawn(move || {
            let mut seen = Vec::new();
            reader.read_to_end(&mut seen).expect("read");
            seen
        });
        let (mut pipe, mut left) = (Pipe::lend().expect("a pipe"), sent.len());
        while left > 0 {
            if pipe.is_empty() {
                poll_fn(|context| pipe.poll_fill(context, &from, left as u64)).await.expect("filled");
            }
            left -= poll_fn(|context| pipe.poll_drain(context, &to)).await.expect("drained");
        }
        drop(to);
        sender.join().expect("sent");
        assert!(reader.join().expect("read") == sent);
    }

    #[tokio::test]
    async fn no_more_is_taken_than_is_asked_for_and_the_end_is_seen() {
        let (from, mut sender) = pair().await;
        sender.write_all(b"seven bytes").expect("sent");
        let mut pipe = Pipe::lend().expect("a pipe");
        assert_eq!(poll_fn(|context| pipe.poll_fill(context, &from, 5)).await.expect("filled"), 5);
        drop(pipe);
        let mut pipe = Pipe::lend().expect("a pipe");
        assert_eq!(poll_fn(|context| pipe.poll_fill(context, &from, 99)).await.expect("filled"), 6);
        drop(pipe);
        let mut pipe = Pipe::lend().expect("a pipe");
        assert!(pipe.poll_fill(&mut Context::from_waker(Waker::noop()), &from, 99).is_pending());
        drop(sender);
        assert!(matches!(poll_fn(|context| pipe.poll_fill(context, &from, 99)).await, Ok(0)));
    }

    #[tokio::test]
    async fn pipes_are_few_and_one_with_something_in_it_is_not_lent_again() {
        let (from, mut sender) = pair().await;
        sender.write_all(b"a secret").expect("sent");
        let mut lent: Vec<_> = std::iter::from_fn(Pipe::lend).collect();
        assert_eq!((lent.len(), LENT.get()), (PIPES_MAX, PIPES_MAX));
        assert!(poll_fn(|context| lent[0].poll_fill(context, &from, 99)).await.is_ok());
        drop(lent);
        let (to, mut reader) = pair().await;
        reader.set_nonblocking(true).expect("a socket");
        let lent: Vec<_> = std::iter::from_fn(Pipe::lend).collect();
        for mut pipe in lent {
            pipe.held = 99;
            let drained = pipe.poll_drain(&mut Context::from_waker(Waker::noop()), &to);
            assert!(!matches!(drained, Poll::Ready(Ok(_))), "{drained:?}");
            pipe.held = 0;
        }
        assert!(reader.read(&mut [0]).is_err(), "nothing came");
        assert_eq!(LENT.get(), 0);
    }
}
