//! Load at a constant rate, all on one thread: the processor is shared with the origin, so every switch counts.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::client::{Client, Connection};
use crate::http;
use crate::run::Figures;

/// How often it is looked whether a request is due: so late it may be sent, on a connection that is free.
const TICK: Duration = Duration::from_micros(50);
/// How late a request is still sent. What then is unsent counts as answered when the run ends: a bound to how bad a
/// latency looks, and to how long a run takes.
const LATE_MAX: Duration = Duration::from_secs(1);
/// Time for answers after the last request was sent.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Longest answer, head included.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Events taken at one time.
const EVENTS_MAX: usize = 256;
/// The timer's event; all others carry the number of a connection.
const TIMER: u64 = u64::MAX;

/// Requests on `open` at `rate` a second, spread evenly. A request that is due goes out on the connection that has
/// been free longest; when none is, it waits, and its waiting counts.
pub fn run(client: &Client, open: &mut [Connection], rate: f64, time: Duration) -> anyhow::Result<Figures> {
    let mut lanes = open.iter_mut().map(Lane::new).collect::<anyhow::Result<Vec<_>>>()?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (number, lane) in lanes.iter().enumerate() {
        epoll.add(&*lane.stream, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
    }
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
    timer.set(Expiration::Interval(TimeSpec::from_duration(TICK)), TimerSetTimeFlags::empty())?;
    // By edge, so that it need not be read.
    epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, TIMER))?;

    let mut schedule = Schedule { start: Instant::now(), gap_s: 1.0 / rate, time, sent: 0 };
    let mut free: VecDeque<usize> = (0..lanes.len()).collect();
    let mut figures = Figures::default();
    let mut events = [EpollEvent::empty(); EVENTS_MAX];
    loop {
        let now = Instant::now();
        let sending = now <= schedule.start + time + LATE_MAX;
        while let (true, Some(number), Some(due)) = (sending, free.front(), schedule.due(now)) {
            lanes[*number].send(&client.request, due)?;
            schedule.sent += 1;
            free.pop_front();
        }
        if (schedule.is_over() || !sending) && free.len() == lanes.len() {
            break;
        }
        if now > schedule.start + time + LATE_MAX + DRAIN_MAX {
            bail!("the proxy leaves requests unanswered");
        }
        let count = epoll.wait(&mut events, EpollTimeout::from(1000u16))?;
        for number in events[..count].iter().map(EpollEvent::data).filter(|data| *data != TIMER) {
            let number = usize::try_from(number)?;
            if let Some((latency, bytes)) = lanes[number].receive()? {
                figures.requests += 1;
                figures.bytes += bytes;
                figures.latencies.push(latency);
                free.push_back(number);
            }
        }
    }
    figures.took = schedule.start.elapsed();
    let end = Instant::now();
    while let Some(due) = schedule.due(end) {
        figures.latencies.push(end - due);
        schedule.sent += 1;
    }
    Ok(figures)
}

/// When requests are due: evenly spread over a time.
struct Schedule {
    start: Instant,
    gap_s: f64,
    time: Duration,
    /// Requests sent already.
    sent: u64,
}

impl Schedule {
    /// When the next request was due, if it is by now.
    fn due(&self, now: Instant) -> Option<Instant> {
        let due = self.start + self.offset();
        (due <= now && !self.is_over()).then_some(due)
    }

    fn is_over(&self) -> bool {
        self.offset() >= self.time
    }

    fn offset(&self) -> Duration {
        Duration::from_secs_f64(self.sent as f64 * self.gap_s)
    }
}

/// A connection with at most one request under way.
struct Lane<'a> {
    stream: &'a mut TcpStream,
    due: Option<Instant>,
    answer: Box<[u8; ANSWER_BYTES_MAX]>,
    /// Bytes of the answer that are there.
    filled: usize,
}

impl<'a> Lane<'a> {
    fn new(connection: &'a mut Connection) -> anyhow::Result<Self> {
        let Connection::Plain(stream) = connection else { bail!("a constant rate is for plain connections") };
        stream.set_nonblocking(true)?;
        Ok(Self { stream, due: None, answer: Box::new([0; ANSWER_BYTES_MAX]), filled: 0 })
    }

    fn send(&mut self, request: &[u8], due: Instant) -> anyhow::Result<()> {
        // It fits into the empty buffer of a connection without a request under way.
        self.stream.write_all(request).context("cannot send")?;
        self.due = Some(due);
        Ok(())
    }

    /// The latency and the body's length, when the answer is there.
    fn receive(&mut self) -> anyhow::Result<Option<(Duration, u64)>> {
        let due = self.due.context("the proxy said something unasked, or closed")?;
        let count = self.stream.read(&mut self.answer[self.filled..]).context("cannot read")?;
        if count == 0 {
            bail!("the connection was closed in front of an answer's end, or an answer is too long");
        }
        self.filled += count;
        let Some(head) = http::head(&self.answer[..self.filled])? else { return Ok(None) };
        if (self.filled as u64) < head.bytes as u64 + head.body_bytes {
            return Ok(None);
        }
        self.due = None;
        self.filled = 0;
        Ok(Some((due.elapsed(), head.body_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Schedule;

    #[test]
    fn requests_are_due_evenly_until_the_time_is_over() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut schedule = Schedule { start, gap_s: 0.010, time: Duration::from_millis(25), sent: 0 };
        assert_eq!(schedule.due(at(0)), Some(at(0)));
        schedule.sent = 1;
        assert_eq!(schedule.due(at(9)), None);
        assert_eq!(schedule.due(at(24)), Some(at(10)), "late, and due when it was");
        schedule.sent = 2;
        assert!(schedule.due(at(60)).is_some() && !schedule.is_over(), "sent after the time, but due in it");
        schedule.sent = 3;
        assert!(schedule.due(at(60)).is_none() && schedule.is_over());
    }
}
