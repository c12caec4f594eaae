//! What a worker counts. Each worker has its own, so that counting never waits for another core; a report adds them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use triad_model::{EdgeReport, LATENCY_BOUNDS_S, LatencyHistogram, RequestCount};

/// Rows of the table of requests. Hosts, methods and codes are closed sets; the bound holds for reloads that bring
/// ever new hosts.
const ROWS_MAX: usize = 4096;
/// The label of requests that name no host of the site.
pub(crate) const OTHER_SITE: &str = "other";

/// A row's labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Labels {
    site: Arc<str>,
    method: &'static str,
    code: u16,
}

/// One worker's counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: Mutex<HashMap<Labels, u64>>,
    latency: [AtomicU64; LATENCY_BOUNDS_S.len() + 1],
    latency_sum_us: AtomicU64,
    pub in_flight: AtomicU64,
    pub connections: AtomicU64,
    pub connections_refused: AtomicU64,
    pub handshake_failures: AtomicU64,
}

impl Counters {
    /// Counts an answered request.
    pub fn count(&self, site: &Arc<str>, method: &Method, status: StatusCode, duration: Duration) {
        let mut labels = Labels { site: site.clone(), method: method_label(method), code: status.as_u16() };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() >= ROWS_MAX && !requests.contains_key(&labels) {
            labels.site = OTHER_SITE.into();
        }
        *requests.entry(labels).or_default() += 1;
        drop(requests);
        let seconds = duration.as_secs_f64();
        let bucket = LATENCY_BOUNDS_S.partition_point(|bound| *bound < seconds);
        self.latency[bucket].fetch_add(1, Relaxed);
        self.latency_sum_us.fetch_add(duration.as_micros() as u64, Relaxed);
    }
}

/// The sum over all workers; what workers do not count is left at zero.
pub(crate) fn sum<'a>(workers: impl Iterator<Item = &'a Counters>) -> EdgeReport {
    let mut report = EdgeReport {
        latency: LatencyHistogram { buckets: vec![0; LATENCY_BOUNDS_S.len() + 1], sum_s: 0.0 },
        ..EdgeReport::default()
    };
    let mut requests: HashMap<Labels, u64> = HashMap::new();
    for worker in workers {
        for (labels, count) in worker.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *requests.entry(labels.clone()).or_default() += count;
        }
        for (total, bucket) in report.latency.buckets.iter_mut().zip(&worker.latency) {
            *total += bucket.load(Relaxed);
        }
        report.latency.sum_s += worker.latency_sum_us.load(Relaxed) as f64 / 1e6;
        report.in_flight += worker.in_flight.load(Relaxed);
        report.connections += worker.connections.load(Relaxed);
        report.connections_refused += worker.connections_refused.load(Relaxed);
        report.handshake_failures += worker.handshake_failures.load(Relaxed);
    }
    report.requests = rows(requests);
    report
}

fn rows(requests: HashMap<Labels, u64>) -> Vec<RequestCount> {
    let row = |(labels, count): (Labels, u64)| RequestCount {
        site: labels.site.to_string(),
        code: labels.code,
        method: labels.method.to_owned(),
        cache: "none".to_owned(),
        count,
    };
    let mut rows: Vec<RequestCount> = requests.into_iter().map(row).collect();
    rows.sort_by(|a, b| (&a.site, &a.method, a.code).cmp(&(&b.site, &b.method, b.code)));
    rows
}

/// The methods of RFC 9110 §9 and PATCH; the world may send any other.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "OTHER",
    }
}

/// Something that is going on, counted as long as the guard lives.
#[derive(Debug)]
pub(crate) struct Ongoing<T>(T, fn(&T) -> &AtomicU64);

impl<T> Ongoing<T> {
    /// Counts one more in `counter` of `owner`.
    pub fn new(owner: T, counter: fn(&T) -> &AtomicU64) -> Self {
        counter(&owner).fetch_add(1, Relaxed);
        Self(owner, counter)
    }
}

impl<T> Drop for Ongoing<T> {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::{Method, StatusCode};

    use super::{Counters, ROWS_MAX, sum};

    #[test]
    fn workers_are_added_up_by_label() {
        let workers = [Counters::default(), Counters::default()];
        let site: Arc<str> = "www.foobar.com".into();
        let brew = Method::from_bytes(b"BREW").expect("a method");
        workers[0].count(&site, &Method::GET, StatusCode::OK, Duration::from_micros(900));
        workers[1].count(&site, &Method::GET, StatusCode::OK, Duration::from_secs(11));
        workers[1].count(&site, &brew, StatusCode::IM_A_TEAPOT, Duration::from_millis(1));
        let report = sum(workers.iter());
        let rows: Vec<_> = report.requests.iter().map(|row| (row.method.as_str(), row.code, row.count)).collect();
        assert_eq!(rows, [("GET", 200, 2), ("OTHER", 418, 1)]);
        assert_eq!(report.latency.buckets, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(report.latency.sum_s, 11.0019);
    }

    #[test]
    fn the_table_is_bounded() {
        let counters = Counters::default();
        for host in 0..2 * ROWS_MAX {
            counters.count(&format!("{host}.foobar.com").into(), &Method::GET, StatusCode::OK, Duration::ZERO);
        }
        let report = sum(std::iter::once(&counters));
        assert_eq!(report.requests.len(), ROWS_MAX + 1);
        assert_eq!(report.requests_total(), 2 * ROWS_MAX as u64);
    }
}
