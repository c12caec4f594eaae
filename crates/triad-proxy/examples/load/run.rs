//! The kinds of load that need no clock: each for some time, on one blocking thread a connection.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::client::{BUFFER_BYTES, Client, Connection};
use crate::http;

/// What came of a run.
#[derive(Debug, Default)]
pub struct Figures {
    /// Answered.
    pub requests: u64,
    /// Of bodies.
    pub bytes: u64,
    /// From the start to the last answer.
    pub took: Duration,
    /// From when each request was due to its answer's end; measured at a constant rate alone.
    pub latencies: Vec<Duration>,
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.latencies.extend(other.latencies);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, bytes, took, latencies } = self;
        write!(f, "requests={requests} seconds={:.6} bytes={bytes}", took.as_secs_f64())?;
        let mut sorted = latencies.clone();
        sorted.sort_unstable();
        if let (Some(half), Some(most)) = (quantile(&sorted, 0.50), quantile(&sorted, 0.99)) {
            write!(f, " p50_us={} p99_us={}", half.as_micros(), most.as_micros())?;
        }
        Ok(())
    }
}

/// The smallest value that at least the `share` of all values do not exceed.
fn quantile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Requests on `open`, each as soon as the last was answered.
pub fn keep_alive(client: &Client, open: &mut [Connection], time: Duration) -> anyhow::Result<Figures> {
    let end = Instant::now() + time;
    on_threads(open.iter_mut(), |connection| {
        let mut figures = Figures::default();
        let mut buffer = vec![0; BUFFER_BYTES];
        while Instant::now() < end {
            figures.bytes += http::exchange(connection, &client.request, &mut buffer)?;
            figures.requests += 1;
        }
        Ok(figures)
    })
}

/// Connections with one request each, `connections` at one time. The proxy closes them.
pub fn connect(client: &Client, connections: usize, time: Duration) -> anyhow::Result<Figures> {
    let end = Instant::now() + time;
    on_threads(0..connections, |_| {
        let mut figures = Figures::default();
        let mut buffer = vec![0; BUFFER_BYTES];
        while Instant::now() < end {
            let mut connection = client.connect()?;
            figures.bytes += http::exchange(&mut connection, &client.last_request, &mut buffer)?;
            wait_for_end(&mut connection, &mut buffer);
            figures.requests += 1;
        }
        Ok(figures)
    })
}

/// So that it is the proxy that closes first. How it does that, with or without TLS's notice, is not measured.
fn wait_for_end(connection: &mut Connection, buffer: &mut [u8]) {
    let _ = std::io::Read::read(connection, buffer);
}

/// Runs `work` on a thread for each of `items`, and adds up what they did.
fn on_threads<T: Send>(
    items: impl Iterator<Item = T>,
    work: impl Fn(T) -> anyhow::Result<Figures> + Sync,
) -> anyhow::Result<Figures> {
    let started = Instant::now();
    let mut sum = Figures::default();
    thread::scope(|scope| -> anyhow::Result<()> {
        let work = &work;
        let threads: Vec<_> = items.map(|item| scope.spawn(move || work(item))).collect();
        for thread in threads {
            sum.add(thread.join().map_err(|_| anyhow!("a thread of the load generator panicked"))??);
        }
        Ok(())
    })?;
    sum.took = started.elapsed();
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Figures, quantile};

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!(quantile(&sorted, 0.50), Some(Duration::from_micros(100)));
        assert_eq!(quantile(&sorted, 0.99), Some(Duration::from_micros(198)));
        assert_eq!(quantile(&sorted[..1], 0.99), Some(Duration::from_micros(1)));
        assert_eq!(quantile(&[], 0.99), None);
    }

    #[test]
    fn latencies_are_shown_where_there_are_some() {
        let mut figures = Figures { requests: 2, bytes: 140, took: Duration::from_millis(1500), latencies: Vec::new() };
        assert_eq!(figures.to_string(), "requests=2 seconds=1.500000 bytes=140");
        figures.latencies = [30, 10].map(Duration::from_micros).to_vec();
        assert_eq!(figures.to_string(), "requests=2 seconds=1.500000 bytes=140 p50_us=10 p99_us=30");
    }
}
